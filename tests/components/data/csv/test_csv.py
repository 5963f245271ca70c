"""CSV files: what their values are taken for, how rows are named, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.data.csv.dialect import CsvFile
from components.data.csv.reader import NULLS, Reader
from components.data.csv.source import Csv
from components.data.packed import PackedFile
from components.types import DataError, Strings


def write(path: Path, text: str | bytes) -> Csv:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Csv(path=str(path))


def columns(source: Csv) -> dict[str, Any]:
    """All values by column: texts as lists, gaps as None."""
    found: dict[str, Any] = {}
    for block in source.blocks("all"):
        for name, values in block.columns.items():
            plain = values.tolist()
            valid = block.valid.get(name, np.ones(len(plain), bool))
            found.setdefault(name, []).extend(v if there else None for v, there in zip(plain, valid, strict=True))
    return found


def kinds(source: Csv) -> dict[str, str]:
    return dict(source.table.types)


# ---------------------------------------------------------------------------------------------------- values and types


FIELDS = ("", "7", "0", "2.5", "1e400", "99999999999999999999", "true", "2020-01-02", "2020-01-02 10:00:00", "10:30:00")
FIELDS += ("2020-01-02T10:00:00Z", "2020-01-02 10:00:00.5", "word", "007", "1.234", "1,234", "n/a", "-nan", "0x1f")


@given(
    st.lists(st.tuples(*[st.sampled_from(FIELDS)] * 3), min_size=1, max_size=4),
    st.lists(st.tuples(*[st.sampled_from(FIELDS)] * 3), max_size=4),
    st.sampled_from(["a,b,c", "a,,", "a,a,b", "a,b"]),
    st.binary(max_size=2),
)
@example(
    [("1", "7", "0")], [("word", "7", "0")], "a,b,c", b'"a"b,1,1\n'
)  # is checked for misplaced quotes all the same
@example([("1", "7", "word")], [], "a,,", b"")  # two columns have the same name, and different types
def test_a_large_file_is_read_as_a_small_one(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[str, ...]],
    others: list[tuple[str, ...]],
    header: str,
    end: bytes,
) -> None:
    """The types of its first block are tried first. They may not fit the others."""
    lines = [",".join(f'"{field}"' if "," in field else field for field in row) for row in [*first * 20, *others]]
    path = tmp_path_factory.getbasetemp() / "large.csv"
    path.write_bytes("\n".join([header, *lines, ""]).encode() + end)
    results = []
    for size in (0, 1 << 30):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("components.data.csv.reader.LARGE_BYTES", size)
            patched.setattr("components.data.csv.reader.BLOCK_BYTES", 128)
            try:
                source = Csv(path=str(path))
                values = {
                    name: (values.dtype if isinstance(values, np.ndarray) else "text", repr(values.tolist()))
                    for name, values in source.table.values.items()
                }
                valid = {name: mask.tolist() for name, mask in source.table.valid.items()}
                results.append((values, valid, source.table.types, source.table.readings, repr(source.table.nameless)))
            except DataError as error:
                results.append(str(error))
    assert results[0] == results[1]


def test_types_are_inferred_from_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.data.csv.reader.BLOCK_BYTES", 1 << 18)  # so that there are several
    rows = "\n".join(f"{n},{n},{n},{n}.5,true,2020-01-02,2020-01-02 10:00:00,word {n}" for n in range(40_000))
    source = write(tmp_path / "table.csv", f"i,f,s,g,b,d,t,w\n{rows}\n7,2.5,one,-1e3,false,1999-12-31,1999-12-31,\n")
    assert kinds(source) == {
        **dict.fromkeys("sw", "string"),
        **dict.fromkeys("fg", "float"),
        **dict.fromkeys("dt", "timestamp"),
        "i": "int",
        "b": "bool",
    }
    values = source.table.values
    dtypes = ["int64", "float64", "bool", "datetime64[D]", "datetime64[s]"]
    assert [str(values[name].dtype) for name in "ifbdt"] == dtypes
    assert values["f"][-1] == 2.5
    assert values["s"].tolist()[-2:] == ["39999", "one"]
    assert values["t"][[0, -1]].astype(str).tolist() == ["2020-01-02T10:00:00", "1999-12-31T00:00:00"]
    assert source.table.valid.keys() == {"w"}
    blocks = list(source.blocks("all"))
    assert len(blocks) > 1
    assert [sum(len(block.columns["i"]) for block in blocks), blocks[1].columns["i"][0]] == [
        40_001,
        blocks[1].first_row,
    ]


def test_missing_values_are_masked_in_every_type_and_nan_is_missing(tmp_path: Path) -> None:
    text = "i,f,s,b,t,n\n1,1.5,a,true,2020-01-01,\n,nan,NA,,NULL,\n3,N/A,a,false,null,\n4,2,,true,2020-01-04,\n"
    source = write(tmp_path / "table.csv", text)
    assert columns(source)["i"] == [1, None, 3, 4]
    assert columns(source)["f"] == [1.5, None, None, 2.0]
    assert columns(source)["s"] == ["a", None, "a", None]
    assert columns(source)["b"] == [True, None, False, True]
    assert [day and str(day) for day in columns(source)["t"]] == ["2020-01-01", None, None, "2020-01-04"]
    assert columns(source)["n"] == [None] * 4
    assert kinds(source)["n"] == "float"
    values = source.table.values
    assert np.isnan(values["f"]).tolist() == [False, True, True, False]
    assert np.isnat(values["t"]).tolist() == [False, True, True, False]
    assert values["i"].tolist() == [1, 0, 3, 4]
    assert values["s"].tolist() == ["a", "", "a", ""]


def test_the_spellings_of_a_missing_value_can_be_set(tmp_path: Path) -> None:
    source = write(tmp_path / "table.csv", "x,y\n1,NA\n?,b\n2,?\n")
    assert columns(source) == {"x": [1, None, 2], "y": [None, "b", "?"]}, "? is a text among texts"
    other = Csv(path=source.path, nulls=("?",))
    assert columns(other) == {"x": [1, None, 2], "y": ["NA", "b", None]}
    by_column = Csv(path=source.path, nulls={"y": ("b",)})
    assert columns(by_column) == {"x": [1, None, 2], "y": ["NA", None, "?"]}
    none = Csv(path=source.path, nulls=())
    assert columns(none)["x"] == ["1", "?", "2"]
    assert "" in NULLS


def test_text_that_repeats_is_a_dictionary_and_unicode_is_kept(tmp_path: Path) -> None:
    source = write(tmp_path / "table.csv", "\ufeffcity,who\nMálaga,😀 1\n東京,b\nMálaga,c\n東京,d\n")
    city, who = source.table.values["city"], source.table.values["who"]
    assert isinstance(city, Strings)
    assert isinstance(who, Strings)
    assert city.indices is not None
    assert city.indices.tolist() == [0, 1, 0, 1]
    assert who.indices is None
    assert columns(source) == {"city": ["Málaga", "東京"] * 2, "who": ["😀 1", "b", "c", "d"]}


def test_declared_types_win(tmp_path: Path) -> None:
    text = "zip,n,flag,day,clock\n007,1,1,2020-01-01,12:30\n008,2,0,2020-01-02T01:00:00,1:00\n"
    plain = write(tmp_path / "table.csv", text)
    assert kinds(plain) == {"zip": "string", "n": "int", "flag": "int", "day": "timestamp", "clock": "float"}
    types: Any = {"zip": "string", "n": "float", "flag": "bool", "day": "timestamp"}
    source = Csv(path=plain.path, types=types)
    assert columns(source)["zip"] == ["007", "008"]
    assert columns(source)["n"] == [1.0, 2.0]
    assert columns(source)["flag"] == [True, False]
    assert kinds(source) == types | {"clock": "float"}
    assert columns(source)["clock"] == [45_000, 3600]
    assert columns(Csv(path=plain.path, types={"clock": "string"}))["clock"] == ["12:30", "1:00"]


CODES = [
    (["01000", "8001", ""], "string"),
    (["0", "10", ""], "int"),
    (["-01", "5"], "int"),
    (["00.5", "1"], "float"),
    (["12345678901234567890", "7"], "string"),
    (["00000000000000000123", "7"], "string"),
    (["9223372036854775807", "7"], "int"),
    (["12345678901234567890", "0.5"], "float"),
    (["1e30", "7"], "float"),
    (["1E30", "7"], "float"),
    (["0047583311587E59", "0047583311587123"], "string"),
    (["47583311587E59", "47583311587123"], "string"),
    (["47583311587123", "1E3"], "float"),
    (["47583311587123.0", "4758331158E1.0"], "string"),
    (["0x1F", "7"], "string"),
    (["0X1f", "12"], "string"),
    (["+491711234567", "+4930123456"], "string"),
    (["+1.5", "+2"], "float"),
    (["+491711234567", "4930123456"], "string"),
    (["1 617 5551234", "+16175551234"], "string"),
    (["+1000000", "-2000000"], "int"),
    (["+10000000", "250"], "int"),
    (["+5", "6"], "int"),
    (["+5.0", "6"], "float"),
    (["0171 1234567", "030 123456"], "string"),
    (["012 345", "12 345"], "string"),
    (["555-1234", "555-9876"], "string"),
    (["inf", "1e30"], "float"),
    (["9223372036854775808", "9223372036854775809"], "string"),
    ([*map(str, range(30)), "9" * 5000], "string"),
    (["1:30", "9" * 5000 + ":30"], "string"),
    (["-9223372036854775809", "5"], "string"),
    (["-9223372036854775808", "5"], "int"),
    (["12345678", "12345e10", "98765432"], "string"),
    (["1234e567", "12345678"], "string"),
    (["12345678901234567890", "-nan"], "string"),
]


@pytest.mark.parametrize(("values", "kind"), CODES)
def test_digits_that_a_number_would_lose_are_text(tmp_path: Path, values: list[str], kind: str) -> None:
    lines = [f'{value},{n},"x0"' for n, value in enumerate(values)]
    source = write(tmp_path / "table.csv", "\n".join(["code,n,s", *lines]))
    assert kinds(source) == {"code": kind, "n": "int", "s": "string"}
    if kind == "string":
        assert columns(source)["code"] == [value or None for value in values]


@pytest.mark.parametrize(("values", "kind"), CODES)
def test_codes_are_text_however_fields_and_gaps_are_written(tmp_path: Path, values: list[str], kind: str) -> None:
    for template, quote in (("{}", '"'), (" {}", '"'), ("'{}'", "'"), ('" {} "', '"')):
        for gaps in ([], ["-"], ["?", "unknown"]):
            rows = [f"{n};{template.format(value)}" for n, value in enumerate([*values, *gaps])]
            source = write(tmp_path / "table.csv", "\n".join(["n;code", *rows]))
            assert kinds(Csv(path=source.path, delimiter=";", quote=quote))["code"] == kind, rows


def test_digits_are_found_wherever_a_field_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bytes_ in range(1, 5):
        monkeypatch.setattr("components.data.csv.reader.SCAN_BYTES", bytes_)
        path = write(tmp_path / "table.csv", "a;b\n1;  07\n").path
        assert kinds(Csv(path=path, delimiter=";")) == {"a": "int", "b": "string"}


@pytest.mark.parametrize("gaps", [[], ["", "unknown"]])
def test_whole_numbers_with_a_plus_sign_are_exact(tmp_path: Path, gaps: list[str]) -> None:
    exact = 2**53 + 1
    rows = [f"{value},{n}" for n, value in enumerate([f"+{exact}", f"-{exact}", "5", *gaps])]
    source = write(tmp_path / "table.csv", "\n".join(["x,n", *rows]))
    for types in (None, {"x": "int"}):
        assert columns(Csv(path=source.path, types=types))["x"] == [exact, -exact, 5, *[None] * len(gaps)]


def test_declared_integers_may_be_written_like_floats(tmp_path: Path) -> None:
    path = write(tmp_path / "table.csv", "y,who\n1.0,a\n,b\n3,\n").path
    types: Any = {"y": "int"}
    assert columns(Csv(path=path, types=types)) == {"y": [1, None, 3], "who": ["a", "b", None]}
    for text, line in (("2.0\nx", "line 3: column `y` is 'x'"), ("2.0\n2.5", "3: column `y` is 2.5")):
        write(Path(path), f"y,x\n{text.replace(chr(10), ',1' + chr(10))},1\n")
        with pytest.raises(DataError, match=f"{line}, not of type int; correct the value"):
            Csv(path=path, types=types).sizes()


def test_other_delimiters_and_quotes(tmp_path: Path) -> None:
    source = write(tmp_path / "table.csv", 'a;b\n"x;""y""\nz";1\r\n\n"";2\n')
    assert columns(Csv(path=source.path, delimiter=";")) == {"a": ['x;"y"\nz', None], "b": [1, 2]}
    with pytest.raises(DataError, match=r"has only one column, 'a;b'; set `delimiter=semicolon`$"):
        source.sizes()
    for spelt in ("semicolon", ";"):
        assert Csv(path=source.path, delimiter=spelt).sizes() == {"all": 2}
    tabs = write(tmp_path / "tabs.csv", "a\tb\n1\t2\n")
    for spelt in ("tab", r"\t", "\t"):
        assert kinds(Csv(path=tabs.path, delimiter=spelt)) == {"a": "int", "b": "int"}
    with pytest.raises(DataError, match=r"has only one column, 'a;b'; set `delimiter=semicolon`$"):
        write(tmp_path / "decimals.csv", "a;b\n1,5;2\n").sizes()


@pytest.mark.parametrize("rows", ['1,2\n"3,4\n5,6\n', '1,2\n3,"4\n5,6\n', '1,2\n3,"4'])
def test_a_quote_that_is_never_closed_is_named_by_its_line(tmp_path: Path, rows: str) -> None:
    with pytest.raises(DataError, match=r"table.csv, line 3: a quote is opened and never closed"):
        write(tmp_path / "table.csv", f"a,b\n{rows}").sizes()


def test_rows_are_named_by_the_lines_they_begin_in(tmp_path: Path) -> None:
    source = write(tmp_path / "table.csv", 'a,b\n1,"x\ny"\n\n2,"un""even"\n3,o"dd\n\n\n4,"p\n\nq"\n5,z')
    (block,) = source.blocks("all")
    assert [block.locate(row) for row in range(5)] == [f"{source.path}, line {n}" for n in (2, 5, 6, 9, 12)]


def test_splits_are_disjoint_and_stratified_on_request(tmp_path: Path) -> None:
    source = write(tmp_path / "table.csv", "a,b\n" + "1,x\n2,y\n" * 20)
    assert {name: len(rows) for name, rows in source.splits().items()} == {"train": 28, "valid": 6, "test": 6}
    again = Csv(path=source.path, stratify="b", valid=4, test=0.5)
    assert {name: sum(rows % 2) for name, rows in again.splits().items()} == {"train": 8, "valid": 2, "test": 10}


def test_the_fingerprint_follows_the_content_and_how_it_is_read_but_not_the_place(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, "a,b\n1,2\n").fingerprint() for name in ("one.csv", "two.csv"))
    assert one == two != write(tmp_path / "one.csv", "a,b\n1,3\n").fingerprint()
    assert Csv(path=str(tmp_path / "two.csv"), types={"a": "float"}).fingerprint() != two


def test_a_relative_path_is_below_the_data_folder_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write(tmp_path / "houses.csv", "a,b\n1,2\n")
    assert Csv(path="houses.csv").sizes() == {"all": 1}
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path / "data"))
    write(tmp_path / "data" / "houses.csv", "a,b\n1,2\n3,4\n")
    assert Csv(path="houses.csv").sizes() == {"all": 2}
    with pytest.raises(DataError, match=r"no file .*data/house.csv or .*/house.csv; did you mean houses.csv\?"):
        Csv(path="house.csv").sizes()
    assert Csv(path=".").sizes() == {"all": 2}  # the data folder; a folder is all of its files


# -------------------------------------------------------------------------------------------------------- wrong files


@pytest.mark.parametrize(
    ("text", "types", "message"),
    [
        ("", None, "table.csv is empty"),
        ("a,b\n", None, "has no rows below the names of its columns"),
        ("a,b,a\n1,2,3\n", None, "has two columns named `a`"),
        ('a,b\n1,"x\ny"\n\n1,2,3\n', None, "table.csv, line 5: the number of fields is 3, not 2 as in the first line"),
        (
            "a,b\n1,2\n3\n",
            None,
            "line 3: the number of fields is 1, not 2 as in the first line; an empty field needs its ',', and a field "
            "with a line break needs quotes; to skip",
        ),
        (
            "a,b\n1,2\n3,4,5\n",
            None,
            "line 3: the number of fields is 3, .*; a field that contains a ',' needs quotes; to skip",
        ),
        (
            'a,b\n"\n",1\n\n2,x\n',
            {"b": "float"},
            "line 5: column `b` is 'x', not of type float; correct the value, or set `types.b=string`",
        ),
        ("a,b\n1,2\n2.5,1\n", {"a": "int"}, "line 3: column `a` is 2.5, not of type int"),
        ("a,b\n1,1\n2,maybe\n", {"b": "bool"}, "line 3: column `b` is 'maybe', not of type bool"),
        ("a,b\n1,2\n2,2020-01-01\n3,x", {"b": "timestamp"}, "line 2: column `b` is '2', not of type timestamp"),
        ("a,b\n1,2\n", {"bb": "int"}, "has no column `bb`, which `types` lists. Did you mean b?"),
        (
            b"a,b\n1,2\n2,\xe9\n",
            None,
            "line 3: byte 0xe9 isn't UTF-8; it looks like Latin-1: set `encoding=cp1252`, which reads '2,é'",
        ),
        (b"a,b\n1,2\n2,\xe9\n", {"b": "string"}, "table.csv, line 3: byte 0xe9 isn't UTF-8"),
        (b"a,\xe9\n1,2\n", None, "table.csv, line 1: byte 0xe9 isn't UTF-8"),
        ("a,b", None, "has no rows below the names of its columns"),
        ("\n\r\n", None, "table.csv is empty; its first line must name the columns"),
        ("a,b\n1,2\n3,4\0\n", None, "line 3: there is a byte 0x00, as in UTF-16"),
        (bytes(1 << 20) + b"\n", None, "line 1: there is a byte 0x00"),
        ("a,b\n1,2\n".encode("utf-16"), None, "table.csv looks like UTF-16: set `encoding=utf-16`"),
        ("a,b\n1,2\n".encode("utf-16-be"), None, "looks like UTF-16-BE: set `encoding=utf-16-be`"),
        ('a,b\n1,"2"\n3,"4"5\n', None, "line 3: characters follow a quoted field"),
        ('a,b\n1,"2" \n', None, "line 2: characters follow a quoted field"),
        ('a,b\n1,"x\n2,"y"\n3,z"\n', None, "line 2: characters follow a quoted field"),
        ('a,b\n1,""2\n', None, "line 2: characters follow a quoted field"),
        ('a,b\n1,"x"""y\n', None, "line 2: characters follow a quoted field"),
        ('a,b\n1,"""x""" \n', None, "line 2: characters follow a quoted field"),
    ],
)
def test_a_wrong_file_raises_an_error_with_its_line(
    tmp_path: Path, text: str | bytes, types: Any, message: str
) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    is_single_byte = b"a\0" not in content and b"\0a" not in content
    for line_end in (b"\n", b"\r", b"\r\n") if is_single_byte and b"\r" not in content else (b"\n",):
        path = write(tmp_path / "table.csv", content.replace(b"\n", line_end)).path
        with pytest.raises(DataError, match=message):
            Csv(path=path, types=types).sizes()


