"""Principal components of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base import raw
from components.feature.number import scaling
from components.feature.number.numbers import add_encoded_columns, as_vectors
from components.feature.statistic import Covariance, OffsetScale, find_principal_components
from components.types import (
    Block,
    Constants,
    DataError,
    FieldError,
    Range,
    Remedy,
    Statistic,
    Values,
    bind_fields,
)

FLOAT32_RANGE = (1e-30, 1e30)  # of standard deviations, so that outliers are within the range of float32, too


@dataclass(frozen=True, kw_only=True)
class PrincipalComponents:
    """Principal components: the projections of vectors of numbers onto the directions of largest variance.

    Mean and (population) covariance are computed from the training split. The mean is subtracted before the projection.
    Of columns with different units, the one with the largest numbers decides, unless `key` lists `Numeric` columns that
    are normalized.

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
    fills_gaps: bool = field(default=False, init=False)  # set by `filling_gaps`

    def __post_init__(self) -> None:
        if not self.keys:
            raise FieldError("key", "is empty; at least one column is needed")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        return dict.fromkeys(self.keys, "float")

    def statistics(self) -> Mapping[str, Statistic]:
        return {"joint": Covariance(self.keys)}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Fits the directions.

        Returns:
            On the host `shift` and `exponent`, how numbers are encoded. On the device `mean` (D,) and `directions`
            (D, components), for encoded numbers.
        """
        joint = results["joint"]
        std = np.ldexp(np.sqrt(np.diag(joint.covariance)), joint.exponent)
        encoding = scaling.choose_encoding(joint.mean, scaling.find_divisor(OffsetScale(joint.mean, std)))
        directions = find_principal_components(joint.covariance, self.components)
        variances = np.einsum("dc,de,ec->c", directions, joint.covariance, directions)
        if self.whiten:
            self._check_variances(variances, len(joint.covariance))
            directions = np.ldexp(directions / np.sqrt(variances), -joint.exponent)
        else:
            self._check_range(np.ldexp(np.sqrt(np.maximum(variances, 0)), joint.exponent))
        device = {"mean": encoding(joint.mean), "directions": np.ldexp(directions, encoding.exponent[:, None])}
        return Constants(host=dict(encoding._asdict()), device=device)

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`values`: the numbers as `shift` and `exponent` encode them, float32 (rows, D)."""
        encoded = scaling.to_float32(self._read(block, parents, constants))
        if np.isinf(encoded).any():
            row = int(np.argwhere(np.isinf(encoded))[0][0])
            raise DataError(
                f"{block.locate(row)}: {', '.join(self.keys)}: a number is so far from those of the training split "
                "that it is beyond the range of float32; correct it, or remove the row"
            )
        return {"values": encoded}

    def host_output(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> np.ndarray:
        """The components, float64 (rows, components)."""
        encoded = self._read(block, parents, constants)
        return (encoded - np.asarray(constants.device["mean"])) @ np.asarray(constants.device["directions"])

    @property
    def gap_value(self) -> str:
        return "the mean of the training split"

    def filling_gaps(self, constants: Constants) -> PrincipalComponents:
        """The same column with the mean in place of missing numbers."""
        return bind_fields(self, fills_gaps=True)

    def upgrade(self, constants: Constants) -> Constants:
        """Converts constants of version 2 of the transform, with which numbers were encoded as they are."""
        if "shift" in constants.host:
            return constants
        shape = constants.device["mean"].shape
        return constants._replace(host={"shift": np.zeros(shape), "exponent": np.zeros(shape, np.int32)})

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns (B, components), float32."""
        return _project

    def _read(self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants) -> np.ndarray:
        """Reads and encodes the numbers, float64 (rows, D)."""
        block = add_encoded_columns(block, parents)
        columns = [
            as_vectors(block, key, raw.read_numbers(block, key, allow_missing=self.fills_gaps)) for key in self.keys
        ]
        values = np.concatenate(columns, axis=1, dtype=np.float64)
        if values.shape[1] != (count := len(constants.host["shift"])):
            raise DataError(
                f"{', '.join(self.keys)} of {block.origin}: there are {values.shape[1]} numbers in each row; in "
                f"training there were {count}"
            )
        encoded = scaling.get_encoding(constants.host)(values)
        return np.where(np.isnan(encoded), np.asarray(constants.device["mean"]), encoded)

    def _check_variances(self, variances: np.ndarray, size: int) -> None:
        """Raises DataError if a variance along a direction is 0, up to rounding."""
        rank = int(np.sum(variances > size * np.finfo(np.float64).eps * variances[0]))
        if rank < self.components:
            raise DataError(
                f"{', '.join(self.keys)}: in the training split the numbers vary along only {rank} directions, and "
                f"`whiten` would divide by 0; `components` (={self.components}) must be at most {rank}"
            )

    def _check_range(self, stds: np.ndarray) -> None:
        """Raises DataError if components are beyond the range of float32."""
        if stds[0] and not FLOAT32_RANGE[0] < stds[0] < FLOAT32_RANGE[1]:
            raise DataError(
                f"{', '.join(self.keys)}: the standard deviation of the first component is {stds[0]:.3g}, which is "
                "beyond the range of float32",
                Remedy("set `whiten`", "columns"),
                Remedy("read columns that are normalized, for example Numeric with z_score", "columns"),
            )


def _project(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    values = jnp.asarray(encoded["values"]) - jnp.reshape(jnp.asarray(constants["mean"]), (1, -1))
    return jnp.matmul(values, constants["directions"], precision="highest")
