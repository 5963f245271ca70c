"""Batches: which examples each step sees, and their arrays, on the device or gathered ahead of time.

The order of an epoch is a pure function of (seed, epoch), so a run can start at any step of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from components.types import Encoded, Padded, Ragged
from runner.data.load import Data, shuffle_rows

RESIDENT_BYTES = 2**31  # encoded data up to this size stays on the device whole
LENGTHS = sorted({base << power for power in range(24) for base in (8, 12)})  # lengths that ragged rows are padded to


class Chunk(NamedTuple):
    """The examples of one dispatch: step i sees the rows `rows[i]` of `data`.

    Attributes:
        data: encoded columns by name.
        rows: row numbers, int32 (steps per dispatch, B). Those from index `steps` on are padding.
        steps: the number of steps.
        mask: False for padding in the last step, bool (B,).
    """

    data: Any
    rows: np.ndarray
    steps: int
    mask: np.ndarray


def epoch_order(rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The training rows in the order of an epoch, counted from 0."""
    return shuffle_rows(rows, seed, epoch)


class Batches:
    """Splits encoded data into chunks. Small data stays on the device; other data is gathered ahead by a thread."""

    def __init__(self, data: Data) -> None:
        self.encoded = data.encoded
        leaves = jax.tree.leaves(data.encoded)
        self.ragged = any(isinstance(array, Ragged) for arrays in data.encoded.values() for array in arrays.values())
        self.resident = None
        if not self.ragged and sum(leaf.nbytes for leaf in leaves) <= RESIDENT_BYTES:
            self.resident = _put_on_device(data)
        self._gatherer = ThreadPoolExecutor(1, "gather")

    def chunks(
        self, rows: np.ndarray, batch_size: int, steps: int, *, start: int = 0, pad: bool = False
    ) -> Iterator[Chunk]:
        """The chunks of an epoch, from a step on.

        Args:
            rows: the rows of the epoch, in their order.
            batch_size: rows of a step.
            steps: steps of a chunk.
            start: the first step.
            pad: whether the last partial batch is padded to `batch_size`. Otherwise it is a chunk with its own shape.
        """
        plan = _plan_chunks(rows, batch_size, steps, start=start, pad=pad)
        if self.resident is not None:
            return (Chunk(self.resident, *chunk) for chunk in plan)
        return self._gather_ahead(plan)

    def _gather_ahead(self, plan: Iterator[tuple[np.ndarray, int, np.ndarray]]) -> Iterator[Chunk]:
        waiting = [self._gatherer.submit(self._gather, chunk) for chunk in _take(plan, 2)]
        while waiting:
            ready = waiting.pop(0).result()
            waiting += [self._gatherer.submit(self._gather, chunk) for chunk in _take(plan, 1)]
            yield ready

    def _gather(self, chunk: tuple[np.ndarray, int, np.ndarray]) -> Chunk:
        rows, steps, mask = chunk
        data = gather_rows(self.encoded, rows.reshape(-1))
        return Chunk(data, np.arange(rows.size, dtype=np.int32).reshape(rows.shape), steps, mask)


_ON_DEVICE: dict[str, Any] = {}  # the arrays of the last run, which the next run of a sweep reuses


def _put_on_device(data: Data) -> Any:
    """The encoded data on the device. Equal data of the last run is reused."""
    if data.encoding not in _ON_DEVICE:
        _ON_DEVICE.clear()
        arrays = jax.tree.map(jax.device_put, dict(data.encoded))
        if not data.encoding:
            return arrays
        _ON_DEVICE[data.encoding] = arrays
    return _ON_DEVICE[data.encoding]


def gather_rows(encoded: Mapping[str, Mapping[str, Encoded]], rows: np.ndarray) -> dict[str, dict[str, Any]]:
    """Some rows of each column. Ragged rows are padded to the next of `LENGTHS`."""
    return {
        name: {key: _gather_array(array, rows) for key, array in arrays.items()} for name, arrays in encoded.items()
    }


def _gather_array(array: Encoded, rows: np.ndarray) -> Any:
    if not isinstance(array, Ragged):
        return array[rows]
    starts, lengths = array.offsets[rows], np.diff(array.offsets)[rows]
    width = next(length for length in LENGTHS if length >= lengths.max(initial=0))
    mask = np.arange(width) < lengths[:, None]
    values = np.zeros((len(rows), width, *array.values.shape[1:]), array.values.dtype)
    values[mask] = array.values[(starts[:, None] + np.arange(width))[mask]]
    return Padded(values, mask)


def _plan_chunks(
    rows: np.ndarray, batch_size: int, steps: int, *, start: int, pad: bool
) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
    """The fields `rows`, `steps` and `mask` of each chunk."""
    whole = len(rows) // batch_size
    full = rows[: whole * batch_size].astype(np.int32).reshape(whole, batch_size)
    for first in range(start, whole, steps):
        chunk = full[first : first + steps]
        padding = np.zeros((steps - len(chunk), batch_size), np.int32)
        yield np.concatenate([chunk, padding]), len(chunk), np.ones(batch_size, bool)
    rest = rows[whole * batch_size :].astype(np.int32)
    if len(rest) and start <= whole:
        filled = np.pad(rest, (0, batch_size - len(rest) if pad else 0))
        yield filled[None], 1, np.arange(len(filled)) < len(rest)


def _take(plan: Iterator[Any], count: int) -> list[Any]:
    return [chunk for _, chunk in zip(range(count), plan, strict=False)]
