"""A sweep from its plan to its ranking; a run that fails stops none of the others."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.types import Source, UserError
from runner import folder as folders
from runner import platform, record
from runner.build import resolve
from runner.compose import to_yaml
from runner.data import cache_folder
from runner.execution import DELIVERY_SECONDS, Result, conduct
from runner.folder import Folder
from runner.opening import Member
from runner.preparation import told, tracking_of
from runner.signals import Signals
from runner.sweep import outcome, ranking, report
from runner.sweep.outcome import Manifest, Outcome
from runner.sweep.plan import Plan, Setting
from runner.tracking import Delivery
from runner.tree import parts


@dataclass(frozen=True)
class SweepResult:
    """What came of a sweep."""

    status: str  # finished, failed (some of its runs), interrupted
    ranking: tuple[ranking.Row, ...]  # from best to worst
    runs: tuple[Outcome, ...]  # in the order of the plan
    folder: Path
    run_id: str | None  # of the parent in MLflow
    signal: int | None = None  # what interrupted it


def launch(plan: Plan, *, source: Source | None = None) -> SweepResult:
    """Runs what is planned, each in a folder within the sweep's, and ranks it.

    Raises UserError where the sweep can't be recorded; what is wrong with one run is told in its outcome.
    """
    quiet = plan.settings[0].config.values["quiet"]
    if not quiet:
        report.plan(plan)
    platform.prepare(cache_folder())
    _import(plan)
    tracking = tracking_of(plan.settings[0].config)
    with Signals() as signals:
        folder, manifest = _open(plan, tracking)
        with contextlib.closing(folder):
            delivery = tracking.start(folder.path)
            try:
                _run_all(plan, manifest, _Surroundings(folder, delivery, signals, source, quiet))
            finally:
                rows = ranking.rank(manifest)
                ranking.save(folder.path, manifest, rows)
                summary = _summary(plan, manifest, rows, signals)
                _write(folder, summary)
                run_id = delivery.close(DELIVERY_SECONDS)
            _write(folder, summary | {"run_id": run_id})
    report.end(plan, manifest, rows, summary, folder.path, tracking.describe(), delivery.warning(), quiet)
    return SweepResult(summary["status"], tuple(rows), tuple(manifest.runs), folder.path, run_id, signals.received)


@dataclass(frozen=True)
class _Surroundings:
    """What all runs of a sweep share."""

    folder: Folder
    delivery: Delivery
    signals: Signals
    source: Source | None
    quiet: bool


def _import(plan: Plan) -> None:
    """Imports every part at once: what is edited while the sweep runs changes nothing."""
    for setting in plan.settings:
        with told(setting.config):
            for target in {node["_target_"] for _, node in parts(setting.config.values)}:
                resolve(target)


def _open(plan: Plan, tracking: Any) -> tuple[Folder, Manifest]:
    """The sweep's folder: that of the same sweep where it was interrupted, else a new one."""
    config = plan.settings[0].config
    root = Path(config.values["folder"])
    mark = folders.digest({"settings": [setting.digest for setting in plan.settings]}, "")
    if not config.values["fresh"] and (found := folders.interrupted(root, mark)) is not None:
        (found.path / "summary.json").unlink(missing_ok=True)
        return found, outcome.load(found.path)
    made = record.of_sweep(config, plan.words, outcome.common(plan.settings), mark, tracking.describe())
    manifest = outcome.begin(plan)
    files = {
        "record.json": json.dumps(made, indent=1),
        "overrides.yaml": to_yaml(list(plan.words)),
        "config.yaml": to_yaml(outcome.common(plan.settings)),
        outcome.FILE: json.dumps({}),
    }
    folder = folders.create(root, made["name"], mark, files)
    manifest.save(folder.path)
    return folder, manifest


def _run_all(plan: Plan, manifest: Manifest, around: _Surroundings) -> None:
    """Runs what has not finished yet, one after the other, until a signal comes."""
    total = len(plan.settings)
    for place, (setting, one) in enumerate(zip(plan.settings, manifest.runs, strict=True), 1):
        if one.status != "finished":
            began = time.monotonic()
            for name, value in _outcome(setting, _member(setting, place, total, around), around, manifest).items():
                setattr(one, name, value)
            one.seconds = time.monotonic() - began
            manifest.save(around.folder.path)
        if not around.quiet:
            report.run(place, total, one, manifest)
        if around.signals.received:
            return


def _member(setting: Setting, place: int, total: int, around: _Surroundings) -> Member:
    label = f"{place:0{len(str(total))}}"
    return Member(around.folder.path, around.delivery, ", ".join(setting.varied) or label, label, f"{place}/{total}")


def _outcome(setting: Setting, member: Member, around: _Surroundings, manifest: Manifest) -> Mapping[str, Any]:
    """Runs one setting; what is wrong with it is its own outcome."""
    before = set(folders.runs(member.folder))
    try:
        result = conduct(setting.config, around.signals, source=around.source, member=member)
    except Exception as error:  # whatever a part raises: its traceback is in the run's log, the others have their turn
        made = sorted(set(folders.runs(member.folder)) - before)
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return {"status": "failed", "error": text, "folder": made[0].name if made else None}
    manifest.monitor, manifest.higher_is_better = result.monitor, result.higher_is_better
    return dict(_said(result))


def _said(result: Result) -> Iterator[tuple[str, Any]]:
    yield "status", result.status
    yield "folder", result.folder.name
    yield "metrics", dict(result.metrics)
    yield "error", result.error


def _summary(plan: Plan, manifest: Manifest, rows: list[ranking.Row], signals: Signals) -> dict[str, Any]:
    failed = [run for run in manifest.runs if run.status not in ("finished", "interrupted", None)]
    over = all(run.status not in ("interrupted", None) for run in manifest.runs)
    status = ("failed" if failed else "finished") if over else "interrupted"
    best = rows[0].figures if rows else {}
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


def _write(folder: Folder, summary: Mapping[str, Any]) -> None:
    folders.write_atomically(folder.path / "summary.json", json.dumps(summary, indent=1))
