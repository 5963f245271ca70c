"""The sections of a dry run in their order: first by shapes, then as compiled, last as measured."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import runner.memory
from runner.config.config import Config
from runner.display.progress import Progress, make_progress
from runner.display.tables import Row, Section, write_tables
from runner.execution.prepare import build_tracking, make_trainer
from runner.memory import memory_error_location
from runner.modes.dry_run import tables
from runner.modes.dry_run.abstract_run import AbstractRun
from runner.modes.dry_run.layers import trace_layers
from runner.modes.dry_run.memory import Memory, MemoryCheck, estimate_memory
from runner.modes.dry_run.timing import compile_evaluation, compile_training_step, measure_pace
from runner.platform import cache_folder, find_unused_accelerator, start_jax
from runner.terminal import on_terminal, write_line
from runner.training.signals import Signals

PATIENCE = 6.0  # seconds of compiling after which the evaluation isn't compiled too


class Page:
    """Prints section after section, each at once; nothing if quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def section(
        self, title: str, rows: Iterable[Row], *, heading: Row | None = None, right: Sequence[int] = ()
    ) -> None:
        """Prints a table below its title, unless it has no rows; `right`: the columns that are numbers."""
        if not self._quiet:
            write_tables([Section(title, [*([heading] if heading else []), *rows], heading is not None, right)])

    def note(self, text: str) -> None:
        """Prints a line."""
        if not self._quiet:
            write_line(text)


def print_dry_run(config: Config) -> None:
    """Prints all sections behind the values.

    Raises:
        UserError: for the errors that a run would raise.
        RunError: the device has too little memory.
    """
    page = Page(quiet=config.values["quiet"])
    start_jax(cache_folder())
    if warning := find_unused_accelerator():
        page.note(f"warning: {warning}")
    with contextlib.closing(_make_progress(config)) as progress:
        run = AbstractRun(make_trainer(config, None, progress, Signals()))
        build_tracking(config)  # it raises where its configuration would stop the run
    for warning in run.trainer.data.warnings:
        page.note(f"warning: {warning}")
    like, batch_size = run.like, run.batch_size
    layers, (batch, _) = trace_layers(run.forward, like.parameters, like.model_state, run.encoded(batch_size))
    page.section(f"a batch of {batch_size}", tables.input_rows(run, batch), heading=tables.INPUTS)
    page.section("splits", tables.split_rows(run))
    title = f"layers: output of {batch_size} examples, multiply-adds of one, forward in training"
    page.section(title, tables.layer_rows(layers, batch_size), heading=tables.LAYERS, right=(3, 4, 5))
    memory = estimate_memory(run, layers)
    page.section("memory by shapes", tables.memory_rows(memory, run), right=(1,))
    forward = sum(layer.multiply_adds for layer in layers) * run.trainer.evaluation_batch_size / batch_size
    _print_compiled(config, page, run, memory, forward)


def _print_compiled(config: Config, page: Page, run: AbstractRun, memory: Memory, forward: float) -> None:
    """Compiles, and prints memory and time; `forward`: multiply-adds of an evaluation's batch."""
    check = MemoryCheck(run, memory, runner.memory.measure_free_memory(), page.note)
    check.check_held()
    evaluation = None
    with contextlib.closing(_make_progress(config)) as progress:
        with progress.working("compiling the training step"), check.compiler_error_location():
            step = compile_training_step(run)
        if step.seconds < PATIENCE and (split := run.evaluated_split) is not None:
            with progress.working("compiling the evaluation"):
                evaluation = compile_evaluation(run, split)
    program = evaluation and evaluation[0]
    page.section("compiling", tables.compile_rows(run, step, program))
    page.section("memory as compiled", tables.compiled_memory_rows(check, step, program), right=(1,))
    check.check_compiled(step, program)
    with memory_error_location("measuring the steps", "Try a smaller training.batch_size, or a smaller model."):
        pace = measure_pace(run, step, evaluation, forward)
    compiling = step.seconds + (program.seconds if program else 0.0)
    page.section(f"time, {pace.basis}", tables.time_rows(pace, run, compiling), right=(1,))


def _make_progress(config: Config) -> Progress:
    """Shows slow work on a terminal; elsewhere nothing, since the sections follow."""
    quiet = config.values["quiet"] or not on_terminal()
    return make_progress(quiet=quiet, epochs=config.values["training"]["epochs"])
