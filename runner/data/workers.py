"""Threads and processes that compute blocks of rows.

Threads start at once, but Python runs one of them at a time between the calls of NumPy. Processes don't wait for each
other, but each needs a second to import its modules, and blocks are copied to it. So work begins in threads, and
processes join them once it has taken START_SECONDS.

A process only saves time. A block that can't be sent to it, or whose function fails there, is computed in this process,
which raises the error, and so are the other blocks for this function. So a result depends neither on the number of
workers nor on where a block is computed.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property, partial
from multiprocessing.connection import Connection, Pipe, wait
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from components.types import Block, LazyColumns, Strings
from runner.data.ordered_map import ordered_map
from runner.platform import count_workers

Item = TypeVar("Item")
Result = TypeVar("Result")

START_SECONDS = 3.0  # of work, before processes start: about three times as long as each of them needs to start
_MAX_BYTES = 2**28  # of an item. A column with a huge dictionary is not copied for each block
_MAX_BUFFERS = 512  # that one call of the system writes or reads; POSIX allows at least 16, Linux and macOS 1,024
_MAX_PROCESSES = 8  # more wait for this process, which reads the blocks and copies them
_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",  # an import of JAX takes no memory of an accelerator
    # glibc keeps the memory of an array for the next one, which would take a third of the time of some columns.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
}
_SLOTS = 2  # of a process: it computes an item while it receives another one
_PROGRAM = (
    "import sys; started, numbers, *sys.path[:] = sys.argv[1:]; "
    "from runner.data.workers import serve; serve(float(started), numbers)"
)
_STARTED = time.time()  # Users' modules are imported later


class Workers:
    """Threads, and after some work processes, that call functions on items.

    As a context manager it keeps its processes for several calls of `map`, and ends them at last.
    """

    def __init__(self, count: int | None = None, start_seconds: float = START_SECONDS) -> None:
        """Starts nothing.

        Args:
            count: the number of items that are computed at a time; None: as `count_workers` returns.
            start_seconds: the seconds of work after which processes start.
        """
        self.count = count_workers() if count is None else count
        self._max_processes = min(self.count - 1, _MAX_PROCESSES)  # this process computes too
        self._remaining_seconds = start_seconds
        self._idle: list[_Slot] | None = None  # None: processes aren't started, or have ended
        self._lock = threading.Lock()
        self._computing = threading.Semaphore(self.count)  # in this process
        self._is_entered = False

    def __enter__(self) -> Workers:
        self._is_entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_entered = False
        self._max_processes = 0  # threads may still compute, if the caller keeps the iterator of `map`
        self._end()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yields the result of each item, in the order of the items. Workers compute a few items ahead.

        Args:
            function: it has no side effects, as it may be called in other processes, if it can be pickled.
            items: processes receive blocks without what `locate` of a subclass of Block needs. A function that calls
                it fails there.
        """
        job = _Job(function)
        threads = self.count + (_SLOTS - 1) * self._max_processes
        try:
            yield from ordered_map(partial(self._compute, job), items, threads)
        finally:
            if not self._is_entered:
                self._end()

    def _compute(self, job: _Job, item: Any) -> Any:
        if (slot := self._take_slot(job, item)) is not None:
            try:
                result = slot.process.call(slot.channel, item)
            except _FailedError:
                job.is_sendable = False
                self._return_slot(slot)
            except _EndedError:
                slot.end()
            else:
                self._return_slot(slot)
                return result
        with self._computing:
            start = time.perf_counter()
            result = job.function(item)
            self._remaining_seconds -= time.perf_counter() - start
        return result

    def _take_slot(self, job: _Job, item: Any) -> _Slot | None:
        """An idle slot of a process that has the function of a job. None: there is none now."""
        if self._remaining_seconds > 0 or not job.is_sendable:
            return None
        with self._lock:
            if self._max_processes == 0:
                return None
            if self._idle is None:
                if not job.can_send(item):
                    return None
                processes = _start_processes(self._max_processes)
                self._idle = [_Slot(process, channel) for process in processes for channel in process.channels]
            idle = Counter(slot.process for slot in self._idle)
            for slot in list(self._idle):
                try:
                    if slot.process.is_ready(job, is_idle=idle[slot.process] == _SLOTS):
                        self._idle.remove(slot)
                        return slot
                except _FailedError:
                    job.is_sendable = False
                    return None
                except _EndedError:
                    self._idle.remove(slot)
                    slot.end()
        return None

    def _return_slot(self, slot: _Slot) -> None:
        with self._lock:
            if self._idle is not None:
                self._idle.append(slot)
                return
        slot.end()  # `_end` was called meanwhile

    def _end(self) -> None:
        with self._lock:
            slots, self._idle = self._idle or [], None
        for slot in slots:
            slot.end()


