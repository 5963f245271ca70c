"""Tables from Python: texts are read as in a CSV file, and other columns keep their types."""

import csv
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Arrays, Csv, Frame, TableFile
from components.types import DataError, Ragged, Strings

TEXTS = {
    "price": ["$1,200", "$950", "$3"],
    "when": ["31.12.2020", "1.2.2021", "5.6.2021"],
    "share": ["5%", "10%", "7.5%"],
    "code": ["007", "010", "123"],
    "gap": ["1.5", "?", "2"],
    "truth": ["true", "false", "true"],
    "name": ["a", "", "b, c"],
    "lines": ["x\ny", 'the "z"', "#1"],
}


def values(source: Any, name: str) -> list[Any]:
    column = source.table.values[name]
    return column.tolist() if isinstance(column, Strings) else np.asarray(column).astype(str).tolist()


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_read_as_in_a_csv_file(name: str, tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(zip(*([key, *texts] for key, texts in TEXTS.items()), strict=True))
    of_file = Csv(path=str(tmp_path / "t.csv"), target="code")
    frame = Frame(columns={**TEXTS, "number": [1.5, 2.5, 3.5]}, target="code")
    assert values(frame, name) == values(of_file, name)
    assert frame.table.types[name] == of_file.table.types[name]
    mask = of_file.table.valid.get(name, np.ones(3, bool))
    np.testing.assert_array_equal(frame.table.valid.get(name, np.ones(3, bool)), mask)
    keys = dict.fromkeys(TEXTS)
    assert frame.inferred_options(keys).get("marks") == of_file.inferred_options(keys).get("marks")


WORDS = (
    "a",
    "b c",
    "Yes",
    "true",
    "False",
    "inf",
    "-Infinity",
    "nan",
    "NA",
    "None",
    "?",
    "-",
    "",
    " ",
    "1",
    "²",
    "x1",
    "May",
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.sampled_from([{}, {"types": {"x": "string"}}]))
def test_repeated_words_are_read_as_in_a_csv_file(tmp_path_factory: Any, words: list[str], options: Any) -> None:
    words = words * 3  # a table of few words has a dictionary of them
    path = tmp_path_factory.mktemp("table") / "t.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("x", "y"), *((word, "1") for word in words)])
    found = []
    for source in (Csv(path=str(path), **options), Frame(columns={"x": words, "y": [1] * len(words)}, **options)):
        mask = source.table.valid.get("x", np.ones(len(words), bool)).tolist()
        try:
            problems = {name: problem.settings for name, problem in source.table.problems.items()}
        except DataError as error:
            problems = {"x": str(error)}
        texts = [value if valid else None for value, valid in zip(values(source, "x"), mask, strict=True)]
        found.append((source.table.types["x"], texts, problems))
    assert found[0] == found[1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5), min_size=1, max_size=8))
def test_any_text_is_kept_if_its_column_is_declared_as_text(texts: list[str]) -> None:
    frame = Frame(columns={"x": texts}, types={"x": "string"}, nulls={"x": ()}, target="x")
    assert values(frame, "x") == texts


def test_columns_with_types_keep_them() -> None:
    table = pandas.DataFrame(
        {
            "int": [1, 2, 3],
            "float": [1.5, np.nan, 3],
            "bool": [True, False, True],
            "time": pandas.to_datetime(["2020-01-01", None, "2020-01-03"]),
            "category": pandas.Categorical(["1", "2", "1"]),
            "nullable": pandas.array([1, None, 3], "Int64"),
        }
    )
    for data in (table, pyarrow.table(table.drop(columns="category")), dict(table.items())):
        frame = Frame(columns=data)
        expected = {"int": "int", "float": "float", "bool": "bool", "time": "timestamp", "category": "string"}
        assert {name: kind for name, kind in frame.table.types.items() if name != "nullable"} == {
            name: kind for name, kind in expected.items() if name in frame.table.types
        }
        assert [name for name, mask in frame.table.valid.items() if not mask[1]] == ["float", "time", "nullable"]


