"""Files with a few rows, in the formats of real data."""

import io
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import yaml

from components.data import Arrays, write_idx
from components.data.writing.formats import write_tables
from components.data.writing.rows import read_rows
from components.image_files import encode_png
from runner.config.catalog import find_options

ROWS = 80
CLASSES = 10
IMAGE = (28, 28)
OCEAN = ("<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN")
HOUSING = """longitude latitude housing_median_age total_rooms total_bedrooms population households median_income
median_house_value ocean_proximity"""


def write_data(folder: Path) -> None:
    """Writes the files that options of `conf/data` and experiments read below $TITRATE_DATA."""
    files = find_options().files
    options = {name: yaml.safe_load(file.read_text()) for name, file in files["data"].items()}
    sources = {f"data={name}": content for name, content in options.items()}
    for name, file in files["experiment"].items():
        content = yaml.safe_load(file.read_text())
        if "path" in content.get("data", {}):
            (option,) = (choice["override /data"] for choice in content["defaults"] if "override /data" in choice)
            sources[f"experiment={name}"] = options[option] | content["data"]
    for name, content in sources.items():
        if content.get("path", "???") != "???":
            source = content["_target_"].rpartition(".")[2]
            assert source in WRITERS, f"{name}: add the format of {source} to WRITERS in {__file__}"
            path = folder / (content["path"][0] if isinstance(content["path"], list) else content["path"])
            path.parent.mkdir(parents=True, exist_ok=True)
            WRITERS[source](path, content)


