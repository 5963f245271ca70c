"""Rows that can't be read: an error, or skipped as if they weren't in the data, and counted."""

import io
import itertools
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import PIL.Image
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from components.data import Csv, Frame, Generator, ImageFolders, ImageTable, TextFolders
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
    values, faults = ([row[1] for row in good], [text for _, _, (column, text) in bad if column == 1])
    assume(len(values) - values.count("") - values.count("?") >= 3 * (len(faults) + values.count("?")))  # or it is text
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
        with pytest.raises(DataError, match=r"to skip such rows, set `on_bad_row=skip`$"):
            _ = Csv(path=mixed, **(options | {"types": DECLARED})).table
    else:
        assert source.left_out() == ()


ENDS = ["\n", "\r", "\r\n"]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["#n", "", "bad,b", "7", "5,c"]), st.sampled_from(ENDS)), max_size=9))
@example([("1,a", "\r"), ("#n", "\n"), ("bad,b", "\n")])
@example([("1,a", "\r"), ("#n", "\n"), ("", "\n"), ("7", "\n"), ("", "\n"), ("bad,b", "\r\n")])
def test_lines_may_end_in_different_ways(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]]
) -> None:
    good = "".join(f"{n},a\n" for n in range(12))
    text = "".join(["x,y\r\n", *(line + end for line, end in lines), good])
    path = tmp_path_factory.getbasetemp() / "ends.csv"
    path.write_bytes(text.encode())
    # A line feed after a carriage return is one end with it.
    rows = [(n, line) for n, line in enumerate(text.encode().splitlines(), start=1) if line and line[:1] != b"#"][1:]
    kept = [number for number, (_, line) in enumerate(rows) if line not in (b"bad,b", b"7")]
    source = Csv(path=str(path), comment="#", types={"x": "int"}, on_bad_row="skip")
    assert source.table.values["x"].tolist() == [int(rows[number][1].split(b",")[0]) for number in kept]  # type: ignore[union-attr]
    numbers = source.row_numbers()
    assert (list(range(len(rows))) if numbers is None else numbers.tolist()) == kept
    for row, number in enumerate(kept):
        assert source.locate_row(row) == f"{path}, line {rows[number][0]}"
    if len(kept) < len(rows):
        bad = [row for number, row in enumerate(rows) if number not in kept]
        first = min(bad, key=lambda row: (row[1] != b"7", row[0]))[0]  # a wrong number of fields is found first
        with pytest.raises(DataError, match=f"ends.csv, line {first}: "):
            _ = Csv(path=str(path), comment="#", types={"x": "int"}).table
        assert f"line {bad[0][0]}: " in source.left_out()[0]


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
        (["1,a", *["1"] * 3, "1,b"], {"target": "n", "on_bad_row": "error"}, "needs quotes$"),
        (["x,1"] * 3 + ["1,1"], {"on_bad_row": "error"}, r"or set `types.n=string`$"),
        (["x,1"] * 3, {}, "line 2: column `n` is 'x', not of type int .3 of 3 values .*More than half of the rows are"),
        (["x,1", "1,1", "y,2"], {}, "column `n` is 'x', .* More than half of the rows are like this, so `on_bad_row`"),
        (
            ["x,1", "1,z", "2,3"],
            {"types": {"n": "int", "word": "int"}},
            "2 of 3 rows of .* can't be read, more than half",
        ),
        (["1"] * 2 + ["1,2"], {}, "line 2: the number of fields is 1, not 2 .* More than half of the rows"),
        (
            ["1,a", "2,a", "x,b"],
            {"stratify": "word", "target": "n"},
            "the only row of the class b can't .*line 4: column `n` is 'x'",
        ),
        (["1,a", "2,b", "\0,c"], {}, "there is a byte 0x00"),
        (['1,"a"b', "2,b"], {}, "characters follow a quoted field"),
    ],
)
def test_what_is_no_matter_of_a_few_rows_stays_an_error(
    tmp_path: Path, lines: list[str], options: dict[str, Any], message: str
) -> None:
    (tmp_path / "table.csv").write_text("\n".join(["n,word", *lines, ""]))
    options = {"types": {"n": "int"}, "target": "word", "on_bad_row": "skip"} | options
    with pytest.raises(DataError, match=message):
        Csv(path=str(tmp_path / "table.csv"), **options).sizes()


