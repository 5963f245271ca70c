"""Losses that call others: wrong arguments, and teachers that nobody reads, are found before JAX is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.config.compose import configure
from runner.errors import ConfigError

PARTS = """
from dataclasses import dataclass
from components.types import Loss

class Base:
    def outputs(self, target): return self.inner.outputs(target)

@dataclass(frozen=True)
class OfLogits(Base):
    inner: Loss
    def __call__(self, logits, target): return 2 * self.inner(logits, target)

@dataclass(frozen=True)
class OfBatch(Base):
    inner: Loss
    def __call__(self, output, batch): return 2 * self.inner(output, batch)

@dataclass(frozen=True)
class Narrowing(Base):
    inner: Loss
    def __call__(self, output, batch): return 2 * self.inner(output.logits, batch.target)

@dataclass(frozen=True)
class Trying(Base):
    inner: Loss
    def __call__(self, output, batch):
        try:
            return self.inner(output, batch)
        except AttributeError:
            return self.inner(output.logits, batch.target)

@dataclass(frozen=True)
class Sum:
    parts: tuple[Loss, ...]
    def outputs(self, target): return self.parts[0].outputs(target)
    def __call__(self, logits, target): return sum(part(logits, target) for part in self.parts)
"""
BATCH = (
    "components.loss.Distillation takes (output, batch), and my_losses.{} gets only (logits, target). "
    "Give `__call__` of my_losses.{} the parameters (output, batch)."
)
LOGITS = (
    "components.loss.SoftmaxCrossEntropy takes (logits, target), and my_losses.{} calls it with (output, batch). "
    "Call it with (output.logits, batch.target)."
)
NO_TEACHER = "components.loss.Distillation needs a teacher. Add teacher=run teacher.run=RUN"
TEACHER = ["teacher=run", "teacher.run=outputs/teacher"]


@pytest.fixture(autouse=True)
def folder(in_empty_folder: Path, write_module: Callable[[str, str], None]) -> None:
    """A folder with options for the losses, and a run that can be a teacher."""
    write_module("my_losses", PARTS)
    Path("conf/loss").mkdir(parents=True)
    for name in ("OfLogits", "OfBatch", "Narrowing", "Trying"):
        Path(f"conf/loss/{name}.yaml").write_text(f"_target_: my_losses.{name}\ninner: ???\n")
    Path("conf/loss/Sum.yaml").write_text("_target_: my_losses.Sum\nparts: ???\n")
    Path("outputs/teacher").mkdir(parents=True)


@pytest.fixture(autouse=True)
def teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.config.check_teacher._find_run_problems", lambda *_: [])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["loss=OfLogits", "loss.inner=distillation", *TEACHER], ["loss.inner: " + BATCH.format(*["OfLogits"] * 2)]),
        (["loss=OfLogits", "loss.inner=distillation"], ["loss.inner: " + BATCH.format("OfLogits", "OfLogits")]),
        (["loss=OfBatch", "loss.inner=softmax_cross_entropy"], ["loss.inner: " + LOGITS.format("OfBatch")]),
        (
            ["loss=Sum", "loss.parts=[softmax_cross_entropy,distillation]", *TEACHER],
            ["loss.parts.1: " + BATCH.format("Sum", "Sum")],
        ),
        (
            ["loss=OfBatch", "loss.inner={option: OfBatch, inner: softmax_cross_entropy}"],
            ["loss.inner.inner: " + LOGITS.format("OfBatch")],
        ),
        (["loss=OfBatch", "loss.inner=distillation"], [f"loss.inner: {NO_TEACHER}"]),
        (["loss=OfBatch", "loss.inner=distillation", *TEACHER], []),
        (["loss=OfLogits", "loss.inner=softmax_cross_entropy"], []),
        (["loss=Narrowing", "loss.inner=softmax_cross_entropy"], []),
        (["loss=Trying", "loss.inner=softmax_cross_entropy"], []),
        (["loss=OfLogits", "loss.inner=softmax_cross_entropy", *TEACHER], ["teacher: no loss reads it."]),
    ],
)
def test_a_loss_calls_another_with_what_it_takes(words: list[str], expected: list[str]) -> None:
    found: tuple[str, ...] = ()
    try:
        configure(words)
    except ConfigError as error:
        found = error.problems
    assert all(any(problem.startswith(each) for problem in found) for each in expected), found
    assert bool(found) == bool(expected), found
    assert expected == ["teacher: no loss reads it."] or not any("no loss reads it" in problem for problem in found)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["loss=mse"],
            "loss: components.loss.MSE needs a real-valued target, and feature.target (label) is a target of classes. "
            "Losses for it: categorical_hinge, ",
        ),
        (["loss=OfLogits", "loss.inner=mae"], None),  # which may get another target
        (
            ["loss=weighted_sum", "loss.terms={near: {loss: triplet}, far: {loss: huber, weight: 0.5}}"],
            "loss.terms.far.loss: components.loss.Huber needs a real-valued target",
        ),
        (
            ["loss=weighted_sum", "loss.terms={near: {loss: triplet, weigt: 2.0}, far: {loss: focal}}"],
            "loss.terms.near.weigt: unknown key. Did you mean weight?",
        ),
        (
            ["loss=focal", "data=diabetes", "feature=diabetes", "metric=[mae]"],
            "loss: components.loss.Focal needs a target of classes, and feature.target (progression) is a "
            "real-valued target. "
            "Losses for it: c",
        ),
        (
            ["loss=poisson", "data=diabetes", "feature=diabetes", "metric=[mae]"],
            "feature.target.normalize: components.loss.Poisson needs numbers as they are in the data, and normalized",
        ),
        (
            ["loss=triplet"],
            "metric: accuracy would be of logits that components.loss.Triplet doesn't train. Set metric",
        ),
        (
            ["loss=weighted_sum", "loss.terms={near: {loss: triplet}}"],
            "metric: accuracy would be of logits that components.loss.WeightedSum doesn't train.",
        ),
        (["loss=weighted_sum", "loss.terms={near: {loss: triplet}, kind: {loss: focal, weight: 0.5}}"], None),
        (["loss=triplet", "metric=[]"], None),
    ],
)
def test_a_loss_suits_its_target_and_metrics(words: list[str], expected: str | None) -> None:
    found: tuple[str, ...] = ()
    try:
        configure(words)
    except ConfigError as error:
        found = error.problems
    assert found == () if expected is None else found[0].startswith(expected), found
