"""What `titrate --help` and `titrate --info` say."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from runner.config.catalog import EXPERIMENT, HOUSE, MAIN, Catalog, catalog, defaults
from runner.config.verbs import VERBS
from runner.signature.code import package_version
from runner.signature.source import allowed_packages
from runner.signature.type_hints import format_value
from runner.tree import dotted, leaves

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
DISTRIBUTIONS = ("titrate", "jax", "jaxlib", "flax", "optax", "hydra-core", "omegaconf", "mlflow", "numpy")


def usage() -> str:
    """How to call, what can be chosen, and the other keys with their defaults."""
    found = catalog()
    lines = [USAGE, "Choices, GROUP=OPTION; * is the default:"]
    for group in defaults():
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
        "conf, experiments": f"below {HOUSE} and {Path.cwd()}",
        "parts from": ", ".join(allowed_packages()),
    }
    return "\n".join([*_table(facts), "", *_table(values(config))])


def values(config: Config) -> dict[str, str]:
    """Every value, `key=value`, with who set it."""
    places = {dotted(place): format_value(value) for place, value in leaves(config.values)}
    return {f"{key}={value}": config.origins.get(key, "") for key, value in places.items()}


def _options(found: Catalog, group: str) -> list[str]:
    chosen = defaults()[group]
    named = chosen if isinstance(chosen, list) else [chosen]
    return _table(
        {f"{'*' if name in named else ' '} {name}": _title(path) for name, path in found.files[group].items()}
    )


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
    lines = MAIN.read_text(encoding="utf-8").splitlines()
    below = lines[lines.index("defaults:") + 1 :]
    return [f"  {line}" for line in below if not line.startswith("  - ")]


def _table(rows: Mapping[str, str]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [f"  {name:{width}}  {text}".rstrip() for name, text in rows.items()]
