"""Columns given from Python."""

import hashlib
import tracemalloc
from typing import Any

import numpy as np
import pytest

from components.data import Arrays, Frame
from components.data.arrays import update_digest
from components.types import DataError, Ragged


def arrays(columns: Any, **options: Any) -> Arrays:
    return Arrays(columns=columns, **{"valid": 1, "test": 1, **options})


def test_anything_that_numpy_takes_is_a_column() -> None:
    source = arrays({"x": [[1.5, 2], [3, 4], [5, 6], [7, 8]], "name": ["a", "b", "c", "d"]})
    assert source.sizes() == {"all": 4}
    (block,) = source.blocks("all")
    assert block.columns["x"].shape == (4, 2)
    assert block.columns["name"].tolist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "column",
    [["a\0", "a"], ("a\0", "a"), [b"a\0", b"a"], [["a\0", "b"], ["c", "d"]], [1, "a"], [2**63, 1], ["a", ["b"]]],
)
def test_a_list_is_kept_as_it_was_given(column: Any) -> None:
    (block,) = arrays({"x": column}, valid=0.5, test=None).blocks("all")
    assert block.columns["x"].tolist() == [*column]
    assert list(map(type, block.columns["x"].flat[:2])) == list(map(type, np.array(column, object).flat[:2]))


def test_parts_are_given_by_name() -> None:
    source = arrays({"train": {"x": [1, 2, 3]}, "test": {"x": [4, 5]}}, test=None, seed=None)
    assert source.sizes() == {"train": 3, "test": 2}
    assert next(source.blocks("test")).locate(1) == "row 1 of the test arrays"
    assert {name: rows.tolist() for name, rows in source.splits().items()} == {
        "train": [0, 1],
        "valid": [2],
        "test": [3, 4],
    }


def test_ragged_columns_are_cut_into_blocks() -> None:
    lengths = np.arange(40_000) % 3
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    source = arrays({"text": Ragged(np.arange(offsets[-1]), offsets)})
    rows = [
        block.columns["text"].values[start:stop].tolist()
        for block in source.blocks("all")
        for start, stop in zip(block.columns["text"].offsets[:-1], block.columns["text"].offsets[1:], strict=True)
    ]
    assert source.sizes() == {"all": 40_000}
    assert len(list(source.blocks("all"))) > 1
    assert rows == [list(range(offsets[row], offsets[row + 1])) for row in range(40_000)]


@pytest.mark.parametrize("source", [arrays, lambda columns: Frame(columns=columns)])
@pytest.mark.parametrize("nested", [False, True])
def test_the_fingerprint_depends_on_each_number_of_arrays_of_several_shapes(source: Any, nested: bool) -> None:
    def fingerprint(pixel: float) -> str:
        images = [np.zeros((40, 50)), np.zeros((50, 40))]
        images[0][20, 20] = pixel
        column = np.empty(2, object)
        column[:] = [[image] for image in images] if nested else images
        digest: str = source({"x": column, "y": [1.0, 2.0]}).content_digest()
        return digest

    assert fingerprint(1 + 1e-12) != fingerprint(1)
    assert fingerprint(1) == fingerprint(1)


@pytest.mark.parametrize(
    "other",
    [
        {"x": [1.0, 2, 4]},
        {"x": np.array([1, 2, 3], np.float32)},
        {"y": [1.0, 2, 3]},
        {"x": [[1.0], [2], [3]]},
        {"x": np.array(["1", 2, 3], object)},
        {"x": Ragged(np.array([1.0, 2, 3]), np.array([0, 1, 2, 3]))},
    ],
)
def test_the_fingerprint_follows_values_types_names_and_shapes(other: dict) -> None:
    assert arrays({"x": [1.0, 2, 3]}).fingerprint() == arrays({"x": np.array([1.0, 2, 3])}).fingerprint()
    assert arrays(other).fingerprint() != arrays({"x": [1.0, 2, 3]}).fingerprint()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1, 2], "y": [1, 2, 3]}, r"the same number of rows, got x 2, y 3"),
        ({}, "must have columns"),
        ({"x": [[1], 2]}, "column `x` has single values in row 1, but lists in row 0."),
        ({"x": 1}, "column `x` is 1, not an array of rows; a single row is \\[1\\]"),
        ({"train": {"x": [1]}, "test": {"y": [1]}}, "must have the same columns, got train: x; test: y"),
    ],
)
def test_values_that_are_not_a_table_raise_an_error(columns: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        arrays(columns).sizes()


@pytest.mark.parametrize(
    "texts",
    [[], ["x"], ["é", None, 3], ["a" * 50] * 20_000 + ["\U0001f600"], [["a", "b"]] * 5000],
    ids=["no row", "one row", "values of several types", "one wide character", "two axes"],
)
def test_objects_are_digested_as_the_text_of_their_list_in_little_memory(texts: list[Any]) -> None:
    array, digest = np.array(texts, object), hashlib.blake2b()
    tracemalloc.start()
    update_digest(digest, array)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert digest.digest() == hashlib.blake2b(repr(texts).encode()).digest()
    assert peak < 2**21
