"""LeNet-5, as it is built today and as published in 1998."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.architecture.lenet.layers import RadialBasis, SubSampling, TableConv, scaled_tanh
from components.layer import Conv, Dense, Flatten, MaxPool, Uniform
from components.types import Output, UserError

SIDE = 32  # smallest side of images in pixels; the paper pads digits of 28 x 28 to 32 x 32
UNIFORM = Uniform(2.4)  # initializer of all kernels, appendix A of the paper
# For each map of C3, the maps of S2 that it is computed from: table I of the paper.
TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)

# The codes of the digits 0 to 9: figure 3 of the paper, transcribed by github.com/mattwang44/LeNet-from-Scratch.
DIGITS = """
.#####. ...##.. .#####. ####### .#####. .#####. ..####. ####### .#####. .#####.
....... ..###.. ....... .....## ....... ....... .##.... .....## ##...## ##..###
..###.. .####.. .#####. ....##. ....... ####### ##..... .....## ##...## ##...##
.##.##. ...##.. ##...## ...##.. .##..## ##..... ##..... ....##. ##...## ##...##
##...## ...##.. #....## ..####. .##..## ##..... ######. ...##.. .#####. ##..###
##...## ...##.. ....##. .....## ###..## .####.. ###..## ...##.. ##...## .######
##...## ...##.. ..###.. .....## ##...## ..####. ##...## ..##... ##...## .....##
##...## ...##.. .##.... .....## ##...## .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ##..### ##...## ###..## ..##... ##...## ....##.
..###.. .###### ####### .#####. .###### .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
"""


class LeNet5(ConvNet):
    """LeNet-5 as it is built today: images (B, H, W, C) -> (B, outputs).

    Two 5 x 5 convolutions, each with ReLU and 2 x 2 max-pooling, then dense layers of 120 and 84 units: 61,706
    parameters for ten classes and one channel. Smaller images are padded with zeros to 32 x 32.

    References:
        LeCun et al., 1998: Gradient-based learning applied to document recognition.
    """

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = _pad(as_images(self, image))
        c1 = Conv(self.scale_width(6), 5, padding="VALID", activation="relu", name="c1")(x, train=train)
        s2 = MaxPool(2)(c1, train=train)
        c3 = Conv(self.scale_width(16), 5, padding="VALID", activation="relu", name="c3")(s2, train=train)
        s4 = MaxPool(2)(c3, train=train)
        c5 = Dense(self.scale_width(120), activation="relu", name="c5")(Flatten()(s4, train=train), train=train)
        f6 = Dense(self.scale_width(84), activation="relu", name="f6")(c5, train=train)
        features = {"c1": c1, "s2": s2, "c3": c3, "s4": s4, "c5": c5, "f6": f6}
        return self.make_output(f6, features, train=train)


class LeNet5_1998(nn.Module):  # noqa: N801
    """LeNet-5 as published in 1998: images (B, H, W, C) -> (B, outputs).

    C3 is a convolution with a table of connections. Sub-sampling has a scale and a bias for each map. Every layer is
    followed by a scaled tanh. A logit is the negative squared distance of F6 (84 units) to the fixed code of a class.
    Kernels are initially uniform within ±2.4 / fan-in, biases are 0. There are 60,000 parameters for one channel.
    Smaller images are padded with zeros to 32 x 32. The loss of the paper is `lenet5_1998`.

    Attributes:
        outputs: number of classes.
        codes: codes of the classes, each of 84 numbers ±1. `digits`: bitmaps of the ten digits, 7 x 12 pixels.
            `random`: random numbers, drawn with a fixed seed.
        head: whether the network computes logits. If not, it returns only `features`.
        dtype: dtype of the computation.

    Raises:
        UserError: `codes` is `digits`, and the number of classes is not ten.

    References:
        LeCun et al., 1998: Gradient-based learning applied to document recognition.
    """

    outputs: int
    codes: Literal["digits", "random"] = "digits"
    head: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = _pad(as_images(self, image))
        c1 = scaled_tanh(Conv(6, 5, padding="VALID", initializer=UNIFORM, name="c1")(x, train=train))
        s2 = scaled_tanh(SubSampling(2, UNIFORM, name="s2")(c1, train=train))
        c3 = scaled_tanh(TableConv(TABLE, 5, padding="VALID", initializer=UNIFORM, name="c3")(s2, train=train))
        s4 = scaled_tanh(SubSampling(2, UNIFORM, name="s4")(c3, train=train))
        c5 = scaled_tanh(Dense(120, initializer=UNIFORM, name="c5")(Flatten()(s4, train=train), train=train))
        f6 = scaled_tanh(Dense(84, initializer=UNIFORM, name="f6")(c5, train=train))
        features = {"c1": c1, "s2": s2, "c3": c3, "s4": s4, "c5": c5, "f6": f6}
        logits = RadialBasis(_get_codes(self.codes, self.outputs))(f6, train=train) if self.head else None
        return Output(logits, features=features)


def _pad(x: jax.Array) -> jax.Array:
    """Pads images (B, H, W, C) with zeros, the background, on all sides to at least `SIDE` x `SIDE` pixels."""
    missing = [max(SIDE - size, 0) for size in x.shape[1:3]]
    return jnp.pad(x, ((0, 0), *((n // 2, n - n // 2) for n in missing), (0, 0)))


def _get_codes(kind: str, outputs: int) -> tuple[tuple[float, ...], ...]:
    """Returns the code of each class: 84 numbers ±1."""
    if kind == "random":
        codes = np.random.RandomState(0).choice([-1.0, 1.0], (outputs, 84))
        return tuple(map(tuple, codes.tolist()))
    if outputs != 10:
        raise UserError(f"LeNet5_1998 needs ten classes for the codes of digits, got {outputs}. Set codes to random.")
    rows = [line.split() for line in DIGITS.split("\n") if line]
    bitmaps = ("".join(digit_rows) for digit_rows in zip(*rows, strict=True))
    return tuple(tuple(1.0 if pixel == "#" else -1.0 for pixel in bitmap) for bitmap in bitmaps)
