"""What depends on the machine."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from components.types import UserError
from runner import platform


@pytest.mark.parametrize(("device", "extra"), [("/dev/nvidia0", "cuda"), ("/dev/accel0", "tpu")])
def test_an_accelerator_that_jax_does_not_use_is_reported(
    monkeypatch: pytest.MonkeyPatch, device: str, extra: str
) -> None:
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == device)
    assert f"uv sync --inexact --extra {extra}" in str(platform.find_unused_accelerator())


def test_there_is_no_warning_if_the_accelerator_is_missing_or_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert platform.find_unused_accelerator() is None
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert platform.find_unused_accelerator() is None


def test_there_is_no_warning_if_the_cpu_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert platform.find_unused_accelerator() is None


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("", None)])
def test_an_environment_variable_sets_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: int | None
) -> None:
    monkeypatch.setenv("TITRATE_WORKERS", value)
    assert platform.count_workers() == (expected or platform.count_cores())


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "two", "²"])
def test_another_number_of_threads_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TITRATE_WORKERS", value)
    with pytest.raises(UserError, match=f"TITRATE_WORKERS: is not a number of workers, got {value}. Allowed: a whole"):
        platform.count_workers()


def test_memory_is_measured() -> None:
    assert platform.peak_memory_bytes() > 10_000_000


def test_hardware_settings_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 5})
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_this")
    found = platform.hardware_settings()
    assert (found["cores"], found["xla_flags"], found["x64"]) == ("3", "--xla_this", "false")
    assert found["device"].startswith("cpu: ")
    assert found["cpu"]
    monkeypatch.setenv("NPROC", "2")
    with jax.default_matmul_precision("bfloat16"):
        found = platform.hardware_settings()
    assert (found["cores"], found["matmul_precision"]) == ("2", "bfloat16")


START = """
from pathlib import Path
from runner import platform
from components.types import UserError
try:
    platform.start_jax(Path("cache"))
except UserError as error:
    print(error)
"""
FORK = """
import os, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from runner import platform
from components.types import UserError
platform.start_jax(Path("cache"))
if os.fork():
    os.wait()
else:
    try:
        platform.start_jax(Path("cache"))
    except UserError as error:
        print(error, flush=True)
    os._exit(0)  # JAX's own end would wait for its threads
"""


def test_a_run_in_a_fork_of_a_process_with_jax_is_an_error(in_empty_folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("this process was forked from a process that used JAX")


@pytest.mark.parametrize("name", ["cuda", pytest.param("cdua", marks=pytest.mark.slow)])
def test_a_missing_platform_is_reported_with_the_remedy(in_empty_folder: Path, name: str) -> None:
    program = (
        "from runner.__main__ import main; raise SystemExit(main(['tracking=none', 'mode=dry_run', 'quiet=true']))"
    )
    environment = os.environ | {"JAX_PLATFORMS": name}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert len(lines := done.stderr.splitlines()) == 2
    assert lines[0].startswith(f"JAX_PLATFORMS={name}: JAX can't use this platform: ")
    assert lines[1].startswith("Unset JAX_PLATFORMS or set it to cpu. For a GPU or TPU: uv sync --inexact --extra cuda")
