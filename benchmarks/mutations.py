"""Damages the files that Titrate reads, thousands of times each, and holds what the readers make of them against it.

    python benchmarks/mutations.py [mutations] [reader ...] [number]
    smallest, slow: 20 idx

By default 10,000 mutations for every reader; with a number only that one, with its traceback. A mutation flips, cuts,
inserts, repeats or swaps bytes, or writes another number where one stands. The reader must then refuse the file with a
`UserError` that names it (a checkpoint: take the older one), or give exactly what the file now holds, within SECONDS
and with no more than GROWTH of memory beyond what was taken before. What a damaged file holds is the undamaged value
where the format has checksums, else what another implementation finds in it. The exit code is 1 if a reader did
anything else; the file that it did it with is kept, and named.
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
import random
import re
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.data import Csv, TextFolders, read_idx, write_idx
from components.pretrained.safetensors_file import read_safetensors
from components.types import Constants, Strings, UserError

SECONDS = 5.0  # of processor time that a reader may take for one file
PATIENCE = 60  # seconds after which the whole ends, with a traceback: a reader waits
GROWTH = 256 << 20  # bytes of memory that it may add
SPACE = 4 << 30  # bytes of addresses that the process may add
DICE = np.random.default_rng(0)


class Nothing(Exception):
    """The file holds nothing that a reader may give."""


class Reader(NamedTuple):
    """A kind of file.

    `write` makes an undamaged one in a folder; `read` is what is tested; `holds` tells what damaged bytes hold, or
    raises Nothing; None: only ever what the undamaged file does. `pack` is put around the damaged bytes, so that a
    reader meets damage below a checksum that is right.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    holds: Callable[[bytes], Any] | None = None
    pack: Callable[[bytes], bytes] = bytes


# ------------------------------------------------------------------------------------------------------- the mutations

EXTREME = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
DIGITS = (b"0", b"-1", b"00", b"65", b"255", b"4294967296", b"9223372036854775807", b"1e400", b"nan", b"9" * 5000)


def mutated(content: bytes, dice: random.Random) -> bytes:
    """The bytes with one to three mutations."""
    damaged = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 3))):
        dice.choice(MUTATIONS)(damaged, dice)
    return bytes(damaged)


def _place(damaged: bytearray, dice: random.Random) -> int:
    """Anywhere; half the time in the first or last bytes, where headers and directories are."""
    edge = min(len(damaged), 64)
    near = dice.randrange(edge) if edge else 0
    return dice.choice((dice.randrange(len(damaged) or 1), dice.choice((near, len(damaged) - 1 - near)))) if edge else 0


def _slice(damaged: bytearray, dice: random.Random) -> slice:
    start = _place(damaged, dice)
    return slice(start, start + dice.choice((1, 2, 4, 8, 16, 64, 512, 1 << dice.randrange(14))))


def _flip(damaged: bytearray, dice: random.Random) -> None:
    if damaged:
        damaged[_place(damaged, dice)] ^= 1 << dice.randrange(8)


def _put(damaged: bytearray, dice: random.Random) -> None:
    if damaged:
        damaged[_place(damaged, dice)] = dice.choice((0, 9, 10, 13, 32, 34, 44, 127, 255, dice.randrange(256)))


def _cut(damaged: bytearray, dice: random.Random) -> None:
    del damaged[_place(damaged, dice) :]


def _insert(damaged: bytearray, dice: random.Random) -> None:
    place = _place(damaged, dice)
    damaged[place:place] = dice.choice((dice.randbytes(dice.randrange(1, 64)), bytes(dice.choice((1, 8, 512)))))


def _delete(damaged: bytearray, dice: random.Random) -> None:
    del damaged[_slice(damaged, dice)]


def _repeat(damaged: bytearray, dice: random.Random) -> None:
    part, place = damaged[_slice(damaged, dice)], _place(damaged, dice)
    damaged[place:place] = part


def _overwrite(damaged: bytearray, dice: random.Random) -> None:
    part, place = damaged[_slice(damaged, dice)], _place(damaged, dice)
    damaged[place : place + len(part)] = part


