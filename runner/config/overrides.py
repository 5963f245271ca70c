"""Parses, applies and formats the overrides of the command line, in Hydra's grammar."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from omegaconf.errors import GrammarParseError

from components.types import UserError
from runner.config.catalog import EXPERIMENT, FROM_PYTHON, read_default_options
from runner.config.hydra_words import explain_setting
from runner.config.slips import TABLES, explain_data_file, explain_word
from runner.override_text import quote_for_shell, quote_text
from runner.signature.parameters import read_settings_fields
from runner.signature.schema import find_list
from runner.signature.type_hints import find_problems, format_value
from runner.tree import REFERENCE_RULE, change_value, merge_values
from runner.user_code import packages_of_allow_option
from runner.yaml_file import OPTION_LIMITS

SHORTHANDS = {"output": "output.path"}  # a key that stands for a key below it, unless its value is a mapping
# Keys whose values are never a list
SINGLE_VALUES = ("run", "mode", "output.path", "data.path", "data.query", "data.split", "data.on_missing")
MODE_KEYS = ("runs", "output", "convert", "find_lr")  # the keys of modes that take no sweep
COMMAND_LINE = "the command line"  # starts the origin of a value that it sets
CONDITION_KEY = "runs.where"  # its value is a condition such as `seed > 3`
REPLACED_KEYS = ("sweep.over",)  # an override replaces their mappings, in place of adding keys to them
TEXT_KEYS = (CONDITION_KEY, "data.query")  # their values are plain text, unless these are in quotes
CHOOSING_KEYS = ("option", "_target_")  # keys below that of a part which choose it
COMPARISONS = ("==", "!=", "<=", ">=")  # in a condition, words that have an = but are no overrides
MAX_LENGTH = 10_000  # characters of an override
MAX_LENGTH_IN_MESSAGE = 200
# A key with a name in quotes, such as data.types."size (sqft)", and its value
QUOTED_NAME = re.compile(r"""([\w.]+)\.(["'])(.+?)\2((?:\.[\w.]+)?)=(.*)""", re.DOTALL)
LISTED_BRACKETS = re.compile(r"=\[.*[^\s,\[{(=:][\[({]")  # a bracket within an unquoted text of a list
CHARACTER_NAMES = {
    ",": "comma",
    "'": "single_quote",
    '"': "double_quote",
}  # of a file's dialect, such as data.delimiter
TRAILING_COMMA = re.compile(r",\s*(?=[\]}]|$)")
NESTING = {"[": 1, "{": 1, "(": 1, "]": -1, "}": -1, ")": -1}  # the change of depth by each bracket
STRUCTURAL_CHARACTERS = {*NESTING, *"'\","}  # a value without them is plain text


class ParsedOverrides(NamedTuple):
    """The overrides of a command.

    Attributes:
        choices: the overrides that choose options.
        settings: the overrides that set values.
        problems: a message for each override that is not valid.
    """

    choices: list[Override]
    settings: list[Override]
    problems: list[str]


def parse_overrides(overrides: Sequence[str], options: Mapping[str, Collection[str]]) -> ParsedOverrides:
    """Parses the overrides of a command.

    Args:
        overrides: the overrides.
        options: the options of each group.
    """
    parsed = ParsedOverrides([], [], [])
    valid: list[Override] = []
    for words in _group_split_words(overrides, options):
        text = " ".join(words)
        if excess := _describe_excess(text):
            parsed.problems.append(excess)
            continue
        if len(words) > 1:
            spelling = next(_iterate_valid(text))
            cause = "a value with spaces needs quotes" if "=" in words[0] else "spaces around = are not allowed"
            parsed.problems.append(f"{text}: {cause}. Write {quote_for_shell(spelling)}")
            if parse_override(spelling).is_sweep_override():
                continue
            text = spelling  # so that no other problem follows from it
        if len(several := _split_overrides(text, options)) > 1:
            shown = " ".join(map(quote_for_shell, several))
            parsed.problems.append(f"{text}: several overrides in one text. Write each as a word of its own: {shown}")
            continue
        if remedy := explain_word(text, options):
            parsed.problems.append(f"{text}: not a valid override. {remedy}")
            continue
        try:
            valid.append(parse_override(text))
        except UserError as error:
            parsed.problems.append(str(error))
            continue
    names_run = any(override.key_or_group == "run" and override.value() is not None for override in valid)
    chooses = [override.key_or_group in options and not _has_mapping(override.value()) for override in valid]
    last_choice = {each.key_or_group: number for number, each in enumerate(valid) if chooses[number]}
    for number, (override, is_choice) in enumerate(zip(valid, chooses, strict=True)):
        if not is_choice and number < last_choice.get(_find_chosen_part(override) or "", 0):
            continue  # `examples={option: pairs} examples=null`: the last one counts
        if problem := _find_problem(override, is_choice, may_sweep=not names_run):
            parsed.problems.append(f"{override.input_line}: {problem}")
        else:
            (parsed.choices if is_choice else parsed.settings).append(override)
    return parsed


def _group_split_words(overrides: Sequence[str], options: Mapping[str, Collection[str]]) -> Iterator[Sequence[str]]:
    """The overrides, each alone or with the words after it that a shell split from it at spaces."""
    start = 0
    while start < len(overrides):
        key, equals, _ = overrides[start].partition("=")
        end = start + 1
        if _is_split_key(overrides, start):
            end += 2 if overrides[end] == "=" else 1
        if key.strip() and (equals or end > start + 1) and key not in options and key != "mode":
            comparisons = COMPARISONS if key == CONDITION_KEY else ()
            while end < len(overrides) and (overrides[end] in comparisons or _is_stray(overrides, end, options)):
                end += 1
        if 0 < _depth(overrides[start]) <= OPTION_LIMITS.depth and _parse_or_none(overrides[start]) is None:
            ends = range(start + 2, len(overrides) + 1)
            end = next((last for last in ends if _depth(" ".join(overrides[start:last])) == 0), end)
        text = " ".join(overrides[start:end])
        if end > start + 1 and not _describe_excess(text) and not any(_iterate_valid(text)):
            end = start + 1
        yield overrides[start:end]
        start = end


def _split_overrides(text: str, options: Mapping[str, Collection[str]]) -> list[str]:
    """The overrides of a text that holds several, such as one from Python; else the text alone."""
    key, _, value = text.partition("=")
    roots = {*options, *read_settings_fields("Settings")} if key not in (CONDITION_KEY, "note") else set()
    words = text.split()
    is_override = (re.split(r"[.=]", word)[0] in roots and "=" in word for word in words)
    if len(words) == 1 or not all(is_override):
        return [text]
    is_quoted = value[:1] in ("'", '"') and _parse_or_none(text) is not None
    return [text] if is_quoted else words


def _is_stray(overrides: Sequence[str], position: int, options: Mapping[str, Collection[str]]) -> bool:
    """Whether a word of a command is neither an override, or its key, nor the name of a mode or an option."""
    word = overrides[position]
    is_other = "=" in word or word.startswith("~") or _is_split_key(overrides, position)
    return not is_other and bool(word.strip()) and explain_word(word, options) is None


def _is_split_key(overrides: Sequence[str], position: int) -> bool:
    """Whether a word is a key that spaces part from its value, as in `key = value` and `key =value`."""
    word, *later = overrides[position : position + 3]
    if "=" in word or not word.strip() or not later:
        return False
    if later[0] == "=":
        return len(later) > 1 and "=" not in later[1]
    return later[0].startswith("=") and not later[0].startswith("==")


def _depth(text: str) -> int:
    """How many brackets of a text are open at its end."""
    return sum(NESTING.get(character, 0) for character in text)


def _has_mapping(value: Any) -> bool:
    """Whether a value is a mapping or holds one: it sets values of parts, beside naming options."""
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_has_mapping, value)))


