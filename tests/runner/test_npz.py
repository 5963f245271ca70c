"""Files of arrays come back bit-identical, and every kind of damage is an error that names the file."""

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.types import UserError
from runner import npz
from runner.npz import DamagedFileError
from runner.record import predictions as answers

ARRAYS = {
    "x": np.array([np.nan, -0.0, 1e-45, np.inf], np.float32),
    "matrix": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "none": np.zeros((0, 2), np.uint8),
    "scalar": np.asarray(np.int32(7)),
    "names": np.array(["a", "日本"]),
}
META = {"history": [{"loss": 0.1 + 0.2, "best": float("inf")}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    npz.write(tmp_path / "a.npz", ARRAYS, META)
    return tmp_path / "a.npz"


def npy(array: Any, **options: Any) -> bytes:
    path = Path("array.npy")
    np.save(path, array, **options)
    return path.read_bytes()


def header(text: str) -> bytes:
    """An npy file with this header alone."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def test_arrays_and_metadata_are_the_same_after_writing_and_reading(path: Path) -> None:
    meta, arrays, digest = npz.read(path)
    assert meta == npz.read_meta(path) == META
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()
    assert digest == npz.write(path.with_name("b.npz"), ARRAYS, META)
    assert path.read_bytes() == path.with_name("b.npz").read_bytes()


def test_numpy_reads_the_file(path: Path) -> None:
    with np.load(path) as archive:
        assert {*archive.files} == {"meta", *ARRAYS}
        np.testing.assert_array_equal(archive["matrix"], ARRAYS["matrix"])


def test_every_changed_or_lost_byte_is_an_error(path: Path) -> None:
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(DamagedFileError, match=r"a\.npz"):
            npz.read(path)
        path.write_bytes(content[:place] + content[place + 1 :])
        with pytest.raises(DamagedFileError, match=r"a\.npz"):
            npz.read(path)
        path.write_bytes(content[:place])
        with pytest.raises(DamagedFileError, match=r"a\.npz"):
            npz.read(path)


def test_swapped_blocks_and_changed_metadata_are_errors(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:512] + content[1024:1536] + content[512:1024] + content[1536:])
    with pytest.raises(DamagedFileError, match="its bytes were changed after it was written"):
        npz.read(path)
    path.write_bytes(content.replace(b"loss", b"lost"))
    with pytest.raises(DamagedFileError, match="its bytes were changed after it was written"):
        npz.read(path)


def test_a_file_of_an_earlier_version_has_no_digest_and_is_read(path: Path) -> None:
    note = np.frombuffer(json.dumps(META).encode(), np.uint8)
    np.savez(path, allow_pickle=False, meta=note, **ARRAYS)
    found = npz.read(path)
    assert (found.meta, found.digest) == (META, None)
    np.testing.assert_array_equal(found.arrays["x"], ARRAYS["x"])
    path.write_bytes(path.read_bytes().replace(ARRAYS["matrix"].tobytes("F"), bytes(48)))
    with pytest.raises(DamagedFileError, match="Bad CRC-32"):
        npz.read(path)


FAULTS: dict[str, tuple[Callable[[], dict[str, bytes] | bytes], str]] = {
    "a bare npy": (lambda: npy(np.arange(9)), "it is not an npz file"),
    "a pickle": (lambda: pickle.dumps({"a": 1}), "it is not an npz file"),
    "nothing": (lambda: b"", "it is not an npz file"),
    "no array": (lambda: {"x": b"hello"}, "its member x is not an array"),
    "a header of code": (lambda: {"x": header("__import__('os').abort()\n")}, "its member x is not an array"),
    "a header without end": (lambda: {"x": header("(" * 9000)}, "its member x is not an array"),
    "objects": (lambda: {"x": npy(np.array([{}]), allow_pickle=True)}, "holds Python objects, which are not allowed"),
    "256 TiB": (
        lambda: {"x": header("{'descr': '<f4', 'fortran_order': False, 'shape': (70368744177664,)}\n")},
        r"is float32 \(70368744177664,\), but it has 0 bytes",
    ),
    "a negative shape": (
        lambda: {"x": header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -4)}\n") + b"1234"},
        "can't be read: negative dimensions",
    ),
    "nothing, many times": (
        lambda: {"x": header("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000,)}\n")},
        "but it has 0 bytes",
    ),
    "too few bytes": (lambda: {"x": npy(np.arange(9))[:-1]}, "but it has 71 bytes"),
    "too many bytes": (lambda: {"x": npy(np.arange(9)) + b"0"}, "but it has 73 bytes"),
    "a note that is a list": (lambda: {"meta": npy(np.frombuffer(b"[1]", np.uint8))}, "its metadata is a list"),
    "a note that is no JSON": (lambda: {"meta": npy(np.frombuffer(b"{1}", np.uint8))}, "can't be read"),
    "a note that is no text": (lambda: {"meta": npy(np.array([1.5]))}, "can't be read"),
    "a note a thousand deep": (
        lambda: {"meta": npy(np.frombuffer(b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", np.uint8))},
        "can't be read: maximum recursion|more than 100 nested levels",
    ),
    "a note that is deep": (
        lambda: {"meta": npy(np.frombuffer(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", np.uint8))},
        "its metadata has more than 100 nested levels",
    ),
    "no note": (lambda: {"meta.txt": b""}, "it has no metadata"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.usefixtures("in_empty_folder")
def test_a_damaged_file_is_reported(fault: str) -> None:
    make, message = FAULTS[fault]
    content, path = make(), Path("a.npz")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        members = {"meta": npy(np.frombuffer(b"{}", np.uint8))} | content
        if fault == "no note":
            del members["meta"]
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(f"{name}.npy", data)
    with pytest.raises(DamagedFileError, match=rf"a\.npz can't be read: .*(?:{message})|a\.npz {message}"):
        npz.read(path)


def zipped(path: Path, compression: int = zipfile.ZIP_STORED, times: int = 1, member: bytes = b"") -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("meta.npy", npy(np.frombuffer(b"{}", np.uint8)))
        for _ in range(times):
            archive.writestr("x.npy", member or npy(np.zeros(3)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.usefixtures("in_empty_folder")
def test_members_that_titrate_never_writes_are_errors() -> None:
    path = Path("a.npz")
    zipped(path, times=2)
    with pytest.raises(DamagedFileError, match="two of its members have the same name"):
        npz.read(path)
    zipped(path, zipfile.ZIP_DEFLATED, member=npy(np.zeros(10_000_000)))
    assert path.stat().st_size < 100_000
    with pytest.raises(DamagedFileError, match="its arrays are larger than the file"):
        npz.read(path)
    zipped(path, zipfile.ZIP_DEFLATED, member=os.urandom(1000))
    with pytest.raises(DamagedFileError, match="compressed, so another program wrote it"):
        npz.read(path)
    zipped(path)
    content = path.read_bytes()
    entry = content.index(b"PK\1\2")
    path.write_bytes(content[: entry + 10] + struct.pack("<H", 99) + content[entry + 12 :])  # an unknown compression
    with pytest.raises(DamagedFileError, match="compressed, so another program wrote it"):
        npz.read(path)
    path.write_bytes(content[: entry + 8] + struct.pack("<H", 1) + content[entry + 10 :])
    with pytest.raises(DamagedFileError, match="its member meta is encrypted"):
        npz.read(path)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match=r"a\.npz is missing"):
        npz.read(tmp_path / "a.npz")
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "fifo.npz")
    (tmp_path / "endless.npz").symlink_to("/dev/zero")
    for name, fault in (
        ("folder", "is a folder"),
        ("fifo", "is a FIFO"),
        ("endless", "is a character device"),
    ):
        with pytest.raises(DamagedFileError, match=rf"{name}\.npz {fault}; a regular file is needed"):
            npz.read(tmp_path / f"{name}.npz")


def test_an_npz_file_without_predictions_is_an_error(tmp_path: Path) -> None:
    kept = answers.RecordedPredictions.from_logits(
        "test", ("a", "b"), np.arange(2), np.zeros(2, np.int32), np.zeros((2, 2), np.float32), np.ones(2)
    )
    answers.save_predictions(tmp_path, [kept])
    (loaded,) = answers.load_predictions(tmp_path)
    assert vars(loaded).keys() == vars(kept).keys()
    meta, arrays, _ = npz.read(tmp_path / answers.PREDICTIONS_FILE)
    for changed, less in (
        ((arrays, {"split": "test"}), "classes"),
        ((arrays, meta | {"classes": 3}), "int"),
        (({**arrays, "more": np.ones(2)}, meta), "more"),
        (({**arrays, "row": np.ones(1)}, meta), "length"),
    ):
        npz.write(tmp_path / answers.PREDICTIONS_FILE, *changed)
        with pytest.raises(UserError, match=rf"answers\.npz is not a file of predictions.*{less}"):
            answers.load_predictions(tmp_path)
    (tmp_path / answers.PREDICTIONS_FILE).write_bytes(b"PK")
    with pytest.raises(UserError, match=r"answers\.npz can't be read: it is not an npz file"):
        answers.load_predictions(tmp_path)
