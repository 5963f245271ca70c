"""A disk that stops: at the n-th time that something below a folder is written, made, renamed or removed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.fsync")


class Killed(BaseException):
    """What a process that is killed does next: nothing, and no handler of an error has its turn."""


class Disk:
    """Counts the operations below `root`; from number `stop` on (the first is 0) each of them raises `error`.

    With `once`, only that one does.
    """

    def __init__(self, root: Path, error: BaseException, stop: int, once: bool) -> None:
        self.root, self.error, self.stop, self.once = str(root.resolve()), error, stop, once
        self.count = 0
        self.stopped_at: str | None = None  # what was to be done

    def touch(self, what: str, path: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        whole = os.path.abspath(os.fsdecode(path))
        if not whole.startswith(self.root):
            return
        number, self.count = self.count, self.count + 1
        if number == self.stop or (number > self.stop and not self.once):
            self.stopped_at = self.stopped_at or f"{what} {whole.removeprefix(self.root)}"
            raise self.error


_DISKS: list[Disk] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _DISKS and (event in CHANGES or (event == "open" and arguments[2] & WRITES)):
        _DISKS[-1].touch(event, arguments[0])


sys.addaudithook(_listen)  # for good: none can be removed


@contextmanager
def stopping(root: Path, error: BaseException, stop: int, *, once: bool = False) -> Iterator[Disk]:
    """The operations below `root` are counted meanwhile, and stop."""
    disk = Disk(root, error, stop, once)
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        disk.touch("os.fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", counted)
        _DISKS.append(disk)
        try:
            yield disk
        finally:
            _DISKS.remove(disk)
