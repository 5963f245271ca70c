"""The modes of a command, with their descriptions and modules."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """A mode of the command line.

    Attributes:
        description: its line in the help.
        module: the module whose `command(config)` runs it and returns the exit code.
        jax: whether it imports JAX.
    """

    description: str
    module: str
    jax: bool = True


VERBS = {
    "train": Verb("trains, evaluates on the test split with the best weights, records", "runner.modes.train"),
    "dry_run": Verb("trains nothing: what would run, layer by layer, its memory and its time", "runner.modes.dry_run"),
    "look": Verb("shows the data as the model gets it; with run=…, the run's worst mistakes", "runner.modes.look"),
    "evaluate": Verb(
        "the figures of the run that run=… names, on data.split=… or data.path=…", "runner.modes.evaluate"
    ),
    "predict": Verb(
        "its predictions for data.split=… or data.path=…, into output=….csv, .parquet or .json",
        "runner.modes.predict",
    ),
    "runs": Verb(
        "lists the runs below `folder`: runs.where=…, runs.sort=…, runs.last=…", "runner.modes.runs", jax=False
    ),
    "clean": Verb(
        "deletes checkpoints or folders of the runs that runs.where=… names", "runner.modes.clean", jax=False
    ),
    "init": Verb(
        "makes this folder a project of your own; with data=csv data.path=… data.target=…, writes what is inferred",
        "runner.modes.init",
        jax=False,
    ),
    "deliver": Verb("sends to MLflow the records that earlier runs could not", "runner.modes.deliver", jax=False),
}
RUN_VERBS = ("evaluate", "predict", "look")  # modes that accept `run` and `data.split`
