"""Launches a sweep: executes every planned run, then ranks them. A failed run doesn't stop the others."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.types import Source, UserError
from runner import yaml_file
from runner.config.provenance import errors_with_origin
from runner.credentials import scrub
from runner.data.python_rows import PythonData, PythonTable
from runner.display.frames import make_frame
from runner.display.html import format_html
from runner.display.progress import make_progress
from runner.errors import DiskError, describe_failure
from runner.execution.execute import as_disk_error, execute_with_signals
from runner.execution.open_folder import SweepMember, diff_files
from runner.execution.prepare import build_tracking, with_python_source
from runner.files import write_atomically
from runner.platform import cache_folder, start_jax
from runner.record.description import describe_sweep, run_name
from runner.record.naming import title_member, title_sweep
from runner.run_folder import (
    MANIFEST,
    RunFolder,
    check_root,
    create_folder,
    creation_order,
    find_interrupted,
    list_runs,
    read_summary,
    run_digest,
    write_summary,
)
from runner.signature.build import build_source, import_target
from runner.signature.operations import build_operations, operate, separate_options
from runner.sweep.manifest import Manifest, SweepRun, create_manifest, load_manifest, shared_values
from runner.sweep.plan import Plan, PlannedRun
from runner.sweep.ranking import Candidate, format_table, rank, save_ranking, tabulate
from runner.sweep.report import format_candidate_command, print_end, print_plan, print_resumed, print_run
from runner.tracking import DELIVERY_SECONDS, Delivery, describe_view, note_missing
from runner.tracking.state import DeliveryState
from runner.training.signals import Signals
from runner.tree import iterate_parts

if TYPE_CHECKING:
    import pandas

    from runner.figures import Figures

RESULT_FIELDS = (
    "status",
    "metrics",
    "error",
    "monitor",
    "higher_is_better",
)  # fields of a run's result in the manifest


@dataclass(frozen=True, repr=False)
class SweepResult:
    """The result of a sweep.

    Attributes:
        status: `finished`, `failed` (at least one run failed) or `interrupted`.
        candidates: the candidates from best to worst. Runs that differ only in a seed or a fold are one candidate.
        manifest: the runs, and the metric that ranks them.
        folder: the sweep's folder, absolute.
        run_id: the parent run in MLflow, if its id is known by now.
        signal: the signal that interrupted the sweep.
    """

    status: str
    candidates: tuple[Candidate, ...]
    manifest: Manifest
    folder: Path
    run_id: str | None
    signal: int | None = None

    @property
    def runs(self) -> tuple[SweepRun, ...]:
        """The runs in the order of the plan."""
        return tuple(self.manifest.runs)

    @property
    def best_folder(self) -> Path | None:
        """The folder of the best run, for `runner.load`; None: no run has finished, or the runs can't be ranked."""
        best = None if self.manifest.incomparable or not self.candidates else self.candidates[0].folder
        return self.folder / best if best else None

    @property
    def ranking(self) -> pandas.DataFrame:
        """The candidates from best to worst as a data frame: their values, the means and deviations of metrics, and
        the folder of the best run of each.
        """
        return make_frame(tabulate(self.manifest, self.candidates))

    def figures(self) -> Figures:
        """Draws the figure of the sweep: the monitored metric by each value."""
        from runner.figures import Figures, draw  # imports Matplotlib

        draw(self.folder)
        return Figures(self.folder)

    def __repr__(self) -> str:
        parts = [self.status, f"{len(self.runs)} runs"]
        if self.candidates and not self.manifest.incomparable:
            metrics = self.candidates[0].metrics.items()
            best = [*self.candidates[0].overrides, *(f"{name}={value}" for name, value in metrics)]
            parts.append(f"best: {' '.join(best)}")
        return f"SweepResult({', '.join([*parts, f'folder={self.folder.name}'])})"

    def _repr_html_(self) -> str:
        facts = [("status", self.status), ("folder", str(self.folder))]
        facts += [("not ranked", self.manifest.incomparable)] if self.manifest.incomparable else []
        facts += [(" ".join(run.overrides) or "run", run.error) for run in self.runs if run.error]
        return format_html(f"Sweep of {len(self.runs)} runs", facts, format_table(self.manifest, self.candidates))


