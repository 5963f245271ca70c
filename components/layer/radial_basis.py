"""Radial basis functions."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.types import UserError


class RadialBasis(nn.Module):
    """The squared distance to the fixed code of each class, negative: (B, D) -> (B, classes), in float32.

    `codes` are (classes, D), and learn nothing. The nearest one has the largest answer, so that it serves as a logit;
    LeCun et al., 1998, have the distances themselves, as penalties. Raises UserError where D is not theirs.
    """

    codes: tuple[tuple[float, ...], ...]

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        del train
        codes = jnp.array(self.codes, jnp.float32)
        if x.ndim != 2 or x.shape[1] != codes.shape[1]:
            raise UserError(f"codes of {codes.shape[1]} numbers suit vectors (B, {codes.shape[1]}), got {x.shape}")
        return -jnp.square(x[:, None].astype(jnp.float32) - codes[None]).sum(2)