def test_a_line_that_looks_like_a_comment_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("x,y\n-6,0\n-- exported 2020\n5,11\n# a\n6,2\n")
    source = Csv(path=str(tmp_path / "table.csv"), on_bad_row="skip")
    assert source.table.values["x"].tolist() == [-6, 5, 6]  # type: ignore[union-attr]
    assert source.skipped_rows() == 2


def test_a_long_list_is_cut() -> None:
    bad = BadRows().add(np.arange(1, 9), lambda row: f"line {row}: bad")
    bad = bad.add(np.array([0, 1]), lambda row: f"line {row}: worse")  # of the rows that remain
    assert bad.rows.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    expected = "line 0: worse; line 1: bad; line 2: bad; line 3: bad; line 4: bad; … (5 more)"
    assert bad.describe(1000) == f"10 of 1,000 rows are skipped: {expected}"
    assert bad.keep(12).tolist() == [10, 11]


@pytest.mark.parametrize("options", [{}, {"target": "y", "on_missing_target": "drop"}])
def test_a_column_counts_the_rows_of_the_file_also_those_that_are_skipped(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    rows = [f"{n},{'bad' if n == 3 else n * 7 % 5},{'' if n == 6 else n % 2}" for n in range(12)]
    for name in ("", "id"):
        (tmp_path / "table.csv").write_text("\n".join([f"{name},x,y", *rows, ""]))
        profile = Csv(path=str(tmp_path / "table.csv"), on_bad_row="skip", **options).profile()
        assert [column.counts_rows for column in profile.columns] == [True, False, False]


def test_texts_keep_their_rows(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("n,word\n1,a\nx,b\n2,b\n3,c\n4,a\n")
    words = Csv(path=str(tmp_path / "table.csv"), on_bad_row="skip").table.values["word"]
    assert isinstance(words, Strings)
    assert words.tolist() == ["a", "b", "c", "a"]


# ------------------------------------------------------------------------------------------------------------- files


def png(number: int, size: tuple[int, int] = (2, 3)) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((*size, 3), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


BAD_FILES = {"cat/empty.png": b"", "dog/cut.png": png(9)[:-20], "dog/text.txt": b"a text"}


def write_files(folder: Path, files: dict[str, bytes], kind: str) -> str:
    if kind == "folder":
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return str(folder)
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def read_blocks(source: Any) -> list[tuple[str, list[Any]]]:
    """The rows of all parts by column."""
    found: dict[str, list[Any]] = {}
    for part in source.sizes():
        for block in source.blocks(part):
            for name in block.columns:
                column = block.columns[name]
                rows = [*column.iterate_bytes()] if isinstance(column, Strings) else column.tolist()
                found.setdefault(f"{part} {name}", []).extend(map(repr, rows))
    return sorted(found.items())


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_files_that_are_no_images_are_skipped_as_if_they_were_not_there(tmp_path: Path, kind: str) -> None:
    good = {f"{label}/{number}.png": png(number) for label in ("cat", "dog") for number in range(5)}
    mixed = write_files(tmp_path / "mixed", good | BAD_FILES, kind)
    source = ImageFolders(path=mixed, on_bad_row="skip", stratify="label")
    other = ImageFolders(path=write_files(tmp_path / "good", good, kind), stratify="label")
    fingerprint = source.fingerprint()
    assert source.skipped_rows() == 3
    (sentence,) = source.left_out()
    assert sentence.startswith(
        f"3 of 13 rows are skipped: cat/empty.png of {mixed} is empty; dog/cut.png of {mixed} is "
    )
    assert f"dog/text.txt of {mixed} isn't named as an image file" in sentence
    assert source.row_numbers().tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]  # type: ignore[union-attr]
    assert read_blocks(source) == read_blocks(other)
    assert [*source.splits()["test"]] == [*other.splits()["test"]]
    assert source.locate_row(9) == f"dog/4.png of {mixed}"
    found = dict(source.find_bad_rows())
    again = ImageFolders(path=mixed, on_bad_row="skip", stratify="label").with_bad_rows(found)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("components.data.image_folders.verify_files", None)
        assert (again.left_out(), again.fingerprint()) == (source.left_out(), fingerprint), "needs no pass"
        assert read_blocks(again) == read_blocks(other)
    with pytest.raises(DataError, match=r"dog/text.txt in .* is no image file.*; to skip such rows"):
        ImageFolders(path=mixed).sizes()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/1.png": b"", "a/2.png": b"x", "b/3.png": png(1)}, "2 of 3 rows of .* can't be read, more than half"),
        ({"a/1.png": b"", "b/2.png": png(1), "b/3.png": png(1)}, "only row of the class a can't .*first is a/1.png of"),
        (
            {"train/a/1.png": png(1), "train/b/2.png": png(2), "train/c/4.png": b"", "test/c/5.png": png(1)},
            r"\(train\): the only row of the class c can't be read.* The first is train/c/4.png of .* is empty$",
        ),
    ],
)
@pytest.mark.parametrize("labels", [True, None])
def test_a_class_without_an_image_stays_an_error(
    tmp_path: Path, files: dict[str, bytes], message: str, labels: bool | None
) -> None:
    path = write_files(tmp_path / "a", files, "folder")
    with pytest.raises(DataError, match=message):
        ImageFolders(path=path, on_bad_row="skip", labels=labels).sizes()


