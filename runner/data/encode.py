"""The second pass over a source: columns encode all rows with their constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.closest import suggest_name
from components.types import (
    Block,
    Column,
    Constants,
    DataError,
    Encoded,
    Ragged,
    Source,
    Strings,
    UserError,
    Values,
    row_count,
)
from runner.data.columns import concatenate_rows
from runner.data.ordered_map import ordered_map
from runner.errors import column_location
from runner.platform import count_cores

TARGET = "target"  # the name of the target among the columns


def encoding_order(columns: Mapping[str, Column], inputs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The columns that the inputs use, directly or not, each after the columns that it reads.

    Raises:
        UserError: a column is unknown, or the columns form a cycle.
    """
    if TARGET in columns:
        raise UserError(f"feature.columns.{TARGET}: this name is the target's own; choose another")
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            cycle = " -> ".join([*path[path.index(name) :], name])
            hint = "rename a column that should read the raw column of its name"
            raise UserError(f"feature.columns: {cycle} is a cycle: {hint}")
        for parent in parent_keys(columns, name):
            visit(parent, (*path, name))
        if name not in order:
            order.append(name)

    for input_name, names in inputs.items():
        if not names:
            raise UserError(f"feature.inputs.{input_name} lists no column")
        for name in names:
            if name not in columns:
                raise UserError(f"feature.inputs.{input_name}: no column `{name}`. {suggest_name(name, columns)}")
            visit(name, ())
    return order


def check_keys(columns: Mapping[str, Column], block: Block) -> None:
    """Raises UserError unless every key is a column of the source or another feature column."""
    for name, column in columns.items():
        others = [] if name == TARGET else [other for other in columns if other not in (name, TARGET)]
        for key in column.keys:
            if key not in block.columns and key not in others:
                place = f"feature.{TARGET}" if name == TARGET else f"feature.columns.{name}"
                hint = suggest_name(key, [*block.columns, *others])
                raise UserError(f"{place}: there is no column `{key}` in {block.origin}. {hint}")


def encode_source(
    source: Source,
    columns: Mapping[str, Column],
    constants: Mapping[str, Constants],
    kept: Sequence[str],
    *,
    workers: int | None = None,
) -> dict[str, dict[str, Encoded]]:
    """Encodes all rows of all parts. Several threads encode independent blocks.

    Args:
        source: the data.
        columns: the columns to encode, parents first.
        constants: the constants of each column.
        kept: the columns whose arrays are returned.
        workers: the number of threads; None: one per core.

    Returns:
        The arrays by column and name.
    """

    def encode_kept(numbered_block: tuple[int, Block]) -> dict[str, dict[str, Any]]:
        done = encode_block(numbered_block[1], columns, constants)
        for name in kept:
            _check_dtype(name, done[name])
        return {name: dict(done[name]) for name in kept}

    pieces = list(ordered_map(encode_kept, numbered_blocks(source), workers or count_cores()))
    keys = {name: list(pieces[0][name]) for name in kept}
    # Each piece is freed once it is concatenated, so that at most one array is in memory twice.
    return {
        name: {key: concatenate_rows([piece[name].pop(key) for piece in pieces]) for key in keys[name]} for name in kept
    }


def encode_block(
    block: Block, columns: Mapping[str, Column], constants: Mapping[str, Constants]
) -> dict[str, Mapping[str, Values]]:
    """The arrays of each column for one block; `columns` lists parents first."""
    done: dict[str, Mapping[str, Values]] = {}
    for name, column in columns.items():
        parents = {key: done[key] for key in parent_keys(columns, name)}
        with column_location(name):
            done[name] = column.encode(block, parents, constants[name])
        for key, values in done[name].items():
            if (count := row_count(values)) != block_rows(block):
                raise UserError(f"feature column `{name}` encoded {block_rows(block)} rows as {count} of `{key}`")
    return done


def numbered_blocks(source: Source) -> Iterator[tuple[int, Block]]:
    """The non-empty blocks of all parts, each with the number of its first row over all parts."""
    start = stop = 0
    for part, size in source.sizes().items():
        stop += size
        for block in source.blocks(part):
            if rows := block_rows(block):
                yield start, block
                start += rows
        if start != stop:
            raise DataError(f"the part {part} of the data has {start - stop + size} rows instead of {size}")


def first_block(source: Source) -> Block | None:
    """The first non-empty block of a source; None where it has no rows."""
    return next((block for _, block in numbered_blocks(source)), None)


def block_rows(block: Block) -> int:
    """The number of rows of a block."""
    return row_count(next(iter(block.columns.values())))


def parent_keys(columns: Mapping[str, Column], name: str) -> list[str]:
    """The feature columns that a column reads. Its own name, and every key of the target, refers to a raw column."""
    keys = () if name == TARGET else columns[name].keys
    return [key for key in keys if key in columns and key not in (name, TARGET)]


def _check_dtype(name: str, arrays: Mapping[str, Any]) -> None:
    for key, encoded in arrays.items():
        values = encoded.values if isinstance(encoded, Ragged) else encoded
        if isinstance(values, Strings):
            raise UserError(
                f"feature.inputs lists `{name}`, which encodes strings. List a column that turns them into ids"
            )
        if values.dtype.kind not in "biuf" or values.dtype.itemsize > 4:
            raise UserError(f"feature column `{name}` encoded `{key}` as {values.dtype}; at most 32 bits are allowed")
