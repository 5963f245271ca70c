"""The source for a table of paths of images, whose other columns are labels and features."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self, cast

import numpy as np

from components.closest import describe_other_form, format_name, join_names
from components.data.bad_images import verify_files
from components.data.bad_rows import BadRowsError, offer_skipping
from components.data.csv.options import raise_contradiction
from components.data.csv.reader import Columns, Reader
from components.data.csv.source import Csv
from components.data.files import ChecksFileBytes, FileContents, Files, find_file_bounds, hash_texts
from components.data.image_profile import profile_images
from components.data.listed_files import MISSING, ListedFiles, find_listed_files
from components.data.packed import PackedFile
from components.data.table import LocatedBlock, slice_rows
from components.data.table_paths import common_folder
from components.image_files import ImageShape, verify_mask
from components.input_files import IMAGE_SUFFIXES, find_path
from components.types import (
    Block,
    ColumnType,
    DataError,
    ImageProfile,
    LazyColumns,
    Remedy,
    Strings,
    TableProfile,
    Values,
)

PATH_REMEDIES = ("correct the path", "remove the row")
PATH = "path"  # the column `IMAGE.path` has the paths of the column `IMAGE`


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageTable(ChecksFileBytes, Csv):
    """A CSV file of paths of images, with labels and other columns. The columns of paths become the images' files.

    The column `IMAGE.path` has the paths of the column `IMAGE` as they are in the table. In a path, a backslash is a
    slash. An empty path is a missing image.

    Attributes are those of `Csv`, and:
        images: the column of paths, or several, such as one of images and one of masks. None: those of whose texts each
            ends like the name of a JPEG, PNG, BMP, GIF, WebP or TIFF file.
        root: the folder that paths are relative to, or a tar or zip archive, which isn't unpacked to the disk. It is
            looked up as `path` is. None: the folder of the table, or the one that holds all of its files; also for each
            table of a split.
        on_missing_image: `error`: a row with an empty path is an error where the image is read. `drop`: it is left out
            and counted.
    """

    images: str | tuple[str, ...] | None = None
    root: str | None = None
    on_missing_image: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self._given_images:
            kind = (self.types or {}).get(name, "string")
            if kind != "string":
                raise_contradiction(name, "paths of images (`images`)", f"`types` (={kind})")

        if self.on_missing_image == "drop" and not self._given_images:
            raise DataError("`on_missing_image` (=drop) needs `images`, the column of paths whose gaps are meant")

    @property
    def required_columns(self) -> tuple[str, ...]:
        return self._given_images if self.on_missing_image == "drop" else ()

    @property
    def _given_images(self) -> tuple[str, ...]:
        return (self.images,) if isinstance(self.images, str) else self.images or ()

    @property
    def _declared_types(self) -> dict[str, ColumnType]:
        return super()._declared_types | dict.fromkeys(self._given_images, "string")

    def _listed_columns(self) -> Iterator[tuple[str, Collection[str]]]:
        yield from super()._listed_columns()
        yield "images", self._given_images

    @cached_property
    def reader(self) -> Reader:
        """Reads the table. Paths such as 0.png are texts, and not numbers with the mark `png`."""
        return replace(super().reader, text_marks=IMAGE_SUFFIXES if self.images is None else ())

    @cached_property
    def _images(self) -> tuple[str, ...]:
        """The columns of paths.

        Raises:
            DataError: there is none, an option names no column, or another column has the name of its paths.
        """
        if self is not self._unsearched:  # rows that are skipped don't decide which columns are images
            return self._unsearched._images
        images = self._find_images()
        if taken := next((name for name in images if f"{name}.{PATH}" in self.table.types), None):
            raise DataError(
                f"{self.label} has the columns {format_name(taken)} and {format_name(f'{taken}.{PATH}')}, which is the "
                f"name of the paths of {format_name(taken)}, too. Rename one of them, or drop it"
            )
        return images

    def _find_images(self) -> tuple[str, ...]:
        """The columns of paths that are given, or else found."""
        if self.images == ():
            return ()
        if self.images is not None:
            return tuple(name for name in self._given_images if name in self.table.types)
        texts = {name: values for name, values in self.table.values.items() if isinstance(values, Strings)}
        others = {name: self._find_other_texts(name, values) for name, values in texts.items()}
        if not (found := tuple(name for name, (_, count) in others.items() if count == 0)):
            raise self._make_no_images_error(others)
        return found

    def _find_other_texts(self, name: str, texts: Strings) -> tuple[int, int]:
        """The first row whose text isn't the name of an image file, and how many there are. All, if all are missing."""
        is_image = np.array(
            [text.lower().endswith(IMAGE_SUFFIXES) for text in texts._replace(indices=None).tolist()], bool
        )
        is_image = is_image if texts.indices is None else is_image[texts.indices]
        valid = self.table.valid.get(name)
        is_other = ~is_image if valid is None else ~is_image & valid
        is_none = valid is not None and not valid.any()
        return int(is_other.argmax()), len(is_other) if is_none else int(is_other.sum())

    def _make_no_images_error(self, others: Mapping[str, tuple[int, int]]) -> DataError:
        columns = self.table
        name, (row, count) = min(others.items(), key=lambda item: item[1][1], default=("", (0, columns.rows)))
        candidates = f"Columns: {join_names(columns.types)}."
        if count < columns.rows:
            text = slice_rows(columns.values[name], row, row + 1).tolist()[0]
            candidates = (
                f"In column {format_name(name)}, {columns.rows - count:,} of {columns.rows:,} do, but {text!r} doesn't "
                f"({self._locate(row)}). {candidates}"
            )
        return DataError(
            f"{self.label} has no column whose texts are all paths of images, which end in "
            f"{', '.join(IMAGE_SUFFIXES)}. {candidates} Set `images` to the column of paths."
        )

    @cached_property
    def _paths(self) -> Mapping[str, Mapping[str, list[str | None]]]:
        """The path of each row by part and column. None: it is missing."""
        return {
            part: {name: _list_texts(table.table.values[name], table.table.valid.get(name)) for name in self._images}
            for part, table in self.tables.items()
        }

    def find_bad_rows(self) -> Mapping[str, Any]:
        """The files that can't be read, as plain values."""
        return {"files": self._bad_files}

    def with_bad_rows(self, found: Mapping[str, Any]) -> Self:
        """The same source, with files that were found before."""
        source = self.renew()
        source.__dict__.update(_unsearched=self._unsearched, _bad_files=found["files"])
        return source

    def find_file_errors_of(self, part: str, columns: Columns) -> tuple[BadRowsError, ...]:
        if not (faults := self._bad_files.get(part)):
            return ()
        names = [name for name in self._used_images if name in columns.values]
        texts = {name: _list_texts(columns.values[name], columns.valid.get(name)) for name in names}
        groups = [(name,) for name in names] + [(target, name) for target in names for name in names if name != target]
        return tuple(
            error
            for group in groups
            if (error := self._make_file_error(group, [*zip(*(texts[name] for name in group), strict=True)], faults))
        )

    @property
    def _used_images(self) -> Sequence[str]:
        """The columns of paths that are used."""
        images = self._unsearched._images
        return images if self.used_columns is None else [name for name in images if name in self.used_columns]

    def _make_file_error(
        self, names: tuple[str, ...], rows: Sequence[tuple[str | None, ...]], faults: Mapping[str, str]
    ) -> BadRowsError | None:
        """The error of rows whose paths in some columns have a fault. None: there is no such row."""
        found = {number: fault for number, row in enumerate(rows) if (fault := faults.get(_join_paths(row)))}

        def describe(row: int) -> str:
            return f"column `{names[0]}` is {rows[row][0]!r}{found[row]}"

        if not found:
            return None
        remedies = [Remedy("replace the file, or remove the row", "files")]
        return BadRowsError(describe(min(found)), remedies, np.array([*found]), describe, len(rows))

    @cached_property
    def _unsearched(self) -> Self:
        """The same source, without a search for files that can't be read."""
        if self.on_bad_row == "error":
            return self
        source = self.renew()
        source.__dict__.update(_unsearched=source, _bad_files={})
        return source

    @cached_property
    def _bad_files(self) -> Mapping[str, Mapping[str, str]]:
        """What is wrong with paths, or with a mask and its image, by part and path. Empty if that is an error."""
        if self.on_bad_row == "error" or not self._used_images:
            return {}
        return {part: dict(self._unsearched._search(part)) for part in self._unsearched.tables}

    def _search(self, part: str) -> Iterator[tuple[str, str]]:
        """Yields the paths of a part whose files can't be read, and what is wrong with each. Decodes all files."""
        listed, columns = self._listed[part], self._paths[part]
        for path, fault in listed.faults.items():
            yield path, f", and {fault} in {listed.root.path}"
        verdicts = [*verify_files(range(len(listed.files.names)), listed.files.read)]
        images = {
            path: shape for path, number in listed.numbers.items() if (shape := verdicts[number].shape) is not None
        }
        for path, number in listed.numbers.items():
            if path not in images:
                yield path, f", which {verdicts[number].fault}"
        targets = (*self._targets, *self.target_columns)
        for name in (name for name in self._images if name in targets):
            masks = [path for path in columns[name] if path in images]
            paths = [*dict.fromkeys(masks)]
            found = verify_files([listed.numbers[path] for path in paths], listed.files.read, verify_mask)
            faults = {
                path: f", which {verdict.fault}" for path, verdict in zip(paths, found, strict=True) if verdict.fault
            }
            if 2 * sum(path in faults for path in masks) > len(masks):
                continue  # these are images
            yield from faults.items()
            for other in (other for other in self._images if other not in targets):
                yield from _compare_sizes([*zip(columns[name], columns[other], strict=True)], images, other)

    @cached_property
    def _listed(self) -> Mapping[str, ListedFiles]:
        """The files by part. Raises DataError for a path without a file."""
        if self is not self._unsearched and self.on_bad_row == "skip":
            return self._unsearched._listed
        listed = {}
        for part, paths in self._paths.items():
            root = common_folder(cast(Csv, self.tables[part]).files) if self.root is None else find_path(self.root)
            given = [path for column in paths.values() for path in column if path is not None]
            listed[part] = find_listed_files(PackedFile(root, self.max_unpacked_gb), given)
            if listed[part].faults and (self.on_bad_row == "error" or not listed[part].numbers):
                raise self._offer_skipping(self._make_fault_error(part, listed[part]), part, listed[part])
        return listed

    def _offer_skipping(self, error: DataError, part: str, listed: ListedFiles) -> DataError:
        """The error for paths without a file, which offers to skip their rows if they would be skipped."""
        if self.on_bad_row == "skip" or not error.remedies:
            return error
        rows = [*zip(*self._paths[part].values(), strict=True)]
        bad = sum(any(path in listed.faults for path in row) for row in rows)
        return DataError(error.fault, *error.remedies, *offer_skipping(bad, len(rows)))

    def _make_fault_error(self, part: str, listed: ListedFiles) -> DataError:
        """The error for paths without a file."""
        table, faults, root = self.tables[part], listed.faults, listed.root.path
        name, row, path = next(
            (name, row, path)
            for name, paths in self._paths[part].items()
            for row, path in enumerate(paths)
            if path is not None and path in faults
        )
        located = f"{table._locate(row)}: column `{name}` is {path!r}"
        if faults[path] != MISSING:
            place = os.path.normpath(root / path.replace("\\", "/")) if root.is_dir() else root
            return DataError(f"{located}, and {faults[path]}, {place}.", *PATH_REMEDIES)
        more = "" if len(faults) == 1 else f" {len(faults) - 1:,} more of the paths have no file."
        if (other := listed.find_other_form(path)) is not None:
            form, remedy = describe_other_form(path, other), "Write paths as the files are named, or rename the files."
            return DataError(f"{located}, and {MISSING} in {root}. {form}{more} {remedy}")
        if not listed.numbers and not listed.explain_path(path):
            return DataError(
                f"{located}, and none of the {len(faults):,} paths in {table.label} is a file in {root}. Set `root` to "
                f"the folder or archive that they are relative to.{listed.suggest_root(path)}"
            )
        return DataError(f"{located}, and {MISSING} in {root}.{listed.suggest_path(path)}{more}", *PATH_REMEDIES)

    @cached_property
    def _numbers(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """The number of each row's file among the files of its part, int64 (rows,), by part and column; -1: none."""
        return {
            part: {
                name: np.array([-1 if path is None else self._number(listed, name, path) for path in paths], np.int64)
                for name, paths in self._paths[part].items()
            }
            for part, listed in self._listed.items()
        }

    def _number(self, listed: ListedFiles, name: str, path: str) -> int:
        """The number of a file; -1: there is none, in a column that isn't used."""
        is_used = self.used_columns is None or name in self.used_columns
        return listed.numbers[path] if is_used else listed.numbers.get(path, -1)

    def content_digest(self) -> str:
        versions = [files.version.portable for files in self.file_lists]
        digest = hash_texts([*self._unsearched._images, *self.required_columns, *versions])
        return f"{super().content_digest()}, {digest}"

    @property
    def file_lists(self) -> Sequence[Files]:
        return [listed.files for listed in self._listed.values()]

    def blocks(self, part: str) -> Iterator[Block]:
        """Yields the rows of a part in consecutive blocks. The files of a column are read when it is used."""
        files, numbers, columns = self._listed[part].files, self._numbers[part], self.columns_by_part[part]
        sizes = np.append(files.sizes, 0)  # -1 is no file
        row_sizes = sum((sizes[own] for own in numbers.values()), start=np.zeros(self.sizes()[part], np.int64))
        for first, stop in find_file_bounds(row_sizes):
            own = {name: slice_rows(values, first, stop) for name, values in columns.items()}
            block = self.make_block(part, own, first)
            readers = {name: FileContents(files, rows[first:stop]).read for name, rows in numbers.items()}
            texts = {f"{name}.{PATH}": own[name] for name in readers}
            others = {name: values for name, values in own.items() if name not in readers}
            valid = {f"{name}.{PATH}": block.valid[name] for name in readers if name in block.valid}
            yield replace(
                block,
                columns=LazyColumns(texts | others, readers, np.arange(stop - first)),
                valid=valid | dict(block.valid),
                files=frozenset(readers),
                offers_skipping=self.offers_skipping,
                missing_file_remedies=self._missing_file_remedies,
            )

    @property
    def _missing_file_remedies(self) -> tuple[Remedy, ...]:
        """How rows with an empty path are left out. (): they are already, or a column has a name that needs quotes."""
        if self.on_missing_image == "drop" or not all(map(str.isidentifier, self._images)):
            return ()
        images = self._images[0] if len(self._images) == 1 else f"[{','.join(self._images)}]"
        action = f"set `images={images}` of the data and `on_missing_image=drop` of the data"
        return (Remedy(action, "skipping", "to leave out rows without an image"),)

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        """Makes a block whose columns of paths aren't replaced by files."""
        block = super().make_block(part, columns, first_row)
        texts = [_list_texts(columns[name], block.valid.get(name)) for name in self._images if name in columns]
        paths = [", ".join(filter(None, row)) for row in zip(*texts, strict=True)]
        return _ImageBlock(**vars(block), paths=paths)

    def profile(self) -> TableProfile:
        """The facts about the columns, and, from the headers of some files, about the sizes of images.

        Raises:
            DataError: a column has values and no name, or a file is no image.
        """
        profile = super().profile()
        columns = tuple(column for column in profile.columns if column.name not in self._images)
        images = tuple(self._profile_images(name, is_target=name in self._targets) for name in self._images)
        return replace(profile, columns=columns, images=images, options={**profile.options, "images": [*self._images]})

    def _profile_images(self, name: str, *, is_target: bool) -> ImageProfile:
        part = next(iter(self.tables))
        files, numbers = self._listed[part].files, self._numbers[part][name]
        rows = np.flatnonzero(numbers >= 0)
        profile = profile_images(
            name, rows, lambda row: files.read(int(numbers[row])), self.locate_row, is_target=is_target
        )
        return profile._replace(missing_count=len(numbers) - len(rows))

    def inferred_options(self, columns: Mapping[str, Literal["int", "float"] | None]) -> dict[str, Any]:
        return super().inferred_options(columns) | {"images": [*self._images]}


def _compare_sizes(
    pairs: Sequence[tuple[str | None, str | None]], shapes: Mapping[str, ImageShape], column: str
) -> Iterator[tuple[str, str]]:
    """Yields the pairs of paths whose sizes differ, and how. None, if most of them do: it is no matter of a few rows.

    Args:
        pairs: the paths of a mask and its image in each row.
        shapes: the shapes of images by path.
        column: the name of the column of images.
    """
    known = [(mask, image) for mask, image in pairs if mask and image and mask in shapes and image in shapes]
    wrong = [(mask, image) for mask, image in known if shapes[mask][:2] != shapes[image][:2]]
    for mask, image in wrong if 2 * len(wrong) <= len(known) else ():
        (height, width, _), (needed_height, needed_width, _) = shapes[mask], shapes[image]
        fault = (
            f", a mask of {height} x {width} pixels, and its image, in `{column}`, has {needed_height} x {needed_width}"
        )
        yield _join_paths((mask, image)), fault


def _join_paths(paths: Sequence[str | None]) -> str:
    """The key of one path, or of several paths of a row, in the faults of a part."""
    return "\0".join(path or "" for path in paths)


def _list_texts(texts: Values, valid: np.ndarray | None) -> list[str | None]:
    assert isinstance(texts, Strings)
    listed: list[str | None] = [*texts.tolist()]
    for row in np.flatnonzero(~valid).tolist() if valid is not None else ():
        listed[row] = None
    return listed


@dataclass(frozen=True, kw_only=True)
class _ImageBlock(LocatedBlock):
    """A block of rows of a table of images. Messages name a row by its line in the file and the paths of its images.

    Attributes:
        paths: the paths of the images of each row.
    """

    paths: Sequence[str]

    def locate(self, row: int) -> str:
        location, paths = super().locate(row), self.paths[row] if self.paths else ""
        return f"{location} ({paths})" if paths else location
