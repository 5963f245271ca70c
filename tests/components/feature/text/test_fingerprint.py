"""Hashes of strings: those of TensorFlow and Keras, and those that the definitions give one string at a time."""

import itertools
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.feature.text.fingerprint import (
    cross,
    cross_ragged,
    fingerprint64,
    fingerprint_cat64,
    format_integers,
    to_buckets,
)
from components.feature.text.siphash import siphash
from components.types import Ragged

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "fingerprints.json").read_text())
STRINGS = [case["s"] for case in GOLDEN["fingerprint64"]]
TOO_MANY = 2**63 - 1  # what TensorFlow's operation takes 0 buckets for
MASK = 2**64 - 1
K0, K1, K2, MURMUR = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F, 0xC6A4A7935BD1E995

words = st.integers(0, MASK)
texts = st.lists(st.text(max_size=150), max_size=30)


def packed(rows: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [row.encode() if isinstance(row, str) else row for row in rows]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)])


def fingerprints(rows: Sequence[str | int]) -> np.ndarray:
    """As a cross takes them: strings hashed, integers as they are."""
    if rows and isinstance(rows[0], int):
        return np.array(rows, np.int64).view(np.uint64)
    return fingerprint64(*packed(rows))  # type: ignore[arg-type]


def ragged(rows: Sequence[Sequence[str | int]]) -> Ragged:
    return Ragged(fingerprints([value for row in rows for value in row]), np.cumsum([0, *map(len, rows)]))


# ------------------------------------------------------------------------------------- the definitions, on one string


def rotated(word: int, bits: int) -> int:
    return (word >> bits | word << (64 - bits)) & MASK


def mixed(word: int) -> int:
    return word ^ word >> 47


def two(u: int, v: int, multiplier: int) -> int:
    """HashLen16."""
    a = mixed((u ^ v) * multiplier & MASK)
    return mixed((v ^ a) * multiplier & MASK) * multiplier & MASK


def weak(text: bytes, a: int, b: int) -> tuple[int, int]:
    """WeakHashLen32WithSeeds."""
    w, x, y, z = struct.unpack("<4Q", text)
    a = (a + w) & MASK
    b, c = rotated((b + a + z) & MASK, 21), a
    a = (a + x + y) & MASK
    return (a + z) & MASK, (b + rotated(a, 44) + c) & MASK


def farmhash(text: bytes) -> int:
    """farmhashna::Hash64, after its source."""
    size, multiplier = len(text), K2 + 2 * len(text)

    def at(place: int, width: int = 8) -> int:
        place += size if place < 0 else 0
        return int.from_bytes(text[place : place + width], "little")

    if size == 0:
        return K2
    if size < 4:
        y, z = text[0] + (text[size >> 1] << 8), size + (text[-1] << 2)
        return mixed((y * K2 ^ z * K0) & MASK) * K2 & MASK
    if size < 8:
        return two(size + (at(0, 4) << 3), at(-4, 4), multiplier)
    if size <= 16:
        a, b = (at(0) + K2) & MASK, at(-8)
        return two(rotated(b, 37) * multiplier + a & MASK, (rotated(a, 25) + b) * multiplier & MASK, multiplier)
    if size <= 64:
        a = at(0) * (K1 if size <= 32 else K2) & MASK
        b, c, d = at(8), at(-8) * multiplier & MASK, at(-16) * K2 & MASK
        y = rotated((a + b) & MASK, 43) + rotated(c, 30) + d & MASK
        z = two(y, a + rotated((b + K2) & MASK, 18) + c & MASK, multiplier)
        if size <= 32:
            return z
        e, f = at(16) * multiplier & MASK, at(24)
        g, h = (y + at(-32)) * multiplier & MASK, (z + at(-24)) * multiplier & MASK
        u = rotated((e + f) & MASK, 43) + rotated(g, 30) + h & MASK
        return two(u, e + rotated((f + a) & MASK, 18) + g & MASK, multiplier)
    return long_farmhash(text)


