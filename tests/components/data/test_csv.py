"""CSV files: what their values are taken for, how rows are named, what is refused, and what is suggested for them."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data.csv import NULLS, Csv
from components.data.csv_table import Reader
from components.data.packed import Packed
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
    return dict(source.columns.kinds)


# ---------------------------------------------------------------------------------------------------- values and types


def test_types_are_those_that_all_rows_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.data.csv_table.BLOCK_BYTES", 1 << 18)  # so that there are several
    rows = "\n".join(f"{n},{n},{n},{n}.5,true,2020-01-02,2020-01-02 10:00:00,word {n}" for n in range(40_000))
    source = write(tmp_path / "table.csv", f"i,f,s,g,b,d,t,w\n{rows}\n7,2.5,one,-1e3,false,1999-12-31,1999-12-31,\n")
    assert kinds(source) == {
        **dict.fromkeys("sw", "string"),
        **dict.fromkeys("fg", "float"),
        **dict.fromkeys("dt", "timestamp"),
        "i": "int",
        "b": "bool",
    }
    values = source.columns.values
    dtypes = ["int64", "float64", "bool", "datetime64[D]", "datetime64[s]"]
    assert [str(values[name].dtype) for name in "ifbdt"] == dtypes
    assert values["f"][-1] == 2.5
    assert values["s"].tolist()[-2:] == ["39999", "one"]
    assert values["t"][[0, -1]].astype(str).tolist() == ["2020-01-02T10:00:00", "1999-12-31T00:00:00"]
    assert source.columns.valid.keys() == {"w"}
    blocks = list(source.blocks("all"))
    assert len(blocks) > 1
    assert [sum(len(block.columns["i"]) for block in blocks), blocks[1].columns["i"][0]] == [40_001, blocks[1].first]


def test_gaps_are_marked_in_every_type_and_nan_is_one(tmp_path: Path) -> None:
    text = "i,f,s,b,t,n\n1,1.5,a,true,2020-01-01,\n,nan,NA,,NULL,\n3,N/A,a,false,null,\n4,2,,true,2020-01-04,\n"
    source = write(tmp_path / "table.csv", text)
    assert columns(source)["i"] == [1, None, 3, 4]
    assert columns(source)["f"] == [1.5, None, None, 2.0]
    assert columns(source)["s"] == ["a", None, "a", None]
    assert columns(source)["b"] == [True, None, False, True]
    assert [day and str(day) for day in columns(source)["t"]] == ["2020-01-01", None, None, "2020-01-04"]
    assert columns(source)["n"] == [None] * 4
    assert kinds(source)["n"] == "float"
    values = source.columns.values
    assert np.isnan(values["f"]).tolist() == [False, True, True, False]
    assert np.isnat(values["t"]).tolist() == [False, True, True, False]
    assert values["i"].tolist() == [1, 0, 3, 4]
    assert values["s"].tolist() == ["a", "", "a", ""]


def test_what_a_gap_is_called_can_be_said(tmp_path: Path) -> None:
    source = write(tmp_path / "table.csv", "x,y\n1,NA\n?,b\n")
    assert kinds(source) == {"x": "string", "y": "string"}
    other = Csv(path=source.path, nulls=("?",))
    assert columns(other) == {"x": [1, None], "y": ["NA", "b"]}
    assert "" in NULLS


def test_text_that_repeats_is_a_dictionary_and_unicode_is_kept(tmp_path: Path) -> None:
    source = write(tmp_path / "table.csv", "\ufeffcity,who\nMálaga,😀 1\n東京,b\nMálaga,c\n東京,d\n")
    city, who = source.columns.values["city"], source.columns.values["who"]
    assert isinstance(city, Strings)
    assert isinstance(who, Strings)
    assert city.indices is not None
    assert city.indices.tolist() == [0, 1, 0, 1]
    assert who.indices is None
    assert columns(source) == {"city": ["Málaga", "東京"] * 2, "who": ["😀 1", "b", "c", "d"]}


def test_declared_types_win(tmp_path: Path) -> None:
    text = "zip,n,flag,day,clock\n007,1,1,2020-01-01,12:30\n008,2,0,2020-01-02T01:00:00,1:00\n"
    plain = write(tmp_path / "table.csv", text)
    assert kinds(plain) == {"zip": "string", "n": "int", "flag": "int", "day": "timestamp", "clock": "string"}
    types: Any = {"zip": "string", "n": "float", "flag": "bool", "day": "timestamp"}
    source = Csv(path=plain.path, types=types)
    assert columns(source)["zip"] == ["007", "008"]
    assert columns(source)["n"] == [1.0, 2.0]
    assert columns(source)["flag"] == [True, False]
    assert kinds(source) == types | {"clock": "string"}
    clocks = write(tmp_path / "clocks.csv", "a,b\n12:30,1\n13:00,2\n")
    assert columns(clocks)["a"] == ["12:30", "13:00"], "times of day are text"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["01000", "8001", ""], "string"),
        (["0", "10", ""], "int"),
        (["-01", "5"], "int"),
        (["00.5", "1"], "float"),
        (["12345678901234567890", "7"], "string"),
        (["00000000000000000123", "7"], "string"),
        (["9223372036854775807", "7"], "int"),
        (["12345678901234567890", "0.5"], "float"),
        (["1e30", "7"], "float"),
        (["inf", "1e30"], "float"),
    ],
)
def test_digits_that_a_number_would_lose_are_text(tmp_path: Path, values: list[str], kind: str) -> None:
    lines = [f'{value},{n},"x0"' for n, value in enumerate(values)]
    source = write(tmp_path / "table.csv", "\n".join(["code,n,s", *lines]))
    assert kinds(source) == {"code": kind, "n": "int", "s": "string"}
    if kind == "string":
        assert columns(source)["code"] == [value or None for value in values]


def test_digits_are_found_wherever_a_field_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bytes_ in range(1, 5):
        monkeypatch.setattr("components.data.csv_table.CHUNK_BYTES", bytes_)
        path = write(tmp_path / "table.csv", "a;b\n1;07\n").path
        assert kinds(Csv(path=path, delimiter=";")) == {"a": "int", "b": "string"}


def test_declared_integers_may_be_spelt_as_pandas_does_once_there_were_gaps(tmp_path: Path) -> None:
    path = write(tmp_path / "table.csv", "y,clock\n1.0,01:30\n,02:30\n3,\n").path
    types: Any = {"y": "int"}
    assert columns(Csv(path=path, types=types)) == {"y": [1, None, 3], "clock": ["01:30", "02:30", None]}
    for text, line in (("2.0\nx", "line 3: column `y` is 'x'"), ("2.0\n2.5", "3: column `y` is '2.5'")):
        write(Path(path), f"y,x\n{text.replace(chr(10), ',1' + chr(10))},1\n")
        with pytest.raises(DataError, match=f"{line}, not of the type int; mend it"):
            Csv(path=path, types=types).sizes()


def test_other_delimiters_and_quotes(tmp_path: Path) -> None:
    source = write(tmp_path / "table.csv", 'a;b\n"x;""y""\nz";1\r\n\n"";2\n')
    assert columns(Csv(path=source.path, delimiter=";")) == {"a": ['x;"y"\nz', None], "b": [1, 2]}
    with pytest.raises(DataError, match=r"has one column, 'a;b'; .* data.delimiter=semicolon$"):
        source.sizes()
    for spelt in ("semicolon", ";"):
        assert Csv(path=source.path, delimiter=spelt).sizes() == {"all": 2}
    tabs = write(tmp_path / "tabs.csv", "a\tb\n1\t2\n")
    for spelt in ("tab", r"\t", "\t"):
        assert kinds(Csv(path=tabs.path, delimiter=spelt)) == {"a": "int", "b": "int"}
    with pytest.raises(DataError, match=r"has one column, 'a;b'; .* data.delimiter=semicolon$"):
        write(tmp_path / "decimals.csv", "a;b\n1,5;2\n").sizes()


@pytest.mark.parametrize("rows", ['1,2\n"3,4\n5,6\n', '1,2\n3,"4\n5,6\n', '1,2\n3,"4'])
def test_a_quote_that_is_never_closed_is_named_by_its_line(tmp_path: Path, rows: str) -> None:
    with pytest.raises(DataError, match=r"table.csv, line 3: a quote is opened and never closed"):
        write(tmp_path / "table.csv", f"a,b\n{rows}").sizes()


def test_rows_are_named_by_the_lines_they_begin_in(tmp_path: Path) -> None:
    source = write(tmp_path / "table.csv", 'a,b\n1,"x\ny"\n\n2,"un""even"\n3,o"dd\n\n\n4,"p\n\nq"\n5,z')
    (block,) = source.blocks("all")
    assert [block.where(row) for row in range(5)] == [f"{source.path}, line {n}" for n in (2, 5, 6, 9, 12)]


def test_splits_are_disjoint_and_by_class_where_asked(tmp_path: Path) -> None:
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
    for folder in ("data", ".", ".."):
        with pytest.raises(DataError, match=rf"data.path={re.escape(folder)} is a folder, .*; name a file"):
            Csv(path=folder).sizes()


# -------------------------------------------------------------------------------------------------------- wrong files


@pytest.mark.parametrize(
    ("text", "types", "message"),
    [
        ("", None, "table.csv is empty"),
        ("a,b\n", None, "has no rows below the names of its columns"),
        ("a,b,a\n1,2,3\n", None, "has the column `a` twice"),
        ('a,b\n1,"x\ny"\n\n1,2,3\n', None, "table.csv, line 5: the number of fields is 3, not 2 as in the first line"),
        ("a,b\n1,2\n3\n", None, "line 3: the number of fields is 1, not 2"),
        ('a,b\n"\n",1\n\n2,x\n', {"b": "float"}, "line 5: column `b` is 'x', not of the type float; mend it"),
        ("a,b\n1,2\n2.5,1\n", {"a": "int"}, "line 3: column `a` is '2.5', not of the type int"),
        ("a,b\n1,1\n2,yes\n", {"b": "bool"}, "line 3: column `b` is 'yes', not of the type bool"),
        ("a,b\n1,2\n2,2020-01-01\n3,x", {"b": "timestamp"}, "line 2: column `b` is '2', not of the type timestamp"),
        ("a,b\n1,2\n", {"bb": "int"}, "has no column `bb`, which data.types names; did you mean b?"),
        (b"a,b\n1,2\n2,\xe9\n", None, "table.csv, line 3: byte 0xe9 isn't UTF-8; convert the file"),
        (b"a,b\n1,2\n2,\xe9\n", {"b": "string"}, "table.csv, line 3: byte 0xe9 isn't UTF-8"),
        (b"a,\xe9\n1,2\n", None, "table.csv, line 1: byte 0xe9 isn't UTF-8"),
        ("a,b", None, "has no rows below the names of its columns"),
        ("\n\r\n", None, "table.csv is empty; its first line must name the columns"),
        ("a,b\n1,2\n3,4\0\n", None, "line 3: there is a byte 0x00, as no text has but in UTF-16"),
        (bytes(1 << 20) + b"\n", None, "line 1: there is a byte 0x00"),
        ("a,b\n1,2\n".encode("utf-16"), None, "table.csv is in UTF-16; convert it"),
        ("a,b\n1,2\n".encode("utf-16-be"), None, "line 1: there is a byte 0x00, as no text has but in UTF-16"),
        ('a,b\n1,"2"\n3,"4"5\n', None, "line 3: something follows a quote that is closed"),
        ('a,b\n1,"2" \n', None, "line 2: something follows a quote that is closed"),
        ('a,b\n1,"x\n2,"y"\n3,z"\n', None, "line 2: something follows a quote that is closed"),
        ('a,b\n1,""2\n', None, "line 2: something follows a quote that is closed"),
        ('a,b\n1,"x"""y\n', None, "line 2: something follows a quote that is closed"),
        ('a,b\n1,"""x""" \n', None, "line 2: something follows a quote that is closed"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str | bytes, types: Any, message: str) -> None:
    source = Csv(path=write(tmp_path / "table.csv", text).path, types=types)
    with pytest.raises(DataError, match=message):
        source.sizes()


