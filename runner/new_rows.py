"""Rows that no run has seen: encoded with what the columns learned, and shown to the model in batches of few shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import jax
import numpy as np

from components.types import Block, Constants, DataError, Encoded, Output, Ragged, Source, UserError
from runner.batches import gather
from runner.data import Features, columns_of, listed
from runner.encode import TARGET, check_keys, encode, rows_of
from runner.parts import Given
from runner.program import Program
from runner.rows import length
from runner.transform import Form, forms

Rows: TypeAlias = Mapping[str, Mapping[str, Encoded]]
Forms: TypeAlias = Mapping[str, Mapping[str, Form]]
SIZES = tuple(2**power for power in range(0, 32, 4))  # of batches: few are compiled, and a lone row is quick


def given(columns: Mapping[str, Any]) -> Source:
    """Raw columns, the rows of each along its first axis, as much of a source as encoding needs."""
    return cast(Source, _NewRows({name: _array(name, column) for name, column in columns.items()}))


def encoded(rows: Source, features: Features, learned: Mapping[str, Constants], formed: Forms) -> Rows:
    """The rows of a source as the program takes them, without a target; `formed`: what the training rows became.

    Raises UserError where a column lacks or has another form, DataError where a value is wrong: with its row, column
    and value.
    """
    first = next((block for part in rows.sizes() for block in rows.blocks(part)), None)
    if first is None or not rows_of(first):
        raise UserError("there are no rows to predict: give columns, each with a row or more")
    read = {name: column for name, column in columns_of(features).items() if name != TARGET}
    check_keys(read, first)
    found = encode(rows, read, learned, [name for name in listed(features) if name != TARGET])
    for name, arrays in forms(found).items():
        for key, form in arrays.items():
            if form != (wanted := formed[name][key]):
                raise UserError(f"feature.columns.{name}: a new row is encoded as {form}, a row of the run as {wanted}")
    return found


class Answering:
    """The model, asked about examples whose target nobody knows."""

    def __init__(self, program: Program, given: Given, batch_size: int) -> None:
        self.program, self.given, self._batch_size = program, given, batch_size
        self._answer = jax.jit(self._logits)

    def logits(self, rows: Rows, parameters: Any, model_state: Any) -> np.ndarray:
        """What the model says of each row, float32 (N, outputs); of a real-valued target in its own unit."""
        count = length(next(iter(next(iter(rows.values())).values())))
        size = min(self._batch_size, next(size for size in SIZES if size >= count))
        pieces = []
        for first in range(0, count, size):
            filled = np.arange(first, first + size).clip(max=count - 1)  # the last batch: with its last row
            said = self._answer(self.given, parameters, model_state, gather(rows, filled))
            pieces.append(np.asarray(said)[: count - first])
        return np.concatenate(pieces)

    def _logits(self, given: Given, parameters: Any, model_state: Any, rows: Any) -> jax.Array:
        parts = self.program.parts(given)
        variables = {"params": parameters, **model_state}
        answered: Any = parts.model.apply(variables, rows, given.constants, train=False)
        output: Output = answered[1]
        if output.logits is None:
            raise UserError("this model gives no logits: there is nothing that it predicts")
        return parts.target.decode(output.logits)


@dataclass(frozen=True)
class _NewRows:
    """As much of a source as encoding needs."""

    columns: Mapping[str, Encoded]

    def __post_init__(self) -> None:
        counts = {name: length(values) for name, values in self.columns.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"the columns of new rows must have as many rows each, not {counts}")

    @property
    def count(self) -> int:
        return length(next(iter(self.columns.values()))) if self.columns else 0

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.count}

    def blocks(self, part: str) -> Iterator[Block]:
        if self.columns:
            yield Block(self.columns, origin="the new rows")


def _array(name: str, column: Any) -> Encoded:
    if isinstance(column, Ragged):
        return column
    try:
        array = np.asarray(column)
    except ValueError as error:
        raise DataError(f"column `{name}` is no array; `Ragged` holds rows of different lengths") from error
    if array.ndim == 0:
        raise DataError(f"column `{name}` is {column!r}, not an array of rows")
    if array.dtype.kind == "U" and isinstance(column, list | tuple) and not all(isinstance(one, str) for one in column):
        return np.array(column, object)  # as they were given: NumPy has made strings of numbers
    return array
