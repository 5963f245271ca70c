"""Texts from a folder for each class: as folders and as archives, and what is refused."""

import gzip
import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data.text_folders import TextFolders
from components.types import DataError, MissingFileError

TEXTS = {
    "set/train/pos/2_9.txt": "Gut!\n",
    "set/train/neg/10_1.txt": "schlecht, übel",
    "set/train/neg/1_2.txt": "",
    "set/train/README.txt": "of no class",
    "set/train/neg/words.feat": "\xff of another kind",
    "set/test/pos/0_7.txt": "日本語",
    "set/test/neg/._0_3.txt": "hidden",
    "set/test/neg/0_3.txt": "no",
}


def folder(root: Path, texts: dict[str, str] = TEXTS) -> Path:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode("latin-1" if "\xff" in text else "utf-8"))
    return root


def archive(path: Path, texts: dict[str, str] = TEXTS, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            content = text.encode("latin-1" if "\xff" in text else "utf-8")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def rows(source: TextFolders, part: str) -> list[tuple[str, str]]:
    found = []
    for block in source.blocks(part):
        found += zip(block.columns["text"].tolist(), block.columns["label"].tolist(), strict=True)
    return found


@pytest.mark.parametrize("kind", ["folder", "w", "w:gz", "w:xz"])
def test_texts_are_read_in_the_order_of_their_paths(tmp_path: Path, kind: str) -> None:
    path = folder(tmp_path) if kind == "folder" else archive(tmp_path / "a.tar", mode=kind)
    source = TextFolders(path=str(path), valid=1)
    assert source.sizes() == {"train": 3, "test": 2}
    assert rows(source, "train") == [("schlecht, übel", "neg"), ("", "neg"), ("Gut!\n", "pos")]
    assert rows(source, "test") == [("no", "neg"), ("日本語", "pos")]
    assert next(source.blocks("train")).locate(1) == f"set/train/neg/1_2.txt of {path} (train)"


def test_only_the_classes_that_are_named_are_read(tmp_path: Path) -> None:
    texts = TEXTS | {"set/train/unsup/0_0.txt": "who knows"}
    path = str(archive(tmp_path / "a.tar", texts))
    assert TextFolders(path=path, valid=1).sizes() == {"train": 4, "test": 2}
    assert TextFolders(path=path, valid=1, classes=("pos", "neg")).sizes() == {"train": 3, "test": 2}


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    folder(tmp_path / "there", {"a/1.txt": "1", "a/2.txt": "2", "b/3.txt": "3"})
    (tmp_path / "here").mkdir()
    for part in ("train", "test"):
        (tmp_path / "here" / part).symlink_to(tmp_path / "there")
    (tmp_path / "there" / "b" / "again").symlink_to(tmp_path / "here")
    (tmp_path / "there" / "b" / "itself").symlink_to("itself")
    source = TextFolders(path=str(tmp_path / "here"), valid=1)
    assert rows(source, "train") == rows(source, "test") == [("1", "a"), ("2", "a"), ("3", "b")]


def test_of_a_path_that_an_archive_has_twice_the_last_counts(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {**TEXTS, "./set/train/pos/2_9.txt": "Besser!"})
    assert rows(TextFolders(path=str(path), valid=1), "train")[2:] == [("Besser!", "pos")]


def test_a_number_for_the_test_set_holds_rows_out_of_the_only_part(tmp_path: Path) -> None:
    source = TextFolders(path=str(folder(tmp_path)), valid=1, test=1, train="train", seed=None)
    assert source.sizes() == {"all": 3}
    assert {name: part.tolist() for name, part in source.splits().items()} == {"train": [0], "valid": [1], "test": [2]}


def test_validation_may_be_held_out_of_the_test_set_in_equal_shares_of_the_classes(tmp_path: Path) -> None:
    texts = {f"{part}/{name}/{n}.txt": f"{n}" for part in ("train", "test") for name in "ab" for n in range(10)}
    source = TextFolders(path=str(folder(tmp_path, texts)), valid=12, valid_from="test", stratify="label")
    splits = source.splits()
    assert splits["train"].tolist() == list(range(20))
    assert sorted([*splits["valid"], *splits["test"]]) == list(range(20, 40))
    assert np.bincount(splits["valid"] >= 30).tolist() == [6, 6]
    folds = [source.folds(4, fold) for fold in range(4)]
    assert all(one["test"].tolist() == splits["test"].tolist() for one in folds)
    assert sorted(np.concatenate([one["valid"] for one in folds])) == sorted([*splits["train"], *splits["valid"]])
    assert all(np.bincount((one["valid"] // 10) % 2).tolist() == [4, 4] for one in folds)


def test_a_long_text_is_a_block_of_its_own(tmp_path: Path) -> None:
    texts = {f"{part}/{name}/{n}.txt": "x" * 3_000_000 for part in ("train", "test") for name in "ab" for n in (1, 2)}
    source = TextFolders(path=str(archive(tmp_path / "a.tar", texts | {"train/b/3.txt": "y" * 9_000_000})), valid=1)
    blocks = list(source.blocks("train"))
    assert [len(block.columns["text"].data) for block in blocks] == [3_000_000] * 4 + [9_000_000]
    assert [block.first_row for block in blocks] == [0, 1, 2, 3, 4]
    assert blocks[4].columns["label"].tolist() == ["b"]


def test_the_fingerprint_follows_the_content_and_the_split_but_not_the_place(tmp_path: Path) -> None:
    for kind in (folder, archive):
        one, two, three = (tmp_path / f"{kind.__name__}{n}" for n in range(3))
        for path, texts in ((one, TEXTS), (two, TEXTS), (three, TEXTS | {"set/test/neg/0_3.txt": "ja"})):
            kind(path, texts)
        sources = [TextFolders(path=str(path), valid=1) for path in (one, two, three)]
        assert sources[0].fingerprint() != sources[2].fingerprint()
        assert sources[0].fingerprint() != TextFolders(path=str(one), valid=1, valid_from="test").fingerprint()
        if kind is folder:  # an archive is its bytes, with the time at which it was packed
            assert sources[0].fingerprint() == sources[1].fingerprint()


def test_a_missing_path_names_both_places_and_the_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TITRATE_DATA", "/elsewhere")
    with pytest.raises(DataError) as caught:
        TextFolders(path="imdb/a.tar.gz", valid=1).fingerprint()
    assert str(caught.value) == (
        f"there is no /elsewhere/imdb/a.tar.gz or {tmp_path}/imdb/a.tar.gz; "
        "TITRATE_DATA is /elsewhere, which is no folder; correct it, or the path"
    )


def test_of_several_paths_the_first_that_exists_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TITRATE_DATA", raising=False)
    source = TextFolders(path=("a.tar", "b.tar"), valid=1)
    with pytest.raises(MissingFileError, match=rf"there is no {tmp_path}/a.tar or {tmp_path}/b.tar") as caught:
        source.fingerprint()
    assert caught.value.paths == ("a.tar", "b.tar")
    archive(tmp_path / "b.tar", TEXTS)
    assert source.fingerprint() == TextFolders(path="b.tar", valid=1).fingerprint()
    assert source.origin("test") == f"{tmp_path}/b.tar (test)"
    archive(tmp_path / "a.tar", TEXTS | {"set/test/neg/0_3.txt": "ja"})
    assert TextFolders(path=("a.tar", "b.tar"), valid=1).fingerprint() != source.fingerprint()
    with pytest.raises(DataError, match="`path` must name a folder or a tar archive, got an empty list"):
        TextFolders(path=(), valid=1).fingerprint()


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ({"test": None}, {}, r"has no files test/CLASS/NAME.txt; set `test` \(=test\) to the name of the folder"),
        ({}, {"classes": ("neg", "posi")}, "has no text of class posi in train. Allowed: neg"),
        ({}, {"suffix": ".text"}, r"has no files train/CLASS/NAME.text; set `train` \(=train\)"),
        (
            {"set/train/neg/3.txt": "a\xff"},
            {},
            "set/train/neg/3.txt in .* isn't UTF-8: byte 0xff at offset 1; convert it",
        ),
    ],
)
def test_missing_files_and_invalid_texts_are_errors(tmp_path: Path, texts: dict, options: dict, message: str) -> None:
    given = {name: text for name, text in TEXTS.items() if "test" not in texts or "/test/" not in name}
    given |= {name: text for name, text in texts.items() if text is not None}
    with pytest.raises(DataError, match=message):
        TextFolders(path=str(archive(tmp_path / "a.tar", given)), valid=1, **options).sizes()


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    (folder(tmp_path) / "set/train/so_so").mkdir()
    with pytest.raises(DataError, match=r"has no text of class so_so in train\. Allowed: neg, pos"):
        TextFolders(path=str(tmp_path), valid=1).sizes()


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_a_damaged_archive_raises_an_error_with_its_place(tmp_path: Path, damage: str) -> None:
    path = archive(tmp_path / "a.tar.gz", TEXTS | {"set/train/pos/3.txt": os.urandom(40_000).hex()})
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-6] ^= 1  # in the checksum
    path.write_bytes({"cut": content[:-2000], "flipped": content, "other": b"label,text\n" * 100}[damage])
    message = r"is damaged gzip at or before byte [\d,]+, after [\d,]+"
    if damage == "other":
        message = "is a file, but no tar or zip archive: .* at byte 0 .* Choose a folder or such an archive"
    with pytest.raises(DataError, match=rf"a\.tar\.gz {message}"):
        TextFolders(path=str(path), valid=1).sizes()


# ---------------------------------------------------------------------------------------------------- hostile archives

BLOCK = 512


def header(name: str, size: int = 0, kind: bytes = b"0", stated: bytes | None = None) -> bytes:
    """A header of ustar; `stated` is written as its size."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.size = size
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    if stated is not None:
        block[124:136] = stated
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def text(name: str, content: bytes = b"text") -> bytes:
    return header(name, len(content)) + content + bytes(-len(content) % BLOCK)


SOUND = text("train/a/1.txt") + text("train/b/2.txt") + text("test/a/1.txt") + text("test/b/1.txt")
END = bytes(2 * BLOCK)
HUGE = b"\x80" + (2**62).to_bytes(11, "big")  # a size


def sizes(path: Path, content: bytes, **options: Any) -> Any:
    path.write_bytes(content)
    return dict(TextFolders(path=str(path), valid=1, **options).sizes())


def test_the_archive_that_the_others_are_made_of_is_sound(tmp_path: Path) -> None:
    assert sizes(tmp_path / "a.tar", SOUND + END) == {"train": 2, "test": 2}


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_non_ascii_names_are_read_from_every_kind_of_archive(tmp_path: Path, kind: int) -> None:
    deep = "/".join(["Verzeichnis"] * (9 if kind == tarfile.USTAR_FORMAT else 30))
    names = sorted(f"{deep}/{part}/{label}/1.txt" for part in ("train", "test") for label in ("日本", "ä"))
    with tarfile.open(tmp_path / "a.tar", "w", format=kind) as file:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name.encode())
            file.addfile(member, io.BytesIO(name.encode()))
    source = TextFolders(path=str(tmp_path / "a.tar"), valid=1)
    found = [row for part in ("test", "train") for row in rows(source, part)]
    assert found == [(name, name.split("/")[-2]) for name in names]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SOUND.replace(b"train/b/2", b"train/b/3") + END, r"at byte 1024 there is no tar header, or a damaged header"),
        (
            SOUND[: 2 * BLOCK] + bytes(BLOCK) + SOUND[3 * BLOCK :] + END,
            r"after the end of the archive, at byte 1536, there is more data",
        ),
        (SOUND + END + SOUND + END, r"after the end of the archive, at byte .*, there is more data"),
        (SOUND, r"the archive ends 512 bytes too early, at byte 4096"),
        (SOUND[:-300], r"the archive ends \d+ bytes too early"),
        (
            SOUND + header("train/a/9.txt", stated=HUGE),
            "more than 2 GB|archive ends 512 bytes too early",
        ),
        (SOUND + header("skipped", stated=HUGE) + END, r"the archive ends 512 bytes too early"),
        (SOUND + header("train/a/9.txt", 0, stated=b"\xff" * 12) + END, r"instead of a number"),
        (SOUND + header("train/a/9.txt", 0, stated=b"-0000000001\0") + END, r"instead of a number"),
        (SOUND + header("././@LongLink", 2**30, b"L") + END, r"has an extension of 1073741824 bytes"),
        (SOUND + header("pax", 12, b"x") + b"2 2 2 2 2 2 " + bytes(500) + END, r"has a damaged extension"),
        (SOUND + header("pax", 13, b"x") + b"13 size=-512\n" + bytes(499) + SOUND + END, "instead of a number"),
        (
            SOUND + header("pax", 12, b"x") + b"12 size=512\n" + bytes(500) + END,
            "no header follows the extended header",
        ),
        (
            SOUND + header("train/a/9.txt", 0, b"1") + END,
            r"train/a/9.txt in .* is a hard link, not a regular file; pack the file itself",
        ),
        (
            SOUND + header("train/a/9.txt", 0, b"2") + END,
            r"train/a/9.txt in .* is a symbolic link, not a regular file; pack the file itself",
        ),
        (SOUND + header("train/a/9.txt", 0, b"6") + END, r"train/a/9.txt in .* is a FIFO"),
        (SOUND + header("train/a/9.txt", 0, b"3") + END, r"train/a/9.txt in .* is a character device"),
        (SOUND + header("train/a/9.txt", 0, b"S", HUGE) + END, "is a sparse file"),
        (SOUND + header("train/a/9.txt", 0, b"M") + END, r"is an entry of type b'M'"),
    ],
)
def test_a_damaged_or_malicious_archive_raises_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    for packed in (content, gzip.compress(content)):
        with pytest.raises(DataError, match=message) as caught:
            sizes(tmp_path / "a.tar", packed)
        assert "a.tar" in str(caught.value)


def test_a_sparse_file_of_pax_is_known_by_its_own_name(tmp_path: Path) -> None:
    records = b"22 GNU.sparse.major=1\n36 GNU.sparse.name=train/a/9.txt\n"
    records = b"".join(
        b"%d %s\n" % (len(one) + 4, one) for one in (b"GNU.sparse.major=1", b"GNU.sparse.name=train/a/9.txt")
    )
    content = header("pax", len(records), b"x") + records + bytes(-len(records) % BLOCK) + text("GNUSparseFile.0/9.txt")
    with pytest.raises(
        DataError, match=r"train/a/9.txt in .* is a sparse file, not a regular file; pack the file itself"
    ):
        sizes(tmp_path / "a.tar", SOUND + content + END)


def test_files_that_are_not_wanted_may_be_anything(tmp_path: Path) -> None:
    others = (
        header("train/a/link", 0, b"2") + header("fifo", 0, b"6") + text("README.txt") + header("train/c.txt", 0, b"1")
    )
    assert sizes(tmp_path / "a.tar", others + SOUND + END) == {"train": 2, "test": 2}


def test_a_name_that_is_no_utf8_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contains a file name that isn't UTF-8, b'train/\\xff/1.txt'; rename it"):
        sizes(tmp_path / "a.tar", text("train/\udcff/1.txt") + SOUND + END)
    folder(tmp_path / "set", {"train/a/1.txt": "a", "test/a/1.txt": "b"})
    os.rename(tmp_path / "set/train/a", os.fsencode(tmp_path / "set/train") + b"/\xff")
    with pytest.raises(DataError, match=r"isn't UTF-8, b'train/\\xff"):
        TextFolders(path=str(tmp_path / "set"), valid=1).sizes()


def test_folders_may_be_as_deep_as_the_system_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):  # deeper than Python calls functions
        os.mkdir("d")
        os.chdir("d")
    folder(Path(), {"train/a/1.txt": "a", "test/a/1.txt": "b"})
    deepest = os.open(".", os.O_RDONLY)
    monkeypatch.chdir(tmp_path)
    try:
        assert TextFolders(path="d", valid=1).sizes() == {"train": 1, "test": 1}
    finally:  # from the bottom up: Python 3.11 can't remove so deep a tree
        os.fchdir(deepest)
        os.close(deepest)
        for name in ("train", "test"):
            shutil.rmtree(name)
        for _ in range(1200):
            os.chdir("..")
            os.rmdir("d")
        monkeypatch.chdir(tmp_path)


@pytest.mark.skipif("TITRATE_DATA" not in os.environ, reason="TITRATE_DATA names no folder of real data")
def test_imdb_as_it_is_published() -> None:
    source = TextFolders(
        path=("imdb/aclImdb_v1.tar.gz", "imdb/aclImdb_labelled.tar.gz"),
        valid=15_000,
        valid_from="test",
        stratify="label",
        classes=("neg", "pos"),
    )
    assert source.sizes() == {"train": 25_000, "test": 25_000}
    blocks = [block for part in source.sizes() for block in source.blocks(part)]
    labels = np.array([label for block in blocks for label in block.columns["label"].tolist()])
    counts = {name: np.unique(labels[one], return_counts=True)[1].tolist() for name, one in source.splits().items()}
    assert counts == {"train": [12_500] * 2, "valid": [7_500] * 2, "test": [5_000] * 2}
    first = next(source.blocks("test")).columns["text"].tolist()[0]
    assert first.startswith("Once again Mr. Costner has dragged out a movie for far longer than necessary")
