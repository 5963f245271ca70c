"""Principal components of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base import raw
from components.feature.normalizer import is_constant
from components.feature.number import scaling
from components.feature.number.numbers import add_encoded_columns, as_vectors
from components.feature.statistic import Covariance, OffsetScale, find_principal_components
from components.types import Block, Constants, DataError, Range, Statistic, UserError, Values


@dataclass(frozen=True, kw_only=True)
class PrincipalComponents:
    """Principal components: the projections of vectors of numbers onto the directions of largest variance.

    Mean and (population) covariance are computed from the training split. The mean is subtracted before the projection.

    Attributes:
        key: the column of numbers or vectors; or several, which are concatenated.
        components: the number of components, at most the number of elements of a row.
        whiten: whether to divide each component by its standard deviation.

    References:
        Pearson, On Lines and Planes of Closest Fit to Systems of Points in Space, 1901.
    """

    key: str | tuple[str, ...]
    components: Annotated[int, Range(1)]
    whiten: bool = False

    def __post_init__(self) -> None:
        if not self.keys:
            raise UserError("`key` is empty; at least one column is needed")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else self.key

    def statistics(self) -> Mapping[str, Statistic]:
        return {"joint": Covariance(self.keys)}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        joint = results["joint"]
        fitted = OffsetScale(joint.mean, np.sqrt(np.diag(joint.covariance)))
        is_imprecise = scaling.exceeds_float32_precision(fitted) & ~is_constant(fitted)
        if is_imprecise.any():
            mean, std = fitted.offset[is_imprecise][0], fitted.scale[is_imprecise][0]
            raise DataError(
                f"{', '.join(self.keys)}: numbers with mean {mean:.10g} and standard deviation {std:.3g} would lose "
                "precision in float32; subtract a number near the mean first, with `expression` of a Numeric"
            )
        directions = find_principal_components(joint.covariance, self.components)
        if self.whiten:
            directions = directions / np.sqrt(self._compute_variances(joint.covariance, directions))
        return Constants(device={"mean": joint.mean.astype(np.float32), "directions": directions.astype(np.float32)})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: float32 (rows, D), as in the data."""
        block = add_encoded_columns(block, parents)
        columns = [as_vectors(block, key, raw.read_numbers(block, key)) for key in self.keys]
        return {"values": np.concatenate(columns, axis=1, dtype=np.float32)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns (B, components), float32."""
        return _project

    def _compute_variances(self, covariance: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Computes the variances along the directions; raises DataError if a variance is 0, up to rounding."""
        variances = np.einsum("dc,de,ec->c", directions, covariance, directions)
        rank = int(np.sum(variances > len(covariance) * np.finfo(np.float64).eps * variances[0]))
        if rank < self.components:
            raise DataError(
                f"{', '.join(self.keys)}: in the training split the numbers vary along only {rank} directions, and "
                f"`whiten` would divide by 0; `components` (={self.components}) must be at most {rank}"
            )
        return variances


def _project(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    values = jnp.asarray(encoded["values"]) - jnp.reshape(constants["mean"], (1, -1))
    return jnp.matmul(values, constants["directions"], precision="highest")