def _zero(damaged: bytearray, dice: random.Random) -> None:
    part = _slice(damaged, dice)
    damaged[part] = bytes(len(damaged[part]))


def _number(damaged: bytearray, dice: random.Random) -> None:
    """A binary number of some width becomes an extreme one, or nearly what it was."""
    width, order = dice.choice((1, 2, 4, 8)), dice.choice(("little", "big"))
    place = _place(damaged, dice) // width * width + dice.choice((0, 0, 1, 2))
    before = int.from_bytes(damaged[place : place + width], order)  # type: ignore[arg-type]
    number = dice.choice((*EXTREME, before + 1, before - 1, 2 * before)) % 256**width
    damaged[place : place + width] = number.to_bytes(width, order)  # type: ignore[arg-type]


def _digits(damaged: bytearray, dice: random.Random) -> None:
    """A number that is written out becomes another."""
    if found := list(re.finditer(rb"[0-9]+", damaged)):
        match = dice.choice((found[0], dice.choice(found)))
        number = dice.choice((*DIGITS, str(int(match[0][:18]) + dice.choice((-1, 1))).encode()))
        damaged[match.start() : match.end()] = dice.choice((number, number.rjust(len(match[0]), b"0")))


MUTATIONS = (_flip, _flip, _put, _put, _cut, _insert, _delete, _repeat, _overwrite, _zero, _number, _number, _digits)


# --------------------------------------------------------------------------------------------------------- the readers


def _idx(folder: Path) -> Path:
    write_idx(folder / "images", DICE.integers(0, 255, (6, 5, 4), np.uint8))
    return folder / "images"


def _idx_holds(content: bytes) -> np.ndarray:
    """Written again, the array must be the file: a fault shows as other bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images")
        path.write_bytes(content)
        array = read_idx(path)
        write_idx(path, array)
        if path.read_bytes() != content:
            raise Nothing
    return array


def _packed_idx(folder: Path) -> Path:
    write_idx(folder / "images.gz", DICE.integers(0, 255, (40, 8, 8), np.uint8))
    return folder / "images.gz"


ROWS = [(n, n * 0.37 - 2, ("here", "there", 'in "quotes"', "a,b")[n % 4], f"{n:05}", n % 3 == 0) for n in range(40)]


def _csv(folder: Path) -> Path:
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("count", "share", "place", "code", "flag"), *ROWS])
    return folder / "table.csv"


def _packed_csv(pack: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = _csv(folder)
        path.write_bytes(pack(path.read_bytes()))
        return path

    return write


PACKED = re.compile(rb"\x1f\x8b|BZh[1-9](1AY&SY|\x17rE8P\x90)|\xfd7zXZ\0")


def _packed_csv_holds(content: bytes) -> CategoryValues:
    """What is left of a packed table that doesn't begin as one may be a table."""
    if PACKED.match(content):
        raise Nothing
    return _csv_holds(content)


def _read_csv(path: Path) -> dict[str, list[Any]]:
    source = Csv(path=str(path))
    found: dict[str, list[Any]] = {}
    for name, values in source.columns.values.items():
        valid = source.columns.valid.get(name, np.ones(source.columns.rows, bool)).tolist()
        plain = values.tolist() if isinstance(values, Strings) else values.astype(object).tolist()
        found[name] = [value if there else None for value, there in zip(plain, valid, strict=True)]
    return found


def _csv_holds(content: bytes) -> CategoryValues:
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    names, *rows = [row for row in csv.reader(text, strict=True) if row]
    if len(set(names)) < len(names) or {len(row) for row in rows} != {len(names)}:
        raise Nothing
    return CategoryValues(dict(zip(names, zip(*rows, strict=True), strict=True)))


class CategoryValues(NamedTuple):
    """The texts in the cells of a table, which equal the values that they spell."""

    columns: dict[str, tuple[str, ...]]

    def spell(self, values: Mapping[str, list[Any]]) -> bool:
        return list(values) == list(self.columns) and all(
            len(values[name]) == len(cells) and all(map(_spells, cells, values[name]))
            for name, cells in self.columns.items()
        )


