"""Rows of encoded arrays, dense or ragged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.types import Block, Encoded, Ragged


def length(values: Encoded) -> int:
    """The number of rows."""
    return len(values.offsets) - 1 if isinstance(values, Ragged) else len(values)


def take(values: Encoded, rows: np.ndarray) -> Encoded:
    """Some rows, in the order given."""
    if not isinstance(values, Ragged):
        return values[rows]
    lengths = np.diff(values.offsets)[rows]
    offsets = _offsets(lengths)
    places = np.arange(offsets[-1]) + np.repeat(values.offsets[rows] - offsets[:-1], lengths)
    return Ragged(values.values[places], offsets)


def concatenate(pieces: Sequence[Any]) -> Encoded:
    """All rows of several arrays, which are all dense or all ragged."""
    if not isinstance(pieces[0], Ragged):
        return np.concatenate(pieces)
    lengths = np.concatenate([np.diff(piece.offsets) for piece in pieces])
    return Ragged(np.concatenate([piece.values for piece in pieces]), _offsets(lengths))


def select(block: Block, rows: np.ndarray) -> Block:
    """A block of some rows of another; it names them as that did."""
    return _Selection(
        columns={name: take(values, rows) for name, values in block.columns.items()},
        valid={name: valid[rows] for name, valid in block.valid.items()},
        origin=block.origin,
        first=block.first,
        rows=rows,
    )


@dataclass(frozen=True, kw_only=True)
class _Selection(Block):
    rows: np.ndarray

    def where(self, row: int) -> str:
        return super().where(int(self.rows[row]))


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