def test_a_table_of_very_many_columns_is_read_but_not_looked_at_one_by_one(tmp_path: Path) -> None:
    names = [f"c {n}" for n in range(10_001)]
    path = write(tmp_path / "table.csv", "\n".join([",".join(names), *[",".join(["1"] * len(names))] * 3])).path
    with pytest.raises(DataError, match=r"has 10,001 columns, more than the 10,000 .* write a feature file"):
        Csv(path=path, target="c 1").suggest()
    with pytest.raises(DataError, match=r"no column `x`, .* allowed: c 0, c 1, .*, c 1004, … \(9,991 more\)$"):
        Csv(path=path, types={"x": "int"}).sizes()


@pytest.mark.parametrize("delimiter", [", ", "", '"', "\n", "\0", "é"])
def test_a_delimiter_is_one_character(delimiter: str) -> None:
    with pytest.raises(DataError, match=r"`delimiter` \(=.*\) must be one character"):
        Csv(path="table.csv", delimiter=delimiter)


def test_a_row_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("csv_table", "csv_mistake"):
        monkeypatch.setattr(f"components.data.{module}.BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr("components.data.csv_mistake.LONGEST", 1 << 16)
    for text, message in {
        "x" * 200_000: "line 1 has more than .* characters; is it a table?",
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
        monkeypatch.setattr("components.data.csv_mistake.CHUNK_BYTES", size)
        source = write(tmp_path / "table.csv", text)
        assert columns(source) == {"a": ['5" pipe', 'x"y"z', "w"], "b": ['7" tube', '"q"', 'p,"q" r,"']}
        with pytest.raises(DataError, match="line 5: something follows a quote that is closed"):
            write(tmp_path / "table.csv", f'{text}x,"y"z\nu,v\n').sizes()


# --------------------------------------------------------------------------------------------------------- suggestions


def suggested(tmp_path: Path, data: dict[str, list[Any]], **options: Any) -> dict[str, Any]:
    lines = [",".join(data), *(",".join(map(str, row)) for row in zip(*data.values(), strict=True))]
    return dict(Csv(path=write(tmp_path / "table.csv", "\n".join(lines)).path, **options).suggest())


def repeated(*values: Any, rows: int = 120) -> list[Any]:
    return (list(values) * rows)[:rows]


NUMBERS = [n * 0.5 for n in range(120)]


@pytest.mark.parametrize(
    ("target", "part", "loss", "metrics"),
    [
        (NUMBERS, "Numeric", "mse", ["rmse", "mae"]),
        (list(range(120)), "Numeric", "mse", ["rmse", "mae"]),
        (repeated(3, 4, 5), "Label", "softmax_cross_entropy", ["accuracy"]),
        (repeated("yes", "no"), "Label", "binary_cross_entropy", ["accuracy"]),
        (repeated("true", "false"), "Label", "binary_cross_entropy", ["accuracy"]),
    ],
)
def test_the_target_decides_what_is_learned(
    tmp_path: Path, target: list[Any], part: str, loss: str, metrics: list[str]
) -> None:
    found = suggested(tmp_path, {"y": target, "x": NUMBERS}, target="y")
    assert found["feature"]["target"]["_target_"] == f"components.feature.{part}"
    assert (found["choices"]["loss"], found["choices"]["metric"]) == (loss, metrics)
    assert found["values"]["data"].get("stratify") == ("y" if part == "Label" else None)


def test_each_column_becomes_what_suits_it_or_is_said_to_be_left_out(tmp_path: Path) -> None:
    found = suggested(
        tmp_path,
        {
            "": list(range(1, 121)),
            "y": NUMBERS,
            "a b": repeated(1, 2, ""),
            "a_b": repeated(3, 4),
            "tail": repeated(*[0] * 30, 1000),
            "place": repeated("here", "", "there"),
            "city": [f"city {n // 3}" for n in range(120)],
            "who": [f"name {n}" for n in range(120)],
            "typo": [*range(119), "1O"],
            "same": repeated(1),
            "none": repeated(""),
            "on": repeated("true", "false"),
            "day": repeated("2020-01-01", "2021-05-05"),
            "at": repeated("2020-01-01 10:00:00", "", "2020-02-01 11:00:00"),
            "target": NUMBERS,
        },
        target="y",
    )
    feature = "components.feature."

    def numeric(key: str) -> dict[str, Any]:
        return {"_target_": f"{feature}Numeric", "key": key, "normalize": "z_score"}

    def time(key: str, *parts: str) -> dict[str, Any]:
        return {"_target_": f"{feature}Time", "key": key, "parts": list(parts), "encoding": "cyclic"}

    assert found["feature"]["columns"] == {
        "a_b_2": numeric("a b") | {"missing": "median", "indicate_missing": True},
        "a_b": numeric("a_b"),
        "tail": numeric("tail") | {"normalize": ["log1p", "z_score"]},
        "place": {"_target_": f"{feature}Vocabulary", "key": "place", "oov": 1, "missing": "missing"},
        "city": {"_target_": f"{feature}Vocabulary", "key": "city", "oov": 1, "min_count": 2},
        "city_embedding": {"_target_": f"{feature}Embedding", "key": "city", "dimension": 13},
        "on": numeric("on"),
        "day": time("day", "month", "weekday"),
        "at": time("at", "month", "weekday", "hour") | {"missing": 0.0},
        "target_2": numeric("target"),
    }
    listed = ["a_b_2", "a_b", "tail", "place", "city_embedding", "on", "day", "at", "target_2"]
    assert found["feature"]["inputs"] == {"columns": listed}
    assert found["notes"] == [
        "'' is left out: it numbers the rows",
        "who is left out: almost every row has a text of its own",
        f"typo is left out: 1 value is no number, the first '1O' ({tmp_path / 'table.csv'}, line 121); "
        """'data.nulls=["","1O"]' makes gaps of them, data.types.typo=string categories of all""",
        "same is left out: it has one value only",
        "none is left out: it has no values",
    ]
    table = {row[0]: row[1:] for row in found["table"]}
    assert table["column"] == ("type", "missing", "distinct", "becomes")
    assert table["place"] == ("string", "40", "2", "one of 2 values")
    assert found["values"]["data"]["types"]["a_b"] == "float", "whole by chance"
    assert "who" not in found["values"]["data"]["types"]


@pytest.mark.parametrize(("low", "steps"), [(0, ["log1p", "z_score"]), (-1, "z_score"), (-0.5, "z_score")])
def test_of_skewed_numbers_below_0_no_logarithm_is_taken(tmp_path: Path, low: float, steps: Any) -> None:
    says, part = becomes(tmp_path, [low, *repeated(*[0] * 30, 1000)])
    assert part is not None
    assert part["normalize"] == steps
    assert ("logarithm" in says) == (low == 0)


def test_many_different_texts_are_hashed(tmp_path: Path) -> None:
    rows = 60_000
    found = suggested(tmp_path, {"y": list(range(rows)), "x": [f"u{n % 25_000}" for n in range(rows)]}, target="y")
    assert found["feature"]["columns"]["x"]["_target_"] == "components.feature.Hashed"
    assert found["values"]["training"]["batch_size"] == 512


def test_a_suggestion_leaves_nothing_behind(tmp_path: Path) -> None:
    path = write(tmp_path / "table.csv", "zip,y\n1000,1\n2000,2\n1000,3\n2000,4\n").path
    types: Any = {"zip": "string"}
    Csv(path=path, types=types, target="y").suggest()
    assert kinds(Csv(path=path)) == {"zip": "int", "y": "int"}


def becomes(tmp_path: Path, values: list[Any]) -> tuple[str, dict[str, Any] | None]:
    """What is said of a column `x`, and what it becomes."""
    found = suggested(
        tmp_path,
        {"y": [n * 0.5 for n in range(len(values))], "x": values, "z": repeated(0.5, 1, rows=len(values))},
        target="y",
    )
    part = found["feature"]["columns"].get("x")
    return {row[0]: row[4] for row in found["table"]}["x"] if part else found["notes"][0].removeprefix("x is "), part


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([n * 7 % 200 for n in range(200)], "left out: it numbers the rows"),
        ([f"{n * 7 % 200}.0" for n in range(200)], "left out: it numbers the rows"),
        ([(n * 77 % 211) * 3 for n in range(200)], "left out: it names the rows: no two have the same"),
        ([n * n for n in range(200)], "z-score"),
        ([10**17 + 10**15 * (n % 7) + 1 for n in range(200)], "one of 7 values"),
        ([10**17 + 10**15 * n for n in range(200)], "left out: almost every row has a text of its own"),
    ],
)
def test_whole_numbers_that_name_rows_are_left_out(tmp_path: Path, values: list[Any], says: str) -> None:
    said, part = becomes(tmp_path, values)
    assert said == says
    assert (part is None) == said.startswith("left out")


