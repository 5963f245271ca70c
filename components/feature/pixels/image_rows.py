"""Image files that are decoded each time their rows are read."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from components.image_files import CROP_DRAWS, Decoding, ImageError, decode_image, list_file_remedies
from components.types import DataError, Ragged, Strings

OFFERS_SKIPPING = "\0"  # no name of a file has it
FILES_PER_TASK = 4  # of a thread: few, so that all threads end at about the same time


class ImageRows:
    """Decoded images, uint8 (rows, H, W, C), of which only the files are kept. Several threads decode.

    Attributes:
        shape: the shape.
        dtype: uint8.
        draws: how many random numbers each image takes in training.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, files: Ragged, locations: Ragged, decoding: Decoding, shape: tuple[int, ...]) -> None:
        """Refers to files, which may be in a memory map.

        Args:
            files: the bytes of the files.
            locations: the location of each file, for messages, and OFFERS_SKIPPING at the end if its block has
                `offers_skipping`, in UTF-8.
            decoding: how they are decoded.
            shape: the shape of each image, (H, W, C).
        """
        self._files, self._locations, self._decoding = files, locations, decoding
        self.shape = (len(files.offsets) - 1, *shape)
        self.draws = 0 if decoding.crop_area is None else CROP_DRAWS

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """The bytes of the files."""
        return int(self._files.values.nbytes)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self.decode(np.atleast_1d(np.arange(len(self))[rows]))

    def decode(self, rows: np.ndarray, random: np.ndarray | None = None) -> np.ndarray:
        """Decodes the images of some rows.

        Args:
            rows: the rows.
            random: uniform random numbers, float64 (rows, draws). None: as in evaluation.

        Raises:
            DataError: a file is damaged.
        """
        result = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def fill(start: int) -> None:
            for position in range(start, min(start + FILES_PER_TASK, len(rows))):
                row = int(rows[position])
                try:
                    image = decode_image(
                        self._read(self._files, row), self._decoding, None if random is None else random[position]
                    )
                except ImageError as error:
                    location, offers_skipping = self._locate(row)
                    remedies = list_file_remedies(error, offers_skipping=offers_skipping)
                    raise DataError(f"{location}: {error}", *remedies) from error
                if image.shape != result.shape[1:]:
                    raise DataError(f"{self._locate(row)[0]} has the shape {image.shape} instead of {result.shape[1:]}")
                result[position] = image

        for _ in _threads().map(fill, range(0, len(rows), FILES_PER_TASK)):
            pass
        return result

    def _locate(self, row: int) -> tuple[str, bool]:
        location = self._read(self._locations, row).decode()
        return location.removesuffix(OFFERS_SKIPPING), location.endswith(OFFERS_SKIPPING)

    @staticmethod
    def _read(files: Ragged, row: int) -> bytes:
        content: bytes = files.values[int(files.offsets[row]) : int(files.offsets[row + 1])].tobytes()
        return content


def pack_bytes(contents: list[bytes]) -> Ragged:
    """Bytes as rows of uint8."""
    packed = Strings.from_bytes(contents)
    return Ragged(packed.data, packed.offsets)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """The threads of all columns, one for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(cores or 1, "decode")
