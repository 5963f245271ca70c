"""A profile of a few dispatches of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

SKIPPED, TRACED = 3, 8  # dispatches. The first ones compile and allocate memory.


class Profile:
    """Records a trace into a folder: an XPlane file, and a file for Perfetto. Without a folder it does nothing.

    Attributes:
        traced: whether a trace was started.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._count = 0
        self._running = False
        self.traced = False

    def dispatched(self, report: Any) -> None:
        """Counts a dispatch, and starts or ends the trace at its turn, once the dispatch is done."""
        if self._folder is None:
            return
        self._count += 1
        if self._count in (SKIPPED, SKIPPED + TRACED):
            jax.block_until_ready(report)
            if self._count == SKIPPED:
                jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
                self._running = self.traced = True
            else:
                self.close()

    def close(self) -> None:
        """Ends the trace, if it still runs."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