@pytest.mark.parametrize("labels", [True, None, False])
@pytest.mark.parametrize("stray", ["README.txt", "train/notes", "a/b/c.txt"])
def test_files_that_are_not_named_as_images_do_not_decide_what_folders_mean(
    tmp_path: Path, labels: bool | None, stray: str
) -> None:
    good = {f"{label}/{number}.png": png(number) for label in "ab" for number in range(3)}
    good = {f"{part}/{name}": png for part in ("train", "test") for name, png in good.items()}
    if stray == "a/b/c.txt":
        good = {name.removeprefix("train/"): png for name, png in good.items() if name.startswith("train/")}
    mixed = write_files(tmp_path / "mixed", good | {stray: b"text"}, "folder")
    other = ImageFolders(path=write_files(tmp_path / "good", good, "folder"), labels=labels)
    source = ImageFolders(path=mixed, on_bad_row="skip", labels=labels)
    assert read_blocks(source) == read_blocks(other)
    assert source.left_out() == (
        f"1 of {len(good) + 1} rows is skipped: {stray} of {mixed} isn't named as an image file",
    )
    assert source.row_numbers().tolist() == [*range(len(good))]  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"is no image file.*; to skip such rows, set `on_bad_row=skip`$"):
        ImageFolders(path=mixed, labels=labels).sizes()
    (tmp_path / "mixed" / stray).unlink()
    without = ImageFolders(path=mixed, on_bad_row="skip", labels=labels)
    assert without.content_digest() != source.content_digest(), "the cache keeps the sentence with the rows"


@pytest.mark.parametrize(
    ("strays", "options"),
    [
        (["docs/a.txt"], {}),
        ([f"a/{n}.txt" for n in range(5)], {}),
        ([f"a/{n}.txt" for n in range(3)], {"classes": ("a",)}),
    ],
)
def test_skipping_is_not_offered_for_files_that_would_not_be_skipped(
    tmp_path: Path, strays: list[str], options: dict[str, Any]
) -> None:
    files = {f"{label}/{number}.png": png(number) for label in "ab" for number in range(2)}
    path = write_files(tmp_path / "a", files | dict.fromkeys(strays, b""), "folder")
    with pytest.raises(DataError, match=r"such as \.jpg$"):
        ImageFolders(path=path, **options).sizes()
    with pytest.raises(DataError, match=r"folder docs in .* has no images|(5 of 9|3 of 5) rows of .* can't be read"):
        ImageFolders(path=path, **options, on_bad_row="skip").sizes()


def test_a_class_may_be_lost_in_a_part_if_the_training_part_has_it(tmp_path: Path) -> None:
    files = {"train/a/1.png": png(1), "train/b/2.png": png(2), "test/a/1.png": b"", "test/b/1.png": png(3)}
    source = ImageFolders(path=write_files(tmp_path / "a", files, "folder"), on_bad_row="skip")
    assert source.sizes() == {"train": 2, "test": 1}


