"""Numbers of a block as columns and their statistics read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from components.feature.base import raw
from components.feature.normalizer import FixedNormalizer
from components.feature.number.expression import Expression
from components.feature.statistic.classes import group_rows
from components.feature.statistic.elements import Key
from components.types import Block, DataError, Ragged, Values


class NumberRows(NamedTuple):
    """Numbers, and of what row each vector of them is."""

    values: np.ndarray  # (vectors, D)
    offsets: np.ndarray | None  # of the rows, where they are sequences; None: a vector a row

    def rows(self, values: np.ndarray) -> np.ndarray | Ragged:
        """An array with an element for each vector, as rows again."""
        return values if self.offsets is None else Ragged(values, self.offsets)


@dataclass(frozen=True)
class Numbers:
    """Finite numbers of a column, or of arithmetic over some, as float64 (vectors, D): what a statistic learns from.

    Attributes:
        source: the column.
        gaps: whether numbers may be missing, and are NaN then; else a gap is an error, and so is NaN.
        sequences: whether rows may have any number of them.
        factor: what they are multiplied by.
        steps: what they go through then.
    """

    source: str | Expression
    gaps: bool = False
    sequences: bool = False
    factor: float = 1.0
    steps: tuple[FixedNormalizer, ...] = ()

    @property
    def key(self) -> Key:
        """What a statistic is to read: the column's name, where that says it all, so that others share it."""
        return self.source if isinstance(self.source, str) and self == Numbers(self.source) else self

    @property
    def unchanged(self) -> Numbers:
        """The same before any step."""
        return replace(self, factor=1.0, steps=())

    def __call__(self, block: Block) -> np.ndarray:
        flat, _ = self._flatten(block)
        return self.transform(flat, self._values(flat))

    def read(self, block: Block) -> NumberRows:
        """The numbers as they are in the data; raises DataError where one can't go through the steps."""
        flat, offsets = self._flatten(block)
        values = self._values(flat)
        if self.steps:
            self.transform(flat, values)
        return NumberRows(values, offsets)

    def __str__(self) -> str:
        return f"`{self.source.text}`" if isinstance(self.source, Expression) else f"column `{self.source}`"

    def _flatten(self, block: Block) -> tuple[Block, np.ndarray | None]:
        if not self.sequences or isinstance(self.source, Expression):
            return block, None
        valid_mask = block.valid.get(self.source)
        if valid_mask is not None and not (self.gaps or valid_mask.all()):
            raise raw.missing_error(block, self.source, valid_mask)
        return flatten_sequences(block, self.source)

    def _values(self, block: Block) -> np.ndarray:
        if isinstance(self.source, Expression):
            return self.source(block, gaps=self.gaps)
        return as_vectors(block, self.source, raw.read_numbers(block, self.source, gaps=self.gaps))

    def transform(self, block: Block, values: np.ndarray) -> np.ndarray:
        """Numbers of the block (vectors, D) after the steps; raises DataError where one isn't finite any more."""
        result = values.astype(np.float64) * self.factor
        for step in self.steps:
            with np.errstate(all="ignore"):
                result = step(result, np)
            bad = ~np.isfinite(result) & np.isfinite(values)
            if bad.any():
                row, element = np.argwhere(bad)[0]
                raise DataError(
                    f"{block.where(int(row))}: {self} is {raw.format_value(values[row, element])}, and its "
                    f"{type(step).__name__} isn't finite; mend it, leave the row out, or normalize by Log with a "
                    "larger offset"
                )
        return result


def as_vectors(block: Block, key: str, values: np.ndarray) -> np.ndarray:
    """A column of numbers or vectors as (rows, D)."""
    if values.ndim > 2:
        raise DataError(f"column `{key}` of {block.origin} has rows of shape {values.shape[1:]}, not vectors")
    return values.reshape(len(values), values.shape[1] if values.ndim > 1 else 1)


def flatten_sequences(block: Block, key: str) -> tuple[Block, np.ndarray | None]:
    """A column of sequences as a block with a row for each element, and the offsets; any other column as it is."""
    column = block.columns.get(key)
    if not isinstance(column, Ragged):
        return block, None
    valid_mask = block.valid.get(key)
    valid = {} if valid_mask is None else {key: np.repeat(valid_mask, np.diff(column.offsets))}
    found = _Elements({key: column.values}, valid, origin=block.origin, block=block, offsets=column.offsets)
    return found, column.offsets


def number_classes(block: Block, key: str, known: np.ndarray) -> np.ndarray:
    """Which of the classes, from 1, that of each row is, int32 (rows,); 0: none of them."""
    classes, numbers = group_rows(block, key)
    if classes and len(known) and isinstance(classes[0], str) != (known.dtype.kind == "U"):
        raise raw.value_error(
            block, key, 0, f"is {classes[numbers[0]]!r}", f"what was learned from is {known[0].item()!r}"
        )
    places = {value: place for place, value in enumerate(known.tolist(), 1)}
    return np.array([places.get(value, 0) for value in classes], np.int32)[numbers]


def add_parents(block: Block, parents: Mapping[str, Mapping[str, Values]]) -> Block:
    """A block in which the feature columns that are read stand under their names, as they do for statistics."""
    if not parents:
        return block
    columns = {key: next(iter(arrays.values())) for key, arrays in parents.items()}
    valid = {key: valid_mask for key, valid_mask in block.valid.items() if key not in parents}
    ids = {key for key, arrays in parents.items() if next(iter(arrays)) == "ids"}
    return replace(block, columns={**block.columns, **columns}, valid=valid, ids=block.ids - parents.keys() | ids)


@dataclass(frozen=True, kw_only=True)
class _Elements(Block):
    block: Block
    offsets: np.ndarray

    def where(self, row: int) -> str:
        return self.block.where(int(np.searchsorted(self.offsets, row, side="right")) - 1)
