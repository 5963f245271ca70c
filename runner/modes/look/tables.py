"""The tables of `mode=look`: splits, distribution of the target, the first batch and some of its examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, TypeAlias

import numpy as np

from components.types import DrawsExamples, MultiHot, Padded
from runner.data.copied_columns import copy_columns
from runner.data.encode import TARGET, is_input_column, is_target
from runner.data.windowed_rows import WindowedRows
from runner.display.numbers import format_number
from runner.display.tables import Section
from runner.figures.canvas import shorten
from runner.modes.look.view import Examples, View

IdName: TypeAlias = Callable[[int], str | None]

DIGITS = 4  # of a number; more where they tell numbers apart
TARGET_DIGITS = 6  # of a target in its own unit, which stands beside the same number of the data; float32 has 7
OWN_UNIT = "in its own unit"  # of a target, which losses may get as a z-score
MAX_EXAMPLES = 6
MAX_ROWS = 20  # of the table of the worst examples
MAX_CONFUSIONS = 10
MAX_ELEMENTS = 3  # elements of a vector that are shown
MAX_LABELS = 5  # labels of an example that are shown


def splits_table(view: View) -> Section:
    """The number of rows of each split."""
    total = sum(map(len, view.data.splits.values()))
    lines = [[split, format_share(len(rows), total)] for split, rows in view.data.splits.items()]
    return Section("splits", [["split", "rows" if view.features.examples is None else "examples"], *lines])


def first_examples_table(view: View) -> Section | None:
    """The first and the last row of the first example of each split. None: each row is an example."""
    data, examples = view.data, view.features.examples
    if examples is None or data.source is None:
        return None
    lines = []
    for split, known_by in data.splits.items():
        for part, is_part in (("inputs", is_input_column), ("targets", is_target)):
            arrays: Iterator[Any] = (
                each for name in data.encoded if is_part(name) for each in data.encoded[name].values()
            )
            array = next((each for each in arrays if isinstance(each, WindowedRows)), None)
            rows = np.asarray(known_by[:1]) if array is None else array.find_rows(np.asarray(known_by[:1]))[0]
            ends = rows[[0, -1]]
            numbers = ends if data.row_numbers is None else data.row_numbers[ends]
            copied = copy_columns(data.source, examples.keys, data.source_rows(ends))
            word = "and" if isinstance(examples, DrawsExamples) else "to"
            cells = [_format_ends(values, word) for values in (numbers, *copied.values())]
            lines.append([split, part, f"{len(rows):,}", *cells])
    return Section("the first example of each split", [["split", "", "rows", "row", *examples.keys], *lines])


def _format_ends(values: np.ndarray, word: str) -> str:
    """The first and the last value of a range or of a pair, or the only one."""
    texts = dict.fromkeys(str(value.astype("M8[s]") if values.dtype.kind == "M" else value) for value in values)
    return f" {word} ".join(texts)


def count_classes(targets: Mapping[str, np.ndarray], classes: int) -> dict[str, np.ndarray]:
    """The number of rows of each class in each split, (classes,), from ids (rows,) or labels (rows, classes)."""
    return {
        split: (values > 0).sum(0) if values.ndim == 2 else np.bincount(values[values >= 0], minlength=classes)
        for split, values in targets.items()
    }


def count_known(targets: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The number of rows in each split whose class or labels aren't missing."""
    return {split: int((values.reshape(len(values), -1) >= 0).all(1).sum()) for split, values in targets.items()}


def classes_table(
    counts: Mapping[str, np.ndarray], totals: Mapping[str, int], names: Sequence[str], target: str
) -> Section:
    """The number of rows of each class of a target in each split, and their share of the split."""
    lines = [
        [shorten(name), *(format_share(int(counts[split][number]), total) for split, total in totals.items())]
        for number, name in enumerate(names)
    ]
    title = f"rows of each class{_of_target(target)}, and their share of the split"
    return Section(title, [["class", *counts], *lines])


def _of_target(target: str) -> str:
    """The words that tell several targets apart in titles."""
    return "" if target == TARGET else f" of {target}"


def quartiles_table(targets: Mapping[str, np.ndarray], target: str) -> Section:
    """Quartiles and mean of a real target (rows, outputs) in each split."""
    rows = [
        [split, str(output), *_quartiles(values[~np.isnan(values[:, output]), output])]
        for split, values in targets.items()
        for output in range(values.shape[1])
    ]
    heading = ["split", "output", "min", "25 %", "median", "75 %", "max", "mean"]
    title = f"{target}, {OWN_UNIT}"
    if all(values.shape[1] == 1 for values in targets.values()):
        return Section(title, [[split, *numbers] for split, _, *numbers in (heading, *rows)])
    return Section(f"{title} (outputs are counted from 0)", [heading, *rows])


