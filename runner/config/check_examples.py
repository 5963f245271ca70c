"""Checks that the examples of several rows fit the target, before JAX is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.config.check_targets import CLASS_TARGETS, target_of
from runner.signature.type_hints import Problem

WINDOWS = "components.examples.Windows"


def find_example_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds windows with a horizon whose target has classes, and a gap before targets that aren't there."""
    examples, feature = values.get("examples"), values.get("feature")
    if target_of(examples) != WINDOWS or not isinstance(examples, Mapping) or not isinstance(feature, Mapping):
        return
    horizon, gap = examples.get("horizon"), examples.get("gap")
    if horizon is None and isinstance(gap, int) and gap > 0:
        yield Problem("examples.gap", f"{gap} is before the rows of targets. Set examples.horizon, or leave it out.")
    if horizon is None:
        return
    targets = feature.get("targets")
    nodes = {f"targets.{name}": node for name, node in targets.items()} if isinstance(targets, Mapping) else {}
    for name, node in {"target": feature.get("target"), **nodes}.items():
        if target_of(node) in CLASS_TARGETS:
            yield Problem(
                "examples.horizon",
                f"{horizon} rows of targets need numbers, and feature.{name} has classes. Choose a target of numbers, "
                "or set examples.horizon=null: then the last row of a window has the target.",
            )
