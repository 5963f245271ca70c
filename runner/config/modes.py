"""The modes of the command line, as `mode=NAME`. The module `runner.modes.NAME` runs a mode."""

from __future__ import annotations

from typing import NamedTuple


class Mode(NamedTuple):
    """A mode of the command line.

    Attributes:
        description: the mode's line in the help.
        keys: the keys and sections that matter to this mode, for its help.
        imports_jax: whether running the mode imports JAX.
        groups: the groups that the mode uses without `run`. None: all.
    """

    description: str
    keys: tuple[str, ...] = ()
    imports_jax: bool = True
    groups: tuple[str, ...] | None = None


# The `Literal` of `Settings.mode` lists the same names, because types are read from source, without an import.
MODES = {
    "train": Mode("trains, evaluates the best weights on the test split, and records the run"),
    "dry_run": Mode(
        "trains nothing; shows the layers, the memory and time that a run needs, and every value with its origin"
    ),
    "look": Mode(
        "shows the data as the model gets it; with run=…, the worst mistakes of that run",
        ("run", "data.split"),
        groups=("data", "feature", "augmentation"),
    ),
    "find_lr": Mode(
        "raises the learning rate step by step, shows how the loss follows, and suggests a rate; keeps nothing trained",
        ("find_lr.min_rate", "find_lr.max_rate", "find_lr.steps", "find_lr.decay"),
    ),
    "evaluate": Mode(
        "prints the metrics of run=… on data.split=… or on the rows of data.path=…",
        ("run", "ensemble", "data.split", "data.on_missing", "intervals", "metric_slices", "mc_samples"),
    ),
    "predict": Mode(
        "writes the predictions of run=… for data.split=… or data.path=… into output=FILE (.csv, .parquet or .json)",
        ("run", "ensemble", "data.split", "data.on_missing", "output", "mc_samples"),
    ),
    "runs": Mode(
        "lists the runs below `folder`; see runs.where=…, runs.sort=…, runs.last=… and runs.columns=…",
        ("folder", "runs.where", "runs.sort", "runs.last", "runs.columns"),
        imports_jax=False,
        groups=(),
    ),
    "clean": Mode(
        "removes the checkpoints or folders of the runs that runs.where=… selects, or (runs.delete=cache) encoded data",
        ("folder", "runs.where", "runs.sort", "runs.columns", "runs.delete", "runs.confirm"),
        imports_jax=False,
        groups=(),
    ),
    "init": Mode(
        "creates a project in the working folder; with data=csv data.path=… data.target=…, writes what is suggested",
        imports_jax=False,
    ),
    "download": Mode(
        "fetches the files of data=NAME, a public data set, or weights=imagenet; without a name, lists the data sets",
        imports_jax=False,
        groups=("data",),
    ),
    "convert": Mode(
        "writes the rows of data=… into output=FILE (.csv, .parquet, .tfrecord), or convert.shards=… files in a folder",
        (
            "output",
            "convert.format",
            "convert.shards",
            "convert.split",
            "convert.shuffle",
            "convert.compression",
            "convert.float64",
            "convert.tensors",
            "convert.records",
        ),
        imports_jax=False,
        groups=("data",),
    ),
    "deliver": Mode("sends pending records of earlier runs to MLflow", imports_jax=False, groups=()),
}
SWEEP_MODES = ("train", "dry_run")  # modes that allow a sweep
ENSEMBLE_MODES = ("evaluate", "predict")  # modes that accept several runs
RUN_MODES = ("evaluate", "predict", "look")  # modes that accept `run` and `data.split`
