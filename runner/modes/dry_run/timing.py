"""Compiles the programs of a run and measures their time, or estimates it if a step takes long."""

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

CACHE_HIT = "/jax/compilation_cache/cache_hits"
MEASURE_SECONDS = 1.0  # the time for measuring; a step that takes longer is estimated
MAX_ALWAYS_MEASURED = 5e9  # multiply-adds; any machine takes at most about a second for so many
MEASURED = "measured on a few steps"
MATRIX_SIZE = 1024  # rows and columns of the matrices that are multiplied to measure the device


@dataclass(frozen=True)
class Compiled:
    """A compiled program.

    Attributes:
        call: the program.
        seconds: seconds that compiling took.
        cached: whether it was in JAX's compilation cache.
        memory: bytes that it needs; None: the compiler doesn't report them.
        multiply_adds: multiply-adds of a call.
    """

    call: Any
    seconds: float
    cached: bool
    memory: int | None
    multiply_adds: int


@dataclass(frozen=True)
class Pace:
    """The time of a run.

    Attributes:
        step: seconds of a training step.
        evaluation: seconds of an evaluation batch.
        basis: how they were determined, for the title of the section.
    """

    step: float
    evaluation: float
    basis: str


def compile_training_step(run: AbstractRun) -> Compiled:
    """Compiles the program of a training dispatch. Raises JaxRuntimeError if that fails."""
    return _compile(run.trainer.program.train, run.trainer.program_inputs, run.state_shapes, *run.dispatch_arguments)


def compile_evaluation(run: AbstractRun, split: str) -> tuple[Compiled, Chunk]:
    """Compiles the program of an evaluation. Returns it with the first batch of the split."""
    trainer = run.trainer
    size = trainer.evaluation_batch_size
    chunk = next(iter(trainer.batches.chunks(trainer.data.splits[split][:size], size, 1, pad=True)))
    weights = run.state_shapes.parameters, run.state_shapes.model_state
    batch = chunk.data, chunk.rows[0], chunk.mask
    return _compile(trainer.program.evaluate, trainer.program_inputs, *weights, *batch), chunk


def measure_pace(
    run: AbstractRun, step: Compiled, evaluation: tuple[Compiled, Any] | None, evaluation_work: float
) -> Pace:
    """Measures the time of a run that fits into memory, or estimates it if a step takes long.

    Args:
        run: the run.
        step: the program of the training step.
        evaluation: the program of the evaluation, with a batch; None: it was not compiled.
        evaluation_work: multiply-adds of an evaluation batch.
    """
    work = max(step.multiply_adds, evaluation_work)
    if work > MAX_ALWAYS_MEASURED and work > MEASURE_SECONDS * (rate := _multiply_adds_per_second()):
        basis = (
            f"estimated from the multiply-adds, at the {rate / 1e9:.3g} billion per second of a matrix product; "
            "real steps often take twice as long"
        )
        return Pace(step.multiply_adds / rate, evaluation_work / rate, basis)
    seconds, state = _time_steps(run, step, _make_state(run.state_shapes))
    if evaluation is None:
        return Pace(seconds, seconds * evaluation_work / max(step.multiply_adds, 1), MEASURED)
    program, chunk = evaluation
    arguments = state.parameters, state.model_state, chunk.data, chunk.rows[0], chunk.mask
    return Pace(
        seconds, _measure_shortest(lambda: program.call(run.trainer.program_inputs, *arguments), rounds=2), MEASURED
    )


def _compile(function: Any, *arguments: Any) -> Compiled:
    start = time.perf_counter()
    traced = function.trace(*arguments)
    with _record_cache_hits() as hits:
        program = traced.lower().compile()
    seconds, need = time.perf_counter() - start, measure_program_need(program)
    return Compiled(program, seconds, bool(hits), need and need.total, count_multiply_adds(traced.jaxpr.jaxpr))


@contextlib.contextmanager
def _record_cache_hits() -> Iterator[list[str]]:
    """Yields a list to which each program from JAX's compilation cache adds an entry."""
    hits: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == CACHE_HIT:
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield hits
    finally:
        jax.monitoring.unregister_event_listener(listen)


def _make_state(shapes: Any, seed: int = 0) -> Any:
    """Makes a training state on the device for timing only: small random parameters, zeros elsewhere."""
    random = np.random.default_rng(seed)

    def draw(leaf: Any) -> np.ndarray:
        return (0.05 * random.standard_normal(leaf.shape, np.float32)).astype(leaf.dtype)

    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.device_put(zeros._replace(parameters=jax.tree.map(draw, shapes.parameters)))


def _time_steps(run: AbstractRun, step: Compiled, state: Any) -> tuple[float, Any]:
    """Measures the seconds of a training step in the fastest of a few dispatches. Returns the last state too."""
    data, rows, count, rate_inputs = run.dispatch_arguments

    def time_dispatch(state: Any, steps: int) -> tuple[float, Any]:
        start = time.perf_counter()
        state, _ = jax.block_until_ready(
            step.call(run.trainer.program_inputs, state, data, rows, np.int32(steps), rate_inputs)
        )
        return (time.perf_counter() - start) / steps, state

    seconds, state = time_dispatch(state, 1)  # slower than later ones
    spent = seconds if seconds > MEASURE_SECONDS else 0.0
    while spent < MEASURE_SECONDS:
        steps = min(int(count), max(1, int(MEASURE_SECONDS / 2 / seconds)))
        latest, state = time_dispatch(state, steps)
        seconds, spent = min(seconds, latest), spent + latest * steps
    return seconds, state


def _multiply_adds_per_second() -> float:
    """Measures a product of float32 matrices, in a few tenths of a second."""
    matrix = jax.device_put(np.random.default_rng(0).standard_normal((MATRIX_SIZE, MATRIX_SIZE), np.float32))
    multiply = jax.jit(lambda x: x @ x)
    jax.block_until_ready(multiply(matrix))
    return MATRIX_SIZE**3 / _measure_shortest(lambda: multiply(matrix), rounds=3)


def _measure_shortest(call: Callable[[], Any], rounds: int) -> float:
    """Measures the seconds of the fastest of some calls."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return min(seconds)
