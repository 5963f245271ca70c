import contextlib
import gc
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.__main__ import main
from runner.execution import execute as execution
from runner.training.signals import CAUGHT, Interruption, Signals

each = pytest.mark.parametrize("number", CAUGHT)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The signals do afterwards what they did before."""
    before = {number: signal.getsignal(number) for number in CAUGHT}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def send_and_lose(number: signal.Signals) -> None:
    """As Python does where the signal comes in a callback of the garbage collector."""
    with contextlib.suppress(KeyboardInterrupt):
        send(number)


@each
@pytest.mark.parametrize("come", [send, send_and_lose])
@pytest.mark.usefixtures("in_empty_folder")
def test_a_signal_ends_a_command_that_starts_even_where_python_drops_it(
    number: signal.Signals, come: Callable[[signal.Signals], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(execution, "execute_with_signals", lambda *given, **options: pytest.fail("it goes on"))
    monkeypatch.setattr(execution.platform, "start_jax", lambda cache: come(number))
    assert main(["tracking=none", "quiet=true"]) == 128 + number
    assert signal.getsignal(number) is before
    assert not Path("outputs").exists()


@each
def test_a_lost_signal_is_seen_at_the_end_at_the_latest(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("runner.modes.help.help_text", lambda: send_and_lose(number))
    assert main(["--help"]) == 128 + number
    assert "Traceback" not in capsys.readouterr().err


@each
def test_a_second_signal_does_what_it_would_without_a_run(number: signal.Signals) -> None:
    came: list[int] = []
    signal.signal(number, lambda number, frame: came.append(number))
    with Interruption() as command, Signals() as signals:
        send(number)
        assert (signals.received, command.received, came) == (number, None, [])
        send(number)
        assert came == [number]


@each
@pytest.mark.parametrize("contexts", [(Interruption, Signals), (Signals,)])
def test_an_ignored_signal_stays_ignored(number: signal.Signals, contexts: tuple[Any, ...]) -> None:
    signal.signal(number, signal.SIG_IGN)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(context()) for context in contexts]
        send(number)
        assert signal.getsignal(number) == signal.SIG_IGN
        assert [one.received for one in opened] == [None] * len(opened)
    assert signal.getsignal(number) == signal.SIG_IGN


@each
def test_the_handlers_of_a_caller_come_back(number: signal.Signals) -> None:
    def own(number: int, frame: Any) -> None: ...

    signal.signal(number, own)
    with Signals() as signals:
        send(number)
        assert signals.received == number
        assert signal.getsignal(number) is own
    assert signal.getsignal(number) is own


@contextlib.contextmanager
def garbage_callback(callback: Callable[..., None]) -> Iterator[None]:
    """The collector of garbage calls back, as it does JAX."""
    gc.callbacks.append(callback)
    try:
        yield
    finally:
        gc.callbacks.remove(callback)


@each
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
        pytest.fail("it goes on")

    hook = sys.unraisablehook
    monkeypatch.setattr("runner.modes.help.help_text", usage)
    began = time.monotonic()
    assert main(["--help"]) == 128 + number
    assert time.monotonic() - began < 30
    assert capsys.readouterr().err == ""
    assert sys.unraisablehook is hook


def test_other_exceptions_that_python_drops_are_shown_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: shown.append(dropped.exc_type))

    def callback(phase: str, facts: Any) -> None:
        raise ZeroDivisionError

    with Interruption(), garbage_callback(callback):
        gc.collect()
    assert set(shown) == {ZeroDivisionError}


@each
@pytest.mark.parametrize("longest", [60.0, 0.2])
def test_a_signal_waits_for_the_end_of_an_import_but_not_for_ever(
    number: signal.Signals, longest: float, in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.training.signals.IMPORT_SECONDS", longest)
    seconds = 0.3 if longest > 1 else 60
    Path("slow_module.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {int(number)})\n"
        f"end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(str(in_empty_folder))

    def usage() -> None:
        importlib.import_module("slow_module")
        time.sleep(60)
        pytest.fail("it goes on")

    monkeypatch.setattr("runner.modes.help.help_text", usage)
    assert main(["--help"]) == 128 + number
    assert hasattr(sys.modules.get("slow_module"), "whole") == (longest > 1)
