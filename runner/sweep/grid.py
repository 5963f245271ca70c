"""The runs of a sweep: every combination of the values on its command line, in Hydra's grammar."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.types import Glob, Override

from components.closest import suggest_name
from components.types import UserError
from runner.config.overrides import parse_override
from runner.errors import ConfigError


class Axis(list[str]):
    """The words of one key, a value each: `["seed=1", "seed=2"]`; a word that doesn't vary is an axis of one."""


def axes(words: Sequence[str], options: Mapping[str, Mapping[str, object]]) -> list[Axis]:
    """An axis for each word: `a,b`, `choice()`, `range()`, or `glob()` over the options of a group.

    Words that Hydra can't read stay as they are, for the composition to name. Raises ConfigError with what is wrong.
    """
    result: list[Axis] = []
    problems: list[str] = []
    for word in words:
        try:
            result.append(_axis(word, options))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return result


def size(axes: Sequence[Axis]) -> int:
    """How many combinations there are."""
    return math.prod(map(len, axes))


def combinations(axes: Sequence[Axis]) -> list[tuple[str, ...]]:
    """Every combination, the last axis varying fastest."""
    return list(itertools.product(*axes))


def _axis(word: str, options: Mapping[str, Mapping[str, object]]) -> Axis:
    try:
        override = parse_override(word)
    except UserError:
        return Axis([word])
    if not override.is_sweep_override():
        return Axis([word])
    values = _values(override, options)
    if not values:
        raise ConfigError(f"{word}: has no value")
    if len(set(values)) < len(values):
        raise ConfigError(f"{word}: has a value twice")
    return Axis([f"{word.partition('=')[0]}={value}" for value in values])


def _values(override: Override, options: Mapping[str, Mapping[str, object]]) -> list[str]:
    word, name = override.input_line, override.key_or_group
    if override.is_interval_sweep():
        raise ConfigError(f"{word}: an interval has no list of values; write {name}=1,2,3, choice() or range()")
    if isinstance(pattern := override.value(), Glob):
        if name not in options:
            raise ConfigError(f"{word}: glob() is for the options of a group. {suggest_name(name, options)}")
        if not (matched := pattern.filter(list(options[name]))):
            raise ConfigError(f"{word}: no option of {name} matches; there are {', '.join(options[name])}")
        return matched
    return list(override.sweep_string_iterator())
