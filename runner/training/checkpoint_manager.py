"""`CheckpointManager`: writes the checkpoints of a run, and the points that its checkpoints cover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from runner.errors import DiskError
from runner.program.state import TrainState
from runner.record.outbox import Outbox, write_checkpointed_size
from runner.training.checkpoint import CheckpointFiles
from runner.training.trainer_state import TrainerState


class Notifiable(Protocol):
    """The delivery of points to MLflow."""

    def notify(self) -> None:
        """Tells the delivery that a new checkpoint covers more points."""


class CheckpointManager:
    """Writes the checkpoints and points of one run folder.

    A point holds the metrics of a step. A checkpoint covers the points that were added before it: resuming from the
    checkpoint doesn't compute them again. Call `open_outbox` or `load` before the first point.

    Args:
        folder: the run folder.
        delivery: is notified of each checkpoint.
        keep: the number of checkpoints that are kept.
    """

    def __init__(self, folder: Path, delivery: Notifiable, *, keep: int = 2) -> None:
        self.folder, self._delivery = folder, delivery
        self._files = CheckpointFiles(folder / "checkpoints", keep=keep)
        self._outbox: Outbox | None = None

    def open_outbox(self) -> None:
        """Opens the outbox of a run that has taken no step."""
        self._outbox = Outbox(self.folder)

    def load(
        self, state_shapes: TrainState, later_shapes: Sequence[TrainState] = ()
    ) -> tuple[TrainerState | None, list[str]]:
        """Loads the newest undamaged checkpoint, and removes the points that it doesn't cover.

        Args:
            state_shapes: the training state, with shapes and dtypes in place of arrays.
            later_shapes: the training states after frozen parameters are unfrozen.

        Returns:
            The state of the trainer (None: there is no checkpoint), and warnings about damaged checkpoints.
        """
        weights_shapes = state_shapes.parameters, state_shapes.model_state
        checkpoint, warnings = self._files.load(state_shapes, weights_shapes, later_shapes)
        self._outbox = Outbox(self.folder, checkpointed_size=checkpoint.metadata["points"] if checkpoint else 0)
        return TrainerState.from_checkpoint(*checkpoint) if checkpoint else None, warnings

    def add_point(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the metrics of a step to the outbox."""
        assert self._outbox is not None
        with self._as_disk_error():
            self._outbox.add(step, values)

    def save(self, trainer_state: TrainerState) -> None:
        """Starts to write a checkpoint, which covers all points so far.

        Raises:
            DiskError: the points or an earlier checkpoint could not be written.
        """
        assert self._outbox is not None
        with self._as_disk_error():
            offset = self._outbox.flush()
        new_best = trainer_state.best if trainer_state.best_step == trainer_state.step else None
        metadata = trainer_state.metadata() | {"points": offset}
        self._files.save(trainer_state.train_state, new_best, metadata, on_saved=lambda: self._cover(offset))

    def wait(self) -> None:
        """Waits until all checkpoints are on the disk. Raises DiskError if one could not be written."""
        self._files.wait()

    def remove_since(self, step: int) -> int | None:
        """Removes the checkpoints of a step and of later ones. Returns the step of the newest one left, or None."""
        self.wait()
        return self._files.remove_since(step)

    def close(self) -> None:
        """Waits for the writing thread, and closes the outbox."""
        self._files.close()
        if self._outbox is not None:
            with suppress(OSError):  # points that can't be written are covered by no checkpoint
                self._outbox.close()

    @contextmanager
    def _as_disk_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskError(f"points could not be written to {self.folder}", error) from error

    def _cover(self, offset: int) -> None:
        """Marks the points up to an offset in the outbox as covered."""
        write_checkpointed_size(self.folder, offset)
        self._delivery.notify()
