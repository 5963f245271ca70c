"""The delivery of one folder to MLflow, in steps; the folder's state says which steps are done."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.types import UserError
from runner.files import is_link, is_regular, list_descendants, read_bytes, read_json, write_atomically
from runner.record import outbox
from runner.run_folder import digest_summary, read_record, read_summary
from runner.tracking import identity, store
from runner.tracking.names import fit
from runner.tracking.state import DeliveryState

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENDS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "diverged": "FAILED",
    "interrupted": "KILLED",
    "killed": "KILLED",
}
NAMES = "names.json"  # the true names of what MLflow has under another
FILES = ("config.yaml", "overrides.yaml", "record.json", NAMES, "sweep.json", "ranking.csv")
FOLDERS = ("figures", "profile")
COPY_TAG = "titrate.copied_from"
KILLED = {"status": "killed", "error": "its process ended before it could say why: killed, or out of memory"}
LINES_A_NOTE = 250  # points that are delivered between two notes of how far it has come


class FolderDelivery:
    """Sends a folder's record to MLflow, step by step. Repeating a step is harmless."""

    def __init__(self, folder: Path, record: Mapping[str, Any], client: MlflowClient, *, own: bool = True) -> None:
        self._folder = folder
        self._record = record
        self._client = client
        self._own = own  # whether the user, rather than the record alone, names the store
        self._state = DeliveryState.load(folder)

    def deliver(self, *, over: bool) -> DeliveryState:
        """Delivers the points that a checkpoint covers and, where the run is over, its end. Returns the new state."""
        run_id = self._register()
        self._send_points(run_id)
        if over:
            self._end(run_id)
        else:
            self._go_on(run_id)
        self._send_files(run_id, over)  # last, because their place may be out of reach when the store isn't
        self._note(error=None)
        return self._state

    def _register(self) -> str:
        """Finds or makes the run; a store that lacks it gets everything from the start."""
        run_id = self._state.run_id
        if run_id is None or self._status(run_id) is None:
            key = identity.record_key(self._folder, self._record)
            run_id = self._joined() or store.find(self._client, self._record, key)
            run_id = run_id or store.create(self._client, self._record, key)
            self._state = DeliveryState(drawn=self._state.drawn)
            self._keep_names([*self._record["tags"], *self._record["parameters"]])
            refused = store.fill(self._client, run_id, self._record, self._own_tags(key))
            self._note(run_id=run_id, refused=tuple(refused))
        return run_id

    def _status(self, run_id: str) -> str | None:
        return store.status(self._client, run_id, self._record["tracking"]["uri"])

    def _joined(self) -> str | None:
        """The run that MLFLOW_RUN_ID named when the run began; None where it named none."""
        run_id = self._record.get("joins")
        if run_id and self._status(run_id) is None:
            raise UserError(f"{identity.RUN_VARIABLE}={run_id}: the store has no such run")
        return run_id

    def _own_tags(self, key: str) -> dict[str, str]:
        tags = {store.FOLDER_TAG: key, store.PARENT_TAG: self._parent(), COPY_TAG: self._record.get("copied_from")}
        return {name: value for name, value in tags.items() if value}

    def _parent(self) -> str | None:
        """The MLflow run of the sweep whose folder this one lies in."""
        if not self._record.get("in_sweep"):
            return None
        folder = self._folder.parent
        record = read_record(folder)
        if record["tracking"] != self._record["tracking"]:  # the run was gone on with alone, and recorded elsewhere
            return None
        return FolderDelivery(folder, record, self._client)._register()

    def _send_points(self, run_id: str) -> None:
        data = outbox.read(self._folder)
        offset, checksum = self._state.offset, self._state.checksum
        if offset > len(data) or zlib.crc32(data[:offset]) != checksum:
            offset, checksum = 0, 0  # an older checkpoint had to serve, so some of it was cut and made again
        for lines in store.batches(data[offset:].splitlines(keepends=True), LINES_A_NOTE):
            self._log_figures(run_id, list(_figures(lines)))
            chunk = b"".join(lines)
            offset, checksum = offset + len(chunk), zlib.crc32(chunk, checksum)
            self._note(offset=offset, checksum=checksum)

    def _log_figures(self, run_id: str, figures: Sequence[store.Figure]) -> None:
        self._keep_names(figure[0] for figure in figures)
        if refused := store.log_figures(self._client, run_id, figures):
            self._note(refused=tuple(dict.fromkeys([*self._state.refused, *refused])))

    def _go_on(self, run_id: str) -> None:
        if self._status(run_id) != "RUNNING":
            store.go_on(self._client, run_id)
            self._describe(run_id, "")
        self._note(ended=None)

    def _end(self, run_id: str) -> None:
        digest = digest_summary(self._folder)
        if self._state.ended == digest:
            return
        end: Mapping[str, Any] = read_summary(self._folder) or KILLED
        self._log_figures(run_id, list(self._final(end.get("metrics", {}))))
        tags = {key: str(end.get(key) or "") for key in ("status", "stopped_by", "error", *({"best"} & end.keys()))}
        store.end(self._client, run_id, ENDS[end["status"]], tags, _end_time(self._folder))
        self._describe(run_id, f"{end['status']}: {end['error']}" if end.get("error") else "")
        self._note(ended=digest)

    def _describe(self, run_id: str, text: str) -> None:
        """Says in MLflow why a run failed, in place of what was said of its last end."""
        store.describe(self._client, run_id, text, before=self._state.described)
        self._note(described=text)

    def _final(self, metrics: Mapping[str, float | None]) -> Iterator[store.Figure]:
        """The final metrics, at the step and the time of the last point, so that again they are the same.

        Those that have a curve have a last point in it, and are left out.
        """
        points = list(outbox.parse(outbox.read(self._folder).splitlines()))
        curves = {key for point in points for key in point.values}
        step, time = (points[-1].step, points[-1].timestamp) if points else (0, self._record["created"])
        for key, value in metrics.items():
            if value is not None and key not in curves:
                yield key, float(value), time, step

    def _send_files(self, run_id: str, over: bool) -> None:
        paths = [path for name in FILES if is_regular(path := self._folder / name)]
        files = zlib.crc32(b"".join(map(read_bytes, paths)))
        if not self._own:
            store.check_place(self._client, run_id, self._record["tracking"]["uri"])
        if files != self._state.files:  # new, or resumed with more epochs
            for path in paths:
                self._client.log_artifact(run_id, str(path))
            store.log_tags(self._client, run_id, self._record["tags"])
            self._note(files=files)
        if over:
            self._note(drawn=draw(self._folder, self._state.drawn))
        inner = [path for name in FOLDERS for path in list_descendants(self._folder / name) if path.suffix != ".tmp"]
        links = filter(is_link, (*map(self._folder.joinpath, (*FILES, *FOLDERS)), *inner))
        self._note(links=tuple(path.relative_to(self._folder).as_posix() for path in links))
        for path in filter(is_regular, inner) if over else ():
            place = path.parent.relative_to(self._folder).as_posix()
            self._client.log_artifact(run_id, str(path), place)

    def _keep_names(self, names: Iterable[str]) -> None:
        """Notes the true names of those that MLflow gets under another, before it gets them."""
        changed = {fitted: name for name in names if (fitted := fit(name)) != name}
        path = self._folder / NAMES
        known = read_json(path) if changed and path.exists() else {}
        if changed.items() - known.items():
            write_atomically(path, json.dumps(known | changed, indent=1))

    def _note(self, **changes: Any) -> None:
        state = replace(self._state, **changes)
        if state != self._state:
            self._state = state
            state.save(self._folder)


def draw(folder: Path, drawn: str | None) -> str:
    """Draws the figures of a run's end, unless `drawn` is its digest; the digest."""
    if drawn != (digest := digest_summary(folder)):
        from runner import figures  # imports matplotlib, which takes a second

        figures.draw(folder)
    return digest


def _end_time(folder: Path) -> int:
    """When the run ended, in ms since 1970: when it wrote its summary, or last a sign of life."""
    signs = ("summary.json", outbox.COVERED, "record.json")
    path = next(folder / name for name in signs if (folder / name).exists())
    return path.stat().st_mtime_ns // 1_000_000


def _figures(lines: Iterable[bytes]) -> Iterator[store.Figure]:
    for point in outbox.parse(lines):
        for key, value in point.values.items():
            yield key, value, point.timestamp, point.step
