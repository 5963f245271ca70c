"""What depends on the machine: cores, cache folders, devices, peak memory. JAX is imported only where it is used."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import resource
import stat
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from components.types import UserError

_FORKED = threading.Event()  # set in a process that was forked from one that used JAX


def _note_fork() -> None:
    if uses_jax():
        _FORKED.set()


os.register_at_fork(after_in_child=_note_fork)


def uses_jax() -> bool:
    """Whether JAX has started in this process. From then on it has threads."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bridge.backends_are_initialized()


def start_jax(cache: Path) -> None:
    """Starts JAX with a cache of compiled programs on the disk.

    Args:
        cache: the folder of all caches.

    Raises:
        UserError: JAX_PLATFORMS names a platform that JAX can't use, or this process was forked.
    """
    import jax

    from runner import compilation_cache

    check_not_forked()
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # AssertionError: the platform's plugin is not installed
        reason = (str(error) or "it has no such plugin").splitlines()[0]
        raise UserError(
            f"JAX can't use JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}: {reason}\n"
            "Unset JAX_PLATFORMS or set it to cpu; a GPU needs titrate's extra `cuda`, a TPU its extra `tpu`"
        ) from error
    compilation_cache.use_compilation_cache(cache / "jax")


def check_not_forked() -> None:
    """Raises UserError in a forked process that lacks the threads of JAX, where a computation would never end."""
    if _FORKED.is_set():
        raise UserError(
            "this process was forked from one that used JAX, and lacks JAX's threads: start it by "
            'multiprocessing.get_context("spawn"), or fork before the first run'
        )


def arithmetic_settings() -> dict[str, str]:
    """JAX's settings of the precision of arithmetic, which come from its environment."""
    import jax

    return {
        "x64": str(jax.config.jax_enable_x64).lower(),  # type: ignore[attr-defined]
        "matmul_precision": str(jax.config.jax_default_matmul_precision or "default"),  # type: ignore[attr-defined]
    }


def hardware_settings() -> dict[str, str]:
    """What the last digits of a result depend on, in addition to code, versions and configuration."""
    import jax

    device = jax.devices()[0]
    return arithmetic_settings() | {
        "device": f"{device.platform}: {device.device_kind}",
        "cpu": _processor_model(),
        "cores": os.environ.get("NPROC") or str(count_cores()),  # the threads that XLA divides sums among
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _processor_model() -> str:
    """The model of the processor. Its vector instructions decide the order of sums."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def peak_memory_bytes() -> int:
    """The peak memory in bytes: of the device since the process started, or on the CPU since `reset_peak_memory`."""
    import jax

    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use") or _process_peak_memory()


def reset_peak_memory() -> None:
    """Resets this process's peak memory for the next run of a sweep. Only Linux can do that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _process_peak_memory() -> int:
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def find_unused_accelerator() -> str | None:
    """A sentence about an accelerator that JAX does not use; None where there is none, or JAX_PLATFORMS is set."""
    import jax

    if jax.default_backend() != "cpu" or os.environ.get("JAX_PLATFORMS"):
        return None
    for device, kind, extra in (("/dev/nvidia0", "an NVIDIA GPU", "cuda"), ("/dev/accel0", "a TPU", "tpu")):
        if Path(device).exists():
            return f"this machine has {kind}, but JAX runs on the CPU: install titrate with its extra `{extra}`"
    return None


def count_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path:
    """The folder of all caches: $TITRATE_CACHE, $XDG_CACHE_HOME/titrate, ~/.cache/titrate, or without a home /tmp."""
    if own := os.environ.get("TITRATE_CACHE"):
        return Path(os.path.expanduser(own))
    common = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
    return (common if common.is_absolute() else _temporary_cache()) / "titrate"


@functools.cache
def _temporary_cache() -> Path:
    """The cache folder of a user without a home. Compiled programs are executed, so no other user may write there."""
    path = Path(tempfile.gettempdir(), f"cache-{os.getuid()}")
    with contextlib.suppress(OSError):
        path.mkdir(mode=0o700)
    found = path.lstat() if os.path.lexists(path) else None
    own = (
        found is not None and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    )
    return path if own else Path(tempfile.mkdtemp(prefix="cache-"))
