"""The source for images that are sorted into one folder for each class."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

from components.closest import join_names, suggest_name
from components.data.bad_images import verify_files
from components.data.bad_rows import BadRows, check_remaining_classes, offer_skipping
from components.data.files import (
    ChecksFileBytes,
    FileBlock,
    FileContents,
    Files,
    check_utf_8_name,
    find_file_bounds,
    open_files,
)
from components.data.image_profile import profile_images
from components.data.key_column import format_key
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.profile import Profile
from components.data.skipping import SearchesBadRows
from components.data.splitting import SPLIT_NAMES
from components.data.table import Table, slice_rows
from components.image_files import is_image_file
from components.input_files import IMAGE_SUFFIXES, find_path, open_file
from components.types import Block, DataError, LazyColumns, Range, Remedy, Strings, TableProfile, Values, row_count

PARTS = SPLIT_NAMES | {
    "training": "train",
    "testing": "test",
    "training_set": "train",
    "validation_set": "valid",
    "test_set": "test",
}
"""The splits, by the names of folders that hold them."""
TABLE_SUFFIXES, ARRAY_SUFFIXES = (".csv", ".tsv"), (".npz", ".npy")
START_BYTES = 16  # of a file, which tell its format


@dataclass(frozen=True, kw_only=True)
class ImageFolders(SearchesBadRows, ChecksFileBytes, Table):
    """Image files, CLASS/…/NAME.jpg, as columns `image`, the bytes of the file, `label`, which is CLASS, and `path`.

    Class folders may stand in folders train, valid (validation, val) and test, which are then the splits. Rows are in
    the order of their paths. Names that start with a dot are left out.

    Attributes:
        path: the folder, or a tar or zip archive of it, which isn't unpacked to the disk. A relative path is looked up
            below $TITRATE_DATA, then below the working folder.
        valid: the rows of the validation split: a share in (0, 1) or a count. None: those of the folder `valid`, or a
            share of 0.15 if there is none.
        test: the rows of the test split, likewise.
        classes: the names of the class folders to read. None: all.
        labels: whether each image is in a folder of its class. If not, there is no column `label`. None: if each is in
            a folder.
        suffix: the ends of the names of the files to read; other files are left out. None: those of JPEG, PNG, BMP,
            GIF, WebP and TIFF files, and any other file is an error.
        max_unpacked_gb: the maximum size in gigabytes (10^9 bytes) of a packed tar archive, unpacked in memory, and of
            each file in a zip archive.
    """

    path: str
    valid: Annotated[float, Range(0, bounds="()")] | None = None
    test: Annotated[float, Range(0, bounds="()")] | None = None
    labels: bool | None = True
    suffix: str | tuple[str, ...] | None = None
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def content_digest(self) -> str:
        used = [self._files.names[row] for rows in self._layout.parts.values() for row in rows.tolist()]
        names = "\0".join([*used, *self._strays])
        digest = hashlib.blake2b(f"{self._files.version.portable}\0{names}".encode(), digest_size=16)
        return f"{digest.hexdigest()}, {self.labels=}"

    def sizes(self) -> Mapping[str, int]:
        return {part: len(rows) for part, rows in self._parts.items()}

    def origin(self, part: str) -> str:
        return self.path if part == "all" else f"{self.path} ({part})"

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        """The columns without the images, which are read block by block."""
        columns = {}
        for part, rows in self._parts.items():
            names = [self._files.names[row] for row in rows.tolist()]
            columns[part] = {"path": Strings.from_bytes([name.encode() for name in names])}
            if self._has_labels:
                columns[part]["label"] = _encode_dictionary([self._classes[row] for row in rows.tolist()])
        return columns

    def blocks(self, part: str) -> Iterator[Block]:
        """Yields the rows of a part in consecutive blocks. Their files are read when the column `image` is used."""
        rows = self._parts[part]
        for first, stop in find_file_bounds(self._files.sizes[rows]):
            columns = {name: slice_rows(values, first, stop) for name, values in self.columns_by_part[part].items()}
            block = self.make_block(part, columns, first)
            contents = FileContents(self._files, rows[first:stop])
            with_image = LazyColumns(columns, {"image": contents.read}, np.arange(stop - first))
            yield replace(block, columns=with_image, files=frozenset({"image"}), offers_skipping=self.offers_skipping)

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        """Makes a block without images."""
        rows = self._parts[part][first_row : first_row + row_count(columns["path"])]
        names = [self._files.names[row] for row in rows.tolist()]
        return FileBlock(columns, origin=self.origin(part), first_row=first_row, names=names)

    def profile(self) -> TableProfile:
        """The facts about the classes and, from the headers of some files, about the sizes.

        Raises:
            DataError: a file is no image.
        """
        if not self._has_labels:
            value = "null" if self.labels is None else "false"
            raise DataError(
                f"`labels` (={value}) leaves no target, so nothing is inferred. If a table has the classes of the "
                "images, read it (`image_table`); to predict the images, use a finished run (`predict`); "
                "otherwise write a feature file, and choose it by feature=…"
            )
        rows = np.concatenate([*self._parts.values()])
        labels = _encode_dictionary([self._classes[row] for row in rows.tolist()])
        label = Profile("label", "string", True, labels, None, lambda row: self._files.names[rows[row]], dict)
        images = profile_images(
            "image", rows, self._files.read, lambda number: f"{self._files.names[number]} of {self.path}"
        )
        return TableProfile(self.path, (label,), "label", images=(images,))

    @property
    def file_lists(self) -> Sequence[Files]:
        return (self._files,)

    @property
    def other_images(self) -> Sequence[str]:
        """The image files that `suffix` leaves out."""
        return self._listed[1]

    @property
    def _files(self) -> Files:
        return self._listed[0]

    @cached_property
    def _listed(self) -> tuple[Files, Sequence[str], Sequence[str]]:
        """The files that are read, the image files that `suffix` leaves out, and files that aren't named as images."""
        suffixes = (self.suffix,) if isinstance(self.suffix, str) else self.suffix
        if suffixes == ():
            raise DataError(
                f"`suffix` is empty; set `suffix=null` to read images, or list ends such as {IMAGE_SUFFIXES[0]}"
            )
        ends = tuple(suffix.lower() for suffix in suffixes or ("",))
        packed = PackedFile(find_path(self.path), self.max_unpacked_gb)
        if packed.path.is_file() and (remedies := _suggest_source(packed.path)):
            raise DataError(f"{packed.path} is no folder or archive of images", *remedies)
        left_out, others = set[str](), set[str]()

        def is_wanted(name: str) -> bool:
            is_listed, is_image = name.lower().endswith(ends), name.lower().endswith(IMAGE_SUFFIXES)
            if not is_listed and is_image:
                left_out.add(name)
            if suffixes is None and not is_image:
                others.add(name)
                return False
            return is_listed

        try:
            files = open_files(packed, is_wanted)
        except DataError:
            # Not before: a tar archive starts with a name such as BMW, and BMP files start with BM.
            if _is_image(packed.path):
                remedy = f"Set `path` to the folder of the images, such as {packed.path.parent}"
                raise DataError(f"{packed.path} is one image. {remedy}") from None
            raise
        strays = sorted(others)
        if strays and self.on_bad_row == "error":
            others_text = "1 other file is none" if len(strays) == 2 else f"{len(strays) - 1:,} other files are none"
            more = f", and {others_text}" if len(strays) > 1 else ""
            other_source = _suggest_source(Path(self.path, strays[0])) if packed.path.is_dir() else ()
            suffix = f"set `suffix` to the ends of the names to read, such as {IMAGE_SUFFIXES[0]}"
            raise DataError(
                f"{strays[0]} in {self.path} is no image file{more}",
                "remove it",
                Remedy(suffix, "reading"),
                *self._offer_skipping(),
                *other_source,
            )
        for name in files.names:
            check_utf_8_name(packed.path, name)
        if not files.names:
            raise DataError(f"{packed} has no file whose name ends in {', '.join(suffixes or IMAGE_SUFFIXES)}")
        return files, sorted(left_out), strays

    def _offer_skipping(self) -> tuple[Remedy, ...]:
        """The remedy that skips files that aren't named as images; none: they wouldn't be skipped."""
        skipping = replace(self, on_bad_row="skip")
        try:
            images = sum(map(len, skipping._layout.parts.values()))
        except DataError:  # such as a folder without any images
            return ()
        return offer_skipping(len(skipping._strays), len(skipping._strays) + images)

    @property
    def _strays(self) -> Sequence[str]:
        """The files that aren't named as images, and are skipped."""
        if self.classes is None:
            return self._listed[2]
        wanted = {*map(format_key, self.classes)}
        return [name for name in self._listed[2] if wanted.intersection(name.split("/")[:-1])]

    @cached_property
    def _layout(self) -> _Layout:
        layout = _find_layout(self.path, self._files, labels=self._has_labels)
        if self.labels and self.classes is None and "all" in layout.parts:
            _check_no_parts(self.path, self._files.names, layout.depth)
        if self.classes is None or not self._has_labels:  # images to predict may have none
            return layout
        wanted = [*map(format_key, self.classes)]
        if unknown := [name for name in wanted if name not in layout.classes]:
            hint = suggest_name(unknown[0], layout.classes)
            raise DataError(f"`classes` lists {unknown[0]}, but {self.path} has no folder of such a class. {hint}")
        is_wanted = np.isin(layout.classes, wanted)
        return layout._replace(parts={part: rows[is_wanted[rows]] for part, rows in layout.parts.items()})

    @cached_property
    def _has_labels(self) -> bool:
        return all("/" in name for name in self._files.names) if self.labels is None else self.labels

    @property
    def _classes(self) -> Sequence[str]:
        """The class of each file."""
        return self._layout.classes

    @cached_property
    def _parts(self) -> Mapping[str, np.ndarray]:
        """The files of each part, without those that are skipped."""
        parts, first = dict[str, np.ndarray](), 0
        for part, rows in self._layout.parts.items():
            is_bad = np.isin(np.arange(first, first + len(rows)), self.bad_rows.rows)
            parts[part], first = rows[~is_bad], first + len(rows)
        return parts

    @cached_property
    def bad_rows(self) -> BadRows:
        """The files that are no images, if they are skipped. All files that are named as images are decoded.

        Raises:
            DataError: these are more than half of the files, or all of a class in a part.
        """
        is_used = self.used_columns is None or "image" in self.used_columns
        if self.on_bad_row == "error" or not is_used:
            return BadRows()
        files, strays = np.concatenate([*self._layout.parts.values()]), self._strays
        faults = [verdict.fault for verdict in verify_files(files.tolist(), self._files.read)]
        rows = np.flatnonzero([bool(fault) for fault in faults])

        def describe(row: int) -> str:
            return f"{self._files.names[files[row]]} of {self.path} {faults[row]}"

        bad_rows = BadRows().add(rows, describe)
        others = np.arange(len(files) - len(rows), len(files) - len(rows) + len(strays))  # numbered after the images
        bad_rows = bad_rows.add(
            others, lambda row: f"{strays[row - others[0]]} of {self.path} isn't named as an image file"
        )
        bad_rows.check(len(files) + len(strays), self.path)
        if self._has_labels:
            self._check_remaining_classes(files, [bool(fault) for fault in faults], describe)
        return bad_rows

    def _check_remaining_classes(
        self, files: np.ndarray, is_bad: Sequence[bool], describe: Callable[[int], str]
    ) -> None:
        """Raises DataError if all files of a class in a part are skipped, and the training part has no others."""
        first, known = 0, set[str]()
        for part, own in self._layout.parts.items():  # the training part is the first
            numbers = range(first, first + len(own))
            classes = {number: self._classes[files[number]] for number in numbers}
            remaining = known | {name for number, name in classes.items() if not is_bad[number]}
            skipped = {number: {name} for number, name in classes.items() if is_bad[number]}
            check_remaining_classes(skipped, remaining, self.origin(part), describe)
            first, known = first + len(own), known or remaining