def _spells(text: str, value: Any) -> bool:
    if value is None or value == "":
        return text in ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")
    if isinstance(value, bool):
        return text.lower() in (("true", "1") if value else ("false", "0"))
    if isinstance(value, int):
        return int(text) == value
    if isinstance(value, float):
        return float(text) == value or (value != value and text.lower().lstrip("+-") == "nan")
    return text.startswith(str(value)[:10])


def _tar(mode: str, kind: int) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        with tarfile.open(folder / "texts.tar", mode, format=kind) as archive:  # type: ignore[call-overload]
            for part in ("train", "test"):
                for n in range(4):
                    text = f"Text {n} für {part}.\n".encode() * (n + 1) ** 3
                    name = f"set/{'deep/' * (25 * (n == 3))}{part}/{'ab'[n % 2]}/{n}.txt"
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


def _tar_holds(content: bytes) -> dict[str, list[Any]]:
    found: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for member in archive:
            name = posixpath.normpath(member.name)
            part, _, file = ["", "", *name.split("/")][-3:]
            if part in found and file.endswith(".txt") and not file.startswith("."):
                opened = archive.extractfile(member) if member.isfile() and not member.issparse() else None
                if opened is None:
                    raise Nothing
                found[part][name] = opened.read().decode()
    rows = {part: sorted(texts.items()) for part, texts in found.items()}
    return {
        part: [[name for name, _ in one], [text for _, text in one], [name.split("/")[-2] for name, _ in one]]
        for part, one in rows.items()
    }


def _sealed(content: bytes) -> bytes:
    """An archive whose headers have their checksums set right."""
    blocks = [bytearray(content[start : start + 512]) for start in range(0, len(content), 512)]
    for block in blocks:
        if block[257:262] == b"ustar" and len(block) == 512:
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)


def _safetensors(folder: Path) -> Path:
    from safetensors.numpy import save_file

    arrays = {"a.weight": np.float32, "b": np.float16, "c": np.float64, "n": np.int64, "empty": np.float32}
    tensors = {name: DICE.normal(size=(3, 4)).astype(dtype) for name, dtype in arrays.items()}
    save_file(tensors | {"empty": np.zeros((0, 2), np.float32)}, folder / "w.safetensors", {"format": "pt"})
    return folder / "w.safetensors"


def _safetensors_holds(content: bytes) -> dict[str, np.ndarray]:
    import safetensors
    from ml_dtypes import bfloat16

    kinds = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": bfloat16, "BOOL": "?"}
    kinds |= {f"{sign}{8 * size}": f"{sign.lower()}{size}" for sign in "IU" for size in (1, 2, 4, 8)}
    found = {}
    for name, one in safetensors.deserialize(content):
        array = np.frombuffer(bytes(one["data"]), kinds[one["dtype"]]).reshape(one["shape"])
        with np.errstate(all="ignore"):
            found[name] = array.astype(np.float32) if "F" in one["dtype"] else array
    return found


def _vocabulary(folder: Path) -> Path:
    (folder / "words.txt").write_text("".join(f"word {n}é\n" for n in range(30)))
    return folder / "words.txt"


def _read_vocabulary(path: Path) -> list[str]:
    from components.feature.text.vocabulary_file import read_lines  # imports JAX

    return read_lines(str(path), None)


def _vocabulary_holds(content: bytes) -> list[str]:
    lines = content.decode("utf-8-sig").removesuffix("\n").split("\n")
    found = [line[:-1] if line.endswith("\r") else line for line in lines]
    if len(set(found)) < len(found) or found == [""] or "\0" in content.decode():
        raise Nothing
    return found


WORDS = Constants(
    host={
        "data": np.frombuffer(b"abc", np.uint8),
        "offsets": np.arange(4),
        "ids": np.arange(3, dtype=np.int32),
    },
    static={"buckets": 3},
)


def _vectors(folder: Path) -> Path:
    lines = [f"{word} {' '.join(map(str, DICE.normal(size=4).round(3)))}" for word in "xaybzc"]
    (folder / "vectors.txt").write_text("\n".join(["6 4", *lines]) + "\n")
    return folder / "vectors.txt"


