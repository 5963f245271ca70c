"""The tables of a dry run, as rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax

from components.types import Batch, MultiHot
from runner.memory import format_bytes
from runner.modes.dry_run.compiling import Compiled
from runner.modes.dry_run.layers import Layer
from runner.modes.dry_run.memory import Memory
from runner.modes.dry_run.pace import Pace
from runner.modes.dry_run.page import Row, duration, shape
from runner.modes.dry_run.subject import Subject
from runner.modes.dry_run.verdict import Verdict

LAYERS = ("layer", "type", "output", "parameters", "multiply-adds", "output bytes")
INPUTS = ("", "as the model gets it", "as the host sends it")


def inputs(subject: Subject, batch: Batch) -> Iterator[Row]:
    """Each input with the columns that it is made of, and the target."""
    trainer = subject.trainer
    named = trainer.program.features.inputs
    sent = subject.encoded(subject.batch_size)
    columns = dict(zip(batch.inputs, named.values(), strict=True)) if len(named) == 1 else named
    for name, got in (*batch.inputs.items(), ("target", batch.target)):
        encoded = [
            f"{column}.{key} {_shapes(array)}"
            for column in (columns[name] if name in batch.inputs else ["target"])
            for key, array in sent[column].items()
        ]
        sparse = f", ids and weights of {got.size:,} places" if isinstance(got, MultiHot) else ""
        yield name, _shapes(got) + sparse, encoded[0]
        yield from (("", "", one) for one in encoded[1:])


def splits(subject: Subject) -> Iterator[Row]:
    """Sizes, and how an epoch is cut into steps and dispatches."""
    trainer, batch = subject.trainer, subject.batch_size
    rows = {name: len(found) for name, found in trainer.data.splits.items()}
    yield "examples", ", ".join(f"{name} {count:,}" for name, count in rows.items())
    rest = "" if subject.last == batch else f", the last one of {subject.last} examples"
    yield "steps an epoch", f"{trainer.steps:,}{rest}"
    yield "steps a dispatch", f"{min(trainer.steps_per_dispatch, trainer.steps)}"
    yield "epochs", f"{trainer.training.epochs:,}"


def layer_table(rows: Sequence[Layer], batch: int) -> Iterator[Row]:
    """A row a layer, and their sums."""
    for row in rows:
        outputs = " ".join(shape(dimensions, dtype) for dimensions, dtype in row.given)
        yield row.name, row.kind, outputs, *_numbers([row], batch)
    yield "total", "", "", *_numbers(rows, batch)


def memory_table(memory: Memory, subject: Subject) -> Iterator[Row]:
    """What a run needs by its shapes."""
    training = subject.trainer.training
    resident = subject.trainer.batches.resident is not None
    yield "parameters", format_bytes(memory.parameters), ""
    yield "gradients", format_bytes(memory.parameters), ""
    yield "optimizer state", format_bytes(memory.optimizer_state), ""
    if memory.model_state:
        yield "model state", format_bytes(memory.model_state), "running moments and the like"
    yield "best weights", format_bytes(memory.parameters + memory.model_state), "a copy of the best so far"
    if memory.checkpoint:
        yield "checkpoint", format_bytes(memory.checkpoint), "a copy of the state and the best weights, to be written"
    yield (
        "data",
        format_bytes(memory.data),
        "all of it, resident on the device" if resident else "of a dispatch, sent ahead",
    )
    kept = f"that JAX keeps of {training.batch_size} examples for the backward pass"
    yield "activations, training", format_bytes(memory.activations), kept
    largest = f"the largest input and output of one layer, {subject.trainer.evaluation_batch_size} examples"
    yield "activations, evaluation", format_bytes(memory.largest_layer), largest
    yield (
        "training in all",
        format_bytes(memory.held + memory.working),
        "as traced; what the compiler makes of it follows",
    )


def compile_table(subject: Subject, step: Compiled, evaluation: Compiled | None) -> Iterator[Row]:
    """What a run compiles."""
    rest = "" if subject.last == subject.batch_size else f"; for the last {subject.last} of an epoch once more"
    yield "the training step", duration(step.seconds), _cached(step) + rest
    if evaluation is not None:
        yield "the evaluation", duration(evaluation.seconds), _cached(evaluation)
    elif subject.evaluated is not None:
        yield "the evaluation", "", "left out here, because the training step took so long"
    yield "the first weights", "", "left out here"


def compiled_memory(verdict: Verdict, step: Compiled, evaluation: Compiled | None) -> Iterator[Row]:
    """What a run needs as compiled, and what there is."""
    yield "training", format_bytes(verdict.training(step)), "at once, with the best weights and copies to be saved"
    if evaluation is not None:
        needed = format_bytes(verdict.evaluation(evaluation))
        yield "evaluation", needed, "at once, with those and the optimizer state"
    if verdict.limit is not None:
        yield "free", format_bytes(verdict.limit), f"{verdict.where}, with what the data takes already"
        share = max(verdict.training(step), verdict.evaluation(evaluation) if evaluation else 0) / verdict.limit
        yield "needed", f"{share:.2%}" if share >= 1e-4 else "under 0.01%", ""


def time_table(pace: Pace, subject: Subject, compiling: float) -> Iterator[Row]:
    """Steps, epochs and the whole run."""
    trainer = subject.trainer
    evaluated = trainer.evaluation_batch_size
    batches = {name: -(-len(rows) // evaluated) for name, rows in trainer.data.splits.items()}
    epoch = trainer.steps * pace.step + batches.get("valid", 0) * pace.evaluation
    run = trainer.training.epochs * epoch + batches.get("test", 0) * pace.evaluation + compiling
    yield "a step", duration(pace.step), f"of {subject.batch_size} examples"
    yield "an epoch", duration(epoch), f"{trainer.steps:,} x a step" + (", and valid" if "valid" in batches else "")
    without = "without starting, saving and the first weights"
    yield "the run", duration(run), f"{trainer.training.epochs:,} epochs, {without}"


def _cached(program: Compiled) -> str:
    return "taken from the cache" if program.cached else "compiled anew"


def _numbers(rows: Sequence[Layer], batch: int) -> Row:
    work = sum(row.multiply_adds for row in rows)
    an_example = f"{work // batch:,}" if work % batch == 0 else f"{work / batch:,.1f}"
    return (
        f"{sum(row.parameters for row in rows):,}",
        an_example,
        format_bytes(sum(row.runs * row.written for row in rows)),
    )


def _shapes(tree: Any) -> str:
    """float32 (32, 8, 8, 1); of ragged columns the padded values and their mask."""
    return " and ".join(shape(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree))
