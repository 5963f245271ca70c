"""The source for rows that a function of Python yields, whose number is unknown before they are counted."""

from __future__ import annotations

import copy
import hashlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, partial
from numbers import Integral, Real
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np

from components.arrow import MAX_YEARS
from components.closest import join_names
from components.columns import as_columns
from components.data.bad_rows import BadRows, check_remaining_classes, offer_skipping
from components.data.function_content import (
    UnknownContentError,
    describe_content,
    hash_source_file,
    list_held_values,
)
from components.data.skipping import SearchesBadRows
from components.data.table import BLOCK_BYTES, slice_rows
from components.ragged import concatenate, describe_values
from components.types import Block, DataError, Ragged, Range, Strings, Values, row_count
from components.user_function import describe_exception, name_function, unwrap_partial

BLOCK_ROWS = 1 << 12
MIN_NEXT_ROWS = 100  # that are read after a row that can't be read, to tell whether most rows can't
MAX_BAD_ROWS = 1000  # more of them before as many others are an error, because the function may never end
END = object()
KINDS: dict[str, tuple[type, ...]] = {  # a bool is an Integral too, so the order matters
    "bool": (bool, np.bool_),
    "int": (Integral,),
    "float": (Real,),
    "str": (str,),
    "bytes": (bytes,),
    "time": (date, np.datetime64),
}
CLASS_KINDS = ("bool", "int", "str")
DTYPES = {"bool": "?", "int": "i8", "float": "f8", "time": "M8[us]"}
MISSING: dict[str, Any] = {"bool": False, "int": 0, "float": np.nan, "time": np.datetime64("NaT", "us")}
ALLOWED = (
    "Allowed are bool, int, float, str, bytes (of a file, such as an image), dates and times without a zone, arrays of "
    "numbers without a mask, and None for a missing value."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Generator(SearchesBadRows):
    """Rows that a generator function yields, in memory only block by block.

    The function is called for each pass over the rows, and must yield the same rows each time. A first pass counts
    them. The count is kept in the cache.

    Attributes:
        function: the function, by its dotted name, or with its arguments, such as
            `{_target_: my_module.rows, folder: a}`. It has a `yield`.
        yields: `rows`: it yields mappings of one row, by column; or `blocks`: mappings of columns with any number of
            rows each, as `Arrays` takes.
        limit: the maximum number of rows, without those that are skipped. None: all; the function must come to an end.
        version: a text or a number that identifies the rows, such as the date of the data, in place of the source file
            of the function and of what it holds. None: the rows change when that file, an argument, or a value changes
            that the function holds in its closure, its defaults, its attributes, or its object or class. What else the
            function reads isn't known.
        valid: the rows of the validation split: a share in (0, 1) or a count. None: a share of 0.15.
        test: the rows of the test split, likewise.
    """

    function: Callable[..., Iterable[Mapping[str, Any]]]
    yields: Literal["rows", "blocks"] = "rows"
    limit: Annotated[int, Range(1)] | None = None
    version: str | int | None = None
    valid: Annotated[float, Range(0, bounds="()")] | None = None
    test: Annotated[float, Range(0, bounds="()")] | None = None

    def __post_init__(self) -> None:
        if self.yields == "blocks" and self.on_bad_row == "skip":
            raise DataError(
                "`on_bad_row` (=skip) needs `yields=rows`: in a block, the rows aren't checked one by one. Leave bad "
                "rows out in the function, or yield single rows"
            )

    def fingerprint(self) -> str:
        content = f"{self._name} {self._arguments} {self.yields} {self.limit} {self.version or self._describe_code()}"
        return f"{hashlib.blake2b(content.encode(), digest_size=16).hexdigest()}, {self.describe_splits()}"

    def sizes(self) -> Mapping[str, int]:
        """The number of rows. The first call counts them."""
        return self._sizes

    def with_sizes(self, sizes: Mapping[str, int]) -> Self:
        """The same source, with a number of rows that was counted before."""
        source = copy.copy(self)
        source.__dict__["_sizes"] = dict(sizes)
        return source

    def blocks(self, part: str) -> Iterator[Block]:
        """Yields the rows in consecutive blocks. Raises DataError if there are more or fewer than in the first pass."""
        rows = 0
        for block in self._read_blocks():
            yield block
            rows += row_count(next(iter(block.columns.values())))
        if rows != self._sizes[part]:
            raise DataError(
                f"{self._name} yielded {rows:,} rows, and {self._sizes[part]:,} before. {self.changed_rows_remedy}"
            )

    @property
    def changed_rows_remedy(self) -> str:
        return (
            "The same rows must come each time: draw random numbers from a fixed seed, as by np.random.default_rng(0) "
            "within the function. If the data has changed, set `version` to another text"
        )

    def key_columns(self) -> Iterator[tuple[Mapping[str, Values], Mapping[str, np.ndarray]]]:
        yield self._key_columns

    def locate_row(self, row: int) -> str:
        return self._describe_row(int(self.bad_rows.number(np.array([row]))[0]))

    def _describe_row(self, number: int) -> str:
        """The location of a row by its number among all that the function yields."""
        return f"row {number} of {self._name}"

    def _describe_block(self, first: int) -> str:
        """The location of a block by the number of its first row."""
        return f"the block from {self._describe_row(first)}"

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        return {"all": self._counted[0]}

    @cached_property
    def bad_rows(self) -> BadRows:
        """The rows that are skipped."""
        return self._counted[1] if self.on_bad_row == "skip" else BadRows()

    @cached_property
    def _counted(self) -> tuple[int, BadRows]:
        """The number of rows, and the rows that are skipped, from a pass over all rows."""
        faults, total = _Faults({}, {name: {} for name in self.class_separators}), 0
        remaining = {name: set[str]() for name in self.class_separators}
        for block in self._read_blocks(faults):
            total += row_count(next(iter(block.columns.values())))
            for name in remaining:
                remaining[name] |= self.find_classes(name, _list_values(block, name))
        bad_rows = faults.list_rows()
        bad_rows.check(total + len(bad_rows), self._name)
        if not total:
            raise DataError(f"{self._name} yielded no row")
        for name, values in faults.classes.items():
            skipped = {number: self.find_classes(name, [value]) for number, value in values.items()}
            check_remaining_classes(skipped, remaining[name], self._name, faults.messages.__getitem__)
        return total, bad_rows

    def find_bad_rows(self) -> Mapping[str, Any]:
        return {**super().find_bad_rows(), "sizes": dict(self._sizes)}

    def with_bad_rows(self, found: Mapping[str, Any]) -> Self:
        return super().with_bad_rows(found).with_sizes(found["sizes"])

    @cached_property
    def _key_columns(self) -> tuple[Mapping[str, Values], Mapping[str, np.ndarray]]:
        """The columns that decide about splits, read in one pass. Others are empty."""
        options = (self.stratify, self.split_column, self.split_hash, self.split_by, self.group, self.class_column)
        values: dict[str, Any] = {}
        masks: dict[str, list[np.ndarray]] = {}
        for block in self._read_blocks():
            for name, column in block.columns.items():
                pieces, valid = values.setdefault(name, []), masks.setdefault(name, [])
                if name in options:
                    pieces.append(column)
                    valid.append(block.valid.get(name, np.ones(row_count(column), bool)))
        joined = {name: concatenate(pieces or [np.empty(0)]) for name, pieces in values.items()}
        return joined, {name: np.concatenate(pieces) for name, pieces in masks.items() if pieces}

    def _read_blocks(self, faults: _Faults | None = None) -> Iterator[Block]:
        """Yields the rows in blocks. `faults` gets the rows that are skipped."""
        rows = self._read_rows()
        if self.yields == "blocks":
            return self._check_blocks(rows)
        return self._join_rows(rows, _Faults({}, {}) if faults is None else faults)

    def _read_rows(self) -> Iterator[tuple[int, Any]]:
        """Yields what the function yields, with the number of rows before it."""
        count = 0
        with self._errors_in_row(count):
            yielded = self.function()
        if not isinstance(yielded, Iterable):
            raise DataError(f"{self._name} returned {_describe(yielded)}. It must yield {self.yields}")
        iterator = iter(yielded)
        while self.yields == "rows" or self.limit is None or count < self.limit:
            with self._errors_in_row(count):
                found: Any = next(iterator, END)
            if found is END:
                return
            if self.yields == "blocks":
                self._check_mapping(count, found)
            yield count, found
            count += 1 if self.yields == "rows" else row_count(next(iter(found.values())))

    def _check_mapping(self, number: int, found: Any) -> None:
        """Raises DataError unless the function yielded a mapping of columns."""
        if not isinstance(found, Mapping) or not found:
            needed = 'A mapping is needed, such as {"x": 1.5, "y": 0}'
            raise DataError(f"{self._describe_row(number)} is {_describe(found)}. {needed}")

    def _select_good(
        self, rows: Iterator[tuple[int, Any]], kinds: dict[str, str], faults: _Faults
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yields the rows that can be read, up to `limit`, and adds their types to `kinds`, and others to `faults`.

        Raises DataError for a row that can't be read and isn't to be skipped, and if there are too many.
        """
        count, size = 0, 0
        waiting: list[tuple[int, Mapping[str, Any]]] = []  # until the type of each column is known
        while True:
            is_full = self.limit is not None and count + len(waiting) >= self.limit
            numbered = None if is_full else next(rows, None)
            if numbered is not None:
                number, row = numbered
                try:
                    self._check_mapping(number, row)
                    found = self._check_row(number, row, kinds)
                except DataError as error:
                    if self.on_bad_row == "error":
                        bad, others = self._count_next(rows, kinds, min(max(count, MIN_NEXT_ROWS), MAX_BAD_ROWS))
                        offer = offer_skipping(bad + 1, count + bad + others + 1)
                        raise DataError(error.fault, *error.remedies, *offer) from None
                    self._add_fault(faults, number, row, kinds, str(error), count)
                    continue
                kinds.update(found)
                # Functions may yield the same array again, with other numbers.
                copied = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in row.items()}
                waiting.append((number, copied))
                if "" in kinds.values():
                    size += _count_bytes(row)
                    if len(waiting) < BLOCK_ROWS and size < BLOCK_BYTES:
                        continue
            for number, row in waiting:
                try:
                    if len(waiting) > 1 and self.on_bad_row == "skip":
                        self._check_values(number, row, kinds)  # the types weren't known before
                except DataError as error:
                    self._add_fault(faults, number, row, kinds, str(error), count)
                    continue
                count += 1
                yield number, row
            waiting, size = [], 0
            if (numbered is None and not is_full) or (self.limit is not None and count >= self.limit):
                return

    def _add_fault(
        self, faults: _Faults, number: int, row: object, kinds: Mapping[str, str], message: str, count: int
    ) -> None:
        """Adds a row that is skipped. Raises DataError if there are too many beside `count` others."""
        faults.messages[number] = message
        if len(faults.messages) > max(count, MAX_BAD_ROWS):
            faults.list_rows().check(number + 1, self._name)
        for name, values in faults.classes.items():
            value = row.get(name) if isinstance(row, Mapping) else None
            kind = _find_kind(value)
            if kind in CLASS_KINDS and kind == (kinds.get(name) or kind):
                values[number] = _as_python(value)

    def _count_next(self, rows: Iterator[tuple[int, Any]], kinds: dict[str, str], maximum: int) -> tuple[int, int]:
        """How many of the next rows can't be read, and how many can: whether a fault is one of single rows."""
        bad = others = 0
        with suppress(DataError):  # of the function itself
            for number, row in itertools.islice(rows, maximum):
                try:
                    self._check_mapping(number, row)
                    kinds.update(self._check_row(number, row, kinds))
                    others += 1
                except DataError:
                    bad += 1
        return bad, others

    @contextmanager
    def _errors_in_row(self, row: int) -> Iterator[None]:
        """Turns an error of the user's function into a DataError that names the row and the line of code."""
        try:
            yield
        except Exception as error:
            raised = describe_exception(error, self.function)
            raise DataError(f"{self._describe_row(row)} raised {raised}") from error

    def _join_rows(self, rows: Iterator[tuple[int, Any]], faults: _Faults) -> Iterator[Block]:
        kinds: dict[str, str] = {}
        first_row = 0
        for batch in _batch_rows(self._select_good(rows, kinds, faults)):
            numbers = [number for number, _ in batch]
            columns: dict[str, Values] = {}
            masks: dict[str, np.ndarray] = {}
            for name, kind in kinds.items():
                values = [row[name] for _, row in batch]
                columns[name], mask = self._convert_values(name, kind, values, numbers)
                masks |= {} if mask is None else {name: mask}
            files = frozenset(name for name, kind in kinds.items() if kind == "bytes")
            yield _RowBlock(
                columns, masks, self._name, first_row, files=files, numbers=numbers, describe=self._describe_row
            )
            first_row += len(batch)

    def _check_row(self, number: int, row: Mapping[str, Any], before_row: Mapping[str, str]) -> dict[str, str]:
        """The types of the columns. Raises DataError if a row has other columns or types than those before it."""
        kinds = dict(before_row)
        if kinds and row.keys() != kinds.keys():
            raise DataError(
                f"{self._describe_row(number)} has the columns {join_names(row)}, those before it {join_names(kinds)}. "
                "All rows must have the same columns; None is a missing value"
            )
        for name, value in row.items():
            if not isinstance(name, str):
                raise DataError(f"{self._describe_row(number)} has the column {name!r}. Names of columns are texts")
            kind, before = _find_kind(value), kinds.get(name, "")
            if kind is None:
                raise DataError(f"{self._describe_row(number)}: `{name}` is {_describe(value)}. {ALLOWED}")
            if not before or not kind:
                kinds[name] = before or kind
            elif kind != before and (kind, before) != ("int", "float"):
                remedy = f"convert it by {before}()" if before in ("str", "int", "float") else "convert it"
                if (kind, before) == ("float", "int"):
                    remedy = "convert all of them by float()"
                raise DataError(
                    f"{self._describe_row(number)}: `{name}` is {_describe(value)}, of the type {kind}, and of the "
                    f"type {before} in the rows before it; {remedy}"
                )
        if self.on_bad_row == "skip":  # otherwise found when the columns are made
            self._check_values(number, row, kinds)
        return kinds

    def _check_values(self, number: int, row: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
        for name, value in row.items():
            self._check_value(number, name, kinds[name], value)

    def _convert_values(
        self, name: str, kind: str, values: list[Any], numbers: Sequence[int]
    ) -> tuple[Values, np.ndarray | None]:
        """The values of a column in a batch, and its mask. None: no value is missing."""
        is_missing = np.array([value is None for value in values], bool)
        mask = None if not is_missing.any() else ~is_missing
        if not kind:
            raise DataError(
                f"{self._name} yielded only None as `{name}` in the first {len(values):,} rows, so its type isn't "
                "known. Yield a row with a value first, or leave the column out"
            )
        if kind in ("str", "bytes"):
            try:
                texts = [b"" if value is None else value.encode() if kind == "str" else value for value in values]
            except UnicodeEncodeError:  # found again for the row
                for number, value in zip(numbers, values, strict=True):
                    self._check_value(number, name, kind, value)
                raise
            return Strings.from_bytes(texts), mask
        if kind not in DTYPES:
            example = next((value for value in values if value is not None), None)
            if example is None or mask is not None:
                row = self._describe_row(numbers[int(is_missing.argmax())])
                raise DataError(f"{row}: `{name}` is None, which an array can't be")
            return np.stack(values), None
        filled = [MISSING[kind] if value is None else value for value in values]
        for number, value in zip(numbers, values, strict=True) if kind == "time" else ():
            if type(value) not in (datetime, date):  # NumPy would convert a large one, or nanoseconds, without an error
                self._check_value(number, name, kind, value)
        try:
            return np.array(filled, DTYPES[kind]), mask
        except (OverflowError, ValueError, TypeError):  # found again for the row
            for number, value in zip(numbers, filled, strict=True):
                self._check_value(number, name, kind, value)
            raise

    def _check_value(self, number: int, name: str, kind: str, value: Any) -> None:
        """Raises DataError for a value that a column of its kind can't hold."""
        if kind == "str" and value is not None:
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{self._describe_row(number)}: `{name}` is {_describe(value)}, which isn't Unicode: it has a lone "
                    f"surrogate at character {error.start}; decode the text again, or remove it"
                ) from None
        if kind not in DTYPES:
            if value is None and kind not in ("", "str", "bytes"):
                raise DataError(f"{self._describe_row(number)}: `{name}` is None, which an array can't be")
            return
        if kind == "time" and _has_nanoseconds(value):
            raise DataError(
                f"{self._describe_row(number)}: `{name}` is {_describe(value)}, whose nanoseconds would be lost; round "
                "it to microseconds"
            )
        try:
            is_time = isinstance(value, np.datetime64) and not np.isnat(value)
            if is_time and abs(value.astype("M8[Y]").astype(int)) > MAX_YEARS:
                raise OverflowError
            known = MISSING[kind] if value is None else value
            np.array(int(known) if kind == "int" else known, DTYPES[kind])  # NumPy would wrap a large np.uint64
        except (OverflowError, ValueError, TypeError):
            raise DataError(
                f"{self._describe_row(number)}: `{name}` is {_describe(value)}, which 64 bits can't hold; yield a "
                "float or a text"
            ) from None

    def _check_blocks(self, blocks: Iterator[tuple[int, Mapping[str, Any]]]) -> Iterator[Block]:
        layouts: dict[str, str] = {}
        for first, block in blocks:
            location = self._describe_block(first)
            try:
                columns = as_columns(block, "the columns")
            except DataError as error:
                raise DataError(f"{location}: {error}. For single rows, set `yields=rows`") from error
            rows = row_count(next(iter(columns.values.values())))
            stop = rows if self.limit is None else min(rows, self.limit - first)
            found = {name: _describe_layout(values) for name, values in columns.values.items()}
            if layouts and found != layouts:
                name = next(name for name in {**found, **layouts} if found.get(name) != layouts.get(name))
                raise DataError(
                    f"{location} has `{name}` as {found.get(name, 'no column')}, and the "
                    f"first block as {layouts.get(name, 'no column')}. All blocks must have the same columns and types"
                )
            layouts = found
            values = {name: slice_rows(column, 0, stop) for name, column in columns.values.items()}
            yield Block(values, {name: mask[:stop] for name, mask in columns.valid.items()}, self._name, first)

    @cached_property
    def _name(self) -> str:
        return name_function(self.function)

    @property
    def _arguments(self) -> str:
        """The content of the arguments. With a `version`, that of unknown objects is left out."""
        if not isinstance(self.function, partial):
            return ""
        positional = [(f"argument {number}", value) for number, value in enumerate(self.function.args, 1)]
        named = [(f"the argument `{name}`", value) for name, value in sorted(self.function.keywords.items())]
        return ", ".join(f"{what} {self._describe_content(what, value)}" for what, value in positional + named)

    def _describe_content(self, what: str, value: Any) -> str:
        """A text that changes with the content of a value. Raises DataError if there is none, and no `version`."""
        try:
            return describe_content(value)
        except UnknownContentError as error:
            if self.version is not None:
                return type(value).__qualname__
            part = "is" if error.value is value else "has"
            raise DataError(
                f"{what} of {self._name} {part} {_describe(error.value)}, whose content isn't compared. Set `version` "
                "to a text that identifies the rows"
            ) from None

    def _describe_code(self) -> str:
        """A text that changes with the source files of the function, and with what it holds."""
        function = unwrap_partial(self.function)
        sources = {hash_source_file(inspect.unwrap(function)), hash_source_file(function)} - {None}
        if not sources:
            raise DataError(f"{self._name} has no source file. Set `version` to a text that identifies its rows")
        held = [f"{what} {self._describe_content(what, value)}" for what, value in list_held_values(function)]
        return f"{sorted(map(str, sources))} {held}"


class _Faults(NamedTuple):
    """The rows that are skipped.

    Attributes:
        messages: what is wrong with each of them, by its number.
        classes: their values in the columns of classes, where they are known, by column and number.
    """

    messages: dict[int, str]
    classes: dict[str, dict[int, Any]]

    def list_rows(self) -> BadRows:
        return BadRows().add(np.array([*self.messages], np.int64), self.messages.__getitem__)


@dataclass(frozen=True, kw_only=True)
class _RowBlock(Block):
    """A block of rows that aren't always consecutive, as others are skipped.

    Attributes:
        numbers: the number of each row among all that the function yields.
        describe: describes the location of a row by this number.
    """

    numbers: Sequence[int]
    describe: Callable[[int], str]

    def locate(self, row: int) -> str:
        return self.describe(self.numbers[row])


def _batch_rows(rows: Iterator[tuple[int, Mapping[str, Any]]]) -> Iterator[list[tuple[int, Mapping[str, Any]]]]:
    batch: list[tuple[int, Mapping[str, Any]]] = []
    size = 0
    for number, row in rows:
        batch.append((number, row))
        size += _count_bytes(row)
        if len(batch) == BLOCK_ROWS or size >= BLOCK_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _count_bytes(row: Mapping[str, Any]) -> int:
    """About the bytes of a row's texts and arrays."""
    return sum(getattr(value, "nbytes", 0) or len(value) for value in row.values() if hasattr(value, "__len__"))


def _find_kind(value: Any) -> str | None:
    """The kind of a value of a row; "" for None; None: it isn't allowed."""
    if value is None:
        return ""
    if type(value).__name__ in ("NAType", "NaTType") or isinstance(value, np.timedelta64) or np.ma.is_masked(value):
        return None
    if isinstance(value, np.ndarray) and value.ndim:
        return f"array {value.dtype} {value.shape}" if value.dtype.kind in "biuf" else None
    if getattr(value, "tzinfo", None) is not None:  # NumPy would convert it to UTC
        return None
    return next((kind for kind, types in KINDS.items() if isinstance(value, types)), None)


def _as_python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _list_values(block: Block, name: str) -> list[Any]:
    """The different values of a column of numbers or texts; none if it is another one."""
    values = block.columns.get(name)
    valid = block.valid.get(name, np.True_)
    if isinstance(values, Strings):
        texts = np.array(values.tolist(), object)
        return [*set(texts[np.broadcast_to(valid, len(texts))].tolist())]
    if not isinstance(values, np.ndarray) or values.ndim > 1:
        return []
    return np.unique(values[np.broadcast_to(valid, len(values))]).tolist()


def _has_nanoseconds(value: Any) -> bool:
    """Whether a time, such as one of NumPy or pandas, is no whole number of microseconds."""
    if isinstance(value, np.datetime64):
        is_fine = np.datetime_data(value.dtype)[0] in ("ns", "ps", "fs", "as")
        return bool(is_fine and not np.isnat(value) and value.astype("M8[us]") != value)
    return bool(getattr(value, "nanosecond", 0))


def _describe(value: object) -> str:
    text = " ".join(repr(value).splitlines())
    return f"{text if len(text) <= 60 else f'{text[:59]}…'} ({type(value).__name__})"


def _describe_layout(values: Values) -> str:
    if isinstance(values, Ragged):
        return "lists"  # an empty list doesn't show its values
    if isinstance(values, Strings) or values.dtype.kind == "U":
        return describe_values(values)
    return f"{describe_values(values)} ({values.dtype})"
