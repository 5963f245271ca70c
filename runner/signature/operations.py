"""The row operations of a configuration, and the sources whose rows pass through them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
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
NO_COLUMN = re.compile(r"\bno columns?\b")  # in errors about an option that names another column than those there
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
    column that they compute. Each of several sources has these options, too.

    Args:
        node: the configuration of the source.
        operations: the operations.

    Returns:
        The configuration of the source, and the options of `operate`.

    Raises:
        DataError: several sources declare different types of a column that an operation computes.
    """
    if not operations:
        return dict(node), {}
    read = {name for each in operations for name in each.columns_read or ()}
    computed = {name for each in operations for name in each.columns_computed or ()}
    is_known = all(each.columns_read is not None and each.columns_computed is not None for each in operations)
    own, parts = dict(node), _list_sources(node)
    declared, left_out = _find_declared(parts, computed - read), _find_left_out(parts, read | computed, is_known)
    if _holds_sources(node):
        own["sources"] = {name: _without(each, declared, left_out) for name, each in node["sources"].items()}
    later = {"declared_types": declared, "left_out_columns": left_out}
    return _without(own, declared, left_out), {name: value for name, value in later.items() if value}


def _holds_sources(node: Mapping[str, Any]) -> bool:
    """Whether the source is several ones. A part without parameters is null."""
    return isinstance(node.get("sources"), Mapping) and all(
        isinstance(each, Mapping) for each in node["sources"].values()
    )


def _list_sources(node: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The configurations with options of tables, by their key below `data`: that of a source, and of several ones."""
    named = {f"sources.{name}.": each for name, each in node["sources"].items()} if _holds_sources(node) else {}
    return {"": node, **named}


def _find_declared(parts: Mapping[str, Mapping[str, Any]], computed: Collection[str]) -> dict[str, Any]:
    """The types of columns that operations compute. Raises DataError if several sources declare different ones."""
    declared, keys = dict[str, Any](), dict[str, str]()
    for key, part in parts.items():
        types = part.get("types")
        for name, kind in types.items() if isinstance(types, Mapping) else ():
            if name not in computed:
                continue
            if declared.setdefault(name, kind) != kind:
                raise DataError(
                    f"`{key}types.{name}` is {kind}, and `{keys[name]}types.{name}` {declared[name]}. An operation "
                    "computes the column of all sources, so it has one type"
                )
            keys.setdefault(name, key)
    return declared


def _find_left_out(
    parts: Mapping[str, Mapping[str, Any]], concerned: Collection[str], is_known: bool
) -> tuple[str, ...]:
    """The columns to leave out after operations: those that these read or compute, or may.

    Args:
        parts: the configurations of the source, or of several ones. A column is left out of all of these.
        concerned: the columns that operations read or compute.
        is_known: whether there are no others.
    """
    drops = (part.get("drop") for part in parts.values())
    shared, *others = (tuple(drop) if isinstance(drop, list | tuple) else () for drop in drops)
    names = dict.fromkeys(shared) if not others else dict.fromkeys(name for drop in others for name in drop or shared)
    common = [name for name in names if all(name in (drop or shared) for drop in others)]
    return tuple(name for name in common if not is_known or name in concerned)


def _without(part: Mapping[str, Any], declared: Collection[str], left_out: Collection[str]) -> dict[str, Any]:
    """The configuration of a source without types, and columns to leave out, that are for the rows after operations."""
    own = dict(part)
    if isinstance(types := part.get("types"), Mapping) and not types.keys().isdisjoint(declared):
        own["types"] = {name: kind for name, kind in types.items() if name not in declared} or None
    if isinstance(drop := part.get("drop"), list | tuple):
        own["drop"] = [name for name in drop if name not in left_out]
    return own


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
        for name in itertools.chain.from_iterable(map(_list_named_columns, _list_sources(node).values())):
            is_named = f"`{name}`" in error.fault or f"(={name})" in error.fault
            if is_named and (hint := _explain_computed(name, error.fault, operations)):
                error.replace_remedies(error.remedies, f"{error.fault} {hint}")
                break
        raise


def _explain_computed(name: str, fault: str, operations: Sequence[RowOperation]) -> str | None:
    """A sentence about the operation that computes, or may compute, a column that an option of the source names."""
    near = closest_name(name, {name for each in operations for name in each.columns_computed or ()})
    if near is not None:
        is_it, alike = "An operation computes it, after the rows are read and split.", f"Did you mean `{near}`"
        return is_it if near == name else f"{alike}, which an operation computes?"
    number = next((number for number, each in enumerate(operations) if each.columns_computed is None), None)
    if number is None or not NO_COLUMN.search(fault):
        return None
    operation = f"operations.{number} ({type(operations[number]).__name__})"
    return (
        f"If {operation} computes it, leave the option out: rows are read and split before, and the column has the "
        "type of the values that the operation returns."
    )


def _list_named_columns(node: Mapping[str, Any]) -> Iterator[str]:
    """The columns that options of a source name, other than the target."""
    for option in (*BY_COLUMN, *SPLIT_KEYS):
        value = node.get(option)
        yield from (value,) if isinstance(value, str) else map(str, value or ())


def find_missing_target_problems(
    node: Mapping[str, Any], operations: Sequence[RowOperation]
) -> Iterator[tuple[str, str]]:
    """Why rows without a target can't be left out as they are read: an operation computes it.

    Yields:
        The key below `data` of each source that should leave out such rows, and the problem.
    """
    computed = {name for each in operations for name in each.columns_computed or ()}
    for key, part in _list_sources(node).items():
        target = node.get("target") if part.get("target") is None else part["target"]
        targets = {*target} if isinstance(target, list | tuple) else {target}
        if part.get("on_missing_target") == "drop" and computed & targets:
            name = min(computed & targets)
            yield (
                f"{key}on_missing_target",
                f"drop leaves rows out as they are read, before an operation computes the target {format_name(name)}. "
                f"Add the operation {format_gap_filter(name)} instead",
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
