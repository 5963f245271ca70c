"""The residual block: a few convolutions learn what is to be added to their input."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer import (
    BatchNorm,
    Conv,
    ConvNorm,
    Dropout,
    Epsilon,
    Momentum,
    Rate,
    SqueezeExcite,
    StochasticDepth,
)
from components.types import Scalar, UserError


class Convolution(NamedTuple):
    """One of a branch; its images are padded so that nothing but the stride makes them smaller."""

    features: int
    kernel: int
    stride: int = 1
    groups: int = 1


class ResidualBlock(nn.Module):
    """A branch of convolutions, added to a shortcut around it: (B, H, W, C) -> (B, h, w, features).

    Each convolution is followed by batch normalization and ReLU; of the last, ReLU comes after the sum (He et al.,
    2015). With `preactivate` both begin the branch and its last convolution ends it, so that nothing stands between
    one sum and the next (He et al., 2016).
    """

    branch: tuple[Convolution, ...]
    preactivate: bool = False
    shortcut: Literal["projection", "identity"] = "projection"
    projection_kernel: int = 1
    reduction: int | None = None
    dropout: Rate | None = None
    stochastic_depth: Rate | None = None
    residual_scale: Scalar | None = None
    use_bias: bool = False
    momentum: Momentum = 0.9
    epsilon: Epsilon = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        active = nn.relu(BatchNorm(self.momentum, self.epsilon, name="norm")(x, train=train)) if self.preactivate else x
        around = self._shortcut(x, active, train)
        y = self._branch(active, train)
        if self.reduction is not None:
            y = SqueezeExcite(max(1, y.shape[-1] // self.reduction), name="excitation")(y, train=train)
        total = around + StochasticDepth(self.stochastic_depth)(y, train=train)
        return total if self.preactivate else nn.relu(total)

    def _branch(self, y: jax.Array, train: bool) -> jax.Array:
        for n, one in enumerate(self.branch[:-1]):
            y = self._normalized(one, f"conv_{n}")(y, train=train)
        y = Dropout(self.dropout)(y, train=train)
        name = f"conv_{len(self.branch) - 1}"
        scale = 1.0 if self.residual_scale is None else self.residual_scale
        return self._last(self.branch[-1], name, scale)(y, train=train)

    def _shortcut(self, x: jax.Array, active: jax.Array, train: bool) -> jax.Array:
        """The input; where its shape changes, projected by a convolution, or sampled and filled up with zeros."""
        features, stride = self.branch[-1].features, math.prod(one.stride for one in self.branch)
        missing = features - x.shape[-1]
        if missing and self.shortcut == "projection":
            kernel = 1 if stride == 1 else self.projection_kernel
            return self._last(Convolution(features, kernel, stride), "shortcut")(active, train=train)
        if missing < 0:
            raise UserError(f"no identity leads from {x.shape[-1]} channels to {features}: choose shortcut=projection")
        x = x[:, ::stride, ::stride]
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing))) if missing else x

    def _normalized(self, one: Convolution, name: str, *, last: bool = False, scale: Scalar = 1.0) -> ConvNorm:
        return ConvNorm(
            one.features,
            one.kernel,
            one.stride,
            one.kernel // 2,
            activation=None if last else "relu",
            use_bias=self.use_bias and not self.preactivate,
            groups=one.groups,
            momentum=self.momentum,
            epsilon=self.epsilon,
            initial_scale=scale,
            name=name,
        )

    def _last(self, one: Convolution, name: str, scale: Scalar = 1.0) -> ConvNorm | Conv:
        """A convolution that ends in the sum."""
        if not self.preactivate:
            return self._normalized(one, name, last=True, scale=scale)
        return Conv(
            one.features,
            one.kernel,
            one.stride,
            one.kernel // 2,
            use_bias=self.use_bias,
            initializer="he_normal",
            groups=one.groups,
            name=name,
        )
