"""Rows that can't be read: an error, or skipped as if they weren't in the data, and counted."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Csv, Frame
from components.data.bad_rows import BadRows
from components.types import DataError, Strings

NAMES = ("n", "f", "t", "word", "flag")
TYPES: dict[str, Any] = {"flag": "bool"}
GOOD = st.tuples(
    st.integers(-9, 999).map(str),
    st.sampled_from(["0.5", "7", "-1e3", "12.25", "?", ""]),
    st.sampled_from(["2024-01-31", "2020-02-29", "1999-12-01", ""]),
    st.sampled_from(["a", "b", "12", '"c,\nd"', '"e ""f"""', "é"]),
    st.sampled_from(["true", "no", "1", ""]),
)
FAULTS = [
    (0, "12o"),
    (0, "3.x"),
    (0, '"4\n5"'),
    (1, "five"),
    (2, "2023-02-29"),
    (2, "2024-01"),
    (3, "a,b"),
    (4, "maybe"),
]

DECLARED: dict[str, Any] = TYPES | {"n": "int", "f": "float", "t": "timestamp"}


def write_table(path: Path, lines: list[str], end: str) -> str:
    path.write_text(end.join([",".join(NAMES), *lines, ""]), newline="")
    return str(path)


def table_of(source: Csv | Frame) -> Any:
    """All that the rest of a run takes from a table, without the locations of rows."""
    table = source.table
    values = {name: (type(column), repr(column.tolist())) for name, column in table.values.items()}  # type: ignore[union-attr]
    readings = {
        name: (reading.description, reading.options, [gap[:2] for gap in reading.gaps])
        for name, reading in table.readings.items()
    }
    masks = {name: mask.tolist() for name, mask in table.valid.items()}
    return values, masks, table.types, table.rows, readings, table.problems, table.separators


@settings(max_examples=20)
@given(
    st.lists(GOOD, min_size=12, max_size=20),
    st.lists(st.tuples(st.integers(0, 30), GOOD, st.sampled_from(FAULTS)), max_size=3),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([{}, {"comment": "#"}, {"types": DECLARED}]),
    st.sampled_from(["error", "drop"]),
)
def test_a_table_with_skipped_rows_equals_the_table_without_them(
    tmp_path_factory: pytest.TempPathFactory,
    good: list[tuple[str, ...]],
    bad: list[tuple[int, tuple[str, ...], tuple[int, str]]],
    end: str,
    options: dict[str, Any],
    on_missing_target: Any,
) -> None:
    good[0] = ("5", "1.5", "2024-01-31", "a", "true")  # each column has a value
    rows = [(",".join(row), "") for row in good]
    for position, row, (column, text) in bad:
        line = ",".join(text if number == column else field for number, field in enumerate(row))
        rows.insert(min(position, len(rows)), (line, text))
    options = {"types": TYPES, "target": "n", "on_missing_target": on_missing_target, "seed": 3} | options
    folder = tmp_path_factory.getbasetemp()
    mixed = write_table(folder / "mixed.csv", [line for line, _ in rows], end)
    clean = write_table(folder / "clean.csv", [line for line, fault in rows if not fault], end)
    source, other = Csv(path=mixed, on_bad_row="skip", **options), Csv(path=clean, **options)
    assert table_of(source) == table_of(other)
    splits = {name: found.tolist() for name, found in source.splits().items()}
    assert splits == {name: found.tolist() for name, found in other.splits().items()}
    assert source.skipped_rows() == len(bad)
    kept = [number for number, (_, fault) in enumerate(rows) if not fault]
    numbers = source.row_numbers()
    assert (list(range(len(rows))) if numbers is None else numbers.tolist()) == kept
    starts = [2, *itertools.accumulate((1 + line.count("\n") for line, _ in rows), initial=2)][1:]
    assert source.locate_row(len(kept) - 1) == f"{mixed}, line {starts[kept[-1]]}"
    if bad:
        first = next(number for number, (_, fault) in enumerate(rows) if fault)
        (sentence,) = source.left_out()
        verb = "is" if len(bad) == 1 else "are"
        assert sentence.startswith(f"{len(bad)} of {len(rows)} rows {verb} skipped: {mixed}, line {starts[first]}: ")
        with pytest.raises(DataError, match=r"to skip such rows, set `on_bad_row` to skip$"):
            _ = Csv(path=mixed, **(options | {"types": DECLARED})).table
    else:
        assert source.left_out() == ()


