"""The folder of a run: created atomically, locked while a process runs in it, and found by name or by digest."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.closest import closest_names
from components.types import UserError
from runner.files import NUMBER, FieldTypes, check_fields, check_no_links, read_json, write_atomically

LOCK = "lock"  # the file that a process locks
NEW_LOCK = f"{LOCK}.new"  # the same file before it is locked
LAST_RUN = "last"  # the name of the run that started last
LOOK, FIND_LR = "look", "find_lr"  # the kinds of folders of the modes that train nothing
BEST_RUN = "best"  # no name of a run, but users try it
TIME_FORMAT, TIME_LENGTH = "%Y-%m-%d_%H-%M-%S", 19  # the start of a folder's name
MAX_NAME_BYTES = 200  # a file's name may have 255, and the time and the digest are added
FILES = (LOCK, "delivery.lock", "log.txt", "delivery.log", "points.jsonl", "points.cut")  # files written in place
MANIFEST = "sweep.json"  # in the folder of a sweep: all its runs
SCHEDULE_FILE = "schedule.csv"  # the numbers of the schedule over the run
OBSERVERS_FOLDER = "observers"  # the files of observers
FOLDERS = ("checkpoints", "figures", "profile", OBSERVERS_FOLDER)
DELIVERY_FILES = ("delivered.tmp", "names.tmp")  # temporary files of the process that delivers to MLflow
ABANDONED_SECONDS = 60  # the age of a temporary folder that a killed process left
RECORD_FIELDS: dict[str, Any] = {
    "name": str,
    "digest": str,
    "created": NUMBER,
    "tags": dict,
    "parameters": dict,
    "datasets": list,
    "tracking": dict,
}
DATASET_FIELDS: FieldTypes = {"name": str, "digest": str, "split": str, "rows": int}
SUMMARY_FIELDS: dict[str, Any] = {  # all optional
    "status": str,
    "metrics": dict,
    "history": list,
    "seconds": NUMBER,
    "temperatures": dict,
    "slices": dict,
}
EVALUATION_FIELDS: FieldTypes = {"epoch": NUMBER, "step": int}
RESULT_NEUTRAL_KEYS = (
    "mode",
    "folder",
    "fresh",
    "resume",
    "intervals",
    "metric_slices",
    "mc_samples",
    "ensemble",
    "note",
    "quiet",
    "observer",
    "tracking",
    "experiment",
    "run",
    "output",
    "convert",
    "find_lr",
    "runs",
    "sweep",
    "training.log_steps",
    "training.check_memory",
    "training.checkpoint_minutes",
    "training.profile",
    "training.keep_checkpoints",
)
"""Keys of a configuration that the results of a run do not depend on."""


class RunFolder:
    """The folder of a run. It is locked until `close` is called or the process ends.

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
        values: the resolved configuration. Keys that the results do not depend on are left out of the digest.
        fingerprint: the fingerprint of the data.
    """
    settings = select_run_settings(values)
    orders = {key: names for key, names in list_orders(values).items() if names != sorted(names)}
    text = json.dumps(settings | {"orders": orders} if orders else settings, sort_keys=True)
    return hashlib.sha256(f"{text}\n{fingerprint}".encode()).hexdigest()[:10]


def list_orders(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Lists the names below each key with a mapping whose order counts, in their order.

    They are the groups of a member of the update set, of which the first one that matches a parameter counts, the
    targets, whose logits and losses have this order, and the columns that a row operation computes one after another.
    """
    places = {f"update.{name}": member for name, member in values.get("update", {}).items()}
    places["feature.targets"] = values.get("feature", {}).get("targets")
    mappings = {key: node for key, node in places.items() if isinstance(node, Mapping)}
    orders = {key: [name for name in node if isinstance(node[name], Mapping)] for key, node in mappings.items()}
    for number, operation in enumerate(values.get("operations", ())):
        by_name = {key: value for key, value in operation.items() if isinstance(value, Mapping)}
        orders |= {f"operations.{number}.{key}": [*value] for key, value in by_name.items() if "_target_" not in value}
    return {key: names for key, names in orders.items() if names}


