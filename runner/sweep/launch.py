"""A sweep from its plan to its ranking; a failed run stops no other."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.types import Source, UserError
from runner import platform, yaml_file
from runner import run_folder as folders
from runner.config.provenance import with_origin
from runner.credentials import scrub
from runner.display.progress import make_progress
from runner.errors import DiskError, describe_failure
from runner.execution.execute import as_disk_error, execute_with_signals
from runner.execution.open_folder import SweepMember
from runner.execution.prepare import build_tracking
from runner.files import write_atomically
from runner.platform import cache_folder
from runner.record import description as record
from runner.record.description import MANIFEST
from runner.run_folder import RunFolder
from runner.signature.build import build, import_target
from runner.signature.schema import SCHEMA
from runner.sweep import outcome, ranking, report
from runner.sweep.outcome import Manifest, Outcome
from runner.sweep.plan import Plan, Setting
from runner.tracking import DELIVERY_SECONDS, Delivery
from runner.tracking.state import DeliveryState
from runner.training.signals import Signals
from runner.tree import iterate_parts

OUTCOME = ("status", "metrics", "error", "monitor", "higher_is_better")  # what a sweep notes of a run's end


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep.

    Attributes:
        status: `finished`, `failed` (at least one run did) or `interrupted`.
        ranking: the settings from best to worst.
        runs: the runs in the order of the plan.
        folder: the sweep's folder, absolute.
        run_id: the parent run in MLflow, where it is known by now.
        signal: the signal that interrupted the sweep.
    """

    status: str
    ranking: tuple[ranking.Row, ...]
    runs: tuple[Outcome, ...]
    folder: Path
    run_id: str | None
    signal: int | None = None


def launch(plan: Plan, *, source: Source | None = None) -> SweepResult:
    """Runs every setting of a plan, each in a folder within the sweep's, and ranks them.

    The outcome of a run holds its error, which stops no other run.

    Raises:
        UserError: the sweep can't be recorded.
        RunError: the disk fails.
    """
    quiet = plan.settings[0].config.values["quiet"]
    if not quiet:
        report.plan(plan)
    platform.start_jax(cache_folder())
    _import_parts(plan)
    tracking = build_tracking(plan.settings[0].config)
    with Signals() as signals:
        folder, manifest = _open(plan, tracking, source)
        shown = make_progress(quiet=quiet, epochs=0)
        with contextlib.closing(folder), as_disk_error(folder.path), contextlib.closing(shown):
            delivery = tracking.start(folder.path)
            try:
                rows, summary = _run_and_rank(
                    plan, manifest, _SharedResources(folder, delivery, signals, source, quiet)
                )
                report.end(plan, manifest, rows, summary, folder.path, tracking.describe(), quiet)
            finally:
                with shown.working("bringing the record to MLflow"):
                    run_id = delivery.close(DELIVERY_SECONDS)
            folders.write_summary(folder.path, summary | {"run_id": run_id})
            _save_run_ids(folder.path)
            if note := delivery.describe_missing():
                shown.note(note)
    return SweepResult(
        summary["status"], tuple(rows), tuple(manifest.runs), folder.path.absolute(), run_id, signals.received
    )


@dataclass(frozen=True)
class _SharedResources:
    """The resources that all runs of a sweep share."""

    folder: RunFolder
    delivery: Delivery
    signals: Signals
    source: Source | None
    quiet: bool


def _import_parts(plan: Plan) -> None:
    """Imports every part before the first run, so that edits during the sweep change nothing."""
    for setting in plan.settings:
        with with_origin(setting.config):
            for target in {node["_target_"] for _, node in iterate_parts(setting.config.values)}:
                import_target(target)


def _open(plan: Plan, tracking: Any, source: Source | None) -> tuple[RunFolder, Manifest]:
    """Opens the folder of the same sweep where that was interrupted, else a new one."""
    config = plan.settings[0].config
    root = Path(config.values["folder"])
    folders.check_root(root)
    mark = folders.run_digest(
        {"settings": [setting.digest for setting in plan.settings]}, _fingerprint_data(plan, source)
    )
    if not config.values["fresh"] and (found := folders.find_interrupted(root, mark)) is not None:
        (found.path / "summary.json").unlink(missing_ok=True)
        return found, outcome.load(found.path)
    values, choices = outcome.common(plan.settings)
    shared = replace(config, choices=choices, values=config.values | {"experiment": values.get("experiment")})
    made = record.describe_sweep(shared, plan.words, values | choices, mark, tracking.describe())
    manifest = outcome.begin(plan)
    files = {
        "record.json": json.dumps(made, indent=1),
        "overrides.yaml": yaml_file.dump(list(plan.words)),
        "config.yaml": yaml_file.dump(values),
        MANIFEST: manifest.text(),
    }
    return folders.create_folder(root, made["name"], mark, files), manifest


def _fingerprint_data(plan: Plan, source: Source | None) -> str:
    """The fingerprints of all runs' data, as text; a source with an error is left out, since its runs raise it."""
    if source is not None:
        return source.fingerprint()
    prints: dict[str, str] = {}
    for setting in plan.settings:
        text = json.dumps(node := setting.config.values["data"], sort_keys=True)
        with contextlib.suppress(UserError, OSError):
            prints[text] = prints.get(text) or build(node, {}, SCHEMA["data"]).fingerprint()
    return json.dumps(prints, sort_keys=True)


