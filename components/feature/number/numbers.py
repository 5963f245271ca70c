"""Numbers of a block, as columns and their statistics read them."""

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
    """Vectors of numbers, and how they make up rows.

    Attributes:
        values: (vectors, D).
        offsets: (rows + 1,) of rows that are sequences. None: each row has one vector.
    """

    values: np.ndarray
    offsets: np.ndarray | None

    def rows(self, values: np.ndarray) -> np.ndarray | Ragged:
        """Arranges an array with an element per vector as rows."""
        return values if self.offsets is None else Ragged(values, self.offsets)


@dataclass(frozen=True)
class Numbers:
    """The finite numbers of a column or an expression; as a statistic's `key` it returns them as float64 (vectors, D).

    Attributes:
        source: the column, or the expression.
        gaps: whether numbers may be missing; they and NaN are NaN then. Otherwise both are errors.
        sequences: whether rows may have any number of vectors.
        factor: multiplies the numbers.
        steps: the normalizers that follow.
    """

    source: str | Expression
    gaps: bool = False
    sequences: bool = False
    factor: float = 1.0
    steps: tuple[FixedNormalizer, ...] = ()

    @property
    def key(self) -> Key:
        """The key for a statistic: the column's name where nothing else is set, so that other columns can share it."""
        return self.source if isinstance(self.source, str) and self == Numbers(self.source) else self

    @property
    def without_steps(self) -> Numbers:
        """The same numbers before the factor and the steps."""
        return replace(self, factor=1.0, steps=())

    def __call__(self, block: Block) -> np.ndarray:
        flat, _ = self._flatten(block)
        return self.transform(flat, self._read(flat))

    def read(self, block: Block) -> NumberRows:
        """The numbers as they are in the data; raises DataError where the steps don't map one to a finite number."""
        flat, offsets = self._flatten(block)
        values = self._read(flat)
        if self.steps:
            self.transform(flat, values)
        return NumberRows(values, offsets)

    def __str__(self) -> str:
        return f"`{self.source.text}`" if isinstance(self.source, Expression) else f"column `{self.source}`"

    def transform(self, block: Block, values: np.ndarray) -> np.ndarray:
        """Applies factor and steps to numbers of the block, (vectors, D); raises DataError for infinite results."""
        result = values.astype(np.float64) * self.factor
        for step in self.steps:
            with np.errstate(all="ignore"):
                result = step(result, np)
            bad = ~np.isfinite(result) & np.isfinite(values)
            if bad.any():
                row, element = np.argwhere(bad)[0]
                raise DataError(
                    f"{block.locate(int(row))}: {self} is {raw.format_value(values[row, element])}, and its "
                    f"{type(step).__name__} isn't finite; correct it, leave the row out, or normalize by Log with a "
                    "larger offset"
                )
        return result

    def _flatten(self, block: Block) -> tuple[Block, np.ndarray | None]:
        if not self.sequences or isinstance(self.source, Expression):
            return block, None
        valid_mask = block.valid.get(self.source)
        if valid_mask is not None and not (self.gaps or valid_mask.all()):
            raise raw.missing_error(block, self.source, valid_mask)
        return flatten_sequences(block, self.source)

    def _read(self, block: Block) -> np.ndarray:
        if isinstance(self.source, Expression):
            return self.source(block, gaps=self.gaps)
        return as_vectors(block, self.source, raw.read_numbers(block, self.source, gaps=self.gaps))


def as_vectors(block: Block, key: str, values: np.ndarray) -> np.ndarray:
    """A column of numbers or vectors as (rows, D); raises DataError for a higher rank."""
    if values.ndim > 2:
        raise DataError(f"column `{key}` of {block.origin} has rows of shape {values.shape[1:]}, not vectors")
    return values.reshape(len(values), values.shape[1] if values.ndim > 1 else 1)


def flatten_sequences(block: Block, key: str) -> tuple[Block, np.ndarray | None]:
    """A column of sequences as a block with a row per element, and the offsets; another column's block, and None."""
    column = block.columns.get(key)
    if not isinstance(column, Ragged):
        return block, None
    valid_mask = block.valid.get(key)
    valid = {} if valid_mask is None else {key: np.repeat(valid_mask, np.diff(column.offsets))}
    found = _Elements({key: column.values}, valid, origin=block.origin, block=block, offsets=column.offsets)
    return found, column.offsets


def number_classes(block: Block, key: str, known: np.ndarray) -> np.ndarray:
    """The number, from 1, of each row's class among the known ones, int32 (rows,); 0 for other classes."""
    classes, numbers = group_rows(block, key)
    if classes and len(known) and isinstance(classes[0], str) != (known.dtype.kind == "U"):
        fault = f"is {classes[numbers[0]]!r}"
        raise raw.value_error(block, key, 0, fault, f"the training split has {known[0].item()!r}")
    places = {value: place for place, value in enumerate(known.tolist(), 1)}
    return np.array([places.get(value, 0) for value in classes], np.int32)[numbers]


def add_parents(block: Block, parents: Mapping[str, Mapping[str, Values]]) -> Block:
    """A block with the encoded feature columns under their names, as statistics also get them."""
    if not parents:
        return block
    columns = {key: next(iter(arrays.values())) for key, arrays in parents.items()}
    valid = {key: mask for key, mask in block.valid.items() if key not in parents}
    ids = {key for key, arrays in parents.items() if next(iter(arrays)) == "ids"}
    return replace(block, columns={**block.columns, **columns}, valid=valid, ids=block.ids - parents.keys() | ids)


@dataclass(frozen=True, kw_only=True)
class _Elements(Block):
    """The elements of sequences as rows. Messages name the row of the sequence."""

    block: Block
    offsets: np.ndarray

    def locate(self, row: int) -> str:
        return self.block.locate(int(np.searchsorted(self.offsets, row, side="right")) - 1)
