"""Numbers, as a feature or a target."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NoReturn

import numpy as np

from components.feature.base import raw
from components.feature.normalizer import Normalizer
from components.feature.number import scaling
from components.feature.number.decode import check_target_range, decode, decode_errors, encode, scale_errors
from components.feature.number.expression import NumericExpression
from components.feature.number.numbers import NumberRows, Numbers, add_encoded_columns, find_class_positions, join_rows
from components.feature.number.numeric_fit import NumericFit
from components.feature.number.pipeline import Pipeline, make_pipeline
from components.feature.number.scaling import NumberEncoding
from components.feature.statistic import OffsetScale
from components.types import (
    Block,
    Constants,
    DataError,
    Encoded,
    FieldError,
    Range,
    Remedy,
    Statistic,
    TargetSpec,
    UserError,
    Values,
    bind_fields,
)


@dataclass(frozen=True, kw_only=True)
class Numeric:
    """Finite numbers or vectors of one or more columns, as one float32 vector (D,): a feature or a target.

    Missing numbers are replaced, then all are multiplied by `scale` and normalized, and `indicate_missing` appends
    elements. Other feature columns that read this one get the normalized numbers in float64, without these elements.

    The host computes in float64 up to the normalizer that is fitted. It subtracts a number near the offset of this
    normalizer before the cast to float32. So numbers far from 0, such as Unix times, keep their differences.

    Attributes:
        key: the column; or several, whose numbers are concatenated in this order.
        expression: instead of `key`, an expression over columns of single values, such as
            `log(total_rooms / households)` or `month(sold) in [6, 7, 8]`. Its values are numbers, or booleans, which
            become 1 and 0.
        normalize: a normalizer, or several that are applied in order. None: numbers aren't normalized. Over the
            training split, `z_score` gives each element mean 0 and (population) standard deviation 1, `min_max` the
            range [0, 1], `robust` median 0 and the distance 1 between the quartiles. A constant element is only
            shifted. `log` and `log1p` take the logarithm. `components.feature.normalizer` has these normalizers as
            classes with options, and Clip. At most one of them may be fitted to the data, and only Clip may follow it.
        scale: multiplies the numbers before they are normalized.
        missing: replaces missing numbers and NaN: a number in the unit of the data, or the `mean` or `median` of the
            training split. `normalize` is fitted without them. `mask`, for a target only: a row with a missing number
            counts in no loss or metric. None: missing numbers and NaN are errors.
        indicate_missing: whether to append an element for each number: 1 if the number is missing, else 0.
        per: a column of classes. `normalize` is fitted to each class separately. A class that doesn't occur in the
            training split is normalized as all rows together. None: `normalize` is fitted to all rows.
        size: the number of elements of a row of each key. Lists of this length and arrays of so many elements, such as
            images, are vectors, without `sequence`. None: it is inferred from the data, whose rows are then numbers or
            vectors.
        sequence: whether a row has any number of vectors. It becomes a sequence (T, D), padded with zeros; of lists of
            lists a sequence of sequences, (T, S, 1); with a `size` above 1, the innermost lists are the vectors.
        read_as: what other feature columns read: `output`, the normalized numbers; or `data`, the numbers in the data
            in float32, before they are replaced, multiplied and normalized.
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
    read_as: Literal["output", "data"] = "output"
    fills_gaps: bool = field(default=False, init=False)  # set by `filling_gaps`
    target_kinds = ("numbers",)

    def __post_init__(self) -> None:
        if (self.key is None) == (self.expression is None):
            raise UserError("exactly one of `key` and `expression` must be set")
        pipeline = self._pipeline  # raises UserError if the normalizers can't be combined
        if not self._sources:
            raise FieldError("key", "is empty; at least one column is needed")
        if isinstance(self.missing, int | float):
            pipeline.check_fill_value(self.missing * self.scale)
        if self.indicate_missing and self._replacement is None:
            raise FieldError("indicate_missing", "needs `missing`, the replacement of missing numbers")
        if self.sequence and (len(self._sources) > 1 or self.expression or self.per):
            raise UserError(
                "a `sequence` must have one `key`, and no `expression` or `per`; use several feature columns"
            )
        if self.expression and self.size not in (None, 1):
            raise FieldError("size", f"{self.size} must be 1 or null for an `expression`, which has single numbers")
        if self.per and pipeline.fitted_step is None:
            raise FieldError("per", f"{self.per} needs a step of `normalize` that is fitted, such as z_score")

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        columns: list[str] = []
        for source in self._sources:
            columns.extend(source.columns if isinstance(source, NumericExpression) else [source])
        if self.per:
            columns.append(self.per)
        return tuple(dict.fromkeys(columns))  # each column once

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        return {key: "int" if key == self.per else "float" for key in self.keys}

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
            On the host `shift` and `exponent`, how numbers are encoded. On the device `offset` and `divisor`, and
            `missing`, the replacement of missing numbers, in the unit of the encoded numbers. Each is (D,), or
            (1 + classes, D) with `per`, where row 0 is that of all rows. If encoded numbers have another unit than the
            numbers before the fitted normalizer, also `data_offset` and `data_divisor` for these, and `data_exponent`,
            the power of 2 that is the unit of the encoded numbers. On the host the
            `classes` of `per`. For new rows the `mean` in the unit of the data, if missing numbers are errors.
        """
        offsets, scales, fill_values, means = [], [], [], []  # an array for each source
        for position, numeric_fit in enumerate(self._numeric_fits):
            source_results = {name: results[f"{name} {position}"] for name in numeric_fit.statistics()}
            offset, scale = numeric_fit.fit_offset_scale(source_results)
            offsets.append(offset)
            scales.append(scale)
            if self._replacement is not None:
                fill_values.append(numeric_fit.fit_fill_value(source_results, size=offset.shape[-1]))
            elif "mean" in source_results:
                means.append(source_results["mean"].offset)
        offset = np.concatenate(offsets, axis=-1)
        divisor = scaling.find_divisor(OffsetScale(offset, np.concatenate(scales, axis=-1)))
        encoding = scaling.choose_encoding(offset, divisor)
        host = {"shift": encoding.shift, "exponent": encoding.exponent}
        device = {"offset": encoding(offset), "divisor": np.ldexp(divisor, -encoding.exponent)}
        new_rows = {"mean": np.concatenate(means)} if len(means) == len(offsets) else {}
        if fill_values:
            device["missing"] = self._encode_fill_values(np.concatenate(fill_values), encoding)
        if self.per:
            host["classes"] = np.array(list(results["per 0"]))  # all sources have the same classes
        elif not encoding.is_identity:
            device |= {"data_offset": scaling.to_float32(offset), "data_divisor": scaling.to_float32(divisor)}
            device["data_exponent"] = encoding.exponent
        return Constants(host, device, {"outputs": offset.shape[-1]}, new_rows=new_rows)

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """Encodes rows for the device.

        Returns:
            `values`: the numbers before the fitted normalizer, as `shift` and `exponent` encode them, float32
            (rows, D), NaN if missing; Ragged for sequences. With `per` also `class`, int32 (rows,): which row of the
            fitted offsets applies. Row 0 is for classes that don't occur in the training split.
        """
        block = add_encoded_columns(block, parents)
        rows, classes = self._read(block, constants)
        vectors = scaling.to_float32(scaling.get_encoding(constants.host, classes)(rows.values))
        if np.isinf(vectors).any():
            self._raise_range_error(block, rows, np.isinf(vectors))
        encoded: dict[str, Encoded] = {"values": rows.to_rows(vectors)}
        return encoded if classes is None else {**encoded, "class": classes}

    def host_output(self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants) -> Values:
        """The normalized numbers, float64 (rows, D), or Ragged for sequences; without `indicate_missing`."""
        block = add_encoded_columns(block, parents)
        if self.read_as == "data":
            rows = join_rows([each.numbers.without_transform.read(block) for each in self._numeric_fits])
            return rows.to_rows(scaling.to_float32(rows.values))
        rows, classes = self._read(block, constants)
        encoded = scaling.get_encoding(constants.host, classes)(rows.values)
        return rows.to_rows(scaling.normalize(encoded, constants.device, self._pipeline, np, classes))

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
        """Returns the function that normalizes encoded numbers to float32 (B, D), or sequences to Padded."""
        return functools.partial(scaling.normalize_encoded, pipeline=self._pipeline, indicate=self.indicate_missing)

    @property
    def gap_value(self) -> str:
        return "the mean of the training split"

    def filling_gaps(self, constants: Constants) -> Numeric | None:
        """The same column with the mean in place of missing numbers; None: `missing` says what replaces them."""
        return bind_fields(self, fills_gaps=True) if "mean" in constants.new_rows else None

    def upgrade(self, constants: Constants) -> Constants:
        """Converts constants of version 2 of the transform, with which all of the normalization was on the device."""
        if "shift" in constants.host:
            return constants
        device = {name: np.asarray(value, np.float64) for name, value in constants.device.items()}
        shape = device["offset"].shape
        encoding = scaling.NumberEncoding(np.zeros(shape), np.zeros(shape, np.int32))
        if not self._pipeline.steps_before_fit:  # then `scale` was not applied before the fitted normalizer
            device |= {name: device[name] * self.scale for name in ("offset", "divisor")}
        if "missing" in device:
            device["missing"] = self._encode_fill_values(device["missing"], encoding)
        return constants._replace(host={**constants.host, **encoding._asdict()}, device=device)

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
                raise FieldError(name, "is not for a target; leave it out")
        self._pipeline.undo(np.zeros(1), 0.0, 1.0, np)  # raises UserError if a step has no inverse
        options: dict[str, Any] = {"constants": constants, "pipeline": self._pipeline, "factor": self.scale}
        check_target_range(**options)
        return TargetSpec(
            "real",
            (constants.static["outputs"],),
            None,
            decode=functools.partial(decode, **options),
            can_be_missing=self.missing == "mask",
            difference=functools.partial(decode_errors, **options),
            scaled_difference=scale_errors(**options),
            encode=functools.partial(encode, **options),
        )

    @functools.cached_property
    def _sources(self) -> tuple[str | NumericExpression, ...]:
        """The columns of `key`, or the one expression. Their numbers are concatenated."""
        if self.expression is not None:
            return (NumericExpression(self.expression),)
        return (self.key,) if isinstance(self.key, str) else self.key or ()

    @property
    def _names(self) -> str:
        """The sources, for messages."""
        return " and ".join(str(each.numbers) for each in self._numeric_fits)

    @property
    def _replacement(self) -> float | Literal["mean", "median"] | None:
        """The replacement of missing numbers; None: there is none."""
        return None if self.missing == "mask" else self.missing

    @functools.cached_property
    def _pipeline(self) -> Pipeline:
        return make_pipeline(self.normalize)

    @functools.cached_property
    def _numeric_fits(self) -> tuple[NumericFit, ...]:
        """The fit of each source."""
        pipeline = self._pipeline
        size = 1 if self.expression else self.size
        numeric_fits = []
        for source in self._sources:
            numbers = Numbers(
                source,
                allow_missing=self.missing is not None or self.fills_gaps,
                sequences=self.sequence,
                vector_size=self._vector_size,
                factor=self.scale,
                steps=pipeline.steps_before_fit,
            )
            numeric_fits.append(NumericFit(numbers, pipeline, self._replacement, self.per, size))
        return tuple(numeric_fits)

    @property
    def _vector_size(self) -> int | None:
        """The length of lists that are vectors. None: there are none."""
        return None if self.expression or (self.sequence and self.size == 1) else self.size

    def _read(self, block: Block, constants: Constants) -> tuple[NumberRows, np.ndarray | None]:
        """Reads the numbers before the fitted normalizer, float64, and with `per` the position of each row's class."""
        rows = join_rows([self._read_source(block, each.numbers) for each in self._numeric_fits])
        if (width := rows.values.shape[1]) != (expected := constants.static["outputs"]):
            raise DataError(
                f"{self._names} of {block.origin} has {width} numbers in each row; in training there were {expected}"
            )
        if self.fills_gaps:
            mean = self._pipeline.apply_before_fit(constants.new_rows["mean"] * self.scale, np)
            rows = rows._replace(values=np.where(np.isnan(rows.values), mean, rows.values))
        classes = find_class_positions(block, self.per, constants.host["classes"]) if self.per else None
        return rows, classes

    def _read_source(self, block: Block, numbers: Numbers) -> NumberRows:
        rows = numbers.read(block)
        width = rows.values.shape[1]
        if self.size not in (None, width):
            raise DataError(f"{numbers} of {block.origin} has {width} numbers in each row, not `size` (={self.size})")
        if self.sequence and not rows.levels:
            remedy = Remedy("set `sequence=false`", "columns")
            raise DataError(f"{numbers} of {block.origin} has no sequences", remedy)
        return rows

    def _encode_fill_values(self, values: np.ndarray, encoding: NumberEncoding) -> np.ndarray:
        """Converts the replacements of missing numbers from the unit of the data, (D,), to that of encoded numbers.

        Raises:
            DataError: a replacement has no normalized value in float32.
        """
        with np.errstate(all="ignore"):
            encoded = encoding(self._pipeline.apply_before_fit(values * self.scale, np))
        if not np.isfinite(scaling.to_float32(encoded)).all():
            shown = ", ".join(f"{value:g}" for value in values)
            fault = f"`missing` (={self.missing}) is {shown}, which is beyond the range of float32"
            raise DataError(f"{self._names}: {fault} in the unit of the other numbers; choose another number")
        return np.broadcast_to(encoded, encoding.shift.shape).copy()

    def _raise_range_error(self, block: Block, rows: NumberRows, is_infinite: np.ndarray) -> NoReturn:
        """Raises DataError for the first number that is infinite in float32."""
        vector, element = np.argwhere(is_infinite)[0]
        value = raw.format_value(rows.values[vector, element])
        if self.scale != 1 or self._pipeline.steps_before_fit:
            value += " before the fitted normalizer"
        sources = [each.numbers for each in self._numeric_fits]
        ends = np.cumsum([numbers.read(block).values.shape[1] for numbers in sources])
        source = sources[int(np.searchsorted(ends, element, side="right"))]
        raise DataError(
            f"{block.locate(rows.find_row(vector))}: {source} is {value}, which is beyond the range of float32",
            raw.CORRECT,
            raw.REMOVE_ROW,
            Remedy("set `normalize=z_score`, for example", "columns"),
        )
