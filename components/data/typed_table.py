"""The base class of tables whose columns have types, and whose texts are read like those of a CSV file."""

from __future__ import annotations

import io
import re
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from components.arrow import array_to_arrow, mask_column, to_arrow
from components.columns import Columns as RawColumns
from components.columns import have_zone
from components.data.csv.dialect import CsvFile
from components.data.csv.errors import make_problem_error
from components.data.csv.numbers import parse_plain_number
from components.data.csv.reader import Columns, Reader
from components.data.csv.selection import take_rows
from components.data.csv.text_table import TextTable
from components.data.csv.texts import INFERRED_BOOLEANS, is_gap
from components.data.csv.times import ASSUME_UTC, NO_ZONE, parse_plain_times
from components.data.csv.zones import describe_assumed_zone, find_zone_problem
from components.data.long_texts import empty_texts, shorten_long_texts
from components.data.packed import MemoryFile
from components.data.profile import is_whole
from components.ragged import layout_of
from components.types import ColumnType, DataError, Ragged, Reading, Strings, TableProfile, Values, row_count

if TYPE_CHECKING:
    import pyarrow

CATEGORIES = ("category", "Categorical", "Enum", "dictionary")  # start the names of types of pandas, Polars and Arrow
KINDS: dict[str, ColumnType] = {"f": "float", "i": "int", "u": "int", "b": "bool", "M": "timestamp"}  # of dtypes
MISSING = {  # by type
    "float": np.array(np.nan),
    "int": np.array(0),
    "bool": np.array(False),
    "timestamp": np.array("NaT", "M8[us]"),
}
MAX_VALUE_SHARE = 0.4  # of texts, and of rows, that may be values in a column that is read as it is
BYTES = "it has bytes: components.feature.Image reads images; decode texts"
BOOLEANS = {"true": True, "false": False}
INDEX = re.compile(r"__index_level_\d+__")  # the columns that pandas writes into files for an index without a name
NAME_INDEX = "`frame.rename_axis('id')` makes it a column"
PRIVATE = "\ue000"  # a character that no text needs
ARROW_UNITS = ("D", "s", "ms", "us", "ns")  # of times


