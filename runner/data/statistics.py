"""Fits columns: computes their statistics in passes over a source.

Columns that read raw columns are fitted in one pass. A column that reads a fitted column is fitted in a later pass, to
the values that it reads.

Several workers summarize blocks, two at a time. The states of the blocks are merged pairwise, in a tree that depends
only on the number of blocks. So the result is bit-identical for any number of workers.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from components.types import Block, Column, Constants, RowNumbers, Source, Statistic, Values
from runner.data.columns import drop_columns, select_columns, select_rows
from runner.data.encode import block_rows, blocks_with_offsets, config_key, encode_block, explain_parents, parent_keys
from runner.data.workers import Workers
from runner.errors import column_location

# The names of the feature columns that a column reads. A feature column takes precedence over a raw column of its name.
Parents = tuple[str, ...]
States = dict[tuple[Statistic, Parents], Any]
"""The state of each statistic. Columns with equal statistics and parents share one state."""
Readers = Mapping[tuple[Statistic, Parents], str]
"""The column that each statistic is for; if several columns share it, the first of them."""


class StatisticsRequest(NamedTuple):
    """Which columns are fitted on which rows.

    Attributes:
        columns: the columns by name.
        rows: the row numbers, sorted (N,). They are numbers over all parts of the source, as in `Source.splits`. None:
            all rows.
    """

    columns: Mapping[str, Column]
    rows: RowNumbers | None

    def select(self, names: Collection[str]) -> StatisticsRequest:
        """The request for some of the columns."""
        return self._replace(columns={name: column for name, column in self.columns.items() if name in names})


def group_by_pass(columns: Mapping[str, Column]) -> list[dict[str, Column]]:
    """Groups columns by the pass that computes their statistics, and that of their parents.

    Args:
        columns: the columns, parents first.

    Returns:
        The columns by pass, parents first. The first group has the columns without statistics that read no fitted
        column.
    """
    number: dict[str, int] = {}
    for name, column in columns.items():
        parents = parent_keys(columns, name)
        number[name] = max((number[parent] for parent in parents), default=0) + bool(column.statistics())
    count = max(number.values(), default=0) + 1
    return [{name: columns[name] for name in columns if number[name] == group} for group in range(count)]


def compute_statistics(
    source: Source,
    requests: Mapping[str, StatisticsRequest],
    columns: Mapping[str, Column],
    constants: Mapping[str, Constants] = MappingProxyType({}),
    *,
    workers: Workers | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Computes statistics in one pass, or without a pass if the columns have none.

    Args:
        source: the data.
        requests: which columns are fitted on which rows. The caller chooses the names.
        columns: all columns, parents first.
        constants: the constants of the columns that the fitted columns read, directly or not.
        workers: they compute the blocks. None: new ones.

    Returns:
        The results by name of the request, column and statistic.
    """
    total: dict[str, States] = {}
    plans = {name: _make_plan(request, columns) for name, request in requests.items()}
    plans = {name: plan for name, plan in plans.items() if plan.statistics}
    if plans:
        rows = {name: requests[name].rows for name in plans}
        keys = frozenset[str]().union(*(plan.keys for plan in plans.values()))
        selections = (_select_requested(rows, offset, block, keys) for offset, block in blocks_with_offsets(source))
        summarize = functools.partial(_summarize_pair, plans, constants)
        found = (workers or Workers()).map(summarize, _pair(selections))
        total = merge_states((_add_statistics(plans, states) for states in found), _readers(plans))
    return {
        name: {column: _column_results(columns, column, total.get(name, {})) for column in request.columns}
        for name, request in requests.items()
    }


def merge_states(states: Iterable[dict[str, States]], readers: Mapping[str, Readers]) -> dict[str, States]:
    """Merges the states of all blocks in a binary tree: blocks 0 and 1, blocks 2 and 3, then these pairs, and so on.

    Two neighbours are merged as soon as both are complete, so that only about log2(n) states of n blocks are in memory.

    Args:
        states: the states of each block, by request.
        readers: the column that each statistic is for, by request. Errors name it.
    """
    waiting: list[tuple[int, dict[str, States]]] = []  # (level, state); a state of level n covers 2^n blocks
    for state in states:
        level = 0
        while waiting and waiting[-1][0] == level:
            _, left = waiting.pop()
            state = _merge_pair(left, state, readers)
            level += 1
        waiting.append((level, state))
    _, total = waiting.pop()
    while waiting:
        _, left = waiting.pop()
        total = _merge_pair(left, total, readers)
    return total


def _merge_pair(left: dict[str, States], right: dict[str, States], readers: Mapping[str, Readers]) -> dict[str, States]:
    merged = {**left, **right}
    for name in left.keys() & right.keys():
        merged[name] = {}
        for (statistic, parents), state in left[name].items():
            with column_location(config_key(readers[name][statistic, parents])), explain_parents(parents):
                merged[name][statistic, parents] = statistic.merge(state, right[name][statistic, parents])
    return merged


class _Plan(NamedTuple):
    """What is computed of each block for a request.

    Attributes:
        statistics: the statistics with the columns that they read, each once, and the column that it is for.
        ancestors: the feature columns that these read, directly or not, parents first.
        keys: the raw columns that are read.
    """

    statistics: Readers
    ancestors: Mapping[str, Column]
    keys: frozenset[str]


