"""Python's garbage collector, in a process that runs one command."""

from __future__ import annotations

import atexit
import gc

THRESHOLD = 100_000  # objects that are made before the collector looks at them; Python's own is 700 to 2,000


def collect_garbage_rarely() -> None:
    """Lets the collector run rarely, and not at the exit of the process.

    It looks for cycles among all objects, time and again. Imports of large libraries make a million objects and almost
    no cycles, so it would cost a quarter of the time of a short command.
    """
    gc.set_threshold(THRESHOLD, 10, 10)
    atexit.register(gc.freeze)  # the interpreter collects all that is not frozen before it ends
