"""Loads finished runs as a model: a single one, or an ensemble of several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runner.config.config import Config
from runner.config.recorded_config import read_run_config
from runner.data.python_rows import PythonData
from runner.display.progress import Progress, QuietProgress
from runner.ensemble_members import find_members
from runner.inference.ensemble import Ensemble, Run
from runner.inference.trained_model import TrainedModel
from runner.run_folder import LAST_RUN, find_run


def load_model(
    name: str | Path | Sequence[str | Path],
    *,
    root: str | Path = "outputs",
    source: PythonData | None = None,
    best: int | None = None,
) -> TrainedModel:
    """Loads a finished run as a model, or several as an ensemble.

    Args:
        name: a folder, the name of a folder below `root` or its start with date and time, an MLflow run id, or `last`;
            several of these; or those of a sweep.
        root: the folder of all runs.
        source: the data of a run that was trained on data from Python. None: the source of its configuration.
        best: the number of runs of a sweep, from the best one. None: all that have finished.

    Raises:
        UserError: there is no such run, it has saved no weights, or the runs are no ensemble.
    """
    names = str(name) if isinstance(name, str | Path) else [str(each) for each in name]
    members = find_members(Path(os.path.expanduser(root)), names, best)
    progress = QuietProgress()
    if members.note:
        progress.note(f"warning: {members.note}")
    runs = [Run(folder.absolute(), read_run_config(folder)) for folder in members.folders]
    if len(runs) > 1:
        return Ensemble(runs, source=source, progress=progress)
    return TrainedModel(*runs[0], source=source, progress=progress)


def open_model(config: Config, progress: Progress) -> TrainedModel:
    """Loads the runs that `run=…` names as a model.

    Args:
        config: the configuration of the first run, with the overrides of the command.
        progress: the progress display.
    """
    configs = (config, *config.members)
    runs = [Run(find_run(Path(each.values["folder"]), each.values["run"], "run"), each) for each in configs]
    if config.values["run"] == LAST_RUN and not config.values["quiet"]:
        progress.note(f"run={LAST_RUN} is {runs[0].folder}")
    if len(runs) == 1:
        return TrainedModel(*runs[0], progress=progress)
    return Ensemble([each._replace(config=replace(each.config, members=())) for each in runs], progress=progress)
