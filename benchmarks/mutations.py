"""A fuzzer of the file readers: damages files at random and checks that each reader raises an error or reads correctly.

    python benchmarks/mutations.py [mutations] [reader ...] [number of one mutation]
    smallest: 20 idx

By default, every reader gets 10,000 damaged files. With the number of one mutation, only that mutation runs, and prints
its traceback. A mutation flips, cuts, inserts, repeats or overwrites bytes, or replaces a number by another. For each
damaged file the reader must do one of two things, within SECONDS and MAX_GROWTH of memory:

- raise a `UserError` that names the file (the reader of checkpoints: load the older checkpoint instead);
- return exactly what the file now contains. That is the undamaged content where the format has checksums, and otherwise
  what another implementation reads from the damaged file.

Anything else is a fault. Prints for each reader how many files raised an error and how many were read, the faults, the
slowest file, and the growth of memory. The files of faults are kept and named. The exit code is 1 if there is a fault.
"""

from __future__ import annotations

import bz2
import csv
import faulthandler
import gzip
import io
import json
import lzma
import os
import posixpath
import re
import resource
import shutil
import signal
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import pyarrow
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from pyarrow import feather, orc, parquet

from components.data import Csv, TableFile, TextFolders, read_idx, write_idx
from components.data.csv.reader import NULLS
from components.data.tfrecord.example import Feature
from components.data.tfrecord.framing import write_records
from components.data.tfrecord.serialize import serialize_examples
from components.image_files import MIN_IS_WHITE, PHOTOMETRIC, Decoding, ImageError, decode_image
from components.pretrained.safetensors_file import read_safetensors
from components.types import Constants, Strings, UserError

SECONDS = 5.0  # of processor time that a reader may take for one file
HANG_SECONDS = 60  # of wall time, after which the script exits with a traceback
MAX_GROWTH = 256 << 20  # bytes that the peak memory of the process may grow by
ADDRESS_GROWTH = 4 << 30  # bytes that the address space of the process may grow by
GENERATOR = np.random.default_rng(0)


class Unreadable(Exception):
    """The damaged file has no content that a reader may return."""


class Reader(NamedTuple):
    """A reader of a file format, and how it is tested.

    Attributes:
        write: writes an undamaged file into a folder and returns its path.
        read: the function that is tested.
        reference: returns the content of damaged bytes by another implementation. It raises an exception where a reader
            must raise an error. None: a reader may only return the undamaged content.
        pack: is applied to the damaged bytes. It compresses them or corrects checksums, so that the damage reaches the
            code behind.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    reference: Callable[[bytes], Any] | None = None
    pack: Callable[[bytes], bytes] = bytes


# ------------------------------------------------------------------------------------------------------- the mutations

EXTREMES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
DECIMALS = (b"0", b"-1", b"00", b"65", b"255", b"4294967296", b"9223372036854775807", b"1e400", b"nan", b"9" * 5000)


def mutate(content: bytes, random: Random) -> bytes:
    """Returns the bytes with one to three mutations."""
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 3))):
        random.choice(MUTATIONS)(damaged, random)
    return bytes(damaged)


def _random_index(damaged: bytearray, random: Random) -> int:
    """Returns an index, half the time of one of the first or last bytes, where headers and directories are."""
    if not damaged:
        return 0
    near = random.randrange(min(len(damaged), 64))
    anywhere = random.randrange(len(damaged))
    return random.choice((anywhere, random.choice((near, len(damaged) - 1 - near))))


def _random_slice(damaged: bytearray, random: Random) -> slice:
    start = _random_index(damaged, random)
    return slice(start, start + random.choice((1, 2, 4, 8, 16, 64, 512, 1 << random.randrange(14))))


def _flip_bit(damaged: bytearray, random: Random) -> None:
    if damaged:
        damaged[_random_index(damaged, random)] ^= 1 << random.randrange(8)


def _replace_byte(damaged: bytearray, random: Random) -> None:
    if damaged:
        byte = random.choice((0, 9, 10, 13, 32, 34, 44, 127, 255, random.randrange(256)))
        damaged[_random_index(damaged, random)] = byte


def _cut_end(damaged: bytearray, random: Random) -> None:
    del damaged[_random_index(damaged, random) :]


def _insert_bytes(damaged: bytearray, random: Random) -> None:
    index = _random_index(damaged, random)
    damaged[index:index] = random.choice((random.randbytes(random.randrange(1, 64)), bytes(random.choice((1, 8, 512)))))


def _delete_bytes(damaged: bytearray, random: Random) -> None:
    del damaged[_random_slice(damaged, random)]


def _insert_copy(damaged: bytearray, random: Random) -> None:
    copy, index = damaged[_random_slice(damaged, random)], _random_index(damaged, random)
    damaged[index:index] = copy


def _overwrite_with_copy(damaged: bytearray, random: Random) -> None:
    copy, index = damaged[_random_slice(damaged, random)], _random_index(damaged, random)
    damaged[index : index + len(copy)] = copy


def _zero_bytes(damaged: bytearray, random: Random) -> None:
    zeroed = _random_slice(damaged, random)
    damaged[zeroed] = bytes(len(damaged[zeroed]))


def _replace_binary_number(damaged: bytearray, random: Random) -> None:
    """Replaces a binary number by an extreme one, a neighbor or its double."""
    width, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    index = _random_index(damaged, random) // width * width + random.choice((0, 0, 1, 2))
    before = int.from_bytes(damaged[index : index + width], order)  # type: ignore[arg-type]
    number = random.choice((*EXTREMES, before + 1, before - 1, 2 * before)) % 256**width
    damaged[index : index + width] = number.to_bytes(width, order)  # type: ignore[arg-type]


def _replace_decimal_number(damaged: bytearray, random: Random) -> None:
    """Replaces a number in digits by another."""
    numbers = list(re.finditer(rb"[0-9]+", damaged))
    if numbers:
        match = random.choice((numbers[0], random.choice(numbers)))
        neighbor = int(match[0][:18]) + random.choice((-1, 1))
        number = random.choice((*DECIMALS, str(neighbor).encode()))
        damaged[match.start() : match.end()] = random.choice((number, number.rjust(len(match[0]), b"0")))


MUTATIONS = (  # the frequent ones twice
    *(_flip_bit, _flip_bit, _replace_byte, _replace_byte),
    *(_cut_end, _insert_bytes, _delete_bytes, _insert_copy, _overwrite_with_copy, _zero_bytes),
    *(_replace_binary_number, _replace_binary_number, _replace_decimal_number),
)


# --------------------------------------------------------------------------------------------------------- the readers


def _write_idx(folder: Path) -> Path:
    write_idx(folder / "images", GENERATOR.integers(0, 255, (6, 5, 4), np.uint8))
    return folder / "images"


def _parse_idx(content: bytes) -> np.ndarray:
    """Checks that writing the array again gives the same bytes, as there is no other implementation."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images")
        path.write_bytes(content)
        array = read_idx(path)
        write_idx(path, array)
        if path.read_bytes() != content:
            raise Unreadable
    return array


