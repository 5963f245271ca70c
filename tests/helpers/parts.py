"""A user's own parts, one of each kind that the protocols must carry; tests put this folder on the path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.types import Batch, Block, Constants, Encoded, Output, Padded, Ragged, TargetSpec


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Which of a few equal ranges a number in [0, 1) falls into."""

    key: str
    buckets: int

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Any]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants()

    def encode(self, block: Block, parents: Mapping[str, Any], constants: Constants) -> Mapping[str, Encoded]:
        return {"ids": (block.columns[self.key] * self.buckets).astype(np.int32)}

    def layer(self, static: Mapping[str, Any]) -> Any:
        return lambda encoded, constants: jax.nn.one_hot(encoded["ids"], self.buckets)


@dataclass(frozen=True, kw_only=True)
class Cross:
    """One id for each pair of ids of two other columns."""

    of: tuple[str, str]
    buckets: int

    @property
    def keys(self) -> tuple[str, ...]:
        return self.of

    def statistics(self) -> Mapping[str, Any]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants()

    def encode(self, block: Block, parents: Mapping[str, Any], constants: Constants) -> Mapping[str, Encoded]:
        first, second = (parents[name]["ids"] for name in self.of)
        return {"ids": (first * 31 + second) % self.buckets}

    def layer(self, static: Mapping[str, Any]) -> Any:
        return lambda encoded, constants: jax.nn.one_hot(encoded["ids"], self.buckets)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A text of any length as the codes of its characters."""

    key: str

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Any]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants()

    def encode(self, block: Block, parents: Mapping[str, Any], constants: Constants) -> Mapping[str, Encoded]:
        texts = [np.frombuffer(str(text).encode(), np.uint8).astype(np.int32) for text in block.columns[self.key]]
        offsets = np.cumsum([0, *map(len, texts)])
        return {"ids": Ragged(np.concatenate([*texts, np.array([], np.int32)]), offsets)}

    def layer(self, static: Mapping[str, Any]) -> Any:
        return lambda encoded, constants: encoded["ids"]


class WideDeep(nn.Module):
    """A linear model beside a dense one (Cheng et al., 2016)."""

    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, wide: jax.Array, deep: jax.Array, *, train: bool) -> Output:
        hidden = nn.relu(nn.Dense(8)(deep))
        return Output(nn.Dense(self.outputs)(hidden) + nn.Dense(self.outputs)(wide))


class MeanEmbedding(nn.Module):
    """The mean of the embeddings of the tokens that are there."""

    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Padded, *, train: bool) -> Output:
        vectors = jnp.where(tokens.mask[..., None], nn.Embed(256, 4)(tokens.values), 0.0)
        mean = vectors.sum(1) / jnp.maximum(tokens.mask.sum(1, keepdims=True), 1).astype(jnp.float32)
        return Output(nn.Dense(self.outputs)(mean))


class TwoHeads(nn.Module):
    """A model with an auxiliary classifier and an internal loss, both used in training only."""

    outputs: int
    weight: float = 0.3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        hidden = nn.relu(nn.Dense(8)(image.reshape(image.shape[0], -1)))
        logits, early = nn.Dense(self.outputs)(hidden), nn.Dense(self.outputs)(hidden)
        if not train:
            return Output(logits)
        return Output(logits, {"activity": jnp.square(hidden).mean(1)}, ((self.weight, early),))


@dataclass(frozen=True)
class AreaUnderCurve:
    """The area under the ROC curve: the share of pairs of a positive and a negative that are in the right order."""

    higher_is_better = True
    collects = True

    def bind(self, target: TargetSpec) -> AreaUnderCurve:
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        assert output.logits is not None
        return {"score": output.logits[:, 0], "positive": batch.target == 1, "mask": batch.mask}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        score, positive = (sums[name][sums["mask"]] for name in ("score", "positive"))
        pairs = score[positive][:, None] - score[~positive][None, :]
        return float((pairs > 0).mean() + (pairs == 0).mean() / 2)


class NamedHeads(nn.Module):
    """A network with a dense layer for each target."""

    outputs: Mapping[str, int]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Output:
        hidden = nn.relu(nn.Dense(8)(x))
        return Output({name: nn.Dense(size, name=f"head_{name}")(hidden) for name, size in self.outputs.items()})


class TwoInternalLosses(nn.Module):
    """A network without logits, whose internal losses don't depend on its parameter."""

    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Output:
        scale = self.param("scale", nn.initializers.ones, ())
        return Output(None, {"square": jnp.square(x * scale).mean(1), "size": jnp.abs(x * scale).mean(1)})


