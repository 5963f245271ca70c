"""Evaluation of a program on the splits of its data, and what evaluation and training share."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from components.closest import join_names
from components.types import Batch, ExplainsUndefined, Metric, RowNumbers, UserError, as_index
from runner import memory
from runner.config.check_targets import WEIGHTED
from runner.config.settings import Training
from runner.data.batches import Batches, Chunk, gather_rows
from runner.data.encode import WEIGHT, target_column
from runner.data.load import Data
from runner.data.padding import describe_longest, measure_lists
from runner.data.slices import SliceColumn
from runner.data.stacked_columns import stack_columns
from runner.display.progress import Progress
from runner.log import LOG
from runner.program.forward import draw_samples
from runner.program.metric_sums import MetricSums, add_sums, compute_metrics
from runner.program.objective import ExampleOutputs, StepSums, decode_logits, decode_targets, make_targets
from runner.program.parts import ProgramInputs, TeacherInputs, build_augmentations, record_name
from runner.program.program import Program
from runner.program.samples import Samples
from runner.record.predictions import RecordedPredictions

BATCH_SIZE_KEY = "training.batch_size"
SamplesOfBatch: TypeAlias = Sequence[Mapping[str, Samples]]
"""The sets of samples of the rows of a batch, by target."""
HOST_COPIES = 2  # of a batch: one is computed with while the next one is gathered
EVALUATION_SIZE_KEY = "training.evaluation_batch_size"


@dataclass
class Timings:
    """How long this process has trained, compiled and waited.

    Attributes:
        training: seconds of training steps, without their compilation.
        compiling: seconds of compilation.
        waiting: seconds of waiting for batches. They are a part of `training`.
        steps: the number of training steps.
    """

    training: float = 0.0
    compiling: float = 0.0
    waiting: float = 0.0
    steps: int = 0

    def steps_per_second(self) -> float:
        """The mean speed of training so far."""
        return self.steps / self.training if self.training > 0 else 0.0

    def time_waiting(self, chunks: Iterable[Chunk]) -> Iterable[Chunk]:
        """Yields the chunks. Adds the seconds until each is ready to `waiting`."""
        iterator = iter(chunks)
        while True:
            start = time.monotonic()
            chunk = next(iterator, None)
            self.waiting += time.monotonic() - start
            if chunk is None:
                return
            yield chunk


class Undefined(NamedTuple):
    """Losses and metrics that are NaN.

    Attributes:
        reason: why.
        names: their names, such as `valid/loss`. All names that start with `valid/weighted/` are `valid/weighted/…`.
    """

    reason: str
    names: tuple[str, ...]

    def includes(self, metric: str) -> bool:
        """Whether a loss or metric is among them, also if it is weighted."""
        unweighted = metric.replace(f"/{WEIGHTED}", "/", 1)
        is_weighted = metric != unweighted and any(name.endswith(f"/{WEIGHTED}…") for name in self.names)
        return is_weighted or metric in self.names or unweighted in self.names


class Evaluator:
    """Evaluates one program on its data.

    Attributes:
        program: the compiled functions.
        data: encoded rows and their splits.
        training: the settings below `training`.
        progress: the progress display.
        program_inputs: the numbers and constants of the program, on the device.
        batches: the batches of the data.
        data_targets: the targets of the data with their constants, by name.
        targets: the targets that losses and metrics get: `data_targets` as augmentations change them.
        metrics: the metrics, by name.
        loss_weights: the factor of each target's loss.
        weights: the weight of each row, float32. None: there is no column of weights.
        slices: the columns of `metric_slices`, by name, with the values of the rows of held-out splits.
        timings: how long this process has trained, compiled and waited.

    Raises:
        UserError: the parts of the program don't fit together.
    """

    def __init__(
        self,
        program: Program,
        data: Data,
        training: Training,
        numbers: Mapping[str, np.ndarray],
        progress: Progress,
        teacher: TeacherInputs | None = None,
    ) -> None:
        self.program, self.data, self.training, self.progress = program, data, training, progress
        self.timings = Timings()
        self.slices: Mapping[str, SliceColumn] = {}
        self.batches = Batches(data, program.column_kinds)
        device = {name: dict(data.constants[name].device) for name in data.encoded}
        constants = stack_columns(device, 0, program.column_kinds, program.stack_numbers)
        self.program_inputs: ProgramInputs = jax.device_put(ProgramInputs(dict(numbers), constants, teacher))
        self.parts = program.build_parts(self.program_inputs)
        program.forward.check_teacher(self.parts, self.program_inputs)
        self.metrics: Mapping[str, Metric] = self.parts.metrics
        # Not those of the program: it may have been built for another fold, and decodes on the device only.
        self.data_targets = program.features.bind_targets(data.constants)
        _, self.targets = build_augmentations(program.static_config, numbers, self.data_targets, program.features)
        self.loss_weights = {
            name: 1.0 if parts.loss_weight is None else float(parts.loss_weight)
            for name, parts in self.parts.targets.items()
        }
        self._is_memory_checked = False
        self.weights = self._compute_weights()

    def _compute_weights(self) -> np.ndarray | None:
        """The weight of each row; None: there is no column of weights.

        Raises UserError if the column, which may be of any class, gives impossible weights.
        """
        if WEIGHT not in self.data.encoded:
            return None
        encoded = {WEIGHT: jax.tree.map(np.asarray, self.data.encoded[WEIGHT])}
        values = self.program.forward.apply_layers(self.program_inputs, encoded)[WEIGHT]
        column = type(self.program.features.weight).__name__
        if not isinstance(values, jax.Array) or values.shape[1:] != (1,):
            raise UserError(f"feature.weight: {column} gives no single number for each example.")
        weights = np.asarray(values)[:, 0]
        wrong = ~(np.isfinite(weights) & (weights >= 0))
        if wrong.any():
            raise UserError(
                f"feature.weight: {column} gives the weight {weights[wrong][0]:g}. A weight is 0 or more. "
                "With feature.weight=KEY, the numbers of a column are the weights."
            )
        return weights

    def find_undefined(self, split: str, place: str) -> Iterator[Undefined]:
        """Finds the losses and metrics of a split that are NaN whatever the predictions are.

        It finds none if augmentations change the targets of evaluations: they may fill in or replace what is missing.

        Args:
            split: the split.
            place: the name of its rows in the reasons.
        """
        if self.parts.augments_evaluated_targets:
            return
        rows = self.data.splits[split]
        for name, spec in self.targets.items():
            if spec.can_be_missing and not self._has_value(name, rows):
                own = [record_name(name, each) for each in ("loss", *self.parts.targets[name].metrics)]
                names = dict.fromkeys([*own, "loss"])  # the loss of several targets is the sum of their losses
                columns = self._describe_columns(name)
                yield Undefined(f"{place} has no value of {columns}", tuple(f"{split}/{each}" for each in names))
        yield from self._find_undefined_metrics(split, place)
        if (
            self.weights is not None
            and self.program.features.weight is not None
            and not self.weights[as_index(rows)].any()
        ):
            keys = join_names(f"`{key}`" for key in self.program.features.weight.keys)
            yield Undefined(f"all weights of {place} are 0 (column {keys})", (f"{split}/{WEIGHTED}…",))

    def _find_undefined_metrics(self, split: str, place: str) -> Iterator[Undefined]:
        """Finds the metrics that are NaN because of the target's values, such as AUC for a single class."""
        metrics = {
            target: {
                name: metric
                for name, metric in parts.metrics.items()
                if isinstance(metric, ExplainsUndefined) and not (split == "train" and metric.collects)
            }
            for target, parts in self.parts.targets.items()
        }
        values = self.compute_targets(split) if any(metrics.values()) else {}
        for target in values:
            is_missing = np.isnan(values[target]) if self.targets[target].kind == "real" else values[target] < 0
            counts = {"": ~is_missing.reshape(len(is_missing), -1).any(axis=1)}
            if self.weights is not None:
                counts[WEIGHTED] = counts[""] & (self.weights[as_index(self.data.splits[split])] > 0)
            names: dict[str, list[str]] = {}  # by reason
            for name, metric in metrics[target].items():
                for prefix, rows in counts.items():
                    explanation = metric.explain_undefined(values[target][rows]) if rows.any() else None
                    if explanation is not None:
                        where = " where the weight is above 0" if prefix else ""
                        reason = f"{place} has {explanation} of {self._describe_columns(target)}{where}"
                        names.setdefault(reason, []).append(f"{split}/{prefix}{record_name(target, name)}")
                        break  # where a metric is undefined, the weighted one is, too
            for reason, own in names.items():
                yield Undefined(reason, tuple(own))

    def _describe_columns(self, target: str) -> str:
        return f"column {join_names(f'`{key}`' for key in self.program.features.targets[target].keys)}"

    def _has_value(self, name: str, rows: RowNumbers) -> bool:
        """Whether a target has a value in one of some rows."""
        column, size = target_column(name), self.training.evaluation_batch_size
        for start in range(0, len(rows), size):
            encoded = gather_rows({column: self.data.encoded[column]}, rows[start : start + size])
            values = self.program.forward.apply_layers(self.program_inputs, encoded)[column]
            batch = make_targets({name: self.targets[name]}, {name: values}, jnp.ones(len(values), bool), None)
            if batch.masks[name].any():
                return True
        return False

    @property
    def evaluation_batch_size(self) -> int:
        """`training.evaluation_batch_size`, or the size of the largest evaluated split if that is smaller."""
        held_out = [len(rows) for name, rows in self.data.splits.items() if name != "train"]
        return min(self.training.evaluation_batch_size, max(held_out or [len(self.data.splits["train"])]))

    def check_padding(self) -> None:
        """Raises RunError if a batch with the longest lists of a split would need more memory than the host has."""
        for split, rows in self.data.splits.items() if self.batches.is_ragged else ():
            lists = measure_lists(self.batches.encoded, rows)
            batch = BATCH_SIZE_KEY, self.training.batch_size
            if split != "train":
                batch = EVALUATION_SIZE_KEY, self.evaluation_batch_size
            needed = HOST_COPIES * batch[1] * sum(each.row_bytes for each in lists)
            free, remedy = memory.measure_free_host_memory(), describe_longest(lists)
            memory.check_need(f"a batch of {split}", batch, needed, free=free, warn=self.warn_of_memory, remedy=remedy)

    def evaluate(self, split: str, parameters: Any, model_state: Any) -> dict[str, float]:
        """The metrics of a split: {"valid/loss": …, …}.

        Args:
            split: the split.
            parameters: the parameters of the model.
            model_state: its state.
        """
        [metrics], _ = self.evaluate_means(split, parameters, model_state, None, with_outputs=False)
        return metrics

    def evaluate_with_outputs(
        self, split: str, parameters: Any, model_state: Any
    ) -> tuple[dict[str, float], ExampleOutputs]:
        """The metrics of a split, and the outputs for each of its rows, in the order of the split.

        The arguments are those of `evaluate`.
        """
        [metrics], outputs = self.evaluate_means(split, parameters, model_state, None)
        return metrics, outputs

    def evaluate_means(
        self,
        split: str,
        parameters: Any,
        model_state: Any,
        samples: Iterable[SamplesOfBatch] | None,
        *,
        with_outputs: bool = True,
    ) -> tuple[list[dict[str, float]], ExampleOutputs]:
        """The metrics of the mean of each of several sets of samples, and the outputs of the first one for each row.

        Args:
            split: the split.
            parameters: the parameters of the model.
            model_state: its state.
            samples: for each batch of `evaluation_batch_size` rows, the sets of samples of its rows. None: the output
                of the model itself is evaluated.
            with_outputs: whether the outputs are needed. If not, there are none.
        """
        sums: list[list[StepSums]] = []
        outputs = []
        with self.memory_error_location("evaluating", EVALUATION_SIZE_KEY):
            for results, mask in self._evaluate_batches(self.data.splits[split], parameters, model_state, samples):
                sums.append([own for own, _ in results])
                if with_outputs:
                    outputs.append(jax.tree.map(lambda leaf, mask=mask: np.asarray(leaf)[mask], results[0][1]))
            of_sets = [*zip(*sums, strict=True)] or [()]
            metrics = [self.compute_metrics(add_sums({}, own, self.metrics), split) for own in of_sets]
            if not with_outputs:
                return metrics, ExampleOutputs({}, {})
            return metrics, jax.tree.map(lambda *pieces: np.concatenate(pieces), *outputs)

    def compute_metrics(self, sums: MetricSums, split: str) -> dict[str, float]:
        """The losses and metrics of a split, {"valid/loss": …, …}, from their sums."""
        return compute_metrics(sums, self.metrics, split, self.loss_weights)

    def outputs_in_batches(
        self, split: str, parameters: Any, model_state: Any, samples: Iterable[SamplesOfBatch] | None = None
    ) -> Iterator[tuple[np.ndarray, ExampleOutputs]]:
        """Yields the numbers of consecutive rows of a split, int64 (B,), and their outputs, also those of images.

        The arguments are those of `evaluate_means`.
        """
        numbers, first = self.data.number_rows(split), 0
        with self.memory_error_location("evaluating", EVALUATION_SIZE_KEY):
            batches = self._evaluate_batches(self.data.splits[split], parameters, model_state, samples, images=True)
            for [(_, outputs), *_], mask in batches:
                stop = first + int(mask.sum())
                yield numbers[first:stop], jax.tree.map(lambda leaf, mask=mask: np.asarray(leaf)[mask], outputs)
                first = stop

    def _evaluate_batches(
        self,
        rows: RowNumbers,
        parameters: Any,
        model_state: Any,
        samples: Iterable[SamplesOfBatch] | None = None,
        *,
        images: bool = False,
    ) -> Iterator[tuple[list[tuple[StepSums, ExampleOutputs]], np.ndarray]]:
        """Evaluates rows. Yields the metric sums and the outputs for each example, and the mask (False for padding).

        With samples, a batch has sums and outputs for each set of them.
        """
        name = "the evaluation of images" if images else "the evaluation"
        name += "" if samples is None else " of samples"
        function = self.program.evaluate_images if images else self.program.evaluate
        size = self.evaluation_batch_size
        chunks = enumerate(self.batches.chunks(rows, size, 1, pad=True))
        sets: Iterable[Sequence[tuple[Any, ...]]] = itertools.repeat([()], -(-len(rows) // size))
        if samples is not None:
            sets = ([(each,) for each in own] for own in samples)
        for (number, chunk), own_sets in zip(chunks, sets, strict=True):
            inputs = self.program_inputs, parameters, model_state, chunk.data, chunk.rows[0]
            arguments: tuple[Any, ...] = *inputs, chunk.mask, np.int32(number)
            need = self.compile_function(name, function, chunk, *arguments, *own_sets[0])
            # Memory is checked once: later, other work may hold some of it for a moment.
            if need and number == 0 and not self._is_memory_checked:
                batch = EVALUATION_SIZE_KEY, size
                memory.check_need(name, batch, need.additional, warn=self.warn_of_memory)
                self._is_memory_checked = True
            yield [function(*arguments, *own) for own in own_sets], chunk.mask

    def draw_samples(
        self, rows: RowNumbers, parameters: Any, model_state: Any, mc_samples: int | None, size: int
    ) -> Iterator[dict[str, Samples]]:
        """Yields the samples of Monte Carlo dropout of each batch of rows, or their outputs without dropout.

        Args:
            rows: the rows.
            parameters: the parameters of the model.
            model_state: its state.
            mc_samples: the number of samples. None: there is one, and dropout is off.
            size: the number of rows of a batch. The last one is padded.

        Raises:
            UserError: the samples would be equal, because the model draws no random numbers.
        """
        empty: dict[str, Samples] = {}
        for number, chunk in enumerate(self.batches.chunks(rows, size, 1, pad=True)):
            inputs = self.program_inputs, parameters, model_state, chunk.data, chunk.rows[0]
            # All batches have the same shape.
            empty = empty or self.program.start_samples(*inputs, drops=mc_samples is not None)
            yield draw_samples(self.program.sample, empty, mc_samples, number, *inputs)

    def compute_targets(self, split: str, batch: Batch | None = None) -> dict[str, np.ndarray]:
        """The targets of rows by name, as `decode_targets` returns them.

        Args:
            split: the split.
            batch: the targets of some rows as augmentations have changed them (`ExampleOutputs.batch`). None: those of
                the split, but those that are images.
        """
        if batch is None:
            values = self._load_targets(split)
        else:
            values = {name: mark_missing(target, batch.mask_of(name)) for name, target in batch.targets.items()}
        return {name: decode_targets(self.targets[name], value) for name, value in values.items()}

    def load_batch(self, split: str) -> Batch:
        """All examples of a split as a batch without inputs. Targets that are images are left out."""
        rows, values = self.data.splits[split], self._load_targets(split)
        weight = None if self.weights is None else jnp.asarray(self.weights[as_index(rows)])
        specs = {name: self.targets[name] for name in values}
        return make_targets(specs, values, jnp.ones(len(rows), bool), weight)

    def _load_targets(self, split: str) -> dict[str, Any]:
        """The targets of all rows of a split by name, as the losses see them, but those that are images."""
        columns = {target_column(name): name for name, spec in self.data_targets.items() if not spec.is_image}
        encoded = gather_rows({column: self.data.encoded[column] for column in columns}, self.data.splits[split])
        values = self.program.forward.apply_layers(self.program_inputs, encoded)
        return {name: values[column] for column, name in columns.items()}

    def compile_function(self, name: str, function: Any, chunk: Chunk, *arguments: Any) -> memory.MemoryNeed | None:
        """Compiles a function for the shapes of a chunk, unless it is compiled already. The next call doesn't compile.

        Args:
            name: the name of the function on the display.
            function: a function of the program, under `jax.jit`.
            chunk: the examples that are among the arguments.
            arguments: the arguments of the function, or their shapes.

        Returns:
            The memory that the compiled function needs; None: the compiler doesn't report it, or the program is not
            compiled.
        """
        if not self.program.is_compiled:
            return None
        shapes = (name, chunk.rows.shape, *(leaf.shape for leaf in jax.tree.leaves(chunk.data)))
        if shapes not in self.program.memory_needs:
            size = chunk.rows.shape[1]
            is_rest = function is self.program.train and size < self.training.batch_size
            reasons = [*["the last batch of an epoch"][:is_rest], *self._describe_lengths(shapes, chunk)]
            reason = f" ({', '.join(reasons)})" if reasons else ""
            with self.show_compilation(f"{name} for {size} examples{reason}"):
                self.program.memory_needs[shapes] = memory.measure_program_need(function.lower(*arguments).compile())
        return self.program.memory_needs[shapes]

    def _describe_lengths(self, shapes: tuple[Any, ...], chunk: Chunk) -> list[str]:
        """Why a function is compiled again for as many examples: lists are padded to other lengths."""
        known = [other for other in self.program.memory_needs if other[:2] == shapes[:2]]
        earlier = [other[2:] for other in known if len(other) == len(shapes)]
        leaves, _ = jax.tree_util.tree_flatten_with_path(chunk.data)
        names = [jax.tree_util.keystr(path[:1], simple=True) for path, _ in leaves]
        others = zip(*earlier, strict=True) if earlier else [()] * len(leaves)
        lengths = {
            name: f"{name} padded to {shape[1]:,} values"
            for name, shape, seen in zip(names, shapes[2:], others, strict=True)
            if seen and len(shape) > 1 and shape[1:] not in [other[1:] for other in seen]
        }
        return [*lengths.values()]

    @contextlib.contextmanager
    def show_compilation(self, name: str) -> Iterator[None]:
        """Shows on the display that a function is compiled, and adds the seconds to `timings.compiling`."""
        start = time.monotonic()
        with self.progress.working(f"compiling {name}"):
            yield
        self.timings.compiling += time.monotonic() - start
        LOG.info("compiled %s", name)

    def memory_error_location(
        self, work: str = "training", key: str = BATCH_SIZE_KEY
    ) -> contextlib.AbstractContextManager[None]:
        """Raises a RunError that names the batch size to lower, in place of an error for lack of memory."""
        size = self.evaluation_batch_size if key == EVALUATION_SIZE_KEY else self.training.batch_size
        return memory.memory_error_location(work, f"Try a smaller {key} (it was {size}).")

    @property
    def warn_of_memory(self) -> Callable[[str], None] | None:
        """The function that shows a warning of too little memory. None: too little memory is an error."""
        return None if self.training.check_memory else self.progress.note


def mark_missing(target: Any, mask: Any) -> np.ndarray:
    """A target (N, …) with -1 or NaN in place of the elements whose mask, (N,) or (N, H, W), is false."""
    target = np.asarray(target)
    missing = target.dtype.type(np.nan if np.issubdtype(target.dtype, np.floating) else -1)
    return np.where(np.expand_dims(np.asarray(mask), tuple(range(np.ndim(mask), target.ndim))), target, missing)


def record_predictions(evaluator: Evaluator, split: str, outputs: ExampleOutputs) -> list[RecordedPredictions]:
    """The predictions for a split by target, with targets and losses. Targets that are images are left out."""
    targets = evaluator.compute_targets(split, outputs.batch)
    return [
        RecordedPredictions.from_logits(
            split,
            evaluator.targets[name].classes,
            evaluator.data.number_rows(split),
            targets[name],
            decode_logits(evaluator.targets[name], logits),
            outputs.losses[name],
            name,
        )
        for name, logits in outputs.logits.items()
    ]
