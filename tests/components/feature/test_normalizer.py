"""Normalizers: formulas, inverses and the chains that they may form."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.normalizer import Clip, Log, Log1p, MinMax, Robust
from components.feature.number.pipeline import Pipeline, make_pipeline
from components.types import UserError


def apply(pipeline: Pipeline, values: np.ndarray, offset: float, divisor: float) -> np.ndarray:
    return pipeline.apply_fitted(pipeline.apply_before_fit(values, np), offset, divisor, np)


@settings(max_examples=20)
@given(
    values=st.lists(st.floats(0, 1e3), min_size=1, max_size=5),
    normalize=st.sampled_from([None, "log1p", Log(offset=2), ("log1p", "z_score"), MinMax(low=-2, high=3), Robust()]),
)
def test_a_chain_is_undone_by_its_inverse(values: list[float], normalize: Any) -> None:
    steps, given = make_pipeline(normalize), np.array(values)
    back = steps.undo(apply(steps, given, 1.5, 0.25), 1.5, 0.25, np)
    np.testing.assert_allclose(back, given, rtol=1e-9, atol=1e-9)


def test_each_normalizer_equals_its_formula() -> None:
    x = np.array([0.0, 1e-12, 9.0])
    np.testing.assert_array_equal(apply(make_pipeline("log1p"), x, 0, 1), np.log1p(x))
    np.testing.assert_array_equal(apply(make_pipeline(Log(offset=3)), x, 0, 1), np.log(x + 3))
    clipped = make_pipeline((Clip(high=4), "min_max", Clip(low=-1)))
    np.testing.assert_array_equal(apply(clipped, x, 2, 1), [-1, -1, 2])


@settings(max_examples=20)
@given(
    values=st.tuples(st.floats(0, 1e3), st.floats(0, 1e3)),
    normalize=st.sampled_from([None, "log1p", Log(offset=2), ("log1p", "z_score"), MinMax(low=-2, high=3), Robust()]),
)
def test_differences_are_undone_like_their_ends(values: tuple[float, float], normalize: Any) -> None:
    steps = make_pipeline(normalize)
    low, high = (apply(steps, np.array(value), 1.5, 0.25) for value in values)
    found = steps.undo_difference(high - low, low, 1.5, 0.25, np)
    np.testing.assert_allclose(found, values[1] - values[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("normalize", ["z_score", ("log", "z_score")])
def test_differences_far_from_0_are_precise_in_float32(normalize: Any) -> None:
    steps, x = make_pipeline(normalize), 1.6e9 + np.array([0.0, 3.0])
    offset, divisor = steps.apply_before_fit(np.array(1.6e9), np), 100.0 if normalize == "z_score" else 6e-8
    low, high = np.float32(apply(steps, x, offset, divisor))
    found = steps.undo_difference(high - low, low, np.float32(offset), np.float32(divisor), np)
    np.testing.assert_allclose(found, 3, rtol=1e-4)


@pytest.mark.parametrize("part", [Clip, MinMax, Robust])
def test_a_range_must_be_one(part: Any) -> None:
    with pytest.raises(UserError, match=r"`low` \(=0\.5\) must be below `high` \(=0\.5\)"):
        part(low=0.5, high=0.5)


def test_equal_chains_are_one() -> None:
    assert len({make_pipeline(("log", Log1p())), make_pipeline(("log", "log1p")), make_pipeline("log")}) == 2
