"""The part that the file of an option holds, and the options whose parts have a parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from components.types import UserError
from runner.config.catalog import display_path, find_options, read_default_options
from runner.signature.parameters import Parameter, read_signature
from runner.yaml_file import FAST_LOADER, OPTION_LIMITS, read


def read_part(group: str, name: str, path: Path) -> dict[str, Any] | None:
    """The part that the file of an option holds: `_target_` and the values of parameters; None: it holds no part.

    In a group of several options, the part stands below the name of the option.
    """
    content = read(path, display_path(path), OPTION_LIMITS, lambda text: yaml.load(text, FAST_LOADER))
    if isinstance(read_default_options().get(group), list) and isinstance(content, dict):
        content = content.get(name)
    is_part = isinstance(content, dict) and isinstance(content.get("_target_"), str)
    return content if is_part else None


def find_options_with(group: str, parameter: str) -> dict[str, Parameter]:
    """The options of a group whose parts have a parameter, each with it. Options that can't be read are left out."""
    found = {name: parameters.get(parameter) for name, parameters in _iterate_signatures(group)}
    return {name: parameter for name, parameter in found.items() if parameter is not None}


def list_parameters(group: str) -> set[str]:
    """The names of the parameters of all options of a group."""
    return {name for _, parameters in _iterate_signatures(group) for name in parameters}


def list_options_of(group: str, target: str) -> list[str]:
    """The options of a group whose parts have a `_target_`."""
    return [name for name, found in list_targets(group) if found == target]


def _iterate_signatures(group: str) -> Iterator[tuple[str, Mapping[str, Parameter]]]:
    for name, target in list_targets(group):
        with suppress(UserError):
            if (parameters := read_signature(target)) is not None:
                yield name, parameters


def list_targets(group: str) -> Iterator[tuple[str, str]]:
    """The options of a group with the `_target_` of their parts. Files that can't be read are left out."""
    for name, path in find_options().files[group].items():
        with suppress(UserError):
            if (part := read_part(group, name, path)) is not None:
                yield name, part["_target_"]
