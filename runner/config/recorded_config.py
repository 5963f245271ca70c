"""The configuration in a run folder, with the keys and names of today."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any, TypeVar

from components.types import UserError
from runner import yaml_file
from runner.config.catalog import RUN_YAML, read_default_options
from runner.config.config import Config
from runner.config.legacy import read_numbers_as_data, rename_targets, steps_to_durations
from runner.signature.parameters import UNKNOWN, read_signature
from runner.signature.source import PartNotFoundError
from runner.tree import iterate_parts
from runner.yaml_file import CONFIGURATION_LIMITS

Contents = TypeVar("Contents", dict[str, Any], list[Any])


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the `config.yaml` of a run folder, with today's names and spellings.

    Raises:
        UserError: the file is missing or damaged.
    """
    values: dict[str, Any] = rename_targets(read_yaml(folder / "config.yaml", dict))[0]
    training = values.get("training")
    is_without_durations = isinstance(training, dict) and "steps" not in training  # of an earlier version
    if is_without_durations:
        values = steps_to_durations(values)
    if isinstance(values.get("feature"), dict) and _read_transform_version(folder) == 2:
        values["feature"] = read_numbers_as_data(values["feature"])
    return values


def _read_transform_version(folder: Path) -> int | None:
    """The version of a run's `transform.npz`; None: there is no such file, or it is damaged."""
    path = folder / "transform.npz"
    if not path.is_file():
        return None
    from runner import npz  # imports NumPy, which a command without a run doesn't need

    with contextlib.suppress(UserError):
        return npz.read_meta(path).get("version")
    return None


def read_run_config(folder: Path) -> Config:
    """The configuration of a run, from the `config.yaml` of its folder. Raises UserError as `read_config`."""
    values = read_config(folder)
    return Config(values, values, {}, (), {})


def add_missing_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Adds the keys that an earlier version of Titrate did not have, with their default values."""
    defaults = read_yaml(RUN_YAML, dict)
    del defaults["defaults"]
    no_parts: dict[str, Any] = {group: {} for group, option in read_default_options().items() if option == []}
    no_parts["examples"] = None
    no_parts["step"] = read_yaml(RUN_YAML.parent / "step" / f"{read_default_options()['step']}.yaml", dict)
    return {**defaults, **no_parts, **values, "training": defaults["training"] | values["training"]}


def add_defaults(tree: dict[str, Any]) -> dict[str, Any]:
    """Adds the default values of all parameters that are not set, so that equal configurations compare as equal.

    Defaults that are not literals are left out.
    """
    tree = copy.deepcopy(tree)
    for _, node in [*iterate_parts(tree)]:
        try:
            known = read_signature(node["_target_"]) or {}
        except PartNotFoundError:
            continue
        for name, parameter in known.items():
            if parameter.default is not UNKNOWN:
                node.setdefault(name, parameter.default)
    return tree


def read_yaml(path: Path, kind: type[Contents]) -> Contents:
    """Reads a YAML file. Raises UserError if it is missing, too large, or of another kind."""
    content = yaml_file.read(path, str(path), CONFIGURATION_LIMITS)
    if not isinstance(content, kind):
        raise UserError(f"{path} is damaged: it holds {type(content).__name__}, not a {kind.__name__}")
    return content
