"""The text of `titrate --help` and `titrate --info`, and the table of options in the README.

`uv run python -m runner.modes.help README.md` writes that table again.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner.config.catalog import EXPERIMENT, INSTALL_FOLDER, RUN_YAML, Catalog, find_options, read_default_options
from runner.config.verbs import VERBS
from runner.signature.code import package_version
from runner.signature.source import PartNotFoundError, allowed_packages, find_definition
from runner.signature.type_hints import format_value
from runner.tree import iterate_leaves, join_path
from runner.yaml_file import OPTION_LIMITS, read

if TYPE_CHECKING:
    from runner.config.config import Config

USAGE = """\
Titrate runs an experiment that a short YAML file describes, and keeps the record in MLflow.

  titrate                                        the default run
  titrate experiment=NAME                        an experiment
  titrate experiment=NAME optimizer=sgd seed=3   the same with another optimizer and seed
  titrate KEY=VALUE ~KEY                         sets a key (any parameter of a part), leaves one out
  titrate -m KEY=A,B,C 'GROUP=glob(*)' ...       a sweep: all combinations, ranked at the end (also range(), choice())
  titrate ... folds=5                            a cross-validation: mean and deviation of five runs
  titrate ... mode=MODE                          something else than training; see the modes below
  titrate --cfg job ...                          prints the composed configuration instead of running it
  titrate --info ...                             prints versions, folders, and who set each value
  titrate --version                              prints the version of Titrate
  titrate --allow NAME ...                       lets configurations use parts from another Python package
  eval "$(titrate -sc install=bash)"             completes with the tab key (also zsh, fish)
"""
LONGEST_TITLE = 200  # characters
TABLE = re.compile(r"(<!-- options.*? -->\n).*?(<!-- end of options -->)", re.DOTALL)  # of the README
MANY = 20  # options, which the README lists by family
DISTRIBUTIONS = ("titrate", "jax", "jaxlib", "flax", "optax", "hydra-core", "omegaconf", "mlflow", "numpy")


class Option(NamedTuple):
    """An option of a group, as its file describes it."""

    group: str
    name: str
    title: str  # the first line of its file, a comment; "" where the file has none
    is_default: bool
    path: Path


def options(found: Catalog, group: str) -> list[Option]:
    """The options of a group, sorted by name; numbers in names count, so that 18 comes before 101."""
    chosen = read_default_options()[group]
    named = chosen if isinstance(chosen, list) else [chosen]
    files = sorted(
        found.files[group].items(), key=lambda item: re.sub(r"\d+", lambda digits: f"{digits[0]:>9}", item[0])
    )
    return [Option(group, name, _title(path), name in named, path) for name, path in files]


def usage() -> str:
    """How to call, what can be chosen, and the other keys with their defaults."""
    found = find_options()
    lines = [USAGE, "Choices, GROUP=OPTION; * is the default:"]
    for group in read_default_options():
        if group != EXPERIMENT:
            lines += ["", f"  {group}", *_options(found, group)]
    lines += ["", "Experiments, experiment=NAME:", *_options(found, EXPERIMENT)]
    lines += ["", "Modes, mode=NAME:", *_table({name: mode.description for name, mode in VERBS.items()})]
    lines += ["", "Other keys, KEY=VALUE, and their defaults:", *_root()]
    return "\n".join(lines)


def information(config: Config) -> str:
    """Versions, folders, and every value with who set it."""
    facts = {
        "python": platform.python_version(),
        **{name: package_version(name) for name in DISTRIBUTIONS},
        "conf, experiments": f"below {INSTALL_FOLDER} and {Path.cwd()}",
        "parts from": ", ".join(allowed_packages()),
    }
    return "\n".join([*_table(facts), "", *_table(values(config))])


def values(config: Config) -> dict[str, str]:
    """Every value, `key=value`, with who set it."""
    places = {join_path(place): format_value(value) for place, value in iterate_leaves(config.values)}
    return {f"{key}={value}": config.origins.get(key, "") for key, value in places.items()}


def markdown() -> str:
    """The table of Titrate's own options: a row for each group."""
    found = find_options()
    lines = ["| group | default | options |", "|---|---|---|"]
    for group, default in read_default_options().items():
        own = [option for option in options(found, group) if INSTALL_FOLDER in option.path.parents]
        names = default if isinstance(default, list) else [default] if default else []
        chosen = ", ".join(f"`{name}`" for name in names) or "none"
        lines.append(f"| `{group}` | {chosen} | {'<br>'.join(_lines(own))} |")
    return "\n".join(lines) + "\n"


def _lines(found: list[Option]) -> Iterable[str]:
    """The names of options, of many those of a family on a line; a family is defined in one module."""
    families: dict[str, list[str]] = {}
    for option in found:
        families.setdefault(_module(option) if len(found) > MANY else "", []).append(f"`{option.name}`")
    return (", ".join(names) for names in families.values())


def _module(option: Option) -> str:
    """The module that defines what an option chooses; "" where it chooses no one definition."""
    try:
        definition = find_definition(str(read(option.path, option.name, OPTION_LIMITS).get("_target_")))
    except PartNotFoundError:
        return ""
    return "" if definition is None else definition.module.name


def with_table(text: str) -> str:
    """A text of Markdown with the table of options between its two markers."""
    return TABLE.sub(lambda found: f"{found[1]}{markdown()}{found[2]}", text)


def _options(found: Catalog, group: str) -> list[str]:
    return _table({f"{'*' if one.is_default else ' '} {one.name}": one.title for one in options(found, group)})


def _title(path: Path) -> str:
    """The first line of a YAML file, where it says in a comment what it is."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline(LONGEST_TITLE)
    except OSError as error:
        return f"can't be read: {error.strerror}"
    if not first.startswith("#"):
        return ""
    return first.removeprefix("#").strip().removeprefix("Question:").strip()


def _root() -> list[str]:
    """What `conf/run.yaml` has below its defaults list, comments and all."""
    lines = RUN_YAML.read_text(encoding="utf-8").splitlines()
    below = lines[lines.index("defaults:") + 1 :]
    return [f"  {line}" for line in below if not line.startswith("  - ")]


def _table(rows: Mapping[str, str]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [f"  {name:{width}}  {text}".rstrip() for name, text in rows.items()]


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")
