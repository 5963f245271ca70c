"""Names of runs, sweeps and data sets for people: what tells a run from the others comes first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from components.input_files import name_paths
from runner.config.catalog import EXPERIMENT, FROM_PYTHON
from runner.config.config import Config
from runner.config.provenance import find_origin
from runner.override_text import overridden_key

SEPARATOR = " · "
MIXED_EXPERIMENT = "titrate"  # the MLflow experiment of a sweep over data
MAX_CHANGES = 6  # of a name
MAX_VALUE = 24  # characters of a value in a name
REPEAT_KEYS = ("seed", "fold", "data.seed")  # runs of a sweep that differ only in these keys are repetitions
TARGET = "data.target"  # follows the data in a name
SHORT_KEYS = {"learning_rate": "lr", "training.batch_size": "batch"}
PART = re.compile(r"_target_: *[\w.]*?(\w+)(?=[,}])")  # its name is enough: `{_target_: my_rows.make, n: 3}`
# Keys that are in the name anyway, or that the results don't depend on.
UNNAMED_KEYS = (
    *("experiment", "data", "data.path", "data.uri", TARGET, "architecture", "mode", "folds"),
    *("folder", "fresh", "resume", "quiet", "tracking", "note"),
)


def data_name(config: Config) -> str:
    """The name of the data: of its option, such as `digits`, or of the file, folder or table that the option lacks.

    It is `table` for a table from Python.
    """
    path, query = (config.values["data"].get(option) for option in ("path", "query"))
    option = str(config.choices.get("data", "data"))
    file, *_ = (find_origin(config.origins, "data.path") or "").split(",")
    is_given = isinstance(path, str | list) and file != f"conf/data/{option}.yaml"
    is_table = isinstance(query, str) and _is_word(query)
    name = name_paths(path) if is_given else query if is_table else ""
    return name or ("table" if option == FROM_PYTHON else option)


def _is_word(query: str) -> bool:
    """Whether a query is the name of a table."""
    return len(query.split()) == 1


def default_experiment(config: Config, varied: Iterable[str] = ()) -> str:
    """The MLflow experiment of a run or a sweep, unless the user names another: its experiment, or else its data.

    Args:
        config: the configuration, of a sweep that of its first run.
        varied: the keys that differ between the runs of a sweep.
    """
    groups = varied_groups(varied)
    experiment = None if EXPERIMENT in groups else config.values["experiment"]
    return experiment or (MIXED_EXPERIMENT if "data" in groups else data_name(config))


def title_run(config: Config) -> str:
    """The title of a run: what its command changes, as lists cut a title at its end, then its data and architecture.

    Example: `lr 0.003 · seed 2 · housing.csv · mlp`.
    """
    return SEPARATOR.join(
        [*_describe_changes(config.overrides), *_subject(config), *_describe_target(config.overrides)]
    )


def title_member(config: Config, overrides: Sequence[str]) -> str:
    """The title of a run in a sweep: the values that differ between the runs, then those of a run that has them all."""
    common = [override for override in config.overrides if override not in overrides]
    own = [_describe(override) for override in overrides]
    subject = _subject(config, map(overridden_key, overrides))
    return SEPARATOR.join([*own, *_describe_changes(common), *subject, *_describe_target(common)])


def title_sweep(config: Config, common: Sequence[str], varied: Sequence[str], runs: int) -> str:
    """The title of a sweep.

    Args:
        config: the configuration of its first run.
        common: the overrides that all runs share.
        varied: the keys that differ between the runs.
        runs: the number of runs.
    """
    keys = [_shorten_key(key) for key in varied if key != "fold"]
    extent = f"{runs} runs over {', '.join(keys)}" if keys else f"{runs} folds" if runs > 1 else "1 run"
    return SEPARATOR.join([extent, *_describe_changes(common), *_subject(config, varied), *_describe_target(common)])


def _subject(config: Config, varied: Iterable[str] = ()) -> Iterator[str]:
    """The data and the architecture, unless these differ between the runs."""
    groups = varied_groups(varied)
    if "data" not in groups:
        yield data_name(config)
    if "architecture" not in groups and config.choices.get("architecture"):
        yield str(config.choices["architecture"])


def varied_groups(varied: Iterable[str]) -> set[str]:
    """The groups whose option, or whose file, differs between the runs of a sweep."""
    keys = set(varied)
    if {"data.path", "data.query"} & keys:
        keys.add("data")
    return keys | {"data", "architecture"} if EXPERIMENT in keys else keys


def _describe_changes(overrides: Sequence[str]) -> list[str]:
    changes = [_describe(override) for override in overrides if not _is_unnamed(override)]
    more = len(changes) - MAX_CHANGES
    return [*changes[:MAX_CHANGES], f"{more} more"] if more > 0 else changes


def _describe_target(overrides: Sequence[str]) -> list[str]:
    return [_describe(override) for override in overrides if overridden_key(override) == TARGET]


def _is_unnamed(override: str) -> bool:
    key = overridden_key(override)
    is_table = key == "data.query" and _is_word(override.partition("=")[2])
    return key in UNNAMED_KEYS or key.startswith("tracking.") or is_table


def _describe(override: str) -> str:
    """An override in words: `lr 0.003`, `no dropout`."""
    key, value = overridden_key(override), override.partition("=")[2]
    if override.startswith("~"):
        return f"no {_shorten_key(key)}"
    value = PART.sub(r"\1", value)
    if value[:1] in ("'", '"') and value.find(value[0], 1) == len(value) - 1:
        value = value[1:-1]
    value = value if len(value) <= MAX_VALUE else f"{value[: MAX_VALUE - 1]}…"
    return f"{_shorten_key(key)} {value}"


def _shorten_key(key: str) -> str:
    return SHORT_KEYS.get(key, key.partition(".")[2] or key)