def batch_table(examples: Examples) -> Section:
    """Shape, dtype and statistics of each input, and of the targets as losses get them."""
    arrays = {**examples.inputs, **{f"({name})": values for name, values in examples.targets.items()}}
    heading = ["input", "shape", "dtype", "min", "mean", "max", "zeros", "not finite"]
    rows = [[name, *_summarize(value)] for name, value in arrays.items()]
    title = f"first training batch, {len(examples.rows):,} examples, as the model gets it without augmentation"
    return Section(title, [heading, *rows])


def lengths_table(examples: Examples) -> Section | None:
    """The lengths of the examples of padded inputs; None if no input is padded."""
    padded = {name: value for name, value in examples.inputs.items() if isinstance(value, Padded)}
    if not padded:
        return None
    rows = []
    for name, value in padded.items():
        rows += [[title, *_summarize_lengths(lengths, size)] for title, lengths, size in _list_lengths(name, value)]
    heading = ["input", "min", "mean", "max", "padded to", "padding"]
    return Section("lengths in the first training batch", [heading, *rows])


def _list_lengths(name: str, value: Padded) -> Iterator[tuple[str, np.ndarray, int]]:
    """A title, the lengths and the padded length of each level of sequences; inner ones without those of padding."""
    array: Any = value
    is_step = np.ones(len(value.mask), bool)
    while isinstance(array, Padded):
        mask = np.asarray(array.mask)
        yield name, mask.sum(axis=-1)[is_step], mask.shape[-1]
        name, is_step, array = f"{name}, within a step", mask, array.values


def _summarize_lengths(lengths: np.ndarray, size: int) -> list[str]:
    if not lengths.size:
        return ["", "", "", str(size), ""]
    statistics = [str(lengths.min()), format_number(lengths.mean(), DIGITS), str(lengths.max())]
    return [*statistics, str(size), f"{1 - lengths.mean() / size:.1%}"]


def examples_table(examples: Examples, targets: Mapping[str, Sequence[str]], title: str) -> Section:
    """The first examples side by side: the targets, and each feature column as its layer encodes it.

    Images with the same range of values are left out: their range tells nothing about the examples.
    """
    positions = range(min(MAX_EXAMPLES, len(examples.rows)))
    rows = []
    for name, texts in targets.items():
        is_real = name in examples.targets and np.issubdtype(examples.targets[name].dtype, np.floating)
        rows.append([f"{name}, {OWN_UNIT}" if is_real else name, *(texts[position] for position in positions)])
    for name, value in examples.columns.items():
        texts = [_format_example(value, position, examples.id_names.get(name)) for position in positions]
        if not _is_array(value) or len({*texts}) > 1:
            rows.append([shorten(name), *texts])
    return Section(title, [["row", *(f"{examples.rows[position]:,}" for position in positions)], *rows])


def confusion_table(
    names: Sequence[str], confusions: Sequence[tuple[int, int, int]], class_sizes: np.ndarray, counted: str
) -> Section:
    """The most frequent confusions.

    Args:
        names: the names of the classes.
        confusions: (class, predicted class, how often).
        class_sizes: the number of rows or pixels of each class.
        counted: `rows` or `pixels`.
    """
    rows = [
        [shorten(names[target]), shorten(names[predicted]), f"{count:,}", f"{count / class_sizes[target]:.1%}"]
        for target, predicted, count in confusions
    ]
    return Section("most frequent confusions", [["target", "prediction", counted, "share of the class"], *rows])


def format_targets(target: np.ndarray, classes: tuple[str, ...] | None) -> list[str]:
    """Targets or predictions as text: the names of classes (N,), of labels (N, classes), or vectors (N, outputs)."""
    if classes is not None and target.ndim == 2:
        return [_format_labels(row, classes) for row in target.tolist()]
    if classes is not None:
        return [shorten(classes[number]) if number >= 0 else "missing" for number in target]
    rows = target.reshape(len(target), -1)
    digits = [count_digits(column, TARGET_DIGITS) for column in rows.T]
    return [_format_vector(row, digits) for row in rows]


