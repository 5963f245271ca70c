"""Checks, before a program runs, whether the memory that it needs is free, and suggests a remedy if it is not.

The compiler reports the memory that a program needs. A run compiles its programs anyway, so the check costs nothing.
Without it, a run that is too large would end in a traceback, or be killed by the system.

The memory of JAX itself is checked before JAX is imported. If JAX exceeds a limit of the process while it starts or
compiles, one of its threads aborts the process, and no code can catch that.
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

CONTROL_GROUPS = (  # of version 2 and 1: controller, folder, file of the limit, file of the use
    ("", "", "memory.max", "memory.current"),
    ("memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
RECLAIMABLE_FIELDS = ("inactive_file", "total_inactive_file")  # memory that is in use, but is freed on demand
MACHINE = "on this machine"
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Limit(NamedTuple):
    """A limit of this process, and the bytes of it that JAX uses, measured with JAX 0.10 on two cores.

    Attributes:
        kind: the resource.
        usage_field: the field of /proc/self/status with its use.
        option: the option of `ulimit`.
        import_bytes: bytes that importing JAX takes.
        start_bytes: bytes that starting JAX takes, without the stacks of its threads.
    """

    kind: int
    usage_field: str
    option: str
    import_bytes: int
    start_bytes: int


LIMITS = (  # large numbers, because JAX reserves addresses that it never uses
    Limit(resource.RLIMIT_AS, "VmSize", "-v", 450_000_000, 1_250_000_000),
    Limit(resource.RLIMIT_DATA, "VmData", "-d", 150_000_000, 150_000_000),
)
COMPILER_BYTES = 200_000_000  # that compiling and its threads may take of a limit
START_BYTES = 200_000_000  # the minimum memory of a process with JAX
STACK_BYTES = 2**23  # the addresses of a thread's stack, if no limit sets its size


class FreeMemory(NamedTuple):
    """Free memory: of a device, of the machine, or below a limit.

    Attributes:
        bytes: the free bytes.
        where: the device or limit, for messages: "on this machine".
        start: bytes of it that JAX takes when it starts.
        compiler: bytes of it that compiling may take.
    """

    bytes: int
    where: str
    start: int = 0
    compiler: int = 0

    @property
    def program_bytes(self) -> int:
        """The free bytes that are left for a program."""
        return self.bytes - self.compiler

    @property
    def remedy(self) -> str:
        """What the user can do to have more memory."""
        return "End other processes" if self.where == MACHINE else "Raise this limit"

    def __str__(self) -> str:
        compiler = f", of which compiling takes {format_bytes(self.compiler)}" if self.compiler else ""
        return f"{format_bytes(self.bytes)} are free {self.where}{compiler}"


class MemoryNeed(NamedTuple):
    """The memory that a compiled program needs, in bytes.

    Attributes:
        arguments: memory of its arguments.
        additional: memory of intermediate values, and of results that do not reuse the memory of an argument.
    """

    arguments: int
    additional: int

    @property
    def total(self) -> int:
        return self.arguments + self.additional


def measure_free_memory() -> FreeMemory | None:
    """Measures the free memory of the device; None if the device does not report it."""
    import jax

    device = jax.devices()[0]
    statistics = device.memory_stats() or {}
    if limit := statistics.get("bytes_limit"):
        return FreeMemory(limit - statistics.get("bytes_in_use", 0), f"on {device.device_kind}")
    if device.platform != "cpu":
        return None
    return measure_free_host_memory()


def measure_free_host_memory() -> FreeMemory:
    """Measures the memory of the host that is free for this process."""
    return min(_iterate_limits(), key=lambda free: free.program_bytes)


def measure_program_need(program: Any) -> MemoryNeed | None:
    """The memory that a compiled program needs; None if the platform does not report it."""
    analysis = program.memory_analysis()
    if analysis is None:
        return None
    results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return MemoryNeed(analysis.argument_size_in_bytes, results + analysis.temp_size_in_bytes)


def estimate_training_bytes(state: Any) -> int:
    """The bytes of a train state and the best weights, and on the CPU those of their copy for a checkpoint.

    Args:
        state: the train state, or a tree of shapes in its place.
    """
    import jax

    copies = 2 if jax.default_backend() == "cpu" else 1
    return copies * count_bytes((state, state.parameters, state.model_state))


def check_need(
    activity: str,
    batch: tuple[str, int],
    needed: int,
    fixed: int = 0,
    *,
    free: FreeMemory | None = None,
    warn: Callable[[str], None] | None = None,
    remedy: str = "",
) -> bool:
    """Checks whether the memory that a program needs is free.

    Args:
        activity: what the program does, for the message: "training".
        batch: the key and the value of the batch size.
        needed: the bytes that the program needs in addition to those in use.
        fixed: the bytes among them that do not grow with the batch.
        free: the free memory. None: that of the device.
        warn: a function that reports the warning; None: too little memory is an error.
        remedy: what the user can do apart from choosing another batch size: sentences, each in a line, the last one
            without a period.

    Returns:
        Whether the memory is free, or unknown.

    Raises:
        RunError: the memory is not free. The message names a batch size that would fit.
    """
    free = free or measure_free_memory()
    if free is None or needed <= free.program_bytes:
        return True
    key, size = batch
    largest_size = int(size * (free.program_bytes - fixed) / (needed - fixed)) if needed > fixed else 0
    if largest_size > 0:
        fits = f"{key}={round_to_power_of_two(largest_size)} would fit"
    else:
        fits = "No batch size would fit" + ("" if remedy else ". Choose a smaller model")
    need = f"{format_bytes(needed)} are needed with {key}={size}, and {free}"
    texts = [f"too little memory for {activity}: {need}", *([remedy] if remedy else []), fits]
    raise_or_warn((".\n" if remedy else ". ").join(texts), warn)
    return False


def check_memory_for_jax(training: Mapping[str, Any] | None = None) -> None:
    """Raises RunError, before JAX is imported, if too little memory is free to start JAX.

    Args:
        training: the values below `training`, where `check_memory: false` turns the error into a warning; None: it is
            always an error.
    """
    if uses_jax():
        return
    for free in _iterate_limits():
        needed = free.start + free.compiler
        if needed <= free.bytes:
            continue
        need = f"about {format_bytes(needed)} are needed, and {format_bytes(free.bytes)} are free {free.where}"
        text = f"too little memory to start JAX: {need}. {free.remedy}"
        if training is None:
            raise RunError(text)
        is_error = training.get("check_memory", True)  # runs of earlier versions do not have the key
        raise_or_warn(text, None if is_error else functools.partial(print_line, error=True))
        return


def raise_or_warn(text: str, warn: Callable[[str], None] | None) -> None:
    """Passes a warning to `warn`, or raises RunError if `warn` is None. The text ends without a period."""
    if warn is None:
        raise RunError(f"{text}. If the estimate is too high, set training.check_memory=false for a warning only.")
    warn(f"warning: {text}")


@contextmanager
def memory_error_location(activity: str, remedy: str) -> Iterator[None]:
    """Turns an exception for lack of memory, raised inside, into a RunError with a message of two lines.

    Args:
        activity: what the code inside does, as in "while training".
        remedy: the second line, which says what to do.
    """
    try:
        yield
    except Exception as error:
        if not is_memory_error(error):
            raise
        free = measure_free_memory() or "more is needed than the device has"
        raise RunError(f"the memory ran out while {activity}: {free}\n{remedy}") from error


def count_bytes(tree: Any) -> int:
    """Counts the bytes of the arrays in a tree, or of the arrays whose shapes it has."""
    import jax

    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def round_to_power_of_two(count: int) -> int:
    """Rounds down to a power of two, since batch sizes usually are."""
    return 2 ** (count.bit_length() - 1)


def format_bytes(count: float) -> str:
    """Formats bytes with three digits and a unit: 4,096,000 as 4.1 MB."""
    power = 0
    while count >= 999.5 and power + 1 < len(UNITS):
        count, power = count / 1000, power + 1
    return f"{count:.0f} {UNITS[power]}" if power == 0 or count >= 99.95 else f"{count:.3g} {UNITS[power]}"


def _iterate_limits() -> Iterator[FreeMemory]:
    """Yields the free memory of the machine, and below each limit of the process and of its control groups."""
    with suppress(OSError, LookupError, ValueError):  # the system does not report it, or not to this user
        yield FreeMemory(_read_fields(Path("/proc/meminfo"))["MemAvailable"] * 1024, MACHINE, START_BYTES)
        for limit in LIMITS:
            maximum = resource.getrlimit(limit.kind)[0]
            if maximum != resource.RLIM_INFINITY:
                used = _read_fields(Path("/proc/self/status"))[limit.usage_field] * 1024
                where = f"below the limit of this process (ulimit {limit.option})"
                start = (
                    limit.start_bytes + _estimate_stack_bytes() + (0 if "jax" in sys.modules else limit.import_bytes)
                )
                yield FreeMemory(max(0, maximum - used), where, start, COMPILER_BYTES)
    yield FreeMemory(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), MACHINE, START_BYTES)
    with suppress(OSError, LookupError, ValueError):
        for free_bytes in iterate_control_group_free():
            yield FreeMemory(free_bytes, "in this process's control group", START_BYTES)


def _estimate_stack_bytes() -> int:
    """Estimates the bytes of addresses of the stacks of JAX's threads. JAX starts two or three threads per core."""
    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    threads = 3 * (int(os.environ.get("NPROC") or 0) or count_cores())
    return threads * (STACK_BYTES if stack == resource.RLIM_INFINITY else stack)


def iterate_control_group_free(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """Yields the free bytes of each control group (version 1 or 2) of this process.

    Args:
        root: the folder of the control groups.
        own: the file that lists the groups of this process.
    """
    lines = own.read_text().splitlines() if own.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller, folder, limit_file, usage_file in CONTROL_GROUPS:
            if controller not in controllers.split(","):
                continue
            innermost = root / folder / path.lstrip("/")
            for group in (innermost, *innermost.parents):  # a process is subject to the limits of all outer groups
                limit = _read_number(group / limit_file) if group.is_relative_to(root) else None
                if limit is not None:
                    fields = _read_fields(group / "memory.stat") if (group / "memory.stat").is_file() else {}
                    reclaimable = max(fields.get(name, 0) for name in RECLAIMABLE_FIELDS)
                    used = max(0, (_read_number(group / usage_file) or 0) - reclaimable)
                    yield max(0, limit - used)


def _read_number(path: Path) -> int | None:
    """Reads the number in a file; None if the file is missing or has another text, such as `max`."""
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() and int(text) < math.pow(2, 62) else None


def _read_fields(path: Path) -> dict[str, int]:
    """Reads the numbers, by name, in a file with a name and a number on each line."""
    pairs = (line.replace(":", " ").split()[:2] for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
