"""LeNet-5 as it was."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.architecture.ends import as_images
from components.architecture.lenet5 import padded
from components.layer import ConnectedConv, Conv, Dense, Flatten, RadialBasis, SubSampling, Uniform, squash
from components.types import Output, UserError

SPREAD = Uniform(2.4)  # the paper's appendix A
TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)  # which maps of S2 each map of C3 sees: the paper's table I

# The codes of 0 to 9: the paper's figure 3, as github.com/mattwang44/LeNet-from-Scratch has read it off.
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


class LeNet5_1998(nn.Module):  # noqa: N801
    """LeNet-5 as LeCun et al., 1998, describe it: images (B, H, W, C) -> (B, outputs), 60,000 parameters for digits.

    Maps of C3 see some of those of S2, sub-sampling has a coefficient and a bias by map, tanh squashes what every
    layer gives, and a logit is the negative squared distance of F6 to the fixed code of a class: with `codes=digits` a
    picture of the digit in 7 x 12 pixels of ±1, with `codes=random` as many ±1 drawn by a fixed seed. Kernels begin
    uniform within ±2.4 / connections, biases at zero. Sides below 32 pixels are padded to it with zeros at both ends.
    Its loss is `softmax_cross_entropy` with `rubbish`. Raises UserError for codes of digits unless there are ten
    classes.
    """

    outputs: int
    codes: Literal["digits", "random"] = "digits"
    head: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = padded(as_images(self, image))
        c1 = squash(Conv(6, 5, padding="VALID", initializer=SPREAD, name="c1")(x, train=train))
        s2 = squash(SubSampling(2, SPREAD, name="s2")(c1, train=train))
        c3 = squash(ConnectedConv(TABLE, 5, padding="VALID", initializer=SPREAD, name="c3")(s2, train=train))
        s4 = squash(SubSampling(2, SPREAD, name="s4")(c3, train=train))
        c5 = squash(Dense(120, initializer=SPREAD, name="c5")(Flatten()(s4, train=train), train=train))
        f6 = squash(Dense(84, initializer=SPREAD, name="f6")(c5, train=train))
        features = {"c1": c1, "s2": s2, "c3": c3, "s4": s4, "c5": c5, "f6": f6}
        logits = RadialBasis(_codes(self.codes, self.outputs))(f6, train=train) if self.head else None
        return Output(logits, features=features)


def _codes(kind: str, outputs: int) -> tuple[tuple[float, ...], ...]:
    """The code of each class, of 84 numbers."""
    if kind == "random":
        drawn = np.random.RandomState(0).choice([-1.0, 1.0], (outputs, 84))
        return tuple(map(tuple, drawn.tolist()))
    if outputs != 10:
        raise UserError(f"codes=digits are for ten classes, these are {outputs}: choose codes=random")
    rows = [line.split() for line in DIGITS.split("\n") if line]
    pictures = ("".join(row) for row in zip(*rows, strict=True))
    return tuple(tuple(1.0 if pixel == "#" else -1.0 for pixel in picture) for picture in pictures)
