"""The fingerprint of every source changes with each of its settings that decides about its rows or splits."""

import contextlib
import dataclasses
import io
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

import components.data
from components.data import (
    Arrays,
    Csv,
    ElectricLoad,
    FixedLengthRecords,
    Frame,
    Idx,
    ImageFolders,
    ImageTable,
    NumpyFiles,
    ScikitLearn,
    Sql,
    TableFile,
    TextFolders,
    TextLines,
)
from components.data.idx import write_idx
from components.data.table import Table
from components.data.table_file import TypedFile

# Where a file lies, the name of a table for messages, what a suggestion begins from, a limit, and what CSV has not
NO_MATTER = {"path", "uri", "name", "target", "max_unpacked_gb"}
NO_MATTER |= {"records", "shapes", "bytes_as"}
HELD_OUT = {
    "valid": 2,
    "test": 2,
    "stratify": "label",
    "seed": 1,
    "valid_from": "test",
    "split_column": "split",
    "split_hash": "id",
    "split_by": "when",
    "group": "patient",
    "per_class": 100,
    "classes": (0, 1),
}
PARTS = HELD_OUT | {"train": ("image", "other"), "test": ("other", "label")}
SKIPPING = {"on_bad_row": "skip"}
TEXTS = SKIPPING | {
    "decimal": "comma",
    "thousands": "comma",
    "nulls": ("", "-"),
    "types": {"x": "float"},
    "dates": "utc",
    "marks": {"x": "kg"},
    "drop": ("z",),
    "on_missing_target": "drop",
}
CSV: dict[str, Any] = (
    HELD_OUT | TEXTS | {"delimiter": ";", "quote": None, "escape": "\\", "comment": "#", "encoding": "latin1"}
)
CSV |= {"names": ("z", "y", "x"), "strip": " "}
OTHERS: dict[type[Table], dict[str, Any]] = {
    Arrays: HELD_OUT | {"columns": {"x": [1, 2, 4]}},
    Csv: CSV,
    FixedLengthRecords: HELD_OUT
    | {"fields": {"label": {"dtype": "uint8"}, "x": {"dtype": "uint8", "shape": (2,), "axes": (0,)}}}
    | {"train": "*.bin", "byte_order": "big", "header_bytes": 3},
    Frame: HELD_OUT | TEXTS | {"columns": {"x": ["1", "-", "3"], "y": [2, 4, 6], "z": [3, 5, 7]}},
    Idx: PARTS,
    ImageFolders: HELD_OUT | SKIPPING | {"classes": ("a", "b"), "labels": False, "suffix": ".png"},
    ElectricLoad: HELD_OUT | {"years": 2},
    ImageTable: CSV | {"images": "image", "root": "other", "on_missing_image": "drop"},
    NumpyFiles: HELD_OUT | {"columns": ("x",)},
    ScikitLearn: HELD_OUT | {"name": "wine"},
    Sql: HELD_OUT | TEXTS | {"query": "select * from t where y < 3"},
    TableFile: CSV,
    TypedFile: HELD_OUT | TEXTS,
    TextFolders: HELD_OUT | SKIPPING | {"train": "learn", "test": "train", "classes": ("a", "b"), "suffix": ".txt.txt"},
    TextLines: HELD_OUT | {"encoding": "latin1", "label": "file", "skip_lines": 1},
}


