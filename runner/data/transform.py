"""The transform of a run: its operations, feature columns and constants. It encodes rows as in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np

from components.columns import READING_OPTIONS, merge_options
from components.types import (
    Column,
    Constants,
    DecodesRows,
    Encoded,
    EncodingWarnings,
    FindsExamples,
    ReadsLists,
    RowOperation,
    Source,
    UpgradesConstants,
    UserError,
    find_columns_read,
)
from runner import npz
from runner.config.legacy import check_read_columns, read_numbers_as_data, rename_targets
from runner.data.columns import ArrayLayout, array_layouts, match_layouts
from runner.data.encode import (
    check_keys,
    decode_lazily,
    encode_pieces,
    encode_source,
    first_block,
    is_input_column,
    join_pieces,
    parent_keys,
    raw_keys,
    regroup_pieces,
)
from runner.data.given_parts import Gaps, fill_gaps, warn_of_values
from runner.data.load import Data, Features, RawColumns, find_raw_columns, program_column_names, used_columns
from runner.data.operations import (
    find_changed_sources,
    list_other_sources,
    select_new_row_operations,
)
from runner.data.python_rows import NewRows, open_rows
from runner.data.windows import NewExamples, find_new_examples, view_examples
from runner.errors import LocatedError
from runner.signature.operations import build_operations

FILE = "transform.npz"
VERSION = 3
READABLE_VERSIONS = (2, 3)
UNPREDICTABLE = (
    "the run learned from pairs, which are drawn by the classes of rows, so new rows can't be predicted. Predict a "
    "split (data.split=test), evaluate rows with their classes, or train a network for single rows with weights=run."
)
SIDES = ("host", "device", "new_rows")  # the fields of `Constants` whose arrays are saved

OnMissing: TypeAlias = Literal["error", "fill"]
"""What new rows do with a missing value where the training split had none."""

Rows: TypeAlias = Mapping[str, Mapping[str, Encoded]]
"""Encoded arrays by column and name."""


@dataclass(frozen=True)
class Transform:
    """Turns raw rows into the arrays that the program takes, in training, prediction and serving.

    Attributes:
        features: the columns and the target.
        constants: the constants of the columns and the target.
        layouts: the layout of each array in training, by column and name.
        source_options: the options of the run's source with which texts are read as in training.
        operations: the row operations of the run. New rows pass through those that compute columns.
        other_sources: the fingerprints of the other sources that operations read, by the operation's number.
        network: a digest of the network whose features the run reads (data=features). None: it reads none.
    """

    features: Features
    constants: Mapping[str, Constants]
    layouts: Mapping[str, Mapping[str, ArrayLayout]]
    source_options: Mapping[str, Any] = field(default_factory=dict)
    operations: tuple[RowOperation, ...] = ()
    other_sources: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None

    @property
    def columns(self) -> dict[str, Column]:
        """The columns that the inputs use, directly or not, parents first."""
        return {name: column for name, column in used_columns(self.features).items() if is_input_column(name)}

    @property
    def list_keys(self) -> frozenset[str]:
        """The raw columns of inputs with lists in their rows, in which Python's lists of one length are lists, too."""
        columns, keys = self.columns, dict[str, None]()

        def visit(name: str) -> None:
            parents = parent_keys(columns, name)
            keys.update(dict.fromkeys(set(columns[name].keys).difference(parents)))
            for parent in parents:
                visit(parent)

        for name, column in columns.items():
            if not isinstance(column, DecodesRows) and any(each.depth for each in self.layouts.get(name, {}).values()):
                visit(name)
        for operation in self.operations:
            if operation.applies_to_new_rows and isinstance(operation, ReadsLists):
                keys.update(dict.fromkeys(operation.list_columns))
        return frozenset(keys)

    def __call__(self, rows: Mapping[str, Any] | Source, *, on_missing: OnMissing = "error") -> Rows:
        """Encodes rows.

        Args:
            rows: raw columns by name, a data frame or table of pandas, Polars or Arrow, or a source. A raw column is
                an array, or anything that NumPy turns into one, with the rows along its first axis; `Strings` or
                `Ragged`; or a column of pandas, Polars or Arrow.
            on_missing: `error`: a missing value is an error where the training split had none. `fill`: numbers get the
                mean of the training split, and categories are unknown.

        Returns:
            The arrays that the program takes, by column and name.

        Raises:
            UserError: a column is missing, or is encoded in another layout than in training.
            DataError: a value is wrong; the message names its row and column.
        """
        (encoded,) = self.pieces(rows, None, on_missing=on_missing)
        return encoded

    def open(self, rows: Mapping[str, Any] | Source, columns: Mapping[str, Column] | None = None) -> NewRows:
        """Opens new rows.

        Args:
            rows: as for a call.
            columns: the columns that read them. None: those of the inputs.
        """
        read = self.columns if columns is None else columns
        opened = open_rows(rows, read, self.source_options, self.list_keys, self.operations)
        changed = find_changed_sources(self.operations, self.other_sources)
        return opened._replace(notes=(*opened.notes, *changed))

    def pieces(
        self,
        rows: Mapping[str, Any] | Source | NewRows,
        size: int | None,
        *,
        on_missing: OnMissing = "error",
        on_warning: Callable[[str], None] | None = None,
    ) -> Iterator[Rows]:
        """Encodes rows as a call does, in pieces that are in memory one after the other.

        Args:
            rows: as for a call, or what `open` returned.
            size: all pieces but the last one have a multiple of this number of rows. None: there is one piece.
            on_missing: as for a call.
            on_warning: called at the end with each warning of a column about the rows.
        """
        opened = rows if isinstance(rows, NewRows) else self.open(rows)
        yield from self._encode_pieces(opened, size, on_missing=on_missing, on_warning=on_warning)

    def _encode_pieces(
        self,
        opened: NewRows,
        size: int | None,
        *,
        on_missing: OnMissing,
        on_warning: Callable[[str], None] | None,
    ) -> Iterator[Rows]:
        """Encodes opened rows. The other arguments are those of `pieces`."""
        source = opened.source
        if (first := first_block(source)) is None:
            raise UserError("there are no rows. Pass columns with at least one row.")
        notes = opened.list_notes()
        check_keys(self.columns, first)
        columns, gaps = self.columns, Gaps()
        if on_missing == "fill":
            columns, gaps = fill_gaps(columns, self.constants, source)
            notes += gaps.notes
        input_names = [name for name in program_column_names(self.features) if is_input_column(name)]
        warning_columns = {
            name: column
            for name, column in self.columns.items()
            if on_warning is not None and isinstance(column, EncodingWarnings)
        }
        kept: list[dict[str, dict[str, Encoded]]] = []  # of the columns that warn

        def encode_inputs() -> Iterator[dict[str, dict[str, Encoded]]]:
            returned = list(dict.fromkeys([*input_names, *warning_columns]))
            for piece in encode_pieces(source, columns, self.constants, returned):
                kept.append({name: dict(piece[name]) for name in warning_columns})
                yield {name: piece[name] for name in input_names}

        count = sum(source.sizes().values()) if size is None else size
        for piece in regroup_pieces(encode_inputs(), count):
            yield match_layouts(decode_lazily(piece, columns, self.constants), self.layouts)
        if on_warning is None:
            return
        for warning in [*notes, *warn_of_values(source, columns, self.constants, join_pieces(kept), gaps)]:
            on_warning(warning)

    def examples(
        self,
        rows: Mapping[str, Any] | Source | NewRows,
        *,
        on_missing: OnMissing = "error",
        on_warning: Callable[[str], None] | None = None,
    ) -> NewExamples:
        """Encodes the examples of new rows, which have several rows each. The arguments are those of `pieces`."""
        examples = self.features.examples
        if not isinstance(examples, FindsExamples):
            raise LocatedError("examples", UNPREDICTABLE)
        columns = self.columns | self.features.example_columns
        opened = rows if isinstance(rows, NewRows) else self.open(rows, columns)
        (encoded,) = self._encode_pieces(opened, None, on_missing=on_missing, on_warning=on_warning)
        found = find_new_examples(opened.source, examples, with_targets=False)
        if on_warning is not None:
            for warning in found.describe_left_out(examples):
                on_warning(warning)
        rows_of_examples, numbers = np.asarray(found.examples.rows[0]), opened.find_numbers()
        viewed = view_examples(encoded, examples, found.examples, rows_of_examples)
        return NewExamples(viewed, rows_of_examples if numbers is None else numbers[rows_of_examples])

    def list_warnings(self, source: Source, columns: Mapping[str, Column], gaps: Gaps) -> list[str]:
        """The warnings of the columns about new rows.

        Args:
            source: the rows.
            columns: the columns that encode them: those of the run, or others that fill gaps.
            gaps: the gaps that they fill.
        """
        names = [name for name, column in self.columns.items() if isinstance(column, EncodingWarnings)]
        encoded = encode_source(source, columns, self.constants, names) if names else {}
        return warn_of_values(source, columns, self.constants, encoded, gaps)