def test_numbers_far_from_0_are_brought_there_before_they_are_float32(tmp_path: Path) -> None:
    seconds = [1_700_000_000 + 60 * (n % 50) for n in range(200)]
    said, part = becomes(tmp_path, seconds)
    assert said == "minus 1700001470, z-score"
    assert part is not None
    assert part["expression"] == "`x` - 1700001470"
    assert becomes(tmp_path, [-second for second in seconds])[1] == part | {"expression": "`x` + 1700001470"}
    assert becomes(tmp_path, [1000.5 + n % 2 / 1000 for n in range(200)])[0] == "minus 1000.5005, z-score"


def test_infinite_numbers_are_told_without_a_warning(tmp_path: Path) -> None:
    assert becomes(tmp_path, [*NUMBERS, "inf"])[0] == "z-score, but is inf or NaN in 1 row, which a run refuses"
    assert becomes(tmp_path, [*NUMBERS, "1e300"])[0] == "z-score"
    message = r"column `y` .* is inf or NaN in 1 row, the first is .*table.csv, line 122; mend"
    with pytest.raises(DataError, match=message):
        suggested(tmp_path, {"y": [*NUMBERS, "inf"], "x": [*NUMBERS, 1]}, target="y")


def test_a_target_of_few_whole_numbers_is_classes_however_they_are_spelt(tmp_path: Path) -> None:
    found = suggested(tmp_path, {"y": repeated("0.0", "1.0"), "x": NUMBERS}, target="y")
    assert found["feature"]["target"]["_target_"] == "components.feature.Label"
    types = found["values"]["data"]["types"]
    assert types["y"] == "int"
    assert columns(Csv(path=str(tmp_path / "table.csv"), types=types))["y"][:3] == [0, 1, 0]


