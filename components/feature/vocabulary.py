"""Ids by a list of values, which is given, read from a file, or learned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from components.feature.base.column import Categorical
from components.feature.base.values import NO_ID, CategoryValues, check_category_type, read_values
from components.feature.statistic.counts import Counts, find_most_frequent
from components.feature.text.fingerprint import fingerprint64, format_integers, to_buckets
from components.feature.text.string_ops import (
    apply_to_strings,
    concatenate_categories,
    format_category,
    take,
    to_categories,
    to_strings,
)
from components.feature.text.vocabulary_file import find_file, read_lines
from components.feature.text.vocabulary_index import build_index, check_values, is_text, look_up, suggest_value
from components.input_files import hash_file
from components.types import Block, Constants, DataError, Encoded, Ragged, Range, Statistic, Strings, UserError, Values

UNKNOWN = NO_ID + np.int32(1)
KERAS_OOV = ("[UNK]", -1)  # Keras's names for unknown strings and integers
WHOLE = re.compile("0|-?[1-9][0-9]*")


@dataclass(frozen=True, kw_only=True)
class Vocabulary(Categorical):
    """The number of a value in a list: TensorFlow's `categorical_column_with_vocabulary_list` and `_file`, and Keras's
    `StringLookup` and `IntegerLookup`.

    The ids of the list come first, then those of the `oov` buckets; with `oov_first`, as in Keras, the other way round.
    A `mask` comes before both. Without `values` and `path` the list is learned from the training split: all its values,
    the most frequent first, and of equally frequent ones the greatest first.

    Attributes:
        key: the raw column, strings or integers. Where all rows have the same number of values, "" and -1 are missing
            values.
        values: the list.
        path: a text file with one value per line. A relative one is looked up below $TITRATE_DATA, then below the
            working folder.
        size: how many lines of the file are read. None: all.
        top: how many values are learned at most. None: all.
        min_count: how often a learned value occurs at least.
        oov: how many ids unknown values share, by a hash.
        default: the id of unknown values without `oov`; -1 counts for nothing.
        oov_method: the hash of integers: `farmhash`, Fingerprint64 of their digits, or `floormod`, the remainder alone
            (Keras's default).
        oov_first: whether the ids are in Keras's order. As in Keras, "[UNK]" and -1 are unknown values then, and never
            learned.
        mask: the value that has id 0.
        missing: replaces missing values. None: they have no id.
        check: whether an unknown value is an error.
    """

    key: str
    values: tuple[str, ...] | tuple[int, ...] | None = None
    path: str | None = None
    size: Annotated[int, Range(1)] | None = None
    top: Annotated[int, Range(1)] | None = None
    min_count: Annotated[int, Range(1)] | None = None
    oov: Annotated[int, Range(0)] = 0
    default: Annotated[int, Range(-1)] = -1
    oov_method: Literal["farmhash", "floormod"] = "farmhash"
    oov_first: bool = False
    mask: str | int | None = None
    missing: str | int | None = None
    check: bool = False

    def __post_init__(self) -> None:
        listed = self.values is not None or self.path is not None
        if self.values is not None and self.path is not None:
            raise self._error("it has both `values` and `path`; leave one out")
        if listed and (self.top is not None or self.min_count is not None):
            raise self._error("`top` and `min_count` are for a list that is learned; leave out `values` and `path`")
        if self.size is not None and self.path is None:
            raise self._error("`size` is a number of lines of `path`, which isn't set")
        if self.oov < 0 or self.default < -1:
            raise self._error(f"oov={self.oov} is 0 at least, default={self.default} is -1 at least")
        if (self.oov > 0) + (self.default != -1) + self.check > 1:
            raise self._error("`oov`, `default` and `check` each decide on unknown values; leave out all but one")
        if self.values is not None:
            check_values(self.key, self.values, self.mask)

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def fingerprint(self) -> str:
        """The digest of the file; "" without one."""
        return "" if self.path is None else hash_file(find_file(self.path)).hexdigest()

    def statistics(self) -> Mapping[str, Statistic]:
        learned = self.values is None and self.path is None
        return {"counts": Counts(self.key, self.missing, self._empty_is_missing)} if learned else {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Indexes the list.

        Returns:
            `host`: `data` and `offsets` of strings, or `values` of integers, the mask first, and their `ids`. Of a
            learned list also `documents`, the number of rows that have each id, and `rows`, the number of all rows.
        """
        values, learned = self._make_list(results)
        if self.mask is not None and isinstance(self.mask, str) != isinstance(values, Strings):
            kind = "text" if isinstance(values, Strings) else "whole numbers"
            raise self._error(f"the mask {self.mask!r} is of another type than its values, {kind}")
        host = build_index(values if self.mask is None else concatenate_categories(to_categories([self.mask]), values))
        ids = np.arange(len(host["order"]), dtype=np.int32) + np.int32(self.oov if self.oov_first else 0)
        ids[: self.mask is not None] = 0
        size = len(ids) + self.oov
        if self.default >= size:
            raise self._error(f"default={self.default} is none of its ids, 0 to {size - 1}")
        if "documents" in learned:
            documents = np.zeros(size, np.int64)
            documents[ids[self.mask is not None :]] = learned["documents"]
            learned = {**learned, "documents": documents}
        return Constants(host={**host, "ids": ids, **learned}, static={"buckets": size})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        found = read_values(block, self.key, parents, missing=self.missing, empty_is_missing=self._empty_is_missing)
        if found.is_empty:
            return found.ids(np.zeros(found.total, np.int32))
        if isinstance(found.values, Strings) or not constants.host.get("whole", False):
            check_category_type(block, self.key, found, "its vocabulary", is_text(constants.host))
        if isinstance(found.values, Strings):
            ids = apply_to_strings(
                found.values, lambda data, offsets: self._ids_of_strings(Strings(data, offsets), constants)
            )
        elif is_text(constants.host):
            ids = self._ids_of_strings(Strings(*format_integers(found.values)), constants)
        else:
            ids = self._ids(look_up(found.values, found.values, constants.host), found.values, constants)
        if self.check:
            self._refuse_unknown(block, found, ids, constants)
        return found.ids(ids)

    def warnings(self, encoded: Mapping[str, Encoded], constants: Constants) -> tuple[str, ...]:
        """How many values are unknown, and how many are missing where the training split had none missing."""
        given, host = encoded["ids"], constants.host
        ids = np.asarray(given.values if isinstance(given, Ragged) else given)
        found = []
        if (unknown := self._find_unknown(ids, len(host["ids"]))).any():
            count = f"{int(unknown.sum()):,} of {int((ids != NO_ID).sum()):,} values"
            found.append(f"{count} of column `{self.key}` aren't in its vocabulary{_describe_first(given, unknown)}")
        gaps = ids == NO_ID
        if gaps.any() and "rows" in host and host["documents"].sum() >= host["rows"]:
            count = f"{int(gaps.sum()):,} {'gap' if gaps.sum() == 1 else 'gaps'}{_describe_first(given, gaps)}"
            found.append(f"column `{self.key}` has {count}; in training it had none")
        return tuple(found)

    def _find_unknown(self, ids: np.ndarray, listed: int) -> np.ndarray:
        """Which ids are those of unknown values; none with a `default`, which may be an id of the list."""
        if self.default != -1:
            return np.zeros(ids.shape, bool)
        first = int(self.mask is not None) if self.oov_first else listed
        return (ids >= first) & (ids < first + self.oov) if self.oov else ids == -1

    @property
    def _empty_is_missing(self) -> bool:
        return self.mask not in ("", -1)

    def _make_list(self, results: Mapping[str, Any]) -> tuple[Strings | np.ndarray, dict[str, np.ndarray]]:
        """The values of the list, and further constants."""
        if self.path is not None:
            lines = read_lines(self.path, self.size)
            return to_strings(lines), {"whole": np.array(all(WHOLE.fullmatch(line) for line in lines))}
        if self.values is not None:
            return to_categories(self.values), {}
        tally = results["counts"]
        reserved = KERAS_OOV if self.oov_first else ()
        places = find_most_frequent(tally, self.top, self.min_count or 1, without={self.mask, *reserved})
        if not len(places):
            most = f"the most frequent value occurs {tally.counts.max()} times" if len(tally.counts) else "it has none"
            raise DataError(f"column `{self.key}`: no value to learn with min_count={self.min_count or 1}; {most}")
        return take(tally.tokens, places), {"documents": tally.documents[places], "rows": np.array(tally.rows)}

    def _ids_of_strings(self, strings: Strings, constants: Constants) -> np.ndarray:
        hashes = fingerprint64(strings.data, strings.offsets)
        return self._ids(look_up(strings, hashes, constants.host), hashes, constants)

    def _ids(self, numbers: np.ndarray, hashes: np.ndarray, constants: Constants) -> np.ndarray:
        """The ids of values, int32.

        Args:
            numbers: their numbers in the list; -1 for unknown ones.
            hashes: fingerprints of strings, or the integers.
            constants: those of the column.
        """
        known, ids = numbers >= 0, constants.host["ids"][numbers]
        if known.all():
            return ids
        if not self.oov:
            return np.where(known, ids, UNKNOWN if self.check else np.int32(self.default))
        if hashes.dtype == np.uint64:
            others = to_buckets(hashes, self.oov)
        elif self.oov_method == "farmhash":
            others = to_buckets(fingerprint64(*format_integers(hashes)), self.oov)
        else:
            others = hashes % self.oov
        first = int(self.mask is not None) if self.oov_first else len(constants.host["ids"])
        return np.where(known, ids, first + others).astype(np.int32)

    def _refuse_unknown(self, block: Block, found: CategoryValues, ids: np.ndarray, constants: Constants) -> None:
        unknown = (ids == UNKNOWN) & (True if found.valid_mask is None else found.valid_mask)
        if unknown.any():
            place = int(np.argmax(unknown))
            value = format_category(found.values, place)
            raise DataError(
                f"{block.locate(found.row(place))}: column `{self.key}` is {value!r}, which its vocabulary lacks; "
                f"{suggest_value(value, constants.host)}set `oov` or `default` to give unknown values an id"
            )

    def _error(self, fault: str) -> UserError:
        return UserError(f"vocabulary of column `{self.key}`: {fault}")


def _describe_first(encoded: Encoded, wanted: np.ndarray) -> str:
    """`, the first in row 3` where each row has one value, else ""."""
    return "" if isinstance(encoded, Ragged) or wanted.ndim != 1 else f", the first in row {int(wanted.argmax())}"
