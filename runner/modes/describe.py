"""The text of `titrate --help WORD …`: an option, a part, a group or a key of the configuration, and its parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from components.closest import closest_name, suggest_name
from components.types import UserError
from runner.config.catalog import (
    RUN_YAML,
    display_path,
    explain_missing_option,
    find_options,
    list_groups,
    read_default_options,
    read_notes,
    read_title,
)
from runner.config.check import DATA_KEYS
from runner.config.modes import MODES
from runner.config.option_parts import find_options_with, list_parameters, read_part
from runner.config.settings import SECTIONS
from runner.config.slips import suggest_help
from runner.modes.describe_class import TYPES, describe_class, list_types
from runner.modes.help import align, list_options, wrap
from runner.signature.allowed_parts import find_kind_problem, is_allowed_part, list_parts
from runner.signature.docstring import read_documentation
from runner.signature.hint_text import describe_hint
from runner.signature.kinds import KINDS
from runner.signature.parameters import REST, UNKNOWN, Parameter, read_settings_fields, read_signature
from runner.signature.schema import FILLED_IN, SCHEMA, find_list
from runner.signature.source import allowed_packages, find_definition
from runner.signature.type_hints import element_hint, part_kinds
from runner.user_code import is_user_code
from runner.yaml_file import OPTION_LIMITS, read

MEANINGS_OF_DATA_KEYS = {
    "split": "split of the run's data, for mode=evaluate, mode=predict and mode=look with run=…. By default test, or "
    "valid if there is no test split.",
    "on_missing": "for mode=evaluate and mode=predict only, of new rows (run=… data.path=…): what a missing value is "
    "where the training split had none. fill: a number is the mean of the training split, and a category is unknown.",
}
"""The keys of `data` that the modes for finished runs take, beside the parameters of the source."""
SETTING_LINE = re.compile(r"(?P<indent> *)(?P<name>\w+):[^#]*(?:#\s*(?P<comment>.*))?")  # of run.yaml


FEATURE_KEYS = {
    "target": (
        SCHEMA["feature.target"],
        "What is predicted, such as {_target_: components.feature.Label, key: species}. titrate --help "
        "components.feature lists the targets.",
    ),
    "targets": (SCHEMA["feature.targets"], "Several targets by name, in place of `target`, which is null then."),
    "columns": (SCHEMA["feature.columns"], "The feature columns by name, such as those of components.feature."),
    "inputs": (
        dict[str, tuple[str, ...]],
        "The names of the columns that each input of the architecture gets side by side, such as {numbers: [age, "
        "income]}. An architecture with one input takes any name for it.",
    ),
    "weight": (
        SCHEMA["feature.weight"],
        "The weights of the examples in the training objective: the key of a column of the data, such as population, "
        "or a column, such as components.feature.ExampleWeight.",
    ),
    "sample": (
        int | None,
        "The number of random rows of the training split that the columns are fitted on; null: all rows. The targets "
        "are fitted on all rows.",
    ),
}
"""The keys of a feature file, with the hint and the meaning of each."""


class Setting(NamedTuple):
    """A key at the root of the configuration, or in one of its sections.

    Attributes:
        hint: its type hint.
        default: its value in `conf/run.yaml`.
        meaning: its comment there; "": it has none.
    """

    hint: Any
    default: Any
    meaning: str


def describe(words: Sequence[str]) -> str:
    """Describes the words of a command: `optimizer=adam`, `optimizer`, `training.epochs` or `optax.adam`.

    Raises:
        UserError: all words that name nothing, each with the nearest name.
    """
    texts, problems = [], []
    for word in dict.fromkeys(words):
        try:
            texts.append("\n".join(_describe_word(word)))
        except UserError as error:
            problems.append(f"--help {word}: {error}")
    if problems:
        raise UserError("\n".join(problems))
    return "\n\n".join(texts)


def _describe_word(word: str) -> list[str]:
    """The lines for a word."""
    key, _, value = word.lstrip("+~").partition("=")
    group, _, parameter = key.partition(".")
    settings = read_settings()
    known = [*settings, *list_groups()]
    if key == "mode" and value:
        return [*_describe_mode(value, settings)]
    if key in settings:
        return [*_describe_setting(key, settings)]
    if group in list_groups() and parameter:
        return [*_describe_parameter_of_group(group, parameter)]
    if group in list_groups():
        names = [name.strip() for name in value.strip("[]").split(",") if name.strip() not in ("", "null")]
        texts = ["\n".join(_describe_option(group, name)) for name in names]
        return ["\n\n".join(texts)] if texts else [*_describe_group(group)]
    if key == TYPES:
        return list_types()
    if any(key == kind.packages[0] for kind in KINDS.values()):
        return [*_list_parts(key)]
    in_allowed_package = key.startswith(tuple(f"{name}." for name in allowed_packages()))
    if not in_allowed_package and ("." not in key or closest_name(key, known)):
        raise UserError(f"there is no {key}. {suggest_help(key, known)}")
    return [*_describe_target(key)]


def read_settings() -> dict[str, Setting]:
    """The keys at the root that are no groups, and the keys of their sections, by dotted key."""
    defaults = read(RUN_YAML, display_path(RUN_YAML), OPTION_LIMITS)
    comments: dict[str, str] = {}
    section = ""
    for match in map(SETTING_LINE.fullmatch, RUN_YAML.read_text(encoding="utf-8").splitlines()):
        if match:
            section = section if match["indent"] else match["name"]
            key = f"{section}.{match['name']}" if match["indent"] else match["name"]
            comments[key] = match["comment"] or ""
    settings = {}
    for name, field in read_settings_fields("Settings").items():
        settings[name] = Setting(field.hint, defaults[name], comments[name])
        for inner, inner_field in read_settings_fields(SECTIONS[name]).items() if name in SECTIONS else ():
            key = f"{name}.{inner}"
            settings[key] = Setting(inner_field.hint, defaults[name][inner], comments[key])
    return settings


def _describe_setting(key: str, settings: Mapping[str, Setting]) -> Iterator[str]:
    described = {key: settings[key]}
    if key in SECTIONS:
        described = {name: setting for name, setting in settings.items() if name.startswith(f"{key}.")}
        yield from wrap(f"{key}: {settings[key].meaning}. Its keys, {key}.NAME=VALUE:")
    for name, setting in described.items():
        text = f"{describe_hint(setting.hint)}. Default: {_format_yaml(setting.default)}"
        yield from _format_parameter(name, text, setting.meaning)
    if key == "mode":
        yield from ["", *align({f"mode={name}": mode.description for name, mode in MODES.items()})]


def _describe_mode(name: str, settings: Mapping[str, Setting]) -> Iterator[str]:
    """The lines for a mode: what it does, and the keys that matter to it."""
    if name not in MODES:
        raise UserError(f"there is no mode {name}. {suggest_name(name, MODES)}")
    yield from wrap(f"mode={name}  {MODES[name].description}")
    for key in MODES[name].keys:
        yield ""
        yield from (
            _describe_data_key(key.removeprefix("data."))
            if key.startswith("data.")
            else _describe_setting(key, settings)
        )


def _describe_group(group: str) -> Iterator[str]:
    options = {f"{group}={option.name}": option.title for option in list_options(find_options(), group)}
    if (key := find_list(group)) is not None:
        yield from wrap(f"The options of {group}, in the list {key}: '{key}=[{{option: OPTION, NAME: VALUE}}]'.")
    else:
        default = read_default_options()[group]
        takes_several = f" It takes several: {group}=[OPTION,OPTION]." if isinstance(default, list) else ""
        yield from wrap(f"The options of {group}. Default: {_format_yaml(default)}.{takes_several}")
    yield from ["", *align(options)]
    if group == "data":
        yield ""
        for name in DATA_KEYS:
            yield from _describe_data_key(name)
    yield from ["", *wrap(f"titrate --help {next(iter(options))} describes an option and its parameters.")]


def _describe_option(group: str, name: str) -> Iterator[str]:
    """The lines for an option: its file, its part and the parameters. A file without a part is printed whole."""
    files = find_options().files[group]
    if name not in files:
        hint = explain_missing_option(group, name) or suggest_name(name, files)
        raise UserError(f"unknown option {name} of {group}. {hint}")
    path = files[name]
    yield from wrap(f"{group}={name}  {read_title(path)}")
    yield from wrap(read_notes(path))
    yield ""
    yield from wrap(f"file    {path}")
    part = read_part(group, name, path)
    if part is None:
        yield from ["", *path.read_text(encoding="utf-8").splitlines()]
        return
    if (key := find_list(group)) is not None:
        key, hint = f"{key}.0", element_hint(SCHEMA[key], 0)
    elif isinstance(read_default_options()[group], list):
        key, hint = f"{group}.{name}", element_hint(SCHEMA[group], name)
    else:
        key, hint = group, SCHEMA[group]
    yield from _describe_part(part["_target_"], part_kinds(hint), key, part)


def _describe_target(target: str) -> Iterator[str]:
    """The lines for a part that is named by its dotted path. The kind of a user's part is not known."""
    if problem := find_kind_problem(target):
        if lines := describe_class(target):
            return iter(lines)
        raise UserError(problem)
    kinds = () if is_user_code(target) else tuple(name for name in KINDS if is_allowed_part(target, [name]))
    return _describe_part(target, kinds)


