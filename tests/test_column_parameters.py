"""Every parameter of every feature column and of every data source changes what they encode or read, or an error.

`test_parameters.py` does the same for the other parts. A new parameter whose values or needs the type hint doesn't show
needs a line in `VALUES` or in `CONTEXT`.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib
import inspect
import io
import pickle
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pyarrow
import pytest
from parameter_effects import USER_ERROR, describe, find_effect

from components.data import Arrays, write_idx
from components.data.tfrecord.example import Feature
from components.data.tfrecord.framing import write_records
from components.data.tfrecord.serialize import serialize_examples
from components.feature.text.string_ops import to_strings
from components.types import Ragged, Strings, UserError
from runner.data.batches import gather_rows
from runner.data.load import Features, load_encoded
from runner.data.workers import Workers, pack_message
from runner.signature.build import build, build_source
from runner.signature.parameters import Parameter, read_signature

ROWS = 24


def make_files() -> Strings:
    """JPEG files of 40 x 48 pixels."""
    pictures = np.random.default_rng(2).integers(0, 256, (ROWS, 40, 48, 3), np.uint8)
    contents = []
    for picture in pictures:
        file = io.BytesIO()
        PIL.Image.fromarray(picture).save(file, "JPEG")
        contents.append(file.getvalue())
    return Strings.from_bytes(contents)


def make_masks() -> Strings:
    """PNG files of 4 x 6 pixels of the classes 0 to 2."""
    files = [io.BytesIO() for _ in range(ROWS)]
    for number, file in enumerate(files):
        PIL.Image.fromarray(((np.arange(24) + number) % 3).astype(np.uint8).reshape(4, 6)).save(file, "PNG")
    return Strings.from_bytes([file.getvalue() for file in files])


IDX = ["a-images", "a-labels"]
RECORD = {"label": {"dtype": "uint8"}, "x": {"dtype": "uint16", "shape": [2, 3]}}
NUMBERS = np.arange(ROWS)
RAW: dict[str, Any] = {
    "x": NUMBERS % 7 * 1.5 + 1,
    "y": np.sin(NUMBERS) + 3,
    "gap": np.where(NUMBERS % 5 == 0, np.nan, NUMBERS * 0.5 + 1),
    "id": NUMBERS % 4,
    "weight": NUMBERS % 3 + 0.5,
    "pair": np.stack([NUMBERS * 0.5, np.cos(NUMBERS), NUMBERS % 3], 1),
    "numbers": Ragged(np.arange(2.0 * ROWS), np.arange(ROWS + 1) * 2),
    "lists": Ragged(np.arange(3 * ROWS) % 7, np.arange(ROWS + 1) * 3),
    "other_lists": Ragged(np.arange(3 * ROWS) % 5, np.arange(ROWS + 1) * 3),
    "list_gaps": pyarrow.array([[None, [1, 2, 3], [2]][n % 3] for n in NUMBERS]),
    "shares": Ragged(np.arange(2.0 * ROWS) + 1, np.arange(ROWS + 1) * 2),
    "word": [["a", "b", "c", "a"][n % 4] for n in NUMBERS],
    "gaps": np.array([["a", None, "c", ""][n % 4] for n in NUMBERS], object),
    "text": [["The cat, the mat", "a  cat<br />!", "", "mat on THE mat-cat"][n % 4] for n in NUMBERS],
    "tags": [["a|b", "b", "a;c", "c|a"][n % 4] for n in NUMBERS],
    "tags_missing": np.array([["a|b", None, "b", "a"][n % 4] for n in NUMBERS], object),
    "when": [f"2020-0{1 + n % 9}-{10 + n % 15} 0{n % 9}:30:00" for n in NUMBERS],
    "then": [f"2021-1{n % 3}-0{1 + n % 5} 1{n % 9}:00:00" for n in NUMBERS],
    "when_missing": np.array([None if n % 5 == 0 else f"2020-01-02 0{n % 9}:30:00" for n in NUMBERS], object),
    "photo": np.random.default_rng(1).integers(0, 256, (ROWS, 6, 6, 3), np.uint8),
    "image": np.random.default_rng(0).integers(0, 256, (ROWS, 6, 6, 3), np.uint8),
    "file": make_files(),
    "mask": make_masks(),
    "label": NUMBERS % 3,
    "missing_label": np.array([[0, 1, 2, None][n % 4] for n in NUMBERS], object),
}
COLUMN = "components.feature."
VOCABULARY = {"_target_": f"{COLUMN}Vocabulary", "key": "word"}
PARENTS: dict[str, Any] = {
    "ids": VOCABULARY,
    "tokens": {"_target_": f"{COLUMN}Tokens", "key": "text"},
    "other_tokens": {"_target_": f"{COLUMN}Tokens", "key": "tags", "split": "character"},
    "token_ids": {"_target_": f"{COLUMN}Vocabulary", "key": "tokens"},
    "hashed": {"_target_": f"{COLUMN}Hashed", "key": "text", "buckets": 3},
    "numeric": {"_target_": f"{COLUMN}Numeric", "key": "pair"},
}
RAW_VALUES = ("Tokens", "Truncated")  # the columns that no input takes
TARGETS = ("ImageTarget", "Label", "Labels", "Mask")
BASES: dict[str, dict[str, Any]] = {
    "Bucketized": {"key": "x", "boundaries": [2.0, 5.0]},
    "Crossed": {"keys": ["word", "id"], "buckets": 50},
    "Embedding": {"key": "token_ids", "dimension": 2},
    "ExampleWeight": {"key": "weight"},
    "Hashed": {"key": "word", "buckets": 9},
    "Identity": {"key": "id", "buckets": 5},
    "Image": {"key": "image"},
    "ImageTarget": {"key": "image"},
    "Indicator": {"key": "token_ids"},
    "Label": {"key": "label"},
    "Labels": {"key": "tags"},
    "Mask": {"key": "mask"},
    "MissingIndicator": {"key": "word"},
    "Numeric": {"key": "x"},
    "PrincipalComponents": {"key": "numeric", "components": 2},
    "Tensor": {"key": "image"},
    "Time": {"key": "when", "parts": ["hour"]},
    "TimePart": {"key": "when", "part": "hour"},
    "Tokens": {"key": "text"},
    "Truncated": {"key": "lists", "max_length": 2},
    "Vocabulary": {"key": "word"},
    "Weighted": {"key": "ids", "weight": "weight"},
    "WordCount": {"key": "tokens"},
}
FRAME_TEXTS = [f"{1 + n}.{100 + n}" for n in range(20)]
GENERATORS = ("Generator", "ParsedFiles")  # the sources whose rows come from a function
SOURCES: dict[str, dict[str, Any]] = {
    "Csv": {"path": "table.csv", "valid": 4, "test": 4},
    "Frame": {"columns": {"x": FRAME_TEXTS, "y": ["1", "2"] * 10, "word": ["a", "b"] * 10}, "valid": 4, "test": 4},
    "ImageFolders": {"path": "images", "valid": 0.25, "test": 0.25},
    "ImageTable": {"path": "table.csv", "images": [], "valid": 4, "test": 4},
    "FixedLengthRecords": {"path": "records/a.bin", "fields": RECORD, "valid": 6, "test": 6},
    "ElectricLoad": {"years": 1, "valid": 0.2, "test": 0.2},
    "Idx": {"path": "mnist", "train": IDX, "test": ["b-images", "b-labels"], "valid": 6},
    "Generator": {"function": {"_target_": "own_rows.rows"}, "valid": 0.2, "test": 0.2},
    "Mixed": {"sources": {"a": {"_target_": "components.data.Csv", "path": "table.csv"}}},
    "NumpyFiles": {"path": "arrays.npz", "valid": 4, "test": 4},
    "ParsedFiles": {"path": "records/a.bin", "framing": 13, "valid": 0.2, "test": 0.2}
    | {"function": {"_target_": "own_rows.parse"}},
    "ScikitLearn": {"name": "iris", "valid": 0.2, "test": 0.2},
    "Sql": {"uri": "sqlite:///table.db", "query": "table", "valid": 4, "test": 4},
    "TableFile": {"path": "table.csv", "valid": 4, "test": 4},
    "TextFolders": {"path": "texts", "valid": 5},
    "TextLines": {"path": ["table.csv", "other.csv"], "label": "file", "valid": 4, "test": 4},
}
LEARNED = {"key": "token_ids", "mode": "tf_idf"}
QUANTILES = {"boundaries": None, "quantiles": 3}
WORDS = {"values": ["a", "b"]}
CONTEXT: dict[str, dict[str, Any]] = {
    "Bucketized.quantiles": QUANTILES,
    "Bucketized.equal_width": {"boundaries": None, "equal_width": 3},
    "Bucketized.method": QUANTILES,
    "Bucketized.duplicates": {"boundaries": None, "quantiles": 20, "duplicates": "keep"},
    "Bucketized.missing": {"key": "gap", "missing": 1.0},
    "Crossed.order": {"keys": ["word", "ids", "id"]},
    "Hashed.missing": {"key": "gaps"},
    "Hashed.mask": {"key": "word"},
    "Identity.default": {"buckets": 3, "check": False},
    "Identity.check": {"buckets": 3, "check": False},
    "Indicator.formula": LEARNED,
    "Indicator.documents": {"key": "hashed", "mode": "tf_idf", "documents": "counted"},
    **{f"{name}.resize": {"size": [4, 3]} for name in ("Image", "ImageTarget")},
    **{f"{name}.draft": {"key": "file", "size": [3, 3]} for name in ("Image", "ImageTarget")},
    **{f"{name}.decode": {"key": "file"} for name in ("Image", "ImageTarget")},
    **{f"{name}.crop_area": {"key": "file", "size": [4, 4]} for name in ("Image", "ImageTarget")},
    **{f"{name}.max_megapixels": {"key": "file"} for name in ("Image", "ImageTarget")},
    "ImageFolders.max_unpacked_gb": {"path": "images.tar.gz"},
    "ImageFolders.split_hash": {"valid": 0.3, "test": 0.3},
    **{f"{source}.split_hash": {"valid": 0.3, "test": 0.3} for source in GENERATORS},
    **{f"{source}.split_column": {"test": None} for source in GENERATORS},
    "Label.beta": {"key": "word", "weight": "effective_number", "beta": 0.9},
    "Mask.beta": {"weight": "effective_number", "beta": 0.9},
    "Label.missing": {"key": "missing_label", "missing": "mask"},
    "Labels.missing": {"key": "tags_missing", "missing": "mask"},
    "TextLines.encoding": {"path": "dialect.csv"},
    "TextLines.max_unpacked_gb": {"path": "table.csv.gz"},
    "TextLines.split_hash": {"valid": 0.3, "test": 0.3},
    "Numeric.indicate_missing": {"key": "gap", "missing": "mean"},
    "Numeric.read_as": {"normalize": "z_score"},
    "Numeric.missing": {"key": "gap", "missing": "mean"},
    "Numeric.per": {"normalize": "z_score", "per": "id"},
    "Numeric.expression": {"key": None, "expression": "x + 1"},
    "Time.missing": {"key": "when_missing", "missing": 0.5},
    "Time.indicate_missing": {"key": "when_missing", "missing": 0.5},
    "Tokens.separator": {"key": "tags", "split": None, "separator": "|", "standardize": None},
    "Tokens.split": {"standardize": None},
    "Tokens.order": {"ngrams": 2},
    "Truncated.missing": {"key": "list_gaps", "missing": "empty"},
    "Vocabulary.path": {"path": "words.txt"},
    "Vocabulary.size": {"path": "words.txt", "size": 1},
    "Vocabulary.min_count": {"min_count": 1},
    "Vocabulary.default": WORDS,
    "Vocabulary.check": WORDS,
    "Vocabulary.oov": WORDS,
    "Vocabulary.oov_method": {"key": "id", "values": [1], "oov": 2},
    "Vocabulary.oov_first": {**WORDS, "oov": 1},
    "Vocabulary.missing": {"key": "gaps"},
    "Weighted.key": {"buckets": 5, "key": "id"},
    "Weighted.buckets": {"buckets": 5, "key": "id"},
    "Csv.nulls": {"target": "word"},
    **{f"ImageTable.{key}": {"path": "images.csv", "images": ["file"], "root": "images"} for key in ("images", "root")},
    "ImageTable.on_missing_image": {"path": "image_gaps.csv", "images": ["file"], "root": "images"},
    "Mask.resize": {"size": [3, 3], "ignore": 2},
    **{f"Csv.{option}": {"path": "dialect.csv"} for option in ("quote", "escape", "encoding", "dates", "marks")},
    "Csv.thousands": {"path": "dialect.csv", "decimal": "comma"},
    "Csv.strip": {"quote": None},
    "Csv.on_missing_target": {"path": "gaps.csv", "target": "word"},
    "Csv.on_bad_row": {"path": "bad.csv"},
    "Frame.on_bad_row": {"columns": {"x": ["bad", *FRAME_TEXTS[1:]]}},
    "ParsedFiles.on_bad_row": {"function": {"_target_": "own_rows.parse", "bad": 4}, "on_bad_row": "skip"},
    "ParsedFiles.max_unpacked_gb": {"path": "records/packed"},
    "Generator.on_bad_row": {"function": {"_target_": "own_rows.rows", "bad": 5}, "on_bad_row": "skip"},
    "ImageFolders.on_bad_row": {"path": "bad_images"},
    "ImageTable.on_bad_row": {"path": "bad.csv"},
    "TextFolders.on_bad_row": {"path": "bad_texts", "on_bad_row": "skip"},
    "Frame.nulls": {"target": "word"},
    "Frame.dates": {"columns": {"x": [f"0{1 + n % 9}/0{1 + n % 8}/2020" for n in range(20)]}},
    "Frame.thousands": {"decimal": "comma"},
    "Frame.on_missing_target": {"columns": {"x": [None, *range(19)], "y": range(20)}, "target": "x"},
    **{f"TableFile.{option}": {"path": "lists.tfrecord"} for option in ("records", "shapes", "bytes_as")},
    "TextFolders.max_unpacked_gb": {"path": "texts.tar.gz"},
    "Csv.max_unpacked_gb": {"path": "table.csv.gz"},
    "Idx.max_unpacked_gb": {"path": "packed"},
    "Csv.split_column": {"path": "splits.csv", "valid": None, "test": None},
    "Frame.split_column": {"columns": {"x": NUMBERS, "part": ["train", "dev", "test", "train"] * (ROWS // 4)}}
    | {"valid": None, "test": None},
    **{f"{name}.split_hash": {"valid": 0.3, "test": 0.3} for name in ("Csv", "Frame")},
    **{f"Csv.{option}": {"target": "word"} for option in ("per_class", "classes")},
    **{f"Frame.{option}": {"target": "word"} for option in ("per_class", "classes")},
    "FixedLengthRecords.split_hash": {"valid": 0.3, "test": 0.3},
    "FixedLengthRecords.train": {"path": "records", "train": "a.bin"},
    "FixedLengthRecords.max_unpacked_gb": {"path": "records/packed"},
    "ElectricLoad.per_class": {"stratify": "holiday"},
    "ElectricLoad.classes": {"stratify": "holiday"},
    "Idx.split_hash": {"valid": 0.3},
    "Idx.group": {"test": 0.2},
    "Idx.split_by": {"test": 0.2},
    "TextFolders.split_hash": {"valid": 0.3},
    "TextFolders.group": {"test": 5},
}
VALUES: dict[str, list[Any]] = {
    "Bucketized.key": ["y"],
    "Bucketized.quantiles": [4],
    "Bucketized.missing": [4.0],
    "Bucketized.duplicates": ["refuse"],
    "Bucketized.size": [3],
    "Crossed.keys": [["id", "word"]],
    "Embedding.key": ["ids"],
    "Embedding.initializer": [{"_target_": "components.layer.Normal", "stddev": 0.3}],
    "Embedding.vectors": ["vectors.txt"],
    "ExampleWeight.key": ["x"],
    "Hashed.key": ["id"],
    "Hashed.missing": ["b"],
    "Hashed.mask": ["a"],
    "Identity.key": ["label"],
    "Image.key": ["photo"],
    "ImageTarget.key": ["photo"],
    "ImageTable.images": [[]],
    "ImageTable.root": ["other_images"],
    "Mask.key": ["file"],
    "Mask.image": ["image"],
    "Mask.names": [["a", "b", "c"]],
    "Mask.ignore": [2],
    "Mask.max_megapixels": [1e-6],
    **{f"{name}.crop_area": [[0.3, 0.7]] for name in ("Image", "ImageTarget")},
    **{f"{name}.max_megapixels": [1e-6] for name in ("Image", "ImageTarget")},
    "ImageFolders.path": ["images.tar.gz"],
    "ImageFolders.stratify": ["label"],
    "ImageFolders.suffix": [".bmp"],
    "ImageFolders.max_unpacked_gb": [1e-9],
    "ImageFolders.classes": [["a", "b"]],
    "ImageFolders.split_hash": ["path"],
    "ImageFolders.group": ["label"],
    "Indicator.key": ["ids"],
    "Indicator.documents": ["learned"],
    "Label.key": ["id"],
    "Label.names": [["a", "b", "c"]],
    "Label.ignore": [1],
    "Labels.key": ["word"],
    "Labels.names": [["c", "b", "a;c", "a"]],
    "Labels.separator": [";"],
    "Numeric.key": ["y"],
    "Numeric.expression": ["x + 2"],
    "Numeric.per": ["label"],
    "Numeric.size": [3],
    "Tensor.key": ["x"],
    "Time.key": ["then"],
    "Time.format": ["%Y-%d-%m %H:%M:%S"],
    "TimePart.key": ["then"],
    "TimePart.format": ["%Y-%d-%m %H:%M:%S"],
    "Tokens.key": ["word"],
    "Tokens.remove": [["<br />"]],
    "Tokens.separator": [";"],
    "Tokens.standardize": [None],
    "MissingIndicator.key": ["gaps"],
    "Truncated.key": ["other_lists"],
    "Truncated.missing": [None],
    "Vocabulary.key": ["id"],
    "Vocabulary.values": [["b", "a"]],
    "Vocabulary.path": ["more_words.txt"],
    "Vocabulary.min_count": [7],
    "Vocabulary.mask": ["b"],
    "Vocabulary.missing": ["b"],
    "Weighted.key": ["label"],
    "Weighted.weight": ["x"],
    "Csv.path": ["other.csv"],
    "Csv.delimiter": [";"],
    "Csv.nulls": [["a"]],
    "Csv.quote": ["'"],
    "Csv.escape": ["backslash"],
    "Csv.encoding": ["latin1"],
    "Csv.names": [["y", "x", "word"]],
    "Csv.strip": ["b"],
    "Csv.decimal": ["comma"],
    "Csv.thousands": ["apostrophe"],
    "Csv.dates": ["month_first"],
    "Csv.marks": [{"y": "kg"}],
    "Csv.types": [{"x": "string"}],
    "Csv.target": ["x"],
    "Csv.stratify": ["word"],
    "Csv.max_unpacked_gb": [1e-9],
    "Frame.columns": [{"x": ["1", "2"] * 10}],
    "Frame.name": ["other rows"],
    "Frame.nulls": [["a"]],
    "Frame.decimal": ["comma"],
    "Frame.thousands": ["apostrophe"],
    "Frame.dates": ["month_first"],
    "Frame.marks": [{"y": "kg"}],
    "Frame.types": [{"y": "string"}],
    "Frame.target": ["x"],
    "Frame.drop": [["word"]],
    "Frame.stratify": ["word"],
    "FixedLengthRecords.path": ["records/b.bin"],
    "FixedLengthRecords.fields": [{"label": RECORD["label"], "x": {"dtype": "int16", "shape": [3, 2], "axes": [1, 0]}}],
    "FixedLengthRecords.train": ["b.*"],
    "FixedLengthRecords.header_bytes": [13],
    "FixedLengthRecords.max_unpacked_gb": [1e-9],
    **{f"FixedLengthRecords.{name}": ["label"] for name in ("stratify", "split_hash", "split_by", "group")},
    "FixedLengthRecords.per_class": [1],
    "FixedLengthRecords.classes": [[0, 1, 2, 3]],
    "Idx.path": ["packed"],
    "Idx.train": [["b-images", "b-labels"]],
    "Idx.test": [IDX],
    "Idx.stratify": ["label"],
    "Idx.max_unpacked_gb": [1e-9],
    "ParsedFiles.path": ["records/b.bin"],
    "ParsedFiles.function": [{"_target_": "own_rows.parse", "bad": None, "factor": 2}],
    "ParsedFiles.framing": [26],
    "ParsedFiles.header_bytes": [13],
    "ParsedFiles.max_unpacked_gb": [1e-9],
    "Generator.function": [{"_target_": "own_rows.rows", "count": 30}],
    **{f"{source}.limit": [15] for source in GENERATORS},
    **{f"{source}.per_class": [1] for source in GENERATORS},
    **{f"{source}.classes": [[0, 1]] for source in GENERATORS},
    **{f"{source}.split_column": ["part"] for source in GENERATORS},
    **{f"{s}.{name}": ["label"] for s in GENERATORS for name in ("stratify", "split_hash", "split_by", "group")},
    "NumpyFiles.path": ["arrays"],
    "NumpyFiles.columns": [["y"]],
    "NumpyFiles.target": ["x"],
    "NumpyFiles.max_unpacked_gb": [1e-9],
    "NumpyFiles.per_class": [1],
    "NumpyFiles.classes": [[0, 1]],
    **{f"NumpyFiles.{name}": ["y"] for name in ("stratify", "split_hash", "split_by", "group")},
    "ElectricLoad.stratify": ["holiday"],
    "ElectricLoad.split_hash": ["hour"],
    "ElectricLoad.split_by": ["hour"],
    "ElectricLoad.group": ["temperature"],
    "ElectricLoad.per_class": [1],
    "ElectricLoad.classes": [[0]],
    "ScikitLearn.stratify": ["label"],
    "TableFile.shapes": [{"x": [2, 2]}],
    "TableFile.bytes_as": [{"word": "bytes"}],
    "TextFolders.path": ["texts.tar.gz"],
    "TextFolders.stratify": ["label"],
    "TextFolders.train": ["other"],
    "TextFolders.test": ["other"],
    "TextFolders.classes": [["neg"]],
    "TextFolders.suffix": [".md"],
    "TextFolders.max_unpacked_gb": [1e-9],
    "TextLines.path": ["splits.csv"],
    "TextLines.stratify": ["label"],
    "TextLines.split_hash": ["text"],
    "TextLines.group": ["text"],
    "TextLines.classes": [["table"]],
    "TextLines.per_class": [2],
    "TextLines.skip_lines": [1],
    "TextLines.encoding": ["latin1"],
    "TextLines.max_unpacked_gb": [1e-9],
    "WordCount.key": ["other_tokens"],
    **{f"{name}.{key}": ["x"] for name in ("Csv", "Frame") for key in ("split_hash", "split_by", "group")},
    **{f"{name}.split_column": ["part"] for name in ("Csv", "Frame")},
    **{f"{name}.classes": [["a"]] for name in ("Csv", "Frame")},
    **{f"Idx.{key}": ["label"] for key in ("split_hash", "split_by", "group")},
    "Idx.per_class": [1],
    "Idx.classes": [[0, 1]],
    "ScikitLearn.classes": [["setosa", "virginica"]],
    "ScikitLearn.group": ["label"],
    "TextFolders.split_hash": ["label"],
}
VALUES |= {"Mixed.sources": [{"a": {"_target_": "components.data.Csv", "path": "other.csv"}}]}
MIXED_OPTIONS = (
    *("split_column", "split_hash", "split_by", "group", "per_class", "classes"),
    *("dates", "marks", "nulls", "types", "decimal", "thousands", "on_missing_target"),
)
"""The options of several sources that are those of each table."""
VALUES |= {"Sql.uri": ["sqlite:///other.db"], "Sql.query": ["other"]}


def as_query(value: Any) -> Any:
    """The arguments of `Csv` for a table of a database, which has the name of the file."""
    if not isinstance(value, dict) or "path" not in value:
        return value
    return {name: each for name, each in value.items() if name != "path"} | {"query": value["path"].split(".")[0]}


def as_mixed(value: Any) -> Any:
    """The arguments of `Csv` for several sources, of which the file is the only one."""
    if not isinstance(value, dict) or "path" not in value:
        return value
    others = {name: each for name, each in value.items() if name != "path"}
    return others | {"sources": {"a": {"_target_": "components.data.Csv", "path": value["path"]}}}


for table in (CONTEXT, VALUES):
    like_csv = {key[4:]: value for key, value in table.items() if key.startswith("Csv.")}
    table |= {f"Mixed.{key}": as_mixed(value) for key, value in like_csv.items() if key in MIXED_OPTIONS}
    table |= {f"{name}.{key}": value for name in ("ImageTable", "TableFile") for key, value in like_csv.items()}
    table |= {f"Sql.{key}": as_query(value) for key, value in like_csv.items()}
ERRORS = {"Bucketized.duplicates", "Bucketized.size", "Identity.check", "Indicator.documents", "Label.missing"}
ERRORS |= {
    "Truncated.missing",
    "Numeric.sequence",
    "Numeric.size",
    "Vocabulary.check",
    "Time.format",
    "TimePart.format",
}
ERRORS |= {f"{name}.max_unpacked_gb" for name in ("Csv", "Idx", "TextFolders")} | {"Mixed.valid_from"}
ERRORS |= {"Image.max_megapixels", "ImageTarget.max_megapixels", "ImageTarget.crop_area"}
ERRORS |= {f"ImageFolders.{name}" for name in ("max_unpacked_gb", "split_column", "split_by", "valid_from")}
ERRORS |= {"Csv.delimiter", "Csv.valid_from", "Sql.valid_from", "Frame.valid_from", "ScikitLearn.valid_from"}
ERRORS |= {"ElectricLoad.valid_from", "ElectricLoad.split_column"}
ERRORS |= {f"{source}.{name}" for source in GENERATORS for name in ("yields", "valid_from")}
ERRORS |= {f"NumpyFiles.{name}" for name in ("columns", "target", "max_unpacked_gb", "split_hash", "valid_from")}
ERRORS |= {f"{name}.split_column" for name in ("Idx", "NumpyFiles", "ScikitLearn", "TextFolders")}
ERRORS |= {"ScikitLearn.split_hash", "ScikitLearn.split_by", "TextFolders.split_by", "TextFolders.group"}
ERRORS |= {f"{name}.{key[4:]}" for name in ("ImageTable", "TableFile") for key in ERRORS if key.startswith("Csv.")}
ERRORS |= {f"FixedLengthRecords.{name}" for name in ("max_unpacked_gb", "split_column", "valid_from")}
ERRORS |= {f"TextLines.{name}" for name in ("max_unpacked_gb", "split_column", "split_by", "valid_from")}
ERRORS |= {"ParsedFiles.max_unpacked_gb", "ParsedFiles.on_bad_row"}
ERRORS |= {"Generator.on_bad_row", "TextFolders.on_bad_row"}
ERRORS |= {"Mask.key", "Mask.max_megapixels", "Mask.image", "Mask.beta"}
"""The parameters whose other values contradict the data, which an error says."""
FINGERPRINTS = {"Generator.version", "ParsedFiles.version"}
"""The parameters that only change the fingerprint of a source, which a test of the source shows."""
OWN_ROWS = """
def parse(content, bad=None, factor=1):
    row = {"x": content[1] * factor, "label": content[0], "part": "train" if content[2] % 2 else "test"}
    return content if content[0] == bad else row

