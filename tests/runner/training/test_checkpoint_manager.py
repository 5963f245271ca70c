"""What a run's folder keeps of its training comes back whole, as far as the last checkpoint covers it."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from runner.program.program import TrainState
from runner.record import outbox
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.monitor import MonitorState
from runner.training.trainer_state import TrainerState


class Told:
    """A delivery that counts how often it is told that there is more."""

    pokes = 0

    def notify(self) -> None:
        self.pokes += 1


def standing(step: int, best_step: int) -> TrainerState:
    """One in which no field is as it is at first."""
    state = TrainState(
        {"w": np.full(2, step, np.float32)},
        {"m": np.float32(step)},
        (),
        np.int32(step),
        np.int32(7),  # type: ignore[arg-type]
    )
    return TrainerState(
        state=state,
        monitor=MonitorState(0.25, 0.5, 1, 0.75, 2, 3, 0.125, True),
        step=step,
        best=({"w": np.full(2, best_step, np.float32)}, {"m": np.float32(best_step)}),
        best_step=best_step,
        history=[{"epoch": 1, "step": best_step, "valid/loss": 0.1 + 0.2}],
        sums={"loss": {"sum": np.float64(0.1), "count": np.int64(3)}},
        seconds=1.5,
    )


def assert_equal(one: TrainerState, other: TrainerState) -> None:
    for field in dataclasses.fields(TrainerState):
        pair = getattr(one, field.name), getattr(other, field.name)
        assert jax.tree.structure(pair[0]) == jax.tree.structure(pair[1]), field.name
        jax.tree.map(np.testing.assert_array_equal, *pair)


def test_a_standing_comes_back_whole_from_plain_values() -> None:
    before = standing(6, 4)
    meta = json.loads(json.dumps(before.meta()))
    assert_equal(TrainerState.restored(before.state, before.best, meta), before)


def test_what_a_checkpoint_covers_comes_back_and_no_more(tmp_path: Path) -> None:
    told = Told()
    archive = CheckpointManager(tmp_path, told)
    archive.begin()
    for step, best in ((2, 2), (4, 2), (6, 6)):
        archive.add(step, {"valid/loss": step / 10})
        archive.save(standing(step, best))
    archive.wait()
    archive.add(8, {"valid/loss": 0.8})
    archive.close()
    assert told.pokes == 3
    assert len((tmp_path / "points.jsonl").read_text().splitlines()) == 4
    (tmp_path / "checkpoints/step_0000000006.npz").write_bytes(b"damaged")
    again = CheckpointManager(tmp_path, told)
    found, damaged = again.load(standing(0, 0).state)
    assert found is not None
    assert_equal(found, standing(4, 2))
    assert len(damaged) == 1
    assert [point.step for point in outbox.parse_points(outbox.read_covered_points(tmp_path).splitlines())] == [2, 4]
    assert len((tmp_path / "points.jsonl").read_text().splitlines()) == 2
    again.close()
