"""The files that `mode=init` writes for a table or images: the suggested data, feature and experiment, to be edited."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.closest import format_name
from components.input_files import describe_paths
from runner.config.catalog import EXPERIMENT, find_options, read_default_options
from runner.config.compose import compose
from runner.config.config import Config
from runner.record.naming import data_name
from runner.suggest.suggestions import Suggestion
from runner.yaml_file import dump_entry, dump_line

COMMAND_KEYS = ("mode", "folder", "fresh", "resume", "run", "output", "convert", "find_lr", "runs", "quiet", EXPERIMENT)
"""Keys that belong to a command, not to an experiment."""
IMAGE = "components.feature.Image"


def make_table_files(config: Config, suggestion: Suggestion) -> tuple[str, dict[Path, bytes]]:
    """The name of the experiment, and the files' contents by relative path."""
    name = data_name(config)
    name = _make_name("query" if name == "sql" else name)
    texts = {
        Path("conf", "data", f"{name}.yaml"): _format_data_file(config, suggestion),
        Path("conf", "feature", f"{name}.yaml"): _format_feature_file(config, suggestion),
        Path("experiments", f"{name}.yaml"): _format_experiment_file(config, suggestion, name),
    }
    return name, {path: text.encode() for path, text in texts.items()}


def _make_name(path: str) -> str:
    """The name of the table's file as an identifier, with `_data` added if Titrate has an option of that name."""
    name = re.sub(r"\W+", "_", Path(path).stem).strip("_") or "table"
    options = {option for group in ("data", "feature", EXPERIMENT) for option in find_options().files[group]}
    folders = ("conf/data", "conf/feature", "experiments")
    user_options = {path.stem for folder in folders for path in Path(folder).glob("*.yaml")}
    return f"{name}_data" if name in options - user_options else name


def _format_data_file(config: Config, suggestion: Suggestion) -> str:
    data = config.values["data"]
    path = _make_printable(describe_paths(data["path"]) if "path" in data else "")
    origin = _make_printable(suggestion.origin)
    types = data.get("types")
    table, images = f"table {path or 'of a database'}, and the types of its columns", f"images {path}"
    if "sources" in data:
        table, images = "tables, and the types of their columns", "images of several sources"
    lines = [f"# The {table if types else images}, {origin}."]
    lines += [dump_entry(key, value) for key, value in data.items() if key != "types"]
    lines += ["types:", *(_indent(dump_entry(name, kind)) for name, kind in types.items())] if types else []
    return "\n".join(lines) + "\n"


def _format_feature_file(config: Config, suggestion: Suggestion) -> str:
    feature, profiles = config.values["feature"], {row[0]: row for row in suggestion.table[1:]}
    target, several = feature["target"], feature.get("targets") or {}
    targets = "targets, and the columns that predict them" if several else "target, and the columns that predict it"
    lines = [f"# The {targets}, {_make_printable(suggestion.origin)}."]
    lines += [f"# {_make_printable(note).removesuffix('.')}." for note in suggestion.notes]
    lines.append(f"{dump_entry('target', target)}{_format_profile_comment(target or {}, profiles)}")
    for group in ("targets", "columns") if several else ("columns",):
        lines.append(f"{group}:")
        for name, part in feature[group].items():
            lines.append(_indent(dump_entry(name, part)) + _format_profile_comment(part, profiles))
    lines += ["inputs:", *(_indent(dump_entry(name, columns)) for name, columns in feature["inputs"].items())]
    others = {key: value for key, value in feature.items() if key not in ("target", "targets", "columns", "inputs")}
    lines += [dump_entry(key, value) for key, value in others.items()]
    return "\n".join(lines) + "\n"


def _make_printable(text: str) -> str:
    """A text for a comment: one line without control characters, which YAML doesn't allow in comments either."""
    line = " ".join(text.splitlines())
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)


def _indent(entry: str) -> str:
    return textwrap.indent(entry, "  ")


def _format_profile_comment(part: Mapping[str, Any], profiles: Mapping[str, Any]) -> str:
    """A comment with the type of the raw column that a part reads, its missing and its distinct values."""
    key = part.get("key")
    if not isinstance(key, str) or format_name(key) not in profiles:
        return ""
    _, kind, missing, distinct, _ = profiles[format_name(key)]
    counts = [f"{count} {state}" for count, state in ((missing, "missing"), (distinct, "distinct")) if count]
    return f" # {', '.join([kind, *counts])}"


def _format_experiment_file(config: Config, suggestion: Suggestion, name: str) -> str:
    """The experiment: what was inferred, to be edited, and what differs from the defaults."""
    chosen = _find_options(config, suggestion, name)
    options = [dump_entry(f"override /{group}", option) for group, option in chosen.items()]
    feature = config.values["feature"]
    are_images = all(part["_target_"] == IMAGE for part in feature["columns"].values())
    predictors = "images" if are_images else "other columns"
    targets = [feature["target"]] if feature["target"] is not None else [*feature["targets"].values()]
    target = _make_printable(" and ".join(str(each["key"]) for each in targets))
    lines = [
        f"# Question:  How well do the {predictors} predict {target}?",
        "# Result:    not measured yet",
        "# Time:      not measured yet",
        f"# Command:   titrate experiment={name}",
        "defaults:",
        *(f"  - {option}" for option in options),
    ]
    for key, value in _find_values(config, suggestion).items():
        lines += _list_operations(value) if key == "operations" else [dump_entry(key, value)]
    return "\n".join(lines) + "\n"


def _list_operations(operations: Iterable[Any]) -> list[str]:
    return ["operations:", *(f"  - {dump_line(each)}" for each in operations)]


def _find_options(config: Config, suggestion: Suggestion, name: str) -> dict[str, Any]:
    """The options by group that were inferred, or differ from the default."""
    chosen = {**_single_choices(config, suggestion), "data": name, "feature": name}
    return {
        group: chosen[group]
        for group, default in read_default_options().items()
        if group in chosen and (chosen[group] != default or group in suggestion.choices)
    }


def _single_choices(config: Config, suggestion: Suggestion) -> dict[str, Any]:
    """The options by group, without groups that have an option for each of several targets."""
    by_target = {place.partition(".")[0] for place in suggestion.choices if "." in place}
    return {group: option for group, option in config.choices.items() if group not in by_target}


def _find_values(config: Config, suggestion: Suggestion) -> dict[str, Any]:
    """The values that were inferred, or differ from those of the chosen options."""
    choices = _single_choices(config, suggestion)
    others = {group: option for group, option in choices.items() if group not in ("data", "feature", EXPERIMENT)}
    unchanged = compose([f"{group}={dump_line(option)}" for group, option in others.items()]).raw
    values = {key: value for key, value in config.raw.items() if key not in (*COMMAND_KEYS, "data", "feature")}
    return dict(_find_written(values, unchanged, suggestion.values))


def _find_written(
    values: Mapping[str, Any], others: Mapping[str, Any], inferred: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """The keys and values of a tree that another tree lacks, or that are inferred."""
    for key, value in values.items():
        other, own = others.get(key), inferred.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            if inner := dict(_find_written(value, other, own if isinstance(own, dict) else {})):
                yield key, inner
        elif value != other or key not in others or key in inferred:
            yield key, value
