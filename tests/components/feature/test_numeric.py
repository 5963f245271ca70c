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
from components.types import Block, Constants, DataError, Padded, Ragged, Strings, Target, UserError, bind_fields

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


def host(column: Numeric, constants: Constants, **columns: Any) -> Any:
    """What other columns read."""
    output = column.host_output(block(columns), {}, constants)
    values = output.values if isinstance(output, Ragged) else output
    assert isinstance(values, np.ndarray)
    assert values.dtype == np.float64
    return output


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


def test_each_element_of_an_array_is_normalized() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 2, 3, 1), np.uint8)
    vectors = images.reshape(9, 6)
    column = Numeric(key="x", size=6, normalize="z_score")
    expected = (vectors - vectors.mean(0)) / vectors.std(0)
    np.testing.assert_allclose(device(column, fitted(column, x=images), x=images), expected, rtol=1e-5, atol=1e-6)


def test_scale_multiplies() -> None:
    column = Numeric(key="x", scale=1e-5)
    np.testing.assert_allclose(device(column, fitted(column, x=[1.0]), x=[2e5, 5e4]), [[2], [0.5]], rtol=1e-6)


@pytest.mark.parametrize("normalize", ["z_score", "min_max", "robust"])
@pytest.mark.parametrize("value", [3.0, 0.1, -1e-30, 0.0])
def test_a_constant_column_is_only_shifted(normalize: Any, value: float) -> None:
    column = Numeric(key="x", normalize=normalize)
    constants = fitted(column, x=np.full(1000, value))
    np.testing.assert_allclose(device(column, constants, x=[value, value + 1]), [[0], [1]], rtol=1e-6)


@pytest.mark.parametrize("normalize", ["z_score", "min_max", "robust"])
def test_numbers_that_differ_are_no_constant_however_far_they_are_from_0(normalize: Any) -> None:
    column = Numeric(key="x", normalize=normalize)
    steps = np.arange(1000) % 5.0
    constants = fitted(column, x=1e15 + steps)
    scale = {"z_score": np.sqrt(2), "min_max": 4, "robust": 2}[normalize]
    found = device(column, constants, x=1e15 + steps)
    np.testing.assert_allclose(np.ptp(found[:, 0]), 4 / scale, rtol=1e-6)
    rounded = fitted(column, x=0.3 + np.array([0, 1, 0, 1]) * np.spacing(0.3))
    np.testing.assert_allclose(device(column, rounded, x=[0.3, 1.3]), [[0], [1]], atol=1e-6)


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


# ---------------------------------------------------------- numbers beyond the precision or the range of float32


def z_scores(x: np.ndarray) -> np.ndarray:
    """In float64, of numbers that may be far from 0, or whose squares are beyond the range of float64."""
    differences = x - x[0]
    _, exponent = np.frexp(np.abs(differences).max())
    scaled = np.ldexp(differences, -exponent)
    return (scaled - scaled.mean(axis=0)) / scaled.std(axis=0)


RANDOM = np.random.default_rng(0)
FAR = {
    "seconds": 1.6e9 + RANDOM.normal(size=500),
    "years": RANDOM.choice([2020.0, 2021.0, 2022.0], 500),
    "ids": 1e12 + RANDOM.integers(0, 1000, 500),
    "2^53": 2.0**53 - RANDOM.integers(0, 1_000_000, 500),
    "integers": 10**15 + RANDOM.integers(0, 100_000, 500),
    "p-values": 10 ** RANDOM.uniform(-46, -40, 500),
    "smaller p-values": 10 ** RANDOM.uniform(-305, -300, 500),
    "large": RANDOM.normal(size=500) * 1e300,
    "large and far": 1e300 + RANDOM.normal(size=500) * 1e292,
}


