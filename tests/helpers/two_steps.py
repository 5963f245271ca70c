"""A run of two steps, each an epoch of one batch, that is interrupted after the first and then resumed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from signal_handlers import returning_handlers

import runner
from components.data import Arrays
from runner.execution.execute import Result
from runner.training.trainer import Trainer

WORDS = ("training.epochs=2", "training.limit_batches=1", "quiet=true")


@contextmanager
def interrupted_once() -> Iterator[None]:
    """Sends Ctrl-C at the end of the first epoch that is trained, before it is saved. The run returns its result."""
    evaluate, sent = Trainer.evaluate, []

    def interrupt(trainer: Trainer, *given: Any) -> Any:
        if not sent:
            sent.append(True)
            signal.raise_signal(signal.SIGINT)
        return evaluate(trainer, *given)

    with pytest.MonkeyPatch.context() as patched, returning_handlers():
        patched.setattr(Trainer, "evaluate", interrupt)
        yield


def take_two_steps(*words: str, source: Arrays | None = None) -> Result:
    """Returns the result of the resumed run."""
    words = (*words, *WORDS)
    with interrupted_once():
        interrupted = runner.run(*words, source=source)
        resumed = runner.run(*words, source=source)
    assert (interrupted.status, len(interrupted.records)) == ("interrupted", 1)
    assert (resumed.status, resumed.folder) == ("finished", interrupted.folder)
    assert [epoch["step"] for epoch in resumed.records] == [1, 2]
    assert all(np.isfinite(value) for value in resumed.metrics.values())
    return resumed
