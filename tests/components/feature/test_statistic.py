"""Statistics are the same however rows are cut into blocks, and whatever tree the blocks are merged in."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.feature import Distinct, Extremes, Moments
from components.types import Block

NUMBERS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 40), st.integers(1, 3)),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


def summary(statistic: Any, values: np.ndarray, data: st.DataObject) -> Any:
    """The result over blocks cut and merged at random."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(values) - 1), max_size=6)))
    states = [statistic.summarize(Block({"x": part})) for part in np.split(values, cuts)]
    while len(states) > 1:
        place = data.draw(st.integers(0, len(states) - 2))
        states[place : place + 2] = [statistic.merge(states[place], states[place + 1])]
    return statistic.result(states[0])


@given(values=NUMBERS, data=st.data())
def test_moments_do_not_depend_on_blocks_or_merges(values: np.ndarray, data: st.DataObject) -> None:
    result = summary(Moments("x"), values, data)
    size = np.abs(values).max()
    np.testing.assert_allclose(result.offset, values.mean(axis=0), rtol=1e-12, atol=1e-12 * size)
    np.testing.assert_allclose(result.width, values.std(axis=0), rtol=1e-12, atol=1e-7 * size)


@given(values=hnp.arrays(np.float64, 30, elements=st.floats(1, 2)), data=st.data())
def test_moments_of_numbers_that_do_not_cancel_are_exact_to_12_digits(values: np.ndarray, data: st.DataObject) -> None:
    values[0], values[-1] = 0, 3
    result = summary(Moments("x"), values, data)
    np.testing.assert_allclose(result.offset, [values.mean()], rtol=1e-12)
    np.testing.assert_allclose(result.width, [values.std()], rtol=1e-12)


@given(values=NUMBERS, data=st.data())
def test_extremes_are_exact(values: np.ndarray, data: st.DataObject) -> None:
    result = summary(Extremes("x"), values, data)
    assert result.offset.tolist() == values.min(axis=0).tolist()
    assert result.width.tolist() == (values.max(axis=0) - values.min(axis=0)).tolist()


@given(values=st.lists(st.sampled_from(["a", "b", "ä", ""]), min_size=2, max_size=40), data=st.data())
def test_counts_are_exact_and_sorted(values: list[str], data: st.DataObject) -> None:
    result = summary(Distinct("x"), np.array(values), data)
    assert result == {value: values.count(value) for value in values}
    assert list(result) == sorted(set(values))


def test_an_image_is_summarized_by_channel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), np.uint8)
    statistic = Moments("x")
    result = statistic.result(statistic.summarize(Block({"x": images})))
    np.testing.assert_allclose(result.offset, images.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(result.width, images.std(axis=(0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("kind", [Moments, Extremes, Distinct])
def test_equal_statistics_are_one(kind: type) -> None:
    assert len({kind("x"), kind("x"), kind("y")}) == 2
