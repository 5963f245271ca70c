"""Handles Ctrl-C and SIGTERM: a command ends at once, and a run saves a checkpoint first.

A run from Python then passes the signal to the caller, so that it ends a script as it would without us. A signal that
the parent process ignores stays ignored, as for `command &` in a script.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any, NoReturn

HANDLED = (signal.SIGINT, signal.SIGTERM)
RESEND_SECONDS = 0.05  # between attempts to send a signal again
IMPORT_SECONDS = 5.0  # the longest that a signal waits for the end of an import


class Interruption:
    """A context in which a signal raises KeyboardInterrupt.

    In two cases the signal is sent again a little later, and again until it raises an exception that isn't dropped:

    - Python drops an exception that a handler raises within `__del__`, or within a callback of the garbage collector,
      and JAX has such a callback.
    - An exception in the middle of an import crashes C++ modules, such as JAX's. So the signal waits for the end of
      the import.

    One attempt is not enough: a signal that arrives just before a blocking call, such as `time.sleep`, doesn't end it.
    Outside the main thread the context does nothing, because Python handles signals only there.

    Attributes:
        received: the signal that was received; None: no signal.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous_handlers: dict[signal.Signals, Any] = {}
        self._previous_hook: Any = None
        self._senders: list[threading.Thread] = []
        self._active_sender: threading.Thread | None = None  # the others have ended or are about to
        self._deadline: float | None = None  # no signal waits longer for an import
        self._is_closing = False

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in HANDLED}
            self._previous_handlers = {
                number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)
            }
            for number in self._previous_handlers:
                signal.signal(number, self._handle)
            self._previous_hook, sys.unraisablehook = sys.unraisablehook, self._handle_dropped
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing = True
        self._active_sender = None
        for sender in self._senders:
            sender.join()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        if self._previous_hook is not None:
            sys.unraisablehook = self._previous_hook

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if self._is_closing:
            return
        self._deadline = self._deadline or time.monotonic() + IMPORT_SECONDS
        callers = _list_callers(frame)
        is_importing = any(caller.co_filename.startswith("<frozen importlib") for caller in callers)
        is_dropping = Interruption._handle_dropped.__code__ in callers  # Python drops what the hook raises, too
        if is_dropping or (is_importing and time.monotonic() <= self._deadline):
            self._send_again()
        else:
            self._interrupt()

    def _interrupt(self) -> NoReturn:
        self._active_sender = None
        raise KeyboardInterrupt

    def _handle_dropped(self, dropped: sys.UnraisableHookArgs) -> None:
        """Sends the signal again if Python dropped its KeyboardInterrupt. Other exceptions go to the previous hook."""
        if self.received is None or not issubclass(dropped.exc_type, KeyboardInterrupt):
            self._previous_hook(dropped)
        elif not self._is_closing:
            self._send_again()

    def _send_again(self) -> None:
        """Starts a thread that sends the signal until it raises an exception, unless one does so already."""
        if self._active_sender is None:
            self._active_sender = threading.Thread(target=self._send_until_raised, daemon=True)
            self._senders.append(self._active_sender)
            self._active_sender.start()

    def _send_until_raised(self) -> None:
        time.sleep(RESEND_SECONDS)
        while self._active_sender is threading.current_thread():
            os.kill(os.getpid(), self.received or signal.SIGINT)
            time.sleep(RESEND_SECONDS)


def _list_callers(frame: FrameType | None) -> list[CodeType]:
    found = []
    while frame is not None:
        found.append(frame.f_code)
        frame = frame.f_back
    return found


class Signals(Interruption):
    """A context in which the first signal only sets `received`. The run that reads it saves and ends.

    A second signal ends the run at once, because it goes to the handlers from before the context. So does the first one
    at the end of the context, unless that is within a command, whose exit code has the signal.

    Raises:
        KeyboardInterrupt: on entry, if the command has received a signal already.
    """

    def __enter__(self) -> Signals:
        super().__enter__()
        for interruption in self._command_interruptions():
            if interruption.received is not None:
                self.__exit__(None, None, None)
                interruption._interrupt()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        is_ending = kind is not None and not issubclass(kind, Exception)  # such as a second Ctrl-C
        if self.received is not None and not is_ending and not self._command_interruptions():
            for stream in (sys.stdout, sys.stderr):  # SIGTERM may end the process without flushing them
                with contextlib.suppress(AttributeError, OSError, ValueError):  # a stream may be missing or closed
                    stream.flush()
            signal.raise_signal(self.received)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        handlers = dict(self._previous_handlers)
        for interruption in self._command_interruptions():
            handlers |= interruption._previous_handlers
        for handled, handler in handlers.items():
            signal.signal(handled, handler)

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """A context in which a signal is handled as before `Signals`, because there is nothing to save."""
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        try:
            yield
        finally:
            for interruption in self._command_interruptions():
                self.received = self.received or interruption.received
            for number in self._previous_handlers if self.received is None else ():
                signal.signal(number, self._handle)

    def _command_interruptions(self) -> list[Interruption]:
        """The `Interruption` of the command around this context, in a list. A run from Python has none."""
        owners = {getattr(handler, "__self__", None) for handler in self._previous_handlers.values()}
        return [owner for owner in owners if isinstance(owner, Interruption)]