def test_a_data_frame_is_skipped_in_like_a_file() -> None:
    texts = ["1", "x", *map(str, range(2, 12))]
    columns = {"n": texts, "ragged": [[1.0, 2.0]] * 12, "y": [*range(12)], "when": ["2024-01-01"] * 11 + ["2024-13-01"]}
    source = Frame(columns=columns, on_bad_row="skip", target="y", nulls={"y": (3,)}, on_missing_target="drop")
    assert source.table.values["n"].tolist() == [1, 2, *range(4, 11)]  # type: ignore[union-attr]
    assert source.table.values["y"].tolist() == [0, 2, *range(4, 11)]  # type: ignore[union-attr]
    assert source.row_numbers().tolist() == [0, 2, *range(4, 11)]  # type: ignore[union-attr]
    assert source.locate_row(1) == "row 2 of the data"
    assert source.left_out() == (
        "2 of 12 rows are skipped: row 1: column `n` is 'x', not a number; row 11: column `when` is '2024-13-01', "
        "not a time",
        "1 of 10 rows has no value of y and is left out",
    )
    assert (
        source.fingerprint()
        == Frame(
            columns=columns, on_bad_row="skip", target="y", nulls={"y": (3,)}, on_missing_target="drop"
        ).fingerprint()
    ), "also before the rows are read"


def test_the_files_of_splits_are_skipped_in_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "\n".join(f"{n},{n % 3}" for n in range(8)) + "\nbad,1\n")
    (tmp_path / "b.csv").write_text("x,y,other\n1,2,3\nworse,2,4\n3,1,x\n4,1,5\n")
    source = Csv(path=str(tmp_path / "a.csv"), test=str(tmp_path / "b.csv"), valid=2, on_bad_row="skip")
    assert source.sizes() == {"train": 8, "test": 3}
    assert source.row_numbers().tolist() == [*range(8), 9, 11, 12]  # type: ignore[union-attr]
    assert [sentence.partition(":")[0] for sentence in source.left_out()] == [
        "1 of 9 rows is skipped",
        "1 of 4 rows is skipped",
    ], "the column `other` isn't read"
    assert "b.csv, line 3: column `x` is 'worse'" in source.left_out()[1]


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["x,1"] * 3, {}, "line 2: column `n` is 'x', not of type int .3 of 3 values .*More than half of the rows are"),
        (["x,1", "1,1", "y,2"], {}, "column `n` is 'x', .* More than half of the rows are like this, so `on_bad_row`"),
        (
            ["x,1", "1,z", "2,3"],
            {"types": {"n": "int", "word": "int"}},
            "2 of 3 rows of .* can't be read, more than half",
        ),
        (["1"] * 2 + ["1,2"], {}, "line 2: the number of fields is 1, not 2 .* More than half of the rows"),
        (["1,a", "2,a", "x,b", "y,b", "3,a", "4,c"], {}, "all 2 rows of the class b of column word can't be read"),
        (
            ["1,a", "2,a", "x,b"],
            {"stratify": "word", "target": "n"},
            "the only row of the class b of column word can't",
        ),
        (["1,a", "2,b", "\0,c"], {}, "there is a byte 0x00"),
        (['1,"a"b', "2,b"], {}, "characters follow a quoted field"),
    ],
)
def test_what_is_no_matter_of_a_few_rows_stays_an_error(
    tmp_path: Path, lines: list[str], options: dict[str, Any], message: str
) -> None:
    (tmp_path / "table.csv").write_text("\n".join(["n,word", *lines, ""]))
    options = {"types": {"n": "int"}, "target": "word"} | options
    with pytest.raises(DataError, match=message):
        Csv(path=str(tmp_path / "table.csv"), on_bad_row="skip", **options).sizes()


def test_a_long_list_is_cut() -> None:
    bad = BadRows().add(np.arange(1, 9), lambda row: f"line {row}: bad")
    bad = bad.add(np.array([0, 1]), lambda row: f"line {row}: worse")  # of the rows that remain
    assert bad.rows.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    expected = "line 0: worse; line 1: bad; line 2: bad; line 3: bad; line 4: bad; … (5 more)"
    assert bad.describe(1000) == f"10 of 1,000 rows are skipped: {expected}"
    assert bad.keep(12).tolist() == [10, 11]


def test_texts_keep_their_rows(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("n,word\n1,a\nx,b\n2,b\n3,c\n4,a\n")
    words = Csv(path=str(tmp_path / "table.csv"), on_bad_row="skip").table.values["word"]
    assert isinstance(words, Strings)
    assert words.tolist() == ["a", "b", "c", "a"]
