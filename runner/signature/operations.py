"""The row operations of a configuration, and the sources whose rows pass through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from components.closest import closest_name, format_name
from components.expression.parser import quote
from components.types import DataError, RowOperation, Source
from runner.errors import error_location
from runner.signature.build import build
from runner.signature.schema import SCHEMA
from runner.signature.type_hints import element_hint

OPERATED = "components.data.OperatedSource"
BY_COLUMN = ("drop", "types", "nulls", "dates", "marks", "decimal")  # options of tables with names of columns
SPLIT_KEYS = ("stratify", "split_column", "split_hash", "split_by", "group")


def build_operations(nodes: Sequence[Mapping[str, Any]]) -> tuple[RowOperation, ...]:
    """Builds the operations of a configuration. Errors name their key."""
    return tuple(build_operation(node, number) for number, node in enumerate(nodes))


def build_operation(node: Mapping[str, Any], number: int) -> RowOperation:
    """Builds the operation at a position of `operations`. Raises LocatedError if a parameter is wrong."""
    with error_location(f"operations.{number}"):
        operation: RowOperation = build(node, {}, element_hint(SCHEMA["operations"], number))
        return operation


def separate_options(
    node: Mapping[str, Any], operations: Sequence[RowOperation]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separates the options of a source from those for the rows after operations.

    `drop` leaves out columns after the operations, so that these can read them, and `types` can declare the type of a
    column that they compute.

    Args:
        node: the configuration of the source.
        operations: the operations.

    Returns:
        The configuration of the source, and the options of `operate`.
    """
    if not operations:
        return dict(node), {}
    read = {name for each in operations for name in each.columns_read or ()}
    computed = {name for each in operations for name in each.columns_computed or ()}
    is_known = all(each.columns_read is not None and each.columns_computed is not None for each in operations)
    types, drop = node.get("types"), node.get("drop")
    own, later = dict(node), dict[str, Any]()
    if isinstance(types, Mapping) and (declared := {name: types[name] for name in types if name in computed - read}):
        own["types"] = {name: kind for name, kind in types.items() if name not in declared} or None
        later["declared_types"] = declared
    if isinstance(drop, list | tuple) and (
        left_out := tuple(name for name in drop if not is_known or name in read | computed)
    ):
        own["drop"] = [name for name in drop if name not in left_out]
        later["left_out_columns"] = left_out
    return own, later


@contextmanager
def explain_computed_columns(node: Mapping[str, Any], operations: Sequence[RowOperation]) -> Iterator[None]:
    """Adds to errors about options of a source that an operation computes the column, or one of a similar name.

    Args:
        node: the configuration of the source.
        operations: the operations.
    """
    try:
        yield
    except DataError as error:
        computed = {name for each in operations for name in each.columns_computed or ()}
        for name in _list_named_columns(node):
            near = closest_name(name, computed)
            if near is not None and (f"`{name}`" in error.fault or f"(={name})" in error.fault):
                is_it, alike = "An operation computes it, after the rows are read and split.", f"Did you mean `{near}`"
                hint = is_it if near == name else f"{alike}, which an operation computes?"
                error.replace_remedies(error.remedies, f"{error.fault} {hint}")
                break
        raise


def _list_named_columns(node: Mapping[str, Any]) -> Iterator[str]:
    """The columns that options of a source name, other than the target."""
    for option in (*BY_COLUMN, *SPLIT_KEYS):
        value = node.get(option)
        yield from (value,) if isinstance(value, str) else map(str, value or ())


def find_missing_target_problem(node: Mapping[str, Any], operations: Sequence[RowOperation]) -> str | None:
    """Why rows without a target can't be left out as they are read: an operation computes it. None: they can."""
    target = node.get("target")
    targets = {*target} if isinstance(target, list | tuple) else {target}
    computed = {name for each in operations for name in each.columns_computed or ()} & targets
    if node.get("on_missing_target") != "drop" or not computed:
        return None
    name = min(computed)
    return (
        f"drop leaves rows out as they are read, before an operation computes the target {format_name(name)}. Add the "
        f"operation {format_gap_filter(name)} instead"
    )


def format_gap_filter(name: str) -> str:
    """The operation that leaves out the rows without a value of a column."""
    quoted = name if name.isidentifier() else quote(name)
    return f'{{option: filter, where: "not is_null({quoted})"}}'


def operate(
    source: Source, operations: Sequence[RowOperation], numbers: Sequence[int] | None = None, **options: Any
) -> Source:
    """The source whose rows pass through operations; the same one if there are none.

    Args:
        source: the source.
        operations: the operations.
        numbers: the position of each operation in the configuration. None: there are no others.
        options: those that `separate_options` returns, and rows that are known.
    """
    if operations:
        positions = range(len(operations)) if numbers is None else numbers
        arguments = {"source": source, "operations": tuple(operations), "numbers": tuple(positions), **options}
        source = build({"_target_": OPERATED}, {}, SCHEMA["data"], **arguments)
    return source
