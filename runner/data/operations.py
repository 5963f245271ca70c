"""The row operations of a configuration, and the sources whose rows pass through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.types import RowOperation, Source
from runner.errors import error_location
from runner.signature.build import build
from runner.signature.schema import SCHEMA
from runner.signature.type_hints import element_hint

OPERATED = "components.data.OperatedSource"


def build_operations(nodes: Sequence[Mapping[str, Any]]) -> tuple[RowOperation, ...]:
    """Builds the operations of a configuration. Errors name their key."""
    operations = list[RowOperation]()
    for number, node in enumerate(nodes):
        with error_location(f"operations.{number}"):
            operations.append(build(node, {}, element_hint(SCHEMA["operations"], number)))
    return tuple(operations)


def operate(source: Source, operations: Sequence[RowOperation]) -> Source:
    """The source whose rows pass through operations; the same one if there are none."""
    if operations:
        source = build({"_target_": OPERATED}, {}, SCHEMA["data"], source=source, operations=tuple(operations))
    return source
