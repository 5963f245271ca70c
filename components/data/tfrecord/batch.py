"""Reads the same fields of many serialized Examples at once, with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from components.data.tfrecord.framing import Records
from components.data.tfrecord.wire import MAX_VARINT_BYTES, read_number
from components.hashing import mix

Kind = Literal["bytes", "float", "int64"]

FIELD_1, FIELD_2, FIELD_3 = 0x0A, 0x12, 0x1A  # tags of fields that have a length
KINDS: dict[int, Kind] = {FIELD_1: "bytes", FIELD_2: "float", FIELD_3: "int64"}
PADDING = 16  # bytes below the records, so that a varint or a word may be read at any position
MAX_PREFIX = 256  # bytes of an entry before its values
MAX_PREFIXES = 8  # at one position of the records of a part
MIN_MATCHES = 64  # records with one prefix, so that comparing it is worth the time
SHORT_BYTES = 64  # longer strings are copied one by one


class Piece(NamedTuple):
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


Pieces = dict[str, dict[Kind, list[Piece]]]
"""The values of features by name and kind. A feature without any was skipped, or has none."""
Reads = Callable[[str], bool]
"""Whether the values of a feature are read. Other ones are skipped."""


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


class BatchParser:
    """Reads the same fields of many records at once.

    Attributes:
        is_unusual: the records whose layout isn't one that this class reads, (records,), bool. What was read of them
            has no meaning.
    """

    def __init__(self, records: Records, reads: Reads) -> None:
        self._reads = reads
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
        known, others, skipped = self._split_map(rows, starts, stops)
        for name, (owners, fields, ends) in others.items():  # also of skipped ones: a second key may follow the value
            features = self._enter(owners, fields, ends, FIELD_2, whole=True)
            found[name] = dict(self._parse_feature(owners, *features)) if self._reads(name) else {}
        read = {"bytes": self._copy_strings, "float": self._copy_floats, "int64": self._copy_integers}
        for (name, kind), each in known.items():
            pieces = found.setdefault(name, {}).setdefault(kind, [])
            pieces += [read[kind](*spans) for spans in each]
        return {name: {} for name in skipped} | found

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
    ) -> tuple[dict[tuple[str, Kind], list[_Spans]], dict[str, _Spans], set[str]]:
        """Splits the maps of features of some records.

        Returns:
            The values of features with a usual layout by name and kind: packed numbers or a string. The other values of
            the map by name. And the names of features with a usual layout that are skipped.
        """
        skipped = set[str]()
        known: dict[tuple[str, Kind], list[_Spans]] = {}
        others: dict[str, list[_Spans]] = {}
        while len(rows):
            ends, is_left = np.empty_like(starts), np.ones(len(rows), bool)
            for key, chosen, first, last in self._match_prefixes(starts, stops):
                if self._reads(key[0]):
                    known.setdefault(key, []).append(_Spans(rows[chosen], first, last))
                else:
                    skipped.add(key[0])
                ends[chosen], is_left[chosen] = last, False
            if is_left.any():
                left = np.flatnonzero(is_left)
                ends[left] = self._split_entries(rows[left], starts[left], stops[left], others)
            more = ends < stops
            rows, starts, stops = (rows, ends, stops) if more.all() else (rows[more], ends[more], stops[more])
        self._mark_repeated(known, others)
        joined = {name: _Spans(*map(np.concatenate, zip(*each, strict=True))) for name, each in others.items()}
        return known, {name: _Spans(*_select_filled(*spans)) for name, spans in joined.items()}, skipped

    def _mark_repeated(
        self, known: Mapping[tuple[str, Kind], Sequence[_Spans]], others: Mapping[str, Sequence[_Spans]]
    ) -> None:
        """Marks the records that have a name twice, of which the last value counts, unless it is skipped."""
        of_name: dict[str, list[np.ndarray]] = {}
        for name, each in (*((name, each) for (name, _), each in known.items()), *others.items()):
            of_name.setdefault(name, []).extend(spans.rows for spans in (each if self._reads(name) else ()))
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
    ) -> Iterator[tuple[Kind, list[Piece]]]:
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

    def _read_floats(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> Piece:
        return self._copy_floats(rows, *self._enter(rows, starts, stops, FIELD_1, whole=True))

    def _copy_floats(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> Piece:
        sizes = stops - starts
        self.is_unusual[rows[sizes % 4 != 0]] = True
        counts = sizes // 4
        if (counts == 1).all():
            return Piece(rows, self._floats[starts], counts)
        return Piece(rows, self._floats[list_positions(starts, counts, 4)], counts)

    def _read_integers(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> Piece:
        return self._copy_integers(rows, *self._enter(rows, starts, stops, FIELD_1, whole=True))

    def _copy_integers(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> Piece:
        values, after = self._read_varint(starts)
        if (after == stops).all():
            return Piece(rows, values, np.ones(len(rows), np.int64))
        sizes = stops - starts
        content = self._bytes[list_positions(starts, sizes, 1)]
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
        return Piece(rows, numbers, counts)

    def _read_strings(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> Piece:
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
        return Piece(rows, content, np.bincount(owner, minlength=len(rows)), lengths)

    def _copy_strings(self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> Piece:
        """One string of each record."""
        content, lengths = self._copy_spans(starts, stops)
        return Piece(rows, content, np.ones(len(rows), np.int64), lengths)

    def _copy_spans(self, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bytes between some positions, one after the other, and their lengths."""
        lengths = last - first
        if lengths.sum() <= SHORT_BYTES * len(lengths):
            content = self._bytes[list_positions(first, lengths, 1)]
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


def list_positions(starts: np.ndarray, counts: np.ndarray, step: int) -> np.ndarray:
    """The positions of `counts` elements from each start on."""
    before = np.cumsum(counts) - counts
    positions: np.ndarray = np.repeat(starts - step * before, counts) + step * np.arange(int(counts.sum()))
    return positions
