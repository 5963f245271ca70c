"""The words of the command line, in Hydra's grammar of overrides."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from components.types import UserError
from runner.config.catalog import EXPERIMENT
from runner.yaml_file import OPTION

CONDITION = "runs.where"
LONGEST = 10_000  # characters of a word
SHOWN = 200  # characters of a word in a message
TRAILING = re.compile(r",\s*(?=[\]}]|$)")  # a comma that nothing follows
BRACKETS = {"[": 1, "{": 1, "(": 1, "]": -1, "}": -1, ")": -1}
STRUCTURE = {*BRACKETS, *"'\","}  # characters that more than plain text has


def parse_overrides(words: Sequence[str], groups: Collection[str]) -> tuple[list[Override], list[Override], list[str]]:
    """The choices of options, the settings of values, and what is wrong with the other words."""
    choices: list[Override] = []
    settings: list[Override] = []
    problems: list[str] = []
    for word in words:
        try:
            override = parse(word)
        except UserError as error:
            problems.append(str(error))
            continue
        chooses = override.key_or_group in groups and not isinstance(override.value(), dict)
        if reason := _refusal(override, chooses):
            problems.append(f"{word}: {reason}")
        else:
            (choices if chooses else settings).append(override)
    return choices, settings, problems


def drop_overridden(words: Iterable[str], others: Sequence[str]) -> list[str]:
    """Words of an earlier command, without those whose values the words of a later one replace, and its own."""
    replaced = {key for word in others if (key := _replaces(parse(word))) is not None}
    return [word for word in words if word not in others and _replaces(parse(word)) not in replaced]


def _replaces(override: Override) -> str | None:
    """The key whose value a word replaces; None: a mapping adds to another, and a key that is left out has no value."""
    return None if override.is_delete() or isinstance(override.value(), dict) else override.key_or_group


def find_repeated(words: Iterable[str]) -> list[str]:
    """What to say of words that give one key different values: the last one counts, so that a script may append."""
    found: dict[str, list[str]] = {}
    for word in words:
        if (key := _replaces(parse(word))) is not None:
            found[key] = [*(one for one in found.get(key, []) if one != word), word]
    return [f"{' '.join(some)}: the last one counts, {some[-1]}" for some in found.values() if len(some) > 1]


def parse(word: str) -> Override:
    """A word in Hydra's grammar; raises UserError, with a spelling that can be read where there is one."""
    if not word.strip():
        raise UserError("one of the words is empty; write group=option or key=value")
    depth = max(itertools.accumulate(BRACKETS.get(character, 0) for character in word), default=0)
    if len(word) > LONGEST or depth > OPTION.depth:
        limit = f"{LONGEST:,} characters" if len(word) > LONGEST else f"{OPTION.depth} brackets deep"
        raise UserError(f"{word[:SHOWN]}…: this word is more than {limit}; write it into a file in experiments/")
    for spelling in _readings(word):
        if (found := _parsed(spelling)) is not None:
            return found
    near = next((one for one in _spellings(word) if _parsed(one) is not None), None)
    hint = "write group=option or key=value, without spaces" if near is None else f"write {shlex.quote(near)}"
    raise UserError(f"{word}: can't be read; {hint}")


def quoted(text: str) -> str:
    """A text in the quotes of Hydra's grammar, where backslashes count before quotes only."""
    return '"' + re.sub(r'(\\*)("|\Z)', lambda found: 2 * found[1] + (r"\"" if found[2] else ""), text) + '"'


def _readings(word: str) -> Iterator[str]:
    """The word as it stands, and with its value as text where that has no structure, such as `~/data` or `ä.csv`."""
    key, equals, text = word.partition("=")
    condition = key == CONDITION and text[:1] not in ("'", '"') and text != "null"  # `seed > 3`
    if not condition:
        yield word
    if condition or (equals and not STRUCTURE & set(text)):
        yield f"{key}={quoted(text)}"


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, ValueError):  # ValueError: of a number with more digits than Python reads
        return None


def _spellings(word: str) -> Iterator[str]:
    """What may have been meant by a word that can't be read, the likeliest first."""
    key, equals, text = (part.strip() for part in word.partition("="))
    if equals:
        yield f"{key}={text}"
        yield f"{key}={TRAILING.sub('', text)}"
        if text[:1] not in BRACKETS:
            yield f"{key}={quoted(text)}"


def override_origin(override: Override) -> str:
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
            return
        parent = OmegaConf.select(tree, owner) if owner else tree
        place = int(name) if isinstance(parent, ListConfig) else name
        if not isinstance(parent, ListConfig | DictConfig) or place not in _places(parent):
            raise UserError(f"{setting.input_line}: there is no {key} to leave out")
        del parent[place]  # type: ignore[arg-type]
    except UserError:
        raise
    except (OmegaConfBaseException, ValueError) as error:  # ValueError: a name where a list has places
        raise UserError(f"{setting.input_line}: {str(error).splitlines()[0]}") from error


def _places(parent: ListConfig | DictConfig) -> Collection[Any]:
    return range(len(parent)) if isinstance(parent, ListConfig) else list(parent)


def _refusal(override: Override, chooses: bool) -> str | None:
    name = override.key_or_group
    root = re.split(r"[./]", name)[0]
    if not name:
        return "a key is missing before the =; write group=option or key=value"
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
