"""What a run's folder keeps of its training: checkpoints, and the points that they cover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from runner.errors import DiskError
from runner.program.program import TrainState
from runner.record.outbox import Outbox, cover
from runner.training.checkpoint import CheckpointFiles
from runner.training.trainer_state import TrainerState


class Notifiable(Protocol):
    """Whoever delivers points."""

    def notify(self) -> None:
        """Says that a checkpoint covers more of them."""


class CheckpointManager:
    """The keeper of one run's folder; points are added after `load` or `begin`."""

    def __init__(self, folder: Path, delivery: Notifiable, *, keep: int = 2) -> None:
        self.folder, self._delivery = folder, delivery
        self._checkpoints = CheckpointFiles(folder / "checkpoints", keep=keep)
        self._outbox: Outbox | None = None

    def load(self, like: TrainState) -> tuple[TrainerState | None, list[str]]:
        """The standing of the newest undamaged checkpoint, None where there is none; and warnings about others.

        `like` has the shapes and dtypes of the state. Points that the checkpoint doesn't cover are cut.
        """
        found, warnings = self._checkpoints.load(like, (like.parameters, like.model_state))
        self._outbox = Outbox(self.folder, covered=found[2]["points"] if found else 0)
        return TrainerState.restored(*found) if found else None, warnings

    def begin(self) -> None:
        """Opens the outbox of a run that has taken no step."""
        self._outbox = Outbox(self.folder)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point."""
        assert self._outbox is not None
        with self._disk_error_location():
            self._outbox.add(step, values)

    def save(self, standing: TrainerState) -> None:
        """Hands a checkpoint in, which covers all points so far; raises DiskError where it or an earlier one failed."""
        assert self._outbox is not None
        with self._disk_error_location():
            offset = self._outbox.flush()
        best = standing.best if standing.best_step == standing.step else None
        meta = standing.meta() | {"points": offset}
        self._checkpoints.save(standing.state, best, meta, then=lambda: self._covered(offset))

    def wait(self) -> None:
        """Returns once all is on the disk; raises DiskError where a checkpoint could not be written."""
        self._checkpoints.wait()

    def last_good(self, bad: int) -> int | None:
        """The step of the newest checkpoint before step `bad`, once all are on the disk; later ones are deleted."""
        self.wait()
        return self._checkpoints.cut(bad)

    def close(self) -> None:
        """Ends the writing."""
        self._checkpoints.close()
        if self._outbox is not None:
            with suppress(OSError):  # points that can't be written are covered by no checkpoint
                self._outbox.close()

    @contextmanager
    def _disk_error_location(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskError(f"points could not be written to {self.folder}", error) from error

    def _covered(self, offset: int) -> None:
        cover(self.folder, offset)
        self._delivery.notify()
