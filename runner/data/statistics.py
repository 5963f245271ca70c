"""The first pass over a source: computes the statistics of all columns at once.

Several threads summarize blocks. Their states are merged pairwise in a tree whose shape depends only on the number of
blocks, so the result is bit-identical for any number of threads.
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
from runner.platform import count_cores

ReaderParents = tuple[str, ...]  # the feature columns that a column reads, in place of raw columns of the same names
States = dict[tuple[Statistic, ReaderParents], Any]


class StatisticsRequest(NamedTuple):
    """Which columns are fitted on which rows.

    Attributes:
        columns: the columns by name.
        rows: row numbers over all parts, sorted int64 (N,).
    """

    columns: Mapping[str, Column]
    rows: np.ndarray


def summarize(
    source: Source,
    requests: Mapping[str, StatisticsRequest],
    columns: Mapping[str, Column],
    *,
    workers: int | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Computes statistics in one pass.

    Args:
        source: the data.
        requests: which columns are fitted on which rows, by any name.
        columns: all columns, parents first.
        workers: the number of threads; None: one per core.

    Returns:
        The results by name of the request, column and statistic.

    Raises:
        UserError: a column reads another column that is fitted in the same pass.
    """
    fitted = {name: one for request in requests.values() for name, one in request.columns.items() if one.statistics()}
    constants = _constants_without_fit(_ancestors(columns, fitted))
    for request in requests.values():
        _check_readers(columns, request.columns, constants)
    summarize_block = functools.partial(_summarize_block, requests, columns, constants)
    total = merge_states(ordered_map(summarize_block, numbered_blocks(source), workers or count_cores()))
    return {
        name: {column: _column_results(columns, column, total.get(name, {})) for column in request.columns}
        for name, request in requests.items()
    }


def merge_states(states: Iterable[dict[str, States]]) -> dict[str, States]:
    """Merges all states: neighbours of equal size first, as in a binary counter."""
    waiting: list[tuple[int, dict[str, States]]] = []
    for state in states:
        level = 0
        while waiting and waiting[-1][0] == level:
            state, level = _merge_pair(waiting.pop()[1], state), level + 1
        waiting.append((level, state))
    total = waiting.pop()[1]
    while waiting:
        total = _merge_pair(waiting.pop()[1], total)
    return total


def _summarize_block(
    requests: Mapping[str, StatisticsRequest],
    columns: Mapping[str, Column],
    fixed: Mapping[str, Constants],
    numbered: tuple[int, Block],
) -> dict[str, States]:
    """The states of one block, for each request that has rows there."""
    start, block = numbered
    states = {}
    for name, request in requests.items():
        low, high = np.searchsorted(request.rows, (start, start + block_rows(block)))
        readers = {column: one for column, one in request.columns.items() if one.statistics()}
        if readers and low < high:
            selected = _select_needed(block, columns, readers, request.rows[low:high] - start)
            states[name] = _summarize_readers(readers, columns, fixed, selected)
    return states


def _summarize_readers(
    readers: Mapping[str, Column], columns: Mapping[str, Column], fixed: Mapping[str, Constants], block: Block
) -> States:
    encoded = encode_block(block, _ancestors(columns, readers), fixed)
    states: States = {}
    for name, column in readers.items():
        parents = tuple(parent_keys(columns, name))
        first = {parent: next(iter(encoded[parent].items())) for parent in parents}  # each parent's first array
        values = {parent: array for parent, (_, array) in first.items()}
        ids = frozenset(parent for parent, (array_name, _) in first.items() if array_name == "ids")
        valid = {key: mask for key, mask in block.valid.items() if key not in parents}
        read = replace(block, columns={**block.columns, **values}, valid=valid, ids=ids)
        for statistic in column.statistics().values():
            if (statistic, parents) not in states:
                states[statistic, parents] = statistic.summarize(read)
    return states


def _merge_pair(left: dict[str, States], right: dict[str, States]) -> dict[str, States]:
    merged = {**left, **right}
    for name in left.keys() & right.keys():
        merged[name] = {key: key[0].merge(left[name][key], right[name][key]) for key in left[name]}
    return merged


def _column_results(columns: Mapping[str, Column], name: str, states: States) -> dict[str, Any]:
    parents = tuple(parent_keys(columns, name))
    return {key: one.result(states[one, parents]) for key, one in columns[name].statistics().items()}


def _select_needed(
    block: Block, columns: Mapping[str, Column], readers: Mapping[str, Column], rows: np.ndarray
) -> Block:
    """Some rows of the raw columns that the statistics need."""
    keys = {key for column in {**_ancestors(columns, readers), **readers}.values() for key in column.keys}
    needed = {key: values for key, values in block.columns.items() if key in keys}
    if len(rows) == block_rows(block):
        return replace(block, columns=needed)
    return select_rows(replace(block, columns=needed, valid={k: v for k, v in block.valid.items() if k in keys}), rows)


def _ancestors(columns: Mapping[str, Column], readers: Mapping[str, Column]) -> dict[str, Column]:
    """The feature columns that some columns read, directly or not, parents first."""
    names: set[str] = set()
    waiting = [parent for name in readers for parent in parent_keys(columns, name)]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += parent_keys(columns, name)
    return {name: column for name, column in columns.items() if name in names}


def _constants_without_fit(columns: Mapping[str, Column]) -> dict[str, Constants]:
    """The constants of the columns that encode without statistics, and whose parents do too."""
    fixed: dict[str, Constants] = {}
    for name, column in columns.items():
        if all(parent in fixed for parent in parent_keys(columns, name)):
            if not column.statistics():
                with column_location(name):
                    fixed[name] = column.fit({}, {parent: fixed[parent] for parent in parent_keys(columns, name)})
            elif isinstance(column, StatelessEncode) and column.is_encode_stateless:
                fixed[name] = Constants()
    return fixed


def _check_readers(
    columns: Mapping[str, Column], readers: Mapping[str, Column], fixed: Mapping[str, Constants]
) -> None:
    for name, column in readers.items():
        ancestors = _ancestors(columns, {name: column}) if column.statistics() else {}
        if fitted := [parent for parent in ancestors if parent not in fixed]:
            raise UserError(
                f"feature.columns.{name} learns from `{fitted[0]}`, which itself learns from the data, in the same "
                f"pass. Give {name} the values that it would learn, or let it read raw columns (if `{fitted[0]}` "
                "hides the raw column of that name, rename it)"
            )