def test_texts_in_another_encoding_are_skipped(tmp_path: Path) -> None:
    good = {f"{part}/{label}/{n}.txt": b"word %d" % n for part in ("train", "test") for label in "ab" for n in range(3)}
    mixed = write_files(tmp_path / "mixed", good | {"test/a/1x.txt": b"\xe9", "train/b/0x.txt": b"ab\xff"}, "folder")
    source = TextFolders(path=mixed, on_bad_row="skip", valid=2)
    other = TextFolders(path=write_files(tmp_path / "good", good, "folder"), valid=2)
    assert read_blocks(source) == read_blocks(other)
    assert source.row_numbers().tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13]  # type: ignore[union-attr]
    (sentence,) = source.left_out()
    assert sentence == (
        f"2 of 14 rows are skipped: train/b/0x.txt in {mixed} isn't UTF-8: byte 0xff at offset 2; test/a/1x.txt in "
        f"{mixed} isn't UTF-8: byte 0xe9 at offset 0"
    )
    with pytest.raises(DataError, match=r"isn't UTF-8.*; convert it; to skip such rows, set `on_bad_row=skip`$"):
        TextFolders(path=mixed).sizes()
    only = write_files(tmp_path / "only", {**good, "train/c/1.txt": b"\xff"}, "folder")
    message = (
        r"\(train\): the only row of the class c can't be read.* The first is train/c/1.txt in .* isn't UTF-8: byte"
    )
    with pytest.raises(DataError, match=message):
        TextFolders(path=only, on_bad_row="skip", valid=2).sizes()
    with pytest.raises(DataError, match=r"train/c/1.txt in .*; convert it$"):
        TextFolders(path=only, valid=2).sizes()
    files = good | {"train/c/1.txt": b"a", "test/c/1.txt": b"\xff"}
    in_train = write_files(tmp_path / "in_train", files, "folder")
    assert TextFolders(path=in_train, on_bad_row="skip", valid=2).sizes() == {"train": 7, "test": 6}


# --------------------------------------------------------------------------------------------------------- a function


def yield_rows(rows: list[Any]) -> Iterator[Any]:
    yield from rows


BAD_YIELDED: list[Any] = [5, {}, {"x": 1}, {"x": 1, "y": "a"}, {"x": 2**70, "y": 1.5}, {"x": 1, "y": object()}]


@pytest.mark.parametrize("position", [1, 4, 8])
@pytest.mark.parametrize("bad", BAD_YIELDED, ids=range(len(BAD_YIELDED)))
def test_rows_of_a_function_are_skipped(position: int, bad: Any) -> None:
    good = [{"x": n, "y": n / 2 if n % 3 else None} for n in range(1, 9)]
    rows = [*good[:position], bad, *good[position:]]

    def make(rows: list[Any], **options: Any) -> Generator:
        return Generator(function=partial(yield_rows, rows), version="1", **options)

    source = make(rows, on_bad_row="skip")
    assert read_blocks(source) == read_blocks(make(good))
    assert (source.skipped_rows(), source.sizes()) == (1, {"all": 8})
    numbers = [number for number in range(9) if number != position]
    assert source.row_numbers().tolist() == numbers  # type: ignore[union-attr]
    assert source.left_out()[0].startswith("1 of 9 rows is skipped: row ")
    assert f"row {position} of " in source.left_out()[0]
    (block,) = source.blocks("all")
    assert [block.locate(row).split()[1] for row in range(8)] == [str(number) for number in numbers]
    assert source.locate_row(7).startswith(f"row {numbers[7]} of ")
    assert read_blocks(make(rows, on_bad_row="skip", limit=6)) == read_blocks(make(good, limit=6))
    assert make(rows, on_bad_row="skip").with_bad_rows(source.find_bad_rows()).left_out() == source.left_out()
    with pytest.raises(DataError, match=rf"row {position} of "):
        make(rows).sizes()


