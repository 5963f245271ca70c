"""`mode=look run=…`: shows the examples that a trained model predicts worst, and the classes that it confuses."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.types import Source, UserError
from runner import figures as run_figures
from runner.config.config import Config
from runner.data.copied_columns import copy_columns, has_files, list_flat_columns, list_path_columns
from runner.data.encode import TARGET
from runner.display.numbers import format_number
from runner.display.progress import Progress
from runner.display.tables import Section
from runner.figures.canvas import shorten, target_suffix
from runner.figures.data import draw_image_grid
from runner.files import check_no_links, write_atomically
from runner.inference.load_model import open_model
from runner.inference.trained_model import TrainedModel
from runner.modes.look import image_mistakes
from runner.modes.look.data import MAX_IMAGES, Look
from runner.modes.look.image_mistakes import find_image_mistakes
from runner.modes.look.tables import (
    DIGITS,
    MAX_CONFUSIONS,
    MAX_EXAMPLES,
    MAX_ROWS,
    confusion_table,
    examples_table,
    format_share,
    format_targets,
)
from runner.modes.look.view import View, image_inputs
from runner.modes.predict import check_recorded_split
from runner.record.predictions import RecordedPredictions, load_predictions
from runner.run_folder import read_record
from runner.tracking import DELIVERY_SECONDS, Delivery, RepeatedDelivery

MAX_RAW_COLUMNS = 12
MAX_TEXT = 30  # characters of a raw value


@contextlib.contextmanager
def look_at_mistakes(config: Config, progress: Progress) -> Iterator[Look]:
    """Yields the tables of a run's worst mistakes, and sends their figures to the run in MLflow on exit.

    Raises:
        UserError: there is no such run, or its predictions for the split can't be computed.
    """
    check_recorded_split(config)
    model = open_model(config, progress)
    folder = model.folder
    check_no_links(folder / "figures")
    split, predictions, suffix = _load_predictions(model, config.split)
    view = _load_view(model, progress)
    if view is None and model.image_targets and not predictions:
        view = View(model.data, model.features)  # raises the error: there is nothing else to show
    source = None if view is None else view.data.source
    is_writable = os.access(folder, os.W_OK)  # the run may be another user's
    tracking = read_record(folder)["tracking"] if is_writable else {}
    delivery = RepeatedDelivery(folder, config.values["tracking"].get("uri")) if tracking else None
    output = folder if is_writable else Path(tempfile.mkdtemp(prefix="titrate_look_"))
    if not is_writable:
        progress.note(f"warning: {folder} can't be written; the figures are in {output}")
    drawn = output / "figures"
    drawn.mkdir(exist_ok=True)
    with progress.working("drawing"):
        if is_writable:
            run_figures.draw(folder)
        sections = []
        for each in predictions:
            if suffix:
                run_figures.draw_predictions(each, drawn, suffix)
            worst = order_worst(each)
            sections += _name_target(each.target_name, _make_sections(each, worst, view, source))
            if view is not None:
                own_suffix = target_suffix(each.target_name) + suffix
                _draw_images(each, view, worst[:MAX_IMAGES], drawn, own_suffix)
        found = {} if view is None else find_image_mistakes(model, split)
        for name, mistakes in found.items():
            assert view is not None
            title = f"largest losses in {model.splits[split]:,} rows of {split}"
            paths = _copy_paths(mistakes.worst.row, slice(None), source, view)
            sections += _name_target(name, image_mistakes.make_sections(mistakes, model.targets[name], title, paths))
            image_mistakes.draw(mistakes.worst, name, view, title, drawn, suffix)
    write_atomically(drawn / f"worst_mistakes{suffix}.txt", "\n".join(map(str, sections)))
    yield Look(sections, output, tracking)
    if delivery:
        _deliver(delivery, folder, progress)


def order_worst(predictions: RecordedPredictions) -> np.ndarray:
    """The positions of the predictions, the worst first. Correct ones of classes are left out, unless all are correct.

    Predictions are ordered by loss or, if there is one real output, by absolute error. NaN comes first.
    """
    severity = np.where(np.isnan(predictions.loss), np.inf, predictions.loss)
    if predictions.classes is None and predictions.prediction.shape[1] == 1:
        error = np.abs(_residuals(predictions)[:, 0])
        severity = np.where(np.isnan(error), np.inf, error)
    positions = np.argsort(-severity, kind="stable")
    if predictions.classes is None or not predictions.is_wrong.any():
        return positions
    return positions[predictions.is_wrong[positions]]


def count_confusions(predictions: RecordedPredictions) -> list[tuple[int, int, int]]:
    """Counts wrong predictions: (class, predicted class, number of rows), the most frequent first."""
    wrong = predictions.target != predictions.prediction
    pairs = np.stack([predictions.target[wrong], predictions.prediction[wrong]], axis=1)
    distinct, counts = np.unique(pairs, axis=0, return_counts=True)
    ranked = np.argsort(-counts, kind="stable")
    return [(*distinct[position].tolist(), int(counts[position])) for position in ranked]


def _load_predictions(model: TrainedModel, split: str | None) -> tuple[str, list[RecordedPredictions], str]:
    """A split, its predictions by target, without those of images, and the suffix of its figures' names.

    The run folder holds the predictions for the default split. Their figures have no suffix. Predictions for another
    split are computed.
    """
    recorded = load_predictions(model.folder)
    if recorded and split in (None, recorded[0].split):
        return recorded[0].split, recorded, ""
    if len(model.image_targets) == len(model.targets):  # also if there is no target
        if split is None:
            return model.default_split, [], ""
        is_default = split == next((each for each in ("test", "valid") if each in model.splits), None)
        return split, [], "" if is_default else f"_{split}"
    split = split or model.default_split
    return split, model.predict_with_losses(split), f"_{split}"


def _load_view(model: TrainedModel, progress: Progress) -> View | None:
    """The run's data; None if it is not available, so that only the numbers of rows can be shown."""
    try:
        return View(model.data, model.features)
    except UserError as error:
        progress.note(f"warning: only the numbers of the rows are shown: {error}")
        return None


