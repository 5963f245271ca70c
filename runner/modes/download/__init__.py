"""`mode=download`: fetches the files of a public data set, or lists the data sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.closest import suggest_name
from components.input_files import candidate_paths, download_folder
from components.types import UserError
from runner.display.tables import Section, print_tables
from runner.display.work import show_work
from runner.memory import format_bytes
from runner.modes.download.fetching import fetch, is_fetched, unpack
from runner.override_text import overridden_key
from runner.public_data import PUBLIC_DATA, DataSet, PublicFile
from runner.terminal import print_line

if TYPE_CHECKING:
    from runner.config.config import Config

ALLOWED_KEYS = ("mode", "data", "experiment", "quiet")


def command(config: Config) -> int:
    """Fetches the files of the data set that the command names, and says where they are. Lists all if it names none.

    Returns:
        The exit code 0.

    Raises:
        UserError: the command names no such data set, or sets what has no effect; or a file of another content exists.
        DownloadError: a file can't be fetched.
    """
    if ignored := [word for word in config.overrides if overridden_key(word) not in ALLOWED_KEYS]:
        raise UserError(f"mode=download: {', '.join(ignored)} would have no effect. Leave this out.")
    if not {"data", "experiment"} & {*map(overridden_key, config.overrides)}:
        print_tables([Section("", [*_list_data()], right_columns=(1,))])
        print_line(f"titrate mode=download data=NAME fetches one into {download_folder().absolute()}")
        return 0
    name = str(config.choices["data"])
    if name not in PUBLIC_DATA:
        raise UserError(f"data={name} is no data set to fetch. {suggest_name(name, PUBLIC_DATA)}")
    fetch_data(name, PUBLIC_DATA[name], quiet=config.values["quiet"])
    return 0


def fetch_data(name: str, data_set: DataSet, *, quiet: bool = False) -> None:
    """Fetches the files of a data set that aren't there yet.

    Args:
        name: its name.
        data_set: its files.
        quiet: whether nothing is printed.

    Raises:
        UserError: a file of another content exists, or the folder can't be written.
        DownloadError: a file can't be fetched.
    """
    for file in data_set.files:
        for path, outcome in _fetch_file(file, quiet=quiet):
            if not quiet:
                print_line(f"{path}: {outcome}")
    if not quiet:
        print_line(f"Licence: {data_set.license}. Source: {data_set.page}")
        print_line(f"Use it with data={name}")


def _fetch_file(file: PublicFile, *, quiet: bool) -> Iterator[tuple[Path, str]]:
    """Fetches a file and unpacks its members. Yields the path of each, and what was done."""
    path = _find(file.path) or _place(file.path)
    if is_fetched(path, file):
        yield path, "is there already"
    else:
        with show_work(path.name, file.size, unit="bytes", quiet=quiet) as report:
            fetch(path, file, report)
        yield path, f"fetched, {format_bytes(file.size)}"
    for member, member_path in zip(file.members, file.member_paths, strict=True):
        unpacked = _find(member_path) or _place(member_path)
        yield unpacked, "unpacked" if unpack(path, member, unpacked) else "is there already"


def _find(path: str) -> Path | None:
    """The file that a source would read at a path below the folders of data. None: there is none."""
    return next((found for found in candidate_paths(path) if found.exists()), None)


def _place(path: str) -> Path:
    return download_folder().absolute() / path


def _list_data() -> Iterator[list[str]]:
    yield ["data", "size", "there", "licence", "source"]
    for name, data_set in PUBLIC_DATA.items():
        paths = [path for file in data_set.files for path in (file.path, *file.member_paths)]
        count = sum(_find(path) is not None for path in paths)
        there = "no" if count == 0 else "yes" if count == len(paths) else f"{count} of {len(paths)} files"
        yield [name, format_bytes(data_set.size), there, data_set.license, data_set.page]
