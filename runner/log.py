"""The log of a run: what is said before the run has a folder is held back until it has one."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path

from runner.credentials import scrub
from runner.files import open_to_append

LOG = logging.getLogger("titrate")
LOG.propagate = False


class _File(logging.FileHandler):
    def _open(self) -> io.TextIOWrapper:
        """As all files of a run's folder: never through a link."""
        return io.TextIOWrapper(open_to_append(Path(self.baseFilename)), "utf-8", "backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A log that can't be written (the disk is full) stops nothing; the run's own files tell of it."""


class _Scrubbed(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """A line, or a traceback, without the credentials that a library may have put into its message."""
        return scrub(super().format(record))


@contextmanager
def buffer_log() -> Iterator[MemoryHandler]:
    """Keeps what is logged by this thread's run, until `write_to` gives it a file."""
    own, memory = threading.get_ident(), MemoryHandler(1_000_000)
    memory.addFilter(lambda record: record.thread == own)
    LOG.addHandler(memory)
    LOG.setLevel(logging.INFO)
    try:
        yield memory
    finally:
        LOG.removeHandler(memory)
        if isinstance(memory.target, logging.FileHandler):
            memory.target.close()
        memory.close()


def write_to(memory: MemoryHandler, path: Path) -> None:
    """Writes what was kept to the end of a file, and from now on all else at once."""
    file = _File(path)
    file.setFormatter(_Scrubbed("%(asctime)s %(levelname)s %(message)s"))
    memory.setTarget(file)
    memory.capacity = 0
    memory.flush()
