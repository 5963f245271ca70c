"""The source for text files that are sorted into one folder for each class."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple

import numpy as np

from components.closest import suggest_name
from components.data.archive import read_entries
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.table import Table
from components.input_files import find_path, hash_file
from components.types import Block, DataError, Range, Strings, Values


@dataclass(frozen=True, kw_only=True)
class TextFolders(Table):
    """Text files in UTF-8, PART/CLASS/NAME.txt, as columns `text` and `label`, which is CLASS.

    Rows are in the order of their paths. Files whose names start with a dot are left out.

    Attributes:
        path: a folder that contains the PART folders at any depth, or a tar archive, packed or not. An archive isn't
            unpacked to the disk. A relative path is looked up below $TITRATE_DATA, then below the working folder.
        train: the name of the PART folder for training. It has a folder for each class.
        valid: the name of the PART folder for validation; or the rows of `train` for the validation split, a share in
            (0, 1) or a count. None: the folder `valid`, or a share of 0.15 if there is none.
        test: the name of the PART folder for testing; or the rows of `train` for the test split, a share in (0, 1) or a
            count.
        classes: the names of the CLASS folders to read. None: all.
        suffix: the end of the names of the files to read.
        max_unpacked_gb: the maximum size of an unpacked archive in gigabytes (10^9 bytes).
    """

    path: str
    train: str = "train"
    valid: str | Annotated[float, Range(0, bounds="()")] | None = None
    test: str | Annotated[float, Range(0, bounds="()")] = "test"
    classes: tuple[str, ...] | None = None
    suffix: str = ".txt"
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def content_digest(self) -> str:
        path, digest = find_path(self.path), hashlib.blake2b(digest_size=16)
        if not path.is_dir():
            return f"{hash_file(path).hexdigest()}, {self.train=}, {self.suffix=}, classes={sorted(self.classes or ())}"
        for part in self._parts.values():
            for array in (part.names, part.texts.data, part.texts.offsets):
                digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return {name: len(part.names) for name, part in self._parts.items()}

    def origin(self, part: str) -> str:
        return self.path if part == "all" else f"{self.path} ({part})"

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return {name: {"text": part.texts, "label": part.labels} for name, part in self._parts.items()}

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        return _FileBlock(columns, origin=self.origin(part), first_row=first_row, names=self._parts[part].names)

    @cached_property
    def _parts(self) -> dict[str, _Part]:
        folders = self._folders
        classes: dict[str, set[str]] = {folder: set(self.classes or ()) for folder in folders.values()}
        texts: dict[str, dict[str, bytes]] = {folder: {} for folder in folders.values()}
        for path, text in read_entries(PackedFile(find_path(self.path), self.max_unpacked_gb), self._is_wanted):
            folder, name = _split_path(path, text is None)
            classes[folder].add(name)
            if text is not None:
                texts[folder][path] = text  # if an archive has several entries with this path, the last one counts
        if self.valid is None and not texts.get(folders.get("valid", ""), True):
            del folders["valid"]
        for part, folder in folders.items():
            self._check_classes(part, folder, classes[folder], {_split_path(path)[1] for path in texts[folder]})
        names = ["all"] if len(folders) == 1 else list(folders)
        parts = zip(names, folders.values(), strict=True)
        return {name: _make_part(sorted(texts[folder].items())) for name, folder in parts}

    @property
    def _folders(self) -> dict[str, str]:
        """The PART folders to read, by part."""
        default = None if "valid" in (self.train, self.test) else "valid"
        folders = {"train": self.train, "valid": default if self.valid is None else self.valid, "test": self.test}
        return {part: folder for part, folder in folders.items() if isinstance(folder, str)}

    def _is_wanted(self, path: str, is_folder: bool) -> bool:
        """Whether a path is a CLASS folder to read, or a text file in it."""
        folder, label = _split_path(path, is_folder)
        if folder not in self._folders.values() or label not in (self.classes or (label,)):
            return False
        name = path.rpartition("/")[2]
        return is_folder or (name.endswith(self.suffix) and not name.startswith("."))

    def _check_classes(self, part: str, folder: str, classes: set[str], classes_with_text: set[str]) -> None:
        if not classes_with_text:
            raise DataError(
                f"{find_path(self.path)} has no files {folder}/CLASS/NAME{self.suffix}; "
                f"set `{part}` (={folder}) to the name of the folder that contains a folder for each class"
            )
        if empty_classes := sorted(classes - classes_with_text):
            name = empty_classes[0]
            hint = suggest_name(name, classes_with_text)
            raise DataError(f"{find_path(self.path)} has no text of class {name} in {folder}. {hint}")


class _Part(NamedTuple):
    names: np.ndarray  # the path of each file
    texts: Strings
    labels: Strings


@dataclass(frozen=True, kw_only=True)
class _FileBlock(Block):
    """A block in which each row is a file. Messages name a row by its file."""

    names: np.ndarray

    def locate(self, row: int) -> str:
        return f"{self.names[self.first_row + row]} of {self.origin}"


def _split_path(path: str, is_folder: bool = False) -> tuple[str, str]:
    """The names of the PART folder and of the CLASS folder."""
    *_, folder, label, name = ["", "", *path.split("/")]
    return (label, name) if is_folder else (folder, label)


def _make_part(files: list[tuple[str, bytes]]) -> _Part:
    names = np.array([name for name, _ in files])
    classes, class_of_row = np.unique([_split_path(name)[1] for name, _ in files], return_inverse=True)
    labels = Strings.from_bytes([name.encode() for name in classes.tolist()])
    return _Part(names, Strings.from_bytes([text for _, text in files]), labels._replace(indices=class_of_row))
