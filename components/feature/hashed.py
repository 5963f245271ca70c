"""Hashed ids of strings and integers, without a list of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from components.feature.base.column import Categorical, check_buckets
from components.feature.base.values import check_category_type, read_values
from components.feature.text.fingerprint import fingerprint64, format_integers, to_buckets
from components.feature.text.siphash import siphash
from components.feature.text.string_ops import map_strings, to_strings
from components.feature.text.vocabulary_index import build_index, look_up
from components.types import Block, Constants, Encoded, FieldError, Range, Strings, Values


@dataclass(frozen=True, kw_only=True)
class Hashed(Categorical):
    """Hash buckets: TensorFlow's `categorical_column_with_hash_bucket`, and Keras's `Hashing`.

    The id is the remainder of a hash: FarmHash's Fingerprint64 of a string's UTF-8, or of an integer's digits.

    Attributes:
        key: the raw column, strings or integers. "" and -1 are missing values, except in a ragged column, whose
            rows may have different numbers of values.
        buckets: the number of ids.
        salt: the key of the hash SipHash-2-4, which replaces Fingerprint64: two numbers, or one number that is used
            twice. None: Fingerprint64.
        mask: the only value with id 0. The ids of other values start at 1. None: other values may also have id 0.
        missing: replaces missing values, which then share the id of that value. With "" here and as `mask`, they have
            an id of their own, 0. None: they have no id.
    """

    key: str
    buckets: Annotated[int, Range(1, 2**31 - 1)]
    salt: int | tuple[int, int] | None = None
    mask: str | int | None = None
    missing: str | int | None = None

    def __post_init__(self) -> None:
        check_buckets(self.key, self.buckets)
        if self.mask is not None and self.buckets < 2:
            fault = f"{self.buckets} leaves no id for other values than `mask`"
            raise FieldError("buckets", f"{fault}; at least 2 are needed")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        return {self.key: "int"}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        host = {} if self.mask is None else build_index(to_strings([str(self.mask)]))
        return Constants(host=host, static={"buckets": self.buckets})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        column = read_values(block, self.key, parents, missing=self.missing, empty_is_missing=self.mask not in ("", -1))
        if self.mask is not None:
            check_category_type(block, self.key, column, f"mask={self.mask!r}", isinstance(self.mask, str))
        if not isinstance(column.values, Strings):
            return column.encode_ids(self._hash_ids(format_integers(column.values), constants))
        return column.encode_ids(map_strings(column.values, lambda strings: self._hash_ids(strings, constants)))

    def _hash_ids(self, strings: Strings, constants: Constants) -> np.ndarray:
        if self.mask is None:
            return to_buckets(self._hash(strings), self.buckets)
        is_mask = look_up(strings, fingerprint64(strings.data, strings.offsets), constants.host) == 0
        return np.where(is_mask, 0, 1 + to_buckets(self._hash(strings), self.buckets - 1))

    def _hash(self, strings: Strings) -> np.ndarray:
        if self.salt is None:
            return fingerprint64(strings.data, strings.offsets)
        low, high = self.salt if isinstance(self.salt, tuple) else (self.salt, self.salt)
        return siphash(strings.data, strings.offsets, (low % (1 << 64), high % (1 << 64)))
