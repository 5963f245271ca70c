"""The labels of rows: any number of classes in each row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from components.feature.base import raw
from components.feature.base.values import CategoryValues, read_values
from components.feature.statistic.classes import group_rows
from components.feature.text import tokenize
from components.feature.text.string_ops import split_dictionary
from components.types import Block, DataError, Remedy, Strings

Missing: TypeAlias = Literal["mask", "empty"]
SPACES = re.compile(rb"\A +|(?<=[\xfe\xff]) +| +(?=[\xfe\xff])")  # around a label; the bytes are SEPARATOR and END


class LabelRows(NamedTuple):
    """The labels of rows.

    Attributes:
        classes: the values of the classes that occur, integers or strings; of vectors, the positions of all elements.
        has_label: bool (rows, classes): whether a row has a label.
        is_missing: bool (rows,): whether it is unknown which labels a row has.
    """

    classes: list[Any]
    has_label: np.ndarray
    is_missing: np.ndarray


@dataclass(frozen=True)
class LabelReader:
    """Reads the labels of rows. As a statistic, it counts the rows with each label, sorted by label.

    Attributes:
        key: a raw column of texts, of lists, or of vectors of 0 and 1.
        separator: the text between the labels of a text, whatever spaces are around it.
        missing: what missing values are: unknown labels (`mask`), no labels (`empty`), or errors (None).
    """

    key: str
    separator: str
    missing: Missing | None

    def summarize(self, block: Block) -> dict[Any, int]:
        labels = self.read(block)
        return dict(zip(labels.classes, labels.has_label.sum(0).tolist(), strict=True))

    def merge(self, state: dict[Any, int], other: dict[Any, int]) -> dict[Any, int]:
        return {value: state.get(value, 0) + other.get(value, 0) for value in {**state, **other}}

    def result(self, state: dict[Any, int]) -> dict[Any, int]:
        return dict(sorted(state.items()))

    def read(self, block: Block) -> LabelRows:
        """Reads the labels of the rows. Raises DataError for a value that is wrong, or missing without `missing`."""
        vectors = self.find_vectors(block)
        if vectors is not None:
            return self._read_vectors(block, vectors)
        labels = read_values(block, self.key, empty_is_missing=False)
        if labels.layout.is_nested:
            raise DataError(
                f"column `{self.key}` of {block.origin} has {labels.layout} in its rows, but labels are lists",
                Remedy("join the lists of a row", "columns"),
            )
        is_missing = self._find_missing(block, labels)
        classes, has_label = self._find_labels(labels)
        has_label &= ~is_missing[:, None]
        occurring = np.flatnonzero(has_label.any(0))
        classes = [classes[position] for position in occurring]
        return self._apply_missing(block, LabelRows(classes, has_label[:, occurring], is_missing))

    def find_vectors(self, block: Block) -> np.ndarray | None:
        """The column if it holds vectors with an element for each class, (rows, classes)."""
        column = block.columns.get(self.key)
        if isinstance(column, np.ndarray) and column.ndim == 2 and column.dtype.kind in "biuf":
            return column
        return None

    def _find_labels(self, labels: CategoryValues) -> tuple[list[Any], np.ndarray]:
        """The classes, and whether a row has a label, bool (rows, classes). Some classes may not occur."""
        if not (isinstance(labels.values, Strings) and labels.is_one_dimensional):
            rows = labels.number_rows()
            return _mark_labels(labels.values, np.arange(labels.row_count) if rows is None else rows, labels.row_count)
        texts, text_of_row = split_dictionary(labels.values)  # a text is split once, even if many rows have it
        joined = tokenize.join_texts(texts).replace(self.separator.encode(), bytes([tokenize.SEPARATOR]))
        joined = SPACES.sub(b"", joined)
        values, offsets = tokenize.split(joined, mode=None)  # only at the byte tokenize.SEPARATOR
        text_of_label = np.repeat(np.arange(texts.rows), np.diff(offsets))
        classes, has_label = _mark_labels(values, text_of_label, texts.rows)
        return classes, has_label if text_of_row is None else has_label[text_of_row]

    def _read_vectors(self, block: Block, vectors: np.ndarray) -> LabelRows:
        """Reads vectors of 0 and 1, (rows, classes)."""
        is_missing = ~block.valid.get(self.key, np.ones(len(vectors), bool))
        has_label = (vectors == 1) & ~is_missing[:, None]
        wrong = np.argwhere((vectors != 0) & ~has_label & ~is_missing[:, None])
        if len(wrong):
            row, position = wrong[0].tolist()
            fault = f"is {raw.format_value(vectors[row, position])} at position {position}"
            remedy = "a vector has 0 or 1 for each class; write the labels of a row as a list (`Ragged`) instead"
            raise raw.make_value_error(block, self.key, row, fault, remedy)
        return self._apply_missing(block, LabelRows(list(range(vectors.shape[1])), has_label, is_missing))

    def _find_missing(self, block: Block, labels: CategoryValues) -> np.ndarray:
        """Which rows have no value, bool (rows,). Raises DataError for a label without a value."""
        is_missing = ~block.valid.get(self.key, np.ones(labels.row_count, bool))
        invalid = [] if labels.valid_mask is None else np.flatnonzero(~labels.valid_mask).tolist()
        for row in map(labels.find_row, invalid):
            if labels.is_one_dimensional:
                is_missing[row] = True
            elif not is_missing[row]:
                raise raw.make_value_error(block, self.key, row, "has a label without a value", "remove the label")
        return is_missing

    def _apply_missing(self, block: Block, labels: LabelRows) -> LabelRows:
        if self.missing == "mask" or not labels.is_missing.any():
            return labels
        if self.missing == "empty":
            return labels._replace(is_missing=np.zeros_like(labels.is_missing))
        setting = "set `missing=empty` (rows without labels) or `missing=mask` (rows with unknown labels)"
        raise raw.make_gap_error(block, self.key, int(labels.is_missing.argmax()), Remedy(setting, "gaps"))


def _mark_labels(values: Strings | np.ndarray, row_of_value: np.ndarray, rows: int) -> tuple[list[Any], np.ndarray]:
    """The distinct values, and whether a row has each of them, bool (rows, classes)."""
    classes, class_of_value = group_rows(Block({"labels": values}), "labels")
    has_label = np.zeros((rows, len(classes)), bool)
    has_label[row_of_value, class_of_value] = True
    return classes, has_label
