"""Crosses: TensorFlow's ids, for strings, integers and ids, one of a row or several, dense and ragged."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.base.values import NO_ID
from components.feature.crossed import Crossed
from components.feature.hashed import Hashed
from components.feature.identity import Identity
from components.feature.text.fingerprint import fingerprint64
from components.feature.text.string_ops import to_strings
from components.feature.vocabulary import Vocabulary
from components.types import Block, Constants, DataError, Ragged, UserError

FOLDER = Path(__file__).parents[2] / "golden"
GOLDEN = json.loads((FOLDER / "categorical.json").read_text())
CROSSED = GOLDEN["fc_crossed"]
HASHED = json.loads((FOLDER / "fingerprints.json").read_text())["cross_hashed"]
MASK, MURMUR = 2**64 - 1, 0xC6A4A7935BD1E995


def encoded(columns: dict[str, Any], values: dict[str, Any]) -> Any:
    """The ids of the last column, which may read those before it."""
    done: dict[str, Any] = {}
    constants: dict[str, Constants] = {}
    for name, column in columns.items():
        read = [key for key in column.keys if key in done and key != name]
        constants[name] = column.fit({}, {key: constants[key] for key in read})
        parents = {key: done[key] for key in read}
        done[name] = column.encode(Block(values, origin="somewhere"), parents, constants[name])
    return done[name]["ids"]


def crossed(values: dict[str, Any], *keys: str, **options: Any) -> Any:
    return encoded({"x": Crossed(keys=keys, **{"buckets": 1000, **options})}, values)


def ragged(rows: Sequence[Sequence[Any]]) -> Ragged:
    values = [value for row in rows for value in row]
    text = any(isinstance(value, str) for value in values)
    return Ragged(to_strings(values) if text else np.array(values, np.int64), np.cumsum([0, *map(len, rows)]))


SPARSE = {
    "a": ragged([["x"], ["y"], ["x", "y"], []]),
    "b": ragged([["p"], ["q"], ["p", "q"], ["p"]]),
    "c": ragged([["1"], ["2"], ["3"], ["4"]]),
}
LAT = Identity(key="lat", buckets=3)
LON = Identity(key="lon", buckets=3)
PLACES = {"lon": np.array([0, 1, 2]), "lat": np.array([1, 0, 2]), "a": np.array(["x", "y", ""])}


@pytest.mark.parametrize("name", [name for name in CROSSED if "sparse n=" in name or "hash_key" in name])
def test_crosses_of_strings_are_tensorflows(name: str) -> None:
    keys, *words = name.split(" (")[0].split()
    options = dict(word.split("=") for word in words if "=" in word)
    found = crossed(
        SPARSE, *keys.split(","), buckets=int(options["n"]), hash_key=int(options.get("hash_key", 0)) or None
    )
    assert found.values.dtype == np.int32
    assert found.values.tolist() == CROSSED[name]["values"]
    assert found.offsets.tolist() == [0, 1, 2, 6, 6]


def test_a_hash_key_of_0_is_tensorflows_own() -> None:
    expected = CROSSED["a,b hash_key=0 n=1000 (0 is falsy: same as default)"]["values"]
    assert crossed(SPARSE, "a", "b", hash_key=0).values.tolist() == expected


def test_crosses_of_crosses_equal_those_of_all_their_keys() -> None:
    columns = {"a_x_b": Crossed(keys=("a", "b"), buckets=7), "x": Crossed(keys=("a_x_b", "c"), buckets=1000)}
    assert encoded(columns, SPARSE).values.tolist() == CROSSED["nested ((a,b),c) n=1000 (equals a,b,c)"]["values"]
    twice = {**columns, "x": Crossed(keys=("a_x_b", "a"), buckets=1000)}
    with pytest.raises(UserError, match="a cross of a, b, a: `a` occurs twice"):
        encoded(twice, SPARSE)
    inner = columns["x"].fit({}, {"a_x_b": columns["a_x_b"].fit({}, {})})
    with pytest.raises(UserError, match="list its own keys instead"):
        columns["x"].encode(Block(SPARSE), {"a_x_b": {"ids": np.zeros(4, np.int32)}}, inner)


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (("lon", "lat"), "lon[-120,-116] x lat[35,38] n=1000"),
        (("lat", "lon"), "lat x lon n=1000"),
        (("a", "lon"), "mixed ['a' dense, lon bucketized] n=1000"),
        (("lon", "a"), "mixed [lon bucketized, 'a' dense] n=1000 (same ids: sparse first)"),
    ],
)
def test_crosses_of_ids_are_tensorflows_and_dense_strings_come_last(keys: tuple[str, ...], name: str) -> None:
    found = encoded({"lat": LAT, "lon": LON, "x": Crossed(keys=keys, buckets=1000)}, PLACES)
    assert found.tolist() == CROSSED[name]["values"]


def test_the_order_given_is_that_of_sparse_strings() -> None:
    expected = CROSSED["sparse ['a', lon] n=1000"]["values"]
    column = Crossed(keys=("a", "lon"), buckets=1000, order="given")
    assert encoded({"lon": LON, "x": column}, PLACES).tolist() == expected
    strings = {**PLACES, "a": ragged([["x"], ["y"], [""]])}
    sparse = Crossed(keys=("a", "lon"), buckets=1000)
    assert encoded({"lon": LON, "x": sparse}, strings).values.tolist() == expected


def test_a_cell_without_an_id_has_no_cross() -> None:
    known = Vocabulary(key="a", values=("x", "y"))
    found = encoded({"lon": LON, "a": known, "x": Crossed(keys=("a", "lon"), buckets=1000)}, PLACES)
    assert found.tolist() == [*CROSSED["[vocab a(x,y;default -1), lon] n=1000"]["values"], NO_ID]
    gaps = {"a": np.array([True, False, True]), "lon": np.array([True, True, False])}
    column = Crossed(keys=("a", "lon"), buckets=1000)
    for valid, expected in (({"a": gaps["a"]}, [False, True, False]), (gaps, [False, True, True])):
        ids = column.encode(Block(PLACES, valid), {}, column.fit({}, {}))["ids"]
        assert (ids == NO_ID).tolist() == expected


@pytest.mark.parametrize("case", [case for case in HASHED["cases"] if case["buckets"]], ids=str)
def test_dense_strings_and_integers_are_crossed_in_their_order(case: dict[str, Any]) -> None:
    values = {name: np.array(rows) for name, rows in HASHED["columns"].items()}
    assert crossed(values, *case["columns"], buckets=case["buckets"]).tolist() == case["values"]


def test_crosses_equal_those_of_keras() -> None:
    golden = GOLDEN["keras_hashed_crossing"]
    values = {"x": np.array(["A", "B", "A", "B", "A"]), "y": np.array([101, 101, 101, 102, 102])}
    assert crossed(values, "x", "y", buckets=5).tolist() == golden["doc (A B A B A)x(101 101 101 102 102) bins5"]
    values = {"x": np.array(["x", "y", "x"]), "y": np.array(["p", "q", "q"]), "z": np.array(["1", "2", "3"])}
    assert crossed(values, "x", "y").tolist() == golden["(x y x)x(p q q) bins1000"]
    assert crossed(values, "y", "x").tolist() == golden["(p q q)x(x y x) bins1000"]
    assert crossed(values, "x", "y", "z").tolist() == golden["3 inputs bins1000"]


# --------------------------------------------------------------------------------------------------- the definition


def scalar(values: tuple[str | int, ...], buckets: int) -> int:
    """FingerprintCat64 of one value after the other, in Python's integers."""

    def mixed(word: int) -> int:
        return word ^ word >> 47

    total = 0xDECAFCAFFE
    for value in values:
        word = int(fingerprint64(*to_strings([value])[:2])[0]) if isinstance(value, str) else int(value) & MASK
        total = (total ^ MURMUR ^ mixed(word * MURMUR & MASK) * MURMUR & MASK) * MURMUR & MASK
        total = mixed(mixed(total) * MURMUR & MASK)
    return total % buckets


