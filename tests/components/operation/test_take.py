"""Rows that are chosen by their position in a part, whatever the blocks are."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.operation import Shard, Skip, Take
from components.types import UserError
from tests.helpers.operations import operate, rows_of_a_part

PARTS = st.fixed_dictionaries({"train": rows_of_a_part, "test": rows_of_a_part})


@settings(max_examples=40)
@given(PARTS, st.integers(1, 7), st.integers(1, 14), st.integers(0, 13))
def test_the_rows_are_those_of_a_slice(parts: Any, block_rows: int, count: int, start: int) -> None:
    def check(operation: Any, chosen: slice) -> None:
        assert operate([operation], parts, block_rows) == {part: rows[chosen] for part, rows in parts.items()}

    check(Take(count=count), slice(count))
    check(Skip(count=start), slice(start, None))
    check(Shard(count=count, index=start % count), slice(start % count, None, count))


def test_a_shard_is_that_of_tensorflow() -> None:
    """`tf.data.Dataset.range(6).shard(3, 1)`."""
    shard = operate([Shard(count=3, index=1)], {"all": [{"number": number} for number in range(6)]}, 2)
    assert [row["number"] for row in shard["all"]] == [1, 4]


def test_the_shards_have_each_row_once() -> None:
    table = {"all": [{"number": number} for number in range(10)]}
    shards = [operate([Shard(count=4, index=index)], table, 3)["all"] for index in range(4)]
    assert sorted(row["number"] for row in itertools.chain(*shards)) == [*range(10)]


def test_rows_after_the_last_one_that_is_taken_are_not_read() -> None:
    read: list[int] = []

    def read_blocks() -> Any:
        for number in range(5):
            read.append(number)
            yield Block(number)

    class Block:
        rows = 2

        def __init__(self, number: int) -> None:
            self.number = number

    taken: Any = Take(count=4).apply(read_blocks(), {})  # type: ignore[arg-type]
    assert [block.number for block in taken] == read == [0, 1]


def test_the_index_of_a_shard_is_below_their_number() -> None:
    with pytest.raises(UserError, match=r"3 is not below `count` \(=3\)"):
        Shard(count=3, index=3)
