"""The files of a table that is in one or several files: paths, patterns such as `shards/*.csv`, and folders."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.closest import join_names
from components.input_files import Paths, describe_paths, find_paths
from components.types import DataError

TABLE_NAME = re.compile(r"(?P<stem>[^.].*)\.[ct]sv(\.(gz|bz2|xz|zst|zstd))?", re.IGNORECASE | re.DOTALL)
SUFFIXES = ".csv or .tsv, packed or not"
SHARD = re.compile(r"[-_.]\d+(-of-\d+)?$")  # at the end of the name of a shard
SPLITS = ("train", "training", "valid", "validation", "val", "dev", "test")  # names of files


def find_table_files(
    paths: Paths, list_folder: Callable[[str, Path], Sequence[Path]] | None = None
) -> tuple[Path, ...]:
    """Finds the files of a table.

    Args:
        paths: a file; a folder; a pattern with *, ** or ?, which stands for the files that match it; or several of
            these.
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
    folder = common_folder(files)
    return tuple(os.path.relpath(file, folder) for file in files)


def common_folder(files: tuple[Path, ...]) -> Path:
    """The folder that holds files, directly or in folders below."""
    return Path(os.path.commonpath([file.parent for file in files]))


def _list_csv_files(path: str, folder: Path) -> Sequence[Path]:
    """The files of tables in a folder. Raises DataError if there is none, or it is open which of them are meant."""
    names = sorted(each.name for each in os.scandir(folder) if each.is_file())
    tables = {name: match for name in names if (match := TABLE_NAME.fullmatch(name))}
    fault = f"`path` (={path}) is a folder, {folder}"
    if not tables:
        is_below = any(map(TABLE_NAME.fullmatch, (each.name for each in folder.rglob("*.[ct]sv*"))))
        hint = f"to read those in folders below, set `path={path}/**/*.csv`" if is_below else "choose a file"
        raise DataError(f"{fault} without files that end in {SUFFIXES}; it has {join_names(names) or 'none'}; {hint}")
    by_stem: dict[str, str] = {}
    for name, match in tables.items():
        if (other := by_stem.setdefault(match["stem"], name)) != name:
            raise DataError(f"{fault} with {other} and {name}, which may be one table twice; list the files to read")
    check_no_split(path, folder, {name: match["stem"] for name, match in tables.items()})
    return [folder / name for name in tables]


def check_no_split(path: str, folder: Path, stems: Mapping[str, str]) -> None:
    """Raises DataError if the names of some files in a folder are those of splits, and of others aren't.

    Args:
        path: the folder as it is written.
        folder: the folder.
        stems: the names of the files without their suffixes, by path from the folder.
    """
    splits = {name: SHARD.sub("", stem).lower() for name, stem in stems.items()}
    found = next((name for name, split in splits.items() if split in SPLITS), None)
    if found is not None and len(set(splits.values())) > 1:
        every = f"`path={path}/*{Path(found).suffix}`"
        raise DataError(
            f"`path` (={path}) is a folder, {folder} of {join_names(stems)}, and {found} seems to be a split; set "
            f"`path`, and `valid` and `test` if there are such files, to one each, or {every} to read all as one table"
        )
