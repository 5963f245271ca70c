"""Reads texts such as `$1,234.50`, `12 kg`, `(94)`, `1.2k` and `1:30:00` as numbers.

All numbers of a column have the same mark: a currency, a percent sign or a unit. Comma and point have the same meaning
in the whole file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import NamedTuple

import numpy as np

from components.data.csv.codes import NEUTRAL, are_codes

MINUS = "-\u2212\u2013"
SYMBOLS = "$€£¥₹₽₩₺₫₴₪₦₱฿₡₵₸₿¢"
CODES = (
    "AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RON|RUB|SEK|SGD|THB|TRY|"
    r"TWD|UAH|USD|VND|ZAR|Rs\.?|kr\.?|z\u0142|K\u010d|Ft|Fr\.?|RM"
)
CURRENCY = rf"(?:[A-Z]{{0,3}}[{SYMBOLS}]|{CODES})"
UNIT = r"[^\W\d_](?:[\w./\u00b0\u00b2\u00b3\u00b7 -]{0,14}[\w.\u00b2\u00b3])?|\u00b0\w?"
NUMBER = re.compile(
    rf"(?P<sign>[{MINUS}+])?(?P<prefix>{CURRENCY})?[ \u00a0]?(?P<late_sign>[{MINUS}])?"
    rf"(?P<body>[0-9](?:[0-9.,{NEUTRAL}]*[0-9])?[.,]?|[.,][0-9]+)(?P<exponent>[eE][-+]?[0-9]+)?"
    rf"(?P<suffix>[ \u00a0]?(?:%|\u2030|{CURRENCY}|{UNIT}))?"
)
CURRENCY_MARK = re.compile(CURRENCY)
PLAIN = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?(inf|infinity|nan)", re.IGNORECASE)
GROUPS = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+|[1-9][0-9]?(,[0-9]{2})+,[0-9]{3}")  # the second is usual in India
INT64_DIGITS = 19
MULTIPLIERS = {"k": 1e3, "K": 1e3, "M": 1e6, "mn": 1e6, "B": 1e9, "bn": 1e9}
ORDINALS = {"1": "st", "2": "nd", "3": "rd"}  # by the last digit; all others end in th
# Sign, days, hours, minutes and seconds
DAYS_BEFORE = re.compile(r"-\d+ days?(?:, | \+)\d+:\d\d:\d\d(?:\.\d+)?")  # of Python and pandas: the days are negative
CLOCK = re.compile(rf"([{MINUS}])?(?:(\d+) days?,? \+?)?(\d+):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?")
UNITS_OF_TIME = re.compile(
    r"()(?:(\d+) ?d(?:ays?)?)? ?(?:(\d+) ?h(?:ours?)?)? ?(?:(\d+) ?m(?:in)?)? ?(?:(\d+(?:\.\d+)?) ?s)?"
)
ISO_DURATION = re.compile(rf"([{MINUS}])?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")

AMBIGUOUS = re.compile(r"[1-9][0-9]{0,2}[,.][0-9]{3}")
TWO_PARTS = re.compile(rf"[{MINUS}]?[0-9]+:[0-9]{{2}}")  # hours and minutes, or minutes and seconds
# Numbers of programs (0x1F, 0o7, 0b1), and exponents with blanks (1e 5): the letters aren't units.
NO_UNIT = re.compile(r"0(?:x[0-9a-f]+|o[0-7]+|b[01]+)|[0-9.,]+[ \u00a0]?e[ +-]*[0-9]+", re.IGNORECASE)
# Marks that aren't part of the text: notations that new rows may only have if the training rows have them.
ORDINAL, MULTIPLIERS_MARK, PARENTHESES = "ordinal", "multipliers", "parentheses"
DURATION, HOURS_MINUTES, MINUTES_SECONDS = "duration", "h:mm", "m:ss"
CLOCK_MARKS = (DURATION, HOURS_MINUTES, MINUTES_SECONDS)
NOTATIONS = (ORDINAL, MULTIPLIERS_MARK, PARENTHESES, f"{MULTIPLIERS_MARK} {PARENTHESES}", *CLOCK_MARKS)
OPTIONAL_MARKS = (MULTIPLIERS_MARK, PARENTHESES)  # other numbers of the column have none
PERCENT_SIGNS = ("%", "\u2030")  # a number without one may be a share
MARK_DESCRIPTIONS = {
    "%": "without `%`: 5% is 5",
    ORDINAL: "without st, nd, rd or th",
    DURATION: "durations as seconds",
    HOURS_MINUTES: "hours:minutes as seconds",
    MINUTES_SECONDS: "minutes:seconds as seconds",
}
SEPARATOR_DESCRIPTIONS = (
    (",", "commas separate thousands"),
    (".", "points separate thousands"),
    ("_", "without `_`"),
    ("'\u2019", "without apostrophes"),
    (" \u00a0\u2007\u2009\u202f", "blanks separate thousands"),
)


def is_plain_number(text: str) -> bool:
    """Whether a text is a number without marks, as Arrow reads it."""
    return PLAIN.fullmatch(text.strip()) is not None


def parse_plain_number(text: str) -> Decimal | None:
    """The exact value of a number without marks; None: the text is no number, or it is infinite or NaN in float64."""
    if not is_plain_number(text) or not np.isfinite(float(text)):
        return None
    try:
        return Decimal(text.strip())
    except InvalidOperation:  # the exponent has 19 digits or more
        return Decimal(0)


def find_mark(text: str) -> str:
    """The mark of a number or a duration; "": it has none, or is neither."""
    if _read_duration(text.strip()) is not None:
        return HOURS_MINUTES if TWO_PARTS.fullmatch(text.strip()) else DURATION
    parts = _split(text.strip())
    return "" if parts is None else parts.mark


class Separators(NamedTuple):
    """The characters within numbers.

    Attributes:
        decimal: the decimal separator: a point or a comma.
        thousands: the separator of thousands, in addition to blanks, apostrophes and the underscore. "": there is none.
    """

    decimal: str = "."
    thousands: str = ""


class Evidence(NamedTuple):
    """What the numbers of a column show about commas and points: an example of each kind; "": there is none.

    Attributes:
        decimal_point: a number with a point before decimals or with commas between thousands, such as 1.5 or 1,234,567.
        decimal_comma: a number with a comma before decimals or with points between thousands, such as 1,5.
        comma: a number whose comma may separate thousands or decimals, such as 1,234.
        point: likewise for a point, if all numbers with a point are like this, and others are whole and below 1,000.
    """

    decimal_point: str = ""
    decimal_comma: str = ""
    comma: str = ""
    point: str = ""

    @property
    def kind(self) -> str:
        """The field that counts most; "": there is no example."""
        return next((name for name in ("decimal_comma", "decimal_point", "comma", "point") if getattr(self, name)), "")


class _Parts(NamedTuple):
    """The parts of a number.

    Attributes:
        sign: 1 or -1.
        multiplier: 1,000 for k, and so on.
        mark: its mark.
        body: its digits and separators.
        exponent: its exponent with the e.
        suffix: what follows it.
    """

    sign: float
    multiplier: float
    mark: str
    body: str
    exponent: str
    suffix: str


class Numbers(NamedTuple):
    """The numbers of a column.

    Attributes:
        values: (texts,), float64; NaN where a text is no number. If all numbers are whole, by their spelling, and each
            fits: int64; 0 where a text is no number.
        is_number: (texts,), bool.
        mark: the mark that was taken off: a currency, a unit, or "".
        other_marks: the number of rows with each other mark.
        descriptions: what was taken off or converted, for messages.
        unclear_clock: a text such as 45:30 if it may be hours and minutes, or minutes and seconds; "": there is none.
        unmarked: how many numbers have no mark although the others have one; "": none.
    """

    values: np.ndarray
    is_number: np.ndarray
    mark: str
    other_marks: dict[str, int]
    descriptions: tuple[str, ...]
    unmarked: str
    unclear_clock: str = ""


class NumberTexts:
    """The distinct texts of a column that may be numbers.

    Args:
        texts: the texts.
        rows: the number of rows of each text.
    """

    def __init__(self, texts: Sequence[str], rows: np.ndarray) -> None:
        self._texts = [text.strip() for text in texts]
        self._rows = rows
        self._parts = [_split(text) for text in self._texts]

    @cached_property
    def evidence(self) -> Evidence:
        """What the numbers with the most frequent mark show about commas."""
        mark = self._find_mark()[0]
        marks = {mark} if mark and mark not in NOTATIONS else {mark, "", *OPTIONAL_MARKS}
        bodies = [
            parts.body
            for parts, rows in zip(self._parts, self._rows, strict=True)
            if parts is not None and parts.mark in marks and rows
        ]
        found = {kind: body for body in reversed(bodies) if (kind := _classify_separators(body))}
        others = [body for body in bodies if "," not in body and "." not in body]
        # Numbers below 1,000 have no separator, and all others have one: it separates thousands.
        like_thousands = bool(others) and all(len(body) <= 3 for body in others)
        if CURRENCY_MARK.fullmatch(mark) and not others:  # prices rarely have three decimals
            like_thousands = True
        if like_thousands and others and "comma" in found and not found.keys() & {"decimal_comma", "point"}:
            found.setdefault("decimal_point", found.pop("comma"))
        if not like_thousands or found.keys() & {"decimal_point", "comma"}:
            found.pop("point", None)
        return Evidence(**found)

    @cached_property
    def is_parsed(self) -> np.ndarray:
        """(texts,), bool: the texts that are numbers or durations, whatever mark they have."""
        has_parts = np.array([parts is not None for parts in self._parts], bool)
        return has_parts | ~np.isnan(self._seconds)

    @property
    def mark(self) -> str:
        """The most frequent mark; "": most numbers have none."""
        return self._find_mark()[0]

    @cached_property
    def are_codes(self) -> bool:
        """Whether the numbers without a mark are codes; see `codes.are_codes`."""
        import pyarrow

        parsed = zip(self._texts, self._parts, strict=True)
        unmarked = [text for text, parts in parsed if parts is not None and not parts.mark]
        return are_codes(pyarrow.array(unmarked, pyarrow.string()))

    def read(self, separators: Separators, mark: str | None = None) -> Numbers:
        """Reads the numbers.

        Args:
            separators: the meaning of comma and point.
            mark: the mark of the numbers; "": they have none. None: the most frequent one.
        """
        if mark in CLOCK_MARKS or (mark is None and self._are_durations):
            return self._read_durations(mark)
        other_marks: dict[str, int] = {}
        if mark is None:
            mark, other_marks = self._find_mark()
        optional = [name for name in OPTIONAL_MARKS if name in mark.split()]
        is_unit = bool(mark) and not optional and mark not in PERCENT_SIGNS
        accepted_marks = (*optional, "") if optional or not mark else (mark, "") if is_unit else (mark,)
        values = np.full(len(self._texts), np.nan)
        whole: dict[int, int] = {}  # by position, since float64 rounds large ones
        separators_found: set[str] = set()
        has_multipliers, has_parentheses, unmarked_rows = False, False, 0
        for position, parts in enumerate(self._parts):
            if parts is None:
                continue
            own_mark, multiplier = parts.mark, parts.multiplier
            follows = parts.suffix == mark and own_mark in ("", mark, MULTIPLIERS_MARK)
            if mark and follows:  # also if it is K or M, which are multipliers where they aren't the unit
                own_mark, multiplier = mark, 1.0
            digits, separator = remove_separators(parts.body, separators)
            if own_mark not in accepted_marks or not digits:
                continue
            size = float(digits + parts.exponent) * multiplier
            if multiplier != 1 and not parts.exponent:  # 1.001k is 1001, which no product of float64 is
                size = float(Decimal(digits) * int(multiplier))
            values[position] = parts.sign * size
            if "." not in digits and not parts.exponent and multiplier == 1 and len(digits) <= INT64_DIGITS:
                whole[position] = int(digits) if parts.sign > 0 else -int(digits)
            unmarked_rows += int(self._rows[position]) if own_mark != mark else 0
            separators_found.add(separator)
            has_multipliers |= multiplier != 1
            has_parentheses |= self._texts[position].startswith("(")
        descriptions = [MARK_DESCRIPTIONS.get(mark, f"without `{mark}`")] if mark and not optional else []
        descriptions += [text for characters, text in SEPARATOR_DESCRIPTIONS if separators_found & set(characters)]
        descriptions += ["k, M and B are thousands, millions and billions"] if has_multipliers else []
        descriptions += ["numbers in parentheses are negative"] if has_parentheses else []
        unmarked = ""
        if unmarked_rows and is_unit and mark != ORDINAL:
            unmarked = f"{unmarked_rows:,} of {int(self._rows.sum()):,} values have no `{mark}`"
        is_number = ~np.isnan(values)
        if len(whole) == is_number.sum() and all(-(2**63) <= number < 2**63 for number in whole.values()):
            values = np.array([whole.get(position, 0) for position in range(len(values))], np.int64)
        return Numbers(values, is_number, mark, other_marks, tuple(descriptions), unmarked)

    def _find_mark(self) -> tuple[str, dict[str, int]]:
        """The mark of the numbers, and the number of rows with each other mark."""
        rows: Counter[str] = Counter()
        optional = set()
        for parts, count in zip(self._parts, self._rows.tolist(), strict=True):
            if parts is not None and count:
                optional |= {parts.mark} & {*OPTIONAL_MARKS}
                rows["" if parts.mark in OPTIONAL_MARKS else parts.mark] += count
        mark = max(rows, key=lambda name: rows[name], default="")
        other_marks = {name: count for name, count in rows.items() if name != mark}
        return mark or " ".join(sorted(optional)), other_marks

    @property
    def _are_durations(self) -> bool:
        """Whether most texts are durations or times of a day."""
        return bool(2 * self._rows[~np.isnan(self._seconds)].sum() > self._rows.sum())

    @cached_property
    def _seconds(self) -> np.ndarray:
        """(texts,), float64: the seconds of durations and times of a day; NaN for other texts."""
        seconds = [_read_duration(text) for text in self._texts]
        return np.array([np.nan if value is None else value for value in seconds])

    def _read_durations(self, mark: str | None) -> Numbers:
        """Reads times of day and durations as seconds.

        A text of two parts, such as 45:30, isn't read if the mark is `duration`. If the mark is None, two parts are
        hours and minutes, unless there are more than 23 hours, negative ones, or texts of three parts.
        """
        clocks = [text for text, rows in zip(self._texts, self._rows, strict=True) if rows and ":" in text]
        pairs = [text for text in clocks if TWO_PARTS.fullmatch(text)]
        unclear = ""
        if mark is None:
            are_hours = [text[0] not in MINUS and float(text.split(":")[0]) < 24 for text in pairs]
            is_time_of_day = len(pairs) == len(clocks) and all(are_hours)
            mark = HOURS_MINUTES if pairs and is_time_of_day else DURATION
            unclear = pairs[0] if pairs and not is_time_of_day else ""
        is_pair = np.array([TWO_PARTS.fullmatch(text) is not None for text in self._texts], bool)
        divisor = {DURATION: np.nan, HOURS_MINUTES: 1, MINUTES_SECONDS: 60}[mark]  # of the seconds in hours and minutes
        values = np.where(is_pair, self._seconds / divisor, self._seconds)
        description = (MARK_DESCRIPTIONS[mark],)
        return Numbers(values, ~np.isnan(values), mark, {}, description, "", unclear)


def decide_separators(evidence: Iterable[Evidence], decimal: str | None, thousands: str | None) -> Separators | None:
    """Decides the meaning of comma and point for a file. None: the numbers allow both meanings, or have decimal commas.

    Args:
        evidence: what the columns of numbers show.
        decimal: the decimal separator that the user set; None: not set.
        thousands: the separator of thousands that the user set; None: not set.
    """
    if decimal is not None or thousands is not None:
        decimal = decimal or ("," if thousands == "." else ".")
        return Separators(decimal, thousands if thousands is not None else "," if decimal == "." else ".")
    columns = list(evidence)
    if any(column.decimal_comma for column in columns):
        return None
    if any(column.decimal_point for column in columns):
        return Separators(".", ",")
    return None if any(column.comma or column.point for column in columns) else Separators()


def _split(text: str) -> _Parts | None:
    """Splits a number into its parts. Parentheses mean a negative number, as in accounting."""
    in_parentheses = text.startswith("(") and text.endswith(")")
    match = NUMBER.fullmatch(text[1:-1].strip() if in_parentheses else text)
    if match is None or sum(map(bool, (match["sign"], match["late_sign"], in_parentheses))) > 1:
        return None
    body, prefix = match["body"], match["prefix"] or ""
    suffix = (match["suffix"] or "").strip()
    if NO_UNIT.fullmatch(body + (match["suffix"] or "")) or (prefix and suffix and suffix not in MULTIPLIERS):
        return None
    is_negative = in_parentheses or bool(match["late_sign"]) or (match["sign"] or "+") in MINUS
    multiplier, mark = 1.0, prefix or suffix
    if suffix in MULTIPLIERS and match["suffix"] not in (" K", "\u00a0K"):  # kelvins
        multiplier, mark = MULTIPLIERS[suffix], prefix or MULTIPLIERS_MARK
    elif suffix and suffix.lower() == _ordinal_ending(body):
        mark = ORDINAL
    elif not mark and in_parentheses:
        mark = PARENTHESES
    return _Parts(-1.0 if is_negative else 1.0, multiplier, mark, body, match["exponent"] or "", suffix)


def _ordinal_ending(body: str) -> str:
    """The ending of an ordinal number: 1st, 2nd, 3rd, 11th."""
    return "th" if body[-2:-1] == "1" else ORDINALS.get(body[-1], "th")


def remove_separators(body: str, separators: Separators) -> tuple[str, str]:
    """Returns the digits with a decimal point, and the separator of thousands; "" if it is no number."""
    whole, _, fraction = body.partition(separators.decimal)
    found = set(whole) - set("0123456789")
    if fraction.strip("0123456789") or len(found) > 1:
        return "", ""
    if not found:
        return f"{whole}.{fraction}" if fraction or not whole else whole, ""
    separator = found.pop()
    if separator not in NEUTRAL + separators.thousands or not GROUPS.fullmatch(whole.replace(separator, ",")):
        return "", ""
    digits = whole.replace(separator, "")
    return f"{digits}.{fraction}" if fraction else digits, separator


def _classify_separators(body: str) -> str:
    """The field of `Evidence` that a number belongs to; "" if it has neither comma nor point."""
    if AMBIGUOUS.fullmatch(body):
        return "comma" if "," in body else "point"
    if ("," in body or "." in body) and remove_separators(body, Separators(".", ","))[0]:
        return "decimal_point"
    if ("," in body or body.count(".") > 1) and remove_separators(body, Separators(",", "."))[0]:
        return "decimal_comma"
    return ""


def _read_duration(text: str) -> float | None:
    """The seconds of a duration or a time of day. None: the text is neither."""
    match = CLOCK.fullmatch(text) or (ISO_DURATION.fullmatch(text) if text[-1:].isalpha() else None)
    if match is None:
        match = UNITS_OF_TIME.fullmatch(text)
        if match is None or sum(group is not None for group in match.groups()[1:]) < 2:  # 5 m are metres
            return None
    sign, *parts = match.groups()
    if all(part is None for part in parts):
        return None
    days, *clock = (float(part or 0) * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=True))
    if DAYS_BEFORE.fullmatch(text):
        return sum(clock) - days
    return -days - sum(clock) if sign else days + sum(clock)