def _write_idx_gz(folder: Path) -> Path:
    write_idx(folder / "images.gz", GENERATOR.integers(0, 255, (40, 8, 8), np.uint8))
    return folder / "images.gz"


ROWS = [
    (
        n,
        n * 0.37 - 2,
        ("here", "there", 'in "quotes"', "a,b")[n % 4],
        f"{n:05}",
        n % 3 == 0,
        f"${n * 311:,}.50",
        f"{n} kg",
        f"{n % 28 + 1:02}.{n % 12 + 1:02}.2020",
        f"20{n:02}-03-31 10:{n:02}:00",
    )
    for n in range(40)
]


def _write_csv(folder: Path) -> Path:
    with (folder / "table.csv").open("w", newline="") as file:
        names = ("count", "share", "place", "code", "flag", "price", "weight", "day", "when")
        csv.writer(file).writerows([names, *ROWS])
    return folder / "table.csv"


def _make_csv_writer(compress: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = _write_csv(folder)
        path.write_bytes(compress(path.read_bytes()))
        return path

    return write


COMPRESSED = re.compile(rb"\x1f\x8b|BZh[1-9](1AY&SY|\x17rE8P\x90)|\xfd7zXZ\0")  # first bytes of gzip, bzip2 and xz


def _parse_compressed_csv(content: bytes) -> CellTexts:
    """Parses bytes that no longer start like a compressed file: they may be a table of text."""
    if COMPRESSED.match(content):
        raise Unreadable
    return _parse_csv(content)


def _read_csv(path: Path) -> dict[str, list[Any]]:
    """Returns the values of each column, with None for missing values."""
    return _list_values(Csv(path=str(path)))


def _list_values(source: Csv) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {}
    for name, values in source.table.values.items():
        valid = source.table.valid.get(name, np.ones(source.table.rows, bool)).tolist()
        python_values = values.tolist() if isinstance(values, Strings) else values.astype(object).tolist()
        table[name] = [value if is_valid else None for value, is_valid in zip(python_values, valid, strict=True)]
    return table


def _read_csv_and_skip(path: Path) -> list[Any]:
    """Returns the values of each column, and the numbers of the rows that aren't skipped."""
    source = Csv(path=str(path), on_bad_row="skip")
    numbers, skipped = source.row_numbers(), source.skipped_rows()
    rows = source.table.rows
    return [_list_values(source), list(range(rows)) if numbers is None else numbers.tolist(), rows + (skipped or 0)]


def _parse_csv_rows(content: bytes) -> CellRows:
    text = io.StringIO(content.decode("utf-8-sig", "replace"), newline="")  # a row that is skipped may be anything
    names, *rows = [row for row in csv.reader(text, strict=True) if row]
    if len(set(names)) < len(names):
        raise Unreadable
    return CellRows(names, rows)


def _parse_csv(content: bytes) -> CellTexts:
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    names, *rows = [row for row in csv.reader(text, strict=True) if row]
    if len(set(names)) < len(names) or {len(row) for row in rows} != {len(names)}:
        raise Unreadable
    return CellTexts(dict(zip(names, zip(*rows, strict=True), strict=True)))


TYPED_ROWS = {
    "count": [n * 311 - 9 if n % 7 else None for n in range(40)],
    "share": [n * 0.37 - 2 for n in range(40)],
    "place": [("here", "there", "else where", None)[n % 4] for n in range(40)],
    "flag": [n % 3 == 0 for n in range(40)],
}


def _make_table_writer(write: Callable[[pyarrow.Table, str], Any]) -> Callable[[Path], Path]:
    def write_table(folder: Path) -> Path:
        write(pyarrow.table(TYPED_ROWS), str(folder / "table.bin"))
        return folder / "table.bin"

    return write_table


def _write_json_lines(table: pyarrow.Table, path: str) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))


