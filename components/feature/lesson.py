"""What a column of numbers learns: where they lie, how wide they spread, and what stands for a gap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from components.feature.chain import Chain
from components.feature.numbers import Numbers
from components.feature.statistic import ByKey, Extremes, Moments, Quantiles, Spread
from components.types import DataError, Statistic

Missing = float | Literal["mean", "median"] | None


@dataclass(frozen=True)
class Lesson:
    """What is learned of one column, or expression.

    Attributes:
        numbers: those that the chain's learned step learns from.
        chain: its steps.
        missing: what is to stand for a gap.
        per: a column of classes, for each of which the chain's step learns by itself.
        size: the numbers of a row. None: to be learned too.
    """

    numbers: Numbers
    chain: Chain
    missing: Missing = None
    per: str | None = None
    size: int | None = None

    def statistics(self) -> dict[str, Statistic]:
        found: dict[str, Any] = {}
        if self.chain.learned is not None:
            found["spread"] = self.chain.learned.statistic(self.numbers.key)
        elif self.size is None:
            found["spread"] = Extremes(self.numbers.key)
        if self.per is not None:
            found["per"] = ByKey(found["spread"], self.per)
        if isinstance(self.missing, str):
            found["missing"] = (Moments if self.missing == "mean" else Quantiles)(self.numbers.unchanged.key)
        return found

    def spread(self, results: Mapping[str, Any]) -> Spread:
        """(D,) each, zeros where there is nothing to learn; with `per` (1 + classes, D), that of all rows first."""
        if "spread" not in results:
            return Spread(np.zeros(self.size or 1), np.zeros(self.size or 1))
        result = results["spread"]
        found = result if self.chain.learned is None else self.chain.learned.spread(result)
        if np.isnan(found.offset).any():
            raise DataError(
                f"{self.numbers} has no value in any row that is learned from: leave it out, or mend the data"
            )
        if self.chain.learned is None:
            return Spread(np.zeros_like(found.offset), np.zeros_like(found.width))
        if self.per is None:
            return found
        each = [self.chain.learned.spread(one) for one in results["per"].values()]
        # A class all of whose numbers are missing has nothing of its own.
        each = [Spread(*np.where(np.isnan(one.offset), found, one)) for one in each]
        return Spread(*np.stack([found, *each], axis=1))

    def filler(self, results: Mapping[str, Any], outputs: int) -> np.ndarray:
        """What stands for a gap, (outputs,)."""
        if self.missing == "mean":
            return results["missing"].offset
        if self.missing == "median":
            return results["missing"].at(np.array([0.5]))[0]
        return np.full(outputs, self.missing)