@dataclass(frozen=True, kw_only=True, eq=False)
class TypedTable(TextTable):
    """A table whose columns have types. Its columns of text are read like those of a CSV file.

    Columns of numbers, booleans and times keep their type, unless `types` lists them. Columns of categories are text.
    Columns of arrays, such as images, are kept as they are.
    """

    @cached_property
    @abstractmethod
    def _stored(self) -> Mapping[str, Any]:
        """The columns by name as they are stored: columns of pandas, Polars or Arrow, arrays or lists."""

    @cached_property
    @abstractmethod
    def _raw(self) -> RawColumns:
        """The columns that are read, converted to NumPy's types."""

    @property
    def _files(self) -> Set[str]:
        """The columns of bytes, such as images, that are packed as `Strings`."""
        return frozenset()

    @property
    def _categories(self) -> Collection[str]:
        """The columns of categories, which are text."""
        types = {name: getattr(column, "dtype", getattr(column, "type", "")) for name, column in self._stored.items()}
        return [name for name, kind in types.items() if str(kind).startswith(CATEGORIES)]

    @property
    def text_names(self) -> Collection[str]:
        return self._texts.keys()

    @cached_property
    def reader(self) -> Reader:
        """Reads the columns of text, written as a CSV file in memory. So they are read like those of other files."""
        import pyarrow
        from pyarrow import csv

        # A missing value is a text in quotes, because an empty line is no row.
        texts = self._texts | self._short_texts
        table = pyarrow.table({name: column.fill_null(self._gaps[name]) for name, column in texts.items()})
        content = io.BytesIO()
        csv.write_csv(table, content, csv.WriteOptions(quoting_style="all_valid"))
        text = content.getvalue()
        if b"\0" in text:
            raise DataError(f"{self.label} {self.has} a text with a NUL character. Remove this character.")
        types = {name: kind for name, kind in self._types.items() if name in self._texts}
        reader = self._make_reader(CsvFile(MemoryFile(text, self.label, self._locate_number)), types, ())
        if self.decimal is None and self.thousands is None:
            return reader
        numbers = {name: "." for name in self._texts if not isinstance(self._raw.values[name], Strings)}
        return replace(reader, column_decimals={**reader.column_decimals, **numbers})  # they are written with points

    def read_columns(self) -> Columns:
        self._check_names(self._stored)
        read = Columns({}, {}, {}, 0, {}, {}, None) if not self._texts else self.read_with_skipping()
        values: dict[str, Values] = {}
        valid, types, readings = dict(read.valid), dict[str, ColumnType](), dict(read.readings)
        for name, array in self._kept.values.items():
            if name in self.drop:
                continue
            kind = read.types.get(name) or self._find_kind(name, array)
            types |= {} if kind is None else {name: kind}
            values[name], mask = read.values.get(name, array), self._kept.valid.get(name)
            if name in read.values:
                if name in self._short_texts and isinstance(array, Strings):
                    values[name] = empty_texts(array, valid[name]) if name in valid else array
                continue
            if name in self._files:
                mask = None if mask is None or mask.all() else mask
            elif isinstance(array, Strings) and array.indices is not None and name not in self._texts:
                mask = ~np.isin(array.indices, np.flatnonzero(np.diff(array.offsets) == 0))
                mask = None if mask.all() else mask
            elif isinstance(array, Strings):  # the reader leaves out texts without a name and a value
                values[name], mask = Strings.from_bytes([b""] * row_count(array)), np.zeros(row_count(array), bool)
            elif kind is not None:
                values[name], mask = self._mask_missing(name, np.asarray(array), kind)
            if kind == "timestamp" and (reading := self._describe_zone(name, mask)) is not None:
                readings[name] = reading
            valid |= {} if mask is None else {name: mask}
        rows = max(map(row_count, values.values()), default=0)
        return read._replace(values=values, valid=valid, types=types, rows=rows, readings=readings, nameless=())

    def list_classes(self, name: str, columns: Columns) -> set[str]:
        return set() if name in self._files else super().list_classes(name, columns)

    def find_skipped_classes(self, name: str, columns: Columns, remaining: Collection[str]) -> dict[int, set[str]]:
        if name in self._texts:
            return super().find_skipped_classes(name, columns, remaining)
        values, mask = self._raw.values.get(name), self._raw.valid.get(name)
        if values is None or self._find_kind(name, values) is None:
            return {}
        rows = self.bad_rows.rows if mask is None else self.bad_rows.rows[mask[self.bad_rows.rows]]
        found = zip(rows.tolist(), take_rows(values, rows).tolist(), strict=True)
        return {row: self.find_classes(name, [] if value in ("", name) else [value]) for row, value in found}

    def _find_wrong_names(self, names: Collection[str]) -> Iterator[str]:
        yield from super()._find_wrong_names(names)
        for option, listed in self._listed_columns():
            for name in listed if option != "drop" else ():
                values = self._raw.values.get(name)
                if values is not None and name not in self.drop and self._find_kind(name, values) is None:
                    yield f"{self.label}: `{option}` lists the column `{name}`, but {self._describe_unread(name)}."

    def _find_kind(self, name: str, values: Values) -> ColumnType | None:
        """The type of a column; None: it is none of a table, such as images."""
        if name in self._files:
            return None
        if isinstance(values, Strings):
            return "string"
        return KINDS.get(values.dtype.kind) if isinstance(values, np.ndarray) and values.ndim == 1 else None

    def _describe_unread(self, name: str) -> str:
        """Says what a column without a type of a table has, and how to convert it."""
        return BYTES if name in self._files else describe_unread(self._raw.values[name])

    def _mask_missing(self, name: str, values: np.ndarray, kind: ColumnType) -> tuple[np.ndarray, np.ndarray | None]:
        """The values of a column with a type, and its mask. None: no value is missing."""
        is_null = np.logical_or.reduce([np.zeros(len(values), bool), *self._find_nulls(name, values).values()])
        if is_null.any():
            values = np.where(is_null, MISSING[kind].astype(values.dtype), values)
        valid = self._kept.valid.get(name, np.True_) & ~_find_missing(values) & ~is_null
        return values, None if valid.all() else valid

    def profile(self) -> TableProfile:
        """The facts about the columns. Columns of arrays, and indexes without a name, are left out, with a note."""
        profile = super().profile()
        used = {*self._targets, *self._declared_types}
        indexes = [each.name for each in profile.columns if INDEX.fullmatch(each.name) and each.name not in used]
        profile = replace(profile, columns=tuple(each for each in profile.columns if each.name not in indexes))
        arrays = [name for name in self.table.values if name not in self.table.types]
        if targets := [name for name in arrays if name in self._targets]:
            raise DataError(f"`target` (={targets[0]}): {self._describe_unread(targets[0])}.")
        notes = [f"{name} is left out: {self._describe_unread(name)}" for name in arrays]
        notes += [f"{name} is left out: it is an index of pandas without a name. {NAME_INDEX}" for name in indexes]
        packed = tuple(name for name in arrays if self._describe_unread(name) == BYTES)
        return replace(profile, notes=(*profile.notes, *notes), bytes_columns=packed)

    def _count_spellings(
        self, types: Mapping[str, ColumnType], records: np.ndarray | None
    ) -> Mapping[str, Mapping[str, int]]:
        counts = dict(super()._count_spellings({name: types[name] for name in types if name in self._texts}, records))
        for name, spellings in counts.items():
            counts[name] = {"" if text == self._gaps[name] else text: count for text, count in spellings.items()}
        for name in types.keys() - self._texts.keys():
            nulls = self._find_nulls(name, self._kept.values[name]).items()
            rows = {text: int(is_null[slice(None) if records is None else records].sum()) for text, is_null in nulls}
            counts[name] = {text: count for text, count in rows.items() if count}
        return counts

    def _find_nulls(self, name: str, values: Values) -> dict[str, np.ndarray]:
        """Which rows of a column of numbers, booleans or times have each of the values that stand for a missing one."""
        nulls = self._nulls_by_column.get(name, self.nulls if isinstance(self.nulls, tuple) else ())
        return {text: _equals(np.asarray(values), text) for text in map(str, nulls)} if nulls else {}

    def _describe_zone(self, name: str, mask: np.ndarray | None) -> Reading | None:
        """Whether the times of a column have a zone, as for texts. Raises DataError if that contradicts `dates`.

        Args:
            name: the column.
            mask: its mask.
        """
        rows = self.bad_rows.keep(row_count(self._raw.values[name]))
        valid = np.ones(len(rows), bool) if mask is None else mask
        zoned = self._zoned[name][rows] if name in self._zoned else np.False_
        zoned, own = zoned & valid, self._dates.get(name)
        with_zone, count = int(zoned.sum()), int(valid.sum())
        without_zone = count - with_zone
        zone = own or self._dates.get("")
        if (problem := find_zone_problem(with_zone, without_zone, zone)) is not None:
            raise make_problem_error(name, "timestamp", problem)
        if own == ASSUME_UTC and without_zone:
            return Reading("times", unusual=describe_assumed_zone(without_zone, count))
        return Reading("", {"dates": ASSUME_UTC if with_zone else NO_ZONE}) if own is None and count else None

    def _locate(self, row: int) -> str:
        return f"{self._locate_number(int(self._find_numbers(np.array([row]))[0]))} of {self.label}"

    def _locate_number(self, number: int) -> str:
        """The location of a row, counted from 0 with those that are skipped."""
        return f"row {number}"

    @cached_property
    def _kept(self) -> RawColumns:
        """The columns as they were passed, without the rows that are skipped, once the texts are read."""
        if not len(self.bad_rows):
            return self._raw
        rows = self.bad_rows.keep(row_count(next(iter(self._raw.values.values()))))
        return RawColumns(
            {name: take_rows(values, rows) for name, values in self._raw.values.items()},
            {name: mask[rows] for name, mask in self._raw.valid.items()},
        )

    @cached_property
    def _zoned(self) -> dict[str, np.ndarray]:
        """Which times have a zone, (rows,), bool, of the columns that have such times. Their values are in UTC."""
        columns = self._stored
        times = {
            name: values for name, values in self._raw.values.items() if self._find_kind(name, values) == "timestamp"
        }
        zoned = {name: have_zone(name, columns[name], row_count(values)) for name, values in times.items()}
        return {name: rows for name, rows in zoned.items() if rows.any()}

    @cached_property
    def _types(self) -> dict[str, ColumnType]:
        """The types that are declared, by the options or by the type of the column."""
        categories: dict[str, ColumnType] = dict.fromkeys(self._categories, "string")
        return categories | self._declared_types

    @property
    def _nulls_by_column(self) -> dict[str, tuple[str, ...]]:
        """As for files; None among texts is missing, whatever `nulls` lists."""
        nulls = super()._nulls_by_column
        gaps = {name: self._gaps[name] for name, texts in self._texts.items() if texts.null_count}
        return nulls | {name: (*listed, gaps[name]) for name in gaps if (listed := self._list_nulls(name)) is not None}

    def _list_nulls(self, name: str) -> tuple[str, ...] | None:
        """The spellings of missing values that `nulls` lists for a column. None: the usual ones."""
        if isinstance(self.nulls, tuple):
            return tuple(map(str, self.nulls))
        return super()._nulls_by_column.get(name)

    @cached_property
    def _gaps(self) -> Mapping[str, str]:
        """The text that stands for None in each column of texts: "", or another one where "" isn't a missing value."""
        return {name: self._find_gap(name, texts) for name, texts in self._texts.items()}

    def _find_gap(self, name: str, texts: pyarrow.ChunkedArray) -> str:
        import pyarrow.compute as compute

        gap, nulls = "", self._list_nulls(name)
        if not texts.null_count or nulls is None or "" in nulls:
            return gap
        while compute.any(compute.equal(texts, gap)).as_py():
            gap += PRIVATE
        return gap

    @cached_property
    def _texts(self) -> dict[str, pyarrow.ChunkedArray]:
        """The columns that are read as texts."""
        texts = {
            name: format_texts(name, values, self._raw.valid.get(name))
            for name, values in self._raw.values.items()
            if name not in self.drop and self._is_read_as_text(name, values) and not self._is_plain_text(name, values)
        }
        return texts | {name: _with_decimals(texts[name], column) for name, column in self._text_decimals.items()}

    @cached_property
    def _short_texts(self) -> dict[str, pyarrow.ChunkedArray]:
        """Columns of long texts that nobody declares as anything else, with short texts in their place."""
        if "" in self._dates:
            return {}
        special = {*self._targets, *self._dates, *(self.marks or {}), *self._column_decimals}
        found = dict[str, Any]()
        for name, texts in self._texts.items():
            values = self._raw.values[name]
            if not isinstance(values, Strings) or values.indices is not None or name in special:
                continue
            if self._types.get(name, "string") != "string":
                continue
            kept = (*(self._list_nulls(name) or ()), self._gaps[name])
            if (short := shorten_long_texts(values, kept)) is not None:
                column = to_arrow(name, short).cast(texts.type)
                valid = self._raw.valid.get(name)
                found[name] = column if valid is None else mask_column(column, valid)
        return found

    @cached_property
    def _text_decimals(self) -> dict[str, list[Any]]:
        """The columns with decimals that are read as texts."""
        columns = self._stored
        found = {
            name: [*(column.to_pylist() if hasattr(column := columns[name], "to_pylist") else column)]
            for name, values in self._raw.values.items()
            if name not in self.drop
            and self._find_kind(name, values) == "float"
            and self._is_read_as_text(name, values)
        }
        return {name: column for name, column in found.items() if any(isinstance(each, Decimal) for each in column)}

    def _is_plain_text(self, name: str, values: Values) -> bool:
        """Whether the different texts of a column are few, and can't be read as anything else.

        Such a column needs no reader, which would read the text of each row.
        """
        if not isinstance(values, Strings) or values.indices is None or self.nulls is not None or "" in self._dates:
            return False
        if name in {**self._dates, **(self.marks or {}), **self._column_decimals}:
            return False
        if (declared := self._types.get(name)) not in (None, "string"):
            return False
        texts = values._replace(indices=None).tolist()
        if any(text and is_gap(text) for text in texts):
            return False
        return declared is not None or _are_mostly_words(texts, values.indices)

    def _is_read_as_text(self, name: str, values: Values) -> bool:
        """Whether a column has texts, or its numbers are to be read in another way than they are."""
        if isinstance(values, Strings):
            return name not in self._files
        if (kind := self._find_kind(name, values)) is None:
            return False
        declared = self._types.get(name, kind)
        return declared != kind and not (declared == "float" and kind in ("int", "bool"))


