"""New rows, which pass through the row operations of a run that compute columns."""

from __future__ import annotations

from collections.abc import Sequence

from components.closest import join_names
from components.types import RowOperation, Source
from runner.signature.operations import operate


def operate_new_rows(source: Source, operations: Sequence[RowOperation]) -> tuple[Source, tuple[str, ...]]:
    """New rows that pass through the operations of a run that compute columns, and sentences about the others."""
    numbers = [number for number, operation in enumerate(operations) if operation.applies_to_new_rows]
    others = [f"operations.{number}" for number in range(len(operations)) if number not in numbers]
    verb = "is" if len(others) == 1 else "are"
    note = f"{join_names(others)} {verb} for the data of the run: all new rows are kept, in their order"
    return operate(source, list_new_row_operations(operations), numbers), (note,) if others else ()


def list_new_row_operations(operations: Sequence[RowOperation]) -> list[RowOperation]:
    """The operations that new rows pass through: those that compute columns."""
    return [operation for operation in operations if operation.applies_to_new_rows]
