"""What a configuration names is a regular file: nothing else is opened, waited for, or read without end."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data import Csv, Idx, TextFolders, read_idx
from components.feature import Embedding, Vocabulary
from components.input_files import find_path, open_file
from components.pretrained import Safetensors
from components.types import Constants, DataError


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """A reader that waits is interrupted."""

    def interrupt(*_: Any) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # a longer path than a socket can have


def nowhere(path: Path) -> None:
    path.symlink_to("nothing")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


KINDS = {
    fifo: "a FIFO",
    link_to_fifo: "a FIFO",
    endless: "a character device",
    bound_socket: "a socket",
    nowhere: "a broken link",
    circle: "a broken link",
}


def idx(path: Path) -> None:
    path.rename(path.with_name("images"))
    Idx(path=str(path.parent), train=("images", "images"), test=1, valid=1).fingerprint()


def text_in_folder(path: Path) -> None:
    for part in ("train", "test"):
        (path.parent / part / "a").mkdir(parents=True)
        (path.parent / part / "a" / "1.txt").write_text("whole")
    path.rename(path.parent / "train" / "a" / "2.txt")
    TextFolders(path=str(path.parent), valid=1).sizes()


READERS: dict[str, Callable[[Path], Any]] = {
    "csv": lambda path: Csv(path=str(path)).fingerprint(),
    "archive": lambda path: TextFolders(path=str(path), valid=1).sizes(),
    "weights": lambda path: Safetensors(path=str(path)).fingerprint(),
    "vocabulary": lambda path: Vocabulary(key="x", path=str(path)).fingerprint(),
    "vectors": lambda path: Embedding(key="x", dimension=2, vectors=str(path)).fingerprint(),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("reader", READERS)
def test_other_files_than_regular_files_raise_an_error_with_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, kind: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    kind(tmp_path / "given")
    with pytest.raises(DataError, match=rf"given is {KINDS[kind]}; a regular file( or a folder)? is needed"):
        READERS[reader](tmp_path / "given")
    with (
        pytest.raises(DataError, match=rf"given is {KINDS[kind]}; a regular file is needed"),
        open_file(Path("given")),
    ):
        pass


@pytest.mark.parametrize("reader", [idx, text_in_folder], ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("kind", [fifo, endless], ids=lambda kind: kind.__name__)
def test_other_files_than_regular_files_in_a_folder_raise_an_error(
    tmp_path: Path, reader: Callable[[Path], None], kind: Callable[[Path], None]
) -> None:
    kind(tmp_path / "given")
    with pytest.raises(DataError, match=rf"(images|2\.txt) is {KINDS[kind]}; .* regular file"):
        reader(tmp_path / "given")


def test_a_folder_raises_an_error_if_a_file_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path} is a folder; a regular file is needed"):
        find_path(str(tmp_path), file=True)
    assert find_path(str(tmp_path)) == tmp_path
    with pytest.raises(DataError, match="is a folder; a regular file is needed"):
        read_idx(tmp_path)


def test_a_link_to_a_regular_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("a\nb\n")
    (tmp_path / "link").symlink_to("words")
    column = Vocabulary(key="x", path=str(tmp_path / "link"))
    assert column.fit({}, {}).static == {"buckets": 2}
    assert column.fingerprint() == Vocabulary(key="x", path=str(tmp_path / "words")).fingerprint()


def test_the_first_folder_with_a_regular_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    fifo(tmp_path / "data" / "words")
    (tmp_path / "words").write_text("a\n")
    assert find_path("words", file=True) == tmp_path / "words"


@pytest.mark.parametrize(
    ("path", "files", "has_variable", "hint"),
    [
        ("a.csv", ["data/one/a.csv", "data/two/b.csv"], True, "did you mean one/a.csv?"),
        ("a.csv", ["one/a.csv"], False, "did you mean one/a.csv?"),
        ("one/a.csv", ["data/sub/one/a.csv"], True, "did you mean sub/one/a.csv?"),
        ("a.csv", ["data/one/a.csv", "data/two/a.csv"], True, "it is neither below TITRATE_DATA nor below the working"),
        ("a.csv", ["data/.one/a.csv"], True, "it is neither below TITRATE_DATA nor below the working folder; correct"),
        ("../a.csv", ["data/one/b.csv", "data/a.csv"], True, "it is neither below TITRATE_DATA nor below the working"),
        ("a.csv", [], False, "set TITRATE_DATA to the folder that holds a.csv, or correct the path"),
        ("/no_such_folder/a.csv", [], False, "there is no file /no_such_folder/a.csv; correct the path"),
        ("/no_such_folder/a.csv", [], True, "there is no file /no_such_folder/a.csv; correct the path"),
    ],
)
def test_a_missing_file_gets_the_right_remedy(
    path: str, files: list[str], has_variable: bool, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TITRATE_DATA", raising=False)
    (tmp_path / "here" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for file in files:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    if has_variable:
        monkeypatch.setenv("TITRATE_DATA", str(tmp_path / "here" / "data"))
    with pytest.raises(DataError) as caught:
        find_path(path, file=True)
    assert hint in str(caught.value)


@pytest.mark.parametrize("path", ["x" * 300, "a\0b", "~nobody_is_called_so/x", "\ud800", ""])
def test_an_impossible_path_is_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"there is no file|is a folder"):
        Csv(path=path).fingerprint()


def test_a_name_in_another_normal_form_of_unicode_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "e\u0301.csv").touch()
    with pytest.raises(DataError, match=r"there is no .*It differs from e\u0301\.csv only in the normal form"):
        find_path(str(tmp_path / "\u00e9.csv"))


def test_a_file_that_is_replaced_by_a_fifo_raises_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.zeros((3, 2)))
    column = Embedding(key="h", dimension=2, vectors=str(tmp_path / "vectors.npy"))
    parents = {"h": Constants(static={"buckets": 3})}
    column.fit({}, parents)
    with pytest.MonkeyPatch.context() as patched:  # as if it had been regular when it was looked up
        os.unlink(tmp_path / "vectors.npy")
        fifo(tmp_path / "vectors.npy")
        patched.setattr("components.feature.text.word_vectors.find_file", Path)
        with pytest.raises(DataError, match=r"vectors\.npy is a FIFO; a regular file is needed"):
            column.fit({}, parents)


def test_a_file_that_does_not_fit_into_memory_raises_an_error(tmp_path: Path) -> None:
    (tmp_path / "huge").write_text("")
    with pytest.raises(DataError, match="huge doesn't fit into the free memory"), open_file(tmp_path / "huge"):
        raise MemoryError