def _are_mostly_words(texts: Sequence[str], rows: np.ndarray) -> bool:
    """Whether too few texts may be values for the column to be read as these: clearly less than half.

    Args:
        texts: the different texts.
        rows: the number of the text of each row.
    """
    counts = np.bincount(rows, minlength=len(texts))
    filled = np.array([bool(text) for text in texts]) & (counts > 0)
    may_be_value = np.array([bool(text) and _may_be_value(text) for text in texts]) & filled
    shares = [(may_be_value * weight).sum() / max((filled * weight).sum(), 1) for weight in (counts, 1)]
    return bool(filled.any()) and max(shares) < MAX_VALUE_SHARE


def _may_be_value(text: str) -> bool:
    """Whether a text may be a number, a time or a boolean."""
    word = text.strip().lower()
    return word in INFERRED_BOOLEANS or "inf" in word or any(map(str.isnumeric, text))


def describe_unread(values: Values) -> str:
    """Says what a column without a type of a table has, and how to convert it."""
    if isinstance(values, Ragged):
        return (
            f"it has {layout_of(values)}, for which nothing is inferred; a feature file can read them, by Vocabulary "
            "and Embedding, or numbers by Numeric with `sequence: true` or, if all lists have one length, with `size`"
        )
    if isinstance(values, np.ndarray) and values.ndim > 1:
        shape = ", ".join(map(str, values.shape[1:]))
        fault = f"it has arrays of shape ({shape}) and type {values.dtype}, for which nothing is inferred"
        if values.dtype.kind not in "biuf":
            return fault
        if values.ndim == 2:
            return f"{fault}; a feature file can read them by Numeric"
        return f"{fault}; flatten them to vectors, which a feature file reads by Numeric, or read images by Image"
    if not isinstance(values, np.ndarray):
        return "it has objects, for which nothing is inferred"
    example = next((value for value in values if value is not None), None) if values.dtype.hasobject else None
    if isinstance(example, bytes) or values.dtype.kind == "S":
        return BYTES
    if values.dtype.hasobject:
        return "it has arrays or objects, for which nothing is inferred"
    if values.dtype.kind == "m":
        return f"it has durations ({values.dtype}); divide them by one second, for example, to get numbers"
    return f"it has values of the type {values.dtype}; convert them to texts, numbers, booleans or times"


