"""The option with which a source skips rows that can't be read. Sources whose rows can be bad one by one inherit it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from components.data.bad_rows import BadRows
from components.data.splitting import SplitOptions


@dataclass(frozen=True, kw_only=True)
class SkipOptions(SplitOptions):
    """What happens to rows that can't be read.

    Attributes:
        on_bad_row: `error`: a row that can't be read, such as a text among numbers or a damaged file, is an error.
            `skip`: it is left out as if it weren't in the data, counted and reported. If more than half of the rows or
            all of a class can't be read, that is an error.
    """

    on_bad_row: Literal["error", "skip"] = "error"

    @cached_property
    def bad_rows(self) -> BadRows:
        """The rows that are skipped because they can't be read, numbered over all parts."""
        return BadRows()

    def skipped_rows(self) -> int | None:
        """The number of rows that are skipped because they can't be read. None: such a row is an error."""
        return None if self.on_bad_row == "error" else len(self.bad_rows)

    def left_out(self) -> tuple[str, ...]:
        """Sentences about rows that are left out, if there are such rows."""
        bad_rows = self.bad_rows
        return (bad_rows.describe(sum(self.sizes().values()) + len(bad_rows)),) if len(bad_rows) else ()

    def row_numbers(self) -> np.ndarray | None:
        """The number in the data, from 0, of each row that isn't left out. None: no row is left out."""
        bad_rows = self.bad_rows
        return bad_rows.keep(sum(self.sizes().values()) + len(bad_rows)) if len(bad_rows) else None

    def describe_splits(self) -> str:
        text = super().describe_splits()
        return text if self.on_bad_row == "error" else f"{text}, {self.on_bad_row=}"


@dataclass(frozen=True, kw_only=True)
class SearchesBadRows(SkipOptions):
    """A source whose `bad_rows` takes a pass over all rows. The cache keeps the result."""

    def find_bad_rows(self) -> Mapping[str, Any]:
        """The rows that are skipped, as an array and plain values."""
        return {"rows": self.bad_rows.rows, "messages": self.bad_rows.messages}

    def with_bad_rows(self, found: Mapping[str, Any]) -> Self:
        """The same source, with rows that were found before."""
        source = copy.copy(self)
        source.__dict__["bad_rows"] = BadRows(found["rows"], tuple(map(tuple, found["messages"])))
        return source
