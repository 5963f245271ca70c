"""Compares rows by 64-bit hashes: those of one split with those of another one, or those of two passes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from components.hashing import combine_hashes, hash_values
from components.types import Block, DataError, Source, Statistic
from runner.data.used_rows import locate_row

MAX_TABLE_BITS = 26  # 64 MB: a table of the first bits of hashes tells that most of them occur only once


class Hashes(NamedTuple):
    """The hashes of rows, each (rows,), uint64.

    Attributes:
        inputs: they depend on the columns that inputs read.
        examples: they also depend on those that targets read.
        rows: they depend on all columns that are read.
    """

    inputs: np.ndarray
    examples: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class RowHashes:
    """The hashes of each row, as a statistic and as the column that needs it: columns are fitted in the same pass.

    Attributes:
        inputs: the raw columns that inputs read.
        targets: the other raw columns that targets read.
        others: the other raw columns that are read.
        remedy: what to do if a later pass yields other rows. None: it yields the same ones.
    """

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    others: tuple[str, ...] = ()
    remedy: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return self.inputs + self.targets + self.others

    def statistics(self) -> Mapping[str, Statistic]:
        return {"hashes": self}

    def summarize(self, block: Block) -> list[Hashes]:
        inputs, targets, others = (
            [hash_values(block.columns[key], block.valid.get(key)) for key in keys]
            for keys in (self.inputs, self.targets, self.others)
        )
        of_inputs = combine_hashes(inputs)
        of_examples = combine_hashes([of_inputs, *targets]) if targets else of_inputs
        return [Hashes(of_inputs, of_examples, combine_hashes([of_examples, *others]) if others else of_examples)]

    def check(self, block: Block, expected: np.ndarray) -> None:
        """Raises DataError for the first row that differs from the same row in an earlier pass.

        Args:
            block: the rows.
            expected: `Hashes.rows` of each of these rows in the earlier pass.
        """
        (found,) = self.summarize(block)
        if (differs := found.rows != expected).any():
            raise DataError(
                f"{block.locate(int(differs.argmax()))} has other values than when it was read before. {self.remedy}"
            )

    def merge(self, state: list[Hashes], other: list[Hashes]) -> list[Hashes]:
        return state + other

    def result(self, state: list[Hashes]) -> Hashes:
        return Hashes(*map(np.concatenate, zip(*state, strict=True)))


def describe_duplicates(source: Source, splits: Mapping[str, np.ndarray], hashes: Hashes) -> Iterator[str]:
    """A sentence for each pair of splits that have equal rows, or rows that differ in their target only.

    Rows with another target count only if the first split has one target for their inputs. Otherwise equal inputs are
    usual, as in a table of a few categories.

    Args:
        source: the rows.
        splits: the row numbers of each split.
        hashes: those of all rows.
    """
    inputs, examples, _ = hashes
    ordered = np.sort(_select_likely(inputs, splits))
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])  # usually few, among which the search is fast
    candidates = {split: numbers[_contains(repeated, inputs[numbers])] for split, numbers in splits.items()}
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


def _select_likely(hashes: np.ndarray, splits: Mapping[str, np.ndarray]) -> np.ndarray:
    """The hashes that may be in two splits, and a few others. Sorting all of them would take several times as long."""
    largest, *others = sorted((hashes[rows] for rows in splits.values()), key=len, reverse=True)
    few = np.concatenate([np.empty(0, np.uint64), *others])
    bits = min((8 * len(few)).bit_length(), MAX_TABLE_BITS)
    shift = np.uint64(64 - bits)
    is_taken = np.zeros(1 << bits, bool)
    is_taken[few >> shift] = True
    return np.concatenate([few, largest[is_taken[largest >> shift]]])


def _contains(ordered: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Which hashes are in a sorted array."""
    if not len(ordered):
        return np.zeros(len(hashes), bool)
    positions = np.searchsorted(ordered, hashes)
    return ordered[np.minimum(positions, len(ordered) - 1)] == hashes
