"""The cache on disk: trees are read as they were written, written atomically, and not used if damaged."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.types import Ragged
from runner.data.cache import load_tree, save_tree
from runner.data.cached_array import CachedArray
from runner.run_folder import NEW_LOCK, lock_new_folder

NAME, OTHER = "0123456789abcdef" * 2, "f" * 32  # names of entries are digests
TREE = {
    "encoded": {
        "x": {"values": np.arange(6, dtype=np.float32).reshape(3, 2)},
        "text": {"ids": Ragged(np.arange(4, dtype=np.int32), np.array([0, 0, 3, 4]))},
        "empty": {"ids": np.zeros((0, 2), np.uint8)},
    },
    "constants": {"host": {"names": np.array(["a", "ä"])}, "static": {"shape": (1, ("b", 2.5), None, True)}},
    "fingerprint": "0123",
    "warnings": ("beware",),
}


def assert_equal(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert list(found) == list(expected)
        for key in found:
            assert_equal(found[key], expected[key])
    elif isinstance(found, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(found, tuple):
        assert len(found) == len(expected)
        for found_item, expected_item in zip(found, expected, strict=True):
            assert_equal(found_item, expected_item)
    else:
        assert found == expected


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Lets this process write files of at most `size` bytes, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    save_tree(tmp_path / NAME, [TREE])
    return tmp_path / NAME


def test_a_tree_is_read_as_it_was_written(entry: Path) -> None:
    assert_equal(load_tree(entry), TREE)


def test_only_the_entry_is_left_in_the_cache(entry: Path) -> None:
    assert list(entry.parent.iterdir()) == [entry]
    assert json.loads((entry / "index.json").read_text())
    assert {path.suffix for path in entry.iterdir()} == {".json", ".bin"}


def test_large_arrays_stay_on_the_disk_and_small_ones_are_read(tmp_path: Path) -> None:
    save_tree(tmp_path / NAME, [{"large": np.zeros(2**20, np.uint8), "small": np.zeros(10)}])
    tree = load_tree(tmp_path / NAME)
    assert isinstance(tree["large"], CachedArray)
    assert isinstance(tree["small"], np.ndarray)
    tree = load_tree(tmp_path / NAME, whole=True)
    assert isinstance(tree["large"], np.ndarray)


def test_small_arrays_share_a_file_until_they_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.data.cached_array.MIN_MAPPED_BYTES", 100)
    monkeypatch.setattr("runner.data.cache._BUFFER_BYTES", 1)
    random = np.random.default_rng(0)
    expected = {
        name: random.integers(0, 255, (30, width), np.uint8) for name, width in zip("abcd", (3, 1, 7, 0), strict=True)
    }

    def save(name: str, count: int) -> set[str]:
        pieces = [{key: values[row : row + 5] for key, values in expected.items()} for row in range(0, count, 5)]
        save_tree(tmp_path / name, pieces)
        for whole in (False, True):
            found = load_tree(tmp_path / name, whole=whole)
            for key, values in expected.items():
                np.testing.assert_array_equal(found[key], values[:count])
                assert isinstance(found[key], np.ndarray) == (whole or values[:count].nbytes < 100)
        return {file.name for file in (tmp_path / name).iterdir()}

    assert save("a" * 32, 10) == {"index.json", "shared.bin"}
    assert save("b" * 32, 30) == {"index.json", "shared.bin", "2.bin"}
    assert (tmp_path / ("b" * 32) / "2.bin").stat().st_size == expected["c"].nbytes
    of_small = expected["a"].nbytes + expected["b"].nbytes
    assert (tmp_path / ("b" * 32) / "shared.bin").stat().st_size == of_small  # without what was moved out of it
    del expected["a"], expected["b"]
    assert save("c" * 32, 30) == {"index.json", "shared.bin", "0.bin"}
    assert (tmp_path / ("c" * 32) / "shared.bin").stat().st_size == 0


@pytest.mark.parametrize("file", ["index.json", "shared.bin"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "longer", "one bit"])
def test_a_damaged_entry_loads_as_none_and_can_be_replaced(entry: Path, file: str, damage: str) -> None:
    content = bytearray((entry / file).read_bytes())
    (entry / file).unlink()
    if damage != "missing":
        changed = bytearray(content)
        changed[-9] ^= 1
        written = {"empty": b"", "truncated": content[:-9], "longer": content + b"0", "one bit": changed}
        (entry / file).write_bytes(written[damage])
    assert load_tree(entry) is None
    save_tree(entry, [TREE])
    assert_equal(load_tree(entry), TREE)


def test_a_changed_bit_anywhere_in_the_index_is_noticed(entry: Path) -> None:
    content = (entry / "index.json").read_bytes()
    for position in range(0, len(content), 3):
        changed = bytearray(content)
        changed[position] ^= 2
        (entry / "index.json").write_bytes(changed)
        assert load_tree(entry) is None


@pytest.mark.parametrize("name", [".", "index.json", "shared.bin"])
@pytest.mark.parametrize("kind", ["a file", "a pipe", "a folder", "a dangling link"])
def test_anything_with_the_name_of_an_entry_or_its_file_is_replaced(entry: Path, name: str, kind: str) -> None:
    path = entry / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    match kind:
        case "a file":
            path.write_text("{}")
        case "a pipe":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
        case "a dangling link":
            path.symlink_to("nowhere")
    assert load_tree(entry) is None
    save_tree(entry, [TREE])
    assert_equal(load_tree(entry), TREE)


@pytest.mark.parametrize(
    ("state", "is_old", "is_kept"),
    [
        ("locked", True, True),
        ("locked before", False, False),
        ("being locked", False, True),
        ("being locked", True, False),
        ("no lock", False, True),
        ("no lock", True, False),
    ],
)
def test_temporary_folders_of_killed_processes_are_removed_and_those_of_running_ones_are_kept(
    state: str, is_old: bool, is_kept: bool, entry: Path
) -> None:
    (entry / "index.json").unlink()
    (folder := entry.parent / f".{OTHER}.abcdefgh").mkdir()
    (folder / "0.bin").write_bytes(b"half")
    lock = lock_new_folder(folder) if state.startswith("locked") else None
    if state == "locked before" and lock is not None:
        os.close(lock)
    if state == "being locked":
        (folder / NEW_LOCK).touch()
    if is_old:
        os.utime(folder, (0, 0))
    save_tree(entry, [TREE])
    assert {path.name for path in entry.parent.iterdir()} == {NAME, *([folder.name] if is_kept else [])}
    if state == "locked" and lock is not None:
        os.close(lock)


def test_a_missing_entry_loads_as_none(tmp_path: Path) -> None:
    assert load_tree(tmp_path / NAME) is None


def test_a_full_disk_leaves_no_files_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with largest_file(100_000), pytest.raises(OSError, match="File too large"):
        save_tree(tmp_path / "cache" / NAME, [{"x": np.zeros(2**18)}])
    assert list((tmp_path / "cache").iterdir()) == []

    def fail(*paths: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space left"):
        save_tree(tmp_path / "cache" / NAME, [TREE])
    assert list((tmp_path / "cache").iterdir()) == []


WRITE = """
import os, sys
from pathlib import Path
import numpy as np
import runner.data.cache
from runner.data.cache import save_tree
runner.data.cache._BUFFER_BYTES = 1
def pieces():
    for number in range(40):
        yield {"x": np.full(1000, number)}
        if len(sys.argv) > 2 and number == 20:
            os.kill(os.getpid(), 9)