def select_run_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Selects the values that the results of a run depend on."""
    selected = {}
    for key, value in values.items():
        if key in RESULT_NEUTRAL_KEYS:
            continue
        if isinstance(value, Mapping):
            value = {name: item for name, item in value.items() if f"{key}.{name}" not in RESULT_NEUTRAL_KEYS}
        selected[key] = value
    return selected


def create_folder(root: Path, name: str, digest: str, files: Mapping[str, str]) -> RunFolder:
    """Creates and locks the folder `TIME_NAME_DIGEST` of a run. It appears with its first files, or not at all.

    Args:
        root: the folder of all runs.
        name: the run's name.
        digest: the run's digest.
        files: the texts of the first files, by name.

    Raises:
        UserError: `root` can't be written to.
    """
    temporary = root / f".new_{os.getpid()}_{time.time_ns()}"
    lock = None
    try:
        remove_abandoned_folders(root, ".new_*")
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
    """Raises UserError if `root`, or a folder in it, can't be created. Nothing is left on the disk."""
    try:
        existing = next(path for path in (root, *root.absolute().parents) if path.exists())
        probe = existing / f".new_{os.getpid()}_{time.time_ns()}"
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise _unusable_root(root, error) from error


def _unusable_root(root: Path, error: OSError) -> UserError:
    return UserError(f"folder={root}: no run can be saved there: {error.strerror}. Fix this, or set another folder.")


def find_interrupted(
    root: Path, digest: str, has_same_config: Callable[[Path], bool] = lambda path: True
) -> RunFolder | None:
    """Finds and locks the newest folder of a digest whose run was interrupted.

    Args:
        root: the folder of all runs.
        digest: the digest of the run, with which the folder's name ends.
        has_same_config: whether the configuration in a folder still has that digest. The name of an extended run has
            the digest of its earlier configuration.

    Returns:
        The locked folder; None if every run of that digest has ended or is running.
    """
    for path in sorted(root.glob(f"*_{digest}"), key=creation_order, reverse=True):
        with suppress(PermissionError):  # another user's folder
            if _is_link_in_sweep(path):
                continue
            if not can_resume(path):
                with suppress(OSError):
                    if (ended := _try_lock_folder(path)) is not None:  # it removes the files of a killed process
                        ended.close()
            elif (folder := _try_lock_folder(path, to_write=True)) is not None:
                if can_resume(path) and has_same_config(
                    path
                ):  # checked again, as the run may have ended before the lock
                    return folder
                folder.close()
    return None


def find_run(root: Path, name: str, key: str = "run") -> Path:
    """Finds the folder of a run.

    Args:
        root: the folder of all runs.
        name: a path, a folder's name or its start with date and time, an MLflow run id, or `last`.
        key: the key of the configuration with the name, for the message.

    Raises:
        UserError: there is no such run, or it is a sweep.
    """
    folder = find_folder(root, name, key)
    check_trains(folder, name, key)
    if not is_sweep(folder):
        return folder
    runs, best = list_runs(folder), read_summary(folder).get("best_folder")
    hint = f", such as its best: {folder / best}" if best else f", such as {runs[0]}" if runs else ""
    raise UserError(f"{key}={name} is a sweep. Name one of its runs{hint}")


def check_trains(folder: Path, name: str, key: str) -> None:
    """Raises UserError for a folder of a mode that trains nothing, which the key of a configuration names."""
    if (kind := read_kind(folder)) in (LOOK, FIND_LR):
        raise UserError(f"{key}={name} is a folder of mode={kind}, which trains nothing. Name a run (see mode=runs).")


def has_checkpoint(folder: Path) -> bool:
    """Whether a run has saved a checkpoint, damaged or not, from which it can go on."""
    return any((folder / "checkpoints").glob("step_*.npz"))


