"""64-bit hashes of rows, which tell whether rows of two splits or two passes are equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from components.hashing import combine_hashes, hash_values
from components.types import Block, DataError, Statistic


class Hashes(NamedTuple):
    """The hashes of rows, each (rows,), uint64.

    Attributes:
        inputs: they depend on the columns that inputs read.
        examples: they also depend on those that targets read.
        rows: they depend on all columns that are read. None: no later pass is checked.
    """

    inputs: np.ndarray
    examples: np.ndarray
    rows: np.ndarray | None


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
        of_rows = combine_hashes([of_examples, *others]) if others else of_examples
        return [Hashes(of_inputs, of_examples, None if self.remedy is None else of_rows)]

    def merge(self, state: list[Hashes], other: list[Hashes]) -> list[Hashes]:
        return state + other

    def result(self, state: list[Hashes]) -> Hashes:
        inputs = np.concatenate([hashes.inputs for hashes in state])
        examples = np.concatenate([hashes.examples for hashes in state]) if self.targets else inputs
        rows = [hashes.rows for hashes in state if hashes.rows is not None]
        return Hashes(inputs, examples, np.concatenate(rows) if rows else None)


class RowCheck(NamedTuple):
    """The check that a later pass yields the rows of an earlier one.

    Attributes:
        hashes: the hashes that the passes share.
        expected: `Hashes.rows` of the rows in the earlier pass.
    """

    hashes: RowHashes
    expected: np.ndarray

    def select(self, start: int, stop: int) -> RowCheck:
        """The check of some consecutive rows."""
        return self._replace(expected=self.expected[start:stop])

    def __call__(self, block: Block) -> None:
        """Raises DataError for the first row of the block that differs."""
        (found,) = self.hashes.summarize(block)
        assert found.rows is not None
        if (differs := found.rows != self.expected).any():
            remedy = self.hashes.remedy
            raise DataError(
                f"{block.locate(int(differs.argmax()))} has other values than when it was read before. {remedy}"
            )
