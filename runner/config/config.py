"""The composed configuration of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from runner.suggest.suggestions import Suggestion


class OptionProblem(NamedTuple):
    """A problem of an option inside a configuration that can't be loaded.

    Attributes:
        key: the dotted key of its place.
        problem: the message for the user, without the key.
        origin: the origin of the option's name.
    """

    key: str
    problem: str
    origin: str


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
        on_missing: `data.on_missing`, what new rows do with a missing value where the training split had none.
        names_new_rows: whether an override sets `data.path`, `data.query` or `data.function`, or another `data.uri`, in
            those modes.
        suggestion: the suggestion for the source; None: there is none.
        option_problems: the problem of each option inside the configuration that can't be loaded.
        warnings: warnings for the user, such as today's name of a renamed key.
        members: the configurations of the other runs of an ensemble, with the overrides of the command. This one is
            that of the first run.
    """

    values: dict[str, Any]
    raw: dict[str, Any]
    origins: dict[str, str]
    overrides: tuple[str, ...]
    choices: dict[str, Any]
    split: str | None = None
    on_missing: Literal["error", "fill"] = "error"
    names_new_rows: bool = False
    suggestion: Suggestion | None = None
    option_problems: tuple[OptionProblem, ...] = ()
    warnings: tuple[str, ...] = ()
    members: tuple[Config, ...] = ()

    def with_batch_size(self, size: int) -> Config:
        """The same configuration with a number in place of a batch size of `auto`."""
        training = self.values["training"] | {"batch_size": size}
        return replace(self, values=self.values | {"training": training})
