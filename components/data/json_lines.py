"""Reads files of JSON lines with Arrow, a block of lines at a time, so that each error names its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.arrow import copy_bytes
from components.data.column_types import (
    CastError,
    Field,
    cast_column,
    drop_empty_structs,
    find_common_type,
    is_list,
    list_fields,
    select_field,
)
from components.data.packed import PackedFile
from components.types import DataError

if TYPE_CHECKING:
    import pyarrow

BLOCK_BYTES = 16 << 20  # at least, up to the end of a line
MAX_BLOCK_BYTES = (1 << 31) - 1  # of Arrow's reader
EXACT_FLOATS = 2.0**53  # below it, all whole numbers are floats
BOM = b"\xef\xbb\xbf"
ROW = re.compile(r"(?:JSON parse error: )?(.*?)\.? in row (\d+)")
LONG_WHOLE = re.compile(rb"(?<![\d.])\d{16,}(?![\d.eE])")  # may be above `EXACT_FLOATS`
KINDS = {"bool": "boolean", "int64": "number", "double": "number", "struct": "object"}  # of JSON by those of Arrow
MAX_SHOWN = 40  # characters of a value in a message


class JsonColumns(NamedTuple):
    """The columns of a file.

    Attributes:
        fields: the columns. A struct is a column for each of its fields.
        columns: their values by path.
        rows: the number of rows.
    """

    fields: Sequence[Field]
    columns: Mapping[tuple[str, ...], pyarrow.ChunkedArray]
    rows: int


class _Block(NamedTuple):
    """Whole lines of a file, and what Arrow reads in them.

    Attributes:
        start: the position of the first byte in the file.
        stop: that after the last one.
        first_line: the number of the first line, from 1.
        table: the rows.
    """

    start: int
    stop: int
    first_line: int
    table: pyarrow.Table

    def select(self, path: tuple[str, ...]) -> pyarrow.ChunkedArray:
        return select_field(self.table.column(path[0]), path[1:])


def _join_texts(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Texts in one piece, which `Strings` share, so that no second copy is in memory later. Others stay in pieces."""
    import pyarrow

    if column.num_chunks < 2 or not pyarrow.types.is_string(column.type) or column.nbytes > MAX_BLOCK_BYTES:
        return column
    return pyarrow.chunked_array([column.combine_chunks()])


def find_line(lines: Iterable[bytes], row: int, first_line: int = 1) -> int:
    """The number of the line of a row, or of the last line. Blank lines aren't rows."""
    number = first_line
    for number, line in enumerate(lines, first_line):  # noqa: B007
        row -= bool(line.strip())
        if row < 0:
            break
    return number


def read_json_lines(file: PackedFile) -> JsonColumns:
    """Reads the rows of a file. Texts that Arrow would read as times stay texts, which show their zones.

    Raises:
        DataError: a line isn't one object, a column has values of several kinds, or a float can't hold a whole number.
    """
    with file.open() as opened:
        content = opened.read()
    if not content or content.isspace():
        raise DataError(f"{file} is empty")
    found = _Reader(file.path, content).read()
    del content  # before the texts are copied
    columns = dict(found.columns)
    rest = found._replace(columns=columns)
    del found
    for path in columns:
        columns[path] = _join_texts(columns[path])
    return rest


