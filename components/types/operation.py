"""Row operations: functions of the rows of a data set, which run once, before statistics and the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

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


class OperationSummary(NamedTuple):
    """What an operation did with the rows of all parts.

    Attributes:
        name: the operation in messages: `operations.1 (derive)`.
        rows_before: the number of rows that it got.
        rows_after: the number of rows that it returned.
        by_split: the number of rows of each split before and after it.
        reads_all: whether it got all rows. Otherwise it stopped before.
        makes_rows: whether it makes rows: several of one, or one of several. So it leaves out none.
        added: the columns that it added.
        replaced: the columns that it replaced.
        dropped: the columns that it left out.
        counts: the number of rows with something special, by its description.
        seconds: the time that it took.
    """

    name: str
    rows_before: int
    rows_after: int
    by_split: Mapping[str, tuple[int, int]]
    reads_all: bool
    makes_rows: bool
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    dropped: tuple[str, ...]
    counts: Mapping[str, int]
    seconds: float

    def describe_columns(self) -> str:
        """What it does to columns: `adds a, b; replaces c`."""
        changes = {"adds": self.added, "replaces": self.replaced, "drops": self.dropped}
        return "; ".join(f"{verb} {', '.join(names)}" for verb, names in changes.items() if names)


class FirstRows(NamedTuple):
    """The first rows of a table as plain values.

    Attributes:
        numbers: the number of each row in the data.
        columns: the name and the values of some columns. A missing value is None.
    """

    numbers: tuple[int, ...]
    columns: tuple[tuple[str, tuple[Any, ...]], ...]


class OperationsSummary(NamedTuple):
    """What all operations did, as plain values.

    Attributes:
        operations: what each operation did.
        memory_bytes: the size of the rows after the operations that are kept in memory.
        disk_bytes: the size of those in temporary files.
        before: the first rows of the source, with the columns that the operations read or change.
        after: the first rows after the operations, with these columns and those that are added.
    """

    operations: tuple[OperationSummary, ...]
    memory_bytes: int
    disk_bytes: int
    before: FirstRows
    after: FirstRows

    @classmethod
    def from_plain(cls, fields: Sequence[Any]) -> OperationsSummary:
        """The summary from its fields, in which named tuples have become tuples."""
        operations, memory_bytes, disk_bytes, before, after = fields
        summaries = tuple(OperationSummary(*each) for each in operations)
        return cls(summaries, memory_bytes, disk_bytes, FirstRows(*before), FirstRows(*after))


@runtime_checkable
class SummarizesOperations(Protocol):
    """A source whose rows pass through operations."""

    def summarize_operations(self) -> OperationsSummary:
        """What the operations did. The splits are those that were asked for last."""


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
