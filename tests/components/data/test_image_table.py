"""A table of paths of images: its columns, its files in folders and archives, its errors, and masks as targets."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from components.data import ImageTable
from components.feature import Image, Label, Mask
from components.feature.mask import MaskStatistic
from components.types import Block, DataError, ImageProfile, Strings, UserError

ROWS = 12
NFC, NFD = "\u00e9", "e\u0301"  # the same letter in two normal forms of Unicode
OTHER_FORM = f"no such file in .* It differs from z{NFD}/a{NFD}.png only in the normal form of Unicode"


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PICTURES = [png(np.full((4, 6 if number % 2 else 5, 3), number, np.uint8)) for number in range(ROWS)]
PATHS = [f"img/{number}.png" for number in range(ROWS)]


def write_table(name: str = "t.csv", paths: list[str] = PATHS, **columns: list[Any]) -> None:
    columns = {"file": paths, "kind": [["cat", "dog"][number % 2] for number in range(len(paths))], **columns}
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    Path(name).write_text("\n".join(lines) + "\n")


@pytest.fixture(autouse=True)
def folder(in_empty_folder: Path) -> Path:
    Path("img").mkdir()
    for path, content in zip(PATHS, PICTURES, strict=True):
        Path(path).write_bytes(content)
    write_table()
    return in_empty_folder


def read(source: ImageTable, part: str = "all", column: str = "file") -> list[bytes]:
    values = [block.columns[column] for block in source.blocks(part)]
    assert all(isinstance(texts, Strings) for texts in values)
    return [data for texts in values for data in texts.iterate_bytes()]  # type: ignore[union-attr]


def only_block(source: ImageTable) -> Block:
    (block,) = source.blocks("all")
    return block


def pack(name: str, prefix: str = "", more: Sequence[str] = ()) -> None:
    if name.endswith(".zip"):
        with zipfile.ZipFile(name, "w") as zipped:
            for path in (*PATHS, *more):
                zipped.write(path, prefix + path)
        return
    with tarfile.open(name, "w:gz" if name.endswith("gz") else "w") as tar:
        for path in (*PATHS, *more):
            tar.add(path, prefix + path)


# ------------------------------------------------------------------------------------------------------- what is read


def test_paths_become_files_and_other_columns_stay() -> None:
    source = ImageTable(path="t.csv", target="kind")
    block = only_block(source)
    assert read(source) == PICTURES
    assert block.files == {"file"}
    assert block.columns["file.path"].tolist() == PATHS  # type: ignore[union-attr]
    assert block.columns["kind"].tolist() == ["cat", "dog"] * 6  # type: ignore[union-attr]
    assert block.locate(3) == "t.csv, line 5 (img/3.png)" == source.locate_row(3)
    assert {name: len(rows) for name, rows in source.splits().items()} == {"train": 8, "valid": 2, "test": 2}
    profile = source.profile()
    assert [column.name for column in profile.columns] == ["kind"]
    assert profile.images == (ImageProfile("file", {(4, 5, 3): 6, (4, 6, 3): 6}),)
    assert source.inferred_options({"kind": None, "file": None})["images"] == ["file"]


@pytest.mark.parametrize("root", ["a.zip", "a.tar", "a.tar.gz", "outer.zip", "moved"])
def test_files_are_read_from_the_root(root: str) -> None:
    pack(root, "outer/" if root == "outer.zip" else "") if "." in root else Path("moved").mkdir()
    Path("img").rename("moved/img" if root == "moved" else "elsewhere")
    source = ImageTable(path="t.csv", root=root)
    assert read(source) == PICTURES
    assert only_block(source).locate(0) == "t.csv, line 2 (img/0.png)"


def test_a_path_may_be_absolute_outside_repeated_or_have_backslashes(folder: Path) -> None:
    Path("tables").mkdir()
    paths = [str(folder / "img" / "0.png"), r"..\img\1.png", "../img/./2.png", "../img/1.png"]
    write_table("tables/t.csv", paths)
    source = ImageTable(path="tables/t.csv")
    assert read(source) == [PICTURES[0], PICTURES[1], PICTURES[2], PICTURES[1]]


def test_numbers_with_a_suffix_are_paths() -> None:
    write_table("img/t.csv", [f"{number}.png" for number in range(ROWS)])
    source = ImageTable(path="img/t.csv")
    assert read(source) == PICTURES
    assert source.table.readings == {}


def test_several_columns_of_images_and_paths_without_a_suffix() -> None:
    for number in range(2):
        Path(f"00{number}").write_bytes(PICTURES[number])
    write_table(paths=PATHS[:2], left=["000", "001"])
    source = ImageTable(path="t.csv", images=("left", "file"))
    assert read(source, column="left") == PICTURES[:2] == read(source)
    assert only_block(source).locate(1) == "t.csv, line 3 (001, img/1.png)"
    assert ImageTable(path="t.csv").profile().images[0].name == "file", "a column of numbers is none of images"


def test_given_tables_have_a_folder_of_their_own(folder: Path) -> None:
    Path("held").mkdir()
    Path("img").rename("held/img")
    write_table("held/test.csv", PATHS[:3])
    Path("img").mkdir()
    for number in range(4):
        Path(PATHS[number]).write_bytes(PICTURES[-1 - number])
    write_table(paths=PATHS[:4])
    source = ImageTable(path="t.csv", test="held/test.csv")
    assert read(source, "train") == PICTURES[:-5:-1]
    assert read(source, "test") == PICTURES[:3]
    Path("held/img").rename("held/other")
    with pytest.raises(DataError, match=r"held/test\.csv, line 2: column `file` is 'img/0\.png'"):
        ImageTable(path="t.csv", test="held/test.csv").fingerprint()


def test_blocks_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.data.files.BLOCK_FILES", 5)
    source = ImageTable(path="t.csv")
    assert [(block.first_row, block.columns["kind"].rows) for block in source.blocks("all")] == [  # type: ignore[union-attr]
        *((0, 5), (5, 5), (10, 2))
    ]
    assert [block.locate(0) for block in source.blocks("all")][1] == "t.csv, line 7 (img/5.png)"


@pytest.mark.parametrize("root", [None, "a.zip"])
def test_the_fingerprint_changes_with_table_and_files(root: str | None) -> None:
    if root is not None:
        pack(root)
    found = [ImageTable(path="t.csv", root=root).fingerprint()]
    assert ImageTable(path="t.csv", root=root).fingerprint() == found[0]
    Path(PATHS[2]).write_bytes(PICTURES[3] + b" ")
    if root is not None:
        with zipfile.ZipFile(root, "a") as zipped:
            zipped.writestr("more", b"")
    found.append(ImageTable(path="t.csv", root=root).fingerprint())
    write_table(paths=PATHS[:-1])
    found.append(ImageTable(path="t.csv", root=root).fingerprint())
    found.append(ImageTable(path="t.csv", root=root, images=()).fingerprint())
    assert len({*found}) == len(found)


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "paths", "message"),
    [
        ({}, ["img/1.png", "img/10.pmg"], r"no column whose texts are all paths .* In column file, 1 of 2 do, but 'im"),
        ({"images": "fil"}, PATHS, r"t\.csv has no column `fil`, which `images` lists\. Did you mean file\?"),
        ({"images": "file", "types": {"file": "int"}}, PATHS, r"`file` has paths of images .*, but `types` \(=int\)"),
        (
            {},
            [*PATHS[:3], "img/3.pgn.png", "img/x.png"],
            r"t\.csv, line 5: column `file` is 'img/3\.pgn\.png', and there is no such file in /.*\. Did you mean "
            r"img/3\.png\? 1 more of the paths have no file\.",
        ),
        ({}, ["0.png", "1.png"], r"line 2: .*, and none of the 2 paths in t\.csv is a file in .* `root` .*/img\?"),
        ({}, [*PATHS[:3], "img/0.png/a.png"], r"line 5: column `file` is 'img/0\.png/a\.png', and there is no such"),
        ({}, [*PATHS[:3], f"{'a' * 400}.png"], "line 5: column `file` is 'aaaaa.*there is no such file"),
        ({}, [*PATHS[:3], "folder.png"], r"line 5: .*folder\.png', and it is a folder, /.*/folder\.png\. Cor"),
        ({}, [*PATHS[:3], "img/3.PNG"], r"line 5: .* no such file in .*\. Did you mean img/3\.png"),
        (
            {},
            [*PATHS[:3], f"z{NFC}/a{NFC}.png"],
            f"line 5: .* {OTHER_FORM}: it is in NFC .* other in NFD",
        ),
        (
            {},
            [f"z{NFC}/a{NFC}.png"] * 2,
            f"line 2: .* {OTHER_FORM}: .*Write paths as",
        ),
        (
            {},
            [f"z{NFC}/a{NFD}.png"],
            f"{OTHER_FORM}: it is mixed, the other in NFD",
        ),
        ({"root": "a.zip"}, [f"z{NFC}/a{NFC}.png"], f"line 2: .* {OTHER_FORM}"),
        ({"root": "b.tar"}, [f"z{NFC}/a{NFC}.png"], f"line 2: .* {OTHER_FORM}"),
        ({}, [*PATHS[:3], f"z{NFC}/link.png"], r"no such file in /[^.]*\. It differs .*/link.png only"),
        ({}, [*PATHS[:3], f"z{NFD}/link.png"], r"no such file in [^.]*\. Did you mean"),
        ({}, [*PATHS[:3], "IMG/3.PNG"], r"line 5: .* no such file in .*\. Did you mean img/3\.png\?"),
        ({}, ["Img/3.png"], r"line 2: .* no such file in .*\. Did you mean img/3\.png\?"),
        ({"root": "a.zip"}, ["Img/3.png"], r"line 2: .* no such file in .*\. Did you mean img/3\.png\?"),
        ({}, ["https://a.b/3.png"], r"line 2: .* no such file in .*\. It is read as it is: URLs"),
        ({"images": "file"}, [*PATHS[:3], "../"], r"line 5: .* and it is a folder, /[^.]*\. Cor"),
        ({}, [*PATHS[:3], "~/3.png"], r"line 5: .* no such file in .*\. It is read as it is: URLs aren't downloaded"),
        ({}, [*PATHS[:3], "https://a.b/3.png"], r"line 5: .* no such file in .*\. It is read as it is: URLs"),
        ({}, [*PATHS[:3], " img/3.png"], r"line 5: .* no such file in .*\. It starts or ends with a space"),
        ({"root": "a.zip"}, [*PATHS[:3], "../img/1.png"], r"line 5: .* and it lies outside of the archive, .*a\.zip"),
        ({"root": "a.zip"}, ["/img/1.png"], r"line 2: .* and it lies outside of the archive"),
        (
            {"root": "a.zip"},
            [*PATHS[:3], "img/11.pn.png"],
            r"line 5: .* no such file in .*a\.zip\. Did you mean img/11",
        ),
        (
            {"root": "a.zip"},
            ["x.png"],
            r"none of the 1 paths .* is a file in .*a\.zip\. Set `root`.* Its files are img/0",
        ),
        ({"root": "ing"}, PATHS, r"there is no .*ing; did you mean img\?"),
    ],
)
def test_paths_without_a_file_are_errors(options: dict[str, Any], paths: list[str], message: str) -> None:
    Path("folder.png").mkdir()
    Path(f"z{NFD}").mkdir()
    Path(f"z{NFD}", f"a{NFD}.png").write_bytes(PICTURES[0])
    Path(f"z{NFD}", "link.png").symlink_to("missing")
    pack("a.zip", more=[f"z{NFD}/a{NFD}.png"])
    pack("b.tar", prefix="outer/", more=[f"z{NFD}/a{NFD}.png"])
    write_table(paths=paths)
    with pytest.raises(DataError, match=message):
        ImageTable(path="t.csv", **options).fingerprint()


def test_a_column_with_the_name_of_the_paths_of_another_is_an_error() -> None:
    write_table(**{"file.path": list(range(ROWS))})
    with pytest.raises(
        DataError, match=r"t\.csv has the columns file and file\.path, which is .* Rename one of them, or drop it"
    ):
        ImageTable(path="t.csv").fingerprint()
    assert ImageTable(path="t.csv", drop=("file.path",)).sizes() == {"all": ROWS}


def test_an_empty_path_is_a_missing_image_and_may_be_left_out() -> None:
    write_table(paths=[PATHS[0], "", PATHS[1]])
    source = ImageTable(path="t.csv", target="kind")
    block = only_block(source)
    assert block.valid["file"].tolist() == [True, False, True]
    with pytest.raises(
        DataError,
        match=r"t\.csv, line 3: column `file` has no value; add the image, or remove the row; to leave out rows "
        "without an image, set `images=file` of the data and `on_missing_image=drop` of the data$",
    ):
        Image(key="file").statistics()["shapes"].summarize(block)
    assert sum(source.profile().images[0].shapes.values()) == 2
    assert source.profile().images[0].missing_count == 1
    write_table("test.csv", ["", PATHS[2]])
    source = ImageTable(path="t.csv", test="test.csv", images="file", on_missing_image="drop")
    assert (read(source, "train"), read(source, "test")) == (PICTURES[:2], [PICTURES[2]])
    assert source.left_out() == (
        "1 of 3 rows of t.csv has no value of file and is left out",
        "1 of 2 rows of test.csv has no value of file and is left out",
    )
    assert [block.locate(1) for block in source.blocks("train")] == ["t.csv, line 4 (img/1.png)"]
    with pytest.raises(DataError, match=r"`on_missing_image` \(=drop\) needs `images`"):
        ImageTable(path="t.csv", on_missing_image="drop")


def test_a_file_that_is_no_image_is_named_with_its_line() -> None:
    Path(PATHS[2]).write_bytes(b"nothing")
    source = ImageTable(path="t.csv", target="kind")
    message = r"t\.csv, line 4 \(img/2\.png\)(: column `file`)? is no JPEG"
    with pytest.raises(DataError, match=message):
        source.profile()
    with pytest.raises(DataError, match=message):
        Image(key="file").statistics()["shapes"].summarize(only_block(source))


def test_a_file_that_changes_while_it_is_read_is_an_error() -> None:
    source = ImageTable(path="t.csv")
    source.fingerprint()
    Path(PATHS[2]).write_bytes(PICTURES[2] + b"more")
    with pytest.raises(DataError, match=r"img/2\.png had \d+ bytes, and has"):
        read(source)


# -------------------------------------------------------------------------------------------------------------- masks

NUMBERS = np.arange(24, dtype=np.uint8).reshape(4, 6) // 5


def save_mask(path: str, mode: str, numbers: np.ndarray = NUMBERS) -> None:
    image = PIL.Image.fromarray(numbers.astype({"I;16": np.uint16, "1": bool}.get(mode, np.uint8)))
    if mode == "P":
        image.putpalette([value for number in range(256) for value in (number, 255 - number, 7)])
    if mode == "RGB":
        image = image.convert("RGB")
    image.save(path)


def masks(**columns: list[Any]) -> Block:
    write_table(paths=PATHS[1 : 1 + len(columns["mask"])], **columns)
    return only_block(ImageTable(path="t.csv"))


def encode(column: Mask, block: Block, training: Block | None = None) -> np.ndarray:
    (name, statistic), *_ = column.statistics().items()
    result = statistic.result(statistic.summarize(block if training is None else training))
    column.validate_splits({"train": {name: result}})
    return column.encode(block, {}, column.fit({name: result}, {}))["ids"]


@pytest.mark.parametrize(
    ("name", "mode"),
    [("m.png", "P"), ("m.png", "L"), ("m.gif", "P"), ("m.bmp", "L"), ("m.tif", "L"), ("m.png", "I;16")],
)
def test_a_mask_has_palette_indices_or_grey_values(name: str, mode: str) -> None:
    save_mask(name, mode)
    ids = encode(Mask(key="mask"), masks(mask=[name]))
    np.testing.assert_array_equal(ids[0], NUMBERS)
    assert ids.dtype == np.int8


def test_a_mask_gives_the_classes_of_an_array() -> None:
    save_mask("m.png", "L", numbers := NUMBERS * 50)
    block = masks(mask=["m.png", "m.png"])
    found = encode(Mask(key="mask", ignore=200), block)
    array = Block({"mask": np.stack([numbers, numbers])})
    label = Label(key="mask", ignore=200)
    constants = label.fit({name: part.result(part.summarize(array)) for name, part in label.statistics().items()}, {})
    np.testing.assert_array_equal(found, label.encode(array, {}, constants)["ids"])


@pytest.mark.parametrize(
    ("resize", "ignore"), [("stretch", 9), ("crop", 9), ("fit", 9), ("fit", -1), ("fit", 300), ("stretch", 300)]
)
def test_a_resized_mask_has_the_nearest_pixels(resize: Any, ignore: int) -> None:
    save_mask("m.png", "P")
    save_mask("square.png", "P", np.array([[0, 3], [4, 0]]))
    block = masks(mask=["m.png", "square.png"])
    ids = encode(Mask(key="mask", size=(8, 8), resize=resize, ignore=ignore), block)
    classes = np.append(np.unique(NUMBERS), -1)
    assert {*np.unique(ids).tolist()} <= {*classes.tolist()}
    np.testing.assert_array_equal(ids[1], np.kron([[0, 3], [4, 0]], np.ones((4, 4))))
    assert (ids == -1).any() == (resize == "fit")
    if resize == "stretch":
        rows, columns = (np.arange(8) * 4) // 8, ((np.arange(8) + 0.5) * 6 / 8).astype(int)
        np.testing.assert_array_equal(ids[0], NUMBERS[rows][:, columns])


@pytest.mark.parametrize(
    ("options", "names", "message"),
    [
        ({}, ["rgb.png"], r"line 2 \(img/1\.png, rgb\.png\): column `mask` has pixels of mode RGB; a mask has palette"),
        ({}, ["m.jpg"], r"column `mask` is a JPEG file, whose pixels are not exact; a mask is a PNG file"),
        ({}, ["m.png", "small.png"], r"line 2 .* has 4 x 6 pixels .*, .*line 3 .* has 2 x 2 pixels .* set `size=\["),
        (
            {"image": "file"},
            ["m.png", "m.png"],
            r"line 3 .*`mask` is a mask of 4 x 6 pixels, and its image.* has 4 x 5",
        ),
        ({}, ["m.png", ""], r"line 3 .*`mask` has no value; add the mask, remove the row, or set `missing=mask`"),
        ({"max_megapixels": 1e-6}, ["m.png"], r"`mask` has 6 x 4 pixels; at most 1 are allowed"),
        ({}, ["img/1.png"], r"`mask` has pixels of mode RGB"),
    ],
)
def test_what_is_no_mask_is_an_error(options: dict[str, Any], names: list[str], message: str) -> None:
    for name, mode, numbers in (("m.png", "P", NUMBERS), ("m.jpg", "L", NUMBERS), ("small.png", "L", NUMBERS[:2, :2])):
        save_mask(name, mode, numbers)
    save_mask("rgb.png", "RGB")
    with pytest.raises(DataError, match=message):
        encode(Mask(key="mask", **options), masks(mask=names))


def test_masks_may_be_missing_and_new_ones_have_the_classes_and_the_size_of_training() -> None:
    save_mask("m.png", "L")
    save_mask("other.png", "L", NUMBERS + 1)
    save_mask("small.png", "L", NUMBERS[:2, :2])
    training = masks(mask=["m.png"])
    ids = encode(Mask(key="mask", missing="mask"), masks(mask=["m.png", ""]), training)
    np.testing.assert_array_equal(ids, [NUMBERS, np.full((4, 6), -1)])
    with pytest.raises(DataError, match=r"line 2 .*: column `mask` is 5; allowed classes: 0, 1, 2, 3, 4"):
        encode(Mask(key="mask"), masks(mask=["other.png"]), training)
    with pytest.raises(
        DataError, match=r"has 2 x 2 pixels .*, where the training split has 4 x 6 pixels .*, or set `size=\["
    ):
        encode(Mask(key="mask"), masks(mask=["small.png"]), training)
    with pytest.raises(DataError, match="has no files; for numbers in an array, the target is Label"):
        Mask(key="mask").read(Block({"mask": NUMBERS[None]}))
    with pytest.raises(UserError, match=r"resize: fit adds borders, which have no class; set `ignore`"):
        Mask(key="mask", resize="fit")
    with pytest.raises(UserError, match="`resize` is for images that are resized, and none are; set `size`"):
        Mask(key="mask", resize="crop")


def test_the_classes_of_masks_are_profiled_and_255_is_pointed_out() -> None:
    save_mask("m.png", "P", np.array([[0, 2], [255, 2]]))
    save_mask("n.png", "L", np.array([[1, 1], [1, 1]]))
    save_mask("rgb.png", "RGB")
    write_table(paths=PATHS[:2], mask=["m.png", "n.png"])
    found = {target: ImageTable(path="t.csv", target=target).profile().images for target in ("mask", "kind")}
    assert [(image.name, image.masks, image.classes) for image in found["mask"]] == [
        ("file", 0, ()),
        ("mask", 2, (0, 1, 2, 255)),
    ]
    assert [image.classes for image in found["kind"]] == [(), ()]
    statistic = MaskStatistic(Mask(key="mask"))
    results = {"train": {"masks": statistic.result(statistic.summarize(only_block(ImageTable(path="t.csv"))))}}
    [warning] = Mask(key="mask").validate_splits(results)
    assert warning.startswith("column `mask` has the class 255 beside 3 classes up to 2.")
    write_table(paths=PATHS[:2], mask=["m.png", "rgb.png"])
    assert ImageTable(path="t.csv", target="mask").profile().images[1].classes == (), "the fit says what is wrong"


def test_masks_from_python_are_files_or_arrays(folder: Path) -> None:
    save_mask("m.png", "P")
    column = Mask(key="mask")
    forms = [np.array(["m.png"], object), np.array([Path("m.png").read_bytes()], object), NUMBERS[None].astype(int)]
    for form in forms:
        values, note = column.convert_rows(form)
        np.testing.assert_array_equal(column.read(Block({"mask": values}))[0], NUMBERS)
        assert note == ""
    with pytest.raises(DataError, match="pixels from 0 to 256; in an array, they are numbers from 0 to 255"):
        column.convert_rows(np.array([[[0, 256]]]))
