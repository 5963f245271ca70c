"""The options with which a source splits its rows. All sources of tables inherit them."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from components.closest import join_names, suggest_name
from components.data.folds import split_for_fold
from components.data.holdout import RowKeys, limit_classes, split
from components.data.key_column import KeyColumn, format_key, join_parts
from components.hashing import hash_values, mix
from components.types import DataError, Ragged, Range, RowNumbers, RowRange, Strings, Values, as_index, row_count
from components.types.splits import SPLIT_OPTIONS, find_split_conflicts
from components.uri_mask import represent_masked

DEFAULT_SHARE = 0.15  # of the rows for each of validation and test
LATEST_SHARE = 0.2  # of the rows for testing, where the latest ones are held out
SPLIT_NAMES = {name: name for name in ("train", "valid", "test")} | dict.fromkeys(("validation", "val", "dev"), "valid")
ALLOWED_NAMES = "Allowed are train, test, and valid, validation, val or dev."
KEY_OPTIONS = ("stratify", "split_column", "split_hash", "split_by", "group")  # those that name a column
CLASS_COLUMN = "label"  # of sources without a target


@dataclass(frozen=True, kw_only=True)
class SplitOptions(ABC):
    """How the rows of a source are split.

    The parts of a source are `all`; or `train`, and those of `valid` and `test` that it has. The splits that aren't
    parts are made from `all` or `train`.

    Attributes:
        valid: the rows of the validation split: a share in (0, 1), or a count from 1. None: the part `valid`, or a
            share of 0.15 if there is none.
        test: the rows of the test split, likewise; with `split_by` a share of 0.2.
        stratify: a column of classes. Every split gets the same shares of its classes; with `group`, about the same.
        seed: seed of the shuffling before the split, and of a hash. None: rows aren't shuffled; the last ones are held
            out.
        valid_from: the part that the validation split is taken from. `test` is possible if the source has a test set.
        split_column: a column with the split of each row: train, test, and valid, validation, val or dev. If no row is
            of the validation or of the test split, that is taken from the training rows.
        split_hash: a column of keys, such as ids. A hash of its key decides where a row goes, so that a row stays where
            it is as rows are added. The shares are approximate.
        split_by: a column of dates, times or numbers. The latest rows are the test split, those before them the
            validation split. Rows of one time are never divided.
        group: a column, such as one of patients. Rows with one value are never divided.
        per_class: the number of training examples of each class to keep, chosen by the seed. None: all.
        classes: the classes to use. Rows of other classes are in no split. None: all. The column of classes is
            `stratify`, the target, or `label`.
    """

    valid: Annotated[float, Range(0, bounds="()")] | str | tuple[str, ...] | None = None
    test: float | str | tuple[str, ...] | None = None
    stratify: str | None = None
    seed: Annotated[int, Range(0)] | None = 0
    valid_from: Literal["train", "test"] = "train"
    split_column: str | None = None
    split_hash: str | None = None
    split_by: str | None = None
    group: str | None = None
    per_class: Annotated[int, Range(1)] | None = None
    classes: tuple[str | float | bool, ...] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Gives the class a `repr` without credentials, which `dataclass` keeps. It would write one for each class."""
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):
            cls.__repr__ = represent_masked  # type: ignore[method-assign]

    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """The number of rows by part, in the order of the parts."""

    @abstractmethod
    def key_columns(self) -> Iterator[tuple[Mapping[str, Values], Mapping[str, np.ndarray]]]:
        """Yields the columns that may decide about splits, and the masks of those with missing values, part by part."""

    @abstractmethod
    def locate_row(self, row: int) -> str:
        """The location of a row, counted over all parts, for messages."""

    @property
    def class_column(self) -> str:
        """The column of classes."""
        return self.stratify or CLASS_COLUMN

    @property
    def omitted_share(self) -> float | None:
        """The share in a fingerprint where `valid` or `test` is None."""
        return None

    def describe_splits(self) -> str:
        """The options, for a fingerprint. Those of earlier versions have the same text as there."""
        valid, test = (self.omitted_share if share is None else share for share in (self.valid, self.test))
        text = f"self.valid={valid!r}, self.test={test!r}, {self.stratify=}, {self.seed=}"
        text += "" if self.valid_from == "train" else f", {self.valid_from=}"
        later = {name: value for name in SPLIT_OPTIONS if (value := getattr(self, name)) is not None}
        return f"{text}, {later}" if later else text

    def splits(self) -> dict[str, RowNumbers]:
        """The row numbers of `train`, `valid` and `test`, counted over all parts."""
        return self._limit_classes(self._hold_out(self._read_keys()))

    def folds(self, count: int, fold: int) -> dict[str, RowNumbers]:
        """The splits of a cross-validation with `count` folds; `fold`, from 0, is the validation split."""
        keys = self._read_keys()
        splits = split_for_fold(self._hold_out(keys), folds=count, fold=fold, seed=self.seed, keys=keys)
        return self._limit_classes(splits)

    def _hold_out(self, keys: RowKeys) -> dict[str, RowNumbers]:
        parts = self.number_parts()
        if self.split_column is not None:
            parts = self._read_parts(self.split_column, parts)
        if self.classes is not None:
            is_used = self._find_classes(self.classes)
            parts = {part: rows[is_used[rows]] for part, rows in parts.items()}
        valid, test = self._share("valid", parts), self._share("test", parts)
        splits = split(parts, valid=valid, test=test, seed=self.seed, keys=keys, valid_from=self.valid_from)
        if self.group is not None and keys.groups is not None:
            self._check_groups(splits, self.group, keys.groups)
        return splits

    def number_parts(self) -> dict[str, RowNumbers]:
        """The row numbers of each part, counted over all parts."""
        sizes = self.sizes()
        stops = itertools.accumulate(sizes.values())
        return {part: RowRange(range(stop - sizes[part], stop)) for part, stop in zip(sizes, stops, strict=True)}

    def _share(self, name: str, parts: Mapping[str, RowNumbers]) -> float | None:
        """The share, or the number of rows, of a split. None: it is a part."""
        share = getattr(self, name)
        if isinstance(share, int | float):
            return share
        if name in parts:
            return None
        if share is not None:
            raise DataError(f"`{name}` (={share}) must be a share in (0, 1), or a number of rows")
        return LATEST_SHARE if name == "test" and self.split_by is not None else DEFAULT_SHARE

    def _read_keys(self) -> RowKeys:
        """Reads the columns that decide about splits. Raises DataError for options that exclude each other."""
        names = ("valid", "test", "stratify", "seed", "valid_from", *SPLIT_OPTIONS)
        for conflict in find_split_conflicts({name: getattr(self, name) for name in names}):
            described = conflict.describe({name: getattr(self, name) for name in names})
            raise DataError(f"{described} Leave one of them out.")
        keys: dict[str, Any] = {}
        if self.stratify is not None:
            keys["class_names"], keys["strata"] = self._read_column("stratify", self.stratify).number_values()
        if self.group is not None:
            keys["groups"] = self._read_complete("group", self.group).number_values()[1]
        if self.split_hash is not None:
            texts = self._read_complete("split_hash", self.split_hash).as_texts()
            keys["hashes"] = mix(hash_values(texts) ^ np.uint64((self.seed or 0) % 2**64))
        if self.split_by is not None:
            keys["times"] = self._read_times(self.split_by)
        return RowKeys(**keys)

    def _read_column(self, option: str, name: str) -> KeyColumn:
        """Reads a column of all parts. Raises DataError if there is none, or its rows have several values."""
        return join_parts(option, name, [*self._read_key(option, name)])

    def _read_key(self, option: str, name: str) -> Iterator[tuple[Values, np.ndarray]]:
        """Yields the values and the mask of a column in each part. The arguments are those of `join_parts`."""
        for columns, masks in self.key_columns():
            if name not in columns:
                raise DataError(self._describe_wrong_key(option, name, columns))
            values = columns[name]
            if isinstance(values, Ragged) or (not isinstance(values, Strings) and values.ndim != 1):
                raise DataError(f"`{option}` (={name}) must be a column with one value in each row")
            if not isinstance(values, Strings):
                values = np.asarray(values)  # some sources read rows when they are needed
            yield values, masks.get(name, np.ones(row_count(values), bool))

    def _describe_wrong_key(self, option: str, name: str, columns: Collection[str]) -> str:
        """A sentence about an option that needs the name of one of the columns, but has another one."""
        hint = suggest_name(name, columns) if name not in columns else "It is in `drop`; take it out of the list."
        return f"`{option}` (={name}) is no column. {hint}"

    def _read_complete(self, option: str, name: str) -> KeyColumn:
        """Reads a column. Raises DataError if a value is missing."""
        column = self._read_column(option, name)
        if count := int((~column.valid).sum()):
            rows = "1 row" if count == 1 else f"{count:,} rows"
            first = self.locate_row(int(column.valid.argmin()))
            raise DataError(
                f"{column} has no value in {rows}, the first is {first}. Fill in the values, or remove these rows."
            )
        return column

    def _read_times(self, name: str) -> np.ndarray:
        column = self._read_complete("split_by", name)
        if isinstance(column.values, Strings) or column.values.dtype.kind not in "iufM":
            found = format_key(column.number_values()[0][0])
            raise DataError(
                f"{column} has values such as {found}. It needs dates, times or numbers. Choose such a column, or set "
                "how its texts are read."
            )
        return column.values

    def _read_parts(self, name: str, parts: Mapping[str, RowNumbers]) -> dict[str, RowNumbers]:
        """The rows of the parts that a column names."""
        column = self._read_complete("split_column", name)
        if len(parts) > 1:
            raise DataError(
                f"{column} and the parts of the data, {', '.join(parts)}, both decide the splits. Leave it out."
            )
        values, ids = column.number_values()
        found = [format_key(value) for value in values]
        split_of = [SPLIT_NAMES.get(value.strip().lower(), "") for value in found]
        if "" in split_of:
            raise DataError(f"{column} has the values {join_names(found)}. {ALLOWED_NAMES}")
        if "train" not in split_of:
            raise DataError(f"{column} has no row of train, only of {join_names(found)}. {ALLOWED_NAMES}")
        if "valid" in split_of and self.valid is not None:
            raise DataError(
                f"{column} has rows of the validation split, and `valid` (={self.valid}) is set. Leave it out."
            )
        row_splits = np.array(split_of)[ids]
        return {split: np.flatnonzero(row_splits == split) for split in ("train", "valid", "test") if split in split_of}

    def _find_classes(self, wanted: tuple[str | float | bool, ...]) -> np.ndarray:
        """Which rows have one of some classes, (rows,), bool."""
        return self._read_column("classes", self.class_column).find_values(wanted)

    def _limit_classes(self, splits: dict[str, RowNumbers]) -> dict[str, RowNumbers]:
        """The splits with at most `per_class` training rows of each class."""
        if self.per_class is None:
            return splits
        _, ids = self._read_column("per_class", self.class_column).number_values()
        rows = splits["train"]
        return splits | {"train": limit_classes(rows, ids[rows], self.per_class, self.seed)}

    def _check_groups(self, splits: Mapping[str, RowNumbers], name: str, groups: np.ndarray) -> None:
        """Raises DataError if given splits divide a group."""
        split_of = np.full(groups.max() + 1, -1)
        for number, (split_name, rows) in enumerate(splits.items()):
            ids = groups[as_index(rows)]
            if len(divided := ids[split_of[ids] >= 0]):
                group = format_key(self._read_column("group", name).number_values()[0][divided[0]])
                other = [*splits][split_of[divided[0]]]
                raise DataError(
                    f"`group` (={name}): {group} has rows in two splits, {other} and {split_name}, because splits are "
                    "given. Correct them, or set `group=null`."
                )
            split_of[ids] = number
