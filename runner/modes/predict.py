"""`mode=predict`: writes the predictions of a run's best weights, for a split or for new rows, into a file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.columns import ALL, merge_options
from components.input_files import describe_paths
from components.types import (
    FEATURES,
    AllowsAbsentColumns,
    DataError,
    InfersTypes,
    NeedsFeatures,
    Remedy,
    SkipsRows,
    UserError,
)
from components.types.splits import SPLIT_OPTIONS
from runner.config.catalog import IMAGE_FOLDERS, TABLES_IN_FILES
from runner.config.check_files import check_output
from runner.config.features_run import find_features_run
from runner.config.provenance import Problems
from runner.config.recorded_config import read_config
from runner.config.settings import Output
from runner.data.copied_columns import (
    ROW,
    check_copied_columns,
    copy_columns,
    copy_targets,
    has_files,
    list_path_columns,
)
from runner.data.encode import TARGET, target_column
from runner.data.load import RawColumns, target_nodes
from runner.data.transform import read_raw_columns, read_source_options
from runner.display.progress import make_progress
from runner.errors import error_location, located_settings
from runner.inference.image_output import check_image_folder, write_images
from runner.inference.new_rows import FILL, MissingTargetError, keep_possible_remedies
from runner.inference.output import write_table
from runner.inference.predictions import check_has_target, check_split, copy_beside, table_columns
from runner.override_text import format_override, locate_settings
from runner.run_folder import find_run, read_record
from runner.signature.build import build_source
from runner.terminal import write_line

NEW_ROWS_OPTIONS = ("path", "query", "function")  # of a source, which name its rows
# Options of a source that may have a value for each column.
COLUMN_OPTIONS = ("types", "dates", "marks", "nulls", "decimal")

if TYPE_CHECKING:
    import numpy as np

    from components.types import Source, Target
    from runner.config.config import Config
    from runner.display.progress import Progress
    from runner.inference.predictions import Predictions
    from runner.inference.trained_model import TrainedModel


def command(config: Config) -> int:
    """Writes predictions to `output`, in the order of the rows. Returns the exit code.

    Beside them are the columns of `output.columns`, by default the row's number, the path of each file, and the target
    where it is known. If the command names another `data.path`, its rows are predicted, and need no target. Otherwise
    `data.split` is predicted: by default test, or valid if the run has no test split. Predicted images are PNG files in
    a folder, `masks` for `output=masks.csv`, and the table has their paths.
    """
    output = Output(**config.values["output"])
    path = Path(str(output.path))
    new_rows, problems = None, Problems(config)  # all are found before JAX is imported
    with problems.collect():
        check_output(config.values["output"])
    with problems.collect():
        check_has_target(target_nodes(config.values["feature"]), config.values["run"])
    for own in (config, *config.members):
        with problems.collect():
            check_recorded_split(own)
    of_others: list[Source | None] = []
    with problems.collect():
        new_rows = open_new_rows(config)
        _check_copied(config, new_rows, output.columns)
        of_others = [open_new_rows(own) for own in config.members]
    problems.raise_all()
    from runner.inference.ensemble import join_rows
    from runner.inference.load_model import open_model

    with closing(make_progress(quiet=config.values["quiet"])) as progress:
        model = open_model(config, progress)
        note_readings(new_rows, model, progress)
        split = config.split or model.default_split if new_rows is None else None
        with nullcontext() if new_rows is None else explain_errors_in_new_rows(config):
            rows = str(split) if new_rows is None else join_rows(new_rows, of_others)
            predictions = _predict(config, model, rows, progress)
        source, numbers = new_rows, _list_rows(predictions)
        if split is not None:
            source, numbers = model.data.source, model.data.source_rows(model.data.splits[split])
        assert source is not None
        if output.columns is not None:
            columns = copy_beside(predictions, source, output.columns, numbers)
        else:
            columns = _copy_known(predictions, model, source, numbers, is_split=split is not None)
        write_table(path, columns)
    if not config.values["quiet"]:
        rows_text = f"the {split} split" if split else f"the rows of {name_new_rows(config)}"
        images = f", and their images in {path.with_suffix('')}" if model.image_targets else ""
        count = len(next(iter(columns.values())))
        predictions_text = "1 prediction" if count == 1 else f"{count:,} predictions"
        write_line(f"{predictions_text} for {rows_text} {'is' if count == 1 else 'are'} in {path}{images}")
    return 0


def _predict(
    config: Config, model: TrainedModel, rows: Any, progress: Progress
) -> Predictions | Mapping[str, Predictions]:
    """Predicts a split or new rows. Images are written, and the predictions have the paths of their files."""

    def note_warning(warning: str) -> None:
        progress.note(f"note: {warning}")

    arguments: Any = {
        "on_missing": config.on_missing,
        "on_warning": note_warning,
        "mc_samples": config.values["mc_samples"],
    }
    if not model.image_targets:
        return model.predict(rows, **arguments)
    output = Output(**config.values["output"])
    folder = check_image_folder(Path(str(output.path)), overwrite=output.overwrite)
    targets = {name: model.features.targets[name] for name in model.image_targets}
    constants = {name: model.transform.constants[target_column(name)] for name in targets}
    with (
        closing(model.predict_in_batches(rows, **arguments)) as batches,
        progress.working("predicting"),
    ):
        return write_images(batches, targets, constants, folder)


def _list_rows(predictions: Predictions | Mapping[str, Predictions]) -> np.ndarray:
    """The rows that are predicted."""
    return (next(iter(predictions.values())) if isinstance(predictions, Mapping) else predictions).row


def _find_numbers(model: TrainedModel) -> dict[str, Target]:
    """The targets that are numbers of one column of the data, whose float32 values have fewer digits than the data."""
    targets = {} if model.augments_targets else model.features.targets
    return {
        name: targets[name]
        for name, spec in model.targets.items()
        if spec.kind == "real" and not spec.is_image and getattr(targets.get(name), "key", None) is not None
    }


def _copy_known(
    predictions: Predictions | Mapping[str, Predictions],
    model: TrainedModel,
    source: Source,
    rows: np.ndarray,
    *,
    is_split: bool,
) -> dict[str, np.ndarray]:
    """The predictions as columns of a table, with the paths of files and the targets as the data has them.

    Args:
        predictions: the predictions.
        model: the model.
        source: the data.
        rows: the rows of the source that are predicted.
        is_split: whether these are a split of the run.
    """
    columns = table_columns(predictions)
    targets = _find_numbers(model) if is_split else model.features.targets
    if (examples := model.features.examples) is not None and examples.target_steps is not None:
        targets = {}  # a row has none of the targets that are predicted for it
    targets = {name: target for name, target in targets.items() if name not in model.image_targets}
    if not targets and not has_files(model.features.columns):  # nothing is read
        return columns
    paths, known = copy_columns(source, list_path_columns(source), rows), copy_targets(source, targets, TARGET, rows)
    added = {name: values for name, values in known.items() if name not in columns}
    return {ROW: columns.pop(ROW), **paths, **added, **columns} | known


def _check_copied(config: Config, new_rows: Source | None, names: Sequence[str] | None) -> None:
    """Raises UserError for a column that is to be copied beside the predictions and isn't there."""
    source = new_rows
    if names is None or (source is None and "_target_" not in config.values["data"]):
        return  # the data came from Python, which is an error of its own
    if source is None and config.values["operations"]:
        return  # the columns are known once the operations have run
    if source is None:
        with error_location("data"):
            source = build_source(config.values["data"])
        if isinstance(source, NeedsFeatures):
            return  # the columns are known once the features are computed
        if isinstance(source, SkipsRows):
            source = source.with_used_columns(())  # the names are read only, so no row is bad
    check_copied_columns(source, names)