rows = st.lists(
    st.tuples(
        st.lists(st.text(max_size=3), max_size=3),
        st.lists(st.integers(0, 4), max_size=3),
        st.integers(-(2**63), 2**63 - 1),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25)
@given(rows)
def test_a_cross_is_every_choice_in_order(rows: list[tuple[list[str], list[int], int]]) -> None:
    first, second, third = zip(*rows, strict=True)
    values = {"x": ragged(first), "y": ragged(second), "z": np.array(third)}
    found = encoded({"y": Identity(key="y", buckets=5), "c": Crossed(keys=("z", "x", "y"), buckets=997)}, values)
    expected = [[scalar((*choice, z), 997) for choice in itertools.product(x, y)] for x, y, z in rows]
    assert found.offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert found.values.tolist() == [one for row in expected for one in row]


def test_several_dense_values_a_row_are_crossed_with_each_other() -> None:
    values = {"x": np.array([[1, 2], [3, 4]]), "y": np.array([5, 6]), "z": np.array([[7, -1, 8], [9, 9, -1]])}
    column = Crossed(keys=("x", "y", "z"), buckets=997)
    found = encoded({"z": Identity(key="z", buckets=10), "c": column}, values)
    order = [[(z, x, 5 + row) for z in values["z"][row] for x in values["x"][row]] for row in range(2)]
    expected = [[NO_ID if -1 in choice else scalar(choice, 997) for choice in row] for row in order]
    assert found.tolist() == expected
    single = encoded({"c": Crossed(keys=("y", "w"), buckets=9)}, {"y": np.array([5, 6]), "w": np.array([[1], [2]])})
    assert single.shape == (2,)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), min_size=1, max_size=12), st.integers(0, 12))
