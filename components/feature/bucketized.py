"""Numbers as categories, separated by boundaries."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from components.feature.base import raw
from components.feature.base.column import Categorical
from components.feature.base.values import NO_ID
from components.feature.normalizer import Normalizer
from components.feature.number import scaling
from components.feature.number.numbers import (
    NumberRows,
    Numbers,
    add_encoded_columns,
    as_vectors,
    flatten_sequences,
    join_vectors,
)
from components.feature.number.numeric_fit import NumericFit
from components.feature.number.pipeline import Pipeline, make_pipeline
from components.feature.statistic import Extremes, Quantiles
from components.types import Block, Constants, DataError, Encoded, Range, Remedy, Statistic, UserError, Values

FLOAT32_WHOLE = 2**24  # from it on, whole numbers aren't exact in float32
MIN_VALUES = 2**8  # the minimum number of distinct values in float32 between two boundaries
MAX_COMPARED = 255  # comparing with at most so many boundaries, counted in uint8, is faster than a binary search


@dataclass(frozen=True, kw_only=True)
class Bucketized(Categorical):
    """Numbers as ids of buckets: the id of x is how many boundaries are less than or equal to x.

    Numbers and boundaries are compared in float32, as in TensorFlow; but in float64 where float32 can't tell the
    boundaries apart, as near 1.6e9. If `missing` is set, it replaces missing values and NaN. Otherwise a missing value
    has no id; a NaN in the data is in the last bucket, and a NaN of a feature column has no id. In vectors, the ids of
    element d start at d * buckets. In rows of any length each number has an id; with a `size` above 1, the innermost
    lists of lists are vectors.

    Attributes:
        key: the column.
        boundaries: the boundaries, in ascending order.
        quantiles: instead of `boundaries`, the number of buckets. Each gets the same number of rows of the training
            split, as far as possible.
        equal_width: instead of `boundaries`, the number of buckets. The range of the training split is divided into
            buckets of equal width.
        method: the interpolation of quantiles: `linear` as in NumPy; `keras` as in Keras's Discretization;
            `transform` as in TensorFlow Transform. Keras only approximates the quantiles, and returns fewer boundaries
            if there are fewer rows than buckets; `keras` does neither.
        duplicates: whether many equal numbers may cause empty buckets: `refuse` makes an empty bucket an error; `keep`
            allows it, as Keras and TensorFlow Transform do.
        normalize: normalizers that are applied first, as in Numeric.
        missing: replaces missing numbers and NaN, in the unit of the data. None: they aren't replaced.
        size: the number of elements of a row.
    """

    key: str
    boundaries: tuple[float, ...] | None = None
    quantiles: Annotated[int, Range(2)] | None = None
    equal_width: Annotated[int, Range(2)] | None = None
    method: Literal["linear", "keras", "transform"] = "linear"
    duplicates: Literal["refuse", "keep"] = "refuse"
    normalize: Normalizer | tuple[Normalizer, ...] | None = None
    missing: float | None = None
    size: Annotated[int, Range(1)] = 1

    def __post_init__(self) -> None:
        options = (self.boundaries, self.quantiles, self.equal_width)
        if sum(option is not None for option in options) != 1:
            raise UserError("exactly one of `boundaries`, `quantiles` and `equal_width` must be set")
        if self.boundaries is not None:
            _check_boundaries(self.boundaries)
        if self.missing is not None:
            self._pipeline.check_fill_value(self.missing)
        if self.boundaries is None and self._pipeline.fitted_step is not None:
            raise UserError(
                "`quantiles` and `equal_width` can't follow a fitted step of `normalize`, such as z_score; leave the "
                "step out, as the buckets are the same without it"
            )

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        return {self.key: "float"}

    @property
    def count(self) -> int:
        """The number of buckets of each element."""
        return self.quantiles or self.equal_width or len(self.boundaries or ()) + 1

    def statistics(self) -> Mapping[str, Statistic]:
        if self._pipeline.fitted_step is not None:
            return self._numeric_fit.statistics()
        if self.boundaries:
            return {}
        numbers = self._numeric_fit.numbers
        quantiles = {"quantiles": Quantiles(numbers)} if self.quantiles else {}
        return {**quantiles, "range": Extremes(numbers)}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        boundaries = self._find_boundaries(results)
        host = {"boundaries": boundaries if _need_float64(boundaries) else boundaries.astype(np.float32)}
        if self._pipeline.fitted_step is not None:
            fitted = self._numeric_fit.fit_offset_scale(results)
            host |= {"offset": fitted.offset, "divisor": scaling.find_divisor(fitted)}
        return Constants(host=host, static={"buckets": self.count * self.size})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """`ids`: int32 (rows,), (rows, size) for vectors, or Ragged."""
        numbers, valid_mask = self._read(add_encoded_columns(block, parents), is_feature_column=self.key in parents)
        ids = _find_buckets(self._normalize(numbers.values, constants.host), constants.host["boundaries"])
        if self.size > 1:
            ids += np.arange(self.size, dtype=np.int32) * np.int32(self.count)
        if valid_mask is not None:
            ids[~valid_mask] = NO_ID
        return {"ids": numbers.to_rows(ids if self.size > 1 else ids[:, 0])}

    @property
    def _pipeline(self) -> Pipeline:
        return make_pipeline(self.normalize)

    @property
    def _numeric_fit(self) -> NumericFit:
        numbers = Numbers(
            self.key,
            allow_missing=True,
            sequences=True,
            vector_size=self.size if self.size > 1 else None,
            steps=self._pipeline.steps_before_fit,
        )
        return NumericFit(numbers, self._pipeline)

    def _read(self, block: Block, *, is_feature_column: bool) -> tuple[NumberRows, np.ndarray | None]:
        """Reads the numbers to compare with the boundaries.

        Args:
            block: the rows.
            is_feature_column: whether `key` is a feature column; its NaNs count as missing.

        Returns:
            The numbers, and a mask of the same shape (vectors, size): False where a number has no id because it is
            missing. None: all numbers have an id.
        """
        block = join_vectors(block, self.key, self.size) if self.size > 1 else block
        block, levels = flatten_sequences(block, self.key)
        numbers, valid = raw.read_any_numbers(block, self.key)
        values = as_vectors(block, self.key, numbers)
        if values.shape[1] != self.size:
            fault = f"has {values.shape[1]} numbers in each row, not `size` (={self.size})"
            raise DataError(f"column `{self.key}` of {block.origin} {fault}")
        valid_mask = ~np.isnan(values) if is_feature_column or self.missing is not None else None
        if valid is not None:
            valid_mask = valid.reshape(values.shape) & (True if valid_mask is None else valid_mask)
        if valid_mask is not None:
            values = np.where(valid_mask, values, np.nan if self.missing is None else self.missing)
        if self.normalize is not None:
            values = self._numeric_fit.numbers.transform(block, values)
        return NumberRows(values, levels), None if self.missing is not None else valid_mask

    def _normalize(self, values: np.ndarray, host: Mapping[str, np.ndarray]) -> np.ndarray:
        """Applies the fitted normalizer and those after it."""
        return (
            values if "offset" not in host else self._pipeline.apply_fitted(values, host["offset"], host["divisor"], np)
        )

    def _find_boundaries(self, results: Mapping[str, Any]) -> np.ndarray:
        """The boundaries, (count - 1, 1), or (count - 1, size) if each element has its own boundaries."""
        if self.boundaries is not None:
            return np.array(self.boundaries, np.float64).reshape(-1, 1)
        low, width = results["range"]  # offset and scale of Extremes: the minimum, and the maximum minus the minimum
        is_varying = width > 0
        if not is_varying.all():
            element = int(np.argmin(is_varying))
            fault = "has no value in any row" if np.isnan(low[element]) else f"is {low[element]:g} in every row"
            raise DataError(f"{self._name_element(element)} {fault} of the training split; remove the column")
        shares = np.arange(1, self.count) / self.count
        if self.quantiles:
            boundaries = results["quantiles"].quantiles(shares, self.method)
        else:
            boundaries = low + width * shares[:, None]
        if self.duplicates == "refuse":
            self._check_not_empty(np.concatenate([low[None], boundaries]))
        return boundaries

    def _check_not_empty(self, starts: np.ndarray) -> None:
        """Raises DataError for an empty bucket: it has the same start as the next bucket.

        Args:
            starts: (count, size), the lower end of each bucket.
        """
        filled_counts = 1 + (np.diff(starts, axis=0) > 0).sum(axis=0)
        if (filled_counts == self.count).all():
            return
        element = int(np.argmin(filled_counts))
        option = f"quantiles={self.quantiles}" if self.quantiles else f"equal_width={self.equal_width}"
        raise DataError(
            f"{self._name_element(element)}: {option} fills only {filled_counts[element]} buckets, because too many "
            "rows have the same number",
            Remedy("choose fewer buckets", "columns"),
            Remedy("set `boundaries`", "columns"),
            Remedy("allow empty buckets with `duplicates=keep`", "columns"),
        )

    def _name_element(self, element: int) -> str:
        return f"column `{self.key}`" + (f", element {element}," if self.size > 1 else "")


def _need_float64(boundaries: np.ndarray) -> bool:
    """Whether float32 is too coarse to compare numbers with boundaries (count - 1, size)."""
    sizes, gaps = np.abs(boundaries), np.diff(boundaries, axis=0)
    if ((sizes >= FLOAT32_WHOLE) | ((sizes > 0) & (sizes < np.finfo(np.float32).tiny))).any():
        return True
    spacing = np.spacing(sizes.astype(np.float32))
    return bool(((gaps > 0) & (gaps < MIN_VALUES * np.maximum(spacing[1:], spacing[:-1]))).any())


def _find_buckets(values: np.ndarray, boundaries: np.ndarray) -> np.ndarray:
    """For each value, how many boundaries are less than or equal to it, int32. NaN is above all boundaries."""
    if boundaries.dtype == np.float32 or values.dtype in (np.float32, np.float16):
        values, boundaries = scaling.to_float32(values), scaling.to_float32(boundaries)
    if len(boundaries) > MAX_COMPARED:
        columns = np.broadcast_to(boundaries, (len(boundaries), values.shape[1])).T
        pairs = zip(columns, values.T, strict=True)
        return np.stack([np.searchsorted(*pair, side="right") for pair in pairs], axis=1).astype(np.int32)
    ids, is_below = np.full(values.shape, len(boundaries), np.uint8), np.empty(values.shape, bool)
    for boundary in boundaries:
        np.less(values, boundary, out=is_below)
        ids -= is_below.view(np.uint8)  # of the same type, so that NumPy converts nothing
    return ids.astype(np.int32)


def _check_boundaries(boundaries: tuple[float, ...]) -> None:
    if not boundaries:
        raise UserError("`boundaries` is empty; at least one is needed")
    for low, high in itertools.pairwise(boundaries):
        if not low < high:
            raise UserError(f"`boundaries` must be in ascending order, but {low} is followed by {high}")
    if not np.isfinite(np.array(boundaries, np.float64)).all():
        raise UserError(f"`boundaries` must be finite numbers, got {', '.join(map(str, boundaries))}")
