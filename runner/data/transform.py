"""The feature columns of a run and their constants, as one file that encodes new rows as in training."""

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
    """The layout of one row in an array of a column.

    Attributes:
        dtype: the name of its dtype.
        shape: the shape of a row, or of an element of a ragged row.
        ragged: whether a row has any number of elements.
    """

    dtype: str
    shape: tuple[int, ...]
    ragged: bool

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}" + (" in any number" if self.ragged else "")


@dataclass(frozen=True)
class Transform:
    """Turns raw rows into the arrays that the program takes, in training, prediction and serving.

    Attributes:
        features: the columns and the target.
        constants: their values fitted on the training split.
        layouts: the layouts of the arrays in training, by column and name.
    """

    features: Features
    constants: Mapping[str, Constants]
    layouts: Mapping[str, Mapping[str, ArrayLayout]]

    @property
    def columns(self) -> dict[str, Column]:
        """The columns that the inputs use, directly or not, parents first."""
        return {name: column for name, column in reached_columns(self.features).items() if name != TARGET}

    def __call__(self, rows: Mapping[str, Any] | Source) -> Rows:
        """Encodes rows.

        Args:
            rows: raw columns by name, a data frame or table of pandas, Polars or Arrow, or a source. A raw column is
                an array, or anything that NumPy turns into one, with the rows along its first axis; `Strings` or
                `Ragged`; or a column of pandas, Polars or Arrow.

        Returns:
            The arrays that the program takes, by column and name.

        Raises:
            UserError: a column is missing, or is encoded in another layout than in training.
            DataError: a value is wrong; the message names its row and column.
        """
        return self.transform_with_warnings(rows)[0]

    def transform_with_warnings(self, rows: Mapping[str, Any] | Source) -> tuple[Rows, tuple[str, ...]]:
        """Encodes rows as a call does, and returns the warnings of the columns too."""
        source = as_source(rows)
        if (first := first_block(source)) is None:
            raise UserError("there are no rows; columns with at least one row are needed")
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
    """The layouts of arrays, by column and name."""
    return {name: {key: _layout_of(values) for key, values in arrays.items()} for name, arrays in encoded.items()}


def save_transform(folder: Path, feature: Mapping[str, Any], constants: Mapping[str, Constants], encoded: Rows) -> None:
    """Writes the columns of a run.

    Args:
        folder: the folder of the run.
        feature: the plain values that describe the columns and the target.
        constants: their fitted values.
        encoded: their arrays, whose layouts are kept.
    """
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
    """Reads the transform of a run from its folder or its file.

    Only feature columns are built, ours and those of packages that the user allows. No other target of the file runs.

    Raises:
        UserError: the file is missing, damaged or of another version.
    """
    path = path / FILE if path.is_dir() else path
    if not path.exists():
        raise UserError(f"there is no {path}: a run writes it when it starts")
    meta, arrays, _ = npz.read(path)
    if meta.get("version") != VERSION:
        raise UserError(f"{path} has version {meta.get('version')}, this Titrate reads {VERSION}: train the run again")
    with npz.report_as_damaged(path, "transform"):
        found = {name: Constants({}, {}, _lists_to_tuples(dict(static))) for name, static in meta["columns"].items()}
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
        raise npz.DamagedFileError(f"{path} is not a transform: its arrays do not match the columns that it names")
    return Transform(features, found, formed)


def _layout_of(values: Encoded) -> ArrayLayout:
    array = values.values if isinstance(values, Ragged) else values
    return ArrayLayout(str(array.dtype), array.shape[1:], isinstance(values, Ragged))


def _lists_to_tuples(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _lists_to_tuples(value) for key, value in node.items()}
    return tuple(map(_lists_to_tuples, node)) if isinstance(node, list) else node
