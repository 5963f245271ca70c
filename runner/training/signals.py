"""Ctrl-C and SIGTERM: a command ends at once, until a run takes them as a wish to save and end.

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
AGAIN_SECONDS = 0.05  # after which a signal is sent again whose exception Python dropped, or that came at a bad time
IMPORT_SECONDS = 5.0  # that a signal waits at most for the end of an import


class Interruption:
    """While this context is open, a signal raises KeyboardInterrupt, and `received` tells which one came.

    Python drops what a handler raises within a callback of the garbage collector (JAX has one) or a `__del__`: the
    signal is then sent again. So is one that comes during an import, because an exception in the midst of that crashes
    modules in C++ (JAX's). Outside the main thread none is caught.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._hook_before: Any = None
        self._timers: list[threading.Timer] = []  # that send a signal again
        self._deadline: float | None = None  # until which imports may go on
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
        """Takes what Python drops: a KeyboardInterrupt of ours comes again, all else is shown as before."""
        if self.received is None or not issubclass(dropped.exc_type, KeyboardInterrupt):
            self._hook_before(dropped)
        elif not self._closing:
            self._send_again()

    def _send_again(self) -> None:
        timer = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), self.received))
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
    """While this context is open, `received` tells which signal came, so that a run saves and ends.

    A second one ends it at once. Raises KeyboardInterrupt as it opens where the command was interrupted before.
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
        """The command that this context is opened within; none where a run is started from Python."""
        owners = {getattr(handler, "__self__", None) for handler in self._before.values()}
        return [owner for owner in owners if isinstance(owner, Interruption)]
