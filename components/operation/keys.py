"""Keys of rows: one or several columns whose values are compared exactly."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from components.arrow import array_to_arrow, convert_numbers
from components.expression import operators
from components.expression.operands import Kind, Operand, format_value, join_masks, read_operand
from components.hashing import combine_hashes, hash_values
from components.ragged import take_rows
from components.types import Block, Strings


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of rows.

    Attributes:
        names: the columns.
        kinds: the types of their values.
        operands: their values, and the masks of what is missing.
    """

    names: Sequence[str]
    kinds: Sequence[Kind]
    operands: Sequence[Operand]

    @cached_property
    def hashes(self) -> np.ndarray:
        """A hash of each key, uint64. Equal keys have equal hashes, but two keys may also have the same."""
        return combine_hashes(hash_values(each.values, each.valid_mask) for each in self.operands)

    @property
    def valid_mask(self) -> np.ndarray | None:
        """(rows,), bool: False where a part of the key is missing. None: no part is missing."""
        return join_masks(self.operands)

    def describe(self, row: int) -> str:
        """The key of a row, for messages: `store=7 and day='x'`."""
        values = [
            "missing" if each.valid_mask is not None and not each.valid_mask[row] else format_value(each.values, row)
            for each in self.operands
        ]
        return " and ".join(f"{name}={value}" for name, value in zip(self.names, values, strict=True))

    def find_equal(self, rows: np.ndarray, other: Keys, other_rows: np.ndarray) -> np.ndarray:
        """Which pairs of rows have equal keys: (pairs,), bool. Missing values are equal to each other only.

        Args:
            rows: the rows of these keys, int64 (pairs,).
            other: other keys, whose columns have values of the same types; whole numbers may be numbers.
            other_rows: the rows of the other keys, int64 (pairs,).
        """
        pairs = zip(self.operands, other.operands, strict=True)
        equal = [_find_equal(_take(first, rows), _take(second, other_rows)) for first, second in pairs]
        return functools.reduce(np.logical_and, equal)

    def find_first_rows(self) -> np.ndarray:
        """The first row with the same key, of each row: int64 (rows,)."""
        first_rows, pending = np.arange(len(self.hashes)), np.arange(len(self.hashes))
        while len(pending):
            candidates = pending[_find_first_positions(self.hashes[pending])]
            is_same = candidates == pending
            others = np.flatnonzero(~is_same)
            is_same[others] = self.find_equal(pending[others], self, candidates[others])
            first_rows[pending[is_same]] = candidates[is_same]
            pending = pending[~is_same]  # other keys of the same hash
        return first_rows


def read_keys(block: Block, names: Sequence[str]) -> Keys:
    """Reads the keys of the rows of a block. Raises DataError if a column isn't there, or has no single values."""
    kinds, operands = zip(*(read_operand(block, name) for name in names), strict=True)
    return Keys(names, kinds, operands)


@dataclass(frozen=True, eq=False)
class KeyIndex:
    """Finds rows by their keys.

    Attributes:
        keys: the keys, each of which occurs once unless a part of it is missing.
    """

    keys: Keys

    def find(self, keys: Keys) -> np.ndarray:
        """The row of each key, int64. -1: there is none, also because a part of the key is missing."""
        order, hashes = self._sorted
        found = np.full(len(keys.hashes), -1)
        pending = np.arange(len(found)) if keys.valid_mask is None else np.flatnonzero(keys.valid_mask)
        positions = np.searchsorted(hashes, keys.hashes[pending])
        while len(pending):
            is_candidate = positions < len(hashes)
            is_candidate[is_candidate] = hashes[positions[is_candidate]] == keys.hashes[pending[is_candidate]]
            pending, positions = pending[is_candidate], positions[is_candidate]
            is_same = keys.find_equal(pending, self.keys, order[positions])
            found[pending[is_same]] = order[positions[is_same]]
            pending, positions = pending[~is_same], positions[~is_same] + 1  # other keys of the same hash
        return found

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows with complete keys in the order of their hashes, and these hashes."""
        hashes, valid_mask = self.keys.hashes, self.keys.valid_mask
        rows = np.arange(len(hashes)) if valid_mask is None else np.flatnonzero(valid_mask)
        order = rows[np.argsort(hashes[rows], kind="stable")]
        return order, hashes[order]


def _find_first_positions(hashes: np.ndarray) -> np.ndarray:
    """The first position of the same hash, of each hash: int64."""
    encoded = array_to_arrow(hashes).dictionary_encode()  # a hash table, faster than NumPy's sorting
    numbers = convert_numbers(encoded.indices, "i4", None, 0)
    first = np.empty(len(encoded.dictionary), np.int64)
    first[numbers[::-1]] = np.arange(len(hashes))[::-1]  # the last assignment stays
    return first[numbers]


def _take(operand: Operand, rows: np.ndarray) -> Operand:
    mask = None if operand.valid_mask is None else operand.valid_mask[rows]
    return Operand(take_rows(operand.values, rows), mask)


def _find_equal(first: Operand, second: Operand) -> np.ndarray:
    result = operators.compare("==", first, second)
    equal: np.ndarray = result.values
    for each in (first.values, second.values):
        if not isinstance(each, Strings) and each.dtype.kind == "M" and first.values.dtype != second.values.dtype:
            equal = equal & (each.astype("M8[us]").astype(each.dtype) == each)  # `compare` rounds to microseconds
    if result.valid_mask is None:
        return equal
    is_first, is_second = (np.True_ if each.valid_mask is None else each.valid_mask for each in (first, second))
    return np.where(result.valid_mask, equal, is_first == is_second)
