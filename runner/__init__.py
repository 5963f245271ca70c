"""Titrate from Python: `runner.run("experiment=digits_cnn", "seed=3")`, `runner.load(folder)` and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from components.types import Source
    from runner.config.config import Config
    from runner.data.transform import Transform
    from runner.execution.execute import Result
    from runner.inference.trained_model import TrainedModel
    from runner.sweep.launch import SweepResult


def run(*overrides: str, source: Source | None = None) -> Result:
    """Trains the run that overrides of the command line describe.

    Ctrl-C saves and returns a result with the status `interrupted`. The same call goes on from there.

    Args:
        overrides: the words of a command line.
        source: takes the place of the source that `data` names.

    Raises:
        UserError: a mistake that the caller can fix.
        PartError: a part of the caller's raised an exception, which is the cause.
        RunError, Exception: any other failure of the run, once it is recorded.
    """
    from components.types import UserError
    from runner.config.compose import configure
    from runner.memory import check_memory_for_jax

    _check_source(source)
    config = configure(overrides)
    _refuse_modes(config)
    check_memory_for_jax(config.values["training"])
    from runner.execution.execute import execute

    if config.values["folds"] is not None and config.values["fold"] is None:
        raise UserError(f"folds={config.values['folds']} are several runs: runner.multirun takes them")
    return execute(config, source=source)


def multirun(*overrides: str, source: Source | None = None) -> SweepResult:
    """Runs all combinations of the values of the overrides, as `titrate -m` does, and ranks them.

    Ctrl-C saves and returns a result with the status `interrupted`. The same call goes on from there. A run that fails
    doesn't stop the others; its outcome says why it failed.

    Args:
        overrides: the words of a command line.
        source: takes the place of the source that `data` names.

    Raises UserError, before the first run, for mistakes that the caller can fix.
    """
    from runner.memory import check_memory_for_jax
    from runner.sweep import plan

    _check_source(source)
    found = plan.make(overrides, multirun=True)
    assert isinstance(found, plan.Plan)
    _refuse_modes(found.settings[0].config)
    check_memory_for_jax(found.settings[0].config.values["training"])
    from runner.sweep.launch import launch

    return launch(found, source=source)


def load(run: str | Path, *, folder: str | Path = "outputs", source: Source | None = None) -> TrainedModel:
    """Loads a run as a model with its best weights: `load(…).predict(columns)`, `load(…).evaluate("test")`.

    Args:
        run: the folder of a run, the folder's name below `folder`, or the id of its MLflow run.
        folder: where runs are looked up by name.
        source: the rows of a run that got them from Python.

    Raises UserError if there is no such run, or if it has saved no weights.
    """
    from runner.memory import check_memory_for_jax

    check_memory_for_jax()
    _check_source(source)
    from runner.inference import trained_model as fitted

    return fitted.load_model(run, root=folder, source=source)


def load_transform(path: str | Path) -> Transform:
    """Loads the fitted columns of a run, from its folder or its `transform.npz`: `load_transform(…)({"size": [70.0]})`.

    It needs neither data, weights nor configuration of the run, and imports neither Hydra, MLflow nor Arrow.
    """
    from pathlib import Path

    from runner.data import transform

    return transform.load_transform(Path(path))


def _check_source(source: Source | None) -> None:
    from components.types import UserError
    from runner.signature.build import check_conformance

    if source is None:
        return
    try:
        check_conformance(source, type(source).__name__, ("source",))
    except UserError as error:
        remedy = "components.data.Arrays(columns=…) makes one of a data frame, or of columns by name"
        raise UserError(f"source: {error}; {remedy}") from None


def _refuse_modes(config: Config) -> None:
    from components.types import UserError

    if config.values["mode"] != "train":
        raise UserError(f"mode={config.values['mode']} is for the command line; from Python, runs are trained")