def check_recorded_split(config: Config) -> None:
    """Raises UserError if the data of the run has no split `data.split`."""
    if config.split is not None:
        folder = find_run(Path(config.values["folder"]), config.values["run"], "run")
        check_split(folder, config.split, [dataset["split"] for dataset in read_record(folder)["datasets"]])


def open_new_rows(config: Config, *, with_target: bool = False) -> Source | None:
    """Opens the rows of another `data.path`, `data.query` or `data.function`, to be encoded with the run's columns.

    Args:
        config: the run's configuration, with the overrides of the command.
        with_target: whether the target is read too.

    Returns:
        The source of the rows; None: the command names none of these, or a split of the run's own data.

    Raises:
        UserError: there is no such file, or the run was trained on data from Python.
        DataError: a row can't be read.
    """
    if not config.names_new_rows or config.split is not None:
        if config.on_missing != "error":
            raise UserError(
                f"data.on_missing={config.on_missing} is for new rows. Name their file by data.path=…, or leave it out."
            )
        return None
    if "_target_" not in config.values["data"]:
        run, data = config.values["run"], config.values["data"]
        option = next(option for option in NEW_ROWS_OPTIONS if option in data)
        raise UserError(
            f"data.{option}={data[option]}: run={run} was trained on data from Python, so its configuration has no "
            f"source that reads it. Use runner.load({run!r}).predict(columns)."
        )
    if not with_target and config.values["data"].get("on_bad_row") == "skip" and _is_set(config, "on_bad_row"):
        raise UserError(
            "data.on_bad_row=skip: rows to predict can't be skipped, because each of them needs a prediction. Leave it "
            "out."
        )
    with error_location("data"):
        folder = find_run(Path(config.values["folder"]), config.values["run"], "run")
        recorded, read = _read_columns(config, folder, with_target=with_target)
        options = merge_options(recorded, config.values["data"])
        dropped = _options_of_runs(options)
        if not with_target:
            dropped = (*dropped, "on_bad_row")  # a bad row is an error, because each row needs a prediction
        if not with_target and options.get("_target_") == IMAGE_FOLDERS and not _is_set(config, "classes"):
            dropped = (*dropped, "classes")  # the class of a new image is unknown, whatever its folder is named
        options = {key: value for key, value in options.items() if key not in dropped}
        data = options if with_target else _without_target_options(options, config.values["feature"])
        if read is not None:
            data = {
                option: _select_columns(option, value, recorded.get(option), read.names)
                for option, value in data.items()
            }
        source: Source = build_source(data)
        if read is not None and isinstance(source, SkipsRows):
            source = source.with_used_columns(*read)
        if read is not None and isinstance(source, AllowsAbsentColumns):
            source = source.with_known_columns(read.names)
    option = next(option for option in NEW_ROWS_OPTIONS if option in data)
    with error_location(f"data.{option}"), located_settings("data"):
        with keep_possible_remedies(targets=() if with_target else None):
            source.fingerprint()  # raises for a missing file, before JAX is imported
        with explain_errors_in_new_rows(config, with_target=with_target):
            source.sizes()
        if (left_out := getattr(source, "other_images", ())) and not _is_set(config, "suffix"):
            suffix = ",".join([data["suffix"]] if isinstance(data["suffix"], str) else data["suffix"])
            path = config.values["data"]["path"]
            raise UserError(
                f"{path}: the run's data.suffix (={suffix}) would leave out {len(left_out)} image files, such as "
                f"{left_out[0]}. Set data.suffix=null to read all images, or data.suffix=[{suffix}]"
            )
    return source