def launch(plan: Plan, *, source: PythonData | None = None) -> SweepResult:
    """Executes every run of a plan, each in a folder within the sweep's, and ranks the candidates.

    A run that fails doesn't stop the others; the result has its error.

    Args:
        plan: the plan.
        source: takes the place of the source that `data` names.

    Raises:
        UserError: the sweep can't be recorded.
        RunError: the disk fails.
    """
    quiet = plan.runs[0].config.values["quiet"]
    if not quiet:
        print_plan(plan)
    start_jax(cache_folder())
    _import_parts(plan)
    tracking = build_tracking(plan.runs[0].config)
    with Signals() as signals:
        folder, manifest = _open_folder(plan, tracking, source)
        progress = make_progress(quiet=quiet)
        with contextlib.closing(folder), as_disk_error(folder.path), contextlib.closing(progress):
            delivery = tracking.start(folder.path)
            try:
                shared = _SharedResources(folder, delivery, signals, source, quiet)
                candidates, summary = _run_and_rank(plan, manifest, shared)
            finally:
                with progress.working("bringing the record to MLflow"):
                    run_id = delivery.close(DELIVERY_SECONDS)
            record = describe_view(folder.path, tracking.describe())
            progress.close()  # lines that are printed above a live line get line breaks, so no path could be copied
            print_end(manifest, candidates, summary, folder.path, record, quiet)
            write_summary(folder.path, summary | {"run_id": run_id})
            _save_run_ids(folder.path)
            if note := delivery.describe_missing():
                note_missing(note, progress, quiet=quiet)
    return SweepResult(
        status=summary["status"],
        candidates=tuple(candidates),
        manifest=manifest,
        folder=folder.path.absolute(),
        run_id=run_id,
        signal=signals.received,
    )


@dataclass(frozen=True)
class _SharedResources:
    """The resources that all runs of a sweep share."""

    folder: RunFolder
    delivery: Delivery
    signals: Signals
    source: PythonData | None
    quiet: bool
    printed_messages: set[str] = field(default_factory=set)


def _import_parts(plan: Plan) -> None:
    """Imports every part before the first run, so that edits during the sweep change nothing."""
    for run in plan.runs:
        with errors_with_origin(run.config):
            for target in {node["_target_"] for _, node in iterate_parts(run.config.values)}:
                import_target(target)


def _open_folder(plan: Plan, tracking: Any, source: PythonData | None) -> tuple[RunFolder, Manifest]:
    """Opens the folder of the same sweep if it was interrupted, otherwise a new one."""
    config = plan.runs[0].config
    root = Path(config.values["folder"])
    check_root(root)
    digest = run_digest({"settings": [run.digest for run in plan.runs]}, _fingerprint_data(plan, source))
    if not config.values["fresh"] and (folder := find_interrupted(root, digest)) is not None:
        (folder.path / "summary.json").unlink(missing_ok=True)
        return folder, load_manifest(folder.path)
    values, choices = shared_values(plan.runs)
    shared = replace(config, choices=choices, values=config.values | {"experiment": values.get("experiment")})
    varied = plan.varied_keys()
    shared = with_python_source(shared, source)
    title = title_sweep(shared, plan.common, varied, len(plan.runs))
    record = describe_sweep(shared, plan.overrides, title, varied, values | choices, digest, tracking.describe())
    manifest = create_manifest(plan)
    files = {
        "record.json": json.dumps(record, indent=1),
        "overrides.yaml": yaml_file.dump(list(plan.overrides)),
        "config.yaml": yaml_file.dump(values),
        MANIFEST: manifest.to_json(),
        **diff_files(tracking),
    }
    return create_folder(root, record["name"], digest, files), manifest


def _fingerprint_data(plan: Plan, source: PythonData | None) -> str:
    """The fingerprints of all runs' data, as text; a source with an error is left out, since its runs raise it."""
    fingerprints: dict[str, str] = {}  # by the configuration of the data, because runs may share it
    for run in plan.runs:
        nodes = run.config.values["data"], run.config.values["operations"]
        text = json.dumps(nodes, sort_keys=True)
        if text in fingerprints:
            continue
        with contextlib.suppress(UserError, OSError):
            operations = build_operations(nodes[1])
            node, options = separate_options(nodes[0], operations)
            fingerprints[text] = operate(_open_source(node, source), operations, **options).fingerprint()
    return json.dumps(fingerprints, sort_keys=True)


def _open_source(node: Mapping[str, Any], source: PythonData | None) -> Source:
    if source is None:
        return build_source(node)
    return source.make_source(node) if isinstance(source, PythonTable) else source


def _run_and_rank(plan: Plan, manifest: Manifest, shared: _SharedResources) -> tuple[list[Candidate], dict[str, Any]]:
    """Executes all runs, then writes the ranking and the summary, also after an error. Returns both."""
    try:
        _run_all(plan, manifest, shared)
    finally:
        candidates = rank(manifest)
        summary = _summarize(plan, manifest, candidates, shared.signals)
        with contextlib.suppress(OSError):  # the disk may be full
            save_ranking(shared.folder.path, manifest, candidates)
            write_summary(shared.folder.path, summary)
    return candidates, summary


