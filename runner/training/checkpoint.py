"""Checkpoint files. A thread writes them atomically beside the training, and keeps the last few and the best weights.

A checkpoint has two files: the training state, and the best weights so far, which several checkpoints may share. The
metadata of the state hold the digest of its best weights. So the two files are read as they were written, or not at
all: with other best weights, a run would report wrong metrics. If one of the two files is damaged, the run resumes from
the previous checkpoint. If all are damaged, it starts from scratch. The results are the same bits in both cases, but
some steps are computed again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from components.types import UserError
from runner import memory, npz
from runner.errors import DiskError
from runner.npz import Contents, DamagedFileError
from runner.run_folder import read_summary

MAX_PENDING = 2  # checkpoints that wait to be written, each a copy of the state


class Checkpoint(NamedTuple):
    """The contents of a checkpoint.

    Attributes:
        state: the training state. None: `mode=clean` has removed it, and left the best weights.
        best: the best parameters and model state. None: nothing was evaluated yet.
        metadata: plain values, among them the step and the best step.
    """

    state: Any
    best: Any
    metadata: dict[str, Any]


class CheckpointFiles:
    """The checkpoint files of one run. A thread writes them in the order of the calls to `save`.

    Args:
        folder: the folder of the checkpoints; it is created.
        keep: the number of checkpoints that are kept.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder, self._keep = folder, keep
        folder.mkdir(exist_ok=True)
        for path in folder.glob("*.tmp"):  # a killed process left them
            path.unlink()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: list[Future[None]] = []
        self._best_digest: str | None = None

    def save(self, state: Any, new_best: Any | None, metadata: Mapping[str, Any], on_saved: Callable[[], None]) -> None:
        """Copies a checkpoint, and starts to write it.

        Args:
            state: the training state.
            new_best: the best parameters and model state; None: they are the same as in the previous checkpoint.
            metadata: plain values, among them the step and the best step: {"step": …, "best_step": …, …}.
            on_saved: called once the checkpoint is on the disk.

        Raises:
            DiskError: an earlier write failed.
        """
        self._wait_for_writes(len(self._pending) - MAX_PENDING + 1)  # until there is room for one more
        if self._pending and memory.count_bytes((state, new_best)) > memory.measure_free_host_memory().program_bytes:
            self.wait()  # memory has room for one copy at a time
        # The arrays are copied, because the next step reuses their memory (donation).
        state, new_best = (jax.tree.map(_copy_to_host, tree) for tree in (state, new_best))
        self._pending.append(self._writer.submit(self._write, state, new_best, dict(metadata), on_saved))

    def wait(self) -> None:
        """Waits until all checkpoints are on the disk. Raises DiskError if a write failed."""
        self._wait_for_writes(len(self._pending))

    def _wait_for_writes(self, count: int) -> None:
        """Waits for the first `count` pending writes. Raises DiskError for a failure of any write that has ended."""
        while self._pending and (count > 0 or self._pending[0].done()):
            count -= 1
            try:
                self._pending.pop(0).result()
            except OSError as error:
                raise DiskError(f"saving to {self.folder} failed; the last checkpoint is whole", error) from error

    def _write(self, state: Any, new_best: Any, metadata: dict[str, Any], on_saved: Callable[[], None]) -> None:
        if new_best is not None:
            best_step = metadata["best_step"]
            self._best_digest = write_tree(_best_path(self.folder, best_step), new_best, {"step": best_step})
        path = self.folder / f"step_{metadata['step']:010d}.npz"
        write_tree(path, state, metadata | {"best_digest": self._best_digest})
        on_saved()
        self._prune()

    def _prune(self) -> None:
        """Removes all but the last few checkpoints, and the best weights that none of these needs."""
        states = _state_paths(self.folder)
        needed = set()
        for path in states[-self._keep :]:
            with suppress(DamagedFileError):  # a damaged checkpoint needs no best weights
                best_step = npz.read_meta(path)["best_step"]
                if best_step is not None:
                    needed.add(_best_path(self.folder, best_step))
        for path in (*states[: -self._keep], *(set(_best_paths(self.folder)) - needed)):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Waits until all writes have ended or failed, and ends the thread."""
        self._writer.shutdown()

    def load(
        self, state_shapes: Any, weights_shapes: Any, later_shapes: Sequence[Any] = ()
    ) -> tuple[Checkpoint | None, list[str]]:
        """Loads the newest undamaged checkpoint. Renames damaged files, and removes files that nothing needs.

        Args:
            state_shapes: the training state, with shapes and dtypes in place of arrays.
            weights_shapes: the best weights, with shapes and dtypes in place of arrays.
            later_shapes: the training states after frozen parameters are unfrozen.

        Returns:
            The checkpoint (None: there is no undamaged one), and warnings about damaged ones.

        Raises:
            UserError: the checkpoint is of another model.
        """
        shapes = state_shapes, *later_shapes
        checkpoint, faults, warnings = _read_newest(_state_paths(self.folder), shapes, weights_shapes)
        damaged = {path for fault in faults for path in fault.paths}
        if checkpoint is not None:
            self._best_digest = checkpoint.metadata.get("best_digest")
            best_step = checkpoint.metadata["best_step"]
            if best_step is not None:
                # A newer checkpoint may need other weights than this file holds. The loaded one needs these.
                damaged.discard(_best_path(self.folder, best_step))
        for path in damaged:
            _rename_damaged(path)
        self._prune()
        return checkpoint, [*map(str, faults), *warnings]

    def remove_since(self, step: int) -> int | None:
        """Removes the checkpoints of a step and of later ones. Returns the step of the newest one left, or None."""
        newest = None
        for path in _state_paths(self.folder):
            if _step_of(path) >= step:
                path.unlink()
            else:
                newest = _step_of(path)
        return newest


def load_newest_checkpoint(
    folder: Path, state_shapes: Any, weights_shapes: Any, later_shapes: Sequence[Any] = ()
) -> tuple[Checkpoint | None, list[str]]:
    """Reads the newest undamaged checkpoint of a folder, without a change to any file. The run may still train.

    Args:
        folder: the folder of the checkpoints, in the run folder.
        state_shapes: the training state, with shapes and dtypes in place of arrays.
        weights_shapes: the best weights, with shapes and dtypes in place of arrays.
        later_shapes: the training states after frozen parameters are unfrozen.

    Returns:
        The checkpoint (None: there is no undamaged one), and warnings about damaged ones.

    Raises:
        UserError: the checkpoint is of another model.
    """
    shapes = state_shapes, *later_shapes
    checkpoint, faults, warnings = _read_newest(_state_paths(folder), shapes, weights_shapes)
    for path in reversed(_best_paths(folder)) if checkpoint is None else ():
        try:
            metadata, arrays, _ = npz.read(path)
        except DamagedFileError as error:
            warnings.append(str(error))
        else:
            history = read_summary(folder.parent).get("history", [])
            metadata = {"best_step": metadata["step"], "history": history, **metadata}
            checkpoint = Checkpoint(None, to_tree(arrays, weights_shapes, path), metadata)
            break
    return checkpoint, [*map(str, faults), *warnings]


def write_tree(path: Path, tree: Any, metadata: Mapping[str, Any]) -> str:
    """Writes a tree of arrays and its metadata as one file, atomically. Returns the digest of the file."""
    return npz.write(path, _leaves_by_name(tree), metadata)


def _leaves_by_name(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their names in a file."""
    return {f"leaf{jax.tree_util.keystr(key)}": leaf for key, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def to_tree(arrays: Mapping[str, np.ndarray], shapes: Any, path: Path) -> Any:
    """Puts arrays that `write_tree` wrote back into their tree.

    Args:
        arrays: the arrays by name.
        shapes: the tree, with shapes and dtypes in place of arrays.
        path: the file that the arrays are from.

    Raises:
        UserError: a name, shape or dtype differs.
    """
    leaves = _leaves_by_name(shapes)
    saved = {
        name: jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf for name, leaf in leaves.items()
    }
    expected = {name: (leaf.shape, leaf.dtype) for name, leaf in saved.items()}
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if found != expected:
        name = min(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise UserError(
            f"{path} holds another model than the code builds now: {name.removeprefix('leaf')} differs. "
            "Undo the change of the code, or start from scratch with fresh=true."
        )
    values = [
        jax.random.wrap_key_data(jnp.asarray(arrays[name])) if _is_key(leaf) else arrays[name]
        for name, leaf in leaves.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(shapes), values)


def _copy_to_host(leaf: Any) -> np.ndarray:
    """A copy of an array as NumPy has it; of random keys, which some optimizers have in their state, their data."""
    return np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _is_key(leaf: Any) -> bool:
    """Whether an array, or its shape and dtype, is of random keys."""
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


class _DamagedCheckpoint(Exception):
    """A file of a checkpoint is damaged, so the checkpoint is skipped.

    Attributes:
        paths: the file of the state, and the damaged file.
    """

    def __init__(self, state_path: Path, path: Path, reason: str) -> None:
        super().__init__(f"checkpoint {state_path.name} is skipped: {reason}")
        self.paths = (state_path, path)


def _read_newest(
    state_paths: Sequence[Path], state_shapes: Sequence[Any], weights_shapes: Any
) -> tuple[Checkpoint | None, list[_DamagedCheckpoint], list[str]]:
    """Reads the newest undamaged checkpoint. Returns it, the errors of damaged newer ones, and other warnings.

    `state_shapes` are the shapes before and after each step at which frozen parameters are unfrozen.
    """
    faults: list[_DamagedCheckpoint] = []
    for path in reversed(state_paths):
        try:
            checkpoint, has_digest = _read_checkpoint(path, state_shapes, weights_shapes)
        except _DamagedCheckpoint as fault:
            faults.append(fault)
        else:
            return checkpoint, faults, [] if has_digest else [f"{path} has no digest: an earlier Titrate wrote it"]
    return None, faults, []


def _read_checkpoint(state_path: Path, state_shapes: Sequence[Any], weights_shapes: Any) -> tuple[Checkpoint, bool]:
    """Reads the two files of a checkpoint. Returns it, and whether it has digests, which prove it undamaged.

    Raises:
        _DamagedCheckpoint: a file is damaged, or the two files don't belong together.
        UserError: the checkpoint is of another model.
    """
    state = _read_file(state_path, state_path)
    best_step, best = state.meta["best_step"], None
    if best_step is not None:
        best_path = _best_path(state_path.parent, best_step)
        weights = _read_file(best_path, state_path)
        if state.digest is not None and weights.digest != state.meta["best_digest"]:
            reason = f"{best_path} holds other weights than the checkpoint was saved with"
            raise _DamagedCheckpoint(state_path, best_path, reason)
        best = to_tree(weights.arrays, weights_shapes, best_path)
    fitting = (shapes for shapes in state_shapes if _leaves_by_name(shapes).keys() == state.arrays.keys())
    shapes = next(fitting, state_shapes[0])
    return Checkpoint(to_tree(state.arrays, shapes, state_path), best, state.meta), state.digest is not None


def _read_file(path: Path, state_path: Path) -> Contents:
    """Reads a file of the checkpoint at `state_path`. Raises _DamagedCheckpoint also for the step of another file."""
    try:
        contents = npz.read(path)
    except DamagedFileError as error:
        raise _DamagedCheckpoint(state_path, path, str(error)) from error
    lacks_best_step = path == state_path and "best_step" not in contents.meta
    if contents.meta.get("step") != _step_of(path) or lacks_best_step:
        raise _DamagedCheckpoint(state_path, path, f"{path} holds the contents of another file")
    return contents


def _rename_damaged(path: Path) -> None:
    """Renames a damaged file or folder, so that a new one can take its name."""
    if path.exists():
        candidates = (path.with_suffix(f".{count}.damaged") for count in itertools.count(1))
        path.rename(next(candidate for candidate in candidates if not candidate.exists()))


def _state_paths(folder: Path) -> list[Path]:
    """The files of training states, the oldest first."""
    return sorted(folder.glob(f"step_{'[0-9]' * 10}.npz"))


def _best_paths(folder: Path) -> list[Path]:
    """The files of best weights, the oldest first."""
    return sorted(folder.glob(f"best_{'[0-9]' * 10}.npz"))


def _best_path(folder: Path, step: int) -> Path:
    return folder / f"best_{step:010d}.npz"


def _step_of(path: Path) -> int:
    """The step in the name of a checkpoint file."""
    return int(path.stem.partition("_")[2])
