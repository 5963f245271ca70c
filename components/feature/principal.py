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
from components.feature.number.numbers import add_parents, as_vectors
from components.feature.statistic import Covariance, OffsetScale, find_principal_components
from components.types import Block, Constants, DataError, Range, Statistic, UserError, Values


@dataclass(frozen=True, kw_only=True)
class PrincipalComponents:
    """The principal components of columns of numbers or vectors: projections to the directions of largest variance.

    The mean is subtracted first. Mean and (population) covariance are those of the training split.

    Attributes:
        key: the column, or several, side by side.
        components: the number of directions, at most the number of elements.
        whiten: whether to divide each component by its standard deviation.

    References:
        Pearson, 1901.
    """

    key: str | tuple[str, ...]
    components: Annotated[int, Range(1)]
    whiten: bool = False

    def __post_init__(self) -> None:
        if not self.keys:
            raise UserError("`key` lists no column")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else self.key

    def statistics(self) -> Mapping[str, Statistic]:
        return {"joint": Covariance(self.keys)}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        joint = results["joint"]
        fitted = OffsetScale(joint.mean, np.sqrt(np.diag(joint.covariance)))
        if (blurred := scaling.is_blurred(fitted) & ~is_constant(fitted)).any():
            mean, std = (one[blurred][0] for one in fitted)
            raise DataError(
                f"{', '.join(self.keys)}: numbers of mean {mean:.10g} and standard deviation {std:.3g} would lose "
                "precision in float32; subtract about that mean first, by `expression` of a Numeric"
            )
        directions = find_principal_components(joint.covariance, self.components)
        if self.whiten:
            directions = directions / np.sqrt(self._variances(joint.covariance, directions))
        return Constants(device={"mean": joint.mean.astype(np.float32), "directions": directions.astype(np.float32)})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: float32 (rows, D), as in the data."""
        block = add_parents(block, parents)
        columns = [as_vectors(block, key, raw.read_numbers(block, key)) for key in self.keys]
        return {"values": np.concatenate(columns, axis=1, dtype=np.float32)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """(B, components), float32."""
        return _project

    def _variances(self, covariance: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """The variances along the directions; raises DataError where one is 0."""
        variances = np.einsum("dc,de,ec->c", directions, covariance, directions)
        above = int(np.sum(variances > len(covariance) * np.finfo(np.float64).eps * variances[0]))
        if above < self.components:
            raise DataError(
                f"{', '.join(self.keys)} vary along {above} directions in the training split, and `whiten` "
                f"would divide by 0: `components` (={self.components}) can be {above} at most"
            )
        return variances


def _project(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    values = jnp.asarray(encoded["values"]) - jnp.reshape(constants["mean"], (1, -1))
    return jnp.matmul(values, constants["directions"], precision="highest")
