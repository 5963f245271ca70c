"""A run's feature columns and what they learned, as one file: it encodes new rows as it did the old ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from components.types import Column, Constants, Encoded, EncodingWarnings, Ragged, Source, UserError
from runner import npz
from runner.config.legacy import rename_targets
from runner.data.encode import TARGET, check_keys, encode_source, first_block
from runner.data.load import Features, program_columns, reached_columns
from runner.data.python_rows import as_source

FILE = "transform.npz"
VERSION = 2

Rows: TypeAlias = Mapping[str, Mapping[str, Encoded]]


class ArrayLayout(NamedTuple):
    """What an array of a column has for each row."""

    dtype: str
    shape: tuple[int, ...]  # of a ragged one that of an element
    ragged: bool

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}" + (" in any number" if self.ragged else "")


@dataclass(frozen=True)
class Transform:
    """From raw rows to the arrays that the program takes, in training, prediction and serving alike.

    Attributes:
        features: the columns.
        constants: what they and the target learned from the training split.
        forms: of the arrays that training rows became, by column and name.
    """

    features: Features
    constants: Mapping[str, Constants]
    layouts: Mapping[str, Mapping[str, ArrayLayout]]

    @property
    def columns(self) -> dict[str, Column]:
        """The columns that inputs reach, parents first."""
        return {name: column for name, column in reached_columns(self.features).items() if name != TARGET}

    def __call__(self, rows: Mapping[str, Any] | Source) -> Rows:
        """The arrays of the columns that the program takes: of raw columns, or of all rows of a source.

        A raw column is an array, or anything that NumPy makes one of, the rows along its first axis; `Strings` or
        `Ragged`; or one of pandas, Polars or Arrow, whose data frames and tables stand for their columns. Raises
        UserError where one lacks or has another form, DataError where a value is wrong, with its row and column.
        """
        return self.transform_with_warnings(rows)[0]

    def transform_with_warnings(self, rows: Mapping[str, Any] | Source) -> tuple[Rows, tuple[str, ...]]:
        """The same, and what columns remark on the rows."""
        source = as_source(rows)
        if (first := first_block(source)) is None:
            raise UserError("there are no rows: give columns, each with a row or more")
        check_keys(self.columns, first)
        kept = [name for name in program_columns(self.features) if name != TARGET]
        remarking = {name: column for name, column in self.columns.items() if isinstance(column, EncodingWarnings)}
        encoded = encode_source(source, self.columns, self.constants, list(dict.fromkeys([*kept, *remarking])))
        found = {name: encoded[name] for name in kept}
        self._check(found)
        remarks = (column.warnings(encoded[name], self.constants[name]) for name, column in remarking.items())
        return found, tuple(itertools.chain(*remarks))

    def _check(self, encoded: Rows) -> None:
        for name, arrays in array_layouts(encoded).items():
            for key, form in arrays.items():
                if form != (wanted := self.layouts[name][key]):
                    raise UserError(
                        f"feature.columns.{name}: a new row is encoded as {form}, a row of the run as {wanted}"
                    )


def array_layouts(encoded: Rows) -> dict[str, dict[str, ArrayLayout]]:
    """The forms of the arrays of columns, by name."""
    return {name: {key: _form(values) for key, values in arrays.items()} for name, arrays in encoded.items()}


def save_transform(folder: Path, feature: Mapping[str, Any], constants: Mapping[str, Constants], encoded: Rows) -> None:
    """Writes the columns, as the plain values that describe them, what they learned, and the form of their arrays."""
    arrays: dict[str, np.ndarray] = {}
    for name, learned in constants.items():
        for side, values in (("host", learned.host), ("device", learned.device)):
            arrays |= {f"{name}/{side}/{key}": value for key, value in values.items()}
    static = {name: dict(learned.static) for name, learned in constants.items()}
    npz.write(
        folder / FILE,
        arrays,
        {"version": VERSION, "feature": feature, "columns": static, "forms": array_layouts(encoded)},
    )


def load_transform(path: Path) -> Transform:
    """What `save` wrote into a folder, or a file; raises UserError where that is missing, damaged or too old.

    Of what the file names, nothing is built but feature columns, ours and those of packages that the user allows.
    """
    path = path / FILE if path.is_dir() else path
    if not path.exists():
        raise UserError(f"there is no {path}: it is written once a run begins")
    meta, arrays, _ = npz.read(path)
    if meta.get("version") != VERSION:
        raise UserError(f"{path} has version {meta.get('version')}, this Titrate reads {VERSION}: train the run again")
    with npz.unpacked(path, "transform"):
        found = {name: Constants({}, {}, _tuples(dict(static))) for name, static in meta["columns"].items()}
        for name, array in arrays.items():
            column, side, key = name.rsplit("/", 2)
            sides: dict[str, Any] = {"host": found[column].host, "device": found[column].device}
            sides[side][key] = array
        formed = {
            name: {
                key: ArrayLayout(str(np.dtype(dtype)), tuple(map(int, shape)), bool(ragged))
                for key, (dtype, shape, ragged) in one.items()
            }
            for name, one in meta["forms"].items()
        }
        feature = {key: dict(meta["feature"][key]) for key in ("target", "columns", "inputs")} | meta["feature"]
        feature, _ = rename_targets(feature)
    features = Features.described(feature)
    if found.keys() != reached_columns(features).keys() or formed.keys() != set(program_columns(features)):
        raise npz.Damaged(f"{path} is no transform: what it holds of columns isn't that of the columns it names")
    return Transform(features, found, formed)


def _form(values: Encoded) -> ArrayLayout:
    array = values.values if isinstance(values, Ragged) else values
    return ArrayLayout(str(array.dtype), array.shape[1:], isinstance(values, Ragged))


def _tuples(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _tuples(value) for key, value in node.items()}
    return tuple(map(_tuples, node)) if isinstance(node, list) else node
