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

class NegativeOutputs(Loss):
    def outputs(self, target): return -3

class NoLogits(Loss):
    def outputs(self, target): return 0

class TruthOutputs(Loss):
    def outputs(self, target): return True

class LogitsLoss(Loss):
    def __call__(self, logits): return logits[:, 0]

class OutputLoss(Loss):
    def __call__(self, output): return output.logits[:, 0]

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

class MeasuresOutput(Metric):
    def measure(self, output): return {"hits": 1}

class MeasuresTruth(Metric):
    def measure(self, output, batch): return {"any": jnp.any(batch.mask)}

class MeasuresExamples(Metric):
    def measure(self, output, batch): return {"hits": jnp.where(batch.mask, 1.0, 0.0)}

class SquareSums(Metric):
    def measure(self, output, batch): return {"matrix": jnp.zeros((32, 32))}

class DirectionInWords(Metric):
    higher_is_better = "yes"

class ResultIsText(Metric):
    def result(self, sums): return "good"


class ArrayPenalty:
    def __call__(self, parameters): return jnp.zeros(3)

class ClearsInPlace:
    def __call__(self, parameters):
        parameters.clear()
        return 0.0

class NoPenalty:
    def penalty(self, parameters): return 0.0

class Grows:
    def __call__(self, parameters): return [parameters]

class Widens:
    def __call__(self, parameters): return jax.tree.map(lambda leaf: leaf[None], parameters)

class GrowsInPlace:
    def __call__(self, parameters):
        parameters["architecture"]["head"]["kernel"] = jnp.zeros(3)
        return parameters

class NoParameters:
    def __call__(self): return 0.0

class NoStep:
    def __call__(self, objective, parameters): return None

class OnlyGradients:
    def __call__(self, objective, parameters): return jax.grad(objective, has_aux=True)(parameters)

class SwappedStep:
    def __call__(self, objective, parameters): return jax.value_and_grad(objective, has_aux=True)(parameters)[::-1]

class NoAuxiliary:
    def __call__(self, objective, parameters):
        (value, _), gradients = jax.value_and_grad(objective, has_aux=True)(parameters)
        return (value, None), gradients

class Augmentation:
    def __call__(self, key, inputs, target): return inputs, target

class OnlyInputs(Augmentation):
    def __call__(self, key, inputs, target): return inputs

class Renames(Augmentation):
    def __call__(self, key, inputs, target): return {"pixels": inputs["inputs"]}, target

class Halves(Augmentation):
    def __call__(self, key, inputs, target): return {"inputs": inputs["inputs"][::2]}, target[::2]


class OnlyKey:
    def __call__(self, key): return key

class WithStrength:
    def __call__(self, key, batch, strength=2.0): return batch

class ColumnWeight:
    def __call__(self, key, batch): return batch._replace(weight=jnp.ones((len(batch.present), 1)))

class CountWeight:
    def __call__(self, key, batch): return batch._replace(weight=jnp.ones(len(batch.present), int))

class NegativeWeight:
    def __call__(self, key, batch): return batch._replace(weight=jnp.arange(len(batch.present)) - 1.0)

class FirstAbsent:
    def __call__(self, key, batch): return batch._replace(present=batch.present.at[0].set(False))

class OtherSoft:
    def __call__(self, key, batch): return batch._replace(soft={"targets": jax.nn.one_hot(batch.target, 10)})

class OtherMask:
    def __call__(self, key, batch): return batch._replace(masks={"other": batch.mask})

class ShortSoft:
    def __call__(self, key, batch): return batch._replace(soft={"target": jax.nn.one_hot(batch.target, 3)})

class FloatMask:
    def __call__(self, key, batch): return batch._replace(masks={"target": batch.mask.astype(float)})

class ColumnMask:
    def __call__(self, key, batch): return batch._replace(masks={"target": batch.mask[:, None]})

class ShortPresent:
    def __call__(self, key, batch): return batch._replace(present=batch.present[:3])

class FloatTarget:
    def __call__(self, key, batch): return batch._replace(targets={"target": batch.target.astype(float)})

class Narrows:
    def __call__(self, key, batch): return batch._replace(inputs={"inputs": batch.inputs["inputs"][:, :4]})

class RenamesInPlace:
    def __call__(self, key, batch):
        batch.inputs["pixels"] = batch.inputs.pop("inputs")
        return batch


class FreezesAlways:
    def freezes(self, paths): return frozenset(paths[:1])

class FreezesUntilText:
    until = "1st"
    def freezes(self, paths): return frozenset(paths[:1])

class Freezes:
    until = None
    def freezes(self, paths): return ["architecture/heads"]

