"""Compares the memory that a program needs with what is free before it runs, and suggests a remedy for too little.

The compiler reports what a program needs, and a run compiles its programs anyway, so the check costs nothing. Without
it, a run that is too large would end in a traceback, or be killed by the system.

The memory of JAX itself is checked before it is imported: where it meets a limit of the process as it starts or
compiles, one of its threads aborts the process, which no code can catch.
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
from runner.platform import count_cores, uses_jax
from runner.terminal import print_line

CONTROL_GROUPS = (  # version 2 and 1: controller, folder, and the files of the limit and of the use
    ("", "", "memory.max", "memory.current"),
    ("memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
RECLAIMABLE = ("inactive_file", "total_inactive_file")  # counted as used, but the system frees it on demand
MACHINE = "on this machine"
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Limit(NamedTuple):
    """A limit of this process, and the bytes of it that JAX uses, measured with JAX 0.10 on two cores.

    Attributes:
        kind: the resource.
        used: the field of /proc/self/status with its use.
        option: the option of `ulimit`.
        imports: bytes that importing JAX takes.
        start: bytes that starting JAX takes, without its threads' stacks.
    """

    kind: int
    used: str
    option: str
    imports: int
    start: int


LIMITS = (  # large, because JAX reserves addresses that it never uses
    Limit(resource.RLIMIT_AS, "VmSize", "-v", 450_000_000, 1_250_000_000),
    Limit(resource.RLIMIT_DATA, "VmData", "-d", 150_000_000, 150_000_000),
)
COMPILER_BYTES = 200_000_000  # bytes that compiling and threads take at times, below a limit
START_BYTES = 200_000_000  # the least bytes of memory of a process with JAX
STACK_BYTES = 2**23  # bytes of addresses of a thread's stack, where no limit sets it


class FreeMemory(NamedTuple):
    """Memory that a run may still use.

    Attributes:
        bytes: how much is free.
        where: the device or limit, for messages: "on this machine".
        start: bytes of it that JAX takes when it starts.
        compiler: bytes of it that compiling takes at times.
    """

    bytes: int
    where: str
    start: int = 0
    compiler: int = 0

    @property
    def left(self) -> int:
        """The bytes that a program may use."""
        return self.bytes - self.compiler

    @property
    def remedy(self) -> str:
        """What the user can do to free more."""
        return "end other processes" if self.where == MACHINE else "raise that limit"

    def __str__(self) -> str:
        compiler = f", of which compiling takes {format_bytes(self.compiler)}" if self.compiler else ""
        return f"{format_bytes(self.bytes)} are free {self.where}{compiler}"


class MemoryNeed(NamedTuple):
    """Bytes that a compiled program needs at the same time.

    Attributes:
        arguments: of its arguments.
        more: of results that do not reuse an argument's memory, and of intermediate values.
    """

    arguments: int
    more: int

    @property
    def total(self) -> int:
        return self.arguments + self.more


def measure_free_memory() -> FreeMemory | None:
    """The memory that is free on the device now; None where the device does not report it."""
    import jax

    device = jax.devices()[0]
    statistics = device.memory_stats() or {}
    if limit := statistics.get("bytes_limit"):
        return FreeMemory(limit - statistics.get("bytes_in_use", 0), f"on {device.device_kind}")
    if device.platform != "cpu":
        return None
    return measure_free_host_memory()


def measure_free_host_memory() -> FreeMemory:
    """The memory of the host that is free for this process."""
    return min(_iterate_limits(), key=lambda one: one.left)


def measure_program_need(program: Any) -> MemoryNeed | None:
    """The memory that a compiled program needs; None where the platform does not report it."""
    analysis = program.memory_analysis()
    if analysis is None:
        return None
    results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return MemoryNeed(analysis.argument_size_in_bytes, results + analysis.temp_size_in_bytes)


def estimate_training_bytes(like: Any) -> int:
    """Bytes of the train state `like` and the best weights, and on the CPU of their copy for a checkpoint."""
    import jax

    copies = 2 if jax.default_backend() == "cpu" else 1
    return copies * count_bytes((like, like.parameters, like.model_state))


def check_need(
    what: str, batch: tuple[str, int], more: int, fixed: int = 0, *, warn: Callable[[str], None] | None = None
) -> bool:
    """Whether the memory that a program needs is free.

    Args:
        what: the work of the program, for the message.
        batch: the key and the value of the batch size.
        more: bytes that the program needs in addition to those in use.
        fixed: how many of these bytes do not grow with the batch.
        warn: takes the text instead of an error; None: it is an error.

    Raises:
        RunError: it is not free; the message names a batch size that would fit.
    """
    free = measure_free_memory()
    if free is None or more <= (left := free.left):
        return True
    key, count = batch
    fits = int(count * (left - fixed) / (more - fixed)) if more > fixed else 0
    remedy = (
        f"{key}={round_to_power_of_two(fits)} would fit"
        if fits > 0
        else "no batch size would fit: choose a smaller model"
    )
    raise_or_warn(
        f"too little memory for {what}: it needs {format_bytes(more)} with {key}={count}, and {free}; {remedy}", warn
    )
    return False


def check_memory_for_jax(training: Mapping[str, Any] | None = None) -> None:
    """Raises RunError, before JAX is imported, where too little memory is free to start JAX.

    Args:
        training: the settings `training` of the run, where `check_memory: false` makes it a warning; None: none.
    """
    if uses_jax():
        return
    for free in _iterate_limits():
        if (need := free.start + free.compiler) > free.bytes:
            is_checked = (training or {}).get("check_memory", True)  # runs of earlier versions lack the key
            warn = None if is_checked else functools.partial(print_line, error=True)
            left = f"{format_bytes(free.bytes)} are free {free.where}"
            text = f"too little memory to start JAX: it needs about {format_bytes(need)}, and {left}; {free.remedy}"
            if training is None:  # no setting can make it a warning
                raise RunError(text)
            raise_or_warn(text, warn)
            return


def raise_or_warn(text: str, warn: Callable[[str], None] | None) -> None:
    """Raises RunError that names the setting which makes it a warning; or passes the warning to `warn`."""
    if warn is None:
        raise RunError(f"{text}. If that is estimated too high: training.check_memory=false only warns")
    warn(f"warning: {text}")


@contextmanager
def memory_error_location(what: str, remedy: str) -> Iterator[None]:
    """Turns an exception for lack of memory in the context into a RunError of two lines.

    Args:
        what: the work, as in "while training".
        remedy: the second line: what to do.
    """
    try:
        yield
    except Exception as error:
        if not is_memory_error(error):
            raise
        raise RunError(
            f"the memory ran out while {what}: {measure_free_memory() or 'more is needed than there is'}\n{remedy}"
        ) from error


def count_bytes(tree: Any) -> int:
    """The bytes of all arrays, or shapes of arrays, of a tree."""
    import jax

    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def round_to_power_of_two(count: int) -> int:
    """The largest power of two up to a count: an estimate suggests a usual batch size."""
    return 2 ** (count.bit_length() - 1)


def format_bytes(count: float) -> str:
    """Bytes with three digits and a unit: 4,096,000 -> 4.1 MB."""
    power = 0
    while count >= 999.5 and power + 1 < len(UNITS):
        count, power = count / 1000, power + 1
    return f"{count:.0f} {UNITS[power]}" if power == 0 or count >= 99.95 else f"{count:.3g} {UNITS[power]}"


def _iterate_limits() -> Iterator[FreeMemory]:
    """What the machine, the limits of the process and its control groups leave free."""
    with suppress(OSError, LookupError, ValueError):  # the system does not report it, or not to this user
        yield FreeMemory(_read_fields(Path("/proc/meminfo"))["MemAvailable"] * 1024, MACHINE, START_BYTES)
        for limit in LIMITS:
            if (most := resource.getrlimit(limit.kind)[0]) != resource.RLIM_INFINITY:
                used = _read_fields(Path("/proc/self/status"))[limit.used] * 1024
                where = f"below the limit of this process (ulimit {limit.option})"
                start = limit.start + _stack_bytes() + (0 if "jax" in sys.modules else limit.imports)
                yield FreeMemory(max(0, most - used), where, start, COMPILER_BYTES)
    yield FreeMemory(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), MACHINE, START_BYTES)
    with suppress(OSError, LookupError, ValueError):
        for left in iterate_control_group_free():
            yield FreeMemory(left, "in this process's control group", START_BYTES)


def _stack_bytes() -> int:
    """Bytes of addresses of the stacks of JAX's threads. It starts two or three threads per core."""
    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    threads = 3 * (int(os.environ.get("NPROC") or 0) or count_cores())
    return threads * (STACK_BYTES if stack == resource.RLIM_INFINITY else stack)


def iterate_control_group_free(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """The bytes that each control group of this process, version 1 or 2, leaves free.

    Args:
        root: the folder of the control groups.
        own: the file that lists the groups of this process.
    """
    lines = own.read_text().splitlines() if own.exists() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        for controller, folder, limit, used in CONTROL_GROUPS:
            if controller in controllers.split(","):
                place = root / folder / path.lstrip("/")
                for group in (one for one in (place, *place.parents) if one.is_relative_to(root)):
                    if (most := _read_number(group / limit)) is not None:
                        fields = _read_fields(group / "memory.stat") if (group / "memory.stat").is_file() else {}
                        reclaimable = max((fields.get(name, 0) for name in RECLAIMABLE), default=0)
                        yield max(0, most - max(0, (_read_number(group / used) or 0) - reclaimable))


def _read_number(path: Path) -> int | None:
    """The number in a file; None where the file is missing or has another word, such as `max`."""
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() and int(text) < math.pow(2, 62) else None


def _read_fields(path: Path) -> dict[str, int]:
    """The numbers by name of a file with a name and a number a line."""
    pairs = (line.replace(":", " ").split()[:2] for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
