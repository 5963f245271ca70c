"""Checkpoints: single atomic files, written behind the training's back, the last few and the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from components.types import UserError
from runner import npz
from runner.errors import RunError
from runner.folder import summary
from runner.npz import DAMAGE, read

AHEAD = 2  # checkpoints that wait to be written, each a copy of the state


class Checkpoints:
    """The checkpoints of one run's folder, written by a thread in the order they were handed in."""

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder, self._keep = folder, keep
        folder.mkdir(exist_ok=True)
        for path in folder.glob("*.tmp"):  # of a process that was killed as it wrote
            path.unlink()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: list[Future[None]] = []

    def save(self, state: Any, best: Any | None, meta: Mapping[str, Any], then: Callable[[], None]) -> None:
        """Hands in a checkpoint; `then` is called once it is on the disk.

        `best` holds the best parameters and model state if they are new since the last checkpoint; `meta` names the
        step, and that of the best: {"step": …, "best_step": …, …}. Raises RunError where an earlier write failed.
        """
        self._take_results(len(self._pending) - AHEAD + 1)
        # The arrays are copied, because training donates their memory to the next step.
        state, best = (jax.tree.map(lambda leaf: np.array(leaf), tree) for tree in (state, best))
        self._pending.append(self._writer.submit(self._write, state, best, dict(meta), then))

    def wait(self) -> None:
        """Returns once all that was handed in is on the disk; raises RunError where a write failed."""
        self._take_results(len(self._pending))

    def close(self) -> None:
        """Ends the writing, once what was handed in is written or has failed."""
        self._writer.shutdown()

    def load(self, like: Any, best_like: Any) -> tuple[tuple[Any, Any, dict[str, Any]] | None, list[str]]:
        """The newest usable checkpoint (state, best, meta), None where there is none; and what is wrong with others.

        Raises UserError where it holds another model than `like` and `best_like` describe.
        """
        damaged: list[str] = []
        for path in reversed(self._states()):
            try:
                return _whole(path, like, best_like), damaged
            except UserError:
                raise
            except DAMAGE as error:
                path.rename(path.with_suffix(".damaged"))  # out of the way of those that follow
                damaged.append(f"checkpoint {path.name} or its best weights are damaged ({_reason(error)})")
        return None, damaged

    def newest(self) -> int | None:
        """The step of the newest checkpoint, None where there is none."""
        states = self._states()
        return int(states[-1].stem.removeprefix("step_")) if states else None

    def _write(self, state: Any, best: Any, meta: dict[str, Any], then: Callable[[], None]) -> None:
        if best is not None:
            write(self._best(meta["best_step"]), best, {"step": meta["best_step"]})
        write(self.folder / f"step_{meta['step']:010d}.npz", state, meta)
        then()
        self._prune()

    def _prune(self) -> None:
        states = self._states()
        needed = set()
        for path in states[-self._keep :]:
            needed.add(self._best(npz.read_meta(path)["best_step"]))
        for path in (*states[: -self._keep], *(set(self.folder.glob("best_*.npz")) - needed)):
            path.unlink(missing_ok=True)

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("step_*.npz"))

    def _best(self, step: int | None) -> Path:
        return _best(self.folder, step)

    def _take_results(self, count: int) -> None:
        """Waits for the first `count` of what was handed in; raises what went wrong with them and any other by now."""
        while self._pending and (count > 0 or self._pending[0].done()):
            count -= 1
            try:
                self._pending.pop(0).result()
            except OSError as error:
                raise RunError(
                    f"saving to {self.folder} failed ({error.strerror}); the last checkpoint there stands: "
                    f"once that is mended, resume={self.folder.parent.name} goes on from it"
                ) from error


def newest(folder: Path, like: Any, best_like: Any) -> tuple[Any, Any, dict[str, Any]] | None:
    """The newest whole checkpoint of a folder (state, best, meta); None where there is none.

    The state is None where a run was cleaned since, and kept its best weights alone. Nothing there is changed, so that
    the run may be alive. Raises UserError where it holds another model.
    """
    for path in sorted(folder.glob("step_*.npz"), reverse=True):
        try:
            return _whole(path, like, best_like)
        except UserError:
            raise
        except DAMAGE:
            continue
    for path in sorted(folder.glob("best_*.npz"), reverse=True):
        try:
            meta, best = read(path)
        except DAMAGE:
            continue
        else:
            history = summary(folder.parent).get("history", [])
            return None, fitted(best, best_like, path), {"best_step": meta["step"], "history": history, **meta}
    return None


def write(path: Path, tree: Any, meta: Mapping[str, Any]) -> None:
    """Writes a tree of arrays and its meta as one file that is there whole or not at all."""
    leaves = {f"leaf{jax.tree_util.keystr(path)}": leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    npz.write(path, leaves, meta)


def fitted(arrays: Mapping[str, np.ndarray], like: Any, path: Path) -> Any:
    """The arrays as a tree like `like`; raises UserError where names, shapes or dtypes differ."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    wanted = {f"leaf{jax.tree_util.keystr(key)}": (leaf.shape, leaf.dtype) for key, leaf in leaves}
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if found != wanted:
        name = min(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise UserError(
            f"{path} holds another model than the code makes now ({name.removeprefix('leaf')} differs): "
            "undo what was changed since, or begin anew by fresh=true"
        )
    return jax.tree_util.tree_unflatten(structure, [arrays[name] for name in wanted])


def _best(folder: Path, step: int | None) -> Path:
    return folder / f"best_{step or 0:010d}.npz"


def _whole(path: Path, like: Any, best_like: Any) -> tuple[Any, Any, dict[str, Any]]:
    """A checkpoint with its best weights; raises one of DAMAGE where either is not whole, UserError as `fitted`."""
    meta, state = read(path)
    best = None if meta["best_step"] is None else read(_best(path.parent, meta["best_step"]))[1]
    return fitted(state, like, path), best and fitted(best, best_like, path), meta


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
