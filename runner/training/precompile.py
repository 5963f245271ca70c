"""Traces and compiles the first calls of a program, before there is a state and a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from components.types import RowNumbers
from runner import memory
from runner.data.batches import Chunk
from runner.data.padding import ListLengths, describe_longest, measure_lists, widen
from runner.log import LOG
from runner.program.metric_sums import list_metric_names
from runner.training.evaluator import BATCH_SIZE_KEY, EVALUATION_SIZE_KEY, Evaluator


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
    else:  # `ended` is not static by itself
        *arguments, ended = train_arguments
        _, sums = jax.eval_shape(lambda *traced: program.train(*traced, ended), *arguments)
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


def compile_step(
    evaluator: Evaluator, name: str, chunk: Chunk, train_arguments: tuple[Any, ...], remedy: str = ""
) -> int:
    """Compiles a training step, and returns the bytes that it needs for intermediate values.

    Args:
        evaluator: the program with its data.
        name: the name of the step on the display.
        chunk: the examples that are among the arguments.
        train_arguments: the arguments of `Program.train`, with shapes for the state.
        remedy: what the user can do about too little memory, without a period. "": only another batch size.

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
        total = _count_training_bytes(evaluator, chunk, train_arguments[1], need)
        free = memory.measure_free_memory() or "the free memory is unknown"
        LOG.info("training needs %s, and %s", memory.format_bytes(total), free)
        if state_fits:  # otherwise the user was warned already
            memory.check_need("training", batch, total, state_bytes, warn=warn, remedy=remedy)
    return need.additional if need else 0


def _count_training_bytes(evaluator: Evaluator, chunk: Chunk, state: Any, need: memory.MemoryNeed) -> int:
    """The bytes that training needs: the state and its copies, the values within a step, and batches of the host."""
    batch_bytes = memory.count_bytes(chunk.data) if evaluator.batches.device_data is None else 0
    return memory.estimate_training_bytes(state) + need.additional + batch_bytes


def measure_training_bytes(
    evaluator: Evaluator, name: str, chunk: Chunk, train_arguments: tuple[Any, ...]
) -> int | None:
    """The bytes that training needs, if each batch has the longest lists. None: the compiler doesn't report them.

    The arguments are those of `compile_step`.
    """
    program_inputs, state, _, *others = train_arguments
    if evaluator.batches.is_ragged:
        lists = measure_lists(evaluator.batches.encoded, evaluator.data.splits["train"])
        chunk = chunk._replace(data=widen(chunk.data, lists))
    arguments = program_inputs, state, chunk.data, *others
    need = evaluator.compile_function(name, evaluator.program.train, chunk, *arguments)
    return need and _count_training_bytes(evaluator, chunk, state, need)


def check_longest_lists(
    evaluator: Evaluator, name: str, chunk: Chunk, train_arguments: tuple[Any, ...], additional: int
) -> None:
    """Checks that the steps and evaluations with the longest lists fit into the memory.

    The need of the first batch is scaled to their size. What may not fit by this estimate is compiled, which takes
    seconds, to know its need.

    Args:
        evaluator: the program with its data.
        name: the name of the step on the display.
        chunk: the examples that are among the arguments.
        train_arguments: the arguments of `Program.train`, with shapes for the state.
        additional: the bytes that the step needs for the intermediate values of the chunk.

    Raises:
        RunError: too little memory is free.
    """
    free = memory.measure_free_memory()
    if not evaluator.batches.is_ragged or free is None:
        return
    program_inputs, state, _, *others = train_arguments
    held, batch_bytes = memory.estimate_training_bytes(state), memory.count_bytes(chunk.data)

    def may_not_fit(data: Any) -> bool:
        growth = memory.count_bytes(data) / batch_bytes
        return held + growth * (additional + batch_bytes) > free.program_bytes

    lists = measure_lists(evaluator.batches.encoded, evaluator.data.splits["train"])
    widest = chunk._replace(data=widen(chunk.data, lists))
    if may_not_fit(widest.data):
        arguments = program_inputs, state, widest.data, *others
        compile_step(evaluator, name, widest, arguments, describe_longest(lists))
    for split, rows in evaluator.data.splits.items():
        lists = measure_lists(evaluator.batches.encoded, rows)
        size = evaluator.evaluation_batch_size
        if split != "train" and may_not_fit((widest := _widen_evaluation(evaluator, rows, lists)).data):
            _check_evaluation(evaluator, widest, (program_inputs, state), split, (size, held), describe_longest(lists))


def _widen_evaluation(evaluator: Evaluator, rows: RowNumbers, lists: Sequence[ListLengths]) -> Chunk:
    """The shapes of an evaluation batch of a split with the longest lists."""
    size = evaluator.evaluation_batch_size
    first = next(iter(evaluator.batches.chunks(rows[:size], size, 1, pad=True)))
    return first._replace(data=widen(first.data, lists))


def _check_evaluation(
    evaluator: Evaluator,
    chunk: Chunk,
    inputs: tuple[Any, Any],
    split: str,
    sizes: tuple[int, int],
    remedy: str,
) -> None:
    """Compiles an evaluation. Raises RunError if it needs more memory than is free.

    Args:
        evaluator: the program with its data.
        chunk: the shapes of a batch.
        inputs: the inputs of the program, and the state or its shapes.
        split: the name of the split.
        sizes: the size of the batch, and the bytes in use all the time.
        remedy: what the user can do apart from choosing another batch size.
    """
    (program_inputs, state), (size, held) = inputs, sizes
    weights = jax.eval_shape(partial(evaluator.program.evaluated_weights, program_inputs), state)
    arguments = program_inputs, *weights, chunk.data, chunk.rows[0], chunk.mask, np.int32(0)
    need = evaluator.compile_function("the evaluation", evaluator.program.evaluate, chunk, *arguments)
    if need:
        total = held + need.additional + memory.count_bytes(chunk.data)
        batch, warn = (EVALUATION_SIZE_KEY, size), evaluator.warn_of_memory
        memory.check_need(f"evaluating {split}", batch, total, held, warn=warn, remedy=remedy)
