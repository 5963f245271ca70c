"""The two passes over a source: columns learn their constants from some rows, and encode all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from components.types import Block, Column, Constants, DataError, Encoded, Source, Statistic, UserError
from runner.errors import suggestion
from runner.rows import concatenate, length, select

TARGET = "target"  # the target's name among the columns


def encoding_order(columns: Mapping[str, Column], inputs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The columns that the inputs reach, each behind those that it reads."""
    if TARGET in columns:
        raise UserError(f"feature.columns.{TARGET}: this name is the target's own; choose another")
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise UserError(f"feature.columns: {circle} is a circle; rename one that hides a raw column")
        for parent in _parents(columns, name):
            visit(parent, (*path, name))
        if name not in order:
            order.append(name)

    for given, names in inputs.items():
        if not names:
            raise UserError(f"feature.inputs.{given} lists no column")
        for name in names:
            if name not in columns:
                raise UserError(f"feature.inputs.{given}: no column `{name}`; {suggestion(name, columns)}")
            visit(name, ())
    return order


def check_keys(columns: Mapping[str, Column], block: Block) -> None:
    """Every key must be a column of the source, or another feature column."""
    for name, column in columns.items():
        others = [] if name == TARGET else [other for other in columns if other not in (name, TARGET)]
        for key in column.keys:
            if key not in block.columns and key not in others:
                place = f"feature.{TARGET}" if name == TARGET else f"feature.columns.{name}"
                hint = suggestion(key, [*block.columns, *others])
                raise UserError(f"{place}: there is no column `{key}` in {block.origin}; {hint}")


def summarize(
    source: Source, splits: Mapping[str, np.ndarray], columns: Mapping[str, Column]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Results of statistics, by split, column and name: of every column for `train`, else of the target."""
    wanted = {split: {TARGET: columns[TARGET]} for split in splits} | {"train": columns}
    states: dict[str, dict[Statistic, Any]] = {
        split: {one: one.zero() for column in some.values() for one in column.statistics().values()}
        for split, some in wanted.items()
    }
    for start, block in numbered_blocks(source):
        for split, state in states.items():
            low, high = np.searchsorted(splits[split], (start, start + rows_of(block)))
            if state and low < high:
                selected = select(block, splits[split][low:high] - start)
                state |= {statistic: statistic.add(state[statistic], selected) for statistic in state}
    return {
        split: {name: _results(column, states[split]) for name, column in some.items()}
        for split, some in wanted.items()
    }


def _results(column: Column, states: Mapping[Statistic, Any]) -> dict[str, Any]:
    return {key: statistic.result(states[statistic]) for key, statistic in column.statistics().items()}


def encode(
    source: Source, columns: Mapping[str, Column], constants: Mapping[str, Constants], kept: list[str]
) -> dict[str, dict[str, Encoded]]:
    """The arrays of the columns that are kept, for all rows of all parts; `columns` lists parents first."""
    pieces: dict[str, dict[str, list[Encoded]]] = {name: {} for name in kept}
    for _, block in numbered_blocks(source):
        done: dict[str, Mapping[str, Encoded]] = {}
        for name, column in columns.items():
            parents = {key: done[key] for key in _parents(columns, name)}
            done[name] = column.encode(block, parents, constants[name])
            _check(name, done[name], rows_of(block))
        for name in kept:
            for key, values in done[name].items():
                pieces[name].setdefault(key, []).append(values)
    return {name: {key: concatenate(parts) for key, parts in arrays.items()} for name, arrays in pieces.items()}


def numbered_blocks(source: Source) -> Iterator[tuple[int, Block]]:
    """The blocks of all parts, none empty, each with the number of its first row over all."""
    start = stop = 0
    for part, size in source.sizes().items():
        stop += size
        for block in source.blocks(part):
            if rows := rows_of(block):
                yield start, block
                start += rows
        if start != stop:
            raise DataError(f"the part {part} of the data has {start - stop + size} rows instead of {size}")


def rows_of(block: Block) -> int:
    """The number of rows of a block."""
    return length(next(iter(block.columns.values())))


def _parents(columns: Mapping[str, Column], name: str) -> list[str]:
    """The feature columns that a column reads; its own name, and any key of the target, is a raw column."""
    keys = () if name == TARGET else columns[name].keys
    return [key for key in keys if key in columns and key not in (name, TARGET)]


def _check(name: str, arrays: Mapping[str, Encoded], rows: int) -> None:
    for key, encoded in arrays.items():
        if length(encoded) != rows:
            raise UserError(f"feature column `{name}` encoded {rows} rows as {length(encoded)} of `{key}`")
        dtype = encoded.dtype if isinstance(encoded, np.ndarray) else encoded.values.dtype
        if dtype.kind not in "biuf" or dtype.itemsize > 4:
            raise UserError(f"feature column `{name}` encoded `{key}` as {dtype}; at most 32 bits are allowed")
