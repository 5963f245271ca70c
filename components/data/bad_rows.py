"""Rows that can't be read, and are skipped if `on_bad_row` is `skip`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.types import DataError, Remedy

MAX_MESSAGES = 5  # of rows in a sentence
SKIP_ROWS = Remedy("set `on_bad_row=skip`", "skipping", "to skip such rows")


def are_too_many(count: int, total: int) -> bool:
    """Whether so many of all rows can't be read that they aren't skipped: the fault isn't one of single rows."""
    return 2 * count > total


def offer_skipping(count: int, total: int) -> tuple[Remedy, ...]:
    """The remedy that skips the rows that can't be read; none if they wouldn't be skipped.

    Args:
        count: the number of these rows.
        total: the number of all rows.
    """
    return () if are_too_many(count, total) else (SKIP_ROWS,)


class BadRowsError(DataError):
    """Some rows can't be read. The others can.

    Args:
        fault: what is wrong with the first of these rows, with its location.
        remedies: what the user can do about it, apart from skipping the rows.
        rows: the numbers of these rows, sorted int64.
        describe: (number of a row) -> what is wrong with it, without its location.
        total: the number of all rows.
    """

    def __init__(
        self,
        fault: str,
        remedies: Sequence[Remedy | str],
        rows: np.ndarray,
        describe: Callable[[int], str],
        total: int,
    ) -> None:
        super().__init__(fault, *remedies, *offer_skipping(len(rows), total))
        self.rows, self.describe = rows, describe

    def __reduce__(self) -> tuple[type[DataError], tuple[Any, ...]]:
        return DataError, self.args  # `describe` can't be pickled


@dataclass(frozen=True)
class BadRows:
    """The rows of a table that are skipped.

    Attributes:
        rows: their numbers among all rows, from 0, sorted int64.
        messages: what is wrong with the first MAX_MESSAGES of them, by number.
    """

    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    messages: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, rows: np.ndarray, describe: Callable[[int], str]) -> BadRows:
        """These rows and others.

        Args:
            rows: the numbers of the other rows among those that aren't skipped yet, sorted int64.
            describe: (such a number) -> what is wrong with the row, with its location.
        """
        numbers = self.number(rows)
        first = list(zip(numbers.tolist(), rows.tolist(), strict=True))[:MAX_MESSAGES]
        messages = sorted([*self.messages, *((number, describe(row)) for number, row in first)])[:MAX_MESSAGES]
        return BadRows(np.sort(np.concatenate([self.rows, numbers])), tuple(messages))

    def number(self, rows: np.ndarray) -> np.ndarray:
        """The numbers among all rows of some of those that aren't skipped."""
        return rows + np.searchsorted(self.rows - np.arange(len(self.rows)), rows, side="right")

    def keep(self, total: int) -> np.ndarray:
        """The numbers of the rows that aren't skipped, of `total` rows."""
        is_kept = np.ones(total, bool)
        is_kept[self.rows] = False
        return np.flatnonzero(is_kept)

    def check(self, total: int, origin: str) -> None:
        """Raises DataError if more than half of `total` rows can't be read. `origin`: their table, for the message."""
        if are_too_many(len(self), total):
            raise DataError(
                f"{len(self):,} of {total:,} rows of {origin} can't be read, more than half, so `on_bad_row` (=skip) "
                f"doesn't skip them: {self._list_messages()}"
            )

    def describe(self, total: int) -> str:
        """A sentence about these rows of `total` rows."""
        return f"{len(self):,} of {total:,} rows {'is' if len(self) == 1 else 'are'} skipped: {self._list_messages()}"

    def _list_messages(self) -> str:
        more = len(self) - len(self.messages)
        return "; ".join([*(text for _, text in self.messages), *([f"… ({more:,} more)"] if more else [])])


def check_remaining_classes(
    classes: Mapping[int, Collection[str]], remaining: Collection[str], origin: str, describe: Callable[[int], str]
) -> None:
    """Raises DataError if all rows of a class are skipped.

    Args:
        classes: the classes of the rows that are skipped, by the number of the row.
        remaining: the classes of the other rows.
        origin: the table, for the message.
        describe: (the number of a row) -> what is wrong with it, with its location.
    """
    rows = {number: [name for name in sorted(own) if name not in remaining] for number, own in classes.items()}
    lost = next((own[0] for own in rows.values() if own), None)
    if lost is not None:
        numbers = [number for number, own in rows.items() if lost in own]
        count = "the only row" if len(numbers) == 1 else f"all {len(numbers):,} rows"
        raise DataError(
            f"{origin}: {count} of the class {lost} can't be read, so `on_bad_row` (=skip) would leave out the class. "
            f"Correct these rows, or remove them. The first is {describe(numbers[0])}"
        )


def join_errors(errors: Sequence[BadRowsError]) -> tuple[np.ndarray, Callable[[int], str]]:
    """The rows of several errors, and what is wrong with each of them: by the first error that it is in."""
    rows = np.unique(np.concatenate([error.rows for error in errors]))

    def describe(row: int) -> str:
        return next(error.describe(row) for error in errors if row in error.rows)

    return rows, describe
