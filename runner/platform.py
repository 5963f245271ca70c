"""Facts about the machine: devices, cores, peak memory and cache folders. JAX is imported only by functions."""

from __future__ import annotations

import math
import os
import platform
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path

from components.cache_folder import cache_folder as cache_folder
from components.types import UserError

_FORKED = threading.Event()  # set in a process that was forked from a process with JAX


def _note_fork() -> None:
    if uses_jax():
        _FORKED.set()


os.register_at_fork(after_in_child=_note_fork)


def uses_jax() -> bool:
    """Whether JAX has started in this process, and so has threads."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bridge.backends_are_initialized()


def start_jax(cache: Path) -> None:
    """Starts JAX with a cache of compiled programs on the disk.

    Args:
        cache: the folder of all caches.

    Raises:
        UserError: JAX_PLATFORMS names a platform that JAX can't use, or this process was forked from one with JAX.
    """
    import jax

    from runner import compilation_cache

    check_not_forked()
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # AssertionError: the platform's plugin is not installed
        reason = (str(error) or "its plugin is not installed").splitlines()[0]
        raise UserError(
            f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}: JAX can't use this platform: {reason}\n"
            "Unset JAX_PLATFORMS or set it to cpu. For a GPU or TPU: uv sync --inexact --extra cuda (or tpu)."
        ) from error
    compilation_cache.use_compilation_cache(cache / "jax")


def check_not_forked() -> None:
    """Raises UserError in a process that was forked from one with JAX. Without JAX's threads, it would wait forever."""
    if _FORKED.is_set():
        raise UserError(
            "this process was forked from a process that used JAX, so it has no threads of JAX. Start it with "
            'multiprocessing.get_context("spawn"), or fork before the first run.'
        )


def arithmetic_settings() -> dict[str, str]:
    """JAX's settings of arithmetic precision, which environment variables may set."""
    import jax

    return {
        "x64": str(jax.config.jax_enable_x64).lower(),  # type: ignore[attr-defined]
        "matmul_precision": str(jax.config.jax_default_matmul_precision or "default"),  # type: ignore[attr-defined]
    }


def hardware_settings() -> dict[str, str]:
    """The settings and hardware that the last digits of a result depend on."""
    import jax

    device = jax.devices()[0]
    return arithmetic_settings() | {
        "device": f"{device.platform}: {device.device_kind}",
        "cpu": _processor_model(),
        "cores": os.environ.get("NPROC") or str(count_cores()),  # XLA divides sums among this many threads
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _processor_model() -> str:
    """The model of the processor. Its vector instructions determine the order of summation."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def peak_memory_bytes() -> int:
    """The peak memory: of the device since the process started, or of the process since `reset_peak_memory`."""
    import jax

    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use") or _process_peak_memory()


def reset_peak_memory() -> None:
    """Resets the peak memory of this process, for the next run of a sweep. It works on Linux only."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _process_peak_memory() -> int:
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def release_unused_memory() -> None:
    """Returns to the system the memory of freed tables, which Arrow keeps for the next ones."""
    if (pyarrow := sys.modules.get("pyarrow")) is not None:
        pyarrow.default_memory_pool().release_unused()


def find_unused_accelerator() -> str | None:
    """A warning about an accelerator that JAX does not use; None: there is none, or JAX_PLATFORMS is set."""
    import jax

    if jax.default_backend() != "cpu" or os.environ.get("JAX_PLATFORMS"):
        return None
    for device, kind, extra in (("/dev/nvidia0", "an NVIDIA GPU", "cuda"), ("/dev/accel0", "a TPU", "tpu")):
        if Path(device).exists():
            install = f"uv sync --inexact --extra {extra}"
            return f"this machine has {kind}, but JAX runs on the CPU. Install the packages for it: {install}"
    return None


def count_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_workers() -> int:
    """The number of workers that fit and encode columns: $TITRATE_WORKERS, by default one per core.

    Raises:
        UserError: the variable is not a whole number from 1.
    """
    value = os.environ.get("TITRATE_WORKERS") or str(count_cores())
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise UserError(
            f"TITRATE_WORKERS: is not a number of workers, got {value}. Allowed: a whole number from 1. Unset it for "
            "one worker per core."
        )
    return int(value)


def encoded_cache_bytes() -> float:
    """The maximum size of the cache of encoded data: $TITRATE_CACHE_GB gigabytes (10^9 bytes), by default 20.

    20 GB hold a hundred tables of five million rows, and are a tenth of the disk of a small computer.

    Raises:
        UserError: the variable is not a number of at least 0.
    """
    value = os.environ.get("TITRATE_CACHE_GB") or "20"
    try:
        limit = float(value)
    except ValueError:
        limit = math.nan
    if not limit >= 0:
        raise UserError(
            f"TITRATE_CACHE_GB: is not a size in gigabytes, got {value}. Allowed: a number of at least 0, or inf."
        )
    return limit * 1e9