def _find_missing(values: np.ndarray) -> np.ndarray:
    """Which values are NaN or NaT, (rows,)."""
    if values.dtype.kind == "M":
        return np.isnat(values)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)


def _equals(values: np.ndarray, text: str) -> np.ndarray:
    """Which values are the number, the boolean or the time of a text, whatever its spelling, (rows,), bool."""
    none = np.zeros(len(values), bool)
    if values.dtype.kind == "b":
        found = BOOLEANS.get(text.strip().lower())
        return none if found is None else values == found
    if values.dtype.kind == "M":
        return np.isin(values.astype("M8[us]"), parse_plain_times([text]))
    number = parse_plain_number(text)
    if number is None or values.dtype.kind not in "iuf":
        return none
    if values.dtype.kind != "f":
        return values == int(number) if number == int(number) else none
    with np.errstate(over="ignore"):
        return (values == np.array(float(number)).astype(values.dtype)) & np.isfinite(values)


def _with_decimals(texts: pyarrow.ChunkedArray, column: Sequence[Any]) -> pyarrow.ChunkedArray:
    """The texts of a column of numbers with all digits of its decimals, of which float64 has 17.

    Args:
        texts: the texts of the numbers.
        column: the values as they were passed.
    """
    import pyarrow

    rows = zip(column, texts.to_pylist(), strict=True)
    exact = [format_decimal(each) if isinstance(each, Decimal) and each.is_finite() else text for each, text in rows]
    return pyarrow.chunked_array([pyarrow.array(exact, texts.type)])


