"""How many photographs per second are decoded for training.

    python benchmarks/images.py [rounds] [images] [command of a peer …]
    smallest: 1 8

The images are JPEG files of 500 x 375 pixels, quality 90, cut out of scikit-learn's sample pictures, in a temporary
folder. `crops` decodes each file, cuts a random part of 8 % to 100 % of its area and resizes it to 160 x 160 with
antialiasing; `draft` does so with scaled decoding; `cached` gathers images of 160 x 160 that were decoded once. All use
batches of 64 in a random order, one thread for each core, and files that the operating system has in memory.

Prints images per second, the best and the median of N rounds, and per second of processor time. The command of a peer
gets the folder as its last argument, and prints images per second in its last line. It runs once in each round.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
from sklearn.datasets import load_sample_images

from benchmarks.timing import time_variants
from components.data import ImageFolders
from components.feature import Image, Label
from runner.data.batches import gather_rows
from runner.data.load import Data, Features, load_encoded
from runner.data.order import epoch_order

BATCH, SIZE, AREA = 64, (160, 160), (0.08, 1.0)


def write_images(folder: Path, count: int) -> None:
    """Writes JPEG files of 500 x 375 pixels in two classes."""
    pictures, choices = load_sample_images().images, np.random.default_rng(0)
    for number in range(count):
        picture = pictures[number % 2]
        top, left = (choices.integers(0, picture.shape[axis] - side + 1) for axis, side in ((0, 375), (1, 500)))
        pixels = picture[top : top + 375, left : left + 500] + choices.normal(0, 4, (375, 500, 3))
        path = folder / ("china", "flower")[number % 2] / f"{number:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)


def load(folder: Path, cache: Path, image: Image) -> Data:
    features = Features({"target": Label(key="label")}, {"image": image}, {"image": ("image",)})
    return load_encoded(ImageFolders(path=str(folder)), features, identity=repr(image), cache=cache)


def gather_epoch(data: Data, epoch: list[int]) -> None:
    """Gathers all rows in batches, in the order of another epoch each time."""
    epoch[0] += 1
    rows = np.concatenate([*data.splits.values()])
    order = epoch_order(rows, 0, epoch[0])
    for start in range(0, len(rows), BATCH):
        gather_rows(data.encoded, order[start : start + BATCH], None, (0, epoch[0], start))


def run_peer(command: list[str], folder: Path, rates: list[float]) -> None:
    output = subprocess.run([*command, str(folder)], check=True, capture_output=True, text=True).stdout
    rates.append(float(output.split()[-1]))


def main(rounds: int = 3, count: int = 2000, *peer: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary, "images"), Path(temporary, "cache")
        folder.mkdir()
        write_images(folder, count)
        images = {
            "crops": Image(key="image", size=SIZE, crop_area=AREA),
            "draft": Image(key="image", size=SIZE, crop_area=AREA, draft=True),
            "cached": Image(key="image", size=SIZE, resize="crop"),
        }
        calls: dict[str, Callable[[], None]] = {}
        processor: dict[str, list[float]] = {}
        for name, image in images.items():
            data = load(folder, cache, image)

            def call(name: str = name, data: Data = data, epoch: list[int] = [0]) -> None:  # noqa: B006
                start = time.process_time()
                gather_epoch(data, epoch)
                processor.setdefault(name, []).append(time.process_time() - start)

            calls[name] = call
        rates: list[float] = []
        if peer:
            calls["peer"] = lambda: run_peer([*peer], folder, rates)
        seconds = time_variants(calls, rounds)
        for name in images:
            best, median = (count / each for each in (min(seconds[name]), statistics.median(seconds[name])))
            by_processor = count / statistics.median(processor[name][1:])
            print(f"{name:7} best {best:8,.0f}  median {median:8,.0f}  per second of a processor {by_processor:8,.0f}")
        if peer:
            rates = rates[1:]
            print(f"peer    best {max(rates):8,.0f}  median {statistics.median(rates):8,.0f}")
            ratio = statistics.median(count / each for each in seconds["crops"]) / statistics.median(rates)
            print(f"crops / peer {ratio:.2f}, of the medians")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]), *sys.argv[3:])
