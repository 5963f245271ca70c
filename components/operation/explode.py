"""Makes a row of each element of lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from components.closest import join_names, suggest_name
from components.operation.gaps import take_or_gap
from components.ragged import describe_values, offsets_of
from components.tracked_block import TrackedBlock
from components.types import DataError, FieldError, Ragged


class _Lists(NamedTuple):
    """The lists of a column: those of row i are `elements[starts[i]:starts[i] + lengths[i]]`."""

    elements: Any
    starts: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Explode:
    """Makes a row of each element of lists. The values of the other columns are repeated.

    The rows that are made of one row are in its split.

    Attributes:
        columns: the column of lists, or several, whose lists are of the same length in each row. In their place are
            the elements; those of lists of lists are lists.
        keep_empty: whether an empty or missing list makes a row with a missing element. Otherwise it makes none.
    """

    columns: str | tuple[str, ...]
    keep_empty: bool = False

    applies_to_new_rows: ClassVar[bool] = True
    makes_rows: ClassVar[Literal[True]] = True

    def __post_init__(self) -> None:
        if not self._names:
            raise FieldError("columns", "is empty. Name the columns of lists: [NAME]")

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.columns,) if isinstance(self.columns, str) else tuple(dict.fromkeys(self.columns))

    @property
    def columns_read(self) -> Collection[str]:
        return self._names

    @property
    def list_columns(self) -> Collection[str]:
        return self._names

    @property
    def columns_computed(self) -> Collection[str]:
        return self._names

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        verb = "list of {} is" if len(self._names) == 1 else "lists of {} are"
        reason = f"the {verb.format(join_names(f'`{name}`' for name in self._names))} empty or missing"
        for block in blocks:
            lists = {name: _read_lists(block, name) for name in self._names}
            _check_lengths(block, lists)
            counts[reason] += int((next(iter(lists.values())).lengths == 0).sum())
            yield self._explode(block, lists)

    def _explode(self, block: TrackedBlock, lists: Mapping[str, _Lists]) -> TrackedBlock:
        lengths = next(iter(lists.values())).lengths
        counts = np.maximum(lengths, 1) if self.keep_empty else lengths
        rows = np.repeat(np.arange(block.rows), counts)
        numbers = np.arange(len(rows)) - np.repeat(offsets_of(counts)[:-1], counts)  # of the elements in their lists
        is_gap = lengths[rows] == 0
        taken = block.with_columns(dict.fromkeys(lists, np.zeros(block.rows, bool))).take(rows)  # the order stays
        columns, valid = dict[str, Any](), dict[str, np.ndarray | None]()
        for name, (elements, starts, _) in lists.items():
            positions = np.where(is_gap, -1, starts[rows] + numbers)
            columns[name], valid[name] = take_or_gap(elements, None, positions)
        return taken.with_columns(columns, valid)


def _read_lists(block: TrackedBlock, name: str) -> _Lists:
    """The lists of a column. A missing one is empty. Raises DataError if the column has none."""
    if name not in block.columns:
        suggestion = suggest_name(name, block.columns, title="Columns")
        raise DataError(f"there is no column `{name}` in {block.origin}. {suggestion}")
    values: Any = block.columns[name]
    if isinstance(values, Ragged):
        elements, starts, lengths = values.values, values.offsets[:-1], np.diff(values.offsets)
    elif isinstance(values, np.ndarray) and values.ndim > 1:
        elements = values.reshape(-1, *values.shape[2:])
        starts, lengths = np.arange(len(values)) * values.shape[1], np.full(len(values), values.shape[1])
    else:
        raise DataError(f"column `{name}` of {block.origin} has {describe_values(values)}, not lists. Leave it out")
    valid = block.valid.get(name)
    return _Lists(elements, starts, lengths if valid is None else np.where(valid, lengths, 0))


def _check_lengths(block: TrackedBlock, lists: Mapping[str, _Lists]) -> None:
    """Raises DataError for a row whose lists have different lengths."""
    (first, *_), *others = ((name, each.lengths) for name, each in lists.items())
    expected = lists[first].lengths
    for name, lengths in others:
        if (differs := lengths != expected).any():
            row = int(differs.argmax())
            raise DataError(
                f"{block.locate(row)}: the list of `{first}` has {expected[row]:,} elements, and that of `{name}` "
                f"{lengths[row]:,}. The lists of a row must be of the same length"
            )
