"""Rows that are made of the elements of lists, whatever the blocks are."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nested_lists import to_lists

from components.data import Arrays, OperatedSource
from components.operation import Explode
from components.operation.gaps import take_or_gap
from components.types import Block, DataError, Ragged, UserError
from tests.helpers.operations import Rows, list_rows, operate

rows_with_lists = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.none() | st.integers(-3, 3),
            "lists": st.none() | st.lists(st.tuples(st.sampled_from(["", "a", "ü"]), st.integers(-3, 3)), max_size=3),
            "text": st.none() | st.sampled_from(["a", "b"]),
        }
    ).map(
        lambda row: {
            "number": row["number"],
            "words": None if row["lists"] is None else [word for word, _ in row["lists"]],
            "tags": None if row["lists"] is None else [tag for _, tag in row["lists"]],
            "text": row["text"],
        }
    ),
    max_size=12,
)


def explode(row: dict[str, Any], names: tuple[str, ...], *, keep_empty: bool) -> list[dict[str, Any]]:
    first = row[names[0]] or ([] if not keep_empty else None)
    if first is None:
        return [row | dict.fromkeys(names)]
    return [row | {name: row[name][index] for name in names} for index in range(len(first))]


@settings(max_examples=60)
@given(
    st.fixed_dictionaries({"train": rows_with_lists, "test": rows_with_lists}),
    st.integers(1, 7),
    st.sampled_from([("words",), ("tags", "words")]),
    st.booleans(),
)
def test_each_element_makes_a_row(parts: Any, block_rows: int, names: tuple[str, ...], keep_empty: bool) -> None:
    expected = {
        part: [made for row in rows for made in explode(row, names, keep_empty=keep_empty)]
        for part, rows in parts.items()
    }
    assert operate([Explode(columns=names, keep_empty=keep_empty)], parts, block_rows) == expected


def test_all_rows_of_a_row_are_in_its_split() -> None:
    rows = [{"words": ["a", "b"]}, {"words": []}, {"words": ["c"]}, {"words": ["d", "e", "f"]}]
    source = Rows({"all": rows}, 2, {"train": [0, 3], "valid": [1, 2]})
    operated = OperatedSource(source=source, operations=(Explode(columns="words"),))
    assert {split: numbers.tolist() for split, numbers in operated.splits().items()} == {
        "train": [0, 1, 3, 4, 5],
        "valid": [2],
    }
    assert operated.notes() == ("operations.0 (explode): 1 row: the list of `words` is empty or missing",)
    assert operated.locate_row(5) == "row 3 of all"


def test_arrays_and_lists_of_lists_have_elements_too() -> None:
    lists = Ragged(Ragged(np.arange(5), np.array([0, 2, 3, 5])), np.array([0, 1, 3]))
    table = Arrays(columns={"lists": lists, "pairs": np.arange(8.0).reshape(2, 2, 2), "number": np.array([7, 8])})
    by_pairs = OperatedSource(source=table, operations=(Explode(columns="pairs"),))
    (block,) = by_pairs.blocks("all")
    assert np.asarray(block.columns["pairs"]).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert np.asarray(block.columns["number"]).tolist() == [7, 7, 8, 8]
    twice = OperatedSource(source=table, operations=(Explode(columns="lists"), Explode(columns="lists")))
    assert [(row["lists"], row["number"]) for row in list_rows(twice.blocks("all"))] == [
        (0, 7),
        (1, 7),
        (2, 8),
        (3, 8),
        (4, 8),
    ]


def test_a_missing_array_is_an_empty_list() -> None:
    class Pairs(Rows):
        def blocks(self, part: str) -> Iterator[Block]:
            yield Block({"pairs": np.arange(6).reshape(3, 2)}, {"pairs": np.array([True, False, True])})

    source = OperatedSource(source=Pairs({"all": [{}] * 3}), operations=(Explode(columns="pairs"),))
    assert list_rows(source.blocks("all")) == [{"pairs": number} for number in (0, 1, 4, 5)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("words", "tags"), r"^operations\.0 \(explode\): row 1 of all: the list of `words` has 2 elements, and .*1\."),
        (("text",), "column `text` of all has single texts, not lists"),
        (("wrds",), r"there is no column `wrds` in all\. Did you mean words\?"),
    ],
)
def test_lists_that_do_not_fit_are_errors(names: tuple[str, ...], message: str) -> None:
    rows = [{"words": ["a"], "tags": [1], "text": "a"}, {"words": ["a", "b"], "tags": [1], "text": "b"}]
    with pytest.raises(DataError, match=message):
        operate([Explode(columns=names)], {"all": rows}, 3)


def test_no_column_is_an_error() -> None:
    with pytest.raises(UserError, match="is empty"):
        Explode(columns=())


def test_a_gap_among_lists_is_an_empty_list() -> None:
    lists = Ragged(np.array([1, 2, 3]), np.array([0, 1, 3]))
    taken, valid = take_or_gap(lists, None, np.array([1, -1, 0]))
    assert valid is not None
    assert (to_lists(taken), valid.tolist()) == ([[2, 3], [], [1]], [True, False, True])
