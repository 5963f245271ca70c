"""Counts the rows of one split that equal rows of another one, by 64-bit hashes that are computed in a pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from components.hashing import combine_hashes, hash_values
from components.types import Block, Source, Statistic
from runner.data.used_rows import locate_row


@dataclass(frozen=True)
class RowHashes:
    """The hash of each row, as a statistic and as the column that needs it: other columns are fitted in the same pass.

    Attributes:
        keys: the raw columns that the hash depends on.
    """

    keys: tuple[str, ...]

    def statistics(self) -> Mapping[str, Statistic]:
        return {"hashes": self}

    def summarize(self, block: Block) -> list[np.ndarray]:
        return [combine_hashes(hash_values(block.columns[key], block.valid.get(key)) for key in self.keys)]

    def merge(self, state: list[np.ndarray], other: list[np.ndarray]) -> list[np.ndarray]:
        return state + other

    def result(self, state: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(state)


def describe_duplicates(source: Source, splits: Mapping[str, np.ndarray], hashes: np.ndarray) -> Iterator[str]:
    """A sentence for each pair of splits that have equal rows.

    Args:
        source: the rows.
        splits: the row numbers of each split.
        hashes: the hash of each row, from `RowHashes`.
    """
    ordered = np.sort(hashes)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])  # usually few, among which the search is fast
    remedy = "remove the copies"
    if len(source.sizes()) == 1:  # given splits can't change
        remedy += ", or keep them in one split with data.group=COLUMN"
    candidates = {split: rows[_contains(repeated, hashes[rows])] for split, rows in splits.items()}
    for first, second in itertools.combinations(splits, 2):
        originals, copies = candidates[first], candidates[second]
        copies = copies[_contains(np.sort(hashes[originals]), hashes[copies])]
        if not (count := len(copies)):
            continue
        copy = int(copies[0])
        original = int(originals[(hashes[originals] == hashes[copy]).argmax()])
        equal = "equals a row" if count == 1 else "equal rows"
        owner = "training" if first == "train" else first
        yield (
            f"{count:,} of {len(splits[second]):,} rows of the {second} split {equal} of the {owner} split in all "
            f"columns that are read: {locate_row(source, copy)} is {locate_row(source, original)}. If they are copies, "
            f"the metrics are too good: {remedy}"
        )


def _contains(ordered: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Which hashes are in a sorted array."""
    if not len(ordered):
        return np.zeros(len(hashes), bool)
    positions = np.searchsorted(ordered, hashes)
    return ordered[np.minimum(positions, len(ordered) - 1)] == hashes
