"""The programs of a run, compiled and timed: a few steps where they are short, else an estimate."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from runner.data.batches import Chunk
from runner.memory import measure_program_need
from runner.modes.dry_run.abstract_run import AbstractRun
from runner.modes.dry_run.multiply_adds import count_multiply_adds

HIT = "/jax/compilation_cache/cache_hits"
SHORT = 1.0  # seconds: a longer step isn't measured, and measuring stops after as long
ALWAYS_SHORT = 5e9  # multiply-adds that any machine does in about a second
MEASURED = "measured on a few steps"
PROBE = 1024  # rows and columns of the matrices that are multiplied to measure the device


@dataclass(frozen=True)
class Compiled:
    """A compiled program.

    Attributes:
        call: the program.
        seconds: the time that compiling took.
        cached: whether it comes from JAX's cache of compiled programs.
        memory: bytes that it needs; None: the platform doesn't report them.
        multiply_adds: multiply-adds of a call.
    """

    call: Any
    seconds: float
    cached: bool
    memory: int | None
    multiply_adds: int


@dataclass(frozen=True)
class Pace:
    """How fast a run would be.

    Attributes:
        step: seconds of a training step.
        evaluation: seconds of an evaluation's batch.
        basis: whether they are measured or estimated, in words.
    """

    step: float
    evaluation: float
    basis: str


def compile_training_step(run: AbstractRun) -> Compiled:
    """Compiles the program of a training dispatch; raises JaxRuntimeError where that fails."""
    return _compile(run.trainer.program.train, run.trainer.program_inputs, run.like, *run.dispatch_arguments)


def compile_evaluation(run: AbstractRun, split: str) -> tuple[Compiled, Chunk]:
    """Compiles the program of an evaluation; returns it with its first batch."""
    trainer = run.trainer
    size = trainer.evaluation_batch_size
    chunk = next(iter(trainer.batches.chunks(trainer.data.splits[split][:size], size, 1, pad=True)))
    weights = run.like.parameters, run.like.model_state
    batch = chunk.data, chunk.rows[0], chunk.mask
    return _compile(trainer.program.evaluate, trainer.program_inputs, *weights, *batch), chunk


def measure_pace(run: AbstractRun, step: Compiled, evaluation: tuple[Compiled, Any] | None, forward: float) -> Pace:
    """Measures a run that fits into memory, or estimates it where a step takes too long.

    Args:
        run: the run.
        step: its training step.
        evaluation: the program of its evaluation with a batch; None: it is not compiled.
        forward: multiply-adds of an evaluation's batch.
    """
    most = max(step.multiply_adds, forward)
    if most > ALWAYS_SHORT and most > SHORT * (rate := _multiply_adds_per_second()):
        basis = (
            f"estimated from the multiply-adds, at {rate / 1e9:.3g} billion a second, "
            "the device's pace in a matrix product; real steps often take twice as long"
        )
        return Pace(step.multiply_adds / rate, forward / rate, basis)
    seconds, state = _time_steps(run, step, _make_state(run.like))
    if evaluation is None:
        return Pace(seconds, seconds * forward / max(step.multiply_adds, 1), MEASURED)
    program, chunk = evaluation
    arguments = state.parameters, state.model_state, chunk.data, chunk.rows[0], chunk.mask
    return Pace(seconds, _shortest(lambda: program.call(run.trainer.program_inputs, *arguments), rounds=2), MEASURED)


def _compile(function: Any, *arguments: Any) -> Compiled:
    start = time.perf_counter()
    traced = function.trace(*arguments)
    with _record_cache_hits() as hits:
        program = traced.lower().compile()
    seconds, need = time.perf_counter() - start, measure_program_need(program)
    return Compiled(program, seconds, bool(hits), need and need.total, count_multiply_adds(traced.jaxpr.jaxpr))


@contextlib.contextmanager
def _record_cache_hits() -> Iterator[list[str]]:
    """Yields a list that grows with each program that JAX takes from its cache."""
    hits: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == HIT:
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield hits
    finally:
        jax.monitoring.unregister_event_listener(listen)


def _make_state(like: Any, seed: int = 0) -> Any:
    """A meaningless training state on the device, to be timed: small random parameters, zeros elsewhere."""
    random = np.random.default_rng(seed)

    def draw(leaf: Any) -> np.ndarray:
        return (0.05 * random.standard_normal(leaf.shape, np.float32)).astype(leaf.dtype)

    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    return jax.device_put(zeros._replace(parameters=jax.tree.map(draw, like.parameters)))


def _time_steps(run: AbstractRun, step: Compiled, state: Any) -> tuple[float, Any]:
    """Seconds of a training step in the fastest of a few dispatches, and the state after them."""
    data, rows, count, of_run = run.dispatch_arguments

    def time_dispatch(state: Any, steps: int) -> tuple[float, Any]:
        start = time.perf_counter()
        state, _ = jax.block_until_ready(
            step.call(run.trainer.program_inputs, state, data, rows, np.int32(steps), of_run)
        )
        return (time.perf_counter() - start) / steps, state

    seconds, state = time_dispatch(state, 1)  # slower than the next ones
    spent = seconds if seconds > SHORT else 0.0
    while spent < SHORT:
        steps = min(int(count), max(1, int(SHORT / 2 / seconds)))
        latest, state = time_dispatch(state, steps)
        seconds, spent = min(seconds, latest), spent + latest * steps
    return seconds, state


def _multiply_adds_per_second() -> float:
    """The device's pace in a product of float32 matrices; measuring takes a few tenths of a second."""
    matrix = jax.device_put(np.random.default_rng(0).standard_normal((PROBE, PROBE), np.float32))
    multiply = jax.jit(lambda x: x @ x)
    jax.block_until_ready(multiply(matrix))
    return PROBE**3 / _shortest(lambda: multiply(matrix), rounds=3)


def _shortest(call: Callable[[], Any], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return min(seconds)
