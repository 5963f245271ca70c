"""Many runs of an experiment, one after the other through the same compiled programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from components.types import Range


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All combinations of the values given; more than `limit` of them only with `confirm`."""

    limit: Annotated[int, Range(1)] = 100
    confirm: bool = False

    def ask(self, count: int) -> str | None:
        """The error for a sweep of `count` runs; None: it may start."""
        if count <= self.limit or self.confirm:
            return None
        return f"these are {count:,} runs, more than sweep.limit={self.limit}; set sweep.confirm=true if they are meant"
