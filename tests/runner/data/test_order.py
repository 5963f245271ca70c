"""The order of the examples: a permutation of any size, windows, and sampling with replacement, at any position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.data import order
from runner.data.order import draw_uniforms, epoch_order, permute

OPTIONS = {
    "shuffled": {},
    "not shuffled": {"shuffle": False},
    "windows": {"shuffle": 7},
    "drawn": {"cumulative": np.cumsum([0, 2, 0, 1, *[0.5] * 42, 0, 0], dtype=float)},
}
ROWS = np.arange(100, 148)


@pytest.fixture(params=["small", "large"])
def algorithm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permutes with NumPy, or with the network for large permutations."""
    if request.param == "large":
        monkeypatch.setattr(order, "SMALL", 0)


@pytest.mark.usefixtures("algorithm")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 16, 17, 97, 1000])
def test_a_permutation_has_each_number_once(count: int) -> None:
    for epoch in range(3):
        assert sorted(permute(np.arange(count), count, (0, epoch)).tolist()) == [*range(count)]


@pytest.mark.parametrize("count", [order.SMALL, order.SMALL + 1, 300_000])
def test_a_large_permutation_has_each_number_once(count: int) -> None:
    assert (np.sort(permute(np.arange(count), count, (3,))) == np.arange(count)).all()


@pytest.mark.usefixtures("algorithm")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_any_positions_are_computed_alone(options: dict[str, object]) -> None:
    epoch = epoch_order(ROWS, 1, 2, **options)  # type: ignore[arg-type]
    whole = epoch[:].tolist()
    assert len(whole) == len(epoch) == len(ROWS)
    for start in range(len(ROWS)):
        for stop in (start, start + 1, start + 9, len(ROWS)):
            assert epoch[start:stop].tolist() == whole[start:stop]


@pytest.mark.usefixtures("algorithm")
@pytest.mark.parametrize("name", ["shuffled", "windows", "drawn"])
def test_each_seed_and_epoch_has_an_order_of_its_own(name: str) -> None:
    pairs = [(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({str(epoch_order(ROWS, *pair, **OPTIONS[name])[:]) for pair in pairs}) == len(pairs)  # type: ignore[arg-type]


def test_without_shuffling_rows_keep_their_order() -> None:
    assert epoch_order(ROWS, 1, 2, shuffle=False)[:].tolist() == ROWS.tolist()


@given(st.integers(1, 60), st.integers(2, 70), st.integers(0, 2**32 - 1))
def test_windows_come_one_after_another(count: int, size: int, seed: int) -> None:
    rows = np.arange(count)
    shuffled = epoch_order(rows, seed, 0, shuffle=size)[:]
    for start in range(0, count, size):
        assert sorted(shuffled[start : start + size].tolist()) == rows[start : start + size].tolist()
    if size >= count:
        assert shuffled.tolist() == epoch_order(rows, seed, 0)[:].tolist()


def test_the_network_permutes_uniformly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chi-squared tests, whose statistics are within five standard deviations of their mean."""
    monkeypatch.setattr(order, "SMALL", 0)
    for count in (2, 3, 10, 97):
        repetitions = 40 * count
        places, neighbours = np.zeros((2, count, count))
        for epoch in range(repetitions):
            permutation = permute(np.arange(count), count, (5, epoch))
            places[np.arange(count), permutation] += 1
            neighbours[permutation, np.roll(permutation, 1)] += 1
        expected = repetitions / count
        statistic, freedom = ((places - expected) ** 2 / expected).sum(), (count - 1) ** 2
        assert abs(statistic - freedom) < 5 * np.sqrt(2 * freedom), count
        if count > 3:
            pairs = neighbours[~np.eye(count, dtype=bool)]
            expected = repetitions / (count - 1)
            statistic, freedom = ((pairs - expected) ** 2 / expected).sum(), count * (count - 1)
            assert abs(statistic - freedom) < 5 * np.sqrt(2 * freedom), count


@given(st.lists(st.sampled_from([0.0, 1e-30, 0.25, 1.0, 7.0]), min_size=1, max_size=20), st.integers(0, 99))
def test_rows_are_drawn_in_proportion_to_their_weights(weights: list[float], seed: int) -> None:
    if not any(weights):
        weights[0] = 1.0
    count, repetitions = len(weights), 200
    rows = np.arange(count * repetitions)
    drawn = epoch_order(rows, seed, 0, cumulative=np.cumsum(np.tile(weights, repetitions)))[:] % count
    frequencies = np.bincount(drawn, minlength=count) / len(rows)
    assert not frequencies[np.equal(weights, 0)].any(), "a weight of 0 is never drawn"
    shares = np.divide(weights, np.sum(weights))
    assert np.abs(frequencies - shares).max() < 5 * np.sqrt(0.25 / len(rows)), "within five standard deviations"


def test_random_numbers_of_any_positions_are_computed_alone() -> None:
    for draws in (1, 4, 6):
        whole = draw_uniforms((1, 2), 0, 20, draws)
        assert whole.shape == (20, draws)
        assert ((whole >= 0) & (whole < 1)).all()
        assert len(np.unique(whole)) == whole.size
        for first in range(20):
            np.testing.assert_array_equal(draw_uniforms((1, 2), first, 20 - first, draws), whole[first:])
        assert not (draw_uniforms((1, 3), 0, 20, draws) == whole).any()


def test_the_orders_never_change() -> None:
    """Experiments and resumed runs depend on them."""
    rows = np.arange(5_000_000)
    assert epoch_order(rows, 1, 2)[4_000_000:4_000_003].tolist() == [2581966, 4411884, 3590977]
    assert epoch_order(rows[:50], 1, 2)[20:25].tolist() == [8, 41, 19, 48, 43]
    assert epoch_order(rows[:50], 1, 2, shuffle=20)[18:22].tolist() == [10, 11, 36, 28]
    assert epoch_order(rows[:50], 1, 2, cumulative=np.arange(50.0))[18:22].tolist() == [10, 24, 5, 8]