def _write_tfrecord(table: pyarrow.Table, path: str) -> None:
    features = {}
    for name, kind in (("count", "int64"), ("share", "float"), ("place", "bytes")):
        found = [value for value in table[name].to_pylist() if value is not None]
        offsets = np.cumsum([0, *(value is not None for value in table[name].to_pylist())], dtype=np.int64)
        values: Any = Strings.from_bytes([text.encode() for text in found]) if kind == "bytes" else np.array(found)
        features[name] = Feature(kind, values.astype(np.float32) if kind == "float" else values, offsets)
    with open(path, "wb") as file:
        write_records(file, serialize_examples(features, len(table)).tolist())


def _read_table(path: Path) -> dict[str, list[Any]]:
    return _list_values(TableFile(path=str(path)).open())


def _make_table_parser(
    magic: bytes, parse: Callable[[pyarrow.BufferReader], pyarrow.Table]
) -> Callable[[bytes], CellValues | CellTexts]:
    """A parser by Arrow's own functions: only our own code is compared. A file without the magic is a CSV file."""

    def parse_table(content: bytes) -> CellValues | CellTexts:
        if not content.startswith(magic):
            return _parse_csv(content)
        table = parse(pyarrow.BufferReader(content))
        if len(set(table.column_names)) < table.num_columns:
            raise Unreadable
        for column in table.columns:
            column.validate(full=True)
        return CellValues({name: table[name].to_pylist() for name in table.column_names})

    return parse_table


def _make_example_class() -> Any:
    """The class of Example messages, as TensorFlow's files example.proto and feature.proto describe them."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto

    def add(parent: Any, name: str, *fields: tuple[str, int, str]) -> Any:
        message = parent.add(name=name)
        for number, (key, kind, type_name) in enumerate(fields, start=1):
            label = field.LABEL_REPEATED if key in ("value", "feature") else field.LABEL_OPTIONAL
            message.field.add(name=key, number=number, type=kind, label=label, type_name=type_name or None)
        return message

    message = field.TYPE_MESSAGE
    kinds = {"bytes": field.TYPE_BYTES, "float": field.TYPE_FLOAT, "int64": field.TYPE_INT64}
    for name, kind in kinds.items():
        add(file.message_type, name, ("value", kind, ""))
    feature = add(file.message_type, "Feature", *((f"{name}_list", message, f".t.{name}") for name in kinds))
    feature.oneof_decl.add(name="kind")
    for each in feature.field:
        each.oneof_index = 0
    features = add(file.message_type, "Features", ("feature", message, ".t.Features.Entry"))
    entry = add(features.nested_type, "Entry", ("key", field.TYPE_STRING, ""), ("entry", message, ".t.Feature"))
    entry.field[1].name = "value"
    entry.options.map_entry = True
    add(file.message_type, "Example", ("features", message, ".t.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


def _parse_tfrecord(content: bytes) -> CellValues:
    """Parses records by Python's struct, and Examples by protobuf."""
    rows: list[dict[str, Any]] = []
    position = 0
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        record = content[position + 12 : position + 12 + length]
        for data, place in ((content[position : position + 8], 8), (record, 12 + length)):
            checksum = google_crc32c.value(data)
            masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
            if struct.unpack_from("<I", content, position + place) != (masked,):
                raise Unreadable
        features = _make_example_class().FromString(record).features.feature
        values = {name: [*getattr(each, each.WhichOneof("kind")).value] for name, each in features.items()}
        rows.append({name: found[0] for name, found in values.items() if found})
        position += 16 + length
    names = sorted({name for row in rows for name in row})
    decoded = [
        {name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()} for row in rows
    ]
    return CellValues({name: [row.get(name) for row in decoded] for name in names})


def _parse_json_lines(content: bytes) -> CellValues | CellTexts:
    if not content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return _parse_csv(content)
    rows = [json.loads(line, parse_int=_parse_integer) for line in content.decode().split("\n") if line.strip()]
    names = {name: None for row in rows for name in row}
    return CellValues({name: [row.get(name) for row in rows] for name in names})


def _parse_integer(text: str) -> float:
    return int(text) if len(text) < 300 else float(text)  # the latter is inf


class CellValues(NamedTuple):
    """The values in the cells of a table, by column. Texts of missing values, and NaN, are missing."""

    columns: dict[str, list[Any]]

    def matches(self, table: Mapping[str, list[Any]]) -> bool:
        """Whether a table has these values."""
        return table.keys() == self.columns.keys() and all(
            len(table[name]) == len(values) and all(map(_is_value, values, table[name]))
            for name, values in self.columns.items()
        )


def _is_value(expected: Any, value: Any) -> bool:
    if expected is None or expected != expected or expected in NULLS:
        return value is None
    if isinstance(expected, int) and isinstance(value, float):  # of a column with floats
        return value == float(expected)
    return type(value) is type(expected) and value == expected


