"""Row numbers: a range of them is what the array of its numbers is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.types import RowRange, as_index, compact_rows

RANGES = st.builds(
    lambda start, count, step: range(start, start + count * step, step), *[st.integers(0, 20)] * 2, st.integers(1, 4)
)


@given(numbers=RANGES, cut=st.slices(12), data=st.data())
def test_a_range_is_read_as_its_array(numbers: range, cut: slice, data: st.DataObject) -> None:
    rows, array = RowRange(numbers), np.array(numbers, np.int64)
    values = np.arange(200)
    assert np.asarray(rows).dtype == rows.dtype == array.dtype
    assert rows.tolist() == [*rows] == array.tolist()
    assert values[as_index(rows)].tolist() == values[rows].tolist() == array.tolist()
    positions = np.array(data.draw(st.lists(st.integers(0, len(numbers) - 1))) if numbers else [], np.int32)
    assert rows[positions].tolist() == array[positions].tolist()
    assert rows[array % 2 == 0].tolist() == array[array % 2 == 0].tolist()
    assert (rows == rows[:]).all()
    assert (rows == array).all()
    assert (rows + 3).tolist() == (array + 3).tolist()
    assert rows.searchsorted(values).tolist() == array.searchsorted(values).tolist()
    if cut.step is None or cut.step > 0:
        assert np.asarray(rows[cut]).tolist() == array[cut].tolist()


@given(rows=st.lists(st.integers(0, 30)))
def test_rows_that_follow_one_another_need_no_memory(rows: list[int]) -> None:
    compact = compact_rows(np.array(rows, np.int64), 31)
    assert np.asarray(compact).tolist() == rows
    assert isinstance(compact, RowRange) == (np.diff(rows) == 1).all()
    assert isinstance(compact, RowRange) or compact.dtype == np.int32
