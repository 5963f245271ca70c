"""Numbers, as a feature or a target."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.normalizer import Normalizer
from components.feature.number import scaling
from components.feature.number.expression import Expression
from components.feature.number.numbers import NumberRows, Numbers, add_encoded_columns, find_class_positions
from components.feature.number.numeric_fit import NumericFit
from components.feature.number.pipeline import Pipeline, make_pipeline
from components.feature.statistic import OffsetScale
from components.types import Block, Constants, DataError, Encoded, Range, Statistic, TargetSpec, UserError, Values


@dataclass(frozen=True, kw_only=True)
class Numeric:
    """Finite numbers or vectors of one or more columns, as one float32 vector (D,): a feature or a target.

    `encode` only reads the numbers in the data, where a missing number is NaN. `layer` then works on the device:
    it replaces missing numbers, multiplies by `scale`, applies `normalize`, and appends the elements of
    `indicate_missing`. A feature column that is built on this one gets the result of `encode`.

    Attributes:
        key: the column; or several, whose numbers are concatenated in this order.
        expression: instead of `key`, arithmetic over columns of single numbers, such as
            `log(total_rooms / households)`.
        normalize: a normalizer, or several that are applied in order. None: numbers aren't normalized. Over the
            training split, `z_score` gives each element mean 0 and (population) standard deviation 1, `min_max` the
            range [0, 1], `robust` median 0 and the distance 1 between the quartiles. A constant element is only
            shifted. `log` and `log1p` take the logarithm. `components.feature.normalizer` has these normalizers as
            classes with options, and Clip. At most one of them may be fitted to the data, and only Clip may follow it.
            Numbers too far from 0 for the precision of float32, such as Unix timestamps that all lie within one hour,
            are an error.
        scale: multiplies the numbers before they are normalized.
        missing: replaces missing numbers and NaN: a number in the unit of the data, or the `mean` or `median` of the
            training split. `normalize` is fitted without them. `mask`, for a target only: a row with a missing number
            counts in no loss or metric. None: missing numbers and NaN are errors.
        indicate_missing: whether to append an element for each number: 1 if the number is missing, else 0.
        per: a column of classes. `normalize` is fitted to each class separately. A class that doesn't occur in the
            training split is normalized as all rows together. None: `normalize` is fitted to all rows.
        size: the number of elements of a row of each key. None: it is inferred from the data.
        sequence: whether a row has any number of vectors. It becomes a sequence (T, D), padded with zeros.
    """

    key: str | tuple[str, ...] | None = None
    expression: str | None = None
    normalize: Normalizer | tuple[Normalizer, ...] | None = None
    scale: Annotated[float, Range(0, bounds="()")] = 1.0
    missing: float | Literal["mean", "median", "mask"] | None = None
    indicate_missing: bool = False
    per: str | None = None
    size: Annotated[int, Range(1)] | None = None
    sequence: bool = False

    def __post_init__(self) -> None:
        if (self.key is None) == (self.expression is None):
            raise UserError("exactly one of `key` and `expression` must be set")
        pipeline = self._pipeline  # raises UserError if the normalizers can't be combined
        if not self._sources:
            raise UserError("`key` is empty; at least one column is needed")
        if isinstance(self.missing, int | float):
            pipeline.check_fill_value(self.missing * self._factor)
        if self.indicate_missing and self._replacement is None:
            raise UserError("`indicate_missing` needs `missing`, the replacement of missing numbers")
        if self.sequence and (len(self._sources) > 1 or self.expression or self.per):
            raise UserError(
                "a `sequence` must have one `key`, and no `expression` or `per`; use several feature columns"
            )
        if self.expression and self.size not in (None, 1):
            raise UserError(f"`size` (={self.size}) must be 1 or null for an `expression`, which has single numbers")
        if self.per and pipeline.fitted_step is None:
            raise UserError(f"`per` (={self.per}) needs a step of `normalize` that is fitted, such as z_score")

    @property
    def keys(self) -> tuple[str, ...]:
        columns: list[str] = []
        for source in self._sources:
            columns.extend(source.columns if isinstance(source, Expression) else [source])
        if self.per:
            columns.append(self.per)
        return tuple(dict.fromkeys(columns))  # each column once

    @property
    def is_encode_stateless(self) -> bool:
        """Whether `encode` ignores its constants. It needs them only to number the classes of `per`."""
        return self.per is None

    def statistics(self) -> Mapping[str, Statistic]:
        """The statistics of all sources. A name ends with the position of the source, such as `missing 0`."""
        statistics: dict[str, Statistic] = {}
        for position, numeric_fit in enumerate(self._numeric_fits):
            for name, statistic in numeric_fit.statistics().items():
                statistics[f"{name} {position}"] = statistic
        return statistics

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Fits the column to the training split.

        Returns:
            On the device `offset` and `divisor`, (D,), or (1 + classes, D) with `per`, where row 0 is that of all rows;
            and `missing` (D,), the replacement of missing numbers. On the host the `classes` of `per`.
        """
        offsets, scales, fill_values = [], [], []  # an array for each source
        for position, numeric_fit in enumerate(self._numeric_fits):
            source_results = {name: results[f"{name} {position}"] for name in numeric_fit.statistics()}
            offset, scale = numeric_fit.fit_offset_scale(source_results)
            offsets.append(offset)
            scales.append(scale)
            if self._replacement is not None:
                fill_values.append(numeric_fit.fit_fill_value(source_results, size=offset.shape[-1]))
        offset_scale = OffsetScale(np.concatenate(offsets, axis=-1), np.concatenate(scales, axis=-1))
        device = scaling.make_constants(offset_scale, self._divisor_if_constant)
        if fill_values:
            device["missing"] = np.concatenate(fill_values).astype(np.float32)
        # All sources have the same classes, those of the column `per`.
        host = {"classes": np.array(list(results["per 0"]))} if self.per else {}
        return Constants(host, device, {"outputs": offset_scale.offset.shape[-1]})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """Encodes rows.

        Returns:
            `values`: the numbers in the data, float32 (rows, D), NaN if missing; Ragged for sequences. With `per` also
            `class`, int32 (rows,): which row of the fitted offsets applies. Row 0 is for classes that don't occur in
            the training split.
        """
        block = add_encoded_columns(block, parents)
        sources = [self._read(block, numeric_fit.numbers) for numeric_fit in self._numeric_fits]
        vectors = np.concatenate([source.values for source in sources], axis=1, dtype=np.float32)  # (vectors, D)
        # A column of sequences has only one source; otherwise each row has one vector.
        encoded: dict[str, Encoded] = {"values": sources[0].to_rows(vectors)}
        if self.per:
            encoded["class"] = find_class_positions(block, self.per, constants.host["classes"])
        return encoded

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
        """Returns the function that normalizes encoded numbers to float32 (B, D), or sequences to Padded (B, T, D)."""
        return functools.partial(
            scaling.normalize, pipeline=self._pipeline, factor=self._factor, indicate=self.indicate_missing
        )

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Numbers need no check."""
        return ()

    def bind(self, constants: Constants) -> TargetSpec:
        """Raises UserError if normalized predictions can't be converted to the unit of the data."""
        for name, is_set in (
            ("missing", self.missing not in (None, "mask")),
            ("per", self.per),
            ("sequence", self.sequence),
        ):
            if is_set:
                raise UserError(f"a target can't have `{name}`; leave it out")
        self._pipeline.undo(np.zeros(1), 0.0, 1.0, np)  # raises UserError if a step has no inverse
        decode = functools.partial(self._decode, constants.device)
        can_be_missing = self.missing == "mask"
        return TargetSpec("real", (constants.static["outputs"],), None, decode, can_be_missing=can_be_missing)

    @property
    def _sources(self) -> tuple[str | Expression, ...]:
        """The columns of `key`, or the one expression. Their numbers are concatenated."""
        if self.expression is not None:
            return (Expression(self.expression),)
        return (self.key,) if isinstance(self.key, str) else self.key or ()

    @property
    def _replacement(self) -> float | Literal["mean", "median"] | None:
        """The replacement of missing numbers; None: there is none."""
        return None if self.missing == "mask" else self.missing

    @property
    def _pipeline(self) -> Pipeline:
        return make_pipeline(self.normalize)

    @property
    def _factor(self) -> float:
        """The factor of numbers before the first normalizer: `scale`, or 1 if no fixed normalizer comes first.

        A fitted normalizer that comes first would only cancel `scale`. It is left to `_divisor_if_constant`.
        """
        return self.scale if self._pipeline.steps_before_fit else 1.0

    @property
    def _divisor_if_constant(self) -> float:
        """The divisor of numbers that are constant or not fitted. It applies `scale` if `_factor` doesn't."""
        return 1.0 if self._pipeline.steps_before_fit else 1 / self.scale

    @property
    def _numeric_fits(self) -> tuple[NumericFit, ...]:
        """The fit of each source."""
        pipeline = self._pipeline
        size = 1 if self.expression else self.size
        numeric_fits = []
        for source in self._sources:
            numbers = Numbers(
                source,
                allow_missing=self.missing is not None,
                sequences=self.sequence,
                factor=self._factor,
                steps=pipeline.steps_before_fit,
            )
            numeric_fits.append(NumericFit(numbers, pipeline, self._replacement, self.per, size))
        return tuple(numeric_fits)

    def _read(self, block: Block, numbers: Numbers) -> NumberRows:
        rows = numbers.read(block)
        width = rows.values.shape[1]
        if self.size not in (None, width):
            raise DataError(f"{numbers} of {block.origin} has {width} numbers in each row, not `size` (={self.size})")
        if self.sequence and rows.offsets is None:
            raise DataError(f"{numbers} of {block.origin} has no sequences; set `sequence` to false")
        return rows

    def _decode(self, device: Mapping[str, Any], predictions: jax.Array) -> jax.Array:
        """Converts normalized predictions, (B, D), to the unit of the data."""
        offset = scaling.align(device["offset"], predictions)
        divisor = scaling.align(device["divisor"], predictions)
        numbers = self._pipeline.undo(predictions, offset, divisor, jnp)
        return numbers if self._factor == 1 else numbers / self._factor