def _read_vectors(path: Path) -> list[np.ndarray]:
    from components.feature.text import word_vectors  # imports JAX

    return list(word_vectors.read_vectors(str(path), "word", WORDS, 4))


def _vectors_holds(content: bytes) -> list[np.ndarray]:
    found, known = np.zeros((3, 4), np.float32), np.zeros(3, bool)
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n")):
        *word, one, two, three, four = line.rstrip().split(b" ") if number else [b"", *[b"0"] * 4]
        place = b"abc".find(word[0]) if len(word) == 1 and len(word[0]) == 1 else -1
        if place >= 0 and not known[place]:
            found[place], known[place] = [float(number) for number in (one, two, three, four)], True
    return [found, known]


def _npy(folder: Path) -> Path:
    np.save(folder / "vectors.npy", DICE.normal(size=(3, 4)))
    return folder / "vectors.npy"


def _npy_holds(content: bytes) -> list[np.ndarray]:
    file = io.BytesIO(content)
    array = np.load(file, allow_pickle=False)
    if file.read(1) or array.shape != (3, 4):
        raise Nothing
    return [array.astype(np.float32), np.ones(3, bool)]


def _yaml(folder: Path) -> Path:
    (folder / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /data: digits\n  - override /metric: [accuracy, top_k]\n"
        "learning_rate: 1e-3\nseed: 7\ntraining: {epochs: 5, batch_size: 32}\nmetric: {top_k: {k: 3}}\n"
        "feature:\n  columns:\n    x: &x {_target_: components.feature.Numeric, key: \"a\\tb\"}\n    y: *x\n"
    )  # fmt: skip
    return folder / "mine.yaml"


def _read_yaml(path: Path) -> Any:
    from omegaconf import OmegaConf

    from runner.config.choices import load_yaml

    return _text_keys(OmegaConf.to_container(load_yaml(path), resolve=False))


def _text_keys(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _text_keys(value) for key, value in node.items()}
    return list(map(_text_keys, node)) if isinstance(node, list) else node


