"""The rows of the tables of a dry run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from components.closest import join_names
from components.types import Batch, MultiHot, OperationsSummary
from runner.data.encode import target_column
from runner.data.padding import measure_lists
from runner.display.numbers import format_number
from runner.display.tables import Row
from runner.memory import format_bytes
from runner.modes.dry_run.abstract_run import AbstractRun
from runner.modes.dry_run.layers import LayerCall
from runner.modes.dry_run.memory import MemoryCheck, MemoryEstimate
from runner.modes.dry_run.timing import Compiled, Pace
from runner.program.trees import count_elements
from runner.training.rate_curve import EPOCH, STEP, sample_schedule
from runner.training.trainer import Trainer

LAYER_HEADING = ("layer", "type", "output", "parameters", "multiply-adds", "output bytes")
INPUT_HEADING = ("", "as the model gets it", "as the host sends it")
LEVELS, CURVE_WIDTH = "▁▂▃▄▅▆▇█", 41  # 41 points have the quarters of the run among them
RATE_HEADING = ("depth", "factor", "modules")
OPERATION_HEADING = ("operation", "rows", "time", "columns")


def input_rows(run: AbstractRun, batch: Batch) -> Iterator[Row]:
    """Each input with the encoded columns that it is computed from, and the targets."""
    columns = run.trainer.parts.model.input_columns
    shapes = run.encoded_shapes(run.batch_size)
    targets = {target_column(name): value for name, value in batch.targets.items()}
    for name, value in (*batch.inputs.items(), *targets.items()):
        encoded = [
            f"{column}.{key} {_format_shapes(array)}"
            for column in (columns.get(name, ()) if name in batch.inputs else [name])
            for key, array in shapes[column].items()
        ] or ["nothing: an augmentation adds it"]
        sparse = f", ids and weights of {value.size:,} categories" if isinstance(value, MultiHot) else ""
        yield name, _format_shapes(value) + sparse, encoded[0]
        yield from (("", "", text) for text in encoded[1:])


def operation_rows(summary: OperationsSummary) -> Iterator[Row]:
    """The rows after each operation, the time that it took, and the size of what is kept."""
    first, last = summary.operations[0], summary.operations[-1]
    yield "before", f"{first.rows_before:,}", "", ""
    for each in summary.operations:
        left = "" if each.reads_all else "leaves out all rows after them"
        changes = "; ".join(filter(None, [each.describe_columns(), left]))
        yield each.name, f"{each.rows_after:,}", format_duration(each.seconds), changes
    sizes = {"memory": summary.memory_bytes, "temporary files": summary.disk_bytes}
    kept = " and ".join(f"{format_bytes(size)} in {place}" for place, size in sizes.items() if size)
    yield "kept", f"{last.rows_after:,}", "", kept


def split_rows(run: AbstractRun) -> Iterator[Row]:
    """The sizes of the splits, and the steps and dispatches of an epoch."""
    trainer = run.trainer
    yield "examples", ", ".join(f"{name} {len(rows):,}" for name, rows in trainer.data.splits.items())
    last = run.last_batch_size
    rest = "" if last == run.batch_size else f", the last with {last} examples"
    yield "steps per epoch", f"{trainer.plan.steps_per_epoch:,}{rest}"
    yield "order", "; ".join(trainer.order.describe())
    yield "steps per dispatch", f"{min(trainer.steps_per_dispatch, trainer.plan.steps_per_epoch)}"
    yield "epochs", _format_epochs(trainer)
    if trainer.training.evaluate_steps is not None:
        yield "evaluations", f"every {trainer.plan.evaluation_interval:,} steps, and at the end"


def schedule_rows(trainer: Trainer) -> Iterator[Row]:
    """The numbers of the schedule at five steps of the run, and a small plot of each number."""
    curve = sample_schedule(trainer, CURVE_WIDTH)
    names = [name for name in curve if name not in (STEP, EPOCH)]
    yield "step", *names
    last = len(curve[STEP]) - 1
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = round(share * last)
        yield f"{curve[STEP][at] + 1:,}", *(format_number(float(curve[name][at])) for name in names)
    yield "the run", *(_plot(curve[name]) for name in names)


def _plot(values: np.ndarray) -> str:
    """A line of text that shows how values change, from the lowest to the highest one."""
    low, high = values.min(), values.max()
    shares = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return "".join(LEVELS[round(float(share) * (len(LEVELS) - 1))] for share in shares)


def layer_rows(layers: Sequence[LayerCall], run: AbstractRun) -> Iterator[Row]:
    """A row for each layer, and rows with the sums and with the number of parameters that are trained."""
    batch_size = run.batch_size
    for layer in layers:
        outputs = " ".join(_format_shape(dimensions, dtype) for dimensions, dtype in layer.outputs)
        yield layer.name, layer.kind, outputs, *_sum_layers([layer], batch_size)
    yield "total", "", "", *_sum_layers(layers, batch_size)
    if run.trainer.parts.members.freeze is not None:
        free, _ = run.split(run.state_shapes.parameters)
        yield "trained, the others are frozen", "", "", f"{count_elements(free):,}", "", ""


def rate_rows(run: AbstractRun) -> Iterator[Row]:
    """The factor of the learning rate of the layers at each depth, if it depends on that: the head comes first."""
    if run.trainer.parts.members.layers is None:
        return
    _, member = run.trainer.parts.members.layers
    order = run.trainer.program.parameter_order
    depths = member.depths(sorted(order, key=order.__getitem__))
    for depth in sorted({*depths.values()}):
        names = dict.fromkeys(_find_module(path, depths) for path in depths if depths[path] == depth)
        yield str(depth), format_number(float(member.factor(depth))), join_names(names)


def _find_module(path: str, depths: Mapping[str, int]) -> str:
    """The outermost module around a parameter whose parameters all have its depth."""
    names = path.split("/")
    for count in range(1, len(names)):
        module = "/".join(names[:count])
        if all(depths[other] == depths[path] for other in depths if other.startswith(f"{module}/")):
            return module
    return path


def memory_rows(memory: MemoryEstimate, run: AbstractRun) -> Iterator[Row]:
    """The memory that a run needs, estimated from shapes."""
    training = run.trainer.training
    resident = run.trainer.batches.device_data is not None
    yield "parameters", format_bytes(memory.parameters), ""
    yield "gradients", format_bytes(memory.gradients), ""
    yield "optimizer state", format_bytes(memory.optimizer_state), ""
    if memory.model_state:
        yield "model state", format_bytes(memory.model_state), "such as running averages of BatchNorm"
    yield "best weights", format_bytes(memory.parameters + memory.model_state), "a copy of the best weights so far"
    if memory.checkpoint:
        yield "checkpoint", format_bytes(memory.checkpoint), "a copy of the state, to be written to a file"
    decoded = ", ".join(run.trainer.batches.decoded_columns)
    batches = "the batches of a dispatch" + (f"; {decoded} is decoded for each step" if decoded else "")
    data = "all data, which stays on the device" if resident else batches
    yield "data", format_bytes(memory.data), data
    lists = measure_lists(run.trainer.batches.encoded, run.trainer.data.splits["train"])
    if lists:
        longest = run.batch_size * sum(each.row_bytes for each in lists)
        yield "largest batch", format_bytes(longest), f"with the longest lists: {'; '.join(map(str, lists))}"
    kept = f"kept for the backward pass of {training.batch_size} examples"
    yield "activations, training", format_bytes(memory.activations), kept
    largest = f"the largest input and output of one layer, for {run.trainer.evaluation_batch_size} examples"
    yield "activations, evaluation", format_bytes(memory.largest_layer), largest
    yield "training, in total", format_bytes(memory.held + memory.working), ""


def compile_rows(run: AbstractRun, step: Compiled, evaluation: Compiled | None) -> Iterator[Row]:
    """The programs that a run compiles."""
    last = run.last_batch_size
    rest = "" if last == run.batch_size else f"; compiled once more for the last step of an epoch, with {last} examples"
    if run.trainer.batches.is_ragged:
        rest += "; compiled again for lists of other lengths"
    yield "the training step", format_duration(step.seconds), _describe_cache(step) + rest
    if evaluation is not None:
        yield "the evaluation", format_duration(evaluation.seconds), _describe_cache(evaluation)
    elif run.evaluated_split is not None:
        yield "the evaluation", "", "not compiled here, because compiling the training step took long"
    yield "the initial weights", "", "not compiled here"


def compiled_memory_rows(
    check: MemoryCheck, step: Compiled, evaluation: Compiled | None, *, is_evaluated: bool
) -> Iterator[Row]:
    """The memory that the compiled programs need, and the free memory. `is_evaluated`: whether the run evaluates."""
    need = check.training_bytes(step)
    yield "training", format_bytes(need), "with the best weights and the copy for a checkpoint"
    if is_evaluated:
        evaluation_need = check.evaluation_bytes(evaluation)
        reason = "" if evaluation is not None else "; estimated from shapes, because it is not compiled here"
        yield "evaluation", format_bytes(evaluation_need), f"with these and the optimizer state{reason}"
        need = max(need, evaluation_need)
    if check.limit is not None:
        yield "free", format_bytes(check.limit), f"{check.where}, including the data that is loaded already"
        share = need / check.limit
        yield "needed", f"{share:.2%}" if share >= 1e-4 else "under 0.01%", ""


def time_rows(pace: Pace, run: AbstractRun, compile_seconds: float) -> Iterator[Row]:
    """The time of a step, of an epoch and of the whole run."""
    trainer = run.trainer
    size = trainer.evaluation_batch_size
    batch_counts = {name: -(-len(rows) // size) for name, rows in trainer.data.splits.items()}
    plan = trainer.plan
    evaluations = max(-(-plan.total_steps // plan.evaluation_interval), 1) * batch_counts.get("valid", 0)
    evaluations += batch_counts.get("test", 0)
    total = trainer.plan.total_steps * pace.step + evaluations * pace.evaluation + compile_seconds
    yield "a step", format_duration(pace.step), f"of {run.batch_size} examples"
    if trainer.training.evaluate_steps is None:
        epoch = trainer.plan.steps_per_epoch * pace.step + batch_counts.get("valid", 0) * pace.evaluation
        validation = " and an evaluation on valid" if "valid" in batch_counts else ""
        yield "an epoch", format_duration(epoch), f"{trainer.plan.steps_per_epoch:,} steps{validation}"
    elif "valid" in batch_counts:
        yield "an evaluation", format_duration(batch_counts["valid"] * pace.evaluation), "on valid"
    included = f"{_format_epochs(trainer)} epochs and {format_duration(compile_seconds)} of compiling"
    yield "the run", format_duration(total), f"{included}, without startup, checkpoints and initial weights"
    if trainer.training.max_minutes is not None:
        yield "at most", format_duration(60 * trainer.training.max_minutes), "training.max_minutes"


def format_duration(seconds: float) -> str:
    """Formats a duration: 7500 -> 2 h 05 min, 0.00012 -> 120 µs."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60:02} min"


def _format_epochs(trainer: Trainer) -> str:
    epochs = trainer.plan.count_epochs(trainer.plan.total_steps)
    return f"{epochs:,}" if isinstance(epochs, int) else f"{epochs:,.2f}"


def _describe_cache(program: Compiled) -> str:
    return "found in the cache" if program.cached else "compiled now"


def _sum_layers(layers: Sequence[LayerCall], batch_size: int) -> Row:
    """The parameters, the multiply-adds of one example, and the bytes of the outputs of some layers."""
    work = sum(layer.multiply_adds for layer in layers)
    per_example = f"{work // batch_size:,}" if work % batch_size == 0 else f"{work / batch_size:,.1f}"
    output_bytes = sum(layer.runs * layer.output_bytes for layer in layers)
    return f"{sum(layer.parameters for layer in layers):,}", per_example, format_bytes(output_bytes)


def _format_shapes(tree: Any) -> str:
    """The arrays of an input, as in `float32 (32, 8, 8, 1)`; a padded input has values and a mask."""
    return " and ".join(_format_shape(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree))


def _format_shape(dimensions: Sequence[int], dtype: object) -> str:
    return f"{dtype} {tuple(dimensions)}"