def _run_all(plan: Plan, manifest: Manifest, shared: _SharedResources) -> None:
    """Executes the runs that have not ended yet, one after the other, until a signal arrives."""
    total = len(plan.runs)
    started = sum(run.status is not None for run in manifest.runs)
    if started and not shared.quiet:
        print_resumed(shared.folder.path, started, total)
    for number, (planned, run) in enumerate(zip(plan.runs, manifest.runs, strict=True), 1):
        ended_before = run.status not in (None, "interrupted")
        if not ended_before:
            start = time.monotonic()
            member = _make_member(planned, number, total, shared)
            result = _find_unrecorded_result(member) or _run_member(planned, member, shared)
            manifest.monitor = result.pop("monitor", manifest.monitor)
            manifest.higher_is_better = result.pop("higher_is_better", manifest.higher_is_better)
            vars(run).update(result)
            run.seconds += time.monotonic() - start
            manifest.save(shared.folder.path)
        if not shared.quiet:
            print_run(number, total, run, manifest, ended_before=ended_before)
        if shared.signals.received:
            return


def _make_member(run: PlannedRun, number: int, total: int, shared: _SharedResources) -> SweepMember:
    label = f"{number:0{len(str(total))}}"
    name = ", ".join(run.overrides) or run_name(run.config)
    title = title_member(with_python_source(run.config, shared.source), run.overrides)
    position = f"{number}/{total}"
    return SweepMember(shared.folder.path, shared.delivery, name, title, label, position, shared.printed_messages)


def _find_unrecorded_result(member: SweepMember) -> dict[str, Any] | None:
    """The result of a run that ended, where the sweep was killed before `sweep.json` held it."""
    for path in _list_folders(member):
        summary = read_summary(path)
        if summary.get("status") in ("finished", "diverged"):
            return {key: summary[key] for key in RESULT_FIELDS} | {"folder": path.name}
    return None


def _list_folders(member: SweepMember) -> list[Path]:
    """The folders of a run, oldest first. A run whose checkpoints were lost has started again in another folder."""
    paths = member.folder.glob(f"????-??-??_??-??-??_{member.label}_*")
    return sorted((path for path in paths if not path.is_symlink()), key=creation_order)


def _run_member(run: PlannedRun, member: SweepMember, shared: _SharedResources) -> dict[str, Any]:
    """Executes one run. Returns its result or its error; only a failing disk raises, and stops the sweep."""
    folders_before = _list_folders(member)
    try:
        result = execute_with_signals(run.config, shared.signals, source=shared.source, member=member)
    except DiskError:
        raise
    except Exception as error:  # a part may raise anything; the run's log has the traceback, and the next run starts
        new_folders = [path for path in _list_folders(member) if path not in folders_before]
        return {
            "status": "failed",
            "error": describe_failure(error),
            "folder": new_folders[0].name if new_folders else _save_traceback(member),
        }
    return {key: getattr(result, key) for key in RESULT_FIELDS} | {"folder": result.folder.name}


def _save_traceback(member: SweepMember) -> str:
    """Writes the traceback of a run without a folder; returns the file's name."""
    name = f"failed_{member.label}.txt"
    write_atomically(member.folder / name, scrub(traceback.format_exc()))
    return name


def _summarize(plan: Plan, manifest: Manifest, candidates: list[Candidate], signals: Signals) -> dict[str, Any]:
    """The `summary.json` of the sweep."""
    failed = [run for run in manifest.runs if run.status not in ("finished", "interrupted", None)]
    if any(run.status in ("interrupted", None) for run in manifest.runs):
        status = "interrupted"
    else:
        status = "failed" if failed else "finished"
    best = candidates[0].metrics if candidates and not manifest.incomparable else {}
    means = {name: metric.mean for name, metric in best.items()}
    deviations = {
        f"deviation/{name}": metric.deviation for name, metric in best.items() if metric.deviation is not None
    }
    return {
        "status": status,
        "stopped_by": signals.received.name if status == "interrupted" and signals.received else None,
        "error": f"{len(failed)} of {len(manifest.runs)} runs failed" if failed else None,
        "run_id": None,
        "best": format_candidate_command(plan, candidates[0]) if best else "",
        "best_folder": candidates[0].folder if best else "",
        "metrics": means | deviations | {"runs": len(manifest.runs), "failures": len(failed)},
        "seconds": sum(run.seconds for run in manifest.runs),
    }


def _save_run_ids(sweep: Path) -> None:
    """Writes the MLflow ids into the summaries of the runs. They may have been unknown when the runs ended."""
    for path in list_runs(sweep):
        run_id = DeliveryState.load(path).run_id
        summary = read_summary(path)
        if summary and summary.get("run_id") != run_id:
            write_summary(path, summary | {"run_id": run_id})
