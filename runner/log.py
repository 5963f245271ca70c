"""The log of a run. Lines are buffered until the run has a folder."""

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
        """Opens the file without following a link, as all files in a run's folder."""
        return io.TextIOWrapper(open_to_append(Path(self.baseFilename)), "utf-8", "backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Ignores errors, because a log that can't be written must not stop the run."""


class _ScrubbingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Formats a record and masks credentials, which the message of a library may contain."""
        return scrub(super().format(record))


@contextmanager
def buffer_log() -> Iterator[MemoryHandler]:
    """Buffers the log of this thread's run until `open_log_file` is called."""
    thread, buffer = threading.get_ident(), MemoryHandler(1_000_000)
    buffer.addFilter(lambda record: record.thread == thread)
    LOG.addHandler(buffer)
    LOG.setLevel(logging.INFO)
    try:
        yield buffer
    finally:
        LOG.removeHandler(buffer)
        if isinstance(buffer.target, logging.FileHandler):
            buffer.target.close()
        buffer.close()


def open_log_file(buffer: MemoryHandler, path: Path) -> None:
    """Appends the buffered lines to a file. Later lines are appended without a delay."""
    file = _LogFile(path)
    file.setFormatter(_ScrubbingFormatter("%(asctime)s %(levelname)s %(message)s"))
    buffer.setTarget(file)
    buffer.capacity = 0
    buffer.flush()
