"""Signals end a command at once, and let a run save a checkpoint first."""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.__main__ import main
from runner.execution import execute as execution
from runner.training.signals import HANDLED, RESEND_SECONDS, Interruption, Signals

each_signal = pytest.mark.parametrize("number", HANDLED)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restores the handlers of the signals."""
    handlers = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def send_and_drop(number: signal.Signals) -> None:
    """Sends a signal, and drops the exception, as Python does in a callback of the garbage collector."""
    with contextlib.suppress(KeyboardInterrupt):
        send(number)


@each_signal
@pytest.mark.parametrize("send_signal", [send, send_and_drop])
@pytest.mark.usefixtures("in_empty_folder")
def test_a_signal_at_the_start_ends_a_command_even_if_python_drops_the_exception(
    number: signal.Signals, send_signal: Callable[[signal.Signals], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(
        execution, "execute_with_signals", lambda *given, **options: pytest.fail("the command was not stopped")
    )
    monkeypatch.setattr(execution.platform, "start_jax", lambda cache: send_signal(number))
    assert main(["tracking=none", "quiet=true"]) == 128 + number
    assert signal.getsignal(number) is before
    assert not Path("outputs").exists()


@each_signal
@pytest.mark.parametrize("words", [(), ("-m", "seed=1,2")])
@pytest.mark.usefixtures("in_empty_folder")
def test_a_signal_in_the_preparation_ends_a_command_at_once(
    number: signal.Signals, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*given: Any) -> None:
        send(number)
        pytest.fail("the command was not stopped")

    monkeypatch.setattr(execution, "prepare_run", prepare)
    assert main([*words, "tracking=none", "quiet=true"]) == 128 + number
    for path in Path().glob("outputs/*/summary.json"):
        assert json.loads(path.read_text())["stopped_by"] == number.name


@each_signal
def test_signals_after_a_suspension_are_received(number: signal.Signals) -> None:
    with Interruption() as command, Signals() as signals:
        with signals.suspended():
            pass
        send(number)
        assert (signals.received, command.received) == (number, None)


@each_signal
def test_a_dropped_signal_is_handled_at_the_end_at_the_latest(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("runner.modes.help.help_text", lambda: send_and_drop(number))
    assert main(["--help"]) == 128 + number
    assert "Traceback" not in capsys.readouterr().err


@each_signal
def test_a_second_signal_calls_the_previous_handler(number: signal.Signals) -> None:
    handled: list[int] = []
    signal.signal(number, lambda number, frame: handled.append(number))
    with Interruption() as command, Signals() as signals:
        send(number)
        assert (signals.received, command.received, handled) == (number, None, [])
        send(number)
        assert handled == [number]


@each_signal
@pytest.mark.parametrize("contexts", [(Interruption, Signals), (Signals,)])
def test_an_ignored_signal_stays_ignored(number: signal.Signals, contexts: tuple[Any, ...]) -> None:
    signal.signal(number, signal.SIG_IGN)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(context()) for context in contexts]
        send(number)
        assert signal.getsignal(number) == signal.SIG_IGN
        assert [context.received for context in opened] == [None] * len(opened)
    assert signal.getsignal(number) == signal.SIG_IGN


@each_signal
def test_the_handlers_of_the_caller_are_restored(number: signal.Signals) -> None:
    def own(number: int, frame: Any) -> None: ...

    signal.signal(number, own)
    with Signals() as signals:
        send(number)
        assert signals.received == number
        assert signal.getsignal(number) is own
    assert signal.getsignal(number) is own


@contextlib.contextmanager
def garbage_callback(callback: Callable[..., None]) -> Iterator[None]:
    """Registers a callback of the garbage collector, as JAX does."""
    gc.callbacks.append(callback)
    try:
        yield
    finally:
        gc.callbacks.remove(callback)


@each_signal
def test_a_signal_in_a_callback_of_the_garbage_collector_ends_a_command_at_once(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[str] = []

    def callback(phase: str, facts: Any) -> None:
        if not sent:
            sent.append(phase)
            send(number)

    def usage() -> None:
        with garbage_callback(callback):
            gc.collect()
        assert sent
        time.sleep(60)
        pytest.fail("the command was not stopped")

    hook = sys.unraisablehook
    monkeypatch.setattr("runner.modes.help.help_text", usage)
    start = time.monotonic()
    assert main(["--help"]) == 128 + number
    assert time.monotonic() - start < 30
    assert capsys.readouterr().err == "interrupted\n"
    assert sys.unraisablehook is hook


def send_in_garbage_callback_and_wait() -> None:
    """Sends SIGINT in a callback of the garbage collector, which drops the exception."""
    sent: list[str] = []

    def callback(phase: str, facts: Any) -> None:
        if not sent:
            sent.append(phase)
            send(signal.SIGINT)

    with garbage_callback(callback):
        gc.collect()
    time.sleep(20)


@pytest.mark.slow
def test_a_signal_that_arrives_in_the_hook_of_dropped_exceptions_is_sent_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a busy machine, the thread that sends the signal again does so before the hook has returned."""
    start = threading.Thread.start

    def start_and_wait(thread: threading.Thread) -> None:
        start(thread)
        time.sleep(3 * RESEND_SECONDS)

    monkeypatch.setattr(threading.Thread, "start", start_and_wait)
    with pytest.raises(KeyboardInterrupt), Interruption():
        send_in_garbage_callback_and_wait()
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_signal_that_ends_no_blocking_call_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second signal stands for one that arrives between the last instruction and the call."""
    kill, sent = os.kill, []

    def lose_second(process: int, number: int) -> None:
        sent.append(number)
        if len(sent) != 2:
            kill(process, number)

    monkeypatch.setattr(os, "kill", lose_second)
    with pytest.raises(KeyboardInterrupt), Interruption():
        send_in_garbage_callback_and_wait()
    assert len(sent) == 3
    time.sleep(3 * RESEND_SECONDS)
    assert len(sent) == 3, "a signal that has raised an exception is sent again"


@pytest.mark.slow
def test_other_dropped_exceptions_are_shown_by_the_previous_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: shown.append(dropped.exc_type))

    def callback(phase: str, facts: Any) -> None:
        raise ZeroDivisionError

    with Interruption(), garbage_callback(callback):
        gc.collect()
    assert set(shown) == {ZeroDivisionError}


@each_signal
@pytest.mark.parametrize("max_seconds", [60.0, 0.2])
def test_a_signal_waits_for_the_end_of_an_import_but_not_forever(
    number: signal.Signals, max_seconds: float, in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.training.signals.IMPORT_SECONDS", max_seconds)
    seconds = 0.3 if max_seconds > 1 else 60
    Path("slow_module.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {int(number)})\n"
        f"end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(str(in_empty_folder))

    def usage() -> None:
        importlib.import_module("slow_module")
        time.sleep(60)
        pytest.fail("the command was not stopped")

    monkeypatch.setattr("runner.modes.help.help_text", usage)
    assert main(["--help"]) == 128 + number
    assert hasattr(sys.modules.get("slow_module"), "whole") == (max_seconds > 1)
