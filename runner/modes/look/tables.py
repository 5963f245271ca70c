"""Tables of data: the splits, the target's distribution, a batch, some of its examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from components.types import MultiHot, Padded
from runner.display.tables import Section
from runner.figures.canvas import short
from runner.modes.look.view import Examples, View

MANY = 30  # classes or outputs that a table lists; of more the first and the last
SHOWN = 6  # examples
ELEMENTS = 3  # of a vector


def splits(view: View) -> Section:
    """How many rows each split has."""
    total = sum(map(len, view.data.splits.values()))
    rows = [[split, share(len(rows), total)] for split, rows in view.data.splits.items()]
    return Section("the splits", [["split", "rows"], *rows])


def counts(targets: Mapping[str, np.ndarray], classes: int) -> dict[str, np.ndarray]:
    """How many rows of each split are of each class, (classes,)."""
    return {split: np.bincount(values, minlength=classes) for split, values in targets.items()}


def balance(counts: Mapping[str, np.ndarray], names: Sequence[str]) -> Section:
    """How many rows of each split are of each class, and their share."""
    totals = {split: int(rows.sum()) for split, rows in counts.items()}
    rows = [
        [short(name), *(share(int(rows[number]), totals[split]) for split, rows in counts.items())]
        for number, name in enumerate(names)
    ]
    return Section("the classes, and their share of each split", [["class", *counts], *_some(rows)])


def quartiles(targets: Mapping[str, np.ndarray]) -> Section:
    """How numbers (rows, outputs) are spread in each split."""
    rows = [
        [split, str(output), *_spread(values[:, output])]
        for split, values in targets.items()
        for output in range(values.shape[1])
    ]
    heading = ["split", "output", "min", "25 %", "median", "75 %", "max", "mean"]
    return Section("the target, in its own unit", [heading, *_some(rows)])


def batch(examples: Examples) -> Section:
    """What of each input the model gets, and the target as losses see it."""
    arrays = {**examples.inputs, "(target)": examples.target}
    heading = ["input", "shape", "dtype", "min", "mean", "max", "zeros", "not finite"]
    rows = [[name, *_summary(value)] for name, value in arrays.items()]
    title = f"the first batch of training, {len(examples.rows):,} examples, as the model gets it"
    return Section(title, [heading, *rows])


def lengths(examples: Examples) -> Section | None:
    """How long the rows of padded inputs are; None where there is none."""
    padded = {name: value for name, value in examples.inputs.items() if isinstance(value, Padded)}
    rows = []
    for name, value in padded.items():
        length = np.asarray(value.mask).sum(axis=1)
        spread = [str(length.min()), number(length.mean()), str(length.max())]
        rows.append([name, *spread, str(value.mask.shape[1]), f"{1 - value.mask.mean():.1%}"])
    return Section("their lengths", [["input", "min", "mean", "max", "padded to", "padding"], *rows]) if rows else None


def first(examples: Examples, targets: Sequence[str], title: str) -> Section:
    """A few examples side by side: each column as it is after scaling, and what is right."""
    places = range(min(SHOWN, len(examples.rows)))
    rows = [["target", *(targets[place] for place in places)]]
    rows += [[short(name), *(_cell(value, place) for place in places)] for name, value in examples.columns.items()]
    return Section(title, [["row", *(f"{examples.rows[place]:,}" for place in places)], *rows])


def named(target: np.ndarray, classes: tuple[str, ...] | None) -> list[str]:
    """Targets or predictions as text: classes (N,) by their names, or numbers (N, outputs)."""
    if classes is not None:
        return [short(classes[one]) for one in target]
    return [_vector(row) for row in target.reshape(len(target), -1)]


def _some(rows: list[list[str]]) -> list[list[str]]:
    """The rows, or the first and last of many around a line that says how many are between."""
    if len(rows) <= MANY:
        return rows
    half = MANY // 2
    between = [f"… {len(rows) - 2 * half:,} more", *[""] * (len(rows[0]) - 1)]
    return [*rows[:half], between, *rows[-half:]]


def _spread(values: np.ndarray) -> Iterator[str]:
    values = values.astype(np.float64)
    yield from map(number, [*np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), values.mean()])


def _summary(value: Any) -> Iterator[str]:
    """Shape, dtype and figures of an array; of a padded one without its padding."""
    array = np.asarray(value.values if isinstance(value, Padded) else value)
    filled = array[np.asarray(value.mask)] if isinstance(value, Padded) else array
    yield " x ".join(map(str, array.shape))
    yield str(array.dtype)
    known = filled[np.isfinite(filled)].astype(np.float64)
    yield from map(number, [known.min(), known.mean(), known.max()]) if known.size else ["", "", ""]
    yield f"{(filled == 0).mean():.1%}" if filled.size else ""
    yield f"{filled.size - known.size:,}"


def _cell(value: Any, place: int) -> str:
    """An example of a column: its numbers where they are few."""
    if isinstance(value, Padded):
        row = np.asarray(value.values[place])[np.asarray(value.mask[place])]
        return f"{_vector(row)} ({len(row)})" if row.ndim == 1 else " x ".join(map(str, row.shape))
    if isinstance(value, MultiHot):
        return _ids(np.asarray(value.ids[place]), np.asarray(value.weights[place]), value.size)
    row = value[place]
    if row.ndim <= 1:
        return _vector(np.atleast_1d(row))
    return f"{number(row.min())} to {number(row.max())}"


def _ids(ids: np.ndarray, weights: np.ndarray, size: int) -> str:
    """The ids that stand for something, with their weights where those aren't 1."""
    there = np.flatnonzero((ids >= 0) & (ids < size))
    shown = [f"{ids[n]}" if weights[n] == 1 else f"{ids[n]} x {number(float(weights[n]))}" for n in there[:ELEMENTS]]
    return " ".join(["id", *shown, *(["…"] if len(there) > ELEMENTS else [])]) if shown else "no id"


def _vector(row: np.ndarray) -> str:
    numbers = [number(float(one)) for one in row[:ELEMENTS]]
    return " ".join([*numbers, *(["…"] if len(row) > ELEMENTS else [])])


def number(value: float) -> str:
    """A number with four digits."""
    return f"{value:.4g}"


def share(count: int, total: int) -> str:
    """A count with its share of a total."""
    return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"