def _name_target(target: str, sections: Iterable[Section]) -> list[Section]:
    """The tables of a target, whose titles start with its name if there are several targets."""
    return [section._replace(title=f"{_prefix(target)}{section.title}") for section in sections]


def _prefix(target: str) -> str:
    return "" if target == TARGET else f"{target}: "


def _make_sections(
    predictions: RecordedPredictions, worst: np.ndarray, view: View | None, source: Source | None
) -> list[Section]:
    """The tables of the worst predictions for a target.

    Args:
        predictions: the predictions.
        worst: the positions of the worst.
        view: the run's data. None: it is not available.
        source: the source of the data. None: it is not available.
    """
    paths = _copy_paths(predictions.row, worst[:MAX_ROWS], source, view)
    sections = [_worst_table(predictions, worst, paths)]
    if view is not None and source is not None and len(worst):
        first = worst[:MAX_EXAMPLES]
        rows = view.data.find_rows(predictions.row)[first]
        examples = view.examples(rows)
        if set(examples.inputs) - set(image_inputs(examples.inputs)):  # images are drawn instead
            sections += _raw_tables(predictions.row[first], view.data.source_rows(rows), source, view)
            targets = format_targets(predictions.target[first], predictions.classes)
            named = {predictions.target_name: targets}
            sections.append(examples_table(examples, named, "the first of them, as the model gets them"))
    if predictions.classes is None or predictions.is_multilabel:
        return sections
    if confusions := count_confusions(predictions):
        class_sizes = np.bincount(predictions.target)
        sections.append(confusion_table(predictions.classes, confusions[:MAX_CONFUSIONS], class_sizes, "rows"))
    return sections


def _raw_tables(numbers: np.ndarray, rows: np.ndarray, source: Source, view: View) -> Iterator[Section]:
    """The rows as they are in the data; nothing if they have no column of single values but the target.

    Args:
        numbers: the numbers of the rows, for the heading.
        rows: the positions of the rows in the source.
        source: the source.
        view: the encoded data.
    """
    names = list_flat_columns(source)
    if not {*names} - {key for target in view.features.targets.values() for key in target.keys}:
        return
    copied = copy_columns(source, names[:MAX_RAW_COLUMNS], rows)
    lines = [[shorten(name), *(_format_raw(value) for value in copied[name].tolist())] for name in copied]
    more = f" ({len(names) - MAX_RAW_COLUMNS:,} more columns)" if len(names) > MAX_RAW_COLUMNS else ""
    heading = ["row", *(f"{number:,}" for number in numbers)]
    yield Section(f"the first of them, as they are in the data{more}", [heading, *lines])


