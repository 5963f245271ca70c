"""Quantiles: exact while they can be, and within the error that they state beyond."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.statistic import Distribution, Quantiles
from components.types import Block

GOLDEN = json.loads((Path(__file__).parents[3] / "golden/discretization.json").read_text())
PROBABILITIES = np.array([0, 0.1, 1 / 3, 0.5, 0.77, 1])


def distribution(values: Any, parts: int = 1, seed: int = 0, **options: Any) -> Distribution:
    """The result over blocks cut and merged at random."""
    random, statistic = np.random.default_rng(seed), Quantiles("x", **options)
    cuts = np.sort(random.integers(0, len(values), parts - 1))
    states = [statistic.summarize(Block({"x": part})) for part in np.split(np.asarray(values), cuts) if len(part)]
    while len(states) > 1:
        place = int(random.integers(len(states) - 1))
        states[place : place + 2] = [statistic.merge(states[place], states[place + 1])]
    return statistic.result(states[0])


@settings(max_examples=40)
@given(
    values=st.lists(st.one_of(st.floats(-1e30, 1e30), st.sampled_from([0.0, -0.0, 7.0])), min_size=1, max_size=60),
    parts=st.integers(1, 6),
    seed=st.integers(0, 100),
)
def test_quantiles_equal_numpy_for_any_blocks_and_merges(values: list[float], parts: int, seed: int) -> None:
    found = distribution(np.stack([values, np.arange(len(values))], axis=1), parts, seed)
    assert (found.count.tolist(), found.rank_error) == ([len(values)] * 2, 0)
    size = max(map(abs, values))
    for method, numpys in (("linear", "linear"), ("keras", "interpolated_inverted_cdf")):
        expected = np.quantile(values, PROBABILITIES, method=numpys)
        np.testing.assert_allclose(
            found.quantiles(PROBABILITIES, method)[:, 0], expected, rtol=1e-13, atol=1e-15 * size
        )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", ["normal", "few", "ascending", "descending"])
def test_beyond_the_capacity_ranks_are_as_wrong_as_stated_at_most(seed: int, shape: str) -> None:
    random = np.random.default_rng(seed)
    values = np.cumsum(random.random(20_000)) if "scending" in shape else random.normal(size=20_000)
    values = values[::-1] if shape == "descending" else np.round(values, 2) if shape == "few" else values
    found = distribution(values, parts=40, seed=seed, capacity=256)
    (sketch,) = found.sketches
    assert len(sketch.values) <= 256 * math.log2(len(values)) / 8
    assert found.count.tolist() == [len(values)]
    assert 0 < found.rank_error <= (math.log2(8 * len(values) / 256) + 1) * 8 / 256
    ranks, ordered = np.cumsum(sketch.counts), np.sort(values)
    for side, found_ranks in (("right", ranks), ("left", ranks - sketch.counts)):
        assert np.abs(found_ranks - np.searchsorted(ordered, sketch.values, side=side)).max() <= sketch.error
    quantiles = found.quantiles(PROBABILITIES)[:, 0]
    assert (quantiles[0], quantiles[-1]) == (values.min(), values.max())
    share = (values[:, None] <= quantiles).mean(axis=0)
    assert (np.abs(share - PROBABILITIES)[1:] <= found.rank_error + 1e-2 * (shape == "few") + 1e-4).all()


def test_by_default_the_error_stays_below_a_thousandth() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=1_000_000)
    found = distribution(values, parts=6)
    assert 0 < found.rank_error < 1e-4
    (sketch,) = found.sketches
    assert sketch.values.nbytes + sketch.counts.nbytes <= 1 << 22
    share = np.searchsorted(np.sort(values), found.quantiles(PROBABILITIES)[:, 0], side="right") / len(values)
    assert np.abs(share - PROBABILITIES).max() <= found.rank_error + 2e-6


def test_repeated_numbers_stay_exact() -> None:
    values = np.random.default_rng(0).integers(0, 200, 20_000) / 7
    found = distribution(values, parts=10, capacity=256)
    assert found.rank_error == 0
    assert found.quantiles(PROBABILITIES)[:, 0].tolist() == np.quantile(values, PROBABILITIES).tolist()


@dataclass(frozen=True)
class Gappy:
    def __call__(self, block: Block) -> np.ndarray:
        return np.asarray(block.columns["x"])


def test_missing_values_are_ignored() -> None:
    statistic = Quantiles(Gappy())
    rows = np.array([[1.0, np.nan, 3.0], [2.0, np.nan, np.nan], [4.0, np.nan, np.nan]])
    states = [statistic.summarize(Block({"x": part})) for part in (rows[:1], rows[1:])]
    found = statistic.result(statistic.merge(*states))
    assert found.count.tolist() == [3, 0, 1]
    np.testing.assert_array_equal(found.quantiles(np.array([0.5])), [[2, np.nan, 3]])


def test_boundaries_are_those_that_keras_learns() -> None:
    found = distribution(np.array(GOLDEN["adapt_data"], np.float32))
    expected = GOLDEN["adapt_num_bins4_boundaries"]
    np.testing.assert_allclose(found.quantiles(np.arange(1, 4) / 4, "keras")[:, 0], expected, rtol=1e-6)
    thousand = distribution(np.arange(1000)).quantiles(np.arange(1, 4) / 4, "keras")[:, 0]
    assert thousand.tolist() == [249, 499, 749]
    for name in (name for name in GOLDEN if "arange1000" in name):  # which Keras sketches, and rounds
        np.testing.assert_allclose(thousand, GOLDEN[name], atol=1e-3)


@pytest.mark.parametrize(
    ("values", "boundaries"),  # from the tests of TensorFlow Transform
    [
        (range(1, 5), [3]),
        (range(1, 5), [2, 3]),
        (range(1, 5), [2, 3, 4]),
        (range(1, 5), [1, 2, 3, 4]),
        (range(1, 5), [1, 2, 3, 3, 4]),
        (range(1, 5), [1, 1, 2, 2, 3, 3, 3, 4, 4]),
        (range(1, 10), [4, 7]),
        (range(19, 0, -1), [10]),
        (range(99, 0, -1), [34, 67]),
        (range(1, 100), list(range(10, 100, 10))),
    ],
)
def test_boundaries_equal_those_of_tensorflow_transform(values: range, boundaries: list[int]) -> None:
    count = len(boundaries) + 1
    assert (
        distribution(np.array(values)).quantiles(np.arange(1, count) / count, "transform")[:, 0].tolist() == boundaries
    )


@pytest.mark.parametrize("method", ["linear", "keras", "transform"])
def test_a_single_number_is_every_quantile(method: Literal["linear", "keras", "transform"]) -> None:
    assert distribution([5.0]).quantiles(PROBABILITIES, method)[:, 0].tolist() == [5] * 6
