"""Handlers of a caller, to which a run from Python passes the signal that has interrupted it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from runner.training.signals import HANDLED


@contextmanager
def returning_handlers() -> Iterator[list[int]]:
    """A context whose handlers note a signal and return, so that an interrupted run returns its result."""
    received: list[int] = []
    previous = {number: signal.signal(number, lambda number, _: received.append(number)) for number in HANDLED}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
