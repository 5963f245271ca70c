"""Splits a configuration into its static tree and its scalars, which can change without a new compilation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from components.types import Duration
from runner.signature.build import ScalarSlot
from runner.signature.parameters import Parameters, find_parameter, read_settings_fields, read_signature
from runner.signature.type_hints import element_hint, read_duration, takes_scalar
from runner.tree import KeyPath, follow_references, iterate_parts, join_path

if TYPE_CHECKING:
    from runner.config.config import Config


GROUPS_OUTSIDE_PROGRAM = ("data", "feature", "examples", "teacher", "observer", "weights", "tracking", "sweep")
"""The groups whose parts are built on the host."""


def split_scalars(config: Config) -> tuple[dict[str, Any], dict[str, float]]:
    """Splits a checked configuration.

    A number of a parameter annotated `Scalar` is replaced by a `ScalarSlot`, even if it is written as an integer, and
    so is that of a `Duration`, whose unit stays. null is kept. A reference shares the slot of the key that it refers
    to; a reference to the seed stays a number.

    Returns:
        The static tree, and the numbers by the names of their slots.
    """
    static, numbers = copy.deepcopy(config.values), {}
    for path, value in _iterate_scalars(config.values):
        name = join_path(follow_references(config.raw, path))
        if name != "seed":  # the program gets the seed as an argument of its own
            number, unit = (value.value, value.unit) if isinstance(value, Duration) else (value, None)
            numbers[name] = float(number)
            _set_value(static, path, ScalarSlot(name, unit))
    return static, numbers


def normalize_scalars(config: Config) -> Config:
    """The configuration with each `Scalar` as a float, so that 1 and 1.0 are the same run, and so are 5ep and 5.0ep."""
    values = copy.deepcopy(config.values)
    for path, value in _iterate_scalars(config.values):
        _set_value(values, path, value.written() if isinstance(value, Duration) else float(value))
    return replace(config, values=values)


def list_durations(config: Config) -> list[tuple[str, Duration]]:
    """The durations of the parts of a program, with their keys."""
    scalars = _iterate_scalars(config.values)
    return [(join_path(path), value) for path, value in scalars if isinstance(value, Duration)]


def _iterate_scalars(values: dict[str, Any]) -> Iterator[tuple[KeyPath, int | float | Duration]]:
    """The numbers and durations that are arrays in the program, with their paths."""
    for path, hint, value in _iterate_arguments(values):
        if path[0] in GROUPS_OUTSIDE_PROGRAM:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and takes_scalar(hint):
            yield path, value
        elif (duration := read_duration(value, hint)) is not None:
            yield path, duration


def _iterate_arguments(values: dict[str, Any]) -> Iterator[tuple[KeyPath, Any, Any]]:
    """The arguments of all parts and the keys at the root: (path, hint, value). Lists and mappings are flattened."""
    yield from _iterate_node(values, read_settings_fields("Settings"), ())  # the keys at the root
    for path, node in iterate_parts(values):
        yield from _iterate_node(node, read_signature(node["_target_"]) or {}, path)


def _iterate_node(node: dict[str, Any], parameters: Parameters, path: KeyPath) -> Iterator[tuple[KeyPath, Any, Any]]:
    for name, value in node.items():
        if parameter := find_parameter(parameters, name):
            yield from _iterate_elements(value, parameter.hint, (*path, name))


def _iterate_elements(value: Any, hint: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any, Any]]:
    if not isinstance(value, dict | list):
        yield path, hint, value
    elif "_target_" not in value:  # `iterate_parts` yields a part within a part separately
        for key, element in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _iterate_elements(element, element_hint(hint, key), (*path, key))


def _set_value(tree: Any, path: KeyPath, value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value
