"""The folder of all caches, and the addresses of the files that are fetched into it."""

from __future__ import annotations

import functools
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def cache_folder() -> Path:
    """The folder of all caches: $TITRATE_CACHE, else $XDG_CACHE_HOME/titrate, else ~/.cache/titrate, else in /tmp."""
    if own := os.environ.get("TITRATE_CACHE"):
        return Path(os.path.expanduser(own))
    common = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
    return (common if common.is_absolute() else _temporary_cache()) / "titrate"


def fetched_folder(cache: Path | None = None) -> Path:
    """The folder of the files that were fetched: ENTRY/SCHEME/HOST/PATH, where ENTRY has 32 hexadecimal digits.

    Args:
        cache: the folder of all caches. None: that of this user.
    """
    return own_folder(cache or cache_folder(), "remote")


def own_folder(cache: Path, name: str) -> Path:
    """A folder in that of all caches. Other users who share the cache have folders of their own."""
    folder = cache / name
    with suppress(OSError):
        if folder.stat().st_uid != os.getuid():
            return cache / f"{name}-{os.getuid()}"
    return folder


def name_addresses(text: str) -> str:
    """A text for messages: in place of each path of a fetched file, its address, such as `https://host/table.csv`."""
    if "/remote" not in text:
        return text
    return re.sub(rf"{re.escape(str(fetched_folder()))}/[0-9a-f]{{32}}/([a-z][a-z0-9+.-]*)/", r"\1://", text)


def strip_entry(path: Path) -> Path:
    """The path of a fetched file without its entry, which makes it unique; any other path as it is."""
    folder = fetched_folder()
    return folder.joinpath(*path.relative_to(folder).parts[1:]) if path.is_relative_to(folder) else path


@functools.cache
def _temporary_cache() -> Path:
    """The cache folder of a user without a home.

    It has compiled programs, which are executed, so a folder that another user may write to is not used.
    """
    path = Path(tempfile.gettempdir(), f"cache-{os.getuid()}")
    with suppress(OSError):
        path.mkdir(mode=0o700)
    with suppress(OSError):
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
            return path
    return Path(tempfile.mkdtemp(prefix="cache-"))
