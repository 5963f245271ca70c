"""The kinds of part that are allowed at each key of a configuration."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from runner.signature.kinds import kinds_of
from runner.signature.parameters import read_parameter_hints
from runner.signature.source import PartNotFoundError
from runner.signature.type_hints import FUNCTION, Kind, PartHint, element_hint, part_kinds

TARGET = Annotated[PartHint, Kind("target")]
COLUMN = Annotated[PartHint, Kind("column")]
SCHEMA: dict[str, Any] = {
    "data": Annotated[PartHint, Kind("source")],
    "feature.target": TARGET,
    "feature.columns": dict[str, COLUMN],
    "architecture": Annotated[PartHint, Kind("architecture")],
    "loss": Annotated[PartHint, Kind("loss")],
    "metric": dict[str, Annotated[PartHint, Kind("metric")]],
    "optimizer": Annotated[PartHint, Kind("optimizer")],
    "schedule": Annotated[PartHint, Kind("schedule")],
    "regularizer": dict[str, Annotated[PartHint, Kind("regularizer")]],
    "constraint": dict[str, Annotated[PartHint, Kind("constraint")]],
    "augmentation": dict[str, Annotated[PartHint, Kind("augmentation")]],
    "weights": Annotated[PartHint, Kind("weights")],
    "tracking": Annotated[PartHint, Kind("tracking")],
    "sweep": Annotated[PartHint, Kind("sweep")],
}
"""The type hint of each key that holds a part, or a mapping of parts by name."""


def option_groups(hint: Any) -> tuple[str, ...]:
    """The groups whose options may stand where a hint allows a part. Columns and layers are in no group."""
    groups = _groups_by_kind()
    return tuple(dict.fromkeys(groups[kind] for name in part_kinds(hint) for kind in kinds_of(name) if kind in groups))


@functools.cache
def _groups_by_kind() -> dict[str, str]:
    """The group of each kind that has one."""
    hints = [(group, hint) for group, hint in SCHEMA.items() if "." not in group]
    return {kind: group for group, hint in hints for kind in part_kinds(hint) + part_kinds(element_hint(hint, ""))}


def takes_function(hint: Any) -> bool:
    """Whether a function may stand where a hint allows a part."""
    return FUNCTION in part_kinds(hint)


def iterate_hints(value: Any, hint: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Yields the key, the `_target_` and the type hint of each part of a tree, outer parts first.

    Args:
        value: a tree of plain values.
        hint: the type hint of the tree's root. Below a part, the annotations of its parameters are the hints.
        key: the dotted key of the tree's root.
    """
    if isinstance(value, list | tuple):
        for index, element in enumerate(value):
            yield from iterate_hints(element, element_hint(hint, index), f"{key}.{index}")
    elif isinstance(value, Mapping) and "_target_" not in value:
        for name, element in value.items():
            yield from iterate_hints(element, element_hint(hint, name), f"{key}.{name}")
    elif isinstance(value, Mapping):
        yield key, value["_target_"], hint
        hints: dict[str, Any] = {}
        with contextlib.suppress(PartNotFoundError):
            hints = read_parameter_hints(value["_target_"])
        for name, element in value.items():
            yield from iterate_hints(element, hints.get(name, Any), f"{key}.{name}")
