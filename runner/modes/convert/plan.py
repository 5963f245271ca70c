"""What `mode=convert` writes where: the format, the compression and the files, from `output` and `convert`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from components.closest import suggest_name
from components.data.writing.formats import COMPRESSIONS, Compression, FileKind, RecordOptions
from components.types import UserError
from runner.errors import ConfigError

SUFFIXES: dict[str, tuple[FileKind, Compression | None]] = {
    ".csv": ("csv", None),
    ".csv.gz": ("csv", "gzip"),
    ".parquet": ("parquet", None),
    ".tfrecord": ("tfrecord", None),
    ".tfrecord.gz": ("tfrecord", "gzip"),
}
"""The suffixes of files, with their format, and the compression that they name."""
PACKED_SUFFIXES: dict[Compression, str] = {"gzip": ".gz", "zlib": ".zlib"}


class Plan(NamedTuple):
    """What is written.

    Attributes:
        path: the file or the folder.
        kind: the format of the files; `images`: a folder for each class.
        compression: that of the files.
        shards: the number of files in the folder. None: `path` is a file, or a folder of images.
        options: how TFRecord files are written.
        shuffle: whether the order is that of the seed.
        splits: the splits whose rows are written. None: all rows.
        columns: the columns that are written, in this order. None: all.
        overwrite: whether an earlier result is replaced.
    """

    path: Path
    kind: FileKind | Literal["images"]
    compression: Compression
    shards: int | None
    options: RecordOptions
    shuffle: bool
    splits: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    overwrite: bool

    def name_shard(self, index: int) -> str:
        """The name of a file in the folder, such as `part-00003-of-00010.parquet`."""
        packed = "" if self.kind == "parquet" else PACKED_SUFFIXES.get(self.compression, "")
        return f"part-{index:05}-of-{self.shards:05}.{self.kind}{packed}"


def make_plan(output: Mapping[str, Any], convert: Mapping[str, Any]) -> Plan:
    """Reads the sections `output` and `convert` of a configuration.

    Raises:
        ConfigError: all settings that contradict each other, or a path that can't be written.
    """
    text, shards, split = str(output["path"]), convert["shards"], convert["split"]
    path = Path(text)
    suffix = "".join(path.suffixes[-2:]) if path.suffix.lower() == ".gz" else path.suffix
    kind, named = SUFFIXES.get(suffix.lower(), (None, None))
    is_folder = text.endswith("/") or kind is None
    if is_folder:
        kind, named = None, None
    chosen = convert["format"] or kind
    problems = []
    if chosen is None:
        what = "a folder" if text.endswith("/") or not path.suffix else f"no file of a known format ({path.suffix})"
        hint = "" if text.endswith("/") or not path.suffix else f"{suggest_name(path.suffix, SUFFIXES)} "
        problems.append(
            f"output={text} is {what}. {hint}For a folder, set convert.format=csv, parquet, tfrecord or images."
        )
    elif kind is not None and chosen != kind:
        problems.append(
            f"convert.format={chosen} contradicts the suffix of output={text}. Leave it out, or name a folder: "
            f"output={_strip(path, suffix)}/"
        )
    if shards is not None and not is_folder:
        problems.append(f"convert.shards={shards} needs a folder: write output={_strip(path, suffix)}/")
    if chosen == "images":
        problems += [
            f"convert.{key}={convert[key]} has no meaning for folders of images. Leave it out."
            for key in ("shards", "compression")
            if convert[key] is not None
        ]
    elif chosen is not None:
        problems += _find_compression_problems(chosen, convert["compression"], named, text)
    options = RecordOptions(convert["float64"], convert["tensors"], convert["records"] == "raw")
    problems += _find_record_problems(chosen, convert)
    columns = None if output["columns"] is None else tuple(output["columns"])
    problems += _find_column_problems(columns)
    if not problems:
        problems += _find_path_problems(path, text, is_folder, overwrite=output["overwrite"])
    if problems or chosen is None:
        raise ConfigError(*problems)
    compression = "none" if chosen == "images" else convert["compression"] or named or COMPRESSIONS[chosen][0]
    count = None if chosen == "images" or not is_folder else shards or 1
    splits = None if split is None else (split,) if isinstance(split, str) else tuple(split)
    return Plan(path, chosen, compression, count, options, convert["shuffle"], splits, columns, output["overwrite"])


def _find_compression_problems(
    kind: FileKind, compression: Compression | None, named: Compression | None, text: str
) -> Iterator[str]:
    if compression is None:
        return
    if compression not in COMPRESSIONS[kind]:
        allowed = ", ".join(sorted(COMPRESSIONS[kind]))
        yield f"convert.compression={compression} is none of convert.format={kind}. Allowed are {allowed}."
    elif named is not None and compression != named:
        yield f"convert.compression={compression} contradicts the suffix of output={text}. Leave it out."


def _find_record_problems(kind: FileKind | Literal["images"] | None, convert: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about settings of TFRecord files, each of which is in one sentence."""
    defaults = {"records": "example", "float64": None, "tensors": False}
    chosen = {key: convert[key] for key in defaults if convert[key] != defaults[key]}
    given = {key: f"convert.{key}={'true' if value is True else value}" for key, value in chosen.items()}
    is_raw = given.pop("records", None)
    if kind not in (None, "tfrecord"):
        words = [*filter(None, [is_raw]), *given.values()]
        reason = f"for TFRecord files, not for {kind}"
    else:
        words = [*given.values()] if is_raw else []
        reason = f"for Examples, which {is_raw} doesn't write"
    if words:
        verb, pronoun = ("are", "them") if len(words) > 1 else ("is", "it")
        yield f"{' and '.join(words)} {verb} {reason}. Leave {pronoun} out."


def _find_column_problems(columns: tuple[str, ...] | None) -> Iterator[str]:
    if columns == ():
        yield "output.columns=[] is empty. List the columns to write, or leave it out to write all."
    for name in dict.fromkeys(name for name in columns or () if (columns or ()).count(name) > 1):
        yield f"output.columns lists {name} twice. Leave one out."


def _find_path_problems(path: Path, text: str, is_folder: bool, *, overwrite: bool) -> Iterator[str]:
    parent = path.parent
    if is_folder and os.path.lexists(path) and not path.is_dir():
        yield f"output={text} is a file, and no folder. Choose another name."
    elif not is_folder and path.is_dir():
        yield f"output={text} is a folder. Choose another name, or write output={text}/"
    elif not is_folder and os.path.lexists(path) and not overwrite:
        yield (
            f"output={text} exists already. Remove it, choose another name, or replace it with output.overwrite=true."
        )
    elif not parent.is_dir():
        problem = f"{parent} is no folder" if parent.exists() else f"there is no folder {parent}"
        yield f"output={text}: {problem}. Create it, or choose another one."
    elif not os.access(parent, os.W_OK | os.X_OK):
        yield f"output={text} can't be written: the folder {parent} allows no new file. Choose another."


def _strip(path: Path, suffix: str) -> str:
    return str(path).removesuffix(suffix)


def check_not_its_own_data(path: Path, source: object) -> None:
    """Raises UserError if the files would be written into the folder or the file that is read."""
    tables = [source, *getattr(source, "tables", {}).values()]  # also the given files of splits
    listed = [file for each in tables for file in (getattr(each, "location", None), *getattr(each, "files", ()))]
    files = [Path(file).resolve() for file in listed if isinstance(file, str | Path)]
    if os.path.lexists(path) and any(path.resolve() in (file, *file.parents) for file in files):
        raise UserError(f"output={path} is or has the data that is read. Choose another name.")
