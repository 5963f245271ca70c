"""What the device has: its memory, and how fast it multiplies."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

PROBE = 1024  # rows and columns of the matrices that are multiplied
GROUPS = (("", "", "memory.max"), ("memory", "memory", "memory.limit_in_bytes"))  # cgroups: controller, folder, file


def device_memory() -> tuple[int, str] | None:
    """The bytes that a run may use on the device, and what says so; None where nothing does."""
    device = jax.devices()[0]
    if limit := (device.memory_stats() or {}).get("bytes_limit"):
        return limit, f"of {device.device_kind}, as its driver gives JAX"
    if device.platform != "cpu":
        return None
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    group = min(group_limits(), default=physical)
    return (group, "of this process's control group") if group < physical else (physical, "of this machine")


def multiply_adds_per_second() -> float:
    """Of float32 matrices; takes a few tenths of a second."""
    matrix = jax.device_put(np.random.default_rng(0).standard_normal((PROBE, PROBE), np.float32))
    multiply = jax.jit(lambda x: x @ x)
    jax.block_until_ready(multiply(matrix))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(multiply(matrix))
        seconds.append(time.perf_counter() - began)
    return PROBE**3 / min(seconds)


def group_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """The limits of the control groups, version 1 or 2, that this process is in."""
    lines = own.read_text().splitlines() if own.exists() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        for controller, folder, file in GROUPS:
            if controller in controllers.split(","):
                place = root / folder / path.lstrip("/")
                for limit in (one / file for one in (place, *place.parents) if one.is_relative_to(root)):
                    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
                        yield int(text)
