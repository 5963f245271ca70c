"""`mode=train`: trains a model, evaluates it and records the run."""

from __future__ import annotations

import signal

from runner.config.config import Config
from runner.execution.execute import execute


def command(config: Config) -> int:
    """Runs a training run.

    Returns:
        The exit code. 0: finished. 1: diverged. 128 + n: interrupted by signal n.
    """
    result = execute(config)
    if result.status == "interrupted":
        return 128 + (result.signal or signal.SIGINT)
    return 0 if result.status == "finished" else 1
