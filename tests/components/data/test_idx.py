"""Images and labels from IDX files: where they are looked up, what they become, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from components.data import Idx, write_idx
from components.types import DataError

TRAIN, TEST = ("images", "labels"), ("test-images", "test-labels")


def write(folder: Path, names: tuple[str, str], rows: int, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images = np.arange(rows * 6, dtype=np.uint8).reshape(rows, 2, 3)
    for name, array in zip(names, (images, np.arange(rows, dtype=np.uint8) % 2), strict=True):
        write_idx(folder / f"{name}{suffix}", array)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_parts_are_read_with_a_channel_and_named_columns(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, TRAIN, 5, suffix)
    write(tmp_path, TEST, 3, suffix)
    source = Idx(path=str(tmp_path), train=TRAIN, test=TEST, valid=2, seed=None)
    assert source.sizes() == {"train": 5, "test": 3}
    (block,) = source.blocks("train")
    assert block.columns["image"].shape == (5, 2, 3, 1)
    assert block.columns["image"].dtype == np.uint8
    assert block.columns["label"].tolist() == [0, 1, 0, 1, 0]
    assert {name: rows.tolist() for name, rows in source.splits().items()} == {
        "train": [0, 1, 2],
        "valid": [3, 4],
        "test": [5, 6, 7],
    }


def test_a_number_for_the_test_set_holds_rows_out_of_the_only_part(tmp_path: Path) -> None:
    write(tmp_path, TRAIN, 10)
    source = Idx(path=str(tmp_path), train=TRAIN, test=0.3, valid=2, stratify="label")
    assert source.sizes() == {"all": 10}
    splits = source.splits()
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 5, "valid": 2, "test": 3}
    assert sorted(splits["valid"] % 2) == [0, 1]


def test_a_relative_path_is_found_below_the_data_folder_before_the_working_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    source = Idx(path="set", train=TRAIN, test=1, valid=1)
    write(tmp_path / "here" / "set", TRAIN, 4)
    monkeypatch.delenv("TITRATE_DATA", raising=False)
    assert source.sizes() == {"all": 4}
    write(tmp_path / "there" / "set", TRAIN, 7, ".gz")
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path / "there"))
    assert source.sizes() == {"all": 7}


def test_an_absolute_path_and_one_from_home_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "set", TRAIN, 4)
    monkeypatch.setenv("TITRATE_DATA", "/elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (str(tmp_path / "set"), "~/set"):
        assert Idx(path=path, train=TRAIN, test=1, valid=1).sizes() == {"all": 4}


def test_a_missing_file_names_both_places_and_the_two_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TITRATE_DATA", "/elsewhere")
    expected = (
        "there is no file /elsewhere/set/images or /elsewhere/set/images.gz or "
        f"{tmp_path}/set/images or {tmp_path}/set/images.gz; "
        "set TITRATE_DATA to the folder that holds set/images, or correct data.path"
    )
    with pytest.raises(DataError) as caught:
        Idx(path="set", train=TRAIN, test=1, valid=1).fingerprint()
    assert str(caught.value) == expected


def test_images_and_labels_of_different_length_are_refused(tmp_path: Path) -> None:
    write(tmp_path, TRAIN, 5)
    write_idx(tmp_path / "labels", np.zeros(4, np.uint8))
    with pytest.raises(DataError, match=r"images, \(5, 2, 3\), and .*labels, \(4,\), disagree"):
        list(Idx(path=str(tmp_path), train=TRAIN, test=1, valid=1).blocks("all"))


def test_the_fingerprint_follows_the_content_and_the_split_but_not_the_place(tmp_path: Path) -> None:
    def fingerprint(folder: str, valid: int = 1) -> str:
        return Idx(path=str(tmp_path / folder), train=TRAIN, test=1, valid=valid).fingerprint()

    for folder, rows in (("one", 4), ("two", 4), ("three", 5)):
        write(tmp_path / folder, TRAIN, rows)
    assert fingerprint("one") == fingerprint("two")
    assert fingerprint("one") != fingerprint("three")
    assert fingerprint("one") != fingerprint("one", valid=2)


def test_rows_of_a_later_block_know_their_number(tmp_path: Path) -> None:
    write(tmp_path, TRAIN, 40_000)
    blocks = list(Idx(path=str(tmp_path), train=TRAIN, test=1, valid=1).blocks("all"))
    assert sum(len(block.columns["label"]) for block in blocks) == 40_000
    assert blocks[1].where(3) == f"row {blocks[1].first + 3} of {tmp_path}"
    assert blocks[1].columns["label"][3] == (blocks[1].first + 3) % 2


@pytest.mark.skipif("TITRATE_DATA" not in os.environ, reason="TITRATE_DATA names no folder of real data")
def test_fashion_mnist_as_it_is_published() -> None:
    train = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    test = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    source = Idx(path="fashion_mnist", train=train, test=test, valid=5000, seed=None)
    assert source.sizes() == {"train": 60_000, "test": 10_000}
    labels = np.concatenate([block.columns["label"] for block in source.blocks("train")])
    assert np.bincount(labels).tolist() == [6000] * 10
    first = next(source.blocks("test"))
    assert first.columns["image"].shape[1:] == (28, 28, 1)
    assert source.splits()["valid"].tolist() == list(range(55_000, 60_000))
