"""`mode=download`: fetches the files of a public data set, or published weights, or lists the data sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.closest import suggest_name
from components.input_files import candidate_paths, download_folder
from components.types import IsPublished, UserError
from runner.config.provenance import errors_with_origin
from runner.display.tables import Section, print_tables
from runner.display.work import show_work
from runner.errors import error_location
from runner.files import write_atomically
from runner.memory import format_bytes
from runner.modes.download.fetching import describe_hub_file, fetch, is_fetched, unpack
from runner.override_text import overridden_key
from runner.public_data import PUBLIC_DATA, DataSet, PublicFile
from runner.signature.build import build
from runner.signature.schema import SCHEMA
from runner.terminal import print_line

if TYPE_CHECKING:
    from runner.config.config import Config

ALLOWED_KEYS = ("mode", "data", "experiment", "weights", "architecture", "quiet")
DIGEST_SUFFIX = ".sha256"  # of the file with the checksum of weights, which the first download records


def command(config: Config) -> int:
    """Fetches what the command names: a data set, or published weights. Lists the data sets if it names none.

    Returns:
        The exit code 0.

    Raises:
        UserError: the command names no such data set, or sets what has no effect; or a file of another content exists.
        DownloadError: a file can't be fetched.
    """
    if ignored := [word for word in config.overrides if overridden_key(word) not in ALLOWED_KEYS]:
        raise UserError(f"mode=download: {', '.join(ignored)} would have no effect. Leave this out.")
    keys = {*map(overridden_key, config.overrides)}
    if "weights" in keys:
        _fetch_weights(config)
    elif "architecture" in keys:
        raise UserError("mode=download: architecture is for published weights. Add weights=imagenet.")
    if keys & {"data", "experiment"}:
        _fetch_named_data(config)
    elif "weights" not in keys:
        print_tables([Section("", [*_list_data()], right_columns=(1,))])
        print_line("titrate mode=download weights=imagenet architecture=NAME fetches published weights")
        print_line(f"titrate mode=download data=NAME fetches one into {download_folder().absolute()}")
    return 0


def _fetch_named_data(config: Config) -> None:
    """Fetches the data set that the command or its experiment names. Raises UserError if it is none to fetch."""
    name = str(config.choices["data"])
    if name not in PUBLIC_DATA:
        raise UserError(f"data={name} is no data set to fetch. {suggest_name(name, PUBLIC_DATA)}")
    fetch_data(name, PUBLIC_DATA[name], quiet=config.values["quiet"])


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


def _fetch_weights(config: Config) -> None:
    """Fetches the published weights of the architecture, and says where they are.

    No project publishes their checksum elsewhere, so it is that which the hub states, and the first download records
    it: later commands compare the file with it.
    """
    name, quiet = config.choices["weights"], config.values["quiet"]
    with errors_with_origin(config), error_location("weights"):
        weights = build(config.values["weights"], {}, SCHEMA["weights"])
        if not isinstance(weights, IsPublished):
            raise UserError(f"{name} has no published file. Choose weights=imagenet.")
        file = weights.published
    path = _find(file.path) or _place(file.path)
    record = path.with_name(path.name + DIGEST_SUFFIX)
    recorded = record.read_text().strip() if record.is_file() else None
    if recorded is not None and path.exists():
        known = PublicFile(file.path, file.url, path.stat().st_size, recorded)
    else:
        known = describe_hub_file(file)
    if recorded not in (None, known.sha256):
        raise UserError(
            f"{file.url} has changed: its SHA-256 was {recorded}, and is {known.sha256} now.\n"
            f"To fetch the new file, remove {record}, and repeat the command."
        )
    for found, outcome in _fetch_file(known, quiet=quiet):
        if recorded is None:
            write_atomically(record, f"{known.sha256}\n")
            outcome += f"; its SHA-256 is recorded in {record.name}"
        if not quiet:
            print_line(f"{found}: {outcome}")
    if not quiet:
        print_line(f"Licence: {file.license}. Source: {file.page}")
        print_line(f"Use it with weights={name} architecture={config.choices['architecture']}")


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
