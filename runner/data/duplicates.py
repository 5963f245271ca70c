"""Finds equal rows of two splits by their hashes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from components.types import RowNumbers, Source, as_index
from runner.data.row_hashes import Hashes
from runner.data.used_rows import locate_row

PIECE_ROWS = 2**18  # whose hashes are compared at a time
MAX_TABLE_BITS = 26  # 64 MB: a table of the first bits of hashes tells that most of them occur only once


def describe_duplicates(source: Source, splits: Mapping[str, RowNumbers], hashes: Hashes) -> Iterator[str]:
    """A sentence for each pair of splits that have equal rows, or rows that differ in their target only.

    Rows with another target count only if the first split has one target for their inputs. Otherwise equal inputs are
    usual, as in a table of a few categories.

    Args:
        source: the rows.
        splits: the row numbers of each split.
        hashes: those of all rows.
    """
    inputs, examples, _ = hashes
    ordered = _select_likely(inputs, splits)
    ordered.sort()  # in place, as a copy may have the size of a column
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])  # usually few, among which the search is fast
    candidates = {
        split: np.concatenate([rows[_contains(repeated, inputs[rows])] for rows in _cut(numbers)])
        for split, numbers in splits.items()
    }
    for first, second in itertools.combinations(splits, 2):
        originals, others = candidates[first], candidates[second]
        distinct, positions = np.unique(examples[originals], return_index=True)
        read, targets = np.unique(inputs[originals[positions]], return_counts=True)
        is_equal = _contains(distinct, examples[others])
        differs = ~is_equal & _contains(read[targets == 1], inputs[others])
        if not (count := int((is_equal | differs).sum())):
            continue
        shown, compared = (differs, inputs) if differs.any() else (is_equal, examples)
        copy = int(others[shown.argmax()])
        original = int(originals[(compared[originals] == compared[copy]).argmax()])
        equal = "equals a row" if count == 1 else "equal rows"
        owner = "training" if first == "train" else first
        columns, fault, remedies = "that are read", "too good", ["remove the copies"]
        if different := int(differs.sum()):
            of_them = "but" if count == 1 else f"{different:,} of them"
            columns, fault = f"that inputs read, {of_them} with another target", "wrong"
            remedies.insert(0, "correct the targets")
        if len(source.sizes()) == 1:  # given splits can't change
            remedies.append("keep them in one split with data.group=COLUMN")
        yield (
            f"{count:,} of {len(splits[second]):,} rows of the {second} split {equal} of the {owner} split in all "
            f"columns {columns}: {locate_row(source, copy)} is {locate_row(source, original)}. If they are copies, "
            f"the metrics are {fault}: {', or '.join(remedies)}"
        )


def _select_likely(hashes: np.ndarray, splits: Mapping[str, RowNumbers]) -> np.ndarray:
    """The hashes that may be in two splits, and a few others. Sorting all of them would take several times as long."""
    largest, *others = sorted(splits.values(), key=len, reverse=True)
    few = np.concatenate([np.empty(0, np.uint64), *(hashes[as_index(rows)] for rows in others)])
    bits = min((8 * len(few)).bit_length(), MAX_TABLE_BITS)
    shift = np.uint64(64 - bits)
    is_taken = np.zeros(1 << bits, bool)
    is_taken[few >> shift] = True
    pieces = (hashes[rows] for rows in _cut(largest))
    return np.concatenate([few, *(piece[is_taken[piece >> shift]] for piece in pieces)])


def _cut(rows: RowNumbers) -> list[np.ndarray]:
    """The rows in pieces, whose hashes need little memory."""
    return [np.asarray(rows[start : start + PIECE_ROWS]) for start in range(0, max(len(rows), 1), PIECE_ROWS)]


def _contains(ordered: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Which hashes are in a sorted array."""
    if not len(ordered):
        return np.zeros(len(hashes), bool)
    positions = np.searchsorted(ordered, hashes)
    return ordered[np.minimum(positions, len(ordered) - 1)] == hashes