def _run_and_rank(plan: Plan, manifest: Manifest, around: _SharedResources) -> tuple[list[ranking.Row], dict[str, Any]]:
    """Runs all settings, then writes the ranking and the summary, also after an error. Returns both."""
    try:
        _run_all(plan, manifest, around)
    finally:
        rows = ranking.rank(manifest)
        summary = _summary(plan, manifest, rows, around.signals)
        with contextlib.suppress(OSError):  # the disk may be full
            ranking.save(around.folder.path, manifest, rows)
            folders.write_summary(around.folder.path, summary)
    return rows, summary


def _run_all(plan: Plan, manifest: Manifest, around: _SharedResources) -> None:
    """Runs the settings that have not ended yet, one after the other, until a signal arrives."""
    total = len(plan.settings)
    if (done := sum(one.status is not None for one in manifest.runs)) and not around.quiet:
        report.going_on(around.folder.path, done, total)
    for place, (setting, one) in enumerate(zip(plan.settings, manifest.runs, strict=True), 1):
        if not (before := one.status not in (None, "interrupted")):
            start = time.monotonic()
            member = _make_member(setting, place, total, around)
            found = _find_ended(member) or _run_setting(setting, member, around)
            manifest.monitor = found.pop("monitor", manifest.monitor)
            manifest.higher_is_better = found.pop("higher_is_better", manifest.higher_is_better)
            vars(one).update(found)
            one.seconds += time.monotonic() - start
            manifest.save(around.folder.path)
        if not around.quiet:
            report.run(place, total, one, manifest, before=before)
        if around.signals.received:
            return


def _make_member(setting: Setting, place: int, total: int, around: _SharedResources) -> SweepMember:
    label = f"{place:0{len(str(total))}}"
    name = ", ".join(setting.varied) or record.run_name(setting.config)
    return SweepMember(around.folder.path, around.delivery, name, label, f"{place}/{total}")


def _find_ended(member: SweepMember) -> dict[str, Any] | None:
    """The outcome of a run that ended before the sweep was killed, and that `sweep.json` doesn't hold."""
    for path in _folders(member):
        summary = folders.read_summary(path)
        if summary.get("status") in ("finished", "diverged"):
            return {key: summary[key] for key in OUTCOME} | {"folder": path.name}
    return None


def _folders(member: SweepMember) -> list[Path]:
    """The folders that a run of the sweep has had, oldest first: one, but where its checkpoints were lost."""
    found = member.folder.glob(f"????-??-??_??-??-??_{member.label}_*")
    return sorted(path for path in found if not path.is_symlink())


def _run_setting(setting: Setting, member: SweepMember, around: _SharedResources) -> dict[str, Any]:
    """Runs one setting; an error becomes its outcome, unless the disk fails, which stops the sweep."""
    before = _folders(member)
    try:
        result = execute_with_signals(setting.config, around.signals, source=around.source, member=member)
    except DiskError:
        raise
    except Exception as error:  # a part may raise anything; the run's log has the traceback, and the next run starts
        made = [path for path in _folders(member) if path not in before]
        return {
            "status": "failed",
            "error": describe_failure(error),
            "folder": made[0].name if made else _save_traceback(member),
        }
    return {key: getattr(result, key) for key in OUTCOME} | {"folder": result.folder.name}


def _save_traceback(member: SweepMember) -> str:
    """Writes the traceback of a run without a folder; returns the file's name."""
    name = f"failed_{member.label}.txt"
    write_atomically(member.folder / name, scrub(traceback.format_exc()))
    return name


def _summary(plan: Plan, manifest: Manifest, rows: list[ranking.Row], signals: Signals) -> dict[str, Any]:
    failed = [run for run in manifest.runs if run.status not in ("finished", "interrupted", None)]
    over = all(run.status not in ("interrupted", None) for run in manifest.runs)
    status = ("failed" if failed else "finished") if over else "interrupted"
    best = rows[0].figures if rows and not manifest.incomparable else {}
    deviations = {f"deviation/{name}": one.deviation for name, one in best.items() if one.deviation is not None}
    return {
        "status": status,
        "stopped_by": signals.received.name if status == "interrupted" and signals.received else None,
        "error": f"{len(failed)} of {len(manifest.runs)} runs failed" if failed else None,
        "run_id": None,
        "best": report.line(plan, rows[0]) if best else "",
        "metrics": {name: one.mean for name, one in best.items()}
        | deviations
        | {"runs": len(manifest.runs), "failures": len(failed)},
        "seconds": sum(run.seconds for run in manifest.runs),
    }


def _save_run_ids(sweep: Path) -> None:
    """Writes the MLflow ids into the runs' summaries, which were not known when the runs ended."""
    for path in folders.list_runs(sweep):
        summary = folders.read_summary(path)
        if summary and summary.get("run_id") != (run_id := DeliveryState.load(path).run_id):
            folders.write_summary(path, summary | {"run_id": run_id})
