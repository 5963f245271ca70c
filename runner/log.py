"""The log of a run. Lines from before the run has a folder are buffered until it has one."""

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


class _LogFile(logging.FileHandler):
    def _open(self) -> io.TextIOWrapper:
        """Opens the file as all files of a run's folder: never through a link."""
        return io.TextIOWrapper(open_to_append(Path(self.baseFilename)), "utf-8", "backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Ignores errors: a log that can't be written, on a full disk, must not stop the run."""


class _ScrubbingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Formats a record and masks credentials, which a library may have put into its message."""
        return scrub(super().format(record))


@contextmanager
def buffer_log() -> Iterator[MemoryHandler]:
    """Buffers the log of this thread's run, until `open_log_file` gives it a file."""
    thread, memory = threading.get_ident(), MemoryHandler(1_000_000)
    memory.addFilter(lambda record: record.thread == thread)
    LOG.addHandler(memory)
    LOG.setLevel(logging.INFO)
    try:
        yield memory
    finally:
        LOG.removeHandler(memory)
        if isinstance(memory.target, logging.FileHandler):
            memory.target.close()
        memory.close()


def open_log_file(memory: MemoryHandler, path: Path) -> None:
    """Appends the buffered lines to a file, and every later line at once."""
    file = _LogFile(path)
    file.setFormatter(_ScrubbingFormatter("%(asctime)s %(levelname)s %(message)s"))
    memory.setTarget(file)
    memory.capacity = 0
    memory.flush()
