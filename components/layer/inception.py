"""The module of GoogLeNet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.convolution import Conv, ConvNorm
from components.layer.initializer import Initializer
from components.layer.normalization import Epsilon, Momentum
from components.layer.pooling import MaxPool
from components.layer.shape import Size
from components.layer.squeeze_excite import SqueezeExcite
from components.types import Range, Scalar


class Inception(nn.Module):
    """Inception module of GoogLeNet: images (B, H, W, C) -> (B, H, W, one + three + five + pool).

    Four branches on the same input, with their channels concatenated in this order: a convolution by 1 x 1; by 1 x 1
    then 3 x 3; by 1 x 1 then 5 x 5; max-pooling of 3 x 3 then a convolution by 1 x 1. All convolutions have ReLU.

    Attributes:
        one, three_reduce, three, five_reduce, five, pool: channels of the convolutions, the columns of table 1.
        five_kernel: window of the third branch; torchvision uses 3.
        batch_norm: whether batch normalization replaces the biases (Ioffe and Szegedy, 2015).
        momentum, epsilon: of batch normalization.
        initializer: distribution of the kernels.
        initial_bias: value that biases start at.
        reduction: channels for each unit of squeeze and excitation on the output (Hu et al., 2018, figure 2); None:
            no squeeze and excitation.

    References:
        Szegedy et al., 2015: Going deeper with convolutions.
    """

    one: Annotated[int, Range(1)]
    three_reduce: Annotated[int, Range(1)]
    three: Annotated[int, Range(1)]
    five_reduce: Annotated[int, Range(1)]
    five: Annotated[int, Range(1)]
    pool: Annotated[int, Range(1)]
    five_kernel: Size = 5
    batch_norm: bool = False
    momentum: Momentum = 0.99
    epsilon: Epsilon = 1e-3
    initializer: Initializer = "lecun_uniform"
    initial_bias: Scalar = 0.0
    reduction: Annotated[int, Range(1)] | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        pooled = MaxPool(3, 1, "SAME")(x, train=train)
        one = self._branch("branch_0", x, (self.one, 1), train=train)
        three = self._branch("branch_1", x, (self.three_reduce, 1), (self.three, 3), train=train)
        five = self._branch("branch_2", x, (self.five_reduce, 1), (self.five, self.five_kernel), train=train)
        y = jnp.concatenate([one, three, five, self._branch("branch_3", pooled, (self.pool, 1), train=train)], axis=-1)
        return (
            y if self.reduction is None else SqueezeExcite(reduction=self.reduction, name="excitation")(y, train=train)
        )

    def _branch(self, name: str, x: jax.Array, *steps: tuple[int, Size], train: bool) -> jax.Array:
        for n, (features, kernel) in enumerate(steps):
            x = self._conv()(features, kernel, name=f"{name}_conv_{n}")(x, train=train)
        return x

    def _conv(self) -> Callable[..., nn.Module]:
        if self.batch_norm:
            return partial(ConvNorm, initializer=self.initializer, momentum=self.momentum, epsilon=self.epsilon)
        return partial(Conv, activation="relu", initializer=self.initializer, initial_bias=self.initial_bias)
