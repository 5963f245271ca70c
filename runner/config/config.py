"""The composed configuration of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.suggest.suggestions import Suggestion


@dataclass(frozen=True)
class Config:
    """The composed configuration of a run, in plain Python values.

    Attributes:
        values: the tree of values, with references resolved. `experiment` is the name of the chosen experiment or None.
        raw: the same tree with references, "${name}", as text.
        origins: the origin of each value, by dotted key: a file, or the override of the command line.
        overrides: the overrides of the command line, with credentials masked.
        choices: the chosen option of each group; a list in a group that allows several.
        split: `data.split`; None except in the modes that read a finished run.
        sets_data_path: whether an override sets `data.path`; False except in those modes.
        suggestion: the suggestion for the source; None: there is none.
        warnings: warnings for the user, such as today's name of a renamed key.
    """

    values: dict[str, Any]
    raw: dict[str, Any]
    origins: dict[str, str]
    overrides: tuple[str, ...]
    choices: dict[str, Any]
    split: str | None = None
    sets_data_path: bool = False
    suggestion: Suggestion | None = None
    warnings: tuple[str, ...] = ()