@pytest.mark.parametrize("name", FAR)
@pytest.mark.parametrize("scale", [1.0, 2.0**-15])
def test_z_scores_are_those_of_float64(name: str, scale: float) -> None:
    x = FAR[name]
    column = Numeric(key="x", normalize="z_score", scale=scale)
    constants = fitted(column, x=x)
    expected = z_scores(x.astype(np.float64))
    np.testing.assert_allclose(device(column, constants, x=x)[:, 0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(host(column, constants, x=x)[:, 0], expected, rtol=1e-6, atol=1e-6)
    decoded = column.bind(constants).decode(device(column, constants, x=x))[:, 0]
    np.testing.assert_allclose((decoded - x) / np.ptp(x.astype(np.float64)), 0, atol=1e-5)


@pytest.mark.parametrize("name", ["p-values", "smaller p-values"])
def test_logarithms_of_tiny_numbers_are_precise(name: str) -> None:
    column = Numeric(key="x", normalize=("log", "z_score"))
    found = device(column, fitted(column, x=FAR[name]), x=FAR[name])[:, 0]
    np.testing.assert_allclose(found, z_scores(np.log(FAR[name])), rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    digits=hnp.arrays(np.float64, (30, 2), elements=st.integers(-1000, 1000), fill=st.nothing()),
    magnitude=st.integers(-290, 290),
    distance=st.sampled_from([0, 3, 1e2, 1e5, 1e9]),
    normalize=st.sampled_from(["z_score", "min_max", "robust", ("z_score", Clip(low=-1, high=1))]),
    missing=st.sampled_from([None, "mean", "median"]),
    indicate=st.booleans(),
)
def test_normalized_numbers_equal_those_of_numpy_in_float64(
    digits: np.ndarray, magnitude: int, distance: float, normalize: Any, missing: Any, indicate: bool
) -> None:
    digits[:4] = [[-1000, 0], [1000, 700], [3, 1], [-4, 2]]  # never constant
    offset = distance * digits.std(axis=0)
    unit = 10.0**magnitude
    rows = (digits + offset) * unit
    first = normalize if isinstance(normalize, str) else normalize[0]
    low, median, high = np.quantile(digits, [0.25, 0.5, 0.75], axis=0)
    if first == "robust" and not (high - low > 1).all():
        return
    center, scale = {
        "z_score": (digits.mean(axis=0), digits.std(axis=0)),
        "min_max": (digits.min(axis=0), np.ptp(digits, axis=0)),
        "robust": (median, high - low),
    }[first]
    given = rows if missing is None else np.concatenate([rows, np.full((1, 2), np.nan)])
    fill = median if missing == "median" else digits.mean(axis=0)
    expected = ((digits if missing is None else np.concatenate([digits, fill[None]])) - center) / scale
    if first != normalize:
        expected = np.clip(expected, -1, 1)
    indicate = indicate and missing is not None
    column = Numeric(key="x", normalize=normalize, missing=missing, indicate_missing=indicate)
    constants = fitted(column, x=given)
    rounding = 1e-5 + 1e-13 * distance
    np.testing.assert_allclose(host(column, constants, x=given), expected, rtol=rounding, atol=rounding)
    found = device(column, constants, x=given)
    np.testing.assert_allclose(found[:, :2], expected, rtol=rounding, atol=rounding)
    if indicate:
        np.testing.assert_array_equal(found[:, 2:], np.isnan(given))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (Numeric(key="x"), 1e39, "row 10 of somewhere: column `x` is 1e+39, which is beyond the range of float32"),
        (Numeric(key=("y", "x")), -1e39, "row 10 of somewhere: column `x` is -1e+39, which is beyond the range"),
        (
            Numeric(expression="x * 1"),
            1e39,
            "row 10 of somewhere: `x * 1` is 1e+39, which is beyond the range of float",
        ),
        (Numeric(key="x", scale=1e30), 1e9, "e+39 before the fitted normalizer, which is beyond the range"),
        (Numeric(key="x", normalize="z_score"), 1e200, "column `x` is 1e+200, which is beyond the range of float32"),
    ],
)
def test_numbers_that_float32_cannot_hold_raise_an_error(column: Numeric, value: float, message: str) -> None:
    constants = fitted(column, x=[1.0, 2.0], y=[1.0, 2.0])
    with pytest.raises(DataError, match=re.escape(message)):
        column.encode(
            Block({"x": np.array([value]), "y": np.zeros(1)}, origin="somewhere", first_row=10), {}, constants
        )


def test_a_replacement_that_float32_cannot_hold_raises_an_error() -> None:
    column = Numeric(key="x", normalize="z_score", missing=1e200)
    with pytest.raises(DataError, match=r"column `x`: `missing` \(=1e\+200\) is 1e\+200, which is beyond the"):
        fitted(column, x=[1.0, 2.0])


def test_classes_far_from_each_other_are_each_precise() -> None:
    x = np.where(np.arange(600) % 2, np.arange(600) / 600, 1.6e9 + np.arange(600))
    column = Numeric(key="x", normalize="z_score", per="c", missing="median")
    classes = np.where(np.arange(600) % 2, "a", "b")
    constants = fitted(column, x=x, c=classes)
    for found in (device(column, constants, x=x, c=classes), host(column, constants, x=x, c=classes)):
        for name in "ab":
            np.testing.assert_allclose(found[classes == name, 0], z_scores(x[classes == name]), atol=1e-5)
    gap = {"x": [np.nan], "c": ["a"]}
    np.testing.assert_allclose(
        device(column, constants, **gap)[0, 0], (np.median(x) - x[1::2].mean()) / x[1::2].std(), rtol=1e-5
    )


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