def _describe_part(
    target: str, kinds: Sequence[str], key: str = "", values: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """The lines for a part.

    Args:
        target: its dotted path.
        kinds: its kinds.
        key: its key in the configuration; "": it has none.
        values: the values of parameters that its option sets.
    """
    documentation = read_documentation(target)
    titles = " and ".join(dict.fromkeys(KINDS[name].title for name in kinds))
    yield from wrap(f"part    {target}{f', {titles}' if titles else ''}")
    if (definition := find_definition(target)) is not None:
        yield from wrap(f"source  {definition.module.path}")
    if documentation.summary:
        yield from ["", *wrap(documentation.summary)]
    parameters = read_signature(target)
    if parameters is None:
        yield from ["", "Its source does not list its parameters."]
        return
    yield from ["", f"Parameters{f', {key}.NAME=VALUE' if key else ''}:" if parameters else "It has no parameters."]
    filled_in = {name: text for kind in kinds for name, text in FILLED_IN.get(kind, {}).items()}
    for name, parameter in parameters.items():
        meaning = documentation.meanings.get(name, "")
        if name in filled_in:
            yield from _format_parameter(name, filled_in[name], "")
        elif name == REST:
            yield from _format_parameter("NAME", describe_hint(parameter.hint), "Any number of these, by name.")
        else:
            yield from _format_parameter(name, _describe_values(name, parameter, values or {}), meaning)


def _describe_parameter_of_group(group: str, name: str) -> Iterator[str]:
    """The lines for a parameter: once for all options of the group in which it is the same."""
    if group == "data" and name in DATA_KEYS:
        yield from _describe_data_key(name)
        return
    files = find_options().files[group]
    option, _, inner = name.partition(".")
    is_of_option = bool(inner) and option in files  # update.ema.decay, of a group with several options
    name = inner if is_of_option else name
    found = find_options_with(group, name)
    if is_of_option:
        found = {each: parameter for each, parameter in found.items() if each == option}
    if not found and group == "feature" and name in FEATURE_KEYS:
        yield from _format_parameter(name, describe_hint(FEATURE_KEYS[name][0]), FEATURE_KEYS[name][1])
        return
    if not found and option in files and not inner:
        raise UserError(f"{option} is an option of {group}. See titrate --help {group}={option}")
    if not found:
        known = FEATURE_KEYS if group == "feature" else list_parameters(group)
        names = [each for each in known if each.isidentifier()]
        if not names:
            raise UserError(f"the options of {group} have no parameters of their own. Run: titrate --help {group}")
        raise UserError(f"no option of {group} has the parameter {name}. {suggest_name(name, names)}")
    texts: dict[str, list[str]] = {}
    for option, parameter in found.items():
        part = read_part(group, option, files[option]) or {}
        meaning = read_documentation(part["_target_"]).meanings.get(name, "")
        lines = _format_parameter(name, _describe_values(name, parameter, part), meaning)
        texts.setdefault("\n".join(lines), []).append(f"{group}={option}")
    for text, options in texts.items():
        yield from [*wrap(f"of {', '.join(options)}:"), text]


def _describe_data_key(name: str) -> list[str]:
    return _format_parameter(f"data.{name}", describe_hint(DATA_KEYS[name].hint), MEANINGS_OF_DATA_KEYS[name])


def _list_parts(package: str) -> Iterator[str]:
    """The lines for the parts of a package, such as the feature columns of `components.feature`."""
    parts = {part: "" for name, kind in KINDS.items() if kind.packages[0] == package for part in list_parts(name)}
    for part in parts:
        parts[part] = read_documentation(part).summary
    yield from [f"The parts of {package}:", "", *align(parts)]
    yield from ["", *wrap(f"titrate --help {next(iter(parts))} describes a part and its parameters.")]


def _describe_values(name: str, parameter: Parameter, values: Mapping[str, Any]) -> str:
    """The values that a parameter allows, and its default: that of its option, else that of its signature."""
    hint, default = describe_hint(parameter.hint), values.get(name, parameter.default)
    if default == "???" or (parameter.required and name not in values):
        return f"{hint}. It has no default: set it."
    return hint if default is UNKNOWN else f"{hint}. Default: {_format_yaml(default)}"


def _format_parameter(name: str, values: str, meaning: str) -> list[str]:
    """A parameter with its values, and below it, its meaning."""
    lines = wrap(f"  {name}: {values}", indent=6)
    return [*lines, *wrap(f"      {meaning}", indent=6)] if meaning else lines


def _format_yaml(value: Any) -> str:
    """A value in one line of YAML."""
    if isinstance(value, float):  # YAML's 1.0e-08 is 1e-08 for everybody else
        return repr(value)
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1 << 30)
    return text.removesuffix("...\n").strip()
