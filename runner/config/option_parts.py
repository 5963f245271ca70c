"""The part that the file of an option holds, and the options whose parts have a parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    if isinstance(read_default_options()[group], list) and isinstance(content, dict):
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


def _iterate_signatures(group: str) -> Iterator[tuple[str, Mapping[str, Parameter]]]:
    for name, path in find_options().files[group].items():
        try:
            part = read_part(group, name, path)
            parameters = None if part is None else read_signature(part["_target_"])
        except UserError:
            continue
        if parameters is not None:
            yield name, parameters