def test_python_s_numbers_with_gaps_are_numbers_and_arrays_are_kept() -> None:
    images = np.zeros((2, 4, 4, 1), np.uint8)
    frame = Frame(columns={"x": [1, None], "y": [None, 0.5], "image": images, 3: ["a", "b"]}, target="3")
    assert frame.table.types == {"x": "int", "y": "float", "3": "string"}
    assert frame.table.values["image"] is images
    (note,) = frame.profile().notes
    assert note.startswith("image is left out: it has arrays of shape (4, 4, 1) and type uint8, for which nothing is ")


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ([b"a", b"b"], "it has bytes: components.feature.Image reads images; decode texts"),
        (
            np.array([b"a", b"b"]),
            "it has bytes: components.feature.Image reads images; decode texts",
        ),
        (
            pyarrow.array([None, b"b"]),
            "it has bytes: components.feature.Image reads images; decode texts",
        ),
        (np.array([1, 2], "m8[s]"), "it has durations (timedelta64[s]); divide them by one second"),
        ([timedelta(1), None], "it has durations (timedelta64[us]); divide them"),
        (pandas.Series([timedelta(1), None]), "it has durations (timedelta64["),
        (pyarrow.array([1, 2], pyarrow.duration("ns")), "it has durations (timedelta64[ns])"),
        ([1j, 2], "it has values of the type complex128; convert them to texts, numbers, booleans or times"),
        (pandas.Series([1j, 2]), "it has values of the type complex128"),
        ([{"a": 1}, {"a": 2}], "it has arrays or objects, for which nothing is inferred"),
    ],
)
def test_a_column_that_is_none_of_a_table_is_named_with_its_type(column: Any, reason: str) -> None:
    columns = {"x": column, "y": [1, 2]}
    frame = Frame(columns=columns, target="y", drop=("x",))
    assert frame.profile().notes == ("left out by `drop`: x",)
    (note,) = Frame(columns={**columns, "z": [1, 2]}, target="y").profile().notes
    assert note.startswith(f"x is left out: {reason}")
    with pytest.raises(DataError, match=rf"^`target` \(=x\): {re.escape(reason)}"):
        Frame(columns=columns, target="x").profile()
    with pytest.raises(DataError, match=f"^the data: `types` lists the column `x`, but {re.escape(reason)}"):
        _ = Frame(columns=columns, types={"x": "string"}).table


def test_decimals_beyond_the_precision_of_floats_are_distinct() -> None:
    decimals = [Decimal(2**53 + k % 4) for k in range(8)]
    whole = [str(2**53 + k % 4) for k in range(8)]
    for column in (decimals, pandas.Series(decimals), pyarrow.array(decimals)):
        assert values(Frame(columns={"x": column}), "x") == whole
        assert values(Frame(columns={"x": column}, types={"x": "string"}), "x") == whole


def test_decimals_that_are_read_as_texts_keep_all_digits() -> None:
    digits = "0.12345678901234567890123456789012345"
    decimals = [Decimal(f"{digits}{k}") for k in range(3)] + [Decimal("2.50"), Decimal("-0.0"), None]
    expected = [digits, f"{digits}1", f"{digits}2", "2.5", "0", ""]  # the last is missing
    for column in (decimals, pandas.Series(decimals), pyarrow.array(decimals)):
        frame = Frame(columns={"x": column}, types={"x": "string"})
        assert values(frame, "x") == expected
    lists = (decimals, [*decimals], [decimals[0], *decimals[:2], *decimals[3:]])
    first, equal, other = (Frame(columns={"x": each}, types={"x": "string"}).content_digest() for each in lists)
    assert first == equal != other, "the last are other texts, and equal floats"
    mixed = Frame(columns={"x": [Decimal("Infinity"), Decimal(digits), 1.0, 0.25]}, types={"x": "string"})
    assert values(mixed, "x") == ["inf", digits.rstrip("0"), "1", "0.25"]


