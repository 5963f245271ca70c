"""Changes of all images of a batch: the inputs, and the targets that are images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from components.types import Batch, Scalar, UserError


def change_images(
    name: str,
    change: Callable[[jax.Array, Scalar], jax.Array],
    batch: Batch,
    fill: Scalar = 0.0,
    target_fill: Scalar = 0.0,
) -> Batch:
    """Changes all inputs that are images, and targets that are images with their masks and probabilities.

    Args:
        name: the augmentation, for the message.
        change: (images (B, H, W, C), content of new pixels) -> the changed images.
        batch: the batch.
        fill: the content of new pixels of inputs.
        target_fill: the content of new pixels of real-valued targets. That of classes, masks and probabilities is 0.

    Raises:
        UserError: no input has images.
    """
    require_images(name, batch)

    def change_target(target: jax.Array) -> jax.Array:
        if target.ndim == 3:  # classes or masks of pixels (B, H, W)
            return change(target[..., None], 0)[..., 0]
        return change(target, target_fill) if target.ndim == 4 else target

    inputs = {key: change(value, fill) if is_images(value) else value for key, value in batch.inputs.items()}
    targets, masks = (
        {key: change_target(value) for key, value in each.items()} for each in (batch.targets, batch.masks)
    )
    soft = {key: change(value, 0) if value.ndim == 4 else value for key, value in batch.soft.items()}
    return batch._replace(inputs=inputs, targets=targets, masks=masks, soft=soft)


def add_masks_of_pixels(batch: Batch) -> Batch:
    """The batch with a mask for each target of classes of pixels, also where no element can be missing."""
    masks = {name: batch.mask_of(name) for name, target in batch.targets.items() if target.ndim == 3}
    return batch._replace(masks={**batch.masks, **masks})


def check_size(augmentation: str, name: str, target: jax.Array, input_size: tuple[int, ...]) -> None:
    """Raises UserError unless the images of a target have the height and width of the inputs."""
    if target.shape[1:3] != input_size:
        size, needed = (" x ".join(map(str, shape)) for shape in (target.shape[1:3], input_size))
        raise UserError(
            f"{augmentation} needs a target of images of the size of the inputs, {needed} pixels, got `{name}` of "
            f"{size} pixels. Remove the augmentation, or resize one of them."
        )


def is_images(value: Any) -> bool:
    return isinstance(value, jax.Array) and value.ndim == 4


def is_float(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating)


def describe(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, jax.Array) else type(value).__name__


def change_pixels(name: str, change: Callable[[jax.Array, jax.Array], jax.Array], batch: Batch) -> Batch:
    """Changes the colors of all inputs that are images. Targets stay.

    Args:
        name: the augmentation, for the message.
        change: (images (B, H, W, C), float32 from 0, black, to 1, white; the shares of the channels in the grey value)
            -> the changed images, (B, H, W, C) or (B, H, W, 1).
        batch: the batch.

    Raises:
        UserError: no input has images, or black and white of one aren't known.
    """
    require_images(name, batch)

    def change_input(key: str, value: Any) -> Any:
        if not is_images(value):
            return value
        if key not in batch.pixels:
            raise UserError(
                f"{name} needs to know the numbers of black and white pixels of the input {key}. Let it be one column "
                "components.feature.Image, or remove the augmentation."
            )
        black, white = (each.reshape(1, 1, 1, -1) for each in batch.pixels[key][:2])
        images = (value.astype(jnp.float32) - black) / (white - black)
        difference = (change(images, batch.pixels[key].luma) - images) * (white - black)  # 0 where a pixel stays
        return value + difference.astype(value.dtype)

    return batch._replace(inputs={key: change_input(key, value) for key, value in batch.inputs.items()})


def require_images(name: str, batch: Batch) -> None:
    """Raises UserError unless an input has images."""
    if not any(map(is_images, batch.inputs.values())):
        kinds = ", ".join(f"{key} {describe(value)}" for key, value in batch.inputs.items())
        raise UserError(f"{name} needs an input of images (B, H, W, C), got {kinds}. Remove the augmentation.")


def where_drawn(key: jax.Array, probability: Scalar, changed: jax.Array, images: jax.Array) -> jax.Array:
    """The changed images with a probability, else the images."""
    return jnp.where(jax.random.bernoulli(key, probability, (len(images), 1, 1, 1)), changed, images)
