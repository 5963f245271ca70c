"""The folder of all caches."""

from __future__ import annotations

import functools
import os
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