save_tree(Path(sys.argv[1]), pieces())
"""


def test_a_kill_while_an_entry_is_written_leaves_nothing_that_is_loaded(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / NAME), "kill"], check=False)
    assert done.returncode == -9
    assert load_tree(tmp_path / NAME) is None
    (half,) = tmp_path.iterdir()
    assert (half / "shared.bin").stat().st_size >= 20 * 8000  # pieces are not kept in memory
    os.utime(half, (0, 0))
    save_tree(tmp_path / NAME, [TREE])
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_an_entry_that_is_whole_is_kept_as_it_is(entry: Path) -> None:
    before = entry.stat().st_ino
    save_tree(entry, [TREE])
    assert entry.stat().st_ino == before
    assert list(entry.parent.iterdir()) == [entry]


def test_two_processes_write_the_same_entry(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path / NAME)]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    np.testing.assert_array_equal(load_tree(tmp_path / NAME)["x"], np.repeat(np.arange(40), 1000))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("call", ["unlink", "rename"])  # before which the other process writes the entry
def test_an_entry_that_another_process_has_just_written_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    save_tree(tmp_path / "other", [TREE])
    folder, original = tmp_path / "cache" / NAME, getattr(Path, call)

    def write_first(self: Path, *arguments: Any, **options: Any) -> Any:
        if folder in (self, *arguments):
            shutil.copytree(tmp_path / "other", folder)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, call, write_first)
    save_tree(folder, [TREE])
    assert_equal(load_tree(folder), TREE)
    assert list(folder.parent.iterdir()) == [folder]
