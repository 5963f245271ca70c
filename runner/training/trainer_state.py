"""Where a run stands: all that it takes to go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax

from runner.program import metric_sums as summing
from runner.program.program import TrainState
from runner.training.monitor import MonitorState


@dataclass
class TrainerState:
    """All that a checkpoint keeps."""

    state: TrainState
    control: MonitorState
    step: int = 0  # steps taken: `state.step`, known without asking the device
    best: Any = None  # parameters and model state of the best evaluation
    best_step: int | None = None
    history: list[dict[str, float]] = field(default_factory=list)  # one record an epoch
    sums: summing.MetricSums = field(default_factory=dict)  # of the epoch that has begun
    seconds: float = 0.0

    def meta(self) -> dict[str, Any]:
        """All but the arrays, as plain values that JSON keeps to the last bit."""
        return {
            "step": self.step,
            "best_step": self.best_step,
            "control": list(self.control),
            "history": list(self.history),  # it is written while training goes on
            "sums": summing.sums_to_json(self.sums),
            "seconds": self.seconds,
        }

    @classmethod
    def restored(cls, state: Any, best: Any, meta: dict[str, Any]) -> TrainerState:
        """What `meta` and the arrays were made of, on the device."""
        return cls(
            state=jax.tree.map(jax.device_put, state),
            control=MonitorState(*meta["control"]),
            step=meta["step"],
            best=jax.tree.map(jax.device_put, best),
            best_step=meta["best_step"],
            history=meta["history"],
            sums=summing.sums_from_json(meta["sums"]),
            seconds=meta["seconds"],
        )