def test_a_table_of_very_many_columns_is_read(tmp_path: Path) -> None:
    names = [f"c {n}" for n in range(10_001)]
    path = write(tmp_path / "table.csv", "\n".join([",".join(names), *[",".join(["1"] * len(names))] * 3])).path
    with pytest.raises(DataError, match=r"no column `x`, .* Allowed: c 0, c 1, .*, c 1004, … \(9,991 more\)\.$"):
        Csv(path=path, types={"x": "int"}).sizes()


@pytest.mark.parametrize(("text_bytes", "parses"), [(1 << 26, 2), (0, 21)])
def test_the_texts_of_many_columns_are_parsed_at_once_where_they_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text_bytes: int, parses: int
) -> None:
    read_csv, calls = pyarrow.csv.read_csv, []
    monkeypatch.setattr("components.data.csv.reader.LARGE_BYTES", text_bytes)
    monkeypatch.setattr("pyarrow.csv.read_csv", lambda *args, **options: calls.append(1) or read_csv(*args, **options))
    lines = [[f"c {number}" for number in range(20)], *[["1e3", "2e3"] * 10] * 3]
    source = write(tmp_path / "table.csv", "\n".join(map(",".join, lines)))
    assert set(kinds(source).values()) == {"float"}
    assert len(calls) == parses