@pytest.mark.parametrize("missing", ["mean", "median"])
@pytest.mark.parametrize("column", [{"key": "x", "size": 1}, {"expression": "x + 1"}])
def test_a_column_without_numbers_has_no_mean_to_replace_them(missing: Any, column: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"`x.* has no value in any row of the training split"):
        learned(Numeric(**column, missing=missing), block({"x": [np.nan, np.nan]}))


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


def test_lists_of_the_length_size_are_vectors_and_gaps_are_replaced() -> None:
    lists = Ragged(np.arange(1.0, 7), np.array([0, 2, 2, 4, 6]))
    rows = Block({"x": lists}, {"x": np.array([True, False, True, True])}, "somewhere", 10)
    column = Numeric(key="x", size=2, normalize="z_score", missing="mean")
    array = np.array([[1, 2], [np.nan, np.nan], [3, 4], [5, 6]])
    expected = learned(column, Block({"x": array}))
    constants = learned(column, rows)
    assert constants.device["offset"].tolist() == expected.device["offset"].tolist()
    found = column.encode(rows, {}, constants)["values"]
    np.testing.assert_array_equal(found, column.encode(Block({"x": array}), {}, expected)["values"])
    with pytest.raises(DataError, match="row 11 of somewhere: column `x` has no value"):
        Numeric(key="x", size=2).encode(rows, {}, Constants())


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("size", "offsets", "message"),
    [
        (2, [0, 2, 5, 6], r"^row 11 of somewhere: column `x` has a list of length 3, not of `size` \(=2\); correct it"),
        (None, [0, 2, 4, 6], "lists in its rows, the first one of 2 values; for vectors of this length, set `size=2`;"),
        (None, [0, 2, 5, 6], "column `x` of somewhere has rows of different lengths; set `sequence=true`$"),
        (None, [0, 0, 0, 0], "column `x` of somewhere has lists in its rows, the first one of 0 values; set `seq"),
    ],
)
def test_lists_of_another_length_than_size_are_an_error(size: int | None, offsets: list[int], message: str) -> None:
    rows = Block({"x": Ragged(np.arange(6.0)[: offsets[-1]], np.array(offsets))}, origin="somewhere", first_row=10)
    with pytest.raises(DataError, match=message):
        Numeric(key="x", size=size).encode(rows, {}, Constants())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.array([1.0, np.nan]),
            r"row 11 of somewhere: column `x` is nan; a finite number from -1e\+307 to 1e\+307 is needed",
        ),
        (np.array([[1.0, 2.0], [3.0, -np.inf]]), "row 11 of somewhere: column `x` is -inf; a finite number"),
        (
            np.array([1.0, 1e308]),
            r"row 11 of somewhere: column `x` is 1e\+308; a finite number from -1e\+307 to 1e\+307 is needed",
        ),
        (np.array(["1", "2"]), "row 10 of somewhere: column `x` is '1'; a number is needed"),
        (np.array([1, "two"], object), "row 11 of somewhere: column `x` is 'two'; a number is needed"),
        (np.array([1, None], object), "row 11 of somewhere: column `x` has no value; fill it in"),
        (np.array([[1, 2], [3, None]], object), "row 11 of somewhere: column `x` has no value; fill it in"),
        (np.array([[1, 2], [3, "4"]], object), "row 11 of somewhere: column `x` is '4'; a number is needed"),
        (np.array([1, 10**400], object), "row 11 .* `x` is an integer of 1329 bits, too large for float64; a number"),
        (np.zeros((2, 0)), r"column `x` of somewhere has rows of shape \(0,\), which have no numbers"),
        (
            np.zeros((2, 2, 2)),
            r"column `x` of somewhere has rows of shape \(2, 2\), .* `size=4` of components.feature.Numeric",
        ),
        (
            Strings.from_bytes([b"a", b"\xca\x00"]),
            r"column `x` .* has bytes that aren't text, such as b'.xca",
        ),
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
        ({"key": "x", "indicate_missing": True}, "indicate_missing: needs `missing`"),
        ({"key": "x", "per": "c"}, r"per: c needs a step of `normalize` that is fitted"),
        ({"key": ("x", "y"), "sequence": True}, "a `sequence` must have one `key`"),
        ({"expression": "x", "size": 2}, r"size: 2 must be 1 or null for an `expression`"),
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


def test_a_bound_column_has_statistics_of_its_own() -> None:
    column = Numeric(key="x", normalize=ZScore())
    assert "mean 0" in column.statistics()  # for gaps in new rows
    assert "mean 0" not in bind_fields(column, fills_gaps=True).statistics()
