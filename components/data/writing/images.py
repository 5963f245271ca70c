"""Writes images into a folder for each class, as `ImageFolders` reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.key_column import format_key
from components.types import DataError

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = {  # by the first bytes of a file
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"II": ".tif",
    b"MM": ".tif",
}
MAX_NAME_BYTES = 255  # of a file's name


def write_image_folders(folder: Path, tables: Iterable[pyarrow.Table], image: str, label: str) -> tuple[int, str]:
    """Writes the images of tables as the files CLASS/000000.png, CLASS/000001.png and so on, numbered over all classes.

    Args:
        folder: an empty folder.
        tables: consecutive rows.
        image: the column of images, which are the bytes of files. JPEG files and others stay as they are.
        label: the column of classes.

    Returns:
        The bytes of all files, and a digest of their names and bytes.

    Raises:
        DataError: a row has no image or no class, a class is no safe name of a folder, or a file is no image.
    """
    digest, size, row = hashlib.blake2b(digest_size=16), 0, 0
    made = set[str]()
    for table in tables:
        rows = zip(table.column(image).to_pylist(), table.column(label).to_pylist(), strict=True)
        for content, value in rows:
            name = _check_class(label, value, row)
            if name not in made:
                (folder / name).mkdir()
                made.add(name)
            file = f"{name}/{row:06}{_find_suffix(image, content, row)}"
            (folder / file).write_bytes(content)
            digest.update(f"{file}\0{len(content)}\0".encode() + content)
            size, row = size + len(content), row + 1
    return size, digest.hexdigest()


def _check_class(label: str, value: object, row: int) -> str:
    """The name of the folder of a class."""
    if value is None:
        raise DataError(f"row {row} has no value of the column `{label}`, which names the folders of the classes")
    name = format_key(value)
    is_safe = name.strip() == name and name and not name.startswith(".") and not {*"/\\\0"} & {*name}
    if not is_safe or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        raise DataError(
            f"the class {name!r} of the column `{label}` can't be the name of a folder, in row {row}. Names have no "
            "slashes, control characters or blanks at their ends, and don't start with a point. Rename the class, or "
            "write Parquet or TFRecord files."
        )
    return name


def _find_suffix(image: str, content: bytes | None, row: int) -> str:
    if content is None:
        raise DataError(f"row {row} has no image in the column `{image}`")
    suffix = next((suffix for start, suffix in SUFFIXES.items() if content.startswith(start)), None)
    if suffix is None:
        raise DataError(f"the column `{image}` has no image in row {row}: the bytes start with {content[:8]!r}")
    return suffix
