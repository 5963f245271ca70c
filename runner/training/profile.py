"""A trace of a few dispatches of training, for a profiler to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

BEFORE, TRACED = 3, 8  # dispatches: the first compile, and their memory is new


class Profile:
    """Records into a folder: an XPlane file, and one that Perfetto shows; without a folder nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._count = 0
        self._running = False
        self.traced = False  # whether there is a trace

    def dispatched(self, report: Any) -> None:
        """Counts a dispatch; begins or ends the trace when its turn has come, waiting for what is under way."""
        if self._folder is None:
            return
        self._count += 1
        if self._count in (BEFORE, BEFORE + TRACED):
            jax.block_until_ready(report)
            if self._count == BEFORE:
                jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
                self._running = self.traced = True
            else:
                self.close()

    def close(self) -> None:
        """Ends the trace, where training was over before it."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
