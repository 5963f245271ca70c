"""A dry run in its order: what needs nothing compiled comes first, and what needs memory comes last."""

from __future__ import annotations

import contextlib

from runner import memory as memories
from runner import platform
from runner.config.config import Config
from runner.display.progress import Progress, make_progress
from runner.execution.prepare import build_tracking, make_trainer
from runner.modes.dry_run import tables
from runner.modes.dry_run.compiling import evaluation, training_step
from runner.modes.dry_run.layers import layers
from runner.modes.dry_run.memory import Memory, by_shapes
from runner.modes.dry_run.pace import pace
from runner.modes.dry_run.page import Page
from runner.modes.dry_run.subject import Subject
from runner.modes.dry_run.verdict import Verdict
from runner.platform import cache_folder
from runner.terminal import on_terminal
from runner.training.signals import Signals

PATIENCE = 6.0  # seconds of compiling after which the evaluation isn't compiled too


def tell(config: Config, page: Page) -> None:
    """Prints all but the values; raises UserError as a run would, RunError where the device has too little memory."""
    platform.start_jax(cache_folder())
    if warning := platform.find_unused_accelerator():
        page.note(f"warning: {warning}")
    with contextlib.closing(_progress(config)) as shown:
        subject = Subject(make_trainer(config, None, shown, Signals()))
        build_tracking(config)  # what is wrong with it would stop the run too
    for text in subject.trainer.data.warnings:
        page.note(f"warning: {text}")
    like, batch_size = subject.like, subject.batch_size
    rows, (batch, _) = layers(subject.forward, like.parameters, like.model_state, subject.encoded(batch_size))
    page.section(f"a batch of {batch_size}", tables.inputs(subject, batch), heading=tables.INPUTS)
    page.section("splits", tables.splits(subject))
    title = f"layers: output of {batch_size} examples, multiply-adds of one, forward in training"
    page.section(title, tables.layer_table(rows, batch_size), heading=tables.LAYERS, right=(3, 4, 5))
    memory = by_shapes(subject, rows)
    page.section("memory by shapes", tables.memory_table(memory, subject), right=(1,))
    work = sum(row.multiply_adds for row in rows) * subject.trainer.evaluation_batch_size / batch_size
    _compile(config, page, subject, memory, work)


def _compile(config: Config, page: Page, subject: Subject, memory: Memory, work: float) -> None:
    """What compiling tells, and then the time; `work`: multiply-adds of an evaluation's batch."""
    verdict = Verdict(subject, memory, memories.free_memory(), page.note)
    verdict.of_held()
    with contextlib.closing(_progress(config)) as shown:
        with shown.working("compiling the training step"), verdict.of_compiler():
            step = training_step(subject)
        judged = None
        if step.seconds < PATIENCE and (split := subject.evaluated) is not None:
            with shown.working("compiling the evaluation"):
                judged = evaluation(subject, split)
    evaluated = judged and judged[0]
    page.section("compiling", tables.compile_table(subject, step, evaluated))
    page.section("memory as compiled", tables.compiled_memory(verdict, step, evaluated), right=(1,))
    verdict.of_compiled(step, evaluated)
    seconds = step.seconds + (evaluated.seconds if evaluated else 0.0)
    with memories.memory_error_location(
        "measuring the steps", "Try a smaller training.batch_size, or a smaller model."
    ):
        found = pace(subject, step, judged, work)
    page.section(f"time, {found.basis}", tables.time_table(found, subject, seconds), right=(1,))


def _progress(config: Config) -> Progress:
    """Shows on a terminal what takes its time; elsewhere the sections say it."""
    quiet = config.values["quiet"] or not on_terminal()
    return make_progress(quiet=quiet, epochs=config.values["training"]["epochs"])
