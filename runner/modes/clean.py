"""`mode=clean`: frees the disk of runs' checkpoints, or of whole runs, and says first what would go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.types import UserError
from runner.display.tables import Section, print_tables
from runner.modes.listing import DAMAGED, Entry, entries
from runner.modes.runs import nothing
from runner.modes.selection import select
from runner.run_folder import is_running, lock_folder

if TYPE_CHECKING:
    from runner.config.config import Config

GOING = ".old_"  # how a folder's name begins while it is deleted: a kill leaves nothing that looks like a run
UNDELIVERED = "MLflow lacks some of its record: `titrate mode=deliver` brings it there, tracking=none gives it up"


class Doomed(NamedTuple):
    """What is to be deleted of a run."""

    entry: Entry
    paths: tuple[Path, ...]  # files, or its folder
    size: int  # bytes


def command(config: Config) -> int:
    """Deletes what `runs.delete` says of all runs that `runs.where` names, or without `runs.confirm` lists it.

    Returns 1 where the disk didn't let go of something.
    """
    root, wanted = Path(config.values["folder"]), config.values["runs"]
    if not (wanted["where"] or "").strip():
        raise UserError('runs.where: is missing; mode=clean deletes of the runs that it names: "status = failed"')
    found = entries(root)
    chosen = select(found, wanted["where"], wanted["sort"])
    if not chosen:
        print(nothing(root, found, wanted["where"]))
        return 0
    folders, given_up = wanted["delete"] == "folders", config.choices.get("tracking") == "none"
    kept = dict(_linked(root, chosen))
    chosen = [entry for entry in chosen if entry.path not in kept]
    kept |= dict(_whole(chosen, found, given_up) if folders else _alive(chosen))
    doomed = [one for entry in chosen if entry.path not in kept and (one := _doomed(entry, folders)).paths]
    doomed.sort(key=lambda one: -len(one.entry.path.parts))  # a sweep behind its runs
    failed = _deleted(root, doomed, kept) if wanted["confirm"] else False
    gone = [one for one in doomed if one.entry.path not in kept]
    if gone:
        print_tables([Section("", [["status", "size", "folder"], *map(_row, gone)])])
    for path, reason in kept.items():
        print(f"kept {path.relative_to(root)}: {reason}")
    print(_total(gone, folders, wanted["confirm"]))
    return 1 if failed else 0


def _linked(root: Path, chosen: Sequence[Entry]) -> Iterator[tuple[Path, str]]:
    """The runs whose folder or checkpoints are links, with that as the reason: what stands elsewhere is not theirs."""
    for entry in chosen:
        above = entry.path.parents[: len(entry.path.relative_to(root).parts) - 1]
        for path in (entry.path, *above, entry.path / "checkpoints"):
            if path.is_symlink():
                yield entry.path, f"{path.relative_to(root)} is a link, and nothing is deleted through links"


def _alive(chosen: Sequence[Entry]) -> Iterator[tuple[Path, str]]:
    """The runs that a process has, or whose sweep one has, with that as the reason to keep them."""
    for entry in chosen:
        places = (entry.path, entry.path.parent)
        try:
            if any((path / "lock").exists() and is_running(path) for path in places):
                yield entry.path, "a process is running it"
        except OSError as error:  # somebody else's
            yield entry.path, f"{error.strerror or error}"


def _whole(chosen: Sequence[Entry], found: Sequence[Entry], given_up: bool) -> Iterator[tuple[Path, str]]:
    """The folders that must stay, and why: of living runs, of undelivered ones, and of sweeps that hold other runs."""
    kept = dict(_alive(chosen))
    if not given_up:
        kept |= {entry.path: UNDELIVERED for entry in chosen if entry.path not in kept and _is_undelivered(entry)}
    going = {entry.path for entry in chosen} - kept.keys()
    for entry in chosen:
        inside = [one for one in found if one.path.parent == entry.path and one.path not in going]
        if inside and entry.path not in kept:
            kept[entry.path] = f"runs of it stay ({len(inside)}), which runs.where doesn't name or which can't go"
    yield from kept.items()


def _is_undelivered(entry: Entry) -> bool:
    """Whether a record in MLflow is not whole; what a damaged folder has can't be delivered."""
    from runner.tracking.deliver import is_pending

    return entry.facts["status"] != DAMAGED and is_pending(entry.path)


def _doomed(entry: Entry, folders: bool) -> Doomed:
    paths = (entry.path,) if folders else tuple(_spare(entry))
    return Doomed(entry, paths, sum(map(_size, paths)))


def _spare(entry: Entry) -> Iterator[Path]:
    """The checkpoints that nothing needs any more.

    A run that has finished keeps its best weights, for mode=evaluate, predict and look, and can't be prolonged then;
    any other keeps what it goes on from.
    """
    folder = entry.path / "checkpoints"
    states, best = sorted(folder.glob("step_*.npz")), sorted(folder.glob("best_*.npz"))
    if entry.facts["status"] == "finished" and best:
        yield from (*states, *best[:-1])
    else:
        yield from states[:-1]
    yield from (*folder.glob("*.damaged"), *folder.glob("*.tmp"))


def _size(path: Path) -> int:
    """The bytes of a file, or of a folder without those of the runs in it."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(_size(inner) for inner in path.iterdir() if not (inner / "record.json").is_file())


def _deleted(root: Path, doomed: Sequence[Doomed], kept: dict[Path, str]) -> bool:
    """Deletes, and notes in `kept` what had to stay after all; whether the disk didn't let go of something."""
    failed = False
    for leftover in (*root.glob(f"{GOING}*"), *root.glob(f"*/{GOING}*")):  # of a clean that was killed
        if not leftover.parent.is_symlink() or leftover.parent == root:
            shutil.rmtree(leftover, ignore_errors=True)
    for entry, paths, _ in doomed:
        try:
            if any(entry.path in path.parents for path in kept):
                raise UserError("runs of it stay")
            _held(entry.path, paths)
        except UserError as error:
            kept[entry.path] = str(error)
        except OSError as error:
            kept[entry.path] = error.strerror or str(error)
            failed = True
    return failed


def _held(folder: Path, paths: Sequence[Path]) -> None:
    """Deletes while no process can begin to run there; raises UserError where one does."""
    held = lock_folder(folder)
    try:
        for path in paths:
            _delete(path)
    finally:
        held.close()


def _delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    going = path.with_name(f"{GOING}{path.name}")
    path.rename(going)
    shutil.rmtree(going)


def _row(one: Doomed) -> list[str]:
    return [str(one.entry.facts["status"]), _megabytes(one.size), str(one.entry.facts["folder"])]


def _total(gone: Sequence[Doomed], folders: bool, confirmed: bool) -> str:
    what = f"{len(gone)} folders" if folders else f"checkpoints of {len(gone)} runs"
    size = _megabytes(sum(one.size for one in gone))
    if confirmed or not gone:
        return f"deleted {what}, {size}" if confirmed else "nothing to delete"
    return f"{what}, {size}, would go; runs.confirm=true deletes them"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"
