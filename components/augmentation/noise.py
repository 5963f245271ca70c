"""Noise on the inputs, and in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import jax
import jax.numpy as jnp

from components.augmentation.images import describe, is_float, is_images, require_images, where_drawn
from components.types import Batch, FieldError, Range, Scalar, UserError

Area: TypeAlias = Annotated[float, Range(0, 1, "(]")]


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Adds normally distributed noise to inputs of floats. The target keeps its values, as denoising needs.

    Attributes:
        std: standard deviation of the noise, in the unit of the input, 0 or more.
        inputs: names of the inputs; None: all inputs of floats.
        evaluates: whether evaluations add noise, too, so that the loss of a held-out split is that of noisy inputs.
    """

    std: Annotated[Scalar, Range(0)] = 0.1
    inputs: tuple[str, ...] | None = None
    evaluates: bool = False
    keeps_targets = True

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        floats = [name for name, value in batch.inputs.items() if is_float(value)]
        if not floats:
            kinds = ", ".join(f"{name} {describe(value)}" for name, value in batch.inputs.items())
            raise UserError(f"gaussian_noise needs an input of floats, got {kinds}. Remove the augmentation.")
        if self.inputs == ():
            raise UserError("gaussian_noise: `inputs` is empty, so no input gets noise. Leave it out, or list inputs.")
        for name in self.inputs or ():
            if name not in floats:
                allowed = ", ".join(floats) or "none"
                raise UserError(f"gaussian_noise: no input of floats is called {name}. Inputs of floats: {allowed}.")
        inputs = dict(batch.inputs)
        for number, name in enumerate(floats if self.inputs is None else self.inputs):
            noise = jax.random.normal(jax.random.fold_in(key, number), inputs[name].shape, inputs[name].dtype)
            inputs[name] += jnp.asarray(self.std, inputs[name].dtype) * noise
        return batch._replace(inputs=inputs)


@dataclass(frozen=True, kw_only=True)
class Erase:
    """Replaces a random rectangle of images (B, H, W, C), at random. Targets stay (Zhong et al., 2017).

    All images of an example lose the same part.

    Attributes:
        probability: probability that an image is changed, in [0, 1].
        area: the smallest and the largest share of the image's area, in (0, 1].
        ratio: the rectangle's height is at most this number of times its width, and reverse, at least 1.
        content: `constant`: the number `fill`; `noise`: for each pixel and channel a normally distributed number.
        fill: the content, or the mean of the noise, in the unit of the input; 0 is the mean of standardized images.
        std: standard deviation of the noise, in the unit of the input, 0 or more.
    """

    probability: Annotated[Scalar, Range(0, 1)] = 0.25
    area: tuple[Area, Area] = (0.02, 0.33)
    ratio: Annotated[Scalar, Range(1)] = 3.3
    content: Literal["constant", "noise"] = "noise"
    fill: Scalar = 0.0
    std: Annotated[Scalar, Range(0)] = 1.0
    keeps_targets = True

    def __post_init__(self) -> None:
        if self.area[0] > self.area[1]:
            raise FieldError("area", f"{list(self.area)} has the smallest share of the area first")

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        require_images("erase", batch)
        choice_key, box_key, noise_key = jax.random.split(key, 3)

        def erase(number: int, images: jax.Array) -> jax.Array:
            content = jnp.asarray(self.fill, images.dtype)
            if self.content == "noise":
                noise = jax.random.normal(jax.random.fold_in(noise_key, number), images.shape, images.dtype)
                content += jnp.asarray(self.std, images.dtype) * noise
            inside = self._draw_boxes(box_key, *images.shape[:3])
            return where_drawn(choice_key, self.probability, jnp.where(inside[..., None], content, images), images)

        changed = {
            name: erase(number, value) if is_images(value) else value
            for number, (name, value) in enumerate(batch.inputs.items())
        }
        return batch._replace(inputs=changed)

    def _draw_boxes(self, key: jax.Array, count: int, height: int, width: int) -> jax.Array:
        """Draws a rectangle in each image, as far as it fits. Returns True inside, (B, H, W)."""
        share, shape, *corner = jax.random.uniform(key, (4, count))
        area = self.area[0] + share * (self.area[1] - self.area[0])
        ratio = jnp.exp((2 * shape - 1) * jnp.log(self.ratio))
        sides = jnp.clip(jnp.stack([jnp.sqrt(area * ratio), jnp.sqrt(area / ratio)]), 0, 1)  # as shares

        def is_inside(side: jax.Array, corner: jax.Array, size: int) -> jax.Array:
            length = jnp.clip(jnp.round(side * size), 1)
            start = jnp.floor(corner * (size - length + 1))
            positions = jnp.arange(size, dtype=jnp.float32)[None]
            return (positions >= start[:, None]) & (positions < (start + length)[:, None])

        rows, columns = is_inside(sides[0], corner[0], height), is_inside(sides[1], corner[1], width)
        return rows[:, :, None] & columns[:, None, :]
