"""Parses batches of TensorFlow's `Example` messages into columns, with NumPy.

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
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from components.data.tfrecord.framing import Records
from components.data.tfrecord.wire import (
    FIXED32,
    LENGTH,
    MAX_VARINT_BYTES,
    VARINT,
    as_signed,
    read_fields,
    read_messages,
    read_number,
)
from components.hashing import mix
from components.types import DataError, Strings

Kind = Literal["bytes", "float", "int64"]

FIELD_1, FIELD_2, FIELD_3 = 0x0A, 0x12, 0x1A  # tags of fields that have a length
KINDS: dict[int, Kind] = {FIELD_1: "bytes", FIELD_2: "float", FIELD_3: "int64"}
PADDING = 16  # bytes below the records, so that a varint or a word may be read at any position
MAX_PREFIX = 256  # bytes of an entry before its values
MAX_PREFIXES = 8  # at one position of the records of a part
MIN_MATCHES = 64  # records with one prefix, so that comparing it is worth the time
SHORT_BYTES = 64  # longer strings are copied one by one


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


class _Piece(NamedTuple):
    """The values of a feature in some rows.

    Attributes:
        rows: the rows, ascending or not, (rows,).
        values: float32, int64, or the bytes of all strings, uint8.
        counts: the number of values of each row.
        lengths: the lengths of the strings; None: the values are numbers.
    """

    rows: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray | None = None


class _Prefix(NamedTuple):
    """The first bytes of an entry of a map of features, up to its values: sizes, name and kind.

    Attributes:
        content: the bytes.
        size: the bytes of the entry, with its values.
        name: the name of the feature.
        kind: the type of its values, which are packed numbers, or a single string.
    """

    content: bytes
    size: int
    name: str
    kind: Kind


class _Spans(NamedTuple):
    """Parts of records, by row."""

    rows: np.ndarray
    starts: np.ndarray
    stops: np.ndarray


def parse_examples(records: Records) -> dict[str, Feature]:
    """Parses Examples into columns by the name of the feature, in alphabetical order.

    A feature that is present but has no value is like a missing one.

    Raises:
        DataError: a record is no Example, a name is not in UTF-8, or the values of a feature have different types.
    """
    parser = _BatchParser(records)
    return _parse(parser, parser.parse_examples, _parse_example, records.locate)


def parse_sequence_examples(records: Records) -> tuple[dict[str, Feature], dict[str, FeatureList]]:
    """Parses SequenceExamples: their context, which is like an Example, and their lists of features, by name.

    Raises:
        DataError: as for Examples.
    """
    contexts, lists = [], dict[str, list[list[bytes]]]()
    for row, record in enumerate(records.tolist()):
        context, steps = _split_sequence_example(record, records.locate(row))
        contexts.append(bytes([FIELD_1]) + _encode_varint(len(context)) + context)
        for name, features in steps.items():
            lists.setdefault(name, [[] for _ in records.starts])[row] = features
    context_parser = _BatchParser(Records.from_bytes(contexts, records.name))
    columns = _parse(context_parser, context_parser.parse_examples, _parse_example, records.locate)
    found = {}
    for name in sorted(lists):
        parser = _BatchParser(Records.from_bytes(itertools.chain(*lists[name]), records.name))
        counts = [*map(len, lists[name])]
        locate = partial(_locate_owner, records, np.repeat(np.arange(len(counts)), counts))
        for feature in _parse(parser, parser.parse_features, _parse_feature, locate, name).values():
            found[name] = FeatureList(feature, np.concatenate([[0], np.cumsum(counts)]))
    return columns, found


def has_feature_lists(records: Records) -> bool:
    """Whether some records have lists of features, and so are SequenceExamples."""
    return _BatchParser(records).has_second_field()


def _locate_owner(records: Records, owners: np.ndarray, step: int) -> str:
    return records.locate(int(owners[step]))


Pieces = dict[str, dict[Kind, list[_Piece]]]


def _parse(
    parser: _BatchParser,
    parse_many: Callable[[np.ndarray], Pieces],
    parse_one: Callable[[bytes], Mapping[str, Mapping[Kind, list[Any]]]],
    locate: Callable[[int], str],
    list_name: str | None = None,
) -> dict[str, Feature]:
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
            for kind, values in lists.items():
                pieces.setdefault(name, {}).setdefault(kind, []).append(_make_piece(row, kind, values))
    columns = {}
    for name in sorted(pieces):
        by_kind = {kind: found for kind, each in pieces[name].items() if (found := [p for p in each if p.counts.any()])}
        own = name if list_name is None else list_name
        if len(by_kind) > 1:
            raise _make_kind_error(own, by_kind, locate)
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


class _BatchParser:
    """Reads the same fields of many records at once.

    Attributes:
        is_unusual: the records whose layout isn't one that this class reads, (records,), bool. What was read of them
            has no meaning.
    """

    def __init__(self, records: Records) -> None:
        low, high = (int(records.starts[0]), int(records.stops[-1])) if len(records.starts) else (0, 0)
        content = records.content
        if high + PADDING <= len(content):
            low, size = 0, len(content) - PADDING  # nothing is copied
        else:
            content, size = content[low:high] + bytes(PADDING), high - low
        self._starts, self._stops = records.starts - low, records.stops - low
        self._content = content
        self._bytes = np.frombuffer(content, np.uint8)
        # Words at any position; NumPy reads them although they aren't aligned.
        self._words = as_strided(np.frombuffer(content, np.uint64, 1), (size + 1,), (1,), writeable=False)
        self._floats = as_strided(np.frombuffer(content, np.float32, 1), (size + 1,), (1,), writeable=False)
        self.is_unusual = np.zeros(len(records.starts), bool)

    def get_bytes(self, row: int) -> bytes:
        """The content of a record."""
        return self._content[self._starts[row] : self._stops[row]]

    def has_second_field(self) -> bool:
        """Whether a record begins with field 2, or has it after its first field."""
        _, starts, stops = _select_filled(np.arange(len(self._starts)), self._starts, self._stops)
        sizes, inner = self._read_varint(starts + 1)
        seconds = inner + sizes
        seconds = np.where((seconds > starts) & (seconds < stops), seconds, starts)
        return bool(((self._bytes[starts] == FIELD_2) | (self._bytes[seconds] == FIELD_2)).any())

    def parse_examples(self, rows: np.ndarray) -> Pieces:
        """Parses some records. Those with an unusual layout are marked."""
        rows, starts, stops = _select_filled(rows, self._starts[rows], self._stops[rows])
        starts, stops = self._enter(rows, starts, stops, FIELD_1, whole=True)
        found: Pieces = {}
        known, others = self._split_map(rows, starts, stops)
        for name, (owners, fields, ends) in others.items():
            features = self._enter(owners, fields, ends, FIELD_2, whole=True)
            found[name] = dict(self._parse_feature(owners, *features))
        read = {"bytes": self._copy_strings, "float": self._copy_floats, "int64": self._copy_integers}
        for (name, kind), each in known.items():
            pieces = found.setdefault(name, {}).setdefault(kind, [])
            pieces += [read[kind](*spans) for spans in each]
        return found

    def parse_features(self, rows: np.ndarray) -> Pieces:
        """Parses some records that are Features without a name. Those with an unusual layout are marked."""
        return {"": dict(self._parse_feature(rows, self._starts[rows], self._stops[rows]))}

    def _read_varint(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number at each position, int64, and the position after it."""
        byte = self._bytes[positions]
        longer = np.flatnonzero(byte >= 0x80)
        numbers, after = (byte & 0x7F if len(longer) else byte).astype(np.int64), positions + 1
        for shift in range(7, 7 * MAX_VARINT_BYTES, 7):
            if not len(longer):
                break
            byte = self._bytes[after[longer]]
            numbers[longer] |= (byte & 0x7F).astype(np.int64) << shift
            after[longer] += 1
            longer = longer[byte >= 0x80]
        return numbers, after

    def _enter(
        self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray, tag: np.ndarray | int, *, whole: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The content of the field at each start.

        Args:
            rows: the records, to mark them if they have another field there.
            starts: where the fields start.
            stops: the ends of what contains them.
            tag: the tag of the fields.
            whole: whether a field must end at its stop.
        """
        sizes, inner = self._read_varint(starts + 1)
        ends = inner + sizes
        fit = sizes.view(np.uint64) <= np.uint64(len(self._content))  # a negative size doesn't
        is_usual = (self._bytes[starts] == tag) & fit & ((ends == stops) if whole else (ends <= stops))
        if is_usual.all():
            return inner, ends
        self.is_unusual[rows[~is_usual]] = True
        return np.where(is_usual, inner, stops), np.where(is_usual, ends, stops)

    def _split_map(
        self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray
    ) -> tuple[dict[tuple[str, Kind], list[_Spans]], dict[str, _Spans]]:
        """Splits the maps of features of some records.

        Returns:
            The values of features with a usual layout by name and kind: packed numbers or a string. And the other
            values of the map by name.
        """
        known: dict[tuple[str, Kind], list[_Spans]] = {}
        others: dict[str, list[_Spans]] = {}
        while len(rows):
            ends, is_left = np.empty_like(starts), np.ones(len(rows), bool)
            for key, chosen, first, last in self._match_prefixes(starts, stops):
                known.setdefault(key, []).append(_Spans(rows[chosen], first, last))
                ends[chosen], is_left[chosen] = last, False
            if is_left.any():
                left = np.flatnonzero(is_left)
                ends[left] = self._split_entries(rows[left], starts[left], stops[left], others)
            more = ends < stops
            rows, starts, stops = (rows, ends, stops) if more.all() else (rows[more], ends[more], stops[more])
        self._mark_repeated(known, others)
        joined = {name: _Spans(*map(np.concatenate, zip(*each, strict=True))) for name, each in others.items()}
        return known, {name: _Spans(*_select_filled(*spans)) for name, spans in joined.items()}

    def _mark_repeated(
        self, known: Mapping[tuple[str, Kind], Sequence[_Spans]], others: Mapping[str, Sequence[_Spans]]
    ) -> None:
        """Marks the records that have a name twice, of which the last value counts."""
        of_name: dict[str, list[np.ndarray]] = {}
        for name, each in (*((name, each) for (name, _), each in known.items()), *others.items()):
            of_name.setdefault(name, []).extend(spans.rows for spans in each)
        for each_rows in of_name.values():
            if len(each_rows) > 1:
                self.is_unusual |= np.bincount(np.concatenate(each_rows), minlength=len(self.is_unusual)) > 1

    def _split_entries(
        self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray, found: dict[str, list[_Spans]]
    ) -> np.ndarray:
        """Adds the values of the entries at some positions, by key. Returns the ends of the entries."""
        inner, ends = self._enter(rows, starts, stops, FIELD_1, whole=False)
        keys, key_ends = self._enter(rows, inner, ends, FIELD_1, whole=False)
        for key, group in self._group_keys(rows, keys, key_ends):
            try:
                found.setdefault(key.decode(), []).append(_Spans(rows[group], key_ends[group], ends[group]))
            except UnicodeDecodeError:
                self.is_unusual[rows[group]] = True
        return ends

    def _match_prefixes(
        self, starts: np.ndarray, stops: np.ndarray
    ) -> Iterator[tuple[tuple[str, Kind], np.ndarray | slice, np.ndarray, np.ndarray]]:
        """Compares the entries at some positions with the prefixes of a few of them.

        Yields:
            The name and the kind, the entries that have them (all, if it is a slice), and the starts and the ends of
            their values.
        """
        left: np.ndarray | None = None  # None: all
        first, last = np.empty_like(starts), np.empty_like(starts)
        matched: dict[tuple[str, Kind], list[np.ndarray]] = {}
        for _ in range(MAX_PREFIXES):
            own, own_stops = (starts, stops) if left is None else (starts[left], stops[left])
            if len(own) < MIN_MATCHES or (prefix := self._read_prefix(int(own[0]), int(own_stops[0]))) is None:
                break
            same = self._have_prefix(own, prefix.content)
            same &= own + prefix.size <= own_stops
            if left is None and same.all():
                yield (prefix.name, prefix.kind), slice(None), own + len(prefix.content), own + prefix.size
                return
            chosen = np.flatnonzero(same) if left is None else left[same]
            first[chosen] = starts[chosen] + len(prefix.content)
            last[chosen] = starts[chosen] + prefix.size
            matched.setdefault((prefix.name, prefix.kind), []).append(chosen)
            left = np.flatnonzero(~same) if left is None else left[~same]
        if len(matched) == 1 and left is not None and not len(left):
            yield next(iter(matched)), slice(None), first, last
            return
        for key, each in matched.items():
            entries = each[0] if len(each) == 1 else np.sort(np.concatenate(each))
            yield key, entries, first[entries], last[entries]

    def _read_prefix(self, start: int, stop: int) -> _Prefix | None:
        """The prefix of an entry. None: its layout isn't a usual one."""
        data, size = self._content[start : min(stop, start + MAX_PREFIX)], stop - start

        def enter(tag: int, position: int) -> tuple[int, int]:
            if data[position] != tag:
                raise ValueError(tag)
            length, inner = read_number(data, position + 1)
            return inner, inner + length

        try:
            inner, end = enter(FIELD_1, 0)
            name_start, name_stop = enter(FIELD_1, inner)
            inner, feature_end = enter(FIELD_2, name_stop)
            kind = KINDS[data[inner]]
            inner, list_end = enter(data[inner], inner)
            inner, value_end = enter(FIELD_1, inner)
            name = data[name_start:name_stop].decode()
        except (ValueError, IndexError, KeyError):
            return None
        is_usual = feature_end == list_end == value_end == end <= size and inner <= len(data)
        if not is_usual or (kind != "bytes" and (inner == end or (kind == "float" and (end - inner) % 4))):
            return None
        return _Prefix(data[:inner], end, name, kind)

    def _have_prefix(self, starts: np.ndarray, prefix: bytes) -> np.ndarray:
        """Which entries start with some bytes. Entries that are shorter may give anything."""
        size = (len(prefix) + 7) // 8 * 8
        spans = np.ndarray((len(self._content) - size + 1,), f"V{size}", self._content, 0, (1,))  # at each position
        found = spans[np.minimum(starts, len(spans) - 1)].view(np.uint64).reshape(len(starts), size // 8)
        words = np.frombuffer(prefix.ljust(size, b"\0"), np.uint64)
        masks = np.frombuffer((b"\xff" * len(prefix)).ljust(size, b"\0"), np.uint64)
        same: np.ndarray = found[:, 0] == words[0]
        for index in range(1, len(words)):
            column = found[:, index] & masks[index] if index == len(words) - 1 else found[:, index]
            same &= column == words[index]
        return same

    def _group_keys(
        self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray
    ) -> Iterator[tuple[bytes, np.ndarray | slice]]:
        """Each distinct key, and the positions of the rows that have it."""
        if self._have_key(starts, stops, 0).all():
            yield self._content[starts[0] : stops[0]], slice(None)
            return
        lengths = stops - starts
        codes = lengths.astype(np.uint64)
        for shift in range(0, int(lengths.max()), 8):
            longer = np.flatnonzero(lengths > shift)
            codes[longer] = mix(codes[longer] ^ self._read_words(starts[longer] + shift, lengths[longer] - shift))
        _, firsts, groups = np.unique(codes, return_index=True, return_inverse=True)
        for number, first in enumerate(firsts.tolist()):
            group = np.flatnonzero(groups == number)
            same = self._have_key(starts[group], stops[group], int(np.flatnonzero(group == first)[0]))
            self.is_unusual[rows[group[~same]]] = True  # another key has the same hash
            yield self._content[starts[first] : stops[first]], group

    def _have_key(self, starts: np.ndarray, stops: np.ndarray, index: int) -> np.ndarray:
        """Which rows have the same key as the row at an index."""
        first, length = starts[index], int(stops[index] - starts[index])
        same = (stops - starts) == length
        for shift in range(0, length, 8):
            word = self._read_words(first[None] + shift, np.array([length - shift]))
            positions = np.minimum(starts + shift, len(self._words) - 1)  # of a shorter key
            same &= self._read_words(positions, np.array([length - shift])) == word
        return same

    def _read_words(self, positions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The next eight bytes, or as many as a key has."""
        unused = np.maximum(8 - lengths, 0).astype(np.uint64) * np.uint64(8)
        return self._words[positions] << unused

    def _parse_feature(
        self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray
    ) -> Iterator[tuple[Kind, list[_Piece]]]:
        """The values of Feature messages."""
        rows, starts, stops = _select_filled(rows, starts, stops)
        tags = self._bytes[starts]
        known = np.isin(tags, [*KINDS])
        self.is_unusual[rows[~known]] = True
        for tag, kind in KINDS.items():
            chosen = tags == tag
            if not chosen.any():
                continue
            of_kind = rows[chosen]
            lists = _select_filled(of_kind, *self._enter(of_kind, starts[chosen], stops[chosen], tag, whole=True))
            if len(lists[0]):
                read = {"bytes": self._read_strings, "float": self._read_floats, "int64": self._read_integers}[kind]
                yield kind, [read(*lists)]

    def _read_floats(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> _Piece:
        return self._copy_floats(rows, *self._enter(rows, starts, stops, FIELD_1, whole=True))

    def _copy_floats(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> _Piece:
        sizes = stops - starts
        self.is_unusual[rows[sizes % 4 != 0]] = True
        counts = sizes // 4
        if (counts == 1).all():
            return _Piece(rows, self._floats[starts], counts)
        return _Piece(rows, self._floats[_list_positions(starts, counts, 4)], counts)

    def _read_integers(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> _Piece:
        return self._copy_integers(rows, *self._enter(rows, starts, stops, FIELD_1, whole=True))

    def _copy_integers(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> _Piece:
        values, after = self._read_varint(starts)
        if (after == stops).all():
            return _Piece(rows, values, np.ones(len(rows), np.int64))
        sizes = stops - starts
        content = self._bytes[_list_positions(starts, sizes, 1)]
        is_last = content < 0x80
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        counted = np.concatenate([[0], np.cumsum(is_last)])
        filled = sizes > 0
        self.is_unusual[rows[filled][~is_last[bounds[1:][filled] - 1]]] = True
        lasts = np.flatnonzero(is_last)
        firsts = np.concatenate([[0], lasts[:-1] + 1]) if len(lasts) else lasts
        lengths = lasts - firsts + 1
        numbers = np.zeros(len(lasts), np.int64)
        for index in range(min(int(lengths.max(initial=0)), MAX_VARINT_BYTES)):
            longer = np.flatnonzero(lengths > index)
            numbers[longer] |= (content[firsts[longer] + index] & 0x7F).astype(np.int64) << (7 * index)
        counts = counted[bounds[1:]] - counted[bounds[:-1]]
        owners = np.searchsorted(bounds, lasts, side="right") - 1
        self.is_unusual[rows[owners[lengths > MAX_VARINT_BYTES]]] = True
        return _Piece(rows, numbers, counts)

    def _read_strings(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> _Piece:
        owners, value_starts, value_stops = [], [], []
        left = np.arange(len(rows))
        while len(left):
            inner, ends = self._enter(rows[left], starts, stops, FIELD_1, whole=False)
            owners.append(left)
            value_starts.append(inner)
            value_stops.append(ends)
            more = ends < stops
            left, starts, stops = left[more], ends[more], stops[more]
        owner, first, last = (np.concatenate(each) for each in (owners, value_starts, value_stops))
        if len(owners) > 1:
            order = np.argsort(owner, kind="stable")
            owner, first, last = owner[order], first[order], last[order]
        content, lengths = self._copy_spans(first, last)
        return _Piece(rows, content, np.bincount(owner, minlength=len(rows)), lengths)

    def _copy_strings(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> _Piece:
        """One string of each record."""
        content, lengths = self._copy_spans(starts, stops)
        return _Piece(rows, content, np.ones(len(rows), np.int64), lengths)

    def _copy_spans(self, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bytes between some positions, one after the other, and their lengths."""
        lengths = last - first
        if lengths.sum() <= SHORT_BYTES * len(lengths):
            content = self._bytes[_list_positions(first, lengths, 1)]
        else:
            bounds = zip(first.tolist(), last.tolist(), strict=True)
            content = np.frombuffer(b"".join([self._content[start:stop] for start, stop in bounds]), np.uint8)
        return content, lengths


def _select_filled(
    rows: np.ndarray, starts: np.ndarray, stops: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The messages that aren't empty."""
    filled = starts < stops
    return (rows, starts, stops) if filled.all() else (rows[filled], starts[filled], stops[filled])


def _list_positions(starts: np.ndarray, counts: np.ndarray, step: int) -> np.ndarray:
    """The positions of `counts` elements from each start on."""
    before = np.cumsum(counts) - counts
    positions: np.ndarray = np.repeat(starts - step * before, counts) + step * np.arange(int(counts.sum()))
    return positions


def _join_pieces(kind: Kind, pieces: Sequence[_Piece], rows: int) -> Feature:
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
        order = _list_positions((np.cumsum(counts) - counts)[by_row], counts[by_row], 1)
    if kind != "bytes":
        return Feature(kind, values if order is None else values[order], offsets)
    lengths = np.concatenate([piece.lengths for piece in pieces if piece.lengths is not None])
    if order is not None:
        values = values[_list_positions((np.cumsum(lengths) - lengths)[order], lengths[order], 1)]
        lengths = lengths[order]
    return Feature(kind, Strings(values, np.concatenate([[0], np.cumsum(lengths)])), offsets)


def _make_piece(row: int, kind: Kind, values: Sequence[Any]) -> _Piece:
    rows, counts = np.array([row]), np.array([len(values)])
    if kind == "bytes":
        lengths = np.array([*map(len, values)], np.int64)
        return _Piece(rows, np.frombuffer(b"".join(values), np.uint8), counts, lengths)
    return _Piece(rows, np.array(values, np.float32 if kind == "float" else np.int64), counts)


def _make_kind_error(name: str, pieces: Mapping[Kind, Sequence[_Piece]], locate: Callable[[int], str]) -> DataError:
    firsts = {kind: min(int(piece.rows[piece.counts > 0].min()) for piece in each) for kind, each in pieces.items()}
    described = [f"{kind} in {locate(row)}" for kind, row in sorted(firsts.items(), key=lambda item: item[1])]
    return DataError(f"feature `{name}` has values of different types: {', '.join(described)}. Write one type.")


def _parse_example(data: bytes) -> dict[str, dict[Kind, list[Any]]]:
    """The values of an Example, by name and kind. Raises ValueError if it is none."""
    features = b"".join(read_messages(data, 1))
    return {name: _parse_lists(value) for name, value in _read_map(features)}


def _parse_feature(data: bytes) -> dict[str, dict[Kind, list[Any]]]:
    return {"": _parse_lists(data)}


def _split_sequence_example(data: bytes, location: str) -> tuple[bytes, dict[str, list[bytes]]]:
    """The context of a SequenceExample, and the Features of each of its lists."""

    def split(data: bytes) -> tuple[bytes, dict[str, list[bytes]]]:
        lists = _read_map(b"".join(read_messages(data, 2)))
        return b"".join(read_messages(data, 1)), {name: [*read_messages(value, 1)] for name, value in lists}

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


def _encode_varint(number: int) -> bytes:
    content = np.empty(MAX_VARINT_BYTES, np.uint8)
    return content[: int(_write_varints(content, np.array([0]), np.array([number]))[0])].tobytes()


def serialize_examples(columns: Mapping[str, Feature], count: int, name: str = "examples") -> Records:
    """Serializes Examples. An Example without a value of a feature doesn't have the feature.

    Args:
        columns: the features by name; each has `count` Examples.
        count: the number of Examples.
        name: the name of the records for messages.
    """
    writers = [_FeatureWriter(key, columns[key]) for key in sorted(columns)]
    features = np.zeros(count, np.int64)
    for writer in writers:
        features[writer.rows] += writer.sizes
    stops = np.cumsum(1 + _varint_sizes(features) + features)
    buffer = np.empty(int(stops[-1]) if count else 0, np.uint8)
    starts = np.concatenate([[0], stops[:-1]])[:count]
    positions = _write_header(buffer, starts, FIELD_1, features)
    for writer in writers:
        positions[writer.rows] = writer.write(buffer, positions[writer.rows])
    return Records(buffer.tobytes(), starts, stops, name)


class _FeatureWriter:
    """Writes one entry of the map of features in each Example that has a value.

    Attributes:
        rows: the Examples with a value.
        sizes: the bytes of their entries.
    """

    def __init__(self, key: str, feature: Feature) -> None:
        counts = np.diff(feature.offsets)
        self.rows = np.flatnonzero(counts)
        self._tag = {kind: tag for tag, kind in KINDS.items()}[feature.kind]
        name = key.encode()
        header = np.empty(2 + int(_varint_sizes(np.array([len(name)]))[0]) + len(name), np.uint8)
        after = _write_header(header, np.array([0]), FIELD_1, np.array([len(name)]))
        header[int(after[0]) : -1] = np.frombuffer(name, np.uint8)
        header[-1] = FIELD_2
        self._header = header
        content, value_sizes = _encode_values(feature)
        self._content = content
        bounds = np.concatenate([[0], np.cumsum(value_sizes)])[feature.offsets]
        self._content_sizes = np.diff(bounds)[self.rows]
        self._is_packed = feature.kind != "bytes"
        self._list_sizes = _wrap(self._content_sizes) if self._is_packed else self._content_sizes
        self._feature_sizes = _wrap(self._list_sizes)
        self._entry_sizes = len(header) + _varint_sizes(self._feature_sizes) + self._feature_sizes
        self.sizes = _wrap(self._entry_sizes)

    def write(self, buffer: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Writes the entries at some positions. Returns the positions after them."""
        positions = _write_header(buffer, positions, FIELD_1, self._entry_sizes)
        buffer[positions[:, None] + np.arange(len(self._header))] = self._header
        positions = _write_varints(buffer, positions + len(self._header), self._feature_sizes)
        positions = _write_header(buffer, positions, self._tag, self._list_sizes)
        if self._is_packed:
            positions = _write_header(buffer, positions, FIELD_1, self._content_sizes)
        buffer[_list_positions(positions, self._content_sizes, 1)] = self._content
        return positions + self._content_sizes


def _encode_values(feature: Feature) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all values of a feature, and how many each value has. Strings are fields, numbers are packed."""
    if isinstance(feature.values, Strings):
        strings = feature.values
        lengths = np.diff(strings.offsets)
        sizes = _wrap(lengths)
        content = np.empty(int(sizes.sum()), np.uint8)
        inner = _write_header(content, np.cumsum(sizes) - sizes, FIELD_1, lengths)
        content[_list_positions(inner, lengths, 1)] = strings.data[strings.offsets[0] : strings.offsets[-1]]
        return content, sizes
    if feature.kind == "float":
        return feature.values.astype("<f4").view(np.uint8), np.full(len(feature.values), 4)
    sizes = _varint_sizes(feature.values)
    content = np.empty(int(sizes.sum()), np.uint8)
    _write_varints(content, np.cumsum(sizes) - sizes, feature.values)
    return content, sizes


def _varint_sizes(numbers: np.ndarray) -> np.ndarray:
    """The bytes of each number as a varint. A negative one has ten."""
    unsigned = numbers.astype(np.int64).view(np.uint64)
    sizes = np.ones(len(numbers), np.int64)
    for bits in range(7, 64, 7):
        if not (larger := unsigned >> np.uint64(bits) != 0).any():
            break
        sizes += larger
    return sizes


def _wrap(sizes: np.ndarray) -> np.ndarray:
    """The sizes of fields whose contents have some sizes."""
    return 1 + _varint_sizes(sizes) + sizes


def _write_header(buffer: np.ndarray, positions: np.ndarray, tag: int, sizes: np.ndarray) -> np.ndarray:
    buffer[positions] = tag
    return _write_varints(buffer, positions + 1, sizes)


def _write_varints(buffer: np.ndarray, positions: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Writes a number at each position. Returns the positions after them."""
    left = numbers.astype(np.int64).view(np.uint64)
    after = positions.copy()
    indices: np.ndarray | slice = slice(None)
    while True:
        more = left >= 0x80
        buffer[after[indices]] = ((left & np.uint64(0x7F)) | (more.astype(np.uint64) << np.uint64(7))).astype(np.uint8)
        after[indices] += 1
        if not more.any():
            return after
        indices = np.flatnonzero(more) if isinstance(indices, slice) else indices[more]
        left = left[more] >> np.uint64(7)
