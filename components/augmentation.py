"""Random changes of the images of a training batch, on the device: each example's own, others at every step."""

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
    """Mirrors images (B, H, W, C), each with that probability: left to right, or `vertical`, upside down."""

    probability: Annotated[Scalar, Range(0, 1)] = 0.5
    axis: Literal["horizontal", "vertical"] = "horizontal"

    def __call__(self, key: jax.Array, inputs: Inputs, target: jax.Array) -> tuple[Inputs, jax.Array]:
        def flipped(images: jax.Array) -> jax.Array:
            chosen = jax.random.bernoulli(key, self.probability, (len(images), 1, 1, 1))
            return jnp.where(chosen, jnp.flip(images, AXES[self.axis]), images)

        return _of_images("flip", flipped, inputs), target


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Pads images (B, H, W, C) and cuts out as much as they were, each at a random place (He et al., 2015).

    Attributes:
        padding: pixels on every side; so far an image moves at most.
        mode: what is in them: `constant`, a number; `edge`, the nearest pixel; `reflect`, the image mirrored.
        fill: that number, in the unit of the input: 0 is black where images are divided by 255.
    """

    padding: Annotated[int, Range(1)] = 4
    mode: Literal["constant", "edge", "reflect"] = "constant"
    fill: Scalar = 0.0

    def __call__(self, key: jax.Array, inputs: Inputs, target: jax.Array) -> tuple[Inputs, jax.Array]:
        def cropped(images: jax.Array) -> jax.Array:
            corners = jax.random.randint(key, (len(images), 2), 0, 2 * self.padding + 1)
            return jax.vmap(_cut, (0, 0, None))(self._padded(images), corners, images.shape[1:])

        return _of_images("crop", cropped, inputs), target

    def _padded(self, images: jax.Array) -> jax.Array:
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


def _cut(image: jax.Array, corner: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], jnp.zeros_like(corner[0])), shape)


def _of_images(name: str, change: Callable[[jax.Array], jax.Array], inputs: Inputs) -> Inputs:
    """The inputs, those of images changed, all alike; raises UserError where none are."""
    images = [one for one, value in inputs.items() if isinstance(value, jax.Array) and value.ndim == 4]
    if not images:
        given = ", ".join(
            f"{one} {jnp.shape(value) if isinstance(value, jax.Array) else type(value).__name__}"
            for one, value in inputs.items()
        )
        raise UserError(f"{name} changes images (B, H, W, C), but there are none among the inputs: {given}")
    return {one: change(value) if one in images else value for one, value in inputs.items()}
