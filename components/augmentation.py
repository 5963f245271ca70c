"""Random changes of the images of a training batch, on the device; each example and each step draws its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp

from components.types import Range, Scalar, UserError

Inputs = Mapping[str, Any]
AXES = {"vertical": 1, "horizontal": 2}


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Flips images (B, H, W, C) at random.

    Attributes:
        probability: that an image is flipped, in [0, 1].
        axis: `horizontal`: left to right; `vertical`: upside down.
    """

    probability: Annotated[Scalar, Range(0, 1)] = 0.5
    axis: Literal["horizontal", "vertical"] = "horizontal"

    def __call__(self, key: jax.Array, inputs: Inputs, target: jax.Array) -> tuple[Inputs, jax.Array]:
        def flip(images: jax.Array) -> jax.Array:
            chosen = jax.random.bernoulli(key, self.probability, (len(images), 1, 1, 1))
            return jnp.where(chosen, jnp.flip(images, AXES[self.axis]), images)

        return _change_images("flip", flip, inputs), target


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Pads images (B, H, W, C) and crops them to their size at random places (He et al., 2015).

    Attributes:
        padding: pixels on each side, at least 1; an image moves by at most as many.
        mode: content of the padding. `constant`: the number `fill`; `edge`: the nearest pixel; `reflect`: the mirrored
            image.
        fill: content of a constant padding, in the unit of the input: 0 is black where images are divided by 255.

    Raises:
        UserError: the images are too small to be mirrored.
    """

    padding: Annotated[int, Range(1)] = 4
    mode: Literal["constant", "edge", "reflect"] = "constant"
    fill: Scalar = 0.0

    def __call__(self, key: jax.Array, inputs: Inputs, target: jax.Array) -> tuple[Inputs, jax.Array]:
        def crop(images: jax.Array) -> jax.Array:
            corners = jax.random.randint(key, (len(images), 2), 0, 2 * self.padding + 1)
            return jax.vmap(_crop, (0, 0, None))(self._pad(images), corners, images.shape[1:])

        return _change_images("crop", crop, inputs), target

    def _pad(self, images: jax.Array) -> jax.Array:
        around = ((0, 0), (self.padding, self.padding), (self.padding, self.padding), (0, 0))
        if self.mode == "constant":
            return jnp.pad(images, around, constant_values=jnp.asarray(self.fill, images.dtype))
        if self.mode == "reflect" and self.padding >= min(images.shape[1:3]):
            height, width = images.shape[1:3]
            raise UserError(
                f"crop: images of {height} x {width} can't be mirrored {self.padding} pixels wide; "
                f"choose a padding below {min(height, width)}, or mode=edge"
            )
        return jnp.pad(images, around, mode=self.mode)


def _crop(image: jax.Array, corner: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], jnp.zeros_like(corner[0])), shape)


def _change_images(name: str, change: Callable[[jax.Array], jax.Array], inputs: Inputs) -> Inputs:
    """Returns the inputs with all images changed alike; raises UserError where no input has images."""
    images = [one for one, value in inputs.items() if isinstance(value, jax.Array) and value.ndim == 4]
    if not images:
        shapes = ", ".join(
            f"{one} {jnp.shape(value) if isinstance(value, jax.Array) else type(value).__name__}"
            for one, value in inputs.items()
        )
        raise UserError(f"{name} changes images (B, H, W, C), but there are none among the inputs: {shapes}")
    return {one: change(value) if one in images else value for one, value in inputs.items()}