@pytest.mark.parametrize(
    ("values", "expected", "parses"),
    [
        (["1.0", "2.0", "3.0"], "float", 1),
        (["8.25", "7.5", "17"], "float", 1),  # no point before thousands
        (["", "1.0", "2"], "float", 1),
        (["-1.5", "1e3", "2e3"], "float", 2),  # -1.5 stands for a missing value
        (["1.0", "0x1F", "2"], "string", 1),
        (["+1", "2", "3"], "int", 2),
        (["1", "99999999999999999999", "2"], "string", 2),
        (["1.234", "5", "2.345"], "string", 2),  # 1234 or 1.234
    ],
)
def test_first_values_with_decimals_spare_a_second_parse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[str], expected: str, parses: int
) -> None:
    read_csv, calls = pyarrow.csv.read_csv, []
    monkeypatch.setattr("pyarrow.csv.read_csv", lambda *args, **options: calls.append(1) or read_csv(*args, **options))
    path = write(tmp_path / "table.csv", "\n".join(["x,y", *(f"{value},a" for value in values)])).path
    assert kinds(Csv(path=path, nulls=("", "-1.5")))["x"] == expected
    assert len(calls) == parses


@pytest.mark.parametrize("delimiter", [", ", "", "\n", "\0", "é"])
def test_a_delimiter_is_one_character(delimiter: str) -> None:
    with pytest.raises(DataError, match=r"`delimiter` \(=.*\) must be one ASCII character"):
        Csv(path="table.csv", delimiter=delimiter)


