"""Texts that are read as numbers and times, and what stays text."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data import Csv
from components.types import DataError


def read(tmp_path: Path, values: list[str], **options: Any) -> Csv:
    """A table with a column `x` of these values, and a column of texts."""
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["x,other", *(f'"{value}",t{n}' for n, value in enumerate(values))]), encoding="utf-8")
    return Csv(path=str(path), **options)


def values_of(source: Csv) -> list[Any]:
    values = source.table.values["x"]
    listed = (
        values.astype(str).tolist() if isinstance(values, np.ndarray) and values.dtype.kind == "M" else values.tolist()
    )
    valid = source.table.valid.get("x", np.ones(len(listed), bool))
    return [value if there else None for value, there in zip(listed, valid, strict=True)]


@pytest.mark.parametrize(
    ("values", "expected", "description"),
    [
        (
            ["$6,254.60", "$-5", "-$7", "($3)"],
            [6254.6, -5, -7, -3],
            "without `$`, commas separate thousands, numbers in parentheses are negative",
        ),
        (["40%", "5%"], [40, 5], "without `%`: 5% is 5"),
        (["8 kg", "20 kg", "?"], [8, 20, None], "without `kg`"),
        (["12 km/h", "7 km/h"], [12, 7], "without `km/h`"),
        (["5 €", "7,000.5 €"], [5, 7000.5], "without `€`, commas separate thousands"),
        (["EUR 5", "EUR 7"], [5, 7], "without `EUR`"),
        (["20°C", "-3°C"], [20, -3], "without `°C`"),
        (["2_940", "12"], [2940, 12], "without `_`"),
        (["9\u00a0196", "1\u202f000\u202f000", "7"], [9196, 1_000_000, 7], "blanks separate thousands"),
        (["1'000", "2’000.5"], [1000, 2000.5], "without apostrophes"),
        (["12,34,567", "1,000"], [1_234_567, 1000], "commas separate thousands"),
        (["(94)", "17"], [-94, 17], "numbers in parentheses are negative"),
        (["\u22125", "\u20137", "3"], [-5, -7, 3], ""),
        (["1st", "2nd", "3rd", "11th", "22nd"], [1, 2, 3, 11, 22], "without st, nd, rd or th"),
        (["1.2k", "500", "3M", "2bn"], [1200, 500, 3e6, 2e9], "k, M and B are thousands, millions and billions"),
        (["1.001k", "2.3M", "1e3k"], [1001, 2_300_000, 1e6], "k, M and B are thousands, millions and billions"),
        (["$1.5M", "$200k"], [1.5e6, 2e5], "without `$`, k, M and B are thousands, millions and billions"),
        (["1:30:00", "25:00:00"], [5400, 90_000], "durations as seconds"),
        (["12:30", "1:05"], [45_000, 3900], "hours:minutes as seconds"),
        (["2 days 03:00:00", "0 days 00:00:01.5"], [183_600, 1.5], "durations as seconds"),
        (["-1 day, 23:59:00", "-1 days +23:59:30", "1 day, 0:00:01"], [-60, -30, 86_401], "durations as seconds"),
        (["-2 days 01:00:00", "-1:00:00"], [-176_400, -3600], "durations as seconds"),
        (["PT1H30M", "P1DT2S"], [5400, 86_402], "durations as seconds"),
        (["1h 30m", "2d 4h"], [5400, 187_200], "durations as seconds"),
        (["300 K", "310 K"], [300, 310], "without `K`"),
    ],
)
def test_numbers_with_marks_are_read(
    tmp_path: Path, values: list[str], expected: list[float | None], description: str
) -> None:
    source = read(tmp_path, values)
    assert values_of(source) == expected
    assert source.table.types["x"] in ("int", "float")
    reading = source.table.readings.get("x")
    if description:
        assert reading is not None
        assert reading.description == f"numbers, {description}"
        mark = reading.options.get("marks")
        again = read(tmp_path, values, types={"x": "float"}, marks={"x": mark} if mark else None)
        assert values_of(again) == expected, "declared, they are read in the same way"
    assert values_of(read(tmp_path, values, types={"x": "string"})) == [None if v == "" else v for v in values]


@pytest.mark.parametrize(
    "values",
    [
        ["0171 123", "030 12345"],
        ["+49 171 1234567", "+1 222 3334444"],
        ["555-1234", "555-9876"],
        ["192.168.0.1", "10.0.0.1"],
        ["1.2.3", "1.10.0"],
        ["A12", "B13"],
        ["5-7", "8-9"],
        ["3/4", "1/2"],
        ["2020-W01", "2020-W02"],
        ["012 345", "12 345"],
        ["NA12", "NA13"],
        ["0o7", "0o17"],
        ["0b1", "-0B10"],
        ["0x1F", "-0x1F"],
        ["1e 5", "2e -5"],
        ["1 e5", "2.5 E+5"],
        ["true", "false", "both"],
        ["yes", "no"],
        ["Monday, 5 January 2020", "Wed 7 Jan 2020"],
    ],
)
def test_what_only_looks_like_a_number_stays_text(tmp_path: Path, values: list[str]) -> None:
    source = read(tmp_path, values)
    assert values_of(source) == values
    assert not source.table.problems
    assert not source.table.readings


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["10 kg", "20 kg", "12 lb"], "its numbers have different marks: `kg` (2), `lb` (1)"),
        (["EUR 5", "EUR 6", "USD 7"], "its numbers have different marks: `EUR` (2), `USD` (1)"),
        (
            [*map(str, range(30)), "007"],
            "'007' (line 32) has a leading zero",
        ),
        (
            [*map(str, range(30)), "9223372036854775808"],
            "'9223372036854775808' (line 32) exceeds 64 bits",
        ),
        (["113803", "373450", "A/5 21171"], "1 of 3 values is not a number; the first is 'A/5 21171' (line 4)"),
        (["16175551234", "+16175551235"], "'+16175551235' (line 3) starts with `+`, as telephone numbers do"),
        (["2020-01-02", "2020-01-03", "soon"], "1 of 3 values is not a time; the first is 'soon' (line 4)"),
        (["2.1.2020", "later", "3.1.2020", "soon"], "2 of 4 values are not times; the first is 'later' (line 3)"),
        (
            [*(f"word {n}" for n in range(600)), *map(str, range(1000, 2500))],
            "600 of 2,100 values are not numbers; the first is 'word 0' (line 2)",
        ),
    ],
)
def test_the_reason_is_said_where_numbers_stay_text(tmp_path: Path, values: list[str], reason: str) -> None:
    source = read(tmp_path, values)
    assert values_of(source) == values
    assert source.table.readings["x"].description == f"text, since {reason}"


@pytest.mark.parametrize(
    ("values", "expected", "description"),
    [
        (["31.12.2020", "01.02.2021"], ["2020-12-31", "2021-02-01"], ""),
        (["31/12/2020", "01/02/2021"], ["2020-12-31", "2021-02-01"], ", day first"),
        (["12/31/2020", "02/01/2021"], ["2020-12-31", "2021-02-01"], ", month first"),
        (["31-12-20", "01-02-69"], ["2020-12-31", "1969-02-01"], ", day first, years of two digits are 1969 to 2068"),
        (["5 Jan 2020", "5. März 2021", "5-déc-2020"], ["2020-01-05", "2021-03-05", "2020-12-05"], ""),
        (["January 5, 2020", "Feb 6 2021"], ["2020-01-05", "2021-02-06"], ""),
        (
            ["99/12/31", "21/01/05"],
            ["1999-12-31", "2021-01-05"],
            ", year first, years of two digits are 1969 to 2068",
        ),
        (
            ["15/02/20", "16/03/20", "17/04/20"],
            ["2020-02-15", "2020-03-16", "2020-04-17"],
            ", day first, years of two digits are 1969 to 2068",
        ),
        (
            ["15.02.20", "16.03.20", "17.04.20"],
            ["2020-02-15", "2020-03-16", "2020-04-17"],
            ", day first, years of two digits are 1969 to 2068",
        ),
        (["01/02/2020", "05/13/2020", "07.08.2020"], ["2020-01-02", "2020-05-13", "2020-07-08"], ", month first"),
        (["Jan 2020", "Dec 2020"], ["2020-01-01", "2020-12-01"], ", a month without a day is its first day"),
        (["2020-1-5", "2020/12/31"], ["2020-01-05", "2020-12-31"], ""),
        (["2020-01-05 10:30 PM", "2020-01-05 12:00 am"], ["2020-01-05T22:30", "2020-01-05T00:00"], ""),
        (
            ["Sun, 05 Jan 2020 10:00:00 +0200", "2020-01-05T10:00:00Z"],
            ["2020-01-05T08:00", "2020-01-05T10:00"],
            ", converted to UTC",
        ),
        (["9999-12-31 23:59:59.5", "0001-01-01"], ["9999-12-31T23:59:59.5", "0001-01-01"], ""),
        (["20141013T000000", "20141231T2359"], ["2014-10-13T00:00", "2014-12-31T23:59"], ""),
        (
            ["20141013 170005", "20141231 2359", "20141231 23:59"],
            ["2014-10-13T17:00:05", "2014-12-31T23:59", "2014-12-31T23:59"],
            "",
        ),
        (
            ["20141013T103015.5Z", "20141013T103015+0200"],
            ["2014-10-13T10:30:15.5", "2014-10-13T08:30:15"],
            ", converted to UTC",
        ),
        (["unknown", "2020-01-05"], [None, "2020-01-05"], ""),
        (["2020-01-05 10:00:00.1234560", "?"], ["2020-01-05T10:00:00.123456", None], ""),
        (["Sun 01/03/2020", "Wed 04/03/2020"], ["2020-03-01", "2020-03-04"], ", day first"),
    ],
)
def test_times_are_read(tmp_path: Path, values: list[str], expected: list[str | None], description: str) -> None:
    source = read(tmp_path, values)
    assert source.table.types["x"] == "timestamp"
    found = source.table.values["x"]
    assert isinstance(found, np.ndarray)
    nat = np.datetime64("NaT", "us")
    times = np.array([nat if text is None else np.datetime64(text) for text in expected], "datetime64[us]")
    np.testing.assert_array_equal(found.astype("datetime64[us]"), times)
    reading = source.table.readings.get("x")
    assert reading is not None
    assert (reading.description or "times") == f"times{description}"
    for rows in (values, values[:1], values[-1:]):
        again = read(tmp_path, rows, dates={"x": reading.options["dates"]}).table.values["x"]
        expected_rows = found[[values.index(value) for value in rows]]
        np.testing.assert_array_equal(again, expected_rows, "with the recorded option, they are read in the same way")


@pytest.mark.parametrize(
    ("values", "dates", "expected"),
    [
        (["01/02/2020", "03/04/2020"], "day_first", ["2020-02-01", "2020-04-03"]),
        (["01/02/2020", "03/04/2020"], "month_first", ["2020-01-02", "2020-03-04"]),
        (["01.02.2020", "03.04.2020"], "day_first", ["2020-02-01", "2020-04-03"]),
        (["01.02.2020", "03.13.2020"], "month_first", ["2020-01-02", "2020-03-13"]),
        (["20/12/31", "99.01.05"], "year_first", ["2020-12-31", "1999-01-05"]),
        (["20/12/31", "01/01/05"], "day_first", ["2031-12-20", "2005-01-01"]),
        (["2020-01-05T10:00", "2020-01-05T10:00Z"], "utc", ["2020-01-05T10:00", "2020-01-05T10:00"]),
        (["20201231", "00010101"], "yyyymmdd", ["2020-12-31", "0001-01-01"]),
        (["1581292800", "0"], "seconds", ["2020-02-10", "1970-01-01"]),
        (["1581292800000", "1581292800500"], "milliseconds", ["2020-02-10", "2020-02-10T00:00:00.5"]),
        (["2020", "2021"], "%Y", ["2020-01-01", "2021-01-01"]),
    ],
)
def test_the_user_says_how_times_are_written(
    tmp_path: Path, values: list[str], dates: str, expected: list[str]
) -> None:
    source = read(tmp_path, values, dates={"x": dates})
    found = source.table.values["x"]
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found.astype("datetime64[us]"), np.array(expected, "datetime64[us]"))


def test_a_column_has_the_order_or_the_zone_of_all_columns(tmp_path: Path) -> None:
    values = ["01/02/2020 10:00", "03/04/2020 11:00"]
    months = ["2020-01-02T10:00:00.000000", "2020-03-04T11:00:00.000000"]
    for own in ("utc", "no_zone"):
        assert values_of(read(tmp_path, values, dates={"": "month_first", "x": own})) == months
    assert values_of(read(tmp_path, [values[0], "03/04/2020 11:00Z"], dates={"": "utc", "x": "month_first"})) == months
    assert values_of(read(tmp_path, values, dates={"": "day_first", "x": "month_first"})) == months
    zoned = [f"{value}Z" for value in values]
    with pytest.raises(DataError, match="2 of 2 times have a time zone, although `dates` is no_zone"):
        read(tmp_path, zoned, dates={"": "month_first", "x": "no_zone"}).sizes()
    with pytest.raises(DataError, match=r"`dates\.` \(=seconds\) must be one of day_first, month_first, utc\."):
        read(tmp_path, values, dates={"": "seconds"})


@pytest.mark.parametrize(
    ("values", "dates", "options", "found"),
    [
        (["1581292800", "0100000000"], "month_first", {"types": {"x": "timestamp"}}, "seconds"),
        (["2020-01-05T10:00Z"], "month_first", {}, "utc"),
        (["2020-01-05"], "month_first", {}, "no_zone"),
        (["13/02/2020 10:00", "01/02/2020 10:00Z"], "utc", {}, "day_first"),
        (["12/13/2020", "01/02/2020"], "month_first", {}, None),
    ],
)
def test_what_dates_of_all_columns_leave_open_is_recorded(
    tmp_path: Path, values: list[str], dates: str, options: Any, found: str | None
) -> None:
    inferred = read(tmp_path, values, dates=dates, **options).inferred_options({"x": None})
    assert inferred.get("dates", {}).get("x") == found


@pytest.mark.parametrize(
    ("values", "size"),
    [(["1581292800", "1581379200"], "2020-02-10"), (["1581292800000", "1581379200000"], "2020-02-10")],
)
def test_the_size_of_declared_times_shows_their_unit(tmp_path: Path, values: list[str], size: str) -> None:
    found = read(tmp_path, values, types={"x": "timestamp"}).table.values["x"]
    assert isinstance(found, np.ndarray)
    assert found[0] == np.datetime64(size)
    with pytest.raises(DataError, match=r"line 2: column `x` is 5, not of type timestamp .* or set `dates.x`"):
        read(tmp_path, ["5", "7"], types={"x": "timestamp"}).sizes()


@pytest.mark.parametrize(
    ("values", "fault", "options"),
    [
        (
            [*map(str, range(30)), "12o"],
            "1 of 31 values is not a number; the first is '12o' (line 32)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["3", "5"] * 10, "5+"],
            "1 of 21 values is not a number; the first is '5+' (line 22)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["3 kg", "5 kg"] * 10, "4 lb"],
            "1 of 21 values is not a number with `kg`; the first is '4 lb' (line 22)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["3 kg", "5 kg"] * 10, "4 k"],
            "1 of 21 values is not a number with `kg`; the first is '4 k' (line 22)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["30%", "5%"] * 10, "0.4"],
            "1 of 21 values is not a number with `%`; the first is '0.4' (line 22)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["true", "FALSE"] * 10, "ture"],
            "1 of 21 values is not a boolean; the first is 'ture' (line 22)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["true", "false"] * 10, "1", "N", "no", "T", " 0 "],
            "3 of 25 values are not booleans; the first is 'N' (line 23)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["true", "false"] * 10, "?", "both", "neither"],
            "2 of 22 values are not booleans; the first is 'both' (line 23)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["Sun, 05 Jan 2020", "Mon, 6 January 2020"] * 5, "Monday, 5 January 2020"],
            "1 of 11 values is not a time; the first is 'Monday, 5 January 2020' (line 12)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*map(str, range(30)), "0o7"],
            "1 of 31 values is not a number; the first is '0o7' (line 32)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["2020-01-01", "2020-01-02"] * 5, "2021-02-30"],
            "1 of 11 values is not a time; the first is '2021-02-30' (line 12)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["2020-01-01", "2020-01-02"] * 5, "0000-00-00"],
            "1 of 11 values is not a time; the first is '0000-00-00' (line 12)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["2020-01-01", "2020-01-02"] * 5, "20-01-03"],
            "1 of 11 values is not a time; the first is '20-01-03' (line 12)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["2020-01-01", "2020-01-02"] * 5, "2020-01"],
            "1 of 11 values is not a time; the first is '2020-01' (line 12)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            [*["2020-01-01", "2020-01-02"] * 5, "0000-01-03"],
            "1 of 11 values is not a time; the first is '0000-01-03' (line 12)",
            ["nulls", "types", "on_bad_row"],
        ),
        (
            ["2020-01-01T10:00", "2020-01-02T10:00Z"],
            "1 of 2 times have no time zone, and the others have one",
            ["dates", "types"],
        ),
        (["45:30", "1:02:30"], "'45:30' may be hours:minutes or minutes:seconds", ["marks", "marks", "types"]),
        (["-1:30", "0:10"], "'-1:30' may be hours:minutes or minutes:seconds", ["marks", "marks", "types"]),
        (["45:30", "59:10"], "'45:30' may be hours:minutes or minutes:seconds", ["marks", "marks", "types"]),
        (["56.700 €", "1.200 €"], "'56.700' may be 56700 or 56.700", ["decimal", "decimal", "types"]),
        (
            ["01/02/2020", "03/04/2020"],
            "'01/02/2020' may be 2020-02-01 (the day first) or 2020-01-02 (the month first)",
            ["dates", "dates", "types"],
        ),
        (
            ["13/02/2020", "02/13/2020"],
            "'13/02/2020' has the day first, and '02/13/2020' the month",
            ["dates", "dates", "types"],
        ),
        (
            ["20/12/31", "21/01/05"],
            "'20/12/31' may be 2031-12-20 (the day first) or 2020-12-31 (the year first)",
            ["dates", "dates", "types"],
        ),
        (
            ["05-06-07", "06-07-08"],
            "'05-06-07' may be 2007-06-05 (the day first), 2007-05-06 (the month first) or 2005-06-07 (the year first)",
            ["dates", "dates", "dates", "types"],
        ),
        (["05.13.2020", "06.14.2020"], "'05.13.2020' is no date with the day first", ["dates", "types"]),
        (
            [*["01.02.2020", "03.04.2020"] * 15, "05.13.2020"],
            "1 of 31 values is not a time; the first is '05.13.2020' (line 32)",
            ["dates", "nulls", "types", "on_bad_row"],
        ),
        (["1,5", "2,25"], "its numbers, such as '1,5', have a decimal comma", ["decimal", "types"]),
        (["1.234,5", "2"], "its numbers, such as '1.234,5', have a decimal comma", ["decimal", "types"]),
        (["1,234", "5,678"], "'1,234' may be 1234 or 1.234", ["thousands", "decimal", "types"]),
        (["1.234", "567"], "'1.234' may be 1234 or 1.234", ["decimal", "decimal", "types"]),
    ],
)
def test_what_is_not_clear_is_left_to_the_user(
    tmp_path: Path, values: list[str], fault: str, options: list[str]
) -> None:
    source = read(tmp_path, values)
    problem = source.table.problems["x"]
    assert problem.fault == fault
    assert [setting.option for setting in problem.settings] == options
    assert values_of(source) == values
    for setting in problem.settings:  # each setting works
        by_column = setting.by_column
        solved = read(tmp_path, values, **{setting.option: {"x": setting.value} if by_column else setting.value})
        if "has the day first" not in fault or setting.option != "dates":
            assert not solved.table.problems, setting


def test_other_columns_show_what_a_comma_or_a_point_means(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('x,y\n"1,234","5,678.5"\n"5,678",7\n')
    assert np.asarray(Csv(path=str(path)).table.values["x"]).tolist() == [1234, 5678]
    path.write_text("x;y\n1.234;0.5\n5;7\n")
    assert np.asarray(Csv(path=str(path), delimiter=";").table.values["x"]).tolist() == [1.234, 5]
    path.write_text("x;y\n1.234;0,5\n5;7\n")
    with_commas = Csv(path=str(path), delimiter="semicolon", decimal="comma").table.values
    assert np.asarray(with_commas["x"]).tolist() == [1234, 5]
    assert np.asarray(with_commas["y"]).tolist() == [0.5, 7]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (
            ["30 kg"],
            {"types": {"x": "float"}},
            r"'30 kg', not of type float; .* set `marks.x=kg`, or set `types.x=string`",
        ),
        (["40%"], {"types": {"x": "float"}}, r"'40%', not of type float"),
        (["1:30"], {"types": {"x": "float"}}, r"'1:30', not of type float; .* `marks.x=h:mm`"),
        (["30k"], {"types": {"x": "float"}}, r"'30k', not of type float; .* `marks.x=multipliers`"),
        (["(30)"], {"types": {"x": "float"}}, r"'\(30\)', not of type float; .* `marks.x=parentheses`"),
        *(
            (
                ["(1.5)", "2k", "3"],
                options,
                r"'(\(1\.5\)|2k)', .* set `marks.x=multipliers parentheses`, or set `types.x=string`",
            )
            for options in (
                {"types": {"x": "float"}},
                {"marks": {"x": "multipliers"}},
                {"marks": {"x": "parentheses"}},
            )
        ),
        (["0.5%"], {"marks": {"x": "%"}, "types": {"x": "int"}}, "'0.5%', not a whole number with `%`"),
        (["30th"], {"types": {"x": "int"}}, "'30th', not of type int"),
        (["0x1F"], {"types": {"x": "float"}}, "'0x1F', not of type float"),
        (["45"], {"marks": {"x": "duration"}}, "'45', not a number with `duration`"),
        (["45:30"], {"marks": {"x": "duration"}}, "'45:30', not a number with `duration`"),
        (["1h 30m"], {"marks": {"x": "h"}}, "'1h 30m', not a number with `h`"),
        (["12:30"], {"marks": {"x": "h"}}, "'12:30', not a number with `h`"),
        (
            ["2020-01-05T10:00Z"],
            {"dates": {"x": "no_zone"}},
            "1 of 1 times have a time zone, although `dates` is no_zone",
        ),
        (["31/12/2020"], {"dates": {"x": "year_first"}}, "'31/12/2020', not of type timestamp"),
        (["1475661600"], {"dates": {"x": "no_zone"}}, "is 1475661600, not of type timestamp"),
        (["1475661600"], {"dates": {"x": "day_first"}}, "is 1475661600, not of type timestamp"),
        (
            ["1500000000", "1500000000000", "1500000000001"],
            {"types": {"x": "timestamp"}},
            "line 2: .* is 1500000000, not",
        ),
        (["2020-01-05T10:00:00+99:00"], {"types": {"x": "timestamp"}}, "not of type timestamp"),
        (
            ["1600000000", "1600000001.5", "soon"],
            {"dates": {"x": "seconds"}},
            "line 4: column `x` is 'soon', not of type timestamp; correct the value",
        ),
        (["1600000000", "1600000001", "soon"], {"types": {"x": "timestamp"}}, "line 4: column `x` is 'soon', not"),
        (["1600000000", "16", "soon"], {"types": {"x": "timestamp"}}, r"is '16', not of type timestamp \(2 of 3"),
        (["20200131", "20200230", "soon"], {"dates": {"x": "yyyymmdd"}}, "is '20200230', not of type timestamp"),
        (
            ["1600000000,5", "1600000001", "soon"],
            {"types": {"x": "timestamp"}, "decimal": "comma"},
            "line 4: column `x` is 'soon'",
        ),
        (
            ["1600000000.5", "soon"],
            {"dates": {"x": "seconds"}, "decimal": "comma"},
            "line 2: .* is '1600000000.5', not",
        ),
        (["1600000000", "inf"], {"types": {"x": "timestamp"}}, "line 3: column `x` is inf, not of type timestamp; cor"),
        (["1600000000", "soon"], {"dates": {"x": "no_zone"}}, "line 2: column `x` is '1600000000', not"),
        (["5", "soon"], {"types": {"x": "timestamp"}}, "line 2: column `x` is '5', not of type timestamp"),
        (
            ["9007199254740993.0"],
            {"types": {"x": "int"}},
            r"is 9007199254740993.0, not of type int \(beyond 2\^53, whole numbers must have no decimals\); correct",
        ),
        (["5", "1e400"], {"types": {"x": "int"}}, "line 3: column `x` is 1e400, not of type int; correct"),
        (["5", "1.50"], {"types": {"x": "bool"}}, r"line 2: column `x` is 5, not of type bool \(2 of 2"),
        (["Monday, 5 January 2020"], {"dates": {"x": "%A, %d %B %Y"}}, "'Monday, 5 January 2020', not of type time"),
    ],
)
def test_a_declared_type_is_strict(tmp_path: Path, values: list[str], options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, values, **options).sizes()


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        (["45:30", "1:02:30"], {"marks": {"x": "m:ss"}}, [2730, 3750]),
        (["-1:30", "0:45"], {"marks": {"x": "m:ss"}}, [-90, 45]),
        (["45:30", "1:02:30"], {"marks": {"x": "h:mm"}}, [163_800, 3750]),
        (["5M", "7 M"], {"marks": {"x": "M"}}, [5, 7]),
        (["300K", "310 K"], {"marks": {"x": "K"}}, [300, 310]),
        (["5k", "7"], {"marks": {"x": "multipliers"}}, [5000, 7]),
        (["(5)", "7"], {"marks": {"x": "parentheses"}}, [-5, 7]),
        (["(1.5)", "2k", "3"], {"marks": {"x": "multipliers parentheses"}}, [-1.5, 2000, 3]),
        (["6.048", "257"], {"thousands": "point"}, [6048, 257]),
        (["1.234", "5.678"], {"thousands": "point"}, [1234, 5678]),
        (["6.048", "257"], {"thousands": "point", "types": {"x": "float"}}, [6048, 257]),
        (["6.048", "257"], {"thousands": "point", "types": {"x": "int"}}, [6048, 257]),
        (["6,5", "257"], {"decimal": {"x": "comma"}}, [6.5, 257]),
    ],
)
def test_an_option_says_what_a_notation_means(
    tmp_path: Path, values: list[str], options: Any, expected: list[float]
) -> None:
    assert values_of(read(tmp_path, values, **options)) == expected


@pytest.mark.parametrize(("temperatures", "is_decided"), [(["10.5", "26.25"], True), (["10.500", "26.250"], False)])
def test_a_point_before_one_or_two_digits_decides_what_a_comma_means(
    tmp_path: Path, temperatures: list[str], is_decided: bool
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x,y\n" + "".join(f'"310,{index}00",{text}\n' for index, text in enumerate(temperatures)))
    table = Csv(path=str(path)).table
    assert ("x" in table.problems) != is_decided
    if is_decided:
        assert np.asarray(table.values["x"]).tolist() == [310000, 310100]
        assert np.asarray(table.values["y"]).tolist() == [10.5, 26.25]


def test_a_file_may_mix_decimal_points_and_commas(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('x,y\n"41,2",0.31\n"7,25",1.5\n')
    (setting, _) = Csv(path=str(path)).table.problems["x"].settings
    assert (setting.option, setting.value, setting.by_column) == ("decimal", "comma", True)
    found = Csv(path=str(path), decimal={"x": "comma"}).table
    assert not found.problems
    assert np.asarray(found.values["x"]).tolist() == [41.2, 7.25]
    assert np.asarray(found.values["y"]).tolist() == [0.31, 1.5]


@pytest.mark.parametrize(
    "text",
    [
        "x;v\n2.214;1,5\n1;2,25\n",
        "x;v\n1,234;1,5\n5,678;2,25\n",
        "x;v\n1,234;2.214\n5,678;1\n",
        "x;v;w\n2.214;1,5;0.5\n1;2,25;0.25\n",
    ],
)
def test_each_choice_of_settings_reads_a_file_with_different_decimals(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    problems = Csv(path=str(path), delimiter=";").table.problems
    assert problems.keys() == {"x", "v"}
    for settings in itertools.product(*(problem.settings for problem in problems.values())):
        options: dict[str, Any] = {}
        for name, setting in zip(problems, settings, strict=True):
            assert setting.by_column
            options.setdefault(setting.option, {})[name] = setting.value
        assert not Csv(path=str(path), delimiter=";", **options).table.problems, options
    (commas,) = (each.value for each in problems["v"].settings if "decimal commas" in each.purpose)
    rest = Csv(path=str(path), delimiter=";", decimal={"v": commas}).table.problems
    assert all(setting.by_column for problem in rest.values() for setting in problem.settings)


def test_times_without_a_zone_are_counted_where_utc_is_set(tmp_path: Path) -> None:
    source = read(tmp_path, ["2020-01-05T10:00", "2020-01-05T10:00Z"], dates={"x": "utc"})
    assert source.table.readings["x"].unusual == "1 of 2 times have no zone and are taken as UTC"
    zoned = read(tmp_path, ["2020-01-05T10:00+02:00"])
    assert zoned.table.readings["x"].description == "times, converted to UTC"


@pytest.mark.parametrize("text", ["2020-01-05 10:00:00.1234567", "20200105T100000.123456700"])
def test_fractions_of_microseconds_are_cut_with_a_note(tmp_path: Path, text: str) -> None:
    source = read(tmp_path, [text, "?"])
    assert source.table.values["x"][0] == np.datetime64("2020-01-05T10:00:00.123456")  # type: ignore[index]
    assert source.table.readings["x"].description == "times, without fractions of microseconds"


@pytest.mark.parametrize("zone", ["Z", "+01:00"])
def test_dates_with_a_zone_are_likely_dates(tmp_path: Path, zone: str) -> None:
    values = [f"2020-0{month}-05{zone}" for month in range(1, 6)]
    (column, _) = read(tmp_path, values).profile().columns
    assert column.likely_dates == "%Y-%m-%d%z"
    hour = np.timedelta64(1 if zone != "Z" else 0, "h")
    assert read(tmp_path, values, dates={"x": "%Y-%m-%d%z"}).table.values["x"][0] == np.datetime64("2020-01-05") - hour  # type: ignore[index]


def test_usual_gaps_among_booleans_are_missing_and_announced(tmp_path: Path) -> None:
    source = read(tmp_path, [*["true", "false"] * 3, "?", "Unknown", " True"])
    assert values_of(source) == [*[True, False] * 3, None, None, True]
    assert source.table.readings["x"].describe() == (
        "read as booleans; missing: '?' in 1 row (first: line 8), 'Unknown' in 1 row (first: line 9)"
    )
    assert values_of(read(tmp_path, ["TRUE", "?"], types={"x": "bool"})) == [True, None]


def test_the_nan_of_printf_is_missing_by_its_spelling(tmp_path: Path) -> None:
    for text in ("nan(1)", "-nan(ind)"):
        (column, _) = read(tmp_path, ["1", "2.5", text]).profile().columns
        assert column.missing_spellings == {text: 1}


def test_versions_are_no_dates(tmp_path: Path) -> None:
    assert values_of(read(tmp_path, ["3.11.12", "1.10.12"])) == ["3.11.12", "1.10.12"]
    assert read(tmp_path, ["03.11.12", "01.10.12"]).table.types["x"] == "timestamp"


def test_new_rows_must_have_the_recorded_mark(tmp_path: Path) -> None:
    assert values_of(read(tmp_path, ["3 kg", "5"], marks={"x": "kg"})) == [3, 5]
    assert "1 of 2 values have no `kg`" in read(tmp_path, ["3 kg", "5"], marks={"x": "kg"}).table.readings["x"].unusual
    for values, mark in ((["3 lb"], "kg"), (["0.4"], "%")):
        with pytest.raises(DataError, match=f"line 2: column `x` is '{values[0]}', not a number with `{mark}`"):
            read(tmp_path, values, marks={"x": mark}).sizes()


def test_the_spellings_of_a_column_are_added_among_numbers_and_exact_among_texts(tmp_path: Path) -> None:
    numbers = read(tmp_path, ["1", "", "?", "NA", "-999", "none given", "7"], nulls={"x": ("-999", "none given")})
    assert values_of(numbers) == [1, None, None, None, None, None, 7]
    for nulls in ({"x": (-999,)}, ("", -999.0)):
        assert values_of(read(tmp_path, ["1", "-999", "-999.00", "2.5"], nulls=nulls)) == [1, None, None, 2.5]
    texts = read(tmp_path, ["NA", "US", "?", "none given"], nulls={"x": ("none given",)})
    assert values_of(texts) == ["NA", "US", "?", None]
    strict = read(tmp_path, [*map(str, range(20)), "?"], nulls=("",))
    assert strict.table.problems["x"].fault == "1 of 21 values is not a number; the first is '?' (line 22)"


@pytest.mark.parametrize("options", [{"dates": {"x": "seconds"}}, {"types": {"x": "timestamp"}}])
@pytest.mark.parametrize("number", [0, -1, 5])
def test_a_number_stands_for_its_spellings_among_times_since_1970(tmp_path: Path, number: int, options: Any) -> None:
    values = ["1581292800", f"{number}", f"{number}.0", "1581379200.5", "-"]
    source = read(tmp_path, values, nulls={"x": (number,)}, **options)
    assert values_of(source) == ["2020-02-10T00:00:00.000000", None, None, "2020-02-11T00:00:00.500000", None]
    assert source.profile().columns[0].missing_spellings == {f"{number}": 1, f"{number}.0": 1, "-": 1}


@pytest.mark.parametrize(
    ("values", "spellings"),
    [
        (["2020-01-05 10:00", "1900-01-01 00:00:00", "1900-01-01"], {"1900-01-01 00:00:00": 1, "1900-01-01": 1}),
        (["2020-01-05", "1900-01-01"], {"1900-01-01": 1}),
        (["31.01.2020", "01.01.1900"], {"01.01.1900": 1}),
    ],
)
def test_a_time_stands_for_its_spellings(tmp_path: Path, values: list[str], spellings: dict[str, int]) -> None:
    for nulls in ({"x": ("1900-01-01",)}, ("", "1900-01-01T00:00")):
        source = read(tmp_path, values, nulls=nulls)
        assert values_of(source)[1:] == [None] * (len(values) - 1)
        assert source.profile().columns[0].missing_spellings == spellings
    unclear = read(tmp_path, ["01.02.2020", "02.01.1900"], nulls={"x": ("1/2/1900",)}, dates={"x": "day_first"})
    assert None not in values_of(unclear)


@pytest.mark.parametrize("kind", [None, "int"])
@pytest.mark.parametrize(
    "values",
    [
        ["9,007,199,254,740,993", "-1,000,000"],
        ["9 007 199 254 740 993", "-1 000 000"],
        ["9_223_372_036_854_775_807", f"-{2**63}"],
        ["9007199254740993", "1'000"],
    ],
)
def test_a_whole_number_is_exact_whatever_separates_its_thousands(tmp_path: Path, values: list[str], kind: Any) -> None:
    source = read(tmp_path, [*values, "-"], types={"x": kind} if kind else None)
    assert values_of(source) == [*(int(re.sub("[^-0-9]", "", value)) for value in values), None]
    assert source.table.types["x"] == "int"


def test_a_number_with_a_mark_is_exact_up_to_64_bits(tmp_path: Path) -> None:
    assert values_of(read(tmp_path, ["$9007199254740993", "($5)"])) == [2**53 + 1, -5]
    beyond = read(tmp_path, [f"${2**63}", "$5"])
    assert (beyond.table.types["x"], values_of(beyond)) == ("float", [2.0**63, 5])
    assert values_of(read(tmp_path, [f"${'0' * 5000}7", "$5.0"])) == [7, 5]


@pytest.mark.parametrize("gaps", [[], ["-"]])
def test_a_number_that_float64_rounds_is_missing_alone(tmp_path: Path, gaps: list[str]) -> None:
    values = ["9007199254740993", "9007199254740992", "3", *gaps]
    found = values_of(read(tmp_path, values, nulls={"x": (9007199254740993,)}))
    assert found == [None, 9007199254740992, 3, *[None] * len(gaps)]


def test_times_since_1970_with_gaps_are_described_as_times(tmp_path: Path) -> None:
    inferred = read(tmp_path, ["20200101", "20200102", "-"], types={"x": "timestamp"}).table.readings["x"]
    assert inferred.options == {"dates": "yyyymmdd"}
    gaps = "missing: '-' in 1 row (first: line 4)"
    assert inferred.describe() == f"read as times, numbers such as 20201231; {gaps}"
    declared = read(tmp_path, ["20200101", "20200102", "-"], dates={"x": "yyyymmdd"}).table.readings["x"]
    assert declared.describe() == f"read as times; {gaps}"


def test_gaps_among_numbers_have_many_spellings(tmp_path: Path) -> None:
    gaps = [
        "NA",
        "NaN",
        "nan",
        "-nan",
        "NAN",
        "n/a",
        "#N/A",
        "NULL",
        "None",
        "?",
        "-",
        "--",
        ".",
        "unknown",
        "1.#QNAN",
        "-1.#IND",
        "<NA>",
        "missing",
        "#DIV/0!",
        "\\N",
        "n.a.",
        "not available",
    ]
    source = read(tmp_path, [*map(str, range(50)), *gaps])
    assert values_of(source) == [*range(50), *[None] * len(gaps)]
    texts = read(tmp_path, [*["north", "south"] * 25, "missing", "?", "-", "unknown", "NA"])
    assert values_of(texts)[50:] == ["missing", "?", "-", "unknown", None], "among texts, they may be values"


@pytest.mark.parametrize(("name", "key"), [("a=b", '"a=b"'), ("x`y", r'"x\\u0060y"'), ("a b", "a b")])
def test_a_remedy_sets_a_column_whose_name_would_end_the_setting(tmp_path: Path, name: str, key: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{name},y\n1,1\n2,2\noops,3\n")
    with pytest.raises(DataError, match=f"set `types.{key}=string`; to skip"):
        _ = Csv(path=str(path), types={name: "int"}).table


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["true", "false"], "bool"), (["yes", "no"], "bool"), (["1", "0"], "bool"), (["Y", "n"], "bool")],
)
def test_declared_booleans_have_many_spellings(tmp_path: Path, values: list[str], kind: Any) -> None:
    assert values_of(read(tmp_path, values, types={"x": kind})) == [True, False]
    with pytest.raises(DataError, match=r"line 4: column `x` is .*, not of type bool"):
        read(tmp_path, [*values, "2"], types={"x": kind}).sizes()


def test_a_declared_type_that_many_rows_lack_says_how_many(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: column `x` is 'a', not of type float \(2 of 4 values aren't\)"):
        read(tmp_path, ["a", "1", "b", "2"], types={"x": "float"}).sizes()


@pytest.mark.parametrize("kind", ["int", "bool", "float"])
def test_a_declared_column_without_a_value_keeps_its_type(tmp_path: Path, kind: Any) -> None:
    source = read(tmp_path, ["", ""], types={"x": kind})
    values = np.asarray(source.table.values["x"])
    assert values.dtype == {"int": np.int64, "bool": np.bool_, "float": np.float64}[kind]
    assert not source.table.valid["x"].any()


@pytest.mark.parametrize("number", ["101", "1231", "9999", "100000000"])
def test_a_number_without_a_year_is_no_date(tmp_path: Path, number: str) -> None:
    with pytest.raises(DataError, match=rf"`x` is {number}, not of type timestamp"):
        _ = read(tmp_path, ["20201231", number], dates={"x": "yyyymmdd"}).table


@pytest.mark.parametrize("other", ["2020-01-05T10:00Z", "5 Jan 2020 10:00Z"])
@pytest.mark.parametrize("time", ["0001-01-01T00:00+02:00", "9999-12-31T23:00-02:00"])
def test_a_time_is_in_the_years_1_to_9999_in_utc(tmp_path: Path, time: str, other: str) -> None:
    with pytest.raises(DataError, match=rf"line 2: column `x` is '{re.escape(time)}', not of type timestamp"):
        _ = read(tmp_path, [time, other], types={"x": "timestamp"}).table
    first, last = "0001-01-01T00:00-02:00", "9999-12-31T23:00+02:00"
    assert values_of(read(tmp_path, [first, last, other]))[0].startswith("0001-01-01T02")


@pytest.mark.parametrize(
    ("number", "is_time"),
    [
        ("-62135596800", True),
        ("-62135596801", False),
        ("-1e11", False),
        ("253402300799", True),
        ("253402300800", False),
    ],
)
def test_times_since_1970_are_in_the_years_1_to_9999(tmp_path: Path, number: str, is_time: bool) -> None:
    source = read(tmp_path, ["1581292800", number], dates={"x": "seconds"})
    if is_time:
        assert str(source.table.values["x"][1])[:4] in ("0001", "9999")
    else:
        with pytest.raises(DataError, match="not of type timestamp"):
            _ = source.table


def test_a_unit_that_is_a_multiplier_elsewhere_allows_no_currency(tmp_path: Path) -> None:
    found = read(tmp_path, ["3K", "5K"], marks={"x": "K"}).table
    assert np.asarray(found.values["x"]).tolist() == [3, 5]
    with pytest.raises(DataError, match=r"\$5K"):
        _ = read(tmp_path, ["3K", "$5K"], marks={"x": "K"}).table


def test_a_column_with_its_own_decimal_doesn_t_have_the_thousands_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("v;x\n2,5;1,234.5\n1,25;2,000.25\n")
    source = Csv(path=str(path), delimiter=";", decimal={"v": "comma"}, thousands="comma")
    assert [np.asarray(source.table.values[name]).tolist() for name in "vx"] == [[2.5, 1.25], [1234.5, 2000.25]]
    with pytest.raises(DataError, match="must be different"):
        Csv(path=str(path), delimiter=";", decimal="comma", thousands="comma")
