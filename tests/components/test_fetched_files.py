"""Entries of fetched files appear whole, are kept while a process uses them, and are removed by others."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from components import fetched_files, remote
from components.cache_folder import fetched_folder
from components.fetched_files import add_entry, list_entries, new_entry, remove_entries, use_entry
from components.input_files import find_paths, hash_file
from components.types import DataError

NAME = "a" * 32


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TITRATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetched_files, "_lists", {})
    yield tmp_path / "cache"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def write_entry(name: str = NAME, size: int = 10) -> Path:
    """Writes an entry that no process uses."""
    file = fetched_folder() / name / "s3" / "bucket" / "t.csv"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(size))
    return fetched_folder() / name


def test_what_a_process_uses_is_kept_until_it_ends(cache: Path) -> None:
    entry = write_entry()
    code = f"from components.fetched_files import *; print(use_entry(Path({str(entry)!r}))); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        assert [listed.is_busy for listed in list_entries(cache)] == [True]
        assert remove_entries([entry]) == []
        assert (entry / "s3/bucket/t.csv").exists()
        process.kill()
    assert [(listed.about, listed.size, listed.is_busy) for listed in list_entries(cache)] == [
        ("s3://bucket/t.csv", 10, False)
    ]
    assert remove_entries([entry]) == [entry]
    assert [*fetched_folder().iterdir()] == []
    assert not use_entry(entry)


def move(folder: Path) -> None:
    folder.rename(f"{folder}-{len([*folder.parent.iterdir()])}")


@pytest.mark.parametrize("remove", [shutil.rmtree, move])
def test_a_cache_that_is_removed_meanwhile_is_filled_again(remove: Callable[[Path], object], cache: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/b/t.csv", b"x,y\n1,2\n")
    (before,) = find_paths("memory://b/t.csv")
    remove(cache)
    (file,) = find_paths("memory://b/t.csv")
    assert file == before
    assert file.read_bytes() == b"x,y\n1,2\n"
    (entry,) = list_entries(cache)
    assert entry.is_busy
    assert remove_entries([entry.path]) == []
    remove(cache)
    with pytest.raises(DataError, match=r"^memory://b/t.csv can't be read: its copy was removed from the cache"):
        hash_file(file)


def test_what_killed_processes_left_is_listed_and_removed_or_written_again(cache: Path) -> None:
    root = fetched_folder()
    for name in (f".new-{NAME}", ".removed-abc"):
        (root / name).mkdir(parents=True)
        (root / name / "half").write_bytes(bytes(5))
    (root / f".new-{NAME}.lock").touch()
    entries = list_entries(cache)
    assert [(entry.size, entry.is_busy, entry.about[:18]) for entry in entries] == [
        (5, False, "left by a process ")
    ] * 2
    with new_entry(NAME) as temporary:
        assert [*temporary.iterdir()] == []
        assert sorted(entry.is_busy for entry in list_entries(cache)) == [False, True]
        assert len(remove_entries([entry.path for entry in list_entries(cache)])) == 1
        (temporary / "whole").touch()
        add_entry(temporary, root / NAME, "whole")
    assert sorted(path.name[:6] for path in root.iterdir()) == [".used-", NAME[:6]]


def test_bytes_of_links_count_in_the_entry_that_was_used_last(cache: Path) -> None:
    for name in ("t.csv", "u.csv"):
        fsspec.filesystem("memory").pipe_file(f"/b/{name}", bytes(10))
    find_paths("memory://b")
    assert [(entry.about, entry.size) for entry in list_entries(cache)][-1] == ("memory://b", 20)
    time.sleep(0.01)
    find_paths("memory://b/t.csv")
    assert [(entry.about, entry.size) for entry in list_entries(cache)][-2:] == [
        ("memory://b", 10),
        ("memory://b/t.csv", 10),
    ]


def test_of_two_that_fetch_a_file_one_waits_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("memory").pipe_file("/b/t.csv", b"x\n1\n")
    original, fetched = MemoryFileSystem.get_file, list[str]()
    has_begun, may_end = threading.Event(), threading.Event()

    def get_slowly(self: Any, path: str, *rest: Any, **more: Any) -> None:
        fetched.append(path)
        has_begun.set()
        assert may_end.wait(10)
        original(self, path, *rest, **more)

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_slowly)
    copies: list[Path] = []
    first = threading.Thread(target=lambda: copies.extend(find_paths("memory://b/t.csv")))
    first.start()
    assert has_begun.wait(10)

    @contextmanager
    def show(name: str, size: int) -> Iterator[Any]:
        assert name == "waiting for another process, which fetches memory://b/t.csv"
        may_end.set()
        yield lambda done: None

    token = remote.show_fetching.set(show)
    try:
        copies.extend(find_paths("memory://b/t.csv"))
    finally:
        remote.show_fetching.reset(token)
        first.join()
    assert copies[0] == copies[1]
    assert fetched == ["/b/t.csv"]


def test_a_folder_without_permission_or_space_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("memory").pipe_file("/b/t.csv", b"x\n1\n")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MemoryFileSystem, "get_file", fail)
    with pytest.raises(
        DataError, match=r"memory://b/t.csv can't be saved in .*/cache/remote: No space left on device. Free"
    ):
        find_paths("memory://b/t.csv")
    cache.rename(cache.with_name("other"))
    cache.write_text("no folder")
    with pytest.raises(
        DataError, match=r"can't be saved in .*/cache/remote: (Not a directory|File exists). Free some space"
    ):
        find_paths("memory://b/t.csv")