class _Slot(NamedTuple):
    """A place for an item in a process, which computes one while it receives another one."""

    process: _Process
    channel: _Channel

    def end(self) -> None:
        """Ends the process, which may still compute. Other threads may still wait for it at its other channels."""
        self.process.end()
        self.channel.close()


class _Job:
    """A function that is called on many items.

    Attributes:
        function: the function.
        is_sendable: whether processes can compute its items, as far as is known.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.is_sendable = True

    def can_send(self, item: Any) -> bool:
        """Whether the function and an item can be pickled."""
        with suppress(_FailedError):
            pack_message(item)
            return self.message is not None
        self.is_sendable = False
        return False

    @cached_property
    def message(self) -> _Message | None:
        """The pickled function. None: it can't be pickled."""
        try:
            return pack_message(_Function(self.function))
        except _FailedError:
            self.is_sendable = False
            return None


class _FailedError(Exception):
    """A value can't be pickled, or is too large, or the function has failed. The process goes on."""


class _EndedError(Exception):
    """A process has ended."""


class _Process:
    """A process that calls the function of a job.

    Attributes:
        channels: one for each of the items that it has at a time.
    """

    def __init__(self) -> None:
        """Starts the process. Raises OSError if the system doesn't allow it."""
        self.channels: list[_Channel] = []
        self._job: _Job | None = None
        self._is_prepared = False
        with ExitStack() as others, ExitStack() as own:
            descriptors = []
            for _ in range(_SLOTS):
                connection, other = Pipe()
                own.callback(connection.close)
                others.callback(other.close)
                memories = []
                for _ in range(2):
                    memories.append(_open_memory())
                    own.callback(os.close, memories[-1])
                self.channels.append(_Channel(connection, *memories))
                descriptors += [other.fileno(), *memories]
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _PROGRAM,
                    repr(_STARTED),
                    ",".join(map(str, descriptors)),
                    *(path for path in sys.path if isinstance(path, str)),
                ],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C interrupts this process, which then ends the other one
                env={**os.environ, **_ENVIRONMENT},
            )
            own.pop_all()  # stay open

    def is_ready(self, job: _Job, *, is_idle: bool) -> bool:
        """Whether the process has the function of a job. If not, the function is sent to it.

        Args:
            job: the job.
            is_idle: whether the process computes no item, which would need the function that it has.

        Raises:
            _FailedError: the process can't unpickle the function.
            _EndedError: the process has ended.
        """
        channel = self.channels[0]
        if not self._is_prepared:
            if not channel.has_received():
                return False
            self._is_prepared = True
            try:
                channel.receive()
            except _FailedError:
                self._job = None
                raise
        if self._job is not job and is_idle and job.message is not None:
            channel.send(job.message)
            self._job, self._is_prepared = job, False
        return self._job is job and self._is_prepared

    def call(self, channel: _Channel, item: Any) -> Any:
        """The function's result.

        Raises:
            _FailedError: the item can't be sent, or the function has failed.
            _EndedError: the process has ended.
        """
        channel.send(pack_message(item))
        return channel.receive()

    def end(self) -> None:
        """Ends the process. Its channels stay open."""
        self._process.kill()
        self._process.wait()


def _start_processes(count: int) -> Iterator[_Process]:
    """Starts processes, as far as the system allows it."""
    with suppress(OSError):
        for _ in range(count if sys.executable else 0):  # a program that embeds Python has none
            yield _Process()


def serve(started: float, numbers: str) -> None:
    """Receives functions and items, and answers each, until the other process closes the connections.

    Args:
        started: when the other process started. Functions of modules that changed later fail: it has the earlier ones.
        numbers: the descriptors of each channel, with commas between them: of the connection, of the memory with the
            arrays that are received, and of that for the arrays that are sent.
    """
    channels: dict[Any, _Channel] = {}
    for descriptors in zip(*[iter(map(int, numbers.split(",")))] * 3, strict=True):
        connection: Any = Connection(descriptors[0])
        channels[connection] = _Channel(connection, descriptors[2], descriptors[1])
    function: Callable[[Any], Any] | None = None
    checked = set[str]()
    _check_modules(started, checked)
    next(iter(channels.values())).send(pack_message(None))
    while True:
        for ready in wait(channels):
            channel = channels[ready]
            try:
                value = channel.receive()
                if isinstance(value, _Function):
                    _check_modules(started, checked)
                    function, result = value.function, None
                else:
                    assert function is not None
                    result = function(value)
                answer = pack_message(result)
            except _EndedError:
                return
            except BaseException:
                answer = _FAILURE
            channel.send(answer)


