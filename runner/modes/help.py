"""The text of `titrate --help` and `titrate --info`, and the table of options in the README.

`runner.modes.describe` has the text of `titrate --help WORD`.

`uv run python -m runner.modes.help README.md` updates that table.
"""

from __future__ import annotations

import platform
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.config.catalog import (
    EXPERIMENT,
    INSTALL_FOLDER,
    RUN_YAML,
    Catalog,
    find_options,
    list_groups,
    read_default_options,
    read_title,
)
from runner.config.modes import MODES
from runner.config.provenance import signature_defaults
from runner.signature.code import package_version
from runner.signature.source import PartNotFoundError, allowed_packages, find_definition
from runner.signature.type_hints import format_value
from runner.tree import follow_references, is_reference, iterate_leaves, join_path
from runner.yaml_file import OPTION_LIMITS, read

if TYPE_CHECKING:
    from runner.config.config import Config

TITLE = "Titrate runs the experiment that a short YAML file describes, and records it in MLflow."
USAGE = {
    "titrate": "runs the default configuration",
    "titrate experiment=NAME": "runs an experiment",
    "titrate experiment=NAME optimizer=sgd seed=3": "runs it with another optimizer and seed",
    "titrate KEY=VALUE ~KEY": "sets a key (any parameter of a part), removes a key",
    "titrate KEY=OPTION KEY={option: OPTION, ...}": "chooses the option of a group for a part inside a part",
    "titrate -m KEY=A,B,C 'GROUP=glob(*)' ...": "a sweep: runs all combinations and ranks them",
    "titrate ... folds=5": "a cross-validation: mean and standard deviation of five runs",
    "titrate ... mode=MODE": "does something other than training; see the modes below",
    "titrate --help WORD ...": (
        "describes an option (optimizer=adam) and its parameters, a group (optimizer), a key (training.epochs) or a "
        "part (optax.adam)"
    ),
    "titrate --cfg job ...": "prints the composed configuration; with --resolve, without references",
    "titrate --info ...": "prints versions, folders, and the origin of each value",
    "titrate --version": "prints the version of Titrate",
    "titrate --allow NAME ...": "allows parts from another Python package",
    'eval "$(titrate -sc install=bash)"': "turns on tab completion (also zsh, fish)",
}
MIN_WIDTH, FALLBACK_WIDTH, MAX_WIDTH = 40, 100, 120  # characters of a line of the help
README_TABLE = re.compile(r"(<!-- options.*? -->\n).*?(<!-- end of options -->)", re.DOTALL)
MAX_ON_ONE_LINE = 20  # more options than this are grouped by the module that defines them, a line each
DISTRIBUTIONS = ("titrate", "jax", "jaxlib", "flax", "optax", "hydra-core", "omegaconf", "mlflow", "numpy")


class Option(NamedTuple):
    """An option of a group.

    Attributes:
        name: its name.
        title: the comment in the first line of its file; "" if there is none.
        is_default: whether `conf/run.yaml` chooses it.
        path: its file.
    """

    name: str
    title: str
    is_default: bool
    path: Path


def help_text() -> str:
    """The text of `--help`: the usage, all options, experiments and modes, and the other keys with their defaults."""
    catalog = find_options()
    lines = [*wrap(TITLE), "", *align(USAGE), "", "Options, GROUP=OPTION (* is the default):"]
    for group in list_groups():
        if group != EXPERIMENT:
            lines += ["", f"  {group}", *_option_lines(catalog, group)]
    lines += ["", "Experiments, experiment=NAME:", *_option_lines(catalog, EXPERIMENT)]
    lines += ["", "Modes, mode=NAME:", *align({name: mode.description for name, mode in MODES.items()})]
    lines += ["", "Other keys, KEY=VALUE, and their defaults:", *_root_key_lines()]
    return "\n".join(lines)


def info_text(config: Config) -> str:
    """The text of `--info`: versions, folders, and every value with its origin."""
    facts = {
        "python": platform.python_version(),
        **{name: package_version(name) for name in DISTRIBUTIONS},
        "conf, experiments": f"below {INSTALL_FOLDER} and {Path.cwd()}",
        "parts from": ", ".join(allowed_packages()),
    }
    return "\n".join([*_join_columns(facts), "", *_join_columns(value_origins(config))])


