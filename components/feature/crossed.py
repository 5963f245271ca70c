"""Crosses: ids of combinations of values of several columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from components.feature.base.column import Categorical, check_buckets
from components.feature.base.values import CategoryValues, Layout, read_values
from components.feature.text.fingerprint import cross, cross_ragged, fingerprint64, to_buckets
from components.feature.text.string_ops import apply_to_strings
from components.types import Block, Constants, Encoded, Ragged, Range, Strings, UserError, Values


class Part(NamedTuple):
    """The values of one key of a cross.

    Attributes:
        values: (values,), uint64: fingerprints of strings, or integers.
        valid_mask: (values,), bool: False where a value is missing. None: none is.
        layout: how the values make up rows.
        is_dense: whether TensorFlow would have a dense tensor: a raw column with the same number of values in all rows.
    """

    values: np.ndarray
    valid_mask: np.ndarray | None
    layout: Layout
    is_dense: bool


class Crossing(dict[str, Encoded]):
    """The ids of a cross, with its parts, which a cross of this cross needs."""

    def __init__(self, encoded: Mapping[str, Encoded], parts: tuple[Part, ...]) -> None:
        super().__init__(encoded)
        self.parts = parts


@dataclass(frozen=True, kw_only=True)
class Crossed(Categorical):
    """Hashed combinations of values of several columns: TensorFlow's `crossed_column`.

    Each combination of a value of every column has an id, a remainder of its Fingerprint64; the last column's value
    changes fastest. Where a column has no value, there is no id. Strings are hashed first; integers and the ids of
    categorical columns are not. As in TensorFlow, a cross among the keys stands for its own keys. Hashed columns may be
    keys too, which TensorFlow refuses because their ids collide a second time.

    TensorFlow hashes dense tensors, which are raw columns with the same number of values in all rows, after all other
    keys; by default ids agree with it. Keras's `HashedCrossing` has dense keys only.

    Attributes:
        keys: two or more raw columns of strings or integers, whose "" and -1 are ordinary values here, or categorical
            columns.
        buckets: the number of ids.
        hash_key: what the hash begins with. None or 0: TensorFlow's own number.
        order: `dense_last` is TensorFlow's order; `given` hashes in the order of the keys.
    """

    keys: tuple[str, ...]
    buckets: Annotated[int, Range(1, 2**31 - 1)]
    hash_key: int | None = None
    order: Literal["dense_last", "given"] = "dense_last"

    def __post_init__(self) -> None:
        check_buckets(" x ".join(self.keys), self.buckets)
        if len(self.keys) < 2:
            raise UserError(f"a cross of {len(self.keys)} columns ({', '.join(self.keys)}); two are needed, or more")
        _check_distinct(self.keys)

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        inner = {key: constants.static.get("crossed", (key,)) for key, constants in parents.items()}
        names = tuple(name for key in self.keys for name in inner.get(key, (key,)))
        _check_distinct(names)
        return Constants(static={"buckets": self.buckets, "crossed": names})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        parts = [part for key in self.keys for part in _read_parts(block, key, parents)]
        if len(parts) != len(constants.static["crossed"]):
            raise UserError(f"a cross among {', '.join(self.keys)} has lost its parts; list its keys instead")
        if self.order == "dense_last":
            parts.sort(key=lambda part: part.is_dense)
        crossed = _cross_dense(parts, self.hash_key) if _are_regular(parts) else _cross_rows(parts, self.hash_key)
        ids = to_buckets(crossed.values, self.buckets)
        return Crossing(CategoryValues(ids, crossed.valid_mask, crossed.layout).ids(ids), tuple(parts))


def _check_distinct(names: tuple[str, ...]) -> None:
    if again := [name for number, name in enumerate(names) if name in names[:number]]:
        raise UserError(f"a cross of {', '.join(names)}: `{again[0]}` occurs twice; leave one out")


def _read_parts(block: Block, key: str, parents: Mapping[str, Mapping[str, Values]]) -> tuple[Part, ...]:
    arrays = parents.get(key, {})
    if isinstance(arrays, Crossing):
        return arrays.parts
    if "weights" in arrays:
        raise UserError(f"a cross has no weights, but `{key}` has; cross the column that it weighs")
    found = read_values(block, key, parents, empty_is_missing=False)
    if isinstance(found.values, Strings):
        values = apply_to_strings(found.values, fingerprint64)
    else:
        values = found.values.view(np.uint64)
    return (Part(values, found.valid_mask, found.layout, "ids" not in arrays and isinstance(found.layout, tuple)),)


def _are_regular(parts: list[Part]) -> bool:
    """Whether in each part all rows have the same number of values."""
    return all(isinstance(part.layout, tuple) for part in parts)


def _cross_dense(parts: list[Part], hash_key: int | None) -> Part:
    """Crosses parts with a fixed number of values per row: (rows,), or (rows, K), K the product of the numbers."""
    rows = int(parts[0].layout[0])
    widths = [int(np.prod(part.layout[1:])) for part in parts]

    def broadcast(values: np.ndarray, axis: int) -> np.ndarray:
        shape = [rows, *(width if place == axis else 1 for place, width in enumerate(widths))]
        return np.broadcast_to(values.reshape(shape), (rows, *widths)).reshape(-1)

    hashes = cross([broadcast(part.values, axis) for axis, part in enumerate(parts)], hash_key)
    gaps = [broadcast(part.valid_mask, axis) for axis, part in enumerate(parts) if part.valid_mask is not None]
    width = int(np.prod(widths))
    valid_mask = np.logical_and.reduce(gaps) if gaps else None
    return Part(hashes, valid_mask, (rows,) if width == 1 else (rows, width), is_dense=True)


def _cross_rows(parts: list[Part], hash_key: int | None) -> Part:
    """Crosses parts of which some have rows of different lengths."""
    crossed = cross_ragged([_drop_missing(part) for part in parts], hash_key)
    return Part(crossed.values, None, crossed.offsets, is_dense=False)


def _drop_missing(part: Part) -> Ragged:
    """The values of a part that aren't missing."""
    offsets = part.layout
    if isinstance(offsets, tuple):
        offsets = np.arange(offsets[0] + 1) * int(np.prod(offsets[1:]))
    if part.valid_mask is None:
        return Ragged(part.values, offsets)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(part.valid_mask)])
    return Ragged(part.values[part.valid_mask], before[offsets])
