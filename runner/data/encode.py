"""The last pass over a source: the feature columns encode all rows with their fitted constants."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from components.closest import join_names, suggest_name
from components.ragged import split_levels
from components.types import (
    Block,
    Column,
    Constants,
    DataError,
    DecodesRows,
    Encoded,
    HostOutput,
    Ragged,
    Remedy,
    Source,
    Strings,
    UserError,
    Values,
    row_count,
)
from runner.data.columns import ArrayLayout, array_layouts, concatenate_rows, drop_columns, make_aligned, take_rows
from runner.data.row_hashes import RowCheck
from runner.data.workers import Workers
from runner.errors import column_location

TARGET = "target"  # the only target, as a target and among the encoded columns
TARGETS = "targets."  # starts the names of several targets among the encoded columns
WEIGHT = "example.weight"  # the weights of examples, among the encoded columns
EXAMPLES = "example.rows"  # the raw columns that say which rows make an example, among the columns that are read
ROW = "example.row"  # what depends on whole rows, among the columns that are fitted


def target_column(name: str) -> str:
    """The name of a target among the encoded columns."""
    return TARGET if name == TARGET else f"{TARGETS}{name}"


def is_input_column(name: str) -> bool:
    """Whether an encoded column is from `feature.columns`, and not a target or the weights."""
    return name not in (WEIGHT, ROW, EXAMPLES) and not is_target(name)


def is_target(name: str) -> bool:
    """Whether an encoded column is a target."""
    return name == TARGET or name.startswith(TARGETS)


def config_key(name: str) -> str:
    """The key in the configuration of an encoded column."""
    if name in (WEIGHT, EXAMPLES):
        return "feature.weight" if name == WEIGHT else "examples"
    return f"feature.columns.{name}" if is_input_column(name) else f"feature.{name}"


def encoding_order(columns: Mapping[str, Column], inputs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The columns that the inputs use, directly or not, each after the columns that it reads.

    Raises:
        UserError: a column is unknown, or the columns form a cycle.
    """
    if reserved := [name for name in columns if not is_input_column(name)]:
        raise UserError(f"feature.columns.{reserved[0]}: the target has this name. Choose another name for the column.")
    order: dict[str, None] = {}  # a set that keeps the order

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            cycle = " -> ".join([*path[path.index(name) :], name])
            raise UserError(
                f"feature.columns: {cycle} is a cycle. If a column should read the raw column of the same name as a "
                "feature column, rename the feature column."
            )
        for parent in parent_keys(columns, name):
            visit(parent, (*path, name))
        order.setdefault(name)

    for input_name, names in inputs.items():
        if not names:
            raise UserError(f"feature.inputs.{input_name} lists no column")
        for name in names:
            if name not in columns:
                raise UserError(f"feature.inputs.{input_name}: no column `{name}`. {suggest_name(name, columns)}")
            visit(name, ())
    return list(order)


def parent_keys(columns: Mapping[str, Column], name: str) -> list[str]:
    """The keys of a column that name other feature columns.

    A key that is the column's own name refers to the raw column of that name, and so do all keys of a target.
    """
    keys = columns[name].keys if is_input_column(name) else ()
    return [key for key in keys if key in columns and key != name and is_input_column(key)]


def raw_keys(columns: Mapping[str, Column]) -> set[str]:
    """The raw columns that columns read."""
    return {key for name, column in columns.items() for key in set(column.keys).difference(parent_keys(columns, name))}


class MissingColumnError(UserError):
    """The source has no column of a name that a feature file or a target has.

    Attributes:
        keys: the keys in the configuration of the encoded columns that read it.
    """

    def __init__(self, message: str, names: Iterable[str]) -> None:
        super().__init__(message)
        self.keys = [*map(config_key, names)]


