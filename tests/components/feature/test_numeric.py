"""Numbers: normalized by what the training split taught, given back by the target, refused if they are none."""

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.feature import Numeric
from components.types import Block, Constants, DataError, Ragged, Target


def fitted(column: Numeric, **columns: Any) -> Constants:
    block = Block({name: np.asarray(values) for name, values in columns.items()})
    return column.fit({key: one.result(one.summarize(block)) for key, one in column.statistics().items()}, {})


def device(column: Numeric, constants: Constants, **columns: Any) -> np.ndarray:
    block = Block({name: np.asarray(values) for name, values in columns.items()})
    encoded = column.encode(block, {}, constants)
    assert encoded["values"].dtype == np.float32
    return np.asarray(jax.jit(column.layer(constants.static))(encoded, constants.device))


def test_z_score_is_that_of_keras() -> None:
    """Keras 3.15.1: Normalization adapted to these rows."""
    x = [[0.0, 7.0, 4.0], [2.0, 9.0, 6.0], [0.0, 7.0, 4.0], [2.0, 9.0, 6.0]]
    column = Numeric(key="x", normalize="z_score")
    expected = [[-1, -1, -1], [1, 1, 1], [-1, -1, -1], [1, 1, 1]]
    np.testing.assert_array_equal(device(column, fitted(column, x=x), x=x), expected)


def test_min_max_is_0_to_1_over_the_training_split_and_goes_on_beyond() -> None:
    column = Numeric(key="x", normalize="min_max")
    constants = fitted(column, x=[2.0, 4.0, 6.0])
    np.testing.assert_array_equal(device(column, constants, x=[2.0, 5.0, 8.0]), [[0], [0.75], [1.5]])


def test_several_columns_and_vectors_stand_side_by_side_in_order() -> None:
    column = Numeric(key=("b", "a"), normalize="z_score")
    given = {"a": [1, 3], "b": [[0.0, 10.0], [4.0, 30.0]]}
    np.testing.assert_array_equal(device(column, fitted(column, **given), **given), [[-1, -1, -1], [1, 1, 1]])


def test_scale_multiplies() -> None:
    column = Numeric(key="x", scale=1e-5)
    np.testing.assert_allclose(device(column, fitted(column, x=[1.0]), x=[2e5, 5e4]), [[2], [0.5]], rtol=1e-6)


@pytest.mark.parametrize("normalize", ["z_score", "min_max"])
@pytest.mark.parametrize("value", [3.0, 0.1, -1e-30, 0.0])
def test_what_is_constant_in_training_is_shifted_only(normalize: Any, value: float) -> None:
    column = Numeric(key="x", normalize=normalize)
    constants = fitted(column, x=np.full(1000, value))
    np.testing.assert_allclose(device(column, constants, x=[value, value + 1]), [[0], [1]], rtol=1e-6)


@given(
    values=hnp.arrays(np.float64, (12, 2), elements=st.floats(-1e3, 1e3)),
    normalize=st.sampled_from([None, "z_score", "min_max"]),
    scale=st.sampled_from([1.0, 1e-5, 40.0]),
)
def test_a_target_gives_its_numbers_back(values: np.ndarray, normalize: Any, scale: float) -> None:
    column = Numeric(key="x", normalize=normalize, scale=scale)
    constants = fitted(column, x=values)
    bound = column.bind(constants)
    assert (bound.outputs, bound.classes, bound.weight) == (2, None, None)
    back = bound.decode(device(column, constants, x=values))
    np.testing.assert_allclose(back, values, rtol=1e-5, atol=1e-30 + 1e-5 * np.abs(values).max())


def test_it_is_a_target() -> None:
    assert isinstance(Numeric(key="x"), Target)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.array([1.0, np.nan]),
            r"row 11 of somewhere: column `x` is nan; a finite number that float32 can hold",
        ),
        (np.array([[1.0, 2.0], [3.0, -np.inf]]), "row 11 of somewhere: column `x` is -inf; a finite number"),
        (
            np.array([1.0, 1e39]),
            r"row 11 of somewhere: column `x` is 1e\+39; a finite number that float32 can hold",
        ),
        (np.array(["1", "2"]), "row 10 of somewhere: column `x` is '1'; a number is needed"),
        (np.array([1, "two"], object), "row 11 of somewhere: column `x` is 'two'; a number is needed"),
        (np.array([1, None], object), "row 11 of somewhere: column `x` is None; a number is needed"),
        (np.zeros((2, 2, 2)), r"column `x` of somewhere has rows of shape \(2, 2\), not vectors"),
        (Ragged(np.zeros(3), np.array([0, 1, 3])), "column `x` of somewhere has rows of different lengths"),
    ],
)
def test_what_is_no_finite_number_is_refused_with_its_place(values: Any, message: str) -> None:
    column = Numeric(key="x")
    with pytest.raises(DataError, match=message):
        column.encode(Block({"x": values}, origin="somewhere", first=10), {}, Constants())


def test_a_missing_value_is_refused_with_its_place() -> None:
    block = Block({"x": np.zeros(3)}, {"x": np.array([True, False, True])}, "somewhere", 5)
    with pytest.raises(
        DataError, match="row 6 of somewhere: column `x` has no value; fill it in, or leave the row out"
    ):
        Numeric(key="x").encode(block, {}, Constants())


def test_numbers_among_python_objects_and_booleans_are_numbers() -> None:
    column = Numeric(key=("x", "y"))
    given = {"x": np.array([1, 2.5], object), "y": np.array([True, False])}
    np.testing.assert_array_equal(device(column, fitted(column, **given), **given), [[1, 1], [2.5, 0]])
