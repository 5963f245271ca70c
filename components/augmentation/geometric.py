"""Images that move: mirrored, cropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from components.augmentation.images import add_masks_of_pixels, change_images, check_size, is_images
from components.types import Batch, Range, Scalar, UserError

AXES = {"vertical": 1, "horizontal": 2}


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Flips images (B, H, W, C) at random, and targets that are images with them.

    Attributes:
        probability: probability that an image is flipped, in [0, 1].
        axis: `horizontal` exchanges left and right, `vertical` exchanges top and bottom.
    """

    probability: Annotated[Scalar, Range(0, 1)] = 0.5
    axis: Literal["horizontal", "vertical"] = "horizontal"

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        def flip(images: jax.Array, fill: Scalar) -> jax.Array:
            flipped = jax.random.bernoulli(key, self.probability, (len(images), 1, 1, 1))
            return jnp.where(flipped, jnp.flip(images, AXES[self.axis]), images)

        return change_images("flip", flip, batch)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Pads images (B, H, W, C) and crops them to their original size at random positions (He et al., 2015).

    All images of an example move alike, by the same number of pixels, so they need one size. Targets that are images
    move with them. Classes of pixels in a constant padding don't count: their mask is false.

    Attributes:
        padding: pixels on each side, at least 1 and at most 2^16. An image moves by at most this number of pixels.
        mode: content of the padding. `constant`: the number `fill`; `edge`: the nearest pixel; `reflect`: the mirrored
            image.
        fill: content of a constant padding, in the unit of the input; 0 is black if pixels were divided by 255.
        target_fill: content of a constant padding of real-valued targets, in their unit, such as `fill` for an
            autoencoder whose inputs have the unit of the targets. None: there are no such targets.

    Raises:
        UserError: `mode` is `reflect`, and the images are not larger than the padding; inputs or targets have images of
            several sizes; or a real-valued target has a constant padding without `target_fill`.
    """

    padding: Annotated[int, Range(1, 2**16)] = 4
    mode: Literal["constant", "edge", "reflect"] = "constant"
    fill: Scalar = 0.0
    target_fill: Scalar | None = None

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        def crop(images: jax.Array, fill: Scalar) -> jax.Array:
            corners = jax.random.randint(key, (len(images), 2), 0, 2 * self.padding + 1)
            return jax.vmap(_crop, (0, 0, None))(self._pad(images, fill), corners, images.shape[1:])

        sizes = {name: value.shape[1:3] for name, value in batch.inputs.items() if is_images(value)}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{name} {height} x {width}" for name, (height, width) in sizes.items())
            raise UserError(
                "crop moves all images of an example by the same number of pixels, so it needs inputs of one size, got "
                f"{found}. Remove the augmentation, or resize the images."
            )
        for name, target in batch.targets.items() if sizes else ():
            if target.ndim > 2:
                check_size("crop", name, target, next(iter(sizes.values())))
            if target.ndim == 4 and self.mode == "constant" and self.target_fill is None:
                raise UserError(
                    f"crop needs a `target_fill` for the padding of the target `{name}`, in its unit: the number of "
                    "`fill` if the inputs have the same unit. Or set `mode=edge` or `mode=reflect`, which need none."
                )
        if self.mode == "constant":
            batch = add_masks_of_pixels(batch)
        return change_images("crop", crop, batch, self.fill, 0.0 if self.target_fill is None else self.target_fill)

    def _pad(self, images: jax.Array, fill: Scalar) -> jax.Array:
        pads = ((0, 0), (self.padding, self.padding), (self.padding, self.padding), (0, 0))
        if self.mode == "constant":
            return jnp.pad(images, pads, constant_values=jnp.asarray(fill, images.dtype))
        if self.mode == "reflect" and self.padding >= min(images.shape[1:3]):
            height, width = images.shape[1:3]
            raise UserError(
                f"crop needs a padding below {min(height, width)} to mirror images of {height} x {width} pixels, "
                f"got {self.padding}. Reduce the padding, or set mode to edge."
            )
        return jnp.pad(images, pads, mode=self.mode)


def _crop(image: jax.Array, corner: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], jnp.zeros_like(corner[0])), shape)
