"""Where parts stand in a configuration, and which kinds of part each place takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from runner.signature.kinds import find_misplacement
from runner.signature.parameters import signature
from runner.signature.source import TargetError
from runner.signature.type_hints import Kind, Part, Problem, element_hint, part_kinds

TARGET = Annotated[Part, Kind("target")]
COLUMN = Annotated[Part, Kind("column")]
SCHEMA: dict[str, Any] = {
    "data": Annotated[Part, Kind("source")],
    "feature.target": TARGET,
    "feature.columns": dict[str, COLUMN],
    "architecture": Annotated[Part, Kind("architecture")],
    "loss": Annotated[Part, Kind("loss")],
    "metric": dict[str, Annotated[Part, Kind("metric")]],
    "optimizer": Annotated[Part, Kind("optimizer")],
    "schedule": Annotated[Part, Kind("schedule")],
    "regularizer": dict[str, Annotated[Part, Kind("regularizer")]],
    "augmentation": dict[str, Annotated[Part, Kind("augmentation")]],
    "weights": Annotated[Part, Kind("weights")],
    "tracking": Annotated[Part, Kind("tracking")],
    "sweep": Annotated[Part, Kind("sweep")],
}
"""The hint of each place that holds a part, or parts by name."""


def find_misplaced_parts(value: Any, hint: Any, key: str) -> Iterator[Problem]:
    """The parts of a tree that may not stand where they do.

    `hint` is that of the place of the tree; further in, the annotations of parameters count. A target that leads
    nowhere is left to `signature`.
    """
    if isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from find_misplaced_parts(one, element_hint(hint, number), f"{key}.{number}")
    elif isinstance(value, Mapping) and "_target_" not in value:
        for name, one in value.items():
            yield from find_misplaced_parts(one, element_hint(hint, name), f"{key}.{name}")
    elif isinstance(value, Mapping):
        hints: dict[str, Any] = {}
        with contextlib.suppress(TargetError):
            if problem := find_misplacement(value["_target_"], part_kinds(hint)):
                yield Problem(f"{key}._target_", problem)
            hints = parameter_hints(value["_target_"])
        for name, one in value.items():
            yield from find_misplaced_parts(one, hints.get(name, Any), f"{key}.{name}")


def parameter_hints(target: str) -> dict[str, Any]:
    """The hints of the parameters of a target, as far as its source tells."""
    return {name: parameter.hint for name, parameter in (signature(target) or {}).items()}
