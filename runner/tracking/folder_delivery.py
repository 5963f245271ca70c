"""The delivery of one folder to MLflow, in steps. The folder's `delivered.json` says which steps are done."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.types import UserError
from runner import yaml_file
from runner.files import is_link, is_regular, list_descendants, read_bytes, read_json, write_atomically
from runner.override_text import overridden_key
from runner.record import outbox
from runner.run_folder import OBSERVERS_FOLDER, digest_summary, read_record, read_summary
from runner.tracking import identity, log_items, store
from runner.tracking.names import escape_name, name_final_metric, name_slices
from runner.tracking.state import DeliveryState

if TYPE_CHECKING:
    from mlflow import MlflowClient

MLFLOW_STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "diverged": "FAILED",
    "interrupted": "KILLED",
    "killed": "KILLED",
}
NAMES_FILE = "names.json"  # the original of each name that MLflow keeps escaped
FILES = (
    *("config.yaml", "overrides.yaml", "record.json", NAMES_FILE, "sweep.json", "ranking.csv", "code.diff"),
    "columns.txt",
)
LOG_FILE = "log.txt"
FOLDERS = ("figures", "profile", OBSERVERS_FOLDER)
COPY_TAG = "titrate.copied_from"
KILLED_SUMMARY = {
    "status": "killed",
    "error": "the process ended without a summary; it was killed, or out of memory",
}
POINTS_PER_SAVE = 250  # points that are delivered between two saves of the state


class FolderDelivery:
    """Sends a folder's record to MLflow, step by step. Repeating a step is harmless.

    Args:
        folder: a run's or a sweep's folder.
        record: its `record.json`.
        client: the client of the store.
        is_store_trusted: whether the user names the store too. If only the record names it, MLflow's location for the
            artifacts is checked before files are sent.
    """

    def __init__(
        self, folder: Path, record: Mapping[str, Any], client: MlflowClient, *, is_store_trusted: bool = True
    ) -> None:
        self._folder = folder
        self._record = record
        self._client = client
        self._is_store_trusted = is_store_trusted
        self._state = DeliveryState.load(folder)

    def deliver(self, *, run_ended: bool) -> DeliveryState:
        """Delivers the points that a checkpoint covers and, if the run has ended, its end. Returns the new state."""
        run_id = self._find_or_create_run()
        self._send_points(run_id)
        if run_ended:
            self._send_end(run_id)
        else:
            self._mark_running(run_id)
        self._send_files(run_id, run_ended)  # last, because artifacts may have another store, which may be unreachable
        self._update_state(error=None)
        return self._state

    def _find_or_create_run(self) -> str:
        """The id of the folder's MLflow run. If the store lacks that run, everything is delivered from the start."""
        run_id = self._state.run_id
        if run_id is None or self._read_status(run_id) is None:
            key = identity.record_key(self._folder, self._record)
            run_id = self._find_joined_run() or store.find_run(self._client, self._record, key)
            run_id = run_id or store.create_run(self._client, self._record, key)
            self._state = DeliveryState(drawn_digest=self._state.drawn_digest)
            self._save_original_names([*self._record["tags"], *self._record["parameters"]])
            tags, keys = self._make_tags(key), self._read_overridden_keys()
            refused = log_items.log_record(self._client, run_id, self._record, tags, keys)
            experiment_id = self._client.get_run(run_id).info.experiment_id
            self._update_state(run_id=run_id, experiment_id=experiment_id, refused=tuple(refused))
        return run_id

    def _read_overridden_keys(self) -> list[str]:
        """The keys that the command of the run sets."""
        path = self._folder / "overrides.yaml"
        overrides = yaml_file.read(path, path.name, yaml_file.CONFIGURATION_LIMITS) if is_regular(path) else []
        return [overridden_key(str(override)) for override in overrides]

    def _read_status(self, run_id: str) -> str | None:
        return store.read_status(self._client, run_id, self._record["tracking"]["uri"])

    def _find_joined_run(self) -> str | None:
        """The run that MLFLOW_RUN_ID named when this run started; None: it was not set."""
        run_id = self._record.get("joins")
        if run_id and self._read_status(run_id) is None:
            raise UserError(f"{identity.RUN_VARIABLE}={run_id}: the store has no such run")
        return run_id

    def _make_tags(self, key: str) -> dict[str, str]:
        tags = {
            store.FOLDER_TAG: key,
            store.PARENT_TAG: self._find_parent_run(),
            COPY_TAG: self._record.get("copied_from"),
        }
        return {name: value for name, value in tags.items() if value}

    def _find_parent_run(self) -> str | None:
        """The MLflow run of the sweep that this run belongs to; None: the run belongs to no sweep."""
        if not self._record.get("in_sweep"):
            return None
        folder = self._folder.parent
        record = read_record(folder)
        if record["tracking"] != self._record["tracking"]:  # the run was resumed on its own, with another store
            return None
        # It only creates the sweep's MLflow run. It sends no files, so the location for artifacts needs no check.
        return FolderDelivery(folder, record, self._client)._find_or_create_run()

    def _send_points(self, run_id: str) -> None:
        data = outbox.read_checkpointed_points(self._folder)
        offset, checksum = self._state.offset, self._state.checksum
        if offset > len(data) or zlib.crc32(data[:offset]) != checksum:
            # The run resumed from an older checkpoint and wrote other points after it, so all points are sent again.
            offset, checksum = 0, 0
        for lines in log_items.split_batches(data[offset:].splitlines(keepends=True), POINTS_PER_SAVE):
            self._log_metrics(run_id, list(_parse_metrics(lines)))
            chunk = b"".join(lines)
            offset, checksum = offset + len(chunk), zlib.crc32(chunk, checksum)
            self._update_state(offset=offset, checksum=checksum)

    def _log_metrics(self, run_id: str, metrics: Sequence[log_items.MetricPoint]) -> None:
        self._save_original_names(metric.key for metric in metrics)
        if refused := log_items.log_metrics(self._client, run_id, metrics):
            self._update_state(refused=tuple(dict.fromkeys([*self._state.refused, *refused])))

    def _mark_running(self, run_id: str) -> None:
        if self._read_status(run_id) != "RUNNING":
            store.resume_run(self._client, run_id)
        self._set_name_and_description(run_id)
        self._update_state(ended_digest=None)

    def _send_end(self, run_id: str) -> None:
        digest = digest_summary(self._folder)
        if self._state.ended_digest == digest:
            return
        summary: Mapping[str, Any] = read_summary(self._folder) or KILLED_SUMMARY
        status, error = summary["status"], summary.get("error")
        ends = {
            f"{name}/{end}": value
            for name, interval in summary.get("intervals", {}).items()
            for end, value in zip(("low", "high"), interval, strict=True)
        }
        slices = name_slices(summary.get("slices", {}))
        self._log_metrics(run_id, list(self._final_metrics(summary.get("metrics", {}) | ends | slices)))
        tags = {name: str(summary.get(name) or "") for name in store.END_TAGS}
        store.end_run(self._client, run_id, MLFLOW_STATUS[status], tags, _end_time(self._folder))
        self._set_name_and_description(run_id, f"{status}: {error}" if error else "")
        self._update_state(ended_digest=digest)

    def _set_name_and_description(self, run_id: str, failure: str = "") -> None:
        """Sets the run's name, which changes if it is extended, and its description, with why it failed."""
        if (name := store.run_name(self._record)) != self._state.named:
            store.rename_run(self._client, run_id, name, previous=self._state.named)
            self._update_state(named=name)
        text = "\n\n".join(filter(None, [failure, self._record.get("description")]))
        if text != self._state.described:
            store.set_description(self._client, run_id, text, previous=self._state.described)
            self._update_state(described=text)

    def _final_metrics(self, metrics: Mapping[str, float | None]) -> Iterator[log_items.MetricPoint]:
        """The final metrics, at the step and time of the last point, so that a repetition sends identical metrics.

        A metric that is also among the points is left out, since MLflow shows the last point of a curve as its value.
        """
        points = list(outbox.parse_points(outbox.read_checkpointed_points(self._folder).splitlines()))
        curves = {key for point in points for key in point.values}
        step, timestamp = (points[-1].step, points[-1].timestamp) if points else (0, self._record["created"])
        for key, value in metrics.items():
            if value is not None and key not in curves:
                yield log_items.MetricPoint(name_final_metric(key), float(value), timestamp, step)

    def _send_files(self, run_id: str, run_ended: bool) -> None:
        paths = [path for name in FILES if is_regular(path := self._folder / name)]
        files_checksum = zlib.crc32(b"".join(map(read_bytes, paths)))
        if not self._is_store_trusted:
            store.check_artifact_location(self._client, run_id, self._record["tracking"]["uri"])
        if files_checksum != self._state.files_checksum:  # the first delivery, or the run was resumed with more epochs
            for path in paths:
                self._client.log_artifact(run_id, str(path))
            log_items.log_tags(self._client, run_id, self._record["tags"])
            self._update_state(files_checksum=files_checksum)
        if run_ended:
            self._update_state(drawn_digest=draw_new_figures(self._folder, self._state.drawn_digest))
        nested = [path for name in FOLDERS for path in list_descendants(self._folder / name) if path.suffix != ".tmp"]
        self._update_state(links=self._find_links(nested))
        if run_ended:
            if is_regular(self._folder / LOG_FILE):
                self._client.log_artifact(run_id, str(self._folder / LOG_FILE))
            for path in filter(is_regular, nested):
                self._client.log_artifact(run_id, str(path), path.parent.relative_to(self._folder).as_posix())

    def _find_links(self, nested: Iterable[Path]) -> tuple[str, ...]:
        """The links among the folder's files. They aren't sent, since they may lead out of it, but reported."""
        paths = (*(self._folder / name for name in (*FILES, LOG_FILE, *FOLDERS)), *nested)
        return tuple(path.relative_to(self._folder).as_posix() for path in paths if is_link(path))

    def _save_original_names(self, names: Iterable[str]) -> None:
        """Writes the originals of escaped names to `names.json`, before MLflow gets the escaped ones."""
        escaped = {escape_name(name): name for name in names}
        originals = {key: name for key, name in escaped.items() if key != name}
        path = self._folder / NAMES_FILE
        known = read_json(path) if originals and path.exists() else {}
        if originals.items() - known.items():
            write_atomically(path, json.dumps(known | originals, indent=1))

    def _update_state(self, **changes: Any) -> None:
        state = replace(self._state, **changes)
        if state != self._state:
            self._state = state
            state.save(self._folder)


def draw_new_figures(folder: Path, drawn_digest: str | None) -> str:
    """Draws the figures of an ended run, unless they are drawn already.

    Args:
        folder: the run's folder.
        drawn_digest: the digest of the summary with which the figures were last drawn.

    Returns:
        The digest of the summary.
    """
    digest = digest_summary(folder)
    if drawn_digest != digest:
        from runner import figures  # imports matplotlib, which takes a second

        figures.draw(folder)
    return digest


def _end_time(folder: Path) -> int:
    """When the run ended, in ms since 1970. A killed run ended at its last checkpoint, or else at its start."""
    names = ("summary.json", outbox.COVERED_FILE, "record.json")
    path = next(folder / name for name in names if (folder / name).exists())
    return path.stat().st_mtime_ns // 1_000_000


def _parse_metrics(lines: Iterable[bytes]) -> Iterator[log_items.MetricPoint]:
    for point in outbox.parse_points(lines):
        # MLflow compares runs by the metric that it gets first, which should not be the epoch.
        for key, value in sorted(point.values.items(), key=lambda item: item[0] == "epoch"):
            yield log_items.MetricPoint(key, value, point.timestamp, point.step)
