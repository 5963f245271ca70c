"""Runs row operations on rows of Python, in blocks of any size, and returns rows of Python."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from nested_lists import to_lists

from components.data import OperatedSource
from components.ragged import offsets_of
from components.types import Block, Ragged, RowOperation, Strings

Row = dict[str, Any]
GAPS: dict[str, Any] = {"f": np.nan, "i": 0, "b": False}

rows_of_a_part = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.none() | st.integers(-3, 3),
            "float": st.none() | st.sampled_from([-1.5, 0.0, 0.5, 2.0]),
            "text": st.none() | st.sampled_from(["", "a", "b", "ü"]),
        }
    ),
    max_size=12,
)
"""Rows with gaps, and with equal values."""
KINDS = {"number": "i8", "float": "f8", "text": "U", "flag": "?", "words": "U", "tags": "i8"}
LISTS = ("words", "tags")


@dataclass(frozen=True)
class Rows:
    """A source of rows by part. Its splits are its parts, or those that are given."""

    parts: Mapping[str, Sequence[Row]]
    block_rows: int = 5
    given: Mapping[str, Sequence[int]] | None = None

    def fingerprint(self) -> str:
        return repr(self.parts)

    def sizes(self) -> Mapping[str, int]:
        return {part: len(rows) for part, rows in self.parts.items()}

    def blocks(self, part: str) -> Iterator[Block]:
        rows = self.parts[part]
        for start in range(0, len(rows), self.block_rows):
            yield make_block(rows[start : start + self.block_rows], part, start)

    def splits(self) -> Mapping[str, np.ndarray]:
        if self.given is not None:
            return {split: np.array(rows, np.int64) for split, rows in self.given.items()}
        splits, start = {}, 0
        for part, size in self.sizes().items():
            splits[part] = np.arange(start, start + size)
            start += size
        return splits


def make_block(rows: Sequence[Row], origin: str = "rows", first_row: int = 0) -> Block:
    columns: dict[str, Any] = {}
    valid: dict[str, np.ndarray] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if any(value is None for value in values):
            valid[name] = np.array([value is not None for value in values])
        if name in LISTS:
            elements = [element for value in values for element in value or ()]
            columns[name] = Ragged(_make_column(name, elements), offsets_of(np.array([len(v or ()) for v in values])))
        else:
            columns[name] = _make_column(name, values)
    return Block(columns, valid, origin, first_row)


def _make_column(name: str, values: Sequence[Any]) -> Any:
    kind = KINDS.get(name, "f8")
    if kind == "U":
        return Strings.from_bytes([(value or "").encode() for value in values])
    gap = GAPS[np.dtype(kind).kind]
    return np.array([gap if value is None else value for value in values], kind)


def list_rows(blocks: Iterator[Block]) -> list[Row]:
    """The rows of blocks. A missing value is None."""
    return [row for block in blocks for row in _list_rows(block)]


def _list_rows(block: Block) -> Iterator[Row]:
    columns = {name: _list_values(values, block.valid.get(name)) for name, values in block.columns.items()}
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _list_values(values: Any, valid: np.ndarray | None) -> list[Any]:
    listed = to_lists(values)
    is_valid = [True] * len(listed) if valid is None else valid.tolist()
    return [value if known and value == value else None for value, known in zip(listed, is_valid, strict=True)]


def operate(
    operations: Sequence[RowOperation], parts: Mapping[str, Sequence[Row]], block_rows: int
) -> dict[str, list[Row]]:
    """The rows of each part after operations."""
    source = OperatedSource(source=Rows(parts, block_rows), operations=tuple(operations))
    return {part: list_rows(source.blocks(part)) for part in source.sizes()}
