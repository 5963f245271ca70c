"""The command line: parses the arguments, and runs a mode or a sweep.

This module imports neither JAX nor MLflow, so that help and error messages take under a second.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, NoReturn

from components.closest import suggest_name
from components.read_once import reading_once
from components.types import UserError
from runner.config.hydra_words import check_flags
from runner.config.modes import MODES
from runner.config.provenance import errors_with_origin
from runner.credentials import mask_arguments, scrub
from runner.display.work import showing_fetched_files
from runner.errors import TRACEBACK_VARIABLE, DiskError, PartError, RunError, is_disk_error, is_memory_error
from runner.garbage import collect_garbage_rarely
from runner.signature.source import PACKAGES, allowed_packages
from runner.terminal import print_line
from runner.training.signals import Interruption
from runner.user_code import allow_package, forget_added_packages

if TYPE_CHECKING:
    from runner.sweep.plan import Plan

FLAGS = ("--help", "--multirun", "--cfg", "--resolve", "--info", "--version", "--allow", "--shell-completion")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: the command's arguments. None: those of the process.

    Returns:
        The exit code. 0: success. 1: the run diverged or failed. 2: the user can fix the error, which is printed to
        standard error. 128 + n: signal n stopped the command, and a run saved its state.
    """
    if arguments is None:
        collect_garbage_rarely()
    _prepare_streams()
    with Interruption() as interruption:
        code = _run_and_print_errors(sys.argv[1:] if arguments is None else arguments)
    return code if interruption.received is None else 128 + interruption.received


def _run_and_print_errors(arguments: Sequence[str]) -> int:
    """Runs a command, and prints its errors. Returns the exit code."""
    try:
        with reading_once(), forget_added_packages(), showing_fetched_files(quiet="quiet=true" in arguments):
            return _run_command(mask_arguments(arguments))
    except UserError as error:
        print_line(scrub(str(error)), error=True)
        return 2
    except PartError as error:
        if os.environ.get(TRACEBACK_VARIABLE) == "off":
            return _print_unexpected(error)
        print_line(scrub(error.report()), error=True)
        return 1
    except RunError as error:
        print_line(scrub(str(error)), error=True)
        return 1
    except BrokenPipeError:  # the program that reads our output has ended
        with contextlib.suppress(AttributeError, OSError):  # standard output is closed, or is not a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt as error:
        print_line(str(error) or "interrupted", error=True)
        return 128 + signal.SIGINT
    except OSError as error:
        if not is_disk_error(error):
            return _print_unexpected(error)
        print_line(scrub(str(DiskError(error.filename or "the disk", error))), error=True)
        return 1
    except Exception as error:
        return _print_unexpected(error)


def _print_unexpected(error: Exception) -> int:
    """Prints the traceback of an unexpected error, or one line if the memory ran out. Returns the exit code."""
    if is_memory_error(error):
        print_line("out of memory. Free some, or use fewer rows or columns, or smaller batches.", error=True)
        return 1
    print(scrub(traceback.format_exc()), end="", file=sys.stderr)
    return 1