def save_transform(
    folder: Path,
    feature: Mapping[str, Any],
    data: Data,
    source: Mapping[str, Any] = MappingProxyType({}),
    operations: Sequence[Mapping[str, Any]] = (),
    examples: Mapping[str, Any] | None = None,
) -> None:
    """Writes the transform of a run.

    Args:
        folder: the run folder.
        feature: the `feature` configuration, which describes the columns and the target.
        data: the data. Of its encoded arrays, only the layouts are saved.
        source: the `data` configuration, which has the options of the source that are set.
        operations: the `operations` configuration.
        examples: the `examples` configuration.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, constant in data.constants.items():
        for side in SIDES:
            arrays |= {f"{name}/{side}/{key}": value for key, value in getattr(constant, side).items()}
    static = {name: dict(constant.static) for name, constant in data.constants.items()}
    reading = {name: source[name] for name in READING_OPTIONS if source.get(name) is not None}
    features = Features.from_config(feature, examples)
    inputs = {name: column for name, column in used_columns(features).items() if is_input_column(name)}
    read = find_raw_columns(features)
    metadata = {
        "version": VERSION,
        "feature": feature,
        "examples": examples,
        "columns": static,
        "forms": array_layouts(data.encoded),
        "source": merge_options(data.source_options, reading) if data.source_options else {},
        "network": data.network,
        "operations": list(operations),
        "other_sources": list_other_sources(build_operations(operations)),
        "keys": _list_keys(inputs | features.example_columns, read, operations),
    }
    npz.write(folder / FILE, arrays, metadata)


def _list_keys(
    inputs: Mapping[str, Column], read: RawColumns, operations: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """The raw columns that new rows need: those of inputs, all, and those of targets. None: operations may read any."""
    built = build_operations(operations)
    applied = [*select_new_row_operations(built, read.names).values()]
    for_inputs = [*select_new_row_operations(built, raw_keys(inputs)).values()]
    of_inputs, of_all = find_columns_read(for_inputs, raw_keys(inputs)), find_columns_read(applied, read.names)
    if of_inputs is None or of_all is None:
        return None
    computed = {name for operation in applied for name in operation.columns_computed or ()}
    separators = {name: text for name, text in read.class_separators.items() if name not in computed}
    return {
        "inputs": sorted(of_inputs),
        "all": sorted(of_all),
        "targets": sorted(read.targets - computed),
        "class_separators": separators,
    }


def read_source_options(folder: Path) -> dict[str, Any]:
    """The options with which a run's source reads new rows as in training; empty for runs of earlier versions."""
    return npz.read_meta(folder / FILE).get("source", {})


