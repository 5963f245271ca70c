"""The facts about a column of image files, from which their size is suggested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from components.image_files import Decoding, ImageError, ImageShape, decode_mask, list_file_remedies, read_shape
from components.types import DataError, ImageProfile

PROFILED_FILES = 2000  # of which the sizes are read
MAX_PROFILED_PIXELS = 10**9
PROFILED_MASKS = 200  # of which all pixels are read
MASK = Decoding(None, "stretch", None, draft=False, max_pixels=10**8)


def profile_images(
    name: str,
    rows: Sequence[int] | np.ndarray,
    read: Callable[[int], bytes],
    locate: Callable[[int], str],
    *,
    is_target: bool = False,
) -> ImageProfile:
    """The sizes of some images, from the headers of their files, and the classes of masks.

    Args:
        name: the name of the column.
        rows: the rows with images.
        read: returns the bytes of the file of a row.
        locate: returns the location of a row, for messages.
        is_target: whether the images are the target. If they are masks, their classes are read.

    Raises:
        DataError: a file is no image.
    """

    def read_shape_of(row: int) -> ImageShape:
        try:
            return read_shape(read(row), MAX_PROFILED_PIXELS)
        except ImageError as error:
            remedies = list_file_remedies(error, offers_skipping=True)
            raise DataError(f"{locate(row)} {error}", *remedies) from error

    def read_classes_of(row: int) -> set[int] | None:
        try:
            return {*np.unique(decode_mask(read(row), MASK, border=0)).tolist()}
        except ImageError:  # it is no mask, which is an error of the column `Mask`
            return None

    with ThreadPoolExecutor() as pool:
        shapes: Counter[tuple[int, int, int]] = Counter(pool.map(read_shape_of, _spread(rows, PROFILED_FILES)))
        masks = [*pool.map(read_classes_of, _spread(rows, PROFILED_MASKS) if is_target else ())]
    classes = {value for each in masks for value in each or ()}
    return ImageProfile(name, shapes, *((len(masks), tuple(sorted(classes))) if None not in masks else ()))


def _spread(rows: Sequence[int] | np.ndarray, maximum: int) -> list[int]:
    """At most so many of the rows, at equal distances."""
    count = min(len(rows), maximum)
    return np.asarray(rows)[np.arange(count) * len(rows) // max(count, 1)].tolist()
