"""Checks that no feature column reads a column that the source drops."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from components.expression.parser import parse
from components.types import UserError
from runner.signature.type_hints import Problem


def find_drop_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds the columns of `data.drop` that are targets, or that a target or a feature column reads."""
    data, feature = values.get("data"), values.get("feature")
    if not isinstance(data, dict) or not isinstance(data.get("drop"), list):
        return
    dropped = {str(name) for name in data["drop"]}
    targets = data.get("target")
    for target in targets if isinstance(targets, list) else [targets]:
        if str(target) in dropped:
            yield Problem("data.drop", f"`{target}` is the target (data.target). Take it out of the list.")
    if not isinstance(feature, dict):
        return
    columns = feature.get("columns")
    feature_names = set(columns) if isinstance(columns, dict) else set()
    for location, name, node in _iterate_columns(feature):
        for key in _list_keys(node):
            # A feature column of that name is read in place of the raw column, but not by itself.
            if key in dropped and (key == name or key not in feature_names):
                yield Problem(
                    "data.drop", f"`{key}` can't be dropped, because {location} reads it. Leave one of them out."
                )


def _iterate_columns(feature: Mapping[str, Any]) -> Iterator[tuple[str, str | None, Any]]:
    """Yields the key of each target and feature column, its name as a feature column, and its parameters."""
    yield "feature.target", None, feature.get("target")
    weight = feature.get("weight")
    yield "feature.weight", None, {"key": weight} if isinstance(weight, str) else weight
    for group in ("targets", "columns"):
        nodes = feature.get(group)
        for name, node in nodes.items() if isinstance(nodes, dict) else ():
            yield f"feature.{group}.{name}", name if group == "columns" else None, node


def _list_keys(node: Any) -> list[str]:
    """The names of the columns that a feature column reads. Other parameters of a user's own column are not known."""
    if not isinstance(node, dict):
        return []
    keys: list[str] = []
    for parameter in ("key", "keys", "per"):
        value = node.get(parameter)
        keys += value if isinstance(value, list) else [value] if isinstance(value, str) else []
    if isinstance(expression := node.get("expression"), str):
        with contextlib.suppress(UserError):  # the check of the column reports it
            keys += parse(expression).columns
    return list(dict.fromkeys(keys))
