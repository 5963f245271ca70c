"""Monte Carlo dropout: the mean of several outputs of a model whose dropout stays on, and how far they are apart.

The samples are added one by one, so that memory holds a single one, and because on the CPU convolutions are slow inside
a compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp

from components.types import Output, TargetSpec
from runner.errors import LocatedError
from runner.program.parts import BuiltParts


class Samples(NamedTuple):
    """What several outputs for one target amount to.

    Attributes:
        number: how many there are, float32 ().
        total: the sum of the outputs of numbers, (B, …, outputs). Of classes it is the logarithm of the sum of the
            probabilities, (B, …, classes), and of labels, (B, labels, 2).
        mean: the mean of the numbers in the unit of the data, or of the probabilities.
        squares: the sum of their squared deviations from the mean.
        entropy: the sum of the entropies of the probabilities in nats, (B, …). Of numbers it is 0.
    """

    number: jax.Array
    total: jax.Array
    mean: jax.Array
    squares: jax.Array
    entropy: jax.Array


class Spread(NamedTuple):
    """How far the samples of one target are apart.

    Attributes:
        std: the standard deviation over the samples, of each number in the unit of the data, (B, …, outputs), or of the
            probability of each class, (B, …, classes).
        entropy: the entropy of the mean probabilities in nats, (B, …); of labels, the sum of their entropies. None: the
            target is numbers.
        mutual_information: the entropy less the mean of the entropies of the samples, 0 or more: what the model doesn't
            know, in contrast to what is random in the data (Gal et al., 2017: Deep Bayesian active learning with image
            data).
    """

    std: Any
    entropy: Any | None
    mutual_information: Any | None


Draw: TypeAlias = Callable[[jax.Array], Output]
"""(random key) -> the output of the model with the stream `mc`."""


def make_streams(key: jax.Array) -> dict[str, jax.Array]:
    """The streams of random keys of a sample. The layers of Flax draw from `dropout`."""
    return {"mc": key, "dropout": key}


def start_samples(parts: BuiltParts, draw: Draw) -> dict[str, Samples]:
    """No samples, in the shapes of those to come. Raises UserError if the output doesn't depend on the random key."""

    def add_first(key: jax.Array) -> dict[str, Samples]:
        return _add_output(parts, None, draw(key))

    closed, shapes = jax.make_jaxpr(add_first, return_shape=True)(jax.random.key(0))
    key = closed.jaxpr.invars[0]
    if not any(key in equation.invars for equation in closed.jaxpr.eqns):
        raise LocatedError(
            "architecture",
            "the network draws no random numbers, so all samples would be equal. Monte Carlo dropout needs a network "
            "that was trained with dropout, as by architecture.dropout=0.2 or a layer Dropout.",
        )

    def fill(value: jax.Array, shape: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.full(shape.shape, value, shape.dtype)

    return {name: jax.tree.map(fill, _empty(parts.targets[name].spec), own) for name, own in shapes.items()}


def add_sample(parts: BuiltParts, samples: Mapping[str, Samples], draw: Draw, key: jax.Array) -> dict[str, Samples]:
    """The samples with one more. The key is the same for all samples of some examples."""
    number = next(iter(samples.values())).number
    return _add_output(parts, samples, draw(jax.random.fold_in(key, number.astype(jnp.int32))))


def _add_output(parts: BuiltParts, samples: Mapping[str, Samples] | None, output: Output) -> dict[str, Samples]:
    logits = cast("Mapping[str, jax.Array]", output.outputs)
    earlier: Mapping[str, Samples | None] = dict.fromkeys(logits) if samples is None else samples
    return {name: _add(parts.targets[name].spec, each, earlier[name]) for name, each in logits.items()}


def average_samples(
    parts: BuiltParts, samples: Mapping[str, Samples]
) -> tuple[dict[str, jax.Array], dict[str, Spread]]:
    """The logits of the mean probabilities of each target, or the mean output of numbers, and the samples' spread."""
    heads = parts.model.heads
    pairs = {name: _average(parts.targets[name].spec, each, heads[name][-1]) for name, each in samples.items()}
    return {name: logits for name, (logits, _) in pairs.items()}, {name: spread for name, (_, spread) in pairs.items()}


def _empty(spec: TargetSpec) -> Samples:
    """No samples, for any shape."""
    zero = jnp.float32(0)
    return Samples(zero, zero if spec.classes is None else jnp.float32(-jnp.inf), zero, zero, zero)


def _add(spec: TargetSpec, logits: jax.Array, samples: Samples | None) -> Samples:
    """Sums of squares are updated as by Welford, 1962: Note on a method for calculating corrected sums of squares."""
    if spec.classes is None:
        terms, values, entropy = logits, jnp.asarray(spec.decode(logits)), jnp.zeros(())
    else:
        terms = _log_probabilities(spec, logits)
        values, entropy = jnp.exp(terms), _entropy(spec, terms)
    samples = _empty(spec) if samples is None else samples
    number, deviation = samples.number + 1, values - samples.mean
    mean = samples.mean + deviation / number
    total = samples.total + terms if spec.classes is None else jnp.logaddexp(samples.total, terms)
    squares = samples.squares + deviation * (values - mean)
    return Samples(number, total, mean, squares, samples.entropy + entropy)


def _average(spec: TargetSpec, samples: Samples, outputs: int) -> tuple[jax.Array, Spread]:
    """The logits (B, …, outputs) of a target, and the spread."""
    std = jnp.sqrt(samples.squares / samples.number)
    if spec.classes is None:
        return samples.total / samples.number, Spread(std, None, None)
    logs = samples.total - jnp.log(samples.number)
    entropy = _entropy(spec, logs)
    # The difference of two numbers that are nearly equal may be below 0 by rounding.
    spread = Spread(std, entropy, jnp.maximum(entropy - samples.entropy / samples.number, 0))
    if spec.kind == "multilabel":
        return logs[..., 1] - logs[..., 0], spread._replace(std=std[..., 1])
    return logs if outputs > 1 else logs[..., 1:] - logs[..., :1], spread


def _log_probabilities(spec: TargetSpec, logits: jax.Array) -> jax.Array:
    """The logarithms of the probabilities of classes, (B, …, classes), or of absence and presence of labels."""
    if spec.kind == "multilabel":
        return jnp.stack([jax.nn.log_sigmoid(-logits), jax.nn.log_sigmoid(logits)], axis=-1)
    if logits.shape[-1] == 1:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
    return jax.nn.log_softmax(logits)


def _entropy(spec: TargetSpec, logs: jax.Array) -> jax.Array:
    entropy = jax.scipy.special.entr(jnp.exp(logs)).sum(-1)
    return entropy.sum(-1) if spec.kind == "multilabel" else entropy
