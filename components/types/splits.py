"""Which options of the splits of a data set exclude each other. Sources and the check of a configuration read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class SplitConflict(NamedTuple):
    """Two options that exclude each other.

    Attributes:
        option: the name of the option to leave out.
        other: the name of the other one.
        reason: why they exclude each other.
    """

    option: str
    other: str
    reason: str

    def describe(self, options: Mapping[str, Any], key: str = "`{}` (={})") -> str:
        """The conflict as a sentence.

        Args:
            options: the values by name.
            key: how an option and its value are written.
        """
        first, second = (
            key.format(name, "null" if options.get(name) is None else options[name])
            for name in (self.option, self.other)
        )
        return f"{first} and {second} exclude each other: {self.reason}."


SPLIT_OPTIONS = ("split_column", "split_hash", "split_by", "group", "per_class", "classes")
"""The options that decide about splits, beside `valid`, `test`, `stratify`, `seed` and `valid_from`."""

ONE_METHOD = "each of them decides the splits"
LAST_ROWS = "without a seed the last rows are held out"
FROM_TEST = "the validation split is taken from the test set at random"
# `seed` stands for a seed that is null, `valid_from` for test, all others for any value.
EXCLUSIVE = (
    SplitConflict("split_hash", "split_column", ONE_METHOD),
    SplitConflict("split_by", "split_column", ONE_METHOD),
    SplitConflict("split_by", "split_hash", ONE_METHOD),
    SplitConflict("test", "split_column", "the column names the rows of the test split"),
    SplitConflict("stratify", "split_hash", "a hash decides where a row goes, whatever its class"),
    SplitConflict("stratify", "split_by", "the latest rows are held out, whatever their class"),
    SplitConflict("group", "split_hash", "a hash of the group's column never divides a group: set `split_hash` to it"),
    SplitConflict("group", "split_by", "a split by time divides groups that have early and late rows"),
    SplitConflict("seed", "stratify", f"{LAST_ROWS}, whatever their class"),
    SplitConflict("seed", "group", f"{LAST_ROWS}, whatever their group"),
    SplitConflict("seed", "split_hash", f"{LAST_ROWS}, whatever their key"),
    SplitConflict("valid_from", "split_column", FROM_TEST),
    SplitConflict("valid_from", "split_by", FROM_TEST),
)


def find_split_conflicts(options: Mapping[str, Any]) -> Iterator[SplitConflict]:
    """Finds the options of splits that exclude each other.

    Args:
        options: the values by name. An option that isn't set is None or missing; for `seed`, None is a value.
    """
    used = {name for name, value in options.items() if value is not None and name not in ("seed", "valid_from")}
    used |= {"seed"} if options.get("seed", 0) is None else set()
    used |= {"valid_from"} if options.get("valid_from") == "test" else set()
    yield from (conflict for conflict in EXCLUSIVE if {conflict.option, conflict.other} <= used)