@pytest.mark.parametrize(
    ("rows", "is_offered"),
    [
        ([{"x": 1}] * 9 + [{"x": 1.5}] * 200, False),
        ([{"x": 1}] * 9 + [{"x": 1.5}] * 2, True),
        ([{"x": "first"}] + [{"x": 1}] * 9, False),
        ([{"x": 1}, {"y": 1}] * 5, True),
    ],
)
def test_skipping_is_offered_if_most_of_the_rows_of_a_function_can_be_read(rows: list[Any], is_offered: bool) -> None:
    with pytest.raises(DataError) as raised:
        Generator(function=partial(yield_rows, rows), version="1").sizes()
    assert str(raised.value).endswith("; to skip such rows, set `on_bad_row=skip`") == is_offered


@pytest.mark.parametrize("limit", [None, 3])
def test_rows_without_an_array_are_skipped_also_before_its_type_is_known(limit: int | None) -> None:
    arrays = [None, None, np.zeros(2), np.ones(2), None, np.full(2, 3.0), np.full(2, 4.0)]
    rows = [{"x": array, "y": n} for n, array in enumerate(arrays)]
    source = Generator(function=partial(yield_rows, rows), version="1", on_bad_row="skip", limit=limit)
    (block,) = source.blocks("all")
    assert block.columns["y"].tolist() == [2, 3, 5, 6][:limit]  # type: ignore[union-attr]
    assert source.skipped_rows() == 3
    assert "row 0 of " in source.left_out()[0]


@pytest.mark.parametrize(
    "time", [np.datetime64("2020-01-01T00:00:00.123456789"), pandas.Timestamp("2020-01-01 00:00:00.123456789")]
)
def test_nanoseconds_of_a_function_are_not_cut(time: Any) -> None:
    rows = [{"t": np.datetime64("2020-01-01T00:00:00.123456", "ns")}, {"t": time}, {"t": np.datetime64("NaT", "ns")}]
    for options in ({}, {"on_bad_row": "skip"}):
        source = Generator(function=partial(yield_rows, rows), version="1", **options)
        if options:
            assert source.sizes() == {"all": 2}
        else:
            with pytest.raises(DataError, match=r"row 1 of .*: `t` is .* whose nanoseconds would be lost"):
                source.sizes()


def test_an_endless_function_of_bad_rows_is_an_error() -> None:
    source = Generator(function=partial(itertools.repeat, 5), version="1", on_bad_row="skip", limit=10)
    with pytest.raises(DataError, match=r"1,001 of 1,001 rows of .* can't be read, more than half"):
        source.sizes()


def test_blocks_of_a_function_have_no_rows_that_can_be_skipped() -> None:
    with pytest.raises(DataError, match=r"`on_bad_row` \(=skip\) needs `yields=rows`"):
        Generator(function=lambda: iter([{"x": [1]}]), yields="blocks", on_bad_row="skip")


def test_errors_of_the_function_are_not_skipped() -> None:
    def fail() -> Iterator[Any]:
        yield {"x": 1}
        raise ValueError("no more")

    with pytest.raises(DataError, match=r"row 1 of .* raised ValueError: no more"):
        Generator(function=fail, on_bad_row="skip").sizes()


# --------------------------------------------------------------------------------------------------- a table of images


