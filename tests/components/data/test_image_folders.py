"""Images in folders and archives: what their paths mean, and what is wrong with them."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from components.data import ImageFolders
from components.data.tar import read_tar
from components.image_files import verify_image
from components.types import DataError, Strings


def make_image(number: int, format: str = "PNG") -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((2, 3, 3), number, np.uint8)).save(file, format)
    return file.getvalue()


FILES = {f"{label}/{number}.png": make_image(number) for label in ("cat", "dog") for number in range(4)}
PARTS = {f"{part}/{name}": content for part in ("train", "val", "test") for name, content in FILES.items()}


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


WRITERS: dict[str, Callable[[Path, Mapping[str, bytes]], Path]] = {
    "folder": write_folder,
    "tar": write_tar,
    "tar.gz": lambda path, files: write_tar(path, files, "w:gz"),
    "zip": write_zip,
}


def list_rows(source: ImageFolders, part: str) -> list[tuple[str, str, bytes]]:
    """Path, label and content of each row."""
    rows = []
    for block in source.blocks(part):
        image = block.columns["image"]
        assert isinstance(image, Strings)
        columns = [block.columns[name].tolist() for name in ("path", "label")]
        rows += zip(*columns, image.iterate_bytes(), strict=True)
    return rows


@pytest.mark.parametrize("kind", WRITERS)
def test_folders_and_archives_are_read_alike(kind: str, tmp_path: Path) -> None:
    hidden = {".git/x.png": b"", "cat/._1.png": b"", "__MACOSX/cat/1.png": b"", "dog/Thumbs.db": b""}
    source = ImageFolders(path=str(WRITERS[kind](tmp_path / "images", FILES | hidden)))
    assert source.sizes() == {"all": 8}
    assert list_rows(source, "all") == [(name, name.split("/")[0], content) for name, content in FILES.items()]
    splits = source.splits()
    assert sorted(np.concatenate([*splits.values()]).tolist()) == [*range(8)]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("rename", [str, str.title])
def test_folders_of_the_splits_are_parts_below_any_outer_folder(
    kind: str, rename: Callable[[str], str], tmp_path: Path
) -> None:
    parts = ("train", "val", "test")
    files = {f"set/{rename(part)}/{name}": PARTS[f"{part}/{name}"] for part in parts for name in FILES}
    source = ImageFolders(path=str(WRITERS[kind](tmp_path / "images", files)))
    assert source.sizes() == {"train": 8, "valid": 8, "test": 8}
    splits = {name: rows.tolist() for name, rows in source.splits().items()}
    assert splits == {"train": [*range(8)], "valid": [*range(8, 16)], "test": [*range(16, 24)]}
    (path, label, content) = list_rows(source, "valid")[5]
    assert (path, label, content) == (f"set/{rename('val')}/dog/1.png", "dog", FILES["dog/1.png"])


def test_images_may_be_deeper_and_without_labels(tmp_path: Path) -> None:
    source = ImageFolders(path=str(write_folder(tmp_path, {"cat/a/b/1.png": b"1", "dog/2.png": b"2"})))
    assert [row[:2] for row in list_rows(source, "all")] == [("cat/a/b/1.png", "cat"), ("dog/2.png", "dog")]
    assert list_columns(ImageFolders(path=str(tmp_path), labels=None)) == ["path", "label", "image"]
    write_folder(tmp_path, {"1.png": b"1"})
    for labels in (False, None):
        source = ImageFolders(path=str(tmp_path), labels=labels, stratify=None)
        assert list_columns(source) == ["path", "image"]
        assert source.sizes() == {"all": 3}


@pytest.mark.parametrize(
    ("files", "options", "sizes"),
    [
        (("training_set/cat/1.png", "training_set/dog/1.png", "test_set/cat/1.png"), {}, {"train": 2, "test": 1}),
        (("test/1.png", "other/1.png"), {}, {"all": 2}),
        (("cat/front/1.png", "cat/back/1.png", "dog/front/1.png"), {}, {"all": 3}),
        (("test/a/1.png", "other/b/1.png"), {"classes": ("other", "test")}, {"all": 2}),
        (("test/a/1.png",), {"labels": None}, {"all": 1}),
    ],
)
def test_folders_named_or_built_like_splits(
    files: tuple[str, ...], options: dict[str, Any], sizes: dict[str, int], tmp_path: Path
) -> None:
    assert ImageFolders(path=str(write_folder(tmp_path, dict.fromkeys(files, b"1"))), **options).sizes() == sizes


def list_columns(source: ImageFolders) -> list[str]:
    (block,) = source.blocks("all")
    return [*block.columns]


def test_other_files_are_left_out_by_a_suffix(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat/1.PNG": b"1", "cat/readme.txt": b"2", "dog/2.jpg": b"3", "dog/1.png": b"4"})
    source = ImageFolders(path=str(tmp_path), suffix=".png")
    assert [row[0] for row in list_rows(source, "all")] == ["cat/1.PNG", "dog/1.png"]
    source = ImageFolders(path=str(tmp_path), suffix=(".png", ".jpg"))
    assert source.sizes() == {"all": 3}


def test_the_fingerprint_changes_with_a_file(tmp_path: Path) -> None:
    prints = set()
    for kind, write in WRITERS.items():
        for content in (b"1", b"22"):
            path = write(tmp_path / f"{kind}{content!r}", FILES | {"dog/4.png": content})
            prints.add(ImageFolders(path=str(path)).fingerprint())
            assert ImageFolders(path=str(path)).fingerprint() in prints
            prints.add(ImageFolders(path=str(path), valid=0.5).fingerprint())
    assert len(prints) == 4 * len(WRITERS)


def test_blocks_are_small(tmp_path: Path) -> None:
    files = {f"cat/{number:03}.png": bytes(10) for number in range(150)} | {"dog/1.png": bytes(5 << 20)}
    source = ImageFolders(path=str(write_folder(tmp_path, files)))
    sizes = [block.columns["path"].rows for block in source.blocks("all")]  # type: ignore[union-attr]
    assert sizes == [64, 64, 22, 1]
    assert [row[0] for row in list_rows(source, "all")] == [*files]
    *_, block = source.blocks("all")
    assert block.locate(0) == f"dog/1.png of {tmp_path}"


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"cat/1.png": b"", "cat/notes.txt": b""}, {}, "cat/notes.txt in .* is no image file; remove it, or set `suf"),
        ({"cat/1.png": b"", "a.md": b"", "b.md": b""}, {}, "a.md in .* is no image file, and 1 other file is none"),
        ({"cat/1.txt": b""}, {"suffix": ".jpg"}, r"has no file whose name ends in \.jpg"),
        ({"cat/1.png": b""}, {"suffix": ()}, "`suffix` is empty; set `suffix=null` to read images"),
        ({".hidden": b""}, {}, r"has no file whose name ends in \.jpg, \.jpeg"),
        (
            {"1.png": b"", "cat/2.png": b""},
            {},
            "1.png in .* is in no class folder.* set `labels=false` and choose",
        ),
        (
            {"train/cat/1.png": b"", "train/1.png": b""},
            {},
            "train/1.png in .* is in no class folder: there is a folder for each class in train, such",
        ),
        ({"train/cat/1.png": b"", "tset/cat/1.png": b""}, {}, "tset/cat/1.png in .* is in none of the folders train"),
        (
            {"Train/old/1.png": b"", "bus/1.png": b""},
            {},
            "bus/1.png in .* is in none .* If Train is a class, and no split, rename its folder, .* to Train_class",
        ),
        (
            {"trian/cat/1.png": b"", "test/cat/1.png": b""},
            {},
            "the folder test in .* holds the test split by its name, and no folder is named train",
        ),
        (
            {f"{year}/{label}/1.png": b"" for year in (1, 2) for label in ("cat", "dog")},
            {},
            "the folder 1 in .* has the same folders as 2, cat, dog, as splits have.* list them in `classes`",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_stray_file_is_named(
    kind: str, files: dict[str, bytes], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = ImageFolders(path=str(WRITERS[kind](tmp_path / "images", files)), **options)
    with pytest.raises(DataError, match=message):
        source.sizes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.csv",
            b"path,label\n",
            r"no folder or archive of images; if it is a table .*, choose data=image_table, and set `p",
        ),
        ("x.npz", b"PK\x03\x04", r"no folder or archive of images; if its arrays .*, choose data=npz, and set `path="),
        ("x.npy", b"\x93NUMPY", r"no folder or archive of images; if its arrays .*, choose data=npz, and set `path="),
        ("x.tar", make_image(1), r"x\.tar is one image\. Set `path` to the folder of the images, such as /.*"),
    ],
)
def test_a_file_of_another_source_is_an_error_that_names_it(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        ImageFolders(path=str(tmp_path / name)).sizes()
    write_folder(tmp_path / "images", {"cat/1.png": b"", name: content})
    if not name.endswith("tar"):
        with pytest.raises(
            DataError, match=rf"{name} in .*skip.*; if i.* choose data=.*, and set `path=/.*/images/{name}`"
        ):
            ImageFolders(path=str(tmp_path / "images")).sizes()


def test_a_tar_archive_may_start_with_the_first_bytes_of_an_image(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x", {"BMW/1.png": b"1", "audi/1.png": b"2"})
    assert path.read_bytes().startswith(b"BM")
    assert ImageFolders(path=str(path)).sizes() == {"all": 2}


@pytest.mark.parametrize(
    ("part", "folder", "labels"), [("", "owl", True), ("train/", "train/owl", True), ("train/", "test", False)]
)
def test_a_class_or_part_without_images_is_named(part: str, folder: str, labels: bool, tmp_path: Path) -> None:
    write_folder(tmp_path, {f"{part}{name}": content for name, content in FILES.items()})
    (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match=f"the folder {folder} in .* has no images. Add some, or remove it"):
        ImageFolders(path=str(tmp_path), labels=labels).sizes()


@pytest.mark.parametrize("name", ["../cat/1.png", "cat/../../1.png", "/cat/1.png", "..\\cat\\1.png"])
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_an_entry_outside_of_its_archive_is_an_error(kind: str, name: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / "images", {**FILES, name: b"1"})
    with pytest.raises(DataError, match=r"has an entry '.*', which lies outside of the archive; pack it again"):
        ImageFolders(path=str(path)).sizes()


def test_a_zip_entry_that_is_no_file_is_an_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("dog/9.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "1.png")
    with pytest.raises(DataError, match=r"dog/9.png in .* is no regular file \(its type is 0o120000\)"):
        ImageFolders(path=str(path)).sizes()
    content = bytearray(write_zip(tmp_path / "a.zip", FILES).read_bytes())
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        content[content.index(start) + (6 if start[2] == 3 else 8)] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cat/0.png in .* is encrypted; unpack the archive"):
        ImageFolders(path=str(path)).sizes()


def test_the_folders_and_names_of_a_zip_may_have_backslashes(tmp_path: Path) -> None:
    files = {"cat\\": b"", "cat\\1.png": b"1", "dog\\": b"", "dog\\old\\": b"", "dog\\old\\2.png": b"2"}
    source = ImageFolders(path=str(write_zip(tmp_path / "images", files)))
    assert list_rows(source, "all") == [("cat/1.png", "cat", b"1"), ("dog/old/2.png", "dog", b"2")]
    with pytest.raises(DataError, match=r"the folder owl in .* has no images"):
        ImageFolders(path=str(write_zip(tmp_path / "empty", {**files, "owl\\": b""}))).sizes()


def test_a_zip_entry_may_not_be_larger_than_it_says(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", FILES | {"dog/9.png": bytes(1 << 20)})
    content = bytearray(path.read_bytes())
    size = (1 << 20).to_bytes(4, "little")
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(DataError, match=r"is damaged zip at dog/9.png|dog/9.png had 1,000 bytes"):
        list_rows(ImageFolders(path=str(path)), "all")


def test_a_file_in_a_zip_has_a_maximum_size(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.png", b"\0" * 2_000_000)
    with pytest.raises(DataError, match=r"a.zip unpacks to more than 0.001 GB; .* increase `max_unpacked_gb`"):
        ImageFolders(path=str(path), max_unpacked_gb=0.001).sizes()


def test_listing_a_tar_skips_the_contents(tmp_path: Path) -> None:
    class Counting(io.BytesIO):
        bytes_read = 0

        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            self.bytes_read += len(content)
            return content

    path = write_tar(tmp_path / "a.tar", {f"cat/{number}.png": bytes(100_000) for number in range(20)})
    file = Counting(path.read_bytes())
    assert len([*read_tar(file, lambda *entry: False)]) == 20
    assert file.bytes_read < 40_000


def test_a_name_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    folder = os.fsencode(write_folder(tmp_path, FILES))
    with open(folder + b"/cat/caf\xe9.png", "wb") as file:
        file.write(FILES["cat/1.png"])
    with pytest.raises(DataError, match=r"contains a file name that isn't UTF-8, b'cat/caf\\xe9.png'; rename it"):
        ImageFolders(path=str(tmp_path)).sizes()


def test_an_archive_that_disappears_is_an_error(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", FILES)
    source = ImageFolders(path=str(path))
    assert source.sizes() == {"all": 8}
    path.unlink()
    with pytest.raises(DataError, match=r"a\.tar can't be read: No such file"):
        list_rows(source, "all")


def test_a_file_that_changes_or_disappears_is_an_error(tmp_path: Path) -> None:
    source = ImageFolders(path=str(write_folder(tmp_path, FILES)))
    assert source.sizes() == {"all": 8}
    (tmp_path / "cat" / "1.png").write_bytes(b"1")
    with pytest.raises(DataError, match=r"cat/1.png had \d+ bytes, and has 1: another program writes it"):
        list_rows(source, "all")
    (tmp_path / "cat" / "1.png").unlink()
    with pytest.raises(DataError, match=r"cat/1.png can't be read: No such file"):
        list_rows(source, "all")


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_a_changed_archive_is_read_or_an_error(kind: str, tmp_path: Path) -> None:
    """Never another exception. In a zip archive, a changed content is always an error."""
    path, choices = WRITERS[kind](tmp_path / "images", FILES), random.Random(kind)
    content = path.read_bytes()
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(choices.choice([1, 1, 4])):
            changed[choices.randrange(len(changed))] ^= 1 << choices.randrange(8)
        path.write_bytes(changed[: choices.choice([len(changed), len(changed), choices.randrange(len(changed))])])
        try:
            source = ImageFolders(path=str(path))
            rows = [row for part in source.sizes() for row in list_rows(source, part)]
        except DataError:
            rows = []
        if kind != "tar":
            assert {found for _, _, found in rows} <= {*FILES.values()}
        with contextlib.suppress(DataError):
            source = ImageFolders(path=str(path), on_bad_row="skip")
            rows = [row for part in source.sizes() for row in list_rows(source, part)]
            if kind != "tar":  # the contents of a plain tar archive have no checksum, but those of PNG files have
                assert {found for _, _, found in rows} <= {*FILES.values()}
            for _, _, found in rows:
                verify_image(found)


def test_a_part_without_rows_of_the_chosen_classes_is_an_error(tmp_path: Path) -> None:
    files = {name: content for name, content in PARTS.items() if not name.startswith("test/dog")}
    source = ImageFolders(path=str(write_folder(tmp_path, files)), classes=("dog",))
    with pytest.raises(DataError, match="the part test of the data has no rows"):
        source.splits()


def test_rows_of_other_classes_are_not_read(tmp_path: Path) -> None:
    source = ImageFolders(path=str(write_folder(tmp_path, FILES)), classes=("dog",))
    (tmp_path / "cat" / "1.png").unlink()
    assert {label for _, label, _ in list_rows(source, "all")} == {"dog"}
    profile = source.profile()
    assert (profile.columns[0].rows, profile.columns[0].distinct_count) == (4, 1)
    with pytest.raises(DataError, match=r"`classes` lists dogs, but .* has no folder of such a class. Did you mean"):
        ImageFolders(path=str(tmp_path), classes=("dogs",)).sizes()


@pytest.mark.parametrize(
    ("parts", "options", "sizes"),
    [
        (("train", "test"), {}, {"train": 7, "valid": 1, "test": 8}),
        (("train", "val"), {}, {"train": 7, "valid": 8, "test": 1}),
        (("train", "test"), {"valid": 0.5, "valid_from": "test"}, {"train": 8, "valid": 4, "test": 4}),
        (("train", "test"), {"per_class": 2, "stratify": "label", "valid": 2}, {"train": 4, "valid": 2, "test": 8}),
        (("train", "val", "test"), {"stratify": "label"}, {"train": 8, "valid": 8, "test": 8}),
    ],
)
def test_a_split_without_a_folder_is_a_share(
    parts: tuple[str, ...], options: dict[str, Any], sizes: dict[str, int], tmp_path: Path
) -> None:
    files = {name: content for name, content in PARTS.items() if name.startswith(parts)}
    source = ImageFolders(path=str(write_folder(tmp_path, files)), **options)
    assert {name: len(rows) for name, rows in source.splits().items()} == sizes


def test_a_row_is_located_without_reading_it(tmp_path: Path) -> None:
    source = ImageFolders(path=str(write_folder(tmp_path, PARTS)))
    assert source.sizes() == {"train": 8, "valid": 8, "test": 8}
    shutil.rmtree(tmp_path / "val")
    assert source.locate_row(8 + 5) == f"val/dog/1.png of {tmp_path} (valid)"
