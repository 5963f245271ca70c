"""The files of a table that is in one or several files: paths, patterns such as `shards/*.csv`, and folders."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.cache_folder import strip_entry
from components.closest import join_names
from components.file_formats import FORMATS, match_suffix
from components.input_files import Paths, describe_paths, find_paths
from components.remote import is_remote
from components.types import DataError

CSV_NAME = match_suffix(None)
TABLE_NAME = match_suffix(*FORMATS)
SUFFIXES = ".csv or .tsv, packed or not"
SHARD = re.compile(r"[-_.]\d+(-of-\d+)?$")  # at the end of the name of a shard
SPLITS = ("train", "training", "valid", "validation", "val", "dev", "test")  # names of files


def make_tuples_of_paths(source: object, *options: str) -> None:
    """Replaces lists of paths, as YAML and Python have them, by tuples in some options of a frozen source."""
    for option in options:
        if isinstance(value := getattr(source, option), list):
            object.__setattr__(source, option, tuple(value))


def find_table_files(
    paths: Paths, list_folder: Callable[[str, Path], Sequence[Path]] | None = None
) -> tuple[Path, ...]:
    """Finds the files of a table.

    Args:
        paths: a file; a folder; a pattern with *, ** or ?, which stands for the files that match it; or several of
            these. The files of a pattern and of a folder are sorted by path.
        list_folder: (a path, the folder there) -> its files. By default those that end in .csv or .tsv, packed or not.

    Raises:
        DataError: there is no such file, or one is listed twice.
    """
    files: list[Path] = []
    for path in (paths,) if isinstance(paths, str) else paths:
        found = find_paths(path)
        files += (list_folder or _list_csv_files)(path, found[0]) if os.path.isdir(found[0]) else found
    if not files:
        raise DataError("`path` is an empty list; list the files, or write a pattern such as 'shards/*.csv'")
    if repeated := next((file for file, count in Counter(files).items() if count > 1), None):
        raise DataError(f"`path` (={describe_paths(paths)}) has {repeated} twice; its rows would be read twice")
    return tuple(files)


def name_files(files: tuple[Path, ...]) -> tuple[str, ...]:
    """The paths of files from the folder that holds all of them, for messages."""
    places = tuple(map(strip_entry, files))
    folder = common_folder(places)
    return tuple(os.path.relpath(place, folder) for place in places)


def common_folder(files: tuple[Path, ...]) -> Path:
    """The folder that holds files, directly or in folders below."""
    return Path(os.path.commonpath([file.parent for file in files]))


def list_folder(path: str, folder: Path) -> Sequence[Path]:
    """The files in a folder and in the folders below, sorted, but for names that start with `.` or `_`.

    Args:
        path: the folder as it is written, for messages.
        folder: the folder.

    Raises:
        DataError: there is none, or it is open which of them are meant.
    """
    by_place = {file.relative_to(folder): file for file in sorted(folder.rglob("*")) if file.is_file()}
    names = {str(place): file for place, file in by_place.items() if not any(map(_is_hidden, place.parts))}
    fault = _describe_folder(path, folder)
    if not names:
        hidden = f"; it has {join_names(map(str, by_place))}, whose names start with . or _" if by_place else ""
        raise DataError(f"{fault} without files{hidden}; choose a file")
    by_stem: dict[str, str] = {}
    for name in names:
        match = TABLE_NAME.fullmatch(name)
        if (other := by_stem.setdefault(match["stem"] if match else name, name)) != name:
            raise DataError(f"{fault} with {other} and {name}, which may be one table twice; list the files to read")
    return [*names.values()]


def _list_csv_files(path: str, folder: Path) -> Sequence[Path]:
    """The files of CSV tables in a folder. Raises DataError if there is none, or it has tables of other formats."""
    files = list_folder(path, folder)
    tables = [file for file in files if CSV_NAME.fullmatch(file.name)]
    others = [file for file in files if file not in tables]
    fault = _describe_folder(path, folder)
    if not tables:
        names = join_names([str(file.relative_to(folder)) for file in files])
        raise DataError(f"{fault} without files that end in {SUFFIXES}; it has {names}; choose a file")
    if other := next((file for file in others if TABLE_NAME.fullmatch(file.name)), None):
        raise make_mixed_error(path, folder, {"CSV": tables[0], "another format": other})
    check_no_split(path, folder, tables)
    return tables


def make_mixed_error(path: str, folder: Path, example_by_format: Mapping[str, Path]) -> DataError:
    """The error for a folder with files of several formats."""
    names = [f"{file.relative_to(folder)} ({format})" for format, file in example_by_format.items()]
    first = next(iter(example_by_format.values()))
    chosen = f"**/*{first.suffix}" if first.suffix else first.name
    return DataError(
        f"{_describe_folder(path, folder)} with files of several formats: {', '.join(names)}. Choose those to read, "
        f"such as by `path={describe_paths(path)}/{chosen}`."
    )


def _describe_folder(path: str, folder: Path) -> str:
    """Names a folder as it is written, and a relative one in addition by its absolute path."""
    fault = f"`path` (={describe_paths(path)}) is a folder"
    return fault if is_remote(path) or os.path.isabs(path) else f"{fault} ({folder})"


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def check_no_split(path: str, folder: Path, files: Sequence[Path]) -> None:
    """Raises DataError if the names of some files or folders in a folder are those of splits, and of others aren't.

    Args:
        path: the folder as it is written.
        folder: the folder.
        files: the files in it.
    """
    places = [file.relative_to(folder) for file in files]
    splits = {str(place): SHARD.sub("", place.parts[0].split(".")[0]).lower() for place in places}
    found = next((name for name, split in splits.items() if split in SPLITS), None)
    if found is not None and len(set(splits.values())) > 1:
        every = f"`path={describe_paths(path)}/**/*{Path(found).suffix}`"
        raise DataError(
            f"{_describe_folder(path, folder)} of {join_names(splits)}, and {found} seems to be a split; set "
            f"`path`, and `valid` and `test` if there are such files, to one each, or {every} to read all as one table"
        )
