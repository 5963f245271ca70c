"""Several finished runs as one model: the mean of their outputs, and how far these are apart.

The outputs of the runs are samples, as those of Monte Carlo dropout are. They are computed batch by batch, one run
after another.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from components.closest import join_names
from components.types import Source, TargetSpec, UserError
from runner.config.check_targets import WEIGHTED
from runner.config.config import Config
from runner.data.encode import target_column
from runner.data.load import target_nodes
from runner.data.python_rows import NEW_SPLIT, PythonData
from runner.data.transform import OnMissing, Rows
from runner.display.html import format_html
from runner.display.progress import Progress
from runner.execution.teacher import have_same_values
from runner.execution.trained_rows import count_trained_rows, list_differing
from runner.inference.predict_fn import RowOutputs
from runner.inference.predictions import Predictions, TargetPredictions, check_has_target
from runner.inference.trained_model import Evaluation, OpenSplit, TrainedModel
from runner.program.objective import ExampleOutputs
from runner.program.parts import record_name
from runner.program.samples import Samples, merge_samples
from runner.training.evaluator import Evaluator, SamplesOfBatch

SHARED_SETTINGS = ("evaluation_batch_size", "check_memory", "compile")  # of the first run, for all
DATA_KEYS = ("data", "feature", "operations", "examples", "folds", "fold")  # that decide how rows are encoded


class Run(NamedTuple):
    """A run of an ensemble: its folder, and its configuration with the overrides of the command."""

    folder: Path
    config: Config


class RowsByRun(tuple[Source, ...]):
    """New rows as a source for each run of an ensemble: runs may read other columns of them."""


class Ensemble(TrainedModel):
    """Several trained models as one: the mean of their probabilities, or of their numbers.

    Its losses and metrics, and the attributes of a `TrainedModel`, are those of the first run.

    Attributes:
        others: the models of the other runs.
        folders: the folders of all runs.

    Args:
        runs: two or more runs.
        source: the data of runs that were trained on data from Python. None: the sources of their configurations.
        progress: the progress display.

    Raises:
        UserError: the runs don't predict the same targets.
    """

    def __init__(self, runs: Sequence[Run], *, source: PythonData | None = None, progress: Progress) -> None:
        progress = _NotesOnce(progress)
        super().__init__(*runs[0], source=source, progress=progress)
        settings = {key: self.run.config.values["training"][key] for key in SHARED_SETTINGS}
        self.others: list[TrainedModel] = []
        for folder, config in runs[1:]:
            values = config.values | {"training": config.values["training"] | settings}
            own_config = replace(config, values=values, raw=values)
            self.others.append(TrainedModel(folder, own_config, source=source, progress=progress))
        self.folders = [each.folder for each in runs]
        check_has_target(self.targets, self.folder)
        self._converters = [_find_converters(self, other) for other in self.others]
        self._merge_two = jax.jit(functools.partial(_merge, self.targets))

    def __repr__(self) -> str:
        return f"Ensemble({len(self.folders)} runs, {super().__repr__()})"

    def _repr_html_(self) -> str:
        table = [["run", *map(str, self.folders)]]
        return format_html(f"Ensemble of {len(self.folders)} runs", table=[*zip(*table, strict=True)]) + (
            super()._repr_html_()
        )

    def _check_predicted(self, rows: object, on_missing: OnMissing, mc_samples: int | None) -> None:
        for each in rows if isinstance(rows, RowsByRun) else (rows,):
            super()._check_predicted(each, on_missing, mc_samples)

    def _make_predictions(
        self,
        rows: np.ndarray,
        outputs: RowOutputs | ExampleOutputs,
        targets: Mapping[str, np.ndarray],
        source: Any = None,
    ) -> Predictions | TargetPredictions:
        return super()._make_predictions(rows, outputs, targets, _rows_of(source, 0))

    def _draw_samples(
        self, opened: Sequence[OpenSplit], mc_samples: int | None, *, with_members: bool = False
    ) -> Iterator[SamplesOfBatch]:
        size = opened[0].evaluator.evaluation_batch_size
        drawn = [model.draw(own, mc_samples, size) for model, own in zip((self, *self.others), opened, strict=True)]
        for each in zip(*drawn, strict=True):
            members = self._convert(each)
            yield [functools.reduce(self._merge_two, members), *(members if with_members else ())]

    def _convert(self, samples: Sequence[Mapping[str, Samples]]) -> list[Mapping[str, Samples]]:
        """The samples of each run, with the order of classes and in the unit of the first run.

        Raises:
            UserError: a run has diverged.
        """
        converted = [samples[0]]
        for own, converters in zip(samples[1:], self._converters, strict=True):
            converted.append({name: converters[name](each) for name, each in own.items()})
        for folder, own in zip(self.folders, converted, strict=True):
            if any(np.isnan(np.asarray(each.mean)).any() for each in own.values()):
                raise UserError(f"run={folder.name}: the network predicts NaN. Leave this run out, or train it again.")
        return converted

    def _evaluate(self, opened: Sequence[OpenSplit], *arguments: Any, **options: Any) -> Evaluation:
        """The evaluation without losses inside the networks: these are of single runs, not of their mean."""
        evaluation = super()._evaluate(opened, *arguments, **options)
        losses = {"loss", *(record_name(target, "loss") for target in self.targets)}
        kept = {*losses, *opened[0].evaluator.metrics}

        def select(metrics: Mapping[str, float]) -> dict[str, float]:
            return {
                name: value for name, value in metrics.items() if name.partition("/")[2].removeprefix(WEIGHTED) in kept
            }

        return evaluation._replace(
            metrics=select(evaluation.metrics),
            intervals={name: each for name, each in evaluation.intervals.items() if name in select(evaluation.metrics)},
            sampled=select(evaluation.sampled),
            members=[select(metrics) for metrics in evaluation.members],
        )

    def _open_split(self, split: str) -> list[OpenSplit]:
        opened = super()._open_split(split)
        evaluator, numbers = opened[0].evaluator, self.data.number_rows(split)
        for other in self.others:
            rows = opened[0].rows
            if self._encodes_like(other, DATA_KEYS) and self.run.record["datasets"] == other.run.record["datasets"]:
                other.data = self.data  # is in memory once
            else:
                _check_same_rows(self, other, split, numbers)
                rows = other.data.find_rows(numbers)
            shares = other.data is self.data
            opened.append(OpenSplit((_share(evaluator, other) if shares else None) or other.evaluator, rows))
        return opened

    def _encode_labeled(self, rows: Any, on_missing: OnMissing) -> tuple[list[OpenSplit], str]:
        opened, place = super()._encode_labeled(_rows_of(rows, 0), on_missing)
        for number, other in enumerate(self.others, 1):
            if not isinstance(rows, RowsByRun) and self._encodes_like(other, ("feature", "examples")):
                evaluator = opened[0].evaluator
                evaluator = _share(evaluator, other) or other.make_evaluator(evaluator.data)
                own = opened[0]._replace(evaluator=evaluator)
            else:
                [own], _ = other._encode_labeled(_rows_of(rows, number), on_missing)
            own_numbers, numbers = (each.evaluator.data.number_rows(NEW_SPLIT) for each in (own, opened[0]))
            _check_same_examples(other, own_numbers, self, numbers)
            opened.append(own)
        return opened, place

    @contextmanager
    def _apply(
        self, rows: Any, on_missing: OnMissing, on_warning: Callable[[str], None] | None, mc_samples: int | None
    ) -> Iterator[tuple[Iterator[RowOutputs], np.ndarray | None]]:
        on_warning = functools.cache(on_warning or self._note)  # each sentence once
        with ExitStack() as stack:
            pieces, numbers = stack.enter_context(self._encoded(_rows_of(rows, 0), on_missing, on_warning))
            first, shared = itertools.tee(pieces)
            drawn = [self.draw_of_rows(first, mc_samples)]
            for number, other in enumerate(self.others, 1):
                if not isinstance(rows, RowsByRun) and self._encodes_like(other, ("feature", "examples")):
                    shared, copied = itertools.tee(shared)
                    own: Iterable[Rows] = copied
                else:
                    own, own_numbers = stack.enter_context(
                        other._encoded(_rows_of(rows, number), on_missing, on_warning)
                    )
                    _check_same_examples(other, own_numbers, self, numbers)
                drawn.append(other.draw_of_rows(own, mc_samples))
            yield self._predict_fn.average(self._merge_batches(drawn)), numbers

    def _merge_batches(
        self, drawn: Sequence[Iterator[tuple[int, dict[str, Samples]]]]
    ) -> Iterator[tuple[int, Mapping[str, Samples]]]:
        for each in zip(*drawn, strict=True):
            counts, samples = zip(*each, strict=True)
            assert len(set(counts)) == 1
            yield counts[0], functools.reduce(self._merge_two, self._convert(samples))

    def _encodes_like(self, other: TrainedModel, keys: Iterable[str]) -> bool:
        """Whether the columns of another run have the same configuration at some keys, and the same fitted values."""
        own, theirs = self.transform.constants, other.transform.constants
        return (
            all(self.run.config.values[key] == other.run.config.values[key] for key in keys)
            and own.keys() == theirs.keys()
            and all(have_same_values(own[name], theirs[name]) for name in own)
        )


class _NotesOnce:
    """A progress display that prints each note once: several runs may have the same one."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self.note = progress, functools.cache(progress.note)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._progress, name)


