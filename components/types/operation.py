"""Row operations: functions of the rows of a data set, which run once, before statistics and the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from components.types.data import Source


class RowOperation(Protocol):
    """A function of the rows of a part of a data set. It is a dataclass, whose fields are its parameters.

    It makes blocks by the methods of the blocks that it gets: `take` and `with_columns`. So each row keeps the number
    of its row in the source, which decides about its split and its location in messages.
    """

    @property
    def applies_to_new_rows(self) -> bool:
        """Whether rows to predict pass through the operation, too, because it computes columns.

        Otherwise it chooses rows, or their order, of the data of a run.
        """

    @property
    def columns_read(self) -> Collection[str] | None:
        """The columns that it needs. None: all."""

    @property
    def columns_computed(self) -> Collection[str] | None:
        """The columns that it adds or replaces. None: they aren't known before it runs."""

    def apply(self, blocks: Iterator[Any], counts: Counter[str]) -> Iterator[Any]:
        """Applies the operation to the rows of a part, block by block.

        Args:
            blocks: the rows, at least one in each block: each a `components.tracked_block.TrackedBlock`, as are the
                blocks that it yields.
            counts: gets the number of rows with something that the user should know, by a sentence that follows
                "3 of 9 rows: ", such as "the condition has no value".
        """


@runtime_checkable
class MakesRows(Protocol):
    """An operation that makes rows: several of one, or one of several."""

    makes_rows: ClassVar[Literal[True]]


@runtime_checkable
class ReadsSource(Protocol):
    """An operation that reads another source, too, such as a table to join."""

    @property
    def opened(self) -> Source:
        """The other source, opened."""


@runtime_checkable
class ReadsLists(Protocol):
    """An operation that reads columns of lists."""

    @property
    def list_columns(self) -> Collection[str]:
        """The columns. Python's lists there are lists also if an array could hold them."""


def find_columns_read(operations: Sequence[RowOperation], names: Collection[str]) -> Collection[str] | None:
    """The columns of the source that are needed, so that some columns are there after operations. None: all.

    Args:
        operations: the operations.
        names: the columns.
    """
    needed = dict.fromkeys(names)
    for operation in reversed(operations):
        if operation.columns_read is None:
            return None
        computed = operation.columns_computed or ()
        needed = dict.fromkeys([*(name for name in needed if name not in computed), *operation.columns_read])
    return needed.keys()
