"""Exceptions in the user's own parts show the part and the user's lines; those of our code keep their traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from options import write_option

import runner
from runner.__main__ import main
from runner.errors import PartError

MODULE = """
import flax.linen as nn
import jax.numpy as jnp
import optax
from helper_parts import halve

from components.loss import SoftmaxCrossEntropy
from components.types import Output, Schedule

class Loss:
    def outputs(self, target): return 10

class DividingLoss(Loss):
    def __call__(self, logits, target): return logits[:, 0] * halve(1)

class LeavingLoss(Loss):
    def __call__(self, logits, target): exit(0)

class EmptyLoss(Loss):
    def __call__(self, logits, target): return next(iter(()))

class SilentError(Exception):
    def __str__(self): raise ValueError

class SilentLoss(Loss):
    def __call__(self, logits, target): raise SilentError

class TracedLoss(Loss):
    def __call__(self, logits, target): return 1 if logits.sum() > 0 else 2

class UnbuiltLoss(Loss):
    def __init__(self): raise ValueError
    def __call__(self, logits, target): return logits[:, 0]

class EndlessLoss(Loss):
    def __call__(self, logits, target): return self(logits, target)

class InheritingLoss(DividingLoss): ...

class WrappingLoss(Loss):
    def __call__(self, output, batch):
        inner = SoftmaxCrossEntropy()
        return inner(output, batch)

class AddingNet(nn.Module):
    outputs: int
    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, x, *, train): return Output(self.logits(nn.Dense(10)(x.reshape(len(x), -1))))

    def logits(self, x): return jnp.add("a", x)

class CountingMetric:
    higher_is_better = True
    collects = False
    def bind(self, target): return self
    def measure(self, output, batch): return {"hits": batch.mask.sum()}
    def result(self, sums): return {}["hits"]

class FailingPicture:
    def __call__(self, key, inputs, target): raise RuntimeError("no picture")

class MissingFile:
    def sizes(self): return {"train": 1}
    def blocks(self, part): return []
    def splits(self): return {}
    def fingerprint(self): return open("nothing.csv").read()

def failing_rate(learning_rate): return Schedule(lambda step, total: {"learning_rate": undefined})

def failing_sgd(learning_rate):
    def update(updates, state, parameters=None): return updates.nothing
    return optax.GradientTransformation(optax.sgd(0.1).init, update)
"""
HELPERS = """
def halve(losses):
    return losses / 0
"""
CASES = [
    (
        "loss",
        "DividingLoss",
        "ZeroDivisionError: division by zero",
        ["return logits[:, 0] * halve(1)", "return losses"],
    ),
    ("loss", "InheritingLoss", "ZeroDivisionError: division by zero", ["return logits[:, 0] *", "return losses"]),
    ("loss", "LeavingLoss", "SystemExit: 0", ["def __call__(self, logits, target): exit(0)"]),
    ("loss", "EmptyLoss", "StopIteration", ["return next(iter(()))"]),
    ("loss", "SilentLoss", "SilentError", ["raise SilentError"]),
    ("loss", "TracedLoss", "TracerBoolConversionError: Attempted boolean conversion", ["return 1 if logits.sum()"]),
    ("loss", "UnbuiltLoss", "ValueError", ["def __init__(self): raise ValueError"]),
    ("loss", "EndlessLoss", "RecursionError: maximum recursion depth exceeded", ["return self(logits, target)"]),
    (
        "loss",
        "WrappingLoss",
        "AttributeError: 'Output' object has no attribute 'ndim'",
        ["return inner(output, batch)"],
    ),
    ("architecture", "AddingNet", "TypeError: ", ["return Output(", "def logits("]),
    ("augmentation.mine", "FailingPicture", "RuntimeError: no picture", ["def __call__(self, key, inputs"]),
    ("data", "MissingFile", "FileNotFoundError: [Errno 2] No such file or directory: 'nothing.csv'", ["fingerprint("]),
    ("schedule", "failing_rate", "NameError: name 'undefined' is not defined", ["def failing_rate("]),
    ("optimizer", "failing_sgd", "AttributeError: 'dict' object has no attribute 'nothing'", ["def update("]),
]


@pytest.fixture(autouse=True)
def failing_parts(write_module: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """An allowed module of the user, and a module that it imports."""
    write_module("failing_parts", MODULE)
    Path("helper_parts.py").write_text(HELPERS)
    monkeypatch.delenv("JAX_TRACEBACK_FILTERING", raising=False)


@pytest.mark.optax
@pytest.mark.parametrize(("key", "name", "raised", "lines"), CASES, ids=[name for _, name, *_ in CASES])
def test_the_part_and_the_users_own_lines_are_shown(
    key: str, name: str, raised: str, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command := write_option("failing_parts", key, name)) == 1
    first, *shown, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{key}: failing_parts.{name} raised {raised}"), first
    assert first.endswith(f"[set by conf/{key.partition('.')[0]}/mine.yaml, chosen by {command[0]}]")
    assert len(shown) == len(lines)
    for line, text in zip(shown, lines, strict=True):
        assert line.startswith(("  failing_parts.py:", "  helper_parts.py:3: return losses / 0"))
        assert text in line
    assert last == "Set JAX_TRACEBACK_FILTERING=off to see the whole traceback."
    assert not Path("outputs").exists()


@pytest.mark.optax
def test_the_log_has_the_whole_traceback_of_a_run_that_has_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(write_option("failing_parts", "metric.mine", "CountingMetric")) == 1
    first, _, last = capsys.readouterr().err.splitlines()
    (folder,) = Path("outputs").iterdir()
    assert last == f"The whole traceback is in {folder}/log.txt"
    log = (folder / "log.txt").read_text()
    assert "runner/program/metric_sums.py" in log
    assert "KeyError: 'hits'" in log
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["error"]) == ("failed", first)


@pytest.mark.optax
def test_the_whole_traceback_is_shown_if_jax_filtering_is_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAX_TRACEBACK_FILTERING", "off")
    assert main(write_option("failing_parts", "loss", "DividingLoss")) == 1
    assert "runner/program/parts.py" in capsys.readouterr().err


@pytest.mark.optax
def test_a_dry_run_shows_the_same_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*write_option("failing_parts", "loss", "DividingLoss"), "mode=dry_run"]) == 1
    assert capsys.readouterr().err.startswith("loss: failing_parts.DividingLoss raised ZeroDivisionError")


@pytest.mark.optax
def test_from_python_the_exception_is_the_cause() -> None:
    with pytest.raises(PartError, match=r"loss: failing_parts\.DividingLoss raised") as caught:
        runner.run(*write_option("failing_parts", "loss", "DividingLoss"))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_error_in_our_own_code_keeps_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.program.parts.check_numbers", None)
    assert main(["experiment=digits_mlp", "tracking=none", "quiet=true", "training.limit_batches=1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert "runner/program/parts.py" in error