def join_rows(rows: Source, of_others: Sequence[Source | None]) -> Any:
    """New rows for a model: a source, or one for each run of an ensemble."""
    return RowsByRun((rows, *(each for each in of_others if each is not None))) if of_others else rows


def _rows_of(rows: Any, number: int) -> Any:
    """The new rows for a run."""
    return rows[number] if isinstance(rows, RowsByRun) else rows


def _merge(
    specs: Mapping[str, TargetSpec], first: Mapping[str, Samples], second: Mapping[str, Samples]
) -> dict[str, Samples]:
    return {name: merge_samples(specs[name], each, second[name]) for name, each in first.items()}


def _share(evaluator: Evaluator, other: TrainedModel) -> Evaluator | None:
    """The evaluator of another run on the same data, which shares the program. None: it has a program of its own."""
    if other.run.program is not evaluator.program:
        return None
    shared = copy.copy(evaluator)
    shared.program_inputs = evaluator.program_inputs._replace(numbers=other.run.program_inputs.numbers)
    return shared


def _check_same_examples(other: TrainedModel, theirs: Any, first: TrainedModel, own: Any) -> None:
    """Raises UserError unless two runs make the same examples of new rows, which are known by these row numbers."""
    if not (theirs is own is None or np.array_equal(theirs, own)):
        raise UserError(
            f"run={other.folder.name} makes other examples of the rows than run={first.folder.name}. The runs of an "
            "ensemble need the same settings of `examples`."
        )


