"""A finished run as a trained model: evaluates its best weights on splits, and predicts new rows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.closest import join_names
from components.columns import as_table, columns_by_name, is_table
from components.types import (
    FEATURES,
    Column,
    DrawsExamples,
    LeavesOut,
    RowNumbers,
    Source,
    TargetSpec,
    UserError,
    get_only,
)
from runner.config.catalog import FRAME
from runner.config.config import Config
from runner.data.copied_columns import copy_columns
from runner.data.encode import TARGET, first_block, raw_keys
from runner.data.given_parts import Gaps, fill_gaps
from runner.data.load import Data, used_columns
from runner.data.python_rows import NEW_SPLIT, NewRows, PythonData, encode_labeled, open_rows
from runner.data.slices import read_slices
from runner.data.transform import OnMissing, Rows
from runner.display.html import format_html
from runner.display.progress import Progress
from runner.display.run_length import format_epochs
from runner.execution.finished_run import FinishedRun
from runner.execution.programs import make_program
from runner.execution.run_data import load_data
from runner.execution.teacher import load_teacher
from runner.inference.feature_rows import FeaturesOfRows
from runner.inference.new_rows import check_none_skipped, check_on_missing, keep_possible_remedies
from runner.inference.predict_fn import PredictFn, RowOutputs, check_mc_samples, join_outputs
from runner.inference.predictions import Predictions, TargetPredictions, check_has_target, check_split, make_predictions
from runner.memory import memory_error_location
from runner.platform import arithmetic_settings, cache_folder, check_not_forked, start_jax
from runner.program.monte_carlo import NO_LOGITS
from runner.program.objective import ExampleOutputs
from runner.program.parts import build_augmentations
from runner.program.samples import Samples
from runner.record.description import code_versions, list_changes
from runner.record.predictions import RecordedPredictions
from runner.training.evaluator import Evaluator, SamplesOfBatch, record_predictions
from runner.training.example_sums import ExampleSums
from runner.training.intervals import Interval, bootstrap_intervals, find_obstacle
from runner.training.slices import Slice, evaluate_slices

PARTNER = "partner"  # the column of predictions with the second row of a pair


class OpenSplit(NamedTuple):
    """The rows of a split as a run encodes them.

    Attributes:
        evaluator: evaluates the run on them.
        rows: their numbers among the rows of the evaluator's data.
    """

    evaluator: Evaluator
    rows: RowNumbers


class Evaluation(NamedTuple):
    """The evaluation of a model on a split or on new rows.

    Attributes:
        metrics: the loss and metrics, such as `test/loss`.
        intervals: the interval of each, (low, high). Empty: there are none.
        slices: the slices of each column.
        sampled: the loss and metrics of the mean of samples of Monte Carlo dropout. Empty: none were drawn.
        members: those of each run of an ensemble, without samples. Empty: there is one run.
        predictions: the predictions without samples, and those of the mean of samples, of each target but images.
            Empty: they weren't needed.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    slices: list[Slice]
    sampled: dict[str, float]
    members: list[dict[str, float]]
    predictions: list[tuple[RecordedPredictions, RecordedPredictions]]