def test_a_row_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("reader", "errors"):
        monkeypatch.setattr(f"components.data.csv.{module}.BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr("components.data.csv.dialect.MAX_LINE_CHARACTERS", 1 << 16)
    for text, message in {
        "x" * 200_000: "line 1 has more than .* characters, the maximum; is it a table?",
        "x,y\n1," + "2" * 200_000 + "\n": "has a row of more than .*; is it a table?",
        'x,y\n1,"' + "a\n" * 20_000 + '"\n1,2\n': "has a row of more than .*; is it a table?",
        'x,y\n1,"' + "a\n" * 200_000: "line 2: a quote is opened and never closed",
        "x,y\n1,2\n3,4,5\n" + "6" * 200_000 + ",7\n": "line 3: the number of fields is 3",
    }.items():
        with pytest.raises(DataError, match=rf"table\.csv,? {message}"):
            write(tmp_path / "table.csv", text).sizes()


def test_a_quote_within_a_field_is_a_character_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'a,b\n5" pipe,"7"" tube"\nx"y"z,"""q"""\nw,"p,""q"" r,"""\n'
    for size in (1, 2, 3, 5, 1 << 20):
        monkeypatch.setattr("components.data.csv.errors.CHUNK_BYTES", size)
        source = write(tmp_path / "table.csv", text)
        assert columns(source) == {"a": ['5" pipe', 'x"y"z', "w"], "b": ['7" tube', '"q"', 'p,"q" r,"']}
        with pytest.raises(DataError, match="line 5: characters follow a quoted field"):
            write(tmp_path / "table.csv", f'{text}x,"y"z\nu,v\n').sizes()


def test_spellings_of_missing_values_are_counted_in_the_named_columns(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\nNaN,1\n,2\nNaN,\n3,x\n")
    reader = Reader(CsvFile(PackedFile(path)), nulls=("", "NaN"))
    assert reader.count_spellings({"a": "float"}) == {"a": {"NaN": 2}}
    assert reader.count_spellings({}) == {}