def check_keys(columns: Mapping[str, Column], block: Block) -> None:
    """Raises UserError unless every key is a raw column of the source or another feature column."""
    missing: dict[str, str] = {}
    for name, column in columns.items():
        known = {*block.columns, *parent_keys(columns, name)}
        missing = {key: name for key in column.keys if key not in known} | missing
    if len(missing) > 1:
        found = join_names(block.columns)
        message = f"there are no columns {join_names(missing)} in {block.origin}. Columns: {found}."
        raise MissingColumnError(message, missing.values())
    for key, name in missing.items():
        others = [other for other in columns if other != name and is_input_column(other)]
        # A column that reads the raw column of its own name reads no other feature column.
        allowed = [*block.columns, *(others if is_input_column(name) and key != name else ())]
        hint = suggest_name(key, allowed, title="Columns")
        message = f"{config_key(name)}: there is no column `{key}` in {block.origin}. {hint}"
        raise MissingColumnError(message, [name])


def encode_source(
    source: Source,
    columns: Mapping[str, Column],
    constants: Mapping[str, Constants],
    returned: Sequence[str],
    *,
    workers: Workers | None = None,
) -> dict[str, Mapping[str, Any]]:
    """Encodes all rows of a source in memory. The arguments are those of `encode_pieces`.

    Returns:
        The arrays by column and name.
    """
    pieces = encode_pieces(source, columns, constants, returned, workers=workers)
    encoded = join_pieces(pieces, sum(source.sizes().values()))
    return decode_lazily(encoded, columns, constants)


def decode_lazily(
    encoded: Mapping[str, Mapping[str, Any]], columns: Mapping[str, Column], constants: Mapping[str, Constants]
) -> dict[str, Mapping[str, Any]]:
    """The arrays for the program. Those of columns that encode files become `DecodedRows`."""
    decoded = dict(encoded)
    for name, column in columns.items():
        if name in encoded and isinstance(column, DecodesRows):
            decoded[name] = column.decoded(encoded[name], constants[name])
    return decoded


class GivenColumns(NamedTuple):
    """The columns that encode rows of given parts, which fill gaps.

    Attributes:
        columns: the columns by name.
        cover: (number of rows before a block) -> whether they encode the block.
    """

    columns: Mapping[str, Column]
    cover: Callable[[int], bool]


def encode_pieces(
    source: Source,
    columns: Mapping[str, Column],
    constants: Mapping[str, Constants],
    returned: Sequence[str],
    *,
    given: GivenColumns | None = None,
    check: RowCheck | None = None,
    workers: Workers | None = None,
) -> Iterator[dict[str, dict[str, Encoded]]]:
    """Encodes a source, block by block. Workers encode a few blocks ahead.

    Args:
        source: the data.
        columns: the columns to encode, parents first.
        constants: the constants of each column.
        returned: the names of the columns whose arrays are returned.
        given: the columns for given parts, in place of `columns`.
        check: checks all rows.
        workers: they compute the blocks. None: new ones.

    Yields:
        The arrays of each block, by column and name.

    Raises:
        UserError: a column doesn't return the arrays that a program takes, or they differ between blocks.
    """
    keys = raw_keys(columns)

    def prepare() -> Iterator[_ToEncode]:
        for offset, block in blocks_with_offsets(source):
            rows_check = None if check is None else check.select(offset, offset + block_rows(block))
            yield _ToEncode(drop_columns(block, keys), given is not None and given.cover(offset), rows_check)

    encode = functools.partial(_encode_piece, columns, {} if given is None else given.columns, constants, returned)
    expected = None
    for piece in (workers or Workers()).map(encode, prepare()):
        layouts = array_layouts(piece)
        _check_layouts(layouts, expected or layouts)
        expected = layouts
        yield piece


class _ToEncode(NamedTuple):
    """A block to encode.

    Attributes:
        block: the block.
        is_given: whether it is from a given part.
        check: checks its rows; None: they need none.
    """

    block: Block
    is_given: bool
    check: RowCheck | None