def is_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep."""
    return read_kind(folder) == "sweep"


def read_kind(folder: Path) -> str:
    """`run`, `sweep`, `look` or `find_lr`. Of a damaged folder, which is reported where it is read, `run`."""
    with suppress(ValueError, OSError):
        return str(read_json(folder / "record.json").get("kind", "run"))
    return "run"


def find_folder(root: Path, name: str, key: str = "resume") -> Path:
    """Finds the folder of a run or of a sweep. The arguments are those of `find_run`."""
    for path in _iterate_candidates(root, name):
        if (path / "record.json").is_file():
            return path
    if name == BEST_RUN:
        raise UserError(
            f"{key}={BEST_RUN}: no run has this name, because it depends on a metric. mode=runs "
            "runs.sort=best/valid/loss lists the lowest first, runs.sort=-test/accuracy the highest. A sweep prints "
            "the folder of its best run."
        )
    kinds = ("run", "sweep") if key == "resume" else ("run",)
    folders = list_runs(root)
    known = [path.name for path in folders if read_kind(path) in kinds]
    containing = [folder for folder in known if name in folder][-3:]  # the latest ones
    starting = [path.name for path in folders if path.name.startswith(name)]
    if len(starting) > 1:
        listed = f"{', '.join(starting[-3:])}{f', … ({len(starting) - 3} more)' if len(starting) > 3 else ''}"
        raise UserError(
            f"{key}={name}: {len(starting)} folders below {root} start so: {listed}. Write more of the name."
        )
    near = containing or closest_names(name, [*known, LAST_RUN], cutoff=0.4)
    listed = f"Nearest runs: {', '.join(near)}." if near else f"The newest runs: {', '.join(known[-3:])}."
    runs = listed if known else "It has no runs."
    raise UserError(f"{key}={name}: there is no such run below {root}. {runs}")


def lock_folder(path: Path, *, to_write: bool = False) -> RunFolder:
    """Locks the folder of a run, and removes the temporary files of a killed process.

    Args:
        path: the folder.
        to_write: whether files in the folder will be written, so that links are not allowed.

    Raises:
        UserError: another process has the lock, or `to_write` and the folder has a link in place of a file.
    """
    if (folder := _try_lock_folder(path, to_write=to_write)) is None:
        raise UserError(f"{path}: another process is running it. Wait until it ends, or stop it.")
    return folder


def _try_lock_folder(path: Path, *, to_write: bool = False) -> RunFolder | None:
    """Locks a folder as `lock_folder` does; None if another process has the lock."""
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
    """Lists the folders of all runs below `root`, the oldest first. The folder of a sweep is followed by its runs."""
    folders = []
    for pattern in ("*/record.json", "*/*/record.json"):
        for path in (file.parent for file in root.glob(pattern)):
            is_hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if not is_hidden and not _is_link_in_sweep(path):
                folders.append(path)
    return sorted(folders, key=lambda path: [creation_order(part) for part in reversed((path, *path.parents))])


def creation_order(path: Path) -> tuple[str, int, str]:
    """A sort key: the time in a folder's name, then the count that follows in folders of the same second (2, … 10)."""
    return path.name[:TIME_LENGTH], len(path.name), path.name


def _is_link_in_sweep(path: Path) -> bool:
    """Whether a path is a link in a sweep's folder. The runs of a sweep are never links."""
    return path.is_symlink() and (path.parent / "record.json").exists()


def can_resume(path: Path) -> bool:
    """Whether a folder has a run that was interrupted."""
    return (path / "record.json").is_file() and read_summary(path).get("status", "interrupted") == "interrupted"


def read_record(path: Path) -> dict[str, Any]:
    """Reads the `record.json` of a run's or sweep's folder. Raises UserError if it is missing or damaged."""
    file = path / "record.json"
    record = read_json(file)
    check_fields(file, record, RECORD_FIELDS | ({"kind": str} if "kind" in record else {}))
    for index, dataset in enumerate(record["datasets"]):
        check_fields(file, dataset, DATASET_FIELDS, f"datasets.{index}")
    check_fields(file, record["tags"], dict.fromkeys(record["tags"], str), "tags")
    if record["tracking"]:
        check_fields(file, record["tracking"], {"uri": str}, "tracking")
    return record


def read_summary(path: Path) -> dict[str, Any]:
    """Reads the `summary.json` of a run's folder; empty if the run has not ended. Raises UserError if it is damaged."""
    file = path / "summary.json"
    if not file.exists():
        return {}
    summary = read_json(file)
    check_fields(file, summary, {key: field_type for key, field_type in SUMMARY_FIELDS.items() if key in summary})
    for index, evaluation in enumerate(summary.get("history", [])):
        check_fields(file, evaluation, EVALUATION_FIELDS, f"history.{index}")
    return summary


