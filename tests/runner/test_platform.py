"""What depends on the machine."""

import os
from pathlib import Path

import jax
import pytest

from runner import platform


@pytest.mark.parametrize(("device", "extra"), [("/dev/nvidia0", "cuda"), ("/dev/accel0", "tpu")])
def test_an_accelerator_that_jax_does_not_use_is_told(monkeypatch: pytest.MonkeyPatch, device: str, extra: str) -> None:
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == device)
    assert f"its extra `{extra}`" in str(platform.unused_accelerator())


def test_no_warning_where_there_is_none_or_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert platform.unused_accelerator() is None
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert platform.unused_accelerator() is None


def test_no_warning_where_the_cpu_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert platform.unused_accelerator() is None


def test_memory_is_measured() -> None:
    assert platform.peak_memory_bytes() > 10_000_000


def test_what_the_last_digits_depend_on_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 5})
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_this")
    found = platform.last_digits()
    assert (found["cores"], found["xla_flags"], found["x64"]) == ("3", "--xla_this", "false")
    assert found["device"].startswith("cpu: ")
    assert found["cpu"]
    monkeypatch.setenv("NPROC", "2")
    with jax.default_matmul_precision("bfloat16"):
        found = platform.last_digits()
    assert (found["cores"], found["matmul_precision"]) == ("2", "bfloat16")
