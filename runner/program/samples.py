"""Several outputs for the same examples, as of Monte Carlo dropout or of an ensemble: their mean, and how far they are
apart. They are added one by one, so that memory holds a single one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from components.types import TargetSpec, UserError
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

    number: Any
    total: Any
    mean: Any
    squares: Any
    entropy: Any


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


def empty_samples(spec: TargetSpec) -> Samples:
    """No samples, for any shape."""
    zero = jnp.float32(0)
    return Samples(zero, zero if spec.classes is None else jnp.float32(-jnp.inf), zero, zero, zero)


def make_sample(spec: TargetSpec, logits: jax.Array) -> Samples:
    """A single output as samples."""
    one = jnp.float32(1)
    if spec.classes is None:
        numbers = jnp.asarray(spec.decode(logits))
        return Samples(one, logits, numbers, jnp.zeros_like(numbers), jnp.zeros(()))
    _check_scores(spec, logits.shape[-1])
    logs = _log_probabilities(spec, logits)
    probabilities = jnp.exp(logs)
    return Samples(one, logs, probabilities, jnp.zeros_like(probabilities), _entropy(spec, logs))


def merge_samples(spec: TargetSpec, first: Samples, second: Samples) -> Samples:
    """All of some samples and of others for the same examples.

    References:
        Chan et al., 1979: Updating formulae and a pairwise algorithm for computing sample variances.
    """
    number, deviation = first.number + second.number, second.mean - first.mean
    add = jnp.add if spec.classes is None else jnp.logaddexp
    return Samples(
        number,
        add(first.total, second.total),
        first.mean + deviation * (second.number / number),
        first.squares + second.squares + deviation**2 * (first.number * second.number / number),
        first.entropy + second.entropy,
    )


def average_samples(
    parts: BuiltParts, samples: Mapping[str, Samples]
) -> tuple[dict[str, jax.Array], dict[str, Spread]]:
    """The logits of the mean probabilities of each target, or the mean output of numbers, and the samples' spread."""
    heads = parts.model.heads
    pairs = {name: _average(parts.targets[name].spec, each, heads[name][-1]) for name, each in samples.items()}
    return {name: logits for name, (logits, _) in pairs.items()}, {name: spread for name, (_, spread) in pairs.items()}


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


def _check_scores(spec: TargetSpec, outputs: int) -> None:
    """Raises UserError unless outputs are scores of classes: an embedding has no probabilities."""
    count = spec.outputs
    if outputs != count and not (outputs == 1 and count == 2 and spec.kind == "classes"):
        raise UserError(
            f"the network has {outputs} outputs for {count} classes, as an embedding has. These give no probabilities, "
            "so no mean of several predictions. Leave out mc_samples, and name a single run."
        )


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
