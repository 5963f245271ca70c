"""Trainable sub-sampling."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.initializer import Spread, initializer
from components.layer.pooling import AveragePool
from components.layer.shape import Size, across, pair


class SubSampling(nn.Module):
    """The sum of each window, times a coefficient and plus a bias by channel: (B, H, W, C) -> (B, h, w, C).

    Windows don't overlap, and rows and columns that fill none are left out (LeCun et al., 1998). Raises UserError for
    anything but images, and for images smaller than the window.
    """

    window: Size = 2
    initializer: Spread = "glorot_uniform"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        height, width = pair(self.window)
        places, channels = height * width, x.shape[-1]

        def drawn(key: jax.Array) -> jax.Array:
            """One number serves all places of a window: it is drawn as one of their connections."""
            return initializer(self.initializer)(key, (places, channels), jnp.float32)[0]

        mean = AveragePool(self.window)(x, train=train)
        scale, bias = self.param("scale", drawn), self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        return mean * across(places * scale, mean) + across(bias, mean)
