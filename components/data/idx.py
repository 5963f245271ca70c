"""Images and labels from IDX files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from components.data.idx_file import read_idx, read_idx_shape
from components.data.packed import MAX_UNPACKED_GB
from components.data.table import Table
from components.place import find, hash_file
from components.types import DataError, Range


@dataclass(frozen=True, kw_only=True)
class Idx(Table):
    """Images and labels from IDX files, as `image` and `label`; images without channels get one: (28, 28, 1).

    Attributes:
        path: their folder; a relative one is looked up below $TITRATE_DATA, then below the working folder.
        train: the names of the files of images and of labels; on disk each may be packed, and end in .gz.
        test: the same of the test set; or the rows to hold out for testing, a share in (0, 1) or a count.
        max_unpacked_gb: how many gigabytes (10^9 bytes) a packed file unpacks to at most.
    """

    path: str
    train: tuple[str, str]
    test: tuple[str, str] | Annotated[float, Range(0, bounds="()")]
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def content(self) -> str:
        content = hashlib.blake2b(digest_size=16)
        for part, names in self._parts().items():
            for name in names:
                content.update(part.encode() + hash_file(self._find(name)).digest())
        return content.hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return {part: sum(read_idx_shape(self._find(labels))[:1]) for part, (_, labels) in self._parts().items()}

    def origin(self, part: str) -> str:
        return self.path if part == "all" else f"{self.path} ({part})"

    def read(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        return {part: self._columns(*names) for part, names in self._parts().items()}

    def _parts(self) -> dict[str, tuple[str, str]]:
        if isinstance(self.test, int | float):
            return {"all": self.train}
        return {"train": self.train, "test": self.test}

    def _columns(self, images: str, labels: str) -> Mapping[str, np.ndarray]:
        image, label = (read_idx(self._find(one), max_unpacked_gb=self.max_unpacked_gb) for one in (images, labels))
        if label.ndim != 1 or image.shape[:1] != label.shape:
            raise DataError(
                f"{self._find(images)}, {image.shape}, and {self._find(labels)}, {label.shape}, disagree: "
                "each image needs one label"
            )
        return {"image": image[..., None] if image.ndim == 3 else image, "label": label}

    def _find(self, name: str) -> Path:
        return find(f"{self.path}/{name}", f"{self.path}/{name}.gz", file=True)
