"""The command line. It imports neither JAX nor MLflow, so help and error messages come at once."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from components.closest import suggest_name
from components.types import UserError
from runner.config.provenance import with_origin
from runner.config.verbs import VERBS
from runner.credentials import scrub, withhold_words
from runner.errors import FILTERING, DiskError, PartError, RunError, is_disk_error, is_memory_error
from runner.signature.source import PACKAGES, allowed_packages
from runner.training.signals import Interruption
from runner.user_code import allow_package, forget_added_packages

if TYPE_CHECKING:
    from runner.sweep.plan import Plan

OPTIONS = ("--help", "--multirun", "--cfg", "--info", "--version", "--allow", "--shell-completion")


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command, and returns its exit code.

    0: done. 1: the run diverged or failed. 2: a mistake of the user, explained on standard error. 128 + n: stopped by
    signal n, with everything saved.
    """
    _prepare_streams()
    with Interruption() as interruption:
        code = _run_command(words)
    return code if interruption.received is None else 128 + interruption.received


def _run_command(words: Sequence[str] | None) -> int:
    """Runs a command, and prints its errors. Returns the exit code."""
    try:
        with forget_added_packages():
            return _dispatch(withhold_words(sys.argv[1:] if words is None else words))
    except UserError as error:
        print(scrub(str(error)), file=sys.stderr)
        return 2
    except PartError as error:
        if os.environ.get(FILTERING) == "off":
            return _print_unexpected(error)
        print(scrub(error.report()), file=sys.stderr)
        return 1
    except RunError as error:
        print(scrub(str(error)), file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has closed it
        with contextlib.suppress(AttributeError, OSError):  # standard output is closed, or no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        if not is_disk_error(error):
            return _print_unexpected(error)
        print(scrub(str(DiskError(error.filename or "the disk", error))), file=sys.stderr)
        return 1
    except Exception as error:
        return _print_unexpected(error)


def _print_unexpected(error: Exception) -> int:
    """Prints the traceback of an unforeseen error, or a line if memory gave out. Returns the exit code."""
    if is_memory_error(error):
        print(
            "the memory gave out: free some, or lower what is held at once (rows, columns, batch sizes)",
            file=sys.stderr,
        )
        return 1
    print(scrub(traceback.format_exc()), end="", file=sys.stderr)
    return 1


def _prepare_streams() -> None:
    """Opens closed standard streams, so that no file takes their place; and makes all characters printable."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:  # 0, 1 or 2 was closed
        pass
    os.close(opened)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _dispatch(words: list[str]) -> int:
    arguments, unknown = _make_parser().parse_known_intermixed_args(words)
    if unknown:
        raise UserError(f"there is no option {unknown[0]}; {_suggest_option(unknown[0])}")
    for name in arguments.allow:
        allow_package(name)
    _put_working_folder_last()
    if arguments.shell_completion:
        from runner.modes.completion import complete

        complete(arguments.overrides)
        return 0
    _check_allowed(arguments.allow)
    if arguments.help:
        from runner.modes.help import usage

        print(usage())
        return 0
    if arguments.version:
        from runner.signature.code import package_version

        print(f"titrate {package_version('titrate')}")
        return 0
    if arguments.cfg:
        from runner import yaml_file
        from runner.config.compose import compose

        print(yaml_file.dump(compose(arguments.overrides).raw), end="")
        return 0
    return _print_information(arguments.overrides) if arguments.info else _run(arguments.overrides, arguments.multirun)


def _suggest_option(option: str) -> str:
    """The nearest option, or the key if it was written with dashes."""
    from runner.config.catalog import defaults
    from runner.signature.parameters import settings

    key = option.lstrip("-").partition("=")[0]
    if key.partition(".")[0] in {**defaults(), **settings("Settings")}:
        return f"write {option.lstrip('-') if '=' in option else f'{key}=VALUE'}"
    return suggest_name(option, OPTIONS)


def _check_allowed(names: Sequence[str]) -> None:
    """Raises UserError for a package or module that doesn't exist."""
    if not names:
        return
    from runner.signature.source import TargetError, check_module

    for name in ",".join(names).split(","):
        try:
            check_module(name.strip())
        except TargetError as error:
            raise UserError(f"--allow {name}: {error}") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def _make_parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", "-c", choices=["job"])
    parser.add_argument("--info", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--allow", action="append", default=[])
    parser.add_argument("--shell-completion", "-sc", action="store_true")
    return parser


def _print_information(overrides: Sequence[str]) -> int:
    from runner.config.compose import compose
    from runner.modes.help import information

    print(information(compose(overrides)))
    return 0


def _run(overrides: Sequence[str], multirun: bool) -> int:
    from runner.sweep import plan

    config = plan.make(overrides, multirun=multirun)  # before JAX is imported
    if isinstance(config, plan.Plan):
        return _sweep(config)
    verb = VERBS[config.values["mode"]]
    if verb.jax:
        from runner.memory import check_memory_for_jax

        check_memory_for_jax(config.values["training"])
    with with_origin(config):
        return importlib.import_module(verb.module).command(config)


def _sweep(plan: Plan) -> int:
    from runner.memory import check_memory_for_jax
    from runner.sweep import report

    first = plan.settings[0].config
    check_memory_for_jax(first.values["training"])
    if first.values["mode"] == "dry_run":
        if not first.values["quiet"]:
            report.plan(plan)
            report.first(plan)
        return importlib.import_module(VERBS["dry_run"].module).command(first)
    from runner.sweep.launch import launch

    result = launch(plan)
    if result.status == "interrupted":
        return 128 + (result.signal or signal.SIGINT)
    return 0 if result.status == "finished" else 1


def _put_working_folder_last() -> None:
    """Moves the working folder to the end of the import path: it adds modules, and never replaces installed ones."""
    try:
        here = os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the working folder was deleted; cd into one that is there") from error
    rest = [path for path in sys.path if path not in ("", here)]
    wanted = len(rest) < len(sys.path) or len(allowed_packages()) > len(PACKAGES)
    sys.path[:] = [*rest, here] if wanted else rest


if __name__ == "__main__":
    sys.exit(main())
