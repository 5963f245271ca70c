"""Parses batches of TensorFlow's `Example` messages into columns.

An Example maps names to lists of bytes, of floats or of integers. Its messages in the wire format of Protocol Buffers:

    Example        features = 1
    Features       map entries = 1, each with key = 1 and Feature = 2
    Feature        one of bytes_list = 1, float_list = 2, int64_list = 3; each has value = 1

Almost all Examples of a file have the same layout, so one pass reads the same field of all of them at once. An Example
that has another layout than the usual ones is parsed field by field.

References:
    https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from components.data.tfrecord.batch import KINDS, BatchParser, Kind, Piece, Pieces, Reads, list_positions
from components.data.tfrecord.framing import Records
from components.data.tfrecord.wire import (
    FIXED32,
    LENGTH,
    VARINT,
    as_signed,
    read_fields,
    read_messages,
    read_number,
    write_field,
)
from components.types import DataError, Strings


class Feature(NamedTuple):
    """The values of one feature in some Examples: those of Example i are `values[offsets[i]:offsets[i + 1]]`.

    Attributes:
        kind: the type of the values.
        values: the values of all Examples: float32, int64, or `Strings` of bytes.
        offsets: (examples + 1,), int64. An Example without the feature has no values.
    """

    kind: Kind
    values: np.ndarray | Strings
    offsets: np.ndarray


class FeatureList(NamedTuple):
    """The values of one list of features in some SequenceExamples.

    Attributes:
        feature: the values of each step of all SequenceExamples.
        offsets: (sequences + 1,), int64: the steps of sequence i are those from `offsets[i]` to `offsets[i + 1]`.
    """

    feature: Feature
    offsets: np.ndarray


def read_all(name: str) -> bool:
    """Reads each feature."""
    return True


def parse_examples(records: Records, reads: Reads = read_all) -> dict[str, Feature | None]:
    """Parses Examples into columns by the name of the feature, in alphabetical order.

    A feature that is present but has no value is like a missing one.

    Args:
        records: the Examples.
        reads: whether a feature is read. Of others, only the sizes are read; damage within them isn't found.

    Returns:
        The features of any Example. None: no Example has a value of the feature, or it isn't read.

    Raises:
        DataError: a record is no Example, a name is not in UTF-8, or the values of a feature have different types.
    """
    parser = BatchParser(records, reads)
    return _parse(parser, parser.parse_examples, partial(_parse_example, reads), records.locate)


def parse_sequence_examples(
    records: Records, reads: Reads = read_all
) -> tuple[dict[str, Feature | None], dict[str, FeatureList | None]]:
    """Parses SequenceExamples: their context, which is like an Example, and their lists of features, by name.

    The arguments and the errors are those of `parse_examples`.
    """
    contexts, lists = [], dict[str, list[list[bytes]]]()
    for row, record in enumerate(records.tolist()):
        context, steps = _split_sequence_example(reads, record, records.locate(row))
        contexts.append(write_field(1, context))
        for name, features in steps.items():
            lists.setdefault(name, [[] for _ in records.starts])[row] = features
    context_parser = BatchParser(Records.from_bytes(contexts, records.name), reads)
    parse_one = partial(_parse_example, reads)
    columns = _parse(context_parser, context_parser.parse_examples, parse_one, records.locate)
    found = dict[str, FeatureList | None]()
    for name in sorted(lists):
        parser = BatchParser(Records.from_bytes(itertools.chain(*lists[name]), records.name), reads)
        counts = [*map(len, lists[name])]
        locate = partial(_locate_owner, records, np.repeat(np.arange(len(counts)), counts))
        feature = _parse(parser, parser.parse_features, _parse_feature, locate, name).get(name)
        found[name] = None if feature is None else FeatureList(feature, np.concatenate([[0], np.cumsum(counts)]))
    return columns, found


def has_feature_lists(records: Records) -> bool:
    """Whether some records have lists of features, and so are SequenceExamples."""
    return BatchParser(records, read_all).has_second_field()


def _locate_owner(records: Records, owners: np.ndarray, step: int) -> str:
    return records.locate(int(owners[step]))


def _parse(
    parser: BatchParser,
    parse_many: Callable[[np.ndarray], Pieces],
    parse_one: Callable[[bytes], Mapping[str, Mapping[Kind, list[Any]]]],
    locate: Callable[[int], str],
    list_name: str | None = None,
) -> dict[str, Feature | None]:
    """Parses records.

    Args:
        parser: the records.
        parse_many: parses some records, and marks those with an unusual layout in the parser.
        parse_one: the values of a record by name and kind. It raises ValueError if there are none.
        locate: the location of a record.
        list_name: the name of all features; None: they have names of their own.
    """
    while True:
        unusual = parser.is_unusual.sum()
        pieces = parse_many(np.flatnonzero(~parser.is_unusual))
        if parser.is_unusual.sum() == unusual:
            break
    for row in np.flatnonzero(parser.is_unusual).tolist():
        for name, lists in _explain(parse_one, parser.get_bytes(row), locate(row)).items():
            of_name = pieces.setdefault(name, {})
            for kind, values in lists.items():
                of_name.setdefault(kind, []).append(_make_piece(row, kind, values))
    columns = dict[str, Feature | None]()
    for name in sorted(pieces):
        by_kind = {kind: found for kind, each in pieces[name].items() if (found := [p for p in each if p.counts.any()])}
        own = name if list_name is None else list_name
        if len(by_kind) > 1:
            raise _make_kind_error(own, by_kind, locate)
        columns[own] = None
        for kind, found in by_kind.items():
            columns[own] = _join_pieces(kind, found, len(parser.is_unusual))
    return columns


def _explain(parse_one: Callable[[bytes], Any], data: bytes, location: str) -> Any:
    """The result of a function. Raises DataError with a location for its ValueError."""
    try:
        return parse_one(data)
    except UnicodeDecodeError as error:
        raise DataError(f"{location}: the name {error.object!r} of a feature is not in UTF-8.") from None
    except ValueError as error:
        raise DataError(
            f"{location}: the record is no Example: {error}. To read records as bytes, set `records=raw`."
        ) from None


def _join_pieces(kind: Kind, pieces: Sequence[Piece], rows: int) -> Feature:
    """Joins the values of a feature, in the order of the rows."""
    of_rows, values, counts = pieces[0][:3]
    if len(pieces) > 1:
        of_rows, values, counts = (np.concatenate([piece[index] for piece in pieces]) for index in range(3))
    order, is_sorted = None, not (of_rows[1:] < of_rows[:-1]).any()
    all_counts = counts
    if not is_sorted or len(of_rows) != rows:
        all_counts = np.zeros(rows, np.int64)
        all_counts[of_rows] = counts
    offsets = np.concatenate([[0], np.cumsum(all_counts)])
    if not is_sorted:
        by_row = np.argsort(of_rows, kind="stable")
        order = list_positions((np.cumsum(counts) - counts)[by_row], counts[by_row], 1)
    if kind != "bytes":
        return Feature(kind, values if order is None else values[order], offsets)
    lengths = np.concatenate([piece.lengths for piece in pieces if piece.lengths is not None])
    if order is not None:
        values = values[list_positions((np.cumsum(lengths) - lengths)[order], lengths[order], 1)]
        lengths = lengths[order]
    return Feature(kind, Strings(values, np.concatenate([[0], np.cumsum(lengths)])), offsets)


def _make_piece(row: int, kind: Kind, values: Sequence[Any]) -> Piece:
    rows, counts = np.array([row]), np.array([len(values)])
    if kind == "bytes":
        lengths = np.array([*map(len, values)], np.int64)
        return Piece(rows, np.frombuffer(b"".join(values), np.uint8), counts, lengths)
    return Piece(rows, np.array(values, np.float32 if kind == "float" else np.int64), counts)


def _make_kind_error(name: str, pieces: Mapping[Kind, Sequence[Piece]], locate: Callable[[int], str]) -> DataError:
    firsts = {kind: min(int(piece.rows[piece.counts > 0].min()) for piece in each) for kind, each in pieces.items()}
    described = [f"{kind} in {locate(row)}" for kind, row in sorted(firsts.items(), key=lambda item: item[1])]
    return DataError(f"feature `{name}` has values of different types: {', '.join(described)}. Write one type.")


def _parse_example(reads: Reads, data: bytes) -> dict[str, dict[Kind, list[Any]]]:
    """The values of an Example, by name and kind. Raises ValueError if it is none."""
    features = b"".join(read_messages(data, 1))
    return {name: _parse_lists(value) if reads(name) else {} for name, value in _read_map(features)}


def _parse_feature(data: bytes) -> dict[str, dict[Kind, list[Any]]]:
    return {"": _parse_lists(data)}


def _split_sequence_example(reads: Reads, data: bytes, location: str) -> tuple[bytes, dict[str, list[bytes]]]:
    """The context of a SequenceExample, and the Features of each of its lists."""

    def split(data: bytes) -> tuple[bytes, dict[str, list[bytes]]]:
        lists = _read_map(b"".join(read_messages(data, 2)))
        steps = {name: [*read_messages(value, 1)] if reads(name) else [] for name, value in lists}
        return b"".join(read_messages(data, 1)), steps

    found: tuple[bytes, dict[str, list[bytes]]] = _explain(split, data, location)
    return found


def _read_map(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The names and values of a map."""
    for entry in read_messages(data, 1):
        key = [b"", *read_messages(entry, 1)][-1]
        yield key.decode(), b"".join(read_messages(entry, 2))


def _parse_lists(feature: bytes) -> dict[Kind, list[Any]]:
    """The values of a Feature by kind: there is at most one, the last."""
    lists: dict[Kind, list[Any]] = {}
    for number, wire_type, content in read_fields(feature):
        kind = KINDS.get(number << 3 | wire_type)
        if kind is not None:
            lists = {kind: lists.get(kind, [])}
            lists[kind] += _parse_values(kind, content)
    return lists


def _parse_values(kind: Kind, data: bytes) -> Iterator[Any]:
    """The values of a list. A field with another wire type is an unknown one, which is skipped as by protobuf."""
    for number, wire_type, content in read_fields(data):
        if number != 1:
            continue
        if kind == "bytes":
            if wire_type == LENGTH:
                yield content
        elif kind == "float":
            if wire_type in (LENGTH, FIXED32):
                if len(content) % 4:
                    raise ValueError(f"a list of floats has {len(content):,} bytes, not a multiple of 4")
                yield from np.frombuffer(content, "<f4").tolist()
        elif wire_type == VARINT:
            yield as_signed(content)
        elif wire_type == LENGTH:
            position = 0
            while position < len(content):
                value, position = read_number(content, position)
                yield as_signed(value)
