"""Buckets of numbers: TensorFlow's ids, boundaries that are learned, and what has no bucket."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.base.values import NO_ID
from components.feature.bucketized import Bucketized
from components.feature.normalizer import Log
from components.types import Block, Constants, DataError, Ragged, UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "numbers.json").read_text())


def learned(column: Bucketized, rows: Block) -> Constants:
    return column.fit({name: one.result(one.summarize(rows)) for name, one in column.statistics().items()}, {})


def ids(column: Bucketized, values: Any, **valid: Any) -> Any:
    rows = Block({"x": values}, {name: np.array(valid_mask) for name, valid_mask in valid.items()})
    found = column.encode(rows, {}, learned(column, rows))["ids"]
    assert isinstance(found, Ragged) or found.dtype == np.int32
    return found.values.tolist() if isinstance(found, Ragged) else found.tolist()


@pytest.mark.parametrize("section", ["fc_bucketized", "keras_discretization"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ids_equal_those_of_tensorflow_and_keras(section: str, dtype: Any) -> None:
    golden = GOLDEN[section]
    column = Bucketized(key="x", boundaries=tuple(golden["boundaries"]))
    assert ids(column, np.array(golden["values"]).astype(dtype)) == np.ravel(golden["ids"]).tolist()


def test_the_elements_of_a_vector_have_ids_of_their_own() -> None:
    golden = GOLDEN["fc_bucketized"]
    column = Bucketized(key="x", boundaries=tuple(golden["shape2_boundaries"]), size=2)
    given = np.array([[-1, 0.5], [0, 7]])
    assert np.ravel(ids(column, given)).tolist() == golden["shape2_sparse_ids"]["values"]
    constants = learned(column, Block({}))
    assert constants.static == {"buckets": golden["shape2_num_buckets"]}
    found = column.layer(constants.static)(column.encode(Block({"x": given}), {}, constants), constants.device)
    dense = np.zeros((2, found.size))
    np.add.at(dense, (np.arange(2)[:, None], np.asarray(found.ids)), np.asarray(found.weights))
    assert dense.tolist() == golden["shape2_dense"]


@settings(max_examples=15)
@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=30),
    boundaries=st.sets(st.floats(-100, 100, width=32), min_size=1, max_size=6),
    more=st.booleans(),
)
def test_few_and_many_boundaries_mean_the_same(values: list[float], boundaries: set[float], more: bool) -> None:
    """Of up to 255 each is compared with, more are searched."""
    given = (*sorted(boundaries), *range(200, 500 if more else 210))
    expected = [len(given) if np.isnan(value) else sum(one <= value for one in given) for value in values]
    assert ids(Bucketized(key="x", boundaries=given), np.array(values)) == expected


def test_quantiles_are_learned() -> None:
    x = np.random.default_rng(0).permutation(1000) / 7
    found = np.array(ids(Bucketized(key="x", quantiles=4), x))
    assert np.bincount(found).tolist() == [250] * 4
    assert found[x.argmin()] == 0


def test_quantiles_may_be_those_of_keras() -> None:
    golden = GOLDEN["keras_discretization"]
    x = np.ravel(golden["adapt_data"])
    column = Bucketized(key="x", quantiles=4, method="keras")
    boundaries = learned(column, Block({"x": x})).host["boundaries"]
    np.testing.assert_allclose(boundaries[:, 0], golden["adapt_num_bins4_boundaries"], rtol=1e-6)
    assert ids(column, x) == np.ravel(golden["adapted_ids"]).tolist()


def test_equal_width_divides_the_range_of_training() -> None:
    column = Bucketized(key="x", equal_width=4)
    constants = learned(column, Block({"x": np.array([0.0, 8.0, 1.0])}))
    assert constants.host["boundaries"].tolist() == [[2], [4], [6]]
    given = Block({"x": np.array([-5.0, 1.9, 2.0, 6.0, 100.0])})
    assert column.encode(given, {}, constants)["ids"].tolist() == [0, 0, 1, 3, 3]


def test_numbers_far_from_0_are_compared_in_float64() -> None:
    seconds = 1.6e9 + np.arange(100)
    for column in (Bucketized(key="x", equal_width=10), Bucketized(key="x", quantiles=10)):
        assert np.bincount(ids(column, seconds)).tolist() == [10] * 10
    assert ids(Bucketized(key="x", boundaries=(1.6e9, 1.6e9 + 2)), seconds[:3]) == [1, 1, 2]
    normalized = Bucketized(key="x", boundaries=(0.0,), normalize="z_score")
    assert np.bincount(ids(normalized, seconds)).tolist() == [50, 50]


@pytest.mark.parametrize(
    ("boundaries", "lower", "upper"),
    [
        ((1.6e9 + 50,), 1.6e9 + 49, 1.6e9 + 50),
        ((1e-46, 1e-44), 1e-45, 1e-44),
        ((1.0, 1 + 1e-6), 1 + 1e-6 - 1e-9, 1 + 1e-6),
        ((0.0, 1e39), 1e38, 1e39),
    ],
)
def test_boundaries_that_float32_cannot_tell_apart_are_compared_in_float64(
    boundaries: tuple[float, ...], lower: float, upper: float
) -> None:
    last = len(boundaries)
    assert ids(Bucketized(key="x", boundaries=boundaries), np.array([lower, upper])) == [last - 1, last]


def test_other_boundaries_are_compared_in_float32() -> None:
    """0.1 + 0.2 is above 0.3 in float64."""
    assert ids(Bucketized(key="x", boundaries=(0.1 + 0.2, 1.0)), np.array([0.3])) == [1]
    assert ids(Bucketized(key="x", quantiles=100), np.arange(101.0)) == [*range(100), 99]


def test_data_in_float32_are_compared_in_float32() -> None:
    assert ids(Bucketized(key="x", boundaries=(0.7,)), np.array([0.7, 0.69], np.float32)) == [1, 0]


MANY_ZEROS = np.where(np.arange(100) < 90, 0.0, np.arange(100))


@pytest.mark.parametrize(
    ("column", "x", "message"),
    [
        (
            Bucketized(key="x", quantiles=10),
            MANY_ZEROS,
            "column `x`: quantiles=10 fills only 2 buckets, because too many",
        ),
        (Bucketized(key="x", quantiles=2), MANY_ZEROS, "quantiles=2 fills only 1 buckets"),
        (Bucketized(key="x", equal_width=10), 2.0**60 + 256 * np.arange(3), r"equal_width=10 fills only \d buckets"),
        (
            Bucketized(key="x", quantiles=4, size=2),
            np.stack([np.arange(100), MANY_ZEROS], 1),
            "column `x`, element 1,: quantiles=4 fills only 1 buckets",
        ),
    ],
)
def test_learned_boundaries_that_leave_a_bucket_empty_raise_an_error(column: Bucketized, x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        learned(column, Block({"x": x}))
    assert learned(replace(column, duplicates="keep"), Block({"x": x})).static["buckets"] == column.count * column.size


def test_buckets_may_be_left_empty() -> None:
    found = ids(Bucketized(key="x", quantiles=10, duplicates="keep"), MANY_ZEROS)
    assert set(found) == {8, 9}


def test_normalized_numbers_are_bucketized() -> None:
    x = np.array([1.0, 10.0, 100.0, 1000.0])
    assert ids(Bucketized(key="x", boundaries=(-1.0, 0.0, 1.0), normalize="z_score"), x) == [1, 1, 1, 3]
    assert ids(Bucketized(key="x", equal_width=3, normalize=Log()), x) == [0, 1, 2, 2]
    with pytest.raises(DataError, match=r"row 1 of data: column `x` is 0\.0, for which Log isn't finite"):
        ids(Bucketized(key="x", boundaries=(1.0,), normalize="log"), np.array([1.0, 0.0]))


def test_a_missing_value_has_no_id_unless_missing_replaces_it() -> None:
    x, valid_mask = np.array([-5.0, 5.0, np.nan, 5.0]), [True, True, True, False]
    assert ids(Bucketized(key="x", boundaries=(0.0,)), x, x=valid_mask) == [0, 1, 1, NO_ID]
    assert ids(Bucketized(key="x", boundaries=(0.0,), missing=-1.0), x, x=valid_mask) == [0, 1, 0, 0]
    assert ids(Bucketized(key="x", boundaries=(0.0,)), np.array([-5, None, 5], object)) == [0, NO_ID, 1]
    pairs = np.array([[-5, None], [5, 5]], object)
    assert ids(Bucketized(key="x", boundaries=(0.0,), size=2), pairs, x=[True, False]) == [[0, NO_ID], [NO_ID, NO_ID]]
    assert (
        ids(Bucketized(key="x", boundaries=(0.0,), normalize="log1p"), np.array([-9.0, 1.0]), x=[False, True])[0]
        == NO_ID
    )


def test_a_missing_value_of_a_parent_column_is_missing() -> None:
    column = Bucketized(key="r", boundaries=(0.0,))
    parents = {"r": {"values": np.array([[1.0], [np.nan], [-1.0]], np.float32)}}
    assert column.encode(Block({}), parents, column.fit({}, {}))["ids"].tolist() == [1, NO_ID, 0]


def test_rows_of_any_number_of_numbers_have_as_many_ids() -> None:
    rows = Block({"x": Ragged(np.array([1.0, -1.0, 3.0]), np.array([0, 2, 2, 3]))})
    column = Bucketized(key="x", quantiles=3)
    found = column.encode(rows, {}, learned(column, rows))["ids"]
    assert isinstance(found, Ragged)
    assert (found.values.tolist(), found.offsets.tolist()) == ([1, 0, 2], [0, 2, 2, 3])
    empty = Block({"x": Ragged(np.array([]), np.array([0, 0]))})
    assert column.encode(empty, {}, learned(column, rows))["ids"].offsets.tolist() == [0, 0]  # type: ignore[union-attr]


def test_numbers_beyond_float32_have_a_bucket() -> None:
    assert ids(Bucketized(key="x", boundaries=(0.0, 1.0)), np.array([1e300, -1e300])) == [2, 0]
    assert ids(Bucketized(key="x", boundaries=(0.0, 1.0)), np.array([2**63 - 1, 0])) == [2, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of `boundaries`, `quantiles` and `equal_width` must be set"),
        ({"boundaries": (1.0,), "quantiles": 3}, "one of `boundaries`, `quantiles` and `equal_width`"),
        ({"boundaries": ()}, "`boundaries` is empty"),
        (
            {"boundaries": (0.0, 2.0, 1.0)},
            r"`boundaries` must be in ascending order, but 2\.0 is followed by 1\.0",
        ),
        ({"boundaries": (0.0, 0.0)}, r"but 0\.0 is followed by 0\.0"),
        ({"boundaries": (0.0, float("nan"))}, "is followed by nan"),
        ({"boundaries": (0.0, float("inf"))}, "must be finite"),
        ({"quantiles": 3, "normalize": "z_score"}, "can't follow a fitted step of `normalize`"),
        ({"quantiles": 3, "normalize": "log", "missing": 0.0}, r"`missing` \(=0\.0\) must be finite"),
    ],
)
def test_inconsistent_options_raise_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Bucketized(key="x", **settings)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (Bucketized(key="x", quantiles=2), np.full(3, 7.5), "column `x` is 7.5 in every row of the training split"),
        (Bucketized(key="x", equal_width=2), np.full(3, np.nan), "column `x` has no value in any row"),
        (
            Bucketized(key="x", equal_width=2, size=3),
            np.array([[1, 7, 3], [2, 7, 3]]),
            "column `x`, element 1, is 7 in every row",
        ),
        (
            Bucketized(key="x", boundaries=(0.0,)),
            np.zeros((3, 2)),
            r"`x` of data has 2 numbers in each row, not `size` \(=1\)",
        ),
        (
            Bucketized(key="x", boundaries=(0.0,), size=2),
            np.zeros(3),
            "`x` of data has 1 numbers in each row, not `size`",
        ),
        (Bucketized(key="x", boundaries=(0.0,)), np.array(["a"]), "row 0 of data: column `x` is 'a'"),
    ],
)
def test_unsuitable_data_raise_an_error(column: Bucketized, values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ids(column, values)