def _find_chosen_part(override: Override) -> str | None:
    """The key of the part, or of the parts, that a setting chooses as a whole. None: it sets a field."""
    key, value = override.key_or_group, override.value()
    parent, _, name = key.rpartition(".")
    if name in CHOOSING_KEYS:
        return parent
    chooses = not value.keys().isdisjoint(CHOOSING_KEYS) if isinstance(value, dict) else isinstance(value, list)
    return key if chooses else None


def drop_overridden(earlier: Iterable[str], later: Sequence[str]) -> list[str]:
    """The overrides of an earlier command, without those that a later command repeats or replaces."""
    replaced = {key for text in later if (key := _find_replaced_key(text)) is not None}
    return [text for text in earlier if text not in later and _find_replaced_key(text) not in replaced]


def _find_replaced_key(text: str) -> str | None:
    """The key whose value an override replaces; None for a mapping, which is merged, and for a deletion."""
    override = parse_override(text)
    return None if override.is_delete() or isinstance(override.value(), dict) else override.key_or_group


def describe_repetitions(overrides: Iterable[str]) -> list[str]:
    """A warning for each key that is set to different values. The last value counts, so a script may append values."""
    by_key: dict[str, list[str]] = {}
    for text in overrides:
        if (key := _find_replaced_key(text)) is not None:
            by_key[key] = [*(earlier for earlier in by_key.get(key, []) if earlier != text), text]
    return [
        f"{key} is set more than once ({' '.join(texts)}). The last one counts: {texts[-1]}"
        for key, texts in by_key.items()
        if len(texts) > 1
    ]