def _yaml_holds(content: bytes) -> Any:
    """Keys and texts as PyYAML composes them, each key once; a word alone is a key."""
    import yaml

    def plain(node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            if len(keys) != len(set(map(str, keys))):
                raise Nothing
            return {key.value: plain(value) for key, value in node.value}
        return list(map(plain, node.value)) if isinstance(node, yaml.SequenceNode) else Leaf(node.value)

    root = yaml.compose(content.decode(), yaml.SafeLoader)
    return {} if root is None else {root.value: None} if isinstance(root, yaml.ScalarNode) else plain(root)


class Leaf(str):
    """How a value is written in YAML."""

    def spells(self, value: Any) -> bool:
        written = {None: ("", "~", "null"), True: ("true", "yes", "on"), False: ("false", "no", "off")}
        if value is None or isinstance(value, bool):
            return self.lower() in written[value]
        if isinstance(value, int) and re.fullmatch(r"[-+]?(0|[1-9]\d*)", self):
            return int(self) == value
        if isinstance(value, float) and re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", self):
            return float(self) == value
        if isinstance(value, int | float):  # octal, of sixties, and what else YAML knows
            return True
        return str(self) == value


ARRAYS = {"kernel": DICE.normal(size=(8, 4)).astype(np.float32), "empty": np.zeros(0), "step": np.array([7])}
META = {"step": 2, "best_step": None, "history": [{"loss": 0.5}]}


def _npz(folder: Path) -> Path:
    from runner import npz

    npz.write(folder / "arrays.npz", ARRAYS, META)
    return folder / "arrays.npz"


def _read_npz(path: Path) -> Any:
    from runner import npz

    found = npz.read(path)
    return [found.meta, found.arrays]


def _member(folder: Path) -> Path:
    np.save(folder / "kernel.npy", ARRAYS["kernel"])
    return folder / "kernel.npy"


def _around_member(content: bytes) -> bytes:
    """A whole npz with a member of these bytes."""
    file = io.BytesIO()
    np.savez(file, meta=np.frombuffer(json.dumps(META).encode(), np.uint8))  # type: ignore[arg-type]
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("kernel.npy", content)
    return file.getvalue()


def _member_holds(content: bytes) -> Any:
    file = io.BytesIO(content)
    array = np.load(file, allow_pickle=False)
    if file.read(1):
        raise Nothing
    return [META, {"kernel": array}]


def _checkpoint(folder: Path) -> Path:
    from runner.training.checkpoint import CheckpointFiles

    checkpoints = CheckpointFiles(folder / "checkpoints")
    for step in (1, 2):
        tree = {name: array + step for name, array in ARRAYS.items()}
        checkpoints.save(tree, None, META | {"step": step}, on_saved=lambda: None)
    checkpoints.close()
    return folder / "checkpoints" / "step_0000000002.npz"


def _read_checkpoint(path: Path) -> Any:
    """The newer of two checkpoints, which is damaged; raises UserError where the older one is taken."""
    from runner.training.checkpoint import CheckpointFiles

    for other in path.parent.glob("*.damaged"):
        other.unlink()
    try:
        found, damaged = CheckpointFiles(path.parent).load(ARRAYS, None)
    except UserError as error:
        raise RuntimeError("a damaged checkpoint ended the run") from error
    assert found is not None
    state, _, meta = found
    if damaged and meta["step"] == 1 and _same(state, {name: array + 1 for name, array in ARRAYS.items()}):
        raise UserError(f"{path.name} is passed over")
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


def _transform(folder: Path) -> Path:
    from components.data import Arrays
    from runner.data import transform
    from runner.data.load import Features, load_encoded

    rows = {"area": np.arange(20.0), "city": np.array(["Oslo", "Kyiv"] * 10, object), "kind": np.arange(20) % 2}
    data = load_encoded(Arrays(columns=rows, valid=4, test=4), Features.from_config(FEATURE), identity="", cache=None)
    transform.save_transform(folder, FEATURE, data.constants, data.encoded)
    return folder / transform.FILE


def _read_transform(path: Path) -> Any:
    from runner.data import transform

    found = transform.load_transform(path)
    constants = {name: [dict(one.host), dict(one.device), repr(one.static)] for name, one in found.constants.items()}
    return [repr(found.features), constants, repr(found.layouts)]


READERS = {
    "idx": Reader(_idx, read_idx, _idx_holds),
    "idx.gz": Reader(_packed_idx, read_idx),
    "idx_in_gz": Reader(_idx, read_idx, _idx_holds, gzip.compress),
    "safetensors": Reader(_safetensors, read_safetensors, _safetensors_holds),
    "tar": Reader(_tar("w", tarfile.GNU_FORMAT), _read_tar, _tar_holds),
    "tar_sealed": Reader(
        _tar("w", tarfile.PAX_FORMAT), _read_tar, lambda content: _tar_holds(_sealed(content)), _sealed
    ),
    "tar.gz": Reader(_tar("w:gz", tarfile.USTAR_FORMAT), _read_tar),
    "csv": Reader(_csv, _read_csv, _csv_holds),
    "csv.gz": Reader(_packed_csv(gzip.compress), _read_csv, _packed_csv_holds),
    "csv.bz2": Reader(_packed_csv(bz2.compress), _read_csv, _packed_csv_holds),
    "csv.xz": Reader(_packed_csv(lzma.compress), _read_csv, _packed_csv_holds),
    "vocabulary": Reader(_vocabulary, _read_vocabulary, _vocabulary_holds),
    "vectors": Reader(_vectors, _read_vectors, _vectors_holds),
    "npy": Reader(_npy, _read_vectors, _npy_holds),
    "yaml": Reader(_yaml, _read_yaml, _yaml_holds),
    "npz": Reader(_npz, _read_npz),
    "npy_in_npz": Reader(_member, _read_npz, _member_holds, _around_member),
    "checkpoint": Reader(_checkpoint, _read_checkpoint),
    "transform": Reader(_transform, _read_transform),
}


# ------------------------------------------------------------------------------------------------------- the judgement


class Fault(Exception):
    """What a reader must not do."""


class _Slow(BaseException):
    """The time is over."""


def _same(found: Any, wanted: Any) -> bool:
    """Whether two values are equal to the last bit, in type and shape too."""
    if isinstance(wanted, CategoryValues | Leaf):
        return wanted.spell(found) if isinstance(wanted, CategoryValues) else wanted.spells(found)
    if isinstance(wanted, Mapping):
        both = isinstance(found, Mapping) and found.keys() == wanted.keys()
        return both and all(_same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list | tuple):
        return isinstance(found, list | tuple) and len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, np.ndarray):
        return isinstance(found, np.ndarray) and _bits(found) == _bits(wanted)
    return type(found) is type(wanted) and found == wanted


