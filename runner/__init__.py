"""Titrate's Python interface: `run`, `multirun`, `load` and `load_transform`."""

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
    """Trains a model, evaluates it and records the run: `run("experiment=digits_cnn", "seed=3")`.

    Ctrl-C saves the run and returns a result with the status `interrupted`. The same call resumes the run.

    Args:
        overrides: `key=value`, as on the command line.
        source: the data. None: the source that `data` chooses.

    Raises:
        UserError: an error that the caller can fix.
        PartError: a user-defined part raised an exception, which is the cause of this one.
        RunError, Exception: any other failure, which the run's folder records too.
    """
    from components.types import UserError
    from runner.config.compose import configure
    from runner.memory import check_memory_for_jax

    _check_source(source)
    config = configure(overrides)
    _check_mode(config)
    check_memory_for_jax(config.values["training"])
    from runner.execution.execute import execute

    if config.values["folds"] is not None and config.values["fold"] is None:
        raise UserError(
            f"folds={config.values['folds']} makes several runs. Use runner.multirun instead of runner.run."
        )
    return execute(config, source=source)


def multirun(*overrides: str, source: Source | None = None) -> SweepResult:
    """Runs every combination of values and ranks the runs: `multirun("experiment=digits_cnn", "seed=1,2")`.

    Ctrl-C saves the sweep and returns a result with the status `interrupted`. The same call resumes the sweep. A failed
    run doesn't stop the others; its outcome holds the error.

    Args:
        overrides: `key=value,value`, as after `titrate -m` on the command line.
        source: the data. None: the source that `data` chooses.

    Raises:
        UserError: an error that the caller can fix. It is raised before the first run.
    """
    from runner.memory import check_memory_for_jax
    from runner.sweep.plan import Plan, make_plan

    _check_source(source)
    plan = make_plan(overrides, multirun=True)
    assert isinstance(plan, Plan)
    _check_mode(plan.runs[0].config)
    check_memory_for_jax(plan.runs[0].config.values["training"])
    from runner.sweep.launch import launch

    return launch(plan, source=source)


def load(run: str | Path, *, folder: str | Path = "outputs", source: Source | None = None) -> TrainedModel:
    """Loads the best weights of a run as a model, with the methods `predict(columns)` and `evaluate("test")`.

    Args:
        run: the path of the run's folder, the folder's name, or the id of the MLflow run.
        folder: the folder that holds the folders of all runs. Names and ids are looked up in it.
        source: the data of a run that was trained with `run(…, source=…)`.

    Raises:
        UserError: no such run exists, or the run has saved no weights.
    """
    from runner.memory import check_memory_for_jax

    check_memory_for_jax()
    _check_source(source)
    from runner.inference.trained_model import load_model

    return load_model(run, root=folder, source=source)


def load_transform(path: str | Path) -> Transform:
    """Loads the fitted columns of a run, which encode new rows: `load_transform(folder)({"size": [70.0]})`.

    `transform.npz` holds all that this needs. Neither Hydra, MLflow nor Arrow is imported.

    Args:
        path: the run's folder, or its `transform.npz`.
    """
    from pathlib import Path

    from runner.data import transform

    return transform.load_transform(Path(path))


def _check_source(source: Source | None) -> None:
    """Raises UserError if an object lacks a method of a source."""
    from components.types import UserError
    from runner.signature.build import check_kind

    if source is None:
        return
    try:
        check_kind(source, type(source).__name__, ("source",))
    except UserError as error:
        hint = "components.data.Arrays(columns=…) makes a source from a data frame or a mapping of columns."
        raise UserError(f"source: {error} {hint}") from None


def _check_mode(config: Config) -> None:
    """Raises UserError for a mode other than `train`."""
    from components.types import UserError

    if config.values["mode"] != "train":
        raise UserError(f"mode={config.values['mode']} is for the command line only. Leave it out.")
