"""Dropout and noise, of single elements and of whole examples.

All of them act in training, with random keys of the stream `dropout`. In evaluation they act only where the model is
applied with the stream `mc`, whose keys they draw then: Monte Carlo dropout (Gal and Ghahramani, 2016: Dropout as a
Bayesian approximation).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.types import Padded, Range, Scalar

Rate: TypeAlias = Annotated[Scalar, Range(0, 1, "[)")]
Draw: TypeAlias = Callable[[Callable[..., jax.Array]], jax.Array]
SELU_LIMIT = -1.7580993408473766  # -scale * alpha


class Dropout(nn.Module):
    """In training, sets elements to zero at random and divides the others by 1 - rate: any shape -> the same shape.

    Of sequences, Padded (B, T, D), what becomes zero doesn't depend on how far the batch is padded.

    Attributes:
        rate: probability that an element becomes zero, in [0, 1). None disables dropout. A rate of 0 keeps every
            element but still consumes a key of the stream `dropout`, so that one compiled program serves all rates.
        unit: what becomes zero as a whole, in inputs (B, …, C). `element`: each number for itself. `step`: all channels
            of a position, such as a word of a text (word dropout). `channel`: a channel at all positions (spatial
            dropout).

    References:
        Srivastava et al., 2014: Dropout: a simple way to prevent neural networks from overfitting.
        Tompson et al., 2015: Efficient object localization using convolutional networks (`channel`).
        Iyyer et al., 2015: Deep unordered composition rivals syntactic methods for text classification (`step`).
    """

    rate: Rate | None
    unit: Literal["element", "step", "channel"] = "element"

    @nn.compact
    def __call__(self, x: jax.Array | Padded, *, train: bool) -> Any:
        if self.rate is None or (stream := find_stream(self, train=train)) is None:
            return x
        return _map_sequences(partial(self._drop, stream), x)

    def _drop(self, stream: str, x: jax.Array, first: int) -> jax.Array:
        axes = {"element": range(x.ndim), "step": range(x.ndim - 1), "channel": (0, x.ndim - 1)}[self.unit]
        shape = tuple(size if axis in axes else 1 for axis, size in enumerate(x.shape))
        key = self.make_rng(stream)
        return self._change(x, lambda sample: _draw(sample, key, shape, first))

    def _change(self, x: jax.Array, draw: Draw) -> jax.Array:
        """The elements after the change. `draw` makes random numbers for them by a function of (key, shape)."""
        assert self.rate is not None
        return _drop(x, self.rate, draw)


class AlphaDropout(Dropout):
    """Dropout for networks with the activation selu: it keeps the mean 0 and the variance 1 of its input.

    In training, sets elements to -1.7581, the limit of selu at minus infinity, at random. Then all are scaled and
    shifted, so that the mean and the variance stay as they are if they are 0 and 1. The initializer of such networks is
    lecun_normal. Sequences and attributes are as in `Dropout`.

    References:
        Klambauer et al., 2017: Self-normalizing neural networks.
    """

    def _change(self, x: jax.Array, draw: Draw) -> jax.Array:
        rate = jnp.asarray(self.rate, jnp.float32)
        kept = draw(partial(jax.random.bernoulli, p=1 - rate))
        scale = jax.lax.rsqrt((1 - rate) * (1 + rate * SELU_LIMIT**2))
        changed = jnp.where(kept, x, jnp.asarray(SELU_LIMIT, x.dtype))
        return scale.astype(x.dtype) * (changed - (rate * SELU_LIMIT).astype(x.dtype))


class GaussianDropout(Dropout):
    """In training, multiplies elements by random numbers of the normal distribution with mean 1.

    Their variance is rate / (1 - rate), as that of the factors of `Dropout`. Sequences and attributes are as there, but
    `unit` is what gets one number.

    References:
        Srivastava et al., 2014: Dropout: a simple way to prevent neural networks from overfitting, section 10.
    """

    def _change(self, x: jax.Array, draw: Draw) -> jax.Array:
        rate = jnp.asarray(self.rate, jnp.float32)
        return x * (1 + jnp.sqrt(rate / (1 - rate)) * draw(jax.random.normal)).astype(x.dtype)


class GaussianNoise(nn.Module):
    """In training, adds random numbers of the normal distribution with mean 0: any shape -> the same shape.

    Of sequences, Padded (B, T, D), the numbers don't depend on how far the batch is padded.

    Attributes:
        std: their standard deviation, 0 or more. None disables the noise. With 0, it still consumes a key of the stream
            `dropout`.

    References:
        Bishop, 1995: Training with noise is equivalent to Tikhonov regularization.
    """

    std: Annotated[Scalar, Range(0)] | None

    @nn.compact
    def __call__(self, x: jax.Array | Padded, *, train: bool) -> Any:
        if self.std is None or (stream := find_stream(self, train=train)) is None:
            return x
        return _map_sequences(partial(self._add, stream), x)

    def _add(self, stream: str, x: jax.Array, first: int) -> jax.Array:
        noise = _draw(jax.random.normal, self.make_rng(stream), x.shape, first)
        return x + (jnp.asarray(self.std, jnp.float32) * noise).astype(x.dtype)


class StochasticDepth(nn.Module):
    """In training, sets examples to zero at random and divides the others by 1 - rate: (B, ...) -> the same shape.

    Use it as the last layer of a residual branch. It is also called drop path or drop connect.

    Attributes:
        rate: probability that an example becomes zero, in [0, 1). None and 0 are as in `Dropout`.

    References:
        Huang et al., 2016: Deep networks with stochastic depth.
    """

    rate: Rate | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if self.rate is None or (stream := find_stream(self, train=train)) is None:
            return x
        key, shape = self.make_rng(stream), (x.shape[0],) + (1,) * (x.ndim - 1)
        return _drop(x, self.rate, lambda sample: sample(key, shape=shape))


def find_stream(module: nn.Module, *, train: bool) -> Literal["dropout", "mc"] | None:
    """The stream of random keys that a layer of dropout or noise draws from. None: it leaves its input as it is."""
    if train:
        return "dropout"
    return "mc" if module.has_rng("mc") else None


def _drop(x: jax.Array, rate: Scalar, draw: Draw) -> jax.Array:
    """Sets elements to zero at random with a probability, and divides the others by the rest of it."""
    keep_rate = 1 - jnp.asarray(rate, jnp.float32)
    kept = draw(partial(jax.random.bernoulli, p=keep_rate))
    return jnp.where(kept, x / keep_rate.astype(x.dtype), jnp.zeros_like(x))


def _map_sequences(change: Callable[[jax.Array, int], jax.Array], x: jax.Array | Padded) -> Any:
    """Applies a function of (array, axis of the steps) to an array, or to the innermost values of sequences."""
    if not isinstance(x, Padded):
        return change(x, 0)
    if isinstance(x.values, Padded):
        return Padded(_map_sequences(change, x.values), x.mask)
    return Padded(change(jnp.asarray(x.values), x.mask.ndim - 1), x.mask)


def _draw(sample: Callable[..., jax.Array], key: jax.Array, shape: tuple[int, ...], first: int) -> jax.Array:
    """Random numbers of a shape.

    They are drawn with the axis `first` in front. Random bits depend on the position of an element in the flattened
    array alone, which is then the same for each length of this axis.
    """
    moved = (shape[first], *shape[:first], *shape[first + 1 :])
    return jnp.moveaxis(sample(key, shape=moved), 0, first)
