"""A trainer of a tiny network, and its state, for tests of single steps."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from components.data import Arrays
from runner.config.compose import configure
from runner.display.progress import make_progress
from runner.execution.prepare import make_trainer
from runner.program.state import RateInputs, TrainState
from runner.training.signals import Signals

ROWS, BATCH, CLASSES, STEPS = 24, 4, 3, 20
WORDS = (
    "feature=image",
    "architecture=mlp",
    "architecture.widths=[4]",
    "metric=[]",
    "training.batch_size=4",
    "learning_rate=0.1",
    "quiet=true",
)


def images(classes: int = CLASSES) -> Arrays:
    """Small images of a few classes."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (ROWS, 4, 4, 1), np.uint8)
    return Arrays(columns={"image": images, "label": np.arange(ROWS) % classes}, valid=4, test=4, seed=None)


class Session:
    """A trainer and its training state; the steps have fixed batches."""

    def __init__(self, *words: str, source: Arrays | None = None) -> None:
        config = configure([*WORDS, *words])
        with Signals() as signals:
            self.trainer = make_trainer(config, source or images(), make_progress(quiet=True), signals)
        self.inputs = self.trainer.program_inputs
        self.state: TrainState = self.trainer.initial_state().train_state
        self.sums: list[Any] = []

    def step(self, count: int = 1, *, unfrozen: bool = False, plateau: float = 1.0) -> TrainState:
        """Takes some steps, and returns the state on the host."""
        data = self.trainer.batches.device_data
        for _ in range(count):
            rows = batch_rows(int(self.state.step))[None]
            rates = RateInputs(np.int32(STEPS), np.int32(STEPS), np.float32(plateau))
            self.state, sums = self.trainer.program.train(
                self.inputs, self.state, data, rows, np.int32(1), rates, ("",) if unfrozen else ()
            )
            self.sums.append(jax.device_get(sums))
        state: TrainState = jax.device_get(self.state)
        return state

    def change(self, name: str, value: float) -> None:
        """Changes a number, as another run that shares the program."""
        assert name in self.inputs.numbers
        self.inputs = self.inputs._replace(numbers={**self.inputs.numbers, name: jax.device_put(np.float32(value))})

    def restart(self) -> None:
        """Returns to the state before the first step, with the current numbers."""
        self.trainer.program_inputs = self.inputs
        self.state = self.trainer.initial_state().train_state


def batch_rows(step: int) -> np.ndarray:
    return (np.arange(BATCH, dtype=np.int32) + BATCH * step) % (ROWS - 8)
