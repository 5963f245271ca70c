"""What a program needs of the device's memory and what is free, before it runs, and what to do where it is too little.

The compiler says what a program needs, and a run compiles its programs anyway, so asking costs nothing. Without asking,
a run that is too large ends as an allocation of the system's decides: with a traceback, or killed.

JAX itself is asked for before it is imported: where a limit of the process is met while it starts or compiles, a thread
of its own aborts the process, which nothing can catch.
"""

from __future__ import annotations

import functools
import math
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from runner.errors import RunError, is_memory_error
from runner.platform import cores, uses_jax
from runner.terminal import print_line

GROUPS = (  # of control groups, version 2 and 1: controller, folder, and the files of the limit and of what is taken
    ("", "", "memory.max", "memory.current"),
    ("memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
RECLAIMED = ("inactive_file", "total_inactive_file")  # what a group's use counts and the system gives up when asked
MACHINE = "on this machine"
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Limit(NamedTuple):
    """A limit of this process, in bytes, and what JAX takes of it; measured with JAX 0.10 on two cores."""

    kind: int
    taken: str  # in /proc/self/status
    option: str  # of ulimit
    imports: int
    start: int  # without its threads


LIMITS = (  # addresses are reserved that are never used
    Limit(resource.RLIMIT_AS, "VmSize", "-v", 450_000_000, 1_250_000_000),
    Limit(resource.RLIMIT_DATA, "VmData", "-d", 150_000_000, 150_000_000),
)
COMPILER = 200_000_000  # bytes below a limit that compiling and threads take at times
START = 200_000_000  # bytes of memory that a process with JAX takes at least
STACK = 2**23  # bytes of addresses that a thread takes, where no limit says it


class Free(NamedTuple):
    """Memory that a run may still take."""

    bytes: int
    where: str
    start: int = 0  # bytes of it that JAX takes as it starts
    compiler: int = 0  # bytes of it that compiling takes at times

    @property
    def left(self) -> int:
        """The bytes that programs may take."""
        return self.bytes - self.compiler

    @property
    def remedy(self) -> str:
        """What makes it more."""
        return "end other processes" if self.where == MACHINE else "raise that limit"

    def __str__(self) -> str:
        besides = f", of which compiling takes {format_bytes(self.compiler)}" if self.compiler else ""
        return f"{format_bytes(self.bytes)} are free {self.where}{besides}"


class Need(NamedTuple):
    """Bytes that a compiled program needs at once."""

    arguments: int
    more: int  # beside them: results that take no argument's place, and what it computes with

    @property
    def total(self) -> int:
        return self.arguments + self.more


def free_memory() -> Free | None:
    """What is free on the device now; None where nothing says it."""
    import jax

    device = jax.devices()[0]
    statistics = device.memory_stats() or {}
    if limit := statistics.get("bytes_limit"):
        return Free(limit - statistics.get("bytes_in_use", 0), f"on {device.device_kind}")
    if device.platform != "cpu":
        return None
    return free_host_memory()


def free_host_memory() -> Free:
    """What is free for this process beside the device's memory."""
    return min(_free(), key=lambda one: one.left)


def program_need(program: Any) -> Need | None:
    """What a compiled program needs; None where the platform doesn't say."""
    found = program.memory_analysis()
    if found is None:
        return None
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    return Need(found.argument_size_in_bytes, results + found.temp_size_in_bytes)


def training_bytes(like: Any) -> int:
    """Bytes that training holds all the time, where its state has these shapes: the state and the best weights.

    On the CPU also the copy of both that a checkpoint is written from.
    """
    import jax

    copies = 2 if jax.default_backend() == "cpu" else 1
    return copies * byte_count((like, like.parameters, like.model_state))


def check_need(
    what: str, batch: tuple[str, int], more: int, fixed: int = 0, *, warn: Callable[[str], None] | None = None
) -> bool:
    """Whether what a program needs is free; raises RunError where it isn't, with about the batch that would fit.

    Args:
        what: is done.
        batch: the key and the value of the batch's size.
        more: bytes that it needs beside what is there.
        fixed: those of them that don't grow with the batch.
        warn: takes the error's text instead.
    """
    found = free_memory()
    if found is None or more <= (left := found.left):
        return True
    key, count = batch
    fits = int(count * (left - fixed) / (more - fixed)) if more > fixed else 0
    remedy = f"{key}={power_of_two(fits)} would fit" if fits > 0 else "no batch size would fit: choose a smaller model"
    refuse_or_warn(
        f"too little memory for {what}: it needs {format_bytes(more)} with {key}={count}, and {found}; {remedy}", warn
    )
    return False


def check_start(training: Mapping[str, Any] | None = None) -> None:
    """Raises RunError, before JAX is imported, where too little memory is free for it to start.

    `training` are the settings of that name; None: there are none that could allow it.
    """
    if uses_jax():
        return
    for found in _free():
        if (need := found.start + found.compiler) > found.bytes:
            checked = (training or {}).get("check_memory", True)  # runs of earlier versions have no such key
            warn = None if checked else functools.partial(print_line, error=True)
            left = f"{format_bytes(found.bytes)} are free {found.where}"
            text = f"too little memory to start JAX: it needs about {format_bytes(need)}, and {left}; {found.remedy}"
            if training is None:  # there is no word for it
                raise RunError(text)
            refuse_or_warn(text, warn)
            return


def refuse_or_warn(text: str, warn: Callable[[str], None] | None) -> None:
    """Raises RunError, with the word that makes it a warning; or gives that to `warn`."""
    if warn is None:
        raise RunError(f"{text}. If that is estimated too high: training.check_memory=false only warns")
    warn(f"warning: {text}")


@contextmanager
def memory_error_location(what: str, remedy: str) -> Iterator[None]:
    """Raises RunError, in two lines, where the memory gives out."""
    try:
        yield
    except Exception as error:
        if not is_memory_error(error):
            raise
        raise RunError(
            f"the memory gave out while {what}: {free_memory() or 'more is needed than there is'}\n{remedy}"
        ) from error


def byte_count(tree: Any) -> int:
    """Of all arrays of a tree, or of their shapes."""
    import jax

    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def power_of_two(count: int) -> int:
    """The one at or below: what fits is an estimate, and such sizes are usual."""
    return 2 ** (count.bit_length() - 1)


def format_bytes(count: float) -> str:
    """Bytes as people read them, three digits of them: 4,096,000 -> 4.1 MB."""
    power = 0
    while count >= 999.5 and power + 1 < len(UNITS):
        count, power = count / 1000, power + 1
    return f"{count:.0f} {UNITS[power]}" if power == 0 or count >= 99.95 else f"{count:.3g} {UNITS[power]}"


def _free() -> Iterator[Free]:
    """What each of those that limit this process leaves to it."""
    with suppress(OSError, LookupError, ValueError):  # what a system doesn't tell, or not to everyone
        yield Free(_fields(Path("/proc/meminfo"))["MemAvailable"] * 1024, MACHINE, START)
        for limit in LIMITS:
            if (most := resource.getrlimit(limit.kind)[0]) != resource.RLIM_INFINITY:
                taken = _fields(Path("/proc/self/status"))[limit.taken] * 1024
                where = f"below the limit of this process (ulimit {limit.option})"
                start = limit.start + _stacks() + (0 if "jax" in sys.modules else limit.imports)
                yield Free(max(0, most - taken), where, start, COMPILER)
    yield Free(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), MACHINE, START)
    with suppress(OSError, LookupError, ValueError):
        for left in control_group_free():
            yield Free(left, "in this process's control group", START)


def _stacks() -> int:
    """Bytes of addresses that the stacks of JAX's threads take: it starts two or three for each core."""
    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    threads = 3 * (int(os.environ.get("NPROC") or 0) or cores())
    return threads * (STACK if stack == resource.RLIM_INFINITY else stack)


def control_group_free(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
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