class _Layout(NamedTuple):
    """What the folders mean.

    Attributes:
        parts: the positions of the files of each part.
        classes: the class of each file; empty without labels.
        depth: the number of folders around the parts or classes.
    """

    parts: Mapping[str, np.ndarray]
    classes: Sequence[str]
    depth: int


def _is_image(path: Path) -> bool:
    if path.is_dir():
        return False
    with open_file(path) as file:
        return is_image_file(file.read(START_BYTES))


def _suggest_source(path: Path) -> tuple[Remedy, ...]:
    """The remedy that chooses the source which reads a file, by the end of its name; none: no source does."""
    suffix, setting = path.suffix.lower(), f"and set `path={path}`"
    if suffix in TABLE_SUFFIXES:
        return (Remedy(f"choose data=image_table, {setting}", "columns", "if it is a table that lists images"),)
    if suffix in ARRAY_SUFFIXES:
        return (Remedy(f"choose data=npz, {setting}", "columns", "if its arrays are the images"),)
    return ()


def _find_layout(path: str, files: Files, *, labels: bool) -> _Layout:
    """Finds parts and classes in the paths of files. Raises DataError for files without a class, and empty classes."""
    depth = _count_outer_folders(files.names, levels=1 + labels)
    split_names = [name.split("/")[depth:] for name in files.names]
    has_parts = any(len(names) > 1 + labels and _find_part(names[0]) == "train" for names in split_names)
    part_of_file, classes = [], []
    for name, folders in zip(files.names, split_names, strict=True):
        part = _find_part(folders[0]) if has_parts and len(folders) > 1 else None
        if has_parts and part is None:
            train = next(each[0] for each in split_names if _find_part(each[0]) == "train")
            raise DataError(
                f"{name} in {path} is in none of the folders train, valid and test. Move or remove it. If {train} is "
                f"a class, and no split, rename its folder, such as to {train}_class"
            )
        below = folders[1:] if has_parts else folders
        if labels and len(below) < 2:
            where = f" in {folders[0]}" if has_parts else ""
            raise DataError(
                f"{name} in {path} is in no class folder: there is a folder for each class{where}, such as "
                f"{'/'.join([*name.split('/')[:-1], 'CLASS', below[-1]])}.",
                "move or remove it",
                Remedy("use a finished run", "predicting", "to predict images without classes"),
                Remedy("set `labels=false` and choose a feature file", "columns", "to train on them"),
            )
        part_of_file.append(part or "all")
        classes.append(below[0] if labels else "")
    for level in [depth] * has_parts + [depth + has_parts] * labels:
        _check_folders(path, files, level)
    names = np.array(part_of_file)
    parts: dict[str, np.ndarray] = {
        part: np.flatnonzero(names == part) for part in ("all", "train", "valid", "test") if part in part_of_file
    }
    return _Layout(parts, classes, depth)