def write_housing(path: Path) -> None:
    """Writes districts of California as a CSV, with gaps."""
    random = np.random.default_rng(0)
    lines = [",".join(HOUSING.split())]
    for row in range(ROWS):
        place = f"{random.uniform(-124, -114):.2f},{random.uniform(32, 42):.2f}"
        numbers = [f"{random.uniform(1, 50):.1f}" for _ in range(7)]
        numbers[2] = "" if row % 10 == 0 else numbers[2]  # total_bedrooms
        lines.append(f"{place},{','.join(numbers)},{OCEAN[row % 5]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def write_table(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a CSV with the columns that `types` lists: numbers, and strings with five values."""
    random = np.random.default_rng(0)
    values: dict[str, Callable[[int], str]] = {
        "float": lambda row: f"{random.uniform(1, 50):.1f}",
        "int": lambda row: str(random.integers(1, 50)),
        "string": lambda row: f"value {row % 5}",
    }
    rows = [",".join(values[kind](row) for kind in content["types"].values()) for row in range(ROWS)]
    path.write_text("\n".join([",".join(content["types"]), *rows]))


def write_adult(folder: Path) -> None:
    """Writes a training and a test file in the format of the data set Adult, without names of columns."""
    random = np.random.default_rng(0)
    for name, remark, end in (("adult.data", "", ""), ("adult.test", "|1x3 Cross validator\n", ".")):
        lines = []
        for row in range(ROWS):
            age, weight, years, gain, hours = random.integers((17, 10_000, 1, 0, 1), (90, 10**6, 17, 10_000, 99))
            work = ("Private", "State-gov", "?")[row % 3]
            own = [age, work, weight, "HS-grad", years, ("Divorced", "Never-married")[row % 2], "Sales"]
            own += ["Husband", ("White", "Black")[row % 2], ("Male", "Female")[row % 2], gain, 0, hours]
            lines.append(", ".join(map(str, [*own, "United-States", ("<=50K", ">50K")[row % 2] + end])))
        (folder / name).write_text(f"{remark}" + "\n".join(lines) + "\n\n")


def write_ratings(path: Path) -> None:
    """Writes a table in the format of MovieLens, separated by tabs and without names of columns."""
    rows = (f"{row % 9 + 1}\t{row % 7 + 1}\t{row % 5 + 1}\t{881250949 + row * 1000}" for row in range(ROWS))
    path.write_text("\n".join(rows) + "\n")


def write_images(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes the pairs of IDX files that `train` and `test` name."""
    folder.mkdir()
    for images, labels in (content["train"], content["test"]):
        write_idx(folder / images, np.random.default_rng(0).integers(0, 256, (ROWS, *IMAGE), np.uint8))
        write_idx(folder / labels, (np.arange(ROWS) % CLASSES).astype(np.uint8))


def write_reviews(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a tar archive of texts, in one folder for each of `classes`."""
    classes = content["classes"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for part, rows in (("train", ROWS // 2), ("test", ROWS)):
            for row in range(rows):
                number = row % len(classes)
                text = f"A {('bad', 'good')[number % 2]} film, number {row}.<br />See it!".encode()
                entry = tarfile.TarInfo(f"aclImdb/{part}/{classes[number]}/{row}_7.txt")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))


def write_image_folders(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a tar archive of PNG files, in one folder for each class."""
    with tarfile.open(path, "w:gz") as archive:
        for part in ("train", "test"):
            for row, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (ROWS, 8, 8, 3), np.uint8)):
                image = encode_png(pixels)
                entry = tarfile.TarInfo(f"{part}/{row % CLASSES}/{row}.png")
                entry.size = len(image)
                archive.addfile(entry, io.BytesIO(image))


def write_shards(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the folders of TFRecord files that `path` and `test` name, with images and labels."""
    for name in (path.name, Path(content["test"]).name):
        folder = path.parent / name
        folder.mkdir(parents=True)
        images = np.random.default_rng(0).integers(0, 256, (ROWS, *IMAGE), np.uint8)
        source = Arrays(columns={"image": images, "label": np.arange(ROWS) % CLASSES}, valid=20, test=20)
        with (folder / "part-00000-of-00001.tfrecord").open("wb") as file:
            write_tables(file, read_rows(source, np.arange(ROWS)), "tfrecord", "none")


def write_flowers(path: Path) -> None:
    """Writes a tar archive in the layout of the photographs of flowers: a folder of class folders, and a licence."""
    files = {"LICENSE.txt": b"CC BY"}
    for row in range(ROWS):
        shape = (8 + row % 3, 9 + row % 2, 3)
        pixels = np.random.default_rng(row).integers(0, 256, shape, np.uint8)
        with io.BytesIO() as file:
            PIL.Image.fromarray(pixels).save(file, "JPEG")
            files[f"{('daisy', 'roses', 'tulips')[row % 3]}/{row}.jpg"] = file.getvalue()
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"flower_photos/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def write_records(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a tar archive of files of random records, in the format of `fields`, for training and testing."""
    record = np.dtype([(name, each["dtype"], tuple(each.get("shape", ()))) for name, each in content["fields"].items()])
    names = [content["train"].replace("*", str(number)) for number in (1, 2)] + [content["test"]]
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            rows = np.frombuffer(np.random.default_rng(0).bytes(ROWS * record.itemsize), record).copy()
            rows["label"] = np.arange(ROWS) % CLASSES
            entry = tarfile.TarInfo(f"batches/{name}")
            entry.size = rows.nbytes
            archive.addfile(entry, io.BytesIO(rows.tobytes()))


TABLES: dict[str, Callable[[Path], None]] = {
    "adult.data": lambda path: write_adult(path.parent),
    "housing.csv": write_housing,
    "u.data": write_ratings,
}
"""What writes a table in the format of a public data set, by its name."""


WRITERS: dict[str, Callable[[Path, Mapping[str, Any]], None]] = {
    "Csv": lambda path, content: TABLES.get(path.name, partial(write_table, content=content))(path),
    "FixedLengthRecords": write_records,
    "Idx": write_images,
    "ImageFolders": lambda path, content: (
        write_flowers(path) if path.name == "flower_photos.tgz" else write_image_folders(path, content)
    ),
    "TableFile": write_shards,
    "TextFolders": write_reviews,
}
"""What writes the files of a source, by the name of its class."""
