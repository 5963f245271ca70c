"""Numbers: normalized by what the training split taught, given back by the target, refused if they are none."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.feature.normalizer import Clip, Log, MinMax, Robust, ZScore
from components.feature.numeric import Numeric
from components.feature.text.string_ops import to_strings
from components.types import Block, Constants, DataError, Padded, Ragged, Strings, Target, UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "numbers.json").read_text())


def block(columns: Mapping[str, Any], **valid: Any) -> Block:
    return Block(
        {
            name: values if isinstance(values, Ragged | Strings) else np.asarray(values)
            for name, values in columns.items()
        },
        {name: np.asarray(valid_mask) for name, valid_mask in valid.items()},
    )


def learned(column: Numeric, rows: Block) -> Constants:
    return column.fit({name: one.result(one.summarize(rows)) for name, one in column.statistics().items()}, {})


def fitted(column: Numeric, **columns: Any) -> Constants:
    return learned(column, block(columns))


def device(column: Numeric, constants: Constants, **columns: Any) -> np.ndarray:
    return applied(column, constants, block(columns))


def applied(column: Numeric, constants: Constants, rows: Block) -> np.ndarray:
    encoded = column.encode(rows, {}, constants)
    assert encoded["values"].dtype == np.float32
    return np.asarray(column.layer(constants.static)(encoded, constants.device))


def test_z_score_is_that_of_keras() -> None:
    golden = GOLDEN["keras_normalization"]
    column = Numeric(key="x", normalize="z_score")
    constants = fitted(column, x=golden["x"])
    assert constants.device["offset"].tolist() == golden["mean"][0]
    np.testing.assert_array_equal(device(column, constants, x=golden["x"]), golden["out"])


def test_numbers_and_vectors_equal_those_of_tensorflow() -> None:
    golden = GOLDEN["fc_numeric"]
    inputs = golden["inputs"]
    for column, expected in (
        (Numeric(expression="(a - 1) / 2"), golden["normalized (x-1)/2"]),
        (Numeric(key="v"), golden["shape2"]),
        (Numeric(key="v", size=2), golden["shape2"]),
    ):
        np.testing.assert_array_equal(device(column, fitted(column, **inputs), **inputs), expected)


def test_it_runs_inside_a_compiled_step_with_constants_as_arguments() -> None:
    column = Numeric(key="x", normalize=("log", "z_score", Clip(low=-1, high=1)), missing="median")
    rows = block({"x": np.exp([[1.0, 2.0], [3.0, 6.0]])}, x=[True, True])
    constants = learned(column, rows)
    compiled = jax.jit(column.layer(constants.static))(column.encode(rows, {}, constants), constants.device)
    np.testing.assert_allclose(compiled, [[-1, -1], [1, 1]], rtol=1e-6)


def test_min_max_maps_the_training_split_to_0_and_1_and_extrapolates() -> None:
    column = Numeric(key="x", normalize="min_max")
    constants = fitted(column, x=[2.0, 4.0, 6.0])
    np.testing.assert_array_equal(device(column, constants, x=[2.0, 5.0, 8.0]), [[0], [0.75], [1.5]])


def test_scale_by_min_max_reaches_the_range_that_is_wished() -> None:
    """TensorFlow Transform: (x - min) * (high - low) / (max - min) + low."""
    x = np.array([3.0, -1.0, 7.0, 4.0])
    column = Numeric(key="x", normalize=MinMax(low=-1, high=1))
    expected = (x - x.min()) * 2 / (x.max() - x.min()) - 1
    np.testing.assert_allclose(device(column, fitted(column, x=x), x=x)[:, 0], expected, rtol=1e-6)


def test_robust_has_median_0_and_quartiles_1_apart() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0, 1000.0])
    column = Numeric(key="x", normalize="robust")
    np.testing.assert_array_equal(device(column, fitted(column, x=x), x=x)[:, 0], (x - 3) / 2)


def test_a_fitted_step_is_fitted_to_the_output_of_the_steps_before_it() -> None:
    x = np.array([0.5, 2.0, 4.0, 1e6])
    column = Numeric(key="x", scale=2.0, normalize=(Clip(high=16), "log", "z_score"))
    steps = np.log(np.minimum(2 * x, 16))
    expected = (steps - steps.mean()) / steps.std()
    np.testing.assert_allclose(device(column, fitted(column, x=x), x=x)[:, 0], expected, rtol=1e-5)


def test_several_columns_and_vectors_stand_side_by_side_in_order() -> None:
    column = Numeric(key=("b", "a"), normalize="z_score")
    given = {"a": [1, 3], "b": [[0.0, 10.0], [4.0, 30.0]]}
    np.testing.assert_array_equal(device(column, fitted(column, **given), **given), [[-1, -1, -1], [1, 1, 1]])


def test_scale_multiplies() -> None:
    column = Numeric(key="x", scale=1e-5)
    np.testing.assert_allclose(device(column, fitted(column, x=[1.0]), x=[2e5, 5e4]), [[2], [0.5]], rtol=1e-6)


@pytest.mark.parametrize("normalize", ["z_score", "min_max", "robust"])
@pytest.mark.parametrize("value", [3.0, 0.1, -1e-30, 0.0])
def test_a_constant_column_is_only_shifted(normalize: Any, value: float) -> None:
    column = Numeric(key="x", normalize=normalize)
    constants = fitted(column, x=np.full(1000, value))
    np.testing.assert_allclose(device(column, constants, x=[value, value + 1]), [[0], [1]], rtol=1e-6)


@settings(max_examples=20)
@given(
    values=hnp.arrays(np.float64, (12, 2), elements=st.integers(-1000, 1000), unique=True),
    normalize=st.sampled_from([None, "z_score", "min_max", "robust", (Log(offset=1001), MinMax(low=2, high=5))]),
    scale=st.sampled_from([1.0, 1e-5, 40.0]),
)
def test_a_target_gives_its_numbers_back(values: np.ndarray, normalize: Any, scale: float) -> None:
    scale = 1.0 if isinstance(normalize, tuple) else scale
    column = Numeric(key="x", normalize=normalize, scale=scale)
    constants = fitted(column, x=values)
    bound = column.bind(constants)
    assert (bound.kind, bound.shape, bound.outputs, bound.classes) == ("real", (2,), 2, None)
    back = bound.decode(device(column, constants, x=values))
    size = 1001 if isinstance(normalize, tuple) else np.abs(values).max()
    np.testing.assert_allclose(back, values, rtol=1e-5, atol=1e-30 + 1e-5 * size)


def test_a_target_that_is_multiplied_before_other_steps_is_divided_after_them() -> None:
    column = Numeric(key="x", normalize=("log1p", "z_score"), scale=1e-3)
    constants = fitted(column, x=[0.0, 500.0, 20_000.0])
    back = column.bind(constants).decode(device(column, constants, x=[250.0, 20_000.0]))
    np.testing.assert_allclose(back, [[250], [20_000]], rtol=1e-4)


def test_it_is_a_target() -> None:
    assert isinstance(Numeric(key="x"), Target)


@pytest.mark.parametrize(
    "column",
    [
        Numeric(key="x", missing="mean"),
        Numeric(key="x", normalize="z_score", per="c"),
        Numeric(key="x", sequence=True),
        Numeric(key="x", normalize=Clip(low=0)),
    ],
)
def test_a_target_without_an_inverse_raises_an_error(column: Numeric) -> None:
    with pytest.raises(UserError, match="a target"):
        column.bind(Constants(static={"outputs": 1}))


# ------------------------------------------------------------------------- numbers that exceed the precision of float32

SECONDS = 1.6e9 + np.arange(600)


@pytest.mark.parametrize(
    ("column", "x", "message"),
    [
        (
            Numeric(key="x", normalize="z_score"),
            SECONDS,
            "column `x` (1600000300 ± 173) would lose precision in float32, which has a spacing of 128 there; subtract "
            'a constant first: `expression: "x - 1600000000"`',
        ),
        (Numeric(key="x", normalize="min_max"), SECONDS + 2e10, '`expression: "x - 21600000000"`'),
        (Numeric(key="x", normalize="robust"), -SECONDS, '`expression: "x + 1600000000"`'),
        (Numeric(key="x", normalize="z_score"), 7 + 1e-8 * SECONDS / 1.6, '`expression: "x - 17"`'),
        (Numeric(key="x", scale=2.0, normalize=("log", "z_score")), SECONDS, '`expression: "x - 1600000000"`'),
        (Numeric(key="x", normalize=(Clip(low=0), "z_score")), SECONDS, "column `x` (1600000300 ±"),
        (Numeric(key="x", normalize=(Log(offset=1 - 1.6e9), "z_score")), SECONDS, "column `x` (1600000"),
        (
            Numeric(key="x", normalize=(Log(offset=1e9), "z_score")),
            np.arange(600) / 600,
            "column `x` after a step of `normalize` (20.7",
        ),
        (Numeric(expression="x * 2", normalize="z_score"), SECONDS, '`expression: "(x * 2) - 3200001000"`'),
        (Numeric(key="x", normalize="z_score"), np.stack([np.arange(600), SECONDS], 1), "(1600000300 ±"),
        (
            Numeric(key="x", normalize="z_score", per="c"),
            np.where(np.arange(600) < 300, np.arange(600), SECONDS),
            r"column `x` of class 'b' \(1600000450 ± .*; leave out `per`",
        ),
    ],
)
def test_numbers_too_far_from_0_for_float32_raise_an_error_with_the_remedy(
    column: Numeric, x: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message if ".*" in message else re.escape(message)):
        fitted(column, x=x, c=np.repeat(["a", "b"], 300))


def test_the_remedy_tells_them_apart() -> None:
    column = Numeric(expression="x - 1600000000", normalize="z_score")
    found = device(column, fitted(column, x=SECONDS), x=SECONDS)[:, 0]
    np.testing.assert_allclose(found, (SECONDS - SECONDS.mean()) / SECONDS.std(), rtol=1e-4, atol=1e-6)


def test_numbers_that_are_whole_in_float32_are_precise() -> None:
    x = np.where(np.arange(200) == 0, 2021.0, 2020.0)
    column = Numeric(key="x", normalize="z_score")
    np.testing.assert_allclose(device(column, fitted(column, x=x), x=x)[:, 0], (x - x.mean()) / x.std(), rtol=3e-3)


def test_quartiles_that_are_equal_are_no_unit() -> None:
    x = np.array([5.0, 5, 5, 5, 9])
    message = "column `x`: its quantiles 0.25 and 0.75 are both 5, so their difference can't be the scale"
    with pytest.raises(DataError, match=message):
        fitted(Numeric(key="x", normalize="robust"), x=x)
    with pytest.raises(DataError, match="column `x` of class 1: its quantiles"):
        fitted(Numeric(key="x", normalize="robust", per="c"), x=[*range(5), *x], c=[0] * 5 + [1] * 5)
    column = Numeric(key="x", normalize=Robust(low=0.0, high=1.0))
    np.testing.assert_array_equal(device(column, fitted(column, x=x), x=x)[:, 0], (x - 5) / 4)


# ------------------------------------------------------------------------------------------------------------- gaps


@pytest.mark.parametrize(("missing", "filler"), [(5, 5), ("mean", 4), ("median", 3)])
def test_missing_numbers_are_replaced_and_not_fitted_to(missing: Any, filler: float) -> None:
    column = Numeric(key="x", normalize="z_score", missing=missing)
    rows = block({"x": [1.0, 3.0, np.nan, 8.0, -1e30]}, x=[True, True, True, True, False])
    spread = np.std([1, 3, 8])
    expected = (np.array([1, 3, filler, 8, filler]) - 4) / spread
    np.testing.assert_allclose(applied(column, learned(column, rows), rows)[:, 0], expected, rtol=1e-6)


def test_missing_numbers_are_indicated_by_element() -> None:
    column = Numeric(key=("v", "x"), missing=0.5, indicate_missing=True)
    rows = block({"v": [[1.0, np.nan], [2.0, 3.0]], "x": np.array([7, None], object)}, x=[True, False])
    expected = [[1, 0.5, 7, 0, 1, 0], [2, 3, 0.5, 0, 0, 1]]
    np.testing.assert_array_equal(applied(column, learned(column, rows), rows), expected)


@pytest.mark.parametrize("normalize", [None, "z_score", "robust"])
def test_a_column_without_numbers_raises_an_error(normalize: Any) -> None:
    column = Numeric(key="x", normalize=normalize, missing=0.0)
    with pytest.raises(DataError, match="column `x` has no value in any row of the training split"):
        learned(column, block({"x": [1.0, 2.0]}, x=[False, False]))


# ------------------------------------------------------------------------------------------- classes and sequences


def test_each_class_is_normalized_by_its_own_rows() -> None:
    """A class that training lacked by what all of them did, and one that is constant is only shifted."""
    column = Numeric(key="x", normalize="z_score", per="city")
    assert column.keys == ("x", "city")
    constants = fitted(column, x=[1.0, 3.0, 10.0, 30.0, 5.0], city=["a", "a", "b", "b", "c"])
    found = device(column, constants, x=[3.0, 30.0, 7.0, 9.8], city=["a", "b", "c", "d"])
    np.testing.assert_allclose(found[:, 0], [1, 1, 2, 0], atol=1e-6)


def test_strings_and_ids_are_classes_too() -> None:
    column = Numeric(key="x", normalize="min_max", per="c")
    strings = Strings(np.frombuffer(b"nosy", np.uint8), np.array([0, 2, 4]), np.array([0, 0, 1, 1]))
    for classes in (strings, np.array([7, 7, 2, 2], np.int32)):
        rows = block({"x": [0.0, 2.0, 5.0, 9.0], "c": classes})
        np.testing.assert_array_equal(applied(column, learned(column, rows), rows)[:, 0], [0, 1, 0, 1])


def test_classes_of_another_type_than_in_training_raise_an_error() -> None:
    column = Numeric(key="x", normalize="z_score", per="c")
    constants = fitted(column, x=[1.0, 2.0], c=["1", "2"])
    with pytest.raises(
        DataError, match="column `c` is 1; a class of the same type as in the training split is needed, such as '1'"
    ):
        column.encode(block({"x": [1.0], "c": [1]}), {}, constants)


def test_sequences_are_normalized_and_padded_with_zeros() -> None:
    column = Numeric(key="x", normalize="z_score", sequence=True)
    rows = block({"x": Ragged(np.array([1.0, 3.0, 3.0]), np.array([0, 2, 2, 3]))})
    constants = learned(column, rows)
    encoded = column.encode(rows, {}, constants)["values"]
    assert isinstance(encoded, Ragged)
    assert encoded.offsets.tolist() == [0, 2, 2, 3]
    values = np.array([[[1.0], [3.0]], [[0.0], [0.0]], [[3.0], [0.0]]], np.float32)
    mask = np.array([[True, True], [False, False], [True, False]])
    found = column.layer(constants.static)({"values": Padded(values, mask)}, constants.device)
    deviation, mean = np.std([1, 3, 3]), 7 / 3
    expected = np.where(mask[..., None], (values - mean) / deviation, 0)
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    assert found.mask is mask


def test_a_bad_element_of_a_sequence_is_named_by_its_row() -> None:
    rows = Block({"x": Ragged(np.array([1.0, 2.0, np.inf]), np.array([0, 1, 1, 3]))}, origin="somewhere", first_row=10)
    with pytest.raises(DataError, match="row 12 of somewhere: column `x` is inf"):
        Numeric(key="x", sequence=True).encode(rows, {}, Constants())


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.array([1.0, np.nan]),
            r"row 11 of somewhere: column `x` is nan; a finite number within the range of float32",
        ),
        (np.array([[1.0, 2.0], [3.0, -np.inf]]), "row 11 of somewhere: column `x` is -inf; a finite number"),
        (
            np.array([1.0, 1e39]),
            r"row 11 of somewhere: column `x` is 1e\+39; a finite number within the range of float32",
        ),
        (np.array(["1", "2"]), "row 10 of somewhere: column `x` is '1'; a number is needed"),
        (np.array([1, "two"], object), "row 11 of somewhere: column `x` is 'two'; a number is needed"),
        (np.array([1, None], object), "row 11 of somewhere: column `x` has no value; fill it in"),
        (np.array([[1, 2], [3, None]], object), "row 11 of somewhere: column `x` has no value; fill it in"),
        (np.array([[1, 2], [3, "4"]], object), "row 11 of somewhere: column `x` is '4'; a number is needed"),
        (np.array([1, 10**400], object), "row 11 .* `x` is an integer of 1329 bits, too large for float64; a number"),
        (np.zeros((2, 0)), r"column `x` of somewhere has rows of shape \(0,\), which have no numbers"),
        (np.zeros((2, 2, 2)), r"column `x` of somewhere has rows of shape \(2, 2\), not vectors"),
        (Ragged(np.zeros(3), np.array([0, 1, 3])), "column `x` of somewhere has rows of different lengths"),
    ],
)
def test_a_number_that_is_not_finite_raises_an_error_with_its_row(values: Any, message: str) -> None:
    column = Numeric(key="x")
    with pytest.raises(DataError, match=message):
        column.encode(Block({"x": values}, origin="somewhere", first_row=10), {}, Constants())


def test_a_missing_value_raises_an_error_with_its_place() -> None:
    rows = Block({"x": np.zeros(3)}, {"x": np.array([True, False, True])}, "somewhere", 5)
    with pytest.raises(DataError, match="row 6 of somewhere: column `x` has no value; fill it in, remove the row"):
        Numeric(key="x").encode(rows, {}, Constants())


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Numeric(key="y", normalize="z_score"), "no column `y` in data. Did you mean ys?"),
        (Numeric(key="x", normalize="log"), r"row 1 of data: column `x` is 0\.0, for which Log isn't finite"),
        (Numeric(key="x", normalize=("log", "z_score"), missing=1.0), "row 1 of data: column `x` is 0.0"),
        (Numeric(key="x", size=2), "column `x` of data has 1 numbers in each row, not `size` \\(=2\\)"),
        (Numeric(key="x", sequence=True), "has no sequences"),
    ],
)
def test_unsuitable_data_raise_an_error(column: Numeric, message: str) -> None:
    with pytest.raises(DataError, match=message):
        column.encode(block({"x": [1.0, 0.0], "ys": [1.0, 2.0]}), {}, Constants())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of `key` and `expression` must be set"),
        ({"key": "x", "expression": "x"}, "exactly one of `key` and `expression` must be set"),
        ({"key": "x", "normalize": "zscore"}, "unknown normalizer 'zscore'. Did you mean z_score?"),
        (
            {"key": "x", "normalize": ("z_score", "min_max")},
            "lists z_score and min_max, which are all fitted to the data",
        ),
        ({"key": "x", "normalize": (ZScore(), "log")}, "lists log after ZScore"),
        ({"key": "x", "normalize": (1.0,)}, "lists 1.0, which is no normalizer"),
        ({"key": "x", "missing": float("nan")}, r"`missing` \(=nan\) must be finite"),
        ({"key": "x", "missing": 0.0, "normalize": "log"}, r"`missing` \(=0\.0\) must be finite"),
        ({"key": "x", "indicate_missing": True}, "`indicate_missing` needs `missing`"),
        ({"key": "x", "per": "c"}, r"`per` \(=c\) needs a step of `normalize` that is fitted"),
        ({"key": ("x", "y"), "sequence": True}, "a `sequence` must have one `key`"),
        ({"expression": "x", "size": 2}, r"`size` \(=2\) must be 1 or null for an `expression`"),
    ],
)
def test_inconsistent_options_raise_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Numeric(**settings)


def test_numbers_among_python_objects_and_booleans_are_numbers() -> None:
    column = Numeric(key=("x", "y"))
    given = {"x": np.array([1, 2.5], object), "y": np.array([True, False])}
    np.testing.assert_array_equal(device(column, fitted(column, **given), **given), [[1, 1], [2.5, 0]])


def test_none_among_python_objects_is_missing() -> None:
    given = {"x": np.array([1, None, 4], object), "y": np.array([[1, 2], [3, None], [5, 6]], object)}
    column = Numeric(key=("x", "y"), missing="mean")
    assert device(column, fitted(column, **given), **given).tolist() == [[1, 1, 2], [2.5, 3, 4], [4, 5, 6]]
    column = Numeric(expression="x + 1", missing=0.0)
    assert device(column, fitted(column, **given), **given).tolist() == [[2], [0], [5]]


@pytest.mark.parametrize("values", [np.array([]), np.array([], str), np.array([], object), to_strings([])])
def test_rows_of_a_sequence_may_all_be_empty(values: Any) -> None:
    full, empty = Ragged(np.array([1.0, 3.0]), np.array([0, 2])), Ragged(values, np.array([0, 0, 0]))
    column = Numeric(key="x", sequence=True, normalize="z_score")
    (statistic,) = column.statistics().values()
    states = [statistic.summarize(Block({"x": one})) for one in (empty, full, empty)]
    result = statistic.result(statistic.merge(statistic.merge(states[0], states[1]), states[2]))
    constants = column.fit(dict.fromkeys(column.statistics(), result), {})
    assert constants.device["offset"].tolist() == [2]
    found: Any = column.encode(Block({"x": empty}), {}, constants)["values"]
    assert (found.values.shape, found.offsets.tolist()) == ((0, 1), [0, 0, 0])
