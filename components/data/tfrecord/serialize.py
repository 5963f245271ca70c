"""Serializes batches of Examples, with NumPy. `example` describes the messages."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from components.data.tfrecord.batch import FIELD_1, FIELD_2, KINDS, list_positions
from components.data.tfrecord.example import Feature
from components.data.tfrecord.framing import Records
from components.types import Strings


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
        buffer[list_positions(positions, self._content_sizes, 1)] = self._content
        return positions + self._content_sizes


def _encode_values(feature: Feature) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all values of a feature, and how many each value has. Strings are fields, numbers are packed."""
    if isinstance(feature.values, Strings):
        strings = feature.values
        lengths = np.diff(strings.offsets)
        sizes = _wrap(lengths)
        content = np.empty(int(sizes.sum()), np.uint8)
        inner = _write_header(content, np.cumsum(sizes) - sizes, FIELD_1, lengths)
        content[list_positions(inner, lengths, 1)] = strings.data[strings.offsets[0] : strings.offsets[-1]]
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
