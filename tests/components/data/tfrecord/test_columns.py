"""TFRecord files are tables: what TensorFlow wrote has its values, and what is written is read back."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from examples import entry, example, field, floats, integers, sequence
from hypothesis import given, settings
from hypothesis import strategies as st
from tfrecord_files import open_table, pack, read_values, write_raw

from components.data import Frame, column_store
from components.data.tfrecord import columns, framing
from components.data.tfrecord.framing import write_records
from components.types import DataError, Ragged

GOLDEN = Path(__file__).parents[3] / "golden" / "tfrecord"
ANSWERS = json.loads((GOLDEN / "records.json").read_text())
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda content: gzip.compress(content, mtime=0),
    "zlib": zlib.compress,
}


def read_answer(answer: Any) -> Any:
    """The values that TensorFlow read."""
    if isinstance(answer, dict):
        return (
            bytes.fromhex(answer["hex"]) if "hex" in answer else read_answer(answer.get("dense", answer.get("ragged")))
        )
    return [*map(read_answer, answer)] if isinstance(answer, list) else answer


@pytest.mark.parametrize(
    "name", ["examples.plain.tfrecord", "examples.gzip.tfrecord", "examples.zlib.tfrecord", "shard-*"]
)
@pytest.mark.parametrize("is_large", [False, True])
def test_examples_have_the_values_that_tensorflow_reads(
    name: str, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_large:
        monkeypatch.setattr(column_store, "MAX_ARRAY_BYTES", 0)
        monkeypatch.setattr("components.data.tfrecord.parts.PARSED_RECORDS", 3)
    source = open_table(GOLDEN / name, shapes={"vector": (2, 2)})
    rows = [row for shard in range(3) for row in range(shard, 12, 3)] if "*" in name else [*range(12)]
    for feature, answer in ANSWERS["examples"].items():
        if feature == "empty":  # no record has a value
            assert not source.table.valid[feature].any()
            continue
        expected = [read_answer(answer)[row] for row in rows]
        found = read_values(source.table.values[feature])
        if feature == "maybe":  # here a gap, there a default
            mask = source.table.valid["maybe"]
            assert [value if valid else -1.0 for value, valid in zip(found, mask, strict=True)] == expected
        else:
            np.testing.assert_equal(found, [float(value) if value in ("inf", "nan") else value for value in expected])


def test_a_large_table_is_in_few_maps_of_which_a_process_may_have_some_ten_thousand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 2000
    features = {name: ("int64", [[row, row + 1] for row in range(rows)]) for name in ("a", "b")}
    (tmp_path / "x.tfrecord").write_bytes(
        pack({**features, "text": ("bytes", [[b"t%d" % row] for row in range(rows)])})
    )
    monkeypatch.setattr(column_store, "MAX_ARRAY_BYTES", 40_000)
    monkeypatch.setattr(framing, "CHUNK_BYTES", 1000)
    written: list[Any] = []
    map_file = column_store.map_file

    def count_file(write: Callable[[Any], None], maps: list[pyarrow.Buffer]) -> pyarrow.Buffer:
        written.append(write)
        return map_file(write, maps)

    monkeypatch.setattr(column_store, "map_file", count_file)
    source = open_table(tmp_path / "x.tfrecord", shapes={"a": (2,)})
    assert source.table.values["a"].tolist() == [[row, row + 1] for row in range(rows)]
    assert read_values(source.table.values["b"]) == [[row, row + 1] for row in range(rows)]
    assert read_values(source.table.values["text"]) == [b"t%d" % row for row in range(rows)]
    assert 6 <= len(written) <= 30, len(written)  # not one for each of some hundred chunks and each feature


def test_sequences_have_the_values_that_tensorflow_reads() -> None:
    source = open_table(GOLDEN / "sequences.tfrecord")
    for name in ANSWERS["sequences"][0]:
        expected = [read_answer(row[name]) for row in ANSWERS["sequences"]]
        found = read_values(source.table.values[name])
        if name == "vectors":
            expected = [np.float32(row).tolist() for row in expected]
        np.testing.assert_equal(found, expected)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
CELLS = {
    "count": st.integers(-(2**63), 2**63 - 1),
    "size": st.floats(width=32, allow_nan=False),
    "name": TEXT,
}


@settings(max_examples=30, deadline=None)
@given(
    st.fixed_dictionaries({name: st.tuples(cell, *[st.none() | cell] * 3) for name, cell in CELLS.items()}),
    st.sampled_from([*PACKED]),
    st.integers(0, 4),
)
def test_a_table_of_examples_equals_a_frame(
    tmp_path_factory: Any, columns: dict[str, tuple[Any, ...]], packing: str, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("table")
    kinds = {"count": "int64", "size": "float", "name": "bytes"}
    cells = {
        name: [[] if v is None else [v.encode() if name == "name" else v] for v in columns[name]] for name in CELLS
    }
    for number, part in enumerate((slice(0, cut), slice(cut, 4))):
        content = pack({name: (kinds[name], cells[name][part]) for name in CELLS})
        if content:
            (folder / str(number)).write_bytes(PACKED[packing](content))
    source = open_table(folder, types={"name": "string"})
    table = {
        "count": pyarrow.array(columns["count"], pyarrow.int64()),
        "size": pyarrow.array(columns["size"], pyarrow.float32()),
    }
    frame = Frame(columns=table | {"name": pyarrow.array(columns["name"], pyarrow.string())}, types={"name": "string"})
    for name in CELLS:
        assert source.table.types[name] == frame.table.types[name]
        np.testing.assert_equal(read_values(source.table.values[name]), read_values(frame.table.values[name]))
        masks = [each.table.valid.get(name, np.ones(4, bool)) for each in (source, frame)]
        np.testing.assert_array_equal(*masks)


def test_features_that_some_parts_lack_have_gaps(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(pack({"x": ("int64", [[1], [2]])}))
    (tmp_path / "1").write_bytes(pack({"y": ("bytes", [[b"a"]]), "z": ("bytes", [[b"\xff\xd8", b"b"]])}))
    (tmp_path / "2").write_bytes(pack({"x": ("int64", [[3]]), "z": ("bytes", [[b"c"]])}))
    source = open_table(tmp_path)
    assert source.table.values["x"].tolist() == [1, 2, 0, 3]
    assert source.table.valid["x"].tolist() == [True, True, False, True]
    assert source.table.valid["y"].tolist() == [False, False, True, False]
    assert read_values(source.table.values["z"]) == [[], [], [b"\xff\xd8", b"b"], [b"c"]]
    (block,) = source.blocks("all")
    assert block.locate(2) == f"{tmp_path}, record 0 of 1"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4,), [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ((2, 2), [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]),
        ((None,), [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ((None, 2), [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]),
        ((), "record 0: feature `x` has 4 values, not at most one, for the shape []"),
        ((3,), "record 0: feature `x` has 4 values, not 3"),
        (
            (2, None),
            "record 0: feature `x` is no list of features, so only the first length of its shape may be null",
        ),
        ((None, 3), "record 0: feature `x` has 4 values, not a multiple of 3, for the shape [null,3]"),
    ],
)
def test_shapes_can_be_declared(tmp_path: Path, shape: Any, expected: Any) -> None:
    (tmp_path / "t").write_bytes(pack({"x": ("int64", [[1, 2, 3, 4], [5, 6, 7, 8]])}))
    source = open_table(tmp_path / "t", shapes={"x": shape})
    if isinstance(expected, str):
        with pytest.raises(DataError, match=re.escape(f"t, {expected}")):
            _ = source.table
    else:
        assert read_values(source.table.values["x"]) == expected


def pack_lists(**features: list[list[list[int]]]) -> bytes:
    """The bytes of a TFRecord file of SequenceExamples: of each list of features the values of each step, by row."""
    file = io.BytesIO()
    for steps in zip(*features.values(), strict=True):
        lists = {name: [integers(*step) for step in row] for name, row in zip(features, steps, strict=True)}
        write_records(file, [sequence(b"", **lists)])
    return file.getvalue()


def describe_lists(values: Any) -> str:
    """The kinds of lists in the rows of a column."""
    if isinstance(values, Ragged):
        return f"lists {describe_lists(values.values)}".strip()
    return f"arrays {values.shape[1:]}" if values.ndim > 1 else ""


LISTS = [[[1, 2], [3, 4]], [], [[5, 6]]]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (None, "lists arrays (2,)"),
        ((None, 2), "lists arrays (2,)"),
        ((None, None), "lists lists"),
        ((None, None, 1), "lists lists arrays (1,)"),
        ((None, 3), "record 0: feature `x` has 2 values in step 0 of its list, not 3, for the shape [null,3]"),
        ((None, None, 3), "record 0: feature `x` has 2 values in step 0 of its list, not a multiple of 3"),
        (
            (2,),
            "record 0: feature `x` is a list of features.",
        ),
        (
            (),
            "record 0: feature `x` is a list of features.",
        ),
    ],
)
def test_shapes_of_lists_of_features_can_be_declared(tmp_path: Path, shape: Any, expected: str) -> None:
    (tmp_path / "t").write_bytes(pack_lists(x=LISTS))
    source = open_table(tmp_path / "t", shapes={} if shape is None else {"x": shape})
    if expected.startswith("record"):
        with pytest.raises(DataError, match=re.escape(expected)):
            _ = source.table
        return
    values = source.table.values["x"]
    assert describe_lists(values) == expected
    rows = read_values(values)
    assert [[np.ravel(step).tolist() for step in row] for row in rows] == LISTS


def test_lists_of_lists_that_no_record_of_another_split_has_are_empty(tmp_path: Path) -> None:
    record = sequence(example(entry(b"y", integers(1))), steps=[integers(1, 2), integers(3)])
    write_raw(tmp_path / "train", [record, sequence(example(entry(b"y", integers(0))), steps=[])])
    write_raw(tmp_path / "valid", [sequence(example(entry(b"y", integers(1))))] * 2)
    source = open_table(tmp_path / "train", valid=str(tmp_path / "valid"), target="y")
    source = source.with_used_columns(["steps"], ["y"])
    for part, expected in (("train", [[[1, 2], [3]], []]), ("valid", [[], []])):
        (block,) = source.blocks(part)
        assert read_values(block.columns["steps"]) == expected
        assert isinstance(block.columns["steps"].values, Ragged)


def test_lists_of_other_splits_have_the_layout_of_the_training_file(tmp_path: Path) -> None:
    (tmp_path / "train").write_bytes(pack_lists(x=[[[1], [2, 3]], [[]]], y=[[[1, 2]], [[3, 4]]]))
    (tmp_path / "valid").write_bytes(pack_lists(x=LISTS, y=LISTS))
    (tmp_path / "other").write_bytes(pack_lists(y=[[], [[1, 2], [3]]]))
    columns = open_table(tmp_path / "train", valid=str(tmp_path / "valid"), target="w", test=1).tables["valid"]._store
    assert describe_lists(columns.convert("x")[0]) == "lists lists"
    assert describe_lists(columns.convert("y")[0]) == "lists arrays (2,)"
    assert read_values(columns.convert("x")[0]) == LISTS
    columns = open_table(tmp_path / "train", valid=str(tmp_path / "other"), target="w", test=1).tables["valid"]._store
    fault = r"record 1: feature `y` has 1 values in step 1 of its list, not 2, for the shape \[null,2\]"
    with pytest.raises(DataError, match=fault):
        columns.convert("y")


def test_a_feature_of_some_records_that_is_a_list_in_others_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(pack({"x": ("int64", [[1, 2], [3]])}))
    (tmp_path / "1").write_bytes(pack_lists(x=LISTS))
    with pytest.raises(DataError, match="`x` is a feature, but a list of features from record 0 of 1 on"):
        _ = open_table(tmp_path).table
    with pytest.raises(
        DataError,
        match=r"`x` is no list of features, so only the .* may be null, not \[null,null\]",
    ):
        _ = open_table(tmp_path / "0", shapes={"x": (None, None)}).table


def test_wrong_files_and_options_are_errors(tmp_path: Path) -> None:
    content = pack({"x": ("int64", [[1], [2]])})
    for name, packed in (("t", content), ("cut", content[:-3]), ("zlib", zlib.compress(content)[:-3])):
        (tmp_path / name).write_bytes(packed)
    with pytest.raises(DataError, match=r"cut, record 1 at byte .* is cut off"):
        _ = open_table(tmp_path / "cut").table
    with pytest.raises(DataError, match=r"zlib is damaged zlib .*: the file ends too early"):
        _ = open_table(tmp_path / "zlib").table
    with pytest.raises(DataError, match=r"has no feature `y`, which `shapes` lists. Allowed: x"):
        _ = open_table(tmp_path / "t", shapes={"y": ()}).table
    (tmp_path / "t.csv").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"`shapes` .* is for TFRecord files, but .*t.csv is CSV"):
        open_table(tmp_path / "t.csv", shapes={"x": (None,)})
    (tmp_path / "u").write_bytes(pack({"x": ("float", [[1.5]])}))
    with pytest.raises(DataError, match="the values of feature `x` are int64, but float from record 0 of u on"):
        _ = open_table(tmp_path / "[tu]").table
    (tmp_path / "none").write_bytes(pack({"x": ("int64", [[], []])}))
    with pytest.raises(DataError, match=r"none has no features: all of its records are empty"):
        _ = open_table(tmp_path / "none").table
    with pytest.raises(DataError, match=r"raw.tfrecord, record 1 at byte 16: the record is no Example"):
        _ = open_table(GOLDEN / "raw.tfrecord").table


def test_every_flipped_byte_is_an_error(tmp_path: Path) -> None:
    content = (GOLDEN / "shard-00000-of-00003.tfrecord").read_bytes()
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        (tmp_path / "t").write_bytes(changed)
        with pytest.raises(DataError, match=r"checksum|cut off|can't be read|NUL|0x00|UTF|t has|t is"):
            _ = open_table(tmp_path / "t").table


def test_files_of_other_splits_have_the_layout_of_the_training_file(tmp_path: Path) -> None:
    rows = {
        "tags": [[0, 1], [0], [1], []],
        "one": [[1], [2, 3], [], [4]],
        "image": [[b"\xff"], [b"ab"], [b"c"], [b"d"]],
    }
    kinds = {"tags": "int64", "one": "int64", "image": "bytes"}
    (tmp_path / "train").write_bytes(pack({name: (kinds[name], values) for name, values in rows.items()}))
    other = {"tags": [[0, 1], [0, 1]], "one": [[1], [2]], "image": [[b"22"], [b"33"]]}
    (tmp_path / "valid").write_bytes(pack({name: (kinds[name], values) for name, values in other.items()}))
    source = open_table(tmp_path / "train", valid=str(tmp_path / "valid"), target="y", test=1)
    columns = source.tables["valid"]._store
    assert read_values(columns.convert("tags")[0]) == [[0, 1], [0, 1]]
    assert columns.convert("tags")[0].offsets.tolist() == [0, 2, 4]
    assert columns.convert("one")[0].offsets.tolist() == [0, 1, 2]
    assert [*columns.convert("image")[0].iterate_bytes()] == [b"22", b"33"]
    assert columns.read("image").to_pylist() == [b"22", b"33"]


def test_bytes_with_a_nul_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(pack({"image": ("bytes", [[bytes(4)], [b"22"]]), "y": ("int64", [[1], [2]])}))
    assert [*open_table(tmp_path / "t").table.values["image"].iterate_bytes()] == [bytes(4), b"22"]


def test_a_later_record_may_be_the_first_with_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "CHUNK_BYTES", 256)
    golden = gzip.decompress((GOLDEN / "sequences.tfrecord").read_bytes())
    (tmp_path / "t").write_bytes(pack({"author": ("int64", [[n] for n in range(90)])}) + golden)
    source = open_table(tmp_path / "t")
    assert source.table.values["tokens"].offsets.tolist() == [0] * 91 + [0, 1, 3, 6, 10]
    assert source.table.values["author"].tolist() == [*range(90), *range(5)]


def test_a_column_that_cant_be_read_matters_where_it_is_used(tmp_path: Path) -> None:
    for name, kind in (("0", "int64"), ("1", "float")):
        (tmp_path / name).write_bytes(pack({"x": ("int64", [[1]]), "y": (kind, [[2]])}))
    source = open_table(tmp_path)
    for _ in range(2):
        with pytest.raises(DataError, match="the values of feature `y` are int64, but float from record 0 of 1 on"):
            _ = source.table
    assert open_table(tmp_path, drop=("y",)).table.values["x"].tolist() == [1, 1]
    assert source.with_used_columns({"x"}).table.values["x"].tolist() == [1, 1]


def test_the_fingerprint_follows_the_shapes(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(pack({"x": ("int64", [[1, 2], [3, 4]])}))
    shapes = (None, {"x": (2,)}, {"x": (None,)})
    assert len({open_table(tmp_path / "t", shapes=shape).fingerprint() for shape in shapes}) == 3


class CountedReads:
    """Counts the passes over TFRecord files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, read = 0, columns.read_records

        def count_reads(*arguments: Any) -> Any:
            self.count += 1
            return read(*arguments)

        monkeypatch.setattr(columns, "read_records", count_reads)