def format_decimal(value: Decimal) -> str:
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def format_texts(name: str, values: Values, valid: np.ndarray | None) -> pyarrow.ChunkedArray:
    """The values of a column as texts. Each depends on its own value alone, so that other rows have the same ones.

    Whole numbers have no decimals, so that `1.0` is the same code as `1`. Times have no zeros at the end: `2020-01-31`.
    """
    import pyarrow
    import pyarrow.compute as compute

    text = pyarrow.large_string()
    if isinstance(values, Strings):
        texts = to_arrow(name, values).cast(text)
    else:
        assert isinstance(values, np.ndarray)
        if values.dtype.kind == "M" and np.datetime_data(values.dtype)[0] not in ARROW_UNITS:
            values = values.astype("M8[s]")
        is_missing = _find_missing(values)
        valid = ~is_missing if valid is None else valid & ~is_missing
        texts = to_arrow(name, values).cast(text)
        if values.dtype.kind == "f":
            whole = is_whole(np.where(is_missing, 0.5, values))
            texts = compute.if_else(
                whole, array_to_arrow(np.where(whole, values, 0).astype(np.int64)).cast(text), texts
            )
        elif values.dtype.kind == "M":
            texts = compute.replace_substring_regex(texts, r"(\.[0-9]*[1-9])0+$|\.0+$", r"\1")  # of the second
            texts = compute.replace_substring_regex(texts, " 00:00:00$", "")
    if valid is None or valid.all():
        return texts
    return mask_column(texts, valid)
