"""The Inception module of GoogLeNet."""

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
    """Inception module of GoogLeNet: images (B, H, W, C) -> (B, H, W, channels of all branches).

    Four branches on the same input, with concatenated outputs. Every convolution is followed by ReLU.

    - branch 0: 1 x 1 convolution
    - branch 1: 1 x 1 convolution, 3 x 3 convolution
    - branch 2: 1 x 1 convolution, 5 x 5 convolution
    - branch 3: 3 x 3 max-pooling, 1 x 1 convolution

    The numbers of channels, `one` to `pool`, are columns of table 1 of Szegedy et al., in the same order.

    Attributes:
        one: channels of branch 0.
        three_reduce, three: channels of the 1 x 1 and the 3 x 3 convolution of branch 1.
        five_reduce, five: channels of the 1 x 1 and the 5 x 5 convolution of branch 2.
        pool: channels of branch 3.
        five_kernel: window of the second convolution of branch 2; torchvision uses 3.
        batch_norm: whether convolutions have batch normalization instead of biases (Ioffe and Szegedy, 2015).
        momentum, epsilon: parameters of batch normalization.
        initializer: distribution of the kernels.
        initial_bias: initial value of the biases.
        reduction: reduction ratio of squeeze and excitation on the output (Hu et al., 2018, figure 2). None: no squeeze
            and excitation.

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
        outputs = [
            self._apply_branch(0, x, (self.one, 1), train=train),
            self._apply_branch(1, x, (self.three_reduce, 1), (self.three, 3), train=train),
            self._apply_branch(2, x, (self.five_reduce, 1), (self.five, self.five_kernel), train=train),
            self._apply_branch(3, pooled, (self.pool, 1), train=train),
        ]
        y = jnp.concatenate(outputs, axis=-1)
        if self.reduction is None:
            return y
        return SqueezeExcite(reduction=self.reduction, name="excitation")(y, train=train)

    def _apply_branch(self, branch: int, x: jax.Array, *convolutions: tuple[int, Size], train: bool) -> jax.Array:
        """Applies convolutions, (features, kernel), one after another."""
        new_conv = self._conv_constructor()
        for n, (features, kernel) in enumerate(convolutions):
            x = new_conv(features, kernel, name=f"branch_{branch}_conv_{n}")(x, train=train)
        return x

    def _conv_constructor(self) -> Callable[..., nn.Module]:
        conv = partial(ConvNorm if self.batch_norm else Conv, activation="relu", initializer=self.initializer)
        if self.batch_norm:
            return partial(conv, momentum=self.momentum, epsilon=self.epsilon)
        return partial(conv, initial_bias=self.initial_bias)
