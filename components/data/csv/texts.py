"""Reads a column of texts as numbers, times or booleans."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from components.data.bad_rows import BadRowsError
from components.data.csv.epoch import (
    NUMBER_READINGS,
    describe_epoch_unit,
    find_epoch_unit,
    have_epoch_unit,
    read_epoch,
)
from components.data.csv.errors import (
    AS_TEXT,
    SKIP_ROWS,
    make_problem_error,
    make_type_error,
)
from components.data.csv.numbers import (
    HOURS_MINUTES,
    MINUTES_SECONDS,
    NOTATIONS,
    OPTIONAL_MARKS,
    Evidence,
    Numbers,
    NumberTexts,
    Separators,
    find_mark,
    remove_separators,
)
from components.data.csv.times import ASSUME_UTC, NO_ZONE, ORDERS, Times, TimeTexts
from components.data.csv.zones import describe_assumed_zone, find_zone_problem
from components.data.profile import is_whole, sample_evenly
from components.types import ColumnType, Gap, Problem, Reading, Setting

MIN_SHARE = 0.75  # of the rows with a value; if fewer are numbers or times, the column holds texts
SAMPLED_TEXTS = 500  # how many texts decide whether the others are looked at
MAX_NULL_TEXTS = 3  # up to so many distinct texts may stand for missing values
MAX_MARKS = 5  # of a column in a message
PLAIN_READINGS = ("numbers", "times", "booleans")  # there is nothing to say about them
BOOLEANS = {"true": 1, "yes": 1, "y": 1, "t": 1, "1": 1, "false": 0, "no": 0, "n": 0, "f": 0, "0": 0}
INFERRED_BOOLEANS = ("true", "false")  # the others may be categories
# Spellings of a missing value in a column of numbers or times, where they can't be values.
GAP = re.compile(
    r"|[-+]?nan(?:\(\w*\))?|-?1\.#(?:qnan|ind)|nat|<?n[./]?a\.?>?|#n/?a(?: n/a)?|[(<]?null[)>]?|nil|<?none>?|\\n"
    r"|[-\u2013\u2014]+|\.+|\u2026|\?+|unk\.?|unknown|missing|undefined|empty|no ?data|no value"
    r"|not (?:available|applicable)|tb[ad]|#(?:value|ref|num|null)!|#div/0!|#name\?",
    re.IGNORECASE,
)


def is_gap(text: str) -> bool:
    """Whether a text usually stands for a missing number or time."""
    return GAP.fullmatch(text.strip()) is not None


def make_gap(text: str, rows: np.ndarray, locate: Callable[[int], str]) -> Gap:
    """Makes the gap of a text that occurs in some rows."""
    return Gap(text, len(rows), locate(int(rows[0])))


class TextResult(NamedTuple):
    """What a column of texts was read as.

    Attributes:
        values: (rows,): numbers, times or booleans. A missing value is 0, NaN, NaT or False. None: the column is text.
        valid: (rows,), bool: False where a value is missing.
        kind: the type.
        reading: how the texts were read, or why they weren't. None: there is nothing to say about it.
        problem: what the user must decide. None: nothing.
        bad_rows: the problem as an error, if it is one of a few rows. None: it is none, or of the whole column.
    """

    values: np.ndarray | None = None
    valid: np.ndarray = np.zeros(0, bool)
    kind: ColumnType = "string"
    reading: Reading | None = None
    problem: Problem | None = None
    bad_rows: BadRowsError | None = None


class TextOptions(NamedTuple):
    """The options of a column of texts.

    Attributes:
        kind: the type that the user declared. None: it is inferred.
        dates: how times are read: one of `times.READINGS`, or a format of strptime for a declared column of times.
            None: as the texts show.
        mark: the mark of the numbers, such as a unit. None: the most frequent one.
        accept_gaps: whether the usual spellings of a missing value are missing values among numbers and times.
        file_dates: how times are read in all columns, one of `times.FILE_READINGS`, where `dates` tells nothing else.
        text_marks: marks of texts that aren't numbers, such as `.png`. They count if no type is declared.
    """

    kind: ColumnType | None = None
    dates: str | None = None
    mark: str | None = None
    accept_gaps: bool = True
    file_dates: str | None = None
    text_marks: tuple[str, ...] = ()

    def find_dates(self, allowed: Collection[str]) -> str | None:
        """Which of some ways to read times is set, for the column or else for all columns."""
        return next((dates for dates in (self.dates, self.file_dates) if dates in allowed), None)


@dataclass(frozen=True, eq=False)
class TextColumn:
    """A column of texts that may be numbers, times or booleans.

    Attributes:
        name: the column's name.
        texts: the distinct texts.
        indices: (rows,): the text of each row; -1 where a value is missing.
        options: how the texts are to be read.
        origin: the name of the table for messages.
        locate: describes the location of a row in it, such as `line 5`.
    """

    name: str
    texts: Sequence[str]
    indices: np.ndarray
    options: TextOptions
    origin: str
    locate: Callable[[int], str]

    @cached_property
    def evidence(self) -> Evidence:
        """What the numbers show about commas and points. Nothing, if the column doesn't look like numbers."""
        return self._numbers.evidence if self._looks_like_numbers else Evidence()

    def read(self, separators: Separators | None, *, by_column: bool = False) -> TextResult:
        """Reads the texts.

        Args:
            separators: the meaning of comma and point in the numbers. None: it isn't clear.
            by_column: whether each column needs a decimal separator of its own, since they differ.

        Raises:
            DataError: a text doesn't have the declared type.
        """
        if self.options.kind == "bool":
            return self._read_booleans()
        if self.options.kind == "timestamp":
            return self._finish_times(self._parse_times(separators))
        if self.options.kind is None:
            if self._are_booleans:
                return self._read_booleans()
            if not self._looks_like_times and not self._looks_like_numbers:
                return TextResult()
            times = self._parse_times(separators)
            likely = times.has_form if times.order_problem else times.is_time
            if self._share(likely) >= MIN_SHARE:
                return self._finish_times(times)
            if self._share(likely) >= 0.5:
                return self._leave_as_text(likely, "time")
        return self._read_numbers(separators, by_column=by_column)

    # -------------------------------------------------------------------------------------------------- the texts

    @cached_property
    def _is_gap(self) -> np.ndarray:
        """(texts,), bool: the texts that stand for a missing value."""
        return np.array([not text.strip() or (self.options.accept_gaps and is_gap(text)) for text in self.texts], bool)

    @cached_property
    def _rows(self) -> np.ndarray:
        """(texts,): the number of rows of each text; 0 for gaps."""
        rows = np.bincount(self.indices[self.indices >= 0], minlength=len(self.texts))
        return np.where(self._is_gap, 0, rows)

    @cached_property
    def _numbers(self) -> NumberTexts:
        return NumberTexts(self.texts, self._rows)

    @cached_property
    def _looks_like_numbers(self) -> bool:
        """Whether half of the sampled texts have a number, and none of the numbers is a code."""
        sample = self._sample()
        numbers = NumberTexts(sample, np.ones(len(sample)))
        is_likely = self.options.kind is not None or 2 * numbers.is_parsed.sum() >= len(sample) > 0
        return bool(is_likely) and not (self.options.kind is None and (self._numbers.are_codes or self._are_names))

    @property
    def _are_names(self) -> bool:
        """Whether most numbers have one of `text_marks`, as the names of files have."""
        marks = self.options.text_marks
        return bool(marks) and f".{self._numbers.mark.lower().lstrip('.')}" in marks

    @cached_property
    def _looks_like_times(self) -> bool:
        """Whether half of the sampled texts are times."""
        sample = self._sample()
        return 2 * TimeTexts(sample, np.ones(len(sample))).read().is_time.sum() >= len(sample) > 0

    @cached_property
    def _are_booleans(self) -> bool:
        """Whether most rows are true or false. Then there are few distinct texts."""
        if len(self.texts) > SAMPLED_TEXTS:
            return False
        are_booleans = np.array([text.strip().lower() in INFERRED_BOOLEANS for text in self.texts], bool)
        return self._share(are_booleans) >= MIN_SHARE

    def _sample(self) -> list[str]:
        """Texts from all parts of the column: the first ones may be of another kind than the others."""
        return [
            self.texts[number]
            for number in sample_evenly(len(self.texts), SAMPLED_TEXTS)
            if not is_gap(self.texts[number])
        ]

    def _share(self, are_in: np.ndarray) -> float:
        """The share of the rows with a value whose texts are in a subset, (texts,), bool."""
        return float(self._rows[are_in].sum() / max(self._rows.sum(), 1))

    # ------------------------------------------------------------------------------------------------------ numbers

    def _read_numbers(self, separators: Separators | None, *, by_column: bool) -> TextResult:
        is_declared = self.options.kind is not None
        mark = "" if is_declared and self.options.mark is None else self.options.mark
        numbers = self._numbers.read(separators or Separators(), mark)
        if not is_declared and self._share(self._numbers.is_parsed) < MIN_SHARE:
            return (
                self._leave_as_text(numbers.is_number, "number")
                if self._share(numbers.is_number) >= 0.5
                else TextResult()
            )
        problem = self._find_clock_problem(numbers.unclear_clock) or self._find_separator_problem(
            separators, by_column=by_column
        )
        if problem is None and not is_declared and self._share(numbers.is_number) < MIN_SHARE:
            if not numbers.other_marks:  # such as versions and addresses, 1.2.3
                return TextResult()
            marks = {numbers.mark: int(self._rows[numbers.is_number].sum()), **numbers.other_marks}
            counts = ", ".join(
                f"{f'`{mark}`' if mark else 'none'} ({rows:,})" for mark, rows in list(marks.items())[:MAX_MARKS]
            )
            return TextResult(reading=Reading(f"text, since its numbers have different marks: {counts}"))
        self._raise_if_declared(problem)
        if problem is None:
            self._check_declared(numbers.is_number)
            needed = f"number with `{numbers.mark}`" if numbers.mark and numbers.mark not in NOTATIONS else "number"
            if (odd := self._find_odd(numbers.is_number, needed)) is not None:
                return odd
        values = numbers.values
        are_whole = values.dtype.kind == "i"
        if self.options.kind == "int" and not are_whole:
            self._check_declared(numbers.is_number & is_whole(values))
        kind: ColumnType = self.options.kind or ("int" if are_whole else "float")
        options = {"marks": numbers.mark} if numbers.mark and self.options.mark is None else {}
        reading = Reading(", ".join(("numbers", *numbers.descriptions)), options, unusual=numbers.unmarked)
        return self._make_result(values, numbers.is_number, kind, reading, problem)

    def _find_clock_problem(self, unclear_clock: str) -> Problem | None:
        """The problem if texts such as 45:30 may be hours and minutes, or minutes and seconds."""
        if not unclear_clock:
            return None
        hours = Setting("to read hours and minutes", "marks", HOURS_MINUTES)
        minutes = Setting("to read minutes and seconds", "marks", MINUTES_SECONDS)
        return Problem(f"{unclear_clock!r} may be hours:minutes or minutes:seconds", (minutes, hours, AS_TEXT))

    def _find_separator_problem(self, separators: Separators | None, *, by_column: bool) -> Problem | None:
        """The problem if the meaning of commas and points isn't clear, or doesn't fit the numbers.

        Args:
            separators: the meaning of comma and point. None: it isn't clear.
            by_column: whether each column needs a decimal separator of its own, since they differ.
        """
        evidence = self._numbers.evidence
        example = evidence.comma or evidence.point
        commas = Setting("to read decimal commas", "decimal", "comma", by_column=by_column)
        if separators is not None:
            unfit = {"comma": evidence.decimal_comma, "point": evidence.decimal_point}
            for name, number in unfit.items():
                if number and not remove_separators(number, separators)[0]:
                    setting = Setting(f"to read a decimal {name} in this column", "decimal", name)
                    return Problem(f"its numbers, such as {number!r}, have a decimal {name}", (setting, AS_TEXT))
            return None
        if evidence.decimal_comma:
            number = evidence.decimal_comma
            return Problem(f"its numbers, such as {number!r}, have a decimal comma", (commas, AS_TEXT))
        if example:
            whole, fraction = re.sub("[.,]", "", example), example.replace(",", ".")
            thousands = Setting("to read commas between thousands", "thousands", "comma", by_column=False)
            if by_column:  # the separator of thousands is that of the whole file
                thousands = thousands._replace(option="decimal", value="point", by_column=True)
            points = Setting("to read decimal points", "decimal", "point", by_column=by_column)
            fault = f"{example!r} may be {whole} or {fraction}"
            return Problem(fault, (thousands if evidence.comma else points, commas, AS_TEXT))
        return None

    # -------------------------------------------------------------------------------------------------------- times

    def _parse_times(self, separators: Separators | None) -> Times:
        times, dates = TimeTexts(self.texts, self._rows), self.options.dates
        if dates is not None and "%" in dates:
            return times.read_format(dates)
        if dates in NUMBER_READINGS or (dates is None and self.options.kind == "timestamp"):
            numbers = self._numbers.read(separators or Separators(), "")
            if dates is not None or self._share(numbers.is_number) >= 0.5:
                return self._read_epoch(numbers)
        return times.read(self.options.find_dates(ORDERS))

    def _read_epoch(self, numbers: Numbers) -> Times:
        """Reads numbers that stand for times. The other texts are no times."""
        per_row = numbers.values[self.indices[np.append(numbers.is_number, False)[self.indices]]]
        unit = self.options.dates or find_epoch_unit(per_row)
        if unit is None:
            return TimeTexts(self.texts, self._rows).read()
        values = read_epoch(np.where(numbers.is_number, numbers.values, 0), unit)
        is_time = numbers.is_number & ~np.isnat(values)
        if self.options.dates is None:  # numbers of another size have another unit
            is_time &= have_epoch_unit(numbers.values, unit)
        return Times(values, is_time, is_time, "", "", (), 0, 0, (describe_epoch_unit(unit),), unit)

    def _finish_times(self, times: Times) -> TextResult:
        zone = self.options.find_dates((ASSUME_UTC, NO_ZONE))
        orders = [Setting(f"to read the {order.replace('_', ' ')}", "dates", order) for order in times.possible_orders]
        if times.order_problem:
            problem: Problem | None = Problem(times.order_problem, (*orders, AS_TEXT))
        else:
            problem = find_zone_problem(times.with_zone, times.without_zone, zone)
        self._raise_if_declared(problem)
        if problem is None:
            self._check_declared(times.is_time)
            if (odd := self._find_odd(times.is_time, "time", orders)) is not None:
                return odd
        order = "" if self.options.file_dates in ORDERS else times.order
        found = times.unit or order or (ASSUME_UTC if times.with_zone else NO_ZONE)
        is_inferred = self.options.dates is None and (self.options.file_dates is None or times.unit or order)
        options = {"dates": found} if is_inferred else {}
        unusual = ""
        if times.without_zone and zone == ASSUME_UTC:
            unusual = describe_assumed_zone(times.without_zone, int(self._rows.sum()))
        if times.with_zone and zone is None and self.options.find_dates(ORDERS) is not None:
            unusual = f"{times.with_zone:,} of {int(self._rows.sum()):,} times have a zone and are converted to UTC"
        reading = Reading(", ".join(("times", *times.descriptions)), options, unusual=unusual)
        return self._make_result(times.values, times.is_time, "timestamp", reading, problem)

    # ----------------------------------------------------------------------------------------------------- booleans

    def _read_booleans(self) -> TextResult:
        accepted = (*INFERRED_BOOLEANS, "0", "1") if self.options.kind is None else BOOLEANS  # Arrow infers these four
        texts = [text.strip().lower() for text in self.texts]
        values = np.array([BOOLEANS[text] if text in accepted else np.nan for text in texts])
        is_boolean = ~np.isnan(values)
        self._check_declared(is_boolean)
        if self.options.kind is None and (odd := self._find_odd(is_boolean, "boolean")) is not None:
            return odd
        return self._make_result(values, is_boolean, "bool", Reading("booleans"), None)

    # ----------------------------------------------------------------------------------------------------- messages

    def _make_result(
        self, values: np.ndarray, is_read: np.ndarray, kind: ColumnType, reading: Reading, problem: Problem | None
    ) -> TextResult:
        """Gives each row the value of its text. With a problem, the column stays text."""
        if problem is not None:
            return TextResult(problem=problem)
        filler: Any = {"float": np.nan, "timestamp": np.datetime64("NaT", "us")}.get(kind, 0)
        by_text = np.append(np.where(is_read, values, filler), filler)
        if kind in ("int", "bool"):
            by_text = by_text.astype(np.int64 if kind == "int" else np.bool_)
        gap_texts = [position for position, text in enumerate(self.texts) if self._is_gap[position] and text.strip()]
        reading = reading._replace(gaps=tuple(map(self._make_gap, gap_texts)))
        if reading.description in PLAIN_READINGS and not reading.gaps and not reading.unusual:
            reading = reading._replace(description="")
        # The index -1 of a missing value is that of the filler.
        valid = np.append(is_read, False)[self.indices]
        return TextResult(by_text[self.indices], valid, kind, reading)

    def _make_gap(self, number: int) -> Gap:
        return make_gap(self.texts[number], np.flatnonzero(self.indices == number), self.locate)

    def _leave_as_text(self, is_read: np.ndarray, needed: str) -> TextResult:
        """The result if at least half of the values can be read, but too few to read the column as them."""
        description = f"text, since {self._describe_odd(is_read, needed)}"
        return TextResult(reading=Reading(description, setting=self._find_null_setting(is_read)))

    def _find_odd(self, is_read: np.ndarray, needed: str, settings: Iterable[Setting] = ()) -> TextResult | None:
        """The result if some texts can't be read. `settings`: what may help, beside the usual settings."""
        is_odd = (self._rows > 0) & ~is_read
        if not is_odd.any():
            return None
        as_missing = self._find_null_setting(is_read)
        usual = (AS_TEXT,) if as_missing is None else (as_missing, AS_TEXT)
        problem = Problem(self._describe_odd(is_read, needed), (*settings, *usual, SKIP_ROWS))
        return TextResult(problem=problem, bad_rows=self._make_type_error(is_odd, f"a {needed}"))

    def _find_null_setting(self, is_read: np.ndarray) -> Setting | None:
        """The setting that reads all other texts as missing. None: there are too many of them."""
        odd = tuple(text for text, is_odd in zip(self.texts, (self._rows > 0) & ~is_read, strict=True) if is_odd)
        return Setting("to read them as missing", "nulls", odd) if len(odd) <= MAX_NULL_TEXTS else None

    def _describe_odd(self, is_read: np.ndarray, needed: str) -> str:
        is_odd = (self._rows > 0) & ~is_read
        count, total = int(self._rows[is_odd].sum()), int(self._rows.sum())
        row = self._first_row(is_odd)
        plural = re.sub("number|time|boolean", r"\g<0>s", needed, count=1)
        are = f"values is not a {needed}" if count == 1 else f"values are not {plural}"
        first = f"{self.texts[self.indices[row]]!r} ({self.locate(row)})"
        return f"{count:,} of {total:,} {are}; the first is {first}"

    def _first_row(self, are_in: np.ndarray) -> int:
        return int(np.argmax(np.append(are_in, False)[self.indices]))  # the index -1 is the appended False

    def _check_declared(self, is_read: np.ndarray) -> None:
        """Raises DataError if the type is declared and some texts don't have it."""
        is_odd = (self._rows > 0) & ~is_read
        if self.options.kind is None or not is_odd.any():
            return
        number = "whole number" if self.options.kind == "int" else "number"
        needed = f"a {number} with `{self.options.mark}`" if self.options.mark else f"of type {self.options.kind}"
        mark = self._find_missing_mark([each for each, is_one in zip(self.texts, is_odd, strict=True) if is_one])
        raise self._make_type_error(is_odd, needed, "" if mark == self.options.mark else mark)

    def _make_type_error(self, is_odd: np.ndarray, needed: str, mark: str = "") -> BadRowsError:
        """The error for some texts, (texts,), bool, that aren't what is needed. `mark`: as in `make_type_error`."""
        return make_type_error(
            self.name,
            needed,
            np.flatnonzero(np.append(is_odd, False)[self.indices]),  # the index -1 is the appended False
            lambda row: repr(self.texts[self.indices[row]]),
            locate=lambda row: f"{self.origin}, {self.locate(row)}",
            total=int(self._rows.sum()),
            table_rows=len(self.indices),
            kind=self.options.kind,
            mark=mark,
        )

    def _find_missing_mark(self, odd: Sequence[str]) -> str:
        """The mark of the first text that has none of the declared marks; with those that other numbers may lack."""
        first = find_mark(odd[0])
        if first not in OPTIONAL_MARKS:
            return first
        marks = {*(self.options.mark or "").split(), *map(find_mark, odd)}
        return " ".join(mark for mark in OPTIONAL_MARKS if mark in marks)

    def _raise_if_declared(self, problem: Problem | None) -> None:
        """Raises DataError for a problem of a column whose type is declared."""
        if problem is not None and self.options.kind is not None:
            raise make_problem_error(self.name, self.options.kind, problem)
