"""Arrow's threads hold no file of Python after it was read, so that they don't abort a process that ends."""

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow
import pytest
from pyarrow import csv

from components.data.csv.arrow_input import read_by_arrow
from components.data.csv.dialect import CsvFile
from components.data.csv.lines import LineStream
from components.data.packed import MemoryFile


@dataclass(frozen=True)
class WatchedFile(CsvFile):
    """A file that knows the streams that it opened, as long as something holds them."""

    opened: list[weakref.ref[LineStream]] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[LineStream]:
        with super().open() as stream:
            self.opened.append(weakref.ref(stream))
            opened, stream = [stream], None  # type: ignore[assignment]  # so that this frame doesn't hold it
            yield opened.pop()


def make_file(text: bytes) -> WatchedFile:
    return WatchedFile(MemoryFile(text, "rows"))


def test_threads_that_hold_a_file_are_waited_for() -> None:
    held: list[Any] = []

    def drop_later() -> None:
        time.sleep(0.05)
        held.clear()

    thread = threading.Thread(target=drop_later)
    file = make_file(b"a\n1\n")

    def read(stream: pyarrow.NativeFile) -> bytes:
        held.append(stream)
        thread.start()
        del stream
        return bytes(held[0].read())

    assert read_by_arrow(file, read) == b"a\n1\n"
    assert file.opened[0]() is None
    thread.join()


@pytest.mark.parametrize("rows", [b"", b"1,2\n" * 9_999])
def test_nothing_holds_a_file_after_an_error(rows: bytes) -> None:
    file = make_file(b"a,b\n" + rows + b"1,2,3\n" + rows)
    options = csv.ReadOptions(block_size=1 << 12)
    with pytest.raises(pyarrow.ArrowInvalid, match="Expected 2 columns") as raised:  # it holds the frames
        read_by_arrow(file, partial(csv.read_csv, read_options=options))
    assert file.opened[0]() is None
    del raised