def _prepare_streams() -> None:
    """Opens closed standard streams, so that no file gets their descriptors. Makes all characters printable."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # 0, 1 or 2 was closed
        pass
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _run_command(arguments: list[str]) -> int:
    """Runs a command, and raises its errors. Returns the exit code."""
    check_flags(arguments)
    parsed, unknown = _make_parser().parse_known_intermixed_args(arguments)
    if unknown:
        raise UserError(f"{unknown[0]}: unknown flag. {_suggest_flag(unknown[0])}")
    if parsed.resolve and not parsed.cfg:
        raise UserError("--resolve: is for --cfg job only. Write --cfg job --resolve")
    for name in parsed.allow:
        allow_package(name)
    _put_working_folder_last()
    if parsed.shell_completion:
        from runner.modes.completion import complete

        complete(parsed.overrides)
        return 0
    _check_allowed(parsed.allow)
    if parsed.help:
        print(_help_text(parsed.overrides))
        return 0
    if parsed.version:
        from runner.signature.code import package_version

        print(f"titrate {package_version('titrate')}")
        return 0
    if parsed.cfg:
        from runner import yaml_file
        from runner.config.compose import compose

        config = compose(parsed.overrides)
        print(yaml_file.dump(config.values if parsed.resolve else config.raw), end="")
        return 0
    if parsed.info:
        from runner.config.compose import compose
        from runner.modes.help import info_text

        print(info_text(compose(parsed.overrides)))
        return 0
    return _run(parsed.overrides, parsed.multirun)


def _help_text(words: Sequence[str]) -> str:
    """The text of `--help`: of everything, or of the words of the command."""
    if words:
        from runner.modes.describe import describe

        return describe(words)
    from runner.modes.help import help_text

    return help_text()


def _suggest_flag(flag: str) -> str:
    """Suggests the nearest flag, or `key=value` if a key was written with dashes."""
    from runner.config.catalog import read_default_options
    from runner.config.slips import find_meant_keys
    from runner.signature.parameters import read_settings_fields

    override = flag.lstrip("-")
    key, _, value = override.partition("=")
    known = {**read_default_options(), **read_settings_fields("Settings")}
    if (meant := key if key.partition(".")[0] in known else next(find_meant_keys(key, {}), None)) is not None:
        return f"Write {meant}={value or 'VALUE'}"
    return suggest_name(flag, FLAGS)


def _check_allowed(names: Sequence[str]) -> None:
    """Raises UserError if a package or module does not exist."""
    if not names:
        return
    from runner.signature.source import PartNotFoundError, check_module

    for name in ",".join(names).split(","):
        if name.strip().endswith(".py"):
            module = ".".join(PurePath(name.strip()).with_suffix("").parts)
            raise UserError(f"--allow {name}: is a file, and a module is needed. Write --allow {module}")
        try:
            check_module(name.strip())
        except PartNotFoundError as error:
            raise UserError(f"--allow {name}: {error}") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises UserError, where argparse would end the process."""
        raise UserError(message)


def _make_parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", "-c", choices=["job"])
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--info", "-i", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--allow", action="append", default=[])
    parser.add_argument("--shell-completion", "-sc", action="store_true")
    return parser


def _run(overrides: Sequence[str], multirun: bool) -> int:
    """Runs the mode or the sweep of a command. Returns the exit code."""
    from runner.sweep.plan import Plan, make_plan

    config = make_plan(overrides, multirun=multirun)  # before JAX is imported
    if isinstance(config, Plan):
        return _sweep(config)
    mode = config.values["mode"]
    if MODES[mode].imports_jax:
        from runner.memory import check_memory_for_jax

        check_memory_for_jax(config.values["training"])
    with errors_with_origin(config):
        return importlib.import_module(f"runner.modes.{mode}").command(config)


def _sweep(plan: Plan) -> int:
    """Runs a sweep, or the dry run of its first run. Returns the exit code."""
    from runner.memory import check_memory_for_jax
    from runner.sweep.report import print_first_run, print_plan

    first = plan.runs[0].config
    check_memory_for_jax(first.values["training"])
    if first.values["mode"] == "dry_run":
        if not first.values["quiet"]:
            print_plan(plan)
            print_first_run(plan)
        return importlib.import_module("runner.modes.dry_run").command(first)
    from runner.sweep.launch import launch

    result = launch(plan)
    if result.status == "interrupted":
        return 128 + (result.signal or signal.SIGINT)
    return 0 if result.status == "finished" else 1


def _put_working_folder_last() -> None:
    """Moves the working folder to the end of the import path, so that its modules never replace installed ones.

    It is added if it was on the path, as `python -m runner` puts it there, or if the user allows packages.
    """
    try:
        working_folder = os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the working folder was deleted. Change into an existing folder.") from error
    others = [path for path in sys.path if path not in ("", working_folder)]
    was_on_path = len(others) < len(sys.path)
    has_user_packages = len(allowed_packages()) > len(PACKAGES)
    sys.path[:] = [*others, working_folder] if was_on_path or has_user_packages else others


if __name__ == "__main__":
    sys.exit(main())
