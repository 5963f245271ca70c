"""The values of features in consecutive records."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from components.data.tfrecord.batch import Kind, Reads
from components.data.tfrecord.example import (
    Feature,
    FeatureList,
    has_feature_lists,
    parse_examples,
    parse_sequence_examples,
    read_all,
)
from components.data.tfrecord.framing import Records
from components.types import DataError, Strings

PARSED_RECORDS = 1 << 13  # records that are parsed at once
RECORD = "record"  # the column of raw records


class Part(NamedTuple):
    """The values of a feature in consecutive records.

    Attributes:
        kind: the type of the values. None: no record has the feature.
        values: the values of all records: float32, int64 or `Strings` of bytes.
        levels: the offsets of each level of lists, the outer one first: those of rows, and of the steps of a row.
        rows: the number of records.
    """

    kind: Kind | None
    values: Any
    levels: tuple[np.ndarray, ...]
    rows: int


def parse(records: Records, reads: Reads = read_all, *, raw: bool = False) -> dict[str, Part | None]:
    """The features of some records, or, of raw ones, a single feature that has their bytes.

    None: no record has a value of the feature, or it isn't read.
    """
    if raw:
        content = records.tolist()
        return {RECORD: Part("bytes", Strings.from_bytes(content), (np.arange(len(content) + 1),), len(content))}
    return _parse(records, reads, sequences=has_feature_lists(records))


def _parse(records: Records, reads: Reads, *, sequences: bool) -> dict[str, Part | None]:
    """The features of Examples or SequenceExamples."""
    rows = len(records.starts)
    if not sequences and rows > PARSED_RECORDS and (joined := _parse_in_pieces(records, reads)) is not None:
        return joined
    if not sequences:
        return {name: _make_part(feature, rows) for name, feature in parse_examples(records, reads).items()}
    context, lists = parse_sequence_examples(records, reads)
    parts = {name: _make_part(feature, rows) for name, feature in context.items()}
    found = {name: _make_list_part(steps, rows) for name, steps in lists.items()}
    if both := sorted(name for name in parts.keys() & found if parts[name] is not None and found[name] is not None):
        raise DataError(f"{records.name}: `{both[0]}` is in the context and a list of features. Rename one.")
    return parts | {name: part for name, part in found.items() if part is not None or name not in parts}


def _parse_in_pieces(records: Records, reads: Reads) -> dict[str, Part | None] | None:
    """The features of Examples, parsed in pieces that fit into the processor's cache. None: their types differ."""
    rows, pieces = [*range(0, len(records.starts), PARSED_RECORDS), len(records.starts)], []
    for start, stop in itertools.pairwise(rows):
        starts, stops = records.starts[start:stop], records.stops[start:stop]
        piece = records._replace(starts=starts, stops=stops, first=records.first + start)
        pieces.append(_parse(piece, reads, sequences=False))
    joined = dict[str, Part | None]()
    for name in dict.fromkeys(name for piece in pieces for name in piece):
        bounds = zip(pieces, itertools.pairwise(rows), strict=True)
        parts = [piece.get(name) or make_gap(stop - start) for piece, (start, stop) in bounds]
        kinds = {part.kind for part in parts if part.kind is not None}
        if len(kinds) > 1:
            return None
        joined[name] = join_parts(kinds.pop(), parts) if kinds else None
    return joined


def _make_part(feature: Feature | None, rows: int) -> Part | None:
    return None if feature is None else Part(feature.kind, feature.values, (feature.offsets,), rows)


def _make_list_part(steps: FeatureList | None, rows: int) -> Part | None:
    if steps is None:
        return None
    return Part(steps.feature.kind, steps.feature.values, (steps.offsets, steps.feature.offsets), rows)


def make_gap(rows: int) -> Part:
    """Records without the feature."""
    return Part(None, None, (np.zeros(rows + 1, np.int64),), rows)


def count_bytes(part: Part) -> int:
    arrays = part.values[:2] if isinstance(part.values, Strings) else [part.values]
    return sum(array.nbytes for array in (*arrays, *part.levels))


def join_parts(kind: Kind, parts: Sequence[Part]) -> Part:
    """One part with the records of several, which have a kind or no values."""
    depth = max(len(part.levels) for part in parts)
    levels = []
    for level in range(depth):
        pieces, start = [np.zeros(1, np.int64)], 0
        for part in parts:
            if level < len(part.levels):
                pieces.append(part.levels[level][1:] + start)
                start += int(part.levels[level][-1])
        levels.append(np.concatenate(pieces))
    found = [part.values for part in parts if part.kind is not None]
    values: Any
    if kind == "bytes":
        offsets, start = [np.zeros(1, np.int64)], 0
        for strings in found:
            offsets.append(strings.offsets[1:] - strings.offsets[0] + start)
            start = int(offsets[-1][-1]) if len(offsets[-1]) else start
        data = [strings.data[strings.offsets[0] : strings.offsets[-1]] for strings in found]
        values = Strings(np.concatenate(data) if data else np.empty(0, np.uint8), np.concatenate(offsets))
    else:
        values = np.concatenate(found) if found else np.empty(0, np.float32)
    return Part(kind, values, tuple(levels), sum(part.rows for part in parts))
