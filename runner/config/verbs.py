"""The modes of a command, each with its help and its module."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb of the command line: `command(config) -> exit code` of its module does it."""

    says: str
    module: str
    jax: bool = True  # whether it imports JAX


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
RUN_VERBS = ("evaluate", "predict", "look")  # modes that may take `run`, and `data.split`
