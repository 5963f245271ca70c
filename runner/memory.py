"""What a program needs of the device's memory and what is free, before it runs, and what to do where it is too little.

The compiler says what a program needs, and a run compiles its programs anyway, so asking costs nothing. Without asking,
a run that is too large ends as an allocation of the system's decides: with a traceback, or killed.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax

from runner.errors import RunError

GROUPS = (  # of control groups, version 2 and 1: controller, folder, and the files of the limit and of what is taken
    ("", "", "memory.max", "memory.current"),
    ("memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
RECLAIMED = ("inactive_file", "total_inactive_file")  # what a group's use counts and the system gives up when asked
EXHAUSTED = ("RESOURCE_EXHAUSTED", "bad_alloc", "Out of memory")
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Free(NamedTuple):
    """Memory that a run may still take."""

    bytes: int
    where: str

    def __str__(self) -> str:
        return f"{size(self.bytes)} are free {self.where}"


class Need(NamedTuple):
    """Bytes that a compiled program needs at once."""

    arguments: int
    more: int  # beside them: results that take no argument's place, and what it computes with

    @property
    def total(self) -> int:
        return self.arguments + self.more


def free() -> Free | None:
    """What is free on the device now; None where nothing says it."""
    device = jax.devices()[0]
    statistics = device.memory_stats() or {}
    if limit := statistics.get("bytes_limit"):
        return Free(limit - statistics.get("bytes_in_use", 0), f"on {device.device_kind}")
    if device.platform != "cpu":
        return None
    return min(_free(), key=lambda one: one.bytes)


def need(program: Any) -> Need | None:
    """What a compiled program needs; None where the platform doesn't say."""
    found = program.memory_analysis()
    if found is None:
        return None
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    return Need(found.argument_size_in_bytes, results + found.temp_size_in_bytes)


def check(what: str, batch: tuple[str, int], more: int, fixed: int = 0) -> None:
    """Raises RunError where a program needs more memory than is free, with about the batch that would fit.

    Args:
        what: is done.
        batch: the key and the value of the batch's size.
        more: bytes that it needs beside what is there.
        fixed: those of them that don't grow with the batch.
    """
    found = free()
    if found is None or more <= found.bytes:
        return
    key, count = batch
    fits = int(count * (found.bytes - fixed) / (more - fixed)) if more > fixed else 0
    remedy = f"{key}={power_of_two(fits)} would fit" if fits > 0 else "no batch size would fit: choose a smaller model"
    raise RunError(f"too little memory for {what}: it needs {size(more)} with {key}={count}, and {found}; {remedy}")


@contextmanager
def enough(what: str, remedy: str) -> Iterator[None]:
    """Raises RunError, in two lines, where the memory gives out."""
    try:
        yield
    except RunError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(word in str(error) for word in EXHAUSTED):
            raise
        raise RunError(
            f"the memory gave out while {what}: {free() or 'more is needed than there is'}\n{remedy}"
        ) from error


def bytes_of(tree: Any) -> int:
    """Of all arrays of a tree, or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def power_of_two(count: int) -> int:
    """The one at or below: what fits is an estimate, and such sizes are usual."""
    return 2 ** (count.bit_length() - 1)


def size(count: float) -> str:
    """Bytes as people read them, three digits of them: 4,096,000 -> 4.1 MB."""
    power = 0
    while count >= 999.5 and power + 1 < len(UNITS):
        count, power = count / 1000, power + 1
    return f"{count:.0f} {UNITS[power]}" if power == 0 or count >= 99.95 else f"{count:.3g} {UNITS[power]}"


def _free() -> Iterator[Free]:
    """What each of those that limit this process leaves to it."""
    with suppress(OSError, LookupError, ValueError):  # what a system doesn't tell, or not to everyone
        yield Free(_fields(Path("/proc/meminfo"))["MemAvailable"] * 1024, "on this machine")
        for kind, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
            if (limit := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY:
                taken = _fields(Path("/proc/self/status"))[name] * 1024
                yield Free(max(0, limit - taken), "below the limit of this process (ulimit)")
    yield Free(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "on this machine")
    with suppress(OSError, LookupError, ValueError):
        for left in group_free():
            yield Free(left, "in this process's control group")


def group_free(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What the control groups, version 1 or 2, that this process is in leave to it."""
    lines = own.read_text().splitlines() if own.exists() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        for controller, folder, limit, taken in GROUPS:
            if controller in controllers.split(","):
                place = root / folder / path.lstrip("/")
                for group in (one for one in (place, *place.parents) if one.is_relative_to(root)):
                    if (most := _number(group / limit)) is not None:
                        fields = _fields(group / "memory.stat") if (group / "memory.stat").is_file() else {}
                        given_up = max((fields.get(name, 0) for name in RECLAIMED), default=0)
                        yield max(0, most - max(0, (_number(group / taken) or 0) - given_up))


def _number(path: Path) -> int | None:
    """That of a file; None where it has none, as `max` is."""
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() and int(text) < math.pow(2, 62) else None


def _fields(path: Path) -> dict[str, int]:
    """The numbers of a file of names and numbers."""
    pairs = (line.replace(":", " ").split()[:2] for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
