"""Statistics of classes: how often each occurs, and other statistics by class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.feature.base import raw
from components.feature.statistic.elements import Numerical, describe_key, find_unique, read_elements
from components.feature.text.string_ops import split_dictionary
from components.types import Block, DataError, Strings


@dataclass(frozen=True)
class Distinct:
    """The distinct classes of a column and their numbers of elements, as a dictionary sorted by class.

    Attributes:
        key: a raw column of integers, strings or booleans, (rows,); or of pixels, (rows, H, W).
        allow_missing: whether values may be missing. They aren't counted.
    """

    key: str
    allow_missing: bool = False

    def summarize(self, block: Block) -> Counter[Any]:
        classes, class_of_element = group_elements(block, self.key, allow_missing=self.allow_missing)
        counts = np.bincount(class_of_element[class_of_element >= 0], minlength=len(classes)).tolist()
        return Counter({value: count for value, count in zip(classes, counts, strict=True) if count})

    def merge(self, state: Counter[Any], other: Counter[Any]) -> Counter[Any]:
        return state + other

    def result(self, state: Counter[Any]) -> dict[Any, int]:
        return dict(sorted(state.items()))


@dataclass(frozen=True)
class ByClass:
    """The result of another statistic for each class, as a dictionary sorted by class.

    Attributes:
        statistic: a numerical statistic. It must read one vector per row.
        by: the raw column of classes: integers, strings or booleans.
    """

    statistic: Numerical
    by: str

    def summarize(self, block: Block) -> dict[Any, Any]:
        values = read_elements(block, self.statistic.key)
        classes, class_of_row = group_rows(block, self.by)
        if len(values) != len(class_of_row):
            name = describe_key(self.statistic.key)
            raise DataError(f"{name} of {block.origin} must have one vector in each row to be grouped by `{self.by}`")
        order = np.argsort(class_of_row, kind="stable")
        bounds = np.searchsorted(class_of_row[order], np.arange(len(classes) + 1)).tolist()
        rows_of_class = {value: order[bounds[n] : bounds[n + 1]] for n, value in enumerate(classes)}
        return {
            value: self.statistic.summarize_numbers(values[rows]) for value, rows in rows_of_class.items() if len(rows)
        }

    def merge(self, state: dict[Any, Any], other: dict[Any, Any]) -> dict[Any, Any]:
        common = {value: self.statistic.merge(state[value], other[value]) for value in state.keys() & other.keys()}
        return {**state, **other, **common}

    def result(self, state: dict[Any, Any]) -> dict[Any, Any]:
        raw.check_classes(self.by, state)
        return {value: self.statistic.result(state[value]) for value in sorted(state)}


@dataclass(frozen=True)
class RowShape:
    """The shape of a row of a column, which all rows share."""

    key: str

    def summarize(self, block: Block) -> tuple[int, ...]:
        return raw.read_row_shape(block, self.key)

    def merge(self, state: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
        if state != other:
            raise DataError(f"column `{self.key}` has rows of the shapes {state} and {other}; one shape is needed")
        return state

    def result(self, state: tuple[int, ...]) -> tuple[int, ...]:
        return state


def group_elements(block: Block, key: str, *, allow_missing: bool = False) -> tuple[list[Any], np.ndarray]:
    """Groups the elements of a column by class.

    Returns:
        The classes, and the position of each element's class among them, (rows, …); -1 for a missing value. Some
        classes may not occur.

    Raises:
        DataError: a value is no class, or is missing although that isn't allowed.
    """
    valid_mask = None
    if allow_missing:
        block, valid_mask = raw.fill_missing(block, key)
        if valid_mask is not None and not valid_mask.any():
            return [], np.full(valid_mask.shape, -1)
    column = block.columns.get(key)
    if isinstance(column, Strings):
        classes, class_of_element = group_rows(block, key)
    else:
        labels = raw.read_labels(block, key)
        classes, class_of_element = _number_labels(labels)
    return classes, class_of_element if valid_mask is None else np.where(valid_mask, class_of_element, -1)


def _number_labels(labels: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """The distinct labels, ascending, and the position of each label among them, in the shape of the labels."""
    if labels.dtype.kind in "iu":
        unique, _, positions = find_unique(labels.reshape(-1))
    else:
        unique, positions = np.unique(labels, return_inverse=True)
    return unique.tolist(), positions.reshape(labels.shape)


def group_rows(block: Block, key: str) -> tuple[list[Any], np.ndarray]:
    """Returns the classes of a column, and the position of each row's class among them. Some classes may not occur."""
    column = block.columns.get(key)
    if not isinstance(column, Strings) or not block.valid.get(key, np.True_).all():
        labels = raw.read_labels(block, key)  # raises DataError for a missing value
        if labels.ndim != 1:
            shape = labels.shape[1:]
            raise DataError(f"column `{key}` of {block.origin} has rows of shape {shape}; one class in each is needed")
        return _number_labels(labels)
    strings, string_of_row = split_dictionary(column)
    texts = strings.tolist()
    positions = {text: position for position, text in enumerate(dict.fromkeys(texts))}  # a dictionary may repeat a text
    class_of_string = np.array([positions[text] for text in texts], np.int64)
    return list(positions), class_of_string if string_of_row is None else class_of_string[string_of_row]
