"""Prepares a run: loads data, builds the program and the trainer, then creates the run folder.

The folder comes last, so that a configuration error leaves no folder behind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.closest import join_names
from components.types import Clock, Constants, DataError, NeedsRun, Remedy, Schedule, UserError, Weights, as_index
from runner.config.catalog import display_path, find_options, read_default_options
from runner.config.check_update import find_weak_lookahead
from runner.config.config import Config
from runner.config.optimizer_notes import find_optimizer_notes
from runner.config.provenance import errors_with_origin
from runner.config.scalars import list_durations
from runner.config.settings import AUTO, Training
from runner.data.encode import WEIGHT, MissingColumnError
from runner.data.load import EXAMPLE_WEIGHT, Data, Features, load_encoded
from runner.data.order import epoch_order
from runner.data.python_rows import PythonData, PythonTable
from runner.data.slices import read_slices
from runner.display.numbers import format_number
from runner.display.progress import Progress
from runner.errors import error_location, located_settings
from runner.execution.finished_run import load_architecture_weights
from runner.execution.open_folder import (
    SweepMember,
    check_folder,
    find_other_length,
    open_folder,
    with_recorded_batch_size,
)
from runner.execution.programs import make_program
from runner.execution.teacher import load_teacher, teacher_fingerprint
from runner.log import LOG
from runner.memory import memory_error_location
from runner.override_text import format_override, locate_settings
from runner.platform import cache_folder, find_unused_accelerator, release_unused_memory
from runner.program.freeze import find_frozen
from runner.program.objective import apply_constraint
from runner.program.parts import build_group
from runner.program.trees import count_elements, list_changed, list_paths, select
from runner.public_data import download_suggested
from runner.run_folder import RunFolder, find_run
from runner.signature.build import build, build_source
from runner.signature.code import digest_code, part_packages
from runner.signature.operations import build_operations, explain_computed_columns, operate, separate_options
from runner.signature.schema import SCHEMA
from runner.suggest.suggestions import take_rows
from runner.training.averaging import describe_plan
from runner.training.batch_size import choose_batch_size, list_sizes
from runner.training.calibration import SPLIT as CALIBRATION_SPLIT
from runner.training.observers import Observers
from runner.training.rate_curve import find_zero_tail, sample_schedule
from runner.training.signals import Signals
from runner.training.trainer import Trainer
from runner.tree import iterate_leaves, join_path

READ_LESS = "Free some, or read less: fewer rows, or fewer columns."
MAX_MEAN_WEIGHT = 10.0  # of the training examples; a larger mean, or one below its inverse, gets a note
HELD_OUT = ("valid", "test")  # splits, in the order of a run
MAX_STEPS = 2**31 - 1  # of an int32 counter


@dataclass
class PreparedRun:
    """A run that is ready to train.

    Attributes:
        config: its configuration.
        data: its encoded rows.
        tracking: the part that `tracking` names, which records the run.
        observers: the parts that `observer` names.
        trainer: its trainer.
        progress: its progress display.
        folder: its run folder, locked.
        is_resumed: whether an earlier process started it.
    """

    config: Config
    data: Data
    tracking: Any
    observers: Observers
    trainer: Trainer
    progress: Progress
    folder: RunFolder
    is_resumed: bool


def prepare_run(
    config: Config, source: PythonData | None, progress: Progress, signals: Signals, member: SweepMember | None = None
) -> PreparedRun:
    """Prepares a run.

    Args:
        config: a checked configuration.
        source: replaces the source that `data` names. None: that source.
        progress: the progress display.
        signals: the signals that stop the training.
        member: the run as a member of a sweep. None: it runs alone.

    Raises:
        UserError: the user can fix the problem. No run folder was created.
    """
    if warning := find_unused_accelerator():
        progress.note(f"warning: {warning}")
    config = with_python_source(config, source)
    if config.values["resume"]:
        config = with_recorded_batch_size(
            config, find_run(Path(config.values["folder"]), config.values["resume"], "resume")
        )
    if member is None:
        check_folder(config)
    tracking, observers = build_tracking(config), build_observers(config)
    trainer = make_trainer(config, source, progress, signals)
    with errors_with_origin(config), error_location("weights"):
        weights_fingerprint = trainer.weights_source.fingerprint()
    weights_fingerprint += teacher_fingerprint(trainer.program_inputs.teacher)
    trainer.compile()
    size = trainer.training.batch_size
    folder, is_resumed = open_folder(config, trainer.data, weights_fingerprint, tracking, member, batch_size=size)
    config = with_recorded_batch_size(config, folder.path)
    if config.values["training"]["batch_size"] != size:  # of the interrupted run, when more or less memory was free
        try:
            trainer = make_trainer(config, source, progress, signals)
            trainer.compile()
        except BaseException:
            folder.close()
            raise
    is_new = not is_resumed and member is None and not config.values["fresh"]
    if is_new and (hint := find_other_length(config, trainer.data, weights_fingerprint)):
        progress.note(hint)
    LOG.info("the folder is %s", folder.path)
    return PreparedRun(config, trainer.data, tracking, observers, trainer, progress, folder, is_resumed)


def with_python_source(config: Config, source: PythonData | None) -> Config:
    """The configuration with the class of a source from Python, if there is one, in place of what `data` names.

    The configuration of a table from Python has a source already.
    """
    if source is None or isinstance(source, PythonTable):
        return config
    name = type(source).__name__
    return replace(config, values=config.values | {"data": {"given": name}}, choices=config.choices | {"data": name})


def build_tracking(config: Config) -> Any:
    """Builds the part that records the run. Raises UserError if its settings or its store are wrong."""
    with errors_with_origin(config):
        with error_location("tracking"):
            tracking = build(config.values["tracking"], {}, SCHEMA["tracking"])
        tracking.describe()
    return tracking


def build_observers(config: Config) -> Observers:
    """Builds the observers of a run. Raises UserError if one can't be built, or can't be called with an event."""
    with errors_with_origin(config):
        return Observers(build_group("observer", config.values, {}))


def make_trainer(config: Config, source: PythonData | None, progress: Progress, signals: Signals) -> Trainer:
    """Loads the data, and builds the program and its trainer. Raises UserError for problems that the user can fix."""
    with errors_with_origin(config):
        training = Training.from_config(config.values["training"])
        data, features = load_data(config, source, progress, training=training)
        if config.values["training"]["batch_size"] == AUTO:
            config = _choose_batch_size(config, data, features, progress, signals)
            training = Training.from_config(config.values["training"])
        data = limit_batches(data, training)
        slices = read_slices(config.values["metric_slices"], data, features, HELD_OUT)
        data = replace(data, source=None)
        release_unused_memory()  # the data that was read is encoded
        if training.limit_batches is not None and not config.values["quiet"]:
            sizes = ", ".join(f"{len(rows):,} rows of {split}" for split, rows in data.splits.items())
            progress.note(f"training.limit_batches={training.limit_batches}: {sizes}")
        _check_splits(data, training, config.values["calibrate"])
        teacher = load_teacher(config, data, features, progress.note)
        if teacher is not None:
            teacher.check_splits(data)
        program, numbers = make_program(config, features, data.constants, teacher and teacher.program)
        _scale_rate(numbers, training, progress)
        weights = build_weights(config, progress)
        with memory_error_location("preparing the first batch", READ_LESS):
            trainer = Trainer(
                program,
                data,
                training,
                numbers,
                teacher=teacher and teacher.inputs,
                weights=weights,
                progress=progress,
                signals=signals,
            )
        trainer.slices = slices
        _check_schedules(trainer)
        if config.values["mode"] != "find_lr":  # its run has another length and schedule
            _check_durations(config, trainer, progress)
        _note_update(config, trainer, progress)
        _note_weights(config, data, progress)
        _note_equal_views(trainer, progress)
        return trainer


def _choose_batch_size(config: Config, data: Data, features: Features, progress: Progress, signals: Signals) -> Config:
    """The configuration with the largest batch size that fits into the memory, which a line shows."""
    training = Training.from_config(config.values["training"])
    training = replace(training, drop_remainder=True)  # only whole batches are measured
    data = replace(data, source=None)
    sizes = list_sizes(len(data.splits["train"]), training.microbatches)
    _check_splits(data, replace(training, batch_size=sizes[0]), config.values["calibrate"])
    teacher = load_teacher(config, data, features, progress.note)
    program, numbers = make_program(config, features, data.constants, teacher and teacher.program)
    weights = build_weights(config, progress)

    def make(size: int) -> Trainer:
        return Trainer(
            program,
            data,
            replace(training, batch_size=size),
            numbers,
            teacher=teacher and teacher.inputs,
            weights=weights,
            progress=progress,
            signals=signals,
        )

    choice = choose_batch_size(make, sizes)
    if not config.values["quiet"]:
        progress.note(f"training.batch_size={AUTO} is {choice.size:,}: {choice.reason}")
    return config.with_batch_size(choice.size)


def _scale_rate(numbers: dict[str, np.ndarray], training: Training, progress: Progress) -> None:
    """Multiplies `learning_rate` by the batch size relative to `training.reference_batch_size`, which a line shows."""
    if training.rate_factor == 1:
        return
    rate = float(numbers["learning_rate"])
    numbers["learning_rate"] = np.asarray(rate * training.rate_factor, np.float32)
    ratio = f"{training.batch_size:,}/{training.reference_batch_size:,}"
    scaled = format_number(rate * training.rate_factor)
    progress.note(f"learning_rate is {scaled}: {format_number(rate)} * {ratio} (training.reference_batch_size)")


def _check_schedules(trainer: Trainer) -> None:
    """Raises LocatedError for a schedule of the run, or of a group of parameters, that doesn't fit the run's length."""
    schedules: dict[str, Schedule | None] = {"schedule": trainer.schedule}
    if trainer.parts.members.groups:
        name, grouping = trainer.parts.members.groups
        schedules |= {f"update.{name}.{key}.schedule": group.get("schedule") for key, group in grouping.groups.items()}
    for key, schedule in schedules.items():
        if schedule is not None and schedule.check is not None:
            with error_location(key):
                schedule.check(Clock(0, trainer.plan.schedule_steps_at(0), trainer.plan.steps_per_epoch))


def _note_weights(config: Config, data: Data, progress: Progress) -> None:
    """Prints a note if the mean weight of the training examples, which scales the objective, is far from 1."""
    if WEIGHT not in data.encoded or config.values["training"]["sampling"] == "weighted":
        return
    values = next(iter(data.encoded[WEIGHT].values()))
    mean = float(np.mean(np.asarray(values)[as_index(data.splits["train"])], dtype=np.float64))
    if MAX_MEAN_WEIGHT >= mean >= 1 / MAX_MEAN_WEIGHT:
        return
    node, remedy = config.values["feature"]["weight"], "Divide them by their mean."
    if isinstance(node, str):
        remedy = f"Write 'feature.weight={{_target_: {EXAMPLE_WEIGHT}, key: {node}, normalize: true}}'"
    elif node["_target_"] == EXAMPLE_WEIGHT:
        remedy = "Write feature.weight.normalize=true"
    progress.note(
        f"note: the weights of the training examples have a mean of {mean:.4g}, which multiplies train/loss and the "
        f"gradients. {remedy}"
    )


def _note_equal_views(trainer: Trainer, progress: Progress) -> None:
    """Prints a note if no augmentation changes the views of a row."""
    if trainer.program.features.views is not None and not trainer.parts.augmentations:
        progress.note(
            "note: there is no augmentation, so the views of a row are equal, but for dropout. Choose some, such as "
            "'augmentation=[crop,flip]' for images, or 'augmentation=[gaussian_noise]'"
        )


def _check_durations(config: Config, trainer: Trainer, progress: Progress) -> None:
    """Shows the durations that are longer than the run, such as a warm-up of 20 epochs in a run of 10.

    Raises UserError if parameters are frozen for less than half a step, so that they never are.
    """
    plan, freeze = trainer.plan, trainer.parts.members.freeze
    total, spanned = plan.total_steps, plan.schedule_steps_at(0)
    if plan.schedule_length is not None and spanned != total:
        text = (
            f"note: training.schedule_length={plan.schedule_length.written()} is {spanned:,} steps, and the run takes"
        )
        stays = f"; later steps keep its last learning rate, {_format_last_rate(trainer)}" if spanned < total else ""
        progress.note(f"{text} {total:,}{stays or _describe_last_rate(trainer)}")
    for key, duration in list_durations(config):
        freezes = freeze is not None and key.startswith(f"update.{freeze[0]}.")
        if plan.unfreeze_step == 0 and freezes:
            raise UserError(
                f"{key}: {duration.written()} is 0 of {total:,} steps, so nothing is frozen. Choose a longer time, "
                "such as 1st, or leave the member out."
            )
        steps = plan.count_steps(duration, total)
        if freezes and steps == total:
            progress.note(f"note: {key}={duration.written()} is the whole run, so the parameters stay frozen")
        if steps > total and duration.unit != "run":  # a share is at most 1
            length = f"note: {key}={duration.written()} is {steps:,} steps, and the run takes {total:,}"
            progress.note(length + (_describe_last_rate(trainer) if key.startswith("schedule.") else ""))
        if steps < total and key.startswith("schedule.") and key.endswith(".decay_steps"):
            _note_zero_rate(trainer, progress)


def _describe_last_rate(trainer: Trainer) -> str:
    """The end of a note about a schedule that the run ends before."""
    return f", so the learning rate of its last step is {_format_last_rate(trainer)}"


def _format_last_rate(trainer: Trainer) -> str:
    return format_number(float(sample_schedule(trainer)["learning_rate"][-1]))


def _note_zero_rate(trainer: Trainer, progress: Progress) -> None:
    """Shows if the learning rate is 0 before the end of the run, so that the last steps change nothing."""
    total, zero = trainer.plan.total_steps, find_zero_tail(sample_schedule(trainer))
    if zero is not None:
        text = f"the learning rate is 0 from about step {zero:,} of {total:,} on, so later steps change nothing"
        progress.note(f"note: {text}. Set schedule.final, or a longer schedule.decay_steps.")


def _note_update(config: Config, trainer: Trainer, progress: Progress) -> None:
    """Shows how many parameters are trained if some are frozen, and what has little effect or none."""
    rows = len(trainer.data.splits["train"])
    members, parameters = trainer.parts.members, trainer.state_shapes.parameters
    frozen_until = trainer.plan.frozen_until
    if members.freeze is not None and not config.values["quiet"]:
        frozen = find_frozen(members.freeze, parameters, unfrozen=False).parameters
        free = select(parameters, lambda path: path not in frozen)
        until = "" if frozen_until is None else f" until {frozen_until.written()}"
        counts = f"{count_elements(free):,} of {count_elements(parameters):,} parameters"
        progress.note(f"update.{members.freeze[0]}: {counts} are trained{until}: {join_names(list_paths(free))}")
    if members.groups is not None and not members.groups[1].groups:
        name = f"update.{members.groups[0]}"
        example = f"'{name}.body={{paths: [architecture/dense_0], rate: 0.1}}'"
        progress.note(f"note: {name} has no group, so it changes nothing. Add one, such as {example}")
    if members.averaging is not None:
        name, member = members.averaging
        if text := describe_plan(f"update.{name}", member, trainer.plan):
            progress.note(text)
    for text in (*find_weak_lookahead(config.values), *find_optimizer_notes(config.values, rows)):
        progress.note(f"note: {text}")
    if members.freeze is None or frozen_until is not None:
        return
    frozen, without_effect = find_frozen(members.freeze, parameters, unfrozen=False).parameters, []
    if members.groups is not None:
        assigned = members.groups[1].assign(list_paths(parameters))
        used = {group for path, group in assigned.items() if path not in frozen}
        without_effect += [f"update.{members.groups[0]}.{group}" for group in members.groups[1].groups.keys() - used]
    if trainer.program.is_compiled:  # tracing would call prints and breakpoints of parts with arrays without values
        for name in trainer.parts.constraints:
            changed = list_changed(partial(apply_constraint, trainer.parts, name), parameters)
            if changed and changed <= frozen:
                without_effect.append(f"constraint.{name}")
    for name in sorted(without_effect):
        progress.note(f"note: {name} changes nothing, because update.{members.freeze[0]} freezes its parameters")


def load_data(
    config: Config,
    source: PythonData | None,
    progress: Progress,
    constants: Mapping[str, Constants] | None = None,
    training: Training | None = None,
) -> tuple[Data, Features]:
    """Loads and encodes the data, from the cache if it has the same configuration, rows and code.

    Args:
        config: a checked configuration.
        source: replaces the source that `data` names, without the cache. None: that source.
        progress: the progress display.
        constants: the constants of the columns and targets of a finished run. None: they are fitted.
        training: the settings that decide about the order of the training examples. None: they aren't ordered.

    Returns:
        The encoded data, and the columns and the target that encode it.
    """
    operations, examples = build_operations(config.values["operations"]), config.values["examples"]
    features = Features.from_config(config.values["feature"], examples)
    nodes = [config.values["data"], config.values["feature"], config.values["operations"]]
    keys = [] if features.examples is None else [sorted(features.example_keys)]  # not their sizes: rows are the same
    identity = json.dumps([nodes, digest_code(part_packages([*nodes, examples])), *keys], sort_keys=True)
    fold = None if config.values["fold"] is None else (config.values["folds"], config.values["fold"])
    with progress.working("preparing the data"):
        cache = cache_folder() if source is None else None
        options: dict[str, Any] = {}
        remedies: AbstractContextManager[None] = nullcontext()  # `data` has no keys of a source from Python
        if source is None or isinstance(source, PythonTable):
            remedies = located_settings("data")
            with error_location("data"), download_suggested():
                node, options = separate_options(config.values["data"], operations)
                source = build_source(node) if source is None else source.make_source(node)
        with error_location("data"):
            operated = operate(source, operations, kept=take_rows(config.suggestion), **options)
        explained = explain_computed_columns(config.values["data"], operations)
        with memory_error_location("preparing the data", READ_LESS), remedies, download_suggested(), explained:
            try:
                data = load_encoded(
                    operated,
                    features,
                    identity=identity,
                    cache=cache,
                    fold=fold,
                    constants=constants,
                    needs_files=training is not None and training.interleave is not None,
                    needs_sources=training is not None and bool(training.source_weights),
                )
            except MissingColumnError as error:
                default = find_options().files["feature"][str(read_default_options()["feature"])]
                places = tuple(f"{key}." for key in error.keys)
                origins = {origin for key, origin in config.origins.items() if f"{key}.".startswith(places)}
                if origins != {display_path(default)}:
                    raise
                remedy = "Write a feature file with the target and the columns, conf/feature/NAME.yaml"
                raise UserError(f"{error} The command chooses no columns. {remedy}, and add feature=NAME.") from error
            except DataError as error:
                if config.suggestion is not None and error.missing is not None:  # otherwise a feature file has the name
                    dropped = [*(config.values["data"].get("drop") or ()), error.missing]
                    drop = Remedy(f"leave it out: set {format_override('data.drop', dropped)}", "leaving_out")
                    error.replace_remedies(drop if each.changes == drop.changes else each for each in error.remedies)
                raise
    LOG.info("the data is ready")
    warnings = _leave_out_settled(data.warnings, config)
    if "given" not in config.values["data"]:
        warnings = [locate_settings(warning, "data") for warning in warnings]
    return replace(data, warnings=tuple(warnings)), features


def _leave_out_settled(warnings: Sequence[str], config: Config) -> list[str]:
    """The warnings without those that advise to set a key of `feature` that the configuration sets to null."""
    leaves = iterate_leaves(config.values["feature"], ("feature",))
    settled = [join_path(path) for path, value in leaves if value is None]
    return [warning for warning in warnings if not any(f" {key}=" in warning for key in settled)]


def limit_batches(data: Data, training: Training) -> Data:
    """The data with at most `training.limit_batches` batches of rows in each split. They are the same for any seed."""
    if training.limit_batches is None:
        return data
    count = training.limit_batches * training.batch_size
    splits = {split: np.sort(epoch_order(rows, 0, 0)[:count]) for split, rows in data.splits.items()}
    return replace(data, splits=splits)


def _check_splits(data: Data, training: Training, calibrate: str | None) -> None:
    """Raises UserError for settings that the splits don't allow."""
    rows = len(data.splits["train"])
    if training.batch_size > rows:
        raise UserError(
            f"training.batch_size={training.batch_size} is larger than the training split. Choose at most {rows}."
        )
    if (steps := training.total_steps(rows)) > MAX_STEPS:
        limit = "epochs" if training.steps is None else "steps"
        value = getattr(training, limit)
        raise UserError(f"training.{limit}={value} makes {steps:,} steps. At most {MAX_STEPS:,} are allowed.")
    needed = {
        f"training.monitor={training.monitor}": (training.monitor.partition("/")[0], "training.monitor=train/loss")
    }
    if calibrate is not None:
        needed[f"calibrate={calibrate}"] = CALIBRATION_SPLIT, "calibrate=null"
    for setting, (split, remedy) in needed.items():
        if split not in data.splits:
            raise UserError(
                f"{setting}: the data has no split {split}, only {', '.join(data.splits)}. Hold some rows out with "
                f"data.{split}=0.1, or set {remedy}."
            )


def build_weights(config: Config, progress: Progress) -> Weights:
    """Builds the part that gives the initial weights. Those of a run are loaded."""
    with error_location("weights"):
        weights: Weights = build(config.values["weights"], {}, SCHEMA["weights"])
        if not isinstance(weights, NeedsRun):
            return weights
        with error_location("weights.run"):
            folder = find_run(Path(config.values["folder"]), os.path.expanduser(weights.run), "weights.run")
            variables = load_architecture_weights(folder, progress.note)
        return weights.bind(variables)
