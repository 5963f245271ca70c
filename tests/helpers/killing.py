"""Kills a run after a checkpoint, within this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from disk import Killed

from runner import run_folder
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.trainer_state import TrainerState


@contextmanager
def killed_after(stop: int) -> Iterator[None]:
    """Kills the only run in `outputs` once its checkpoint of a step is saved. A killed process writes no summary."""
    save = CheckpointManager.save

    def save_and_die(manager: CheckpointManager, state: TrainerState) -> None:
        save(manager, state)
        if state.step == stop:
            manager.wait()
            raise Killed

    with pytest.MonkeyPatch.context() as patched, suppress(Killed):
        patched.setattr(CheckpointManager, "save", save_and_die)
        yield
    (folder,) = run_folder.list_runs(Path("outputs"))
    (folder / "summary.json").unlink()
