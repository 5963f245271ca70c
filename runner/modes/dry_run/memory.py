"""The memory that a run needs, estimated from shapes and reported by the compiler, and whether it is free."""

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
from runner.modes.dry_run.layers import LayerCall
from runner.modes.dry_run.timing import Compiled
from runner.program.trees import merge


@dataclass(frozen=True)
class MemoryEstimate:
    """The memory that a run needs on the device, estimated from shapes.

    Attributes:
        parameters: bytes of the parameters.
        gradients: bytes of the gradients, which frozen parameters don't have.
        optimizer_state: bytes of the state of the optimizer and of the update set.
        model_state: bytes of other variables, such as BatchNorm's averages.
        checkpoint: bytes of the copy that a checkpoint is written from, if it is in the device's memory.
        data: bytes of all data, or of the batches of a dispatch.
        activations: bytes of the arrays that JAX keeps for the backward pass of a batch.
        largest_layer: bytes of the largest input and output of one layer in an evaluation batch.
    """

    parameters: int
    gradients: int
    optimizer_state: int
    model_state: int
    checkpoint: int
    data: int
    activations: int
    largest_layer: int

    @property
    def held(self) -> int:
        """Bytes in use all the time, with the copies of the best weights and for a checkpoint."""
        return 2 * (self.parameters + self.model_state) + self.optimizer_state + self.checkpoint + self.data

    @property
    def working(self) -> int:
        """Bytes that a training step needs in addition, for the gradients and the activations."""
        return self.gradients + self.activations


def estimate_memory(run: AbstractRun, layers: Sequence[LayerCall]) -> MemoryEstimate:
    """Estimates the memory of a run from the shapes of its state and layers."""
    shapes = run.state_shapes
    scale = run.trainer.evaluation_batch_size / run.batch_size
    return MemoryEstimate(
        parameters=count_bytes(shapes.parameters),
        gradients=count_bytes(run.split(shapes.parameters)[0]),
        optimizer_state=count_bytes((shapes.optimizer_state, shapes.update_state)),
        model_state=count_bytes(shapes.model_state),
        checkpoint=estimate_training_bytes(shapes) - count_bytes((shapes, shapes.parameters, shapes.model_state)),
        data=count_bytes(run.chunk.data),
        activations=_activation_bytes(run, run.batch_size),
        largest_layer=round(scale * max((layer.input_bytes + layer.output_bytes for layer in layers), default=0)),
    )


def _activation_bytes(run: AbstractRun, size: int) -> int:
    """Bytes that JAX keeps for the backward pass of `size` examples, without parameters and inputs."""

    def linearize(parameters: Any, model_state: Any, encoded: Any) -> Any:
        free, frozen = run.split(parameters)
        return jax.vjp(lambda values: run.objective(merge(values, frozen), model_state, encoded), free)[1]

    shapes = run.state_shapes
    jaxpr = jax.make_jaxpr(linearize)(shapes.parameters, shapes.model_state, run.encoded_shapes(size)).jaxpr
    # The function that `vjp` returns closes over the kept arrays, so they are outputs of the traced function.
    kept = {variable for variable in jaxpr.outvars if isinstance(variable, Var)}
    return count_bytes([variable.aval for variable in kept - {*jaxpr.invars, *jaxpr.constvars}])


class MemoryCheck:
    """Compares the memory that a run needs with the free memory.

    Attributes:
        limit: bytes that the run can use; None: the platform doesn't report free memory, and any run fits.
        where: the device that has them, for messages.
    """

    def __init__(
        self, run: AbstractRun, memory: MemoryEstimate, free: FreeMemory | None, warn: Callable[[str], None]
    ) -> None:
        # Data that stays on the device is loaded already, so it is not free, but the run can use it.
        self.limit: int | None = free and free.program_bytes + count_bytes(run.trainer.batches.device_data)
        self.where = free.where if free else ""
        self._run, self._memory = run, memory
        self._copies = memory.parameters + memory.model_state + memory.checkpoint
        self._has_warned = False
        self._warn = None if run.trainer.training.check_memory else warn

    def training_bytes(self, step: Compiled) -> int:
        """Bytes that training needs, estimated from shapes if the compiler doesn't report them."""
        memory = self._memory
        return memory.held + memory.working if step.memory is None else step.memory + self._copies

    def evaluation_bytes(self, program: Compiled | None) -> int:
        """Bytes that an evaluation needs, estimated from shapes if it isn't compiled or the compiler reports none."""
        memory = self._memory
        if program is None or program.memory is None:
            return memory.held + memory.largest_layer
        return program.memory + self._copies + memory.optimizer_state

    def check_held(self) -> None:
        """Raises RunError, or warns, if no batch size fits."""
        if self.limit is not None and self._memory.held + self._memory.gradients > self.limit:
            need = self._memory.held + self._memory.working
            raise_or_warn(self._describe_excess(need, self._describe_no_fit()), self._warn)
            self._has_warned = True

    @contextlib.contextmanager
    def compiler_error_location(self) -> Iterator[None]:
        """Raises RunError if the device runs out of memory while a program is compiled."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if self.limit is None or not is_memory_error(error):
                raise
            raise RunError(self._describe_training(self._memory.held + self._memory.working)) from error

    def check_compiled(self, step: Compiled, evaluation: Compiled | None) -> None:
        """Raises RunError, or warns, if training or evaluation needs more memory than is free."""
        if self.limit is None or self._has_warned:
            return
        if (need := self.training_bytes(step)) > self.limit:
            raise_or_warn(self._describe_training(need), self._warn)
        if evaluation is not None and (need := self.evaluation_bytes(evaluation)) > self.limit:
            size, held = self._run.trainer.evaluation_batch_size, self._memory.held
            largest_size = round_to_power_of_two(max(1, int(size * (self.limit - held) / (need - held))))
            remedy = f"training.evaluation_batch_size={largest_size} would fit"
            raise_or_warn(self._describe_excess(need, remedy), self._warn)

    def _describe_training(self, need: int) -> str:
        batch = self._largest_batch(need - self._memory.held)
        remedy = f"training.batch_size={round_to_power_of_two(batch)} would fit" if batch else self._describe_no_fit()
        return self._describe_excess(need, remedy)

    def _largest_batch(self, working: int) -> int:
        """Estimates the largest batch size that fits; 0: none. `working`: bytes that the compiled step needs.

        Activations are linear in the batch size, so a second size gives the bytes of an example. The estimate from
        shapes is scaled to what the compiler reports.
        """
        memory, size = self._memory, self._run.batch_size
        other_size = size // 2 if size > 1 else 2
        per_example = (memory.activations - _activation_bytes(self._run, other_size)) / (size - other_size)
        fixed = memory.working - per_example * size
        available = ((self.limit or 0) - memory.held) * memory.working / working - fixed
        return max(0, math.floor(available / per_example)) if per_example > 0 else 0

    def _describe_no_fit(self) -> str:
        memory = self._memory
        return (
            f"no batch size would fit, because parameters, gradients, the optimizer's state, their copies and the "
            f"data alone take {format_bytes(memory.held + memory.gradients)}"
        )

    def _describe_excess(self, need: int, remedy: str) -> str:
        return (
            f"too large for the device: a run with training.batch_size={self._run.batch_size} needs "
            f"{format_bytes(need)}, and {format_bytes(self.limit or 0)} are free {self.where}; {remedy}"
        )
