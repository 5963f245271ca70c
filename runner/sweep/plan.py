"""The runs of a sweep, all of them composed and checked before the first begins."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from runner import run_folder as folders
from runner.config.compose import Composer, configure
from runner.config.config import Config
from runner.credentials import mask_arguments
from runner.errors import ConfigError
from runner.sweep import Grid
from runner.sweep.grid import Axis, axes, combinations, size

MODES = ("train", "dry_run")
MANY = 300  # runs, which take some seconds to compose


class Setting(NamedTuple):
    """One run of a sweep."""

    varied: tuple[str, ...]  # the words that tell it from the others
    config: Config
    digest: str


class Plan(NamedTuple):
    """A sweep before it begins."""

    words: tuple[str, ...]  # as they were given
    fixed: tuple[str, ...]  # those that all runs have in common
    settings: tuple[Setting, ...]

    def keys(self) -> list[str]:
        """What varies, in the order of the words."""
        return list(dict.fromkeys(key(word) for setting in self.settings for word in setting.varied))


def make(words: Sequence[str], *, multirun: bool) -> Plan | Config:
    """What the words of a command mean: a sweep, or one run without `multirun` and `folds`.

    Raises ConfigError with everything that is wrong with any of the runs, and where they are too many.
    """
    composer = Composer()
    words = mask_arguments(words)
    if not multirun:
        config = configure(words, composer)
        if config.values["folds"] is None or config.values["fold"] is not None or config.values["mode"] not in MODES:
            return config
    found = axes(words, composer.catalog.files) if multirun else [Axis([word]) for word in words]
    _ask(found, composer)
    if size(found) > MANY:
        print(f"composing and checking {size(found):,} runs", file=sys.stderr, flush=True)
    varied = {word for axis in found if len(axis) > 1 for word in axis}
    settings, problems = _settings(found, varied, composer)
    if problems or (problems := _clashes(settings)):
        raise ConfigError(*problems)
    return Plan(tuple(words), tuple(axis[0] for axis in found if len(axis) == 1), tuple(settings))


def incomparable(settings: Sequence[Setting]) -> str | None:
    """Why the monitored figures of the runs say nothing about which is best; None where they do."""
    values = [setting.config.values for setting in settings]
    monitor = values[0]["training"]["monitor"]
    if len({str(one.config.choices.get("data")) for one in settings}) > 1:
        return "runs on different data are not ranked"
    if len({repr(one["feature"]["target"]) for one in values}) > 1:
        return "runs with different targets are not ranked"
    if monitor.endswith("/loss") and len({repr(one["loss"]) for one in values}) > 1:
        return f"{monitor} can't be compared between losses; set training.monitor to a metric"
    return None


def key(word: str) -> str:
    """The key that a word sets."""
    return word.partition("=")[0].lstrip("+")


def _ask(found: Sequence[Axis], composer: Composer) -> None:
    """Refuses more runs than the sweep's limit, before any but the first is composed."""
    try:
        values = configure(combinations([Axis(axis[:1]) for axis in found])[0], composer).values
    except ConfigError:
        if size(found) > Grid.limit:
            raise
        return  # the others may tell of more that is wrong
    grid = Grid(**{name: value for name, value in values["sweep"].items() if name != "_target_"})
    folds = values["folds"] if values["folds"] is not None and values["fold"] is None else 1
    if problem := grid.ask(size(found) * folds):
        raise ConfigError(problem)


def _settings(found: Sequence[Axis], varied: set[str], composer: Composer) -> tuple[list[Setting], list[str]]:
    """Every run, and what is wrong with those that can't be."""
    settings: list[Setting] = []
    problems: list[str] = []
    for words in combinations(found):
        own = tuple(word for word in words if word in varied)
        try:
            config = configure(words, composer)
            folds = config.values["folds"] if config.values["fold"] is None else None
            for more in [()] if folds is None else [(f"fold={fold}",) for fold in range(folds)]:
                config = configure([*words, *more], composer) if more else config
                settings.append(Setting((*own, *more), config, folders.run_digest(config.values, "")))
        except ConfigError as error:
            problems += error.problems
    return settings, problems


def _clashes(settings: Sequence[Setting]) -> list[str]:
    """What runs can't be in one sweep."""
    values = settings[0].config.values
    problems = []
    if values["mode"] not in MODES:
        problems.append(f"mode={values['mode']}: one run is wanted, not a sweep; leave -m away")
    if values["resume"]:
        problems.append(f"resume={values['resume']} names one run; the command that began a sweep goes on with it")
    monitors = {setting.config.values["training"]["monitor"] for setting in settings}
    if len(monitors) > 1:
        problems.append(f"training.monitor: {', '.join(sorted(monitors))} can't rank one sweep; choose one of them")
    seen: dict[str, Setting] = {}
    pairs = [(seen.setdefault(setting.digest, setting), setting) for setting in settings]
    same = [(" ".join(one.varied), " ".join(other.varied)) for one, other in pairs if one is not other]
    return problems + [f"{one} and {other} are the same run" for one, other in same]