def _check_modules(started: float, checked: set[str]) -> None:
    """Raises _FailedError if the file of an imported module is newer than a time. Adds the others to `checked`."""
    for name in sys.modules.keys() - checked:
        with suppress(OSError):  # it is in an archive
            if os.stat(getattr(sys.modules[name], "__file__", None) or "").st_mtime > started:
                raise _FailedError
        checked.add(name)


class _Function(NamedTuple):
    """The function for the items that follow."""

    function: Callable[[Any], Any]


class _Message(NamedTuple):
    """A pickled value.

    Attributes:
        data: the bytes without those of arrays. Empty: the function has failed.
        buffers: the bytes of each array.
    """

    data: bytes
    buffers: Sequence[memoryview]


_FAILURE = _Message(b"", ())


def pack_message(value: Any) -> _Message:
    """Pickles a value. Raises _FailedError if it can't be pickled, or is too large."""
    stream, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    try:
        _Pickler(stream, 5, buffer_callback=buffers.append).dump(value)
    except Exception as error:  # pickling runs the methods of any class
        raise _FailedError from error
    views = [buffer.raw() for buffer in buffers]
    if sum(view.nbytes for view in views) > _MAX_BYTES:
        raise _FailedError
    return _Message(stream.getvalue(), views)


class _Pickler(pickle.Pickler):
    """Pickles blocks without what only this process has: files, and where rows are located."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, LazyColumns):
            raise pickle.PicklingError("columns that are read when they are used stay in their process")
        if isinstance(value, MappingProxyType):
            return dict, (dict(value),)
        if isinstance(value, Strings):
            low, high = value.offsets[[0, -1]].tolist()
            return Strings, (value.data[low:high], value.offsets - low, value.indices)
        if isinstance(value, Block):
            kind = Block if type(value).locate is Block.locate else _SentBlock
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(Block)}
            return partial(kind, **fields), ()
        return NotImplemented


class _SentBlock(Block):
    """A block whose rows only the process that sent it can locate."""

    def locate(self, row: int) -> str:
        raise _FailedError


class _Channel:
    """One end of a connection between two processes. The bytes of arrays go through memory that both have.

    Attributes:
        connection: the connection.
        outgoing: the descriptor of the memory for arrays that are sent.
        incoming: that of the memory with arrays that are received.
    """

    def __init__(self, connection: Connection, outgoing: int, incoming: int) -> None:
        self.connection, self.outgoing, self.incoming = connection, outgoing, incoming

    def has_received(self) -> bool:
        """Whether `receive` returns at once."""
        try:
            return self.connection.poll()
        except OSError as error:
            raise _EndedError from error

    def send(self, message: _Message) -> None:
        """Sends a message. The other process must have received the one before."""
        sizes = [view.nbytes for view in message.buffers]
        try:
            _transfer(os.pwritev, self.outgoing, message.buffers)
            self.connection.send_bytes(pickle.dumps((message.data, sizes)))
        except OSError as error:
            raise _EndedError from error

    def receive(self) -> Any:
        """Waits for a value.

        Raises:
            _FailedError: the function has failed, or the value can't be unpickled.
            _EndedError: the other process has ended.
        """
        try:
            data, sizes = pickle.loads(self.connection.recv_bytes())
            buffers = [np.empty(size, np.uint8).data for size in sizes]
            _transfer(os.preadv, self.incoming, buffers)
        except (OSError, EOFError) as error:
            raise _EndedError from error
        if not data:
            raise _FailedError
        try:
            return pickle.loads(data, buffers=buffers)
        except Exception as error:  # unpickling runs the methods of any class
            raise _FailedError from error

    def close(self) -> None:
        """Closes the connection and the memory."""
        self.connection.close()
        os.close(self.outgoing)
        os.close(self.incoming)


def _transfer(
    call: Callable[[int, Sequence[memoryview], int], int], descriptor: int, views: Sequence[memoryview]
) -> None:
    """Writes or reads buffers from the start of a file, without Python's lock."""
    position, waiting = 0, [view for view in views if view.nbytes]
    while waiting:
        count = call(descriptor, waiting[:_MAX_BUFFERS], position)
        if not count:
            raise OSError(f"the file has no bytes at {position}")
        position += count
        while waiting and count >= waiting[0].nbytes:
            count -= waiting.pop(0).nbytes
        if count:
            waiting[0] = waiting[0][count:]


def _open_memory() -> int:
    """The descriptor of a new file without a name: in memory, or on disk where the system has no such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("titrate")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
