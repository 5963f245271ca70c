"""Reads numbers of a block for columns and their statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from components.feature.base import raw
from components.feature.base.values import first_array
from components.feature.normalizer import FixedNormalizer
from components.feature.number.expression import NumericExpression
from components.feature.statistic.classes import group_rows
from components.feature.statistic.elements import Key
from components.ragged import Layout, Levels, nest, split_levels
from components.types import Block, DataError, Ragged, Remedy, Strings, Values


class NumberRows(NamedTuple):
    """Vectors of numbers, and their arrangement in rows.

    Attributes:
        values: (vectors, D).
        levels: the offsets of each level of lists, if each row is a sequence of vectors, or of such sequences. (): each
            row has one vector.
    """

    values: np.ndarray
    levels: Levels

    def to_rows(self, array: np.ndarray) -> Any:
        """Groups `array`, (vectors, …), by row: unchanged if each row has one vector, otherwise Ragged."""
        return nest(array, self.levels)

    def find_row(self, vector: int) -> int:
        """The row of a vector."""
        return Layout(self.levels, (len(self.values),)).find_row(vector)


@dataclass(frozen=True)
class Numbers:
    """Reads the finite numbers of a column or an expression, and applies a factor and normalizers to them.

    An instance is also a function of a block that returns float64 (vectors, D), so it can be the `key` of a statistic.

    Attributes:
        source: the name of the column, or the expression.
        allow_missing: whether missing values and NaN are allowed. In the result both are NaN.
        sequences: whether rows may have any number of vectors.
        vector_size: the length of the innermost lists, if these are vectors. None: they are sequences.
        factor: multiplies the numbers.
        steps: the normalizers after the factor.
    """

    source: str | NumericExpression
    allow_missing: bool = False
    sequences: bool = False
    vector_size: int | None = None
    factor: float = 1.0
    steps: tuple[FixedNormalizer, ...] = ()

    @property
    def key(self) -> Key:
        """The key for a statistic: the name of the column if nothing else is set, so that columns share statistics."""
        return self.source if isinstance(self.source, str) and self == Numbers(self.source) else self

    @property
    def without_transform(self) -> Numbers:
        """The same numbers without factor and steps."""
        return replace(self, factor=1.0, steps=())

    def __call__(self, block: Block) -> np.ndarray:
        return self.read(block).values

    def read(self, block: Block) -> NumberRows:
        """Reads the numbers, float64.

        Raises:
            DataError: a value is no number, or a step maps it to infinity or NaN.
        """
        flat, levels = self._flatten(block)
        return NumberRows(self.transform(flat, self._read_source(flat)), levels)

    def __str__(self) -> str:
        return f"`{self.source.text}`" if isinstance(self.source, NumericExpression) else f"column `{self.source}`"

    def transform(self, block: Block, values: np.ndarray) -> np.ndarray:
        """Applies factor and steps to numbers of the block, (vectors, D); raises DataError if a result isn't finite."""
        result = values.astype(np.float64, copy=False)
        if self.factor != 1:
            with np.errstate(over="ignore"):
                result = result * self.factor
        for step in self.steps:
            with np.errstate(all="ignore"):
                result = step(result, np)
            invalid = ~np.isfinite(result) & np.isfinite(values)
            if invalid.any():
                row, element = np.argwhere(invalid)[0]
                raise DataError(
                    f"{block.locate(int(row))}: {self} is {raw.format_value(values[row, element])}, for which "
                    f"{type(step).__name__} isn't finite",
                    "correct the value",
                    raw.REMOVE_ROW,
                    Remedy("use Log with a larger `offset`", "columns"),
                )
        return result

    def _flatten(self, block: Block) -> tuple[Block, Levels]:
        if not self.sequences or isinstance(self.source, NumericExpression):
            return block, ()
        valid_mask = block.valid.get(self.source)
        if valid_mask is not None and not (self.allow_missing or valid_mask.all()):
            raise raw.make_missing_error(block, self.source, valid_mask)
        block = block if self.vector_size is None else join_vectors(block, self.source, self.vector_size)
        return flatten_sequences(block, self.source)

    def _read_source(self, block: Block) -> np.ndarray:
        if isinstance(self.source, NumericExpression):
            return self.source(block, allow_missing=self.allow_missing)
        if not self.sequences and self.vector_size is not None:
            block = stack_lists(block, self.source, self.vector_size)
        numbers = raw.read_numbers(block, self.source, allow_missing=self.allow_missing)
        return as_vectors(block, self.source, numbers, self.vector_size)


def join_rows(sources: Sequence[NumberRows]) -> NumberRows:
    """The vectors of several sources side by side. Sequences have only one source."""
    if len(sources) == 1:
        return sources[0]
    return NumberRows(np.concatenate([source.values for source in sources], axis=1), ())


