"""Checkpoints: single atomic files, written behind the training's back, the last two and the best."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from runner.errors import RunError

KEPT = 2
DAMAGE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)


class Checkpoints:
    """The checkpoints of one run's folder, written by a thread in the order they were handed in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: list[Future[None]] = []

    def save(self, state: Any, best: Any | None, meta: Mapping[str, Any], then: Callable[[], None]) -> None:
        """Hands in a checkpoint; `then` is called once it is on the disk.

        `best` holds the best parameters and model state if they are new since the last checkpoint; `meta` names the
        step, and that of the best: {"step": …, "best_step": …, …}. Raises RunError where an earlier write failed.
        """
        self._raise_failed(wait=False)
        # The arrays are copied, because training donates their memory to the next step.
        state, best = (jax.tree.map(lambda leaf: np.array(leaf), tree) for tree in (state, best))
        self._pending.append(self._writer.submit(self._write, state, best, dict(meta), then))

    def wait(self) -> None:
        """Returns once all that was handed in is on the disk; raises RunError where a write failed."""
        self._raise_failed(wait=True)

    def load(self, like: Any, best_like: Any) -> tuple[tuple[Any, Any, dict[str, Any]] | None, list[str]]:
        """The newest undamaged checkpoint (state, best, meta), None where there is none; and what was passed over."""
        damaged: list[str] = []
        for path in reversed(self._states()):
            try:
                meta, state = read(path, like)
                best = read(self._best(meta["best_step"]), best_like)[1] if meta["best_step"] is not None else None
                return (state, best, meta), damaged
            except DAMAGE as error:
                path.rename(path.with_suffix(".damaged"))  # out of the way of those that follow
                damaged.append(f"checkpoint {path.name} is damaged ({type(error).__name__}: {error})")
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
        for path in states[-KEPT:]:
            with zipfile.ZipFile(path) as archive, archive.open("meta.npy") as file:
                needed.add(self._best(_meta(np.load(file))["best_step"]))
        for path in (*states[:-KEPT], *(set(self.folder.glob("best_*.npz")) - needed)):
            path.unlink(missing_ok=True)

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("step_*.npz"))

    def _best(self, step: int | None) -> Path:
        return self.folder / f"best_{step or 0:010d}.npz"

    def _raise_failed(self, *, wait: bool) -> None:
        while self._pending and (wait or self._pending[0].done()):
            try:
                self._pending.pop(0).result()
            except OSError as error:
                raise RunError(
                    f"a checkpoint could not be written to {self.folder} ({error.strerror}); the one before stands: "
                    f"once that is mended, resume={self.folder.parent.name} goes on from it"
                ) from error


def write(path: Path, tree: Any, meta: Mapping[str, Any]) -> None:
    """Writes a tree of arrays and its meta as one npz file that is there whole or not at all."""
    leaves = {f"leaf{jax.tree_util.keystr(path)}": leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **leaves)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        _sync_folder(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read(path: Path, like: Any) -> tuple[dict[str, Any], Any]:
    """The meta and the tree of a file that `write` made; `like` gives the tree's structure, shapes and dtypes."""
    with path.open("rb") as file, np.load(file) as archive:
        leaves, structure = jax.tree_util.tree_flatten_with_path(like)
        arrays = [_checked(archive[f"leaf{jax.tree_util.keystr(key)}"], leaf, key) for key, leaf in leaves]
        return _meta(archive["meta"]), jax.tree_util.tree_unflatten(structure, arrays)


def _checked(array: np.ndarray, like: Any, key: Any) -> np.ndarray:
    if (array.shape, array.dtype) != (like.shape, like.dtype):
        raise ValueError(f"{jax.tree_util.keystr(key)} is {array.dtype}{array.shape}, not {like.dtype}{like.shape}")
    return array


def _meta(array: np.ndarray) -> dict[str, Any]:
    return json.loads(array.tobytes())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