def test_a_row_is_crossed_by_itself_however_it_is_stored(rows: list[tuple[str, str]], cut: int) -> None:
    columns = {name: np.array(column, object) for name, column in zip("ab", zip(*rows, strict=True), strict=True)}
    whole = crossed(columns, "a", "b").tolist()
    slices = [slice(0, cut), slice(cut, None)] if 0 < cut < len(rows) else [slice(None)]
    parts = [{name: column[part] for name, column in columns.items()} for part in slices]
    assert whole == [one for part in parts for one in crossed(part, "a", "b").tolist()]
    distinct = sorted(set(columns["a"]))
    strings = to_strings(distinct)._replace(indices=np.array([distinct.index(text) for text in columns["a"]]))
    assert whole == crossed({**columns, "a": strings}, "a", "b").tolist()
    listed = {name: ragged([[text] for text in column]) for name, column in columns.items()}
    assert whole == crossed(listed, "a", "b").values.tolist()


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("keys", "options", "message"),
    [
        (("a",), {}, r"keys: a cross needs two or more columns, got a"),
        (("a", "b", "a"), {}, "a cross of a, b, a: `a` occurs twice; remove one"),
        (("a", "b"), {"buckets": 0}, "column `a x b`: buckets=0 must be from 1"),
    ],
)
def test_wrong_settings_raise_an_error(keys: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Crossed(keys=keys, **{"buckets": 10, **options})


def test_what_is_no_category_raises_an_error() -> None:
    with pytest.raises(DataError, match=r"row 0 of somewhere: column `n` is 0\.5 \(float64\); a category is text or a"):
        crossed({"n": np.array([0.5]), "a": np.array(["x"])}, "n", "a")
    column, weights = Crossed(keys=("a", "w"), buckets=10), {"ids": np.zeros(1, np.int32), "weights": np.ones(1)}
    with pytest.raises(UserError, match="a cross can't have weights, but `w` has"):
        column.encode(Block({"a": np.array(["x"])}), {"w": weights}, column.fit({}, {"w": Constants()}))


def test_hashed_columns_may_be_keys() -> None:
    """TensorFlow refuses them: their collisions come on top."""
    assert "error" in CROSSED["hash column as key"]
    columns = {"a": Hashed(key="a", buckets=5), "lon": LON, "x": Crossed(keys=("a", "lon"), buckets=1000)}
    hashes = encoded({"a": columns["a"]}, PLACES).tolist()
    assert encoded(columns, PLACES).tolist() == [scalar((hashes[0], 0), 1000), scalar((hashes[1], 1), 1000), NO_ID]
