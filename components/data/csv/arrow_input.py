"""Files of Python that Arrow reads, of which its threads hold nothing afterwards."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from components.data.csv.dialect import CsvFile

if TYPE_CHECKING:
    import pyarrow

T = TypeVar("T")
BUFFER_BYTES = 1  # so that each read is one of the file, which doesn't end within CR LF
MAX_SECONDS = 1.0  # to wait for Arrow's threads, which usually take less than a millisecond


def read_by_arrow(file: CsvFile, read: Callable[[pyarrow.NativeFile], T]) -> T:
    """Reads a file by a function of Arrow.

    Arrow's threads drop the file a moment after its content is read, or after an error. If they do so while the
    interpreter ends, the process aborts: "terminate called without an active exception". So this waits for them. The
    content is in Arrow's memory rather than in bytes of Python, which they would drop, too.

    Args:
        file: the file.
        read: reads an open file. It keeps no reference to it, also in the frame of an exception.

    Returns:
        The result of `read`.
    """
    import pyarrow

    is_dropped = threading.Event()
    try:
        with file.open() as opened:
            weakref.finalize(opened, is_dropped.set)
            stream = pyarrow.BufferedInputStream(pyarrow.PythonFile(opened, mode="r"), BUFFER_BYTES)
            try:
                return read(stream)
            finally:
                del opened, stream
    finally:  # the file is closed, so that threads that read ahead stop
        is_dropped.wait(MAX_SECONDS)