def _encode_piece(
    columns: Mapping[str, Column],
    given: Mapping[str, Column],
    constants: Mapping[str, Constants],
    returned: Sequence[str],
    piece: _ToEncode,
) -> dict[str, dict[str, Any]]:
    if piece.check is not None:
        piece.check(piece.block)
    encoded, _ = encode_block(piece.block, given if piece.is_given else columns, constants, returned)
    for name in returned:
        _check_dtype(name, encoded[name])
    return {name: dict(encoded[name]) for name in returned}


def join_pieces(
    pieces: Iterable[Mapping[str, Mapping[str, Encoded]]], rows: int | None = None
) -> dict[str, dict[str, Encoded]]:
    """Concatenates the rows of pieces.

    Args:
        pieces: the pieces.
        rows: the number of all rows. With it, a piece of a dense array is copied to its place, and not kept. None: the
            pieces are counted first.
    """
    if rows is None:
        pieces = list(pieces)
        rows = sum(map(_piece_rows, pieces))
    joined: dict[str, dict[str, Any]] = {}
    start = 0
    for piece in pieces:
        count = _piece_rows(piece)
        for name, arrays in piece.items():
            own = joined.setdefault(name, {})
            for key, array in arrays.items():
                if isinstance(array, Ragged):
                    own.setdefault(key, []).append(array)
                    continue
                if key not in own:
                    own[key] = make_aligned((rows, *array.shape[1:]), array.dtype)
                own[key][start : start + count] = array[: rows - start]  # too many rows are an error of their source
        start += count
    for own in joined.values():
        own |= {key: concatenate_rows(found) for key, found in own.items() if isinstance(found, list)}
    return joined


def regroup_pieces(
    pieces: Iterable[dict[str, dict[str, Encoded]]], size: int
) -> Iterator[dict[str, dict[str, Encoded]]]:
    """Joins and cuts pieces, so that all but the last one have a multiple of `size` rows."""
    waiting, count = list[dict[str, dict[str, Encoded]]](), 0
    for piece in pieces:
        waiting.append(piece)
        count += _piece_rows(piece)
        if count >= size:
            joined = join_pieces(waiting)
            rest = count % size
            waiting = [_cut_piece(joined, count - rest, count)] if rest else []
            yield _cut_piece(joined, 0, count - rest) if rest else joined
            count = rest
    if waiting:
        yield join_pieces(waiting)


def _piece_rows(piece: Mapping[str, Mapping[str, Encoded]]) -> int:
    arrays = (array for own in piece.values() for array in own.values())
    return next(map(row_count, arrays), 0)  # columns that aren't returned have no arrays


def _cut_piece(piece: Mapping[str, Mapping[str, Encoded]], start: int, stop: int) -> dict[str, dict[str, Encoded]]:
    """Some consecutive rows of a piece."""
    rows = np.arange(start, stop)
    return {name: {key: take_rows(array, rows) for key, array in arrays.items()} for name, arrays in piece.items()}


class EncodedBlock(NamedTuple):
    """One block of rows, encoded.

    Attributes:
        encoded: the arrays for the program, by column and name.
        read: the arrays that other columns read, by column and name.
    """

    encoded: dict[str, Mapping[str, Values]]
    read: dict[str, Mapping[str, Values]]


def encode_block(
    block: Block,
    columns: Mapping[str, Column],
    constants: Mapping[str, Constants],
    encoded: Collection[str] = (),
    read: Collection[str] = (),
) -> EncodedBlock:
    """Encodes one block.

    Args:
        block: the rows.
        columns: the columns, parents first.
        constants: the constants of each column.
        encoded: the columns to encode for the program.
        read: the columns that something else reads, in addition to those that the `columns` read.
    """
    all_read = {key for name in columns for key in parent_keys(columns, name)} | set(read)
    result = EncodedBlock({}, {})
    for name, column in columns.items():
        parents = {key: result.read[key] for key in parent_keys(columns, name)}
        with column_location(config_key(name)), explain_parents(parents):
            if name in all_read and isinstance(column, HostOutput):
                result.read[name] = {"values": column.host_output(block, parents, constants[name])}
                _check_rows(name, "host_output", result.read[name], block_rows(block))
            if name in encoded or (name in all_read and name not in result.read):
                result.encoded[name] = column.encode(block, parents, constants[name])
                _check_rows(name, "encode", result.encoded[name], block_rows(block))
            if name in all_read and name not in result.read:
                result.read[name] = result.encoded[name]
    return result


