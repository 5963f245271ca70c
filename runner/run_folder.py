"""The folder of a run: created atomically, locked while a process runs in it, and found by name or by digest."""

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
from runner.files import NUMBER, Fields, check_fields, check_no_links, read_json, write_atomically

LOCK = "lock"  # the file that a process locks
LAST_RUN = "last"  # names the run that started last
TIME_FORMAT, TIME_LENGTH = "%Y-%m-%d_%H-%M-%S", 19  # how a folder's name begins
LONGEST_NAME = 200  # bytes, of the 255 that a file's name may have
FILES = (LOCK, "delivery.lock", "log.txt", "delivery.log", "points.jsonl", "points.cut")  # files written in place
FOLDERS = ("checkpoints", "figures", "profile")
DELIVERY_FILES = ("delivered.tmp", "names.tmp")  # temporary files of the process that delivers to MLflow
ABANDONED_SECONDS = 60  # creating a folder takes much less
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
SUMMARY: dict[str, Any] = {"status": str, "metrics": dict, "history": list, "seconds": NUMBER}  # each is optional
EPOCH: Fields = {"epoch": int, "step": int}
RESULT_NEUTRAL_KEYS = (
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
)
"""Keys of a configuration that change no result."""


class RunFolder:
    """The folder of a run, locked until `close` or until the process ends, even by a kill.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def close(self) -> None:
        """Releases the lock."""
        os.close(self._lock)


def run_digest(values: Mapping[str, Any], fingerprint: str) -> str:
    """The digest that identifies a run.

    Args:
        values: the resolved configuration. Keys that change no result are left out of the digest.
        fingerprint: the fingerprint of the data.
    """
    text = json.dumps(select_run_settings(values), sort_keys=True)
    return hashlib.sha256(f"{text}\n{fingerprint}".encode()).hexdigest()[:10]


def select_run_settings(values: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """The part of a configuration that its results depend on."""
    return {
        key: select_run_settings(value, f"{key}.") if isinstance(value, Mapping) and not within else value
        for key, value in values.items()
        if f"{within}{key}" not in RESULT_NEUTRAL_KEYS
    }


def create_folder(root: Path, name: str, digest: str, files: Mapping[str, str]) -> RunFolder:
    """Creates the folder `TIME_NAME_DIGEST` below `root`, locked, with `files` (texts by name) in it from the start.

    Raises:
        UserError: `root` can't be written to.
    """
    temporary = root / f".new_{os.getpid()}_{time.time_ns()}"
    lock = None
    try:
        remove_abandoned(root, ".new_*")
        temporary.mkdir(parents=True)
        lock = try_lock(temporary)
        assert lock is not None
        for file, text in files.items():
            (temporary / file).write_text(text, encoding="utf-8")
        return RunFolder(_rename_into_place(temporary, root, name, digest), lock)
    except BaseException as error:
        if lock is not None:
            os.close(lock)
        if not isinstance(error, OSError):
            raise
        shutil.rmtree(temporary, ignore_errors=True)
        raise _unusable_root(root, error) from error


def check_root(root: Path) -> None:
    """Raises UserError where `root`, or a folder in it, can't be created. Leaves nothing behind."""
    try:
        existing = next(path for path in (root, *root.absolute().parents) if path.exists())
        probe = existing / f".new_{os.getpid()}_{time.time_ns()}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise _unusable_root(root, error) from error


def _unusable_root(root: Path, error: OSError) -> UserError:
    reason = f"no run can be recorded there: {error.strerror}; fix that, or choose another `folder`"
    return UserError(f"folder={root}: {reason}")


def find_interrupted(root: Path, digest: str, same: Callable[[Path], bool] = lambda path: True) -> RunFolder | None:
    """Finds and locks the newest folder of a digest whose run was interrupted.

    Args:
        root: the folder of all runs.
        digest: the digest of the run, at the end of the folder's name.
        same: whether a folder's configuration still has that digest; the epochs of a run can be raised later.

    Returns:
        The locked folder; None where every run of that digest has ended or is running.
    """
    for path in sorted(root.glob(f"*_{digest}"), key=creation_order, reverse=True):
        with suppress(PermissionError):  # another user's folder
            if _is_link_in_sweep(path):
                continue
            if not can_resume(path):
                with suppress(OSError):
                    if (ended := _try_lock_folder(path)) is not None:  # removes what a killed process left there
                        ended.close()
            elif (folder := _try_lock_folder(path, to_write=True)) is not None:
                if can_resume(path) and same(path):  # the run may have ended before the lock was taken
                    return folder
                folder.close()
    return None


def find_run(root: Path, name: str, key: str = "resume") -> Path:
    """The folder of a run.

    Args:
        root: the folder of all runs.
        name: a path, a folder's name, an MLflow run id, or `last`.
        key: the key of the configuration that holds the name, for the error.

    Raises:
        UserError: there is no such run.
    """
    for path in _iterate_candidates(root, name):
        if (path / "record.json").is_file():
            return path
    known = [path.name for path in list_runs(root)]
    near = closest_names(name, known, cutoff=0.4) or known[-3:]
    raise UserError(f"{key}={name}: no such run below {root}; there are {', '.join(near) or 'none'}")


