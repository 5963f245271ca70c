"""Files of JSON lines give the rows that Python's reader gives, and an error names its line, in any block."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import TableFile, json_lines
from components.types import DataError, Strings

pytestmark = pytest.mark.parametrize("block_bytes", [1, 1 << 20])  # a block has one line, or all


@pytest.fixture(autouse=True)
def set_block_bytes(block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", block_bytes)


def read(path: Path, content: str | bytes, **options: Any) -> Any:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return TableFile(path=str(path), **options).open().table


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"x": 1}\n\n{"x": "a"}\n', "t, line 3: column `x` has a value of the type string, but number before; write"),
        ('{"x": 1}\n{"x": "5"}\n', "t, line 2: column `x` has a value of the type string, but number before"),
        ('{"x": "a"}\n{"x": 5}\n', "t, line 2: column `x` has a value of the type number, but string before"),
        ('{"x": null}\n{"x": true}\n{"x": 5}\n', "t, line 3: column `x` has a value of the type number, but boolean"),
        ('{"x": "2020-01-01"}\n{"x": 5}\n', "t, line 2: column `x` has a value of the type number, but string before"),
        ('{"x": 1}\n{"x": {}}\n', "t, line 2: column `x` has a value of the type object, but number before"),
        ('{"x": {"y": 1}}\n{"x": {"y": "a"}}\n', "t, line 2: column `x.y` has a value of the type string"),
        ('{"x": {"y": 1}}\n{"x": {}}\n{"x": 1}\n', "t, line 3: column `x` has a value of the type number, but object"),
        ('{"x": 1}\n{"z": 1}\n{"x": {"y": 1}}\n', "t, line 3: column `x` has a value of the type object, but number"),
        ('{"x": [1]}\n{"x": 1}\n', "t, line 2: column `x` has a value of the type number, but array"),
        (
            '{"x": [1]}\n{"x": ["a"]}\n',
            "t, line 2: column `x` has, in a list, a value of the type string, but number before",
        ),
        ('{"x": 1}\n{"x":\n', "t, line 2: it is no JSON object: Invalid value"),
        ('{"x": 1}\n[1]\n', "t, line 2: [1] is no object; write one in each line"),
        ('{"x": 1}\n5\n', "t, line 2: 5 is no object"),
        ('{"x": 1}\n{"x": 2}\nnull\n', "t, line 3: null is no object; write one in each line"),
        ('{"x": 1, "x": 2}\n', "t, line 1: `x` is there twice"),
        ('{"x": {"y": null, "y": 1}}\n', "t, line 1: `x.y` is there twice"),
        ('{"x": 1}\n{"x": 2, "\\u0078": 3}\n', "t, line 2: `x` is there twice"),
        ('{"x": 1}\n{"x": 1e999}\n', "t, line 2: it is no JSON object: Number too big to be stored in double"),
        (b'{"x": "a"}\n{"x": "\xff"}\n', "t, line 2: column `x` has a text that isn't UTF-8"),
        (b'{"x": ["a", "b"]}\n{"x": ["c", "\xff"]}\n', "t, line 2: column `x` has a text that isn't UTF-8"),
        ("{}\n", "t has no columns"),
        ('{"x": 1}{"x": 2}\n', "t, line 1: it is no JSON object: Extra data at character 9; write one in each line"),
        ('{"x": 1}\n{"x":\n2}\n', "t, line 2: it is no JSON object: "),
        (b'{"\xff": 1}\n', "t has a name that isn't UTF-8"),
    ],
)
def test_a_wrong_line_is_an_error(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read(tmp_path / "t", content)


WHOLE = 2**53 + 1  # no float


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f'{{"x": 1.5}}\n{{"x": {WHOLE}}}\n', f"t, line 2: column `x` has the whole number {WHOLE}; a float can't"),
        (f'{{"x": {WHOLE}}}\n{{"x": 1.5}}\n', f"t, line 1: column `x` has the whole number {WHOLE}; a float can't"),
        (
            '{"x": 1}\n\n{"x": 18446744073709551617}\n',
            "t, line 3: column `x` has the whole number 18446744073709551617",
        ),
        (
            f'{{"x": 1}}\n{{"x": 2, "y": {{"z": [0.5, {-WHOLE}]}}}}\n',
            f"t, line 2: column `y.z` has the whole number -{WHOLE}",
        ),
    ],
)
def test_a_whole_number_that_no_float_holds_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"{re.escape(message)}.*Write all of them in quotes, as texts\.$"):
        read(tmp_path / "t", content)


def test_whole_numbers_are_kept(tmp_path: Path) -> None:
    rows = [{"id": WHOLE, "x": 1.5, "t": f"{WHOLE}"}, {"id": -(2**63), "x": 1e300, "t": "a"}]
    table = read(tmp_path / "t", "".join(json.dumps(row) + "\n" for row in rows))
    assert table.values["id"].tolist() == [WHOLE, -(2**63)]
    floats = [2**60, 123456789012345680000, 10**22]  # as JavaScript writes floats
    table = read(tmp_path / "t", "".join(json.dumps({"x": x}) + "\n" for x in [0.5, *floats]))
    assert table.values["x"].tolist() == [0.5, *map(float, floats)]


def test_times_within_objects_and_lists_show_their_zones(tmp_path: Path) -> None:
    lines = ['{"a": {"t": "2020-01-01T10:00:00Z", "n": 1}, "l": ["2020-01-01"]}', '{"a": {"t": "2020-01-01T10:00:00"}}']
    problem = read(tmp_path / "t", "\n".join(lines)).problems["a.t"]
    assert "1 of 2 times have no time zone, and the others have one" in str(problem)
    table = read(tmp_path / "t", "\n".join(lines), dates={"a.t": "utc"})
    assert table.values["a.t"].tolist() == np.array(["2020-01-01T10:00"] * 2, "M8[us]").tolist()
    assert table.values["l"].values.tolist() == ["2020-01-01"]


def test_a_struct_may_be_null_and_a_key_may_be_absent_in_a_block(tmp_path: Path) -> None:
    lines = ['{"a": null}', '{"b": 1, "a": {"c": 1, "d": {"e": "x"}}}', '{"a": {}}', '{"a": {"c": 2.5, "d": null}}']
    table = read(tmp_path / "t", "\r\n".join(lines))
    assert table.types == {"b": "int", "a.c": "float", "a.d.e": "string"}
    assert table.values["a.c"][[1, 3]].tolist() == [1, 2.5]
    assert table.valid["a.c"].tolist() == [False, True, False, True]
    assert table.valid["a.d.e"].tolist() == table.valid["b"].tolist() == [False, True, False, False]


VALUES = {
    "i": st.integers(-(2**63), 2**63 - 1),
    "f": st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x % 1 or abs(x) < 2**53),
    "t": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
    "b": st.booleans(),
}
ROW = st.fixed_dictionaries({}, optional={name: st.none() | value for name, value in VALUES.items()})


@settings(max_examples=20, deadline=None)
@given(
    st.lists(ROW.map(lambda row: {"row": 1, **row}), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n"])
)
def test_the_rows_are_those_of_python(block_bytes: int, rows: list[dict[str, Any]], end: str) -> None:
    content = "".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode()
    found = json_lines._Reader(Path("t"), content).read()
    assert found.rows == len(rows)
    columns = {".".join(path): column.to_pylist() for path, column in found.columns.items()}
    expected = {name: [row.get(name) for row in rows] for row in rows for name in row}
    assert columns == expected
    assert all(isinstance(value, int) for value in columns.get("i", []) if value is not None)


def test_a_wrong_type_in_a_late_row_is_found(tmp_path: Path, block_bytes: int) -> None:
    rows = 40 if block_bytes == 1 else 100_000
    content = '{"x": 1}\n' * rows + '{"x": "a"}\n'
    with pytest.raises(DataError, match=f"t, line {rows + 1}: column `x` has a value of the type string, but number"):
        read(tmp_path / "t", content)


def test_a_long_line_is_read(tmp_path: Path) -> None:
    texts = ["a" * 3_000_000, "b"]
    values = read(tmp_path / "t", "".join(json.dumps({"x": text}) + "\n" for text in texts)).values["x"]
    assert isinstance(values, Strings)
    assert values.tolist() == texts


def test_objects_in_lists_may_gain_a_key_in_a_late_block(tmp_path: Path) -> None:
    """Nothing reads such a column, but another one of the file."""
    lines = ['{"x": [{"a": 1}], "y": 1}', '{"x": [{}], "y": 2}', '{"x": [{"a": 1.5, "b": [{"c": "t"}]}], "y": 3}']
    (tmp_path / "t").write_text("\n".join(lines))
    source = TableFile(path=str(tmp_path / "t")).open().with_used_columns({"y"})
    assert source.table.values["y"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("first", "empty", "wrong", "message"),
    [
        ("[1]", "[]", '["a"]', "column `x` has, in a list, a value of the type string, but number before"),
        ("[[1]]", "[[], null]", '[["a"]]', "column `x` has, in a list, a value of the type string, but number before"),
        ('[{"a": 1}]', "[{}]", '[{"a": "b"}]', "column `x.a` has, in a list, a value of the type string, but number"),
        ('[{"a": [1]}]', '[{"a": []}]', '[{"a": [{}]}]', "column `x.a` has, in a list, a value of the type object"),
    ],
)
def test_the_line_of_a_wrong_type_in_a_list_is_found(
    first: str, empty: str, wrong: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f'{{"x": {value}}}\n' for value in (first, empty, "null", wrong)]
    rest = "".join(rows[1:])
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", len(rest))
    content = rows[0] + "\n" * len(rest) + rest  # its second block has the last three rows
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read(tmp_path / "t", content)
    assert f"t, line {len(rest) + 4}: " in str(error.value)