def grey(number: int, size: tuple[int, int] = (2, 3)) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.full(size, number, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_rows_of_a_table_whose_images_cannot_be_read_are_skipped(tmp_path: Path, kind: str) -> None:
    files = {f"{n}.png": png(n) for n in range(9)} | {f"m{n}.png": grey(n % 2) for n in range(9)}
    files |= {"1.png": b"", "m3.png": png(3)[:-9], "m5.png": grey(1, (4, 3)), "m6.png": png(6)}
    root = write_files(tmp_path / "files", files, kind)
    rows = [f"{n}.png,m{n}.png,{n}" for n in range(9)]
    rows[7] = "7.png,m7.png,seven"
    rows.insert(2, "gone.png,m0.png,2.5")  # a half among whole numbers
    tables = {"mixed.csv": rows, "good.csv": [row for n, row in enumerate(rows) if n in (0, 3, 5, 9)]}
    for name, lines in tables.items():
        (tmp_path / name).write_text("\n".join(["image,mask,n", *lines, ""]))
    options: dict[str, Any] = {"root": root, "target": "mask", "valid": 1, "test": 1}
    with pytest.raises(DataError, match=r"6 of 10 rows of .*mixed.csv can't be read, more than half"):
        ImageTable(path=str(tmp_path / "mixed.csv"), on_bad_row="skip", **options).sizes()
    more = [f"0.png,m0.png,{n}" for n in range(2)]
    for name, lines in tables.items():
        (tmp_path / name).write_text("\n".join(["image,mask,n", *lines, *more, ""]))
    source = ImageTable(path=str(tmp_path / "mixed.csv"), on_bad_row="skip", **options)
    other = ImageTable(path=str(tmp_path / "good.csv"), **options)
    fingerprint = source.fingerprint()
    assert read_blocks(source) == read_blocks(other)
    assert source.table.types == other.table.types == {"image": "string", "mask": "string", "n": "int"}
    assert source.row_numbers().tolist() == [0, 3, 5, 9, 10, 11]  # type: ignore[union-attr]
    assert source.locate_row(3).endswith("mixed.csv, line 11 (8.png, m8.png)")
    (sentence,) = source.left_out()
    start, *messages = sentence.split(f"{tmp_path / 'mixed.csv'}, line ")
    assert start == "6 of 12 rows are skipped: "
    assert messages[0].rstrip("; ") == "3: column `image` is '1.png', which is empty"
    assert f"4: column `image` is 'gone.png', and there is no such file in {root}" in messages[1]
    assert "6: column `mask` is 'm3.png', which is " in messages[2]
    assert "8: column `mask` is 'm5.png', a mask of 4 x 3 pixels, and its image, in `image`, has 2 x 3" in messages[3]
    assert "9: column `mask` is 'm6.png', which has pixels of mode RGB; a mask has" in messages[4]
    again = ImageTable(path=str(tmp_path / "mixed.csv"), on_bad_row="skip", **options)
    assert again.fingerprint() == fingerprint, "also before the files are decoded"
    again = again.with_bad_rows(source.find_bad_rows())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("components.data.image_table.verify_files", None)
        assert again.left_out() == source.left_out(), "needs no pass"


@pytest.mark.parametrize("count", [1, 3])
def test_skipping_is_offered_if_most_paths_have_a_file(tmp_path: Path, count: int) -> None:
    write_files(tmp_path, {f"{n}.png": png(n) for n in range(2)}, "folder")
    rows = [*(f"{n}.png,{n}" for n in range(2)), *(f"gone{n}.png,1" for n in range(count))]
    (tmp_path / "a.csv").write_text("\n".join(["image,y", *rows, ""]))
    offer = "" if count == 3 else "; to skip such rows, set `on_bad_row=skip`"
    with pytest.raises(DataError, match=rf"gone0.png.* Correct the path, or remove the row{offer}\.$"):
        ImageTable(path=str(tmp_path / "a.csv")).fingerprint()


def test_a_skipped_row_does_not_decide_which_columns_are_images(tmp_path: Path) -> None:
    write_files(tmp_path, {f"{n}.png": png(n) for n in range(4)} | {"bad.png": b"x"}, "folder")
    rows = [f"{n}.png,gone{n}.png,{n % 2}" for n in range(4)]
    (tmp_path / "a.csv").write_text("\n".join(["image,other,y", *rows, "bad.png,foo.txt,1", ""]))
    source = ImageTable(path=str(tmp_path / "a.csv"), on_bad_row="skip", target="y")
    assert source.sizes() == {"all": 4}
    (block,) = source.blocks("all")
    assert block.files == {"image"}
    assert source.table.values["other"].tolist()[0] == "gone0.png"  # type: ignore[union-attr]


def test_the_images_of_each_table_are_searched(tmp_path: Path) -> None:
    write_files(tmp_path, {f"{n}.png": png(n) for n in range(4)} | {"bad.png": b"x"}, "folder")
    for name in ("a", "b"):
        rows = [f"{n}.png,{n}" for n in range(4)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,y", *rows, "bad.png,1", ""]))
    source = ImageTable(path=str(tmp_path / "a.csv"), valid=1, test=str(tmp_path / "b.csv"), on_bad_row="skip")
    assert source.sizes() == {"train": 4, "test": 4}
    assert [sentence.split(":")[0] for sentence in source.left_out()] == ["1 of 5 rows is skipped"] * 2