def _check_same_rows(first: TrainedModel, other: TrainedModel, split: str, numbers: np.ndarray) -> None:
    """Raises UserError unless another run can be evaluated on rows of a split of the first run.

    Args:
        first: the first run.
        other: the other run, whose data is encoded or split in another way.
        split: the split of the first run.
        numbers: the numbers of its rows in the data.
    """
    own, theirs = f"run={first.folder.name}", f"run={other.folder.name}"
    if differing := list_differing(first.run.config, other.run.config):
        raise UserError(
            f"{theirs} was trained on other data than {own} ({join_names(differing)}), so it has no {split} split of "
            "the same rows. Name the rows themselves: data.path=FILE, or model.predict(rows) in Python."
        )
    data = other.data
    learned = count_trained_rows(numbers, data)
    if split != "train" and learned:
        raise UserError(
            f"{theirs} was trained on {learned:,} of the {len(numbers):,} rows of the {split} split of {own}, so these "
            "rows can't show how good the ensemble is. Choose a split that no run was trained on, or other rows by "
            "data.path=FILE. Runs of other folds, or of other splits of the same rows, have at most data.split=test in "
            "common."
        )
    count = len(next(iter(next(iter(data.encoded.values())).values())))
    known = np.arange(count) if data.row_numbers is None else data.row_numbers
    if left_out := (~np.isin(numbers, known)).sum():
        raise UserError(
            f"{theirs} leaves out {left_out:,} of the {len(numbers):,} rows of the {split} split of {own}. Name the "
            "rows themselves: data.path=FILE, or model.predict(rows) in Python."
        )


