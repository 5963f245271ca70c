"""Checkpoints and the points that they cover: what is saved is loaded again exactly."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from runner.program.state import TrainState
from runner.record import outbox
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.monitor import MonitorState
from runner.training.trainer_state import TrainerState


class CountingDelivery:
    """Counts its notifications."""

    notifications = 0

    def notify(self) -> None:
        self.notifications += 1


def trainer_state(step: int, best_step: int) -> TrainerState:
    """A state in which no field has its initial value."""
    state = TrainState(
        {"w": np.full(2, step, np.float32)},
        {"m": np.float32(step)},
        (),
        np.int32(step),
        np.int32(7),  # type: ignore[arg-type]
    )
    return TrainerState(
        train_state=state,
        monitor=MonitorState(0.25, 0.5, 1, 0.75, 2, 3, 0.125, True),
        step=step,
        best=({"w": np.full(2, best_step, np.float32)}, {"m": np.float32(best_step)}),
        best_step=best_step,
        history=[{"epoch": 1, "step": best_step, "valid/loss": 0.1 + 0.2}],
        sums={"loss": {"sum": np.float64(0.1), "count": np.int64(3)}},
        seconds=1.5,
    )


def assert_equal(found: TrainerState, expected: TrainerState) -> None:
    for field in dataclasses.fields(TrainerState):
        pair = getattr(found, field.name), getattr(expected, field.name)
        assert jax.tree.structure(pair[0]) == jax.tree.structure(pair[1]), field.name
        jax.tree.map(np.testing.assert_array_equal, *pair)


def test_the_trainer_state_is_restored_exactly_from_json() -> None:
    saved = trainer_state(6, 4)
    metadata = json.loads(json.dumps(saved.metadata()))
    assert_equal(TrainerState.from_checkpoint(saved.train_state, saved.best, metadata), saved)


def test_only_the_points_that_the_loaded_checkpoint_covers_are_kept(tmp_path: Path) -> None:
    delivery = CountingDelivery()
    checkpoints = CheckpointManager(tmp_path, delivery)
    checkpoints.open_outbox()
    for step, best_step in ((2, 2), (4, 2), (6, 6)):
        checkpoints.add_point(step, {"valid/loss": step / 10})
        checkpoints.save(trainer_state(step, best_step))
    checkpoints.wait()
    checkpoints.add_point(8, {"valid/loss": 0.8})
    checkpoints.close()
    assert delivery.notifications == 3
    assert len((tmp_path / "points.jsonl").read_text().splitlines()) == 4
    (tmp_path / "checkpoints/step_0000000006.npz").write_bytes(b"damaged")
    reopened = CheckpointManager(tmp_path, delivery)
    found, warnings = reopened.load(trainer_state(0, 0).train_state)
    assert found is not None
    assert_equal(found, trainer_state(4, 2))
    assert len(warnings) == 1
    points = outbox.parse_points(outbox.read_checkpointed_points(tmp_path).splitlines())
    assert [point.step for point in points] == [2, 4]
    assert len((tmp_path / "points.jsonl").read_text().splitlines()) == 2
    reopened.close()