TIME_FORMATS = (
    "%d.%m.%Y",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H",
    "%Y-%m-%d",
    "%Y/%m/%d",
)


class CellTexts(NamedTuple):
    """The texts in the cells of a table, by column."""

    columns: dict[str, tuple[str, ...]]

    def matches(self, table: Mapping[str, list[Any]]) -> bool:
        """Whether each text is a notation of the value in a table."""
        return list(table) == list(self.columns) and all(
            len(table[name]) == len(texts) and all(map(_is_text_of, texts, table[name]))
            for name, texts in self.columns.items()
        )


class CellRows(NamedTuple):
    """The texts in the cells of a table, row by row."""

    names: list[str]
    rows: list[list[str]]

    def matches(self, value: Sequence[Any]) -> bool:
        """Whether the rows that aren't skipped are notations of the values in a table."""
        table, numbers, total = value
        kept = [self.rows[number] for number in numbers]
        if total != len(self.rows) or any(len(row) != len(self.names) for row in kept):
            return False
        return CellTexts(dict(zip(self.names, zip(*kept, strict=True), strict=True))).matches(table)


def _is_text_of(text: str, value: Any) -> bool:
    """Whether the text of a cell is a notation of a value. Long texts are compared by their first ten characters."""
    if value is None or value == "":
        return not re.search(r"[1-9]", text)
    if isinstance(value, bool):
        return text.lower() in (("true", "1") if value else ("false", "0"))
    if isinstance(value, int | float):
        if value != value:
            return text.lower().lstrip("+-") == "nan"
        number = re.sub(r"[^0-9.eE+-]", "", text) if re.search(r"[$,_'() ]|kg", text) else text
        number = f"-{number}" if text.startswith("(") else number
        if isinstance(value, int) and re.fullmatch(r"\s*[+-]?\d+\s*", number):  # float rounds large ones
            return int(number) == value
        try:
            return float(number) == value
        except ValueError:
            return False
    if isinstance(value, date):
        return any(_is_time_in(text, value, format) for format in TIME_FORMATS)
    return text.startswith(str(value)[:10])


def _is_time_in(text: str, value: date, format: str) -> bool:
    time = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    try:
        return datetime.strptime(text.strip(), format) == time
    except ValueError:
        return False


def _make_tar_writer(mode: str, tar_format: int) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        with tarfile.open(folder / "texts.tar", mode, format=tar_format) as archive:  # type: ignore[call-overload]
            for part in ("train", "test"):
                for n in range(4):
                    text = f"Text {n} für {part}.\n".encode() * (n + 1) ** 3
                    # One name is longer than the 100 bytes of a header's field.
                    name = f"set/{'deep/' * (25 if n == 3 else 0)}{part}/{'ab'[n % 2]}/{n}.txt"
                    member = tarfile.TarInfo(name)
                    member.size = len(text)
                    archive.addfile(member, io.BytesIO(text))
        return folder / "texts.tar"

    return write


def _read_tar(path: Path) -> dict[str, list[Any]]:
    source = TextFolders(path=str(path), valid=1)
    return {
        part: [source._parts[part].names.tolist(), columns["text"].tolist(), columns["label"].tolist()]
        for part, columns in source.read().items()
    }


def _parse_tar(content: bytes) -> dict[str, list[Any]]:
    texts: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for member in archive:
            name = posixpath.normpath(member.name)
            part, _, file = ["", "", *name.split("/")][-3:]
            if part in texts and file.endswith(".txt") and not file.startswith("."):
                stream = archive.extractfile(member) if member.isfile() and not member.issparse() else None
                if stream is None:
                    raise Unreadable
                texts[part][name] = stream.read().decode()
    columns = {}
    for part, text_by_name in texts.items():
        names = sorted(text_by_name)
        columns[part] = [names, [text_by_name[name] for name in names], [name.split("/")[-2] for name in names]]
    return columns


def _fix_checksums(content: bytes) -> bytes:
    """Corrects the checksums in the headers of a tar archive."""
    blocks = [bytearray(content[start : start + 512]) for start in range(0, len(content), 512)]
    for block in blocks:
        if block[257:262] == b"ustar" and len(block) == 512:
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)


def _write_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "texts.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(8):
            archive.writestr(
                f"set/{('train', 'test')[n // 4]}/{'ab'[n % 2]}/{n}.txt", f"Text {n} für alle.\n" * (n + 1)
            )
    return folder / "texts.zip"


def _parse_zip(content: bytes) -> dict[str, list[Any]]:
    """Parses what zipfile reads of an archive, as a tar archive: names in a zip archive have no checksums."""
    tar = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as packed, tarfile.open(fileobj=tar, mode="w") as archive:
        for info in packed.infolist():
            member = tarfile.TarInfo(info.filename)
            member.size = info.file_size
            archive.addfile(member, io.BytesIO(packed.read(info)))
    return _parse_tar(tar.getvalue())