class FreezesNothing(Freezes):
    def freezes(self, paths): return []

class Assigns:
    def assign(self, paths): return dict.fromkeys(paths, "default")

class OtherGroup(Assigns):
    groups = {"body": {"paths": ("**",)}}
    def assign(self, paths): return dict.fromkeys(paths, "head")

class SomePaths(OtherGroup):
    def assign(self, paths): return {paths[0]: "body"}

class AfterStep:
    def after(self, variables, averaged): return variables, averaged

class SkipsPair:
    def skips(self, objective, gradients): return jnp.isnan(objective)[None]


def bare_rate(learning_rate): return lambda step, total: {"learning_rate": learning_rate}

def no_rate(learning_rate): return Schedule(lambda step, total: {"momentum": jnp.float32(0.9)})

def rates(learning_rate): return Schedule(lambda step, total: {"learning_rate": jnp.ones(3)})

def only_number(learning_rate): return Schedule(lambda step, total: jnp.float32(learning_rate))

def sgd(): return optax.sgd(0.1)

def update(learning_rate): return lambda gradients: gradients

def no_update(learning_rate): return optax.GradientTransformation(lambda p: (), lambda g, s, p=None: None)

def wide(learning_rate):
    def update(gradients, state, parameters=None): return jax.tree.map(lambda leaf: leaf[None], gradients), state
    return optax.GradientTransformation(lambda parameters: (), update)

