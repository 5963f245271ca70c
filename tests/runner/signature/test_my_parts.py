"""Parts of the user that lack a member, or return the wrong thing, are errors before the run has a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from options import write_option

from runner.__main__ import main

MODULE = """
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from components.types import Output, Schedule


class Loss:
    def outputs(self, target): return 10
    def __call__(self, logits, target): return -jnp.take_along_axis(nn.log_softmax(logits), target[:, None], 1)[:, 0]

class ScalarLoss(Loss):
    def __call__(self, logits, target): return super().__call__(logits, target).mean()

class ColumnLoss(Loss):
    def __call__(self, logits, target): return super().__call__(logits, target)[:, None]

class WholeLoss(Loss):
    def __call__(self, logits, target): return target

class PairLoss(Loss):
    def __call__(self, logits, target): return logits, target

class NoOutputs:
    def __call__(self, logits, target): return logits[:, 0]

class FloatOutputs(Loss):
    def outputs(self, target): return 10.0

def not_a_loss(): return 3


class Net(nn.Module):
    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train): return Output(self.logits(x.reshape(len(x), -1)))

    def logits(self, x): return nn.Dense(self.outputs)(x)

class NoField(nn.Module):
    def __call__(self, x, *, train): return x

class NoTrain(nn.Module):
    outputs: int
    def __call__(self, x): return x

class BareArray(Net):
    @nn.compact
    def __call__(self, x, *, train): return nn.Dense(self.outputs)(x.reshape(len(x), -1))

class Flat(Net):
    def logits(self, x): return nn.Dense(1)(x)[:, 0]

class Wide(Net):
    def logits(self, x): return nn.Dense(11)(x)

class BadInEvaluation(Net):
    @nn.compact
    def __call__(self, x, *, train):
        logits = nn.Dense(self.outputs)(x.reshape(len(x), -1))
        return Output(logits if train else logits.sum())

class InternalLoss(Net):
    @nn.compact
    def __call__(self, x, *, train):
        logits = nn.Dense(self.outputs)(x.reshape(len(x), -1))
        return Output(logits, {"size": jnp.square(logits).sum()})

class NoModule:
    def __init__(self, outputs): self.outputs = outputs
    def __call__(self, x, *, train): return x


@dataclass(frozen=True)
class Metric:
    higher_is_better = True
    collects = False
    def bind(self, target): return self
    def measure(self, output, batch): return {"hits": batch.mask.sum()}
    def result(self, sums): return 1.0

class NoDirection:
    collects = False
    def bind(self, target): return self
    def measure(self, output, batch): return {}
    def result(self, sums): return 1.0

class NoBind(Metric):
    def bind(self, target): pass

class MeasuresNumber(Metric):
    def measure(self, output, batch): return batch.mask.sum()

class CollectsSum(Metric):
    collects = True

class ResultIsText(Metric):
    def result(self, sums): return "good"


class ArrayPenalty:
    def __call__(self, parameters): return jnp.zeros(3)

class NoPenalty:
    def penalty(self, parameters): return 0.0

class Grows:
    def __call__(self, parameters): return [parameters]

class Widens:
    def __call__(self, parameters): return jax.tree.map(lambda leaf: leaf[None], parameters)

class Augmentation:
    def __call__(self, key, inputs, target): return inputs, target

class OnlyInputs(Augmentation):
    def __call__(self, key, inputs, target): return inputs

class Renames(Augmentation):
    def __call__(self, key, inputs, target): return {"pixels": inputs["inputs"]}, target

class Halves(Augmentation):
    def __call__(self, key, inputs, target): return {"inputs": inputs["inputs"][::2]}, target[::2]


def bare_rate(learning_rate): return lambda step, total: {"learning_rate": learning_rate}

def no_rate(learning_rate): return Schedule(lambda step, total: {"momentum": jnp.float32(0.9)})

def rates(learning_rate): return Schedule(lambda step, total: {"learning_rate": jnp.ones(3)})

def only_number(learning_rate): return Schedule(lambda step, total: jnp.float32(learning_rate))

def sgd(): return optax.sgd(0.1)

