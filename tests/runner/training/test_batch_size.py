"""`training.batch_size=auto`, and the learning rate that follows the batch size."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from step_session import Session

import runner
from components.data import Arrays
from components.types import UserError
from runner.config.compose import configure
from runner.errors import ConfigError, RunError
from runner.execution.execute import Result
from runner.memory import FreeMemory
from runner.training import batch_size
from runner.training.batch_size import choose_batch_size, list_sizes

RUN = ("tracking=none", "architecture.widths=[8]", "intervals=null", "training.epochs=1", "training.batch_size=auto")
MEGABYTE = 1_000_000


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the bytes that training may need."""

    def set_free(size: float) -> None:
        memory = FreeMemory(round(size / batch_size.CPU_SHARE), "here")
        monkeypatch.setattr(batch_size, "measure_free_memory", lambda: memory)

    set_free(1e9)
    return set_free


@pytest.mark.parametrize(
    ("rows", "microbatches", "sizes"),
    [(1, 1, [1]), (99, 1, [2]), (400, 1, [2, 4, 8]), (399, 1, [2, 4]), (1200, 3, [6, 12, 24]), (5, 3, [3])],
)
def test_the_sizes_are_powers_of_two_times_the_microbatches(rows: int, microbatches: int, sizes: list[int]) -> None:
    assert list_sizes(rows, microbatches) == sizes


@dataclass
class Device:
    """A device with a need that is linear in the batch size, but for what the compiler adds to large ones."""

    fixed: int = 10 * MEGABYTE
    per_example: int = MEGABYTE
    extra: int = 0  # of sizes from 512 on
    error: Exception | None = None  # for sizes from 128 on

    def __post_init__(self) -> None:
        self.compiled: list[int] = []

    def make_trainer(self, size: int) -> Any:
        def measure_bytes() -> int:
            self.compiled.append(size)
            if self.error is not None and size >= 128:
                raise self.error
            return self.fixed + self.per_example * size + (self.extra if size >= 512 else 0)

        return SimpleNamespace(measure_bytes=measure_bytes)


EXHAUSTED = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")


@pytest.mark.parametrize(
    ("device", "megabytes", "size", "compiled"),
    [
        (Device(), 523, 512, [32, 128, 512]),
        (Device(), 521, 256, [32, 128, 256]),
        (Device(extra=100 * MEGABYTE), 523, 256, [32, 128, 512, 256]),
        (Device(), 1e6, 4096, [32, 128, 4096]),
        (Device(), 30, 16, [32, 128, 16]),
        (Device(), 1, 2, [32, 128, 2]),
        (Device(error=EXHAUSTED), 1e6, 64, [32, 128, 64]),
        (Device(error=RunError("too little memory for a batch of train")), 1e6, 64, [32, 128, 64]),
    ],
)
def test_the_largest_size_that_fits_is_found_by_few_compilations(
    device: Device, megabytes: float, size: int, compiled: list[int], free: Callable[[float], None]
) -> None:
    free(megabytes * MEGABYTE)
    assert choose_batch_size(device.make_trainer, list_sizes(50 * 4096, 1)).size == size
    assert device.compiled == compiled


def test_errors_of_choosing(free: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="of another kind"):
        choose_batch_size(Device(error=ValueError("of another kind")).make_trainer, [128])
    unknown: Any = lambda size: SimpleNamespace(measure_bytes=lambda: None)  # noqa: E731
    with pytest.raises(UserError, match=r"training.batch_size: auto: the compiler doesn't report the memory"):
        choose_batch_size(unknown, [2])
    monkeypatch.setattr(batch_size, "measure_free_memory", lambda: None)
    with pytest.raises(UserError, match=r"auto: the device \(.*\) doesn't report its free memory. Set a number."):
        choose_batch_size(Device().make_trainer, [2])


@pytest.mark.optax
def test_the_need_of_a_step_grows_with_the_batch() -> None:
    needs = [Session(f"training.batch_size={size}").trainer.measure_bytes() for size in (2, 8)]
    assert needs[0] is not None
    assert needs[1] is not None
    assert 0 < needs[0] < needs[1]


def source() -> Arrays:
    random = np.random.default_rng(0)
    columns = {"image": random.integers(0, 256, (60, 8, 8, 1), np.uint8), "label": np.arange(60) % 3}
    return Arrays(columns=columns, valid=12, test=12, seed=0)


def read_sizes(folder: Path) -> list[int]:
    """The batch size in each file of a run that records it."""
    record, summary = (json.loads((folder / name).read_text()) for name in ("record.json", "summary.json"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    return [record["parameters"]["training.batch_size"], config["training"]["batch_size"], summary["batch_size"]]


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_a_run_records_the_number_and_resumes_with_it(
    free: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> Result:
        return runner.run(*RUN, *words, source=source())

    monkeypatch.setattr(batch_size, "MIN_STEPS", 2)
    result = run()
    text = "training.batch_size=auto is 16: training needs "
    assert text in capsys.readouterr().out
    assert read_sizes(result.folder) == [16, 16, 16]
    assert result.history["step"].tolist() == [3]
    free(0)
    (result.folder / "summary.json").unlink()  # as if it was killed
    assert run().folder == result.folder
    assert read_sizes(result.folder) == [16, 16, 16]
    extended = run(f"resume={result.folder.name}", "training.epochs=2")
    assert text not in capsys.readouterr().out.rpartition("auto is 2")[2], "nothing is chosen again"
    assert extended.history["step"].tolist() == [3, 6]
    assert read_sizes(result.folder) == [16, 16, 16]
    other = run("seed=1")
    assert read_sizes(other.folder) == [2, 2, 2]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["training.compile=false"], "auto reads the memory of the compiled step, and training.compile=false. Set a"),
        (["mode=look"], "auto is chosen when the training step is compiled, which mode=look doesn't do. Set a number."),
        (["optimizer=lbfgs"], "auto makes at least 50 steps an epoch, and optimizer=lbfgs needs all examples in each"),
        (["mode=find_lr", "training.reference_batch_size=32"], "multiplies the learning rate, and mode=find_lr finds"),
        (
            ["schedule.learning_rate=1", "training.reference_batch_size=32"],
            "multiplies learning_rate, and the schedule",
        ),
        (["training.batch_size=much"], "is not a whole number in [1, inf) or an allowed value. Allowed: auto."),
    ],
)
def test_problems_before_the_data_is_read(words: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        configure(["training.batch_size=auto", *words])
    assert problem in str(error.value)


def test_auto_passes_the_checks_of_numbers() -> None:
    configure(["training.batch_size=auto", "training.microbatches=4", "augmentation=[mixup]"])


@pytest.mark.optax
def test_the_learning_rate_follows_the_batch_size() -> None:
    words = ("training.batch_size=8", "learning_rate=0.1")
    scaled, plain = Session(*words, "training.reference_batch_size=2"), Session(*words)
    assert scaled.trainer.program is plain.trainer.program
    rates = [session.step() and session.sums[-1]["last"]["learning_rate"] for session in (scaled, plain)]
    np.testing.assert_allclose(rates, [0.4, 0.1], rtol=1e-6)
