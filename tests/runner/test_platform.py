"""What depends on the machine."""

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
