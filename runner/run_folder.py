"""A run's own folder: made whole or not at all, held by a lock, found again by the digest at the end of its name."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.closest import closest_names
from components.types import UserError
from runner.files import NUMBER, Fields, check_fields, read_json, refuse_links, write_atomically

LOCK = "lock"  # the file of a folder that a process holds
LAST = "last"  # stands for the run that was begun last
LONGEST_NAME = 200  # bytes, of the 255 that a file's name may have
FILES = (LOCK, "delivery.lock", "log.txt", "delivery.log", "points.jsonl", "points.cut")  # that are never replaced
FOLDERS = ("checkpoints", "figures", "profile")
STALE_SECONDS = 60  # a folder is made in a moment
RECORD: dict[str, Any] = {
    "name": str,
    "digest": str,
    "created": NUMBER,
    "tags": dict,
    "parameters": dict,
    "datasets": list,
    "tracking": dict,
}
DATASET: Fields = {"name": str, "digest": str, "split": str, "rows": int}
END: Fields = {"status": str, "metrics": dict, "history": list, "seconds": NUMBER}  # as far as a run's end has them
EPOCH: Fields = {"epoch": int, "step": int}
NOT_THE_RUN = (
    "mode",
    "folder",
    "fresh",
    "resume",
    "quiet",
    "tracking",
    "experiment",
    "run",
    "output",
    "runs",
    "sweep",
    "training.check_memory",
    "training.profile",
    "training.keep_checkpoints",
)  # keys that change no result


class RunFolder:
    """A run's folder, locked until it is closed or the process ends, however it ends."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def close(self) -> None:
        """Gives the lock up."""
        os.close(self._lock)


def run_digest(values: Mapping[str, Any], fingerprint: str) -> str:
    """What a run is known by: its resolved configuration, without what changes no result, and its data."""
    text = json.dumps(select_run_settings(values), sort_keys=True)
    return hashlib.sha256(f"{text}\n{fingerprint}".encode()).hexdigest()[:10]


def select_run_settings(values: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """The part of a configuration that its results depend on."""
    return {
        key: select_run_settings(value, f"{key}.") if isinstance(value, Mapping) and not within else value
        for key, value in values.items()
        if f"{within}{key}" not in NOT_THE_RUN
    }


def create_folder(root: Path, name: str, digest: str, files: Mapping[str, str]) -> RunFolder:
    """A new locked folder `TIME_NAME_DIGEST` below `root`, with `files` in it from its first instant."""
    temporary = root / f".new_{os.getpid()}_{time.time_ns()}"
    lock = None
    try:
        remove_abandoned(root, ".new_*")
        temporary.mkdir(parents=True)
        lock = take_lock(temporary)
        assert lock is not None
        for file, text in files.items():
            (temporary / file).write_text(text, encoding="utf-8")
        return RunFolder(_place(temporary, root, name, digest), lock)
    except BaseException as error:
        if lock is not None:
            os.close(lock)
        if not isinstance(error, OSError):
            raise
        shutil.rmtree(temporary, ignore_errors=True)
        raise _unusable(root, error) from error


def check_root(root: Path) -> None:
    """Raises UserError where no folder can be made in `root`, or `root` itself can't be; leaves nothing there."""
    try:
        there = next(path for path in (root, *root.absolute().parents) if path.exists())
        probe = there / f".new_{os.getpid()}_{time.time_ns()}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise _unusable(root, error) from error


def _unusable(root: Path, error: OSError) -> UserError:
    reason = f"no run can be recorded there: {error.strerror}; mend that, or choose another `folder`"
    return UserError(f"folder={root}: {reason}")


def find_interrupted(root: Path, digest: str, same: Callable[[Path], bool] = lambda path: True) -> RunFolder | None:
    """The newest folder of that digest whose run neither ended nor lives, locked; None where there is none.

    `same` tells whether a folder's configuration is still that of its digest: a run may have been prolonged.
    """
    for path in sorted(root.glob(f"*_{digest}"), reverse=True):
        with suppress(PermissionError):  # somebody else's
            if _leads_away(path):
                continue
            if not can_resume(path):
                _tidy(path)
                continue
            if (found := _take(path, to_write=True)) is not None:
                if can_resume(path) and same(path):  # another process may have ended it meanwhile
                    return found
                found.close()
    return None


def find_run(root: Path, name: str, key: str = "resume") -> Path:
    """The folder that a path, a folder's name, an MLflow run id or `last` names; `key` is what asked for it."""
    for path in _candidates(root, name):
        if (path / "record.json").is_file():
            return path
    known = [path.name for path in list_runs(root)]
    near = closest_names(name, known, cutoff=0.4) or known[-3:]
    raise UserError(f"{key}={name}: no such run below {root}; there are {', '.join(near) or 'none'}")


def lock_folder(path: Path, *, to_write: bool = False) -> RunFolder:
    """A run's folder, locked; raises UserError where another process has it.

    Or, `to_write`, where a link stands for what a run writes to in its folder; all else is replaced whole.
    """
    if (found := _take(path, to_write=to_write)) is None:
        raise UserError(f"{path}: another process is running it")
    return found


def _take(path: Path, *, to_write: bool) -> RunFolder | None:
    if to_write:
        refuse_links(path / LOCK)
    if (lock := take_lock(path)) is None:
        return None
    try:
        refuse_links(*(path / name for name in (*FILES, *FOLDERS) if to_write))
        return _tidied(RunFolder(path, lock))
    except BaseException:
        os.close(lock)
        raise


def list_runs(root: Path) -> list[Path]:
    """The folders of all runs below `root`, oldest first; those of a sweep behind the sweep's own."""
    found = (path.parent for pattern in ("*/record.json", "*/*/record.json") for path in root.glob(pattern))
    shown = (path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))
    return sorted(path for path in shown if not _leads_away(path))