def test_names_that_a_configuration_cannot_hold_are_left_out_and_said(tmp_path: Path) -> None:
    data = {"y": NUMBERS, "a ${b}": repeated(1, 2), "???": repeated(1, 2), "_target_": repeated(1, 2), "c": NUMBERS}
    found = suggested(tmp_path, data, target="y")
    assert found["feature"]["columns"].keys() == found["values"]["data"]["types"].keys() - {"y"} == {"c"}
    assert found["notes"][0] == "a ${b} is left out: a configuration can't name it; rename it"
    with pytest.raises(DataError, match=r"column `a \$\{b\}` \(data.target\) of .* has a name that a configuration"):
        suggested(tmp_path, data, target="a ${b}")


MARKED = [*NUMBERS[:90], *(["?"] * 30)]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            MARKED,
            """left out: 30 values are no numbers, the first '?' (TABLE, line 92); 'data.nulls=["","?"]' makes gaps""",
        ),
        ([*NUMBERS[:-1], "1O"], "left out: 1 value is no number, the first '1O' (TABLE, line 121); 'data.nulls="),
        (
            [*NUMBERS[:-5], *"abcde"],
            "left out: 5 values are no numbers, the first 'a' (TABLE, line 117); mend them, or",
        ),
        ([f'"{n},{n}"' for n in range(60)], "left out: numbers such as '0,0' need a point before decimals"),
        ([f'"{n},000.5"' for n in range(60)], "left out: numbers such as '0,000.5' need a point"),
        (
            [f"{n % 28 + 1}/02/20{n:02}" for n in range(60)],
            "left out: dates such as '1/02/2000' aren't ISO 8601; a column",
        ),
        ([f"code {n}" for n in range(60)], "left out: almost every row has a text of its own"),
        ([f"a film of the year {n}" for n in range(60)], "text: embedding of its words and pairs of words, 8 numbers"),
    ],
)
def test_many_different_texts_are_looked_at(tmp_path: Path, values: list[Any], says: str) -> None:
    said, _ = becomes(tmp_path, values)
    assert said.startswith(says.replace("TABLE", str(tmp_path / "table.csv")))


