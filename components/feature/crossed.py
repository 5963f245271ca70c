"""Ids of what several columns hold together."""

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
    """What a key of a cross holds."""

    values: np.ndarray  # (cells,), uint64: fingerprints of strings, integers as they are
    valid_mask: np.ndarray | None  # (cells,), bool; None: all
    layout: Layout
    dense: bool  # whether TensorFlow has it dense: a raw column with as many cells in every row


class Crossing(dict[str, Encoded]):
    """The ids of a cross, and its parts, for a cross that it is a key of."""

    def __init__(self, encoded: Mapping[str, Encoded], parts: tuple[Part, ...]) -> None:
        super().__init__(encoded)
        self.parts = parts


@dataclass(frozen=True, kw_only=True)
class Crossed(Categorical):
    """The remainder of the Fingerprint64 of values of several columns: TensorFlow's `crossed_column`.

    Each choice of a value from every column has an id, the last column's value changing fastest; where one has none,
    there is no id. Strings enter by their Fingerprint64, integers and the ids of categorical columns as they are. A
    cross among the keys is taken for its own keys, as in TensorFlow; hashed columns, which TensorFlow refuses, may be
    keys, and collide once more.

    TensorFlow hashes what it holds as dense tensors, raw columns with as many cells in every row, behind all others,
    whatever the order of the keys: ids agree with it so. Keras's `HashedCrossing` has dense keys only.

    Attributes:
        keys: two or more: raw columns of strings or integers, whose "" and -1 are values here, or categorical columns.
        buckets: the number of ids.
        hash_key: what the hash begins with; None or 0: TensorFlow's own number.
        order: `given` hashes in the order of the keys, raw ones too.
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
        parts = [part for key in self.keys for part in _parts(block, key, parents)]
        if len(parts) != len(constants.static["crossed"]):
            raise UserError(f"a cross among {', '.join(self.keys)} came without its parts; list its keys instead")
        if self.order == "dense_last":
            parts.sort(key=lambda part: part.dense)
        crossed = _dense(parts, self.hash_key) if _regular(parts) else _ragged(parts, self.hash_key)
        ids = to_buckets(crossed.values, self.buckets)
        return Crossing(CategoryValues(ids, crossed.valid_mask, crossed.layout).ids(ids), tuple(parts))


def _check_distinct(names: tuple[str, ...]) -> None:
    if again := [name for number, name in enumerate(names) if name in names[:number]]:
        raise UserError(f"a cross of {', '.join(names)}: `{again[0]}` is there twice; leave one out")


def _parts(block: Block, key: str, parents: Mapping[str, Mapping[str, Values]]) -> tuple[Part, ...]:
    arrays = parents.get(key, {})
    if isinstance(arrays, Crossing):
        return arrays.parts
    if "weights" in arrays:
        raise UserError(f"a cross has no weights, and `{key}` has some; cross the column that it weighs")
    found = read_values(block, key, parents, empty_is_missing=False)
    if isinstance(found.values, Strings):
        values = apply_to_strings(found.values, fingerprint64)
    else:
        values = found.values.view(np.uint64)
    return (Part(values, found.valid_mask, found.layout, "ids" not in arrays and isinstance(found.layout, tuple)),)


def _regular(parts: list[Part]) -> bool:
    """Whether all rows of all parts have as many cells as the others."""
    return all(isinstance(part.layout, tuple) for part in parts)


def _dense(parts: list[Part], hash_key: int | None) -> Part:
    """What they hold together: (rows,), or (rows, K), K the product of the parts'."""
    rows = int(parts[0].layout[0])
    widths = [int(np.prod(part.layout[1:])) for part in parts]

    def spread(values: np.ndarray, axis: int) -> np.ndarray:
        shape = [rows, *(width if place == axis else 1 for place, width in enumerate(widths))]
        return np.broadcast_to(values.reshape(shape), (rows, *widths)).reshape(-1)

    hashes = cross([spread(part.values, axis) for axis, part in enumerate(parts)], hash_key)
    gaps = [spread(part.valid_mask, axis) for axis, part in enumerate(parts) if part.valid_mask is not None]
    width = int(np.prod(widths))
    valid_mask = np.logical_and.reduce(gaps) if gaps else None
    return Part(hashes, valid_mask, (rows,) if width == 1 else (rows, width), dense=True)


def _ragged(parts: list[Part], hash_key: int | None) -> Part:
    """The same of rows of any length."""
    crossed = cross_ragged([_filled(part) for part in parts], hash_key)
    return Part(crossed.values, None, crossed.offsets, dense=False)


def _filled(part: Part) -> Ragged:
    """The cells of a part that hold a value."""
    offsets = part.layout
    if isinstance(offsets, tuple):
        offsets = np.arange(offsets[0] + 1) * int(np.prod(offsets[1:]))
    if part.valid_mask is None:
        return Ragged(part.values, offsets)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(part.valid_mask)])
    return Ragged(part.values[part.valid_mask], before[offsets])
