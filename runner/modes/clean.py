"""`mode=clean`: removes checkpoints, or whole folders, of selected runs, or the cache.

Without `runs.confirm`, it only lists them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.types import UserError
from runner.display.tables import describe_left_out
from runner.modes.clean_cache import clean_cache
from runner.modes.listing import DAMAGED, RunInfo, read_runs
from runner.modes.runs import describe_no_runs, find_named_fields, print_runs
from runner.modes.selection import select_runs
from runner.run_folder import is_running, lock_folder
from runner.terminal import write_line

if TYPE_CHECKING:
    from runner.config.config import Config

BEING_REMOVED = ".old_"  # start of a folder's name while it is removed: after a kill it doesn't look like a run
UNDELIVERED = "part of its record is not in MLflow; `titrate mode=deliver` sends it, tracking=none removes it unsent"


class Removal(NamedTuple):
    """What is removed of a run.

    Attributes:
        run: the run.
        paths: its folder, or files in it.
        size: bytes.
    """

    run: RunInfo
    paths: tuple[Path, ...]
    size: int


def command(config: Config) -> int:
    """Removes the checkpoints or the folders of the runs that `runs.where` selects, or the cache, or only lists them.

    `runs.delete` is `checkpoints`, `folders` or `cache`. Nothing is removed unless `runs.confirm` is set.

    Returns:
        The exit code. 1: something could not be removed.
    """
    root, settings = Path(config.values["folder"]), config.values["runs"]
    if settings["delete"] == "cache":
        if settings["where"] is not None:
            raise UserError(
                f"runs.where: selects runs, and runs.delete=cache removes data that belongs to no run, got "
                f"{settings['where']}. Leave it out."
            )
        return clean_cache(confirmed=settings["confirm"])
    if not (settings["where"] or "").strip():
        raise UserError('runs.where: is missing. mode=clean needs a condition, such as "status = failed".')
    runs = read_runs(root)
    selected = select_runs(runs, settings["where"], settings["sort"])
    if not selected:
        write_line(describe_no_runs(root, runs, settings["where"]))
        return 0
    whole_folders, confirmed = settings["delete"] == "folders", settings["confirm"]
    kept = dict(_find_links(root, selected))  # the reasons by path
    selected = [run for run in selected if run.path not in kept]
    if whole_folders:
        kept |= _find_needed(selected, runs, keep_undelivered=config.choices.get("tracking") != "none")
    else:
        kept |= dict(_find_running(selected))
    removals = [_plan_removal(run, whole_folders=whole_folders) for run in selected if run.path not in kept]
    removals = [removal for removal in removals if removal.paths]
    removals.sort(key=lambda removal: -len(removal.run.path.parts))  # the runs of a sweep before the sweep
    failed = _remove_all(root, removals, kept) if confirmed else False
    removals = [removal for removal in removals if removal.run.path not in kept]
    if removals:
        _print(removals, settings, runs)
    for path, reason in kept.items():
        write_line(f"kept {path.relative_to(root)}: {reason}")
    write_line(_summarize(removals, whole_folders=whole_folders, confirmed=confirmed))
    return 1 if failed else 0


def _find_links(root: Path, runs: Sequence[RunInfo]) -> Iterator[tuple[Path, str]]:
    """The runs whose folder or checkpoints are links, each with the reason to keep it."""
    for run in runs:
        parents = run.path.parents[: len(run.path.relative_to(root).parts) - 1]  # below `root`
        for path in (run.path, *parents, run.path / "checkpoints"):
            if path.is_symlink():
                yield run.path, f"{path.relative_to(root)} is a link, and nothing is removed through links"


def _find_running(runs: Sequence[RunInfo]) -> Iterator[tuple[Path, str]]:
    """The runs that a process runs, alone or in a sweep, each with the reason to keep it."""
    for run in runs:
        try:
            if any((path / "lock").exists() and is_running(path) for path in (run.path, run.path.parent)):
                yield run.path, "a process is running it"
        except OSError as error:  # another user's
            yield run.path, f"{error.strerror or error}"


def _find_needed(selected: Sequence[RunInfo], runs: Sequence[RunInfo], *, keep_undelivered: bool) -> dict[Path, str]:
    """The folders to keep, with the reasons: of running or undelivered runs, and of sweeps that hold a kept run."""
    kept = dict(_find_running(selected))
    if keep_undelivered:
        kept |= {run.path: UNDELIVERED for run in selected if run.path not in kept and _is_undelivered(run)}
    removed = {run.path for run in selected} - kept.keys()
    for run in selected:
        remaining = [other for other in runs if other.path.parent == run.path and other.path not in removed]
        if remaining and run.path not in kept:
            are_kept = "1 run that is" if len(remaining) == 1 else f"{len(remaining)} runs that are"
            kept[run.path] = f"it holds {are_kept} kept, or that runs.where does not select"
    return kept


def _is_undelivered(run: RunInfo) -> bool:
    """Whether a part of the record is not in MLflow. A damaged folder can't be delivered, so nothing waits for it."""
    from runner.tracking.deliver import is_pending

    return run.facts["status"] != DAMAGED and is_pending(run.path)


