"""How a run happens. From Python: `runner.run("experiment=digits_cnn", "seed=3")`."""

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
    """Trains what the overrides of the command line say; `source` takes the place of the one that `data` names.

    Ctrl-C saves and returns, with the status `interrupted`; the same call goes on from there.
    Raises UserError for what the caller can mend; any other failure of the run is raised once it is recorded, an
    exception in a part of the caller's as the cause of a PartError.
    """
    from components.types import UserError
    from runner.config.compose import configure
    from runner.memory import check_start

    _check_source(source)
    config = configure(overrides)
    _refuse_modes(config)
    check_start(config.values["training"])
    from runner.execution.execute import execute

    if config.values["folds"] is not None and config.values["fold"] is None:
        raise UserError(f"folds={config.values['folds']} are several runs: runner.multirun takes them")
    return execute(config, source=source)


def multirun(*overrides: str, source: Source | None = None) -> SweepResult:
    """Runs all combinations of the values that the overrides give, as `titrate -m` does, and ranks them.

    Ctrl-C saves and returns, with the status `interrupted`; the same call goes on from there. A run that fails stops
    none of the others, and is told in its outcome. Raises UserError, before anything runs, for what a caller can mend.
    """
    from runner.memory import check_start
    from runner.sweep import plan

    _check_source(source)
    found = plan.make(overrides, multirun=True)
    assert isinstance(found, plan.Plan)
    _refuse_modes(found.settings[0].config)
    check_start(found.settings[0].config.values["training"])
    from runner.sweep.launch import launch

    return launch(found, source=source)


def load(run: str | Path, *, folder: str | Path = "outputs", source: Source | None = None) -> TrainedModel:
    """The model of a run, with its best weights: `load(…).predict(columns)`, `load(…).evaluate("test")`.

    `run` is the folder of a run, its name below `folder`, or its id in MLflow; `source` gives the rows again of a run
    that had them from Python. Raises UserError where there is no such run, or none that has saved its weights.
    """
    from runner.memory import check_start

    check_start()
    _check_source(source)
    from runner.inference import trained_model as fitted

    return fitted.load_model(run, root=folder, source=source)


def load_transform(path: str | Path) -> Transform:
    """What a run's columns learned, from its folder or its `transform.npz`: `load_transform(…)({"size": [70.0]})`.

    Needs neither the run's data, its weights nor its configuration; and neither Hydra, MLflow nor Arrow.
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
        remedy = "a data frame, or columns by name, become one by components.data.Arrays(columns=…)"
        raise UserError(f"source: {error}; {remedy}") from None


def _refuse_modes(config: Config) -> None:
    from components.types import UserError

    if config.values["mode"] != "train":
        raise UserError(f"mode={config.values['mode']} is for the command line; from Python, runs are trained")