def _find_converters(first: TrainedModel, other: TrainedModel) -> dict[str, Callable[[Samples], Samples]]:
    """What turns the samples of another run into those of the first run, by target.

    Raises:
        UserError: the runs don't predict the same.
    """
    own, theirs = f"run={first.folder.name}", f"run={other.folder.name}"
    keys = [{name: target.keys for name, target in model.features.targets.items()} for model in (first, other)]
    if keys[0] != keys[1] or first.targets.keys() != other.targets.keys():
        described = [join_names(f"`{key}`" for names in each.values() for key in names) or "nothing" for each in keys]
        raise UserError(
            f"{theirs} predicts {described[1]}, and {own} predicts {described[0]}. The runs of an ensemble need the "
            "same targets. Leave this one out."
        )
    converters = {}
    for name, spec in first.targets.items():
        problem = _compare_targets(spec, other.targets[name])
        if problem:
            columns = join_names(f"`{key}`" for key in keys[0][name])
            raise UserError(f"{theirs}: {columns} {problem} than in {own}. Leave this run out.")
        converters[name] = _find_converter(first, other, name)
    return converters


def _compare_targets(own: TargetSpec, other: TargetSpec) -> str:
    """What another run has for a target; "": it predicts the same."""
    if own.kind_name != other.kind_name:
        return f"has {other.kind_name}, others ({own.kind_name})"
    if own.classes is not None and other.classes is not None and {*own.classes} != {*other.classes}:
        differing = {"missing": {*own.classes} - {*other.classes}, "unexpected": {*other.classes} - {*own.classes}}
        listed = [f"{title}: {join_names(sorted(names))}" for title, names in differing.items() if names]
        return f"has other classes ({'; '.join(listed)})"
    is_other_shape = own.shape != other.shape
    return f"has another shape, {other.shape} in place of {own.shape}," if is_other_shape else ""


def _find_converter(first: TrainedModel, other: TrainedModel, name: str) -> Callable[[Samples], Samples]:
    """What turns the samples of a target of another run into those of the first run.

    Raises:
        UserError: the runs normalize the numbers in different ways, and one of these has no inverse.
    """
    own, theirs = first.targets[name], other.targets[name]
    if own.classes is not None and theirs.classes is not None:
        order = [theirs.classes.index(each) for each in own.classes]
        axis = -2 if own.kind == "multilabel" else -1
        is_sorted = order == sorted(order)
        return _keep if is_sorted else functools.partial(_reorder, order=np.array(order), axis=axis)
    nodes = [target_nodes(model.run.config.values["feature"])[name] for model in (first, other)]
    constants = [model.transform.constants[target_column(name)] for model in (first, other)]
    if nodes[0] == nodes[1] and have_same_values(*constants):
        return _keep
    if own.encode is None:
        raise UserError(
            f"run={other.folder.name} was trained on other rows than run={first.folder.name}, so the numbers of the "
            f"target {name} have another normalization, and {type(first.features.targets[name]).__name__} has no "
            "inverse of it (TargetSpec.encode). Train the runs with the same splits."
        )
    return functools.partial(_normalize_like, decode=theirs.decode, encode=own.encode)


def _keep(samples: Samples) -> Samples:
    return samples


def _reorder(samples: Samples, *, order: np.ndarray, axis: int) -> Samples:
    """The samples with another order of the classes."""
    total, mean, squares = (
        jax.numpy.take(values, order, axis) for values in (samples.total, samples.mean, samples.squares)
    )
    return samples._replace(total=total, mean=mean, squares=squares)


def _normalize_like(
    samples: Samples, *, decode: Callable[[Any], Any], encode: Callable[[np.ndarray], np.ndarray]
) -> Samples:
    """The samples with outputs that are normalized in another way. Their mean in the unit of the data stays."""
    number = float(samples.number)
    mean = encode(np.asarray(decode(np.asarray(samples.total, np.float64) / number)))
    return samples._replace(total=jax.numpy.asarray(mean * number, jax.numpy.float32))
