"""Several sources as one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from components.closest import join_names, suggest_name
from components.data.files import hash_texts
from components.types import (
    Block,
    ChecksFiles,
    DataError,
    FileChecksums,
    Foldable,
    HasFiles,
    LazyColumns,
    LeavesOut,
    LocalVersion,
    LocatesRows,
    OpensSource,
    Ragged,
    SkipsRows,
    Source,
    Strings,
    Values,
    row_count,
)

KINDS = {"f": "float", "i": "int", "u": "int", "b": "bool", "M": "timestamp", "U": "string", "O": "string"}  # of dtypes


@dataclass(frozen=True, kw_only=True)
class SourceBlock(Block):
    """A block of one of several sources, whose rows are named with their source in messages.

    Attributes:
        name: the name of the source.
        block: its block.
    """

    name: str
    block: Block

    def locate(self, row: int) -> str:
        return f"{self.name}: {self.block.locate(row)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixed:
    """Several sources as one. Their rows come one source after another, and each split has those of all sources.

    Attributes:
        sources: the sources by name: options of `data` with their fields. All have the same columns, of the same types.
        source_column: a column that is added, with the name of the source of each row. None: there is none.
    """

    sources: dict[str, Source]
    source_column: str | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise DataError("`sources` is empty; list sources by name, such as {a: {option: table, path: a.csv}}")

    def open(self) -> Mixed:
        """The same sources, each of which is for the format of its file."""
        return self._map(lambda source: source.open() if isinstance(source, OpensSource) else source)

    def fingerprint(self) -> str:
        named = [f"{name} {source.fingerprint()}" for name, source in self.sources.items()]
        return hash_texts([str(self.source_column), *named])

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
        return {name: sum(source.sizes().values()) for name, source in self.sources.items()}

    def sizes(self) -> Mapping[str, int]:
        return {"all": sum(self.source_sizes().values())}

    def blocks(self, part: str) -> Iterator[Block]:
        """Yields the rows of all sources.

        Raises:
            DataError: a source has other columns than the first one, or one of another type.
        """
        first: SourceBlock | None = None
        for name, source in self.sources.items():
            for block in itertools.chain.from_iterable(map(source.blocks, source.sizes())):
                own = self._name_block(name, block)
                first = first or own
                if first.name != name:
                    _check_columns(first, own)
                yield own

    def splits(self) -> Mapping[str, np.ndarray]:
        return self._join_splits(lambda name, source: source.splits())

    def folds(self, count: int, fold: int) -> Mapping[str, np.ndarray]:
        """The splits of a cross-validation, in which each source is divided into folds."""

        def split(name: str, source: Source) -> Mapping[str, np.ndarray]:
            if not isinstance(source, Foldable):
                raise DataError(f"the source {name} ({type(source).__name__}) does not support cross-validation")
            return source.folds(count, fold)

        return self._join_splits(split)

    def locate_row(self, row: int) -> str:
        """The location of a row, for messages."""
        for name, source in self.sources.items():
            if row < (size := sum(source.sizes().values())):
                return f"{name}: {source.locate_row(row) if isinstance(source, LocatesRows) else f'row {row}'}"
            row -= size
        raise IndexError(row)

    def file_sizes(self) -> Sequence[int]:
        """The number of rows of each file. A source that doesn't come from files counts as one."""
        return [size for source in self.sources.values() for size in _count_rows_of_files(source)]

    def skipped_rows(self) -> int | None:
        """The number of rows that are left out because they can't be read. None: such a row is an error."""
        leaving = [source for source in self.sources.values() if isinstance(source, LeavesOut)]
        counts = [count for source in leaving if (count := source.skipped_rows()) is not None]
        return sum(counts) if counts else None

    def left_out(self) -> tuple[str, ...]:
        """Sentences about the rows that are left out."""
        leaving = {name: source for name, source in self.sources.items() if isinstance(source, LeavesOut)}
        return tuple(f"{name}: {sentence}" for name, source in leaving.items() for sentence in source.left_out())

    def row_numbers(self) -> np.ndarray | None:
        """The number in the data, from 0, of each row that isn't left out. None: no row is left out."""
        own = [source.row_numbers() if isinstance(source, LeavesOut) else None for source in self.sources.values()]
        if all(numbers is None for numbers in own):
            return None
        pieces, start = [], 0
        for source, numbers in zip(self.sources.values(), own, strict=True):
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
        own = {*names} - {self.source_column}

        def select(source: Source) -> Source:
            if isinstance(source, SkipsRows) and (source.on_bad_row == "skip" or source.reads_used_columns):
                return source.with_used_columns(own, targets, class_separators)
            return source

        return self._map(select)

    def _map(self, function: Callable[[Source], Source]) -> Mixed:
        return replace(self, sources={name: function(source) for name, source in self.sources.items()})

    def _join_splits(self, split: Callable[[str, Source], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The splits of all sources, in which rows are numbered over the sources."""
        found: dict[str, list[np.ndarray]] = {}
        start = 0
        for name, source in self.sources.items():
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


def _count_rows_of_files(source: Source) -> Sequence[int]:
    """The number of rows of each file of a source, also of those that are left out, or of the source as a whole."""
    if isinstance(source, HasFiles):
        return source.file_sizes()
    numbers = source.row_numbers() if isinstance(source, LeavesOut) else None
    return [sum(source.sizes().values()) if numbers is None else int(numbers[-1]) + 1]


def _check_columns(first: SourceBlock, block: SourceBlock) -> None:
    """Raises DataError if a block has other columns than that of another source, or one of another type."""
    for one, other in ((first, block), (block, first)):
        if missing := [name for name in one.columns if name not in other.columns]:
            hint = suggest_name(missing[0], other.columns, title="Columns")
            text = f"the source {other.name} has no {_name_columns(missing)}, which the source {one.name} has. {hint}"
            raise DataError(f"{text} Sources that are mixed have the same columns.")
    own, others = _read_values(block), _read_values(first)
    for name in own.keys() & others.keys():
        kind, needed = _find_kind(own[name]), _find_kind(others[name])
        if kind != needed:
            raise DataError(
                f"column `{name}` is {kind} in the source {block.name}, but {needed} in the source {first.name}. Write "
                "it with one type in both; of a table, `types` declares it."
            )


def _name_columns(names: Sequence[str]) -> str:
    return f"column `{names[0]}`" if len(names) == 1 else f"columns {join_names(names)}"


def _read_values(block: Block) -> Mapping[str, Values]:
    """The columns of a block that were read."""
    return block.columns.read_columns if isinstance(block.columns, LazyColumns) else block.columns


def _find_kind(values: Any) -> str:
    """The type of a column, such as `int`, `string`, `lists of string` or `arrays (28, 28) of int`."""
    if isinstance(values, Ragged):
        return f"lists of {_find_kind(values.values)}"
    if isinstance(values, Strings):
        return "string"
    kind = KINDS.get(values.dtype.kind, str(values.dtype))
    return kind if values.ndim == 1 else f"arrays {values.shape[1:]} of {kind}"
