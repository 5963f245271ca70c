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

    A feature column that is built on this one gets the numbers in the data: not normalized, and with missing values.

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
            training split. `normalize` is fitted without them. None: missing numbers and NaN are errors.
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
    missing: float | Literal["mean", "median"] | None = None
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
            pipeline.check_filler(self.missing * self._factor)
        if self.indicate_missing and self.missing is None:
            raise UserError("`indicate_missing` needs `missing`, the replacement of missing numbers")
        if self.sequence and (len(self._sources) > 1 or self.expression or self.per):
            raise UserError(
                "a `sequence` must have one `key`, and no `expression` or `per`; use several feature columns"
            )
        if self.expression and self.size not in (None, 1):
            raise UserError(f"`size` (={self.size}) must be 1 or null for an `expression`, which has single numbers")
        if self.per and pipeline.fittable is None:
            raise UserError(f"`per` (={self.per}) needs a step of `normalize` that is fitted, such as z_score")

    @property
    def keys(self) -> tuple[str, ...]:
        names = [source.columns if isinstance(source, Expression) else (source,) for source in self._sources]
        return tuple(dict.fromkeys([*sum(names, ()), *([self.per] if self.per else [])]))

    @property
    def is_encode_stateless(self) -> bool:
        """Whether `encode` ignores its constants. It needs them only to number the classes of `per`."""
        return self.per is None

    def statistics(self) -> Mapping[str, Statistic]:
        return {
            f"{name} {position}": statistic
            for position, numeric_fit in enumerate(self._numeric_fits)
            for name, statistic in numeric_fit.statistics().items()
        }

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        offset_scales, fillers = [], []
        for position, numeric_fit in enumerate(self._numeric_fits):
            own_results = _select_results(results, position)
            offset_scale = numeric_fit.fit_scale(own_results)
            offset_scales.append(offset_scale)
            if self.missing is not None:
                fillers.append(numeric_fit.fit_filler(own_results, outputs=offset_scale.offset.shape[-1]))
        fitted = OffsetScale(
            offset=np.concatenate([each.offset for each in offset_scales], axis=-1),
            scale=np.concatenate([each.scale for each in offset_scales], axis=-1),
        )
        device = scaling.make_constants(fitted, constant_divisor=1 if self._pipeline.before else 1 / self.scale)
        if fillers:
            device["missing"] = np.concatenate(fillers).astype(np.float32)
        # All sources have the same classes, those of the column `per`.
        host = {"classes": np.array(list(_select_results(results, position=0)["per"]))} if self.per else {}
        return Constants(host, device, {"outputs": fitted.offset.shape[-1]})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """Encodes rows.

        Returns:
            `values`: the numbers in the data, float32 (rows, D), NaN if missing; Ragged for sequences. With `per` also
            `class`, int32 (rows,): the position, from 1, of the class among those of the training split; 0 for others.
        """
        block = add_encoded_columns(block, parents)
        rows = [self._read(block, numeric_fit.numbers) for numeric_fit in self._numeric_fits]
        values = np.concatenate([each.values for each in rows], axis=1, dtype=np.float32)
        classes = {"class": find_class_positions(block, self.per, constants.host["classes"])} if self.per else {}
        # A column of sequences has only one source; otherwise each row has one vector.
        return {"values": rows[0].to_rows(values), **classes}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
        """Returns the function that normalizes encoded numbers to float32 (B, D), or sequences to Padded (B, T, D)."""
        indicate = self.indicate_missing
        return functools.partial(scaling.normalize, pipeline=self._pipeline, factor=self._factor, indicate=indicate)

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Numbers need no check."""
        return ()

    def bind(self, constants: Constants) -> TargetSpec:
        options = {"missing": self.missing is not None, "per": self.per, "sequence": self.sequence}
        if forbidden := [name for name, value in options.items() if value]:
            raise UserError(f"a target can't have `{forbidden[0]}`; leave it out")
        self._pipeline.undo(np.zeros(1), 0.0, 1.0, np)  # raises UserError if a step has no inverse
        decode = functools.partial(self._decode, constants.device)
        return TargetSpec("real", (constants.static["outputs"],), None, decode)

    @property
    def _sources(self) -> tuple[str | Expression, ...]:
        if self.expression is not None:
            return (Expression(self.expression),)
        return (self.key,) if isinstance(self.key, str) else self.key or ()

    @property
    def _pipeline(self) -> Pipeline:
        return make_pipeline(self.normalize)

    @property
    def _factor(self) -> float:
        """The factor before the normalizers: `scale`, or 1 if there is no fixed normalizer before the fittable one.

        Fitting cancels a factor directly before it. Then only the divisor of numbers that are constant or not fitted
        contains `scale`.
        """
        return self.scale if self._pipeline.before else 1.0

    @property
    def _numeric_fits(self) -> tuple[NumericFit, ...]:
        pipeline = self._pipeline
        make_numbers = functools.partial(
            Numbers,
            allow_missing=self.missing is not None,
            sequences=self.sequence,
            factor=self._factor,
            steps=pipeline.before,
        )
        size = 1 if self.expression else self.size
        return tuple(
            NumericFit(make_numbers(source), pipeline, self.missing, self.per, size) for source in self._sources
        )

    def _read(self, block: Block, numbers: Numbers) -> NumberRows:
        rows = numbers.read(block)
        width = rows.values.shape[1]
        if self.size not in (None, width):
            raise DataError(f"{numbers} of {block.origin} has {width} numbers in each row, not `size` (={self.size})")
        if self.sequence and rows.offsets is None:
            raise DataError(f"{numbers} of {block.origin} has no sequences; set `sequence` to false")
        return rows

    def _decode(self, device: Mapping[str, Any], values: jax.Array) -> jax.Array:
        offset, divisor = scaling.align(device["offset"], values), scaling.align(device["divisor"], values)
        numbers = self._pipeline.undo(values, offset, divisor, jnp)
        return numbers if self._factor == 1 else numbers / self._factor


def _select_results(results: Mapping[str, Any], position: int) -> dict[str, Any]:
    """The results of the source at a position, counted from 0."""
    return {name.partition(" ")[0]: result for name, result in results.items() if name.endswith(f" {position}")}
