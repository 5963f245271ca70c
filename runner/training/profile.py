"""Profiles a few dispatches of training with JAX's profiler.

A dispatch is a call of the compiled program. It takes one or more training steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

DISPATCHES_BEFORE_TRACE = 3  # they compile and allocate memory
TRACED_DISPATCHES = 8


class Profile:
    """Records a trace: an XPlane file, and a file for Perfetto.

    Args:
        folder: the folder of the trace; None: nothing is traced.

    Attributes:
        has_traced: whether a trace was started.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._count = 0
        self._is_running = False
        self.has_traced = False

    def after_dispatch(self, results: Any) -> None:
        """Call it after each dispatch: starts the trace after DISPATCHES_BEFORE_TRACE, ends it TRACED_DISPATCHES later.

        Args:
            results: arrays that the dispatch computes. The trace starts and ends once they are ready.
        """
        if self._folder is None:
            return
        self._count += 1
        if self._count in (DISPATCHES_BEFORE_TRACE, DISPATCHES_BEFORE_TRACE + TRACED_DISPATCHES):
            jax.block_until_ready(results)
            if self._count == DISPATCHES_BEFORE_TRACE:
                jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
                self._is_running = self.has_traced = True
            else:
                self.close()

    def close(self) -> None:
        """Ends the trace, if it still runs."""
        if self._is_running:
            self._is_running = False
            jax.profiler.stop_trace()
