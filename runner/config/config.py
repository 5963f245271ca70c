"""A composed configuration: what all that comes after composing reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.suggest.suggestions import Suggestion


@dataclass(frozen=True)
class Config:
    """A composed configuration, in plain Python."""

    values: dict[str, Any]  # references resolved; `experiment` is the name of the one chosen, or None
    raw: dict[str, Any]  # the same with "${name}" still there as text
    origins: dict[str, str]  # dotted leaf -> who set it: a file, or the command line with the word
    overrides: tuple[str, ...]
    choices: dict[str, Any]  # group -> the option chosen, or the list of them
    split: str | None = None  # `data.split`, in the modes that ask which split of a run is meant
    other_data: bool = False  # in those modes: the words name another `data.path`
    inferred: Suggestion | None = None  # what the source suggested
