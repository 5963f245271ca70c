"""Columns of the data that are copied beside the predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from components.closest import suggest_name
from components.types import Block, Column, DecodesRows, Ragged, Source, Strings, UserError
from runner.data.columns import select_rows
from runner.data.encode import block_rows, blocks_with_offsets, first_block

ROW = "row"  # stands for the row's number, unless the data has a column of this name


def check_copied_columns(source: Source, names: Sequence[str], key: str = "output.columns") -> None:
    """Raises UserError for a column that isn't in the data, or has no single values.

    Args:
        source: the data.
        names: the names of the columns, where `row` may stand for the row's number.
        key: the key or the argument that has the names, for messages.
    """
    block = first_block(source)
    columns = {} if block is None else block.columns
    for name in names:
        if name not in columns and name != ROW:
            raise UserError(f"{key}: there is no column `{name}`. {suggest_name(name, [*columns, ROW])}")
        if block is not None and name in columns and not _is_flat(block, name):
            kind = "a file" if name in block.files else "an array"
            raise UserError(f"{key}: each value of `{name}` is {kind}, which a table can't hold. Leave it out.")


def copy_columns(source: Source, names: Sequence[str], rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Copies columns of a source.

    Args:
        source: the data.
        names: the names of the columns.
        rows: the rows that are copied, int64 (N,). None: all.

    Returns:
        The values by name, each (N,). A missing value is NaN, NaT or None.
    """
    if not names:  # nothing is read
        return {}
    if rows is not None and len(rows) == sum(source.sizes().values()) and (np.diff(rows) == 1).all():
        rows = None
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in names}
    order: list[np.ndarray] = []  # the positions in `rows` of the rows of each block
    for offset, block in blocks_with_offsets(source):
        if rows is not None:
            order.append(np.flatnonzero((rows >= offset) & (rows < offset + block_rows(block))))
            block = select_rows(block, rows[order[-1]] - offset)
        for name, copied in pieces.items():
            copied.append(_copy_column(block, name))
    columns = {name: np.concatenate(copied) for name, copied in pieces.items()}
    if rows is None:
        return columns
    positions = np.argsort(np.concatenate(order))
    return {name: values[positions] for name, values in columns.items()}


def list_flat_columns(source: Source) -> list[str]:
    """The names of the columns that have single values."""
    block = first_block(source)
    return [] if block is None else [name for name in block.columns if _is_flat(block, name)]


def has_files(columns: Mapping[str, Column]) -> bool:
    """Whether feature columns may read files. Only then, a source is opened again for their paths."""
    return any(isinstance(column, DecodesRows) for column in columns.values())


def list_path_columns(source: Source) -> list[str]:
    """The names of the columns with the paths of the files that other columns have: `path`, or `photo.path`."""
    block = first_block(source)
    if block is None:
        return []
    found = [name for name in block.columns if name.endswith(".path") and name.removesuffix(".path") in block.files]
    names = [*(["path"] if "path" in block.columns and block.files else []), *sorted(found)]
    return [name for name in names if _is_flat(block, name)]


def copy_targets(
    source: Source, targets: Mapping[str, Column], single: str, rows: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Copies the columns of the targets, as far as new rows have them: `target`, or `PRICE.target` of several.

    Args:
        source: the rows.
        targets: the targets by name.
        single: the name of a single target.
        rows: as for `copy_columns`.
    """
    block = first_block(source)
    names: dict[str, str] = {}
    for name, target in targets.items():
        title = "target" if name == single else f"{name}.target"
        keys = target.keys
        names |= {title if len(keys) == 1 else f"{title}_{number}": key for number, key in enumerate(keys)}
    present = {
        title: key
        for title, key in names.items()
        if block is not None and key in block.columns and _is_flat(block, key)
    }
    copied = copy_columns(source, [*present.values()], rows)
    return {title: copied[key] for title, key in present.items()}


def _is_flat(block: Block, name: str) -> bool:
    """Whether a column has single values, which are no files."""
    if name in block.files:
        return False
    values = block.columns[name]
    return isinstance(values, Strings) or (isinstance(values, np.ndarray) and values.ndim == 1)


def _copy_column(block: Block, name: str) -> np.ndarray:
    """The values of a column that has single values."""
    column, mask = block.columns[name], block.valid.get(name)
    assert not isinstance(column, Ragged)
    values = np.array(column.tolist(), object) if isinstance(column, Strings) else column
    if mask is None or mask.all() or values.dtype.kind in "fM":  # these are NaN or NaT already
        return values
    values = values.astype(object)
    values[~mask] = None
    return values
