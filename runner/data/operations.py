"""New rows, which pass through the row operations of a run that compute columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from components.closest import join_names
from components.types import MakesRows, ReadsSource, RowOperation, Source, narrow_operations
from runner.signature.operations import operate


def operate_new_rows(
    source: Source, operations: Sequence[RowOperation], names: Collection[str]
) -> tuple[Source, tuple[str, ...]]:
    """New rows that pass through the operations of a run that compute columns, and sentences about the others.

    Args:
        source: the rows.
        operations: all operations of the run.
        names: the columns that are needed after the operations.
    """
    applied = select_new_row_operations(operations, names)
    others = [f"operations.{number}" for number, each in enumerate(operations) if not each.applies_to_new_rows]
    verb = "is" if len(others) == 1 else "are"
    makes_rows = any(isinstance(operation, MakesRows) for operation in applied.values())
    effect = "new rows pass through the others only" if makes_rows else "all new rows are kept, in their order"
    note = f"{join_names(others)} {verb} for the data of the run: {effect}"
    return operate(source, [*applied.values()], [*applied], knows_unread=False), (note,) if others else ()


def select_new_row_operations(operations: Sequence[RowOperation], names: Collection[str]) -> dict[int, RowOperation]:
    """The operations that new rows pass through, by their positions: those that compute what some columns need."""
    numbers = [number for number, operation in enumerate(operations) if operation.applies_to_new_rows]
    narrowed = narrow_operations([operations[number] for number in numbers], names)
    return {numbers[index]: operation for index, operation in narrowed.items()}


def list_other_sources(operations: Sequence[RowOperation]) -> dict[str, str]:
    """The fingerprints of the other sources that new rows are read with, by the number of the operation."""
    return {
        str(number): operation.opened.fingerprint()
        for number, operation in enumerate(operations)
        if operation.applies_to_new_rows and isinstance(operation, ReadsSource)
    }


def find_changed_sources(operations: Sequence[RowOperation], known: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences about other sources that have changed since the training.

    Args:
        operations: the operations of the run.
        known: what `list_other_sources` returned in training.
    """
    found = list_other_sources(operations) if known else {}
    changed = [f"operations.{number}.other" for number in known if known[number] != found.get(number)]
    has = "has" if len(changed) == 1 else "have"
    return (f"{join_names(changed)} {has} changed since the training",) if changed else ()
