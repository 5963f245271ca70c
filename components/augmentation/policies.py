"""Random sequences of operations on images: RandAugment, TrivialAugment and AugMix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from components.augmentation.geometric import apply_matrix, make_matrix, warp
from components.augmentation.images import change_images, change_pixels, require_images
from components.augmentation.pixels import (
    auto_contrast,
    blend,
    change_contrast,
    change_saturation,
    change_sharpness,
    equalize,
    posterize,
    solarize,
)
from components.types import Batch, Range, Scalar, UserError

MAX_MAGNITUDE = 10
MAX_ANGLE = 30  # degrees
MAX_SLANT = 0.3
MAX_SHIFT = 0.45  # as a share of height or width
MAX_FACTOR = 0.9  # by which brightness, contrast, saturation and sharpness differ from 1
MIN_BITS = 4
PIXEL_OPERATIONS = 8
MOVES = 5  # rotation, two shears and two shifts
OPERATIONS = PIXEL_OPERATIONS + MOVES + 1  # and none


class Draws(NamedTuple):
    """One operation for each image.

    Attributes:
        operation: its number, int32 (B,): colors first, then moves, then none.
        strength: its magnitude from 0 to 1, float32 (B,).
        sign: 1 or -1, float32 (B,).
    """

    operation: jax.Array
    strength: jax.Array
    sign: jax.Array


def draw_operations(key: jax.Array, count: int, strength: jax.Array, probability: Scalar = 1.0) -> Draws:
    """Draws an operation for each of `count` images; none with 1 - probability, or as any other operation."""
    operation_key, sign_key, choice_key = jax.random.split(key, 3)
    operation = jax.random.randint(operation_key, (count,), 0, OPERATIONS)
    applies = jax.random.bernoulli(choice_key, probability, (count,))
    sign = jax.random.rademacher(sign_key, (count,), jnp.float32)
    return Draws(jnp.where(applies, operation, OPERATIONS - 1), strength, sign)


def change_colors(images: jax.Array, luma: jax.Array, draws: Draws) -> jax.Array:
    """Applies the operations that change colors to images from 0, black, to 1, white."""
    strength = draws.strength[:, None, None, None]
    factor = 1 + MAX_FACTOR * strength * draws.sign[:, None, None, None]
    changed = [
        auto_contrast(images),
        equalize(images),
        solarize(images, 1 - strength),
        posterize(images, 8 - (8 - MIN_BITS) * strength),
        blend(images, 0.0, factor),
        change_contrast(images, luma, factor),
        change_saturation(images, luma, factor),
        change_sharpness(images, factor),
    ]
    operation = draws.operation[:, None, None, None]
    return jnp.select([operation == number for number in range(PIXEL_OPERATIONS)], changed, images)


def move_images(images: jax.Array, draws: Draws) -> jax.Array:
    """Applies the operations that move images. Beyond the border lies the nearest pixel."""
    amount = draws.strength * draws.sign
    moves = [jnp.where(draws.operation == PIXEL_OPERATIONS + number, amount, 0) for number in range(MOVES)]
    matrix = make_matrix(jnp.deg2rad(MAX_ANGLE * moves[0]), MAX_SLANT * moves[1], MAX_SLANT * moves[2])
    shift = MAX_SHIFT * jnp.stack(moves[3:], -1)
    warped = warp(images, apply_matrix(matrix, shift, *images.shape[1:3]), "edge", 0)
    is_moved = jnp.abs(jnp.stack(moves)).sum(0) > 0
    return jnp.where(is_moved[:, None, None, None], warped, images)


def _apply_operations(
    name: str, key: jax.Array, batch: Batch, strengths: jax.Array, probability: Scalar = 1.0
) -> Batch:
    """Applies operations one after another, of strengths (operations, B) from 0 to 1, to inputs and targets."""
    require_images(name, batch)

    def apply_operation(batch: Batch, step: tuple[jax.Array, jax.Array]) -> tuple[Batch, None]:
        key, strength = step
        draws = draw_operations(key, len(strength), strength, probability)
        batch = change_pixels(name, lambda images, luma: change_colors(images, luma, draws), batch)
        return change_images(name, lambda images, fill: move_images(images, draws), batch), None

    return jax.lax.scan(apply_operation, batch, (jax.random.split(key, len(strengths)), strengths))[0]


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """Applies some of 14 operations to each image (B, H, W, C), drawn for each (Cubuk et al., 2020).

    The operations: none, auto contrast, equalize, solarize, posterize, brightness, contrast, saturation, sharpness,
    rotation, shear and move along each axis. Targets that are images move with the inputs. Beyond the border lies the
    nearest pixel. At magnitude 10, images turn by 30 degrees, are slanted by 0.3 and move by 0.45 of their size,
    factors of colors are 0.1 or 1.9, all pixels are inverted, and 4 bits stay.

    Attributes:
        count: operations for each image, one after another, at least 1 and at most 16.
        magnitude: the strength of an operation, in [0, 10].
        std: standard deviation of the magnitude of each operation, which stays in [0, 10].
        probability: probability that an operation is applied, in [0, 1].
    """

    count: Annotated[int, Range(1, 16)] = 2
    magnitude: Annotated[Scalar, Range(0, MAX_MAGNITUDE)] = 9.0
    std: Annotated[Scalar, Range(0)] = 0.5
    probability: Annotated[Scalar, Range(0, 1)] = 1.0

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        strength_key, key = jax.random.split(key)
        normal = jax.random.normal(strength_key, (self.count, len(batch.present)))
        strengths = jnp.clip((self.magnitude + self.std * normal) / MAX_MAGNITUDE, 0, 1)
        return _apply_operations("rand_augment", key, batch, strengths, self.probability)


@dataclass(frozen=True, kw_only=True)
class TrivialAugment:
    """Applies one of the operations of `RandAugment` to each image (B, H, W, C) (Müller and Hutter, 2021).

    Attributes:
        magnitude: the strength is drawn uniformly from 0 to this number, in [0, 10].
    """

    magnitude: Annotated[Scalar, Range(0, MAX_MAGNITUDE)] = 10.0

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        strength_key, key = jax.random.split(key)
        strengths = self.magnitude / MAX_MAGNITUDE * jax.random.uniform(strength_key, (1, len(batch.present)))
        return _apply_operations("trivial_augment", key, batch, strengths)


@dataclass(frozen=True, kw_only=True)
class AugMix:
    """Mixes each image (B, H, W, C) with randomly changed copies of itself (Hendrycks et al., 2020).

    A copy is changed by a chain of 1 to `depth` operations of `RandAugment`. The copies are mixed with weights from
    a Dirichlet distribution, and the result with the image with a share from a Beta distribution.

    Attributes:
        chains: the number of copies, at least 1 and at most 16.
        depth: the largest number of operations of a chain, at least 1 and at most 16.
        magnitude: magnitudes are drawn uniformly from 0 to this number, in [0, 10].
        alpha: parameter of both distributions, above 0.

    Raises:
        UserError: a target has images, which the mixed copies of the input don't fit.
    """

    chains: Annotated[int, Range(1, 16)] = 3
    depth: Annotated[int, Range(1, 16)] = 3
    magnitude: Annotated[Scalar, Range(0, MAX_MAGNITUDE)] = 3.0
    alpha: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0
    keeps_targets = True

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        if pictures := [name for name, target in batch.targets.items() if target.ndim > 2]:
            raise UserError(
                f"aug_mix mixes moved copies of an image, which the target of images `{pictures[0]}` doesn't fit. Use "
                "rand_augment, which moves it with its input."
            )
        count = len(batch.present)
        weight_key, share_key, chain_key = jax.random.split(key, 3)
        weights = jax.random.dirichlet(weight_key, jnp.full(self.chains, self.alpha, jnp.float32), (count,))
        share = jax.random.beta(share_key, self.alpha, self.alpha, (count, 1, 1, 1))

        def mix(images: jax.Array, luma: jax.Array) -> jax.Array:
            def add_chain(total: jax.Array, chain: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
                chain_key, weight = chain
                return total + weight[:, None, None, None] * self._apply_chain(chain_key, images, luma), None

            chains = (jax.random.split(chain_key, self.chains), weights.T)
            mixed, _ = jax.lax.scan(add_chain, jnp.zeros_like(images), chains)
            return share * images + (1 - share) * mixed

        return change_pixels("aug_mix", mix, batch)

    def _apply_chain(self, key: jax.Array, images: jax.Array, luma: jax.Array) -> jax.Array:
        depth_key, chain_key = jax.random.split(key)
        depths = jax.random.randint(depth_key, (len(images),), 1, self.depth + 1)

        def apply_operation(images: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            position, key = step
            strength_key, operation_key = jax.random.split(key)
            strength = self.magnitude / MAX_MAGNITUDE * jax.random.uniform(strength_key, (len(images),))
            draws = draw_operations(operation_key, len(images), strength)
            changed = move_images(change_colors(images, luma, draws), draws)
            return jnp.where((position < depths)[:, None, None, None], changed, images), None

        steps = (jnp.arange(self.depth), jax.random.split(chain_key, self.depth))
        return jax.lax.scan(apply_operation, images, steps)[0]
