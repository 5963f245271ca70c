"""`mode=find_lr`: the learning rate range test (Smith, 2017). The weights that it trains are not kept."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.closest import join_names
from runner.config.config import Config
from runner.config.overrides import format_command
from runner.config.provenance import errors_with_origin
from runner.display.numbers import format_number
from runner.display.progress import Progress, make_progress
from runner.display.report import record_lines
from runner.display.tables import Section, print_tables
from runner.errors import LocatedError, error_location
from runner.execution.open_folder import create_mode_folder
from runner.execution.prepare import build_tracking, make_trainer
from runner.execution.weights_needs import with_weights_needs
from runner.figures.curves import LOSS, RATE, SMOOTHED_LOSS, SUGGESTED
from runner.log import LOG
from runner.override_text import overridden_key
from runner.platform import cache_folder, start_jax
from runner.record.outbox import Outbox, write_checkpointed_size
from runner.run_folder import FIND_LR, check_root, write_summary
from runner.signature.build import build
from runner.signature.schema import SCHEMA
from runner.tracking import DELIVERY_SECONDS, describe_view, note_missing
from runner.training.signals import Signals

if TYPE_CHECKING:
    from runner.training.trainer import Trainer

MIN_STEPS, MAX_STEPS = 100, 500  # of a ramp whose length isn't set
EXPLODED = 4.0  # a smoothed loss of so many times the lowest one ends the ramp
BEFORE_MINIMUM = 10.0  # the suggested rate is so many times smaller than that of the lowest loss
ROWS_PER_DECADE = 2  # of the printed table


@dataclass(frozen=True)
class Ramp:
    """The loss of each step, while the learning rate rises.

    Attributes:
        rates: the learning rates, (steps,).
        losses: what the steps minimize, (steps,). The last one may be NaN or infinite.
        smoothed: their mean with exponentially falling weights, (steps,).
        end: why it ended.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    end: str

    @property
    def lowest(self) -> int:
        """The step with the lowest smoothed loss."""
        return int(np.nanargmin(self.smoothed))

    @property
    def has_fallen(self) -> bool:
        """Whether the smoothed loss has fallen by more than the noise of the first third of the steps."""
        first = len(self.losses) // 10
        if first < 2 or self.lowest <= first:
            return False
        noise = np.diff(self.losses[: len(self.losses) // 3]).std() / math.sqrt(2)
        return bool(self.smoothed[first] - self.smoothed[self.lowest] > noise)

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest with the logarithm of the rate.

        The first tenth of the steps is left out, whose means are of few losses.
        """
        part = slice(len(self.losses) // 10, self.lowest + 1)
        slopes = np.gradient(self.smoothed[part], np.log(self.rates[part]))
        return float(self.rates[part][np.argmin(slopes)])

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate with the lowest smoothed loss, with two digits; None: the loss hasn't fallen."""
        return float(f"{self.rates[self.lowest] / BEFORE_MINIMUM:.1e}") if self.has_fallen else None


def command(config: Config) -> int:
    """Runs the ramp, prints and records it, and suggests a learning rate. Returns the exit code."""
    check_root(Path(config.values["folder"]))
    start_jax(cache_folder())
    tracking, quiet = build_tracking(config), config.values["quiet"]
    with contextlib.closing(make_progress(quiet=quiet)) as progress:
        with errors_with_origin(config), error_location("schedule"):
            build(config.values["schedule"], {}, SCHEMA["schedule"])  # the ramp has it at another key
        config = with_weights_needs(config, progress.note)
        trainer = make_trainer(_replace_schedule(config), None, progress, Signals())
        for text in trainer.data.messages:
            progress.note(text)
        with errors_with_origin(config):
            steps = _prepare(trainer, config, progress)
            with progress.working(f"raising the learning rate in {steps:,} steps"):
                ramp = run_ramp(trainer, steps, config.values["find_lr"]["decay"])
        with contextlib.closing(create_mode_folder(config, trainer.data, FIND_LR, tracking.describe())) as folder:
            _record(folder.path, ramp)
            delivery = tracking.start(folder.path)
            delivery.close(DELIVERY_SECONDS)
            if note := delivery.describe_missing():
                LOG.info(note)
                note_missing(note, progress, quiet=quiet)
    if not quiet:
        view = describe_view(folder.path, tracking.describe())
        facts = [*_describe_result(ramp, config), ("folder", str(folder.path)), *record_lines(view)]
        print_tables([Section("", list(_table_rows(ramp)), right_columns=(1, 2))], facts)
    return 0


def run_ramp(trainer: Trainer, steps: int, decay: float) -> Ramp:
    """Takes up to `steps` steps, and reads the loss after each.

    Args:
        trainer: a trainer whose schedule is the ramp, and whose program takes one step a dispatch.
        steps: the number of steps.
        decay: the share that the smoothed loss keeps of its last value at each step.

    Raises:
        LocatedError: the first loss isn't finite.
    """
    points: list[tuple[float, float, float]] = []
    mean, end = 0.0, f"find_lr.max_rate, after {steps:,} steps"
    for rate, loss in _iterate_losses(trainer, steps):
        mean = decay * mean + (1 - decay) * loss
        corrected = mean / (1 - decay ** (len(points) + 1))  # as `mean` starts at 0
        points.append((rate, loss, corrected))
        if not math.isfinite(loss):
            end = f"the loss is {loss:g} in step {len(points):,}, with the learning rate {format_number(rate, 2)}"
            break
        lowest = min(smoothed for _, _, smoothed in points)
        if corrected - lowest > (EXPLODED - 1) * abs(lowest):
            end = f"the loss is {EXPLODED:g} times its lowest value, after {len(points):,} steps"
            break
    rates, losses, smoothed = np.array(points).T
    if not np.isfinite(losses[0]):
        raise LocatedError(
            "find_lr.min_rate",
            f"the loss is {losses[0]:g} in the first step, with the learning rate {rates[0]:g}, so no rate is small "
            "enough: another part of the run is wrong. Look for extreme values in the data (mode=look).",
        )
    return Ramp(rates, losses, smoothed, end)


def _iterate_losses(trainer: Trainer, steps: int) -> Iterator[tuple[float, float]]:
    """Yields the learning rate and the objective of each step."""
    import jax

    from runner.program.metric_sums import LAST, add_sums

    for sums in trainer.take_steps(trainer.initial_state(), steps):
        read = add_sums({}, [jax.device_get(sums)], trainer.metrics)
        metrics = trainer.compute_metrics(read, "train")
        yield float(read[LAST][RATE]), metrics.get("train/objective", metrics["train/loss"])


def _replace_schedule(config: Config) -> Config:
    """The configuration whose schedule is the ramp, and whose steps are all of one size and never stop the run."""
    ramp = {key: config.values["find_lr"][key] for key in ("min_rate", "max_rate")}
    training = {"on_nan": "continue", "drop_remainder": True, "profile": False, "patience": None}
    trees = []
    for tree in (config.values, config.raw):
        schedule = {"_target_": "components.schedule.range_test", "schedule": tree["schedule"], **ramp}
        trees.append(tree | {"schedule": schedule, "training": tree["training"] | training})
    return replace(config, values=trees[0], raw=trees[1])


def _prepare(trainer: Trainer, config: Config, progress: Progress) -> int:
    """Makes the run of a trainer as long as the ramp, and compiles its step. Returns the number of steps."""
    epoch, size = trainer.plan.steps_per_epoch, trainer.training.batch_size
    steps = config.values["find_lr"]["steps"] or min(max(epoch, MIN_STEPS), MAX_STEPS)
    trainer.plan = replace(trainer.plan, total_steps=steps, turns={}, schedule_length=None)
    trainer.steps_per_dispatch = 1
    if steps > epoch:
        progress.note(f"note: the ramp sees the {epoch * size:,} training examples {steps / epoch:.2g} times")
    groups = trainer.parts.members.groups
    own = [name for name, group in groups[1].groups.items() if group.get("schedule")] if groups else []
    if own:
        progress.note(f"note: {join_names(own)} of update.{groups and groups[0]} keep their own schedules")
    trainer.compile()
    return steps


def _record(folder: Path, ramp: Ramp) -> None:
    """Writes the points and the summary, from which the figure is drawn."""
    outbox = Outbox(folder)
    with contextlib.closing(outbox):
        for step, (rate, loss, smoothed) in enumerate(zip(ramp.rates, ramp.losses, ramp.smoothed, strict=True), 1):
            outbox.add(step, {RATE: rate, LOSS: loss, SMOOTHED_LOSS: smoothed})
        write_checkpointed_size(folder, outbox.flush())
    metrics = {} if ramp.suggestion is None else {SUGGESTED: ramp.suggestion}
    write_summary(folder, {"status": "finished", "run_id": None, "metrics": metrics, "ended_by": ramp.end})


def _table_rows(ramp: Ramp) -> Iterator[tuple[str, ...]]:
    """The heading, and a row every half decade, for the lowest smoothed loss, and for the last step."""
    yield RATE.replace("_", " "), "loss", "smoothed"
    decades = np.floor(ROWS_PER_DECADE * np.log10(ramp.rates / ramp.rates[0]) + 1e-3)
    shown = {*np.unique(decades, return_index=True)[1].tolist(), ramp.lowest, len(ramp.rates) - 1}
    for step in sorted(shown):
        mark = "  the lowest" if step == ramp.lowest else ""
        yield f"{ramp.rates[step]:.2g}{mark}", format_number(ramp.losses[step]), format_number(ramp.smoothed[step])


def _describe_result(ramp: Ramp, config: Config) -> Iterator[tuple[str, str]]:
    """Pairs of a name and a text: why the ramp ended, the suggested rate, and the command that uses it."""
    yield "ended by", ramp.end
    if ramp.suggestion is None:
        remedy = "Choose a smaller find_lr.min_rate, or check that the model can overfit one batch."
        yield "suggestion", f"none, because the smoothed loss falls by no more than its noise. {remedy}"
        return
    yield "suggestion", f"{ramp.suggestion:g}, a tenth of the learning rate with the lowest smoothed loss"
    if ramp.lowest == len(ramp.rates) - 1:
        yield "", "The loss still falls at the end. Choose a larger find_lr.max_rate."
    yield "steepest", f"{ramp.steepest:.2g}, where the smoothed loss falls fastest"
    kept = [each for each in config.overrides if overridden_key(each).partition(".")[0] not in ("mode", FIND_LR)]
    kept = [each for each in kept if overridden_key(each) != RATE]
    yield "command", format_command([*kept, f"{RATE}={ramp.suggestion:g}"])
