"""Files of a run's folder are replaced atomically, and nothing is written through a link."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from components.types import UserError
from runner import files, log

OPENERS = [files.open_to_append, files.open_to_update]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that a link leads to; it must stay as it is."""
    path = tmp_path / "elsewhere" / "victim"
    path.parent.mkdir()
    path.write_text("mine")
    return path


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "folder"])
def test_a_link_or_special_file_is_not_opened_to_write(
    opener: Callable[[Path], BinaryIO], kind: str, victim: Path, tmp_path: Path
) -> None:
    path = tmp_path / "log.txt"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(victim if kind == "link" else victim.with_name("nothing"))
    with pytest.raises(UserError, match=r"log\.txt is a link or not a regular file, .*Remove it"):
        opener(path)
    assert victim.read_text() == "mine"
    assert list(victim.parent.iterdir()) == [victim]


@pytest.mark.parametrize("opener", OPENERS)
def test_a_file_is_made_and_then_added_to(opener: Callable[[Path], BinaryIO], tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        with opener(tmp_path / "log.txt") as file:
            file.seek(0, os.SEEK_END)
            file.write(text)
    assert (tmp_path / "log.txt").read_bytes() == b"onetwo"


@pytest.mark.parametrize("opener", OPENERS)
def test_a_file_that_can_not_be_opened_is_named(opener: Callable[[Path], BinaryIO], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        opener(tmp_path / "nowhere" / "log.txt")
    assert Path(caught.value.filename) == tmp_path / "nowhere" / "log.txt"


def test_a_file_is_replaced_whole_and_so_is_a_link(victim: Path, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.symlink_to(victim)
    path.with_suffix(".tmp").symlink_to(victim)
    files.write_atomically(path, "new")
    assert (path.is_symlink(), path.read_text(), victim.read_text()) == (False, "new", "mine")
    with pytest.raises(TypeError), files.replace_atomically(path) as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert path.read_text() == "new"
    assert {one.name for one in tmp_path.iterdir()} == {"elsewhere", "summary.json"}


def test_a_log_is_written_through_no_link(victim: Path, tmp_path: Path) -> None:
    (tmp_path / "log.txt").symlink_to(victim)
    with log.buffer_log() as memory:
        log.LOG.info("a line")
        with pytest.raises(UserError, match=r"log\.txt is a link"):
            log.open_log_file(memory, tmp_path / "log.txt")
        log.open_log_file(memory, tmp_path / "other.txt")
        log.LOG.info("grün")
    assert victim.read_text() == "mine"
    assert [line.split()[-1] for line in (tmp_path / "other.txt").read_text("utf-8").splitlines()] == ["line", "grün"]