def _make_image_writer(image_format: str, mode: str = "RGB", **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        from PIL import Image

        rows, columns = np.mgrid[:24, :32]
        pixels = np.stack([8 * columns, 10 * rows, 5 * (rows + columns) % 256, 255 - rows], -1).astype(np.uint8)
        path = folder / f"image.{image_format.lower()}"
        image = Image.fromarray(pixels)
        if mode == "I;16":
            image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        image.convert(mode).save(path, image_format, **options)
        return path

    return write


def _read_image(path: Path) -> np.ndarray:
    try:
        return decode_image(path.read_bytes(), Decoding(None, "stretch", None, draft=False, max_pixels=1_000_000))
    except ImageError as error:
        raise UserError(f"{path} {error}.") from error


def _parse_image(content: bytes) -> np.ndarray:
    """The pixels that Pillow's own functions give, with transparent pixels on white."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as image:
        image.load()
        is_inverted = image.format == "TIFF" and image.mode == "I;16" and image.tag_v2.get(PHOTOMETRIC) == MIN_IS_WHITE
        upright = ImageOps.exif_transpose(image) if image.format != "TIFF" else image
    is_grey = upright.mode in ("1", "L", "LA") or upright.mode.startswith("I;16")
    if upright.mode.startswith("I;16"):
        grey = np.rint(np.asarray(upright) / 257).astype(np.uint8)
        upright = Image.fromarray(255 - grey if is_inverted else grey)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.atleast_3d(np.asarray(upright.convert("L" if is_grey else "RGB")))


def _fix_png_checksums(content: bytes) -> bytes:
    """Corrects the checksums of a PNG file, as far as its chunks can be followed."""
    fixed, position = bytearray(content), 8
    while position + 12 <= len(fixed):
        stop = position + 8 + int.from_bytes(fixed[position : position + 4], "big")
        if stop + 4 > len(fixed):
            break
        fixed[stop : stop + 4] = struct.pack(">I", zlib.crc32(fixed[position + 4 : stop]))
        position = stop + 4
    return bytes(fixed)


def _write_safetensors(folder: Path) -> Path:
    from safetensors.numpy import save_file

    arrays = {"a.weight": np.float32, "b": np.float16, "c": np.float64, "n": np.int64, "empty": np.float32}
    tensors = {name: GENERATOR.normal(size=(3, 4)).astype(dtype) for name, dtype in arrays.items()}
    save_file(tensors | {"empty": np.zeros((0, 2), np.float32)}, folder / "w.safetensors", {"format": "pt"})
    return folder / "w.safetensors"


def _parse_safetensors(content: bytes) -> dict[str, np.ndarray]:
    import safetensors
    from ml_dtypes import bfloat16

    dtypes = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": bfloat16, "BOOL": "?"}
    dtypes |= {f"{sign}{8 * size}": f"{sign.lower()}{size}" for sign in "IU" for size in (1, 2, 4, 8)}
    arrays = {}
    for name, tensor in safetensors.deserialize(content):
        array = np.frombuffer(bytes(tensor["data"]), dtypes[tensor["dtype"]]).reshape(tensor["shape"])
        with np.errstate(all="ignore"):
            arrays[name] = array.astype(np.float32) if "F" in tensor["dtype"] else array
    return arrays


def _write_vocabulary(folder: Path) -> Path:
    (folder / "words.txt").write_text("".join(f"word {n}é\n" for n in range(30)))
    return folder / "words.txt"


def _read_vocabulary(path: Path) -> list[str]:
    from components.feature.text.vocabulary_file import read_lines  # imports JAX

    return read_lines(str(path), None)


def _parse_vocabulary(content: bytes) -> list[str]:
    lines = content.decode("utf-8-sig").removesuffix("\n").split("\n")
    words = [line.removesuffix("\r") for line in lines]
    if len(set(words)) < len(words) or words == [""] or "\0" in content.decode():
        raise Unreadable
    return words


WORDS = Constants(  # of the vocabulary a, b, c
    host={
        "data": np.frombuffer(b"abc", np.uint8),
        "offsets": np.arange(4),
        "ids": np.arange(3, dtype=np.int32),
    },
    static={"buckets": 3},
)


def _write_vectors(folder: Path) -> Path:
    lines = [f"{word} {' '.join(map(str, GENERATOR.normal(size=4).round(3)))}" for word in "xaybzc"]
    (folder / "vectors.txt").write_text("\n".join(["6 4", *lines]) + "\n")
    return folder / "vectors.txt"


def _read_vectors(path: Path) -> list[np.ndarray]:
    from components.feature.text import word_vectors  # imports JAX

    return list(word_vectors.read_vectors(str(path), "word", WORDS, 4))


def _parse_vectors(content: bytes) -> list[np.ndarray]:
    vectors, is_known = np.zeros((3, 4), np.float32), np.zeros(3, bool)
    _, *lines = content.removesuffix(b"\n").split(b"\n")
    for line in lines:
        *word, first, second, third, fourth = line.rstrip().split(b" ")
        position = b"abc".find(word[0]) if len(word) == 1 and len(word[0]) == 1 else -1
        if position >= 0 and not is_known[position]:
            vectors[position] = [float(number) for number in (first, second, third, fourth)]
            is_known[position] = True
    return [vectors, is_known]


def _write_npy(folder: Path) -> Path:
    np.save(folder / "vectors.npy", GENERATOR.normal(size=(3, 4)))
    return folder / "vectors.npy"


def _parse_npy(content: bytes) -> list[np.ndarray]:
    file = io.BytesIO(content)
    array = np.load(file, allow_pickle=False)
    if file.read(1) or array.shape != (3, 4):
        raise Unreadable
    return [array.astype(np.float32), np.ones(3, bool)]


def _write_yaml(folder: Path) -> Path:
    (folder / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /data: digits\n  - override /metric: [accuracy, top_k]\n"
        "learning_rate: 1e-3\nseed: 7\ntraining: {epochs: 5, batch_size: 32}\nmetric: {top_k: {k: 3}}\n"
        "feature:\n  columns:\n    x: &x {_target_: components.feature.Numeric, key: \"a\\tb\"}\n    y: *x\n"
    )  # fmt: skip
    return folder / "mine.yaml"


def _read_yaml(path: Path) -> Any:
    from runner.config.choices import load_yaml

    return _keys_to_text(load_yaml(path))


def _keys_to_text(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _keys_to_text(value) for key, value in node.items()}
    return list(map(_keys_to_text, node)) if isinstance(node, list) else node


def _parse_yaml(content: bytes) -> Any:
    """Returns keys and the texts of values as PyYAML composes them. A key that occurs twice is not allowed."""
    import yaml

    def convert(node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            if len(keys) != len(set(map(str, keys))):
                raise Unreadable
            return {key.value: convert(value) for key, value in node.value}
        return list(map(convert, node.value)) if isinstance(node, yaml.SequenceNode) else YamlText(node.value)

    root = yaml.compose(content.decode(), yaml.SafeLoader)
    if root is None:
        return {}
    if isinstance(root, yaml.ScalarNode):  # OmegaConf reads a single scalar as a key without a value
        return {root.value: None}
    return convert(root)


class YamlText(str):
    """The text of a YAML scalar."""

    def matches(self, value: Any) -> bool:
        """Whether the text is a notation of a value."""
        texts = {None: ("", "~", "null"), True: ("true", "yes", "on"), False: ("false", "no", "off")}
        if value is None or isinstance(value, bool):
            return self.lower() in texts[value]
        if isinstance(value, int) and re.fullmatch(r"[-+]?(0|[1-9]\d*)", self):
            return int(self) == value
        if isinstance(value, float) and re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", self):
            return float(self) == value
        if isinstance(value, int | float):  # other notations of YAML, for instance octal and base 60, are not checked
            return True
        return str(self) == value


ARRAYS = {"kernel": GENERATOR.normal(size=(8, 4)).astype(np.float32), "empty": np.zeros(0), "step": np.array([7])}
META = {"step": 2, "best_step": None, "history": [{"loss": 0.5}]}


def _write_npz(folder: Path) -> Path:
    from runner import npz

    npz.write(folder / "arrays.npz", ARRAYS, META)
    return folder / "arrays.npz"


def _read_npz(path: Path) -> Any:
    from runner import npz

    content = npz.read(path)
    return [content.meta, content.arrays]


def _write_member(folder: Path) -> Path:
    np.save(folder / "kernel.npy", ARRAYS["kernel"])
    return folder / "kernel.npy"


def _wrap_member(content: bytes) -> bytes:
    """Returns an npz file with these bytes as its member `kernel.npy`."""
    file = io.BytesIO()
    np.savez(file, meta=np.frombuffer(json.dumps(META).encode(), np.uint8))  # type: ignore[arg-type]
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("kernel.npy", content)
    return file.getvalue()


def _parse_member(content: bytes) -> Any:
    file = io.BytesIO(content)
    array = np.load(file, allow_pickle=False)
    if file.read(1):
        raise Unreadable
    return [META, {"kernel": array}]


def _write_checkpoint(folder: Path) -> Path:
    from runner.training.checkpoint import CheckpointFiles

    checkpoints = CheckpointFiles(folder / "checkpoints")
    for step in (1, 2):
        tree = {name: array + step for name, array in ARRAYS.items()}
        checkpoints.save(tree, None, META | {"step": step}, on_saved=lambda: None)
    checkpoints.close()
    return folder / "checkpoints" / "step_0000000002.npz"


def _read_checkpoint(path: Path) -> Any:
    """Loads the newer of two checkpoints, which is damaged.

    Raises:
        UserError: the older checkpoint was loaded instead.
    """
    from runner.training.checkpoint import CheckpointFiles

    for other in path.parent.glob("*.damaged"):
        other.unlink()
    try:
        loaded, damaged = CheckpointFiles(path.parent).load(ARRAYS, None)
    except UserError as error:
        raise RuntimeError("a damaged checkpoint ended the run") from error
    assert loaded is not None
    state, _, meta = loaded
    if damaged and meta["step"] == 1 and _matches(state, {name: array + 1 for name, array in ARRAYS.items()}):
        raise UserError(f"{path.name} is skipped")
    return [state, meta]


FEATURE = {
    "target": {"_target_": "components.feature.Label", "key": "kind"},
    "columns": {
        "size": {"_target_": "components.feature.Numeric", "key": "area", "normalize": ["log1p", "z_score"]},
        "city": {"_target_": "components.feature.Vocabulary", "key": "city", "oov": 2},
        "cross": {"_target_": "components.feature.Crossed", "keys": ["city", "city_2"], "buckets": 11},
        "city_2": {"_target_": "components.feature.Hashed", "key": "city", "buckets": 7},
    },
    "inputs": {"wide": ["cross", "city"], "deep": ["size"]},
}


def _write_transform(folder: Path) -> Path:
    from components.data import Arrays
    from runner.data import transform
    from runner.data.load import Features, load_encoded

    rows = {"area": np.arange(20.0), "city": np.array(["Oslo", "Kyiv"] * 10, object), "kind": np.arange(20) % 2}
    data = load_encoded(Arrays(columns=rows, valid=4, test=4), Features.from_config(FEATURE), identity="", cache=None)
    transform.save_transform(folder, FEATURE, data)
    return folder / transform.FILE


def _read_transform(path: Path) -> Any:
    from runner.data import transform

    loaded = transform.load_transform(path)
    constants = {name: [dict(one.host), dict(one.device), repr(one.static)] for name, one in loaded.constants.items()}
    return [repr(loaded.features), constants, repr(loaded.layouts)]


IMAGE_WRITERS = {
    "jpeg": _make_image_writer("JPEG"),
    "jpeg_scans": _make_image_writer("JPEG", "L", progressive=True),
    "jpeg_cmyk": _make_image_writer("JPEG", "CMYK"),
    "bmp": _make_image_writer("BMP"),
    "bmp_palette": _make_image_writer("BMP", "P"),
    "gif": _make_image_writer("GIF"),
    "webp": _make_image_writer("WEBP"),
    "webp_exact": _make_image_writer("WEBP", "RGBA", lossless=True),
    "tiff": _make_image_writer("TIFF"),
    "tiff_lzw": _make_image_writer("TIFF", "RGBA", compression="tiff_lzw"),
    "tiff_16": _make_image_writer("TIFF", "I;16", compression="tiff_deflate"),
}
READERS = {
    "idx": Reader(_write_idx, read_idx, _parse_idx),
    "idx.gz": Reader(_write_idx_gz, read_idx),
    "idx_in_gz": Reader(_write_idx, read_idx, _parse_idx, gzip.compress),
    "safetensors": Reader(_write_safetensors, read_safetensors, _parse_safetensors),
    "tar": Reader(_make_tar_writer("w", tarfile.GNU_FORMAT), _read_tar, _parse_tar),
    "tar_sealed": Reader(
        _make_tar_writer("w", tarfile.PAX_FORMAT),
        _read_tar,
        lambda content: _parse_tar(_fix_checksums(content)),
        _fix_checksums,
    ),
    "tar.gz": Reader(_make_tar_writer("w:gz", tarfile.USTAR_FORMAT), _read_tar),
    "zip": Reader(_write_zip, _read_tar, _parse_zip),
    **{name: Reader(write, _read_image, _parse_image) for name, write in IMAGE_WRITERS.items()},
    "png": Reader(_make_image_writer("PNG"), _read_image),
    **{
        f"png_sealed_{mode}": Reader(
            _make_image_writer("PNG", mode),
            _read_image,
            lambda content: _parse_image(_fix_png_checksums(content)),
            _fix_png_checksums,
        )
        for mode in ("RGB", "P", "LA", "I;16")
    },
    "csv": Reader(_write_csv, _read_csv, _parse_csv),
    "csv_skip": Reader(_write_csv, _read_csv_and_skip, _parse_csv_rows),
    "csv.gz": Reader(_make_csv_writer(gzip.compress), _read_csv, _parse_compressed_csv),
    "csv.bz2": Reader(_make_csv_writer(bz2.compress), _read_csv, _parse_compressed_csv),
    "csv.xz": Reader(_make_csv_writer(lzma.compress), _read_csv, _parse_compressed_csv),
    "parquet": Reader(
        _make_table_writer(partial(parquet.write_table, row_group_size=16, write_page_checksum=True)),
        _read_table,
        _make_table_parser(b"PAR1", partial(parquet.read_table, page_checksum_verification=True)),
    ),
    "arrow": Reader(
        _make_table_writer(partial(feather.write_feather, chunksize=16)),
        _read_table,
        _make_table_parser(b"ARROW1", feather.read_table),
    ),
    "orc": Reader(_make_table_writer(orc.write_table), _read_table, _make_table_parser(b"ORC", orc.read_table)),
    "json_lines": Reader(_make_table_writer(_write_json_lines), _read_table, _parse_json_lines),
    "tfrecord": Reader(_make_table_writer(_write_tfrecord), _read_table, _parse_tfrecord),
    "vocabulary": Reader(_write_vocabulary, _read_vocabulary, _parse_vocabulary),
    "vectors": Reader(_write_vectors, _read_vectors, _parse_vectors),
    "npy": Reader(_write_npy, _read_vectors, _parse_npy),
    "yaml": Reader(_write_yaml, _read_yaml, _parse_yaml),
    "npz": Reader(_write_npz, _read_npz),
    "npy_in_npz": Reader(_write_member, _read_npz, _parse_member, _wrap_member),
    "checkpoint": Reader(_write_checkpoint, _read_checkpoint),
    "transform": Reader(_write_transform, _read_transform),
}


# ---------------------------------------------------------------------------------------------------------- the checks


class Fault(Exception):
    """A reader did what it must not do."""


class _TimeOver(BaseException):
    """The processor time of a reader is over. Not an `Exception`, so that no reader catches it."""


def _matches(value: Any, expected: Any) -> bool:
    """Whether a value equals the expected value bit by bit, or an expected text is a notation of the value."""
    if isinstance(expected, CellTexts | CellRows | CellValues | YamlText):
        return expected.matches(value)
    if isinstance(expected, Mapping):
        have_equal_keys = isinstance(value, Mapping) and value.keys() == expected.keys()
        return have_equal_keys and all(_matches(value[key], expected[key]) for key in expected)
    if isinstance(expected, list | tuple):
        have_equal_length = isinstance(value, list | tuple) and len(value) == len(expected)
        return have_equal_length and all(map(_matches, value, expected))
    if isinstance(expected, np.ndarray):
        return isinstance(value, np.ndarray) and _array_bits(value) == _array_bits(expected)
    return type(value) is type(expected) and value == expected


def _array_bits(array: np.ndarray) -> tuple[Any, ...]:
    return array.dtype, array.shape, array.tobytes()


def _shorten(value: Any) -> str:
    return " ".join(str(value).split())[:200]


def _check_reader(reader: Reader, path: Path, damaged: bytes, undamaged: Any) -> str:
    """Reads a damaged file.

    Args:
        reader: the reader.
        path: of the file.
        damaged: its bytes before `reader.pack`.
        undamaged: what the reader returns for the undamaged file.

    Returns:
        "refused" if the reader raises a UserError, "read" if it returns what the file contains.

    Raises:
        Fault: the reader does anything else.
    """
    try:
        value = reader.read(path)
    except UserError as error:
        if path.name not in str(error):
            raise Fault(f"the error doesn't name the file: {error}") from error
        return "refused"
    except _TimeOver as error:
        raise Fault(f"it took more than {SECONDS} s") from error
    except BaseException as error:
        raise Fault(f"{type(error).__name__}: {error}") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if _matches(value, undamaged):
        return "read"
    try:
        expected = None if reader.reference is None else reader.reference(damaged)
    except Exception as error:
        raise Fault(f"it reads a file that is not readable ({type(error).__name__}: {error})") from error
    if expected is None or not _matches(value, expected):
        raise Fault(f"it returns {_shorten(value)}, expected {_shorten(expected)}")
    return "read"


def run_reader(name: str, count: int, only: int | None = None) -> int:
    """Tests a reader on damaged files, and prints the results.

    Args:
        name: a key of `READERS`.
        count: the number of mutations.
        only: the number of the only mutation to run.

    Returns:
        The number of faults.
    """
    reader, outcomes, faults = READERS[name], Counter[str](), list[str]()
    folder = Path(tempfile.mkdtemp(prefix="mutations_"))
    os.chdir(folder)
    path = reader.write(folder)
    content = path.read_bytes()
    path.write_bytes(reader.pack(content))
    undamaged = reader.read(path)
    _limit_addresses()
    initial_peak, slowest = _peak_memory(), 0.0
    for number in range(count) if only is None else [only]:
        damaged = mutate(content, Random(f"{name} 0 {number}"))
        path.write_bytes(reader.pack(damaged))
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        try:
            outcomes[_check_reader(reader, path, damaged, undamaged)] += 1
            growth = _peak_memory() - initial_peak
            if growth > MAX_GROWTH:
                initial_peak = _peak_memory()
                raise Fault(f"it took {growth >> 20} MiB of memory")
        except Fault as fault:
            kept_path = folder / f"fault_{number}"
            kept_path.write_bytes(reader.pack(damaged))
            faults.append(f"{name}, mutation {number}, {kept_path}: {fault}")
            if only is not None:
                traceback.print_exception(fault)
        slowest = max(slowest, time.process_time() - start)
    faulthandler.cancel_dump_traceback_later()
    if not faults:
        shutil.rmtree(folder)
    counts = ", ".join(f"{outcomes[outcome]:,} {outcome}" for outcome in ("refused", "read"))
    growth = max(_peak_memory() - initial_peak, 0) >> 20
    print(f"{name:12} {count:6,} mutations: {counts}, {len(faults)} wrong; slowest {1e3 * slowest:.0f} ms", end="")
    print(f", {growth} MiB more", *faults[:10], sep="\n  ", flush=True)
    return len(faults)


def _limit_addresses() -> None:
    """Limits the address space to ADDRESS_GROWTH more than now, on systems that tell its size."""
    if (state := Path("/proc/self/statm")).exists():
        limit = int(state.read_text().split()[0]) * resource.getpagesize() + ADDRESS_GROWTH
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _peak_memory() -> int:
    """Returns the peak memory of the process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _raise_time_over(*_: Any) -> None:
    raise _TimeOver


def main(arguments: list[str]) -> int:
    """Tests the readers that the arguments name, or all, and returns the exit code."""
    count = int(arguments.pop(0)) if arguments and arguments[0].isdigit() else 10_000
    only = int(arguments.pop()) if arguments and arguments[-1].isdigit() else None
    warnings.simplefilter("error")
    signal.signal(signal.SIGPROF, _raise_time_over)
    faults = [run_reader(name, count, only) for name in arguments or READERS]
    return int(any(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
