"""The words of the command line, in Hydra's grammar of overrides."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from components.types import UserError
from runner.catalog import EXPERIMENT

CONDITION = "runs.where"


def read(words: Sequence[str], groups: Collection[str]) -> tuple[list[Override], list[Override], list[str]]:
    """The choices of options, the settings of values, and what is wrong with the other words."""
    choices: list[Override] = []
    settings: list[Override] = []
    problems: list[str] = []
    parser = OverridesParser.create()
    for word in words:
        try:
            override = parser.parse_override(_quoted(word))
        except HydraException:
            key, _, text = word.partition("=")
            quoted = f", '{key}=\"{text}\"'" if text and '"' not in text else ""
            problems.append(f"{word}: write group=option or key=value, and quote odd characters{quoted}")
            continue
        chooses = override.key_or_group in groups and not isinstance(override.value(), dict)
        if reason := _refusal(override, chooses):
            problems.append(f"{word}: {reason}")
        else:
            (choices if chooses else settings).append(override)
    return choices, settings, problems


def label(override: Override) -> str:
    """Who set a value, for messages."""
    return f"the command line ({override.input_line})"


def apply(tree: DictConfig, setting: Override) -> None:
    """Sets a key of an open tree, whether or not a file lists it: any parameter of a target may be given.

    Raises UserError where the tree has no such place.
    """
    key = setting.key_or_group
    owner, _, name = key.rpartition(".")
    try:
        if not setting.is_delete():
            OmegaConf.update(tree, key, setting.value())
        elif OmegaConf.select(tree, key, throw_on_missing=False) is None:
            raise UserError(f"{setting.input_line}: there is no {key} to leave out")
        else:
            del (OmegaConf.select(tree, owner) if owner else tree)[name]
    except OmegaConfBaseException as error:
        raise UserError(f"{setting.input_line}: {str(error).splitlines()[0]}") from error


def _quoted(word: str) -> str:
    """A condition on runs in quotes, which the grammar wants around `=` and `>`: `runs.where=seed > 3`."""
    key, _, text = word.partition("=")
    if key != CONDITION or text[:1] in ("'", '"') or text == "null":
        return word
    escaped = text.replace('"', '\\"')
    return f'{key}="{escaped}"'


def _refusal(override: Override, chooses: bool) -> str | None:
    name = override.key_or_group
    root = re.split(r"[./]", name)[0]
    if root == "hydra":
        return "Hydra's own settings have no effect here; see --help for what can be set"
    if override.package is not None:
        return f"a group has one place; write {name}=…"
    if override.is_sweep_override():
        return f"several values are a sweep; put -m before them, or write a list: {name}=[…]"
    if root == EXPERIMENT and not chooses:
        return f"an experiment is one name; write {EXPERIMENT}=NAME"
    if chooses and override.is_delete():
        return f"a choice can't be left out; write {name}=OPTION"
    if chooses and override.is_add():
        return f"leave the + away: {str(override.input_line).lstrip('+')}"
    return None
