"""Prints the sections of a dry run: first from shapes, then of the compiled programs, last the measured times."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import runner.memory
from runner.config.config import Config
from runner.display.progress import Progress, make_progress
from runner.display.tables import Row, Section, shorten_section, write_tables
from runner.execution.prepare import build_observers, build_tracking, make_trainer
from runner.execution.weights_needs import with_weights_needs
from runner.memory import count_bytes, memory_error_location
from runner.modes.dry_run import tables
from runner.modes.dry_run.abstract_run import AbstractRun
from runner.modes.dry_run.layers import trace_layers
from runner.modes.dry_run.memory import MemoryCheck, MemoryEstimate, estimate_memory
from runner.modes.dry_run.timing import compile_evaluation, compile_training_step, measure_pace
from runner.platform import cache_folder, find_unused_accelerator, start_jax
from runner.terminal import on_terminal, write_line
from runner.training.precompile import check_longest_lists
from runner.training.signals import Signals
from runner.training.trainer import TRAINING_STEP

MAX_COMPILE_SECONDS = 6.0  # if compiling the training step takes longer, the evaluation is not compiled


class Page:
    """Prints sections as soon as they are known; nothing if quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def print_section(
        self,
        title: str,
        rows: Iterable[Row],
        *,
        heading: Row | None = None,
        right: Sequence[int] = (),
        is_cut: bool = False,
    ) -> None:
        """Prints a title and a table.

        Args:
            title: the title.
            rows: the rows below the heading.
            heading: the heading of the columns. None: there is none.
            right: the positions of the columns that are aligned to the right.
            is_cut: whether only the first and the last rows of a long table are printed.
        """
        section = Section(title, [*([heading] if heading else []), *rows], heading is not None, right)
        if not self._quiet:
            write_tables([shorten_section(section) if is_cut else section])

    def print_note(self, text: str) -> None:
        """Prints a line."""
        if not self._quiet:
            write_line(text)


def print_dry_run(config: Config) -> Config:
    """Prints all sections but that of the values.

    Returns:
        The configuration with the values that pretrained weights set.

    Raises:
        UserError: the run itself would raise this error.
        RunError: the device has too little memory.
    """
    page = Page(quiet=config.values["quiet"])
    start_jax(cache_folder())
    if warning := find_unused_accelerator():
        page.print_note(f"warning: {warning}")
    with contextlib.closing(_make_progress(config)) as progress:
        config = with_weights_needs(config, page.print_note)
        # The run itself would raise the errors of these.
        build_tracking(config)
        build_observers(config)
        run = AbstractRun(make_trainer(config, None, progress, Signals()))
    for text in run.trainer.data.messages:
        page.print_note(text)
    shapes, batch_size = run.state_shapes, run.batch_size
    encoded = run.encoded_shapes(batch_size)
    layers, (batch, _) = trace_layers(run.forward, shapes.parameters, shapes.model_state, encoded)
    page.print_section(
        f"a batch of {batch_size}", tables.input_rows(run, batch), heading=tables.INPUT_HEADING, is_cut=True
    )
    if (operations := run.trainer.data.operations) is not None:
        title = "operations on rows, which run once; the cache keeps the encoded rows"
        rows = tables.operation_rows(operations)
        page.print_section(title, rows, heading=tables.OPERATION_HEADING, right=(1, 2))
    page.print_section("splits", tables.split_rows(run))
    if run.trainer.plan.total_steps:
        heading, *numbers = tables.schedule_rows(run.trainer)
        title = "schedule: the first step, the last one, and those at 25, 50 and 75 %"
        page.print_section(title, numbers, heading=heading)
    title = f"layers: outputs of {batch_size} examples, multiply-adds of one example, forward pass in training"
    page.print_section(title, tables.layer_rows(layers, run), heading=tables.LAYER_HEADING, right=(3, 4, 5))
    if rates := [*tables.rate_rows(run)]:
        page.print_section("learning rates of the layers", rates, heading=tables.RATE_HEADING, right=(1,))
    memory = estimate_memory(run, layers)
    page.print_section("memory estimated from shapes", tables.memory_rows(memory, run), right=(1,))
    evaluation_work = sum(layer.multiply_adds for layer in layers) * run.trainer.evaluation_batch_size / batch_size
    _print_compiled(config, page, run, memory, evaluation_work)
    return config


def _print_compiled(
    config: Config, page: Page, run: AbstractRun, memory: MemoryEstimate, evaluation_work: float
) -> None:
    """Compiles the programs, and prints their memory and time.

    Args:
        config: the configuration of the run.
        page: prints the sections.
        run: the run.
        memory: the memory estimated from shapes.
        evaluation_work: multiply-adds of an evaluation batch.
    """
    check = MemoryCheck(run, memory, runner.memory.measure_free_memory(), page.print_note)
    check.check_held()
    evaluation = None
    with contextlib.closing(_make_progress(config)) as progress:
        with progress.working("compiling the training step"), check.compiler_error_location():
            step = compile_training_step(run)
        if step.seconds < MAX_COMPILE_SECONDS and (split := run.evaluated_split) is not None:
            with progress.working("compiling the evaluation"):
                evaluation = compile_evaluation(run, split)
    program = evaluation and evaluation[0]
    page.print_section("compiling", tables.compile_rows(run, step, program))
    is_evaluated = run.evaluated_split is not None
    memory_rows = tables.compiled_memory_rows(check, step, program, is_evaluated=is_evaluated)
    page.print_section("memory of the compiled programs", memory_rows, right=(1,))
    check.check_compiled(step, program)
    arguments = run.trainer.program_inputs, run.state_shapes, *run.dispatch_arguments, False
    additional = (step.memory or 0) - count_bytes((run.state_shapes, run.chunk.data))
    check_longest_lists(run.trainer, TRAINING_STEP, run.chunk, arguments, max(additional, 0))
    with memory_error_location("measuring the steps", "Try a smaller training.batch_size, or a smaller model."):
        pace = measure_pace(run, step, evaluation, evaluation_work)
    compile_seconds = step.seconds + (program.seconds if program else 0.0)
    page.print_section(f"time, {pace.basis}", tables.time_rows(pace, run, compile_seconds), right=(1,))


def _make_progress(config: Config) -> Progress:
    """Shows slow work, but only on a terminal: elsewhere the output has nothing but the sections."""
    quiet = config.values["quiet"] or not on_terminal()
    return make_progress(quiet=quiet)