def _format_labels(row: Sequence[int], classes: Sequence[str]) -> str:
    """The names of the labels that a row has, as in `action, drama`."""
    names = [shorten(name) for name in compress(classes, row)]
    more = f", … ({len(names) - MAX_LABELS} more)" if len(names) > MAX_LABELS else ""
    return "missing" if -1 in row else ", ".join(names[:MAX_LABELS]) + more or "no label"


def count_digits(values: np.ndarray, digits: int = DIGITS) -> int:
    """How many digits tell numbers apart: `digits`; more if they are far from 0, such as Unix times."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size or not (spread := float(np.ptp(finite))):
        return digits
    places = np.floor(np.log10(np.abs(finite).max())) - np.floor(np.log10(spread))
    return min(17, digits + max(0, int(places)))


def format_share(count: int, total: int) -> str:
    """A count with its share of a total, as in `270 (15.0%)`."""
    return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"


def _quartiles(values: np.ndarray) -> Iterator[str]:
    values = values.astype(np.float64)
    digits = count_digits(values, TARGET_DIGITS)
    for value in (*np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), values.mean()):
        yield format_number(value, digits)


def _summarize(value: Any) -> Iterator[str]:
    """Shape and dtype of an array, and the statistics of its elements without padding."""
    while isinstance(value, Padded) and isinstance(value.values, Padded):
        value = value.values
    array = np.asarray(value.values if isinstance(value, Padded) else value)
    unpadded = array[np.asarray(value.mask)] if isinstance(value, Padded) else array
    yield " x ".join(map(str, array.shape))
    yield str(array.dtype)
    finite = unpadded[np.isfinite(unpadded)].astype(np.float64)
    yield from (
        (format_number(number, DIGITS) for number in (finite.min(), finite.mean(), finite.max()))
        if finite.size
        else ["", "", ""]
    )
    yield f"{(unpadded == 0).mean():.1%}" if unpadded.size else ""
    yield f"{unpadded.size - finite.size:,}"


def _is_array(value: Any) -> bool:
    """Whether the examples of a column are images or larger arrays, of which only the range is shown."""
    return isinstance(value, np.ndarray) and value.ndim > 2


def _format_example(value: Any, position: int, id_name: IdName | None) -> str:
    """One example of a column: the first elements of a vector, the shape or range of a larger array.

    Args:
        value: the examples of the column.
        position: which of them.
        id_name: (id) -> the value that it stands for; None: the ids of the column have no names.
    """
    if isinstance(value, Padded) and isinstance(value.values, Padded):
        steps = int(np.asarray(value.mask[position]).sum())
        return f"{steps} step{'s' if steps > 1 else ''}" if steps else "no step"
    if isinstance(value, Padded):
        row = np.asarray(value.values[position])[np.asarray(value.mask[position])]
        return f"{_format_vector(row)} ({len(row)})" if row.ndim == 1 else " x ".join(map(str, row.shape))
    if isinstance(value, MultiHot):
        return _format_ids(np.asarray(value.ids[position]), np.asarray(value.weights[position]), value.size, id_name)
    row = value[position]
    if row.ndim <= 1:
        return _format_vector(np.atleast_1d(row))
    return f"{format_number(row.min(), DIGITS)} to {format_number(row.max(), DIGITS)}"


def _format_ids(ids: np.ndarray, weights: np.ndarray, size: int, id_name: IdName | None) -> str:
    """The valid ids or their values, with weights that are not 1. Ids outside [0, size) stand for missing values."""
    valid = np.flatnonzero((ids >= 0) & (ids < size))
    if not len(valid):
        return "no id"
    values = [id_name(int(ids[n])) if id_name else None for n in valid[:MAX_ELEMENTS]]
    names = [f"id {ids[n]}" if value is None else shorten(value) for n, value in zip(valid, values, strict=False)]
    texts = [
        name if weights[n] == 1 else f"{name} x {format_number(float(weights[n]), DIGITS)}"
        for n, name in zip(valid, names, strict=False)
    ]
    return ", ".join(texts) + (" …" if len(valid) > MAX_ELEMENTS else "")


def _format_vector(row: np.ndarray, digits: Sequence[int] = ()) -> str:
    numbers = [
        format_number(float(value), digits[position] if position < len(digits) else DIGITS)
        for position, value in enumerate(row[:MAX_ELEMENTS])
    ]
    return " ".join(numbers) + (" …" if len(row) > MAX_ELEMENTS else "")
