"""Profiles a few dispatches of training with JAX's profiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

FIRST_TRACED = 3  # number, from 1, of the first dispatch in the trace; the earlier ones compile and allocate memory
TRACED_COUNT = 8  # number of dispatches in the trace


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

    def count_dispatch(self, sums: Any) -> None:
        """Counts a dispatch, and starts or ends the trace at the right dispatch.

        Args:
            sums: arrays that the dispatch computes. The trace starts and ends once they are ready.
        """
        if self._folder is None:
            return
        self._count += 1
        if self._count in (FIRST_TRACED, FIRST_TRACED + TRACED_COUNT):
            jax.block_until_ready(sums)
            if self._count == FIRST_TRACED:
                jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
                self._is_running = self.has_traced = True
            else:
                self.close()

    def close(self) -> None:
        """Ends the trace, if it still runs."""
        if self._is_running:
            self._is_running = False
            jax.profiler.stop_trace()
