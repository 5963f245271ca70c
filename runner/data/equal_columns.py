"""Columns that encode rows into equal arrays, such as the past and the future of a series as input and target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.types import Column, Constants
from runner.data.encode import parent_keys


def find_equal_columns(
    columns: Mapping[str, Column], constants: Mapping[str, Constants], names: Sequence[str]
) -> dict[str, str]:
    """The first column that encodes rows into the same arrays, by name of the column, which may be the first itself.

    Args:
        columns: all columns.
        constants: the constants of the columns.
        names: the columns to compare.
    """
    alike: dict[Any, list[str]] = {}
    result = {}
    for name in names:
        others = alike.setdefault(_identify_settings(columns, name), [])
        equal = (other for other in others if _encode_equally(constants[other], constants[name]))
        result[name] = next(equal, name)
        if result[name] == name:
            others.append(name)
    return result


def _identify_settings(columns: Mapping[str, Column], name: str) -> Any:
    """A value that two columns share if their settings are equal, and they read the same columns."""
    column = columns[name]
    settings = column, repr(column), tuple(parent_keys(columns, name))  # 1, 1.0 and True are equal, their `repr` isn't
    try:
        hash(settings)
    except TypeError:  # a column with arrays or dictionaries can't be compared
        return name
    return settings


def _encode_equally(constants: Constants, others: Constants) -> bool:
    """Whether the constants that `encode` reads are equal, bit by bit."""
    if constants.static != others.static or constants.host.keys() != others.host.keys():
        return False
    pairs = ((constants.host[key], others.host[key]) for key in constants.host)
    return all(a.dtype == b.dtype and a.shape == b.shape and _as_bytes(a) == _as_bytes(b) for a, b in pairs)


def _as_bytes(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()
