"""Blocks of rows that are joined, with their gaps, and with columns that are read when they are used."""

import dataclasses
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.tracked_block import TrackedBlock, concatenate_blocks
from components.types import DataError, LazyColumns, Strings
from tests.helpers.operations import Rows, list_rows, make_block, rows_of_a_part


def track(rows: Sequence[dict[str, Any]], start: int = 0) -> TrackedBlock:
    block = make_block(rows)
    numbers = np.arange(start, start + len(rows))
    return TrackedBlock(
        columns=block.columns,
        valid=block.valid,
        source_rows=numbers,
        source=Rows({"all": rows}),
        locate_source_row=lambda row: f"row {row}",
    )


@given(st.lists(rows_of_a_part.filter(bool), max_size=4))
def test_the_rows_of_blocks_are_in_one(parts: list[list[dict[str, Any]]]) -> None:
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    joined = concatenate_blocks(track(rows, start) for rows, start in zip(parts, starts, strict=False))
    rows = [row for part in parts for row in part]
    if joined is None:
        assert not rows
        return
    assert list_rows(iter([joined])) == rows
    assert joined.source_rows.tolist() == [*range(len(rows))]


def test_columns_that_are_read_when_they_are_used_stay_unread() -> None:
    read: list[list[int]] = []

    def read_image(rows: np.ndarray) -> Strings:
        read.append(rows.tolist())
        return Strings.from_bytes([b"image %d" % row for row in rows])

    def lazy(start: int, stop: int) -> TrackedBlock:
        block = track([{"number": row} for row in range(start, stop)], start)
        return dataclasses.replace(block, columns=LazyColumns(block.columns, {"image": read_image}, block.source_rows))

    joined = concatenate_blocks([lazy(0, 3), lazy(3, 5), lazy(5, 6)])
    assert joined is not None
    taken = joined.take(np.array([4, 0, 3, 2]))
    assert not read
    images: Any = taken.columns["image"]
    assert images.tolist() == ["image 4", "image 0", "image 3", "image 2"]
    assert sorted(row for rows in read for row in rows) == [0, 2, 3, 4]
    nothing: Any = joined.take(np.zeros(0, np.int64)).columns["image"]
    assert nothing.tolist() == []


def test_blocks_leave_the_memory_while_they_are_joined() -> None:
    size = 4 * 8 * 20_000 * 8  # bytes of all columns

    def make_blocks() -> Iterator[TrackedBlock]:
        for _ in range(4):
            block = track([{"a": 1}])
            columns = {name: np.zeros(20_000) for name in "abcdefgh"}
            yield dataclasses.replace(block, columns=columns, source_rows=np.arange(20_000))

    tracemalloc.start()
    try:
        concatenate_blocks(make_blocks())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < peak < 1.5 * size


def test_a_column_of_different_types_is_named() -> None:
    with pytest.raises(DataError, match=r"^column `a`: some rows have single floats"):
        concatenate_blocks([track([{"a": 1.5}]), track([{"a": 1}]).with_columns({"a": np.array([1])})])