def write_summary(path: Path, values: Mapping[str, Any]) -> None:
    """Writes the `summary.json` of a run's folder, atomically."""
    write_atomically(path / "summary.json", json.dumps(values, indent=1))


def digest_summary(folder: Path) -> str:
    """A digest of a run's summary; `killed` if the run was killed and has no summary."""
    summary = {key: value for key, value in read_summary(folder).items() if key != "run_id"}  # added by the delivery
    return hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest() if summary else "killed"


def _iterate_candidates(root: Path, name: str) -> Iterator[Path]:
    if name == LAST_RUN:
        yield from _find_last(root)
        return
    yield Path(name)
    yield root / name
    paths = list_runs(root)
    for path in paths:
        if path.name == name:
            yield path
        with suppress(ValueError):  # a missing or damaged file
            if read_json(path / "delivered.json").get("run_id") == name:
                yield path
    starting = [path for path in paths if path.name.startswith(name)]
    if len(name) >= TIME_LENGTH and len(starting) == 1:  # with the time: no later run has the same start
        yield from starting


def find_starts(names: Sequence[str]) -> dict[str, str]:
    """The starts of folders' names, with date and time, that `find_run` takes: the shortest that no other name has."""
    starts = {name: [name[:end] for end in range(TIME_LENGTH, len(name)) if name[end] == "_"] for name in names}
    counts = Counter(start for name in {*names} for start in (*starts[name], name))
    is_repeated = {name for name, count in Counter(names).items() if count > 1}
    return {
        name: next((start for start in starts[name] if counts[start] == 1 and name not in is_repeated), name)
        for name in names
    }


def _find_last(root: Path) -> list[Path]:
    """The run that started last, alone or in a sweep, in a list; empty if there is no run."""
    created = {}
    for path in list_runs(root):
        with suppress(UserError):  # a damaged record
            record = read_record(path)
            if record.get("kind", "run") == "run":
                created[path] = record["created"]
    return sorted(created, key=lambda path: (created[path], creation_order(path)))[-1:]


def is_running(path: Path) -> bool:
    """Whether a process is running in a folder."""
    if (lock := try_lock(path)) is None:
        return True
    os.close(lock)
    return False


def open_lock(path: Path) -> int:
    """Opens or creates a lock file, and returns its descriptor. Raises OSError if it is a link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)


def try_lock(path: Path) -> int | None:
    """Locks a folder and returns the descriptor that holds the lock; None if another process has the lock."""
    lock = open_lock(path / LOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def lock_new_folder(path: Path) -> int:
    """Locks a folder that no other process knows, and returns the descriptor that holds the lock.

    The lock file appears when it is locked, so that one without a lock shows that its process has ended.
    """
    lock = open_lock(path / NEW_LOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (path / NEW_LOCK).rename(path / LOCK)
    except BaseException:
        os.close(lock)
        raise
    return lock


def is_abandoned(path: Path) -> bool:
    """Whether the process that made a temporary folder by `lock_new_folder` has ended. It does nothing to the folder.

    A folder without a lock may be a moment away from being locked, or removed, so its age counts.
    """
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - path.stat().st_mtime > ABANDONED_SECONDS
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def remove_abandoned_folders(root: Path, pattern: str) -> None:
    """Removes temporary folders that killed processes left."""
    for path in root.glob(pattern):
        with suppress(OSError):  # another process renamed or removed it, or another user owns it
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS and (lock := try_lock(path)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _rename_into_place(temporary: Path, root: Path, name: str, digest: str) -> Path:
    """Renames a temporary folder to a name that no other folder has."""
    stamp, name = time.strftime(TIME_FORMAT), _shorten(name)
    count = 1
    while True:
        path = root / "_".join([stamp, name, *([str(count)] if count > 1 else []), digest])
        try:
            temporary.rename(path)
            return path
        except OSError:
            if not path.exists():  # it failed for another reason than a folder of that name
                raise
            count += 1


def _shorten(name: str) -> str:
    """Shortens a name that is too long for a folder's name. A digest of the whole name is added."""
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: MAX_NAME_BYTES - 9].decode(errors='ignore')}~{mark}"