def _make_plan(request: StatisticsRequest, columns: Mapping[str, Column]) -> _Plan:
    found = {name: column.statistics() for name, column in request.columns.items()}
    to_fit = {name: request.columns[name] for name, statistics in found.items() if statistics}
    readers: dict[tuple[Statistic, Parents], str] = {}
    for name in to_fit:
        for each in found[name].values():
            readers.setdefault((each, tuple(parent_keys(columns, name))), name)
    ancestors = _ancestors(columns, to_fit)
    keys = frozenset(key for column in [*ancestors.values(), *to_fit.values()] for key in column.keys)
    return _Plan(readers, ancestors, keys)


class _Selection(NamedTuple):
    """The rows of a block that requests cover.

    Attributes:
        block: the block.
        rows: the indices of the rows, by name of the request, for those that cover some. None: all rows.
    """

    block: Block
    rows: Mapping[str, np.ndarray | None]


def _select_requested(
    rows: Mapping[str, RowNumbers | None], offset: int, block: Block, keys: Collection[str]
) -> _Selection:
    """The rows of a block that requests cover, without columns that no request needs."""
    size = block_rows(block)
    selected: dict[str, np.ndarray | None] = {}
    for name, numbers in rows.items():
        if numbers is None:
            selected[name] = None
            continue
        bounds = np.array((offset, offset + size), numbers.dtype)  # of another type, all numbers would be converted
        low, high = numbers.searchsorted(bounds)
        if low < high:
            selected[name] = None if high - low == size else np.asarray(numbers[low:high]) - offset
    return _Selection(drop_columns(block, keys), selected)


def _pair(selections: Iterable[_Selection]) -> Iterator[tuple[_Selection, ...]]:
    """Two neighbours at a time, the lowest level of the tree of `merge_states`. The last block may be alone."""
    iterator = iter(selections)
    while pair := tuple(itertools.islice(iterator, 2)):
        yield pair


def _summarize_pair(
    plans: Mapping[str, _Plan], constants: Mapping[str, Constants], pair: tuple[_Selection, ...]
) -> dict[str, list[Any]]:
    """The merged states of two blocks, for each request that has rows in them, in the order of the statistics.

    A worker merges them, as only one thread merges the others. They are returned without their statistics: a statistic
    may be equal to itself only, and not to the copy that another process has.
    """
    blocks = (_summarize_block(plans, constants, selection) for selection in pair)
    merged = merge_states((_add_statistics(plans, states) for states in blocks), _readers(plans))
    return {name: list(states.values()) for name, states in merged.items()}


def _readers(plans: Mapping[str, _Plan]) -> dict[str, Readers]:
    return {name: plan.statistics for name, plan in plans.items()}


def _add_statistics(plans: Mapping[str, _Plan], states: Mapping[str, list[Any]]) -> dict[str, States]:
    return {name: dict(zip(plans[name].statistics, found, strict=True)) for name, found in states.items()}


def _summarize_block(
    plans: Mapping[str, _Plan], constants: Mapping[str, Constants], selection: _Selection
) -> dict[str, list[Any]]:
    """The states of one block, for each request that has rows in it, in the order of the statistics."""
    states = {}
    for name, rows in selection.rows.items():
        keys = plans[name].keys
        block = selection.block if rows is None else select_rows(selection.block, rows, keys)
        selected = replace(block, columns=select_columns(block, keys))
        states[name] = _summarize_columns(plans[name], constants, selected)
    return states


def has_statistics(columns: Mapping[str, Column]) -> bool:
    """Whether columns need a pass."""
    return any(column.statistics() for column in columns.values())


def _summarize_columns(plan: _Plan, constants: Mapping[str, Constants], block: Block) -> list[Any]:
    """The states of the statistics of a request for one block."""
    all_parents = {parent for _, parents in plan.statistics for parent in parents}
    read = encode_block(block, plan.ancestors, constants, read=all_parents).read
    blocks: dict[Parents, Block] = {(): block}
    states = []
    for (statistic, parents), name in plan.statistics.items():
        if parents not in blocks:
            blocks[parents] = _add_parents(block, {parent: read[parent] for parent in parents})
        with column_location(config_key(name)), explain_parents(parents):
            states.append(statistic.summarize(blocks[parents]))
    return states


def _add_parents(block: Block, parents: Mapping[str, Mapping[str, Values]]) -> Block:
    """The block with the feature columns that a column reads in place of raw columns of their names."""
    columns, ids = dict(block.columns), set[str]()
    for parent, arrays in parents.items():
        array_name, columns[parent] = next(iter(arrays.items()))
        if array_name == "ids":
            ids.add(parent)
    valid = {key: mask for key, mask in block.valid.items() if key not in parents}
    return replace(block, columns=columns, valid=valid, ids=frozenset(ids))


def _column_results(columns: Mapping[str, Column], name: str, states: States) -> dict[str, Any]:
    parents = tuple(parent_keys(columns, name))
    statistics = columns[name].statistics()
    with column_location(config_key(name)), explain_parents(parents):
        return {key: statistic.result(states[statistic, parents]) for key, statistic in statistics.items()}


def _ancestors(columns: Mapping[str, Column], readers: Mapping[str, Column]) -> dict[str, Column]:
    """The feature columns that `readers` read, directly or not, parents first."""
    names: set[str] = set()
    waiting = [parent for name in readers for parent in parent_keys(columns, name)]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += parent_keys(columns, name)
    return {name: column for name, column in columns.items() if name in names}
