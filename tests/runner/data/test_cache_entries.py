"""The entries of the cache: listed, and removed without touching anything else."""

import os
from pathlib import Path

import numpy as np
import pytest

from components import fetched_files
from components.fetched_files import add_entry, has_added_entries, new_entry
from components.fetched_files import list_entries as list_fetched
from runner.data.cache import load_tree, save_tree
from runner.data.cache_entries import entries_folder, list_entries, remove_entry, remove_least_used
from runner.data.encoded_cache import EncodedCache
from runner.run_folder import lock_new_folder

NAMES = [character * 32 for character in "0123"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Writes four entries, of which the first was not used for longest."""
    for number, name in enumerate(NAMES):
        save_tree(tmp_path / name, [{"x": np.zeros(1000)}], f"table {number}")
        os.utime(tmp_path / name / "index.json", (number, number))
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_entries_have_a_size_a_last_use_and_a_description(folder: Path) -> None:
    entries = list_entries(folder)
    assert [(entry.path.name, entry.used, entry.about) for entry in entries] == [
        (name, number, f"table {number}") for number, name in enumerate(NAMES)
    ]
    assert all(8000 < entry.size < 9000 for entry in entries)
    load_tree(folder / NAMES[0])
    assert [entry.path.name for entry in list_entries(folder)] == [*NAMES[1:], NAMES[0]]
    assert list_entries(folder / "missing") == []


def test_entries_of_another_version_count_too(folder: Path) -> None:
    (old := folder / ("a" * 32)).mkdir()
    (old / "0.npy").write_bytes(bytes(100_000))
    (old / "index.json").write_text('{"content": {"tree": {}}}')
    os.utime(old / "index.json", (0.5, 0.5))
    about = {entry.path.name: entry.about for entry in list_entries(folder)}
    assert about[old.name].startswith("unknown")
    assert len(remove_least_used(folder, 50_000, ())) == 2
    assert names(folder) == NAMES[1:]


def test_the_least_recently_used_entries_are_removed_but_not_those_to_keep(folder: Path) -> None:
    assert remove_least_used(folder, 1e6, ()) == []
    removed = remove_least_used(folder, 20_000, [NAMES[0]])
    assert [entry.path.name for entry in removed] == NAMES[1:3]
    assert names(folder) == [NAMES[0], NAMES[3]]
    remove_least_used(folder, 0, [NAMES[0]])
    assert names(folder) == [NAMES[0]]


def test_fetched_files_count_and_those_in_use_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(tmp_path))
    monkeypatch.setattr(fetched_files, "_lists", {})
    save_tree(tmp_path / "data" / NAMES[0], [{"x": np.zeros(1000)}], "a table")
    for name in "ab":
        with new_entry(name * 32) as temporary:
            (temporary / "t.csv").write_bytes(bytes(1000))
            add_entry(temporary, tmp_path / "remote" / (name * 32))
    assert has_added_entries()  # so that a run removes what is beyond the limit
    for number, path in enumerate([tmp_path / "remote" / ("a" * 32), tmp_path / "remote" / ("b" * 32)]):
        os.utime(path, (number, number))
    assert remove_least_used(tmp_path / "data", 0, NAMES) == []
    ((_, descriptor),) = fetched_files._lists.values()
    os.close(descriptor)  # as if the process ended
    monkeypatch.setattr(fetched_files, "_lists", {})
    removed = remove_least_used(tmp_path / "data", 10_000, ())
    assert [entry.path.name[:1] for entry in removed] == ["a"]
    monkeypatch.setenv("TITRATE_CACHE_GB", "0")
    EncodedCache(tmp_path, lambda: "a table").remove_least_used()  # this process has fetched files
    assert not list_fetched(tmp_path)


def test_unfinished_entries_count_and_only_those_of_killed_processes_are_removed(folder: Path) -> None:
    busy, left = (folder / f".{name * 32}.abcdefgh" for name in "ab")
    locks = []
    for path in (busy, left):
        path.mkdir()
        (path / "0.bin").write_bytes(bytes(16_000))
        locks.append(lock_new_folder(path))
    os.close(locks[1])
    found = {entry.path.name: (entry.about, entry.is_busy) for entry in list_entries(folder)[4:]}
    assert found == {
        busy.name: ("another process is writing it", True),
        left.name: ("left by a process that was killed", False),
    }
    assert not remove_entry(busy)
    removed = remove_least_used(folder, 4 * 9000 + 8000, ())  # without `left`, but with `busy`
    assert [entry.path.name for entry in removed] == NAMES[:1]
    assert names(folder) == sorted([busy.name, *NAMES[1:]])
    os.close(locks[0])
    assert remove_entry(busy)
    assert names(folder) == NAMES[1:]


def test_nothing_but_entries_is_listed_or_removed(folder: Path) -> None:
    other = [folder / "cat", folder / ("b" * 32), folder / f".{'b' * 32}.abcdefgh", folder / ("c" * 32)]
    for path in other[:3]:  # with names of entries, but other files
        path.mkdir()
        (path / "picture.png").write_bytes(bytes(10_000))
        os.utime(path, (0, 0))
    other[3].write_text("a file")
    (link := folder / ("d" * 32)).symlink_to(folder / NAMES[0])
    assert [entry.path.name for entry in list_entries(folder)] == NAMES
    remove_least_used(folder, 0, ())
    for path in (*other, link):
        assert not remove_entry(path)
    assert names(folder) == sorted(path.name for path in (*other, link))
    assert all((path / "picture.png").exists() for path in other[:3])


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to another user")
def test_nothing_of_another_user_is_listed_or_removed(folder: Path) -> None:
    os.chown(folder / NAMES[0], 12345, -1)
    assert [entry.path.name for entry in list_entries(folder)] == NAMES[1:]
    remove_least_used(folder, 0, ())
    assert not remove_entry(folder / NAMES[0])
    assert names(folder) == [NAMES[0]]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to another user")
def test_users_who_share_a_cache_have_folders_of_their_own(tmp_path: Path) -> None:
    assert entries_folder(tmp_path) == tmp_path / "data"
    (tmp_path / "data").mkdir()
    assert entries_folder(tmp_path) == tmp_path / "data"
    os.chown(tmp_path / "data", 12345, -1)
    assert entries_folder(tmp_path) == tmp_path / "data-0"


def test_an_entry_that_is_removed_at_the_same_time_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(self: Path, target: Path) -> Path:
        for file in self.iterdir():
            file.unlink()
        self.rmdir()
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "rename", rename)
    assert remove_entry(folder / NAMES[0])
    assert names(folder) == NAMES[1:]
