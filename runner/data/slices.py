"""Slices of splits: their rows by the values of a column, for metrics of each value."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.closest import suggest_name
from components.types import Block, SkipsRows, Source
from runner.data.copied_columns import copy_columns, list_flat_columns
from runner.data.encode import first_block
from runner.data.load import Data, Features, find_raw_columns
from runner.errors import LocatedError

KEY = "metric_slices"
MAX_SLICES = 50  # of a column: more fill a screen, and most have few rows
MISSING = "(missing)"  # stands for the value of rows that have none


class SliceColumn(NamedTuple):
    """A column that divides the rows of splits into slices.

    Attributes:
        values: the values as text, in order.
        ids: the position of each row's value among them, int32 (N,), by split.
    """

    values: tuple[str, ...]
    ids: Mapping[str, np.ndarray]


def read_slices(
    names: Sequence[str], data: Data, features: Features, splits: Collection[str]
) -> dict[str, SliceColumn]:
    """Reads the values of columns in the rows of some splits.

    Args:
        names: feature columns of buckets that are encoded, or columns of the data.
        data: the data, with its source.
        features: its columns.
        splits: the splits.

    Raises:
        LocatedError: there is no such column, its rows have no single values, or it has too many values; or there is
            no such split, or no target that has slices.
    """
    if not names:
        return {}
    specs = features.bind_targets(data.constants)
    if all(spec.is_image for spec in specs.values()):
        what = "the target is an image" if specs else "there is no target"
        raise LocatedError(
            KEY, f"slices need the loss of each row, and {what}. Leave it out, or choose another target."
        )
    splits = [split for split in splits if split in data.splits]
    if not splits:
        raise LocatedError(KEY, "the data has no valid or test split, whose metrics these would be. Hold rows out.")
    rows = {split: np.asarray(data.splits[split]) for split in splits}
    found = {name: buckets for name in names if (buckets := _find_buckets(name, data, features, rows))}
    raw = [name for name in names if name not in found]
    if raw:
        source = _open_columns(raw, data, features)
        for name, values in copy_columns(source, raw, data.source_rows(np.concatenate([*rows.values()]))).items():
            found[name] = _number_values(name, values, rows)
    return {name: found[name] for name in names}


def _open_columns(names: Sequence[str], data: Data, features: Features) -> Source:
    """The source with the same rows, and with some columns in addition to those that the model reads."""
    source, used = data.source, find_raw_columns(features)
    assert source is not None
    if isinstance(source, SkipsRows):
        unread = [name for name in names if name not in used.names]
        if source.on_bad_row == "skip" and unread:
            raise LocatedError(
                KEY,
                f"the model doesn't read `{unread[0]}`, and data.on_bad_row=skip skips rows by what it reads. Choose a "
                f"column that it reads, or leave data.on_bad_row out. Columns: {', '.join(sorted(used.names))}.",
            )
        if source.reads_used_columns:
            source = source.with_used_columns(*used._replace(names=used.names | {*names}))
    block, flat = first_block(source), list_flat_columns(source)
    for name in names:
        if name in getattr(source, "drop", ()):
            remedy = "Take it out of the list. A feature file says which columns the model reads; mode=init writes one."
            raise LocatedError(KEY, f"`{name}` is in data.drop, so it is not read. {remedy}")
        if name not in flat:
            raise LocatedError(KEY, _describe_fault(name, block, flat, features))
    return source


def _describe_fault(name: str, block: Block | None, flat: Sequence[str], features: Features) -> str:
    is_raw = block is not None and name in block.columns
    if name in features.columns and not is_raw:
        remedy = "Choose a column of the data, or a Bucketized one that one of feature.inputs lists."
        return f"the feature column `{name}` has no buckets that an input lists. {remedy}"
    if block is None or not is_raw:
        return f"there is no column `{name}`. {suggest_name(name, flat, title='Columns')}"
    what = "a file" if name in block.files else "an array"
    return f"each value of `{name}` is {what}. {suggest_name(name, flat, title='Columns with single values')}"


def _find_buckets(name: str, data: Data, features: Features, rows: Mapping[str, np.ndarray]) -> SliceColumn | None:
    """The buckets of numbers of a feature column of this name, such as Bucketized; None: it is none."""
    is_feature = name in features.columns and name in data.constants
    boundaries = data.constants[name].host.get("boundaries") if is_feature else None
    if boundaries is None:
        return None
    encoded: Any = data.encoded[name]["ids"] if name in data.encoded else None
    if np.ndim(encoded) != 1:  # not encoded, lists, vectors or windows
        return None
    edges = [f"{edge:g}" for edge in np.ravel(boundaries).tolist()]
    if getattr(features.columns[name], "normalize", None) is not None:  # the boundaries have another unit
        labels = [f"bucket {number}" for number in range(1, len(edges) + 2)]
    else:
        between = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
        labels = [f"below {edges[0]}", *between, f"{edges[-1]} or more"] if edges else ["all"]
    if len(labels) > MAX_SLICES:
        raise LocatedError(KEY, f"`{name}` has {len(labels)} buckets, at most {MAX_SLICES} slices are allowed.")
    ids = {split: np.asarray(encoded[own]).astype(np.int32) for split, own in rows.items()}
    ids = {split: np.where((own >= 0) & (own < len(labels)), own, len(labels)) for split, own in ids.items()}
    return SliceColumn((*labels, MISSING), ids)


def _number_values(name: str, values: np.ndarray, rows: Mapping[str, np.ndarray]) -> SliceColumn:
    """The distinct values of a column, and their positions in the rows of each split, which follow one another."""
    if values.dtype.kind == "O":
        is_missing = np.array([value is None or value != value for value in values.tolist()], bool)
    else:
        is_missing = np.asarray(values != values)  # NaN and NaT
    known = values[~is_missing]
    is_number = known.dtype.kind in "iuf" or all(isinstance(each, int | float) for each in known.tolist())
    known = known if known.dtype.kind in "biufM" else np.array([str(each) for each in known.tolist()], object)
    distinct, positions = np.unique(known, return_inverse=True)
    if len(distinct) > MAX_SLICES:
        raise LocatedError(KEY, _describe_many(name, len(distinct), is_number=is_number))
    ids = np.full(len(values), len(distinct), np.int32)
    ids[~is_missing] = positions
    ends = np.cumsum([len(own) for own in rows.values()])[:-1]
    labels = (*(_format_value(value) for value in distinct.tolist()), MISSING)
    return SliceColumn(labels, dict(zip(rows, np.split(ids, ends), strict=True)))


def _describe_many(name: str, count: int, *, is_number: bool) -> str:
    fault = f"`{name}` has {count:,} values in the evaluated rows, and at most {MAX_SLICES} slices are allowed."
    if not is_number:
        return f"{fault} Choose a column with fewer values, or compute one by an operation."
    operation = f"'operations=[{{option: derive, columns: {{{name}_group: {name} // 10}}}}]'"
    return f"{fault} Group its numbers: name a feature column that is Bucketized, or compute one by {operation}."


def _format_value(value: Any) -> str:
    """A value as text; whole floats as integers, because a column of integers with gaps is read as floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