class LossesInTraining(nn.Module):
    """A network without logits, which returns its internal loss in training only."""

    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Output:
        scale = self.param("scale", nn.initializers.ones, ())
        return Output(None, {"square": jnp.square(x * scale).mean(1)} if train else {})


class Embedding(nn.Module):
    """A network without a head, whose only feature is its input times a parameter."""

    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> Output:
        return Output(None, features={"embedding": x * self.param("scale", nn.initializers.ones, ())})


class FeatureLoss:
    """The mean square of the features, which needs no logits."""

    def outputs(self, target: TargetSpec) -> int:
        return target.outputs

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        return jnp.square(output.features["embedding"]).mean(1)


class SumOfFeatures:
    """The sum of all features, if there are any. It is compiled by itself."""

    def outputs(self, target: TargetSpec) -> int:
        return target.outputs

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        @jax.jit
        def add(output: Output) -> jax.Array:
            return sum((value.sum(1) for value in output.features.values()), jnp.zeros(batch.present.shape))

        return add(output)


@dataclass(frozen=True)
class ConstantWeight:
    """Gives each example the same weight. It is compiled by itself, so all arrays of the batch are new."""

    weight: float = 1.0

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        @jax.jit
        def change(batch: Batch) -> Batch:
            return batch._replace(weight=jnp.full(batch.present.shape, self.weight, jnp.float32))

        return change(batch)


class DropsMasks:
    """Returns a batch without masks."""

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        return batch._replace(masks={})


class SetsSoft:
    """Sets probabilities for a target of numbers."""

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        return batch._replace(soft={"size": jnp.ones((len(batch.present), 1))})


class Doubles:
    """Predicts each number twice: it changes the shape of a target in its `bind`."""

    evaluates = True

    def bind(self, targets: Mapping[str, TargetSpec]) -> Any:
        return self, {
            name: replace(spec, shape=(2,)) if spec.kind == "real" else spec for name, spec in targets.items()
        }

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        return batch._replace(targets={**batch.targets, "size": batch.targets["size"].repeat(2, axis=1)})


class DoublesInTraining(Doubles):
    """Would leave evaluations with a target of another shape than the logits."""

    evaluates = False


class KeepsTargetsInName(Doubles):
    """Says that it keeps the targets, and changes one."""

    keeps_targets = True


class AddsInput:
    """Adds an input, without the attribute that allows it."""

    name, rows = "view", slice(None)

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        view = next(iter(batch.inputs.values()))[self.rows]
        return batch._replace(inputs={**batch.inputs, self.name: view})


class AddsShortInput(AddsInput):
    """Adds an input with fewer rows than examples."""

    adds_inputs, rows = True, slice(1, None)


class AddsUnknownInput(AddsInput):
    """Adds an input that the architecture doesn't take."""

    adds_inputs = True


@dataclass(frozen=True)
class UndefinedMetric:
    """A metric that is always NaN."""

    higher_is_better = True
    collects = False

    def bind(self, target: TargetSpec) -> UndefinedMetric:
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        return {"count": batch.mask.sum()}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        return float("nan")


class _CrossEntropy:
    def outputs(self, target: TargetSpec) -> int:
        return target.outputs


class SoftLoss(_CrossEntropy):
    """Takes the probabilities of the classes."""

    def __call__(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None) -> jax.Array:
        assert soft is not None
        return -jnp.sum(soft * jax.nn.log_softmax(logits), axis=1)


class WholeLoss(_CrossEntropy):
    """Takes the whole output and batch."""

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        assert output.logits is not None
        return -jnp.sum(batch.soft["target"] * jax.nn.log_softmax(output.logits), axis=1)


class CountingLoss(_CrossEntropy):
    """The number of examples of the batch that count, as a loss that compares them would see."""

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        return jnp.full(batch.mask.shape, batch.mask.sum(), jnp.float32)


class HardLoss(_CrossEntropy):
    """Takes class ids only."""

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], axis=1)[:, 0]


class WideLoss(_CrossEntropy):
    """Adds (B,) and (B, classes), which NumPy would broadcast if there are as many examples as classes."""

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        return (logits + target.astype(jnp.float32)).mean(1)


class ColumnLoss(_CrossEntropy):
    """Returns (B, 1)."""

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        return logits[:, :1] - target[:, None].astype(jnp.float32)


class WrongStep:
    """Returns the gradients of one layer only."""

    def __call__(self, objective: Any, parameters: Any) -> Any:
        result, gradients = jax.value_and_grad(objective, has_aux=True)(parameters)
        return result, next(iter(gradients.values()))
