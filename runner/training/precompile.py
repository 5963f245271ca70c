"""Traces and compiles the first calls of a program, before there is a state and a run folder."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np

from runner import memory
from runner.data.batches import Chunk
from runner.log import LOG
from runner.program.metric_sums import list_metric_names
from runner.training.evaluator import BATCH_SIZE_KEY, Evaluator


def trace_calls(evaluator: Evaluator, train_arguments: tuple[Any, ...]) -> list[str]:
    """Traces a training step and an evaluation, so that parts which don't fit together raise errors early.

    The first training step and the first evaluation reuse the traces.

    Args:
        evaluator: the program with its data.
        train_arguments: the arguments of `Program.train`, with shapes for the state.

    Returns:
        The names of the losses and metrics of the record.
    """
    program, data = evaluator.program, evaluator.data
    if program.is_compiled:
        _, sums = jax.eval_shape(program.train, *train_arguments)
    else:  # `unfrozen` is not static by itself
        *arguments, unfrozen = train_arguments
        _, sums = jax.eval_shape(lambda *traced: program.train(*traced, unfrozen), *arguments)
    names = list_metric_names(sums, "train", evaluator.loss_weights)
    split = next((name for name in ("valid", "test") if name in data.splits), None)
    if split is not None:
        size = evaluator.evaluation_batch_size
        chunk = next(iter(evaluator.batches.chunks(data.splits[split][:size], size, 1, pad=True)))
        weights = jax.eval_shape(partial(program.evaluated_weights, evaluator.program_inputs), train_arguments[1])
        examples = chunk.data, chunk.rows[0], chunk.mask, np.int32(0)
        sums, _ = jax.eval_shape(program.evaluate, evaluator.program_inputs, *weights, *examples)
        names += list_metric_names(sums, split, evaluator.loss_weights) if split == "valid" else []
    return names


def compile_step(evaluator: Evaluator, name: str, chunk: Chunk, train_arguments: tuple[Any, ...]) -> None:
    """Compiles a training step.

    Args:
        evaluator: the program with its data.
        name: the name of the step on the display.
        chunk: the examples that are among the arguments.
        train_arguments: the arguments of `Program.train`, with shapes for the state.

    Raises:
        RunError: training needs more memory than is free. It needs the state, copies of the state, and the
            intermediate values of a step.
    """
    state_bytes = memory.estimate_training_bytes(train_arguments[1])
    batch, warn = (BATCH_SIZE_KEY, evaluator.training.batch_size), evaluator.warn_of_memory
    state_fits = memory.check_need("training", batch, state_bytes, state_bytes, warn=warn)
    with evaluator.memory_error_location():
        need = evaluator.compile_function(name, evaluator.program.train, chunk, *train_arguments)
    if need:
        batch_bytes = memory.count_bytes(chunk.data) if evaluator.batches.device_data is None else 0
        total = state_bytes + need.additional + batch_bytes
        free = memory.measure_free_memory() or "the free memory is unknown"
        LOG.info("training needs %s, and %s", memory.format_bytes(total), free)
        if state_fits:  # otherwise the user was warned already
            memory.check_need("training", batch, total, state_bytes, warn=warn)
