"""Images from folders, from the one-line command to predictions of new images."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import PIL.Image
import pytest
from signal_handlers import returning_handlers

import runner
from components.data import Arrays, ImageFolders
from components.data.files import Files
from components.types import DataError, UserError
from runner.__main__ import main
from runner.config.compose import compose
from runner.data import order
from runner.data.batches import gather_rows
from runner.data.copied_columns import copy_columns
from runner.data.load import Features, load_encoded
from runner.display.progress import QuietProgress
from runner.execution.execute import Result
from runner.execution.run_data import load_data
from runner.figures.data import PAINT, class_colors
from runner.inference.image_output import MARKER
from runner.inference.trained_model import TrainedModel
from runner.run_folder import LOCK

pytestmark = pytest.mark.optax
CLASSES = ("cat", "dog", "owl")
SUFFIXES = ("png", "bmp", "tiff")  # exact
ROWS = 30
QUICK = ("tracking=none", "quiet=true", "training.epochs=2", "architecture=mlp", "architecture.widths=[4]")
STEP = ("feature=image", "feature.columns.image.size=[5,4]", "training.batch_size=4", *QUICK)
CROPS = "feature.columns.image.crop_area=[0.2,0.9]"


def write_images(folder: Path, sizes: tuple[tuple[int, int], ...], *, grey: bool = False) -> None:
    choices = np.random.default_rng(0)
    for number in range(ROWS):
        height, width = sizes[number % len(sizes)]
        shape = (height, width) if grey else (height, width, 3)
        pixels = choices.integers(0, 200, shape) + 50 * (number % 3 == 0)
        path = folder / CLASSES[number % 3] / f"{number}.{SUFFIXES[number % len(SUFFIXES)]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels.astype(np.uint8)).save(path)


def read(path: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of one size."""
    path = tmp_path_factory.mktemp("images")
    write_images(path, ((6, 8),))
    return path


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several sizes."""
    path = tmp_path_factory.mktemp("images")
    write_images(path, ((30, 50), (40, 40), (60, 33)))
    return path


@pytest.fixture(scope="module")
def result(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        words = ("data=images", f"data.path={mixed}", "training.batch_size=8", *QUICK)
        return runner.run(*words, "feature.columns.image.size=[5,4]")


@pytest.fixture(scope="module")
def model(result: Result) -> TrainedModel:
    return runner.load(result.folder.absolute())


@pytest.mark.usefixtures("in_empty_folder")
def test_the_same_images_from_arrays_give_the_same_bits(folder: Path) -> None:
    source = ImageFolders(path=str(folder))
    names = [name for block in source.blocks("all") for name in block.columns["path"].tolist()]  # type: ignore[union-attr]
    columns = {"image": np.stack([read(folder / name) for name in names])}
    columns["label"] = np.array([name.split("/")[0] for name in names])
    arrays = Arrays(columns=columns, valid=0.15, test=0.15)
    words = ("feature=image", "training.batch_size=8", *QUICK)
    from_files = runner.run(*words, "data=images", f"data.path={folder}")
    from_arrays = runner.run(*words, source=arrays)
    assert from_files.records == from_arrays.records
    names = [name for name in from_files.metrics if name.startswith(("test/", "best/"))]
    assert [from_files.metrics[name] for name in names] == [from_arrays.metrics[name] for name in names]
    assert "test/loss" in names


@pytest.mark.parametrize(
    ("sizes", "grey", "image", "choices"),
    [
        (((28, 28),), True, {}, ("resnet20", ["crop"])),
        (((32, 32),), False, {}, ("resnet20", ["crop", "flip"])),
        (((30, 50), (40, 40), (60, 33)), False, {"size": [32, 32], "resize": "crop"}, ("resnet20", ["crop", "flip"])),
        (((64, 64), (80, 80)), False, {"size": [64, 64]}, ("resnet20", ["crop", "flip"])),
        (((200, 300),), False, {"size": [96, 96], "resize": "crop"}, ("resnet20", ["crop", "flip"])),
        (((5, 5),), True, {}, ("resnet20", ["crop"])),
    ],
)
def test_size_network_and_augmentation_are_suggested(
    sizes: Any, grey: bool, image: dict[str, Any], choices: tuple[str, list[str]], tmp_path: Path
) -> None:
    write_images(tmp_path, sizes, grey=grey)
    config = compose(["data=images", f"data.path={tmp_path}"])
    assert (config.choices["architecture"], sorted(config.choices["augmentation"])) == choices
    assert config.values["feature"]["columns"]["image"] == {
        "_target_": "components.feature.Image",
        "key": "image",
        **image,
    }
    assert config.values["training"]["epochs"] == 40
    assert config.suggestion is not None
    assert config.suggestion.notes[0] == "30 images of 3 classes"


@pytest.mark.usefixtures("in_empty_folder")
def test_arrays_of_images_and_their_classes_are_suggested() -> None:
    images, labels = np.zeros((30, 28, 28), np.uint8), np.arange(30) % 3
    np.savez("a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    config = compose(["data=npz", "data.path=a.npz"])
    assert (config.choices["architecture"], sorted(config.choices["augmentation"])) == ("resnet20", ["crop"])
    assert config.values["feature"]["inputs"] == {"image": ["x"]}
    assert config.values["feature"]["target"] == {"_target_": "components.feature.Label", "key": "y"}
    assert config.values["data"]["stratify"] == "y"
    assert config.suggestion is not None
    assert config.suggestion.notes[0] == "60 images of 3 classes"
    assert "types" not in repr(config.suggestion)  # arrays have types of their own
    np.savez("a.npz", x=np.zeros((30, 4)), y=labels)
    with pytest.raises(UserError, match=r"nothing is inferred from a.npz, which has x float64 \(30, 4\), y int64"):
        compose(["data=npz", "data.path=a.npz"])


@pytest.mark.usefixtures("in_empty_folder")
def test_grey_and_colored_images_become_colors() -> None:
    write_images(Path("images"), ((6, 8),))
    PIL.Image.fromarray(np.zeros((6, 8), np.uint8)).save("images/cat/grey.png")
    assert compose(["data=images", "data.path=images"]).values["feature"]["columns"]["image"]["channels"] == 3
    with pytest.raises(
        DataError,
        match=r"cat/grey.png of images.* has 6 x 8 pixels and 1 channel.*, or set feature.columns.image.channels=3",
    ):
        runner.run("data=images", "data.path=images", "feature=image", *QUICK)
    assert len(runner.run("data=images", "data.path=images", "training.batch_size=8", *QUICK).records) == 2


def test_new_images_are_predicted_in_any_form(model: TrainedModel, mixed: Path) -> None:
    paths = [mixed / "cat" / "0.png", mixed / "dog" / "1.bmp"]
    images = [PIL.Image.open(path) for path in paths]
    forms: list[Any] = [
        [path.read_bytes() for path in paths],
        paths,
        [str(path) for path in paths],
        pandas.Series([str(path) for path in paths]),
        np.array([str(path) for path in paths]),
        images,
        [np.asarray(image) for image in images],
    ]
    first, *others = (model.predict({"image": form}).frame() for form in forms)
    for other in others:
        pandas.testing.assert_frame_equal(first, other)


def test_new_rows_are_encoded_and_predicted_in_pieces_with_the_same_bits(
    model: TrainedModel, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"image": [path.read_bytes() for path in sorted(mixed.rglob("*.*"))[:25]]}
    whole, expected = model.transform(rows)["image"]["values"], model.predict(rows).frame()
    monkeypatch.setattr("runner.data.python_rows.BLOCK_ROWS", 5)
    pieces = [piece["image"]["values"] for piece in model.transform.pieces(rows, 8)]
    assert [len(piece) for piece in pieces] == [8, 8, 8, 1]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    pandas.testing.assert_frame_equal(model.predict(rows).frame(), expected, check_exact=True)
    monkeypatch.setattr(model._predict_fn, "max_batch_size", 8)
    pandas.testing.assert_frame_equal(model.predict(rows).frame(), expected)


def test_images_of_pillow_of_any_mode_are_predicted_as_their_files(model: TrainedModel, mixed: Path) -> None:
    colors = PIL.Image.open(mixed / "cat" / "0.png")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    images = [colors.convert(mode) for mode in ("P", "CMYK", "RGBA")]
    files = list[bytes]()
    for image, options in ((images[0], {}), (images[1], {}), (images[2].rotate(45), {}), (colors, {"exif": exif})):
        image.save(file := io.BytesIO(), "TIFF" if image.mode == "CMYK" else "PNG", **options)
        files.append(file.getvalue())
    opened = [PIL.Image.open(io.BytesIO(each)) for each in files]
    objects = np.empty(len(opened), object)
    for row, each in enumerate(opened):
        objects[row] = each
    expected = model.predict({"image": files}).frame()
    for form in (opened, objects, pandas.Series(opened), [*files[:2], *opened[2:]]):
        pandas.testing.assert_frame_equal(model.predict({"image": form}).frame(), expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([PIL.Image.new("F", (3, 3))], "column `image`: the image of row 0 has pixels of floats"),
        (["nowhere.png"], r"nowhere\.png can't be read: No such file"),
        ([b"\x89PNG\r\n\x1a\n nothing more"], "row 0 of the new rows: column `image` is damaged"),
        ([np.zeros((3, 3)), np.zeros((2, 2))], r"row 0 is of the type ndarray float64 \(3, 3\); an image is the path"),
        ([[1, 2]], r"column `image` of the new rows has arrays of whole numbers of shape \(2,\) \(uint8\)"),
    ],
)
def test_what_is_no_image_can_t_be_predicted(model: TrainedModel, images: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        model.predict({"image": images})


def test_a_folder_without_classes_is_predicted_with_its_paths(
    result: Result, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat/0.png", "dog/1.bmp"):
        (tmp_path / "new" / Path(name).name).parent.mkdir(exist_ok=True)
        (tmp_path / "new" / Path(name).name).write_bytes((mixed / name).read_bytes())
    output = tmp_path / "predictions.csv"
    words = [f"run={result.folder.absolute()}", f"data.path={tmp_path / 'new'}"]
    assert main([*words, "mode=evaluate"]) == 2
    assert "0.png in " in (error := capsys.readouterr().err)
    assert "Move or remove it; to predict images without classes, use predict (mode=predict)." in error
    assert "data.labels" not in error
    assert main([*words, "mode=evaluate", "data.labels=false"]) == 2
    assert "an evaluation needs the target. Columns: image, path. To predict" in capsys.readouterr().err
    (tmp_path / "new" / "notes.txt").touch()
    assert main([*words, "mode=predict", f"output={output}"]) == 2
    assert "notes.txt in " in (error := capsys.readouterr().err)
    assert "data.on_bad_row" not in error, "rows to predict can't be skipped"
    (tmp_path / "new" / "notes.txt").rename(tmp_path / "new" / "2.png")
    assert main([*words, "mode=predict", f"output={output}"]) == 2
    assert "are fixed" not in capsys.readouterr().err, "the columns have nothing to do with a damaged file"
    (tmp_path / "new" / "2.png").unlink()
    assert main([*words, "mode=predict", f"output={output}"]) == 0
    rows = [*csv.DictReader(output.read_text().splitlines())]
    assert [*rows[0]][:3] == ["row", "path", "prediction"]
    assert [row["path"] for row in rows] == ["0.png", "1.bmp"]
    assert {row["prediction"] for row in rows} <= {*CLASSES}


@pytest.mark.usefixtures("in_empty_folder")
def test_new_images_of_other_names_and_folders_are_not_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (f"{label}/{number}" for label in ("cat", "dog", "owl") for number in range(8)):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.full((8, 8, 3), len(name), np.uint8)).save(tmp_path / "data" / f"{name}.png")
    words = ("data=images", "data.suffix=.png", "data.classes=[cat,dog]", "training.batch_size=4", *QUICK)
    run = runner.run(*words, f"data.path={tmp_path / 'data'}").folder.absolute()
    words = (
        f"run={run}",
        f"data.path={tmp_path / 'data'}",
        "mode=predict",
        f"output={tmp_path / 'out.csv'}",
        "output.overwrite=true",
    )
    for options, rows in (((), 24), (("data.classes=[cat,dog]",), 16)):
        assert main([*words, *options]) == 0
        assert f"{rows} predictions" in capsys.readouterr().out
    (tmp_path / "data" / "owl" / "0.png").rename(tmp_path / "data" / "owl" / "0.PNG.jpg")
    for words_of_mode in (words, (*words[:2], "mode=evaluate")):
        assert main([*words_of_mode]) == 2
        assert "data.suffix (=.png) would leave out 1 image files, such as owl/0.PNG.jpg" in capsys.readouterr().err
    for suffix, rows in (("null", 24), ("[.png]", 23)):
        assert main([*words, f"data.suffix={suffix}"]) == 0
        assert f"{rows} predictions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "rows"), [({}, 3 * ROWS), ({"per_class": 2}, 2 * 3 + 2 * ROWS), ({"classes": ("cat", "owl")}, 2 * ROWS)]
)
def test_images_of_the_splits_are_read_once_to_fit_and_once_to_encode(
    tmp_path: Path, options: dict[str, Any], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "valid", "test"):
        write_images(tmp_path / part, ((6, 8),))
    features = Features.from_config(compose(["data=images", f"data.path={tmp_path}"]).values["feature"])
    reads, read_file = list[int](), Files.read

    def read(files: Files, row: int) -> bytes:
        reads.append(row)
        return read_file(files, row)

    monkeypatch.setattr(Files, "read", read)
    source = ImageFolders(path=str(tmp_path), **options)
    data = load_encoded(source, features, identity="", cache=None)
    assert len(reads) == 2 * rows
    if not options:
        assert data.warnings[0].startswith(
            "30 of 30 rows of the valid split equal rows of the training split in all columns that are read: "
            f"valid/cat/0.png of {tmp_path} (valid) is train/cat/0.png of {tmp_path} (train)."
        )
    copied = copy_columns(source, ["path", "label"])
    assert (copied["label"][0], copied["path"][0], len(reads)) == ("cat", "train/cat/0.png", 2 * rows)


@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.slow
def test_images_in_no_split_are_counted_and_files_are_no_column_of_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("train", "test"):
        write_images(Path("images") / part, ((6, 8),))
    result = runner.run("data=images", "data.path=images", "data.per_class=3", *QUICK)
    assert "17 of 60 rows are in no split" in capsys.readouterr().err
    paths = copy_columns(ImageFolders(path="images"), ["path"])["path"]
    assert main([f"run={result.folder}", "mode=look"]) == 0
    table = capsys.readouterr().out.partition("  row  path ")[2].partition("\n\n")[0].splitlines()[1:]
    for row, path, target, *_ in map(str.split, table):
        assert (paths[int(row)], path.split("/")[1]) == (path, target)
    assert main([f"run={result.folder}", "mode=predict", "output=p.csv"]) == 0
    rows = [*csv.DictReader(Path("p.csv").read_text().splitlines())]
    assert [(row["path"], row["path"].split("/")[1]) for row in rows] == [
        (paths[int(row["row"])], row["target"]) for row in rows
    ]
    assert main([f"run={result.folder}", "mode=predict", "output=q.csv", "output.columns=[image]"]) == 2
    assert "output.columns: each value of `image` is a file, which a table can't hold" in capsys.readouterr().err


@pytest.mark.usefixtures("in_empty_folder")
def test_init_writes_an_experiment_that_runs(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mode=init", "data=images", f"data.path={mixed}"]) == 0
    name = capsys.readouterr().out.split("experiment=")[-1].strip()
    assert compose([f"experiment={name}"]).values["feature"]["columns"]["image"]["size"] == [32, 32]


@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize("words", [(), ("feature=image", "feature.columns.image.size=[4,4]")])
def test_a_damaged_image_is_named(words: tuple[str, ...]) -> None:
    write_images(Path("images"), ((6, 8),))
    path = Path("images/dog/1.bmp")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"dog/1.bmp of images.* is damaged: .*; replace the file, or remove it"):
        runner.run("data=images", "data.path=images", *words, *QUICK)


@pytest.mark.slow
@pytest.mark.usefixtures("in_empty_folder")
def test_look_draws_the_images_of_each_class_and_augmented(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mode=look", "data=images", f"data.path={mixed}", "training.batch_size=8", CROPS]) == 0
    figures = Path(capsys.readouterr().out.partition("figures  ")[2].split()[0])
    names = {path.name for path in figures.glob("*.png")}
    assert names == {"augmented_image.png", "class_balance.png", "classes_image.png", "examples_image.png"}
    shapes = {name: read(figures / name).shape for name in names}
    assert shapes["classes_image.png"][0] > 1.1 * shapes["examples_image.png"][0], "three rows of images"
    assert main(["mode=dry_run", "data=images", f"data.path={mixed}", *STEP, CROPS, "quiet=false"]) == 0
    assert "the batches of a dispatch; image is decoded for each step" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------- decoded for each step


def parameters(folder: Path) -> dict[str, bytes]:
    (path,) = sorted((folder / "checkpoints").glob("step_*.npz"))[-1:]
    with np.load(path) as archive:
        return {name: archive[name].tobytes() for name in archive.files if name.startswith("leaf.parameters")}


@pytest.mark.usefixtures("in_empty_folder")
def test_images_decoded_once_or_for_each_step_give_the_same_bits(mixed: Path) -> None:
    words = ("data=images", f"data.path={mixed}", *STEP)
    once, step = (runner.run(*words, f"feature.columns.image.decode={decode}") for decode in ("once", "step"))
    assert once.records == step.records
    assert parameters(once.folder) == parameters(step.folder)
    arrays = [name for folder in (once.folder, step.folder) for name in [folder / "transform.npz"] if name.exists()]
    assert len(arrays) == 2
    path = mixed / "cat" / "0.png"
    models = [runner.load(result.folder.absolute()) for result in (once, step)]
    forms: list[Any] = [[path], read(path)[None], [PIL.Image.open(path)], [read(path) / 255]]
    first, *others = (model.predict({"image": form}).frame() for model in models for form in forms)
    for other in others:
        pandas.testing.assert_frame_equal(first, other)


@pytest.mark.usefixtures("in_empty_folder")
def test_random_crops_are_resumed_within_an_epoch_with_the_same_bits(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("data=images", f"data.path={mixed}", *STEP, CROPS)
    whole = runner.run(*words)
    assert {record["train/loss"] for record in whole.records} != set()
    with monkeypatch.context() as patch, returning_handlers():
        original = order.epoch_order

        def interrupt(rows: np.ndarray, seed: int, epoch: int, **options: Any) -> order.EpochOrder:
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(rows, seed, epoch, **options)

        patch.setattr("runner.data.training_order.epoch_order", interrupt)
        stopped = runner.run(*words, "fresh=true")
    assert stopped.status == "interrupted"
    resumed = runner.run(*words)
    assert (resumed.folder, resumed.status) == (stopped.folder, "finished")
    assert resumed.records == whole.records
    assert parameters(resumed.folder) == parameters(whole.folder)


@pytest.mark.usefixtures("in_empty_folder")
def test_crops_change_with_seed_and_epoch_and_are_not_made_in_evaluation(mixed: Path) -> None:
    config = compose(["data=images", f"data.path={mixed}", *STEP, CROPS])
    features = Features.from_config(config.values["feature"])
    data = load_encoded(ImageFolders(path=str(mixed)), features, identity="", cache=None)
    rows = data.encoded["image"]["values"]
    assert (rows.shape, rows.dtype) == ((ROWS, 5, 4, 3), np.uint8)
    numbers = np.array([3, 1, 1, 7])
    images = {}
    for seed in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), None):
        images[seed] = gather_rows(data.encoded, numbers, None, seed)["image"]["values"].tobytes()
        assert images[seed] == gather_rows(data.encoded, numbers, None, seed)["image"]["values"].tobytes()
    assert len({*images.values()}) == len(images)
    (first, second) = gather_rows(data.encoded, numbers, None, (0, 0, 0))["image"]["values"][1:3]
    assert (first != second).any(), "a row that is drawn twice is cropped twice"
    later = gather_rows(data.encoded, numbers[2:], None, (0, 0, 2))["image"]["values"]
    np.testing.assert_array_equal(gather_rows(data.encoded, numbers, None, (0, 0, 0))["image"]["values"][2:], later)
    padded = gather_rows(data.encoded, numbers, 3, None)["image"]["values"]
    assert not padded[3].any(), "padding is not decoded"
    assert images[None] == np.stack([rows[number] for number in numbers.tolist()]).tobytes()


@pytest.mark.usefixtures("in_empty_folder")
def test_a_file_that_can_t_be_decoded_at_a_step_is_named() -> None:
    write_images(Path("images"), ((20, 30),))
    path = Path("images/cat/0.png")
    PIL.Image.open(path).save("images/cat/0.jpg")
    path.unlink()
    content = Path("images/cat/0.jpg").read_bytes()
    Path("images/cat/0.jpg").write_bytes(content[:-50])
    with pytest.raises(DataError, match=r"cat/0.jpg of images: is damaged: .*; replace the file, or remove it"):
        runner.run("data=images", "data.path=images", *STEP, "feature.columns.image.decode=step")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["size=[4,4]", "decode=once", "crop_area=[0.5,1]"], "crop_area: needs images that are decoded for each step"),
        (
            ["crop_area=[0.5,1]"],
            "crop_area: needs the size to which crops are resized; set feature.columns.image.size",
        ),
        (
            ["size=[4,4]", "crop_area=[1,0.5]"],
            r"crop_area: .* has the smallest share of the area first",
        ),
        (["size=[4,4]", "crop_area=[0,1]"], r"crop_area.*0 is not"),
        (["decode=always"], "decode.*always"),
        (["resize=crop"], "`resize` is for images that are resized, and none are; set feature.columns.image.size, or"),
        (["draft=true"], "`draft` is for images that are resized, and none are"),
        (["resize=squeeze"], "resize.*squeeze"),
        (["channels=2"], "channels.*2"),
        (["size=[0,4]"], "size"),
    ],
)
@pytest.mark.usefixtures("in_empty_folder")
def test_a_wrong_option_of_images_is_an_error(words: list[str], message: str, folder: Path) -> None:
    options = [f"feature.columns.image.{word}" for word in words]
    with pytest.raises(UserError, match=message):
        runner.run("data=images", f"data.path={folder}", "feature=image", *options, *QUICK)


@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize(
    "target",
    [
        {"_target_": "components.feature.ImageTarget", "key": "image"},
        {"_target_": "components.feature.Label", "key": "mask"},
    ],
)
def test_random_crops_beside_a_target_of_pixels_are_an_error(target: dict[str, str]) -> None:
    columns = {"image": np.zeros((30, 4, 4, 3), np.uint8), "mask": np.indices((30, 4, 4)).sum(axis=0) % 2}
    image = {"_target_": "components.feature.Image", "key": "image", "size": (4, 4), "crop_area": (0.5, 1)}
    features = Features.from_config({"target": target, "columns": {"image": image}, "inputs": {"input": ["image"]}})
    with pytest.raises(
        UserError, match=r"feature.columns.image: `crop_area` .* feature.target,.*augmentation=\[crop,flip\]"
    ):
        load_encoded(Arrays(columns=columns, valid=5, test=5), features, identity="", cache=None)


@pytest.mark.parametrize("limit", [30 * 48 - 1, 30 * 48])
def test_large_images_are_decoded_for_each_step_also_if_they_are_fitted_on_a_sample(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.feature.image.MAX_CACHED_BYTES", limit)
    columns = {"image": np.zeros((40, 4, 4, 3), np.uint8), "label": np.arange(40) % 2}
    image, label = ({"_target_": f"components.feature.{name}", "key": name.lower()} for name in ("Image", "Label"))
    node = {"target": label, "columns": {"image": image}, "inputs": {"input": ["image"]}, "sample": 10}
    data = load_encoded(Arrays(columns=columns, valid=5, test=5), Features.from_config(node), identity="", cache=None)
    assert isinstance(data.encoded["image"]["values"], np.ndarray) == (limit == 30 * 48)


@pytest.mark.usefixtures("in_empty_folder")
def test_arrays_that_no_file_holds_can_t_be_decoded_at_a_step() -> None:
    arrays = Arrays(columns={"image": np.zeros((30, 4, 4, 2), np.uint8), "label": np.arange(30) % 3}, valid=5, test=5)
    with pytest.raises(DataError, match="`image` of the arrays has arrays with 2 channels; only images with 1 or 3"):
        runner.run("feature=image", "feature.columns.image.decode=step", *QUICK, source=arrays)


@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.slow
def test_the_photographs_of_the_readme_have_all_formats_and_are_learned_from() -> None:
    script = Path(__file__).parent.parent / "docs" / "photographs.py"
    subprocess.run([sys.executable, script, "photographs", "24"], check=True)
    suffixes = {path.suffix for path in Path("photographs").rglob("*.*")}
    assert suffixes == {".jpg", ".png", ".bmp", ".gif", ".webp", ".tif"}
    modes, frames = set[str](), set[int]()
    for path in Path("photographs").rglob("*.*"):
        with PIL.Image.open(path) as opened:
            modes.add(opened.mode)
            frames.add(getattr(opened, "n_frames", 1))
    assert modes == {"1", "L", "LA", "I;16", "P", "RGB", "RGBA", "CMYK"}
    assert frames == {1, 2}
    image = compose(["data=images", "data.path=photographs"]).values["feature"]["columns"]["image"]
    assert (image["size"], image["channels"], image["resize"]) == ([72, 72], 3, "crop")
    result = runner.run("data=images", "data.path=photographs", "training.batch_size=8", *QUICK)
    assert result.status == "finished"
    flowers = ImageFolders(path="photographs/flower", labels=False, stratify=None)
    assert len(runner.load(result.folder).predict(flowers).frame()) == 24


# ---------------------------------------------------------------------------------------------------- tables of images


@pytest.fixture(scope="module")
def table(folder: Path) -> Path:
    """A table of the images, their masks and other columns; the last row has the image of the first."""
    rows = ["photo,mask,kind,age,price"]
    for number in [*range(ROWS), 0]:
        path = f"{CLASSES[number % 3]}/{number}.{SUFFIXES[number % 3]}"
        mask = (read(folder / path)[..., 0] > 100).astype(np.uint8)
        PIL.Image.fromarray(mask).save(folder.parent / f"mask_{folder.name}_{number}.png")
        mask_path = f"../mask_{folder.name}_{number}.png"
        rows.append(f"{path},{mask_path},{CLASSES[number % 3]},{number * 7 % 11},{number + 0.25}")
    (folder.parent / f"{folder.name}.csv").write_text("\n".join(rows) + "\n")
    return folder.parent / f"{folder.name}.csv"


@pytest.mark.parametrize(
    ("target", "options", "network", "inputs", "part", "first"),
    [
        (
            "kind",
            [],
            "image_columns",
            {"image": ["photo"], "columns": ["age", "price"]},
            "Label",
            "images of 3 classes",
        ),
        ("price", [], "image_columns", {"image": ["photo"], "columns": ["kind", "age"]}, "Numeric", "images"),
        ("kind", ["data.drop=[age,price]"], "resnet20", {"image": ["photo"]}, "Label", "images of 3 classes"),
        ("mask", [], "sequential", {"image": ["photo"]}, "Mask", "images"),
    ],
)
def test_a_table_suggests_a_network_for_images_and_the_other_columns(
    target: str, options: list[str], network: str, inputs: Any, part: str, first: str, table: Path, folder: Path
) -> None:
    config = compose(
        ["data=image_table", f"data.path={table}", f"data.root={folder}", f"data.target={target}", *options]
    )
    assert (config.choices["architecture"], config.values["feature"]["inputs"]) == (network, inputs)
    assert config.values["feature"]["target"]["_target_"] == f"components.feature.{part}"
    assert config.values["feature"]["target"].get("image") == ("photo" if part == "Mask" else None)
    assert config.values["data"]["images"] == ["photo", "mask"]
    assert config.suggestion is not None
    assert f"31 {first}" in config.suggestion.notes
    if part != "Mask":
        assert any(note.startswith("mask is left out: one column of images") for note in config.suggestion.notes)


@pytest.mark.usefixtures("in_empty_folder")
def test_empty_paths_are_counted_as_missing_images(table: Path, folder: Path) -> None:
    first, *lines = table.read_text().splitlines()
    path = lines[3].split(",")[first.split(",").index("photo")]
    Path("gaps.csv").write_text("\n".join([first, *lines[:3], lines[3].replace(path, "", 1), *lines[4:]]))
    words = ["data=image_table", "data.path=gaps.csv", f"data.root={folder}", "data.target=kind"]
    suggestion = compose([*words, "data.drop=[age,price,mask]"]).suggestion
    assert suggestion is not None
    assert [row[2] for row in suggestion.table if row[0] == "photo"] == ["1"]
    assert "30 images of 3 classes" in suggestion.notes


def test_several_targets_of_a_table_are_suggested_but_not_beside_masks(table: Path, folder: Path) -> None:
    words = ["data=image_table", f"data.path={table}", f"data.root={folder}"]
    config = compose([*words, "data.target=[kind,price]"])
    assert (config.choices["architecture"], [*config.values["loss"]]) == ("image_columns", ["kind", "price"])
    assert config.values["feature"]["inputs"] == {"image": ["photo"], "columns": ["age"]}
    with pytest.raises(UserError, match=r"data\.target=\[kind,mask\] lists mask, masks of .*, beside other columns"):
        compose([*words, "data.target=[kind,mask]"])


@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.slow
def test_a_table_is_learned_from_and_new_tables_are_predicted(
    table: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data=image_table", f"data.path={table}", f"data.root={folder}", "data.target=kind"]
    words += ["data.drop=[age,price,mask]", "data.seed=null", "training.batch_size=8", *QUICK]
    result = runner.run(*words)
    error = capsys.readouterr().err
    assert "1 of 5 rows of the test split equals a row of the training split" in error
    assert f"{table}, line 32 (cat/0.png) is {table}, line 2 (cat/0.png)" in error
    Path("new.csv").write_text("id,photo\na,dog/1.bmp\nb,owl/2.tiff\n")
    command = [f"run={result.folder}", "mode=predict", "data.path=new.csv", "output=p.csv", "quiet=true"]
    assert main([*command, "output.columns=[photo.path,id]"]) == 0, capsys.readouterr().err
    rows = [*csv.DictReader(Path("p.csv").read_text().splitlines())]
    assert main([*command, "output.overwrite=true"]) == 0
    assert Path("p.csv").read_text().startswith('"row","photo.path","prediction"')
    assert [(row["photo.path"], row["id"]) for row in rows] == [("dog/1.bmp", "a"), ("owl/2.tiff", "b")]
    found = runner.load(result.folder.absolute()).predict(
        {"photo": [folder / "dog" / "1.bmp", folder / "owl" / "2.tiff"]}
    )
    assert found.frame()["prediction"].tolist() == [row["prediction"] for row in rows]
    assert main(["mode=init", *words[:4]]) == 0
    name = capsys.readouterr().out.split("experiment=")[-1].strip()
    assert compose([f"experiment={name}"]).values["feature"]["inputs"]["columns"] == ["age", "price"]


@pytest.mark.usefixtures("in_empty_folder")
def test_masks_and_images_that_are_cropped_at_random_are_an_error(table: Path, folder: Path) -> None:
    words = ["data=image_table", f"data.path={table}", f"data.root={folder}", "data.target=mask", "tracking=none"]
    crops = ["feature.columns.photo.crop_area=[0.5,1]", "feature.columns.photo.size=[6,8]"]
    with pytest.raises(
        UserError, match=r"feature\.columns\.photo: `crop_area` crops .* but not the feature\.target, wh"
    ):
        runner.run(*words, *crops)


@pytest.mark.slow
@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize("target", ["mask", "price"])
def test_a_table_with_masks_or_other_columns_takes_steps(target: str, table: Path, folder: Path) -> None:
    words = ["data=image_table", f"data.path={table}", f"data.root={folder}", f"data.target={target}"]
    result = runner.run(*words, "training.epochs=1", "tracking=none", "quiet=true")
    assert result.metrics["test/mean_iou" if target == "mask" else "test/rmse"] >= 0
    images = {"photo": [folder / "cat" / "0.png"]} | ({} if target == "mask" else {"kind": ["cat"], "age": [0]})
    predictions = runner.load(result.folder.absolute()).predict(images)
    assert predictions.prediction.shape == ((1, 6, 8) if target == "mask" else (1,))


# --------------------------------------------------------------------------------------------------------------- masks


SEGMENT = ("architecture=sequential", "architecture.layers=[]", "architecture.head=conv", "optimizer=adam")
SEGMENT += ("learning_rate=0.1", "training.epochs=6", "training.batch_size=8", "tracking=none", "quiet=true")


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of images and masks: bright pixels are of class 9, dark ones of class 3, and a column is ignored."""
    folder, choices = tmp_path_factory.mktemp("masks"), np.random.default_rng(0)
    rows = ["photo,mask"]
    for number in range(ROWS):
        pixels = choices.integers(0, 256, (6, 8))
        mask = np.where(pixels > 128, 9, 3)
        mask[:, 5] = 255
        PIL.Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        PIL.Image.fromarray(mask.astype(np.uint8)).save(folder / f"{number}_mask.png")
        rows.append(f"{number}.png,{number}_mask.png")
    (folder / "t.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def segmented(masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    words = ("data=image_table", f"data.path={masks / 't.csv'}", "data.target=mask", "feature.target.ignore=255")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        return runner.run(*words, *SEGMENT, "loss=binary_cross_entropy", "metric=[accuracy]")


@pytest.mark.usefixtures("in_empty_folder")
def test_pixels_of_no_class_are_ignored_in_one_line_unless_they_are_made_a_class(masks: Path) -> None:
    words = ["data=image_table", f"data.path={masks / 't.csv'}", "data.target=mask"]
    config = compose(words)
    assert config.values["feature"]["target"]["ignore"] == 255
    assert config.suggestion is not None
    assert f"mask has the classes 3, 9, 255 in {ROWS} masks" in config.suggestion.notes
    [note] = [note for note in config.suggestion.notes if "no class" in note]
    assert note.startswith("mask has pixels of 255, which seem to be of no class, and count in no loss or metric.")
    word = note.rpartition(" set ")[2]
    changed = compose([*words, word])
    assert changed.values["feature"]["target"]["ignore"] is None
    assert changed.suggestion is not None
    assert [*changed.suggestion.notes] == [each for each in config.suggestion.notes if each != note]
    assert main(["mode=init", *words]) == 0
    [experiment] = Path("experiments").iterdir()
    assert "How well do the images predict mask?" in experiment.read_text()
    del config.values["feature"]["target"]["ignore"]
    for each, is_warned in ((config, True), (changed, False)):
        data, _ = load_data(each, None, QuietProgress())
        assert any("set feature.target.ignore=255" in warning for warning in data.warnings) == is_warned


def predict_table(run: Path, *words: str) -> list[dict[str, str]]:
    assert main([f"run={run}", "mode=predict", "output=p.csv", *words]) == 0
    return [*csv.DictReader(Path("p.csv").read_text().splitlines())]


@pytest.mark.usefixtures("in_empty_folder")
def test_predicted_masks_are_files_of_the_classes_of_the_training_masks(
    masks: Path, segmented: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    run = segmented.folder.absolute()
    rows = predict_table(run)
    assert "predictions for the test split are in p.csv, and their images in p\n" in capsys.readouterr().out
    assert [*rows[0]] == ["row", "mask.path", "photo.path", "prediction"]
    hits = 0
    for row in rows:
        assert row["prediction"] == f"p/{int(row['row']):06}.png"
        assert row["photo.path"] == f"{row['row']}.png"
        predicted, true = read(Path(row["prediction"])), read(masks / row["mask.path"])
        assert {*np.unique(predicted)} <= {3, 9}
        hits += int(((predicted == true) & (true != 255)).sum())
    assert hits / (6 * 7 * len(rows)) == pytest.approx(segmented.metrics["test/accuracy"])
    assert segmented.metrics["test/accuracy"] > 0.8
    model = runner.load(run)
    pieces = [*model.predict_in_batches("test")]
    assert [row for piece in pieces for row in piece.row] == [int(row["row"]) for row in rows]
    np.testing.assert_array_equal(pieces[0].prediction[0], read(Path(rows[0]["prediction"])))
    true = read(masks / rows[0]["mask.path"])
    assert pieces[0].target[0].tolist() == np.where(true == 255, None, true.astype(object)).tolist()
    with pytest.raises(UserError, match=r"target is an image, .* may not fit .*predict_in_batches\('test'\), or write"):
        model.predict("test")
    with pytest.raises(UserError, match="there is no split tset"):
        model.predict_in_batches("tset")
    # New rows, which need no mask, have the same predictions.
    (masks / "new.csv").write_text(f"photo,id\n{rows[0]['photo.path']},a\n")
    words = (f"data.path={masks / 'new.csv'}", "output.overwrite=true")
    old = read(Path(rows[0]["prediction"]))
    assert predict_table(run, *words) == [
        {"row": "0", "photo.path": rows[0]["photo.path"], "prediction": "p/000000.png"}
    ]
    np.testing.assert_array_equal(read(Path("p/000000.png")), old)
    assert [path.name for path in Path().rglob("*.png")] == ["000000.png"], "those of before are replaced"
    assert predict_table(run, *words, "output.columns=[id]") == [{"id": "a", "prediction": "p/000000.png"}]


@pytest.mark.usefixtures("in_empty_folder")
def test_a_folder_of_predicted_masks_is_not_replaced_unasked(
    segmented: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"run={segmented.folder.absolute()}", "mode=predict", "output=p.csv", "quiet=true"]
    Path("p").mkdir()
    Path("p/7.png").touch()
    for more in ([], ["output.overwrite=true"]):
        assert main([*words, *more]) == 2
        expected = (
            "would be in p, which exists already, and no prediction was written there. Choose another name, or move"
        )
        assert expected in capsys.readouterr().err
    assert Path("p/7.png").exists(), "an image of the user"
    Path("p/7.png").rename("7.png")
    Path("p").rmdir()
    for name in (".p.1.tmp", ".p.mine.tmp"):  # one of a killed process
        Path(name).mkdir()
        Path(name, MARKER).touch()
        Path(name, LOCK).touch()
    assert main(words) == 0
    assert {path.name for path in Path().iterdir()} == {"7.png", "p", "p.csv", ".p.mine.tmp"}
    assert not Path("p", LOCK).exists()
    shutil.rmtree(".p.mine.tmp")
    Path("p.csv").unlink()
    assert main(words) == 2
    assert "p, which exists already. Choose another name, or replace it with output.over" in capsys.readouterr().err
    Path("p/notes.txt").touch()
    assert main([*words, "output.overwrite=true"]) == 2
    assert "p, which has another file, notes.txt. Choose another name, or move what" in capsys.readouterr().err
    assert not Path("p.csv").exists()
    Path("p/notes.txt").unlink()
    Path("7.png").rename("p/7.png")
    assert main([*words, "output.overwrite=true"]) == 0
    assert not Path("p/7.png").exists()
    assert {path.name for path in Path().iterdir()} == {"p", "p.csv"}


@pytest.mark.usefixtures("in_empty_folder")
def test_look_shows_the_worst_masks_beside_the_true_ones(
    masks: Path, segmented: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    run = segmented.folder.absolute()
    rows = predict_table(run)
    capsys.readouterr()
    assert main([f"run={run}", "mode=look"]) == 0
    output = capsys.readouterr().out
    table = output.partition(f"largest losses in {len(rows)} rows of test\n")[2].partition("\n\n")[0]
    heading, *lines = table.splitlines()
    assert heading.split() == ["row", "mask.path", "photo.path", "wrong", "pixels", "loss"]
    wrong = {}
    for row in rows:
        true = read(masks / row["mask.path"])
        wrong[row["row"]] = (read(Path(row["prediction"])) != true)[true != 255].mean()
    cells = [line.split() for line in lines]
    assert {row: share for row, _, _, share, _ in cells} == {row: f"{share:.1%}" for row, share in wrong.items()}
    assert [path for _, path, _, _, _ in cells] == [f"{row}_mask.png" for row, _, _, _, _ in cells]
    losses = [float(loss) for _, _, _, _, loss in cells]
    assert losses == sorted(losses, reverse=True)
    assert np.mean(losses) == pytest.approx(segmented.metrics["test/loss"], rel=1e-3)
    assert "target  prediction  pixels  share of the class" in output
    pairs = [line.split() for line in output.partition("share of the class\n")[2].partition("\n\n")[0].splitlines()]
    assert sum(int(pixels) for _, _, pixels, _ in pairs) == round(42 * sum(wrong.values()))
    assert (run / "figures" / "worst_mistakes.png").exists()
    assert main([f"run={run}", "mode=look", "data.split=valid", "quiet=true"]) == 0
    assert (run / "figures" / "worst_mistakes_valid.png").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("in_empty_folder")
def test_look_names_and_draws_each_of_several_images(masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = {
        "mask": "{_target_: components.feature.Mask, key: mask, ignore: 255}",
        "copy": "{_target_: components.feature.ImageTarget, key: photo, normalize: standardize}",
    }
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/two.yaml").write_text(
        "target: null\ntargets:\n"
        + "".join(f"  {name}: {part}\n" for name, part in targets.items())
        + "columns: {photo: {_target_: components.feature.Image, key: photo}}\ninputs: {image: [photo]}\n"
    )
    words = ["data=image_table", f"data.path={masks / 't.csv'}", "feature=two", *SEGMENT, "training.epochs=1"]
    run = runner.run(*words, "loss.mask=softmax_cross_entropy", "loss.copy=mse").folder.absolute()
    drawn = dict[str, tuple[Any, ...]]()

    def draw(images: np.ndarray, captions: Any, title: str, path: Path, **options: Any) -> None:
        drawn[title.partition(" | prediction: ")[0]] = captions, options["classes"], options["beside"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runner.modes.look.image_mistakes.draw_image_grid", draw)
        assert main([f"run={run}", "mode=look"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if line.startswith(("mask:", "copy:", "largest", "most"))]
    expected = ["mask: largest losses", "mask: most frequent confusions", "copy: largest losses"]
    assert [title.partition(" in ")[0] for title in titles] == expected
    assert {name: classes for name, (_, classes, _) in drawn.items()} == {
        "image | mask": ("3", "9"),
        "image | copy": (),
    }
    captions, _, beside = drawn["image | copy"]
    predicted = {row["row"]: read(Path(row["copy.prediction"])) for row in predict_table(run)}
    for caption, true, prediction in zip(captions, *beside, strict=True):
        row = caption.removeprefix("row ")
        np.testing.assert_allclose(true * 255, read(masks / f"{row}.png"), atol=1e-3)
        np.testing.assert_allclose(prediction * 255, predicted[row], atol=0.51)


@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.slow
def test_all_modes_skip_the_rows_that_training_skips(masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[f"{number}.png", f"{number}_mask.png", f"{number}.png", "7", f"{100 + number}"] for number in range(ROWS)]
    rows[2][3], rows[3][2] = "text", "missing.png"  # which nothing reads
    PIL.Image.new("RGB", (8, 6)).save(masks / "colored.png")
    rows[5][1] = "colored.png"
    (masks / "skipped.csv").write_text("\n".join(["photo,mask,other,unread,n", *map(",".join, rows)]))
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/skipped.yaml").write_text(
        "target: {_target_: components.feature.Mask, key: mask, ignore: 255}\n"
        "columns: {photo: {_target_: components.feature.Image, key: photo}}\ninputs: {image: [photo]}\n"
    )
    words = ["data=image_table", f"data.path={masks / 'skipped.csv'}", "data.images=[photo,mask,other]"]
    words += ["data.on_bad_row=skip", "feature=skipped", "loss=softmax_cross_entropy", *SEGMENT, "training.epochs=1"]
    run = runner.run(*words).folder.absolute()
    assert "1 of 30 rows is skipped" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("components.data.image_table.verify_files", None)  # the cache has what training found
        found = predict_table(run)
        assert {row["photo.path"] for row in found} == {f"{row['row']}.png" for row in found}
        copied = predict_table(run, "output.columns=[row,n,photo.path]", "output.overwrite=true")
        assert [row["n"] for row in copied] == [f"{100 + int(row['row'])}" for row in found]
        capsys.readouterr()
        assert main([f"run={run}", "mode=look"]) == 0
        lines = capsys.readouterr().out.partition("loss\n")[2].partition("\n\n")[0].splitlines()
        assert len(lines) == len(found)
        assert all(line.split()[3] == f"{line.split()[0]}.png" for line in lines)
    assert main([f"run={run}", "mode=evaluate", f"data.path={masks / 'skipped.csv'}"]) == 0
    assert "1 of 30 rows is skipped" in capsys.readouterr().out
    (masks / "damaged.csv").write_text("photo\ndamaged.png\n")
    (masks / "damaged.png").write_bytes((masks / "0.png").read_bytes()[:-30])
    words = [f"run={run}", "mode=predict", f"data.path={masks / 'damaged.csv'}", "output=q.csv"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "damaged.png" in error
    assert error.rstrip().endswith("replace the file, or remove it")
    PIL.Image.new("RGB", (9, 6)).save(masks / "damaged.png")
    assert main(words) == 2
    assert capsys.readouterr().err.endswith("; resize it to 6 x 8 pixels, and convert it to grey\n")
    assert main([*words, "data.on_bad_row=skip"]) == 2
    assert "data.on_bad_row=skip: rows to predict can't be skipped" in capsys.readouterr().err


@pytest.mark.usefixtures("in_empty_folder")
def test_look_draws_masks_beside_images_also_augmented(masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("data=image_table", f"data.path={masks / 't.csv'}", "data.target=mask", "feature.target.ignore=255")
    drawn = dict[str, dict[str, Any]]()

    def draw(images: np.ndarray, captions: Any, title: str, path: Path, **options: Any) -> Path:
        drawn[title] = {"images": images, **options}
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runner.modes.look.data.draw_image_grid", draw)
        assert main(["mode=look", *words, "training.batch_size=8", "augmentation=[crop]"]) == 0
    assert [*drawn] == [f"image | target: the first training examples{end}" for end in ("", ", augmented")]
    for title, figure in drawn.items():
        [picture], bright = figure["beside"], figure["images"][..., 0] > 128.5 / 255
        colors = {tuple(color) for color in class_colors(2)}
        assert (len(colors), figure["classes"]) == (2, ("3", "9"))
        blended = PAINT * class_colors(2)[bright.astype(int)] + (1 - PAINT) * figure["images"]
        is_painted = np.abs(picture - blended).max(-1) < 1e-6
        is_grey = np.abs(picture - figure["images"]).max(-1) < 1e-6
        assert (is_painted ^ is_grey).all(), "each pixel has the color of its class, or isn't painted"
        if "augmented" not in title:
            assert (is_grey == (np.arange(8) == 5)).all(), "the ignored pixels"


@pytest.mark.slow
@pytest.mark.usefixtures("in_empty_folder")
def test_predicted_images_are_written_and_the_worst_are_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A linear autoencoder of noisy images. The evaluations are noisy, too, as are the predictions for a split."""
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/clean.yaml").write_text(
        "target: {_target_: components.feature.ImageTarget, key: image}\n"
        "columns: {image: {_target_: components.feature.Image, key: image}}\n"
        "inputs: {image: [image]}\n"
    )
    words = ["data=images", f"data.path={folder}", "feature=clean", "loss=mse", "metric=[rmse]", *SEGMENT]
    noise = [f"augmentation.gaussian_noise.{option}" for option in ("std=0.5", "evaluates=true")]
    result = runner.run(*words, "augmentation=[gaussian_noise]", *noise)
    run = result.folder.absolute()
    rows = predict_table(run, "quiet=true")
    assert [*rows[0]] == ["row", "path", "prediction"]
    predictions = runner.load(run).predict_in_batches("test")
    pieces = [(piece.prediction, piece.target) for piece in predictions]
    predicted, target = (np.concatenate(each) for each in zip(*pieces, strict=True))
    assert np.sqrt(np.square(predicted - target).mean()) == pytest.approx(result.metrics["test/rmse"], rel=1e-4)
    np.testing.assert_allclose(target, np.stack([read(folder / row["path"]) for row in rows]) / 255, rtol=1e-6)
    pixels = np.stack([read(Path(row["prediction"])) for row in rows])
    np.testing.assert_array_equal(np.round(predicted * 255).clip(0, 255), pixels)
    capsys.readouterr()
    assert main([f"run={run}", "mode=look"]) == 0
    assert f"largest losses in {len(rows)} rows of test\n  row  path " in capsys.readouterr().out
    assert (run / "figures" / "worst_mistakes.png").exists()