def rows(count=20, bad=None):
    for number in range(count):
        row = {"x": number % 7 * 1.5, "label": number % 5, "part": "train" if number % 4 else "test"}
        yield number if number == bad else row
"""


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The files that columns and sources read, in the working folder."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("files")
        patched.chdir(folder)
        patched.setenv("TITRATE_DATA", str(folder))
        patched.setenv("TITRATE_ALLOW", "own_rows")
        patched.syspath_prepend(folder)
        write_files()
        yield


def write_files() -> None:
    Path("words.txt").write_text("a\nb\n")
    Path("more_words.txt").write_text("b\nc\na\n")
    rows = [f"{n % 7 * 1.5},{n * n % 11},{'aabc'[n % 4]}" for n in NUMBERS]
    Path("table.csv").write_text("\n".join(["x,y,word", *rows]))
    Path("other.csv").write_text("\n".join(["x,y,word", *rows[::-1]]))
    parts = ["train", "dev", "test", "train"]
    Path("splits.csv").write_text("\n".join(["x,part", *(f"{n},{parts[n % 4]}" for n in NUMBERS)]))
    Path("bad.csv").write_text("\n".join(["x,y,word", *rows[:-1], "bad,2,a"]))
    Path("gaps.csv").write_text("\n".join(["x,y,word", *rows[:-1], "1,2,"]))
    texts = [f"{n} $,{n},'é{n % 3}',a\\{n % 4},0{1 + n % 9}/0{1 + n % 8}/2020,{1 + n}.{100 + n}" for n in NUMBERS]
    Path("dialect.csv").write_text("\n".join(["x,y,word,path,when,z", *texts]), encoding="utf-8")
    Path("table.csv.gz").write_bytes(gzip.compress(Path("table.csv").read_bytes()))
    for folder, seed in (("mnist", 0), ("packed", 1)):
        Path(folder).mkdir()
        for name in ("a", "b"):
            seed += 2
            pixels = np.random.default_rng(seed).integers(0, 256, (ROWS, 3, 3), np.uint8)
            for kind, array in (("images", pixels), ("labels", (np.arange(ROWS) * seed % 5).astype(np.uint8))):
                write_idx(Path(folder, f"{name}-{kind}"), array)
                if folder == "packed":
                    file = Path(folder, f"{name}-{kind}")
                    file.write_bytes(gzip.compress(file.read_bytes()))
    Path("records").mkdir()
    for seed, name in enumerate(("a.bin", "b.bin")):
        labels = (np.arange(ROWS, dtype=np.uint8) % 5)[:, None]
        numbers = np.random.default_rng(seed).integers(0, 256, (ROWS, 12), np.uint8)
        Path("records", name).write_bytes(np.concatenate([labels, numbers], axis=1).tobytes())
    Path("records", "packed").write_bytes(gzip.compress(Path("records", "a.bin").read_bytes()))
    for database, order in (("table.db", 1), ("other.db", -1)):
        with contextlib.closing(sqlite3.connect(database)) as connection:
            for path in Path().glob("*.csv"):
                names, *rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
                columns = ", ".join(f'"{name}"' for name in names)
                connection.execute(f'create table "{path.stem}" ({columns})')
                statement = f'insert into "{path.stem}" values ({", ".join("?" * len(names))})'
                connection.executemany(statement, [[text or None for text in row] for row in rows[::order]])
            connection.commit()
    Path("own_rows.py").write_text(OWN_ROWS)
    Path("arrays").mkdir()
    np.save("arrays/x.npy", pixels)
    np.save("arrays/y.npy", np.arange(ROWS) % 3)
    np.savez("arrays.npz", x=np.asfortranarray(pixels), y=np.arange(ROWS) % 3)
    with tarfile.open("texts.tar.gz", "w:gz") as archive:
        for n, (part, label, suffix) in enumerate(product(("train", "test", "other"), ("neg", "pos"), (".txt", ".md"))):
            for copy in range(6):
                file = Path("texts", part, label, f"{copy}{suffix}")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{n} {copy}")
                if copy < 5:
                    archive.add(file, file.relative_to("texts"))
    for n in range(24):
        label, suffix = "abc"[n % 3], ("png", "bmp")[n % 2]
        path = Path("images", label, f"{n}.{suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.full((2, 2), n, np.uint8)).save(path)
        other = Path("other_images", label, path.name)
        other.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) + n).save(other)
    for kind, name in {"images": "a/bad.png", "texts": "train/neg/bad.txt"}.items():
        shutil.copytree(kind, f"bad_{kind}")
        Path(f"bad_{kind}", name).write_bytes(b"\xff")
    Path("images.csv").write_text("file,x\n" + "".join(f"a/0.png,{n}\n" for n in NUMBERS))
    Path("image_gaps.csv").write_text(Path("images.csv").read_text().replace("a/0.png,9", ",9"))
    with tarfile.open("images.tar.gz", "w:gz") as archive:
        archive.add("images", ".")
    lists = Feature("int64", np.arange(4 * ROWS), np.arange(ROWS + 1) * 4)
    with Path("lists.tfrecord").open("wb") as file:
        words = Feature("bytes", Strings.from_bytes([b"a"] * ROWS), np.arange(ROWS + 1))
        write_records(file, serialize_examples({"word": words, "x": lists}, ROWS).tolist())
    Path("vectors.txt").write_text("mat 1 2\ncat 3 4\n")


@functools.cache
def source() -> Arrays:
    packed = {name: to_strings(values) if isinstance(values, list) else values for name, values in RAW.items()}
    return Arrays(columns=packed, valid=4, test=4, seed=None)


def observe_column(name: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """What a column learns, encodes, and returns on the device."""
    node = {"_target_": f"{COLUMN}{name}", **arguments}
    try:
        columns = {parent: build(value, {}) for parent, value in PARENTS.items()}
        column = build(node, {})
        if name in TARGETS:
            features = Features({"target": column}, {}, {})
        else:
            if name in RAW_VALUES:
                columns["of_column"] = build(VOCABULARY | {"key": "column"}, {})
            listed = "of_column" if name in RAW_VALUES else "column"
            features = Features({}, {**columns, "column": column}, {"x": (listed,)})
        data = load_encoded(source(), features, identity="", cache=None)
    except UserError as error:
        yield f"{USER_ERROR}{error}"
        return
    (key,) = data.encoded
    column = columns["of_column"] if name in RAW_VALUES else column
    yield str(jax.tree.map(repr, data.encoded[key]))
    constants = data.constants[key]
    yield str(jax.tree.map(repr, constants._asdict()))
    if name == "Numeric":  # what other columns read
        yield str(jax.tree.map(repr, column.host_output(next(source().blocks("all")), {}, constants)))
    layer = column.layer(constants.static)
    batch = gather_rows({key: data.encoded[key]}, np.arange(4))[key]
    arguments = jax.tree.map(jnp.asarray, (dict(batch), dict(constants.device)))
    if isinstance(layer, nn.Module):
        init_only = {**constants.device, **constants.init_only}
        yield describe(lambda encoded: layer.init_with_output(jax.random.key(0), encoded, init_only), arguments[0])
    else:
        yield describe(layer, *arguments)
    if name in TARGETS:
        spec = column.bind(constants)
        yield str({name: repr(value) for name, value in vars(spec).items() if name not in ("decode", "encode")})


def observe_source(name: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """The rows of a source, their splits, and its target."""
    try:
        found = build_source({"_target_": f"components.data.{name}", **arguments})
        yield str({part: [len(rows), rows.tolist()] for part, rows in found.splits().items()})
        blocks = [
            (block.origin, dict(block.columns), block.valid) for part in found.sizes() for block in found.blocks(part)
        ]
        yield str(jax.tree.map(repr, blocks))
        if hasattr(found, "profile"):
            yield str(found.profile().target)
    except UserError as error:
        yield f"{USER_ERROR}{error}"


def list_parameters(package: str, bases: Mapping[str, Any]) -> list[Any]:
    """The parameters of all parts of a package."""
    parts = [name for name, part in vars(importlib.import_module(package)).items() if inspect.isclass(part)]
    signatures = {name: read_signature(f"{package}.{name}") or {} for name in parts if name in bases}
    return [
        pytest.param(name, key, parameter, id=f"{name}.{key}")
        for name, signature in signatures.items()
        for key, parameter in signature.items()
        if f"{name}.{key}" not in FINGERPRINTS
    ]


def test_every_column_and_source_is_tested() -> None:
    others = {"Arrays", "Table", "Covariance", "Distinct", "Extremes", "Histogram", "Moments", "Quantiles", "Summary"}
    others |= {"OperatedSource", "RunFeatures"}  # its operations, and features of a run, have tests of their own
    for package, bases in (("components.feature", BASES), ("components.data", SOURCES)):
        exported = {name for name, part in vars(importlib.import_module(package)).items() if inspect.isclass(part)}
        assert exported - others == set(bases)


@pytest.mark.parametrize(("name", "key", "parameter"), list_parameters("components.data", SOURCES))
def test_a_parameter_of_a_source_has_an_effect(name: str, key: str, parameter: Parameter) -> None:
    base = {**SOURCES[name], **CONTEXT.get(f"{name}.{key}", {})}
    check_effect(name, key, parameter, base, functools.partial(observe_source, name))


@pytest.mark.parametrize(("name", "key", "parameter"), list_parameters("components.feature", BASES))
def test_a_parameter_of_a_column_has_an_effect(name: str, key: str, parameter: Parameter) -> None:
    base = {**BASES[name], **CONTEXT.get(f"{name}.{key}", {})}
    check_effect(name, key, parameter, base, functools.partial(observe_column, name))


class SendingWorkers(Workers):
    """They send all values as to another process and back."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        sent = send(function)
        return (send(sent(send(item))) for item in items)


def send(value: Any) -> Any:
    data, buffers = pack_message(value)
    return pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])


@pytest.mark.parametrize("name", BASES)
def test_a_column_can_be_computed_in_other_processes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(observe_column(name, BASES[name]))
    monkeypatch.setattr("runner.data.load.Workers", SendingWorkers)
    assert list(observe_column(name, BASES[name])) == expected


def check_effect(
    name: str,
    key: str,
    parameter: Parameter,
    base: Mapping[str, Any],
    observe: Callable[[Mapping[str, Any]], Iterator[str]],
) -> None:
    before = list(observe(base))
    assert not before[0].startswith(USER_ERROR), before
    assert before == list(observe(base)), "what is observed differs each time"
    errors = find_effect(observe, base, before, key, parameter, VALUES.get(f"{name}.{key}"))
    assert errors is None or (errors and f"{name}.{key}" in ERRORS), f"{name} ignores {key}, or has no values. {errors}"