def _plan_removal(run: RunInfo, *, whole_folders: bool) -> Removal:
    paths = (run.path,) if whole_folders else tuple(_find_spare_checkpoints(run))
    return Removal(run, paths, sum(map(_size, paths)))


def _find_spare_checkpoints(run: RunInfo) -> Iterator[Path]:
    """The checkpoints that nothing needs any more.

    A finished run keeps its best weights, for mode=evaluate, predict and look; it can't be extended afterwards. Any
    other run keeps the checkpoint that it resumes from.
    """
    folder = run.path / "checkpoints"
    states, best = sorted(folder.glob("step_*.npz")), sorted(folder.glob("best_*.npz"))
    if run.facts["status"] == "finished" and best:
        yield from (*states, *best[:-1])
    else:
        yield from states[:-1]
    yield from (*folder.glob("*.damaged"), *folder.glob("*.tmp"))


def _size(path: Path) -> int:
    """Bytes of a file, or of a folder without the runs in it."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(_size(inner) for inner in path.iterdir() if not (inner / "record.json").is_file())


def _remove_all(root: Path, removals: Sequence[Removal], kept: dict[Path, str]) -> bool:
    """Removes files and folders, and adds to `kept` the runs that can't be removed, with the reasons.

    Returns:
        Whether the operating system refused to remove something.
    """
    failed = False
    for leftover in (*root.glob(f"{BEING_REMOVED}*"), *root.glob(f"*/{BEING_REMOVED}*")):  # of a killed process
        if not leftover.parent.is_symlink() or leftover.parent == root:
            shutil.rmtree(leftover, ignore_errors=True)
    for run, paths, _ in removals:
        try:
            if any(run.path in path.parents for path in kept):
                raise UserError("it holds runs that are kept")
            _remove_locked(run.path, paths)
        except UserError as error:
            kept[run.path] = str(error)
        except OSError as error:
            kept[run.path] = error.strerror or str(error)
            failed = True
    return failed


def _remove_locked(folder: Path, paths: Sequence[Path]) -> None:
    """Removes paths of a run while its folder is locked. Raises UserError if a process is running it."""
    lock = lock_folder(folder)
    try:
        for path in paths:
            _remove(path)
    finally:
        lock.close()


def _remove(path: Path) -> None:
    """Removes a file or a folder. A folder is renamed first, so that a kill leaves no half of a run."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    renamed = path.with_name(f"{BEING_REMOVED}{path.name}")
    path.rename(renamed)
    shutil.rmtree(renamed)


def _print(removals: Sequence[Removal], settings: Mapping[str, Any], runs: Sequence[RunInfo]) -> None:
    """Prints a table of what is removed, with the fields that `runs` names, or those of `runs.columns` alone."""
    chosen, requested = find_named_fields(settings, runs)
    columns = list(dict.fromkeys([*(chosen or [*requested, "status"]), "size", "folder"]))
    shown = [replace(run, facts={**run.facts, "size": _megabytes(size)}) for run, _, size in removals]
    if left_out := print_runs(shown, columns, requested, runs, is_chosen=bool(chosen)):
        write_line(describe_left_out(left_out, "`| cat` shows all"))


def _summarize(removals: Sequence[Removal], *, whole_folders: bool, confirmed: bool) -> str:
    """The last line: what was removed, or would be."""
    unit = "folder" if whole_folders else "run"
    count = f"{len(removals)} {unit}{'s' if len(removals) > 1 else ''}"
    what = count if whole_folders else f"the checkpoints of {count}"
    size = _megabytes(sum(removal.size for removal in removals))
    if confirmed:
        return f"removed {what}, {size}"
    return f"would remove {what}, {size}; add runs.confirm=true to remove them" if removals else "nothing to remove"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"
