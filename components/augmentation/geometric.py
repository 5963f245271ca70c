"""Images that move: mirrored, cropped, turned, distorted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from components.augmentation.images import add_masks_of_pixels, change_images, check_size, is_float, is_images
from components.types import Batch, Range, Scalar, UserError

AXES = {"vertical": 1, "horizontal": 2}
MODES = {"constant": "constant", "edge": "nearest", "reflect": "mirror"}  # the words of `map_coordinates`
Mode: TypeAlias = Literal["constant", "edge", "reflect"]
Share: TypeAlias = Annotated[Scalar, Range(0, 1)]


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
    mode: Mode = "constant"
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
        return _move_images("crop", crop, batch, self)

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


def _move_images(
    name: str, move: Callable[[jax.Array, Scalar], jax.Array], batch: Batch, padding: Crop | _Warp
) -> Batch:
    """Moves all images as `change_images` does. Raises UserError if a target lacks the content of its padding."""
    images = [key for key, target in batch.targets.items() if target.ndim == 4]
    if images and padding.mode == "constant" and padding.target_fill is None:
        raise UserError(
            f"{name} needs a `target_fill` for the padding of the target `{images[0]}`, in its unit: the number of "
            "`fill` if the inputs have the same unit. Or set `mode=edge` or `mode=reflect`, which need none."
        )
    if padding.mode == "constant":
        batch = add_masks_of_pixels(batch)
    return change_images(name, move, batch, padding.fill, 0.0 if padding.target_fill is None else padding.target_fill)


def warp(images: jax.Array, sources: jax.Array, mode: Mode, fill: Scalar) -> jax.Array:
    """Moves pixels, with bilinear interpolation of real numbers, and the nearest pixel of classes and masks.

    Args:
        images: images (B, H, W, C).
        sources: for each pixel of the result the place that it comes from, float32 (B, 2, H, W): row and column, where
            (0, 0) is the center of the image.
        mode: what lies beyond the border, as in `Crop`.
        fill: the content of `constant`.
    """
    order = 1 if is_float(images) else 0
    places = sources + _center(images.shape[1:3])[None]

    def warp_channel(channel: jax.Array, places: jax.Array) -> jax.Array:
        values = channel.astype(jnp.float32)  # of classes, it has the same numbers
        content = jnp.asarray(fill if mode == "constant" else 0, jnp.float32)
        moved = map_coordinates(values - content, [*places], order, MODES[mode])  # whose `cval` can't be traced
        return (moved + content).astype(channel.dtype)

    return jax.vmap(jax.vmap(warp_channel, (-1, None), -1))(images, places.astype(jnp.float32))


def pixel_places(height: int, width: int) -> jax.Array:
    """The row and the column of each pixel from the center of the image, float32 (2, H, W)."""
    return jnp.mgrid[:height, :width].astype(jnp.float32) - _center((height, width))


def apply_matrix(matrix: jax.Array, shift: jax.Array, height: int, width: int) -> jax.Array:
    """The sources of pixels for an affine map: a matrix (B, 2, 2), and a shift (B, 2) as a share of the size."""
    moved = jnp.einsum("bij,jhw->bihw", matrix, pixel_places(height, width), precision="highest")
    return moved + (shift * jnp.array([[height, width]], jnp.float32))[:, :, None, None]


def _center(size: tuple[int, ...]) -> jax.Array:
    return (jnp.array(size, jnp.float32) - 1)[:, None, None] / 2


@dataclass(frozen=True, kw_only=True)
class _Warp:
    """An augmentation that moves the pixels of images."""

    mode: Mode = "constant"
    fill: Scalar = 0.0
    target_fill: Scalar | None = None
    name: ClassVar[str]

    def sources(self, key: jax.Array, count: int, height: int, width: int) -> jax.Array:
        """Draws where the pixels of images come from, as for `warp`. Images of other sizes get the same draws."""
        raise NotImplementedError

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        def move(images: jax.Array, fill: Scalar) -> jax.Array:
            return warp(images, self.sources(key, *images.shape[:3]), self.mode, fill)

        return _move_images(self.name, move, batch, self)


@dataclass(frozen=True, kw_only=True)
class Affine(_Warp):
    """Turns, moves, scales and shears images (B, H, W, C) at random, and targets that are images with them.

    Each number is drawn uniformly from both sides of 0, up to its parameter. Real numbers are interpolated linearly, of
    classes of pixels the nearest one is taken. Classes beyond the border don't count, unless `mode` fills them.

    Attributes:
        rotation: the largest angle, in degrees, in [0, 180].
        translation: the largest move, as a share of height and width, in [0, 1].
        zoom: the largest share by which an image becomes larger or smaller, in [0, 1).
        shear: the largest angle by which rows, and columns, are slanted, in degrees, in [0, 90).
        mode: what lies beyond the border. `constant`: the number `fill`; `edge`: the nearest pixel; `reflect`: the
            mirrored image.
        fill: content beyond the border, in the unit of the input; 0 is black if pixels were divided by 255.
        target_fill: content beyond the border of real-valued targets, in their unit. None: there are no such targets.

    Raises:
        UserError: a real-valued target has a constant padding without `target_fill`.
    """

    rotation: Annotated[Scalar, Range(0, 180)] = 15.0
    translation: Share = 0.1
    zoom: Annotated[Scalar, Range(0, 1, "[)")] = 0.1
    shear: Annotated[Scalar, Range(0, 90, "[)")] = 0.0
    name = "affine"

    def sources(self, key: jax.Array, count: int, height: int, width: int) -> jax.Array:
        angle, zoom, slant_x, slant_y, *shift = jax.random.uniform(key, (6, count), minval=-1, maxval=1)
        matrix = make_matrix(
            jnp.deg2rad(self.rotation * angle),
            jnp.tan(jnp.deg2rad(self.shear * slant_y)),
            jnp.tan(jnp.deg2rad(self.shear * slant_x)),
        )
        matrix /= (1 + self.zoom * zoom)[:, None, None]
        return apply_matrix(matrix, self.translation * jnp.stack(shift, -1), height, width)


def make_matrix(angle: jax.Array, slant_y: jax.Array, slant_x: jax.Array) -> jax.Array:
    """The matrix (B, 2, 2) of a rotation by an angle in radians after a shear. Each argument is (B,)."""
    cosine, sine, one = jnp.cos(angle), jnp.sin(angle), jnp.ones_like(angle)
    rotation = jnp.stack([jnp.stack([cosine, sine], -1), jnp.stack([-sine, cosine], -1)], -2)
    shear = jnp.stack([jnp.stack([one, slant_y], -1), jnp.stack([slant_x, one], -1)], -2)
    return jnp.matmul(rotation, shear, precision="highest")


@dataclass(frozen=True, kw_only=True)
class Perspective:
    """Views images (B, H, W, C) from a random angle, and targets that are images with them.

    The corners of the result come from random places inside the image, so no pixel comes from beyond the border. Pixels
    are taken as in `Affine`.

    Attributes:
        distortion: the largest move of a corner, as a share of half of the height and the width, in [0, 1).
    """

    distortion: Annotated[Scalar, Range(0, 1, "[)")] = 0.3

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        def move(images: jax.Array, fill: Scalar) -> jax.Array:
            return warp(images, self.sources(key, *images.shape[:3]), "edge", fill)

        return change_images("perspective", move, batch)

    def sources(self, key: jax.Array, count: int, height: int, width: int) -> jax.Array:
        """Draws where the pixels of images come from, as for `warp`."""
        corners = jnp.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], jnp.float32)
        moved = corners[None] * (1 - self.distortion * jax.random.uniform(key, (count, 4, 2)))
        homography = jax.vmap(_solve_homography, (None, 0))(corners, moved)  # (B, 3, 3)
        scale = _center((height, width)).clip(0.5)
        places = pixel_places(height, width) / scale
        ones = jnp.ones((1, height, width), jnp.float32)
        mapped = jnp.einsum("bij,jhw->bihw", homography, jnp.concatenate([places, ones]), precision="highest")
        return mapped[:, :2] / mapped[:, 2:] * scale[None]


def _solve_homography(points: jax.Array, images: jax.Array) -> jax.Array:
    """The matrix (3, 3) of the projective map of four points, (4, 2), to their images."""

    def equations(point: jax.Array, image: jax.Array) -> jax.Array:
        one, zeros = jnp.ones(1), jnp.zeros(3)
        place = jnp.concatenate([point, one])
        first = jnp.concatenate([place, zeros, -image[0] * point])
        second = jnp.concatenate([zeros, place, -image[1] * point])
        return jnp.stack([first, second])

    matrix = jax.vmap(equations)(points, images).reshape(8, 8)
    solution = jnp.linalg.solve(matrix, images.reshape(8))
    return jnp.append(solution, 1.0).reshape(3, 3)


@dataclass(frozen=True, kw_only=True)
class Elastic(_Warp):
    """Distorts images (B, H, W, C) smoothly at random, and targets that are images with them (Ronneberger, 2015).

    The points of a coarse grid move by normally distributed distances; those between are interpolated (bicubic).
    Pixels are taken as in `Affine`.

    Attributes:
        std: standard deviation of the moves, as a share of the height and the width, 0 or more.
        grid: points of the grid along each side, at least 2 and at most 64.
        mode: what lies beyond the border, as in `Affine`.
        fill: content beyond the border, in the unit of the input.
        target_fill: content beyond the border of real-valued targets, in their unit. None: there are no such targets.

    Raises:
        UserError: a real-valued target has a constant padding without `target_fill`.
    """

    std: Annotated[Scalar, Range(0)] = 0.03
    grid: Annotated[int, Range(2, 64)] = 3
    name = "elastic"

    def sources(self, key: jax.Array, count: int, height: int, width: int) -> jax.Array:
        moves = self.std * jax.random.normal(key, (count, 2, self.grid, self.grid))
        smooth = jax.image.resize(moves, (count, 2, height, width), "cubic")
        return pixel_places(height, width)[None] + smooth * jnp.array([height, width], jnp.float32).reshape(1, 2, 1, 1)
