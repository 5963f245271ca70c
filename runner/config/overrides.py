"""Parses the words of the command line, in Hydra's grammar of overrides."""

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
from runner.yaml_file import OPTION_LIMITS

CONDITION = "runs.where"
LONGEST_WORD = 10_000  # characters of a word
SHOWN = 200  # characters of a word in a message
TRAILING = re.compile(r",\s*(?=[\]}]|$)")  # a trailing comma
BRACKETS = {"[": 1, "{": 1, "(": 1, "]": -1, "}": -1, ")": -1}
STRUCTURE = {*BRACKETS, *"'\","}  # characters that plain text does not have


def classify_overrides(
    words: Sequence[str], groups: Collection[str]
) -> tuple[list[Override], list[Override], list[str]]:
    """Parses the words of a command.

    Args:
        words: the words.
        groups: the names of the groups.

    Returns:
        The choices of options, the settings of values, and a message for each wrong word.
    """
    choices: list[Override] = []
    settings: list[Override] = []
    problems: list[str] = []
    for word in words:
        try:
            override = parse_override(word)
        except UserError as error:
            problems.append(str(error))
            continue
        chooses = override.key_or_group in groups and not isinstance(override.value(), dict)
        if reason := _find_refusal(override, chooses):
            problems.append(f"{word}: {reason}")
        else:
            (choices if chooses else settings).append(override)
    return choices, settings, problems


def drop_overridden(words: Iterable[str], others: Sequence[str]) -> list[str]:
    """The words of an earlier command, without those that a later command repeats or overrides."""
    replaced = {key for word in others if (key := _replaced_key(parse_override(word))) is not None}
    return [word for word in words if word not in others and _replaced_key(parse_override(word)) not in replaced]


def _replaced_key(override: Override) -> str | None:
    """The key whose value a word replaces; None for a mapping, which is merged, and for a deletion."""
    return None if override.is_delete() or isinstance(override.value(), dict) else override.key_or_group


def find_repeated(words: Iterable[str]) -> list[str]:
    """A message for each key with different values. The last one counts, so that a script may append words."""
    by_key: dict[str, list[str]] = {}
    for word in words:
        if (key := _replaced_key(parse_override(word))) is not None:
            by_key[key] = [*(earlier for earlier in by_key.get(key, []) if earlier != word), word]
    return [f"{' '.join(same)}: the last one counts, {same[-1]}" for same in by_key.values() if len(same) > 1]


def parse_override(word: str) -> Override:
    """Parses a word in Hydra's grammar. Raises UserError, with a valid spelling if one is likely."""
    if not word.strip():
        raise UserError("one of the words is empty; write group=option or key=value")
    depth = max(itertools.accumulate(BRACKETS.get(character, 0) for character in word), default=0)
    if len(word) > LONGEST_WORD or depth > OPTION_LIMITS.depth:
        limit = f"{LONGEST_WORD:,} characters" if len(word) > LONGEST_WORD else f"{OPTION_LIMITS.depth} brackets deep"
        raise UserError(f"{word[:SHOWN]}…: this word is more than {limit}; write it into a file in experiments/")
    for spelling in _iterate_readings(word):
        if (override := _parse_or_none(spelling)) is not None:
            return override
    near = next((spelling for spelling in _suggest_spellings(word) if _parse_or_none(spelling) is not None), None)
    hint = "write group=option or key=value, without spaces" if near is None else f"write {shlex.quote(near)}"
    raise UserError(f"{word}: can't be read; {hint}")


def quote_text(text: str) -> str:
    """Quotes a text for Hydra's grammar, in which a backslash is an escape only before a quote."""
    return '"' + re.sub(r'(\\*)("|\Z)', lambda found: 2 * found[1] + (r"\"" if found[2] else ""), text) + '"'


def _iterate_readings(word: str) -> Iterator[str]:
    """The word itself, and the word with its value in quotes if that is plain text, such as `~/data` or `ä.csv`."""
    key, equals, text = word.partition("=")
    condition = key == CONDITION and text[:1] not in ("'", '"') and text != "null"  # `seed > 3`
    if not condition:
        yield word
    if condition or (equals and not STRUCTURE & set(text)):
        yield f"{key}={quote_text(text)}"


def _parse_or_none(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, ValueError):  # ValueError: a number with more digits than Python reads
        return None


def _suggest_spellings(word: str) -> Iterator[str]:
    """Likely spellings of a word that can't be parsed, the likeliest first."""
    key, equals, text = (part.strip() for part in word.partition("="))
    if equals:
        yield f"{key}={text}"
        yield f"{key}={TRAILING.sub('', text)}"
        if text[:1] not in BRACKETS:
            yield f"{key}={quote_text(text)}"


def override_origin(override: Override) -> str:
    """The origin of a value that the command line sets, for messages."""
    return f"the command line ({override.input_line})"


def apply_override(tree: DictConfig, setting: Override) -> None:
    """Applies a setting of the command line to a tree. The key may be new: a target may have more parameters.

    Raises:
        UserError: the tree has no place for the key.
    """
    key = setting.key_or_group
    owner, _, name = key.rpartition(".")
    try:
        if not setting.is_delete():
            OmegaConf.update(tree, key, setting.value())
            return
        parent = OmegaConf.select(tree, owner) if owner else tree
        place = int(name) if isinstance(parent, ListConfig) else name
        if not isinstance(parent, ListConfig | DictConfig) or place not in _valid_keys(parent):
            raise UserError(f"{setting.input_line}: there is no {key} to leave out")
        del parent[place]  # type: ignore[arg-type]
    except UserError:
        raise
    except (OmegaConfBaseException, ValueError) as error:  # ValueError: a name where a list needs an index
        raise UserError(f"{setting.input_line}: {str(error).splitlines()[0]}") from error


def _valid_keys(parent: ListConfig | DictConfig) -> Collection[Any]:
    return range(len(parent)) if isinstance(parent, ListConfig) else list(parent)


def _find_refusal(override: Override, chooses: bool) -> str | None:
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
