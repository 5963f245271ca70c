"""The numbers of a run: what may change without compiling anything anew."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runner.signature.build import ScalarSlot
from runner.signature.parameters import Parameters, settings, signature
from runner.signature.type_hints import element_hint, takes_scalar
from runner.tree import KeyPath, dotted, parts, resolve_path

if TYPE_CHECKING:
    from runner.config.config import Config


STATIC = ("data", "feature", "tracking", "sweep", "weights")  # groups whose parts are built once, outside the program


def split_scalars(config: Config) -> tuple[dict[str, Any], dict[str, float]]:
    """The static tree of a checked configuration, and the numbers by name.

    A parameter annotated `Scalar` takes a number, however it is spelt; null stays null. What references make equal has
    one name, that of the place referred to. The seed is no float, so it is not among them.
    """
    static, numbers = copy.deepcopy(config.values), {}
    for place, value in _scalars(config.values):
        name = dotted(resolve_path(config.raw, place))
        if name != "seed":
            numbers[name] = float(value)
            _put(static, place, ScalarSlot(name))
    return static, numbers


def normalize_scalars(config: Config) -> Config:
    """The same configuration, each `Scalar` spelt as a float: 1 and 1.0 are one run."""
    values = copy.deepcopy(config.values)
    for place, value in _scalars(config.values):
        _put(values, place, float(value))
    return replace(config, values=values)


def _scalars(values: dict[str, Any]) -> Iterator[tuple[KeyPath, int | float]]:
    """The numbers that enter the program as arrays, with their places."""
    for place, hint, value in _arguments(values):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and place[0] not in STATIC and takes_scalar(hint):
            yield place, value


def _arguments(values: dict[str, Any]) -> Iterator[tuple[KeyPath, Any, Any]]:
    """Every value that a parameter takes, taken out of lists and mappings: (place, hint, value)."""
    yield from _given(values, settings("Settings"), ())
    for place, node in parts(values):
        yield from _given(node, signature(node["_target_"]) or {}, place)


def _given(node: dict[str, Any], parameters: Parameters, place: KeyPath) -> Iterator[tuple[KeyPath, Any, Any]]:
    for name, parameter in parameters.items():
        if name in node:
            yield from _elements(node[name], parameter.hint, (*place, name))


def _elements(value: Any, hint: Any, place: KeyPath) -> Iterator[tuple[KeyPath, Any, Any]]:
    if not isinstance(value, dict | list):
        yield place, hint, value
    elif "_target_" not in value:
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _elements(one, element_hint(hint, key), (*place, key))


def _put(tree: Any, place: KeyPath, value: Any) -> None:
    for key in place[:-1]:
        tree = tree[key]
    tree[place[-1]] = value
