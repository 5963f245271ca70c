"""Several sources as one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np

from components.closest import join_names
from components.columns import merge_options
from components.data.csv.text_table import TextTable
from components.data.files import hash_texts
from components.data.joined_profile import join_profiles
from components.data.same_types import NUMBERS, find_common_options, read_alike
from components.data.source_block import SourceBlock, check_columns, read_values
from components.data.splitting import KEY_OPTIONS, SplitOptions
from components.types import (
    Block,
    ChecksFiles,
    ColumnType,
    DataError,
    FileChecksums,
    Foldable,
    HasFiles,
    LazyColumns,
    LeavesOut,
    LocalVersion,
    LocatesRows,
    OpensSource,
    Profiled,
    Range,
    RowNumbers,
    SkipsRows,
    Source,
    Strings,
    TableProfile,
    Values,
    row_count,
)

SHARED_OPTIONS = (
    *("target", "drop", "on_missing_target"),
    *("types", "dates", "marks", "nulls", "decimal", "thousands"),
)
"""The options of tables that are set for all sources at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixed(SplitOptions):
    """Several sources as one. Their rows come one source after another, and each split has those of all sources.

    Each source is split by its own options. If an option of splits is set for all sources, all rows are split together,
    so that a group with rows in several sources is never divided.

    Attributes are those of `SplitOptions`, for the rows of all sources together, and:
        sources: the sources by name: options of `data` with their fields. All have the same columns, of the same types.
        source_column: a column that is added, with the name of the source of each row. None: there is none.
        target: the column to predict in all tables, or several. None: each source has its own `target`.
        drop: columns to leave out of all tables. Like the options below, it holds where a source doesn't set its own.
        on_missing_target: `drop`: rows without a value of `target` are left out of all tables, and counted.
        types: the types of some columns, as for a table. The types of the others are inferred from all tables.
        dates: how times are written, as for a table.
        marks: the marks of the numbers of some columns, as for a table.
        nulls: the spellings of a missing value, as for a table.
        decimal: the decimal separator, as for a table.
        thousands: the separator of thousands, as for a table.
    """

    sources: dict[str, Source]
    source_column: str | None = None
    target: str | int | tuple[str | int, ...] | None = None
    drop: tuple[str, ...] = ()
    on_missing_target: Literal["error", "drop"] = "error"
    types: dict[str, ColumnType] | None = None
    dates: str | dict[str, str] | None = None
    marks: dict[str, str] | None = None
    nulls: tuple[str | float, ...] | dict[str, tuple[str | float, ...]] | None = None
    decimal: str | dict[str, str] | None = None
    thousands: str | None = None
    valid: Annotated[float, Range(0, bounds="()")] | None = None
    test: Annotated[float, Range(0, bounds="()")] | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise DataError("`sources` is empty; list sources by name, such as {a: {option: table, path: a.csv}}")
        self._check_splits()
        object.__setattr__(
            self, "sources", {name: self._share_options(name, each) for name, each in self.sources.items()}
        )

    def open(self) -> Mixed:
        """The same sources, each of which is for the format of its file."""
        opened = {name: each.open() if isinstance(each, OpensSource) else each for name, each in self.sources.items()}
        kind = MixedTables if all(isinstance(each, TextTable) for each in opened.values()) else Mixed
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        return kind(**options | {"sources": opened})

    @property
    def read_sources(self) -> Mapping[str, Source]:
        """The sources, as their rows are read."""
        return self.sources

    def fingerprint(self) -> str:
        named = [f"{name} {source.fingerprint()}" for name, source in self.sources.items()]
        splits = [self.describe_splits()] if self._split_options else []
        return hash_texts([str(self.source_column), *named, *splits])

    def profile(self) -> TableProfile:
        """The facts about the columns of all sources.

        Raises:
            DataError: nothing is inferred for one of the sources, or the sources have different columns.
        """
        profiles = {}
        for name, source in self.read_sources.items():
            if not isinstance(source, Profiled):
                raise DataError(
                    f"nothing is inferred for the source {name} ({type(source).__name__}). Write a feature file, and "
                    "choose it by feature=…"
                )
            profiles[name] = source.profile()
        return join_profiles(profiles)

    def local_version(self) -> str:
        """A text that changes when a file is replaced, also by one of equal size and time of modification."""
        versions = [each.local_version() if isinstance(each, LocalVersion) else "" for each in self.sources.values()]
        return hash_texts(versions) if any(versions) else ""

    def file_checksums(self) -> Sequence[tuple[str, FileChecksums]]:
        """The checksums of the files of all sources."""
        checking = [source for source in self.sources.values() if isinstance(source, ChecksFiles)]
        return [known for source in checking for known in source.file_checksums()]

    def add_file_checksums(self, known: Mapping[str, FileChecksums]) -> None:
        """Adds the checksums of files that were read before."""
        for source in self.sources.values():
            if isinstance(source, ChecksFiles):
                source.add_file_checksums(known)

    def source_sizes(self) -> Mapping[str, int]:
        """The number of rows of each source."""
        return {name: sum(source.sizes().values()) for name, source in self.read_sources.items()}

    def sizes(self) -> Mapping[str, int]:
        return {"all": sum(self.source_sizes().values())}

    def blocks(self, part: str) -> Iterator[Block]:
        """Yields the rows of all sources.

        Raises:
            DataError: a source has other columns than the first one, or one of another type.
        """
        first: SourceBlock | None = None
        for name, source in self.read_sources.items():
            for block in itertools.chain.from_iterable(map(source.blocks, source.sizes())):
                own = self._name_block(name, block)
                first = first or own
                if first.name != name:
                    check_columns(first, own)
                yield own

    def splits(self) -> dict[str, RowNumbers]:
        if self._split_options:
            return super().splits()
        return self._join_splits(lambda name, source: source.splits())

    def folds(self, count: int, fold: int) -> dict[str, RowNumbers]:
        """The splits of a cross-validation, in which each source is divided into folds, or all rows together."""
        if self._split_options:
            return super().folds(count, fold)

        def split(name: str, source: Source) -> Mapping[str, RowNumbers]:
            if not isinstance(source, Foldable):
                raise DataError(f"the source {name} ({type(source).__name__}) does not support cross-validation")
            return source.folds(count, fold)

        return self._join_splits(split)

    def locate_row(self, row: int) -> str:
        """The location of a row, for messages."""
        for name, source in self.read_sources.items():
            if row < (size := sum(source.sizes().values())):
                return f"{name}: {source.locate_row(row) if isinstance(source, LocatesRows) else f'row {row}'}"
            row -= size
        raise IndexError(row)

    def file_sizes(self) -> Sequence[int]:
        """The number of rows of each file. A source that doesn't come from files counts as one."""
        return [size for source in self.read_sources.values() for size in _count_rows_of_files(source)]

    def skipped_rows(self) -> int | None:
        """The number of rows that are left out because they can't be read. None: such a row is an error."""
        leaving = [source for source in self.read_sources.values() if isinstance(source, LeavesOut)]
        counts = [count for source in leaving if (count := source.skipped_rows()) is not None]
        return sum(counts) if counts else None

    def left_out(self) -> tuple[str, ...]:
        """Sentences about the rows that are left out."""
        leaving = {name: source for name, source in self.read_sources.items() if isinstance(source, LeavesOut)}
        return tuple(f"{name}: {sentence}" for name, source in leaving.items() for sentence in source.left_out())

    def row_numbers(self) -> np.ndarray | None:
        """The number in the data, from 0, of each row that isn't left out. None: no row is left out."""
        own = [source.row_numbers() if isinstance(source, LeavesOut) else None for source in self.read_sources.values()]
        if all(numbers is None for numbers in own):
            return None
        pieces, start = [], 0
        for source, numbers in zip(self.read_sources.values(), own, strict=True):
            pieces.append(start + (np.arange(sum(source.sizes().values())) if numbers is None else numbers))
            start += sum(_count_rows_of_files(source))
        return np.concatenate(pieces)

    @property
    def on_bad_row(self) -> str:
        """`skip` if a source leaves out rows that can't be read, else `error`."""
        values = [source.on_bad_row for source in self.sources.values() if isinstance(source, SkipsRows)]
        return "skip" if "skip" in values else "error"

    @property
    def reads_used_columns(self) -> bool:
        """Whether a source reads only the columns that are used."""
        return any(isinstance(source, SkipsRows) and source.reads_used_columns for source in self.sources.values())

    def with_used_columns(
        self,
        names: Collection[str],
        targets: Collection[str] = (),
        class_separators: Mapping[str, str | None] | None = None,
    ) -> Mixed:
        """The same sources, for a run that reads these columns only. The arguments are those of `SkipsRows`."""
        keys = {getattr(self, option) for option in KEY_OPTIONS} - {None}
        keys |= set() if self.classes is None else {self.class_column}
        own = ({*names} | keys) - {self.source_column}
        separators = {**({} if self.stratify is None else {self.stratify: None}), **(class_separators or {})}

        def select(source: Source) -> Source:
            if isinstance(source, SkipsRows) and (source.on_bad_row == "skip" or source.reads_used_columns):
                return source.with_used_columns(own, targets, separators)
            return source

        return replace(self, sources={name: select(source) for name, source in self.sources.items()})

    @property
    def class_column(self) -> str:
        targets = self.target if isinstance(self.target, tuple) else (self.target,)
        return self.stratify or next((str(target) for target in targets if target is not None), super().class_column)

    def key_columns(self) -> Iterator[tuple[Mapping[str, Values], Mapping[str, np.ndarray]]]:
        for source in self._splitting.values():
            yield from source.key_columns()

    def number_parts(self) -> dict[str, RowNumbers]:
        """The row numbers of each part of all sources. Raises DataError if the sources have different parts."""
        parts, start = dict[str, list[RowNumbers]](), 0
        own = {name: source.number_parts() for name, source in self._splitting.items()}
        (first, expected), *others = own.items()
        for name, found in others:
            if found.keys() != expected.keys():
                raise DataError(
                    f"{self._describe_option()} splits the rows of all sources together, but the source {name} has the "
                    f"parts {join_names(found)}, and {first} has {join_names(expected)}. Set the options of splits for "
                    f"each source: `sources.{name}.{next(iter(self._split_options))}`."
                )
        for found in own.values():
            for part, rows in found.items():
                parts.setdefault(part, []).append(rows + start)
            start += sum(map(len, found.values()))
        return {part: np.concatenate(rows) for part, rows in parts.items()}

    @cached_property
    def _splitting(self) -> Mapping[str, SplitOptions]:
        """The sources, if all rows can be split together."""
        for name, source in self.read_sources.items():
            if not isinstance(source, SplitOptions):
                raise DataError(
                    f"{self._describe_option()} splits the rows of all sources together, but the source {name} "
                    f"({type(source).__name__}) has splits of its own. Leave the option out."
                )
        return {name: source for name, source in self.read_sources.items() if isinstance(source, SplitOptions)}

    @property
    def _split_options(self) -> dict[str, Any]:
        """The options of splits that are set for all sources."""
        return _find_split_options(self)

    def _describe_option(self) -> str:
        option, value = next(iter(self._split_options.items()))
        return f"`{option}` (={value})"

    def _check_splits(self) -> None:
        """Raises DataError for an option of splits of a source, if all rows are split together."""
        for name, source in self.sources.items() if self._split_options else ():
            for option, value in _find_split_options(source).items():
                if not isinstance(value, str | tuple) or option not in ("valid", "test"):  # files are parts
                    raise DataError(
                        f"{self._describe_option()} splits the rows of all sources together, but the source {name} has "
                        f"`{option}` (={value}). Leave one of them out."
                    )

    def _share_options(self, name: str, source: Source) -> Source:
        """A source with the options that are set for all sources, where it doesn't set its own."""
        defaults = {field.name: field.default for field in fields(Mixed)}
        shared = {option: getattr(self, option) for option in SHARED_OPTIONS}
        shared = {option: value for option, value in shared.items() if value != defaults[option]}
        if unknown := [option for option in shared if not hasattr(source, option)]:
            raise DataError(
                f"`{unknown[0]}` (={shared[unknown[0]]}) is for tables, and the source {name} "
                f"({type(source).__name__}) is none. Set it for each table: `sources.NAME.{unknown[0]}`."
            )
        own = {option: value for option in shared if (value := getattr(source, option)) != defaults[option]}
        return replace(source, **merge_options(shared, own)) if shared else source  # type: ignore[type-var]

    def _join_splits(self, split: Callable[[str, Source], Mapping[str, RowNumbers]]) -> dict[str, RowNumbers]:
        """The splits of all sources, in which rows are numbered over the sources."""
        found: dict[str, list[RowNumbers]] = {}
        start = 0
        for name, source in self.read_sources.items():
            for part, rows in split(name, source).items():
                found.setdefault(part, []).append(rows + start)
            start += sum(source.sizes().values())
        return {part: np.concatenate(found[part]) for part in ("train", "valid", "test") if part in found}

    def _name_block(self, name: str, block: Block) -> SourceBlock:
        columns = block.columns
        if self.source_column is not None:
            if self.source_column in columns:
                text = f"`source_column` (={self.source_column}) is a column of the source {name} already"
                raise DataError(f"{text}. Choose another name. Columns: {join_names(columns)}.")
            rows = row_count(next(iter(columns.values())))
            names = Strings.from_bytes([name.encode()])._replace(indices=np.zeros(rows, np.int32))
            added = {self.source_column: names}
            columns = columns.with_columns(added) if isinstance(columns, LazyColumns) else {**columns, **added}
        return SourceBlock(
            columns=columns,
            valid=block.valid,
            origin=f"{name}: {block.origin}",
            ids=block.ids,
            files=block.files,
            name=name,
            block=block,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedTables(Mixed):
    """Several tables as one. Their columns are read alike; see `read_alike`."""

    @cached_property
    def read_sources(self) -> Mapping[str, TextTable]:
        """The tables, each of which is read with what the others show."""
        return read_alike({name: source for name, source in self.sources.items() if isinstance(source, TextTable)})

    @cached_property
    def _float_columns(self) -> Collection[str]:
        """The columns of floats in a table whose whole numbers another table stores."""
        types = [table.table.types for table in self.read_sources.values()]
        return [name for name in types[0] if {each.get(name) for each in types} == NUMBERS]

    def _name_block(self, name: str, block: Block) -> SourceBlock:
        read = read_values(block)
        floats = {key: np.asarray(read[key], np.float64) for key in self._float_columns if key in read}
        columns = block.columns
        columns = columns.with_columns(floats) if isinstance(columns, LazyColumns) else {**columns, **floats}
        return super()._name_block(name, replace(block, columns=columns))

    def inferred_options(self, columns: Mapping[str, Literal["int", "float"] | None]) -> dict[str, Any]:
        """The options with which other rows are read in the same way, as far as the tables have the same."""
        common = find_common_options([*self.read_sources.values()], columns)
        common["types"] |= dict.fromkeys(set(columns).intersection(self._float_columns), "float")
        return {name: value for name, value in common.items() if value not in (None, {})}

    def reading_notes(self, columns: Collection[str], *, declared: bool) -> tuple[str, ...]:
        notes = (table.reading_notes(columns, declared=declared) for table in self.read_sources.values())
        return tuple(itertools.chain.from_iterable(notes))


def _count_rows_of_files(source: Source) -> Sequence[int]:
    """The number of rows of each file of a source, also of those that are left out, or of the source as a whole."""
    if isinstance(source, HasFiles):
        return source.file_sizes()
    numbers = source.row_numbers() if isinstance(source, LeavesOut) else None
    return [sum(source.sizes().values()) if numbers is None else int(numbers[-1]) + 1]


def _find_split_options(source: object) -> dict[str, Any]:
    """The options of splits that are set for a source."""
    if not isinstance(source, SplitOptions):
        return {}
    defaults = {field.name: field.default for field in fields(SplitOptions)}
    return {name: value for name, default in defaults.items() if (value := getattr(source, name)) != default}
