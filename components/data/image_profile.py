"""The facts about a column of image files, from which their size is suggested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from components.image_files import BAD_FILE_REMEDY, ImageError, ImageShape, read_shape
from components.types import DataError, ImageProfile

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
PROFILED_FILES = 2000  # of which the sizes are read
MAX_PROFILED_PIXELS = 10**9


def profile_images(
    name: str, rows: Sequence[int] | np.ndarray, read: Callable[[int], bytes], locate: Callable[[int], str]
) -> ImageProfile:
    """The sizes of some images, from the headers of their files.

    Args:
        name: the name of the column.
        rows: the rows with images.
        read: returns the bytes of the file of a row.
        locate: returns the location of a row, for messages.

    Raises:
        DataError: a file is no image.
    """

    def read_shape_of(row: int) -> ImageShape:
        try:
            return read_shape(read(row), MAX_PROFILED_PIXELS)
        except ImageError as error:
            raise DataError(f"{locate(row)} {error}; {BAD_FILE_REMEDY}") from error

    count = min(len(rows), PROFILED_FILES)
    some = np.asarray(rows)[np.arange(count) * len(rows) // max(count, 1)].tolist()
    with ThreadPoolExecutor() as pool:
        shapes: Counter[tuple[int, int, int]] = Counter(pool.map(read_shape_of, some))
    return ImageProfile(name, shapes)