@contextmanager
def explain_parents(names: Collection[str]) -> Iterator[None]:
    """Adds to errors about a column that it is a feature column, and how to read a raw column of its name.

    Args:
        names: the feature columns that are read.
    """
    try:
        yield
    except DataError as error:
        for name in names:
            if f"column `{name}`" in error.fault:
                fault = f"{error.fault}. `{name}` is the feature column of this name"
                action = f"rename the feature column, such as to `{name}_feature`, also where others read it"
                renaming = Remedy(action, "columns", f"to read the raw column `{name}`")
                error.replace_remedies((*error.remedies, renaming), fault)
                break
        raise


def _check_rows(name: str, method: str, arrays: Mapping[str, Values], rows: int) -> None:
    """Raises UserError unless each array has one row for each of the rows."""
    for key, values in arrays.items():
        if (count := row_count(values)) != rows:
            raise UserError(
                f"feature column `{name}`: `{method}` returned {count} rows of `{key}` for {rows} rows. "
                "It must return one row for each."
            )


def blocks_with_offsets(source: Source) -> Iterator[tuple[int, Block]]:
    """The non-empty blocks of all parts, each with the number of rows before it."""
    offset = end = 0
    for part, size in source.sizes().items():
        end += size
        for block in source.blocks(part):
            if rows := block_rows(block):
                yield offset, block
                offset += rows
        if offset != end:
            raise DataError(f"the part {part} of the data has {offset - end + size} rows instead of {size}")


def first_block(source: Source) -> Block | None:
    """The first non-empty block of a source; None: the source has no rows."""
    return next((block for _, block in blocks_with_offsets(source)), None)


def block_rows(block: Block) -> int:
    """The number of rows of a block."""
    return row_count(next(iter(block.columns.values())))


def _check_dtype(name: str, arrays: Mapping[str, Any]) -> None:
    """Raises UserError unless the arrays of a column are numbers of at most 32 bits."""
    for key, encoded in arrays.items():
        values, _ = split_levels(encoded)
        if isinstance(values, Strings):
            raise UserError(
                f"feature.inputs lists `{name}`, which encodes strings. List a column that turns them into ids."
            )
        if values.dtype.kind not in "biuf" or values.dtype.itemsize > 4:
            raise UserError(
                f"feature column `{name}`: `encode` returned `{key}` as {values.dtype}. At most 32 bits are allowed in "
                "an input. List a column that reads it, such as Vocabulary or Numeric, or return fewer bits."
            )


def _check_layouts(
    found: Mapping[str, Mapping[str, ArrayLayout]], expected: Mapping[str, Mapping[str, ArrayLayout]]
) -> None:
    """Raises UserError unless the arrays of a block have the layouts of those of the block before it."""
    for name, layouts in found.items():
        for key in {**layouts, **expected[name]}:
            layout, other = layouts.get(key), expected[name].get(key)
            if layout == other:
                continue
            texts = [_describe_layout(layout, other), _describe_layout(other, layout)]
            raise UserError(
                f"feature column `{name}`: `encode` returned `{key}` as {texts[0]} for some rows, and as {texts[1]} "
                "for others. It must return one type, shape and depth of lists for all rows."
            )


def _describe_layout(layout: ArrayLayout | None, other: ArrayLayout | None) -> str:
    """A layout in words. None: there is no array. `other`: the one that it differs from."""
    if layout is None:
        return "nothing"
    return str(layout) if other is None else layout.describe_beside(other)
