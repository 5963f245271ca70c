"""`TrainerState`: all that a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax

from runner.program.metric_sums import MetricSums, sums_from_json, sums_to_json
from runner.program.state import TrainState
from runner.training.monitor import MonitorState


@dataclass
class TrainerState:
    """All that is needed to resume a run.

    Attributes:
        train_state: parameters, model state, optimizer state and step, on the device.
        monitor: the state of early stopping and of the schedule `reduce_on_plateau`.
        step: steps taken. It equals `train_state.step`, and needs no read from the device.
        best: parameters and model state of the best evaluation.
        best_step: the step of the best evaluation.
        history: a record for each evaluation.
        sums: metric sums since the last evaluation.
        point_sums: those since the last point of `training.log_steps`.
        seconds: seconds of training, including those before the run was resumed.
    """

    train_state: TrainState
    monitor: MonitorState
    step: int = 0
    best: Any = None
    best_step: int | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    sums: MetricSums = field(default_factory=dict)
    point_sums: MetricSums = field(default_factory=dict)
    seconds: float = 0.0

    def metadata(self) -> dict[str, Any]:
        """All values but the arrays, in types that JSON keeps exactly."""
        return {
            "step": self.step,
            "best_step": self.best_step,
            "control": list(self.monitor),  # the key is the name of `monitor` in earlier versions
            "history": list(self.history),  # a copy, because training appends to it while the checkpoint is written
            "sums": sums_to_json(self.sums),
            "point_sums": sums_to_json(self.point_sums),
            "seconds": self.seconds,
        }

    @classmethod
    def from_checkpoint(cls, state: Any, best: Any, metadata: dict[str, Any]) -> TrainerState:
        """Puts the arrays of a checkpoint on the device, and joins them with its metadata."""
        return cls(
            train_state=jax.tree.map(jax.device_put, state),
            monitor=MonitorState(*metadata["control"]),
            step=metadata["step"],
            best=jax.tree.map(jax.device_put, best),
            best_step=metadata["best_step"],
            history=metadata["history"],
            sums=sums_from_json(metadata["sums"]),
            point_sums=sums_from_json(metadata.get("point_sums", {})),  # earlier versions have none
            seconds=metadata["seconds"],
        )
