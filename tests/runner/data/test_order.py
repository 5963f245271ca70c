"""The order of the examples: a permutation of any size, windows, and sampling with replacement, at any position."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.data import order
from runner.data.order import bucket_by_length, draw_uniforms, epoch_order, interleave, permute

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


def name_files(sizes: list[int], cycle: int, block: int) -> list[int]:
    """The file of each row."""
    return np.repeat(np.arange(len(sizes)), sizes)[interleave(np.array(sizes), cycle, block)].tolist()


@pytest.mark.parametrize(
    ("sizes", "cycle", "block", "expected"),
    [
        ([3, 3, 3], 2, 1, [0, 1, 0, 1, 0, 1, 2, 2, 2]),
        ([3, 3, 3], 2, 2, [0, 0, 1, 1, 0, 1, 2, 2, 2]),
        ([1, 2, 3, 4, 5], 3, 2, [0, 1, 1, 2, 2, 3, 3, 2, 3, 3, 4, 4, 4, 4, 4]),
    ],
)
def test_files_come_in_turns_as_in_tensorflow(sizes: list[int], cycle: int, block: int, expected: list[int]) -> None:
    """Values of TensorFlow 2.21: `Dataset.interleave(…, cycle_length=cycle, block_length=block)`."""
    assert name_files(sizes, cycle, block) == expected


def interleave_one_by_one(sizes: list[int], cycle: int, block: int) -> list[int]:
    """The loop of TensorFlow's InterleaveDatasetOp. Returns the file of each row."""
    waiting, result = list(enumerate(sizes)), list[int]()
    places: list[list[int] | None] = [None] * cycle
    place = taken = 0
    while waiting or any(places):
        current = places[place]
        if current is None and waiting:
            places[place] = [*waiting.pop(0)]
        elif current is not None and current[1]:
            result.append(current[0])
            current[1] -= 1
            taken += 1
            if taken == block:
                place, taken = (place + 1) % cycle, 0
        else:
            places[place] = None
            place, taken = (place + 1) % cycle, 0
    return result


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 6), st.integers(1, 5))
def test_files_come_in_turns_as_one_by_one(sizes: list[int], cycle: int, block: int) -> None:
    assert name_files(sizes, cycle, block) == interleave_one_by_one(sizes, cycle, block)
    rows = interleave(np.array(sizes), cycle, block)
    for own in np.split(np.argsort(rows), np.cumsum(sizes)[:-1]):
        assert (np.diff(own) > 0).all(), "the rows of a file keep their order"


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60),
    st.integers(1, 7),
    st.integers(2, 5),
    st.sampled_from([True, False, 7]),
    st.integers(0, 99),
)
def test_batches_have_similar_lengths(
    lengths: list[int], size: int, batches: int, shuffle: bool | int, seed: int
) -> None:
    """Each window of batches has the examples that it has without, sorted by length; the last batch is the same."""
    rows, of_row = np.arange(len(lengths)) + 10, np.array([0] * 10 + lengths)
    plain = epoch_order(rows, seed, 1, shuffle=shuffle)
    order = bucket_by_length(plain, of_row, size, batches, None if shuffle is False else (seed, 1))
    whole = len(rows) // size * size
    assert order[whole:].tolist() == plain[whole:].tolist()
    for start in range(0, whole, size * batches):
        window = order[start : min(start + size * batches, whole)]
        assert sorted(window.tolist()) == sorted(plain[start : start + len(window)].tolist())
        ranges = sorted((own.min(), own.max()) for own in of_row[window].reshape(-1, size))
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(ranges))
    for start in range(0, len(rows), 3):
        assert order[start : start + 5].tolist() == order[:][start : start + 5].tolist()


def test_batches_of_similar_lengths_are_those_of_tensorflow() -> None:
    """Those of `bucket_by_sequence_length` of TensorFlow 2.21, with boundaries 2 and 3 and batches of 2.

    TensorFlow gives [3, 3, 3] a batch of its own. Here all batches but the last one have the same size.
    """
    lists = [[1], [2, 2], [3, 3, 3], [4], [5, 5]]
    lengths = np.array([*map(len, lists)])

    def batch(rows: list[int]) -> list[list[list[int]]]:
        order = bucket_by_length(epoch_order(np.array(rows), 0, 0, shuffle=False), lengths, 2, 100, None)
        return [[lists[row] for row in order[start : start + 2]] for start in range(0, len(rows), 2)]

    assert batch([0, 1, 3, 4]) == [[[1], [4]], [[2, 2], [5, 5]]]
    assert batch([0, 1, 3, 4, 2]) == [[[1], [4]], [[2, 2], [5, 5]], [[3, 3, 3]]]
    assert batch([0, 1, 2, 3, 4]) == [[[1], [4]], [[2, 2], [3, 3, 3]], [[5, 5]]], "the last row is in the last batch"


def test_batches_of_similar_lengths_come_in_any_order() -> None:
    """The longest and the shortest batches of a window are anywhere in it, and in each window elsewhere."""
    lengths = np.arange(12_000) % 60
    order = bucket_by_length(epoch_order(np.arange(len(lengths)), 3, 1), lengths, 5, 24, (3, 1))
    means = lengths[order[:]].reshape(100, 6, 20).mean(2)  # of each group of four batches
    for group in (means.argmin(1), means.argmax(1)):
        counts = np.bincount(group, minlength=6)
        assert counts.min() > 5, counts
    ordered = bucket_by_length(epoch_order(np.arange(60), 3, 1, shuffle=False), np.zeros(60), 5, 6, None)
    assert ordered[:].tolist() == [*range(60)], "without shuffling, rows of equal lengths keep their order"
