"""What a run reads of a server, a database or a bucket, or computes of rows, is read once for all of its parts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_memory: dict[str, tuple[Hashable, Any]] | None = None
"""What was read, by what kind of thing it is. None: nothing is kept."""


@contextmanager
def reading_once() -> Iterator[None]:
    """Within the context, `read_once` keeps what it reads. An inner context uses that of the outer one."""
    global _memory
    outer = _memory
    _memory = {} if outer is None else outer
    try:
        yield
    finally:
        _memory = outer


def read_once(kind: str, key: Hashable, read: Callable[[], T]) -> T:
    """Reads something, or returns what was read last of its kind if it has the same key."""
    memory = _memory  # another thread may leave its context
    if memory is None:
        return read()
    if kind not in memory or memory[kind][0] != key:
        memory[kind] = key, read()
    return memory[kind][1]


def hand_over(kind: str, value: Any) -> None:
    """Keeps a value within the context, until `take_over` returns it. One of each kind is kept."""
    if _memory is not None:
        _memory[kind] = None, value


def take_over(kind: str) -> Any:
    """Returns the value that was handed over, which isn't kept then. None: there is none."""
    return None if _memory is None else _memory.pop(kind, (None, None))[1]