def test_prose_is_hashed_and_embedded(tmp_path: Path) -> None:
    found = suggested(tmp_path, {"y": NUMBERS, "x": [f"some words on {n}" for n in range(len(NUMBERS))]}, target="y")
    columns = found["feature"]["columns"]
    assert list(columns) == ["x", "x_ids", "x_embedding"]
    assert [part["key"] for part in columns.values()] == ["x", "x", "x_ids"]
    assert found["feature"]["inputs"] == {"columns": ["x_embedding"]}
    assert columns["x_ids"]["buckets"] == 2**14
    without = suggested(tmp_path, {"y": NUMBERS, "x": NUMBERS[::-1]}, target="y")
    assert found["values"]["learning_rate"] < without["values"]["learning_rate"]


def test_types_that_were_declared_decide(tmp_path: Path) -> None:
    count = [n % 40 for n in range(120)]
    data: dict[str, list[Any]] = {"y": count, "x": MARKED, "z": repeated(0, 1)}
    number = suggested(tmp_path, data, target="y")
    assert number["choices"]["loss"] == "mse"
    assert {row[0]: row[4] for row in number["table"]}["y"].endswith("; data.types.y=string makes it classes")
    types: Any = {"y": "string", "x": "string"}
    found = suggested(tmp_path, data, target="y", types=types)
    assert found["choices"]["loss"] == "softmax_cross_entropy"
    assert found["feature"]["columns"]["x"]["_target_"].endswith("Vocabulary")
    assert {row[0]: row[4] for row in suggested(tmp_path, data, target="z")["table"]}["z"] == (
        "target: one of 2 classes; data.types.z=float makes it a number"
    )
    assert suggested(tmp_path, data, target="z", types={"z": "float"})["choices"]["loss"] == "mse"