def _format_raw(value: Any) -> str:
    """A raw value on one line; "" if it is missing. Whole numbers are often read as floats, for rows with fractions."""
    if value is None or value != value:
        return ""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return shorten(int(value) if is_whole else value, MAX_TEXT)


def _copy_paths(
    numbers: np.ndarray, shown: np.ndarray | slice, source: Source | None, view: View | None
) -> dict[str, list[str]]:
    """The paths of the files of some of the rows with some numbers, by column; none without the data, or files."""
    if source is None or view is None or not has_files(view.features.columns):
        return {}
    rows = view.data.source_rows(view.data.find_rows(numbers)[shown])
    copied = copy_columns(source, list_path_columns(source), rows)
    return {name: [shorten(path, MAX_TEXT) for path in paths.tolist()] for name, paths in copied.items()}


def _worst_table(predictions: RecordedPredictions, worst: np.ndarray, paths: Mapping[str, list[str]]) -> Section:
    """The worst predictions, one in each row, with the paths of their files by column."""
    shown = worst[:MAX_ROWS]
    columns = {
        "row": [f"{row:,}" for row in predictions.row[shown]],
        **paths,
        "target": format_targets(predictions.target[shown], predictions.classes),
        "prediction": format_targets(predictions.prediction[shown], predictions.classes),
    }
    if predictions.probability is not None and not predictions.is_multilabel:
        columns["probability"] = [f"{value:.3f}" for value in predictions.probability[shown]]
    elif predictions.classes is None and predictions.target.shape == predictions.prediction.shape:
        columns["target - prediction"] = format_targets(_residuals(predictions)[shown], None)
    columns["loss"] = [format_number(value, DIGITS) for value in predictions.loss[shown]]
    return Section(_title(predictions), [list(columns), *map(list, zip(*columns.values(), strict=True))])


def _title(predictions: RecordedPredictions) -> str:
    """The title of the worst predictions, with their number."""
    rows = len(predictions.row)
    if predictions.classes is None:
        return f"largest errors in {rows:,} rows of {predictions.split} (rows are counted from 0)"
    wrong = int(predictions.is_wrong.sum())
    if not wrong:
        return f"no mistakes in {rows:,} rows of {predictions.split}; the largest losses"
    return f"worst of {format_share(wrong, rows)} mistakes in {rows:,} rows of {predictions.split}"


def _draw_images(predictions: RecordedPredictions, view: View, worst: np.ndarray, figures: Path, suffix: str) -> None:
    """Draws the worst examples of each input that is an image."""
    if not len(worst):
        return
    images = image_inputs(view.examples(view.data.find_rows(predictions.row)[worst]).inputs)
    for name, values in images.items():
        input_name = f"_{name}" if len(images) > 1 else ""
        path = figures / f"worst_mistakes{input_name}{suffix}.png"
        title = f"{_prefix(predictions.target_name)}{_title(predictions)}"
        draw_image_grid(values, _captions(predictions, worst), title, path)


def _captions(predictions: RecordedPredictions, worst: np.ndarray) -> list[str]:
    """The texts below images, `pred 3 (0.98)` and `true 8`. Long names are cut, so that captions don't overlap."""
    targets = format_targets(predictions.target[worst], predictions.classes)
    predicted = format_targets(predictions.prediction[worst], predictions.classes)
    if predictions.probability is None or predictions.is_multilabel:
        pairs = zip(predicted, targets, strict=True)
        return [f"pred {shorten(prediction, 14)}\ntrue {shorten(target, 14)}" for prediction, target in pairs]
    return [
        f"pred {shorten(prediction, 11)} ({probability:.2f})\ntrue {shorten(target, 16)}"
        for prediction, target, probability in zip(predicted, targets, predictions.probability[worst], strict=True)
    ]


def _residuals(predictions: RecordedPredictions) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return predictions.target - predictions.prediction


def _deliver(delivery: Delivery, folder: Path, progress: Progress) -> None:
    """Waits a few seconds for the delivery of the figures to MLflow. A failure is printed, and stops nothing."""
    with progress.working("bringing the figures to MLflow"):
        delivery.close(DELIVERY_SECONDS)
    if note := delivery.describe_missing():
        progress.note(f"{note}; the figures are in {folder / 'figures'}")
