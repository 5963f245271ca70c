"""Ids from a list of values. The list is given, read from a file, or learned."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np

from components.feature.base.column import Categorical
from components.feature.base.values import NO_ID, CategoryValues, check_category_type, read_values
from components.feature.statistic.counts import Counts, find_most_frequent
from components.feature.text.fingerprint import fingerprint64, format_integers, to_buckets
from components.feature.text.string_ops import (
    concatenate_categories,
    format_category,
    gather,
    map_strings,
    take,
    to_categories,
    to_strings,
)
from components.feature.text.vocabulary_file import find_file, read_lines
from components.feature.text.vocabulary_index import build_index, check_values, is_text, look_up, suggest_value
from components.input_files import hash_file
from components.ragged import split_levels
from components.types import (
    Block,
    Constants,
    DataError,
    Encoded,
    Ragged,
    Range,
    Remedy,
    Statistic,
    Strings,
    UserError,
    Values,
    bind_fields,
)
from components.uri_mask import represent_masked

UNKNOWN_ID = NO_ID + np.int32(1)  # marks unknown values until an error reports them; NO_ID is the smallest int32
KERAS_OOV = ("[UNK]", -1)  # the values that stand for unknown strings and integers in Keras
WHOLE_NUMBER = re.compile("0|-?[1-9][0-9]*")


@dataclass(frozen=True, kw_only=True)
class Vocabulary(Categorical):
    """The position of a value in a list, as an id.

    It corresponds to TensorFlow's `categorical_column_with_vocabulary_list` and `_file`, and to Keras's `StringLookup`
    and `IntegerLookup`. The ids of the list come first, then the ids of unknown values; with `oov_first`, as in Keras,
    in the other order. A `mask` comes before both. Without `values` and `path` the list is learned from the training
    split: the most frequent values first, and among equally frequent ones the last in the alphabet or the largest.

    Attributes:
        key: the raw column, strings or integers. "" and -1 are missing values, except in a ragged column, whose
            rows may have different numbers of values.
        values: the list.
        path: a text file with one value per line. A relative path is looked up below $TITRATE_DATA, then below the
            working folder.
        size: the number of lines to read from the file. None: all.
        top: the maximum number of learned values; the most frequent ones are learned. None: no maximum.
        min_count: the minimum number of occurrences of a learned value. None: 1.
        oov: the number of ids for unknown (out-of-vocabulary) values; a hash chooses among them.
        default: the id of unknown values if `oov` is 0. -1: they are ignored.
        oov_method: the hash of unknown integers: `farmhash`, Fingerprint64 of their digits, or `floormod`, only the
            remainder (Keras's default).
        oov_first: whether the ids of unknown values come before those of the list, as in Keras. Then "[UNK]" and -1 are
            unknown values and aren't learned.
        mask: the value that has id 0. None: none.
        missing: replaces missing values, which then share the id of that value. With "" here and as `mask`, they have
            an id of their own, 0. None: they have no id.
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
    fills_gaps: bool = field(default=False, init=False)  # set by `filling_gaps`

    __repr__ = represent_masked

    def __post_init__(self) -> None:
        listed = self.values is not None or self.path is not None
        if self.values is not None and self.path is not None:
            raise self._make_error("`values` and `path` can't both be set; leave one out")
        if listed and (self.top is not None or self.min_count is not None):
            raise self._make_error(
                "`top` and `min_count` are only for a learned list; leave them out, or `values` and `path`"
            )
        if self.size is not None and self.path is None:
            raise self._make_error("`size` is the number of lines to read from `path`, which isn't set")
        if self.oov < 0 or self.default < -1:
            raise self._make_error(f"oov={self.oov} must be at least 0, and default={self.default} at least -1")
        if (self.oov > 0) + (self.default != -1) + self.check > 1:
            raise self._make_error(
                "only one of `oov`, `default` and `check` can be set, because each is for unknown values"
            )
        if self.values is not None:
            check_values(self.key, self.values, self.mask)

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        return {self.key: "int"}

    def fingerprint(self) -> str:
        """A digest of the file; "" without a file."""
        return "" if self.path is None else hash_file(find_file(self.path)).hexdigest()

    def statistics(self) -> Mapping[str, Statistic]:
        is_learned = self.values is None and self.path is None
        return {"counts": Counts(self.key, self.missing, self._empty_is_missing)} if is_learned else {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Indexes the list.

        Returns:
            `host`: the index of the list (see `build_index`), with the mask as its first value, and the `ids` of its
            values. For a learned list also `documents`, the number of rows with each id, and `rows`, the number of all
            rows. `static`: `buckets`, the number of ids.
        """
        values, list_constants = self._make_list(results)
        if self.mask is not None and isinstance(self.mask, str) != isinstance(values, Strings):
            kind = "text" if isinstance(values, Strings) else "whole numbers"
            raise self._make_error(f"`mask` (={self.mask!r}) must have the type of the values, {kind}")
        host = build_index(values if self.mask is None else concatenate_categories(to_categories([self.mask]), values))
        ids = np.arange(len(host["order"]), dtype=np.int32) + np.int32(self.oov if self.oov_first else 0)
        ids[: self._mask_size] = 0
        size = len(ids) + self.oov
        if self.default >= size:
            raise self._make_error(f"default={self.default} must be an id, 0 to {size - 1}, or -1")
        if "documents" in list_constants:
            documents = np.zeros(size, np.int64)
            documents[ids[self._mask_size :]] = list_constants["documents"]
            list_constants = {**list_constants, "documents": documents}
        return Constants(host={**host, "ids": ids, **list_constants}, static={"buckets": size})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        column = read_values(block, self.key, parents, missing=self.missing, empty_is_missing=self._empty_is_missing)
        ids = self._find_ids(block, column, constants)
        if self.fills_gaps and column.valid_mask is not None:
            unknown = self._first_oov_id(len(constants.host["ids"])) if self.oov else self.default
            ids, column = np.where(column.valid_mask, ids, np.int32(unknown)), column._replace(valid_mask=None)
        return column.encode_ids(ids)

    def id_name(self, number: int, constants: Constants) -> str | None:
        """The value of the list that an id stands for; None: the id is one of unknown values."""
        host = constants.host
        positions = np.flatnonzero(host["ids"] == number)
        if not len(positions):
            return None
        if not is_text(host):
            return str(host["values"][positions[0]])
        return str(gather(Strings(host["data"], host["offsets"]), positions[:1]).tolist()[0])

    @property
    def gap_value(self) -> str:
        return "an unknown value"

    def filling_gaps(self, constants: Constants) -> Vocabulary | None:
        """The same column with unknown values in place of missing ones; None: unknown values have no id."""
        has_id = self.missing is None and self.mask is None and (self.oov > 0 or self.default != -1)
        return bind_fields(self, fills_gaps=True) if has_id else None

    def _find_ids(self, block: Block, column: CategoryValues, constants: Constants) -> np.ndarray:
        """The id of each value, int32. Those of missing values have no meaning."""
        if column.is_all_missing:
            return np.zeros(column.value_count, np.int32)
        may_hold_integers = constants.host.get("whole", False)  # each line of the file is a whole number
        if isinstance(column.values, Strings) or not may_hold_integers:
            check_category_type(block, self.key, column, "its vocabulary", is_text(constants.host))
        if isinstance(column.values, Strings):
            ids = map_strings(column.values, lambda strings: self._convert_to_ids(strings, constants))
        else:
            values = format_integers(column.values) if is_text(constants.host) else column.values
            ids = self._convert_to_ids(values, constants)
        if self.check:
            self._check_known(block, column, ids, constants)
        return ids

    def warnings(
        self,
        encoded: Mapping[str, Encoded],
        constants: Constants,
        read_value: Callable[[str, int], Any] | None = None,
        locate: Callable[[int], str] | None = None,
        filled: np.ndarray | None = None,
    ) -> tuple[str, ...]:
        """Warnings about unknown values, and about missing values if the training split had none."""
        encoded_ids, host = encoded["ids"], constants.host
        ids = np.asarray(split_levels(encoded_ids)[0])
        is_missing = ids == NO_ID
        if filled is not None and not isinstance(encoded_ids, Ragged):
            ids = ids.copy()
            ids[filled] = NO_ID
        warnings = []
        is_unknown = self._find_unknown(ids, len(host["ids"]))
        if is_unknown.any():
            count = f"{int(is_unknown.sum()):,} of {int((ids != NO_ID).sum()):,} values"
            first = _locate_first(encoded_ids, is_unknown, locate)
            value = read_value(self.key, int(is_unknown.argmax())) if first and read_value else None
            first += "" if value is None else f": {value!r}"
            warnings.append(f"{count} of column `{self.key}` aren't in its vocabulary{first}")
        # If rows have one value, the sum counts the training rows with a value of the list.
        had_none_in_training = "rows" in host and host["documents"].sum() >= host["rows"]
        if is_missing.any() and had_none_in_training:
            count = f"{int(is_missing.sum()):,} missing {'value' if is_missing.sum() == 1 else 'values'}"
            first = _locate_first(encoded_ids, is_missing, locate)
            warnings.append(f"column `{self.key}` has {count}{first}; in training it had none")
        return tuple(warnings)

    def _find_unknown(self, ids: np.ndarray, list_size: int) -> np.ndarray:
        """Which ids are ids of unknown values. With a `default`, which may be an id of the list, none is found."""
        if self.default != -1:
            return np.zeros(ids.shape, bool)
        if not self.oov:
            return ids == -1
        first = self._first_oov_id(list_size)
        return (ids >= first) & (ids < first + self.oov)

    def _first_oov_id(self, list_size: int) -> int:
        """The first id of unknown values. `list_size` is the number of ids of the list, with the mask."""
        return self._mask_size if self.oov_first else list_size

    @property
    def _mask_size(self) -> int:
        """The number of ids of the mask: 0 or 1."""
        return 0 if self.mask is None else 1

    @property
    def _empty_is_missing(self) -> bool:
        return self.mask not in ("", -1)

    def _make_list(self, results: Mapping[str, Any]) -> tuple[Strings | np.ndarray, dict[str, np.ndarray]]:
        """Returns the values of the list, and the constants of the host that only a list of its origin has.

        A file has `whole`, whether every line is a whole number. A learned list has `documents` and `rows`, see `fit`.
        """
        if self.path is not None:
            lines = read_lines(self.path, self.size)
            return to_strings(lines), {"whole": np.array(all(WHOLE_NUMBER.fullmatch(line) for line in lines))}
        if self.values is not None:
            return to_categories(self.values), {}
        tally = results["counts"]
        reserved = KERAS_OOV if self.oov_first else ()
        exclude = {self.mask, *reserved}  # a mask stands for missing values
        positions = find_most_frequent(tally, self.top, self.min_count or 1, exclude)
        if not len(positions):
            most_frequent = find_most_frequent(tally, 1, 1, exclude)
            if not len(most_frequent):
                fault = f"column `{self.key}` has no values to learn in the training split"
                remedies = Remedy("set `values`", "columns"), Remedy("leave it out", "leaving_out")
                raise DataError(fault, *remedies, missing=self.key)
            raise DataError(
                f"column `{self.key}`: no value occurs min_count={self.min_count} times; the most frequent value "
                f"occurs {tally.counts[most_frequent[0]]} times"
            )
        return take(tally.tokens, positions), {"documents": tally.documents[positions], "rows": np.array(tally.rows)}

    def _convert_to_ids(self, values: Strings | np.ndarray, constants: Constants) -> np.ndarray:
        """Converts values to ids, int32.

        Args:
            values: of the type of the list: strings without a dictionary, or int64.
            constants: the constants of the column.
        """
        keys = fingerprint64(values.data, values.offsets) if isinstance(values, Strings) else values
        positions = look_up(values, keys, constants.host)
        is_known, ids = positions >= 0, constants.host["ids"][positions]
        if is_known.all():
            return ids
        if not self.oov:
            return np.where(is_known, ids, UNKNOWN_ID if self.check else np.int32(self.default))
        if isinstance(values, Strings):
            oov_buckets = to_buckets(keys, self.oov)
        elif self.oov_method == "farmhash":
            decimals = format_integers(values)
            oov_buckets = to_buckets(fingerprint64(decimals.data, decimals.offsets), self.oov)
        else:
            oov_buckets = values % self.oov
        first_oov_id = self._first_oov_id(len(constants.host["ids"]))
        return np.where(is_known, ids, first_oov_id + oov_buckets).astype(np.int32)

    def _check_known(self, block: Block, column: CategoryValues, ids: np.ndarray, constants: Constants) -> None:
        unknown = (ids == UNKNOWN_ID) & (True if column.valid_mask is None else column.valid_mask)
        if unknown.any():
            position = int(np.argmax(unknown))
            value = format_category(column.values, position)
            location = block.locate(column.find_row(position))
            hint = suggest_value(value, constants.host)
            raise DataError(
                f"{location}: column `{self.key}` is {value!r}, which isn't in its vocabulary. {hint}".rstrip(),
                Remedy("set `oov`, or set `default`, to give unknown values an id", "columns"),
            )

    def _make_error(self, fault: str) -> UserError:
        return UserError(f"vocabulary of column `{self.key}`: {fault}")


def _locate_first(encoded: Encoded, is_found: np.ndarray, locate: Callable[[int], str] | None) -> str:
    """The end of a warning, such as `, the first in new.csv, line 3`; "" if a row may have several values.

    Args:
        encoded: the ids of all rows.
        is_found: whether the warning is about an id, bool, for each id.
        locate: the location of a row. None: its number.
    """
    if isinstance(encoded, Ragged) or is_found.ndim != 1:
        return ""
    row = int(is_found.argmax())
    return f", the first in {f'row {row}, counted from 0' if locate is None else locate(row)}"
