"""Titrate's Python interface: `run`, `multirun`, `load` and `load_transform`."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from components.types import Source
    from runner.config.compose import Composer
    from runner.config.config import Config
    from runner.data.python_rows import PythonData
    from runner.data.transform import Transform
    from runner.execution.execute import Result
    from runner.inference.trained_model import TrainedModel
    from runner.sweep.launch import SweepResult


def _check_components() -> None:
    """Raises ImportError if a module of the user's is imported as `components` in place of Titrate's package."""
    spec = importlib.util.find_spec("components")
    origin = None if spec is None else spec.origin
    if origin is not None and not os.path.samefile(os.path.dirname(os.path.dirname(__file__)), _package_parent(origin)):
        raise ImportError(f"{origin} is in the way: Titrate has a package `components`. Rename yours.")


def _package_parent(origin: str) -> str:
    """The folder that holds a package, or a module, whose file is `origin`."""
    folder = os.path.dirname(origin)
    return os.path.dirname(folder) if os.path.basename(origin) == "__init__.py" else folder


_check_components()

from components.read_once import reading_once  # noqa: E402


@reading_once()
def run(
    *words: str | Mapping[str, Any],
    data: Source | Mapping[str, Any] | Any = None,
    target: str | int | Sequence[str | int] | None = None,
    source: Source | None = None,
    **settings: Any,
) -> Result:
    """Trains a model, evaluates it and records the run: `run("experiment=digits_cnn", {"training.epochs": 3})`.

    For a table without an experiment, feature columns, loss, metrics, architecture and optimizer are inferred, as for
    a file: `run(data=frame, target="price")`. An experiment keeps its feature columns, and reads them in the table.

    Ctrl-C and SIGTERM go to their handlers once the run has saved its state: the first one raises KeyboardInterrupt,
    the second one ends the process. After a handler of the caller that returns, the result has the status
    `interrupted`. The same call resumes the run.

    Args:
        words: `key=value`, as on the command line, or mappings of values by dotted key.
        data: the data: a mapping of columns, a data frame of pandas, Polars or Arrow, a `Dataset` or `DatasetDict` of
            Hugging Face, whose splits are kept, or a source. None: the source that the words choose.
        target: the column of the table to predict, or several.
        source: an earlier name of `data`.
        settings: none is allowed. Keys have dots, so they are words; the error says how to write them.

    Raises:
        UserError: an error that the caller can fix.
        PartError: a user-defined part raised an exception, which is the cause of this one.
        RunError, Exception: any other failure, which the run's folder records too.
        KeyboardInterrupt: Ctrl-C interrupted the run, and the caller has no handler of SIGINT.
    """
    from components.types import UserError
    from runner.config.compose import configure
    from runner.memory import check_memory_for_jax

    _refuse_keywords(settings)
    target = _as_text(target)
    overrides, composer, python_data = _read_call(words, data, target, source)
    config = configure(overrides, composer)
    _check_config(config, target)
    check_memory_for_jax(config.values["training"])
    from runner.execution.execute import execute
    from runner.sweep.plan import find_several_runs

    if (key := find_several_runs(config.values, overrides)) is not None:
        remedy = ", or set sweep.over=null for one run" if key == "sweep.over" else ""
        raise UserError(f"{key} makes several runs. Use runner.multirun instead of runner.run{remedy}.")
    return execute(config, source=python_data)


@reading_once()
def multirun(
    *words: str | Mapping[str, Any],
    data: Source | Mapping[str, Any] | Any = None,
    target: str | int | Sequence[str | int] | None = None,
    source: Source | None = None,
    **settings: Any,
) -> SweepResult:
    """Runs every combination of values and ranks the runs: `multirun("experiment=digits_cnn", "seed=1,2")`.

    Ctrl-C and SIGTERM go to their handlers once the sweep has saved its state, as for `run`. The same call resumes the
    sweep. A failed run doesn't stop the others; its outcome holds the error.

    Args:
        words: `key=value,value`, as after `titrate -m` on the command line, or mappings of one value by dotted key.
        data: as for `run`.
        target: as for `run`.
        source: an earlier name of `data`.
        settings: as for `run`.

    Raises:
        UserError: an error that the caller can fix. It is raised before the first run.
    """
    from runner.memory import check_memory_for_jax
    from runner.sweep.plan import Plan, make_plan

    _refuse_keywords(settings)
    target = _as_text(target)
    overrides, composer, python_data = _read_call(words, data, target, source)
    plan = make_plan(overrides, multirun=True, composer=composer)
    assert isinstance(plan, Plan)
    _check_config(plan.runs[0].config, target)
    check_memory_for_jax(plan.runs[0].config.values["training"])
    from runner.sweep.launch import launch

    return launch(plan, source=python_data)


def load(
    run: str | Path | Sequence[str | Path],
    *,
    folder: str | Path = "outputs",
    data: Source | Mapping[str, Any] | Any = None,
    source: Source | None = None,
    ensemble: int | None = None,
) -> TrainedModel:
    """Loads the best weights of a run as a model, with the methods `predict(columns)` and `evaluate("test")`.

    Several runs are an ensemble: the model predicts the mean of their outputs.

    Args:
        run: the path of the run's folder, the folder's name, the id of the MLflow run, or `last`, the run that started
            last. For an ensemble, a list of runs, or a sweep.
        folder: the folder that holds the folders of all runs. Names and ids are looked up in it.
        data: the data of a run that was trained with `run(…, data=…)`. New rows need none.
        source: an earlier name of `data`.
        ensemble: the number of runs of a sweep, from the best one. None: all that have finished.

    Raises:
        UserError: no such run exists, the run has saved no weights, or the runs are no ensemble.
    """
    from runner.memory import check_memory_for_jax

    python_data = _read_data(data, source)
    check_memory_for_jax()
    from runner.inference.load_model import load_model

    return load_model(run, root=folder, source=python_data, best=ensemble)


def load_transform(path: str | Path) -> Transform:
    """Loads the fitted columns of a run, which encode new rows: `load_transform(folder)({"size": [70.0]})`.

    `transform.npz` holds all that this needs. Neither Hydra nor MLflow is imported, and Arrow only to read texts.

    Args:
        path: the run's folder, or its `transform.npz`.
    """
    from pathlib import Path

    from runner.data import transform

    return transform.load_transform(Path(path))


def _refuse_keywords(settings: Mapping[str, Any]) -> None:
    """Raises UserError for keyword arguments, which would be overrides without dots."""
    from components.types import UserError
    from runner.config.python_words import format_override

    if settings:
        words = ", ".join(f'"{format_override(name, value)}"' for name, value in settings.items())
        raise UserError(f"{', '.join(settings)}: not an argument. Overrides are texts, as on the command line: {words}")


def _read_call(
    words: Iterable[str | Mapping[str, Any]], data: Any, target: str | Sequence[str] | None, source: Source | None
) -> tuple[list[str], Composer, PythonData | None]:
    """Reads the arguments of a call. Returns its overrides, what composes them, and the data that it passes."""
    import re

    from components.columns import SPLIT, has_splits
    from components.types import UserError
    from runner.config.catalog import FROM_PYTHON
    from runner.config.compose import Composer
    from runner.config.python_words import as_overrides, format_override
    from runner.data.python_rows import PythonTable

    overrides, python_data = as_overrides(words), _read_data(data, source)
    is_table = isinstance(python_data, PythonTable)
    if target is not None and not is_table:
        remedy = f"Write {format_override('data.target', target)!r}" if python_data is None else "Set it in the source"
        raise UserError(f"target={target!r} is for a table that is passed as data. {remedy}.")
    if isinstance(python_data, PythonTable):
        if chosen := list(filter(re.compile(r"data(=(?!\{)|\.option=|=\{(.*\W)?option\s*:)").match, overrides)):
            raise UserError(f"{chosen[0]} chooses a source, but a table is passed as data. Leave one of them out.")
        of_splits = [f"data.split_column={SPLIT}"] if has_splits(python_data.columns) else []
        overrides = [f"data={FROM_PYTHON}", *of_splits, *overrides]
        overrides += [] if target is None else [format_override("data.target", target)]
    return overrides, Composer(python_data.columns if isinstance(python_data, PythonTable) else None), python_data


def _read_data(data: Any, source: Source | None) -> PythonData | None:
    """The data that a call passes. Raises UserError if it is neither a table nor a source."""
    from components.columns import as_table, is_table
    from components.types import UserError
    from runner.config.python_words import format_override
    from runner.data.python_rows import PythonTable
    from runner.signature.build import check_kind

    if data is not None and source is not None:
        raise UserError("data and source are two names of one argument. Leave source out.")
    data = source if data is None else data
    if data is None or is_table(data):
        return None if data is None else PythonTable(as_table(data))
    hint = "Pass a mapping of columns, a data frame of pandas, Polars or Arrow, a Dataset, or a source."
    if isinstance(data, str | os.PathLike):
        words = f"'data=csv', {format_override('data.path', os.fspath(data))!r}, 'data.target=COLUMN'"
        raise UserError(f"data={os.fspath(data)!r} is a path. {hint} For a CSV file, write runner.run({words}).")
    if not hasattr(data, "blocks"):
        remedy = f'Put y into the table as a column, and name it by target="column". {hint}'
        is_pair = isinstance(data, tuple) and len(data) == 2  # (X, y)
        raise UserError(f"data is of the type {type(data).__name__}. {remedy if is_pair else hint}")
    try:
        check_kind(data, type(data).__name__, ("source",))
    except UserError as error:
        raise UserError(f"data: {error} {hint}") from None
    python_source: Source = data
    return python_source


def _as_text(target: str | int | Sequence[str | int] | None) -> str | list[str] | None:
    """The names of the columns to predict as texts: those of a data frame may be integers."""
    from components.types import UserError

    names = [str(name) for name in target] if isinstance(target, list | tuple) else None
    is_repeated = names is not None and len(set(names)) < len(names) and names != target
    if is_repeated or getattr(target, "shape", ()) != ():  # the values, as scikit-learn takes them
        raise UserError(
            f"target is of the type {type(target).__name__}, and the name of a column is needed. Put the values into "
            'the table as a column, and name it by target="column".'
        )
    if names is not None:
        return names
    return None if target is None else str(target)


def _check_config(config: Config, target: str | Sequence[str] | None) -> None:
    """Raises UserError for a mode other than `train`, and for a target that the feature columns don't have."""
    from components.types import UserError
    from runner.data.load import target_nodes

    if config.values["mode"] != "train":
        raise UserError(f"mode={config.values['mode']} is for the command line only. Leave it out.")
    keys = {str(node.get("key")) for node in target_nodes(config.values["feature"]).values()}
    targets = set() if target is None else {target} if isinstance(target, str) else {*target}
    if config.suggestion is None and (others := sorted(map(str, targets - keys))):
        raise UserError(
            f"target={others[0]}: the experiment or the feature file predicts {', '.join(sorted(keys)) or 'nothing'}. "
            f"Leave target out, or set feature.target.key={others[0]}."
        )
