"""Cuts scikit-learn's two sample pictures into pieces, and saves them as image files in two class folders.

    python docs/photographs.py FOLDER [pieces of each picture]

The files have all formats that Titrate reads, many kinds of pixels, and different sizes: photographs as they come.
Of the animations, the first frame is a piece.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from sklearn.datasets import load_sample_images

KINDS: tuple[tuple[str, Callable[[PIL.Image.Image], PIL.Image.Image], dict[str, Any]], ...] = (
    ("jpg", lambda piece: piece, {"quality": 90}),
    ("png", lambda piece: piece, {}),
    ("webp", lambda piece: piece, {}),
    ("jpg", lambda piece: piece, {"progressive": True}),
    ("bmp", lambda piece: piece, {}),
    ("gif", lambda piece: piece.quantize(), {}),
    ("tif", lambda piece: piece, {"compression": "tiff_lzw"}),
    ("jpg", lambda piece: piece.convert("L"), {}),
    ("png", lambda piece: piece.quantize(), {}),
    ("png", lambda piece: piece.convert("RGBA"), {}),
    ("jpg", lambda piece: piece.convert("CMYK"), {}),
    ("jpg", lambda piece: piece.transpose(PIL.Image.Transpose.ROTATE_90), {"exif": {0x0112: 6}}),  # a turned camera
    ("png", lambda piece: piece.convert("LA"), {}),
    ("png", lambda piece: PIL.Image.fromarray(257 * np.asarray(piece.convert("L"), np.uint16)), {}),
    ("png", lambda piece: piece.convert("1"), {}),
    ("tif", lambda piece: piece.convert("1"), {"compression": "group4"}),
    ("gif", lambda piece: piece.quantize(), {"save_all": True}),  # animated
    ("webp", lambda piece: piece, {"save_all": True}),
)


def write(folder: Path, count: int = 150) -> None:
    """Writes pieces of 48 to 112 pixels, `count` of each picture."""
    choices = np.random.default_rng(0)
    for name, picture in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            height, width = choices.integers(48, 112, 2)
            top, left = (int(choices.integers(0, side)) for side in np.subtract(picture.shape[:2], (height, width)))
            suffix, convert, options = KINDS[number % len(KINDS)]
            piece = convert(PIL.Image.fromarray(picture[top : top + height, left : left + width]))
            if "exif" in options:
                exif = PIL.Image.Exif()
                exif.update(options["exif"])
                options = {"exif": exif}
            if "save_all" in options:
                options = {"append_images": [PIL.Image.new(piece.mode, piece.size)], **options}
            piece.save(folder / name / f"{number:03}.{suffix}", **options)


if __name__ == "__main__":
    write(Path(sys.argv[1]), *map(int, sys.argv[2:]))
