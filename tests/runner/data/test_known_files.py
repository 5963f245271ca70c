"""Files that change without a new size or time of modification: noticed, in folders, tables and large archives."""

import errno
import io
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from components.data import ImageFolders, ImageTable, NumpyFiles
from components.feature import Image, Label, Numeric
from components.types import DataError, Source
from runner.data import encoded_cache
from runner.data.cache_entries import entries_folder, list_entries
from runner.data.load import Data, Features, load_encoded

ROWS = 12
TIME = 10**18  # of modification, of all files
NAMES = [f"images/{'abc'[row % 3]}/{row}.bmp" for row in range(ROWS)]


def make_image(number: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((2, 3, 3), number, np.uint8)).save(file, "BMP")
    return file.getvalue()


def write(path: str, content: bytes) -> None:
    """Writes a file with a given time of modification."""
    Path(path).write_bytes(content)
    os.utime(path, ns=(TIME, TIME))


def pack(changed: int | None = None) -> None:
    with tarfile.open("images.tar", "w") as archive:
        for row, name in enumerate(NAMES):
            info, content = tarfile.TarInfo(name), make_image(99 if row == changed else row)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    os.utime("images.tar", ns=(TIME, TIME))


@pytest.fixture(autouse=True)
def files(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for row, name in enumerate(NAMES):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write(name, make_image(row))
    lines = [f"{name},{'abc'[row % 3]}" for row, name in enumerate(NAMES)]
    lines[3] = lines[3].replace("/", "\\")  # as Windows writes it
    Path("table.csv").write_text("\n".join(["image,label", *lines]))
    pack()
    monkeypatch.setattr("components.data.files.MAX_HASHED_BYTES", 0)  # so that the archive is a large one


SOURCES: dict[str, Callable[[], Source]] = {
    "folder": lambda: ImageFolders(path="images", valid=2, test=2),
    "table": lambda: ImageTable(path="table.csv", valid=2, test=2),
    "tar": lambda: ImageFolders(path="images.tar", valid=2, test=2),
}


def load(source: Source, size: tuple[int, int] | None = None, cache: str | None = "cache") -> Data:
    columns = {"image": Image(key="image", size=size)}
    features = Features({"target": Label(key="label")}, columns, {"image": ("image",)})
    return load_encoded(source, features, identity=f"{size}", cache=None if cache is None else Path(cache))


def swap(first: str, second: str) -> None:
    os.rename(first, "other")
    os.rename(second, first)
    os.rename("other", second)


def pixels(data: Data) -> bytes:
    return np.asarray(data.encoded["image"]["values"]).tobytes()


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("size", [None, (4, 4)], ids=["the same run", "another size"])
def test_a_file_with_other_bytes_than_in_an_earlier_run_is_an_error(kind: str, size: tuple[int, int] | None) -> None:
    first = load(SOURCES[kind]())
    pack(changed=5)
    swap(NAMES[3], NAMES[5])
    with pytest.raises(DataError, match=r"[/\\][35]\.bmp in .* has other bytes than when it was read before") as error:
        load(SOURCES[kind](), size)
    place = re.search(r"`touch (/[^`]*[^*`])`", str(error.value))
    assert place is not None
    assert Path(place[1]).exists()
    for place in ("images.tar", NAMES[3], NAMES[5]):
        os.utime(place)
    again = load(SOURCES[kind](), size)
    assert again.fingerprint != first.fingerprint
    assert pixels(again) == pixels(load(SOURCES[kind](), size, cache=None))
    assert size is not None or pixels(again) != pixels(first)


@pytest.mark.parametrize("has_new_time", [False, True])
@pytest.mark.parametrize("kind", SOURCES)
def test_a_file_that_changes_while_a_run_reads_it_is_an_error(kind: str, has_new_time: bool) -> None:
    source = SOURCES[kind]()
    assert [len(block.columns["image"].offsets) for block in source.blocks("all")] == [ROWS + 1]  # type: ignore
    pack(changed=5)
    write(NAMES[5], make_image(99))
    if has_new_time:
        os.utime("images.tar" if kind == "tar" else NAMES[5])
    reason = "because it was changed while the files were read. Start again$" if has_new_time else "`touch"
    with pytest.raises(DataError, match=rf"5\.bmp in .* has other bytes .*{reason}"):
        load(source, cache=None)


def test_a_changed_file_is_not_skipped_as_a_bad_one() -> None:
    load(SOURCES["folder"]())
    write(NAMES[5], make_image(99))
    with pytest.raises(DataError, match="has other bytes"):
        load(ImageFolders(path="images", valid=2, test=2, on_bad_row="skip"))


def test_a_copy_and_changed_attributes_are_the_same_data() -> None:
    first = load(SOURCES["folder"]())
    os.chmod(NAMES[5], 0o600)
    shutil.copytree("images", "copy")
    for source in (SOURCES["folder"](), ImageFolders(path="copy", valid=2, test=2)):
        data = load(source)
        assert (data.fingerprint, pixels(data)) == (first.fingerprint, pixels(first))


def test_files_that_later_runs_read_are_added_and_stay_known_when_others_change() -> None:
    def count() -> int:
        return sum("checksums of the files" in entry.about for entry in list_entries(entries_folder(Path("cache"))))

    load(ImageFolders(path="images", valid=2, test=2, classes=("a", "b")))
    load(SOURCES["folder"]())
    write("images/a/more.bmp", make_image(50))
    load(ImageFolders(path="images", valid=2, test=2, classes=("a", "b")))
    load(ImageTable(path="table.csv", valid=2, test=2, root=str(Path.cwd())))
    assert count() == 2
    swap(NAMES[3], NAMES[5])
    os.utime(NAMES[3])
    with pytest.raises(DataError, match=r"c/5\.bmp in .* has other bytes"):
        load(SOURCES["folder"]())


def test_checksums_that_can_not_be_saved_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(folder: Path, pieces: Any, about: str) -> None:
        if "checksums" in about:
            raise OSError(errno.EROFS, "Read-only file system")
        save_tree(folder, pieces, about)

    save_tree = encoded_cache.save_tree
    monkeypatch.setattr(encoded_cache, "save_tree", save)
    *_, warning = load(SOURCES["folder"]()).warnings
    place = entries_folder(Path("cache"))
    assert warning.startswith(
        f"checksums of the files could not be saved in {place}: Read-only file system. Later runs "
    )
    assert "in memory" not in warning


def test_the_tables_of_the_splits_may_have_files_in_one_folder() -> None:
    lines = Path("table.csv").read_text().splitlines()
    for name, rows in {"train": slice(1, 7), "valid": slice(7, 10), "test": slice(10, 13)}.items():
        Path(f"{name}.csv").write_text("\n".join([lines[0], *lines[rows]]))

    def load_tables() -> Data:
        return load(ImageTable(path="train.csv", valid="valid.csv", test="test.csv"))

    load_tables()
    for row in (3, 8, 11):
        write(NAMES[row], make_image(99))
        with pytest.raises(DataError, match=rf"[/\\]{row}\.bmp in .* has other bytes"):
            load_tables()
        write(NAMES[row], make_image(row))


def test_large_arrays_are_read_again_after_they_are_replaced() -> None:
    def load_arrays() -> np.ndarray:
        features = Features({"target": Numeric(key="y")}, {"x": Numeric(key="x")}, {"x": ("x",)})
        source = NumpyFiles(path="arrays", valid=2, test=2)
        return np.asarray(load_encoded(source, features, identity="", cache=Path("cache")).encoded["x"]["values"])

    Path("arrays").mkdir()
    for name, factor in (("x", 1.0), ("y", 2.0)):
        np.save(f"arrays/{name}.npy", np.arange(ROWS) * factor)
        os.utime(f"arrays/{name}.npy", ns=(TIME, TIME))
    first = load_arrays()
    swap("arrays/x.npy", "arrays/y.npy")
    np.testing.assert_array_equal(load_arrays(), 2 * first)
