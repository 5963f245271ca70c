"""Two views of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.types import TargetSpec, UserError

if TYPE_CHECKING:
    import jax

VIEWS = 2


@dataclass(frozen=True)
class Views:
    """Two views of each row, which the augmentations change independently. An architecture gets them as (B, 2, ...).

    A target is optional: it is that of the row. Evaluations have augmentations, too, the same each time. Predictions
    for new rows have none, so both views of a row are equal.

    References:
        Chen et al., 2020: A simple framework for contrastive learning of visual representations (SimCLR).
    """

    def repeat(self, inputs: jax.Array) -> jax.Array:
        """Both views of each row, before they are augmented: (B, ...) -> (B, 2, ...)."""
        import jax.numpy as jnp

        return jnp.stack([inputs] * VIEWS, axis=1)

    def bind(self, target: TargetSpec) -> TargetSpec:
        """The target of the row."""
        if target.is_image:
            raise UserError("views of one row differ, and the target is an image, which belongs to neither. Remove it")
        return target