def update(learning_rate): return lambda gradients: gradients
"""
CASES = [
    (
        "loss",
        "ScalarLoss",
        "ScalarLoss returns float32 (). It must return a number for each example, float32 (32,)",
    ),
    ("loss", "ColumnLoss", "ColumnLoss returns float32 (32, 1)."),
    ("loss", "WholeLoss", "WholeLoss returns int32 (32,)."),
    ("loss", "PairLoss", "PairLoss returns a tuple of 2."),
    (
        "loss",
        "NoOutputs",
        "`strange_parts.NoOutputs` has no `outputs`. To be a loss, it needs all members of components.types.Loss",
    ),
    ("loss", "FloatOutputs", "FloatOutputs.outputs returns 10.0. It must return a whole number"),
    ("loss", "not_a_loss", "`strange_parts.not_a_loss` has no `outputs`, `__call__`. To be a loss,"),
    ("loss", "Metric", "`strange_parts.Metric` has no `outputs`, `__call__`. To be a loss,"),
    (
        "architecture",
        "NoField",
        "strange_parts.NoField has no parameter `outputs`, the number of outputs of each example. Add it.",
    ),
    ("architecture", "NoTrain", "strange_parts.NoTrain.__call__ has no parameter `train`. Add it."),
    ("architecture", "BareArray", "BareArray returns float32 (32, 10). It must return an Output"),
    (
        "architecture",
        "Flat",
        "Flat: `logits` returns float32 (32,). It must return `outputs` numbers for each example",
    ),
    ("architecture", "Wide", "Wide: `logits` returns float32 (32, 11)."),
    ("architecture", "BadInEvaluation", "BadInEvaluation: `logits` returns float32 ()."),
    ("architecture", "InternalLoss", "InternalLoss: `losses.size` returns float32 ()."),
    (
        "architecture",
        "NoModule",
        "`strange_parts.NoModule` returns a NoModule, not an architecture (flax.linen.Module)",
    ),
    ("metric.mine", "NoDirection", "`strange_parts.NoDirection` has no `higher_is_better`. To be a metric,"),
    ("metric.mine", "NoBind", "`strange_parts.NoBind.bind` returns None, which has no `higher_is_better`, `collects`"),
    ("metric.mine", "MeasuresNumber", "MeasuresNumber.measure returns int32 (). It must return a mapping of names"),
    (
        "metric.mine",
        "CollectsSum",
        "CollectsSum.measure returns `hits` as int32 (). With `collects` it must return 32 rows",
    ),
    (
        "regularizer.mine",
        "ArrayPenalty",
        "ArrayPenalty returns float32 (3,). It must return one number, float32 ()",
    ),
    ("regularizer.mine", "NoPenalty", "`strange_parts.NoPenalty` has no `__call__`. To be a regularizer,"),
    ("constraint.mine", "NoPenalty", "`strange_parts.NoPenalty` has no `__call__`. To be a constraint,"),
    ("constraint.mine", "Grows", "Grows returns a list of 1. It must return a tree of the structure that it got."),
    (
        "constraint.mine",
        "Widens",
        "Widens returns `architecture/dense_0/bias` as float32 (1, 64). It must return float32 (64,).",
    ),
    (
        "augmentation.mine",
        "OnlyInputs",
        "OnlyInputs returns a mapping of `inputs` to float32 (32, 8, 8, 1). It must return",
    ),
    ("augmentation.mine", "Renames", "Renames returns the inputs pixels. It must return inputs"),
    ("augmentation.mine", "Halves", "Halves returns `inputs` as float32 (16, 8, 8, 1). It must return 32 examples"),
    ("observer.mine", "NoPenalty", "`strange_parts.NoPenalty` has no `__call__`. To be an observer,"),
    ("augmentation.mine", "NoPenalty", "`strange_parts.NoPenalty` has no `__call__`. To be an augmentation,"),
    (
        "schedule",
        "bare_rate",
        "`strange_parts.bare_rate` returns a function, not a schedule (components.types.Schedule)",
    ),
    (
        "schedule",
        "no_rate",
        "strange_parts.no_rate.values returns a mapping of `momentum` to float32 (). It must return",
    ),
    (
        "schedule",
        "rates",
        "strange_parts.rates.values: `learning_rate` returns float32 (3,). It must return one number",
    ),
    ("schedule", "only_number", "strange_parts.only_number.values returns float32 (). It must return a mapping"),
    ("optimizer", "sgd", "strange_parts.sgd has no parameter `learning_rate`, the learning rate of each step. Add it."),
    (
        "optimizer",
        "update",
        "`strange_parts.update` returns a function, not an optimizer (optax.GradientTransformation)",
    ),
]


@pytest.fixture(autouse=True)
def strange_parts(write_module: Callable[[str, str], None]) -> None:
    """An allowed module of the user."""
    write_module("strange_parts", MODULE)


@pytest.mark.optax
@pytest.mark.parametrize(("key", "name", "message"), CASES, ids=[name for _, name, _ in CASES])
def test_a_part_with_the_wrong_interface_is_reported(
    key: str, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command := write_option("strange_parts", key, name)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    checked = "._target_" if "parameter" in message or "`train`" in message else ""
    assert line.startswith(f"{key}{checked}: {message}"), line
    assert line.endswith(f"[set by conf/{key.partition('.')[0]}/mine.yaml, chosen by {command[0]}]")
    assert not Path("outputs").exists()


@pytest.mark.optax
def test_parts_that_fit_train() -> None:
    fit = {"loss": "Loss", "architecture": "Net", "metric.m": "Metric", "augmentation.a": "Augmentation"}
    assert (
        main(
            list(dict.fromkeys(word for key, name in fit.items() for word in write_option("strange_parts", key, name)))
        )
        == 0
    )


@pytest.mark.optax
def test_a_metric_whose_result_is_not_a_number_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(write_option("strange_parts", "metric.mine", "ResultIsText")) == 2
    assert "metric.mine: ResultIsText.result returns a str" in capsys.readouterr().err
