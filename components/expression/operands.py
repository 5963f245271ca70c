"""The values of a part of an expression: their kind, what is missing, and the rows that have no value by an error."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from components.arrow import convert_column, to_arrow
from components.closest import suggest_name
from components.types import Block, DataError, Ragged, Remedy, Strings, Values

Kind: TypeAlias = Literal["integer", "number", "boolean", "text", "time", "missing", "unknown"]
"""The type of an expression. `integer` is int64, `number` is float64, `missing` is the type of null, and `unknown` that
of a column whose type isn't known yet."""

KINDS: Mapping[Kind, str] = {
    "integer": "whole numbers",
    "number": "numbers",
    "boolean": "booleans",
    "text": "texts",
    "time": "times",
    "missing": "null",
}
"""The kinds in messages."""

NUMERIC: frozenset[Kind] = frozenset({"integer", "number", "boolean"})
BOOLEAN: frozenset[Kind] = frozenset({"boolean"})
TEXT: frozenset[Kind] = frozenset({"text"})
TIME: frozenset[Kind] = frozenset({"time", "text"})  # a text of ISO 8601 is read as a time
ANY: frozenset[Kind] = NUMERIC | {"text", "time", "missing"}
MAX_INTEGER = 2**63 - 1
MAX_CHARACTERS = 100  # of a value in a message
MISSING_TIME = np.iinfo(np.int64).min  # NaT


class Fault(NamedTuple):
    """Rows without a value, such as those in which a number is divided by 0.

    Attributes:
        rows: (rows,), bool, or one bool for all rows.
        describe: the fault of a row, such as "`a // b` divides by 0".
        remedy: what to change in the expression. "": nothing.
    """

    rows: np.ndarray
    describe: Callable[[int], str]
    remedy: str = "test the values first, as in `a / b if b != 0 else 0`"


class Operand(NamedTuple):
    """The values of a part of an expression.

    Attributes:
        values: (rows,): int64, float64, bool, datetime64, or `Strings`. A constant is a NumPy scalar, or one string.
        valid_mask: (rows,), bool, or one bool for all rows: False where a value is missing. None: no value is missing.
        faults: the rows without a value. They matter only if the whole expression needs the value there.
    """

    values: Any
    valid_mask: np.ndarray | None = None
    faults: tuple[Fault, ...] = ()

    def select(self, rows: np.ndarray | np.generic | None) -> tuple[Fault, ...]:
        """The faults that remain if only some rows are used. None: all are."""
        if rows is None or not self.faults:
            return self.faults
        return tuple(fault._replace(rows=np.asarray(fault.rows & rows)) for fault in self.faults)


def join_masks(operands: Sequence[Operand]) -> np.ndarray | None:
    """The mask of what needs all operands: False where one of them is missing. None: nothing is missing."""
    masks = [operand.valid_mask for operand in operands if operand.valid_mask is not None]
    return functools.reduce(np.logical_and, masks) if masks else None


def join_faults(operands: Sequence[Operand]) -> tuple[Fault, ...]:
    """The faults of what needs all operands."""
    return tuple(fault for operand in operands for fault in operand.faults)


def is_constant(strings: Strings) -> bool:
    """Whether strings are the only value of a constant, whose indices have no rows."""
    return strings.indices is not None and strings.indices.ndim == 0


def make_constant(text: bytes) -> Strings:
    """A text in UTF-8 as a constant."""
    return Strings.from_bytes([text])._replace(indices=np.zeros((), np.int64))


def broadcast(operand: Operand, rows: int) -> Operand:
    """An operand with a value for each row, also of a constant."""
    values, valid_mask = operand.values, operand.valid_mask
    if isinstance(values, Strings):
        values = values._replace(indices=np.full(rows, values.indices)) if is_constant(values) else values
    else:
        values = np.broadcast_to(values, (rows,))
    valid_mask = None if valid_mask is None else np.broadcast_to(valid_mask, (rows,))
    return operand._replace(values=values, valid_mask=valid_mask)


