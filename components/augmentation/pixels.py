"""Colors that change: operations on images from 0, black, to 1, white, and the augmentations that draw them.

The operations are those of Pillow, on real numbers. Of `equalize` and `posterize`, which count and cut the levels of
bytes, the result is that of the image in bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeAlias

import jax
import jax.numpy as jnp

from components.augmentation.images import change_pixels, where_drawn
from components.types import Batch, Range, Scalar

WHITE = 255  # the largest byte
SMOOTH = ((1, 1, 1), (1, 5, 1), (1, 1, 1))  # the kernel of Pillow's sharpness
Probability: TypeAlias = Annotated[Scalar, Range(0, 1)]


def to_grey(images: jax.Array, luma: jax.Array) -> jax.Array:
    """The grey value of each pixel, (B, H, W, 1). Images of another number of channels than 3 have none: their mean."""
    return (images @ luma)[..., None] if images.shape[-1] == 3 else images.mean(-1, keepdims=True)


def blend(images: jax.Array, base: jax.Array | float, factor: Scalar) -> jax.Array:
    """The images for factor 1, the base for 0, and beyond both for others, in [0, 1]."""
    return jnp.clip(base + factor * (images - base), 0, 1)


def change_contrast(images: jax.Array, luma: jax.Array, factor: Scalar) -> jax.Array:
    """Multiplies the distance of pixels from the mean grey value of their image."""
    return blend(images, to_grey(images, luma).mean((1, 2, 3), keepdims=True), factor)


def change_saturation(images: jax.Array, luma: jax.Array, factor: Scalar) -> jax.Array:
    """Multiplies the distance of the channels of a pixel from its grey value."""
    return blend(images, to_grey(images, luma), factor)


def change_sharpness(images: jax.Array, factor: Scalar) -> jax.Array:
    """Multiplies the distance of pixels from those of the smoothed image. Pixels at the border stay."""
    height, width = images.shape[1:3]
    if min(height, width) < 3:
        return images
    weights = [(row, column, SMOOTH[row][column] / 13) for row in range(3) for column in range(3)]
    inner = sum(
        weight * images[:, row : row + height - 2, column : column + width - 2] for row, column, weight in weights
    )
    return blend(images, images.at[:, 1:-1, 1:-1].set(inner), factor)


def change_hue(images: jax.Array, luma: jax.Array, turn: jax.Array) -> jax.Array:
    """Turns the hue of each pixel on the circle of colors: hue, saturation and value (Smith, 1978). Grey stays grey.

    Args:
        images: images; of another number of channels than 3, they stay as they are.
        luma: tells the order of the channels.
        turn: the part of the circle, (B, 1, 1), from -1 to 1.
    """
    if images.shape[-1] != 3:
        return images
    is_rgb = luma[0] > luma[2]
    red, green, blue = jnp.moveaxis(jnp.where(is_rgb, images, images[..., ::-1]), -1, 0)
    value, low = images.max(-1), images.min(-1)
    chroma = value - low
    divisor = jnp.where(chroma > 0, chroma, 1)
    is_red = (red >= green) & (red >= blue)  # not `red == value`: a compiler may round the two in other ways
    others = jnp.where(green >= blue, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
    sector = jnp.where(is_red, (green - blue) / divisor, others)

    def channel(start: int) -> jax.Array:
        position = (start + sector + 6 * turn) % 6
        return value - chroma * jnp.clip(jnp.minimum(position, 4 - position), 0, 1)

    turned = jnp.stack([channel(5), channel(3), channel(1)], -1)
    return jnp.where(is_rgb, turned, turned[..., ::-1])


def solarize(images: jax.Array, threshold: Scalar) -> jax.Array:
    """Inverts pixels of at least a threshold."""
    return jnp.where(images >= threshold, 1 - images, images)


def posterize(images: jax.Array, bits: Scalar) -> jax.Array:
    """Sets all but the first bits of a byte to 0. The number of bits may be traced, and is rounded."""
    step = jnp.exp2(8 - jnp.round(bits))
    return jnp.floor(_to_levels(images) / step) * step / WHITE


def auto_contrast(images: jax.Array) -> jax.Array:
    """Stretches each channel of an image from 0 to 1. A channel of one value stays."""
    low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
    span = jnp.where(high > low, high - low, 1)
    return jnp.where(high > low, (images - low) / span, images)


def equalize(images: jax.Array) -> jax.Array:
    """Maps the levels of each channel of an image so that each of them has about as many pixels."""

    def equalize_channel(levels: jax.Array) -> jax.Array:  # int32 (H, W)
        counts = jnp.zeros(WHITE + 1, jnp.int32).at[levels].add(1)
        step = (counts.sum() - counts[levels.max()]) // WHITE
        below = jnp.cumsum(counts) - counts
        mapped = jnp.minimum((step // 2 + below) // jnp.maximum(step, 1), WHITE)
        return jnp.where(step > 0, mapped[levels], levels)

    levels = _to_levels(images).astype(jnp.int32)
    return jax.vmap(jax.vmap(equalize_channel, -1, -1))(levels).astype(images.dtype) / WHITE


def blur(images: jax.Array, sigma: jax.Array, radius: int) -> jax.Array:
    """Blurs each image with a Gaussian kernel of its own standard deviation, float32 (B,), in pixels."""
    offsets = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    weights = jax.nn.softmax(-jnp.square(offsets[None] / sigma[:, None]) / 2)  # (B, kernel)
    for axis in (1, 2):
        pads = [(radius, radius) if each == axis else (0, 0) for each in range(4)]
        padded, size = jnp.pad(images, pads, mode="edge"), images.shape[axis]
        shifted = [jax.lax.slice_in_dim(padded, index, index + size, axis=axis) for index in range(2 * radius + 1)]
        images = jnp.einsum("bk,kbhwc->bhwc", weights, jnp.stack(shifted), precision="highest")
    return images


def _to_levels(images: jax.Array) -> jax.Array:
    """The images in bytes, as floats."""
    return jnp.round(images * WHITE)


@dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """Changes brightness, contrast, saturation and hue of each image at random, in this order.

    A factor is drawn from 1 - x to 1 + x: 0 is a black image, one of its mean grey, or a grey one; 1 is the image.

    Attributes:
        brightness: x of the brightness, in [0, 1].
        contrast: x of the contrast, in [0, 1].
        saturation: x of the saturation, in [0, 1].
        hue: the largest turn of the hue on the circle of colors, in [0, 0.5]: 0.5 is the complementary color.
    """

    brightness: Probability = 0.4
    contrast: Probability = 0.4
    saturation: Probability = 0.4
    hue: Annotated[Scalar, Range(0, 0.5)] = 0.1
    keeps_targets = True

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        def change(images: jax.Array, luma: jax.Array) -> jax.Array:
            draws = jax.random.uniform(key, (4, len(images), 1, 1, 1), minval=-1, maxval=1)
            images = blend(images, 0.0, 1 + self.brightness * draws[0])
            images = change_contrast(images, luma, 1 + self.contrast * draws[1])
            images = change_saturation(images, luma, 1 + self.saturation * draws[2])
            return change_hue(images, luma, self.hue * draws[3][..., 0])

        return change_pixels("color_jitter", change, batch)


@dataclass(frozen=True, kw_only=True)
class _OfSomeImages:
    """An augmentation that changes the colors of each image with a probability."""

    probability: Probability = 0.5
    keeps_targets = True
    name: ClassVar[str]

    def change(self, images: jax.Array, luma: jax.Array, key: jax.Array) -> jax.Array:
        """Changes images (B, H, W, C) from 0, black, to 1, white; `luma` has the share of each channel in the grey."""
        raise NotImplementedError

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        choice_key, change_key = jax.random.split(key)

        def change_some(images: jax.Array, luma: jax.Array) -> jax.Array:
            return where_drawn(choice_key, self.probability, self.change(images, luma, change_key), images)

        return change_pixels(self.name, change_some, batch)


@dataclass(frozen=True, kw_only=True)
class Grayscale(_OfSomeImages):
    """Replaces colors by their grey value, at random. The number of channels stays.

    Attributes:
        probability: probability that an image becomes grey, in [0, 1].
    """

    probability: Probability = 0.1
    name = "grayscale"

    def change(self, images: jax.Array, luma: jax.Array, key: jax.Array) -> jax.Array:
        return to_grey(images, luma)


@dataclass(frozen=True, kw_only=True)
class Invert(_OfSomeImages):
    """Inverts images at random: black becomes white.

    Attributes:
        probability: probability that an image is inverted, in [0, 1].
    """

    name = "invert"

    def change(self, images: jax.Array, luma: jax.Array, key: jax.Array) -> jax.Array:
        return 1 - images


@dataclass(frozen=True, kw_only=True)
class Solarize(_OfSomeImages):
    """Inverts the bright pixels of images, at random.

    Attributes:
        probability: probability that an image is changed, in [0, 1].
        threshold: the darkest pixel that is inverted, from 0, black, to 1, white.
    """

    threshold: Probability = 0.5
    name = "solarize"

    def change(self, images: jax.Array, luma: jax.Array, key: jax.Array) -> jax.Array:
        return solarize(images, self.threshold)


@dataclass(frozen=True, kw_only=True)
class Posterize(_OfSomeImages):
    """Leaves images fewer levels of each channel, at random.

    Attributes:
        probability: probability that an image is changed, in [0, 1].
        bits: the bits of a byte that stay, from 1, black and half white, to 8, all.
    """

    bits: Annotated[int, Range(1, 8)] = 4
    name = "posterize"

    def change(self, images: jax.Array, luma: jax.Array, key: jax.Array) -> jax.Array:
        return posterize(images, self.bits)


@dataclass(frozen=True, kw_only=True)
class AutoContrast(_OfSomeImages):
    """Stretches each channel of an image from black to white, at random.

    Attributes:
        probability: probability that an image is changed, in [0, 1].
    """

    name = "auto_contrast"

    def change(self, images: jax.Array, luma: jax.Array, key: jax.Array) -> jax.Array:
        return auto_contrast(images)


@dataclass(frozen=True, kw_only=True)
class Equalize(_OfSomeImages):
    """Equalizes the histogram of each channel of an image, at random.

    Attributes:
        probability: probability that an image is changed, in [0, 1].
    """

    name = "equalize"

    def change(self, images: jax.Array, luma: jax.Array, key: jax.Array) -> jax.Array:
        return equalize(images)


@dataclass(frozen=True, kw_only=True)
class Sharpness(_OfSomeImages):
    """Sharpens or smooths images, at random.

    Attributes:
        probability: probability that an image is changed, in [0, 1].
        amount: the factor is drawn from 1 - amount to 1 + amount: 0 is a smoothed image, 1 the image, 2 a sharp one.
    """

    amount: Probability = 0.9
    name = "sharpness"

    def change(self, images: jax.Array, luma: jax.Array, key: jax.Array) -> jax.Array:
        draws = jax.random.uniform(key, (len(images), 1, 1, 1), minval=-1, maxval=1)
        return change_sharpness(images, 1 + self.amount * draws)


@dataclass(frozen=True, kw_only=True)
class Blur(_OfSomeImages):
    """Blurs images with a Gaussian kernel, at random. Pixels beyond the border are those at the border.

    Attributes:
        probability: probability that an image is changed, in [0, 1].
        sigma: the largest standard deviation of the kernel, in pixels, above 0.1, the smallest.
        radius: the kernel has 2 radius + 1 pixels, radius at least 1 and at most 64.
    """

    sigma: Annotated[Scalar, Range(0.1, math.inf, "()")] = 2.0
    radius: Annotated[int, Range(1, 64)] = 3
    name = "blur"

    def change(self, images: jax.Array, luma: jax.Array, key: jax.Array) -> jax.Array:
        share = jax.random.uniform(key, (len(images),))
        return blur(images, 0.1 + share * (self.sigma - 0.1), self.radius)
