"""How much memory a run needs, by shapes and as compiled, and whether the device has it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import Var

from runner.errors import RunError, is_memory_error
from runner.memory import (
    FreeMemory,
    count_bytes,
    estimate_training_bytes,
    format_bytes,
    raise_or_warn,
    round_to_power_of_two,
)
from runner.modes.dry_run.abstract_run import AbstractRun
from runner.modes.dry_run.layers import Layer
from runner.modes.dry_run.timing import Compiled


@dataclass(frozen=True)
class Memory:
    """Bytes on the device, from shapes alone.

    Attributes:
        parameters: the parameters; the gradients take as much.
        optimizer_state: the optimizer's state.
        model_state: running means and the like.
        checkpoint: the copy that a checkpoint is written from, where it stays in the device's memory.
        data: all data, or the batches of a dispatch.
        activations: arrays that JAX keeps of a batch for the backward pass.
        largest_layer: the largest input and output of one layer, for an evaluation's batch.
    """

    parameters: int
    optimizer_state: int
    model_state: int
    checkpoint: int
    data: int
    activations: int
    largest_layer: int

    @property
    def held(self) -> int:
        """Bytes that are in use all the time, with the copies of the best weights and for a checkpoint."""
        return 2 * (self.parameters + self.model_state) + self.optimizer_state + self.checkpoint + self.data

    @property
    def working(self) -> int:
        """Bytes that a training step needs in addition: the gradients and the activations."""
        return self.parameters + self.activations


def estimate_memory(run: AbstractRun, layers: Sequence[Layer]) -> Memory:
    """The memory of a run with these layers, from shapes alone."""
    like = run.like
    scale = run.trainer.evaluation_batch_size / run.batch_size
    return Memory(
        parameters=count_bytes(like.parameters),
        optimizer_state=count_bytes(like.optimizer_state),
        model_state=count_bytes(like.model_state),
        checkpoint=estimate_training_bytes(like) - count_bytes((like, like.parameters, like.model_state)),
        data=count_bytes(run.chunk.data),
        activations=_activation_bytes(run, run.batch_size),
        largest_layer=round(scale * max((layer.input_bytes + layer.output_bytes for layer in layers), default=0)),
    )


def _activation_bytes(run: AbstractRun, size: int) -> int:
    """Bytes that JAX keeps of `size` examples until the backward pass, without parameters and inputs."""

    def linearize(parameters: Any, model_state: Any, encoded: Any) -> Any:
        return jax.vjp(lambda these: run.objective(these, model_state, encoded), parameters)[1]

    like = run.like
    jaxpr = jax.make_jaxpr(linearize)(like.parameters, like.model_state, run.encoded(size)).jaxpr
    results = {variable for variable in jaxpr.outvars if isinstance(variable, Var)}
    return count_bytes([variable.aval for variable in results - {*jaxpr.invars, *jaxpr.constvars}])


class MemoryCheck:
    """Compares the memory that a run needs with the free memory.

    Attributes:
        limit: bytes that a run may use; None: the platform doesn't report free memory, and any run fits.
        where: where they are free, in words.
    """

    def __init__(self, run: AbstractRun, memory: Memory, free: FreeMemory | None, warn: Callable[[str], None]) -> None:
        # Data that stays on the device is loaded already.
        self.limit: int | None = free and free.left + count_bytes(run.trainer.batches.device_data)
        self.where = free.where if free else ""
        self._run, self._memory = run, memory
        self._copies = memory.parameters + memory.model_state + memory.checkpoint
        self._has_warned = False
        self._warn = None if run.trainer.training.check_memory else warn

    def training_bytes(self, step: Compiled) -> int:
        """Bytes that training needs at once; by shapes where the platform doesn't report them."""
        memory = self._memory
        return memory.held + memory.working if step.memory is None else step.memory + self._copies

    def evaluation_bytes(self, program: Compiled) -> int:
        """Bytes that an evaluation needs at once; by shapes where the platform doesn't report them."""
        memory = self._memory
        if program.memory is None:
            return memory.held + memory.largest_layer
        return program.memory + self._copies + memory.optimizer_state

    def check_held(self) -> None:
        """Raises RunError where no batch size fits, or warns of it."""
        if self.limit is not None and self._memory.held + self._memory.parameters > self.limit:
            need = self._memory.held + self._memory.working
            raise_or_warn(self._describe_excess(need, self._describe_no_fit()), self._warn)
            self._has_warned = True

    @contextlib.contextmanager
    def compiler_error_location(self) -> Iterator[None]:
        """Raises RunError where compiling itself runs out of the device's memory."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if self.limit is None or not is_memory_error(error):
                raise
            raise RunError(self._describe_training(self._memory.held + self._memory.working)) from error

    def check_compiled(self, step: Compiled, evaluation: Compiled | None) -> None:
        """Raises RunError where training or evaluation needs more memory than is free, or warns of it."""
        if self.limit is None or self._has_warned:
            return
        if (need := self.training_bytes(step)) > self.limit:
            raise_or_warn(self._describe_training(need), self._warn)
        if evaluation is not None and (need := self.evaluation_bytes(evaluation)) > self.limit:
            size, held = self._run.trainer.evaluation_batch_size, self._memory.held
            fitting = round_to_power_of_two(max(1, int(size * (self.limit - held) / (need - held))))
            remedy = f"training.evaluation_batch_size={fitting} would fit"
            raise_or_warn(self._describe_excess(need, remedy), self._warn)

    def _describe_training(self, need: int) -> str:
        batch = self._largest_batch(need - self._memory.held)
        fitting = f"training.batch_size={round_to_power_of_two(batch)} would fit" if batch else self._describe_no_fit()
        return self._describe_excess(need, fitting)

    def _largest_batch(self, working: int) -> int:
        """About the largest batch size that fits; 0: none fits. `working`: bytes that a compiled step needs."""
        memory, size = self._memory, self._run.batch_size
        other = size // 2 if size > 1 else 2
        per_example = (memory.activations - _activation_bytes(self._run, other)) / (size - other)
        fixed = memory.working - per_example * size
        left = ((self.limit or 0) - memory.held) * memory.working / working - fixed
        return max(0, math.floor(left / per_example)) if per_example > 0 else 0

    def _describe_no_fit(self) -> str:
        memory = self._memory
        return (
            f"no batch size would fit, because parameters, gradients, the optimizer's state, copies of them and the "
            f"data alone take {format_bytes(memory.held + memory.parameters)}"
        )

    def _describe_excess(self, need: int, remedy: str) -> str:
        return (
            f"too large for the device: a run with training.batch_size={self._run.batch_size} needs "
            f"{format_bytes(need)}, and {format_bytes(self.limit or 0)} are free {self.where}; {remedy}"
        )
