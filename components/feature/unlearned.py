"""What columns that learn nothing have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.types import Constants, Statistic


class Unlearned:
    """A column of one `key` that asks nothing of the training split."""

    key: Any

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants()
