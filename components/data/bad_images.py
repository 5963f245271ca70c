"""Finds the image files that are empty, damaged or no images, by decoding all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from components.data.files import ChangedFileError
from components.image_files import ImageError, ImageShape, verify_image
from components.types import DataError

BATCH_FILES = 256  # the number of files that wait for a thread


class Verdict(NamedTuple):
    """What a file is.

    Attributes:
        shape: the shape of the image; None: it is none.
        fault: why it is none, which continues the name of the file: "is damaged: …"; "": it is an image.
    """

    shape: ImageShape | None
    fault: str = ""


def verify_files(
    numbers: Sequence[int], read: Callable[[int], bytes], check: Callable[[bytes], ImageShape] = verify_image
) -> Iterator[Verdict]:
    """Yields a verdict on each file. Files are decoded in parallel.

    Args:
        numbers: the numbers of the files.
        read: returns the content of a file, by its number.
        check: returns the shape of an image from the content of its file, or raises ImageError.

    Raises:
        ChangedFileError: a file has other bytes than when it was read before.
    """

    def verify(number: int) -> Verdict:
        try:
            return Verdict(check(read(number)))
        except ChangedFileError:  # is no matter of one row: the digest of the data doesn't tell these bytes from others
            raise
        except (ImageError, DataError) as error:  # DataError: the entry of an archive is damaged
            return Verdict(None, str(error))

    remaining = iter(numbers)
    with ThreadPoolExecutor() as pool:
        while batch := [*itertools.islice(remaining, BATCH_FILES)]:
            yield from pool.map(verify, batch)
