"""The kinds of part that are allowed at each key of a configuration."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from runner.signature.allowed_parts import find_kind_problem
from runner.signature.kinds import kinds_of
from runner.signature.parameters import hint_of_argument, read_parameter_hints
from runner.signature.source import PartNotFoundError
from runner.signature.type_hints import FUNCTION, Kind, PartHint, Problem, element_hint, part_kinds
from runner.tree import KeyPath, join_path

LISTS = {"operations": "operation"}
"""Keys whose values are lists of parts, and the group of the options of their elements."""
TARGET = Annotated[PartHint, Kind("target")]
COLUMN = Annotated[PartHint, Kind("column")]
LOSS = Annotated[PartHint, Kind("loss")]
METRIC = Annotated[PartHint, Kind("metric")]
SCHEMA: dict[str, Any] = {
    "data": Annotated[PartHint, Kind("source")],
    "operations": tuple[Annotated[PartHint, Kind("operation")], ...],
    "feature.target": TARGET | None,
    "feature.targets": dict[str, TARGET],
    "feature.columns": dict[str, COLUMN],
    "feature.weight": COLUMN | str | None,
    "examples": Annotated[PartHint, Kind("examples")] | None,
    "architecture": Annotated[PartHint, Kind("architecture")],
    "loss": LOSS | dict[str, LOSS] | None,
    "metric": dict[str, METRIC | dict[str, METRIC]],
    "optimizer": Annotated[PartHint, Kind("optimizer")],
    "schedule": Annotated[PartHint, Kind("schedule")],
    "step": Annotated[PartHint, Kind("step")],
    "teacher": Annotated[PartHint, Kind("teacher")] | None,
    "regularizer": dict[str, Annotated[PartHint, Kind("regularizer")]],
    "update": dict[str, Annotated[PartHint, Kind("update")]],
    "constraint": dict[str, Annotated[PartHint, Kind("constraint")]],
    "augmentation": dict[str, Annotated[PartHint, Kind("augmentation")]],
    "observer": dict[str, Annotated[PartHint, Kind("observer")]],
    "weights": Annotated[PartHint, Kind("weights")],
    "tracking": Annotated[PartHint, Kind("tracking")],
    "sweep": Annotated[PartHint, Kind("sweep")],
}
"""The type hint of each key that holds a part, or a mapping of parts by name.

With several targets, the losses are by target, and the metrics by target and name.
"""


def find_list(group: str) -> str | None:
    """The key whose value is a list of options of a group. None: the group has a key of its own name."""
    return next((key for key, name in LISTS.items() if name == group), None)


FILLED_IN = {
    "optimizer": {"learning_rate": "is set by the schedule. Set learning_rate instead."},
    "architecture": {
        "outputs": "is set from the data and the loss. Leave it out.",
        "dtype": "is set by training.precision. Leave it out.",
    },
}
"""Parameters that the runner sets, by kind of part, and the problem for a user who sets one."""


def list_architectures(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The architecture of a configuration, and those within it."""
    hints = read_parameter_hints(node["_target_"])
    within = [value for name, value in node.items() if part_kinds(hint_of_argument(hints, name)) == ("architecture",)]
    return [node, *(each for value in within if isinstance(value, dict) for each in list_architectures(value))]


def option_groups(hint: Any) -> tuple[str, ...]:
    """The groups whose options may stand where a hint allows a part. Columns and layers are in no group."""
    groups = groups_by_kind()
    return tuple(dict.fromkeys(groups[kind] for name in part_kinds(hint) for kind in kinds_of(name) if kind in groups))


@functools.cache
def groups_by_kind() -> dict[str, str]:
    """The group of each kind that has one."""
    groups: dict[str, str] = {}
    for group, hint in SCHEMA.items():
        if "." not in group:
            if element_kinds := part_kinds(element_hint(hint, 0)):
                groups |= dict.fromkeys(element_kinds, LISTS[group])
                continue
            named = element_hint(hint, "")
            kinds = part_kinds(hint) + part_kinds(named) + part_kinds(element_hint(named, ""))
            groups |= dict.fromkeys(kinds, group)
    return groups


def takes_function(hint: Any) -> bool:
    """Whether a function may stand where a hint allows a part."""
    return FUNCTION in part_kinds(hint)


def find_misplaced_parts(value: Any, hint: Any, key: str) -> Iterator[Problem]:
    """Finds the parts of a tree whose kind is not allowed at their key.

    A `_target_` that does not exist is skipped, because `read_signature` reports it.

    Args:
        value: a tree of plain values.
        hint: the type hint of the tree's root. Below a part, the annotations of its parameters are the hints.
        key: the dotted key of the tree's root, for the problems.
    """
    if isinstance(value, list | tuple):
        for index, element in enumerate(value):
            yield from find_misplaced_parts(element, element_hint(hint, index), f"{key}.{index}")
    elif isinstance(value, Mapping) and "_target_" not in value:
        for name, element in value.items():
            yield from find_misplaced_parts(element, element_hint(hint, name), f"{key}.{name}")
    elif isinstance(value, Mapping):
        hints: dict[str, Any] = {}
        with contextlib.suppress(PartNotFoundError):
            if problem := find_kind_problem(value["_target_"], part_kinds(hint)):
                yield Problem(f"{key}._target_", problem)
            hints = read_parameter_hints(value["_target_"])
        for name, element in value.items():
            yield from find_misplaced_parts(element, hint_of_argument(hints, name), f"{key}.{name}")


def find_hint(values: Any, path: KeyPath) -> Any:
    """The type hint of the value at a path of a configuration; Any if it is unknown."""
    hint: Any = Any
    for depth, key in enumerate(path):
        schema_key = join_path(path[: depth + 1])
        if schema_key in SCHEMA:
            hint = SCHEMA[schema_key]
        elif isinstance(values, Mapping) and "_target_" in values:
            try:
                hint = hint_of_argument(read_parameter_hints(values["_target_"]), str(key))
            except PartNotFoundError:
                return Any
        else:
            hint = element_hint(hint, key)
        values = values[key]
    return hint