def source(kind: type[Table], folder: Path, **changes: Any) -> Table:
    """A source over files in a folder, but for those changes."""
    changes |= {"quote": None} if "strip" in changes else {}
    if kind is Arrays:
        return Arrays(**{"columns": {"x": [1, 2, 3]}, "valid": 1, "test": 1, **changes})
    if kind is Frame:
        columns = {"x": ["1", "-", "2"], "y": [2, 4, 6], "z": [3, 5, 7]}
        return Frame(**{"columns": columns, "target": "y", "valid": 1, "test": 1, **changes})
    if kind is ElectricLoad:
        return ElectricLoad(**{"years": 1, "valid": 1, "test": 1, **changes})
    if kind is ScikitLearn:
        return ScikitLearn(**{"name": "iris", "valid": 1, "test": 1, **changes})
    if kind is Sql:
        with contextlib.closing(sqlite3.connect(folder / "table.db")) as database:
            database.executescript(
                "create table if not exists t(x, y, z); delete from t; insert into t values('1',2,3),('-',4,5)"
            )
        return Sql(
            **{"uri": f"sqlite:///{folder}/table.db", "query": "t", "target": "y", "valid": 1, "test": 1, **changes}
        )
    if kind is TypedFile:
        parquet.write_table(pyarrow.table({"x": ["1", "-"], "y": [2, 4], "z": [3, 5]}), folder / "table.parquet")
        return TypedFile(**{"path": str(folder / "table.parquet"), "target": "y", "valid": 1, "test": 1, **changes})
    if kind is FixedLengthRecords:
        for name, size in (("a.bin", 12), ("b.bin", 15)):
            (folder / name).write_bytes(bytes(range(size)))
        path = folder if "train" in changes else folder / "a.bin"
        fields = {"label": {"dtype": "uint8"}, "x": {"dtype": "uint16"}}
        return FixedLengthRecords(**{"path": str(path), "fields": fields, "valid": 1, "test": 1, **changes})
    if kind in (Csv, TableFile):
        (folder / "table.csv").write_text("x,y,z\n1,2,3\n-,4,5\n")
        return kind(**{"path": str(folder / "table.csv"), "target": "y", "valid": 1, "test": 1, **changes})
    if kind is ImageTable:
        (folder / "table.csv").write_text("x,y,z,image\n1,0,3,1.png\n-,1,5,1.png\n")
        for number, name in enumerate(("1.png", "other/1.png")):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b" " * number)
        changes |= {"images": "image"} if "on_missing_image" in changes else {}
        changes |= {"root": str(folder / "other"), "images": "image"} if "root" in changes else {}
        base = {"path": str(folder / "table.csv"), "target": "y", "images": (), "valid": 1, "test": 1}
        return ImageTable(**{**base, **changes})
    if kind is Idx:
        for name, array in {"image": np.zeros((3, 2, 2)), "label": np.arange(3), "other": np.ones(3)}.items():
            write_idx(folder / name, array.astype(np.uint8))
        names = ("image", "label")
        return Idx(**{"path": str(folder), "train": names, "test": names, "valid": 1, **changes})
    if kind is NumpyFiles:
        np.savez(folder / "a.npz", x=np.arange(3), label=np.arange(3))
        return NumpyFiles(**{"path": str(folder / "a.npz"), "valid": 1, "test": 1, **changes})
    if kind is ImageFolders:
        for name in ("a/1.png", "a/2.jpg", "b/3.png", "c/4.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        return ImageFolders(**{"path": str(folder), "valid": 1, "test": 1, **changes})
    if kind is TextLines:
        (folder / "a.txt").write_text("x\ny\nz\n")
        return TextLines(**{"path": str(folder / "a.txt"), "valid": 1, "test": 1, **changes})
    with tarfile.open(folder / "texts.tar", "w") as file:
        for name in ("train/a/1.txt", "train/b/2.txt.txt", "train/c/3.txt", "test/a/1.txt", "learn/a/1.txt"):
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    return TextFolders(**{"path": str(folder / "texts.tar"), "valid": 1, **changes})


def test_every_source_is_here() -> None:
    offered = {one for one in vars(components.data).values() if isinstance(one, type) and issubclass(one, Table)}
    assert offered - {Table} == OTHERS.keys() - {TypedFile}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_fingerprint_follows_each_setting(kind: type[Table], tmp_path: Path) -> None:
    assert {field.name for field in dataclasses.fields(kind)} - NO_MATTER == OTHERS[kind].keys() - NO_MATTER
    fingerprints = {name: source(kind, tmp_path, **{name: other}).fingerprint() for name, other in OTHERS[kind].items()}
    fingerprints[""] = source(kind, tmp_path).fingerprint()
    assert len(set(fingerprints.values())) == len(fingerprints), fingerprints
