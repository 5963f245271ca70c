"""Row operations: functions of the rows of a data set, which run once, before statistics and the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol, Self, runtime_checkable


class RowOperation(Protocol):
    """A function of the rows of a part of a data set. It is a dataclass, whose fields are its parameters.

    It makes blocks by the methods of the blocks that it gets: `take` and `with_columns`. So each row keeps the number
    of its row in the source, which decides about its split and its location in messages.
    """

    @property
    def applies_to_new_rows(self) -> bool:
        """Whether rows to predict pass through the operation, too: it computes columns, and keeps all rows.

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
class ComputesEach(Protocol):
    """An operation that computes columns, each by itself, and keeps all rows."""

    def narrow(self, names: Collection[str]) -> Self:
        """The operation that computes only what some of its columns need, at least one."""


def narrow_operations(operations: Sequence[RowOperation], names: Collection[str]) -> dict[int, RowOperation]:
    """The operations that some columns need, by their positions, narrowed to what these columns need.

    So rows to predict need no column of which only the target is computed. Operations that aren't `ComputesEach` are
    kept as they are: they may do more than compute columns.

    Args:
        operations: the operations.
        names: the columns after the operations.
    """
    needed: set[str] | None = {*names}  # None: all
    kept = dict[int, RowOperation]()
    for number, operation in reversed([*enumerate(operations)]):
        computed = {*(operation.columns_computed or ())}
        if needed is not None and isinstance(operation, ComputesEach):
            if not (used := computed & needed):
                continue
            operation = operation.narrow(used)
        kept[number] = operation
        read = operation.columns_read
        needed = None if needed is None or read is None else (needed - computed) | {*read}
    return dict(reversed(kept.items()))


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
