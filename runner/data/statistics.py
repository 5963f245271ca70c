"""The first pass over a source: computes the statistics of all columns at once.

Several threads summarize blocks. The states of the blocks are merged pairwise, in a tree that depends only on the
number of blocks. So the result is bit-identical for any number of threads.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from components.types import Block, Column, Constants, Source, StatelessEncode, Statistic, UserError
from runner.data.columns import select_rows
from runner.data.encode import block_rows, blocks_with_offsets, config_key, encode_block, parent_keys
from runner.data.ordered_map import ordered_map
from runner.errors import column_location
from runner.platform import count_cores

Parents = tuple[str, ...]  # the feature columns that a column reads in place of raw columns of the same names
States = dict[tuple[Statistic, Parents], Any]
"""The state of each statistic. Columns with equal statistics and parents share one state."""


class StatisticsRequest(NamedTuple):
    """Which columns are fitted on which rows.

    Attributes:
        columns: the columns by name.
        rows: the row numbers over all parts, sorted int64 (N,).
    """

    columns: Mapping[str, Column]
    rows: np.ndarray


def compute_statistics(
    source: Source,
    requests: Mapping[str, StatisticsRequest],
    columns: Mapping[str, Column],
    *,
    workers: int | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Computes statistics in one pass.

    Args:
        source: the data.
        requests: which columns are fitted on which rows. The names are free.
        columns: all columns, parents first.
        workers: the number of threads; None: one per core.

    Returns:
        The results by name of the request, column and statistic.

    Raises:
        UserError: a column reads another column that is fitted in the same pass.
    """
    fitted: dict[str, Column] = {}
    for request in requests.values():
        fitted |= _with_statistics(request.columns)
    constants = _constants_without_fit(_ancestors(columns, fitted))
    for request in requests.values():
        _check_parents(columns, request.columns, constants)
    summarize = functools.partial(_summarize_block, requests, columns, constants)
    total = merge_states(ordered_map(summarize, blocks_with_offsets(source), workers or count_cores()))
    return {
        name: {column: _column_results(columns, column, total.get(name, {})) for column in request.columns}
        for name, request in requests.items()
    }


def merge_states(states: Iterable[dict[str, States]]) -> dict[str, States]:
    """Merges the states of all blocks, neighbours of equal size first, as a binary counter carries."""
    waiting: list[tuple[int, dict[str, States]]] = []  # (level, state); a state of level n covers 2^n blocks
    for state in states:
        level = 0
        while waiting and waiting[-1][0] == level:
            _, left = waiting.pop()
            state = _merge_pair(left, state)
            level += 1
        waiting.append((level, state))
    _, total = waiting.pop()
    while waiting:
        _, left = waiting.pop()
        total = _merge_pair(left, total)
    return total


def _merge_pair(left: dict[str, States], right: dict[str, States]) -> dict[str, States]:
    merged = {**left, **right}
    for name in left.keys() & right.keys():
        merged[name] = {key: key[0].merge(left[name][key], right[name][key]) for key in left[name]}
    return merged


def _summarize_block(
    requests: Mapping[str, StatisticsRequest],
    columns: Mapping[str, Column],
    constants: Mapping[str, Constants],
    block_with_offset: tuple[int, Block],
) -> dict[str, States]:
    """The states of one block, for each request that has rows in it."""
    offset, block = block_with_offset
    states = {}
    for name, request in requests.items():
        low, high = np.searchsorted(request.rows, (offset, offset + block_rows(block)))
        fitted = _with_statistics(request.columns)
        if fitted and low < high:
            selected = _select_needed(block, columns, fitted, request.rows[low:high] - offset)
            states[name] = _summarize_columns(fitted, columns, constants, selected)
    return states


def _with_statistics(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The columns that have statistics."""
    return {name: column for name, column in columns.items() if column.statistics()}


def _select_needed(
    block: Block, columns: Mapping[str, Column], fitted: Mapping[str, Column], rows: np.ndarray
) -> Block:
    """Some rows of the raw columns that the statistics need."""
    keys = {key for column in {**_ancestors(columns, fitted), **fitted}.values() for key in column.keys}
    block = replace(block, columns={key: values for key, values in block.columns.items() if key in keys})
    if len(rows) == block_rows(block):
        return block
    return select_rows(replace(block, valid={key: mask for key, mask in block.valid.items() if key in keys}), rows)


def _summarize_columns(
    fitted: Mapping[str, Column], columns: Mapping[str, Column], constants: Mapping[str, Constants], block: Block
) -> States:
    """The states of the statistics of `fitted` for one block."""
    encoded = encode_block(block, _ancestors(columns, fitted), constants)
    states: States = {}
    for name, column in fitted.items():
        parents = tuple(parent_keys(columns, name))
        values, ids = {}, set()
        for parent in parents:
            array_name, values[parent] = next(iter(encoded[parent].items()))  # other columns read the first array
            if array_name == "ids":
                ids.add(parent)
        valid = {key: mask for key, mask in block.valid.items() if key not in parents}
        with_parents = replace(block, columns={**block.columns, **values}, valid=valid, ids=frozenset(ids))
        for statistic in column.statistics().values():
            if (statistic, parents) not in states:
                states[statistic, parents] = statistic.summarize(with_parents)
    return states


def _column_results(columns: Mapping[str, Column], name: str, states: States) -> dict[str, Any]:
    parents = tuple(parent_keys(columns, name))
    statistics = columns[name].statistics()
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


def _constants_without_fit(columns: Mapping[str, Column]) -> dict[str, Constants]:
    """The constants of the columns that encode without statistics, if their parents do too."""
    constants: dict[str, Constants] = {}
    for name, column in columns.items():
        parents = parent_keys(columns, name)
        if any(parent not in constants for parent in parents):
            continue
        if not column.statistics():
            with column_location(config_key(name)):
                constants[name] = column.fit({}, {parent: constants[parent] for parent in parents})
        elif isinstance(column, StatelessEncode) and column.is_encode_stateless:
            constants[name] = Constants()
    return constants


def _check_parents(
    columns: Mapping[str, Column], readers: Mapping[str, Column], constants: Mapping[str, Constants]
) -> None:
    """Raises UserError for a column with statistics that reads a column which must be fitted first."""
    for name, column in _with_statistics(readers).items():
        unfitted = [parent for parent in _ancestors(columns, {name: column}) if parent not in constants]
        if unfitted:
            raise UserError(
                f"feature.columns.{name} reads `{unfitted[0]}`, and both are fitted on the data in the same pass. "
                f"Give {name} its values, or let it read raw columns. If `{unfitted[0]}` hides the raw column of that "
                "name, rename it."
            )
