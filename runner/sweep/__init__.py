"""Sweeps: many runs of an experiment, one after the other, which share compiled programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from components.types import Range


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Runs all combinations of the values on the command line, or of those of the experiment.

    Attributes:
        over: the values of an experiment's own sweep, by key, which runs without `-m`: a list, or a text in the grammar
            of `-m`, such as `range(1, 4)`. A key that the command line sets has that value instead. null: no sweep.
        limit: the largest number of runs without `confirm`.
        confirm: whether there may be more runs.
    """

    over: Mapping[str, tuple[Any, ...] | str] | None = None
    limit: Annotated[int, Range(1)] = 100
    confirm: bool = False

    def find_problem(self, count: int) -> str | None:
        """Why a sweep may not have `count` runs; None: it may."""
        if count <= self.limit or self.confirm:
            return None
        return f"these are {count:,} runs, more than sweep.limit={self.limit}; set sweep.confirm=true to run them all"
