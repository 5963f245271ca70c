"""Times: whatever form they have, their parts are those of Python's own calendar."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.base.values import NO_ID
from components.feature.text.string_ops import to_strings
from components.feature.time import CYCLES, Time, TimePart, read_times
from components.types import Block, Constants, DataError, Strings, UserError

PARTS: Any = ("year", "month", "day", "day_of_year", "weekday", "hour", "minute", "second")
MOMENTS = st.lists(st.datetimes(datetime(1600, 1, 1), datetime(2300, 1, 1)), min_size=1, max_size=8)


def parts(moment: datetime) -> list[int]:
    date = (moment.year, moment.month, moment.day, moment.timetuple().tm_yday, moment.weekday())
    return [*date, moment.hour, moment.minute, moment.second]


def encoded(column: Time | TimePart, values: Any, **block: Any) -> np.ndarray:
    arrays = column.encode(Block({"t": values}, **block), {}, column.fit({}, {}))
    (array,) = arrays.values()
    return array


@settings(max_examples=30)
@given(moments=MOMENTS)
def test_parts_of_timestamps_and_texts_equal_those_of_python(moments: list[datetime]) -> None:
    texts = [moment.isoformat() for moment in moments]
    column, expected = Time(key="t", parts=PARTS), [parts(moment) for moment in moments]
    dictionary = Strings(*to_strings([*texts, "never"])[:2], np.arange(len(texts)))
    for values in (np.array(moments, "datetime64[us]"), to_strings(texts), dictionary, np.array(texts), moments):
        array = encoded(column, np.array(values, object) if isinstance(values, list) else values)
        assert array.dtype == np.float32
        assert array.tolist() == expected
    seconds = np.array(moments, "datetime64[s]")
    assert encoded(column, seconds).tolist() == expected
    assert encoded(column, seconds.astype("datetime64[D]")).tolist() == [[*of[:5], 0, 0, 0] for of in expected]


@pytest.mark.parametrize("part", CYCLES)
def test_cycles_close(part: Any) -> None:
    first, period = CYCLES[part]
    begin = datetime(2024, 1, 1)  # a Monday, in a leap year
    step = {"month": 31, "hour": 1 / 24, "minute": 1 / 1440, "second": 1 / 86400}.get(part, 1)
    moments = np.array([begin + timedelta(days=step * number) for number in range(period)], "datetime64[us]")
    points = encoded(Time(key="t", parts=(part,), encoding="cyclic"), moments)
    numbers = encoded(Time(key="t", parts=(part,)), moments)[:, 0] - first
    angles = 2 * np.pi * numbers / period
    np.testing.assert_allclose(points, np.stack([np.sin(angles), np.cos(angles)], axis=1), atol=1e-6)
    assert encoded(TimePart(key="t", part=part), moments).tolist() == numbers.tolist()
    assert TimePart(key="t", part=part).fit({}, {}).static == {"buckets": period}


def test_several_cycles_stand_side_by_side() -> None:
    column = Time(key="t", parts=("hour", "weekday"), encoding="cyclic")
    values = encoded(column, np.array(["2024-01-01T06", "2024-01-01T18"], "datetime64[h]"))
    np.testing.assert_allclose(values, [[1, 0, 0, 1], [-1, 0, 0, 1]], atol=1e-6)
    assert column.layer({})({"values": values}, {}).shape == (2, 4)


def test_texts_with_an_offset_are_taken_in_utc() -> None:
    zone = timezone(timedelta(hours=2))
    texts = ["2024-01-01T01:00:00+02:00", "2024-01-01T01:00:00Z"]
    assert encoded(TimePart(key="t", part="hour"), to_strings(texts)).tolist() == [23, 1]
    objects = np.array([datetime(2024, 1, 1, 1, tzinfo=zone), datetime(2024, 1, 1, 1, tzinfo=UTC)], object)
    assert encoded(TimePart(key="t", part="hour"), objects).tolist() == [23, 1]


ISO = (
    "2020-02-29",
    "2020-02-29 23",
    "2020-02-29T23:59",
    "1969-12-31 23:59:59",
    "0001-01-01T00:00:00.000001",
    "9999-12-31",
)


@pytest.mark.parametrize(
    "others", [(), ("20200229T235959", "2020-W09-6", "2020-02-29T23:59:59.1234567", "2020-02-29T23Z")]
)
def test_texts_of_iso_8601_are_read_as_python_reads_them(others: tuple[str, ...]) -> None:
    times, valid = read_times(Block({"t": to_strings([*ISO, *others, ""])}), "t", {}, None)
    expected = [datetime.fromisoformat(text).replace(tzinfo=None) for text in (*ISO, *others)]
    assert times.tolist() == [*expected, datetime(1970, 1, 1)]
    assert valid.tolist() == [True] * len(expected) + [False]
    _, valid = read_times(Block({"t": to_strings(ISO)}, {"t": np.arange(len(ISO)) > 1}), "t", {}, None)
    assert valid.tolist() == [False, False, True, True, True, True]


def test_texts_of_iso_8601_let_other_threads_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.times._parse", lambda *arguments: pytest.fail("Python parses a text"))
    times = encoded(TimePart(key="t", part="hour"), to_strings([*ISO, ""]))
    assert times.tolist() == [0, 23, 23, 23, 0, 0, NO_ID]


@pytest.mark.parametrize(
    "wrong", ["0000-12-31", "2021-02-29", "2020-01-01 24:00:00", "2020-01-01 00:00:60", " 2020-01-01"]
)
def test_other_texts_of_iso_8601_are_errors(wrong: str) -> None:
    with pytest.raises(DataError, match=f"row 1 of data: column `t` is '{wrong}'; a time is a timestamp or text"):
        encoded(TimePart(key="t", part="hour"), to_strings(["2020-01-01", wrong]))


def test_other_texts_are_read_by_their_format() -> None:
    column = Time(key="t", parts=("year", "day"), format="%d/%m/%y %H.%M")
    assert encoded(column, to_strings(["31/12/99 07.30", "01/02/24 00.00"])).tolist() == [[1999, 31], [2024, 1]]
    with pytest.raises(
        DataError, match=r"row 1 of data: column `t` is '2024'; a text in the format %d/%m/%y %H.%M is needed"
    ):
        encoded(column, to_strings(["31/12/99 07.30", "2024"]))


GAPS = (
    (np.array(["2024-01-01", "NaT"], "datetime64[D]"), {}),
    (np.array(["2024-01-01", "2024-01-02"], "datetime64[D]"), {"valid": {"t": np.array([True, False])}}),
    (to_strings(["2024-01-01", ""]), {}),
    (to_strings(["2024-01-01", "garbage"]), {"valid": {"t": np.array([True, False])}}),
    (np.array(["2024-01-01", None], object), {}),
)


@pytest.mark.parametrize(("values", "block"), GAPS)
def test_a_missing_time_is_an_error_or_replaced_or_without_an_id(values: Any, block: Any) -> None:
    message = "row 8 of somewhere: column `t` has no value; fill it in, remove the row, or set `missing`"
    with pytest.raises(DataError, match=message):
        encoded(Time(key="t", parts=("month",)), values, **block, first_row=7, origin="somewhere")
    filled = Time(key="t", parts=("month", "day"), missing=-1)
    assert encoded(filled, values, **block).tolist() == [[1, 1], [-1, -1]]
    assert encoded(TimePart(key="t", part="month"), values, **block).tolist() == [0, NO_ID]


def fit_and_encode(column: Time, train: Any, rows: Any, **block: Any) -> np.ndarray:
    """The encoded rows, by a column that is fitted on other rows in two blocks."""
    (statistic,) = column.statistics().values()
    states = [statistic.summarize(Block({"t": part})) for part in (train[:2], train[2:])]
    constants = column.fit({"moments": statistic.result(statistic.merge(*states))}, {})
    return column.encode(Block({"t": rows}, **block), {}, constants)["values"]


@pytest.mark.parametrize("unit", ["D", "s", "us"])
def test_elapsed_days_and_years_are_standardized_in_float64_for_the_years_1_to_9999(unit: str) -> None:
    train = np.array(["0001-01-01", "1999-12-31", "2024-02-29", "9999-12-31"], f"datetime64[{unit}]")
    column = Time(key="t", parts=("elapsed", "month", "year"), encoding="cyclic", normalize="z_score")
    values = fit_and_encode(column, train, train)
    days = np.array([datetime.toordinal(day) for day in train.astype("datetime64[us]").tolist()], float)
    years = np.array([1, 1999, 2024, 9999.0])
    np.testing.assert_allclose(values[:, 0], (days - days.mean()) / days.std(), rtol=1e-6)
    np.testing.assert_allclose(values[:, 3], (years - years.mean()) / years.std(), rtol=1e-6)
    np.testing.assert_allclose(values[1, 1:3], [-0.5, 3**0.5 / 2], rtol=1e-6)


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_elapsed_time_resolves_seconds(unit: str) -> None:
    seconds = np.datetime64("2024-02-29T23:59:59", unit) + np.arange(4) * np.timedelta64(1, "s")
    values = fit_and_encode(Time(key="t", parts=("elapsed",), normalize="z_score"), seconds, seconds)
    np.testing.assert_allclose(values[:, 0], (np.arange(4) - 1.5) / 1.25**0.5, rtol=1e-4)


def test_a_missing_time_is_left_out_of_the_fit_and_indicated() -> None:
    train = np.array(["2020-01-01", "NaT", "2020-01-03"], "datetime64[D]")
    column = Time(key="t", parts=("elapsed",), normalize="z_score", missing=0, indicate_missing=True)
    assert fit_and_encode(column, train, train).tolist() == [[-1, 0], [0, 1], [1, 0]]
    masked = fit_and_encode(column, train, train, valid={"t": np.array([False, False, True])})
    assert masked.tolist() == [[0, 1], [0, 1], [1, 0]]
    with pytest.raises(DataError, match="column `t` has no times in the training split; leave it out"):
        fit_and_encode(column, train[1:2].repeat(3), train)
    constant = fit_and_encode(column, train[:1].repeat(3), train)
    assert constant.tolist() == [[0, 0], [0, 1], [2, 0]], "days are only shifted"


def test_a_column_without_values_has_no_ids() -> None:
    empty = Strings(np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros(3, np.int32))
    values = encoded(TimePart(key="t", part="hour"), empty, valid={"t": np.zeros(3, bool)})
    assert values.tolist() == [NO_ID] * 3


@pytest.mark.parametrize("wrong", ["yesterday", "2024-13-01", " 2024-01-01"])
def test_an_invalid_time_raises_an_error_with_row_and_value(wrong: str) -> None:
    texts = ["2024-01-01", wrong, "2024-01-01"]
    coded = Strings(*to_strings(["never", "2024-01-01", wrong])[:2], np.array([1, 2, 1]))
    for values in (to_strings(texts), np.array(texts), np.array(texts, object), coded):
        with pytest.raises(DataError, match=f"row 4 of a.csv: column `t` is '{wrong}'; a time is a timestamp or text"):
            encoded(Time(key="t", parts=("day",), missing=0), values, first_row=3, origin="a.csv")


def test_other_columns_raise_an_error() -> None:
    with pytest.raises(DataError, match=r"column `t` of data has single floats; a time is a timestamp or text"):
        encoded(Time(key="t", parts=("day",)), np.array([1.5, 2.5]))
    with pytest.raises(DataError, match=r"there is no column `t` in data"):
        Time(key="t", parts=("day",)).encode(Block({"other": np.zeros(1)}), {}, Constants())
    parents = {"t": {"values": np.zeros((1, 1), np.float32)}}
    with pytest.raises(DataError, match=r"column `t` of data has arrays of floats of shape \(1,\); a time"):
        TimePart(key="t", part="day").encode(Block({"t": to_strings(["2024-01-01"])}), parents, Constants())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ()}, r"parts: must be one or more different parts, got none"),
        ({"parts": ("day", "day")}, r"parts: must be one or more different parts, got day, day"),
        (
            {"parts": ("year",), "encoding": "cyclic"},
            r"encoding: cyclic needs a part with a period, one of month,",
        ),
        ({"parts": ("day",), "encoding": "cyclic", "normalize": "z_score"}, "does nothing, because all parts are on a"),
        ({"parts": ("elapsed",)}, r"the part elapsed needs `normalize` \(=z_score\), because float32 would round it"),
        ({"parts": ("day",), "indicate_missing": True}, "indicate_missing: needs `missing`"),
        ({"parts": ("day",), "format": "%Q"}, r"`format` \(=%Q\) is not a format of Python's strptime: 'Q' is a bad"),
        (
            {"parts": ("month",), "format": "%Y-W%W"},
            r"`format` \(=%Y-W%W\) loses %W, which Python's strptime",
        ),
    ],
)
def test_invalid_options_raise_an_error(options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Time(key="t", **options)
