"""Which examples a step sees: the order is a pure function of (seed, epoch), and a place in it is found at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from components.types import Encoded, Padded, Ragged
from runner.data.load import Data

RESIDENT_BYTES = 2**31  # encoded data up to this size lives on the device whole
LENGTHS = sorted({base << power for power in range(24) for base in (8, 12)})  # what ragged rows are padded to


class Chunk(NamedTuple):
    """The examples of one dispatch: `rows[i]` of `data` are those of its step i."""

    data: Any
    rows: np.ndarray  # (steps a dispatch, B), int32; rows from `steps` on are filler
    steps: int  # how many there are
    mask: np.ndarray  # (B,), bool: which examples of the last step are no filler


def epoch_order(rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The training examples in the order of an epoch (from 0).

    By sorting raw random bits, because NumPy promises only those to stay the same in later versions.
    """
    bits = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(len(rows))
    return rows[np.argsort(bits, kind="stable")]


class Batches:
    """Encoded data as dispatches: resident on the device where it fits, else gathered ahead in a thread."""

    def __init__(self, data: Data) -> None:
        self.encoded = data.encoded
        leaves = jax.tree.leaves(data.encoded)
        self.ragged = any(isinstance(array, Ragged) for arrays in data.encoded.values() for array in arrays.values())
        self.resident = None
        if not self.ragged and sum(leaf.nbytes for leaf in leaves) <= RESIDENT_BYTES:
            self.resident = _resident(data)
        self._gatherer = ThreadPoolExecutor(1, "gather")

    def chunks(
        self, rows: np.ndarray, batch_size: int, steps: int, *, start: int = 0, pad: bool = False
    ) -> Iterator[Chunk]:
        """The examples `rows` from step `start` on, `steps` batches a dispatch.

        The last partial batch is a dispatch of its own with its own shape; `pad` fills it up to `batch_size` instead.
        """
        plan = _plan(rows, batch_size, steps, start=start, pad=pad)
        if self.resident is not None:
            return (Chunk(self.resident, *chunk) for chunk in plan)
        return self._ahead(plan)

    def _ahead(self, plan: Iterator[tuple[np.ndarray, int, np.ndarray]]) -> Iterator[Chunk]:
        waiting = [self._gatherer.submit(self._gather, chunk) for chunk in _take(plan, 2)]
        while waiting:
            ready = waiting.pop(0).result()
            waiting += [self._gatherer.submit(self._gather, chunk) for chunk in _take(plan, 1)]
            yield ready

    def _gather(self, chunk: tuple[np.ndarray, int, np.ndarray]) -> Chunk:
        rows, steps, mask = chunk
        data = gather_rows(self.encoded, rows.reshape(-1))
        return Chunk(data, np.arange(rows.size, dtype=np.int32).reshape(rows.shape), steps, mask)


_LAST: dict[str, Any] = {}  # what was put on the device last: the next run of a sweep takes it as it is


def _resident(data: Data) -> Any:
    """Encoded data on the device; the same arrays where the last run had the same."""
    if data.encoding not in _LAST:
        _LAST.clear()
        arrays = jax.tree.map(jax.device_put, dict(data.encoded))
        if not data.encoding:
            return arrays
        _LAST[data.encoding] = arrays
    return _LAST[data.encoding]


def gather_rows(encoded: Mapping[str, Mapping[str, Encoded]], rows: np.ndarray) -> dict[str, dict[str, Any]]:
    """Some rows of every column; ragged ones are padded to the next of a few lengths."""
    return {name: {key: _rows(array, rows) for key, array in arrays.items()} for name, arrays in encoded.items()}


def _rows(array: Encoded, rows: np.ndarray) -> Any:
    if not isinstance(array, Ragged):
        return array[rows]
    starts, lengths = array.offsets[rows], np.diff(array.offsets)[rows]
    width = next(length for length in LENGTHS if length >= lengths.max(initial=0))
    mask = np.arange(width) < lengths[:, None]
    values = np.zeros((len(rows), width, *array.values.shape[1:]), array.values.dtype)
    values[mask] = array.values[(starts[:, None] + np.arange(width))[mask]]
    return Padded(values, mask)


def _plan(
    rows: np.ndarray, batch_size: int, steps: int, *, start: int, pad: bool
) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
    whole = len(rows) // batch_size
    full = rows[: whole * batch_size].astype(np.int32).reshape(whole, batch_size)
    for first in range(start, whole, steps):
        chunk = full[first : first + steps]
        padding = np.zeros((steps - len(chunk), batch_size), np.int32)
        yield np.concatenate([chunk, padding]), len(chunk), np.ones(batch_size, bool)
    rest = rows[whole * batch_size :].astype(np.int32)
    if len(rest) and start <= whole:
        filler = np.zeros(batch_size - len(rest) if pad else 0, np.int32)
        yield np.concatenate([rest, filler])[None], 1, np.arange(len(rest) + len(filler)) < len(rest)


def _take(plan: Iterator[Any], count: int) -> list[Any]:
    return [chunk for _, chunk in zip(range(count), plan, strict=False)]
