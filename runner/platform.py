"""What depends on the machine: caches of the compiler, memory, devices left unused."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

import jax


def prepare(cache: Path) -> None:
    """Turns on JAX's persistent compilation cache."""
    jax.config.update("jax_compilation_cache_dir", str(cache / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def peak_memory_bytes() -> int:
    """The most memory in use: the device's since the process began, or on the CPU the process's since `forget_peak`."""
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
    """Names an accelerator that this machine has and JAX doesn't use, with the remedy; None if JAX_PLATFORMS is set."""
    if jax.default_backend() != "cpu" or os.environ.get("JAX_PLATFORMS"):
        return None
    for device, kind, extra in (("/dev/nvidia0", "an NVIDIA GPU", "cuda"), ("/dev/accel0", "a TPU", "tpu")):
        if Path(device).exists():
            return f"this machine has {kind}, but JAX runs on the CPU: install titrate with its extra `{extra}`"
    return None
