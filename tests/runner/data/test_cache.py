"""The cache on disk: trees come back equal, are written atomically, and are not used when damaged."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.types import Ragged
from runner import run_folder as folders
from runner.data.cache import load_tree, save_tree

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


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_equal(first, second)
    else:
        assert one == other


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    save_tree(tmp_path / "entry", TREE)
    return tmp_path / "entry"


def test_a_tree_comes_back_as_it_was(entry: Path) -> None:
    assert_equal(load_tree(entry), TREE)


def test_nothing_but_the_entry_is_left(entry: Path) -> None:
    assert list(entry.parent.iterdir()) == [entry]
    assert json.loads((entry / "index.json").read_text())
    assert {path.suffix for path in entry.iterdir()} == {".json", ".npy"}


def test_large_arrays_are_mapped_and_small_ones_read(tmp_path: Path) -> None:
    save_tree(tmp_path / "entry", {"large": np.zeros(2**20, np.uint8), "small": np.zeros(10)})
    tree = load_tree(tmp_path / "entry")
    assert isinstance(tree["large"], np.memmap)
    assert not isinstance(tree["small"], np.memmap)


@pytest.mark.parametrize("file", ["index.json", "0.npy", "2.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "longer", "one bit"])
def test_a_damaged_entry_is_none_and_can_be_written_again(entry: Path, file: str, damage: str) -> None:
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


def test_no_changed_bit_of_the_index_goes_unnoticed(entry: Path) -> None:
    content = (entry / "index.json").read_bytes()
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 2
        (entry / "index.json").write_bytes(changed)
        assert load_tree(entry) is None


@pytest.mark.parametrize("place", [".", "index.json", "0.npy"])
@pytest.mark.parametrize("how", ["a file", "a pipe", "a folder", "a dangling link"])
def test_whatever_stands_in_an_entrys_place_is_replaced(entry: Path, place: str, how: str) -> None:
    path = entry / place
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    match how:
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


def test_drafts_of_killed_processes_are_removed_and_those_of_running_ones_stay(entry: Path) -> None:
    (entry / "index.json").unlink()
    for name in (".entry.abcdefgh", ".other.abcdefgh", ".entry.ijklmnop"):
        (entry.parent / name).mkdir()
        (entry.parent / name / "0.npy").write_bytes(b"half")
    held = folders.try_lock(entry.parent / ".entry.ijklmnop")
    assert held is not None
    for name in (".entry.abcdefgh", ".entry.ijklmnop"):
        os.utime(entry.parent / name, (0, 0))
    save_tree(entry, TREE)
    assert {path.name for path in entry.parent.iterdir()} == {"entry", ".other.abcdefgh", ".entry.ijklmnop"}
    os.close(held)


def test_what_was_never_written_is_none(tmp_path: Path) -> None:
    assert load_tree(tmp_path / "entry") is None


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runner.data.cache.np.save", full)
    with pytest.raises(OSError, match="No space left"):
        save_tree(tmp_path / "cache" / "entry", TREE)
    assert list((tmp_path / "cache").iterdir()) == []


def test_two_processes_can_write_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tree(tmp_path / "other", TREE)
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        shutil.copytree(tmp_path / "other", target)  # the other one comes first
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    save_tree(tmp_path / "cache" / "entry", TREE)
    assert_equal(load_tree(tmp_path / "cache" / "entry"), TREE)
    assert len(list((tmp_path / "cache").iterdir())) == 1