def test_what_is_known_of_gaps_and_classes_is_told(tmp_path: Path) -> None:
    data: dict[str, list[Any]] = {"y": [*repeated("a", "b"), "c"], "x": [*repeated("NA", "US", "", "FR"), "US"]}
    found = suggested(tmp_path, data, target="y")
    assert {row[0]: row[2] for row in found["table"]}["x"] == "60 (30 as NA)"
    assert "stratify" not in found["values"]["data"]
    assert found["notes"] == [
        "class 'c' of y has 1 row, too few for 3 splits: a run may refuse it; get more of it, or leave it out"
    ]
    with pytest.raises(DataError, match=r"30 as NA: 'data.nulls=\[\"\"\]' takes them for values"):
        suggested(tmp_path, {"y": repeated("NA", "US", "FR", "DE"), "x": NUMBERS}, target="y")


@pytest.mark.parametrize(("rows", "train"), [(4, 2), (7, 5), (10, 6)])
def test_a_batch_is_no_larger_than_what_is_left_to_train_on(tmp_path: Path, rows: int, train: int) -> None:
    found = suggested(tmp_path, {"y": NUMBERS[:rows], "x": [n * n + 0.5 for n in range(rows)]}, target="y")
    assert found["values"]["training"]["batch_size"] == train


def test_names_are_shown_and_spelt_as_they_are(tmp_path: Path) -> None:
    data = {"1": repeated(1, 2), " y": NUMBERS}
    with pytest.raises(DataError, match=r"""did you mean ' y'\? write 'data.target=" y"' \(' y', 1\)"""):
        suggested(tmp_path, data, target="y")
    assert suggested(tmp_path, data, target=1)["feature"]["target"]["key"] == "1"
    with pytest.raises(DataError, match="does the first line lack the names"):
        suggested(tmp_path, {"0.5": NUMBERS, "7": NUMBERS}, target="y")


