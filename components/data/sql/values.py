"""Conversion of the values of a database's driver to columns of Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from components.arrow import convert_column
from components.data.csv.errors import make_remedy
from components.data.typed_table import format_decimal, format_texts
from components.types import DataError, Remedy, Setting

if TYPE_CHECKING:
    import pyarrow

MAX_SHOWN = 60  # characters of a value in a message

PLAIN_TIME, ZONED_TIME, TIME_OF_DAY = "time without a zone", "time with a zone", "time of a day"
KINDS: dict[type, str] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "text",
    bytes: "bytes",
    date: "date",
    datetime: PLAIN_TIME,
    time: TIME_OF_DAY,
    timedelta: "duration",
    list: "list",
}
"""The kinds of columns by the types of their values."""
CAST = "`cast` it in the query"  # a remedy
PLAIN_TYPES = {*KINDS, type(None)}
JOINED = {frozenset(("int", "float")): "float", frozenset(("date", PLAIN_TIME)): PLAIN_TIME}
"""The kind of a column whose values have two kinds. Other kinds can't be in one column."""
FORMATTED = {*KINDS.values(), ZONED_TIME} - {"bytes", "duration", "list"}
"""The kinds of values that can be texts."""


class ColumnBuilder:
    """Converts the values of a column from Python to Arrow, batch by batch. Its type never gets narrower.

    Args:
        label: the name of the table for messages.
        name: the name of the column.
        is_text: whether its values are converted to texts.
    """

    def __init__(self, label: str, name: str, is_text: bool) -> None:
        self.name = name
        self.error: DataError | None = None  # of the first value that can't be read
        self._label, self._is_text = label, is_text
        self._kind = ""  # "": all values are missing
        self._type: pyarrow.DataType | None = None  # of the last batch
        self._first: tuple[int, Any] | None = None  # the row of the first value that isn't missing, and the value

    def convert(self, values: Sequence[Any], first_row: int) -> pyarrow.Array:
        """Converts the values of some rows, of which `first_row` is the first. After an error, all are missing."""
        import pyarrow

        try:
            array = pyarrow.nulls(len(values), self._type) if self.error else self._convert(values, first_row)
        except DataError as error:
            self.error = error
            return self.convert(values, first_row)
        self._type = array.type
        return array

    def _convert(self, values: Sequence[Any], first_row: int) -> pyarrow.Array:
        if not {*map(type, values)} <= PLAIN_TYPES:
            values = [self._simplify(value, row) for row, value in enumerate(values, first_row)]
        kinds = _find_kinds(values)
        if self._is_text and kinds <= FORMATTED:
            values, kinds = self._format(values), {"text"} if kinds else set()
        if self._first is None and kinds:
            self._first = next((row, value) for row, value in enumerate(values, first_row) if value is not None)
        for kind in kinds:
            self._kind = _join_kinds(self._kind or kind, kind) or self._raise_conflict(values, first_row)
        return self._make_array(values, first_row)

    def _simplify(self, value: Any, row: int) -> Any:
        """A value of one of `PLAIN_TYPES`. Raises DataError if it has no meaning in a table."""
        if type(value) in PLAIN_TYPES:
            return value
        if isinstance(value, Decimal):
            if value.is_nan():
                return None
            if self._is_text:
                return format_decimal(value) if value.is_finite() else str(float(value))
            return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, memoryview | bytearray):
            return bytes(value)
        raise self._make_error(
            f"{_show(value)} in row {row}", "take a number, a text or a time from it in the query", "`cast` it to text"
        )

    def _make_array(self, values: Sequence[Any], first_row: int) -> pyarrow.Array:
        import pyarrow

        if self._kind == "float":
            for row, value in enumerate(values, first_row):
                if type(value) is int and int(float(value)) != value:
                    fault = (
                        f"{_show(value)} in row {row}, which a float can't hold exactly, and other values are floats"
                    )
                    raise self._make_error(fault, CAST, self._as_text)
            values = [value if value is None else float(value) for value in values]
        elif self._kind == PLAIN_TIME:
            values = [datetime.combine(value, time()) if type(value) is date else value for value in values]
        elif self._kind == TIME_OF_DAY:
            zoned = ((row, value) for row, value in enumerate(values, first_row) if getattr(value, "tzinfo", None))
            for row, value in zoned:
                raise self._make_error(f"{value} in row {row}, a time of a day with a zone", CAST)
        try:
            is_list = self._kind == "list"
            kind = _join_lists(self._type, pyarrow.array(values).type) if is_list else _make_type(self._kind)
            return pyarrow.array(values, kind)
        except OverflowError as error:
            row, value = next(
                (row, value) for row, value in enumerate(values, first_row) if value is not None and not _fits(value)
            )
            raise self._make_error(
                f"{_show(value)} in row {row}, which exceeds 64 bits", CAST, self._as_text
            ) from error
        except (pyarrow.ArrowException, TypeError, ValueError) as error:
            message = str(error).splitlines()[0]
            raise self._make_error(f"values that can't be read together: {message}", CAST) from error

    def _format(self, values: Sequence[Any]) -> list[Any]:
        """The values as texts, each as in a column of its own kind."""
        import pyarrow

        texts = [str(value) if type(value) is int else value for value in values]
        for kind in _find_kinds(texts) - {"text"}:
            rows = [row for row, value in enumerate(texts) if value is not None and _find_kind(value) == kind]
            column = pyarrow.chunked_array([pyarrow.array([texts[row] for row in rows], _make_type(kind))])
            for row, text in zip(rows, format_texts(self.name, *convert_column(self.name, column)), strict=True):
                texts[row] = text.as_py()
        return texts

    def _raise_conflict(self, values: Sequence[Any], first_row: int) -> NoReturn:
        """Raises DataError for the first value that can't be in one column with the first one of the column."""
        assert self._first is not None
        first, example = self._first
        row, value = next(
            (row, value)
            for row, value in enumerate(values, first_row)
            if value is not None and not _join_kinds(_find_kind(example), _find_kind(value))
        )
        is_text = {_find_kind(example), _find_kind(value)} <= FORMATTED
        raise self._make_error(
            f"{_show(example)} in row {first}, but {_show(value)} in row {row}",
            CAST,
            *((self._as_text,) if is_text else ()),
        )

    @property
    def _as_text(self) -> Remedy:
        return make_remedy(self.name, Setting("for text", "types", "string"))

    def _make_error(self, fault: str, *remedies: Remedy | str) -> DataError:
        return DataError(f"{self._label}: column `{self.name}` has {fault}", *remedies)


