"""The record of a folder that `mode=convert` writes: which files are complete, and of which rows and settings."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.input_files import hash_file
from components.types import UserError
from runner.files import check_fields, read_json, write_atomically
from runner.run_folder import open_lock

MANIFEST, LOCK = ".convert.json", ".convert.lock"  # data=table reads no file whose name starts with a point
FIELDS: dict[str, Any] = {"settings": dict, "rows": int, "shards": dict}
SHARD_FIELDS: dict[str, Any] = {"rows": int, "bytes": int, "digest": str, "flags": dict}


@dataclass
class Written:
    """A complete file.

    Attributes:
        rows: its number of rows.
        bytes: its size.
        digest: the digest of its bytes.
        flags: what is found in its columns; see `components.data.writing.reading`.
    """

    rows: int
    bytes: int
    digest: str
    flags: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Manifest:
    """The files of a folder.

    Attributes:
        settings: what the bytes of the files depend on, with the fingerprint of the source.
        rows: the number of all rows.
        shards: the complete files by name.
    """

    settings: dict[str, Any]
    rows: int
    shards: dict[str, Written] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Replaces the manifest of a folder."""
        content = {
            "settings": self.settings,
            "rows": self.rows,
            "shards": {name: vars(shard) for name, shard in self.shards.items()},
        }
        write_atomically(folder / MANIFEST, json.dumps(content, indent=1))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder. None: it has none. Raises UserError if it is damaged."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    content = read_json(path)
    check_fields(path, content, FIELDS)
    for name, shard in content["shards"].items():
        check_fields(path, shard, SHARD_FIELDS, f"shards.{name}")
    shards = {name: Written(**{key: shard[key] for key in SHARD_FIELDS}) for name, shard in content["shards"].items()}
    return Manifest(content["settings"], content["rows"], shards)


@contextmanager
def lock_folder(folder: Path, output: str) -> Iterator[None]:
    """Locks a folder, which is created if it is missing.

    Raises:
        UserError: the folder has other files, can't be written, or another process has the lock.
    """
    if not (folder / MANIFEST).exists() and folder.is_dir():
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".convert."))
        if other := next(iter(others), None):
            raise UserError(
                f"output={output} exists already, with other files such as {other}. Choose another name, or remove "
                "the folder."
            )
    try:
        folder.mkdir(exist_ok=True)
        lock = open_lock(folder / LOCK)
    except OSError as error:
        raise UserError(f"output={output} can't be written: {error.strerror or error}. Choose another.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"output={output}: another process is writing it. Wait until it ends.") from None
        yield
    finally:
        os.close(lock)


SHARD = re.compile(r"part-\d{5,}-of-\d{5,}\..+")


def open_manifest(folder: Path, output: str, new: Manifest, *, overwrite: bool) -> Manifest:
    """The manifest of a folder with the files that need not be written again, or a new one.

    Args:
        folder: the locked folder.
        output: the folder as the command names it.
        new: the manifest without files.
        overwrite: whether the files of another conversion are removed.

    Raises:
        UserError: the folder has the files of another conversion.
    """
    earlier = read_manifest(folder)
    if earlier is None:
        return new
    # A process may have been killed after it had finished a file, and before the manifest had it.
    others = {path.name for path in folder.iterdir() if SHARD.fullmatch(path.name)}
    complete: dict[str, Written] = {}
    if earlier.settings == new.settings and earlier.rows == new.rows and not overwrite:
        complete = {name: shard for name, shard in earlier.shards.items() if _is_there(folder / name, shard)}
    elif earlier.shards and not overwrite:
        was, now = earlier.settings, new.settings
        keys = sorted(key for key in {*now, *was} if was.get(key) != now.get(key))
        changes = [f"{key} was {was.get(key)} and is {now.get(key)}" if key != "data" else "other data" for key in keys]
        raise UserError(
            f"output={output} has the files of another command: {', '.join(changes) or 'other rows'}. Choose "
            "another name, or replace them with output.overwrite=true."
        )
    for name in (others | earlier.shards.keys()) - complete.keys():
        (folder / name).unlink(missing_ok=True)
    return Manifest(new.settings, new.rows, complete)


def _is_there(path: Path, shard: Written) -> bool:
    """Whether a file is the one that was written. Its bytes may be others, as after a crash of the machine."""
    if not path.is_file() or path.stat().st_size != shard.bytes:
        return False
    return hash_file(path, digest_size=16).hexdigest() == shard.digest


def join_digests(digests: list[str]) -> str:
    """A digest of several files, from those of each."""
    return digests[0] if len(digests) == 1 else hashlib.blake2b("".join(digests).encode(), digest_size=16).hexdigest()
