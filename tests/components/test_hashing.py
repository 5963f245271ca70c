"""Hashes of the values of columns: equal for equal values however they are stored, and the same in every version."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.hashing import combine_hashes, hash_values
from components.types import Ragged, Strings

TEXTS = st.lists(st.binary(max_size=600), max_size=20)


def packed(texts: list[bytes]) -> Strings:
    return Strings.from_bytes(texts)


@given(texts=TEXTS)
def test_strings_have_equal_hashes_if_they_are_equal(texts: list[bytes]) -> None:
    hashes = hash_values(packed(texts)).tolist()
    assert len({*zip(texts, hashes, strict=True)}) == len(set(texts)) == len(set(hashes))
    alone = [hash_values(packed([text]))[0] for text in texts]  # whatever stands beside them
    assert hashes == alone


@given(texts=TEXTS)
def test_a_dictionary_and_an_offset_change_no_hash(texts: list[bytes]) -> None:
    expected = hash_values(packed(texts))
    data, offsets, _ = packed([b"first", *texts])
    np.testing.assert_array_equal(hash_values(Strings(data, offsets[1:])), expected)
    order = np.arange(len(texts))[::-1]
    np.testing.assert_array_equal(hash_values(Strings(data, offsets[1:], order)), expected[::-1])


def test_strings_of_many_chunks_have_the_hashes_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [b"x" * (number % 40) + b"%d" % number for number in range(300)]
    expected = hash_values(packed(texts))
    monkeypatch.setattr("components.hashing.CHUNK_BYTES", 64)
    np.testing.assert_array_equal(hash_values(packed(texts)), expected)
    assert len(set(expected.tolist())) == len(texts)


def test_numbers_have_one_hash_in_all_types() -> None:
    stored: list[Any] = [np.array([0, 1, 100], kind) for kind in ("i1", "u2", "i8", "u8", "f4", "f8")]
    hashes = [hash_values(values).tolist() for values in stored]
    assert hashes == [hashes[0]] * len(stored)
    assert hash_values(np.array([False, True])).tolist() == hashes[0][:2]
    assert hash_values(np.array([0.0, -0.0, np.nan, -np.nan]))[[0, 2]].tolist() == (
        hash_values(np.array([0.0, -0.0, np.nan, -np.nan]))[[1, 3]].tolist()
    )
    days, times = np.array(["2020-01-02"], "M8[D]"), np.array(["2020-01-02T00:00"], "M8[ns]")
    assert hash_values(days) == hash_values(times)
    many = np.concatenate([np.arange(1000), np.arange(1000) + 0.5, [2.0**60, 1e300]])
    assert len(set(hash_values(many).tolist())) == len(many)


def test_rows_of_arrays_differ_in_any_element() -> None:
    images = np.zeros((30, 3, 3, 1), np.uint8)
    for row in range(27):
        images[row].flat[row % 9] = 1 + row // 9
    hashes = hash_values(images).tolist()
    assert len(set(hashes)) == 28  # the last three are equal
    rows = Ragged(np.array([1, 2, 1, 2, 2, 1]), np.array([0, 2, 4, 4, 5, 6]))
    first, second, *others = hash_values(rows).tolist()
    assert first == second
    assert len({first, *others}) == 4


def test_missing_values_have_one_hash_and_columns_an_order() -> None:
    valid = np.array([True, False, False])
    first = hash_values(np.array([1, 2, 3]), valid)
    assert first[1] == first[2] != first[0]
    a, b = hash_values(np.array([1, 2])), hash_values(np.array([2, 1]))
    assert combine_hashes(iter([a, b])).tolist() == combine_hashes(iter([b, a]))[::-1].tolist()
    assert len({*combine_hashes(iter([a, b])).tolist()}) == 2


def test_hashes_keep_their_meaning() -> None:
    """A split by hashes must not change with a version."""
    found = [hash_values(values)[0] for values in (packed([b"key"]), packed([b"k" * 300]), np.array([7]))]
    assert [f"{value:016x}" for value in found] == ["57e31f7582d7c28e", "d36b379688b1f28f", "740729cbe468d1dd"]
