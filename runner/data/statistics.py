"""The first pass over a source: what columns want to know of some rows, all of it at once.

Blocks are summarized by several threads. Their states are merged pairwise in a tree that the number of blocks alone
decides, so the result is the same to the bit for any number of threads.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from components.types import Block, Column, Constants, Source, StatelessEncode, Statistic, UserError
from runner.data.columns import select_rows
from runner.data.encode import block_rows, encode_block, numbered_blocks, parent_keys
from runner.data.ordered_map import ordered_map
from runner.errors import column_location
from runner.platform import cores

Reader = tuple[str, ...]  # the feature columns that a column reads: they hide raw columns of their names
States = dict[tuple[Statistic, Reader], Any]


class StatisticsRequest(NamedTuple):
    """Which columns learn from which rows."""

    columns: Mapping[str, Column]
    rows: np.ndarray  # sorted int64, counted over all parts


def summarize(
    source: Source,
    wanted: Mapping[str, StatisticsRequest],
    columns: Mapping[str, Column],
    *,
    workers: int | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Results of statistics, by name of what is wanted, column and name of the statistic.

    `columns` are all columns, parents first. Raises UserError for a column that would learn from another that learns.
    """
    learning = {name: one for some in wanted.values() for name, one in some.columns.items() if one.statistics()}
    fixed = _fixed(_ancestors(columns, learning))
    for one in wanted.values():
        _check(columns, one.columns, fixed)
    states = functools.partial(_states, wanted, columns, fixed)
    total = merge_states(ordered_map(states, numbered_blocks(source), workers or cores()))
    return {
        name: {column: _results(columns, column, total.get(name, {})) for column in one.columns}
        for name, one in wanted.items()
    }


def merge_states(states: Iterable[dict[str, States]]) -> dict[str, States]:
    """All states as one: equal neighbours first, as in a binary counter."""
    waiting: list[tuple[int, dict[str, States]]] = []
    for state in states:
        level = 0
        while waiting and waiting[-1][0] == level:
            state, level = _merge(waiting.pop()[1], state), level + 1
        waiting.append((level, state))
    total = waiting.pop()[1]
    while waiting:
        total = _merge(waiting.pop()[1], total)
    return total


def _states(
    wanted: Mapping[str, StatisticsRequest],
    columns: Mapping[str, Column],
    fixed: Mapping[str, Constants],
    numbered: tuple[int, Block],
) -> dict[str, States]:
    """The states of one block; of what wants none of its rows, none. `fixed` is what columns know without learning."""
    start, block = numbered
    found = {}
    for name, one in wanted.items():
        low, high = np.searchsorted(one.rows, (start, start + block_rows(block)))
        readers = {column: one.columns[column] for column in one.columns if one.columns[column].statistics()}
        if readers and low < high:
            selected = _selected(block, columns, readers, one.rows[low:high] - start)
            found[name] = _summarized(readers, columns, fixed, selected)
    return found


def _summarized(
    readers: Mapping[str, Column], columns: Mapping[str, Column], fixed: Mapping[str, Constants], block: Block
) -> States:
    done = encode_block(block, _ancestors(columns, readers), fixed)
    states: States = {}
    for name, column in readers.items():
        parents = tuple(parent_keys(columns, name))
        read = {one: next(iter(done[one].items())) for one in parents}  # the first array, and what it is called
        values = {one: array for one, (_, array) in read.items()}
        ids = frozenset(one for one, (what, _) in read.items() if what == "ids")
        hidden = {key: there for key, there in block.valid.items() if key not in parents}
        seen = replace(block, columns={**block.columns, **values}, valid=hidden, ids=ids)
        for statistic in column.statistics().values():
            if (statistic, parents) not in states:
                states[statistic, parents] = statistic.summarize(seen)
    return states


def _merge(left: dict[str, States], right: dict[str, States]) -> dict[str, States]:
    found = {**left, **right}
    for name in left.keys() & right.keys():
        found[name] = {key: key[0].merge(left[name][key], right[name][key]) for key in left[name]}
    return found


def _results(columns: Mapping[str, Column], name: str, states: States) -> dict[str, Any]:
    parents = tuple(parent_keys(columns, name))
    return {key: one.result(states[one, parents]) for key, one in columns[name].statistics().items()}


def _selected(block: Block, columns: Mapping[str, Column], readers: Mapping[str, Column], rows: np.ndarray) -> Block:
    """The rows, of the raw columns that are read for the statistics."""
    keys = {key for column in {**_ancestors(columns, readers), **readers}.values() for key in column.keys}
    needed = {key: values for key, values in block.columns.items() if key in keys}
    if len(rows) == block_rows(block):
        return replace(block, columns=needed)
    return select_rows(replace(block, columns=needed, valid={k: v for k, v in block.valid.items() if k in keys}), rows)


def _ancestors(columns: Mapping[str, Column], readers: Mapping[str, Column]) -> dict[str, Column]:
    """The feature columns that some read, parents first."""
    names: set[str] = set()
    waiting = [parent for name in readers for parent in parent_keys(columns, name)]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += parent_keys(columns, name)
    return {name: column for name, column in columns.items() if name in names}


def _fixed(columns: Mapping[str, Column]) -> dict[str, Constants]:
    """What the columns know that encode without having learned anything, and that read no other than such."""
    fixed: dict[str, Constants] = {}
    for name, column in columns.items():
        if all(parent in fixed for parent in parent_keys(columns, name)):
            if not column.statistics():
                with column_location(name):
                    fixed[name] = column.fit({}, {parent: fixed[parent] for parent in parent_keys(columns, name)})
            elif isinstance(column, StatelessEncode) and column.is_encode_stateless:
                fixed[name] = Constants()
    return fixed


def _check(columns: Mapping[str, Column], readers: Mapping[str, Column], fixed: Mapping[str, Constants]) -> None:
    for name, column in readers.items():
        ancestors = _ancestors(columns, {name: column}) if column.statistics() else {}
        if learned := [parent for parent in ancestors if parent not in fixed]:
            raise UserError(
                f"feature.columns.{name} learns from `{learned[0]}`, which learns from the data itself, and all is "
                f"learned in one pass: give {name} what it would learn, or let it read raw columns (if `{learned[0]}` "
                "hides the raw column of that name, call it otherwise)"
            )
