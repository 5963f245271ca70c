"""Finds or draws the examples of several rows, such as windows of time series or pairs, in the splits of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from components.types import (
    Constants,
    DataError,
    DrawsExamples,
    FindsExamples,
    FoundExamples,
    JoinsRows,
    Ragged,
    RowNumbers,
    RowRange,
    Source,
    Target,
    UserError,
    as_index,
    compact_rows,
)
from runner.data.encode import blocks_with_offsets, config_key, is_input_column, is_target, target_column
from runner.data.used_rows import locate_row
from runner.data.windowed_rows import WindowedRows
from runner.errors import error_location

NEW_ROWS = "the new rows"  # the name of their only split, for messages


class Found(NamedTuple):
    """The examples of a source.

    Attributes:
        examples: the examples of each split.
        numbers: the number of each split.
    """

    examples: FoundExamples
    numbers: Mapping[str, int]

    def describe_left_out(self, examples: JoinsRows) -> tuple[str, ...]:
        """Sentences about the examples that are left out."""
        counts = {name: self.examples.left_out[number] for name, number in self.numbers.items()}
        return tuple(examples.describe_left_out(count, name) for name, count in counts.items() if count)


class NewExamples(NamedTuple):
    """The examples of new rows.

    Attributes:
        encoded: the arrays that the program takes, by column and name, with an example for each of `rows`.
        rows: the new rows by which the examples are known.
    """

    encoded: Mapping[str, Mapping[str, Any]]
    rows: np.ndarray


def view_examples(
    encoded: Mapping[str, Mapping[str, Any]],
    examples: JoinsRows | None,
    found: FoundExamples | None = None,
    rows: np.ndarray | None = None,
) -> Mapping[str, Mapping[str, Any]]:
    """Encoded rows as views whose examples have several rows.

    Args:
        encoded: the rows, by column and name.
        examples: says which rows make an example. None: each row is one, and nothing changes.
        found: the examples. None: those of one row of zeros, for shapes.
        rows: the rows by which the examples are known. None: an example has the number of this row.

    Raises:
        UserError: the rows of a column have lists, or are decoded for each batch.
    """
    if examples is None:
        return encoded
    order, places = (None, None) if found is None else (found.order, found.positions)
    order = None if order is None else order.astype(np.int32)
    positions = rows if places is None else places if rows is None else places[rows]
    viewed = {}
    for name, arrays in encoded.items():
        steps = (
            examples.target_steps if is_target(name) else examples.input_steps(name) if is_input_column(name) else None
        )
        _check_column(name, arrays)
        if steps is not None:
            arrays = {key: WindowedRows(array, steps, positions, order) for key, array in arrays.items()}
        viewed[name] = arrays
    return viewed


def find_examples(
    source: Source,
    examples: FindsExamples,
    splits: Mapping[str, RowNumbers],
    used_rows: np.ndarray | None = None,
    *,
    with_targets: bool = True,
) -> Found:
    """Finds the examples of a source in its splits.

    Args:
        source: the rows.
        examples: says which rows make an example.
        splits: the sorted rows of each split, counted among the used ones.
        used_rows: the rows of the source that are used. None: all.
        with_targets: as for `Examples.find`.

    Raises:
        UserError: a column is missing, or a row has no time or a wrong one.
    """
    numbers = {name: number for number, name in enumerate(splits)}
    split_of = np.full(sum(source.sizes().values()), -1, np.int8)
    for name, rows in splits.items():
        split_of[as_index(rows) if used_rows is None else used_rows[as_index(rows)]] = numbers[name]
    blocks = (block for _, block in blocks_with_offsets(source))
    found = examples.find(blocks, split_of, lambda row: locate_row(source, row), with_targets=with_targets)
    return Found(found if used_rows is None else _count_used(found, used_rows, split_of), numbers)


def _count_used(found: FoundExamples, used_rows: np.ndarray, split_of: np.ndarray) -> FoundExamples:
    """The examples with their rows counted among the used ones. All rows of an example are used."""
    order = None if found.order is None else np.searchsorted(used_rows, found.order[split_of[found.order] >= 0])
    positions = None
    if order is not None:
        positions = np.empty(len(order), np.int32)
        positions[order] = np.arange(len(order), dtype=np.int32)
    rows = [compact_rows(np.searchsorted(used_rows, rows), len(used_rows)) for rows in found.rows]
    return found._replace(rows=rows, order=order, positions=positions)


def draw_examples(
    examples: DrawsExamples,
    targets: Mapping[str, Target],
    constants: Mapping[str, Constants],
    encoded: Mapping[str, Mapping[str, Any]],
    splits: Mapping[str, RowNumbers],
) -> Found:
    """Draws the examples of encoded rows in their splits, by the classes of the only target.

    Raises:
        UserError: there are no classes by which they can be drawn, or the rows of a split make no such examples.
    """
    if len(targets) != 1:
        raise UserError(
            f"pairs need a single target with one class for each row, and there are {len(targets) or 'none'}"
        )
    name, target = next(iter(targets.items()))
    column = target_column(name)
    examples.bind(target.bind(constants[column]))
    layer = target.layer(constants[column].static)
    arrays = {key: np.asarray(array) for key, array in encoded[column].items()}
    classes = np.asarray(layer(arrays, constants[column].device))
    return Found(examples.draw(classes, splits), {name: number for number, name in enumerate(splits)})


def find_new_examples(source: Source, examples: FindsExamples, *, with_targets: bool) -> Found:
    """The examples of new rows, as one split. Raises UserError if there are none."""
    rows = RowRange(range(sum(source.sizes().values())))
    with error_location("examples"):
        found = find_examples(source, examples, {NEW_ROWS: rows}, with_targets=with_targets)
        if not len(found.examples.rows[0]):
            raise DataError(examples.explain_none(found.examples, 0, None, with_targets=with_targets))
        return found


def _check_column(name: str, arrays: Mapping[str, Any]) -> None:
    """Raises UserError for a column whose rows have lists, or are decoded for each batch."""
    for array in arrays.values():
        if isinstance(array, Ragged) or hasattr(array, "draws"):
            what = "lists of any length" if isinstance(array, Ragged) else "images that are decoded for each batch"
            raise UserError(
                f"{config_key(name)} has {what}, which examples of several rows can't have. Leave the column out (one "
                "that was inferred, by data.drop), or set examples=null."
            )