def _read_columns(config: Config, folder: Path, *, with_target: bool) -> tuple[dict[str, Any], RawColumns | None]:
    """The options with which new rows are read as in training, and their raw columns, as `read_raw_columns` has them.

    Those of a run on the features of another run are the columns that this one reads, and its own others.
    """
    read, of_run = read_raw_columns(folder, with_target=with_target), read_config(folder)
    body = find_features_run(of_run, config.values["folder"])
    if body is None:
        return read_source_options(folder), read
    options = read_source_options(body) if of_run["data"].get("rows") is None else {}
    inputs = read_raw_columns(body, with_target=False)
    if read is None or inputs is None:
        return options, None
    return options, read._replace(names=(read.names - {FEATURES}) | inputs.names)


def _is_set(config: Config, option: str) -> bool:
    """Whether the command sets an option of the data, beside the configuration of the run."""
    of_run = str(find_run(Path(config.values["folder"]), config.values["run"], "run") / "config.yaml")
    pattern = re.compile(rf"data\.{option}\b")
    return any(pattern.match(key) and origin != of_run for key, origin in config.origins.items())


def name_new_rows(config: Config) -> Any:
    """The file of the new rows, the query, or the function that yields them."""
    data = config.values["data"]
    option = next(option for option in NEW_ROWS_OPTIONS if option in data)
    if option == "function":
        return data[option]["_target_"]
    return describe_paths(tuple(data[option].values()) if isinstance(data[option], Mapping) else data[option])


