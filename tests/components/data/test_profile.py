"""Facts about the columns of a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data import Csv
from components.data.profile import Profile, skewness
from components.types import ColumnType, Sentinel, Strings, Values


def profiles(tmp_path: Path, text: str, **options: object) -> dict[str, Profile]:
    (tmp_path / "table.csv").write_text(text)
    table = Csv(path=str(tmp_path / "table.csv"), **options).profile()  # type: ignore[arg-type]
    assert table.origin == str(tmp_path / "table.csv")
    return {column.name: column for column in table.columns}  # type: ignore[misc]


def of(values: Values, kind: ColumnType = "float", valid: np.ndarray | None = None) -> Profile:
    return Profile("x", kind, False, values, valid, lambda row: f"row {row}", dict)


def texts(*values: str) -> Strings:
    return Strings.from_bytes([value.encode() for value in values])


def test_counts_and_places(tmp_path: Path) -> None:
    found = profiles(tmp_path, "a,b,c\n1,x,inf\nNA,,2\n,x,\n3,y,4\n", types={"b": "string"})
    a, b, c = found.values()
    assert [(column.kind, column.is_type_declared) for column in (a, b, c)] == [
        ("int", False),
        ("string", True),
        ("float", False),
    ]
    assert [column.rows for column in (a, b, c)] == [4, 4, 4]
    assert [(column.missing_count, column.distinct_count) for column in (a, b, c)] == [(2, 2), (1, 2), (1, None)]
    assert a.missing_spellings == {"NA": 1}
    assert b.first_missing_location == f"{tmp_path / 'table.csv'}, line 3"
    assert (c.infinite_count, c.first_infinite) == (1, f"inf ({tmp_path / 'table.csv'}, line 2)")
    assert (a.minimum, a.maximum, a.median, a.is_constant) == (1, 3, 2, False)


def test_numbers() -> None:
    tail = of(np.array([0.0] * 9 + [1000]))
    assert tail.skewness == pytest.approx(skewness(tail.numbers)) == pytest.approx(2.667, abs=1e-3)
    far = of(10**17 + np.array([0] * 9 + [1000]), "int")
    assert far.is_far_from_zero
    assert far.skewness == tail.skewness
    for dtype in (np.uint32, np.uint64, np.int64, np.float64):
        seconds = of(np.array([1_600_000_000, *[1_600_000_009] * 9], dtype), "float" if dtype == np.float64 else "int")
        assert seconds.skewness == pytest.approx(-tail.skewness), "differences of unsigned integers have a sign"
    assert of(np.array([2.0, 2.0])).is_constant
    assert of(np.array([2.0, 2.0])).skewness == 0
    assert of(np.array([1.0, 2.0, 2.0, 0.0]), valid=np.array([True, True, True, False])).distinct_count == 2
    assert of(np.array([3, 4, 3, 5, 5])).rarest_value == ("4", 1)
    valid = np.array([True, True, False, True])
    for values, rarest in ((np.array([2, 2, 0, 1]), "1"), (texts("b", "b", "", "a"), "a")):
        assert of(values, "int", valid=valid).rarest_value == (rarest, 1), "a missing value is none"


@pytest.mark.parametrize(
    ("times", "parts"),
    [
        (["2020-01-01", "2020-01-08"], ()),
        (["2020-01-01", "2020-01-02"], ("weekday",)),
        (["1999-12-31", "0001-01-01"], ("year", "month", "weekday")),
        (["2020-01-01T10:00", "2020-01-01T10:59"], ()),
        (["2020-01-01T10:00", "2021-01-01T11:00"], ("year", "weekday", "hour")),
        (["1960-02-03T23:00", "1960-02-10T00:30"], ("hour",)),
    ],
)
def test_the_parts_in_which_times_differ_are_found(times: list[str], parts: tuple[str, ...]) -> None:
    for unit in ("m", "us"):
        assert of(np.array(times, f"datetime64[{unit}]"), "timestamp").time_parts == parts


def test_rows_are_counted_from_0_or_1_in_their_order() -> None:
    counter = np.arange(5)
    assert of(counter, "int").counts_rows
    assert of(counter + 1.0).counts_rows
    for other in (counter + 2, counter[::-1], counter * 2, np.array([0, 1, 2, 3, 5])):
        assert not of(other, "int").counts_rows
    assert not of(counter, "int", np.arange(5) != 3).counts_rows
    assert not of(np.array([False, True]), "bool").counts_rows


AGES = np.arange(18, 90)


@pytest.mark.parametrize(
    ("values", "code", "found"),
    [
        (AGES, -999, {-999: 3}),
        (AGES, -1, {-1: 3}),
        (AGES, 9999, {9999: 3}),
        (AGES / 100, -99, {-99.0: 3}),
        (AGES, 99, {}),  # an age
        (AGES - 18, -1, {}),  # the next number
        (AGES - 40, -1, {}),
        (np.array([1, 2, 3, 5, 9]), -1, {}),
        (np.array([4, 5, 6, 7, 8]), -1, {-1: 3}),
        (AGES, -998, {}),  # no usual code
        (np.arange(4), 99, {}),  # perhaps a fifth class
        (10.0 ** np.arange(8), 9999999, {}),  # no farther than others
    ],
)
def test_codes_of_missing_values_far_from_all_others_are_found(values: Any, code: int, found: dict[float, int]) -> None:
    column = np.concatenate([values, [code] * 3])
    kind: Any = "int" if column.dtype.kind == "i" else "float"
    expected = tuple(Sentinel((str(text),), count) for text, count in found.items())
    assert of(column, kind).sentinels == expected
    assert of(column[:-1], kind).sentinels == (), "twice may be by chance"
    assert of(column, kind, np.arange(len(column)) < len(values)).sentinels == (), "these are missing already"


def test_codes_at_both_ends_and_codes_of_dates_are_found() -> None:
    both = np.concatenate([AGES, [-99] * 4, [9999] * 3])
    assert of(both, "int").sentinels == (Sentinel(("-99",), 4), Sentinel(("9999",), 3))
    days = np.datetime64("2019-01-01") + np.arange(400)
    for code in ("1900-01-01", "9999-12-31"):
        times = np.concatenate([days, np.array([code] * 3, "datetime64[D]")])
        assert of(times, "timestamp").sentinels == (Sentinel((code,), 3),)
        assert of(times[:-2], "timestamp").sentinels == (Sentinel((code,), 1),)
    hours = np.datetime64("1970-01-01T00") + np.arange(6)
    assert of(np.concatenate([days.astype(hours.dtype), hours]), "timestamp").sentinels == (), "a day, not a code"
    births = np.datetime64("1930-01-01") + np.arange(400) * 60
    assert of(np.concatenate([births, np.array(["1970-01-01"] * 3, "datetime64[D]")]), "timestamp").sentinels == ()
    assert of(np.array([np.inf, np.nan, 1.0])).sentinels == ()
    assert of(np.array([True, False] * 9), "bool").sentinels == ()


def test_sentinels_are_spelled_as_in_the_file(tmp_path: Path) -> None:
    rows = [*(f"{age},a" for age in AGES), "-999.0,", "-999,", "-999.0,a", "-999.00,b", "-999.00,b"]
    (column, _) = profiles(tmp_path, "\n".join(["x,y", *rows]) + "\n").values()
    assert column.sentinels == (Sentinel(("-999.0", "-999", "-999.00"), 5),)
    (column, _) = profiles(tmp_path, "\n".join(["x,y", *rows]), target="y", on_missing_target="drop").values()
    assert column.sentinels == (Sentinel(("-999.0", "-999.00"), 3),), "in the rows that are used"


@pytest.mark.parametrize(
    ("values", "separator"),
    [
        (("a|b", "b", "a|c", "c|b", "a"), "|"),
        (("red wine; sea", "sea; sun", "sun; red wine"), ";"),
        (("a,b", "b,a", "a,b,c", "c,a"), ","),
        (("a", "b", "a|b"), "|"),
        (("a", "b", "a;b"), None),  # most are no lists
        (("Oslo, Norway", "Rome, Italy", "Bonn, Germany"), None),  # nothing recurs
        (("one and two more, and less", "one and two more, and more", "and more, and less"), None),  # sentences
        (("a", "b"), None),
    ],
)
def test_lists_of_tags_are_found(values: tuple[str, ...], separator: str | None) -> None:
    assert of(texts(*values), "string").tag_separator == separator


@pytest.mark.parametrize(
    ("values", "is_prose"),
    [
        (texts("a film of the year", "one more of these films", ""), True),
        (texts("North", "South West"), False),
        (texts("", ""), False),
        (np.zeros(2), False),
    ],
)
def test_prose_has_several_words(values: Values, is_prose: bool) -> None:
    assert of(values, "string" if isinstance(values, Strings) else "float").is_prose == is_prose
