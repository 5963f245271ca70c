"""Ctrl-C and SIGTERM: they end a command at once; a run under way saves a checkpoint first.

A signal that the parent process ignores (`command &` in a script) stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

CAUGHT = (signal.SIGINT, signal.SIGTERM)
RESEND_SECONDS = 0.05  # after which a signal is sent again, if Python dropped its exception, or an import was under way
IMPORT_SECONDS = 5.0  # how long a signal waits for the end of an import at most


class Interruption:
    """A context in which a signal raises KeyboardInterrupt. `received` is the signal that came.

    Python drops an exception that a handler raises within a callback of the garbage collector (JAX has one) or within a
    `__del__`; then the signal is sent again. A signal during an import is sent again too, because an exception in the
    middle of an import crashes C++ modules, such as JAX's. Outside the main thread no signal is caught.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._hook_before: Any = None
        self._timers: list[threading.Timer] = []  # each sends a signal again
        self._deadline: float | None = None  # up to which a signal waits for imports
        self._closing = False

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in CAUGHT}
            self._before = {
                number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)
            }
            for number in self._before:
                signal.signal(number, self._catch)
            self._hook_before, sys.unraisablehook = sys.unraisablehook, self._take_dropped
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        for timer in self._timers:
            timer.cancel()
            timer.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._hook_before is not None:
            sys.unraisablehook = self._hook_before

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if self._closing:
            return
        self._deadline = self._deadline or time.monotonic() + IMPORT_SECONDS
        if not _is_importing(frame) or time.monotonic() > self._deadline:
            raise KeyboardInterrupt
        self._send_again()

    def _take_dropped(self, dropped: sys.UnraisableHookArgs) -> None:
        """Sends the signal of a dropped KeyboardInterrupt again. Any other dropped exception is shown as before."""
        if self.received is None or not issubclass(dropped.exc_type, KeyboardInterrupt):
            self._hook_before(dropped)
        elif not self._closing:
            self._send_again()

    def _send_again(self) -> None:
        timer = threading.Timer(RESEND_SECONDS, os.kill, (os.getpid(), self.received))
        timer.daemon = True
        self._timers.append(timer)
        timer.start()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class Signals(Interruption):
    """A context in which the first signal only sets `received`, so that a run saves and ends.

    A second signal ends it at once. On entry it raises KeyboardInterrupt if the command was interrupted before.
    """

    def __enter__(self) -> Signals:
        super().__enter__()
        for command in self._commands():
            if command.received is not None:
                self.__exit__(None, None, None)
                raise KeyboardInterrupt
        return self

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        handlers = dict(self._before)
        for command in self._commands():
            handlers |= command._before
        for caught, handler in handlers.items():
            signal.signal(caught, handler)

    def _commands(self) -> list[Interruption]:
        """The `Interruption` of the command around this context. A run from Python has none."""
        owners = {getattr(handler, "__self__", None) for handler in self._before.values()}
        return [owner for owner in owners if isinstance(owner, Interruption)]
