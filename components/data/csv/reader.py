"""Reads a CSV file into columns. Their types are inferred, or declared by the user."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from components.arrow import convert_column, read_dictionary
from components.data.bad_rows import BadRowsError
from components.data.csv.arrow_input import read_by_arrow
from components.data.csv.codes import are_codes, find_rare_code, has_hexadecimal, has_leading_zero, read_signed
from components.data.csv.dialect import CsvFile
from components.data.csv.epoch import (
    NUMBER_READINGS,
    describe_epoch_unit,
    find_epoch_unit,
    have_epoch_unit,
    read_epoch,
)
from components.data.csv.errors import (
    BLOCK_BYTES,
    check_delimiter,
    check_format,
    check_quotes,
    make_type_error,
    raise_encoding_error,
    raise_nul_error,
    raise_read_error,
)
from components.data.csv.headers import check_headers
from components.data.csv.numbers import (
    OPTIONAL_MARKS,
    Evidence,
    Numbers,
    NumberTexts,
    Separators,
    decide_separators,
    is_plain_number,
    parse_plain_number,
)
from components.data.csv.selection import Nameless, select_columns
from components.data.csv.texts import BOOLEANS, SAMPLED_TEXTS, TextColumn, TextOptions, is_gap, make_gap
from components.data.csv.times import ASSUME_UTC, NO_ZONE, parse_plain_times
from components.data.csv.types import (
    are_whole,
    convert_type,
    has_decimal_point,
    has_wrong_years,
    may_have_thousands,
)
from components.data.key_column import format_key
from components.data.profile import MAX_EXACT, is_whole
from components.types import ColumnType, DataError, Gap, Problem, Reading, Setting, Values

if TYPE_CHECKING:
    import pyarrow

NULLS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "#N/A", "<NA>")


LARGE_BYTES = 1 << 26  # a file from this size on is not kept in memory while its types are inferred
FIRST_ROWS = 100  # whose texts are read before a column is parsed again as text
SCAN_BYTES = 1 << 18  # the file is scanned in chunks that fit into the processor's cache


class Columns(NamedTuple):
    """The columns of a file.

    Attributes:
        values: the values by column name. A missing value is 0, NaN, NaT or "".
        valid: masks (rows,), bool, of the columns with missing values: False where a value is missing.
        types: the types by column name.
        rows: the number of rows.
        readings: how texts were read as numbers or times, by column name.
        problems: the columns that stay text until the user decides how they are read.
        separators: the meaning of comma and point in numbers, if they decided it. None: no number has a comma.
        nameless: the columns without a name. Those without a value, or of the same name as another, aren't in `values`.
        records: the position in the file of each row, from 0; None: all rows of the file are there.
        left_out: the number of rows of the file that are left out.
        errors: the errors of rows that can't be read, if such rows are to be skipped. If there is one, the columns
            aren't complete, and must be read again without these rows.
    """

    values: Mapping[str, Values]
    valid: Mapping[str, np.ndarray]
    types: Mapping[str, ColumnType]
    rows: int
    readings: Mapping[str, Reading]
    problems: Mapping[str, Problem]
    separators: Separators | None
    nameless: tuple[Nameless, ...] = ()
    records: np.ndarray | None = None
    left_out: int = 0
    errors: tuple[BadRowsError, ...] = ()


class Column(NamedTuple):
    """A column as Arrow parsed it.

    Attributes:
        name: its name.
        values: the values.
        is_text: whether it is text: it is declared as text, or has codes.
        gaps: the texts among numbers that were read as missing values.
        dictionary: the distinct texts, and the text of each row, if they are known.
    """

    name: str
    values: pyarrow.ChunkedArray
    is_text: bool = False
    gaps: tuple[Gap, ...] = ()
    dictionary: tuple[list[str], np.ndarray] | None = None


@dataclass(frozen=True)
class Reader:
    """Reads a CSV file.

    Attributes:
        file: the file and its dialect.
        types: the declared types of some columns. The types of the other columns are inferred from all their values. A
            column of digits is inferred as text if a value has a leading zero or exceeds an int64. A column without
            values is inferred as numbers. Declared integers may be written as `2.0`.
        nulls: the spellings of a missing value in all columns. None: NULLS, and among numbers and times also
            those of `is_gap`.
        column_nulls: the spellings in some columns. Among numbers and times they are added to the usual ones.
        dates: how times are read in some columns; these have the type `timestamp`. "" is the key for all columns.
        marks: the marks of the numbers of some columns.
        decimal: the decimal separator. None: a point, unless the numbers show that it is a comma.
        column_decimals: the decimal separators of some columns.
        thousands: the separator of thousands. None: the one that the numbers show.
        drop: the columns to leave out.
        on_bad_row: `error`: a row that can't be read is an error. `skip`: the result lists all such errors.
        used: the columns whose types matter if they aren't declared. None: all.
        text_marks: as in `TextOptions`.
        check_names: raises DataError if an option names a column that isn't among these.
    """

    file: CsvFile
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    nulls: tuple[str, ...] | None = None
    column_nulls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dates: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)
    decimal: str | None = None
    column_decimals: Mapping[str, str] = field(default_factory=dict)
    thousands: str | None = None
    drop: tuple[str, ...] = ()
    on_bad_row: Literal["error", "skip"] = "error"
    used: Collection[str] | None = None
    text_marks: tuple[str, ...] = ()
    check_names: Callable[[Collection[str]], None] | None = None

    def read(self) -> Columns:
        """Reads all columns. Their names are in the first line.

        Raises:
            DataError: the file is empty or no CSV file, or two columns have the same name.
            BadRowsError: a row has too few or too many fields, or a value doesn't have the declared type. The message
                names the line, the column and the value.
        """
        import pyarrow

        if not self.file.is_in_memory:
            for part in self.file.parts:
                check_format(part, follows=part is not self.file.parts[0])
            check_headers(self.file)
        try:
            everything = self._read_table()
        except BadRowsError as error:
            if self.on_bad_row == "error":
                raise
            return Columns({}, {}, {}, self.file.count_rows(), {}, {}, None, errors=(error,))
        pyarrow.default_memory_pool().release_unused()  # Arrow would keep as much again for its next file
        table, nameless = select_columns(everything, self.drop)
        if self.check_names is not None:
            dropped = [name for name in everything.column_names if name in self.drop]
            self.check_names([*table.column_names, *dropped])
        rows, columns = table.num_rows, deque(_named_columns(table))
        del everything, table  # so that the memory of each column is free once it is converted
        values: dict[str, Any] = dict.fromkeys(name for name, _ in columns)
        valid: dict[str, np.ndarray] = {}
        types: dict[str, ColumnType] = {}
        readings: dict[str, Reading] = {}
        problems: dict[str, Problem] = {}
        texts: dict[str, TextColumn] = {}
        errors: list[BadRowsError] = []
        freed = 0
        for column in self._correct_columns(columns):
            if freed >= LARGE_BYTES:
                pyarrow.default_memory_pool().release_unused()
                freed = 0
            name, array = column.name, column.values
            freed += array.nbytes
            reading = self._describe_times(name, array)
            if column.gaps:
                kind = "times" if self.types.get(name) == "timestamp" else "numbers"
                reading = (reading or Reading(kind))._replace(gaps=column.gaps)
            if column.is_text and name not in self.types and (code := find_rare_code(array)) is not None:
                row, reason = code
                example = f"{array[row].as_py()!r} ({self.file.locate(row)})"
                reading = Reading(f"text, since {example} {reason}", setting=Setting("for numbers", "types", "float"))
            if reading is not None:
                readings[name] = reading
            if pyarrow.types.is_string(array.type) and not column.is_text:
                texts[name] = self._make_text_column(name, array, column.dictionary)
            try:
                values[name], mask, types[name] = self._convert(name, array)
            except BadRowsError as error:
                errors.append(self._skip(error))
                del values[name]
                continue
            if mask is not None:
                valid[name] = mask
        evidence = [text.evidence for name, text in texts.items() if name not in self.column_decimals]
        if any(map(has_decimal_point, values.values())) or self._has_decimals(evidence, values):
            evidence.append(Evidence(decimal_point="0.5"))
        separators = decide_separators(evidence, self._decimal, self.thousands)
        is_mixed = bool(self.column_decimals) or len({each.kind for each in evidence} - {""}) > 1
        for name, text in texts.items():
            own_decimal = self.column_decimals.get(name)
            own_separators = decide_separators((), own_decimal, None) if own_decimal else separators
            try:
                result = text.read(own_separators, by_column=is_mixed)
                if result.bad_rows is not None and self._skips_in(name):
                    raise result.bad_rows
            except BadRowsError as error:
                errors.append(self._skip(error))
                del values[name]
                continue
            if result.reading is not None:
                readings[name] = result.reading
            if result.problem is not None:
                problems[name] = result.problem
            if result.values is not None:
                types[name] = result.kind
                values[name], mask = self._mask_nulls(name, result.values, result.valid)
                valid.pop(name, None)
                if not mask.all():
                    valid[name] = mask
        # Only if a number has a comma, other rows need to know what it means.
        is_inferred = (self.decimal or self.thousands) is None and any("," in "".join(found) for found in evidence)
        inferred = separators if is_inferred else None
        return Columns(values, valid, types, rows, readings, problems, inferred, nameless, errors=tuple(errors))

    def _skip(self, error: BadRowsError) -> BadRowsError:
        """Returns the error of rows that are to be skipped; otherwise raises it."""
        if self.on_bad_row == "error":
            raise error
        return error

    def _skips_in(self, name: str) -> bool:
        """Whether rows are skipped whose text in a column can't be read, although no type is declared."""
        return self.on_bad_row == "skip" and (self.used is None or name in self.used)

    def count_spellings(
        self, types: Mapping[str, ColumnType], records: np.ndarray | None = None
    ) -> dict[str, dict[str, int]]:
        """Counts the spellings of missing values, by column and spelling. Empty fields aren't counted.

        Args:
            types: the types of the columns.
            records: the positions in the file, from 0, of the rows that are counted. None: all rows.
        """
        if not types:  # Arrow would read all columns
            return {}
        import pyarrow

        table = self._parse(dict.fromkeys(types, pyarrow.string()), types, nulls=("",))
        counts: dict[str, dict[str, int]] = {}
        for name, column in _named_columns(table):
            texts, indices = read_dictionary(column)
            indices = indices if records is None else indices[records]
            rows = np.bincount(indices[indices >= 0], minlength=len(texts))
            nulls = self._nulls_of(name)
            if types[name] != "string":
                numbers, times = self._null_numbers(name), parse_plain_times(nulls)
                nulls += tuple(text for text in texts if parse_plain_number(text) in numbers)
                if types[name] == "timestamp" and len(times):
                    nulls += tuple(text for text in texts if np.isin(parse_plain_times([text]), times).any())
                nulls += tuple(filter(is_gap, texts)) if self._accepts_gaps else ()
            counts[name] = {
                text: int(count) for text, count in zip(texts, rows, strict=True) if count and text in nulls
            }
        return counts

    def count_gaps(self, name: str, gaps: Sequence[Gap], records: np.ndarray) -> tuple[Gap, ...]:
        """Counts the gaps of a column in some records, and leaves out those that don't occur there."""
        texts, indices = read_dictionary(self._parse_texts(name, ("",)))
        rows = {gap.text: records[indices[records] == texts.index(gap.text)] for gap in gaps}
        return tuple(make_gap(text, found, self.file.locate) for text, found in rows.items() if len(found))

    def _null_numbers(self, name: str) -> set[Decimal]:
        """The spellings of a missing value that are numbers. They stand for any spelling of the number."""
        return {number for text in self._nulls_of(name) if (number := parse_plain_number(text)) is not None}

    def _mask_nulls(self, name: str, values: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the values of a column and its mask, without the numbers and times that stand for a missing value."""
        if values.dtype.kind == "M":
            if not len(times := parse_plain_times(self._nulls_of(name))):
                return values, valid
            is_null = np.isin(values.astype("M8[us]"), times)
            return np.where(is_null, np.array("NaT", values.dtype), values), valid & ~is_null
        numbers = self._null_numbers(name) if values.dtype.kind in "if" else set()
        if not numbers:
            return values, valid
        if values.dtype.kind == "f":
            is_null = np.isin(values, np.array([float(number) for number in numbers]))
            return np.where(is_null, np.nan, values), valid & ~is_null
        whole = [int(number) for number in numbers if -(2**63) <= number < 2**63 and number == int(number)]
        is_null = np.isin(values, np.array(whole, np.int64))  # float64 can't tell 2^53 and 2^53 + 1 apart
        return np.where(is_null, 0, values), valid & ~is_null

    def read_class(self, name: str, text: str, columns: Columns) -> str:
        """The class that a text of a row that is skipped stands for, as `format_key` writes it; "": it is none.

        Args:
            name: the column of classes.
            text: the text.
            columns: the other rows. The text is read like those of their column.
        """
        kind = columns.types.get(name)
        if text in self._nulls_of(name):
            return ""
        if kind == "bool":
            value = BOOLEANS.get(text.strip().lower())
            return "" if value is None else format_key(bool(value))
        if kind in ("int", "float"):
            numbers = self._read_like(name, text, columns)
            is_null = parse_plain_number(text) in self._null_numbers(name)
            value = numbers.values[0].item()
            return (
                format_key(float(value) if kind == "float" else value) if numbers.is_number[0] and not is_null else ""
            )
        return text if kind == "string" else ""

    def _read_like(self, name: str, text: str, columns: Columns) -> Numbers:
        """Reads a text as a number of a column that has been read. The arguments are those of `read_class`."""
        if own_decimal := self.column_decimals.get(name):
            separators = decide_separators((), own_decimal, None)
        elif self.decimal or self.thousands:
            separators = decide_separators((), self.decimal, self.thousands)
        else:
            separators = columns.separators
        inferred = columns.readings[name].options.get("marks", "") if name in columns.readings else ""
        mark = self.marks.get(name, inferred)
        if not mark and name not in self.types:
            mark = " ".join(OPTIONAL_MARKS)
        return NumberTexts([text], np.ones(1)).read(separators or Separators(".", ","), mark)

    def list_spellings(self, name: str, records: np.ndarray) -> tuple[str, ...]:
        """The distinct spellings of a column's values in some records, as written in the file."""
        import pyarrow

        texts = self._parse_texts(name, ("",))
        return tuple(texts.take(pyarrow.array(records)).unique().to_pylist())

    # ----------------------------------------------------------------------------------------------------- the file

    def _read_table(self) -> pyarrow.Table:
        import pyarrow

        declared = {name: pyarrow.string() for name, kind in self.types.items() if kind == "string"}
        declared |= {name: pyarrow.string() for name, dates in self.dates.items() if "%" in dates}
        try:
            table = self._parse_table(declared)
            if not self.file.is_in_memory:
                check_delimiter(self.file, table.column_names)
                if self._scan.has_quotes:
                    check_quotes(self.file)
        except UnicodeDecodeError:
            raise_encoding_error(self.file)
        except pyarrow.ArrowInvalid:
            # Without threads, Arrow's error has the number of the row.
            try:
                table = self._parse(declared, threads=False)
            except pyarrow.ArrowInvalid as error:
                raise_read_error(self.file, str(error))
        counts = Counter(name for name in table.column_names if name.strip())  # several may have no name
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise DataError(f"{self.file} has two columns named `{repeated[0]}`; rename one")
        return table

    def _parse_table(self, declared: Mapping[str, Any]) -> pyarrow.Table:
        """Parses all columns. The types of those that aren't declared are inferred.

        While Arrow infers types, it keeps the text of the whole file. So a large file is parsed with the types of its
        first block, which are those of the file unless another block doesn't fit them.
        """
        import pyarrow

        if self._scan.size >= LARGE_BYTES:
            with suppress(pyarrow.ArrowInvalid):
                return self._parse({**self._infer_types(), **declared})
        return self._parse(declared)

    def _infer_types(self) -> dict[str, pyarrow.DataType]:
        """The Arrow types of the columns in the first block. Empty if names are repeated, and so name no column."""
        from pyarrow import csv

        def read_types(stream: pyarrow.NativeFile) -> dict[str, pyarrow.DataType]:
            try:
                with csv.open_csv(stream, *self._options({}, threads=False)) as reader:
                    types = {field.name: field.type for field in reader.schema}
                    return types if len(types) == len(reader.schema) else {}
            finally:
                del stream

        return read_by_arrow(self.file, read_types)

    def _parse(
        self,
        types: Mapping[str, Any],
        columns: Iterable[str] = (),
        *,
        nulls: tuple[str, ...] | None = None,
        threads: bool = True,
    ) -> pyarrow.Table:
        """Parses the file with Arrow.

        Args:
            types: the Arrow types of some columns. The types of the others are inferred.
            columns: the columns to read; by default all.
            nulls: the spellings of a missing value; by default those of the file.
            threads: whether to use threads.
        """
        from pyarrow import csv

        reading, parsing, converting = self._options(types, columns, nulls=nulls, threads=threads)
        read = partial(csv.read_csv, read_options=reading, parse_options=parsing, convert_options=converting)
        return read_by_arrow(self.file, read)

    def _options(
        self,
        types: Mapping[str, Any],
        columns: Iterable[str] = (),
        *,
        nulls: tuple[str, ...] | None = None,
        threads: bool = True,
    ) -> tuple[pyarrow.csv.ReadOptions, pyarrow.csv.ParseOptions, pyarrow.csv.ConvertOptions]:
        """The options of Arrow's reader. The arguments are those of `_parse`."""
        from pyarrow import csv

        return (
            csv.ReadOptions(use_threads=threads, block_size=BLOCK_BYTES),
            csv.ParseOptions(
                delimiter=self.file.field_delimiter,
                quote_char=self.file.quote or False,
                escape_char=self.file.escape or False,
                newlines_in_values=self._scan.has_quotes,
            ),
            csv.ConvertOptions(
                null_values=list(self._nulls_of("") if nulls is None else nulls),
                strings_can_be_null=True,
                column_types=types,
                include_columns=list(columns),
                decimal_point=self._decimal or ".",
            ),
        )

    @cached_property
    def _scan(self) -> _Scan:
        """Scans the bytes of the file; raises DataError for NUL bytes."""
        quote = (self.file.quote or "").encode()
        has_quotes = has_leading_zeros = has_hexadecimals = False
        previous = b"\n"
        size = 0
        with self.file.open() as opened:
            while chunk := opened.read(SCAN_BYTES):
                size += len(chunk)
                if b"\0" in chunk:
                    raise_nul_error(self.file)
                text = previous + chunk
                has_quotes = has_quotes or (bool(quote) and quote in chunk)
                has_leading_zeros = has_leading_zeros or has_leading_zero(
                    text, self.file.field_delimiter, self.file.quote
                )
                has_hexadecimals = has_hexadecimals or has_hexadecimal(text)
                previous = text[-2:]
        return _Scan(size, has_quotes, has_leading_zeros, has_hexadecimals)

    # --------------------------------------------------------------------------------------------------- the columns

    def _nulls_of(self, name: str) -> tuple[str, ...]:
        """The spellings of a missing value in a column."""
        return self.column_nulls.get(name, NULLS if self.nulls is None else self.nulls)

    @property
    def _decimal(self) -> str | None:
        """The decimal separator that is set, or follows from the separator of thousands."""
        return self.decimal or ("," if self.thousands == "." else None)

    @property
    def _accepts_gaps(self) -> bool:
        """Whether the usual spellings of a missing value are missing values among numbers and times."""
        return self.nulls is None

    def _correct_columns(self, columns: deque[tuple[str, pyarrow.ChunkedArray]]) -> Iterator[Column]:
        """Takes the columns of a table one by one. Those that Arrow inferred wrongly are parsed again."""
        import pyarrow

        types = pyarrow.types
        at_once = max(LARGE_BYTES * len(columns) // max(self._scan.size, 1), 1)  # columns whose texts may be in memory
        texts_of: dict[str, pyarrow.ChunkedArray] = {}

        def parse_texts(name: str) -> pyarrow.ChunkedArray:
            """Parses a column as texts, and those of the next columns that need it, as each time is a whole parse."""
            if name not in texts_of:
                others = (other for other, array in columns if self._may_need_texts(other, array))
                names = [name] if name in self.column_nulls else [name, *itertools.islice(others, at_once - 1)]
                parsed = self._parse(dict.fromkeys(names, pyarrow.string()), names, nulls=self._nulls_of(name))
                texts_of.update(_named_columns(parsed))
            return texts_of[name]

        while columns:
            name, array = columns.popleft()
            if types.is_binary(array.type):
                raise_encoding_error(self.file)
            if name in self.column_nulls:
                declared = {name: pyarrow.string()} if self._is_text(name) else {}
                array = self._parse(declared, [name], nulls=self.column_nulls[name]).column(name)
            if self._is_text(name):
                yield Column(name, array, is_text=self.types.get(name) == "string")
            # As texts, times of a day are read as seconds, and marks, zones and years are checked.
            elif (
                types.is_time(array.type)
                or name in {**self.marks, **self.column_decimals}
                or has_wrong_years(array)
                or self._has_wrong_zone(name, array)
            ):
                yield Column(name, self._parse_texts(name))
            elif self._may_be_codes(name, array):
                texts = parse_texts(name)
                if are_codes(texts):
                    yield Column(name, texts, is_text=name not in self.types)
                else:
                    yield Column(name, _read_whole(array, texts) if types.is_floating(array.type) else array)
            elif self._may_have_plus_signs(name, array):
                yield Column(name, _read_whole(array, parse_texts(name)))
            elif self._may_have_groups(name, array) and self._has_groups(name, parse_texts(name)):
                yield Column(name, parse_texts(name))
            elif types.is_string(array.type) and self._accepts_gaps:
                yield self._read_gaps(name, array)
            else:
                yield Column(name, array)
            texts_of.pop(name, None)

    def _may_need_texts(self, name: str, array: pyarrow.ChunkedArray) -> bool:
        """Whether numbers are checked by their texts, which have the usual missing values."""
        is_checked = self._may_be_codes(name, array) or self._may_have_plus_signs(name, array)
        return name not in self.column_nulls and (is_checked or self._may_have_groups(name, array))

    def _parse_texts(self, name: str, nulls: tuple[str, ...] | None = None) -> pyarrow.ChunkedArray:
        """Parses a column as texts. `nulls`: the spellings of a missing value; by default those of the column."""
        import pyarrow

        nulls = self._nulls_of(name) if nulls is None else nulls
        return self._parse({name: pyarrow.string()}, [name], nulls=nulls).column(name)

    def _is_text(self, name: str) -> bool:
        """Whether a column is declared as text, or as times in a format."""
        return self.types.get(name) == "string" or "%" in self.dates.get(name, "")

    def _has_wrong_zone(self, name: str, array: pyarrow.ChunkedArray) -> bool:
        """Whether times have a zone although `dates` says that they have none, or the reverse."""
        import pyarrow

        if not (pyarrow.types.is_timestamp(array.type) or pyarrow.types.is_date(array.type)):
            return False
        has_zone = pyarrow.types.is_timestamp(array.type) and array.type.tz is not None
        return self.dates.get(name) == (NO_ZONE if has_zone else ASSUME_UTC)

    def _describe_times(self, name: str, array: pyarrow.ChunkedArray) -> Reading | None:
        """How times are read that Arrow parsed, or numbers that are declared as times. None: `dates` says it."""
        import pyarrow

        types = pyarrow.types
        if name in self.dates:
            return None
        if types.is_timestamp(array.type) and array.type.tz is not None:
            return Reading("times, converted to UTC", {"dates": ASSUME_UTC})
        if types.is_timestamp(array.type) or types.is_date(array.type):
            return Reading("", {"dates": NO_ZONE})
        if self.types.get(name) == "timestamp" and (types.is_integer(array.type) or types.is_floating(array.type)):
            values, valid = self._read_values(name, array)
            numbers = np.asarray(values)[slice(None) if valid is None else valid]
            unit = find_epoch_unit(numbers)
            return None if unit is None else Reading(f"times, {describe_epoch_unit(unit)}", {"dates": unit})
        return None

    def _may_be_codes(self, name: str, array: pyarrow.ChunkedArray) -> bool:
        """Whether numbers may be codes, such as 00501, or hexadecimal numbers, which Arrow accepts."""
        import pyarrow

        if pyarrow.types.is_integer(array.type):
            return self._scan.has_hexadecimals or (self._scan.has_leading_zeros and name not in self.types)
        if not pyarrow.types.is_floating(array.type) or name in self.types:
            return False
        return (self._scan.has_hexadecimals or not self._starts_with_points(name)) and are_whole(array)

    def _may_have_plus_signs(self, name: str, array: pyarrow.ChunkedArray) -> bool:
        """Whether floats may be whole numbers with a plus sign, which float64 rounds if they are large."""
        import pyarrow

        is_allowed = self.types.get(name, "int") == "int" and pyarrow.types.is_floating(array.type)
        return is_allowed and not self._starts_with_points(name) and are_whole(array)

    def _may_have_groups(self, name: str, array: pyarrow.ChunkedArray) -> bool:
        """Whether numbers may be written with points that separate thousands, as their values tell."""
        if name in self.types or self._decimal is not None or not may_have_thousands(array):
            return False
        first_numbers = self._first_numbers(name)
        return not NumberTexts(first_numbers, np.ones(len(first_numbers))).evidence.decimal_point

    def _starts_with_points(self, name: str) -> bool:
        """Whether one of the first numbers of a column has a point. Then they aren't codes, nor whole with a sign."""
        return any("." in text for text in self._first_numbers(name))

    def _first_numbers(self, name: str) -> list[str]:
        """The numbers among a column's texts in the first rows. They often show that the others needn't be parsed."""
        nulls = self._nulls_of(name)
        return [text for text in self._first_texts.get(name, ()) if text not in nulls and is_plain_number(text)]

    @cached_property
    def _first_texts(self) -> Mapping[str, list[str]]:
        """The texts of each column in the first rows. Columns with the name of another one are left out."""
        with self.file.open_records() as records:
            names, *rows = itertools.islice(filter(None, records), FIRST_ROWS + 1)
        texts = {name: [row[number] for row in rows if number < len(row)] for number, name in enumerate(names)}
        return {name: texts[name] for name, count in Counter(names).items() if count == 1}

    def _has_groups(self, name: str, texts: pyarrow.ChunkedArray) -> bool:
        """Whether the points in a column of numbers may separate thousands."""
        return bool(self._make_text_column(name, texts).evidence.point)

    def _has_decimals(self, evidence: Sequence[Evidence], values: Mapping[str, Values]) -> bool:
        """Whether the texts of numbers that Arrow has read decide the meaning of a comma in another column.

        The values don't tell 10.5 from 10.500, whose point may separate thousands. Arrow reads a decimal point only.
        """
        if {each.kind for each in evidence} - {""} != {"comma"}:
            return False
        fractions = [name for name, each in values.items() if isinstance(each, np.ndarray) and each.dtype.kind == "f"]
        return any(self._make_text_column(name, self._parse_texts(name)).evidence.decimal_point for name in fractions)

    def _read_gaps(self, name: str, array: pyarrow.ChunkedArray) -> Column:
        """Parses a column of texts as numbers, if all but the usual spellings of a missing value are numbers."""
        import pyarrow

        texts, indices = read_dictionary(array)
        gaps = [number for number, text in enumerate(texts) if is_gap(text) and text.strip()]
        others = [text for text in texts[: SAMPLED_TEXTS + len(gaps)] if not is_gap(text)]
        if not gaps or not others or not all(map(is_plain_number, others)):
            return Column(name, array, dictionary=(texts, indices))
        nulls = (*self._nulls_of(name), *(texts[number] for number in gaps))
        parsed = self._parse({}, [name], nulls=nulls).column(name)
        if pyarrow.types.is_string(parsed.type):
            return Column(name, array, dictionary=(texts, indices))
        if self._may_have_groups(name, parsed) and self._has_groups(name, self._parse_texts(name)):
            return Column(name, array, dictionary=(texts, indices))
        if self._may_be_codes(name, parsed) and are_codes(pyarrow.array([text for text in texts if not is_gap(text)])):
            return Column(name, array, is_text=name not in self.types, dictionary=(texts, indices))
        if self._may_have_plus_signs(name, parsed):
            parsed = _read_whole(parsed, self._parse_texts(name, nulls))
        found = (make_gap(texts[number], np.flatnonzero(indices == number), self.file.locate) for number in gaps)
        return Column(name, parsed, gaps=tuple(found))

    def _make_text_column(
        self, name: str, array: pyarrow.ChunkedArray, dictionary: tuple[list[str], np.ndarray] | None = None
    ) -> TextColumn:
        texts, indices = read_dictionary(array) if dictionary is None else dictionary
        options = TextOptions(
            self.types.get(name),
            self.dates.get(name),
            self.marks.get(name),
            self._accepts_gaps,
            self.dates.get(""),
            self.text_marks,
        )
        return TextColumn(name, texts, indices, options, str(self.file), self.file.locate)

    def _convert(self, name: str, array: pyarrow.ChunkedArray) -> tuple[Values, np.ndarray | None, ColumnType]:
        """Returns the values of a column, its mask (None: no value is missing), and its type."""
        import pyarrow

        declared = self.types.get(name)
        if pyarrow.types.is_null(array.type):
            empty: dict[Any, Any] = {"timestamp": pyarrow.timestamp("us"), "string": pyarrow.string()}
            array = array.cast(empty.get(declared, pyarrow.float64()))
        values, valid = self._read_values(name, array)
        inferred = convert_type(array.type)
        if declared is None or declared == inferred or inferred == "string":
            return values, valid, inferred
        return self._convert_declared(name, np.asarray(values), valid, inferred, declared), valid, declared

    def _read_values(self, name: str, array: pyarrow.ChunkedArray) -> tuple[Values, np.ndarray | None]:
        """Returns the values of a column, and its mask (None: no value is missing)."""
        values, valid = convert_column(name, array)
        if not isinstance(values, np.ndarray):
            return values, valid
        if values.dtype.kind == "f" and self._accepts_gaps and np.isnan(values).any():  # such as -nan
            valid = ~np.isnan(values)
        values, mask = self._mask_nulls(name, values, np.ones(len(values), bool) if valid is None else valid)
        return values, None if mask.all() else mask

    def _convert_declared(
        self, name: str, values: np.ndarray, valid: np.ndarray | None, inferred: ColumnType, declared: ColumnType
    ) -> np.ndarray:
        """Converts values to the declared type; raises DataError for a value that doesn't have it."""
        present = np.ones(len(values), bool) if valid is None else valid
        if not present.any():
            nothing: dict[str, np.ndarray] = {
                "timestamp": np.array("NaT", "datetime64[us]"),
                "float": np.array(np.nan),
                "int": np.array(0),
                "bool": np.array(False),
            }
            return np.full(len(values), nothing[declared]) if declared in nothing else values
        if declared == "float" and inferred == "int":
            return np.where(present, values, np.nan).astype(np.float64)
        if declared == "timestamp" and inferred in ("int", "float"):
            return self._read_epoch(name, values, present)
        numbers = np.where(present, values, 0) if inferred in ("int", "float") else np.full(len(values), np.nan)
        if declared == "int":
            fits = is_whole(numbers)
        else:  # bool
            fits = (numbers == 0) | (numbers == 1)
        self._check_declared(name, values, present & ~fits, present, declared)
        return numbers.astype(np.int64 if declared == "int" else np.bool_)

    def _read_epoch(self, name: str, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Converts numbers to times."""
        dates = self.dates.get(name)
        unit = find_epoch_unit(values[present]) if dates is None else dates
        if unit is None or unit not in NUMBER_READINGS:
            self._check_declared(name, values, present, present, "timestamp")
        times = read_epoch(np.where(present, values, 0), str(unit))
        is_odd = np.isnat(times)
        if dates is None:  # numbers of another size have another unit
            is_odd |= ~have_epoch_unit(values, str(unit))
        self._check_declared(name, values, present & is_odd, present, "timestamp")
        return np.where(present, times, np.datetime64("NaT", "us"))

    def _check_declared(
        self, name: str, values: np.ndarray, is_odd: np.ndarray, present: np.ndarray, declared: ColumnType
    ) -> None:
        """Raises DataError if values don't have the declared type."""
        if not is_odd.any():
            return
        texts = self._parse_texts(name, ("",))  # float64 may be another number than is written
        first, needed = values[is_odd][0], f"of type {declared}"
        if declared == "int" and values.dtype.kind == "f" and MAX_EXACT < abs(first) < 2.0**63:
            needed += " (beyond 2^53, whole numbers must have no decimals)"
        raise make_type_error(
            name,
            needed,
            np.flatnonzero(is_odd),
            lambda row: texts[row].as_py(),
            locate=lambda row: f"{self.file}, {self.file.locate(row)}",
            total=int(present.sum()),
            table_rows=len(values),
            kind=declared,
        )


class _Scan(NamedTuple):
    size: int  # bytes, unpacked and as UTF-8
    has_quotes: bool
    has_leading_zeros: bool  # whether some fields seem to start with a 0 and another digit
    has_hexadecimals: bool  # whether 0x occurs


def _read_whole(numbers: pyarrow.ChunkedArray, texts: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Numbers as integers, if their texts are such; otherwise unchanged."""
    signed = read_signed(texts)
    return numbers if signed is None else signed


def _named_columns(table: pyarrow.Table) -> Iterator[tuple[str, pyarrow.ChunkedArray]]:
    yield from zip(table.column_names, table.columns, strict=True)
