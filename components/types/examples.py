"""Which rows of the data make one example."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from components.types.data import Block
from components.types.model import TargetSpec

if TYPE_CHECKING:
    import numpy as np


class FoundExamples(NamedTuple):
    """The examples of some rows. An example is known by one of its rows, for a window the last one of its inputs.

    Attributes:
        rows: the row of each example by split, sorted int64.
        left_out: the number of examples that cover a gap in time and are left out, by split.
        longest: the length of the longest stretch of consecutive rows of a series, by split.
        order: the rows ordered by series, int64 (rows,). None: the rows of each series follow one another already.
        series: the number of series in all splits.
    """

    rows: Sequence[np.ndarray]
    left_out: Sequence[int]
    longest: Sequence[int]
    order: np.ndarray | None
    series: int = 1


class Examples(Protocol):
    """A choice of the rows that make one example, such as the windows of a time series.

    A row of an example is counted from the row by which the example is known, in the order of its series.
    """

    @property
    def keys(self) -> tuple[str, ...]:
        """The raw columns that it reads. Predictions are shown beside them."""

    @property
    def input_steps(self) -> range:
        """The rows of inputs."""

    @property
    def target_steps(self) -> range | None:
        """The rows of the targets, which become one dense target. None: the row of the example has the target."""

    def find(
        self,
        blocks: Iterable[Block],
        splits: np.ndarray,
        locate: Callable[[int], str],
        *,
        with_targets: bool = True,
    ) -> FoundExamples:
        """The examples of some rows. All rows of an example are of one series and one split.

        Args:
            blocks: the rows.
            splits: the number of each row's split, int8 (rows,); -1: it is in no split.
            locate: row -> its location in the data, for messages.
            with_targets: False: the rows of targets needn't be there, as for predictions. The last rows of a series
                then make an example.

        Raises:
            UserError: a column is missing, or doesn't say which rows make an example.
        """

    def explain_none(self, found: FoundExamples, number: int, split: str | None, *, with_targets: bool = True) -> str:
        """Why a split has no example, and what to do.

        Args:
            found: the result of `find`.
            number: the number of the split.
            split: the name of the split. None: it has the new rows.
            with_targets: as for `find`.
        """

    def describe_left_out(self, count: int, split: str) -> str:
        """A sentence about some examples of a split, or of `the new rows`, that are left out."""

    def bind(self, target: TargetSpec) -> TargetSpec:
        """The target of an example, from that of a row. Raises UserError if it can't be one."""
