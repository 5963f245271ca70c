"""Data sets of Hugging Face: their features, and the files that `save_to_disk` writes.

The features are in the metadata of Arrow's schema, also in the Parquet files of the Hub, so that files are read without
the library `datasets`. Nothing is downloaded.

References:
    https://huggingface.co/docs/datasets/about_dataset_features
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.arrow import array_to_arrow, convert_numbers, mask_column, read_valid_mask, strings_to_arrow
from components.closest import join_names
from components.types import DataError, Strings

if TYPE_CHECKING:
    import pyarrow

Features = Mapping[str, Mapping[str, Any]]
"""The features by column, as JSON has them, such as `{"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}`."""

SPLIT = "split"  # the column that has the split of each row of a `DatasetDict`
FILES = ("Image", "Audio", "Video", "Pdf")  # features of structs of a file's bytes and its path
STATE, SPLITS = "state.json", "dataset_dict.json"  # files of `save_to_disk`


def is_data_set(data: object) -> bool:
    """Whether an object is a `Dataset` or a `DatasetDict`, or one of their kinds that are streams."""
    names = {kind.__name__ for kind in type(data).__mro__ if kind.__module__.partition(".")[0] == "datasets"}
    return bool(names & {"Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict"})


def has_splits(data: object) -> bool:
    """Whether an object is a `DatasetDict` of several splits, so that its table has a column of them."""
    return is_data_set(data) and isinstance(data, Mapping) and len(data) > 1


def convert_data_set(data: Any) -> pyarrow.Table:
    """Converts a `Dataset`; or a `DatasetDict` of several splits, whose names become the column `split`.

    Classes become their names, images the bytes of their files.

    Raises:
        DataError: it is a stream or empty, or has a column `split` already.
    """
    import pyarrow

    if "Iterable" in type(data).__name__:
        raise DataError(
            f"the data is a {type(data).__name__}, whose rows are read only once. Load it with streaming=False, or "
            "yield its rows by data=generator"
        )
    if not isinstance(data, Mapping):
        return _convert_table(data.with_format("arrow")[:], data.features.to_dict())
    if not data:
        raise DataError("the data is a DatasetDict without splits. Pass one with the split train")
    tables = {name: convert_data_set(split) for name, split in data.items()}
    if len(tables) == 1:
        return next(iter(tables.values()))
    if taken := next((name for name, table in tables.items() if SPLIT in table.column_names), None):
        raise DataError(f"the split {taken} has a column `{SPLIT}`, which names the splits. Rename the column")
    named = [table.append_column(SPLIT, _repeat(name, table.num_rows)) for name, table in tables.items()]
    try:
        return pyarrow.concat_tables(named)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"the splits {join_names(tables)} have other columns or types: {error}") from error


def read_features(schema: pyarrow.Schema) -> Features:
    """The features in the metadata of a schema; empty if Hugging Face's library didn't write it."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def is_file(feature: Mapping[str, Any] | None) -> bool:
    """Whether a feature is a file, such as an image, whose column has structs of its bytes and its path."""
    return feature is not None and feature.get("_type") in FILES


def convert_feature(name: str, column: pyarrow.ChunkedArray, feature: Mapping[str, Any] | None) -> pyarrow.ChunkedArray:
    """Converts a column: classes to their names, images to the bytes of their files, and arrays to their shape.

    Args:
        name: the name of the column for messages.
        column: the column as it is stored.
        feature: its feature. None: the column stays as it is.
    """
    import pyarrow

    kind = (feature or {}).get("_type")
    if isinstance(column.type, pyarrow.BaseExtensionType):  # of the library, if it is imported
        storage = column.type.storage_type
        column = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], storage)
    if feature is None:
        return column
    if kind == "ClassLabel" and pyarrow.types.is_integer(column.type) and feature.get("names"):
        return _name_classes(name, column, feature["names"])
    if is_file(feature) and pyarrow.types.is_struct(column.type):
        return _read_files(name, column)
    if isinstance(shape := feature.get("shape"), list | tuple) and shape and not column.null_count:
        return column.cast(_shape_type(column.type, shape))
    return column