@pytest.mark.parametrize(
    ("data", "target", "message"),
    [
        (
            {"price": [1, 2], "x": [1, 2]},
            "prize",
            r"data.target=prize is no column of .*; did you mean price\? \(price",
        ),
        ({"price": [1, 2], "x": [1, 2]}, None, r"data.target is missing: which column .* predicted\? \(price, x\)"),
        ({"price": [1, 2]}, "price", "has one column only, price"),
        ({"y": ["", ""], "x": [1, 2]}, "y", r"column `y` \(data.target\) of .* has no values"),
        ({"y": [3, 3], "x": [1, 2]}, "y", "has one value only: there is nothing to learn"),
        ({"y": [3, 4, ""], "x": [1, 2, 3]}, "y", "no value in 1 row, the first is .*table.csv, line 4; leave"),
        ({"y": [3, 4], "x": [1, 1], "z": ["", ""]}, "y", "no column to predict `y` .* from: x: left out: it has one v"),
        ({"y": ["2020-01-01", "2020-01-02"], "x": [1, 2]}, "y", "holds times; a number or a class is needed"),
        (
            {"y": [f"t{n}" for n in range(9)], "x": NUMBERS[:9]},
            "y",
            "9 different texts in 9 rows: these are no cl",
        ),
    ],
)
def test_what_cannot_be_predicted_is_told(
    tmp_path: Path, data: dict[str, list[Any]], target: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        suggested(tmp_path, data, target=target)


@pytest.mark.skipif("TITRATE_DATA" not in os.environ, reason="TITRATE_DATA names no folder of real data")
def test_california_housing_as_it_is_published() -> None:
    source = Csv(path="california_housing/housing.csv", target="median_house_value")
    assert source.sizes() == {"all": 20_640}
    found = source.suggest()
    assert [row[0] for row in found["table"] if row[2] == "207"] == ["total_bedrooms"]
    assert found["feature"]["columns"]["ocean_proximity"]["_target_"] == "components.feature.Vocabulary"


def test_spellings_of_gaps_are_counted_in_the_columns_that_were_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\nNaN,1\n,2\nNaN,\n3,x\n")
    reader = Reader(Packed(path), ",", ("", "NaN"), {})
    assert reader.gaps(["a"]) == {"a": {"NaN": 2}}
    assert reader.gaps([]) == {}
