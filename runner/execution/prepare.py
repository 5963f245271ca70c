"""Prepares a run: loads data, builds the program and the trainer, then creates the run folder.

The folder comes last, so that a configuration error leaves no folder behind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.closest import join_names
from components.types import Clock, ModelWeights, NeedsFields, Schedule, UserError, Weights, as_index
from runner.config.check_update import find_weak_lookahead
from runner.config.config import Config
from runner.config.optimizer_notes import find_optimizer_notes
from runner.config.provenance import errors_with_origin
from runner.config.scalars import list_durations
from runner.config.settings import AUTO, Training
from runner.data.encode import WEIGHT
from runner.data.load import EXAMPLE_WEIGHT, Data, Features
from runner.data.python_rows import PythonData, PythonTable
from runner.data.slices import read_slices
from runner.data.training_order import limit_batches
from runner.display.numbers import format_number
from runner.display.progress import Progress
from runner.errors import error_location
from runner.execution.open_folder import (
    SweepMember,
    check_folder,
    find_other_length,
    open_folder,
    with_recorded_batch_size,
)
from runner.execution.programs import make_program
from runner.execution.run_data import READ_LESS, load_data
from runner.execution.run_weights import RunLoader
from runner.execution.teacher import load_teacher, teacher_fingerprint
from runner.execution.weights_needs import iterate_sources, with_weights_needs
from runner.log import LOG
from runner.memory import memory_error_location
from runner.platform import find_unused_accelerator, release_unused_memory
from runner.program.freeze import find_frozen
from runner.program.initial_weights import list_architecture_variables
from runner.program.objective import apply_constraint
from runner.program.parts import build_group
from runner.program.trees import count_elements, list_changed, list_paths, select
from runner.run_folder import RunFolder, find_run, has_checkpoint
from runner.signature.build import build
from runner.signature.schema import SCHEMA
from runner.training.averaging import describe_plan
from runner.training.batch_size import choose_batch_size, list_sizes
from runner.training.calibration import SPLIT as CALIBRATION_SPLIT
from runner.training.observers import Observers
from runner.training.rate_curve import find_zero_tail, sample_schedule
from runner.training.signals import Signals
from runner.training.trainer import Trainer

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
    config = with_weights_needs(with_python_source(config, source), partial(_note_once, progress, member))
    with_weights = True
    if config.values["resume"]:
        resumed = find_run(Path(config.values["folder"]), config.values["resume"], "resume")
        config, with_weights = with_recorded_batch_size(config, resumed), not has_checkpoint(resumed)
    if member is None:
        check_folder(config)
    tracking, observers = build_tracking(config), build_observers(config)
    trainer = make_trainer(config, source, progress, signals, with_weights=with_weights)
    with errors_with_origin(config), error_location("weights"):
        weights_fingerprint = "" if trainer.weights_source is None else trainer.weights_source.fingerprint()
    weights_fingerprint += teacher_fingerprint(trainer.program_inputs.teacher)
    trainer.compile()
    size = trainer.training.batch_size
    folder, is_resumed = open_folder(config, trainer.data, weights_fingerprint, tracking, member, batch_size=size)
    config = with_recorded_batch_size(config, folder.path)
    if config.values["training"]["batch_size"] != size:  # of the interrupted run, when more or less memory was free
        try:
            trainer = make_trainer(config, source, progress, signals, with_weights=with_weights)
            trainer.compile()
        except BaseException:
            folder.close()
            raise
    is_new = not is_resumed and member is None and not config.values["fresh"]
    if is_new and (hint := find_other_length(config, trainer.data, weights_fingerprint)):
        progress.note(hint)
    LOG.info("the folder is %s", folder.path)
    return PreparedRun(config, trainer.data, tracking, observers, trainer, progress, folder, is_resumed)


def _note_once(progress: Progress, member: SweepMember | None, text: str) -> None:
    """Prints a line for the user, unless another run of the sweep has printed it."""
    printed = set[str]() if member is None else member.printed_messages
    if text not in printed:
        progress.note(text)
        printed.add(text)


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


def make_trainer(
    config: Config,
    source: PythonData | None,
    progress: Progress,
    signals: Signals,
    *,
    with_weights: bool = True,
) -> Trainer:
    """Loads the data, and builds the program and its trainer.

    Args:
        config: a checked configuration.
        source: replaces the source that `data` names. None: that source.
        progress: the progress display.
        signals: the signals that stop the training.
        with_weights: whether the trainer gets its initial weights. One that goes on from a checkpoint needs none.

    Raises:
        UserError: the user can fix the problem.
    """
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
        with memory_error_location("preparing the first batch", READ_LESS):
            trainer = Trainer(
                program,
                data,
                training,
                numbers,
                teacher=teacher and teacher.inputs,
                progress=progress,
                signals=signals,
            )
        if with_weights:
            set_weights(trainer, config, progress, source)
        trainer.slices = slices
        _note_changed_weights(config, trainer, progress)
        if trainer.plan.total_steps:  # otherwise no schedule is read
            _check_schedules(trainer)
        if config.values["mode"] != "find_lr" and trainer.plan.total_steps:  # find_lr has another length and schedule
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

    def make(size: int) -> Trainer:
        return Trainer(
            program,
            data,
            replace(training, batch_size=size),
            numbers,
            teacher=teacher and teacher.inputs,
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


def _note_changed_weights(config: Config, trainer: Trainer, progress: Progress) -> None:
    """Shows which weights of a file are changed to fit the images. A resumed run doesn't need the file."""
    if config.values["resume"] or config.values["quiet"] or trainer.weights_source is None:
        return
    for key, source in iterate_sources(trainer.weights_source):
        if isinstance(source, NeedsFields):
            shapes = list_architecture_variables(trainer.state_shapes)
            with error_location(key):
                changes = source.describe_changes(shapes, trainer.parts.model.architecture)
            if changes is not None:
                progress.note(f"weights: {changes}")


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
        if freezes and 0 in plan.unfreeze_steps.values() and plan.count_steps(duration, total) == 0:
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
    turns = trainer.plan.turns
    if members.freeze is not None and not config.values["quiet"]:
        frozen = find_frozen(members.freeze, parameters).parameters
        free = select(parameters, lambda path: path not in frozen)
        ends = [f"{until.written()} ({name})" if name else str(until.written()) for name, until in turns.items()]
        until = f" until {', '.join(ends)}" if ends else ""
        counts = f"{count_elements(free):,} of {count_elements(parameters):,} parameters"
        progress.note(f"update.{members.freeze[0]}: {counts} are trained{until}: {join_names(list_paths(free))}")
    if members.groups is not None and not members.groups[1].groups:
        name = f"update.{members.groups[0]}"
        example = f"'{name}.body={{paths: [architecture/dense_0], rate: 0.1}}'"
        progress.note(f"note: {name} has no group, so it changes nothing. Add one, such as {example}")
    if members.averaging is not None:
        name, member = members.averaging
        if trainer.plan.total_steps and (text := describe_plan(f"update.{name}", member, trainer.plan)):
            progress.note(text)
    for text in (*find_weak_lookahead(config.values), *find_optimizer_notes(config.values, rows)):
        progress.note(f"note: {text}")
    if members.freeze is None or turns:
        return
    frozen, without_effect = find_frozen(members.freeze, parameters).parameters, []
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
    monitored = training.monitor.partition("/")[0], "training.monitor=train/loss"
    needed = {f"training.monitor={training.monitor}": monitored} if steps else {}  # without steps, it decides nothing
    if calibrate is not None:
        needed[f"calibrate={calibrate}"] = CALIBRATION_SPLIT, "calibrate=null"
    for setting, (split, remedy) in needed.items():
        if split not in data.splits:
            raise UserError(
                f"{setting}: the data has no split {split}, only {', '.join(data.splits)}. Hold some rows out with "
                f"data.{split}=0.1, or set {remedy}."
            )


def set_weights(trainer: Trainer, config: Config, progress: Progress, source: PythonData | None = None) -> None:
    """Gives a trainer the initial weights that `weights` names. Those of finished runs are loaded."""
    loader = RunLoader(config, trainer.program.features, trainer.data, source, progress)
    with error_location("weights"):
        weights: Weights = build(config.values["weights"], {}, SCHEMA["weights"])
        trainer.set_weights(weights.bind(loader) if isinstance(weights, ModelWeights) else weights)
    for text in loader.list_notes(trainer.initial_weights):
        progress.note(text)
