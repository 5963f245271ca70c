"""Checks the parameters of operations on rows, such as expressions. NumPy is imported only if there are operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.errors import LocatedError
from runner.signature.type_hints import Problem
from runner.tree import iterate_parts

PACKAGE = "components.operation."


def find_operation_problems(values: Mapping[str, Any], others: Sequence[Problem]) -> Iterator[Problem]:
    """Finds the parameters with which an operation can't be built, and a target that one computes too late.

    An operation with a function or a source is built by the run only, because that may import other packages.

    Args:
        values: the values of a configuration.
        others: the problems that were found before. Operations with these aren't built.
    """
    nodes = values.get("operations")
    if not isinstance(nodes, list) or not nodes:
        return
    from runner.signature.operations import build_operation, find_missing_target_problems

    operations = []
    for number, node in enumerate(nodes):
        key = f"operations.{number}"
        has_problem = any(f"{problem.key}.".startswith(f"{key}.") for problem in others)
        if has_problem or not _has_plain_values(node):
            continue
        try:
            operations.append(build_operation(node, number))
        except LocatedError as error:
            yield Problem(error.key, str(error).removeprefix(f"{error.key}: "))
    data = values.get("data")
    if isinstance(data, dict):
        for key, problem in find_missing_target_problems(data, operations):
            yield Problem(f"data.{key}", problem)


def _has_plain_values(node: Any) -> bool:
    """Whether a value is an operation of ours without another part."""
    parts = [part["_target_"] for _, part in iterate_parts(node)]
    return len(parts) == 1 and str(parts[0]).startswith(PACKAGE)
