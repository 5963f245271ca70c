"""Windows of time series, compared with a definition in plain Python and with those of TensorFlow 2.21."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.examples import Windows
from components.types import Block, DataError, FoundExamples, TargetSpec, UserError


def find(
    windows: Windows,
    splits: Sequence[int],
    series: Sequence[int] | None = None,
    times: Sequence[float] | np.ndarray | None = None,
    *,
    with_targets: bool = True,
    block_rows: int = 7,
) -> FoundExamples:
    """The windows of a table with the columns `store` and `day`, in blocks of a few rows."""
    columns = {"store": np.zeros(len(splits)) if series is None else np.array(series)}
    columns |= {} if times is None else {"day": np.asarray(times)}
    windows = replace(
        windows, by=windows.by or (series and "store"), time=windows.time or (None if times is None else "day")
    )
    blocks = [
        Block({name: values[first : first + block_rows] for name, values in columns.items()}, first_row=first)
        for first in range(0, len(splits), block_rows)
    ]
    return windows.find(blocks, np.array(splits, np.int8), "row {}".format, with_targets=with_targets)


def find_plainly(
    windows: Windows, splits: list[int], series: list[int], times: list[int], *, with_targets: bool
) -> tuple[dict[int, list[list[int]]], Counter[int]]:
    """The rows of each window by split, and the number of windows that cover a gap."""
    found: dict[int, list[list[int]]] = {}
    left_out: Counter[int] = Counter()
    for name in set(series):
        rows = [row for row in range(len(series)) if series[row] == name]
        steps = Counter(times[later] - times[row] for row, later in itertools.pairwise(rows))
        usual = min(steps, key=lambda step: (-steps[step], step)) if steps else 0
        stretches: list[list[int]] = []
        for number, row in enumerate(rows):
            if number and splits[rows[number - 1]] == splits[row]:
                stretches[-1].append(row)
            else:
                stretches.append([row])
        for stretch in stretches:
            split = splits[stretch[0]]
            places = [number * windows.stride for number in range(windows.size)]
            if with_targets and windows.horizon is not None:
                places += [places[-1] + windows.gap + 1 + number for number in range(windows.horizon)]
            starts = [start for start in range(len(stretch)) if start + places[-1] < len(stretch)]
            starts = starts[:: windows.shift] if with_targets else starts[::-1][:: windows.shift]
            for start in starts if split >= 0 else ():
                covered = stretch[start : start + places[-1] + 1]
                if all(times[b] - times[a] == usual for a, b in itertools.pairwise(covered)):
                    found.setdefault(split, []).append([stretch[start + place] for place in places])
                else:
                    left_out[split] += 1
    return found, left_out


def gather(windows: Windows, found: Sequence[np.ndarray], order: np.ndarray | None, rows: int) -> list[list[list[int]]]:
    """The rows of each window by split, from what `find` returns."""
    order = np.arange(rows) if order is None else order
    position = np.argsort(order)
    steps = [*windows.input_steps("load"), *(windows.target_steps or ())]
    return [[order[[position[row] + step for step in steps]].tolist() for row in of_split] for of_split in found]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_windows_are_those_of_a_plain_definition(data: st.DataObject, with_targets: bool) -> None:
    number = st.integers(1, 3)
    horizon = data.draw(st.none() | number)
    gap = 0 if horizon is None else data.draw(st.integers(0, 2))
    windows = Windows(
        size=data.draw(number), horizon=horizon, gap=gap, shift=data.draw(number), stride=data.draw(number)
    )
    count = data.draw(st.integers(1, 40))
    series = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    series = [sorted(set(series)).index(name) for name in series]
    if data.draw(st.booleans()):
        series = sorted(series)
    splits = np.repeat(data.draw(st.lists(st.integers(-1, 1), min_size=count, max_size=count)), 5)[:count].tolist()
    times = np.cumsum(data.draw(st.lists(st.sampled_from([2, 2, 2, 2, 2, 3]), min_size=count, max_size=count))).tolist()

    found = find(windows, splits, series, times, with_targets=with_targets)

    expected, left_out = find_plainly(windows, splits, series, times, with_targets=with_targets)
    if not with_targets:
        windows = Windows(size=windows.size, shift=windows.shift, stride=windows.stride)
    assert [sorted(each) for each in gather(windows, found.rows, found.order, count)] == [
        sorted(expected.get(split, [])) for split in range(len(found.rows))
    ]
    assert list(found.left_out) == [left_out[split] for split in range(len(found.rows))]
    assert set(expected) <= set(range(len(found.rows)))


@pytest.mark.parametrize(
    ("windows", "rows", "expected"),
    [
        (Windows(size=3), 6, [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]),
        (Windows(size=3, shift=2, stride=2), 7, [[0, 2, 4], [2, 4, 6]]),
    ],
    ids=["window(3, shift=1, drop_remainder=True)", "window(3, shift=2, stride=2) without its partial windows"],
)
def test_windows_are_the_complete_ones_of_tensorflow(windows: Windows, rows: int, expected: list[list[int]]) -> None:
    found = find(windows, [0] * rows)
    assert gather(windows, found.rows, found.order, rows) == [expected]


@pytest.mark.parametrize(
    ("windows", "rows", "starts"),
    [
        (Windows(size=10, stride=2, shift=3), 99, range(0, 79, 3)),  # the first example of its documentation
        (Windows(size=20, shift=20), 100, range(0, 100, 20)),  # the third one
        (Windows(size=10, stride=2, shift=3), 100, range(0, 82, 3)),  # the last window ends at the last row
        (Windows(size=5, stride=3, shift=2), 13, [0]),
        (Windows(size=1, stride=4), 6, range(6)),
        (Windows(size=4, shift=9), 4, [0]),
        (Windows(size=4, shift=2**40), 9, [0]),
    ],
    ids=str,
)
def test_windows_are_those_of_keras(windows: Windows, rows: int, starts: Sequence[int]) -> None:
    """`size`, `shift` and `stride` are `sequence_length`, `sequence_stride` and `sampling_rate`.

    The cases are those of `timeseries_dataset_from_array` of Keras 3.
    """
    found = find(windows, [0] * rows)
    expected = [[start + step * windows.stride for step in range(windows.size)] for start in starts]
    assert gather(windows, found.rows, found.order, rows) == [expected]


def test_targets_and_parts_of_a_series_are_those_of_keras() -> None:
    """A horizon of 1 is `targets=data[size:]`, and a split is what `start_index` and `end_index` leave."""
    windows, rows, start, stop = Windows(size=10, horizon=1), 50, 20, 45
    found = find(windows, [0] * start + [1] * (stop - start) + [2] * (rows - stop))
    count = stop - start - windows.size
    expected = [[*range(first, first + windows.size + 1)] for first in range(start, start + count)]
    assert gather(windows, found.rows, found.order, rows)[1] == expected


def test_a_series_in_time_order_of_others_is_taken_apart() -> None:
    windows = Windows(size=2, horizon=1, by="store")
    found = find(windows, [0] * 7, [0, 1, 0, 1, 1, 0, 0])
    assert gather(windows, found.rows, found.order, 7) == [[[0, 2, 5], [1, 3, 4], [2, 5, 6]]]


def test_forecasts_start_after_the_last_row_of_each_series_whatever_the_shift() -> None:
    windows = Windows(size=3, horizon=5, shift=4, by="store")
    found = find(windows, [0] * 17, [0] * 9 + [1] * 8, with_targets=False)
    assert found.rows[0].tolist() == [4, 8, 12, 16]


def test_columns_known_ahead_end_with_the_targets_and_need_their_rows() -> None:
    windows = Windows(size=3, horizon=4, gap=1, stride=2, known_ahead=("holiday",))
    assert list(windows.input_steps("load")) == [-4, -2, 0]
    assert list(windows.input_steps("holiday")) == [1, 3, 5]
    assert windows.target_steps == range(2, 6)
    assert find(windows, [0] * 12, with_targets=False).rows[0].tolist() == [4, 5, 6]
    found = find(windows, [0] * 9, with_targets=False)
    text = windows.explain_none(found, 0, None, with_targets=False)
    assert (
        "takes 10 consecutive rows (size=3, stride=2, gap=1, horizon=4), and there are at most 9. Give the rows of"
        in text
    )
    with pytest.raises(UserError, match=r"known_ahead: holiday needs `horizon`"):
        Windows(size=3, known_ahead=("holiday",))


@pytest.mark.parametrize(
    "times",
    [
        np.arange("2023-01", "2024-09", dtype="M8[M]").astype("M8[us]"),
        np.arange("2023-01", "2024-09", dtype="M8[M]").astype("M8[D]") - np.timedelta64(1, "D"),
        np.arange("2003", "2023", dtype="M8[Y]").astype("M8[us]"),
        0.1 * np.arange(20),
        np.arange(20, dtype=np.uint8),
    ],
    ids=["first of the month", "last of the month", "years", "rounded", "unsigned"],
)
def test_equal_steps_are_no_gaps(times: np.ndarray) -> None:
    found = find(Windows(size=5, time="day"), [0] * 20, None, times)
    assert (len(found.rows[0]), found.left_out) == (16, [0])
    found = find(Windows(size=5, time="day"), [0] * 19, None, np.delete(times, 10))
    assert (len(found.rows[0]), found.left_out) == (11, [4])


@pytest.mark.parametrize(
    ("series", "times", "message"),
    [
        (
            None,
            [1, 2, 2, 3],
            r"^row 2: column `day` is 2, after 2 in the row before\. Times must ascend .* sort the rows",
        ),
        ([0, 1, 0, 1], [1, 5, 2, 4], r"^row 3: column `day` is 4, after 5 in the row of the same `store` before"),
        (None, [1, 2, np.nan, 4], r"^row 2: column `day` has no time"),
        (None, np.array(["2024-01-02", "2024-01-01"], "M8[us]"), r"is 2024-01-01T00:00:00, after 2024-01-02T00:00:00"),
    ],
)
def test_times_that_do_not_ascend_are_errors(series: list[int] | None, times: list[float], message: str) -> None:
    windows = Windows(size=1, by=None if series is None else "store", time="day")
    with pytest.raises(DataError, match=message):
        find(windows, [0] * len(times), series, times)


def test_a_split_without_a_window_says_how_many_rows_it_has_and_a_window_takes() -> None:
    windows = Windows(size=4, horizon=2, gap=1, by="store", time="day")
    found = find(windows, [0] * 5 + [1] * 9, [0] * 5 + [1] * 9, range(14))
    text = windows.explain_none(found, 0, "valid")
    assert "a window takes 7 consecutive rows of a series (size=4, gap=1, horizon=2), and there are at most 5" in text
    assert "set `split_by=day` of the data" in text
    assert "`group=store` of the data" in text
    other = windows.explain_none(find(windows, [0] * 5 + [1] * 9, [0] * 14, range(14)), 0, "valid")
    assert "set `split_by=day` of the data, to hold out the last ones." in other  # one series is too few for two splits


def test_a_split_whose_windows_all_cover_gaps_says_so() -> None:
    windows = Windows(size=3, time="day")
    found = find(windows, [0] * 4, None, [1, 2, 4, 5])
    assert "all 2 windows of the train split cover a gap in `day`" in windows.explain_none(found, 0, "train")


def test_a_gap_before_targets_needs_targets() -> None:
    with pytest.raises(UserError, match=r"gap: 2 needs `horizon`"):
        Windows(size=3, gap=2)


def test_a_target_of_several_rows_is_one_vector_in_the_unit_of_the_data() -> None:
    def decode(values: np.ndarray) -> np.ndarray:
        assert values.ndim == 2
        return values * [[10.0, 1.0]]

    spec = Windows(size=2, horizon=3).bind(TargetSpec("real", (2,), None, decode))
    assert (spec.shape, spec.outputs, spec.positions) == ((6,), 6, 3)
    assert spec.decode(np.arange(12.0).reshape(2, 6)).tolist() == [[0, 1, 20, 3, 40, 5], [60, 7, 80, 9, 100, 11]]


def test_only_numbers_have_a_horizon() -> None:
    classes = TargetSpec("classes", (), ("a", "b"), lambda logits: logits)
    assert Windows(size=2).bind(classes) is classes
    with pytest.raises(UserError, match=r"horizon: 3 needs a target of numbers, and the target is one of 2 classes"):
        Windows(size=2, horizon=3).bind(classes)