def _bits(array: np.ndarray) -> tuple[Any, ...]:
    return array.dtype, array.shape, array.tobytes()


def _short(value: Any) -> str:
    return " ".join(str(value).split())[:200]


def _judge(reader: Reader, path: Path, content: bytes, whole: Any) -> str:
    """How a reader takes a file: refused or read; raises Fault."""
    try:
        found = reader.read(path)
    except UserError as error:
        if path.name not in str(error):
            raise Fault(f"the error doesn't name the file: {error}") from error
        return "refused"
    except _Slow as error:
        raise Fault(f"it took more than {SECONDS} s") from error
    except BaseException as error:
        raise Fault(f"{type(error).__name__}: {error}") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if not _same(found, whole):
        try:
            holds = None if reader.holds is None else reader.holds(content)
        except Exception as error:
            raise Fault(f"it reads what nothing can be read from ({type(error).__name__}: {error})") from error
        if holds is None or not _same(found, holds):
            raise Fault(f"it reads something else: {_short(found)}, where there is {_short(holds)}")
    return "read"


def run(name: str, count: int, seed: int = 0, only: int | None = None) -> int:
    """Tries a reader on so many mutations; returns how many of them went wrong."""
    reader, outcomes, faults = READERS[name], Counter[str](), list[str]()
    folder = Path(tempfile.mkdtemp(prefix="mutations_"))
    os.chdir(folder)
    path = reader.write(folder)
    content = path.read_bytes()
    path.write_bytes(reader.pack(content))
    whole = reader.read(path)
    _bound_addresses()
    before, slowest = _peak(), 0.0
    for n in range(count) if only is None else [only]:
        damaged = mutated(content, random.Random(f"{name} {seed} {n}"))
        path.write_bytes(reader.pack(damaged))
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            outcomes[_judge(reader, path, damaged, whole)] += 1
            if (grown := _peak() - before) > GROWTH:
                before = _peak()
                raise Fault(f"it took {grown >> 20} MiB of memory")
        except Fault as fault:
            kept = folder / f"fault_{n}"
            kept.write_bytes(reader.pack(damaged))
            faults.append(f"{name}, mutation {n}, {kept}: {fault}")
            if only is not None:
                traceback.print_exception(fault)
        slowest = max(slowest, time.process_time() - start)
    faulthandler.cancel_dump_traceback_later()
    if not faults:
        shutil.rmtree(folder)
    told = ", ".join(f"{outcomes[kind]:,} {kind}" for kind in ("refused", "read"))
    print(f"{name:12} {count:6,} mutations: {told}, {len(faults)} wrong; slowest {1e3 * slowest:.0f} ms", end="")
    print(f", {max(_peak() - before, 0) >> 20} MiB more", *faults[:10], sep="\n  ", flush=True)
    return len(faults)


def _bound_addresses() -> None:
    """Lets the process take SPACE more of addresses, where it can be told how many it has."""
    if (state := Path("/proc/self/statm")).exists():
        bound = int(state.read_text().split()[0]) * resource.getpagesize() + SPACE
        resource.setrlimit(resource.RLIMIT_AS, (bound, resource.RLIM_INFINITY))


def _peak() -> int:
    """The most memory that the process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _slow(*_: Any) -> None:
    raise _Slow


def main(words: list[str]) -> int:
    """Tries some readers, or all of them."""
    count = int(words.pop(0)) if words and words[0].isdigit() else 10_000
    only = int(words.pop()) if words and words[-1].isdigit() else None
    warnings.simplefilter("error")
    signal.signal(signal.SIGPROF, _slow)
    return int(sum([run(name, count, only=only) for name in words or READERS]) > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
