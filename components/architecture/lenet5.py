"""LeNet-5."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.ends import ConvNet, as_images
from components.layer import Conv, Dense, Flatten, MaxPool
from components.types import Output

SIDE = 32  # pixels; the paper pads the digits of 28 to it


class LeNet5(ConvNet):
    """LeNet-5 (LeCun et al., 1998) as it is built today: images (B, H, W, C) -> (B, outputs).

    Two convolutions of 5 x 5, each with ReLU and max-pooling by 2, then dense layers of 120 and 84: 61,706
    parameters for ten classes of one channel. Sides below 32 pixels are padded to it with zeros at both ends.
    """

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = padded(as_images(self, image))
        c1 = Conv(self.channels(6), 5, padding="VALID", activation="relu", name="c1")(x, train=train)
        s2 = MaxPool(2)(c1, train=train)
        c3 = Conv(self.channels(16), 5, padding="VALID", activation="relu", name="c3")(s2, train=train)
        s4 = MaxPool(2)(c3, train=train)
        c5 = Dense(self.channels(120), activation="relu", name="c5")(Flatten()(s4, train=train), train=train)
        f6 = Dense(self.channels(84), activation="relu", name="f6")(c5, train=train)
        features = {"c1": c1, "s2": s2, "c3": c3, "s4": s4, "c5": c5, "f6": f6}
        return self.answer(f6, features, train=train)


def padded(x: jax.Array) -> jax.Array:
    """Images (B, H, W, C) of at least `SIDE` pixels a side: zeros, the background, are put around smaller ones."""
    missing = [max(SIDE - size, 0) for size in x.shape[1:3]]
    return jnp.pad(x, ((0, 0), *((n // 2, n - n // 2) for n in missing), (0, 0)))
