"""Dropout of single elements and of whole examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.types import Padded, Range, Scalar

Rate: TypeAlias = Annotated[Scalar, Range(0, 1, "[)")]


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
        if not train or self.rate is None:
            return x
        return self._drop_sequences(x) if isinstance(x, Padded) else self._drop(x)

    def _drop_sequences(self, x: Padded) -> Padded:
        if isinstance(x.values, Padded):
            return Padded(self._drop_sequences(x.values), x.mask)
        return Padded(self._drop(jnp.asarray(x.values), steps=x.mask.ndim - 1), x.mask)

    def _drop(self, x: jax.Array, steps: int = 0) -> jax.Array:
        """Drops elements. The axis of the steps is the first one where the mask is drawn.

        Random bits depend on the position of an element in the flattened mask alone, which is then the same for each
        number of steps.
        """
        assert self.rate is not None
        axes = {"element": range(x.ndim), "step": range(x.ndim - 1), "channel": (0, x.ndim - 1)}[self.unit]
        shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
        shape.insert(0, shape.pop(steps))
        return _drop(x, self.rate, self.make_rng("dropout"), tuple(shape), steps)


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
        if not train or self.rate is None:
            return x
        return _drop(x, self.rate, self.make_rng("dropout"), (x.shape[0],) + (1,) * (x.ndim - 1))


def _drop(x: jax.Array, rate: Scalar, key: jax.Array, shape: tuple[int, ...], first: int = 0) -> jax.Array:
    """Sets elements to zero at random, and scales the others.

    Args:
        x: the elements.
        rate: the probability of zero.
        key: the random key.
        shape: the shape of the mask. With its first axis moved, it broadcasts against x.
        first: the place of this axis in x.
    """
    keep_rate = 1 - jnp.asarray(rate, jnp.float32)
    mask = jnp.moveaxis(jax.random.bernoulli(key, keep_rate, shape), 0, first)
    return jnp.where(mask, x / keep_rate.astype(x.dtype), jnp.zeros_like(x))
