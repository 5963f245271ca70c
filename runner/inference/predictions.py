"""The predictions of a model, and their columns as a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from components.closest import join_names, suggest_name
from components.types import KeepsUsedColumns, Source, TargetSpec, UserError
from runner.data.copied_columns import ROW, check_copied_columns, copy_columns
from runner.data.encode import first_block
from runner.data.python_rows import open_rows
from runner.display.frames import make_frame
from runner.display.html import MAX_ROWS, format_html
from runner.display.numbers import format_number
from runner.program.objective import decode_logits
from runner.program.samples import Spread
from runner.record.predictions import compute_label_probabilities, compute_probabilities, predict_labels

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True, repr=False)
class Predictions:
    """The predictions of a run's best weights.

    Attributes:
        classes: the classes, in the type that the data has them in; None: the target is real-valued.
        row: the number of each row in the data, int64 (N,); new rows are numbered from 0.
        target: the true classes or values, with the dtype and shape of `prediction`; None: unknown.
        prediction: classes (N,), or of pixels (N, H, W): text, integers or booleans; or lists of classes (N,), for a
            multilabel target, whose probabilities are above one half; or values in the target's own unit, float64 (N,)
            or (N, outputs), or images, float32 (N, H, W, C).
        probabilities: float32 (N, …, classes); None: the target is real-valued.
        source: the new rows, as `predict` got them; None: the predictions are for a split.
        spread: how far the samples of Monte Carlo dropout, or the members of an ensemble, are apart, by column, each
            (N, …). `std`: the standard deviation of the prediction of numbers, or of the probability of each class, (N,
            …, classes). Of classes also the `entropy` of the probabilities, in nats, and `mutual_information`, the part
            of it that is not in the single samples. Empty: there is a single output.
        place: the columns that say which rows make an example of several rows, such as its time, by name, each (N,).
            The values are those of the row whose number is in `row`: the last one of the inputs. Of pairs, `partner` is
            the number of the second row.
    """

    classes: tuple[str | int | bool, ...] | None
    row: np.ndarray
    target: np.ndarray | None
    prediction: np.ndarray
    probabilities: np.ndarray | None
    source: Any = None
    spread: Mapping[str, np.ndarray] = field(default_factory=dict)
    place: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        what = "numbers"
        if self.classes is not None:
            what = f"{len(self.classes)} classes: {join_names(map(str, self.classes))}"
        shape = "" if self.prediction.ndim < 2 else f" {self.prediction.shape[1:]}"
        return f"Predictions({len(self.row):,} rows{shape}, {what})"

    def _repr_html_(self) -> str:
        if self.prediction.ndim > 2:  # images
            return format_html(repr(self))
        columns = self.columns()
        shown = zip(*(values[:MAX_ROWS].tolist() for values in columns.values()), strict=True)
        rows = [[format_number(cell) if isinstance(cell, float) else str(cell) for cell in row] for row in shown]
        return format_html("Predictions", table=[list(columns), *rows], count=len(self.row))

    def frame(self, columns: Sequence[str] | None = None) -> pandas.DataFrame:
        """The predictions as a data frame, with the index of the new rows if these are a data frame of pandas.

        Args:
            columns: columns of the new rows to copy before the predictions, where `row` is the row's number. None: the
                row's number, and the target if it is known.

        Raises:
            UserError: the predictions are images, or a column can't be copied.
        """
        return _make_frame(self, self.source, columns)

    def columns(self) -> dict[str, np.ndarray]:
        """The predictions as columns of a table, each (N,).

        The columns of several outputs are named by the number of the output, and those of probabilities by the class.

        Raises:
            UserError: the predictions are images.
        """
        if self.prediction.ndim > 2 or (self.classes is not None and self.prediction.ndim > 1):
            raise UserError(
                f"each prediction is an image {self.prediction.shape[1:]}, which a table can't hold. "
                "Use `prediction`, or write PNG files with mode=predict."
            )
        columns = self.row_columns()
        if self.target is not None:
            columns |= _number_columns("target", self.target)
        columns |= _number_columns("prediction", self.prediction)
        if self.classes is not None and self.probabilities is not None:
            # A file has its booleans as true and false.
            texts = [str(name).lower() if isinstance(name, bool) else str(name) for name in self.classes]
            columns |= {f"probability_{text}": each for text, each in zip(texts, self.probabilities.T, strict=True)}
            if "std" in self.spread:
                columns |= {f"std_{text}": each for text, each in zip(texts, self.spread["std"].T, strict=True)}
        elif "std" in self.spread:
            columns |= _number_columns("std", self.spread["std"])
        return columns | {name: values for name, values in self.spread.items() if name != "std"}

    def row_columns(self) -> dict[str, np.ndarray]:
        """The columns that say which row is predicted."""
        taken = (ROW, "target", "prediction", *self.spread)
        return {ROW: self.row} | {f"data.{name}" if name in taken else name: each for name, each in self.place.items()}


class TargetPredictions(dict[str, Predictions]):
    """The predictions for several targets, by name."""

    def frame(self, columns: Sequence[str] | None = None) -> pandas.DataFrame:
        """The predictions as a data frame, with columns such as `PRICE.prediction`. The argument is that of
        `Predictions.frame`.
        """
        return _make_frame(self, next(iter(self.values())).source, columns)

    def _repr_html_(self) -> str:
        return "".join(format_html(name) + each._repr_html_() for name, each in self.items())


def check_has_target(targets: Mapping[str, object], run: str | Path) -> None:
    """Raises UserError if a run has no target: then the outputs of its architecture are not used."""
    if not targets:
        name = Path(run).name
        raise UserError(
            f"run={name}: the run has no target, so it has no outputs to predict. mode=evaluate shows its losses."
        )


def check_split(folder: Path, split: str, splits: Collection[str]) -> None:
    """Raises UserError if the data of a run has no such split."""
    if split not in splits:
        raise UserError(f"run={folder.name}: there is no split {split}. {suggest_name(split, splits)}")


def table_columns(predictions: Predictions | Mapping[str, Predictions]) -> dict[str, np.ndarray]:
    """The predictions for one target or several as columns of a table; with several, `PRICE.prediction`."""
    if isinstance(predictions, Predictions):
        return predictions.columns()
    columns: dict[str, np.ndarray] = {}
    for target, each in predictions.items():
        shared = each.row_columns()
        own = {name: values for name, values in each.columns().items() if name not in shared}
        columns |= shared | {f"{target}.{name}": values for name, values in own.items()}
    return columns


def copy_beside(
    predictions: Predictions | Mapping[str, Predictions],
    source: Source,
    names: Sequence[str],
    rows: np.ndarray | None = None,
    key: str = "output.columns",
) -> dict[str, np.ndarray]:
    """The predictions as columns of a table, after columns of the data.

    Args:
        predictions: the predictions.
        source: the data.
        names: the names of the columns, where `row` may stand for the row's number.
        rows: the rows of the source that are predicted. None: all.
        key: the key or the argument that has the names, for messages.
    """
    if isinstance(source, KeepsUsedColumns):
        source = source.with_more_columns(names)
    check_copied_columns(source, names, key)
    block = first_block(source)
    in_data = [name for name in names if block is not None and name in block.columns]
    copied = copy_columns(source, in_data, rows)
    predicted = table_columns(_drop_copied(predictions))
    numbers = {ROW: predicted.pop(ROW)}
    if taken := [name for name in in_data if name in predicted]:
        raise UserError(f"{key}: `{taken[0]}` is the name of a column of the predictions too. Rename it in the data.")
    return {name: copied[name] if name in copied else numbers[ROW] for name in names} | predicted


def _make_frame(
    predictions: Predictions | Mapping[str, Predictions], source: Any, names: Sequence[str] | None
) -> pandas.DataFrame:
    first = predictions if isinstance(predictions, Predictions) else next(iter(predictions.values()))
    if names is None:
        return make_frame(table_columns(predictions), source, first.row)
    if source is None:
        raise UserError(
            "columns: these are predictions for a split, whose rows are not here. Predict the rows themselves, "
            "or use `row`, the number of each row in the data."
        )
    opened = open_rows(source, {}).source
    return make_frame(copy_beside(predictions, opened, names, first.row, key="columns"), source, first.row)


def _drop_copied(predictions: Predictions | Mapping[str, Predictions]) -> Predictions | dict[str, Predictions]:
    """The predictions without what is copied from the data: the true classes or values, and columns such as times."""
    if isinstance(predictions, Predictions):
        return replace(predictions, target=None, place={})
    return {name: replace(each, target=None, place={}) for name, each in predictions.items()}


def make_predictions(
    spec: TargetSpec,
    row: np.ndarray,
    logits: np.ndarray,
    target: np.ndarray | None = None,
    source: Any = None,
    place: Mapping[str, np.ndarray] = MappingProxyType({}),
    spread: Spread | None = None,
) -> Predictions:
    """Predictions from the output of a model.

    Args:
        spec: the target.
        row: the number of each row, int64 (N,).
        logits: the output of the model, float32 (N, …, outputs).
        target: the indices of the true classes, int32 (N,), the true labels, int32 (N, classes), or the true values,
            (N, outputs); None: unknown.
        source: the new rows; None: the predictions are for a split.
        place: as for `Predictions`.
        spread: how far the samples are apart whose mean the output is. None: it is no mean.
    """
    columns = {} if spread is None else {name: each for name, each in spread._asdict().items() if each is not None}
    classes = spec.values or spec.classes
    if classes is None:
        return Predictions(
            classes=None,
            row=row,
            source=source,
            place=place,
            spread={name: _squeeze_single_output(each) for name, each in columns.items()},
            target=None if target is None else _squeeze_single_output(target),
            prediction=_squeeze_single_output(decode_logits(spec, logits)),
            probabilities=None,
        )
    if spec.kind == "multilabel":
        return Predictions(
            classes=classes,
            row=row,
            source=source,
            place=place,
            spread=columns,
            target=None if target is None else _list_labels(classes, target),
            prediction=_list_labels(classes, predict_labels(logits)),
            probabilities=compute_label_probabilities(logits),
        )
    class_probabilities = compute_probabilities(logits)
    names = np.array(classes)
    return Predictions(
        classes=classes,
        row=row,
        source=source,
        place=place,
        spread=columns,
        target=None if target is None else _name_classes(names, target),
        prediction=names[class_probabilities.argmax(-1)],
        probabilities=class_probabilities,
    )


def _list_labels(classes: tuple[str | int | bool, ...], labels: np.ndarray) -> np.ndarray:
    """The labels of each row as a list of classes, an array of objects (N,). Missing labels, -1, become None."""
    lists = np.empty(len(labels), object)
    for number, row in enumerate(labels.tolist()):
        lists[number] = None if -1 in row else list(compress(classes, row))
    return lists


def _name_classes(names: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The names of class ids. A missing class, -1, becomes None in an array of objects."""
    if (ids >= 0).all():
        return names[ids]
    found: np.ndarray = names.astype(object)[ids]
    found[ids < 0] = None
    return found


def _squeeze_single_output(values: np.ndarray) -> np.ndarray:
    """Values (N, outputs), or (N,) for a single output."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _number_columns(name: str, values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the values of each output's column: `name`, or `name_0`, `name_1`, … of several outputs."""
    if values.ndim == 1:
        yield name, values
    else:
        yield from ((f"{name}_{number}", column) for number, column in enumerate(values.T))