def read_operand(block: Block, name: str) -> tuple[Kind, Operand]:
    """Reads a column. NaN is a missing number, NaT a missing time; an empty text isn't missing.

    Raises:
        DataError: there is no such column, or expressions can't use its values.
    """
    values, valid_mask = get_column(block, name), block.valid.get(name)
    valid_mask = None if valid_mask is None or valid_mask.all() else valid_mask
    if isinstance(values, np.ndarray):
        if values.size != len(values):
            fault = f"column `{name}` of {block.origin} has rows of shape {values.shape[1:]}"
            raise DataError(f"{fault}; expressions need single values")
        values = values.reshape(-1)
        if values.dtype.kind in "OUST":
            values, not_none = convert_column(name, to_arrow(name, values.tolist()))
            valid_mask = _join(valid_mask, not_none)
    if isinstance(values, Strings) and name not in block.files:
        if values.rows and len(values.offsets) == 1:  # a dictionary without strings, since all values are missing
            values = Strings.from_bytes([b""])._replace(indices=np.zeros(values.rows, np.int64))
        return "text", Operand(values, valid_mask)
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufM":
        kind, values = _convert(block, name, values, valid_mask)
        return kind, Operand(values, _join(valid_mask, _find_values(values)))
    content = "files" if name in block.files else _describe_content(values)
    raise DataError(f"column `{name}` of {block.origin} has {content}, which expressions can't use")


def _describe_content(values: Values) -> str:
    if isinstance(values, np.ndarray) and values.dtype.kind in "Om":
        return "bytes" if values.dtype.hasobject else "durations"
    return f"values of the type {values.dtype}" if isinstance(values, np.ndarray) else "lists"


def get_column(block: Block, name: str) -> Values:
    """A column of single values. Raises DataError if it isn't there, or if its rows have lists."""
    if name not in block.columns:
        suggestion = suggest_name(name, block.columns, title="Columns")
        raise DataError(f"there is no column `{name}` in {block.origin}. {suggestion}")
    values = block.columns[name]
    if isinstance(values, Ragged):
        raise DataError(f"column `{name}` of {block.origin} has rows of different lengths; expressions need one value")
    return values


def _convert(block: Block, name: str, values: np.ndarray, valid_mask: np.ndarray | None) -> tuple[Kind, np.ndarray]:
    """Converts numbers to int64 or float64; booleans and times stay as they are."""
    kind = values.dtype.kind
    if kind == "b":
        return "boolean", values
    if kind == "M":
        return "time", values
    if kind == "f":
        return "number", values.astype(np.float64, copy=False)
    if values.dtype == np.uint64 and (too_large := values > MAX_INTEGER).any():
        row = int(np.argmax(too_large))
        fault = f"{block.locate(row)}: column `{name}` is {values[row]}, and whole numbers are at most {MAX_INTEGER}"
        raise DataError(fault, "correct it", Remedy("convert the column to floats", "rows"))
    return "integer", values.astype(np.int64, copy=False)


def _find_values(values: np.ndarray) -> np.ndarray | None:
    """The mask of an array: False for NaN and NaT. None: it has none."""
    if values.dtype.kind not in "fM":
        return None
    # The comparison takes a third of the time of np.isnat.
    is_missing = np.isnan(values) if values.dtype.kind == "f" else values.view(np.int64) == MISSING_TIME
    return ~is_missing if is_missing.any() else None


def _join(valid_mask: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    if valid_mask is None or other is None:
        return other if valid_mask is None else valid_mask
    return valid_mask & other


def describe_kinds(kinds: Collection[Kind]) -> str:
    """The kinds, for messages: `numbers or texts`."""
    return " or ".join(KINDS[kind] for kind in KINDS if kind in kinds)


def format_value(values: Any, row: int) -> str:
    """The value of a row as Python writes it, for messages. A long one is cut."""
    if isinstance(values, Strings):
        string = int(row if values.indices is None else values.indices if is_constant(values) else values.indices[row])
        text = repr(values.data[values.offsets[string] : values.offsets[string + 1]].tobytes().decode(errors="replace"))
    else:
        value = np.broadcast_to(values, (row + 1,))[row] if np.ndim(values) == 0 else values[row]
        text = str(value) if value.dtype.kind == "M" else repr(value.item())
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."
