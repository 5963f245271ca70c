"""What depends on the machine that compiles: caches, compiler options, devices left unused."""

from __future__ import annotations

import functools
import resource
from pathlib import Path

import jax
from jax import monitoring

# Dense products by YNNPACK: a training step of a CNN takes two thirds of the time (jaxlib 0.10, x86-64).
CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT"}

compile_seconds = {"total": 0.0}


@functools.cache
def compiler_options() -> dict[str, str]:
    """Options for `jax.jit`; those that this version of XLA doesn't know are left out."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=CPU_OPTIONS)(0)
    except jax.errors.JaxRuntimeError:
        return {}
    return CPU_OPTIONS


def prepare(cache: Path) -> None:
    """Turns on JAX's persistent compilation cache, and the count of the seconds that compiling takes."""
    jax.config.update("jax_compilation_cache_dir", str(cache / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    _count_compilation()


@functools.cache
def _count_compilation() -> None:
    def count(event: str, duration_secs: float, **_: str | int) -> None:
        if event.startswith("/jax/core/compile/"):
            compile_seconds["total"] += duration_secs

    monitoring.register_event_duration_secs_listener(count)


def peak_memory_bytes() -> int:
    """The most memory that was in use: the device's, or on the CPU that of this process."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def unused_accelerator() -> str | None:
    """Names an accelerator that this machine has and JAX doesn't use, with the remedy."""
    if jax.default_backend() != "cpu":
        return None
    for device, kind, extra in (("/dev/nvidia0", "an NVIDIA GPU", "cuda"), ("/dev/accel0", "a TPU", "tpu")):
        if Path(device).exists():
            return f"this machine has {kind}, but JAX runs on the CPU: install titrate with its extra `{extra}`"
    return None