def list_saved_files(folder: Path) -> list[Path] | None:
    """The files of a `Dataset` in a folder of `save_to_disk`, in the order of its rows. None: it is another folder."""
    state = _read_json(folder / STATE)
    if not isinstance(state, dict) or "_data_files" not in state:
        return None
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError(
            f"{folder} has a choice of rows that an old version of datasets saved apart. Save it again by a new version"
        )
    return [folder / each["filename"] for each in state["_data_files"]]


def list_saved_splits(folder: Path) -> list[str]:
    """The splits of a `DatasetDict` in a folder of `save_to_disk`; none if it is another folder."""
    found = _read_json(folder / SPLITS)
    return [*found["splits"]] if isinstance(found, dict) and "splits" in found else []


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}. Save the data set again") from error


def _convert_table(table: pyarrow.Table, features: Features) -> pyarrow.Table:
    import pyarrow

    columns = {name: convert_feature(name, table.column(name), features.get(name)) for name in table.column_names}
    return pyarrow.table(columns)


def _repeat(text: str, rows: int) -> pyarrow.ChunkedArray:
    import pyarrow

    ids = array_to_arrow(np.zeros(rows, np.int32))
    return pyarrow.chunked_array([strings_to_arrow(Strings.from_bytes([text.encode()])).take(ids)])


def _name_classes(name: str, column: pyarrow.ChunkedArray, names: list[str]) -> pyarrow.ChunkedArray:
    """The names of classes. -1 is a missing class."""
    import pyarrow

    kind = pyarrow.dictionary(pyarrow.int32(), pyarrow.large_string())
    if not len(column):
        return pyarrow.chunked_array([], kind)
    ids = convert_numbers(column, str(column.type), read_valid_mask(column), -1)  # Arrow's own functions import pandas
    wrong = (ids < -1) | (ids >= len(names))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"column `{name}`, row {row} has the class {ids[row]}, and the names are those of the {len(names)} classes "
            "from 0. Correct the column, or the names of its ClassLabel"
        )
    indices = mask_column(pyarrow.chunked_array([array_to_arrow(ids.astype(np.int32))]), ids >= 0)
    texts = strings_to_arrow(Strings.from_bytes([str(each).encode() for each in names]))
    chunks = [pyarrow.DictionaryArray.from_arrays(chunk, texts) for chunk in indices.chunks]
    return pyarrow.chunked_array(chunks, kind)


def _read_files(name: str, column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """The bytes of files, which are in the column, or else in the files of its paths."""
    import pyarrow
    import pyarrow.compute as compute

    binary = pyarrow.binary()
    contents = compute.struct_field(column, "bytes").cast(binary)
    if not contents.null_count:
        return contents
    paths = compute.struct_field(column, "path").to_pylist()
    read = []
    for row, (content, path) in enumerate(zip(contents.to_pylist(), paths, strict=True)):
        try:
            read.append(Path(path).read_bytes() if content is None and path is not None else content)
        except (OSError, ValueError) as error:
            raise DataError(
                f"column `{name}`, row {row} has no bytes, and its file {path} can't be read: {error}. Save the data "
                "set by save_to_disk, which keeps the bytes"
            ) from error
    return pyarrow.chunked_array([pyarrow.array(read, binary)])


def _shape_type(kind: pyarrow.DataType, shape: Sequence[int | None]) -> pyarrow.DataType:
    """The type of arrays of a shape that are stored as nested lists."""
    import pyarrow

    if not shape:
        return kind
    inner = _shape_type(kind.value_type, shape[1:])
    return pyarrow.list_(inner) if shape[0] is None else pyarrow.list_(inner, shape[0])
