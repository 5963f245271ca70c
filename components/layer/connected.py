"""Convolutions with a table of connections."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.activation import ActivationName, activate
from components.layer.convolve import convolve
from components.layer.initializer import Spread, initializer
from components.layer.shape import Padding, Size, across, check_images, pair
from components.types import Range, UserError


class ConnectedConv(nn.Module):
    """A convolution whose features each see some of the channels: (B, H, W, C) -> (B, h, w, features).

    A row of `table` holds the channels that one feature sees, as for C3 in LeCun et al., 1998. Connections that aren't
    there have no parameters: the kernel is (height, width, connections), feature by feature. Everything else is as in
    `Conv`. Raises UserError for anything but images, for images smaller than the kernel, and for channels that aren't
    there.
    """

    table: tuple[tuple[Annotated[int, Range(0)], ...], ...]
    kernel: Size
    stride: Size = 1
    padding: Padding = "SAME"
    activation: ActivationName | None = None
    use_bias: bool = True
    initializer: Spread = "glorot_uniform"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        window, channels = pair(self.kernel), x.shape[-1]
        check_images("a connected convolution", x, window, self.padding)
        _check(self.table, channels)
        given = self.param("kernel", self._drawn, (*window, sum(map(len, self.table))), jnp.float32)
        ins = [channel for row in self.table for channel in row]
        outs = [feature for feature, row in enumerate(self.table) for _ in row]
        kernel = jnp.zeros((*window, channels, len(self.table)), x.dtype).at[:, :, ins, outs].set(given.astype(x.dtype))
        y = convolve(x, kernel, pair(self.stride), self.padding)
        if self.use_bias:
            y = y + across(self.param("bias", nn.initializers.zeros, (len(self.table),), jnp.float32), y)
        return activate(self.activation, y)

    def _drawn(self, key: jax.Array, shape: Sequence[int], dtype: Any) -> jax.Array:
        """The kernel of each feature is drawn by itself, by its own connections; equally many are drawn together."""
        keys, drawn = jax.random.split(key, len(self.table)), {}
        for count in sorted({len(row) for row in self.table}):
            draw = partial(initializer(self.initializer), shape=(*shape[:2], count, 1), dtype=dtype)
            drawn[count] = jax.vmap(draw)(keys)[..., 0]
        return jnp.concatenate([drawn[len(row)][n] for n, row in enumerate(self.table)], axis=-1)


def _check(table: tuple[tuple[int, ...], ...], channels: int) -> None:
    for feature, row in enumerate(table):
        if not row or len(set(row)) < len(row) or not set(row) <= set(range(channels)):
            raise UserError(
                f"feature {feature} of a connected convolution sees the channels {list(row)}: "
                f"name one or more of 0 to {channels - 1}, each once"
            )
