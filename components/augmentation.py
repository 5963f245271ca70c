"""Random changes of the images of a training batch, on the device. Each example gets its own change at each step."""

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
        probability: probability that an image is flipped, in [0, 1].
        axis: `horizontal` exchanges left and right, `vertical` exchanges top and bottom.
    """

    probability: Annotated[Scalar, Range(0, 1)] = 0.5
    axis: Literal["horizontal", "vertical"] = "horizontal"

    def __call__(self, key: jax.Array, inputs: Inputs, target: jax.Array) -> tuple[Inputs, jax.Array]:
        def flip(images: jax.Array) -> jax.Array:
            flipped = jax.random.bernoulli(key, self.probability, (len(images), 1, 1, 1))
            return jnp.where(flipped, jnp.flip(images, AXES[self.axis]), images)

        return _change_images("flip", flip, inputs), target


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Pads images (B, H, W, C) and crops them to their original size at random positions (He et al., 2015).

    Attributes:
        padding: pixels on each side, at least 1. An image moves by at most this number of pixels.
        mode: content of the padding. `constant`: the number `fill`; `edge`: the nearest pixel; `reflect`: the mirrored
            image.
        fill: content of a constant padding, in the unit of the input; 0 is black if pixels were divided by 255.

    Raises:
        UserError: `mode` is `reflect`, and the images are not larger than the padding.
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
        pads = ((0, 0), (self.padding, self.padding), (self.padding, self.padding), (0, 0))
        if self.mode == "constant":
            return jnp.pad(images, pads, constant_values=jnp.asarray(self.fill, images.dtype))
        if self.mode == "reflect" and self.padding >= min(images.shape[1:3]):
            height, width = images.shape[1:3]
            raise UserError(
                f"crop needs a padding below {min(height, width)} to mirror images of {height} x {width} pixels, "
                f"got {self.padding}. Reduce the padding, or set mode to edge."
            )
        return jnp.pad(images, pads, mode=self.mode)


def _crop(image: jax.Array, corner: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], jnp.zeros_like(corner[0])), shape)


def _change_images(name: str, change: Callable[[jax.Array], jax.Array], inputs: Inputs) -> Inputs:
    """Returns the inputs, all images among them changed. Raises UserError if no input has images."""
    if not any(map(_is_images, inputs.values())):
        kinds = ", ".join(f"{key} {_describe(value)}" for key, value in inputs.items())
        raise UserError(f"{name} needs an input of images (B, H, W, C), got {kinds}. Remove the augmentation.")
    return {key: change(value) if _is_images(value) else value for key, value in inputs.items()}


def _is_images(value: Any) -> bool:
    return isinstance(value, jax.Array) and value.ndim == 4


def _describe(value: Any) -> str:
    return str(value.shape) if isinstance(value, jax.Array) else type(value).__name__
