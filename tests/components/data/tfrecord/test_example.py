"""Examples: every wire format that a protobuf parser accepts gives its values; anything else is an error."""

import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import entry, example, field, floats, integers, sequence, strings, varint
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from components.data.tfrecord import example as example_module
from components.data.tfrecord.example import (
    Feature,
    FeatureList,
    parse_examples,
    parse_sequence_examples,
    read_all,
)
from components.data.tfrecord.framing import Records, read_records, write_records
from components.data.tfrecord.serialize import serialize_examples
from components.types import DataError, Strings

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "records.json").read_text())["parse_example"]
Columns = dict[str, tuple[str, list[list[Any]]]]


@pytest.fixture(autouse=True, scope="module", params=[1, 10**9], ids=["prefixes", "fields"])
def min_matches(request: pytest.FixtureRequest) -> Iterator[None]:
    """Records are compared with the prefixes of a few of them, or all are read field by field."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("components.data.tfrecord.batch.MIN_MATCHES", request.param)
        yield


def make_message() -> Any:
    """The message class of an Example, from the description that TensorFlow's example.proto and feature.proto have."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto

    def add(parent: Any, name: str, *fields: tuple[str, int, int, bool, str], oneof: str = "") -> Any:
        message = (
            parent.message_type.add(name=name) if hasattr(parent, "message_type") else parent.nested_type.add(name=name)
        )
        if oneof:
            message.oneof_decl.add(name=oneof)
        for key, number, kind, repeated, type_name in fields:
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            one = message.field.add(name=key, number=number, type=kind, label=label)
            if type_name:
                one.type_name = type_name
            if oneof:
                one.oneof_index = 0
        return message

    for name, kind in (
        ("BytesList", field.TYPE_BYTES),
        ("FloatList", field.TYPE_FLOAT),
        ("Int64List", field.TYPE_INT64),
    ):
        add(file, name, ("value", 1, kind, True, ""))
    lists = [("bytes_list", ".t.BytesList"), ("float_list", ".t.FloatList"), ("int64_list", ".t.Int64List")]
    fields = [(key, number, field.TYPE_MESSAGE, False, of) for number, (key, of) in enumerate(lists, start=1)]
    add(file, "Feature", *fields, oneof="kind")
    features = add(file, "Features", ("feature", 1, field.TYPE_MESSAGE, True, ".t.Features.FeatureEntry"))
    entry = add(
        features,
        "FeatureEntry",
        ("key", 1, field.TYPE_STRING, False, ""),
        ("value", 2, field.TYPE_MESSAGE, False, ".t.Feature"),
    )
    entry.options.map_entry = True
    add(file, "Example", ("features", 1, field.TYPE_MESSAGE, False, ".t.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


EXAMPLE = make_message()


def to_lists(columns: Mapping[str, Feature | None]) -> Columns:
    found = {}
    for name, feature in columns.items():
        if feature is None:
            continue
        values = [*feature.values.iterate_bytes()] if isinstance(feature.values, Strings) else feature.values.tolist()
        bounds = feature.offsets.tolist()
        found[name] = (feature.kind, [values[a:b] for a, b in itertools.pairwise(bounds)])
    return found


def parse(*records: bytes) -> Columns:
    return to_lists(parse_examples(Records.from_bytes(records, "a.tfrecord")))


def check_skipping(*records: bytes) -> None:
    """Checks that some features have the same values, whichever others are skipped, as if records came one by one."""
    try:
        names = [name for record in records for name in example_module._parse_example(read_all, record)]
    except ValueError:  # the record is damaged
        names = []
    for reads in (lambda name: len(name) % 2 == 0, lambda name: name in names[:1], lambda name: False):
        expected: Any = {}
        try:
            for row, record in enumerate(records):
                for name, lists in example_module._parse_example(reads, record).items():
                    by_kind = expected.setdefault(name, {})
                    for kind, values in lists.items() if reads(name) else ():
                        by_kind.setdefault(kind, [[] for _ in records])[row] += values
        except ValueError:
            with pytest.raises(DataError):
                parse_examples(Records.from_bytes(records, "a"), reads)
            continue
        kinds = {name: [kind for kind, rows in lists.items() if any(rows)] for name, lists in expected.items()}
        if any(len(each) > 1 for each in kinds.values()):
            with pytest.raises(DataError, match="different types"):
                parse_examples(Records.from_bytes(records, "a"), reads)
            continue
        found = parse_examples(Records.from_bytes(records, "a"), reads)
        assert [*found] == sorted(expected)
        columns = {name: (each[0], expected[name][each[0]]) for name, each in sorted(kinds.items()) if each}
        assert repr(to_lists(found)) == repr(columns)  # NaN


def parse_with_protobuf(*records: bytes) -> Columns:
    examples = [EXAMPLE.FromString(record) for record in records]
    found: Columns = {}
    for row, message in enumerate(examples):
        for name, feature in message.features.feature.items():
            kind = feature.WhichOneof("kind")
            values = [*getattr(feature, kind).value] if kind else []
            if values:
                column = found.setdefault(name, (kind.removesuffix("_list"), [[] for _ in records]))
                column[1][row] = values
    return dict(sorted(found.items()))


VALUES = {
    "bytes": st.lists(st.binary(max_size=200), max_size=4),
    "float": st.lists(st.floats(width=32, allow_nan=False), max_size=4),
    "int64": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def examples(draw: st.DrawFn) -> list[dict[str, tuple[str, list[Any]]]]:
    """Some Examples that share features, of which each may lack some, in any order."""
    kinds = draw(st.dictionaries(NAMES, st.sampled_from([*VALUES]), max_size=5))
    found = []
    for _ in range(draw(st.integers(1, 6))):
        names = draw(st.permutations([*kinds]))[: draw(st.integers(0, len(kinds)))]
        found.append({name: (kinds[name], draw(VALUES[kinds[name]])) for name in names})
    return found


def write_usual(features: Mapping[str, tuple[str, list[Any]]]) -> bytes:
    write = {"bytes": strings, "float": floats, "int64": integers}
    return example(*(entry(name.encode(), write[kind](*values)) for name, (kind, values) in features.items()))


@given(examples())
def test_examples_are_parsed_as_by_protobuf(rows: list[dict[str, tuple[str, list[Any]]]]) -> None:
    records = [write_usual(row) for row in rows]
    assert parse(*records) == parse_with_protobuf(*records)


@given(examples(), st.data())
def test_examples_that_are_laid_out_in_any_way_are_parsed_as_by_protobuf(
    rows: list[dict[str, tuple[str, list[Any]]]], data: st.DataObject
) -> None:
    unknown = st.sampled_from([b"", field(9, b"abc"), varint(8 << 3 | 0) + varint(300), varint(7 << 3 | 5) + b"1234"])

    def noise() -> bytes:
        return data.draw(unknown)

    def write(kind: str, values: list[Any]) -> bytes:
        if kind == "bytes":
            return noise() + strings(*values[:1]) + noise() + strings(*values[1:])
        if kind == "float":
            unpacked = (b"\x0d" + np.array([value], "<f4").tobytes() for value in values)
            return field(2, noise() + b"".join(unpacked)) + noise()
        half = len(values) // 2
        packed = field(1, b"".join(map(varint, values[:half])))
        return field(3, packed + b"".join(b"\x08" + varint(value) for value in values[half:]) + noise())

    records = []
    for row in rows:
        entries = [
            data.draw(st.sampled_from([entry(name.encode(), strings(b"lost")), b""]))
            + noise()
            + field(1, field(2, write(kind, values)) + field(1, name.encode()))
            for name, (kind, values) in row.items()
        ]
        records.append(noise() + example(*entries[:1]) + example(*entries[1:]) + noise())
    mixed = [*records, *map(write_usual, rows)]
    assert parse(*mixed) == parse_with_protobuf(*mixed)
    check_skipping(*mixed)


@given(examples(), st.data())
def test_a_damaged_example_is_an_error_or_what_protobuf_reads(
    rows: list[dict[str, tuple[str, list[Any]]]], data: st.DataObject
) -> None:
    record = bytearray(write_usual(rows[0]))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(record)))
        record[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    records = [bytes(record), write_usual(rows[-1])]
    check_skipping(*records)
    try:
        found = parse(*records)
    except DataError as error:
        if "different types" not in str(error):
            with pytest.raises(DecodeError):
                parse_with_protobuf(*records)
        return
    expected = parse_with_protobuf(*records)
    assert repr(found) == repr(expected)  # NaN


@given(examples())
def test_serialized_examples_are_parsed_back(rows: list[dict[str, tuple[str, list[Any]]]]) -> None:
    parsed = parse_examples(Records.from_bytes([write_usual(row) for row in rows], "a"))
    columns = {name: feature for name, feature in parsed.items() if feature is not None}
    records = serialize_examples(columns, len(rows))
    assert to_lists(parse_examples(records)) == to_lists(columns)
    assert parse_with_protobuf(*records.tolist()) == to_lists(columns)
    file = io.BytesIO()
    assert write_records(file, records.tolist()) == len(rows)
    file.seek(0)
    assert [record for part in read_records(file, "a") for record in part.tolist()] == records.tolist()


def test_the_values_are_those_of_tensorflow() -> None:
    first, second = (bytes.fromhex(record) for record in GOLDEN["hex"])
    assert parse(first, second, b"") == {
        "i": ("int64", [[7], [], []]),
        "r": ("int64", [*GOLDEN["ragged r"]["r"], []]),
        "s": ("bytes", [[b"p", b"q"], [b"z"], []]),
        "x": ("float", [*GOLDEN["fixed x(2)"]["x"], []]),
    }
    assert parse() == {}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (
            [example(entry(b"x", integers(1))), b"\xff\xff"],
            "a, record 1: the record is no Example: a number is cut off",
        ),
        ([example(entry(b"x", integers(1)))[:-1]], "is no Example: field 1 needs 12 bytes, and 11 are left"),
        ([example(entry(b"x", field(2, field(1, b"123"))))], "a list of floats has 3 bytes, not a multiple of 4"),
        ([example(entry(b"x", field(3, field(1, b"\xff" * 11))))], "a number has more than 10 bytes"),
        ([example(entry(b"\xff", integers(1)))], "the name b'\\xff' of a feature is not in UTF-8"),
        (
            [example(entry(b"x", floats())), example(entry(b"x", integers(1))), example(entry(b"x", floats(1)))],
            "feature `x` has values of different types: int64 in a, record 1, float in a, record 2",
        ),
    ],
)
def test_a_record_that_is_no_example_is_located(records: list[bytes], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        parse_examples(Records.from_bytes(records, "a"))


def test_the_last_value_of_a_repeated_name_counts() -> None:
    twice = example(entry(b"x", integers(1)), entry(b"y", floats(0.5)), entry(b"x", integers(2)))
    once = example(entry(b"x", integers(3)), entry(b"y", floats(1.5)), entry(b"x", floats(4.5)))
    records = Records.from_bytes([twice] * 3 + [once], "a")
    with pytest.raises(DataError, match="feature `x` has values of different types: int64 in a, record 0, float in a"):
        parse_examples(records)
    found: Any = parse_examples(Records.from_bytes([twice] * 3, "a"))
    assert np.asarray(found["x"].values).tolist() == [2, 2, 2]
    assert found["x"].offsets.tolist() == [0, 1, 2, 3]


def test_the_last_key_of_an_entry_counts_also_where_the_first_one_is_skipped() -> None:
    renamed = field(1, field(1, b"abc") + field(2, integers(5)) + field(1, b"xy"))
    records = [example(renamed, entry(b"z", integers(row))) for row in range(3)]
    check_skipping(*records)
    found = parse_examples(Records.from_bytes(records, "a"), lambda name: name == "xy")
    assert to_lists(found) == {"xy": ("int64", [[5]] * 3)}
    assert [*found] == ["xy", "z"]


def test_names_with_equal_hashes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.data.tfrecord.batch.mix", lambda numbers: numbers * np.uint64(0))
    records = [example(entry(name, integers(value))) for value, name in enumerate([b"abc", b"abd", b"abc", b"xyz"])]
    assert parse(*records) == parse_with_protobuf(*records)


def to_steps(found: FeatureList | None) -> list[list[Any]]:
    assert found is not None
    _, steps = to_lists({"": found.feature})[""]
    return [steps[start:stop] for start, stop in itertools.pairwise(found.offsets.tolist())]


def test_sequences_have_a_context_and_lists_of_features() -> None:
    golden = bytes.fromhex(GOLDEN["sequence"]["hex"])
    other = sequence(example(entry(b"c", integers(6)), entry(b"d", strings(b"x"))), t=[], u=[floats(1, 2), floats()])
    context, lists = parse_sequence_examples(Records.from_bytes([golden, b"", other, golden], "a"))
    assert to_lists(context) == {"c": ("int64", [[5], [], [6], [5]]), "d": ("bytes", [[], [], [b"x"], []])}
    assert {name: to_steps(found) for name, found in lists.items()} == {
        "t": [[[1, 2], [3]], [], [], [[1, 2], [3]]],
        "u": [[], [], [[1.0, 2.0], []], []],
    }


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\x12", "a, record 1: the record is no Example: a number is cut off"),
        (
            sequence(b"", t=[integers(1), field(2, field(1, b"1"))]),
            "a, record 1: the record is no Example: a list",
        ),
        (
            sequence(b"", t=[integers(1), floats(1)]),
            "feature `t` has values of different types: int64 in a, record 1",
        ),
        (sequence(field(1, b"\xff")), "a, record 1: the record is no Example: a number is cut off"),
    ],
)
def test_a_record_that_is_no_sequence_is_located(record: bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        parse_sequence_examples(Records.from_bytes([b"", record], "a"))