def long_farmhash(text: bytes) -> int:
    x, y = 81, (81 * K1 + 113) & MASK
    z, v, w = mixed((y * K2 + 113) & MASK) * K2 & MASK, (0, 0), (0, 0)
    x = (x * K2 + struct.unpack_from("<Q", text)[0]) & MASK
    multiplier, factor = K1, 1
    for start in [*range(0, (len(text) - 1) // 64 * 64, 64), None]:
        if start is None:
            start, multiplier, factor = len(text) - 64, K1 + ((z & 0xFF) << 1), 9
            w = ((w[0] + (len(text) - 1 & 63)) & MASK, w[1])
            v = ((v[0] + w[0]) & MASK, v[1])
            w = ((w[0] + v[0]) & MASK, w[1])
        block = struct.unpack_from("<8Q", text, start)
        x = rotated((x + y + v[0] + block[1]) & MASK, 37) * multiplier & MASK
        y = rotated((y + v[1] + block[6]) & MASK, 42) * multiplier & MASK
        x ^= w[1] * factor & MASK
        y = (y + v[0] * factor + block[5]) & MASK
        z = rotated((z + w[0]) & MASK, 33) * multiplier & MASK
        v = weak(text[start : start + 32], v[1] * multiplier & MASK, (x + w[0]) & MASK)
        w = weak(text[start + 32 : start + 64], (z + w[1]) & MASK, (y + block[2]) & MASK)
        z, x = x, z
    low = two(v[0], w[0], multiplier) + mixed(y) * K0 + z
    return two(low & MASK, (two(v[1], w[1], multiplier) + x) & MASK, multiplier)


def sip(text: bytes, key: tuple[int, int]) -> int:
    """SipHash-2-4, after the paper."""
    v = [
        half ^ seed
        for half, seed in zip(key * 2, struct.unpack(">4Q", b"somepseudorandomlygeneratedbytes"), strict=True)
    ]

    def turn(bits: int, *places: int) -> None:
        for place in places:
            v[place] = rotated(v[place], 64 - bits)

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0], v[2] = v[0] + v[1] & MASK, v[2] + v[3] & MASK
            turn(13, 1), turn(16, 3)
            v[1], v[3] = v[1] ^ v[0], v[3] ^ v[2]
            turn(32, 0)
            v[2], v[0] = v[2] + v[1] & MASK, v[0] + v[3] & MASK
            turn(17, 1), turn(21, 3)
            v[1], v[3] = v[1] ^ v[2], v[3] ^ v[0]
            turn(32, 2)

    padded = text + bytes(7 - len(text) % 8) + bytes([len(text) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def crossed(row: Sequence[int], hash_key: int | None) -> int:
    result = hash_key or 0xDECAFCAFFE
    for value in row:
        result ^= MURMUR
        result ^= mixed(value * MURMUR & MASK) * MURMUR & MASK
        result = mixed(result * MURMUR & MASK) * MURMUR & MASK
        result = mixed(result)
    return result


# --------------------------------------------------------------------------------------------- TensorFlow's and Keras's


def test_fingerprints_and_their_buckets_are_tensorflows() -> None:
    found = fingerprint64(*packed(STRINGS))
    assert found.dtype == np.uint64
    assert found.tolist() == [int(case["fp64"]) for case in GOLDEN["fingerprint64"]]
    for count in GOLDEN["fingerprint64"][0]["bucket_fast"]:
        expected = [case["bucket_fast"][count] for case in GOLDEN["fingerprint64"]]
        assert to_buckets(found, int(count)).tolist() == expected


def test_every_length_is_hashed_as_tensorflow_does() -> None:
    rows = [bytes((37 * i + 11) % 256 for i in range(length)) for length in range(301)]
    expected = [int(value) for value in GOLDEN["every_length"]["fingerprint64"]]
    assert fingerprint64(*packed(rows)).tolist() == expected
    assert fingerprint64(*packed(rows[::-1])).tolist() == expected[::-1]
    assert [farmhash(row) for row in rows] == expected


@pytest.mark.parametrize("case", GOLDEN["strong"]["rows"], ids=lambda case: str(case["key"]))
def test_strong_hashes_are_tensorflows(case: dict[str, Any]) -> None:
    found = siphash(*packed(STRINGS), case["key"])
    assert to_buckets(found, case["num_buckets"]).tolist() == case["buckets"]


def test_integers_are_hashed_as_their_decimals() -> None:
    golden = GOLDEN["integers"]
    decimals = format_integers(np.array(golden["values"]))
    assert decimals.data.tobytes().decode() == "".join(golden["as_string"])
    assert to_buckets(fingerprint64(decimals.data, decimals.offsets), 1000).tolist() == golden["bucket_fast_1000"]


@pytest.mark.parametrize("case", GOLDEN["sparse_cross"]["cases"], ids=str)
def test_crosses_of_several_values_are_tensorflows(case: dict[str, Any]) -> None:
    columns = [ragged(GOLDEN["sparse_cross"]["columns"][name]) for name in case["columns"]]
    found = cross_ragged(columns, case["hash_key"])
    assert np.repeat(np.arange(4), np.diff(found.offsets)).tolist() == GOLDEN["sparse_cross"]["rows"]
    assert to_buckets(found.values, case["buckets"]).tolist() == case["values"]


@pytest.mark.parametrize("case", GOLDEN["cross_of_buckets"]["cases"], ids=str)
def test_crosses_of_buckets_are_tensorflows(case: dict[str, Any]) -> None:
    found = cross([fingerprints(GOLDEN["cross_of_buckets"][name]) for name in case["columns"]])
    assert to_buckets(found, GOLDEN["cross_of_buckets"]["buckets"]).tolist() == case["values"]


@pytest.mark.parametrize("case", GOLDEN["cross_hashed"]["cases"], ids=str)
def test_crosses_of_strings_and_integers_are_tensorflows(case: dict[str, Any]) -> None:
    found = cross([fingerprints(GOLDEN["cross_hashed"]["columns"][name]) for name in case["columns"]])
    assert to_buckets(found, case["buckets"] or TOO_MANY).tolist() == case["values"]


@pytest.mark.parametrize("case", GOLDEN["keras_hashing"]["cases"], ids=str)
def test_bins_of_strings_equal_those_of_keras(case: dict[str, Any]) -> None:
    given = packed(GOLDEN["keras_hashing"]["strings"])
    found = siphash(*given, case["salt"]) if case["salt"] else fingerprint64(*given)
    assert to_buckets(found, case["bins"]).tolist() == case["values"]


def test_bins_of_integers_and_of_crosses_equal_those_of_keras() -> None:
    hashing, crossing = GOLDEN["keras_hashing"], GOLDEN["keras_crossing"]
    decimals = format_integers(np.array(hashing["integers"]))
    found = fingerprint64(decimals.data, decimals.offsets)
    assert to_buckets(found, 5).tolist() == hashing["integers in 5 bins"]
    found = cross([fingerprints(crossing["string"]), fingerprints(crossing["integer"])])
    assert to_buckets(found, crossing["bins"]).tolist() == crossing["values"]


# ---------------------------------------------------------------------------------------------------- the definitions


@given(texts, st.text(max_size=20), st.sampled_from([np.int64, np.int32]))
def test_strings_are_hashed_wherever_they_lie(rows: list[str], before: str, dtype: Any) -> None:
    values, offsets = packed([before, *rows])
    found = fingerprint64(values, offsets[1:].astype(dtype))
    assert found.tolist() == [farmhash(row.encode()) for row in rows]


@given(st.lists(st.binary(max_size=40), max_size=30), st.tuples(words, words))
def test_siphash_is_as_defined(rows: list[bytes], key: tuple[int, int]) -> None:
    values, offsets = packed([b"before", *rows])
    assert siphash(values, offsets[1:], key).tolist() == [sip(row, key) for row in rows]


def test_siphash_is_that_of_the_paper() -> None:
    """Appendix A: the key 00 01 … 0f, the message 00 01 … 0e."""
    key = struct.unpack("<2Q", bytes(range(16)))
    assert siphash(*packed([bytes(range(15))]), key).tolist() == [0xA129CA6149BE45E5]


@pytest.mark.parametrize(("rows", "longest"), [(150_000, 20), (20_000, 1000), (100, 70_000)])
def test_many_rows_and_long_ones_are_hashed_as_a_few_are(rows: int, longest: int) -> None:
    random = np.random.default_rng(rows)
    offsets = np.cumsum([0, *random.integers(0, longest, rows, endpoint=True)])
    values = random.integers(0, 256, offsets[-1], np.uint8)
    for function in (fingerprint64, lambda *given: siphash(*given, (1, 2))):
        found = function(values, offsets)
        parts = [function(values, offsets[first : first + 5001]) for first in range(0, rows, 5000)]
        np.testing.assert_array_equal(found, np.concatenate(parts))
    sample = random.integers(0, rows, 100)
    expected = [farmhash(values[offsets[i] : offsets[i + 1]].tobytes()) for i in sample]
    assert fingerprint64(values, offsets)[sample].tolist() == expected


def test_columns_of_arrow_are_hashed_where_they_are() -> None:
    rows = ["ignored", "", "Köln", "x" * 100, "\0"]
    for kind, dtype in ((pa.string(), np.int32), (pa.large_string(), np.int64)):
        column = pa.array(rows, kind)[1:]
        _, offsets, values = column.buffers()
        bounds = np.frombuffer(offsets, dtype)[column.offset : column.offset + len(column) + 1]
        found = fingerprint64(np.frombuffer(values, np.uint8), bounds)
        assert found.tolist() == [farmhash(row.encode()) for row in rows[1:]]


def test_encoding_does_not_modify_its_arguments() -> None:
    values, offsets = packed(STRINGS)
    before = values.copy(), offsets.copy()
    fingerprint64(values, offsets), siphash(values, offsets, (1, 2))
    np.testing.assert_array_equal(values, before[0])
    np.testing.assert_array_equal(offsets, before[1])


@given(st.lists(st.tuples(words, words, words), max_size=20), st.none() | words)
def test_a_cross_is_as_defined(rows: list[tuple[int, int, int]], hash_key: int | None) -> None:
    columns = np.array(rows, np.uint64).reshape(-1, 3).T
    expected = [crossed(row, hash_key) for row in rows]
    assert cross(columns, hash_key).tolist() == expected
    single = [Ragged(column, np.arange(len(rows) + 1)) for column in columns]
    assert cross_ragged(single, hash_key).values.tolist() == expected


def test_a_long_cross_is_that_of_its_rows() -> None:
    a, b = np.random.default_rng(0).integers(0, MASK, (2, 20_001), np.uint64)
    begun = np.full(len(a), 0xDECAFCAFFE, np.uint64)
    np.testing.assert_array_equal(cross([a, b]), fingerprint_cat64(fingerprint_cat64(begun, a), b))


@given(st.lists(st.tuples(*[st.lists(words, max_size=3)] * 3), max_size=10), st.none() | words)
def test_a_ragged_cross_is_every_choice(rows: list[tuple[list[int], ...]], hash_key: int | None) -> None:
    columns = [ragged([]) for _ in range(3)]
    for place in range(3):
        values = np.array([value for row in rows for value in row[place]], np.uint64)
        columns[place] = Ragged(values, np.cumsum([0, *(len(row[place]) for row in rows)]))
    found = cross_ragged(columns, hash_key)
    expected = [[crossed(choice, hash_key) for choice in itertools.product(*row)] for row in rows]
    assert found.values.tolist() == [value for row in expected for value in row]
    assert found.offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-1000, 1000)))
def test_integers_are_formatted_as_in_python(values: list[int]) -> None:
    text, offsets, indices = format_integers(np.array(values, np.int64))
    assert indices is None
    assert text.dtype == np.uint8
    assert offsets.dtype == np.int64
    assert [text[a:b].tobytes().decode() for a, b in itertools.pairwise(offsets)] == [str(value) for value in values]


def test_decimals_of_many_rows_and_narrow_integers() -> None:
    values = np.random.default_rng(0).integers(-(2**31), 2**31, 20_000).astype(np.int32)
    text, offsets, _ = format_integers(values[::2])
    assert text.tobytes().decode() == "".join(map(str, values[::2].tolist()))
    assert len(offsets) == 10_001
    with pytest.raises(TypeError, match="safe"):
        format_integers(np.array([2**63], np.uint64))


@given(st.lists(words), st.integers(1, 2**63))
def test_buckets_are_remainders(hashes: list[int], count: int) -> None:
    found = to_buckets(np.array(hashes, np.uint64), count)
    assert found.tolist() == [value % count for value in hashes]
    assert found.dtype == (np.int32 if count <= 2**31 else np.int64)
