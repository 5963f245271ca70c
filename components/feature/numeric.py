"""Numbers as features and targets."""

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
from components.feature.number.numbers import NumberRows, Numbers, add_parents, number_classes
from components.feature.number.numeric_fit import NumericFit
from components.feature.number.pipeline import Pipeline, make_pipeline
from components.feature.statistic import OffsetScale
from components.types import Block, BoundTarget, Constants, DataError, Encoded, Range, Statistic, UserError, Values


@dataclass(frozen=True, kw_only=True)
class Numeric:
    """Columns of finite numbers, or vectors of them, as one float32 vector (D,): a feature or a target.

    Columns that read this one get the numbers of the data, neither normalized nor filled.

    Attributes:
        key: the column, or several, in order.
        expression: in place of `key`, arithmetic over columns of single numbers, as `log(total_rooms / households)`.
        normalize: a normalizer, or a list that is applied in order. None: nothing is normalized. `z_score` gives each
            element mean 0 and (population) standard deviation 1, `min_max` the range from 0 to 1, `robust` median 0
            and a distance of 1 between the quartiles, over the training split; each only shifts an element that is
            constant there. `log` and `log1p` take the logarithm. `components.feature.normalizer` has the same as
            parts with parameters, and Clip. One step at most may learn from the data; only Clip may follow it.
            Numbers so far from 0 that float32 would blur them, like seconds since 1970 over an hour, are an error
            that says what to subtract.
        scale: multiplies the numbers before they are normalized.
        missing: replaces missing numbers and NaN: a number in the unit of the data, or the `mean` or `median` of the
            training split. `normalize` learns without the gaps. None: gaps and NaN are errors.
        indicate_missing: appends an element for each number that is 1 where it is missing, else 0.
        per: a column of classes. `normalize` learns from the rows of each class on their own; a class that the
            training split lacks is treated as all its rows together. None: from all rows.
        size: how many numbers a row of a key has. None: the data decides.
        sequence: whether rows have any number of vectors; a row becomes a sequence (T, D), padded with zeros.
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
            raise UserError("`key` or `expression` must be given, and not both")
        if not self._numeric_fits:
            raise UserError("`key` lists no column")
        if isinstance(self.missing, int | float):
            self._pipeline.check_filler(self.missing * self._factor)
        if self.indicate_missing and self.missing is None:
            raise UserError("`indicate_missing` needs `missing`, which replaces missing numbers")
        if self.sequence and (len(self._sources) > 1 or self.expression or self.per):
            raise UserError("a `sequence` has one `key`, and no `per`: give each sequence a column of its own")
        if self.expression and self.size not in (None, 1):
            raise UserError(f"`size` (={self.size}) must be 1 for an `expression`, which has single numbers")
        if self.per and self._pipeline.fitted is None:
            raise UserError(f"`per` ({self.per}) needs a step of `normalize` that learns, as z_score does")

    @property
    def keys(self) -> tuple[str, ...]:
        named = [source.columns if isinstance(source, Expression) else (source,) for source in self._sources]
        return tuple(dict.fromkeys([*sum(named, ()), *([self.per] if self.per else [])]))

    @property
    def is_encode_stateless(self) -> bool:
        return self.per is None

    def statistics(self) -> Mapping[str, Statistic]:
        return {
            f"{what} {number}": statistic
            for number, one in enumerate(self._numeric_fits)
            for what, statistic in one.statistics().items()
        }

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        fits = [(one, _select(results, number)) for number, one in enumerate(self._numeric_fits)]
        scales = [one.fit_scale(found) for one, found in fits]
        fitted = OffsetScale(*(np.concatenate(parts, axis=-1) for parts in zip(*scales, strict=True)))
        device = scaling.make_constants(fitted, unit=1 if self._pipeline.before else 1 / self.scale)
        if self.missing is not None:
            widths = [one.offset.shape[-1] for one in scales]
            fillers = [one.fit_filler(found, width) for (one, found), width in zip(fits, widths, strict=True)]
            device["missing"] = np.concatenate(fillers).astype(np.float32)
        host = {"classes": np.array(list(fits[0][1]["per"]))} if self.per else {}
        return Constants(host, device, {"outputs": fitted.offset.shape[-1]})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """Encodes rows.

        Returns:
            `values`: float32 (rows, D) as in the data, NaN for a gap; Ragged for sequences. With `per` also `class`,
            int32 (rows,): the number, from 1, of a class of the training split, 0 for another.
        """
        block = add_parents(block, parents)
        reads = [self._read(block, one.numbers) for one in self._numeric_fits]
        values = np.concatenate([read.values for read in reads], axis=1, dtype=np.float32)
        classes = {"class": number_classes(block, self.per, constants.host["classes"])} if self.per else {}
        return {"values": reads[0].rows(values), **classes}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
        """(B, D), float32; for sequences Padded (B, T, D)."""
        indicate = self.indicate_missing
        return functools.partial(scaling.normalize, pipeline=self._pipeline, factor=self._factor, indicate=indicate)

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """All numbers are valid."""
        return ()

    def bind(self, constants: Constants) -> BoundTarget:
        given = {"missing": self.missing is not None, "per": self.per, "sequence": self.sequence}
        if wrong := [name for name, value in given.items() if value]:
            raise UserError(f"a target can't have `{wrong[0]}`: every row needs numbers of its own, in one unit")
        self._pipeline.undo(np.zeros(1), 0.0, 1.0, np)  # raises UserError where a step has no inverse
        return BoundTarget(constants.static["outputs"], None, functools.partial(self._decode, constants.device))

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
        """The factor before the steps. Without a step before the fitted one, the division takes care of it."""
        return self.scale if self._pipeline.before else 1.0

    @property
    def _numeric_fits(self) -> tuple[NumericFit, ...]:
        size = 1 if self.expression else self.size
        options = (self.missing is not None, self.sequence, self._factor, self._pipeline.before)
        return tuple(
            NumericFit(Numbers(source, *options), self._pipeline, self.missing, self.per, size)
            for source in self._sources
        )

    def _read(self, block: Block, numbers: Numbers) -> NumberRows:
        found = numbers.read(block)
        if self.size not in (None, width := found.values.shape[1]):
            raise DataError(f"{numbers} of {block.origin} has {width} numbers per row, not `size` (={self.size})")
        if self.sequence and found.offsets is None:
            fault = "has the same number of values in each row"
            raise DataError(f"{numbers} of {block.origin} {fault}: it is no `sequence`")
        return found

    def _decode(self, device: Mapping[str, Any], values: jax.Array) -> jax.Array:
        offset, divisor = scaling.align(device["offset"], values), scaling.align(device["divisor"], values)
        numbers = self._pipeline.undo(values, offset, divisor, jnp)
        return numbers if self._factor == 1 else numbers / self._factor


def _select(results: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The results of the source of that number."""
    return {name.partition(" ")[0]: result for name, result in results.items() if name.endswith(f" {number}")}
