"""The tables of a dry run, as rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax

from components.types import Batch, MultiHot
from runner.display.tables import Row
from runner.memory import format_bytes
from runner.modes.dry_run.abstract_run import AbstractRun
from runner.modes.dry_run.layers import Layer
from runner.modes.dry_run.memory import Memory, MemoryCheck
from runner.modes.dry_run.timing import Compiled, Pace

LAYERS = ("layer", "type", "output", "parameters", "multiply-adds", "output bytes")
INPUTS = ("", "as the model gets it", "as the host sends it")


def input_rows(run: AbstractRun, batch: Batch) -> Iterator[Row]:
    """Each input with the columns that it is made of, and the target."""
    trainer = run.trainer
    inputs = trainer.program.features.inputs
    sent = run.encoded(run.batch_size)
    columns = dict(zip(batch.inputs, inputs.values(), strict=True)) if len(inputs) == 1 else inputs
    for name, value in (*batch.inputs.items(), ("target", batch.target)):
        encoded = [
            f"{column}.{key} {_format_shapes(array)}"
            for column in (columns[name] if name in batch.inputs else ["target"])
            for key, array in sent[column].items()
        ]
        sparse = f", ids and weights of {value.size:,} places" if isinstance(value, MultiHot) else ""
        yield name, _format_shapes(value) + sparse, encoded[0]
        yield from (("", "", text) for text in encoded[1:])


def split_rows(run: AbstractRun) -> Iterator[Row]:
    """Sizes of the splits, and how an epoch is cut into steps and dispatches."""
    trainer = run.trainer
    yield "examples", ", ".join(f"{name} {len(rows):,}" for name, rows in trainer.data.splits.items())
    last = run.last_batch_size
    rest = "" if last == run.batch_size else f", the last one of {last} examples"
    yield "steps an epoch", f"{trainer.steps_per_epoch:,}{rest}"
    yield "steps a dispatch", f"{min(trainer.steps_per_dispatch, trainer.steps_per_epoch)}"
    yield "epochs", f"{trainer.training.epochs:,}"


def layer_rows(layers: Sequence[Layer], batch: int) -> Iterator[Row]:
    """A row for each layer, and their sums."""
    for layer in layers:
        outputs = " ".join(_format_shape(dimensions, dtype) for dimensions, dtype in layer.outputs)
        yield layer.name, layer.kind, outputs, *_sum_layers([layer], batch)
    yield "total", "", "", *_sum_layers(layers, batch)


def memory_rows(memory: Memory, run: AbstractRun) -> Iterator[Row]:
    """The memory that a run needs by its shapes."""
    training = run.trainer.training
    resident = run.trainer.batches.device_data is not None
    yield "parameters", format_bytes(memory.parameters), ""
    yield "gradients", format_bytes(memory.parameters), ""
    yield "optimizer state", format_bytes(memory.optimizer_state), ""
    if memory.model_state:
        yield "model state", format_bytes(memory.model_state), "running moments and the like"
    yield "best weights", format_bytes(memory.parameters + memory.model_state), "a copy of the best so far"
    if memory.checkpoint:
        yield "checkpoint", format_bytes(memory.checkpoint), "a copy of the state and the best weights, to be written"
    data = "all of it, resident on the device" if resident else "of a dispatch, sent ahead"
    yield "data", format_bytes(memory.data), data
    kept = f"that JAX keeps of {training.batch_size} examples for the backward pass"
    yield "activations, training", format_bytes(memory.activations), kept
    largest = f"the largest input and output of one layer, {run.trainer.evaluation_batch_size} examples"
    yield "activations, evaluation", format_bytes(memory.largest_layer), largest
    total = "as traced; the compiled program's need follows"
    yield "training in all", format_bytes(memory.held + memory.working), total


def compile_rows(run: AbstractRun, step: Compiled, evaluation: Compiled | None) -> Iterator[Row]:
    """The programs that a run compiles."""
    last = run.last_batch_size
    rest = "" if last == run.batch_size else f"; for the last {last} of an epoch once more"
    yield "the training step", format_duration(step.seconds), _describe_cache(step) + rest
    if evaluation is not None:
        yield "the evaluation", format_duration(evaluation.seconds), _describe_cache(evaluation)
    elif run.evaluated_split is not None:
        yield "the evaluation", "", "left out here, because the training step took so long"
    yield "the first weights", "", "left out here"


def compiled_memory_rows(check: MemoryCheck, step: Compiled, evaluation: Compiled | None) -> Iterator[Row]:
    """The memory that a run needs as compiled, and the free memory."""
    need = check.training_bytes(step)
    yield "training", format_bytes(need), "at once, with the best weights and copies to be saved"
    if evaluation is not None:
        evaluation_need = check.evaluation_bytes(evaluation)
        yield "evaluation", format_bytes(evaluation_need), "at once, with those and the optimizer state"
        need = max(need, evaluation_need)
    if check.limit is not None:
        yield "free", format_bytes(check.limit), f"{check.where}, with what the data takes already"
        share = need / check.limit
        yield "needed", f"{share:.2%}" if share >= 1e-4 else "under 0.01%", ""


def time_rows(pace: Pace, run: AbstractRun, compiling: float) -> Iterator[Row]:
    """Times of a step, an epoch and the whole run; `compiling`: seconds that compiling takes."""
    trainer = run.trainer
    size = trainer.evaluation_batch_size
    batches = {name: -(-len(rows) // size) for name, rows in trainer.data.splits.items()}
    epoch = trainer.steps_per_epoch * pace.step + batches.get("valid", 0) * pace.evaluation
    total = trainer.training.epochs * epoch + batches.get("test", 0) * pace.evaluation + compiling
    yield "a step", format_duration(pace.step), f"of {run.batch_size} examples"
    validation = ", and valid" if "valid" in batches else ""
    yield "an epoch", format_duration(epoch), f"{trainer.steps_per_epoch:,} x a step{validation}"
    without = "without starting, saving and the first weights"
    yield "the run", format_duration(total), f"{trainer.training.epochs:,} epochs, {without}"


def format_duration(seconds: float) -> str:
    """A duration for people: 7500 -> 2 h 05 min, 0.00012 -> 120 µs."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60:02} min"


def _describe_cache(program: Compiled) -> str:
    return "taken from the cache" if program.cached else "compiled now"


def _sum_layers(layers: Sequence[Layer], batch: int) -> Row:
    """Parameters, multiply-adds of one example, and bytes of the outputs of some layers."""
    work = sum(layer.multiply_adds for layer in layers)
    per_example = f"{work // batch:,}" if work % batch == 0 else f"{work / batch:,.1f}"
    written = sum(layer.runs * layer.output_bytes for layer in layers)
    return f"{sum(layer.parameters for layer in layers):,}", per_example, format_bytes(written)


def _format_shapes(tree: Any) -> str:
    """The arrays of a value, `float32 (32, 8, 8, 1)`; of a padded one its values and its mask."""
    return " and ".join(_format_shape(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree))


def _format_shape(dimensions: Sequence[int], dtype: object) -> str:
    return f"{dtype} {tuple(dimensions)}"