def parse_override(text: str) -> Override:
    """Parses an override in Hydra's grammar. Raises UserError, with a valid spelling if one is likely."""
    if not text.strip():
        raise UserError("an override is empty. Write group=option or key=value.")
    if excess := _describe_excess(text):
        raise UserError(excess)
    if match := QUOTED_NAME.fullmatch(text):
        return _parse_quoted_name(text, match)
    for spelling in _iterate_readings(text):
        if (override := _parse_or_none(spelling)) is not None:
            key = override.key_or_group
            is_short = key in SHORTHANDS and not override.is_delete() and not isinstance(override.value(), dict)
            return dataclasses.replace(override, key_or_group=SHORTHANDS[key]) if is_short else override
    remedy = explain_data_file(text) if Path(text).suffix.lower() in TABLES else None
    if remedy is None and LISTED_BRACKETS.search(text):
        remedy = "A text with brackets, braces or parentheses in a list stands in double quotes: 'key=[\"a[1].csv\"]'."
    remedy = remedy or "Write group=option or key=value, without spaces."
    key, equals, value = text.partition("=")
    parent, dot, name = key.rpartition(".")
    if equals and dot and " " in name.strip():
        remedy = f"Write {quote_for_shell(f'{parent}.{quote_text(name)}={value}')}"
    for spelling in itertools.islice(_iterate_valid(text), 1):
        remedy = f"Write {shlex.quote(spelling)}"
    raise UserError(f"{text}: not a valid override. {remedy}")


def _describe_excess(text: str) -> str | None:
    """The problem of an override that is too long or too deep to be parsed; None: it is neither."""
    depth = max(itertools.accumulate(NESTING.get(character, 0) for character in text), default=0)
    excess = f"nested more than {OPTION_LIMITS.depth} brackets deep" if depth > OPTION_LIMITS.depth else None
    if len(text) > MAX_LENGTH:
        excess = f"longer than {MAX_LENGTH:,} characters"
    return excess and f"{text[:MAX_LENGTH_IN_MESSAGE]}…: the override is {excess}. Write it into an experiment."


def _parse_quoted_name(text: str, match: re.Match[str]) -> Override:
    """Parses an override whose key has a name in quotes, which may have any character, as a mapping with that name."""
    key, _, name, below, value_text = match.groups()
    override = parse_override(f"{key}{below}={value_text}")
    if override.is_sweep_override() or override.is_delete():
        raise UserError(f"{text}: a key with a name in quotes takes one value. Write a sweep over it in an experiment.")
    value = override.value()
    for part in reversed([name, *below.split(".")[1:]]):
        value = {part: value}
    return dataclasses.replace(override, key_or_group=key, _value=value, value_type=ValueType.ELEMENT, input_line=text)