def as_vectors(block: Block, key: str, values: np.ndarray, size: int | None = None) -> np.ndarray:
    """Reshapes a column of numbers, vectors or arrays of `size` elements to (rows, D).

    Raises:
        DataError: the rows are arrays with another number of elements.
    """
    count = math.prod(values.shape[1:])
    if values.ndim > 2 and count != size:
        raise DataError(
            f"column `{key}` of {block.origin} has rows of shape {values.shape[1:]}, not numbers or vectors",
            Remedy(f"set `size={count}` of components.feature.Numeric for vectors", "columns"),
            Remedy("read images with components.feature.Image", "columns"),
        )
    return values.reshape(len(values), count)


def stack_lists(block: Block, key: str, size: int) -> Block:
    """Replaces lists of `size` numbers by vectors. Any other column stays as it is.

    Raises:
        DataError: a list has another length.
    """
    column = block.columns.get(key)
    if not isinstance(column, Ragged) or not isinstance(column.values, np.ndarray) or column.values.ndim != 1:
        return block
    lengths = np.diff(column.offsets)
    valid_mask = block.valid.get(key, np.ones(len(lengths), bool))
    if (wrong := valid_mask & (lengths != size)).any():
        row = int(wrong.argmax())
        fault = f"has a list of length {lengths[row]}, not of `size` (={size})"
        raise raw.make_value_error(block, key, row, fault, raw.CORRECT, raw.REMOVE_ROW)
    values = column.values[column.offsets[0] : column.offsets[-1]][np.repeat(valid_mask, lengths)]
    vectors = np.zeros((len(lengths), size), values.dtype)
    vectors[valid_mask] = values.reshape(-1, size)
    return replace(block, columns={**block.columns, key: vectors})


def join_vectors(block: Block, key: str, size: int) -> Block:
    """Replaces lists of lists of numbers by lists of vectors of `size` numbers. Any other column stays as it is.

    Raises:
        DataError: one of the innermost lists has another length.
    """
    numbers, levels = split_levels(block.columns.get(key))
    if len(levels) < 2 or isinstance(numbers, Strings) or numbers.ndim != 1:
        return block
    lengths = np.diff(levels[-1])
    if (wrong := lengths != size).any():
        row = Layout(levels[:-1], wrong.shape).find_row(int(wrong.argmax()))
        fault = f"has a list of {lengths[wrong][0]} numbers, not of `size` (={size})"
        raise raw.make_value_error(block, key, row, fault, raw.CORRECT, Remedy("leave out `size`", "columns"))
    return replace(block, columns={**block.columns, key: nest(numbers.reshape(-1, size), levels[:-1])})


def flatten_sequences(block: Block, key: str) -> tuple[Block, Levels]:
    """Flattens a column of sequences.

    Returns:
        A block with a row for each element of the innermost sequences, and the offsets of each level of sequences. If
        the column has no sequences, the block itself and ().
    """
    column = block.columns.get(key)
    if not isinstance(column, Ragged):
        return block, ()
    valid_mask = block.valid.get(key)
    valid = {} if valid_mask is None else {key: np.repeat(valid_mask, np.diff(column.offsets))}
    elements = _ElementBlock(
        {key: column.values},
        valid,
        origin=block.origin,
        ids=block.ids & {key},
        block=block,
        offsets=column.offsets,
    )
    flat, levels = flatten_sequences(elements, key)
    return flat, (column.offsets, *levels)


def find_class_positions(block: Block, key: str, known_classes: np.ndarray) -> np.ndarray:
    """Returns the position, from 1, of each row's class in `known_classes`, int32 (rows,); 0 for other classes."""
    classes, class_of_row = group_rows(block, key)
    if classes and len(known_classes):
        are_text = isinstance(classes[0], str)
        known_are_text = known_classes.dtype.kind == "U"
        if are_text != known_are_text:
            fault = f"is {classes[class_of_row[0]]!r}"
            needed = f"a class of the same type as in the training split is needed, such as {known_classes[0].item()!r}"
            raise raw.make_value_error(block, key, 0, fault, needed)
    positions = {value: position for position, value in enumerate(known_classes.tolist(), 1)}
    return np.array([positions.get(value, 0) for value in classes], np.int32)[class_of_row]


def add_encoded_columns(block: Block, parents: Mapping[str, Mapping[str, Values]]) -> Block:
    """Adds to a block the parents of a column: the encoded feature columns that it reads, under their names.

    Both the column and its statistics read the resulting block.
    """
    if not parents:
        return block
    columns = {key: first_array(arrays) for key, arrays in parents.items()}
    valid = {key: mask for key, mask in block.valid.items() if key not in parents}
    parent_ids = {key for key, arrays in parents.items() if next(iter(arrays)) == "ids"}
    ids = (block.ids - parents.keys()) | parent_ids
    return replace(block, columns={**block.columns, **columns}, valid=valid, ids=ids)


@dataclass(frozen=True, kw_only=True)
class _ElementBlock(Block):
    """A block with a row for each element of a sequence. Messages name the row of the sequence."""

    block: Block
    offsets: np.ndarray

    def locate(self, row: int) -> str:
        return self.block.locate(int(np.searchsorted(self.offsets, row, side="right")) - 1)