def lock_folder(path: Path, *, to_write: bool = False) -> RunFolder:
    """Locks the folder of a run, and removes the temporary files of a killed process.

    Args:
        path: the folder.
        to_write: whether the run will write to its files, so that links in their places are refused.

    Raises:
        UserError: another process has the lock, or `to_write` and the folder has a link in the place of a file.
    """
    if (folder := _try_lock_folder(path, to_write=to_write)) is None:
        raise UserError(f"{path}: another process is running it")
    return folder


def _try_lock_folder(path: Path, *, to_write: bool = False) -> RunFolder | None:
    """Locks a folder as `lock_folder` does; None where another process has the lock."""
    if to_write:
        check_no_links(path / LOCK)
    if (lock := try_lock(path)) is None:
        return None
    try:
        if to_write:
            check_no_links(*(path / name for name in (*FILES, *FOLDERS)))
        for file in path.glob("*.tmp"):
            if file.name not in DELIVERY_FILES:
                file.unlink(missing_ok=True)
    except BaseException:
        os.close(lock)
        raise
    return RunFolder(path, lock)


def list_runs(root: Path) -> list[Path]:
    """The folders of all runs below `root`, the oldest first; the runs of a sweep follow the sweep's own folder."""
    folders = (path.parent for pattern in ("*/record.json", "*/*/record.json") for path in root.glob(pattern))
    visible = (path for path in folders if not any(part.startswith(".") for part in path.relative_to(root).parts))
    return sorted(
        (path for path in visible if not _is_link_in_sweep(path)),
        key=lambda path: [creation_order(part) for part in reversed((path, *path.parents))],
    )


def creation_order(path: Path) -> tuple[str, int, str]:
    """A key that sorts folders by the time in their names, and those of one second by their count: none, 2, … 10."""
    return path.name[:TIME_LENGTH], len(path.name), path.name


def _is_link_in_sweep(path: Path) -> bool:
    """Whether a path is a link in a sweep's folder, where every run is a folder."""
    return path.is_symlink() and (path.parent / "record.json").exists()


def can_resume(path: Path) -> bool:
    """Whether a run started in a folder and was interrupted before its end."""
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
    """The `summary.json` of a run's folder; empty where the run has not ended. Raises UserError where it is damaged."""
    file = path / "summary.json"
    if not file.exists():
        return {}
    found = read_json(file)
    check_fields(file, found, {key: kind for key, kind in SUMMARY.items() if key in found})
    for number, epoch in enumerate(found.get("history", [])):
        check_fields(file, epoch, EPOCH, f"history.{number}")
    return found


def write_summary(path: Path, values: Mapping[str, Any]) -> None:
    """Writes the `summary.json` of a run's folder, atomically."""
    write_atomically(path / "summary.json", json.dumps(values, indent=1))


def digest_summary(folder: Path) -> str:
    """A digest of a run's summary; `killed` where a kill left it without one."""
    summary = {key: value for key, value in read_summary(folder).items() if key != "run_id"}  # the delivery adds it
    return hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest() if summary else "killed"


def _iterate_candidates(root: Path, name: str) -> Iterator[Path]:
    if name == LAST_RUN:
        yield from _find_last(root)
        return
    yield Path(name)
    yield root / name
    for path in list_runs(root):
        if path.name == name:
            yield path
        with suppress(ValueError):  # a missing or damaged file
            if read_json(path / "delivered.json").get("run_id") == name:
                yield path


def _find_last(root: Path) -> list[Path]:
    """The run that started last, alone or in a sweep; empty where there is none."""
    created = {}
    for path in list_runs(root):
        with suppress(UserError):  # a damaged record
            record = read_record(path)
            if record.get("kind", "run") == "run":
                created[path] = record["created"]
    return sorted(created, key=lambda path: (created[path], creation_order(path)))[-1:]


def is_running(path: Path) -> bool:
    """Whether a process runs in a folder now."""
    if (lock := try_lock(path)) is None:
        return True
    os.close(lock)
    return False


def open_lock(path: Path) -> int:
    """Opens, or creates, a file to be locked, and returns its descriptor. Raises OSError where it is a link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)


def try_lock(path: Path) -> int | None:
    """Locks a folder and returns the descriptor that holds the lock; None where another process has it."""
    lock = open_lock(path / LOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def remove_abandoned(root: Path, pattern: str) -> None:
    """Removes the temporary folders of processes that were killed, which no process has locked."""
    for path in root.glob(pattern):
        with suppress(OSError):  # another process renamed or removed it, or it is another user's
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS and (lock := try_lock(path)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _rename_into_place(temporary: Path, root: Path, name: str, digest: str) -> Path:
    """Renames the folder to a name that no other has; a rename onto a folder that is not empty fails."""
    stamp, name = time.strftime(TIME_FORMAT), _shorten(name)
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


def _shorten(name: str) -> str:
    """Cuts a name that is too long for a folder's name, and adds a digest of the whole name."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: LONGEST_NAME - 9].decode(errors='ignore')}~{mark}"
