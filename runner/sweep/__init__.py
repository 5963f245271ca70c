"""Sweeps: many runs of an experiment, one after the other, which share compiled programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from components.types import Range


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Runs all combinations of the values on the command line.

    Attributes:
        limit: the largest number of runs without `confirm`.
        confirm: whether there may be more runs.
    """

    limit: Annotated[int, Range(1)] = 100
    confirm: bool = False

    def find_problem(self, count: int) -> str | None:
        """Why a sweep may not have `count` runs; None: it may."""
        if count <= self.limit or self.confirm:
            return None
        return f"these are {count:,} runs, more than sweep.limit={self.limit}; set sweep.confirm=true to run them all"
