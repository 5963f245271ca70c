"""Batches: the examples of each step, as arrays on the device, or as arrays that a thread gathers ahead of time.

A run can start at any step of an epoch at once, because the rows of a step are computed from its position.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from components.types import Encoded, Padded, Ragged, RowNumbers
from runner.data.load import Data
from runner.data.order import EpochOrder, draw_uniforms
from runner.data.padding import measure_lists, pad_length
from runner.data.stacked_columns import stack_columns

MAX_DEVICE_BYTES = 2**31  # encoded data up to this size stays on the device whole


ChunkPlan: TypeAlias = tuple[np.ndarray, int, np.ndarray, int]
"""The fields `rows`, as numbers of any integer type, `steps` and `mask` of a chunk, and its first position."""


class Chunk(NamedTuple):
    """The examples of one dispatch: step i sees the rows `rows[i]` of `data`.

    Attributes:
        data: encoded columns by name.
        rows: row numbers, int32 (S, B). Only the first `steps` rows of it are steps; the others are padding, so that
            all chunks of complete batches have one shape.
        steps: the number of steps that are not padding, 1 to S.
        mask: False for padding in the last step, bool (B,).
    """

    data: Any
    rows: np.ndarray
    steps: int
    mask: np.ndarray


class Batches:
    """Splits encoded data into chunks.

    Args:
        data: the data.
        kinds: the kinds of columns that the program computes as one, by column. None: it computes each by itself.

    Attributes:
        encoded: the encoded data.
        is_ragged: whether a column has rows of different lengths.
        decoded_columns: the columns that are decoded for each step.
        device_data: the encoded data on the device, if it is small, not ragged, and decoded. None: a thread gathers the
            rows of each chunk ahead of time.
    """

    def __init__(self, data: Data, kinds: Mapping[str, Any] | None = None) -> None:
        self.encoded, self._kinds = data.encoded, kinds or {}
        self.is_ragged = any(isinstance(array, Ragged) for arrays in data.encoded.values() for array in arrays.values())
        self.device_data = None
        leaves = {id(leaf): leaf for leaf in jax.tree.leaves(data.encoded)}.values()  # equal columns share arrays
        self.decoded_columns = [name for name, arrays in data.encoded.items() if any(map(_is_lazy, arrays.values()))]
        if not self.decoded_columns and not self.is_ragged and sum(leaf.nbytes for leaf in leaves) <= MAX_DEVICE_BYTES:
            self.device_data = _put_on_device(data, self._kinds)
        self._gatherer = ThreadPoolExecutor(1, "gather")

    def gathered_bytes(self, rows: RowNumbers) -> int:
        """The size of the largest of some rows that a thread gathers. 0: the data is on the device."""
        if self.device_data is not None:
            return 0
        arrays = [array for arrays in self.encoded.values() for array in arrays.values()]
        dense = [math.prod(array.shape[1:]) * array.dtype.itemsize for array in arrays if not isinstance(array, Ragged)]
        return sum(dense) + sum(each.row_bytes for each in measure_lists(self.encoded, rows))

    def chunks(
        self,
        rows: RowNumbers | EpochOrder,
        batch_size: int,
        chunk_size: int,
        *,
        start: int = 0,
        stop: int | None = None,
        pad: bool = False,
        seed: tuple[int, int] | None = None,
    ) -> Iterator[Chunk]:
        """The chunks of an epoch, from a step on.

        Args:
            rows: the rows of the epoch, in their order.
            batch_size: the number of rows of a step.
            chunk_size: the number of steps of a chunk.
            start: the first step, counted from 0 in the epoch.
            stop: the step after the last one. None: the steps to the end of the epoch.
            pad: whether the last partial batch is padded to `batch_size`. Otherwise it is a chunk with its own shape.
            seed: the seed of the run, and the epoch, with which rows are decoded for training. None: for evaluation.
        """
        plans = _plan_chunks(rows, batch_size, chunk_size, start=start, stop=stop, pad=pad)
        if self.device_data is not None:
            return (Chunk(self.device_data, rows.astype(np.int32), steps, mask) for rows, steps, mask, _ in plans)
        return self._gather_ahead(plans, seed)

    def _gather_ahead(self, plans: Iterator[ChunkPlan], seed: tuple[int, int] | None) -> Iterator[Chunk]:
        pending = [self._gatherer.submit(self._gather, plan, seed) for plan in itertools.islice(plans, 2)]
        while pending:
            chunk = pending.pop(0).result()
            pending += [self._gatherer.submit(self._gather, plan, seed) for plan in itertools.islice(plans, 1)]
            yield chunk

    def _gather(self, plan: ChunkPlan, seed: tuple[int, int] | None) -> Chunk:
        rows, steps, mask, first = plan
        count = (steps - 1) * rows.shape[1] + int(mask.sum())  # the rest is padding
        data = gather_rows(self.encoded, rows.reshape(-1), count, None if seed is None else (*seed, first))
        return Chunk(
            stack_columns(data, 1, self._kinds), np.arange(rows.size, dtype=np.int32).reshape(rows.shape), steps, mask
        )


_LAST_ON_DEVICE: dict[Any, Any] = {}  # the arrays of the last run by what identifies them, for the next run of a sweep


def _put_on_device(data: Data, kinds: Mapping[str, Any]) -> Any:
    """The encoded data on the device. The arrays of the last run are used again if its data was the same."""
    key = data.encoding_id, frozenset(kinds.items())
    if key not in _LAST_ON_DEVICE:
        _LAST_ON_DEVICE.clear()
        stacked = stack_columns(data.encoded, 1, kinds)
        put = {id(leaf): jax.device_put(np.asarray(leaf)) for leaf in jax.tree.leaves(stacked)}  # a shared one once
        arrays = jax.tree.map(lambda leaf: put[id(leaf)], stacked)
        if data.encoding_id == "":  # nothing tells whether the next run has the same data, so the arrays aren't kept
            return arrays
        _LAST_ON_DEVICE[key] = arrays
    return _LAST_ON_DEVICE[key]


def _plan_chunks(
    rows: RowNumbers | EpochOrder, batch_size: int, chunk_size: int, *, start: int, stop: int | None, pad: bool
) -> Iterator[ChunkPlan]:
    count = len(rows) if stop is None else min(len(rows), stop * batch_size)
    whole = count // batch_size
    for first in range(start, whole, chunk_size):
        steps = min(chunk_size, whole - first)
        chunk_rows = np.asarray(rows[first * batch_size : (first + steps) * batch_size]).reshape(steps, batch_size)
        padding = np.zeros((chunk_size - steps, batch_size), chunk_rows.dtype)
        yield np.concatenate([chunk_rows, padding]), steps, np.ones(batch_size, bool), first * batch_size
    rest = np.asarray(rows[whole * batch_size : count])
    if len(rest) and start <= whole:
        last_batch = np.pad(rest, (0, batch_size - len(rest) if pad else 0))
        yield last_batch[None], 1, np.arange(len(last_batch)) < len(rest), whole * batch_size


def gather_rows(
    encoded: Mapping[str, Mapping[str, Encoded]],
    rows: RowNumbers,
    count: int | None = None,
    seed: tuple[int, int, int] | None = None,
) -> dict[str, dict[str, Any]]:
    """Some rows of each column. Lists are padded to `pad_length`, those of each level to the longest of them.

    Args:
        encoded: the columns.
        rows: the rows.
        count: how many of them matter; the others are padding, and are not decoded. None: all.
        seed: the seed, the epoch and the position of the first row, with which rows are decoded for training. None: for
            evaluation.
    """

    rows = np.asarray(rows)

    def gather(array: Any) -> Any:
        if not _is_lazy(array):
            return _gather_array(array, rows)
        needed = rows[:count]
        random = None
        if seed is not None and array.draws:
            random = draw_uniforms(seed[:2], seed[2], len(needed), array.draws)
        decoded = array.decode(needed, random)
        return np.concatenate([decoded, np.zeros((len(rows) - len(needed), *decoded.shape[1:]), decoded.dtype)])

    return {name: {key: gather(array) for key, array in arrays.items()} for name, arrays in encoded.items()}


def _is_lazy(array: Any) -> bool:
    """Whether the rows of an array are `DecodedRows`."""
    return hasattr(array, "draws")


def _gather_array(array: Encoded, rows: np.ndarray) -> Any:
    if not isinstance(array, Ragged):
        return array[rows]
    starts = array.offsets[rows]
    lengths = array.offsets[rows + 1] - starts
    width = pad_length(int(lengths.max(initial=0)))
    mask = np.arange(width) < lengths[:, None]
    elements = _gather_array(array.values, (starts[:, None] + np.arange(width))[mask])  # of lists of lists, Padded

    def pad(leaf: np.ndarray) -> np.ndarray:
        padded = np.zeros((*mask.shape, *leaf.shape[1:]), leaf.dtype)
        padded[mask] = leaf
        return padded

    return Padded(jax.tree.map(pad, elements), mask)
