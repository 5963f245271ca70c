"""`Config`: a composed configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.suggest.suggestions import Suggestion


@dataclass(frozen=True)
class Config:
    """A composed configuration, in plain Python values.

    Attributes:
        values: the tree of values, with references resolved. `experiment` is the name of the chosen one, or None.
        raw: the same tree with references, "${name}", as text.
        origins: who set each value, by dotted key: a file, or the command line with the word.
        overrides: the words of the command line, with masks in place of credentials.
        choices: the chosen option of each group, or the list of them.
        split: `data.split`, in the modes that read a finished run.
        other_data: whether the words name another `data.path`, in those modes.
        suggestion: what a table's profile led to. None: nothing was left to suggest.
        warnings: sentences for the user, such as the new names of old words.
    """

    values: dict[str, Any]
    raw: dict[str, Any]
    origins: dict[str, str]
    overrides: tuple[str, ...]
    choices: dict[str, Any]
    split: str | None = None
    other_data: bool = False
    suggestion: Suggestion | None = None
    warnings: tuple[str, ...] = ()
