"""Data sets of Hugging Face: features in files without the library, saved splits, and data sets in memory."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow
import pytest
from pyarrow import ipc, parquet

from components.data import Frame, TableFile
from components.hugging_face import convert_data_set
from components.types import DataError, Strings

FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    "grid": {"shape": [2, 2], "dtype": "float32", "_type": "Array2D"},
    "x": {"dtype": "float32", "_type": "Value"},
}
FILE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def encode(shade: int) -> bytes:
    with io.BytesIO() as file:
        PIL.Image.fromarray(np.full((2, 2), shade, np.uint8)).save(file, "PNG")
        return file.getvalue()


def make_table(rows: int, features: dict[str, Any] = FEATURES, **columns: Any) -> pyarrow.Table:
    table = {
        "image": pyarrow.array([{"bytes": encode(row), "path": f"{row}.png"} for row in range(rows)], FILE),
        "label": pyarrow.array([row % 2 for row in range(rows)], pyarrow.int64()),
        "grid": [[[0.0, 1.0], [2.0, 3.0]]] * rows,
        "x": pyarrow.array(range(rows), pyarrow.float32()),
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pyarrow.table({**table, **columns}).replace_schema_metadata(metadata)


def save(folder: Path, *tables: pyarrow.Table) -> Path:
    """Writes a folder as `save_to_disk` does."""
    folder.mkdir(parents=True)
    names = [f"data-{number:05}-of-{len(tables):05}.arrow" for number in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with ipc.new_stream(folder / name, table.schema) as writer:
            writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def save_splits(folder: Path, **rows: int) -> Path:
    for name, count in rows.items():
        save(folder / name, make_table(count))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": [*rows]}))
    return folder


def read(source: Any) -> dict[str, Any]:
    return {name: each.tolist() for name, each in source.table.values.items() if name != "image"}


def open_table(path: Path, **options: Any) -> Any:
    return TableFile(path=str(path), target="label", **options).open()


def check_rows(source: Any, rows: int) -> None:
    expected = {"label": ["cat", "dog"] * (rows // 2), "grid": [[[0, 1], [2, 3]]] * rows, "x": [*range(rows)]}
    assert read(source) == expected
    (block,) = source.blocks("all")
    assert block.files == {"image"}
    assert [*block.columns["image"].iterate_bytes()] == [encode(row) for row in range(rows)]


def test_a_saved_data_set_is_a_table(tmp_path: Path) -> None:
    whole = make_table(8)
    source = open_table(save(tmp_path / "saved", whole.slice(0, 6), whole.slice(6)))
    check_rows(source, 8)
    assert source.locate_row(7).endswith("row 1 of data-00001-of-00002.arrow")


def test_a_parquet_file_has_its_features(tmp_path: Path) -> None:
    parquet.write_table(make_table(8), tmp_path / "a.parquet")
    check_rows(open_table(tmp_path / "a.parquet"), 8)


def test_other_metadata_changes_nothing(tmp_path: Path) -> None:
    for number, metadata in enumerate(({}, {"huggingface": "{"}, {"huggingface": '{"info": {"features": 3}}'})):
        table = make_table(8).replace_schema_metadata(metadata)
        parquet.write_table(table, tmp_path / f"{number}.parquet")
        assert [*open_table(tmp_path / f"{number}.parquet").table.values][:2] == ["image.bytes", "image.path"]


def test_saved_splits_are_splits(tmp_path: Path) -> None:
    source = open_table(save_splits(tmp_path / "saved", train=8, validation=4, test=2))
    assert source.sizes() == {"train": 8, "valid": 4, "test": 2}
    assert {name: len(rows) for name, rows in source.splits().items()} == {"train": 8, "valid": 4, "test": 2}
    source = open_table(save_splits(tmp_path / "other", train=10, validation=4), test=2)
    assert {name: len(rows) for name, rows in source.splits().items()} == {"train": 8, "valid": 4, "test": 2}


SPLIT_ERRORS: dict[str, tuple[dict[str, int], dict[str, Any], str]] = {
    "unknown": ({"train": 2, "unsupervised": 2}, {}, "has the splits train, unsupervised. Choose the folders: `pa"),
    "no training": (
        {"validation": 2, "test": 2},
        {},
        "has the splits test, validation. Choose the folders: `path=",
    ),
    "twice": ({"train": 2, "dev": 2, "validation": 2}, {}, "has the splits dev, train, validation. Choose the folders"),
    "an option": ({"train": 4, "test": 2}, {"test": 1}, "`test` (=1) is set, and "),
}


@pytest.mark.parametrize("fault", SPLIT_ERRORS)
def test_errors_of_splits(fault: str, tmp_path: Path) -> None:
    splits, options, message = SPLIT_ERRORS[fault]
    with pytest.raises(DataError) as caught:
        open_table(save_splits(tmp_path / "saved", **splits), **options)
    assert message in str(caught.value)


def test_a_missing_class_is_a_gap_and_a_wrong_one_an_error(tmp_path: Path) -> None:
    labels = {"missing": [0, 1, -1, None], "wrong": [0, 1, 2, 1]}
    for name, values in labels.items():
        parquet.write_table(make_table(4, label=pyarrow.array(values, pyarrow.int64())), tmp_path / name)
    columns = TableFile(path=str(tmp_path / "missing")).open().table
    assert columns.valid["label"].tolist() == [True, True, False, False]
    with pytest.raises(
        DataError, match="/wrong: column `label`, row 2 has the class 2, and the names are those of the 2 class"
    ):
        TableFile(path=[str(tmp_path / name) for name in labels]).open().table  # noqa: B018


def test_a_file_without_bytes_is_read_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(7))
    for name in ("a", "b"):
        files = [{"bytes": None, "path": str(tmp_path / f"{name}.png")}, None]
        parquet.write_table(make_table(2, image=pyarrow.array(files, FILE)), tmp_path / name)
    (block,) = TableFile(path=str(tmp_path / "a")).open().blocks("all")
    assert [*block.columns["image"].iterate_bytes()] == [encode(7), b""]
    with pytest.raises(DataError, match=r"column `image`, row 0 has no bytes, and its file .*b\.png can't be read"):
        [*TableFile(path=str(tmp_path / "b")).open().blocks("all")]


def test_damaged_files_of_a_saved_data_set_are_errors(tmp_path: Path) -> None:
    folder = save(tmp_path / "saved", make_table(2))
    (folder / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(DataError, match=r"data-00000-of-00001\.arrow can't be read: No such file"):
        open_table(folder).sizes()
    (folder / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"state\.json is damaged: .*Save the data set again"):
        open_table(folder)
    (folder / "state.json").write_text(json.dumps({"_data_files": [], "_indices_data_files": [{"filename": "i"}]}))
    with pytest.raises(DataError, match="a choice of rows that an old version of datasets saved apart"):
        open_table(folder)


@pytest.fixture(scope="module")
def library() -> Any:
    """The library, without its downloads."""
    return pytest.importorskip("datasets")


def make_data_set(library: Any, rows: int) -> Any:
    features = library.Features(
        {
            "image": library.Image(),
            "label": library.ClassLabel(names=["cat", "dog"]),
            "grid": library.Array2D((2, 2), "float32"),
            "x": library.Value("float32"),
        }
    )
    columns = make_table(rows).replace_schema_metadata({}).to_pydict()
    return library.Dataset.from_dict(columns, features=features)


@pytest.mark.filterwarnings("ignore")
def test_the_library_saves_what_is_read(library: Any, tmp_path: Path) -> None:
    library.disable_progress_bars()
    make_data_set(library, 8).save_to_disk(tmp_path / "one", num_shards=2)
    check_rows(open_table(tmp_path / "one"), 8)
    splits = {"train": make_data_set(library, 8), "validation": make_data_set(library, 2)}
    library.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    assert open_table(tmp_path / "saved").sizes() == {"train": 8, "valid": 2}


@pytest.mark.filterwarnings("ignore")
def test_data_sets_in_memory_are_tables(library: Any) -> None:
    data = make_data_set(library, 8)
    assert read(Frame(columns=data, target="label"))["x"] == [*range(8)]
    chosen = Frame(columns=data.select([3, 1]), target="label")
    assert read(chosen) == {"label": ["dog", "dog"], "grid": [[[0, 1], [2, 3]]] * 2, "x": [3, 1]}
    splits = library.DatasetDict({"train": data, "validation": data.select(range(4)), "test": data.select(range(2))})
    source = Frame(columns=splits, target="label", split_column="split")
    assert {name: len(rows) for name, rows in source.splits().items()} == {"train": 8, "valid": 4, "test": 2}
    assert "split" not in convert_data_set(library.DatasetDict({"train": data})).column_names


@pytest.mark.filterwarnings("ignore")
def test_errors_of_data_sets_in_memory(library: Any) -> None:
    data = make_data_set(library, 4)
    faults = {
        "the data is a IterableDataset, whose rows are read only once": data.to_iterable_dataset(),
        "the data is a DatasetDict without splits": library.DatasetDict(),
        "the split train has a column `split`, which names the splits": library.DatasetDict(
            {"train": data.rename_column("x", "split"), "test": data.rename_column("x", "split")}
        ),
    }
    for message, faulty in faults.items():
        with pytest.raises(DataError, match=message):
            convert_data_set(faulty)


def test_texts_of_classes_are_read_as_texts(tmp_path: Path) -> None:
    digits = {**FEATURES, "label": {"names": ["0", "1"], "_type": "ClassLabel"}}
    parquet.write_table(make_table(4, digits), tmp_path / "a.parquet")
    labels = open_table(tmp_path / "a.parquet").table.values["label"]
    assert isinstance(labels, Strings)
    assert labels.tolist() == ["0", "1", "0", "1"]
