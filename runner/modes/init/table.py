"""What was inferred for a table, written down: as `data`, `feature` and an experiment, to keep and to edit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from runner.config.catalog import EXPERIMENT, find_options, read_default_options
from runner.config.compose import compose
from runner.config.config import Config
from runner.suggest.suggestions import Suggestion

OF_A_COMMAND = ("mode", "folder", "fresh", "resume", "run", "output", "runs", "quiet", EXPERIMENT)


def files(config: Config, suggested: Suggestion) -> tuple[dict[Path, bytes], str]:
    """The files by their places, under a name that none of Titrate's own has; and what to do next."""
    name = _name(str(config.values["data"]["path"]))
    texts = {
        Path("conf", "data", f"{name}.yaml"): _data(config, suggested),
        Path("conf", "feature", f"{name}.yaml"): _feature(config, suggested),
        Path("experiments", f"{name}.yaml"): _experiment(config, name),
    }
    return {path: text.encode() for path, text in texts.items()}, f"\nNext:\n  titrate experiment={name}"


def _name(path: str) -> str:
    """The file's own name as a word; another where Titrate has an option of that name."""
    word = re.sub(r"\W+", "_", Path(path).stem).strip("_") or "table"
    ours = {option for group in ("data", "feature", EXPERIMENT) for option in find_options().files[group]}
    mine = {
        path.stem for folder in ("conf/data", "conf/feature", "experiments") for path in Path(folder).glob("*.yaml")
    }
    return f"{word}_csv" if word in ours - mine else word


def _data(config: Config, suggested: Suggestion) -> str:
    data = config.values["data"]
    lines = [f"# The table {data['path']}, and the types of its columns, {suggested.origin}."]
    lines += [f"{key}: {_flow(value)}" for key, value in data.items() if key != "types"]
    lines += ["types:", *(f"  {_flow(key)}: {kind}" for key, kind in (data.get("types") or {}).items())]
    return "\n".join(lines) + "\n"


def _feature(config: Config, suggested: Suggestion) -> str:
    feature, told = config.values["feature"], {row[0]: row for row in suggested.table[1:]}
    lines = [f"# What is predicted from what, {suggested.origin}."]
    lines += [f"# {' '.join(note.split())}." for note in suggested.notes]
    lines += [f"target: {_flow(feature['target'])}{_comment(feature['target'], told)}", "columns:"]
    lines += [f"  {_flow(name)}: {_flow(part)}{_comment(part, told)}" for name, part in feature["columns"].items()]
    lines += ["inputs:", *(f"  {_flow(name)}: {_flow(listed)}" for name, listed in feature["inputs"].items())]
    rest = {key: value for key, value in feature.items() if key not in ("target", "columns", "inputs")}
    return "\n".join([*lines, *(f"{key}: {_flow(value)}" for key, value in rest.items())]) + "\n"


def _comment(part: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """What was seen of the raw column that a part reads."""
    key = part.get("key")
    if not isinstance(key, str) or key not in told:
        return ""
    _, kind, missing, distinct, _ = told[key]
    counts = [f"{count} {what}" for count, what in ((missing, "missing"), (distinct, "distinct")) if count]
    return f" # {', '.join([kind, *counts])}"


def _experiment(config: Config, name: str) -> str:
    lines = [
        f"# Question:  How well is {config.values['data']['target']} told from the other columns?",
        "# Result:    not measured yet",
        "# Time:      not measured yet",
        f"# Command:   titrate experiment={name}",
        "defaults:",
        *(f"  - override /{group}: {_flow(option)}" for group, option in _choices(config, name).items()),
    ]
    lines += [f"{key}: {_flow(value)}" for key, value in _beyond(config).items()]
    return "\n".join(lines) + "\n"


def _choices(config: Config, name: str) -> dict[str, Any]:
    """The options that differ from the usual ones."""
    chosen = {**config.choices, "data": name, "feature": name}
    return {
        group: chosen[group]
        for group, usual in read_default_options().items()
        if group in chosen and chosen[group] != usual
    }


def _beyond(config: Config) -> dict[str, Any]:
    """The values that differ from what the options say by themselves."""
    others = {group: option for group, option in config.choices.items() if group not in ("data", "feature", EXPERIMENT)}
    plain = compose([f"{group}={option!r}" for group, option in others.items()]).raw
    own = {key: value for key, value in config.raw.items() if key not in (*OF_A_COMMAND, "data", "feature")}
    return dict(_differing(own, plain))


def _differing(values: Mapping[str, Any], others: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        other = others.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            if inner := dict(_differing(value, other)):
                yield key, inner
        elif value != other or key not in others:
            yield key, value


def _flow(value: Any) -> str:
    """A value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1 << 30)
    return text.removesuffix("...\n").strip()
