"""How much memory a run needs, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import Var

from runner.memory import byte_count, training_bytes
from runner.modes.dry_run.layers import Layer
from runner.modes.dry_run.subject import Subject


@dataclass(frozen=True)
class Memory:
    """Bytes on the device, by the shapes."""

    parameters: int
    optimizer_state: int
    model_state: int
    checkpoint: int  # a copy that it is written from, where that is in the device's memory
    data: int  # the whole of it, or the batches of a dispatch
    activations: int  # what JAX keeps of a batch for the backward pass
    largest_layer: int  # the most that one layer takes and gives, of an evaluation's batch

    @property
    def held(self) -> int:
        """What is there all the time: with copies of the best weights and for a checkpoint."""
        return 2 * (self.parameters + self.model_state) + self.optimizer_state + self.checkpoint + self.data

    @property
    def working(self) -> int:
        """What a training step needs besides: the gradients and the activations."""
        return self.parameters + self.activations


def by_shapes(subject: Subject, rows: Sequence[Layer]) -> Memory:
    """The memory of a run whose layers these are."""
    like = subject.like
    scale = subject.trainer.evaluation_batch_size / subject.batch_size
    return Memory(
        parameters=byte_count(like.parameters),
        optimizer_state=byte_count(like.optimizer_state),
        model_state=byte_count(like.model_state),
        checkpoint=training_bytes(like) - byte_count((like, like.parameters, like.model_state)),
        data=byte_count(subject.chunk.data),
        activations=activations(subject, subject.batch_size),
        largest_layer=round(scale * max((row.taken + row.written for row in rows), default=0)),
    )


def activations(subject: Subject, size: int) -> int:
    """What JAX keeps of so many examples until the backward pass, without what is there anyway."""

    def kept(parameters: Any, model_state: Any, encoded: Any) -> Any:
        return jax.vjp(lambda these: subject.objective(these, model_state, encoded), parameters)[1]

    like = subject.like
    jaxpr = jax.make_jaxpr(kept)(like.parameters, like.model_state, subject.encoded(size)).jaxpr
    results = {variable for variable in jaxpr.outvars if isinstance(variable, Var)}
    return byte_count([variable.aval for variable in results - {*jaxpr.invars, *jaxpr.constvars}])


def largest_batch(subject: Subject, memory: Memory, working: int, limit: int) -> int:
    """About the largest batch whose training fits; 0: none does. `working`: bytes that a step was found to need."""
    size = subject.batch_size
    other = size // 2 if size > 1 else 2
    an_example = (memory.activations - activations(subject, other)) / (size - other)
    fixed = memory.working - an_example * size
    left = (limit - memory.held) * memory.working / working - fixed
    return max(0, math.floor(left / an_example)) if an_example > 0 else 0
