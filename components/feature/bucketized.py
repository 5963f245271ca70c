"""Numbers as categories, by boundaries."""

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
from components.feature.number.numbers import NumberRows, Numbers, add_parents, as_vectors, flatten_sequences
from components.feature.number.numeric_fit import NumericFit
from components.feature.number.pipeline import Pipeline, make_pipeline
from components.feature.statistic import Extremes, Quantiles
from components.types import Block, Constants, DataError, Encoded, Range, Statistic, UserError, Values

FEW = 255  # boundaries that uint8 can count: comparing with so few is faster than a binary search


@dataclass(frozen=True, kw_only=True)
class Bucketized(Categorical):
    """The bucket between boundaries that a number lies in; its id is how many boundaries aren't above the number.

    Numbers and boundaries are compared in float32, as in TensorFlow. NaN is above all boundaries, unless `missing`
    replaces it; a missing value has no id. Of vectors, element d has the ids from d * buckets on. In rows of any
    length each number has an id.

    Attributes:
        key: the column.
        boundaries: increasing numbers.
        quantiles: in place of `boundaries`, the number of buckets, each with the same number of rows of the training
            split, as far as equal numbers allow.
        equal_width: in place of `boundaries`, the number of equal parts of the training split's range.
        method: how a quantile between two rows is computed: `linear` as in NumPy; `keras` as in Keras's
            Discretization, but exact (Keras itself summarizes more than 100 rows, and has fewer boundaries for fewer
            rows than buckets); `transform` as in TensorFlow Transform.
        duplicates: `keep` allows learned boundaries that leave a bucket empty, where many rows have the same number,
            as Keras and TensorFlow Transform do; `refuse` makes that an error.
        normalize: normalizers that numbers go through first, as in Numeric.
        missing: replaces missing numbers, in the unit of the data. None: they have no id.
        size: how many numbers a row has.
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
        if sum(one is not None for one in (self.boundaries, self.quantiles, self.equal_width)) != 1:
            raise UserError("one of `boundaries`, `quantiles` and `equal_width` must be given, and no other")
        if self.boundaries is not None:
            _check_boundaries(self.boundaries)
        if self.missing is not None:
            self._pipeline.check_filler(self.missing)
        if self.boundaries is None and self._pipeline.fitted is not None:
            raise UserError(
                "`quantiles` and `equal_width` can't be learned after a step of `normalize` that learns, and would be "
                "the same without it"
            )

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def count(self) -> int:
        """The number of buckets of an element."""
        return self.quantiles or self.equal_width or len(self.boundaries or ()) + 1

    def statistics(self) -> Mapping[str, Statistic]:
        if self._pipeline.fitted is not None:
            return self._numeric_fit.statistics()
        learned = {"quantiles": Quantiles(self._numeric_fit.numbers)} if self.quantiles else {}
        return learned | ({} if self.boundaries else {"range": Extremes(self._numeric_fit.numbers)})

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        host = {"boundaries": self._find_boundaries(results).astype(np.float32)}
        if self._pipeline.fitted is not None:
            host |= scaling.make_constants(self._numeric_fit.fit_scale(results), unit=1)
        return Constants(host=host, static={"buckets": self.count * self.size})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """`ids`: int32 (rows,), (rows, size) for vectors, or Ragged."""
        read, valid_mask = self._read(add_parents(block, parents), derived=self.key in parents)
        ids = _find_buckets(self._normalize(read.values, constants.host), constants.host["boundaries"])
        if self.size > 1:
            ids += np.arange(self.size, dtype=np.int32) * np.int32(self.count)
        if valid_mask is not None:
            ids[~valid_mask] = NO_ID
        return {"ids": read.rows(ids if self.size > 1 else ids[:, 0])}

    @property
    def _pipeline(self) -> Pipeline:
        return make_pipeline(self.normalize)

    @property
    def _numeric_fit(self) -> NumericFit:
        return NumericFit(Numbers(self.key, gaps=True, sequences=True, steps=self._pipeline.before), self._pipeline)

    def _read(self, block: Block, *, derived: bool) -> tuple[NumberRows, np.ndarray | None]:
        """The numbers to compare, and a mask (vectors, size): False where one is missing; None: none is."""
        block, offsets = flatten_sequences(block, self.key)
        found, valid = raw.read_any_numbers(block, self.key)
        values = as_vectors(block, self.key, found)
        if values.shape[1] != self.size:
            given = f"has {values.shape[1]} numbers per row, not `size` (={self.size})"
            raise DataError(f"column `{self.key}` of {block.origin} {given}")
        valid_mask = ~np.isnan(values) if derived or self.missing is not None else None
        if valid is not None:
            valid_mask = valid.reshape(values.shape) & (True if valid_mask is None else valid_mask)
        if valid_mask is not None:
            values = np.where(valid_mask, values, np.nan if self.missing is None else self.missing)
        if self.normalize is not None:
            values = self._numeric_fit.numbers.transform(block, values)
        return NumberRows(values, offsets), None if self.missing is not None else valid_mask

    def _normalize(self, values: np.ndarray, host: Mapping[str, np.ndarray]) -> np.ndarray:
        """Applies the fitted normalizer and those after it."""
        return values if "offset" not in host else self._pipeline.rest(values, host["offset"], host["divisor"], np)

    def _find_boundaries(self, results: Mapping[str, Any]) -> np.ndarray:
        """The boundaries, (count - 1, 1), or (count - 1, size) where each element has its own."""
        if self.boundaries is not None:
            return np.array(self.boundaries, np.float64).reshape(-1, 1)
        low, width = results["range"]
        if not (wide := width > 0).all():
            same = low[place := int(np.argmin(wide))]
            fault = f"is {same:g} in every row" if not np.isnan(same) else "has no value in any row"
            raise DataError(f"{self._name_element(place)} {fault} of the training split; leave it out")
        places = np.arange(1, self.count) / self.count
        found = results["quantiles"].quantiles(places, self.method) if self.quantiles else low + width * places[:, None]
        if self.duplicates == "refuse":
            self._check_not_empty(np.concatenate([low[None], found]).astype(np.float32))
        return found

    def _check_not_empty(self, ends: np.ndarray) -> None:
        """Raises DataError for an empty bucket: one that begins where the next one begins.

        Args:
            ends: (count, size), where buckets begin.
        """
        filled = 1 + (np.diff(ends, axis=0) > 0).sum(axis=0)
        if (filled == self.count).all():
            return
        place = int(np.argmin(filled))
        asked = f"quantiles={self.quantiles}" if self.quantiles else f"equal_width={self.equal_width}"
        raise DataError(
            f"{self._name_element(place)}: {asked} fills only {filled[place]} buckets, as too many rows have the same "
            "number in float32; choose fewer, give `boundaries`, or allow empty ones with `duplicates: keep`"
        )

    def _name_element(self, place: int) -> str:
        return f"column `{self.key}`" + (f", element {place}," if self.size > 1 else "")


def _find_buckets(values: np.ndarray, boundaries: np.ndarray) -> np.ndarray:
    """How many boundaries aren't above each number, int32. NaN is above all."""
    with np.errstate(over="ignore"):  # a number that float32 can't hold becomes infinite, which has a bucket
        values = values.astype(np.float32)
    if len(boundaries) > FEW:
        columns = np.broadcast_to(boundaries, (len(boundaries), values.shape[1])).T
        pairs = zip(columns, values.T, strict=True)
        return np.stack([np.searchsorted(*pair, side="right") for pair in pairs], axis=1).astype(np.int32)
    ids = np.full(values.shape, len(boundaries), np.uint8)
    for boundary in boundaries:
        ids -= values < boundary
    return ids.astype(np.int32)


def _check_boundaries(boundaries: tuple[float, ...]) -> None:
    if not boundaries:
        raise UserError("`boundaries` is empty; give one or more")
    for low, high in itertools.pairwise(boundaries):
        if not np.float32(low) < np.float32(high):
            raise UserError(f"`boundaries` must increase, in float32, but {low} is followed by {high}")
    if not np.isfinite(np.array(boundaries, np.float32)).all():
        raise UserError(f"`boundaries` must be finite numbers, not {', '.join(map(str, boundaries))}")
