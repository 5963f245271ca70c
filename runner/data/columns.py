"""Rows of columns: taken, concatenated and described. A column is a dense array, `Strings` or `Ragged`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from components.ragged import describe_lists, name_values, nest, offsets_of, split_levels
from components.ragged import take_rows as take_rows
from components.types import Block, Encoded, LazyColumns, Ragged, UserError, Values
from runner.data.windowed_rows import WindowedRows

ALIGNMENT = 64  # in bytes, of the memory that JAX shares


class ArrayLayout(NamedTuple):
    """The layout of one row in an array of a column.

    Attributes:
        dtype: the name of the array's dtype.
        shape: the shape of a row, or of an element of its innermost lists.
        depth: the number of levels of lists in a row. 0: it has none; 2: it has lists of lists.
    """

    dtype: str
    shape: tuple[int, ...]
    depth: int

    def __str__(self) -> str:
        return describe_lists(self.depth, self.shape, name_values(self.dtype))

    def describe_beside(self, other: ArrayLayout) -> str:
        """The layout in words, with the dtype if the words for another layout are the same."""
        return f"{self} ({self.dtype})" if str(self) == str(other) else str(self)


def array_layouts(encoded: Mapping[str, Mapping[str, Encoded]]) -> dict[str, dict[str, ArrayLayout]]:
    """The layout of each array, by column and name."""
    return {name: {key: _layout_of(values) for key, values in arrays.items()} for name, arrays in encoded.items()}


def _layout_of(values: Encoded) -> ArrayLayout:
    """The layout of a row, also where an example has several."""
    array, levels = split_levels(values.base if isinstance(values, WindowedRows) else values)
    return ArrayLayout(str(array.dtype), array.shape[1:], len(levels))


def match_layouts(
    encoded: Mapping[str, Mapping[str, Encoded]], layouts: Mapping[str, Mapping[str, ArrayLayout]]
) -> dict[str, dict[str, Encoded]]:
    """The arrays of inputs of new rows, in the layouts of training.

    Args:
        encoded: the arrays, by column and name.
        layouts: the layout of each array in training.

    Raises:
        UserError: an array has another layout.
    """
    matching = {
        name: {key: _deepen_empty(array, layouts[name][key].depth) for key, array in arrays.items()}
        for name, arrays in encoded.items()
    }
    for name, found in array_layouts(matching).items():
        for key, layout in found.items():
            if layout != (expected := layouts[name][key]):
                raise UserError(
                    f"feature.columns.{name}: new rows are encoded as {layout.describe_beside(expected)}, but those "
                    f"of the run as {expected.describe_beside(layout)}. Give the columns that it reads the types, "
                    "shapes and levels of lists of the run's data."
                )
    return matching


def _deepen_empty(values: Any, depth: int) -> Any:
    """Lists without any element as lists of some depth, as an empty list doesn't show the depth. Others stay."""
    elements, levels = split_levels(values)
    if not 0 < len(levels) < depth or len(elements):
        return values
    return nest(elements, (*levels, *[np.zeros(1, np.int64)] * (depth - len(levels))))


def concatenate_rows(pieces: Sequence[Any]) -> Any:
    """Concatenates the rows of encoded arrays. All are dense, or all are Ragged of the same depth."""
    if not isinstance(pieces[0], Ragged):
        shape = (sum(map(len, pieces)), *pieces[0].shape[1:])
        return np.concatenate(pieces, out=make_aligned(shape, np.result_type(*pieces)))
    lengths = np.concatenate([np.diff(piece.offsets) for piece in pieces])
    return Ragged(concatenate_rows([piece.values for piece in pieces]), offsets_of(lengths))


def make_aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array whose memory JAX uses on the CPU, too. It would copy one at another address."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def select_columns(block: Block, names: Collection[str]) -> dict[str, Values]:
    """Some columns of a block. Others aren't read."""
    return {name: block.columns[name] for name in block.columns if name in names}


def drop_columns(block: Block, names: Collection[str]) -> Block:
    """A block without columns that aren't among `names`. One stays at least, since they have the number of rows."""
    if isinstance(block.columns, LazyColumns):  # they are read when they are used
        return block
    columns = select_columns(block, names) or dict(itertools.islice(block.columns.items(), 1))
    return replace(block, columns=columns, valid={name: mask for name, mask in block.valid.items() if name in columns})


def select_rows(block: Block, rows: np.ndarray, names: Collection[str] | None = None) -> Block:
    """A block of some rows of another block. Messages name a row by its number in the other block.

    Args:
        block: the other block.
        rows: the index of each row in the other block.
        names: the columns that are selected. None: all.
    """
    columns: Mapping[str, Values]
    if isinstance(block.columns, LazyColumns):
        columns = block.columns.select(rows, take_rows)
    else:
        wanted = block.columns if names is None else select_columns(block, names)
        columns = {name: take_rows(values, rows) for name, values in wanted.items()}
    return _Selection(
        columns=columns,
        valid={name: mask[rows] for name, mask in block.valid.items() if names is None or name in names},
        origin=block.origin,
        files=block.files,
        offers_skipping=block.offers_skipping,
        block=block,
        rows=rows,
    )


@dataclass(frozen=True, kw_only=True)
class _Selection(Block):
    """Rows of another block.

    Attributes:
        block: the other block.
        rows: the index of each row in the other block.
    """

    block: Block
    rows: np.ndarray

    def locate(self, row: int) -> str:
        return self.block.locate(int(self.rows[row]))