@dataclass(frozen=True)
class _Reader:
    """Reads a file.

    Attributes:
        path: the file, for messages.
        content: its bytes.
    """

    path: Path
    content: bytes

    def read(self) -> JsonColumns:
        blocks, texts, start, line = list[_Block](), set[str](), 0, 1
        while start < len(self.content):
            end = self.content.find(b"\n", min(start + BLOCK_BYTES, len(self.content)) - 1) + 1
            lines = self.content[start : end or len(self.content)]
            rows = self._count_objects(lines, line)
            block = _Block(start, start + len(lines), line, self._parse(lines, line, texts))
            if block.table.num_rows != rows:
                self._check_lines(lines, line)
            self._check_numbers(block, lines)
            texts |= {field.name for field in block.table.schema if str(field.type) == "string"}
            blocks.append(block)
            start, line = block.stop, line + lines.count(b"\n")
        return self._join(blocks)

    def _parse(self, lines: bytes, first_line: int, texts: set[str]) -> pyarrow.Table:
        """Reads some lines. `texts`: the columns that were texts in earlier lines."""
        import pyarrow

        explicit = dict.fromkeys(sorted(texts), pyarrow.string())
        table = self._parse_with(lines, first_line, explicit)
        times = {field.name: _with_texts(field.type) for field in table.schema}
        times = {name: kind for name, kind in times.items() if kind != table.schema.field(name).type}
        return self._parse_with(lines, first_line, explicit | times) if times else table

    def _parse_with(self, lines: bytes, first_line: int, types: Mapping[str, pyarrow.DataType]) -> pyarrow.Table:
        """Reads some lines. `types`: the types of some columns; those of others are inferred."""
        import pyarrow
        from pyarrow import json as arrow_json

        if len(lines) > MAX_BLOCK_BYTES:
            raise self._make_error(first_line, f"it has {len(lines):,} bytes; a line must have less than 2 GB")
        options = arrow_json.ParseOptions(explicit_schema=pyarrow.schema([*types.items()]))
        try:
            return arrow_json.read_json(
                pyarrow.BufferReader(copy_bytes(lines)), arrow_json.ReadOptions(block_size=len(lines)), options
            )
        except pyarrow.ArrowInvalid as error:
            if (match := ROW.fullmatch(str(error).splitlines()[0])) is None:
                raise
            line = find_line(lines.split(b"\n"), int(match[2]), first_line)
            raise self._make_error(line, _explain(match[1])) from error

    def _count_objects(self, lines: bytes, first_line: int) -> int:
        """The number of lines that aren't blank. Raises DataError unless each is an object: Arrow crashes at `null`."""
        count = lines.count(b"\n") + (not lines.endswith(b"\n"))
        if lines.startswith(b"{") + lines.count(b"\n{") == count:
            return count
        texts = [line.removeprefix(BOM).lstrip() for line in lines.split(b"\n")]
        if any(text[:1] not in (b"{", b"") for text in texts):
            self._check_lines(lines, first_line)
        return sum(map(bool, texts))

    def _check_lines(self, lines: bytes, first_line: int) -> None:
        """Raises DataError for the first line that isn't blank and isn't one object."""
        for number, line in enumerate(lines.split(b"\n"), first_line):
            if not (text := line.removeprefix(BOM).strip().decode(errors="replace")):
                continue
            try:
                is_object = isinstance(json.loads(text), dict)
            except json.JSONDecodeError as error:
                fault = f"it is no JSON object: {error.msg} at character {error.colno}; write one in each line"
                raise self._make_error(number, fault) from error
            if not is_object:
                raise self._make_error(number, f"{text[:MAX_SHOWN]} is no object; write one in each line")
        raise DataError(f"{self.path} has another number of rows than of lines from line {first_line:,} on")

    def _check_numbers(self, block: _Block, lines: bytes) -> None:
        """Raises DataError for a whole number in a column of floats which a float can't hold."""
        if not any(map(_has_large_floats, block.table.columns)):
            return
        line, start = block.first_line, 0
        for match in LONG_WHOLE.finditer(lines):
            if match.start() < start:
                continue
            first, stop = lines.rfind(b"\n", 0, match.start()) + 1, lines.find(b"\n", match.start()) + 1
            line, start = line + lines.count(b"\n", start, first), first
            row = json.loads(lines[start : stop or len(lines)].removeprefix(BOM), parse_int=_Whole)
            for path, whole in _list_wholes(row):
                if not whole.is_float and _find_type(block.table.schema, path) == "double":
                    raise self._make_inexact_error(line, path, whole)
            line, start = line + 1, stop or len(lines)

    def _make_inexact_error(self, line: int, path: tuple[str, ...], value: object) -> DataError:
        fault = f"column `{'.'.join(path)}` has the whole number {str(value)[:MAX_SHOWN]}"
        reason = "a float can't hold it exactly, and not all values of the column are whole numbers of 64 bits"
        return self._make_error(line, f"{fault}; {reason}. Write all of them in quotes, as texts.")

    def _join(self, blocks: Sequence[_Block]) -> JsonColumns:
        """The columns of all blocks."""
        import pyarrow

        everything = [field for block in blocks for field in list_fields(block.table.schema)]
        types, found = dict[tuple[str, ...], pyarrow.DataType](), list[set[tuple[str, ...]]]()
        for block in blocks:
            fields = drop_empty_structs([*list_fields(block.table.schema)], everything)
            for field in fields:
                types[field.path] = self._find_type(block, field, types)
            found.append({field.path for field in fields})
        columns = {}
        for path, kind in types.items():
            chunks: list[pyarrow.Array] = []
            for block, paths in zip(blocks, found, strict=True):
                column = self._cast(block, path, kind) if path in paths else pyarrow.nulls(block.table.num_rows, kind)
                chunks += column.chunks if path in paths else [column]
            columns[path] = pyarrow.chunked_array(chunks, kind)
        rows = sum(block.table.num_rows for block in blocks)
        return JsonColumns([Field(path, kind) for path, kind in types.items()], columns, rows)

    def _find_type(
        self, block: _Block, field: Field, known: Mapping[tuple[str, ...], pyarrow.DataType]
    ) -> pyarrow.DataType:
        """The type of a column in a block and the blocks before it. Raises DataError if they differ in kind."""
        (path, kind), steps = field, tuple[str | None, ...]()
        if path in known:
            if (common := find_common_type(known[path], kind)) is not None:
                return common
            steps, before, after = _name_conflict(known[path], kind)
        elif any(other[: len(path)] == path for other in known):
            before, after = "object", _name_kind(kind)
        elif outer := next((path[:size] for size in range(1, len(path)) if path[:size] in known), None):
            path, before, after = outer, _name_kind(known[outer]), "object"
        else:
            return kind
        row = next(row for row, value in enumerate(block.select(path)) if _has_value(value.as_py(), steps))
        place = "/".join([*path, *(step or "[]" for step in steps)])
        raise self._make_error(
            self._find_line(block, row), _explain(f"Column(/{place}) changed from {before} to {after}")
        )

    def _cast(self, block: _Block, path: tuple[str, ...], kind: pyarrow.DataType) -> pyarrow.ChunkedArray:
        try:
            return cast_column(block.select(path), kind)
        except CastError as error:
            raise self._make_inexact_error(self._find_line(block, error.row), path, error.value) from error

    def _find_line(self, block: _Block, row: int) -> int:
        return find_line(self.content[block.start : block.stop].split(b"\n"), row, block.first_line)

    def _make_error(self, line: int, fault: str) -> DataError:
        return DataError(f"{self.path}, line {line}: {fault}")


