"""Checkpoint files: atomic, written by a thread beside the training. The last few are kept, and the best weights.

A checkpoint has two files: the state, and the best weights so far, which several checkpoints may share. The state's
metadata hold the digest of its best weights, so that the pair is read as it was written, or not at all: with other best
weights, a run would report wrong metrics. If one of the two files is damaged, the run goes on from the checkpoint
before, and without any whole checkpoint it starts from the beginning. Both ways lead to the same bits, only later.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np

from components.types import UserError
from runner import memory, npz
from runner.errors import DiskError
from runner.npz import Contents, DamagedFileError, read
from runner.run_folder import read_summary

MAX_PENDING = 2  # checkpoints that wait to be written, each a copy of the state

Checkpoint: TypeAlias = tuple[Any, Any, dict[str, Any]]
"""The state, the best weights (None: there are none yet), and the metadata."""


class CheckpointFiles:
    """The checkpoint files of one run. A thread writes them in the order of the calls to `save`."""

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder, self._keep = folder, keep
        folder.mkdir(exist_ok=True)
        for path in folder.glob("*.tmp"):  # a killed process left them
            path.unlink()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: list[Future[None]] = []
        self._best_digest: str | None = None

    def save(self, state: Any, best: Any | None, meta: Mapping[str, Any], then: Callable[[], None]) -> None:
        """Copies a checkpoint, and starts to write it.

        Args:
            state: the training state.
            best: the best parameters and model state, if they are new since the last checkpoint.
            meta: plain values, the step and the best step among them: {"step": …, "best_step": …, …}.
            then: is called once the checkpoint is on the disk.

        Raises DiskError if an earlier write failed.
        """
        self._take_results(len(self._pending) - MAX_PENDING + 1)
        if self._pending and memory.count_bytes((state, best)) > memory.measure_free_host_memory().left:
            self.wait()  # memory may hold one copy at a time
        # The arrays are copied, because the next step reuses their memory (donation).
        state, best = (jax.tree.map(lambda leaf: np.array(leaf), tree) for tree in (state, best))
        self._pending.append(self._writer.submit(self._write, state, best, dict(meta), then))

    def wait(self) -> None:
        """Waits until all checkpoints are on the disk. Raises DiskError if a write failed."""
        self._take_results(len(self._pending))

    def close(self) -> None:
        """Ends the thread, once all checkpoints are written or have failed."""
        self._writer.shutdown()

    def load(self, like: Any, best_like: Any) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole checkpoint, None if there is none, and warnings about others.

        Damaged files are renamed. Files that a kill left are deleted.

        Args:
            like: the shapes and dtypes of the state.
            best_like: the shapes and dtypes of the best weights.

        Raises UserError if a checkpoint holds another model.
        """
        found, faults, warnings = _newest(self._states(), like, best_like)
        damaged = {path for fault in faults for path in fault.paths}
        if found is not None:
            self._best_digest = found[2].get("best_digest")
            damaged -= {_best(self.folder, step) for step in [found[2]["best_step"]] if step is not None}
        for path in damaged:
            _move_away(path)
        self._prune()
        return found, [*map(str, faults), *warnings]

    def cut(self, step: int) -> int | None:
        """Deletes the checkpoints from a step on. Returns the step of the newest one left, None if there is none."""
        states = self._states()
        for path in states:
            if _step(path) >= step:
                path.unlink()
        return max((_step(path) for path in states if _step(path) < step), default=None)

    def _write(self, state: Any, best: Any, meta: dict[str, Any], then: Callable[[], None]) -> None:
        if best is not None:
            self._best_digest = write(_best(self.folder, meta["best_step"]), best, {"step": meta["best_step"]})
        write(self.folder / f"step_{meta['step']:010d}.npz", state, meta | {"best_digest": self._best_digest})
        then()
        self._prune()

    def _prune(self) -> None:
        states = self._states()
        needed = set()
        for path in states[-self._keep :]:
            with suppress(DamagedFileError):  # nothing needs its best weights
                if (step := npz.read_meta(path)["best_step"]) is not None:
                    needed.add(_best(self.folder, step))
        for path in (*states[: -self._keep], *(set(_bests(self.folder)) - needed)):
            path.unlink(missing_ok=True)

    def _states(self) -> list[Path]:
        return _states(self.folder)

    def _take_results(self, count: int) -> None:
        """Waits for the first `count` writes. Raises DiskError for a failure of any write that has ended."""
        while self._pending and (count > 0 or self._pending[0].done()):
            count -= 1
            try:
                self._pending.pop(0).result()
            except OSError as error:
                raise DiskError(f"saving to {self.folder} failed; the last checkpoint is whole", error) from error