def _options_of_runs(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The options of a source that have no meaning for new rows.

    They need no column that is dropped or decides about splits. All their rows are used, and no other file.
    """
    if data.get("_target_") not in TABLES_IN_FILES:
        return ("drop", *SPLIT_OPTIONS[:-1])  # `classes` may be the names of folders
    return ("drop", "valid", "test", "stratify", *SPLIT_OPTIONS)


def note_readings(new_rows: Source | None, model: TrainedModel, progress: Progress) -> None:
    """Shows how the texts of new rows are read, where it isn't set."""
    if isinstance(new_rows, InfersTypes):
        read = read_raw_columns(model.folder, with_target=False)
        keys = (
            {key for column in model.features.columns.values() for key in column.keys} if read is None else read.names
        )
        for note in new_rows.reading_notes(keys, declared=True):
            progress.note(f"note: {locate_settings(note, 'data')}")


def _without_target_options(data: Mapping[str, Any], feature: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the source for rows that need no target: any text is accepted there, and no row is left out.

    The settings of a target's column stay if an input reads the target's raw column too.
    """
    data = {key: value for key, value in data.items() if key not in ("on_missing_target", "on_missing_image")}
    if data.get("_target_") == IMAGE_FOLDERS and data.get("labels", True):
        data["labels"] = None  # new images may be in no folders of classes
    keys = {target.get("key") for target in target_nodes(feature).values() if isinstance(target.get("key"), str)}
    keys -= {part["key"] for part in feature["columns"].values() if isinstance(part.get("key"), str)}
    by_column = {
        option: value for option, value in data.items() if option in COLUMN_OPTIONS and isinstance(value, dict)
    }
    kept = {
        option: {name: item for name, item in value.items() if name not in keys} for option, value in by_column.items()
    }
    return {**data, **kept}


def _select_columns(option: str, value: Any, recorded: Any, keys: Collection[str]) -> Any:
    """An option of the source without the columns that the run lists and doesn't read: new rows need not have them.

    Args:
        option: the name of the option.
        value: the option, by column or not.
        recorded: the option of the run. Names that only the command has stay, so that a wrong one is an error.
        keys: the columns that the run reads.
    """
    if option == "images" and isinstance(value, list | tuple) and isinstance(recorded, list | tuple):
        return [name for name in value if name in keys or name not in recorded]
    if not isinstance(value, dict) or not isinstance(recorded, dict):
        return value
    return {name: item for name, item in value.items() if name in keys or name not in recorded or name == ALL}


@contextmanager
def explain_errors_in_new_rows(config: Config, *, with_target: bool = False) -> Iterator[None]:
    """Adds to a DataError that the run's columns are fixed, and leaves out remedies that would change them.

    Args:
        config: the run's configuration, with the overrides of the command.
        with_target: whether the rows are evaluated.
    """
    try:
        with located_settings("data"), keep_possible_remedies(targets=() if with_target else None):
            yield
    except DataError as error:
        data = config.values["data"]
        is_table = data.get("_target_") in TABLES_IN_FILES
        fill = FILL._replace(action="set data.on_missing=fill")
        remedies = [fill if each.changes == fill.changes else each for each in error.remedies]
        if isinstance(error, MissingTargetError) and is_table:
            setting = "data.on_missing_target=drop"
            if not data.get("target"):
                setting = f"{format_override('data.target', str(error.missing))} {setting}"
            remedies.append(Remedy(f"set {setting}", "skipping", "to leave such rows out"))
        error.replace_remedies(remedies)
        run, path = Path(str(config.values["run"])).name, name_new_rows(config)
        if isinstance(error, MissingTargetError) or any(each.changes == "files" for each in remedies):
            raise  # how columns are read has nothing to do with it
        remedy = ", or set by the keys of `data` how it is read" if is_table else ""
        raise DataError(
            f"{error}\nThe columns of run={run} and their types are fixed. Correct {path}{remedy}."
        ) from error
