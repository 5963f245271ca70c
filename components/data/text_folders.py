"""The source for texts in one folder per class."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple

import numpy as np

from components.closest import suggest_name
from components.data.archive import read_entries
from components.data.packed import MAX_UNPACKED_GB, Packed
from components.data.table import Table
from components.input_files import find_path, hash_file
from components.types import Block, DataError, Range, Strings, Values


@dataclass(frozen=True, kw_only=True)
class TextFolders(Table):
    """Texts from files in UTF-8, PART/CLASS/NAME.txt, as `text`, and the name of the class's folder as `label`.

    Rows are in the order of their paths. Files whose names begin with a dot are left out.

    Attributes:
        path: a folder that holds them at any depth, or a tar archive, compressed or not, which isn't unpacked on disk.
            A relative path is looked up below $TITRATE_DATA, then below the working folder.
        train: the name of the folder with a folder for each class.
        test: the same for the test set; or the rows to hold out for testing, a share in (0, 1) or a count.
        classes: the folders of classes that are read. None: all.
        suffix: the end of the names of files that are read.
        max_unpacked_gb: how many gigabytes (10^9 bytes) an archive may unpack to.
    """

    path: str
    train: str = "train"
    test: str | Annotated[float, Range(0, bounds="()")] = "test"
    classes: tuple[str, ...] | None = None
    suffix: str = ".txt"
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def content(self) -> str:
        path, content = find_path(self.path), hashlib.blake2b(digest_size=16)
        if not path.is_dir():
            return f"{hash_file(path).hexdigest()}, {self.train=}, {self.suffix=}, classes={sorted(self.classes or ())}"
        for part in self._parts.values():
            for array in (part.names, part.texts.data, part.texts.offsets):
                content.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
        return content.hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return {name: len(part.names) for name, part in self._parts.items()}

    def origin(self, part: str) -> str:
        return self.path if part == "all" else f"{self.path} ({part})"

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return {name: {"text": part.texts, "label": part.labels} for name, part in self._parts.items()}

    def block(self, part: str, columns: Mapping[str, Values], first: int) -> Block:
        return _Files(columns, origin=self.origin(part), first_row=first, names=self._parts[part].names)

    @cached_property
    def _parts(self) -> dict[str, _Part]:
        given = {"train": self.train, "test": self.test}
        folders = {folder: part for part, folder in given.items() if isinstance(folder, str)}
        classes: dict[str, set[str]] = {folder: set(self.classes or ()) for folder in folders}
        texts: dict[str, dict[str, bytes]] = {folder: {} for folder in folders}
        for path, text in read_entries(Packed(find_path(self.path), self.max_unpacked_gb), self._is_wanted):
            folder, name = _split_path(path, text is None)
            classes[folder].add(name)
            if text is not None:
                texts[folder][path] = text  # the last one, where an archive has a path twice
        for folder in folders:
            self._check(folder, classes[folder], {_split_path(path)[1] for path in texts[folder]})
        alone = len(folders) == 1
        return {"all" if alone else part: _make_part(sorted(texts[folder].items())) for folder, part in folders.items()}

    def _is_wanted(self, path: str, is_folder: bool) -> bool:
        """Whether a path is the folder of a class, or a text in one."""
        folder, label = _split_path(path, is_folder)
        if folder not in (self.train, self.test) or label not in (self.classes or (label,)):
            return False
        name = path.rpartition("/")[2]
        return is_folder or (name.endswith(self.suffix) and not name.startswith("."))

    def _check(self, folder: str, classes: set[str], filled: set[str]) -> None:
        if not filled:
            option = "train" if folder == self.train else "test"
            raise DataError(
                f"{find_path(self.path)} has no {folder}/CLASS/NAME{self.suffix}; "
                f"set `{option}` (={folder}) to the name of the folder that holds a folder for each class"
            )
        if empty := sorted(classes - filled):
            raise DataError(
                f"{find_path(self.path)} has no text of class {empty[0]} in {folder}. {suggest_name(empty[0], filled)}"
            )


class _Part(NamedTuple):
    names: np.ndarray  # of the files
    texts: Strings
    labels: Strings


@dataclass(frozen=True, kw_only=True)
class _Files(Block):
    """Rows that are files. Messages name a row by its file."""

    names: np.ndarray

    def locate(self, row: int) -> str:
        return f"{self.names[self.first_row + row]} of {self.origin}"


def _split_path(path: str, is_folder: bool = False) -> tuple[str, str]:
    """The last two folders of a path: that of the part, and that of the class."""
    *_, folder, label, name = ["", "", *path.split("/")]
    return (label, name) if is_folder else (folder, label)


def _make_part(files: list[tuple[str, bytes]]) -> _Part:
    names = np.array([name for name, _ in files])
    classes, rows = np.unique([_split_path(name)[1] for name, _ in files], return_inverse=True)
    labels = Strings.from_bytes([name.encode() for name in classes.tolist()])
    return _Part(names, Strings.from_bytes([text for _, text in files]), labels._replace(indices=rows))