def _find_kind(value: Any) -> str:
    return ZONED_TIME if type(value) is datetime and value.tzinfo is not None else KINDS[type(value)]


def _find_kinds(values: Sequence[Any]) -> set[str]:
    """The kinds of some values that aren't missing."""
    types = {*map(type, values)} - {type(None)}
    if datetime in types:
        return {_find_kind(value) for value in values if value is not None}
    return {KINDS[each] for each in types}


def _join_kinds(first: str, second: str) -> str:
    """The kind of a column that has values of two kinds. "": there is none."""
    return first if first == second else JOINED.get(frozenset((first, second)), "")


def _join_lists(first: pyarrow.DataType | None, second: pyarrow.DataType) -> pyarrow.DataType:
    import pyarrow

    schemas = [pyarrow.schema([("x", each)]) for each in (first, second) if each is not None]
    return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type


def _make_type(kind: str) -> pyarrow.DataType:
    import pyarrow

    return {
        "": pyarrow.null(),
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "bool": pyarrow.bool_(),
        "text": pyarrow.large_string(),
        "bytes": pyarrow.large_binary(),
        "date": pyarrow.date32(),
        PLAIN_TIME: pyarrow.timestamp("us"),
        ZONED_TIME: pyarrow.timestamp("us", "UTC"),
        TIME_OF_DAY: pyarrow.time64("us"),
        "duration": pyarrow.duration("us"),
    }[kind]


def _fits(value: Any) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