def test_features_that_nothing_uses_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = field(3, field(1, b"\xff" * 11))  # a list of integers, of which one has more than 10 bytes
    records = [
        example(
            entry(b"x", integers(row)), entry(b"bad", damaged if row == 1 else integers(7)), entry(b"z", floats(0.5))
        )
        for row in range(3)
    ]
    write_raw(tmp_path / "t", records)
    reads, source = CountedReads(monkeypatch), open_table(tmp_path / "t").with_used_columns(["x"])
    assert source.fingerprint() == open_table(tmp_path / "t").fingerprint()
    assert list(source.table.values) == ["x"]
    assert source.table.values["x"].tolist() == [0, 1, 2]
    (block,) = source.blocks("all")
    assert sorted(block.columns) == ["bad", "x", "z"]
    assert reads.count == 1
    assert block.columns["z"].tolist() == [0.5] * 3  # asked for later
    assert "z" not in block.files
    assert reads.count == 2
    for used in (["bad"], ["x", "bad"], None):
        source = open_table(tmp_path / "t")
        source = source if used is None else source.with_used_columns(used)
        with pytest.raises(DataError, match=r"t, record 1 at byte \d+: .* a number has more than 10"):
            _ = source.table
    write_raw(tmp_path / "cut", [record[:-1] for record in records])
    with pytest.raises(DataError, match="is no Example: field 1 needs"):
        _ = open_table(tmp_path / "cut").with_used_columns(["x"]).table


def test_all_features_that_are_asked_for_later_take_two_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t").write_bytes(pack({name: ("int64", [[1], [2]]) for name in "abcde"}))
    reads, source = CountedReads(monkeypatch), open_table(tmp_path / "t").with_used_columns(["a"])
    (block,) = source.blocks("all")
    assert [block.columns[name].tolist() for name in "abcde"] == [[1, 2]] * 5
    assert reads.count == 3


def test_lists_that_nothing_uses_are_skipped(tmp_path: Path) -> None:
    records = [
        sequence(example(entry(b"c", integers(5))), t=[integers(1, 2), integers(3)], u=[field(2, field(1, b"1"))])
    ]
    write_raw(tmp_path / "t", records)
    source = open_table(tmp_path / "t").with_used_columns(["c", "t"])
    assert {name: read_values(values) for name, values in source.table.values.items()} == {
        "c": [5],
        "t": [[[1, 2], [3]]],
    }
    with pytest.raises(DataError, match="a list of floats has 1 bytes"):
        _ = open_table(tmp_path / "t").table