class TrainedModel:
    """A trained model.

    Attributes:
        folder: the run folder.
        splits: the number of rows of each split of the run's data.
        transform: encodes rows.
        features: the columns that the model reads, and its target.
        targets: the targets by name, as augmentations change them; a single one is called `target`.
        augments_targets: whether augmentations may change the targets of evaluations.
        weights: the best weights.
        run: the finished run.
    """

    def __init__(self, folder: Path, config: Config, *, source: PythonData | None = None, progress: Progress) -> None:
        start_jax(cache_folder())
        self.folder, self._source, self._progress = folder, source, progress
        self.run = FinishedRun(folder, config, lambda warning: progress.note(f"warning: {warning}"))
        self.splits: dict[str, int] = {dataset["split"]: dataset["rows"] for dataset in self.run.record["datasets"]}
        self.transform, self.weights = self.run.transform, self.run.weights
        self.features = self.transform.features
        data_targets = self.features.bind_targets(self.transform.constants)
        static = self.run.program.static_config
        augmentations, self.targets = build_augmentations(static, self.run.numbers, data_targets, self.features)
        self.augments_targets = any(each.changes_evaluated_targets for each in augmentations.values())
        changes = code_versions(self.run.config) | arithmetic_settings()
        for change in list_changes(self.run.record, self.run.config, changes):
            progress.note(f"warning: {change}: results may differ from those of the run")

    def __repr__(self) -> str:
        targets = ", ".join(", ".join(target.keys) for target in self.features.targets.values()) or "no target"
        count = len(self.features.columns)
        columns = "1 column" if count == 1 else f"{count:,} columns"
        return f"TrainedModel({targets} from {columns}, folder={self.folder.name})"

    def _repr_html_(self) -> str:
        facts = [("folder", str(self.folder))]
        facts += [("splits of the data", ", ".join(f"{name} {rows:,}" for name, rows in self.splits.items()))]
        facts += (
            [("best epoch", f"{format_epochs(self.weights.epoch)} of {format_epochs(self.weights.epochs)}")]
            if self.weights.epoch is not None
            else []
        )
        facts += [(name, _describe_target(self.features.targets[name], spec)) for name, spec in self.targets.items()]
        columns = self.features.columns.items()
        table = [[name, type(column).__name__, ", ".join(column.keys)] for name, column in columns]
        return format_html("Trained model", facts, [["column", "encoded as", "reads"], *table])

    @property
    def classes(self) -> tuple[str | int | bool, ...] | None:
        """The classes of the only target: integers or booleans if the data has these, else names; None: numbers."""
        spec: TargetSpec = get_only(self.targets, "target", "TrainedModel.targets")
        return spec.values or spec.classes

    @property
    def default_split(self) -> str:
        """`test`, or else `valid`. Raises UserError if the run has neither."""
        for split in ("test", "valid"):
            if split in self.splits:
                return split
        raise UserError(
            f"run={self.folder.name}: the run has no test or valid split. "
            f"Evaluate the one that it has with data.split={next(iter(self.splits))}."
        )

    def evaluate(
        self,
        split: str | Mapping[str, Any] | Source = "test",
        *,
        on_missing: OnMissing = "error",
        mc_samples: int | None = None,
    ) -> dict[str, float]:
        """Evaluates the model.

        Args:
            split: a split of the run's data, or new rows as for `predict`, with the target.
            on_missing: as for `predict`.
            mc_samples: as for `predict`: their mean is evaluated.

        Returns:
            The loss and metrics, such as `test/loss`, or `new/loss` for new rows. Those of new rows without any value
            of a target, or without any weight, are left out, with a warning.

        Raises:
            UserError: a column is missing, or the new rows have no value of any target.
            DataError: a value is wrong.
        """
        evaluation = self.evaluate_once(split, on_missing=on_missing, mc_samples=mc_samples, only_samples=True)
        return evaluation.sampled or evaluation.metrics

    def evaluate_once(
        self,
        split: str | Mapping[str, Any] | Source = "test",
        *,
        resamples: int | None = None,
        columns: Sequence[str] = (),
        on_missing: OnMissing = "error",
        mc_samples: int | None = None,
        only_samples: bool = False,
        compares: bool = False,
    ) -> Evaluation:
        """Evaluates the model, with intervals and slices, for which it isn't applied again.

        Args:
            split: as for `evaluate`.
            resamples: as for `evaluate_with_intervals`; new rows have no intervals.
            columns: as for `evaluate_slices`.
            on_missing: as for `predict`.
            mc_samples: as for `predict`. Intervals and slices are those without samples.
            only_samples: whether nothing is computed without samples, if there are any.
            compares: whether `Evaluation.predictions` has those with and without samples; not for new rows.

        Raises:
            UserError, DataError: as for `evaluate` and `evaluate_slices`.
        """
        check_not_forked()
        check_mc_samples(mc_samples)
        check_on_missing(on_missing, split)
        only_samples &= mc_samples is not None
        if isinstance(split, str):
            opened = self._open_split(split)
            return self._evaluate(
                opened, split, resamples, columns, mc_samples, only_samples=only_samples, compares=compares
            )
        opened, place = self._encode_labeled(split, on_missing)
        undefined = [*opened[0].evaluator.find_undefined(NEW_SPLIT, place)]
        evaluation = self._evaluate(opened, NEW_SPLIT, None, columns, mc_samples, only_samples=only_samples)
        names = (evaluation.metrics or evaluation.sampled).keys()
        defined = {name for name in names if not any(each.includes(name) for each in undefined)}
        if not defined:
            raise UserError(f"{'; '.join(each.reason for each in undefined)}. There is nothing to evaluate.")
        for each in undefined:
            left_out = join_names(name.removeprefix(f"{NEW_SPLIT}/") for name in names if each.includes(name))
            self._progress.note(f"warning: {each.reason}. Left out: {left_out}.")

        def select(metrics: Mapping[str, float]) -> dict[str, float]:
            return {name: value for name, value in metrics.items() if name in defined}

        return evaluation._replace(
            metrics=select(evaluation.metrics),
            sampled=select(evaluation.sampled),
            members=[select(metrics) for metrics in evaluation.members],
        )

    def _evaluate(
        self,
        opened: Sequence[OpenSplit],
        split: str,
        resamples: int | None,
        columns: Sequence[str],
        mc_samples: int | None,
        *,
        only_samples: bool,
        compares: bool = False,
    ) -> Evaluation:
        """Applies the model to a split once, and once for each sample. Computes metrics, intervals and slices."""
        evaluator = opened[0].evaluator
        arguments = split, self.weights.parameters, self.weights.model_state
        sampled: dict[str, float] = {}
        mean = ExampleOutputs({}, {})
        if mc_samples is not None:
            with self._progress.working(f"evaluating {mc_samples:,} samples"):
                samples = self._draw_samples(opened, mc_samples)
                [sampled], mean = evaluator.evaluate_means(*arguments, samples, with_outputs=compares)
        if only_samples:
            return Evaluation({}, {}, [], sampled, [], [])
        needs_outputs = resamples is not None or bool(columns) or compares
        slices, note = read_slices(columns, evaluator.data, self.features, [split]), self._progress.note
        samples = self._draw_samples(opened, None, with_members=True)
        (metrics, *members), outputs = evaluator.evaluate_means(*arguments, samples, with_outputs=needs_outputs)
        if not needs_outputs:
            return Evaluation(metrics, {}, [], sampled, members, [])
        recorded = (record_predictions(evaluator, split, each) for each in (outputs, mean) if mean.logits)
        predictions = [*zip(*recorded, strict=True)]
        sums = ExampleSums(evaluator, split, outputs)
        intervals = {} if resamples is None else self._draw_intervals(sums, resamples)
        return Evaluation(metrics, intervals, evaluate_slices(sums, slices, note=note), sampled, members, predictions)

    def _draw_samples(
        self, opened: Sequence[OpenSplit], mc_samples: int | None, *, with_members: bool = False
    ) -> Iterator[SamplesOfBatch] | None:
        """The samples of each batch of a split, as `Evaluator.evaluate_means` takes them. None: there is one output.

        Args:
            opened: the split, as each run encodes it.
            mc_samples: as for `predict`.
            with_members: whether those of each run of an ensemble come after all samples.
        """
        return None if mc_samples is None else ([each] for each in self.draw(opened[0], mc_samples))

    def draw(
        self, opened: OpenSplit, mc_samples: int | None, size: int | None = None
    ) -> Iterator[Mapping[str, Samples]]:
        """The samples of this run for each batch of a split.

        Args:
            opened: the split, as this run encodes it.
            mc_samples: as for `predict`.
            size: the number of rows of a batch. None: as in an evaluation.
        """
        size = opened.evaluator.evaluation_batch_size if size is None else size
        weights = self.weights
        return opened.evaluator.draw_samples(opened.rows, weights.parameters, weights.model_state, mc_samples, size)

    def _draw_intervals(self, sums: ExampleSums, resamples: int) -> dict[str, Interval]:
        """The intervals of a split; empty if it has too few or too many rows, which is noted, or no logits."""
        note = self._progress.note
        if obstacle := find_obstacle(len(sums.evaluator.data.splits[sums.split]), resamples):
            note(f"no intervals for the {sums.split} split: {obstacle}")
        if obstacle or not sums.outputs.logits:
            return {}
        seed = self.run.config.values["seed"]
        with self._progress.working("computing intervals of the metrics"):
            return bootstrap_intervals(sums, resamples, seed, note=note, is_stopped=lambda: False)

    def _encode_labeled(self, rows: Mapping[str, Any] | Source, on_missing: OnMissing) -> tuple[list[OpenSplit], str]:
        """Encodes new rows with their target, as the split `new`, for each run. Returns also the name of the rows."""
        columns, constants = used_columns(self.features), self.transform.constants
        targets = {key for target in self.features.targets.values() for key in target.keys}
        with keep_possible_remedies(rows, targets):
            for sentence in rows.left_out() if isinstance(rows, LeavesOut) else ():
                self._progress.note(f"warning: {sentence}")
            read = columns | self.features.example_columns
            opened = self._open(rows, on_missing, self._note, read)
            source, notes = opened.source, opened.list_notes()
            gaps = Gaps()
            if on_missing == "fill":
                inputs, gaps = fill_gaps(self.transform.columns, constants, source)
                columns, notes = columns | inputs, notes + gaps.notes
            for note in (*notes, *self.transform.list_warnings(source, columns, gaps)):
                self._note(note)
            data = encode_labeled(source, self.features, constants, columns, self.transform.layouts)
            for warning in data.warnings:
                self._note(warning)
            evaluator = self.make_evaluator(replace(data, source=source))
        first = first_block(source)
        return [OpenSplit(evaluator, evaluator.data.splits[NEW_SPLIT])], first.origin if first else NEW_SPLIT

    def evaluate_with_intervals(
        self, split: str = "test", resamples: int | None = 1000
    ) -> tuple[dict[str, float], dict[str, Interval]]:
        """Evaluates the model on a split of the run's data, with 95 % intervals, as at the end of a run.

        Args:
            split: the split.
            resamples: the number of bootstrap resamples. None: no intervals.

        Returns:
            The loss and metrics, and the interval, (low, high), of each. A split with too few or too many rows has no
            intervals.
        """
        evaluation = self.evaluate_once(split, resamples=resamples)
        return evaluation.metrics, evaluation.intervals

    def evaluate_slices(
        self,
        split: str | Mapping[str, Any] | Source = "test",
        columns: Sequence[str] | None = None,
        *,
        on_missing: OnMissing = "error",
    ) -> list[Slice]:
        """Evaluates the model on the rows with each value of columns, as `metric_slices` does at the end of a run.

        Args:
            split: a split of the run's data, or new rows with the target, as for `evaluate`.
            columns: columns of the data, or feature columns of buckets. None: those of the run's `metric_slices`.
            on_missing: as for `predict`.

        Returns:
            The slices of each column, with their loss and metrics; NaN where one is undefined.

        Raises:
            UserError: there is no such column, or it has too many values.
        """
        if columns is None:
            columns = self.run.config.values["metric_slices"]
        return self.evaluate_once(split, columns=columns, on_missing=on_missing).slices

    def predict(
        self,
        rows: str | Mapping[str, Any] | Source,
        *,
        on_missing: OnMissing = "error",
        on_warning: Callable[[str], None] | None = None,
        mc_samples: int | None = None,
    ) -> Predictions | TargetPredictions:
        """Predicts a split of the run's data, or new rows. With several targets, returns predictions by target name.

        Args:
            rows: the name of a split, a mapping of raw columns, a data frame or table of pandas, Polars or Arrow, or a
                source. A column is an array, or anything that NumPy turns into one, with the rows along its first
                axis; `Ragged`; or a column of pandas, Polars or Arrow. The target is not needed, and columns that the
                model does not read are ignored. Texts such as `$5` are read as in training. Images may also be floats
                from 0 to 1 or from 0 to 255.
            on_missing: `error`: a missing value is an error where the training split had none. `fill`: numbers get the
                mean of the training split, and categories are unknown; the gaps are counted in a warning.
            on_warning: called with each sentence about how new rows were read, and each warning of a column, such as
                about values that training never had. None: they are printed.
            mc_samples: the number of samples of Monte Carlo dropout, 2 or more. The predictions are their mean, and
                `Predictions.spread` says how far they are apart. None: dropout is off.

        Raises:
            UserError: a column or the split is missing, the run has no outputs to predict, or all samples would be
                equal, because the network has no dropout.
            DataError: a value is wrong; the message names its row and column.
        """
        self._check_predicted(rows, on_missing, mc_samples)
        if isinstance(rows, str):
            if images := self.image_targets:
                raise UserError(
                    f"the target {images[0]} is an image, and the predictions for a whole split may not fit in memory. "
                    f"Go through model.predict_in_batches({rows!r}), or write PNG files with mode=predict."
                )
            evaluator, outputs = self._outputs_of_split(rows, mc_samples)
            return self._predict_split(evaluator, rows, evaluator.data.number_rows(rows), outputs)
        rows = as_table(rows)
        with self._apply(rows, on_missing, on_warning, mc_samples) as (batches, numbers):
            applied = join_outputs(batches)
        count = len(next(iter(applied.logits.values())))
        return self._make_predictions(np.arange(count) if numbers is None else numbers, applied, {}, rows)

    def predict_in_batches(
        self,
        rows: str | Mapping[str, Any] | Source,
        *,
        on_missing: OnMissing = "error",
        on_warning: Callable[[str], None] | None = None,
        mc_samples: int | None = None,
    ) -> Generator[Predictions | TargetPredictions]:
        """Yields the predictions for consecutive rows, such as images that don't fit in memory all at once.

        The arguments and the errors are those of `predict`. Errors in the rows are raised when these are reached.
        """
        self._check_predicted(rows, on_missing, mc_samples)
        return self._predict_in_batches(rows, on_missing, on_warning, mc_samples)

    def _predict_in_batches(
        self,
        rows: str | Mapping[str, Any] | Source,
        on_missing: OnMissing,
        on_warning: Callable[[str], None] | None,
        mc_samples: int | None,
    ) -> Generator[Predictions | TargetPredictions]:
        if isinstance(rows, str):
            evaluator = self._evaluator_for(rows)
            for numbers, outputs in self.outputs_in_batches(rows, mc_samples):
                yield self._predict_split(evaluator, rows, numbers, outputs)
            return
        first, rows = 0, as_table(rows)
        with self._apply(rows, on_missing, on_warning, mc_samples) as (batches, all_rows):
            for applied in batches:
                stop = first + len(next(iter(applied.logits.values())))
                known_by = np.arange(first, stop) if all_rows is None else all_rows[first:stop]
                yield self._make_predictions(known_by, applied, {}, rows)
                first = stop

    def outputs_in_batches(
        self, split: str, mc_samples: int | None = None
    ) -> Iterator[tuple[np.ndarray, ExampleOutputs]]:
        """Yields the numbers of consecutive rows of a split, int64 (B,), and their outputs, also those of images."""
        opened = self._open_split(split)
        weights, samples = self.weights, self._draw_samples(opened, mc_samples)
        return opened[0].evaluator.outputs_in_batches(split, weights.parameters, weights.model_state, samples)

    def _outputs_of_split(self, split: str, mc_samples: int | None = None) -> tuple[Evaluator, ExampleOutputs]:
        """The outputs for all rows of a split, without those of images, and the evaluator of its data."""
        opened = self._open_split(split)
        weights, samples = self.weights, self._draw_samples(opened, mc_samples)
        evaluator = opened[0].evaluator
        return evaluator, evaluator.evaluate_means(split, weights.parameters, weights.model_state, samples)[1]

    @property
    def image_targets(self) -> list[str]:
        """The names of the targets that are images."""
        return [name for name, spec in self.targets.items() if spec.is_image]

    def _check_predicted(self, rows: object, on_missing: OnMissing, mc_samples: int | None) -> None:
        """Raises UserError if rows can't be predicted."""
        check_not_forked()
        check_mc_samples(mc_samples)
        check_has_target(self.targets, self.folder)
        check_on_missing(on_missing, rows)
        if isinstance(rows, str):
            check_split(self.folder, rows, self.splits)
            return
        if not is_table(rows) and not hasattr(rows, "blocks"):
            columns = ", ".join(f"{key!r}: […]" for key in sorted(raw_keys(self.features.columns)))
            raise UserError(
                f"predict: the rows are of the type {type(rows).__name__}. Pass the name of a split, or new rows as a "
                f"data frame, or as lists or arrays by column: {{{columns}}}."
            )
        check_none_skipped(rows)

    @contextmanager
    def _apply(
        self, rows: Any, on_missing: OnMissing, on_warning: Callable[[str], None] | None, mc_samples: int | None
    ) -> Iterator[tuple[Iterator[RowOutputs], np.ndarray | None]]:
        """Opens the outputs for new rows, in batches. With them are the rows by which examples are known."""
        with self._encoded(rows, on_missing, on_warning) as (pieces, numbers):
            if mc_samples is None:
                weights = self.weights
                yield self._predict_fn.outputs_in_batches(pieces, weights.parameters, weights.model_state), numbers
            else:
                yield self._predict_fn.average(self.draw_of_rows(pieces, mc_samples)), numbers

    def draw_of_rows(self, pieces: Iterable[Rows], mc_samples: int | None) -> Iterator[tuple[int, dict[str, Samples]]]:
        """The samples of this run for encoded new rows, as `PredictFn.draw_samples` yields them."""
        return self._predict_fn.draw_samples(pieces, self.weights.parameters, self.weights.model_state, mc_samples)

    @contextmanager
    def _encoded(
        self, rows: Any, on_missing: OnMissing, on_warning: Callable[[str], None] | None
    ) -> Iterator[tuple[Iterable[Rows], np.ndarray | None]]:
        """Opens new rows, encoded piece by piece, to be predicted.

        With them are the rows by which examples are known. None: each row is an example.
        """
        size = self.run.training.evaluation_batch_size
        predicting = memory_error_location(
            "predicting", f"Try a smaller training.evaluation_batch_size (it was {size})."
        )
        on_warning = on_warning or self._note
        if self.features.examples is not None:
            with predicting:
                with keep_possible_remedies(rows):
                    opened = self._open(
                        rows, on_missing, on_warning, self.transform.columns | self.features.example_columns
                    )
                    examples = self.transform.examples(opened, on_missing=on_missing, on_warning=on_warning)
                yield [examples.encoded], examples.rows
            return
        with predicting:
            with self._reading(rows):
                opened = self._open(rows, on_missing, on_warning, self.transform.columns)
                numbers = opened.find_numbers()
            with closing(self._encode(rows, opened, on_missing, on_warning)) as pieces:
                yield pieces, numbers

    def _open(
        self, rows: Any, on_missing: OnMissing, on_warning: Callable[[str], None], columns: Mapping[str, Column]
    ) -> NewRows:
        """Opens new rows, to be read by columns. If these read features of another run, it computes them first."""
        if self.transform.network is None or (is_table(rows) and FEATURES in columns_by_name(rows, "rows")):
            return self.transform.open(rows, columns)
        return self._features_of_rows.open(rows, columns, on_missing, on_warning)

    @cached_property
    def _features_of_rows(self) -> FeaturesOfRows:
        return FeaturesOfRows(self.run, lambda warning: self._progress.note(f"warning: {warning}"))

    def _encode(
        self,
        rows: Mapping[str, Any] | Source,
        opened: NewRows,
        on_missing: OnMissing,
        on_warning: Callable[[str], None],
    ) -> Generator[Rows]:
        """Yields new rows, encoded piece by piece: the images of a large folder may not fit in memory."""
        size = self._predict_fn.max_batch_size
        with self._reading(rows):
            yield from self.transform.pieces(opened, size, on_missing=on_missing, on_warning=on_warning)

    @contextmanager
    def _reading(self, rows: object) -> Iterator[None]:
        """Explains the errors in new rows, and those of too little memory."""
        remedy = "Free some, or predict fewer rows at once."
        with memory_error_location("reading the new rows", remedy), keep_possible_remedies(rows):
            yield

    def _note(self, sentence: str) -> None:
        self._progress.note(f"note: {sentence}")

    def _make_predictions(
        self,
        rows: np.ndarray,
        outputs: RowOutputs | ExampleOutputs,
        targets: Mapping[str, np.ndarray],
        source: Any = None,
    ) -> Predictions | TargetPredictions:
        place, spread = self._copy_example_keys(rows, source), outputs.spread or {}
        predictions = {
            name: make_predictions(spec, rows, outputs.logits[name], targets.get(name), source, place, spread.get(name))
            for name, spec in self.targets.items()
        }
        return predictions[TARGET] if TARGET in predictions else TargetPredictions(predictions)

    def _copy_example_keys(self, rows: np.ndarray, source: Any) -> dict[str, np.ndarray]:
        """The columns that say which rows make an example, such as the time, in some rows of new ones or of a split.

        That of a pair is the number of its second row.
        """
        if isinstance(self.features.examples, DrawsExamples):
            views: Iterator[Any] = (array for name in self.data.encoded for array in self.data.encoded[name].values())
            partners = next(iter(views)).find_rows(self.data.find_rows(rows))[:, -1]
            return {PARTNER: partners if self.data.row_numbers is None else self.data.row_numbers[partners]}
        keys = self.features.example_keys
        if not keys:
            return {}
        if source is not None:
            return copy_columns(open_rows(source, {}).source, keys, rows)
        assert self.data.source is not None
        return copy_columns(self.data.source, keys, self.data.source_rows(self.data.find_rows(rows)))

    def _predict_split(
        self, evaluator: Evaluator, split: str, numbers: np.ndarray, outputs: ExampleOutputs
    ) -> Predictions | TargetPredictions:
        """The predictions for some rows of a split, from their numbers and outputs."""
        if not all(logits.shape[-1] for logits in outputs.logits.values()):
            raise UserError(NO_LOGITS)
        return self._make_predictions(numbers, outputs, evaluator.compute_targets(split, outputs.batch))

    def predict_with_losses(self, split: str = "test", mc_samples: int | None = None) -> list[RecordedPredictions]:
        """The predictions for a split by target, with the target and the loss of each example, but those of images.

        Args:
            split: the split.
            mc_samples: as for `predict`.
        """
        check_not_forked()
        evaluator, outputs = self._outputs_of_split(split, mc_samples)
        return record_predictions(evaluator, split, outputs)

    @cached_property
    def data(self) -> Data:
        """The run's encoded data. Raises UserError if it has changed since the run, or is not available."""
        run = f"run={self.folder.name}"
        node = self.run.config.values["data"]
        came_as = "a table" if node.get("_target_") == FRAME else node.get("given")
        if came_as is not None and self._source is None:
            raise UserError(
                f"{run}: the data of this run came from Python, as {came_as}. "
                "Load the run in Python with the same data: runner.load(folder, data=…)."
            )
        data, _ = load_data(self.run.config, self._source, self._progress, self.transform.constants)
        if any(dataset["digest"] != data.fingerprint for dataset in self.run.record["datasets"]):
            raise UserError(
                f"{run}: the data, or how it is split, has changed since the run was trained. "
                "Undo the change, or train again."
            )
        return data

    @cached_property
    def _predict_fn(self) -> PredictFn:
        run = self.run
        size, checks_memory = run.training.evaluation_batch_size, run.training.check_memory
        return PredictFn(run.program, run.program_inputs, size, checks_memory=checks_memory)

    def _open_split(self, split: str) -> list[OpenSplit]:
        """A split of the run's data, as each run encodes it. Raises UserError if the data has no such split."""
        evaluator = self._evaluator_for(split)
        return [OpenSplit(evaluator, evaluator.data.splits[split])]

    def _evaluator_for(self, split: str) -> Evaluator:
        """The evaluator of the run's data. Raises UserError if the data has no such split."""
        check_split(self.folder, split, self.splits)
        return self.evaluator

    @cached_property
    def evaluator(self) -> Evaluator:
        """The evaluator of the run's data."""
        return self.make_evaluator(self.data)

    def make_evaluator(self, data: Data) -> Evaluator:
        """An evaluator of the run on data that is encoded as that of the run."""
        run = self.run
        teacher = load_teacher(run.config, data, self.features, self._progress.note)
        program = run.program
        if teacher is not None:
            program, _ = make_program(run.config, self.features, data.constants, teacher.program)
        return Evaluator(program, data, run.training, run.numbers, self._progress, teacher and teacher.inputs)


def _describe_target(target: Column, spec: TargetSpec) -> str:
    """What a target is, for a notebook."""
    classes = spec.values or spec.classes
    kind = "a number" if classes is None else f"one of {len(classes)} classes: {join_names(map(str, classes))}"
    return f"{', '.join(target.keys)}, {kind if spec.kind != 'multilabel' else kind.replace('one', 'any')}"
