"""The combinations of a sweep: every combination of the values in its overrides, in Hydra's grammar."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.types import Glob, Override

from components.closest import suggest_name
from components.types import UserError
from runner.config.overrides import parse_override
from runner.config.python_words import format_override
from runner.errors import ConfigError, error_location


class Axis(list[str]):
    """The overrides of one key, one for each of its values: `["seed=1", "seed=2"]`."""


def parse_axes(overrides: Sequence[str], options: Mapping[str, Mapping[str, object]]) -> list[Axis]:
    """Parses each override into an axis: `a,b`, `choice()`, `range()`, or `glob()` over the options of a group.

    An override that Hydra can't parse becomes an axis with this one entry. Hydra reports the error when it composes the
    configuration of a run.

    Args:
        overrides: the overrides of the command line.
        options: the options of each group: by group, then by name of the option.

    Raises:
        ConfigError: some overrides have no values or repeated ones.
    """
    axes: list[Axis] = []
    problems: list[str] = []
    for override in overrides:
        try:
            axes.append(_parse_axis(override, options))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError(*problems)
    return axes


def make_axes(over: Mapping[str, Sequence[object] | str], options: Mapping[str, Mapping[str, object]]) -> list[Axis]:
    """The axes of an experiment's own sweep.

    Args:
        over: lists of values, or texts in Hydra's grammar, by key.
        options: as for `parse_axes`.

    Raises:
        LocatedError: a key has no values or repeated ones.
    """
    made: list[Axis] = []
    for key, values in over.items():
        with error_location(f"sweep.over.{key}"):
            made.append(_make_axis(key, values, options))
    return made


def _make_axis(key: str, values: Sequence[object] | str, options: Mapping[str, Mapping[str, object]]) -> Axis:
    if isinstance(values, str):
        text = f"{key}={values}"
        return _read_axis(text, parse_override(text), options)
    return _check_values(Axis(format_override(key, value) for value in values))


def count_combinations(axes: Sequence[Axis]) -> int:
    """The number of combinations."""
    return math.prod(map(len, axes))


def list_combinations(axes: Sequence[Axis]) -> list[tuple[str, ...]]:
    """Every combination of one override from each axis. The last axis varies fastest."""
    return list(itertools.product(*axes))


def _parse_axis(text: str, options: Mapping[str, Mapping[str, object]]) -> Axis:
    try:
        override = parse_override(text)
    except UserError:
        return Axis([text])
    with error_location(text):
        return _read_axis(text, override, options)


def _read_axis(text: str, override: Override, options: Mapping[str, Mapping[str, object]]) -> Axis:
    """The axis of a parsed override. Raises UserError if it has no values or repeated ones."""
    if not override.is_sweep_override():
        return Axis([text])
    return _check_values(Axis(f"{text.partition('=')[0]}={value}" for value in _list_values(override, options)))


def _check_values(axis: Axis) -> Axis:
    if not axis:
        raise UserError("the list of values is empty. List one or more.")
    if len(set(axis)) < len(axis):
        raise UserError("a value is repeated. Leave it out.")
    return axis


def _list_values(override: Override, options: Mapping[str, Mapping[str, object]]) -> list[str]:
    name = override.key_or_group
    if override.is_interval_sweep():
        raise UserError(f"an interval has no list of values; write {name}=1,2,3, choice() or range()")
    if isinstance(pattern := override.value(), Glob):
        if name not in options:
            raise UserError(f"glob() is for the options of a group. {suggest_name(name, options)}")
        if not (matches := pattern.filter(list(options[name]))):
            raise UserError(f"no option of {name} matches; there are {', '.join(options[name])}")
        return matches
    return list(override.sweep_string_iterator())