def read_raw_columns(folder: Path, *, with_target: bool) -> RawColumns | None:
    """The raw columns that a run reads; None for runs of earlier versions.

    Args:
        folder: the run folder.
        with_target: whether the columns of targets and weights are among them.
    """
    keys = npz.read_meta(folder / FILE).get("keys")
    if keys is None:
        return None
    if not with_target:
        return RawColumns(frozenset(keys["inputs"]))
    return RawColumns(frozenset(keys["all"]), frozenset(keys.get("targets", ())), keys.get("class_separators", {}))


def load_transform(path: Path) -> Transform:
    """Reads the transform of a run.

    Reading a transform runs no code but that of feature columns and operations, ours or of packages that the user
    allows.

    Args:
        path: the run folder, or the file.

    Raises:
        UserError: the file is missing, damaged or of another version.
    """
    path = path / FILE if path.is_dir() else path
    if not path.exists():
        raise UserError(f"there is no {path}: a run writes it when it starts")
    metadata, arrays, _ = npz.read(path)
    version = metadata.get("version")
    if version not in READABLE_VERSIONS:
        readable = " and ".join(map(str, READABLE_VERSIONS))
        raise UserError(f"{path} has version {version}. This Titrate reads versions {readable}. Train the run again.")
    with npz.report_as_damaged(path, "transform"):
        constants = {
            name: Constants(host={}, device={}, static=_lists_to_tuples(dict(static)), new_rows={})
            for name, static in metadata["columns"].items()
        }
        for array_name, array in arrays.items():
            column, side, key = array_name.rsplit("/", 2)
            sides: dict[str, Any] = {name: getattr(constants[column], name) for name in SIDES}
            sides[side][key] = array
        layouts = {
            name: {
                key: ArrayLayout(str(np.dtype(dtype)), tuple(map(int, shape)), int(depth))
                for key, (dtype, shape, depth) in column_layouts.items()
            }
            for name, column_layouts in metadata["forms"].items()
        }
        feature = {key: dict(metadata["feature"][key]) for key in ("columns", "inputs")} | metadata["feature"]
        feature, _ = rename_targets(feature)
        if version == 2:
            feature = read_numbers_as_data(feature)
    if version == 2:
        check_read_columns(feature)
    features = Features.from_config(feature, metadata.get("examples"))
    columns = used_columns(features)
    if constants.keys() != columns.keys() or layouts.keys() != set(program_column_names(features)):
        raise npz.DamagedFileError(f"{path} is not a transform: its arrays do not match the columns that it names")
    for name, each in columns.items():
        if isinstance(each, UpgradesConstants):
            constants[name] = each.upgrade(constants[name])
    operations = build_operations(metadata.get("operations", ()))
    others = metadata.get("other_sources", {})
    source, network = metadata.get("source", {}), metadata.get("network")
    return Transform(features, constants, layouts, source, operations, others, network)


def _lists_to_tuples(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _lists_to_tuples(value) for key, value in node.items()}
    return tuple(map(_lists_to_tuples, node)) if isinstance(node, list) else node
