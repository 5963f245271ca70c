"""The source for text files that are sorted into one folder for each class."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

from components.closest import suggest_name
from components.data.bad_rows import SKIP_ROWS, BadRows, check_remaining_classes
from components.data.files import FileBlock, check_utf_8_name, open_files
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.skipping import SkipOptions
from components.data.table import Table
from components.input_files import find_path, hash_file
from components.types import Block, DataError, Range, Strings, Values


@dataclass(frozen=True, kw_only=True)
class TextFolders(SkipOptions, Table):
    """Text files in UTF-8, PART/CLASS/NAME.txt, as columns `text` and `label`, which is CLASS.

    Rows are in the order of their paths. Files whose names start with a dot are left out.

    Attributes:
        path: a folder that contains the PART folders at any depth, or a tar archive, packed or not. An archive isn't
            unpacked to the disk. A relative path is looked up below $TITRATE_DATA, then below the working folder. Of
            several paths the first that exists is read.
        train: the name of the PART folder for training. It has a folder for each class.
        valid: the name of the PART folder for validation; or the rows of `train` for the validation split, a share in
            (0, 1) or a count. None: the folder `valid`, or a share of 0.15 if there is none.
        test: the name of the PART folder for testing; or the rows of `train` for the test split, a share in (0, 1) or a
            count.
        classes: the names of the CLASS folders to read. None: all.
        suffix: the end of the names of the files to read.
        max_unpacked_gb: the maximum size of an unpacked archive in gigabytes (10^9 bytes).
    """

    path: str | tuple[str, ...]
    train: str = "train"
    valid: str | Annotated[float, Range(0, bounds="()")] | None = None
    test: str | Annotated[float, Range(0, bounds="()")] = "test"
    classes: tuple[str, ...] | None = None
    suffix: str = ".txt"
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def content_digest(self) -> str:
        path, digest = self._found, hashlib.blake2b(digest_size=16)
        if not path.is_dir():
            return f"{hash_file(path).hexdigest()}, {self.train=}, {self.suffix=}, classes={sorted(self.classes or ())}"
        for part in self._parts.values():
            for array in (part.names, part.texts.data, part.texts.offsets):
                digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()

    @cached_property
    def bad_rows(self) -> BadRows:
        """The files that aren't UTF-8, if they are skipped."""
        return self._read_files[1]

    def sizes(self) -> Mapping[str, int]:
        return {name: len(part.names) for name, part in self._parts.items()}

    def origin(self, part: str) -> str:
        return self._label if part == "all" else f"{self._label} ({part})"

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return {name: {"text": part.texts, "label": part.labels} for name, part in self._parts.items()}

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        names = self._parts[part].names[first_row:].tolist()
        return FileBlock(columns, origin=self.origin(part), first_row=first_row, names=names)

    @cached_property
    def _found(self) -> Path:
        """The folder or archive. Raises MissingFileError if there is none."""
        paths = (self.path,) if isinstance(self.path, str) else self.path
        if not paths:
            raise DataError("`path` must name a folder or a tar archive, got an empty list")
        return find_path(*paths)

    @property
    def _label(self) -> str:
        """The path for messages."""
        return self.path if isinstance(self.path, str) else str(self._found)

    @property
    def _parts(self) -> dict[str, _Part]:
        return self._read_files[0]

    @cached_property
    def _read_files(self) -> tuple[dict[str, _Part], BadRows]:
        """The files by part, and those that are skipped."""
        packed, folders = PackedFile(path := self._found, self.max_unpacked_gb), self._folders
        files = open_files(packed, self._is_wanted)
        if not path.is_dir():
            packed.check_size(int(files.sizes.sum()))
        classes: dict[str, set[str]] = {folder: set(self.classes or ()) for folder in folders.values()}
        for name in files.folders:
            folder, label = _split_path(f"{name}/")
            if self._is_class(folder, label):
                classes[folder].add(label)
        texts: dict[str, dict[str, bytes]] = {folder: {} for folder in folders.values()}
        faults = dict[str, str]()
        for number, name in enumerate(files.names):
            folder, label = _split_path(name)
            classes[folder].add(label)
            texts[folder][name] = files.read(number)
            check_utf_8_name(path, name)
            if fault := _find_fault(texts[folder][name]):
                faults[name] = f"{name} in {path} {fault}"
        if self.valid is None and not texts.get(folders.get("valid", ""), True):
            del folders["valid"]
        for part, folder in folders.items():
            self._check_classes(part, folder, classes[folder], {_split_path(path)[1] for path in texts[folder]})
        names = {folder: [*texts[folder]] for folder in folders.values()}
        if faults and self.on_bad_row == "error":
            offer = (SKIP_ROWS,) if self._can_skip(names, faults) else ()
            raise DataError(next(iter(faults.values())), "convert it", *offer)
        bad_rows = self._skip(names, faults)
        for folder, found in texts.items():
            texts[folder] = {name: text for name, text in found.items() if name not in faults}
        parts = ["all"] if len(folders) == 1 else list(folders)
        made = (_make_part([*texts[folder].items()]) for folder in folders.values())
        return dict(zip(parts, made, strict=True)), bad_rows

    def _can_skip(self, names: Mapping[str, Sequence[str]], faults: Mapping[str, str]) -> bool:
        try:
            self._skip(names, faults)
        except DataError:
            return False
        return True

    def _skip(self, names: Mapping[str, Sequence[str]], faults: Mapping[str, str]) -> BadRows:
        """The rows of files with a fault. Raises DataError if these are most files, or all training files of a class.

        Args:
            names: the files of each folder of a part; the training part is the first.
            faults: what is wrong with some files, by name.
        """
        files = [name for own in names.values() for name in own]
        bad_rows = BadRows().add(np.flatnonzero([name in faults for name in files]), lambda row: faults[files[row]])
        bad_rows.check(len(files), self._label)
        known = set[str]()
        for folder, own in names.items():
            remaining = known | {_split_path(name)[1] for name in own if name not in faults}
            described = {number: faults[name] for number, name in enumerate(own) if name in faults}
            skipped = {number: {_split_path(own[number])[1]} for number in described}
            check_remaining_classes(skipped, remaining, f"{self._label} ({folder})", described.__getitem__)
            known = known or remaining
        return bad_rows

    @property
    def _folders(self) -> dict[str, str]:
        """The PART folders to read, by part."""
        default = None if "valid" in (self.train, self.test) else "valid"
        folders = {"train": self.train, "valid": default if self.valid is None else self.valid, "test": self.test}
        return {part: folder for part, folder in folders.items() if isinstance(folder, str)}

    def _is_wanted(self, path: str) -> bool:
        """Whether a file is in a CLASS folder to read, and a text file."""
        return self._is_class(*_split_path(path)) and path.endswith(self.suffix)

    def _is_class(self, folder: str, label: str) -> bool:
        return folder in self._folders.values() and label in (self.classes or (label,))

    def _check_classes(self, part: str, folder: str, classes: set[str], classes_with_text: set[str]) -> None:
        if not classes_with_text:
            raise DataError(
                f"{self._found} has no files {folder}/CLASS/NAME{self.suffix}; "
                f"set `{part}` (={folder}) to the name of the folder that contains a folder for each class"
            )
        if empty_classes := sorted(classes - classes_with_text):
            name = empty_classes[0]
            hint = suggest_name(name, classes_with_text)
            raise DataError(f"{self._found} has no text of class {name} in {folder}. {hint}")


class _Part(NamedTuple):
    names: np.ndarray  # the path of each file
    texts: Strings
    labels: Strings


def _split_path(path: str) -> tuple[str, str]:
    """The names of the PART folder and of the CLASS folder of a file."""
    *_, folder, label, _ = ["", "", *path.split("/")]
    return folder, label


def _find_fault(content: bytes) -> str:
    """Why the content of a file isn't a text; "": it is."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"isn't UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}"
    return ""


def _make_part(files: list[tuple[str, bytes]]) -> _Part:
    names = np.array([name for name, _ in files])
    classes, class_of_row = np.unique([_split_path(name)[1] for name, _ in files], return_inverse=True)
    labels = Strings.from_bytes([name.encode() for name in classes.tolist()])
    return _Part(names, Strings.from_bytes([text for _, text in files]), labels._replace(indices=class_of_row))
