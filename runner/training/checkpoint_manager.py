"""`CheckpointManager`: what a run folder keeps of the training, checkpoints and the points that they cover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from runner.errors import DiskError
from runner.program.program import TrainState
from runner.record.outbox import Outbox, write_covered_size
from runner.training.checkpoint import CheckpointFiles
from runner.training.trainer_state import TrainerState


class Notifiable(Protocol):
    """The delivery of points to MLflow."""

    def notify(self) -> None:
        """Tells the delivery that a checkpoint covers more points."""


class CheckpointManager:
    """Writes the checkpoints and points of one run folder. Call `load` or `begin` before the first point."""

    def __init__(self, folder: Path, delivery: Notifiable, *, keep: int = 2) -> None:
        self.folder, self._delivery = folder, delivery
        self._checkpoints = CheckpointFiles(folder / "checkpoints", keep=keep)
        self._outbox: Outbox | None = None

    def load(self, like: TrainState) -> tuple[TrainerState | None, list[str]]:
        """Loads the newest undamaged checkpoint, and cuts the points that it doesn't cover.

        Args:
            like: the shapes and dtypes of the training state.

        Returns the trainer's state, None if there is no checkpoint, and warnings about damaged ones.
        """
        found, warnings = self._checkpoints.load(like, (like.parameters, like.model_state))
        self._outbox = Outbox(self.folder, covered_size=found[2]["points"] if found else 0)
        return TrainerState.restored(*found) if found else None, warnings

    def begin(self) -> None:
        """Opens the outbox of a run that has taken no step."""
        self._outbox = Outbox(self.folder)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to the outbox."""
        assert self._outbox is not None
        with self._locate_disk_error():
            self._outbox.add(step, values)

    def save(self, standing: TrainerState) -> None:
        """Starts to write a checkpoint, which covers all points so far.

        Raises DiskError if this or an earlier write failed.
        """
        assert self._outbox is not None
        with self._locate_disk_error():
            offset = self._outbox.flush()
        best = standing.best if standing.best_step == standing.step else None
        meta = standing.meta() | {"points": offset}
        self._checkpoints.save(standing.state, best, meta, then=lambda: self._cover(offset))

    def wait(self) -> None:
        """Waits until all checkpoints are on the disk. Raises DiskError if one could not be written."""
        self._checkpoints.wait()

    def last_good(self, bad: int) -> int | None:
        """The step of the newest checkpoint before the step `bad`, None if there is none. Later ones are deleted."""
        self.wait()
        return self._checkpoints.cut(bad)

    def close(self) -> None:
        """Ends the writing."""
        self._checkpoints.close()
        if self._outbox is not None:
            with suppress(OSError):  # no checkpoint covers points that can't be written
                self._outbox.close()

    @contextmanager
    def _locate_disk_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskError(f"points could not be written to {self.folder}", error) from error

    def _cover(self, offset: int) -> None:
        write_covered_size(self.folder, offset)
        self._delivery.notify()
