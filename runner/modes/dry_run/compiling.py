"""The very programs of a run, compiled: what that takes, and what they need."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from runner.data.batches import Chunk
from runner.memory import program_need
from runner.modes.dry_run.subject import Subject
from runner.modes.dry_run.work import multiply_adds

HIT = "/jax/compilation_cache/cache_hits"


@dataclass(frozen=True)
class Compiled:
    """A program, ready to be called."""

    call: Any
    seconds: float  # that compiling took
    cached: bool  # whether an earlier one was there
    memory: int | None  # bytes
    multiply_adds: int


def training_step(subject: Subject) -> Compiled:
    """The program of a training dispatch; raises JaxRuntimeError where compiling fails."""
    return _compile(subject.trainer.program.train, subject.trainer.given, subject.like, *subject.dispatch)


def evaluation(subject: Subject, split: str) -> tuple[Compiled, Chunk]:
    """The program of an evaluation, and its first batch."""
    trainer = subject.trainer
    size = trainer.evaluation_batch_size
    chunk = next(iter(trainer.batches.chunks(trainer.data.splits[split][:size], size, 1, pad=True)))
    weights = subject.like.parameters, subject.like.model_state
    batch = chunk.data, chunk.rows[0], chunk.mask
    return _compile(trainer.program.evaluate, trainer.given, *weights, *batch), chunk


def throw_away(like: Any, seed: int = 0) -> Any:
    """A state of these shapes, on the device: small random parameters, the rest zero. What comes of it is nonsense."""
    random = np.random.default_rng(seed)

    def filled(leaf: Any) -> np.ndarray:
        return (0.05 * random.standard_normal(leaf.shape, np.float32)).astype(leaf.dtype)

    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    return jax.device_put(zeros._replace(parameters=jax.tree.map(filled, like.parameters)))


def _compile(function: Any, *arguments: Any) -> Compiled:
    began = time.perf_counter()
    traced = function.trace(*arguments)
    with _hits() as hits:
        program = traced.lower().compile()
    seconds, found = time.perf_counter() - began, program_need(program)
    return Compiled(program, seconds, bool(hits), found and found.total, multiply_adds(traced.jaxpr.jaxpr))


@contextlib.contextmanager
def _hits() -> Iterator[list[str]]:
    """What JAX takes from its cache of compiled programs meanwhile."""
    hits: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == HIT:
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield hits
    finally:
        jax.monitoring.unregister_event_listener(listen)