def value_origins(config: Config) -> dict[str, str]:
    """The origin of each value, by `key=value`. The defaults of signatures follow the values of their group."""
    raw = dict(iterate_leaves(config.raw))
    values: dict[str, tuple[Any, str]] = {}
    for path, value in iterate_leaves(config.values):
        key, origin = join_path(path), config.origins.get(join_path(path), "")
        if is_reference(raw.get(path)):
            origin = f"follows {join_path(follow_references(config.raw, path))} ({origin})"
        values[key] = value, origin
    values |= signature_defaults(config.values)
    groups = dict.fromkeys(key.partition(".")[0] for key in values)
    ordered = [(key, *values[key]) for group in groups for key in values if key.partition(".")[0] == group]
    return {f"{key}={format_value(value)}": origin for key, value, origin in ordered}


def list_options(catalog: Catalog, group: str) -> list[Option]:
    """The options of a group, sorted by name. Numbers in names are compared as numbers: resnet18 before resnet101."""
    defaults = _default_names(group)
    files = sorted(catalog.files[group].items(), key=lambda item: _pad_numbers(item[0]))
    return [Option(name, read_title(path), name in defaults, path) for name, path in files]


def _pad_numbers(name: str) -> str:
    return re.sub(r"\d+", lambda match: f"{match[0]:>9}", name)


def _default_names(group: str) -> list[str]:
    """The options of a group that `conf/run.yaml` chooses."""
    default = read_default_options().get(group)
    if isinstance(default, list):
        return default
    return [default] if default else []


def update_readme(text: str) -> str:
    """Replaces the table of options in the text of the README."""
    return README_TABLE.sub(lambda match: f"{match[1]}{options_table()}{match[2]}", text)


def options_table() -> str:
    """The table of Titrate's own options in Markdown, a row for each group."""
    catalog = find_options()
    lines = ["| group | default | options |", "|---|---|---|"]
    for group in list_groups():
        shipped = [option for option in list_options(catalog, group) if INSTALL_FOLDER in option.path.parents]
        defaults = ", ".join(f"`{name}`" for name in _default_names(group)) or "none"
        lines.append(f"| `{group}` | {defaults} | {'<br>'.join(_name_lines(shipped))} |")
    return "\n".join(lines) + "\n"


def _name_lines(options: list[Option]) -> Iterable[str]:
    """The names of the options: in one line, or if they are many, in a line for each module that defines some."""
    lines: dict[str, list[str]] = {}
    for option in options:
        module = _defining_module(option) if len(options) > MAX_ON_ONE_LINE else ""
        lines.setdefault(module, []).append(f"`{option.name}`")
    return (", ".join(names) for names in lines.values())


def _defining_module(option: Option) -> str:
    """The module that defines the part of an option; "" if the option's `_target_` has no definition in Python."""
    try:
        definition = find_definition(str(read(option.path, option.name, OPTION_LIMITS).get("_target_")))
    except PartNotFoundError:
        return ""
    return "" if definition is None else definition.module.name


def _option_lines(catalog: Catalog, group: str) -> list[str]:
    return align(
        {f"{'*' if option.is_default else ' '} {option.name}": option.title for option in list_options(catalog, group)}
    )


def _root_key_lines() -> list[str]:
    """The lines of `conf/run.yaml` below its defaults list, with their comments."""
    lines = RUN_YAML.read_text(encoding="utf-8").splitlines()
    below = [f"  {line}" for line in lines[lines.index("defaults:") + 1 :] if not line.startswith("  - ")]
    return [wrapped for line in below for wrapped in wrap(line, indent=line.find("#") + 2)]


def align(rows: Mapping[str, str]) -> list[str]:
    """Lines of two aligned columns. A long text goes on below its start, or stands below a left column that is wide."""
    width = max(map(len, rows), default=0)
    if width + 4 > _terminal_width() // 2:
        return [line for left, right in rows.items() for line in (f"  {left}", *wrap(f"      {right}", indent=6))]
    return [line for joined in _join_columns(rows) for line in wrap(joined, indent=width + 4)]


def _join_columns(rows: Mapping[str, str]) -> list[str]:
    """Lines of two aligned columns, of any width."""
    width = max(map(len, rows), default=0)
    return [f"  {left:{width}}  {right}".rstrip() for left, right in rows.items()]


def wrap(text: str, *, indent: int = 0) -> list[str]:
    """The lines of a text that fit the terminal. All but the first are indented by some spaces."""
    width = _terminal_width()
    prefix = " " * min(indent, width // 2)
    return textwrap.wrap(text, width, subsequent_indent=prefix, break_long_words=False, break_on_hyphens=False)


def _terminal_width() -> int:
    """The number of characters of a line of the help."""
    return min(max(shutil.get_terminal_size((FALLBACK_WIDTH, 0)).columns, MIN_WIDTH), MAX_WIDTH)


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(update_readme(file.read_text(encoding="utf-8")), encoding="utf-8")