def _leads_away(path: Path) -> bool:
    """Whether a path is a link in the folder of a sweep, which holds its runs itself."""
    return path.is_symlink() and (path.parent / "record.json").exists()


def can_resume(path: Path) -> bool:
    """Whether a run was begun there and did not come to an end of its own."""
    return (path / "record.json").is_file() and read_summary(path).get("status", "interrupted") == "interrupted"


def read_record(path: Path) -> dict[str, Any]:
    """The `record.json` of a run's or a sweep's folder; raises UserError where it is missing or damaged."""
    file = path / "record.json"
    found = read_json(file)
    check_fields(file, found, RECORD | ({"kind": str} if "kind" in found else {}))
    for number, dataset in enumerate(found["datasets"]):
        check_fields(file, dataset, DATASET, f"datasets.{number}")
    check_fields(file, found["tags"], dict.fromkeys(found["tags"], str), "tags")
    if found["tracking"]:
        check_fields(file, found["tracking"], {"uri": str}, "tracking")
    return found


def read_summary(path: Path) -> dict[str, Any]:
    """What a run's folder says of its end; empty where it has none. Raises UserError where that is damaged."""
    file = path / "summary.json"
    if not file.exists():
        return {}
    found = read_json(file)
    check_fields(file, found, {key: kind for key, kind in END.items() if key in found})
    for number, epoch in enumerate(found.get("history", [])):
        check_fields(file, epoch, EPOCH, f"history.{number}")
    return found


def write_summary(path: Path, values: Mapping[str, Any]) -> None:
    """Writes what a run's folder says of its end."""
    write_atomically(path / "summary.json", json.dumps(values, indent=1))


def end_digest(folder: Path) -> str:
    """Tells one end of a run from another, and from that of a run that had no time to write a summary."""
    end = {key: value for key, value in read_summary(folder).items() if key != "run_id"}  # added after the delivery
    return hashlib.sha256(json.dumps(end, sort_keys=True).encode()).hexdigest() if end else "killed"


def _candidates(root: Path, name: str) -> Iterator[Path]:
    if name == LAST:
        yield from _newest(root)
        return
    yield Path(name)
    yield root / name
    for path in list_runs(root):
        if path.name == name:
            yield path
        with suppress(ValueError):  # one that is missing or damaged names no run
            if read_json(path / "delivered.json").get("run_id") == name:
                yield path


def _newest(root: Path) -> Iterator[Path]:
    """The run that was begun last, of a sweep or alone; nothing where there is none."""
    created = {}
    for path in list_runs(root):
        with suppress(ValueError, KeyError, TypeError):  # a damaged record is nobody's last
            record = read_json(path / "record.json")
            if record["kind"] == "run":
                created[path] = float(record["created"])
    yield from sorted(created, key=lambda path: (created[path], path))[-1:]


def is_held(path: Path) -> bool:
    """Whether a process lives that runs in a folder."""
    if (lock := take_lock(path)) is None:
        return True
    os.close(lock)
    return False


def open_lock(path: Path) -> int:
    """The descriptor of a file to be locked, made where it lacks; a link in its place is an OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)


def take_lock(path: Path) -> int | None:
    """The descriptor that holds a folder's lock; None where another process has it."""
    lock = open_lock(path / LOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _tidy(path: Path) -> None:
    """Removes what a process left in a folder that was killed after its run's end."""
    with suppress(OSError):
        if (found := _take(path, to_write=False)) is not None:
            found.close()


def _tidied(folder: RunFolder) -> RunFolder:
    """Without what a process left that was killed as it wrote a file; what the delivery writes is not the run's."""
    for path in folder.path.glob("*.tmp"):
        if path.name not in ("delivered.tmp", "names.tmp"):
            path.unlink(missing_ok=True)
    return folder


def remove_abandoned(root: Path, pattern: str) -> None:
    """Removes the folders that processes were making, each with its lock, when they were killed."""
    for path in root.glob(pattern):
        with suppress(OSError):  # renamed or removed by another process meanwhile, or somebody else's
            if time.time() - path.stat().st_mtime > STALE_SECONDS and (lock := take_lock(path)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _place(temporary: Path, root: Path, name: str, digest: str) -> Path:
    """Renames the folder into a name that no other has; a rename onto a folder that holds something fails."""
    stamp, name = time.strftime("%Y-%m-%d_%H-%M-%S"), _short(name)
    count = 1
    while True:
        path = root / "_".join([stamp, name, *([str(count)] if count > 1 else []), digest])
        try:
            temporary.rename(path)
            return path
        except OSError:
            if not path.exists():
                raise
            count += 1


def _short(name: str) -> str:
    """A name that leaves room for the rest of a folder's; of a long one the beginning, and a digest of it all."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: LONGEST_NAME - 9].decode(errors='ignore')}~{mark}"
