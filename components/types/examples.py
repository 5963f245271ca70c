"""Which rows of the data make one example."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from components.types.data import Block
from components.types.model import TargetSpec
from components.types.rows import RowNumbers

if TYPE_CHECKING:
    import jax
    import numpy as np


class FoundExamples(NamedTuple):
    """The examples of some rows. An example is known by one of its rows: a window by the last one of its inputs.

    Attributes:
        rows: the row of each example by split, sorted.
        left_out: the number of examples that are left out, by split: windows that cover a gap in time, or rows without
            a class, which are in no pair.
        longest: the length of the longest stretch of consecutive rows of a series, by split.
        order: the rows, so that those of an example are at fixed distances, int64 (rows,): rows ordered by series, or
            the rows of each pair. None: the rows are in such an order already.
        positions: the position in `order` from which the rows of the example of each row are counted, int32 (rows,).
            None: that of row i is i.
        series: the number of series in all splits.
    """

    rows: Sequence[RowNumbers]
    left_out: Sequence[int]
    longest: Sequence[int]
    order: np.ndarray | None
    positions: np.ndarray | None
    series: int = 1


class Examples(Protocol):
    """A choice of the rows that make one example, such as the windows of a time series.

    It also has the members of `FindsExamples`, `DrawsExamples` or `RepeatsRows`.
    """

    def bind(self, target: TargetSpec) -> TargetSpec:
        """The target of an example, from that of a row. Raises UserError if it can't be one."""


class JoinsRows(Examples, Protocol):
    """Examples of several rows each."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The raw columns that it reads. Predictions are shown beside them."""

    def input_steps(self, column: str) -> range:
        """The rows of a column of inputs, counted from the position of the example in `FoundExamples.order`."""

    @property
    def target_steps(self) -> range | None:
        """The rows whose targets make that of the example, counted alike. None: the row of the example has it."""

    def describe_left_out(self, count: int, split: str) -> str:
        """A sentence about some examples of a split, or of `the new rows`, that are left out."""

    def join_targets(self, targets: jax.Array) -> jax.Array:
        """The target of each example, (B, …), from those of its `target_steps`, (B, steps, …)."""


@runtime_checkable
class FindsExamples(JoinsRows, Protocol):
    """Examples that raw columns and the order of the rows determine."""

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


@runtime_checkable
class DrawsExamples(JoinsRows, Protocol):
    """Examples that are drawn at random by the classes of their rows. New rows without classes have none.

    Attributes:
        draws: the number of examples that each row of the training split is known for. In an epoch comes one of them.
            The position of the n-th one, counted from 0, is that of row i + n * rows in `FoundExamples.positions`.
    """

    draws: int

    def draw(self, classes: np.ndarray, splits: Mapping[str, RowNumbers]) -> FoundExamples:
        """The examples of some rows. All rows of an example are in one split.

        Args:
            classes: the id of each row's class, int32 (rows,); negative: it is missing.
            splits: the sorted rows of each split.

        Raises:
            UserError: the rows of a split make no such examples.
        """


@runtime_checkable
class RepeatsRows(Examples, Protocol):
    """Examples of one row each, which the network gets several times.

    Augmentations change each copy by itself. In evaluations, they make the same changes each time.
    """

    def repeat(self, inputs: jax.Array) -> jax.Array:
        """The copies of each row: (B, …) -> (B, copies, …)."""


EXAMPLES_PROTOCOLS = {"find": FindsExamples, "draw": DrawsExamples, "repeat": RepeatsRows}
"""The protocols of examples, by the name of the method."""