class _Whole(str):
    """A whole number as it is written."""

    @property
    def is_float(self) -> bool:
        """Whether a float holds it exactly, or is written so, without an exponent."""
        value = float(self)
        return Decimal(self) in (Decimal(value), Decimal(repr(value)))


def _list_wholes(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], _Whole]]:
    """Yields the whole numbers within a value, each with the path of its column."""
    if isinstance(value, _Whole):
        yield path, value
    elif isinstance(value, list):
        for each in value:
            yield from _list_wholes(each, path)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _list_wholes(each, (*path, name))


def _find_type(schema: Any, path: tuple[str, ...]) -> str:
    """The name of the type of the values of a column, also within lists."""
    kind = schema.field(path[0]).type
    while is_list(kind):
        kind = kind.value_type
    return _find_type(kind, path[1:]) if len(path) > 1 else str(kind)


def _has_large_floats(column: pyarrow.ChunkedArray) -> bool:
    """Whether a column has floats beyond which not all whole numbers are floats, also within lists and structs."""
    import pyarrow
    import pyarrow.compute as compute

    kind = column.type
    if is_list(kind):
        return _has_large_floats(compute.list_flatten(column))
    if pyarrow.types.is_struct(kind):
        return any(_has_large_floats(select_field(column, (field.name,))) for field in kind)
    if not pyarrow.types.is_floating(kind):
        return False
    extremes = compute.min_max(column).as_py().values()
    return any(value is not None and abs(value) >= EXACT_FLOATS for value in extremes)


def _with_texts(kind: pyarrow.DataType) -> pyarrow.DataType:
    """The same type with texts for times."""
    import pyarrow

    if is_list(kind):
        return pyarrow.list_(_with_texts(kind.value_type))
    if pyarrow.types.is_struct(kind):
        return pyarrow.struct([(field.name, _with_texts(field.type)) for field in kind])
    return pyarrow.string() if pyarrow.types.is_timestamp(kind) else kind


def _name_conflict(first: pyarrow.DataType, second: pyarrow.DataType) -> tuple[tuple[str | None, ...], str, str]:
    """Where two types differ in kind, and JSON's names for what they have there.

    The place is the steps from a value: None into the values of a list, and names into the fields of structs.
    """
    import pyarrow

    if is_list(first) and is_list(second):
        steps, *names = _name_conflict(first.value_type, second.value_type)
        return (None, *steps), names[0], names[1]
    if pyarrow.types.is_struct(first) and pyarrow.types.is_struct(second):
        shared = [field.name for field in second if first.get_field_index(field.name) >= 0]
        kinds = ((name, first.field(name).type, second.field(name).type) for name in shared)
        name, *both = next(each for each in kinds if find_common_type(each[1], each[2]) is None)
        steps, *names = _name_conflict(both[0], both[1])
        return (name, *steps), names[0], names[1]
    return (), _name_kind(first), _name_kind(second)


def _has_value(value: Any, steps: Sequence[str | None]) -> bool:
    """Whether a value of JSON has one at a place that `_name_conflict` returns."""
    if value is None or not steps:
        return value is not None
    if steps[0] is None:
        return any(_has_value(each, steps[1:]) for each in value)
    return _has_value(value.get(steps[0]), steps[1:])


def _name_kind(kind: pyarrow.DataType) -> str:
    """JSON's name for a type."""
    return "array" if is_list(kind) else KINDS.get(str(kind).partition("<")[0], str(kind))


def _explain(fault: str) -> str:
    """An error of Arrow's reader of JSON in other words."""
    if match := re.fullmatch(r"Column\((.*)\) changed from (.+) to (.+)", fault):
        name = match[1].removeprefix("/").replace("/[]", "").replace("/", ".")
        lists = ", in a list," if "/[]" in match[1] else ""
        where = f"column `{name}` has{lists}" if name else "there is"
        return f"{where} a value of the type {match[3]}, but {match[2]} before; write all with one type"
    if match := re.fullmatch(r"Column\(/?(.*)\) was specified twice", fault):
        return f"`{match[1].replace('/', '.')}` is there twice; remove one"
    return f"it is no JSON object: {fault}"
