"""Splits a configuration into its static tree and its numbers, which can change without a new compilation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runner.signature.build import ScalarSlot
from runner.signature.parameters import Parameters, read_settings_fields, read_signature
from runner.signature.type_hints import element_hint, takes_scalar
from runner.tree import KeyPath, iterate_parts, join_path, resolve_path

if TYPE_CHECKING:
    from runner.config.config import Config


STATIC = ("data", "feature", "tracking", "sweep", "weights")  # groups whose parts are built once, outside the program


def split_scalars(config: Config) -> tuple[dict[str, Any], dict[str, float]]:
    """Splits a checked configuration.

    A number of a parameter annotated `Scalar` is replaced by a `ScalarSlot`, whether it is spelt 1 or 1.0; null stays.
    Values that are equal by reference share one slot, named after the key referred to. The seed stays, as an integer.

    Returns:
        The static tree, and the numbers by name.
    """
    static, numbers = copy.deepcopy(config.values), {}
    for place, value in _iterate_scalars(config.values):
        name = join_path(resolve_path(config.raw, place))
        if name != "seed":
            numbers[name] = float(value)
            _set_value(static, place, ScalarSlot(name))
    return static, numbers


def normalize_scalars(config: Config) -> Config:
    """The same configuration with each `Scalar` as a float, so that 1 and 1.0 are the same run."""
    values = copy.deepcopy(config.values)
    for place, value in _iterate_scalars(config.values):
        _set_value(values, place, float(value))
    return replace(config, values=values)


def _iterate_scalars(values: dict[str, Any]) -> Iterator[tuple[KeyPath, int | float]]:
    """The numbers that enter the program as arrays, with their paths."""
    for place, hint, value in _iterate_arguments(values):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and place[0] not in STATIC and takes_scalar(hint):
            yield place, value


def _iterate_arguments(values: dict[str, Any]) -> Iterator[tuple[KeyPath, Any, Any]]:
    """Every argument of a part, lists and mappings flattened: (path, hint, value)."""
    yield from _node_arguments(values, read_settings_fields("Settings"), ())
    for place, node in iterate_parts(values):
        yield from _node_arguments(node, read_signature(node["_target_"]) or {}, place)


def _node_arguments(node: dict[str, Any], parameters: Parameters, place: KeyPath) -> Iterator[tuple[KeyPath, Any, Any]]:
    for name, parameter in parameters.items():
        if name in node:
            yield from _iterate_elements(node[name], parameter.hint, (*place, name))


def _iterate_elements(value: Any, hint: Any, place: KeyPath) -> Iterator[tuple[KeyPath, Any, Any]]:
    if not isinstance(value, dict | list):
        yield place, hint, value
    elif "_target_" not in value:
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _iterate_elements(one, element_hint(hint, key), (*place, key))


def _set_value(tree: Any, place: KeyPath, value: Any) -> None:
    for key in place[:-1]:
        tree = tree[key]
    tree[place[-1]] = value
