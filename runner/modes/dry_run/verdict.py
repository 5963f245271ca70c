"""Whether a run fits the device, and what to do where it doesn't."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import jax

from runner.errors import RunError, is_memory_error
from runner.memory import Free, byte_count, format_bytes, power_of_two, refuse_or_warn
from runner.modes.dry_run.compiling import Compiled
from runner.modes.dry_run.memory import Memory, largest_batch
from runner.modes.dry_run.subject import Subject


class Verdict:
    """Compares what a run needs with what is free now; where nothing says what is free, all fits."""

    def __init__(self, subject: Subject, memory: Memory, free: Free | None, warn: Callable[[str], None]) -> None:
        # The data is there already, where it stays on the device.
        self.limit: int | None = free and free.left + byte_count(subject.trainer.batches.resident)
        self.where = free.where if free else ""
        self._subject, self._memory = subject, memory
        self._copies = memory.parameters + memory.model_state + memory.checkpoint
        self._warned = False
        self._warn = None if subject.trainer.training.check_memory else warn

    def training(self, step: Compiled) -> int:
        """Bytes that training needs at once; as by shapes where the platform doesn't say."""
        memory = self._memory
        return memory.held + memory.working if step.memory is None else step.memory + self._copies

    def evaluation(self, program: Compiled) -> int:
        """Bytes that an evaluation needs at once."""
        memory = self._memory
        need = memory.held + memory.largest_layer if program.memory is None else program.memory + self._copies
        return need if program.memory is None else need + memory.optimizer_state

    def of_held(self) -> None:
        """Raises RunError where no batch size fits, or warns of that, once."""
        if self.limit is not None and self._memory.held + self._memory.parameters > self.limit:
            refuse_or_warn(self._too_large(self._memory.held + self._memory.working, self._none()), self._warn)
            self._warned = True

    @contextlib.contextmanager
    def of_compiler(self) -> Iterator[None]:
        """Raises RunError where compiling itself runs out of the device's memory."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if self.limit is None or not is_memory_error(error):
                raise
            raise RunError(self._training(self._memory.held + self._memory.working)) from error

    def of_compiled(self, step: Compiled, evaluation: Compiled | None) -> None:
        """Raises RunError where training or evaluation needs more than there is, or warns of that."""
        if self.limit is None or self._warned:
            return
        if (need := self.training(step)) > self.limit:
            refuse_or_warn(self._training(need), self._warn)
        if evaluation is not None and (need := self.evaluation(evaluation)) > self.limit:
            size = self._subject.trainer.evaluation_batch_size
            held = self._memory.held
            fits = power_of_two(max(1, int(size * (self.limit - held) / (need - held))))
            refuse_or_warn(self._too_large(need, f"training.evaluation_batch_size={fits} would fit"), self._warn)

    def _training(self, need: int) -> str:
        working = need - self._memory.held
        batch = largest_batch(self._subject, self._memory, working, self.limit or 0)
        return self._too_large(need, f"training.batch_size={power_of_two(batch)} would fit" if batch else self._none())

    def _none(self) -> str:
        memory = self._memory
        return (
            f"no batch size would fit, because parameters, gradients, the optimizer's state, copies of them and the "
            f"data alone take {format_bytes(memory.held + memory.parameters)}"
        )

    def _too_large(self, need: int, remedy: str) -> str:
        return (
            f"too large for the device: a run with training.batch_size={self._subject.batch_size} needs "
            f"{format_bytes(need)}, and {format_bytes(self.limit or 0)} are free {self.where}; {remedy}"
        )