def _iterate_readings(text: str) -> Iterator[str]:
    """An override, and the same with its value in quotes if the value is plain text, such as `~/data` or `ä.csv`."""
    key, equals, value = text.partition("=")
    is_text = key in TEXT_KEYS and value[:1] not in ("'", '"') and value not in ("null", "???")
    if not is_text:
        yield text
    if is_text or (equals and not STRUCTURAL_CHARACTERS & set(value)):
        yield f"{key}={quote_text(value)}"


@functools.lru_cache(maxsize=1024)  # several checks read each override, and all runs of a sweep have most of them
def _parse_or_none(text: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, ValueError):  # ValueError: a number with more digits than Python reads
        return None


def _iterate_valid(text: str) -> Iterator[str]:
    """Likely spellings of an override that are valid, the most likely first."""
    return (spelling for spelling in _suggest_spellings(text) if _parse_or_none(spelling) is not None)


def _suggest_spellings(text: str) -> Iterator[str]:
    """Likely spellings of an override that can't be parsed, the most likely first."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if key.startswith("data.") and value in CHARACTER_NAMES:
        yield f"{key}={CHARACTER_NAMES[value]}"
    if equals:
        yield f"{key}={value}"
        yield f"{key}={TRAILING_COMMA.sub('', value)}"
        if value[:1] not in NESTING:
            yield f"{key}={quote_text(value)}"


def format_command(overrides: Sequence[str], *flags: str) -> str:
    """The command that repeats a run or a sweep, or the call from Python if a call passed the table.

    The note is part of the record's description, so the command leaves it out. It also leaves out `resume`, which
    continues a run.

    Args:
        overrides: the overrides.
        flags: the flags of the command, such as `-m`.
    """
    words = [word for word in overrides if not word.startswith(("note=", "resume="))]
    if (from_python := f"data={FROM_PYTHON}") in words:
        arguments = [*(repr(word) for word in words if word != from_python), "data=…"]
        return f"runner.{'multirun' if '-m' in flags else 'run'}({', '.join(arguments)})"
    allowed = [argument for name in packages_of_allow_option() for argument in ("--allow", name)]
    return shlex.join(["titrate", *flags, *allowed, *words])


def override_origin(override: Override) -> str:
    """The origin of a value that an override sets, for messages."""
    return f"{COMMAND_LINE} ({override.input_line})"


def apply_override(tree: Mapping[str, Any], setting: Override) -> dict[str, Any]:
    """The plain values with those that an override sets or deletes. It may set a key that is not in the tree.

    Raises:
        UserError: a list and a mapping can't be merged, or the key to delete does not exist.
    """
    key, value = setting.key_or_group, setting.value()
    *owner, name = key.split(".")

    def delete(parent: Any) -> Any:
        if isinstance(parent, list) and name.isdecimal() and int(name) < len(parent):
            return [*parent[: int(name)], *parent[int(name) + 1 :]]
        if isinstance(parent, dict) and name in parent:
            return {other: element for other, element in parent.items() if other != name}
        raise UserError(f"{setting.input_line}: there is no {key} to delete")

    def merge(earlier: Any) -> Any:
        if key in REPLACED_KEYS:
            return value
        if clash := describe_clash(earlier, value, key):
            raise UserError(f"{setting.input_line}: {clash}")
        return merge_values(earlier, value)

    try:
        if setting.is_delete():
            return cast(dict[str, Any], change_value(tree, owner, delete))
        return cast(dict[str, Any], change_value(tree, [*owner, name], merge))
    except IndexError as error:
        later = functools.reduce(lambda nested, part: {part: nested}, reversed([*owner, name]), value)
        raise UserError(f"{setting.input_line}: {describe_clash(tree, later)}") from error


def describe_error(error: Exception) -> str:
    """The first line of an error of OmegaConf, or the rule that a text with `${` breaks."""
    return REFERENCE_RULE if isinstance(error, GrammarParseError) else str(error).splitlines()[0]


def describe_clash(earlier: Any, later: Any, key: str = "", *, by_number: bool = False) -> str | None:
    """Describes the first place where a list meets a mapping, so that they can't be merged; None: there is none.

    Args:
        earlier: the earlier value, as plain values.
        later: the later value.
        key: the key of both.
        by_number: whether only numbers of elements that a list doesn't have are described.
    """
    if isinstance(earlier, dict) and isinstance(later, dict):
        names = [name for name in later if name in earlier]
        places = ((earlier[name], later[name], f"{key}.{name}" if key else name) for name in names)
        return next(filter(None, (describe_clash(*place, by_number=by_number) for place in places)), None)
    if isinstance(earlier, dict) and isinstance(later, list) and not by_number:
        if "_target_" in earlier:
            return f"{key} is one part, got the list {format_value(later)}. Write the name of one option."
        setting = f"{key}.{next(iter(earlier), 'NAME')}"
        return f"{key} is a mapping, got the list {format_value(later)}. Set its values by keys such as {setting}."
    if isinstance(earlier, list) and isinstance(later, dict):
        elements = {str(number): element for number, element in enumerate(earlier)}
        by_name = {str(name): value for name, value in later.items()}
        has_wrong_key = not by_name.keys() <= elements.keys()
        if not has_wrong_key and ((clash := describe_clash(elements, by_name, key, by_number=by_number)) or by_number):
            return clash
        got = f"the mapping {format_value(later)}"
        if has_wrong_key and len(later) == 1:
            got = f"the key {next(iter(later))}"
        remedy = f", or set an element by its number, such as {key}.0" if earlier else ""
        return f"{key} is a list of {len(earlier)}, got {got}. Write {key}=[…]{remedy}."
    return None


def _may_be_list(key: str) -> bool:
    """Whether the value of a key may be a list. Of a parameter of a part it may."""
    owner, _, name = key.rpartition(".")
    fields = (
        read_settings_fields("Training" if owner == "training" else "Settings") if owner in ("", "training") else {}
    )
    return name not in fields or not find_problems([], fields[name].hint, key)


def _find_problem(override: Override, is_choice: bool, *, may_sweep: bool) -> str | None:
    """The problem of an override that Hydra's grammar allows but Titrate doesn't; None: there is none."""
    name = override.key_or_group
    root = re.split(r"[./]", name)[0]
    if not name:
        return "the key before = is missing. Write group=option or key=value."
    if root == "hydra":
        return explain_setting(name)
    if override.package is not None:
        return f"@ is not allowed. Write {name}=…"
    if override.is_sweep_override():
        if root in MODE_KEYS and not name.endswith(".columns"):
            return "takes one value, and no sweep is over it. Choose one."
        if may_sweep and root not in MODE_KEYS:
            sweep = "several values need a sweep. Write -m before the overrides (in Python, call runner.multirun)"
            return f"{sweep}, or a list as one value: {name}=[…]" if _may_be_list(name) else sweep
        values = str(override.input_line).partition("=")[2]
        if name in SINGLE_VALUES:
            as_text = f'{name}="{values}"'
            if name == "data.path":
                files = shlex.quote(f"{name}=[{values}]")
                return f"several files must be a list. Write {files}, or {shlex.quote(as_text)} for a name with a comma"
            return f"takes one value. Run the command once for each. If it has a comma, write {shlex.quote(as_text)}"
        return f"several values must be a list. Write {shlex.quote(f'{name}=[{values}]')}"
    if (key := find_list(root)) is not None:
        value = str(override.input_line).partition("=")[2] or "OPTION"
        return f"{root} is the group of the elements of {key}. Write {quote_for_shell(f'{key}=[{value}]')}"
    if root == EXPERIMENT and not is_choice:
        return f"an experiment must be one name. Write {EXPERIMENT}=NAME."
    if is_choice and override.is_delete():
        return f"a group can't be deleted. Write {name}=OPTION."
    if is_choice and override.is_add():
        takes_several = isinstance(read_default_options()[name], list)
        instead = f"{name}=[…], the list of all options" if takes_several else str(override.input_line).lstrip("+")
        return f"+ is not allowed for a group. Write {instead}"
    return None