def _check_no_parts(path: str, names: Sequence[str], depth: int) -> None:
    """Raises DataError if folders that would be classes look as if they were splits."""
    inner = dict[str, set[str]]()
    for name in names:
        top, *below = name.split("/")[depth:]
        inner.setdefault(top, set()).update(below[:-1][:1])
    folders, first = [*inner], next(iter(inner.values()))
    part = next((folder for folder in folders if inner[folder] and _find_part(folder)), None)
    if part is not None:
        fault = f"holds the {_find_part(part)} split by its name, and no folder is named train"
    elif len(folders) > 1 and len(first) > 1 and all(below == first for below in inner.values()):
        part, fault = folders[0], f"has the same folders as {folders[1]}, {join_names(sorted(first))}, as splits have"
    else:
        return
    raise DataError(
        f"the folder {part} in {path} {fault}. Splits are folders train, valid and test; rename them, or set `path` to "
        f"one of them. If the classes are {join_names(folders)}, list them in `classes`"
    )


def _find_part(folder: str) -> str | None:
    """The part that a folder holds, by its name in any case; None: it holds none."""
    return PARTS.get(folder.lower())


def _count_outer_folders(names: Sequence[str], levels: int) -> int:
    """The number of folders around the parts or classes: an archive often has one, in which all others are."""
    folders = [name.split("/")[:-1] for name in names]
    depth = 0
    while (
        min(map(len, folders)) > depth + levels - 1
        and len({folder[depth] for folder in folders}) == 1
        and _find_part(folders[0][depth]) is None
    ):
        depth += 1
    return depth


def _check_folders(path: str, files: Files, level: int) -> None:
    """Raises DataError for a folder without images that has so many folders around it."""
    with_images = {"/".join(name.split("/")[: level + 1]) for name in files.names}
    for folder in files.folders:
        if folder.count("/") == level and folder not in with_images:
            raise DataError(f"the folder {folder} in {path} has no images. Add some, or remove it")


def _encode_dictionary(texts: Sequence[str]) -> Strings:
    classes, class_of_row = np.unique(np.array(texts), return_inverse=True)
    labels = Strings.from_bytes([name.encode() for name in classes.tolist()])
    return labels._replace(indices=class_of_row)
