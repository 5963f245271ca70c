"""Crosses: hashed ids of combinations of the values of several columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from components.feature.base.column import Categorical, check_buckets
from components.feature.base.values import CategoryValues, read_values
from components.feature.text.fingerprint import cross, cross_ragged, fingerprint64, to_buckets
from components.feature.text.string_ops import map_strings
from components.ragged import Layout, layout_of
from components.types import Block, Constants, DataError, Encoded, FieldError, Ragged, Range, Strings, UserError, Values


class CrossPart(NamedTuple):
    """The values of one key of a cross.

    Attributes:
        values: (values,), uint64: fingerprints of strings, or integers.
        valid_mask: (values,), bool: False where a value is missing. None: no value is missing.
        layout: how the values are arranged in rows.
        is_dense: whether it is a raw column with the same number of values in all rows, which is a dense tensor in
            TensorFlow.
    """

    values: np.ndarray
    valid_mask: np.ndarray | None
    layout: Layout
    is_dense: bool


class EncodedCross(dict[str, Encoded]):
    """The encoded arrays of a cross, and its parts, which are needed if this cross is a key of another cross."""

    def __init__(self, encoded: Mapping[str, Encoded], parts: tuple[CrossPart, ...]) -> None:
        super().__init__(encoded)
        self.parts = parts


@dataclass(frozen=True, kw_only=True)
class Crossed(Categorical):
    """Hashed combinations of values of several columns: TensorFlow's `crossed_column`.

    A row has an id for each combination of one value of every key. The id is the remainder of the combination's
    fingerprint. The value of the last key changes fastest. If a key has no value, the row has no id. Strings are hashed
    first; integers and the ids of categorical columns are not. As in TensorFlow, a cross among the keys is replaced by
    its own keys. A Hashed column may be a key, too; TensorFlow doesn't allow it, because its ids collide twice.

    By default ids agree with TensorFlow, which hashes dense tensors after all other keys. Dense tensors are raw columns
    with the same number of values in all rows. Keras's `HashedCrossing` allows dense keys only.

    Attributes:
        keys: two or more columns: raw columns of strings or integers, where "" and -1 are ordinary values, or
            categorical columns.
        buckets: the number of ids.
        hash_key: the initial value of the hash. None or 0: TensorFlow's own number.
        order: the order in which keys are hashed: `dense_last` as in TensorFlow, or `given`, the order of `keys`.
    """

    keys: tuple[str, ...]
    buckets: Annotated[int, Range(1, 2**31 - 1)]
    hash_key: int | None = None
    order: Literal["dense_last", "given"] = "dense_last"

    def __post_init__(self) -> None:
        check_buckets(" x ".join(self.keys), self.buckets)
        if len(self.keys) < 2:
            raise FieldError("keys", f"a cross needs two or more columns, got {', '.join(self.keys) or 'none'}")
        _check_distinct(self.keys)

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        return dict.fromkeys(self.keys, "int")

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        inner_keys = {key: constants.static.get("crossed", (key,)) for key, constants in parents.items()}
        names = tuple(name for key in self.keys for name in inner_keys.get(key, (key,)))
        _check_distinct(names)
        return Constants(static={"buckets": self.buckets, "crossed": names})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        parts = [part for key in self.keys for part in _read_parts(block, key, parents)]
        if len(parts) != len(constants.static["crossed"]):
            raise UserError(
                f"a cross among the keys {', '.join(self.keys)} can't be crossed again here; list its own keys instead"
            )
        if self.order == "dense_last":
            parts.sort(key=lambda part: part.is_dense)
        crossed = _cross_dense(parts, self.hash_key) if _are_regular(parts) else _cross_rows(parts, self.hash_key)
        ids = to_buckets(crossed.values, self.buckets)
        return EncodedCross(CategoryValues(ids, crossed.valid_mask, crossed.layout).encode_ids(ids), tuple(parts))


def _check_distinct(names: tuple[str, ...]) -> None:
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"a cross of {', '.join(names)}: `{repeated[0]}` occurs twice; remove one")


def _read_parts(block: Block, key: str, parents: Mapping[str, Mapping[str, Values]]) -> tuple[CrossPart, ...]:
    arrays = parents.get(key, {})
    if isinstance(arrays, EncodedCross):
        return arrays.parts
    if "weights" in arrays:
        raise UserError(f"a cross can't have weights, but `{key}` has weights; cross its column of ids instead")
    column = read_values(block, key, parents, empty_is_missing=False)
    if column.layout.is_nested:
        raise DataError(
            f"a cross of `{key}`: its rows have {column.layout}, but a cross needs single values or lists. Use "
            "Vocabulary or Hashed without a cross"
        )
    if isinstance(column.values, Strings):
        values = map_strings(column.values, lambda strings: fingerprint64(strings.data, strings.offsets))
    else:
        values = column.values.view(np.uint64)
    is_dense = "ids" not in arrays and not column.layout.levels
    return (CrossPart(values, column.valid_mask, column.layout, is_dense),)


def _are_regular(parts: list[CrossPart]) -> bool:
    """Whether every part has the same number of values in all rows."""
    return not any(part.layout.levels for part in parts)


def _cross_dense(parts: list[CrossPart], hash_key: int | None) -> CrossPart:
    """Crosses parts with a fixed number of values per row. The product of these numbers is that of the cross."""
    rows = parts[0].layout.rows
    widths = [part.layout.width for part in parts]

    def broadcast(values: np.ndarray, axis: int) -> np.ndarray:
        shape = [rows] + [1] * len(widths)
        shape[1 + axis] = widths[axis]
        return np.broadcast_to(values.reshape(shape), (rows, *widths)).reshape(-1)

    hashes = cross([broadcast(part.values, axis) for axis, part in enumerate(parts)], hash_key)
    masks = [broadcast(part.valid_mask, axis) for axis, part in enumerate(parts) if part.valid_mask is not None]
    width = int(np.prod(widths))
    valid_mask = np.logical_and.reduce(masks) if masks else None
    layout = Layout((), (rows,) if width == 1 else (rows, width))
    return CrossPart(hashes, valid_mask, layout, is_dense=True)


def _cross_rows(parts: list[CrossPart], hash_key: int | None) -> CrossPart:
    """Crosses parts, some of which have rows of different lengths."""
    crossed = cross_ragged([_drop_missing(part) for part in parts], hash_key)
    return CrossPart(crossed.values, None, layout_of(crossed), is_dense=False)


def _drop_missing(part: CrossPart) -> Ragged:
    """The values of a part that aren't missing."""
    offsets = part.layout.offsets
    if part.valid_mask is None:
        return Ragged(part.values, offsets)
    valid_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(part.valid_mask)])
    return Ragged(part.values[part.valid_mask], valid_before[offsets])