def load_newest(folder: Path, like: Any, best_like: Any) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint of a folder, None if there is none, and warnings about others.

    It changes no file, so the run may still train. The state is None if `mode=clean` has left only the best weights.
    Raises UserError if the folder holds another model.
    """
    found, faults, warnings = _newest(_states(folder), like, best_like)
    for path in _bests(folder)[::-1] if found is None else []:
        try:
            meta, best, _ = read(path)
        except DamagedFileError as error:
            warnings.append(str(error))
        else:
            history = read_summary(folder.parent).get("history", [])
            found = None, as_tree(best, best_like, path), {"best_step": meta["step"], "history": history, **meta}
            break
    return found, [*map(str, faults), *warnings]


def write(path: Path, tree: Any, meta: Mapping[str, Any]) -> str:
    """Writes a tree of arrays and its metadata as one atomic file. Returns the digest."""
    leaves = {f"leaf{jax.tree_util.keystr(path)}": leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    return npz.write(path, leaves, meta)


def as_tree(arrays: Mapping[str, np.ndarray], like: Any, path: Path) -> Any:
    """The arrays as a tree with the structure of `like`. Raises UserError if names, shapes or dtypes differ."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    wanted = {f"leaf{jax.tree_util.keystr(key)}": (leaf.shape, leaf.dtype) for key, leaf in leaves}
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if found != wanted:
        name = min(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise UserError(
            f"{path} holds another model than the code makes now ({name.removeprefix('leaf')} differs): "
            "undo what was changed since, or start from scratch by fresh=true"
        )
    return jax.tree_util.tree_unflatten(structure, [arrays[name] for name in wanted])


class _Unusable(Exception):
    """One of the files of a checkpoint is damaged, so that the checkpoint is skipped."""

    def __init__(self, state: Path, path: Path, reason: str) -> None:
        super().__init__(f"checkpoint {state.name} is skipped: {reason}")
        self.paths = (state, path)


def _newest(states: Sequence[Path], like: Any, best_like: Any) -> tuple[Checkpoint | None, list[_Unusable], list[str]]:
    """The newest whole checkpoint, the faults of newer ones, and further warnings."""
    faults: list[_Unusable] = []
    for path in reversed(states):
        try:
            found, has_digest = _read_pair(path, like, best_like)
        except _Unusable as fault:
            faults.append(fault)
        else:
            return found, faults, [] if has_digest else [f"{path} has no digest: an earlier Titrate wrote it"]
    return None, faults, []


def _read_pair(path: Path, like: Any, best_like: Any) -> tuple[Checkpoint, bool]:
    """A checkpoint, and whether digests have proved it whole. Raises _Unusable, or UserError as `as_tree` does."""
    state = _read(path, path)
    meta, best = state.meta, None
    if meta["best_step"] is not None:
        beside = _best(path.parent, meta["best_step"])
        kept = _read(beside, path)
        if state.digest is not None and kept.digest != meta["best_digest"]:
            raise _Unusable(path, beside, f"{beside} holds other weights than those it was saved with")
        best = as_tree(kept.arrays, best_like, beside)
    return (as_tree(state.arrays, like, path), best, meta), state.digest is not None


def _read(path: Path, state: Path) -> Contents:
    """Reads a file of a checkpoint, and checks that its step is that of its name. Raises _Unusable."""
    try:
        found = read(path)
    except DamagedFileError as error:
        raise _Unusable(state, path, str(error)) from error
    if found.meta.get("step") != _step(path) or (path == state and "best_step" not in found.meta):
        raise _Unusable(state, path, f"{path} holds what was saved under another name")
    return found


def _move_away(path: Path) -> None:
    """Renames a damaged file or folder, so that a new one can take its name."""
    if path.exists():
        free = (path.with_suffix(f".{count}.damaged") for count in itertools.count(1))
        path.rename(next(name for name in free if not name.exists()))


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"step_{'[0-9]' * 10}.npz"))


def _bests(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"best_{'[0-9]' * 10}.npz"))


def _best(folder: Path, step: int) -> Path:
    return folder / f"best_{step:010d}.npz"


def _step(path: Path) -> int:
    """The step in the name of a checkpoint file."""
    return int(path.stem.partition("_")[2])
