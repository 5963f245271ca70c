"""What depends on the machine: caches of the compiler, memory, devices left unused."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

import jax

from runner import compilation_cache


def prepare(cache: Path) -> None:
    """Keeps what JAX compiles in a cache on the disk."""
    compilation_cache.use(cache / "jax")


def peak_memory_bytes() -> int:
    """The most memory that was in use: the device's, or on the CPU that of this process since `forget_peak`."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use") or _peak_of_process()


def forget_peak() -> None:
    """Begins to measure this process's peak anew, where the system can (Linux), for the runs of a sweep."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_of_process() -> int:
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def unused_accelerator() -> str | None:
    """Names an accelerator that this machine has and JAX doesn't use, with the remedy."""
    if jax.default_backend() != "cpu":
        return None
    for device, kind, extra in (("/dev/nvidia0", "an NVIDIA GPU", "cuda"), ("/dev/accel0", "a TPU", "tpu")):
        if Path(device).exists():
            return f"this machine has {kind}, but JAX runs on the CPU: install titrate with its extra `{extra}`"
    return None
