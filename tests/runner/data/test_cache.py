"""The cache on disk: trees are read as they were written, written atomically, and not used if damaged."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.types import Ragged
from runner.data.cache import load_tree, save_tree
from runner.run_folder import try_lock

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


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    save_tree(tmp_path / "entry", TREE)
    return tmp_path / "entry"


def test_a_tree_is_read_as_it_was_written(entry: Path) -> None:
    assert_equal(load_tree(entry), TREE)


def test_only_the_entry_is_left_in_the_cache(entry: Path) -> None:
    assert list(entry.parent.iterdir()) == [entry]
    assert json.loads((entry / "index.json").read_text())
    assert {path.suffix for path in entry.iterdir()} == {".json", ".npy"}


def test_large_arrays_are_memory_maps_and_small_ones_are_not(tmp_path: Path) -> None:
    save_tree(tmp_path / "entry", {"large": np.zeros(2**20, np.uint8), "small": np.zeros(10)})
    tree = load_tree(tmp_path / "entry")
    assert isinstance(tree["large"], np.memmap)
    assert not isinstance(tree["small"], np.memmap)


@pytest.mark.parametrize("file", ["index.json", "0.npy", "2.npy"])
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
    save_tree(entry, TREE)
    assert_equal(load_tree(entry), TREE)


def test_a_changed_bit_anywhere_in_the_index_is_noticed(entry: Path) -> None:
    content = (entry / "index.json").read_bytes()
    for position in range(0, len(content), 3):
        changed = bytearray(content)
        changed[position] ^= 2
        (entry / "index.json").write_bytes(changed)
        assert load_tree(entry) is None


@pytest.mark.parametrize("name", [".", "index.json", "0.npy"])
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
    save_tree(entry, TREE)
    assert_equal(load_tree(entry), TREE)


def test_temporary_folders_of_killed_processes_are_removed_and_those_of_running_ones_are_kept(entry: Path) -> None:
    (entry / "index.json").unlink()
    for name in (".entry.abcdefgh", ".other.abcdefgh", ".entry.ijklmnop"):
        (entry.parent / name).mkdir()
        (entry.parent / name / "0.npy").write_bytes(b"half")
    lock = try_lock(entry.parent / ".entry.ijklmnop")
    assert lock is not None
    for name in (".entry.abcdefgh", ".entry.ijklmnop"):
        os.utime(entry.parent / name, (0, 0))
    save_tree(entry, TREE)
    assert {path.name for path in entry.parent.iterdir()} == {"entry", ".other.abcdefgh", ".entry.ijklmnop"}
    os.close(lock)


def test_a_missing_entry_loads_as_none(tmp_path: Path) -> None:
    assert load_tree(tmp_path / "entry") is None


def test_a_full_disk_leaves_no_files_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runner.data.cache.np.save", full)
    with pytest.raises(OSError, match="No space left"):
        save_tree(tmp_path / "cache" / "entry", TREE)
    assert list((tmp_path / "cache").iterdir()) == []


def test_two_processes_can_write_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tree(tmp_path / "other", TREE)
    rename = Path.rename

    def rename_second(self: Path, target: Path) -> Path:
        shutil.copytree(tmp_path / "other", target)  # another process has just written the entry
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", rename_second)
    save_tree(tmp_path / "cache" / "entry", TREE)
    assert_equal(load_tree(tmp_path / "cache" / "entry"), TREE)
    assert len(list((tmp_path / "cache").iterdir())) == 1
