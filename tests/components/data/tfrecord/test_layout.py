"""The layout of features: records and bytes of several kinds, and new rows that have the layout of training."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tfrecord_files import open_table, pack, read_values, write_raw

from components.data import TableFile
from components.data.tfrecord.tensor import serialize_tensors
from components.types import DataError, Strings

GOLDEN = Path(__file__).parents[3] / "golden" / "tfrecord"


def make_tensors(*arrays: Any) -> list[bytes]:
    found = [serialize_tensors(array.reshape(-1), array.shape, 1) for array in map(np.asarray, arrays)]
    return [next(strings.iterate_bytes()) for strings in found]


def read_new_rows(training: Path, path: Path, **options: Any) -> Any:
    """Another file, read with the options that the training file shows."""
    source = open_table(training, **options)
    inferred = source.inferred_options(dict.fromkeys(source._store.types))
    return TableFile(path=str(path), **options | inferred).open()


@pytest.mark.parametrize(
    ("kind", "training", "new", "expected"),
    [
        ("int64", [[1], [2, 3], []], [[4], [5]], [[4], [5]]),
        ("int64", [[1, 2], [3, 4]], [[5, 6]], [[5, 6]]),
        ("int64", [[1, 2], [3, 4]], [[5]], "new, record 0: feature `x` has 1 value, not 2, for the shape [2]"),
        ("int64", [[1], [2]], [[3], [4, 5]], "new, record 1: feature `x` has 2 values, not at most one"),
        (
            "bytes",
            [[b"a"], [b"b"]],
            [[b"c"], [b"\xff\xd8"]],
            "new, record 1: feature `x` has b'\\xff\\xd8', which is no text",
        ),
        ("bytes", [[b"a"], [b"b"]], [[b"c\0"]], "new, record 0: feature `x` has b'c\\x00', which is no text"),
        ("bytes", [[b"\xff"], [b"b"]], [[b"c"], [b"22"]], [b"c", b"22"]),
        ("bytes", [[b"a", b"b"], []], [[b"1"], [b"2"]], [[b"1"], [b"2"]]),
    ],
)
def test_new_rows_have_the_layout_of_training(
    tmp_path: Path, kind: str, training: Any, new: Any, expected: Any
) -> None:
    (tmp_path / "old").write_bytes(pack({"x": (kind, training)} | {"y": ("int64", [[7]] * len(training))}))
    (tmp_path / "new").write_bytes(pack({"x": (kind, new)} | {"y": ("int64", [[7]] * len(new))}))
    source = read_new_rows(tmp_path / "old", tmp_path / "new")
    if isinstance(expected, str):
        with pytest.raises(DataError, match=re.escape(expected)):
            _ = source.table
    else:
        assert read_values(source.table.values["x"]) == expected


def test_new_rows_of_another_format_have_the_layout_that_their_columns_show(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(pack({"x": ("int64", [[1], [2]]), "name": ("bytes", [[b"a"], [b"b"]])}))
    (tmp_path / "lists").write_bytes(pack({"x": ("int64", [[1], [2, 3]]), "name": ("bytes", [[b"\xff"], [b"b"]])}))
    (tmp_path / "new.csv").write_text("x,name\n3,c\n")
    (tmp_path / "new.json").write_text('{"x": 3, "name": "c"}\n')
    for name in ("new.csv", "new.json"):
        assert read_new_rows(tmp_path / "old", tmp_path / name).table.values["x"].tolist() == [3]
    with pytest.raises(DataError, match=r"`shapes` \(=x: \[null\]\) is for TFRecord files, but .*new.csv is CSV"):
        read_new_rows(tmp_path / "lists", tmp_path / "new.csv")
    with pytest.raises(DataError, match=r"column `x` has the shape \[\], and `shapes` declares \[null\]") as found:
        _ = read_new_rows(tmp_path / "lists", tmp_path / "new.json").table
    assert "column `name` is text, and `bytes_as` declares bytes" in str(found.value)


def test_lists_of_features_keep_their_layout(tmp_path: Path) -> None:
    source = open_table(GOLDEN / "sequences.tfrecord")
    expected = {name: read_values(source._store.convert(name)[0]) for name in source._store.types}
    again = read_new_rows(GOLDEN / "sequences.tfrecord", GOLDEN / "sequences.tfrecord")
    assert {name: read_values(again._store.convert(name)[0]) for name in again._store.types} == expected
    with pytest.raises(
        DataError, match=r"`tokens` has .* values in step \d of its list, not 5, for the shape \[null,5\]"
    ):
        open_table(GOLDEN / "sequences.tfrecord", shapes={"tokens": (None, 5)})._store.convert("tokens")
    with pytest.raises(DataError, match=r"is a list of features. Its shape is \[null\], "):
        open_table(GOLDEN / "sequences.tfrecord", shapes={"tokens": (5,)})._store.convert("tokens")


def test_raw_records_are_a_column_of_bytes_or_texts(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "t", [b"one", b"two\nlines", b""])
    table = open_table(path, records="raw").table
    assert read_values(table.values["record"]) == [b"one", b"two\nlines", b""]
    assert table.types["record"] == "string"
    raw = open_table(write_raw(path, [b"\xff", b"a"]), records="raw")._store.convert("record")[0]
    assert [*raw.iterate_bytes()] == [b"\xff", b"a"]
    assert open_table(path, records="raw").fingerprint() != open_table(path).fingerprint()
    with pytest.raises(DataError, match=r"record 0 at byte 0: the record is no Example: .* set `records=raw`"):
        _ = open_table(path).table
    (tmp_path / "t.csv").write_text("x\n1\n")
    (tmp_path / "t.json").write_text('{"x": 1}\n')
    for other in ("t.csv", "t.json"):
        with pytest.raises(DataError, match=r"`records` \(=raw\) is for TFRecord files"):
            _ = open_table(tmp_path / other, records="raw").table


IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 2, 3, 2)


@pytest.mark.parametrize(
    ("arrays", "expected", "dtype"),
    [
        ([*IMAGES], IMAGES.tolist(), "uint8"),
        ([np.float16(1.5), np.float16(-2)], [1.5, -2.0], "float16"),
        ([np.array([True]), np.array([False])], [[True], [False]], "bool"),
        ([np.zeros((2, 1), np.int32), np.ones((1, 1), np.int32)], [[[0], [0]], [[1]]], "int32"),
        ([np.zeros(0, np.float32), np.ones(2, np.float32)], [[], [1.0, 1.0]], "float32"),
        (
            [np.zeros(2), np.ones((1, 1))],
            "record 1: feature `x` is a tensor of the shape [1,1], and the column has",
            "",
        ),
        (
            [np.zeros((2, 1)), np.ones((2, 3))],
            "record 1: feature `x` is a tensor of the shape [2,3], and the column",
            "",
        ),
        (
            [np.zeros(2), np.ones(2, int)],
            "record 1: feature `x` is a tensor of int64, but those before are of float64",
            "",
        ),
        ([np.zeros((2, 0))] * 2, "record 0: feature `x` is a tensor without values, of the shape [2,0]", ""),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
def test_serialized_tensors_are_arrays(tmp_path: Path, arrays: Any, expected: Any, dtype: str, raw: bool) -> None:
    messages = make_tensors(*arrays)
    name = "record" if raw else "x"
    if raw:
        write_raw(tmp_path / "t", messages)
    else:
        (tmp_path / "t").write_bytes(pack({"x": ("bytes", [[each] for each in messages])}))
    source = open_table(tmp_path / "t", records="raw" if raw else "example", bytes_as={name: "tensor"})
    if isinstance(expected, str):
        with pytest.raises(DataError, match=re.escape(expected.replace("`x`", f"`{name}`"))):
            source._store.convert(name)
        return
    values = source._store.convert(name)[0]
    assert read_values(values) == expected
    assert getattr(values, "values", values).dtype == dtype


def test_tensors_may_be_missing_or_several(tmp_path: Path) -> None:
    two, one, text = make_tensors([1.0, 2.0], [3.0], 7)
    rows = {"gap": [[two], []], "list": [[two, two], [two]], "text": [[text], []]}
    (tmp_path / "t").write_bytes(pack({name: ("bytes", values) for name, values in rows.items()}))
    columns = open_table(tmp_path / "t", bytes_as=dict.fromkeys(rows, "tensor"))._store
    assert read_values(columns.convert("gap")[0]) == [[1.0, 2.0], []]
    assert read_values(columns.convert("list")[0]) == [[[1.0, 2.0], [1.0, 2.0]], [[1.0, 2.0]]]
    values, valid = columns.convert("text")
    assert values[0] == 7
    assert valid is not None
    assert valid.tolist() == [True, False]
    (tmp_path / "u").write_bytes(pack({"x": ("bytes", [[two, one]]), "n": ("int64", [[1]])}))
    columns = open_table(tmp_path / "u", bytes_as={"x": "tensor", "n": "tensor"})._store
    with pytest.raises(DataError, match=r"has a tensor of the shape \[1\], and one before has \[2\]"):
        columns.convert("x")
    with pytest.raises(DataError, match=r"`n` has values of the type int64, and `bytes_as` \(=tensor\) is for bytes"):
        columns.convert("n")
    with pytest.raises(DataError, match=r"is a tensor of the shape \[2\], and the column has \[3\]"):
        open_table(tmp_path / "t", bytes_as={"gap": "tensor"}, shapes={"gap": (3,)})._store.convert("gap")


def test_texts_in_tensors_are_texts(tmp_path: Path) -> None:
    message = next(serialize_tensors(Strings.from_bytes([b"a", b"bc"]), (2,), 1).iterate_bytes())
    write_raw(tmp_path / "t", [message, message])
    assert (
        read_values(
            open_table(tmp_path / "t", records="raw", bytes_as={"record": "tensor"})._store.convert("record")[0]
        )
        == [[b"a", b"bc"]] * 2
    )