def test_categories_of_intervals_are_texts() -> None:
    intervals = pandas.cut(pandas.Series([1, 5, 9]), 3)
    assert values(Frame(columns={"x": intervals}), "x") == intervals.astype(str).tolist()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(20, dtype=np.float16),
        np.arange(-5, 15, dtype=np.int8),
        np.linspace(-1, 1, 21, dtype=np.float32) * np.finfo(np.float32).max,
        np.arange(20) * 1e306,
        np.linspace(-1, 1, 21) * np.finfo(np.float64).max,
        np.array([-999.0] * 3 + [1e306 * n for n in range(1, 18)]),
    ],
)
def test_facts_of_numbers_of_any_size_are_computed_without_a_warning(numbers: np.ndarray) -> None:
    (column,) = Frame(columns={"x": numbers}).profile().columns
    assert column.likely_dates is None
    assert column.sentinels == ()
    assert np.isfinite(column.skewness)
    if abs(numbers).max() < 100:
        times = Frame(columns={"x": numbers}, dates={"x": "seconds"}).table.values["x"]
        assert times[7] == np.datetime64(int(numbers[7]), "s")  # type: ignore[index]


@pytest.mark.parametrize("convert", [tuple, list])
def test_lists_of_options_hold_for_columns_with_types(convert: Any) -> None:
    columns = {"n": [1, -9], "b": [True, False], "t": ["x", "NO"], "y": [1, 2], "z": [1, 2]}
    frame = Frame(columns=columns, nulls=convert([-9, "False", "NO"]), target=convert(["y"]), drop=convert(["z"]))
    masks = {name: mask.tolist() for name, mask in frame.table.valid.items()}
    assert masks == {name: [True, False] for name in ("n", "b", "t")}
    profiles = {column.name: column for column in frame.profile().columns}
    assert profiles["b"].missing_spellings == {"False": 1}
    assert frame.table.types["b"] == "bool"
    of_column = Frame(columns=columns, nulls={"b": convert(["true"]), "n": convert([-9])})
    assert of_column.table.valid["b"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nulls": "NA"}, r'`nulls` \(=NA\) must be a list. Set `nulls=\["NA"\]`'),
        ({"nulls": {"x": "NA"}}, r"`nulls.x` \(=NA\) must be a list"),
        ({"drop": "x"}, r"`drop` \(=x\) must be a list"),
    ],
)
def test_a_text_is_no_list_of_its_letters(options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Frame(columns={"x": ["N", "A"]}, **options)


@pytest.mark.parametrize("nulls", [("?",), {"kind": ("?",), "size": ("?",)}])
def test_none_is_missing_whatever_texts_are(nulls: Any) -> None:
    columns = {"kind": ["a", None, "?", "b"], "size": ["1", None, "?", "2"], "other": ["a", "", "b", "c"]}
    frame = Frame(columns=columns, nulls=nulls)
    masks = {name: mask.tolist() for name, mask in frame.table.valid.items() if name != "other"}
    assert masks == {"kind": [True, False, False, True], "size": [True, False, False, True]}
    assert frame.table.types["size"] == "int"
    assert ("other" in frame.table.valid) == isinstance(nulls, dict), "an empty text is no None"


@pytest.mark.parametrize("nulls", [(), ("?",), {"kind": ("?",), "private": ()}])
def test_an_empty_text_beside_none_is_a_value_unless_nulls_lists_it(nulls: Any) -> None:
    columns = {"kind": ["a", None, "", "b"], "private": ["\ue000", None, "", "x"]}
    frame = Frame(columns={**columns, "size": ["1", None, "", "2"]}, nulls=nulls)
    facts = {column.name: column for column in frame.profile().columns}
    for name, texts in columns.items():
        assert frame.table.valid[name].tolist() == [True, False, True, True]
        assert values(frame, name) == [text or "" for text in texts]
        assert facts[name].distinct_count == 3
        assert facts[name].missing_spellings == {"": 1}
    assert frame.table.types["size"] == "int", "an empty text among numbers is a gap, as in CSV files"
    assert frame.table.valid["size"].tolist() == [True, False, False, True]
    both = Frame(columns=columns, nulls=("",))
    assert both.table.valid["kind"].tolist() == [True, False, False, True]


def test_numbers_and_times_that_stand_for_missing_values_keep_their_type() -> None:
    days = np.array(["1900-01-01", "2020-01-01T10:30", "NaT"], "M8[ns]")
    columns = {"day": days, "x": np.array([1.25, 56, -1], np.float32), "n": np.array([5, -9, 99], np.int8)}
    for spelling in ("1900-01-01", "1900-01-01 00:00:00", "1900-01-01T00:00"):
        frame = Frame(columns=columns, nulls={"day": ("", spelling), "x": ("-1.00",), "n": (-9, 99, 1000)})
        assert {name: mask.tolist() for name, mask in frame.table.valid.items()} == {
            "day": [False, True, False],
            "x": [True, True, False],
            "n": [True, False, False],
        }
        assert values(frame, "day") == ["NaT", "2020-01-01T10:30:00.000000000", "NaT"]
        assert values(frame, "x") == ["1.25", "56.0", "nan"]
        assert frame.table.values["n"].dtype == np.int8  # type: ignore[union-attr]
        spellings = {column.name: column.missing_spellings for column in frame.profile().columns}
        assert spellings == {"day": {spelling: 1}, "x": {"-1.00": 1}, "n": {"-9": 1, "99": 1}}
    everywhere = Frame(columns=columns, nulls=("2020-01-01T10:30", -1))
    assert everywhere.table.valid["day"].tolist() == [True, False, False]
    unclear = Frame(columns={"day": days[:2]}, nulls={"day": ("1/2/1900", "1900", "soon")})
    assert "day" not in unclear.table.valid


@pytest.mark.parametrize("unit", ["D", "us", "ns"])
def test_a_date_that_may_stand_for_a_missing_value_is_set_by_its_own_text(unit: str) -> None:
    days = np.array(["1900-01-01", *(f"2020-01-0{day}" for day in range(1, 8))], f"M8[{unit}]")
    (sentinel,) = Frame(columns={"day": days}).profile().columns[0].sentinels
    assert sentinel.texts == ("1900-01-01",)
    assert not Frame(columns={"day": days}, nulls={"day": sentinel.texts}).table.valid["day"][0]
    texts = Frame(columns={"day": days}, types={"day": "string"}, nulls={"day": sentinel.texts})
    assert values(texts, "day")[:2] == ["", "2020-01-01"]


@pytest.mark.parametrize(
    ("time", "unit", "text"),
    [
        ("2020-01-01", "Y", "2020-01-01"),
        ("2020-01-01T10:00", "m", "2020-01-01 10:00:00"),
        ("2020-01-01T10:00:20", "s", "2020-01-01 10:00:20"),
        ("2020-01-01T10:00:20.500", "ns", "2020-01-01 10:00:20.5"),
        ("2020-01-01T00:00:00.020", "ms", "2020-01-01 00:00:00.02"),
    ],
)
def test_the_text_of_a_time_does_not_depend_on_its_unit(time: str, unit: str, text: str) -> None:
    assert values(Frame(columns={"x": np.array([time], f"M8[{unit}]")}, types={"x": "string"}), "x") == [text]


def test_the_text_of_a_number_does_not_depend_on_other_numbers() -> None:
    numbers = [1e15, 1e6, -3.0, 0.1, 1e20]
    texts = ["1000000000000000", "1000000", "-3", "0.1", "1e+20"]
    assert values(Frame(columns={"x": numbers}, types={"x": "string"}), "x") == texts
    assert [values(Frame(columns={"x": [x]}, types={"x": "string"}), "x")[0] for x in numbers] == texts


AWARE = [datetime(2020, 1, 1, 10, tzinfo=timezone(timedelta(hours=2))), datetime(2020, 1, 2, 10, tzinfo=UTC)]


@pytest.mark.parametrize(
    "convert", [list, pandas.Series, pyarrow.array, lambda times: pandas.DatetimeIndex(times, tz="UTC")]
)
def test_zones_of_times_count_as_in_texts(convert: Any) -> None:
    times = convert(AWARE)
    frame = Frame(columns={"t": times})
    assert values(frame, "t") == ["2020-01-01T08:00:00.000000", "2020-01-02T10:00:00.000000"]
    assert frame.inferred_options({"t": None})["dates"] == {"t": "utc"}
    with pytest.raises(
        DataError, match="column `t` of type timestamp: 2 of 2 times have a time zone, although `dates`"
    ):
        _ = Frame(columns={"t": times}, dates={"t": "no_zone"}).table
    naive = Frame(columns={"t": convert([time.replace(tzinfo=None) for time in AWARE])})
    if not isinstance(times, pandas.DatetimeIndex):
        assert naive.inferred_options({"t": None})["dates"] == {"t": "no_zone"}
        assert naive.fingerprint() != frame.fingerprint()


def test_times_of_which_some_have_a_zone_are_left_to_the_user() -> None:
    times = [AWARE[0], None, datetime(2020, 1, 2)]
    with pytest.raises(DataError, match="1 of 2 times have no time zone, and the others have one; to read them as UTC"):
        _ = Frame(columns={"t": times}).table
    frame = Frame(columns={"t": times}, dates={"t": "utc"})
    assert frame.table.readings["t"].unusual == "1 of 2 times have no zone and are taken as UTC"
    assert frame.table.valid["t"].tolist() == [True, False, True]
    zoned = Frame(columns={"t": AWARE}, nulls={"t": ("2020-01-02 10:00",)})
    assert zoned.inferred_options({"t": None})["dates"] == {"t": "utc"}
    assert Frame(columns={"t": times}, nulls={"t": ("2020-01-02",)}).inferred_options({"t": None})["dates"] == {
        "t": "utc"
    }


@pytest.mark.parametrize("gaps", [[None, None], [np.nan, np.nan], ["", ""]])
def test_a_column_without_a_name_or_a_value_is_missing(gaps: list[Any]) -> None:
    for columns in ({"": gaps, "s": ["a", "b"]}, pandas.DataFrame({"": gaps, "s": ["a", "b"]})):
        frame = Frame(columns=columns)
        assert frame.table.valid[""].tolist() == [False, False]
        assert frame.profile().columns[0].missing_count == 2
        assert frame.profile().notes == ()


def test_numbers_of_half_precision_have_facts() -> None:
    halves = np.array([0, 1, 6e4, np.nan, 9.5], np.float16)
    found = Frame(columns={"x": halves, "n": halves[[0, 1, 2, 1, 0]]}).profile().columns
    assert [column.distinct_count for column in found] == [None, 3]


def test_the_fingerprint_depends_on_the_values_and_the_options() -> None:
    columns = {"x": ["1", "2", "3", "4"], "y": [1, 2, 3, 4]}
    tables = [
        columns,
        columns | {"x": ["1", "2", "3", "5"]},
        columns | {"y": [1.0, 2, 3, 4]},
        columns | {"y": [1, 2, 3, None]},
    ]
    fingerprints = [Frame(columns=table, target="y").fingerprint() for table in tables]
    fingerprints += [
        Frame(columns=columns, **options).fingerprint()
        for options in ({"types": {"x": "string"}}, {"seed": 1}, {"drop": ("x",)})
    ]
    assert len({*fingerprints}) == len(fingerprints)
    assert Frame(columns=dict(columns)).fingerprint() == Frame(columns=columns).fingerprint()


def test_a_gap_in_the_only_column_is_a_row() -> None:
    frame = Frame(columns={"x": ["a", None, "b", ""]})
    assert values(frame, "x") == ["a", "", "b", ""]
    assert frame.table.valid["x"].tolist() == [True, False, True, False]


def test_rows_without_a_target_are_left_out_and_their_numbers_kept() -> None:
    lists = Ragged(np.arange(9), np.array([0, 1, 3, 4, 6, 8, 9]))
    columns = {"x": list("abcdef"), "y": [1, None, 3, 4, 5, 6], "lists": lists}
    frame = Frame(columns=columns, target="y", on_missing_target="drop")
    assert frame.table.values["lists"].values.tolist() == [0, 3, 4, 5, 6, 7, 8]  # type: ignore[union-attr]
    assert frame.left_out() == ("1 of 6 rows has no value of y and is left out",)
    assert frame.row_numbers().tolist() == [0, 2, 3, 4, 5]  # type: ignore[union-attr]
    (block,) = frame.blocks("all")
    assert block.locate(1) == "row 2 of the data"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (3, "the data are of the type int. A mapping of columns by name, or a data frame"),
        ({}, "the data must have columns"),
        ({"x": []}, "the data have no rows"),
        ({"x": [1], "y": [1, 2]}, "must have columns with the same number of rows, got x 1, y 2"),
        ({"x": [1, "a"]}, "column `x` doesn't have values of one type"),
        ({"x": ["a\0"]}, "have a text with a NUL character"),
        ({"x": [2**64, 1]}, "column `x` has an integer beyond 64 bits. Convert the column to floats or texts."),
    ],
)
def test_what_is_no_table_is_an_error(columns: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _ = Frame(columns=columns).table


def test_an_option_for_a_missing_column_is_an_error() -> None:
    with pytest.raises(DataError, match="the data have no column `y`, which `types` lists"):
        _ = Frame(columns={"x": [1]}, types={"y": "int"}).table
    with pytest.raises(DataError, match="the data have no column `z`, which `drop` lists"):
        _ = Frame(columns={"x": [1]}, drop=("z",)).table


def test_an_index_of_pandas_with_a_name_is_a_column_as_in_its_file(tmp_path: Path) -> None:
    columns = {"x": [1.5, 2.5, 3.5], "y": [1, 2, 4]}
    index = pandas.MultiIndex.from_tuples([("a", 1), ("b", 5), ("c", 9)], names=["key", "year"])
    days = pandas.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-05"], tz="UTC", name="day")
    for own in (index, days, pandas.Index([7, 9, 8], name="id"), pandas.CategoricalIndex(["1", "2", "1"], name="kind")):
        table = pandas.DataFrame(columns, index=own)
        table.to_parquet(tmp_path / "t")
        frame, file = Frame(columns=table, target="y"), TableFile(path=str(tmp_path / "t"), target="y").open()
        assert frame.table.types == file.table.types
        assert [*frame.table.types] == ["x", "y", *own.names]
        assert frame.profile().notes == file.profile().notes == ()
        for name in own.names:
            assert values(frame, name) == values(file, name)


def test_an_index_of_pandas_without_a_name_is_left_out(tmp_path: Path) -> None:
    columns = {"x": [1.5, 2.5, 3.5], "y": [1, 2, 4]}
    for name in (None, "x"):  # two columns of a file have two names
        table = pandas.DataFrame(columns, index=pandas.Index([7, 9, 8], name=name))
        table.to_parquet(tmp_path / "t")
        frame, file = Frame(columns=table, target="y"), TableFile(path=str(tmp_path / "t"), target="y").open()
        for source in (frame, file, Frame(columns=pyarrow.Table.from_pandas(table), target="y")):
            profile = source.profile()
            assert [column.name for column in profile.columns] == ["x", "y"]
            (note,) = profile.notes
            assert re.match(
                r"(the index|__index_level_0__) is left out: it.*`frame.rename_axis\('id'\)` makes it", note
            )
        chosen = TableFile(path=str(tmp_path / "t"), target="__index_level_0__").open().profile()
        assert [column.name for column in chosen.columns] == ["x", "y", "__index_level_0__"]
    assert Frame(columns=pandas.DataFrame(columns), target="y").profile().notes == ()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            pandas.DataFrame([[1, 2]], columns=pandas.MultiIndex.from_tuples([("a", 1), ("a", 2)])),
            r"names of columns with 2 levels, such as \('a', 1\). Join them: `frame.columns = \['_'.join",
        ),
        (
            pandas.DataFrame([[1]], index=pandas.MultiIndex.from_tuples([("a", 1)], names=["key", None])),
            r"have an index with several levels, and not all .*: `key`, without a name. Name them by .*rename_axis",
        ),
        (pandas.DataFrame([[1, 2]], columns=["a", "a"]), "the data have two columns a; rename one"),
        (pandas.DataFrame([[1, 2]], columns=["1", 1]), "the data have two columns 1; rename one"),
        (pyarrow.table([[1], [2]], names=["a", "a"]), "the data have two columns a; rename one"),
        (
            pandas.DataFrame([[1]], index=pandas.MultiIndex.from_tuples([("a", 1)], names=["key", "key"])),
            "the data have two columns key; rename one",
        ),
    ],
)
def test_names_that_are_no_columns_are_errors(frame: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _ = Frame(columns=frame).table


class Stream:
    """A table of a library that offers Arrow's PyCapsule interface alone, and can be read once."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        data, self._data = self._data, None
        return data.__arrow_c_stream__(requested_schema)


def test_a_stream_of_arrow_is_a_table() -> None:
    table = pyarrow.table({"x": [1, None, 3], "t": ["a", "b", None]})
    for data in (Stream(table), table.to_reader(), table):
        frame = Frame(columns=data, target="x")
        assert frame.table.types == {"x": "int", "t": "string"}
        assert frame.with_used_columns({"t"}).table.valid["t"].tolist() == [True, True, False]
        assert "x, t" in repr(frame)
    by_part = Arrays(columns={"train": Stream(table), "test": Stream(table)})
    assert by_part.sizes() == {"train": 3, "test": 3}
    with pytest.raises(
        DataError, match=r"of the type Stream, can't be read by Arrow's interface: .*non-struct type int64"
    ):
        Frame(columns=Stream(table["x"]))


def test_a_relation_of_duckdb_is_a_table() -> None:
    duckdb = pytest.importorskip("duckdb")
    relation = duckdb.sql("select range as n, 'text ' || range as t from range(4)")
    frame = Frame(columns=relation)
    assert frame.table.types == {"n": "int", "t": "string"}
    assert values(frame, "n") == ["0", "1", "2", "3"]


@pytest.mark.parametrize("share", [0, 3, 5, 8, 10])
@pytest.mark.parametrize("value", ["<1H OCEAN", "1.5", "true", "2020-01-31"])
def test_texts_of_which_some_may_be_values_are_read_as_those_of_a_file(value: str, share: int, tmp_path: Path) -> None:
    texts = [value if row % 10 < share else "ab"[row % 2] for row in range(40)]
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{text},1\n" for text in texts))

    def describe(source: Any) -> Any:
        try:
            notes = [note.partition(": ")[2] for note in source.reading_notes(["x"], declared=True)]
            return source.table.types["x"], source.table.values["x"].tolist(), notes
        except DataError as error:
            return re.sub(r"\(.*?\)|row \d+|line \d+", "", str(error)).split("`x`")[1:2]

    assert describe(Frame(columns={"x": texts})) == describe(Csv(path=str(tmp_path / "t.csv")))