def stateless(learning_rate):
    return optax.GradientTransformation(lambda p: {"count": jnp.int32(0)}, lambda g, s, p=None: (g, {"count": None}))
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
    ("loss", "NegativeOutputs", "NegativeOutputs.outputs returns -3. It must return a whole number above 0"),
    ("loss", "NoLogits", "NoLogits.outputs returns 0."),
    ("loss", "TruthOutputs", "TruthOutputs.outputs returns True."),
    ("loss", "LogitsLoss", "LogitsLoss takes (logits). A loss must take (logits, target), (logits, target, soft) or"),
    ("loss", "OutputLoss", "OutputLoss takes (output). A loss must take"),
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
        "metric.mine",
        "MeasuresTruth",
        "MeasuresTruth.measure returns `any` as bool (). Sums are numbers. Return a count",
    ),
    (
        "metric.mine",
        "MeasuresExamples",
        "MeasuresExamples.measure returns `hits` as float32 (32,), values of each example. With `collects = False` it",
    ),
    ("metric.mine", "DirectionInWords", "DirectionInWords.higher_is_better is 'yes'. It must be True or False"),
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
        "constraint.mine",
        "GrowsInPlace",
        "GrowsInPlace returns `architecture/head/kernel` as float32 (3,). It must return float32 (64, 10)",
    ),
    ("step", "NoStep", "NoStep returns None. It must return ((value, auxiliary results), gradients), as"),
    ("step", "OnlyGradients", "OnlyGradients returns a tuple of 2, the first of which is a mapping of `architecture`"),
    ("step", "SwappedStep", "SwappedStep returns a tuple of 2, the first of which is a mapping of `architecture`"),
    ("step", "NoAuxiliary", "NoAuxiliary returns None as the auxiliary results. It must return those of the objective"),
    (
        "augmentation.mine",
        "ColumnWeight",
        "ColumnWeight returns `weight` as float32 (32, 1). It must return float32 (32,)",
    ),
    ("augmentation.mine", "CountWeight", "CountWeight returns `weight` as int32 (32,). It must return float32 (32,)"),
    (
        "augmentation.mine",
        "OtherSoft",
        "OtherSoft sets `soft.targets`. There is no target targets. Did you mean target?",
    ),
    ("augmentation.mine", "OtherMask", "OtherMask sets `masks.other`. There is no target other. Allowed: target"),
    (
        "augmentation.mine",
        "ShortSoft",
        "ShortSoft returns `soft.target` as float32 (32, 3). It must return float32 (32, 10)",
    ),
    ("augmentation.mine", "FloatMask", "FloatMask returns `masks.target` as float32 (32,). It must return bool (32,)"),
    ("augmentation.mine", "ColumnMask", "ColumnMask returns `masks.target` as bool (32, 1). It must return bool (32,)"),
    ("augmentation.mine", "ShortPresent", "ShortPresent returns `present` as bool (3,). It must return bool (32,)"),
    ("augmentation.mine", "FloatTarget", "FloatTarget returns `targets.target` as float32 (32,). It must return int32"),
    (
        "augmentation.mine",
        "Narrows",
        "Narrows returns `inputs.inputs` as float32 (32, 4, 8, 1). It must return float32",
    ),
    ("augmentation.mine", "RenamesInPlace", "RenamesInPlace returns the inputs pixels. It must return inputs"),
    (
        "update.mine",
        "FreezesAlways",
        "`strange_parts.FreezesAlways` has no `until`. To be an update with `freezes`, it needs all members of "
        "components.types.Freezing",
    ),
    ("update.mine", "FreezesUntilText", "FreezesUntilText.until is '1st'. It must be a components.types.Duration, or"),
    ("update.mine", "Freezes", "Freezes.freezes returns 'architecture/heads', which is no parameter. Did you mean"),
    ("update.mine", "FreezesNothing", "FreezesNothing.freezes chooses no parameter. Choose others, or leave mine out"),
    ("update.mine", "Assigns", "`strange_parts.Assigns` has no `groups`. To be an update with `assign`,"),
    ("update.mine", "OtherGroup", "OtherGroup.assign returns the group 'head' for architecture/"),
    ("update.mine", "SomePaths", "SomePaths.assign returns no group for architecture/"),
    ("update.mine", "SkipsPair", "SkipsPair.skips returns bool (1,). It must return one truth value, bool ()"),
    (
        "augmentation.mine",
        "OnlyInputs",
        "OnlyInputs returns a mapping of `inputs` to float32 (32, 8, 8, 1). It must return",
    ),
    ("augmentation.mine", "Renames", "Renames returns the inputs pixels. It must return inputs"),
    ("augmentation.mine", "Halves", "Halves returns `inputs.inputs` as float32 (16, 8, 8, 1). It must return"),
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
    (
        "optimizer",
        "no_update",
        "strange_parts.no_update: `update` returns None. It must return the updates and the new",
    ),
    ("optimizer", "wide", "strange_parts.wide: `update` returns `architecture/dense_0/bias` as float32 (1, 64)."),
    (
        "optimizer",
        "stateless",
        "strange_parts.stateless: the state that `update` returns a mapping of `count` to None.",
    ),
]
PARAMETERS = [  # the key, the part, its method, and what it takes and must take
    ("metric.mine", "MeasuresOutput", ".measure", "(output). To be a metric, it must take (output, batch)"),
    ("constraint.mine", "NoParameters", "", "(). To be a constraint, it must take (parameters)"),
    ("regularizer.mine", "NoParameters", "", "(). To be a regularizer, it must take (parameters)"),
    ("step", "NoParameters", "", "(). To be a step, it must take (objective, parameters)"),
    (
        *("update.mine", "AfterStep", ".after"),
        "(variables, averaged). To be an update with `after`, it must take (variables, averaged, step)",
    ),
]
CASES += [(key, name, f"`strange_parts.{name}{method}` takes {takes}") for key, name, method, takes in PARAMETERS]
CASES.append(
    (
        *("augmentation.mine", "OnlyKey"),
        "OnlyKey takes (key). An augmentation must take (key, batch) or (key, inputs, target)",
    )
)


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
    checked = "._target_" if "has no parameter `" in message else ""
    assert line.startswith(f"{key}{checked}: {message}"), line
    assert line.endswith(f"[set by conf/{key.partition('.')[0]}/mine.yaml, chosen by {command[0]}]")
    assert not Path("outputs").exists()


@pytest.mark.optax
@pytest.mark.parametrize("name", ["NegativeWeight", "FirstAbsent"])
def test_wrong_values_of_an_augmentation_end_the_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(write_option("strange_parts", "augmentation.mine", name)) == 1
    remedy = "check that augmentation.mine returns no weight below 0, and `present` as it is, or set training.on_nan"
    assert remedy in capsys.readouterr().err


@pytest.mark.optax
def test_parts_that_fit_train() -> None:
    fit = {"loss": "Loss", "architecture": "Net", "metric.m": "SquareSums", "augmentation.a": "WithStrength"}
    words = [word for key, name in fit.items() for word in write_option("strange_parts", key, name)]
    assert main([*dict.fromkeys(words)]) == 0


@pytest.mark.slow
@pytest.mark.optax
def test_a_regularizer_that_changes_its_tree_changes_no_other() -> None:
    choice, *words = write_option("strange_parts", "regularizer.a", "ClearsInPlace")
    assert all(main([choice.replace("mine", names), *words]) == 0 for names in ("mine,l2", "l2,mine"))


@pytest.mark.optax
def test_a_metric_whose_result_is_not_a_number_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(write_option("strange_parts", "metric.mine", "ResultIsText")) == 2
    assert "metric.mine: ResultIsText.result returns a str" in capsys.readouterr().err
