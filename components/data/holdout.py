"""Splits the rows of a data set for training, validation and testing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from components.data.groups import assign_groups, order_groups
from components.hashing import to_shares
from components.types import DataError, RowNumbers, RowRange, as_index


@dataclass(frozen=True)
class RowKeys:
    """What decides into which split a row goes, apart from chance. Each array has a value for each row.

    Attributes:
        strata: the class: every split gets the same shares of the classes.
        class_names: the names of the classes for messages, if `strata` has their positions here. None: the rows without
            a class.
        groups: the group: the rows of a group are never divided.
        times: a date, a time or a number: the rows with the highest values are held out. Equal values are never
            divided.
        hashes: a random number, uint64, which decides alone. So other rows change nothing.
    """

    strata: np.ndarray | None = None
    class_names: Sequence[Any] | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    hashes: np.ndarray | None = None

    def select(self, rows: RowNumbers) -> RowKeys:
        """The keys of some rows."""
        arrays = {name: array for name, array in vars(self).items() if isinstance(array, np.ndarray)}
        return replace(self, **{name: array[as_index(rows)] for name, array in arrays.items()})

    def describe_small_class(self, value: Any, rows: int, parts: str) -> str:
        """Says that a class has too few rows to be divided into some parts."""
        name = value if self.class_names is None else self.class_names[value]
        number = "1 row" if rows == 1 else f"{rows} rows"
        if name is None:
            return (
                f"`stratify`: its column has no value in {number}, too few to stratify {parts}; "
                "fill in the values, remove these rows, or set `stratify=null`"
            )
        return (
            f"class {name!r} has {number}, too few to stratify {parts}; "
            "remove the class, add more rows of it, or set `stratify=null`"
        )


NO_KEYS = RowKeys()


def split(
    parts: Mapping[str, int | RowNumbers],
    *,
    valid: float | None = None,
    test: float | None = None,
    seed: int | None = None,
    keys: RowKeys = NO_KEYS,
    valid_from: Literal["train", "test"] = "train",
) -> dict[str, RowNumbers]:
    """Splits rows into `train`, `valid` and `test`: sorted row numbers. Each row is in exactly one split.

    Args:
        parts: the parts of the data: `all`, or `train` and those of `valid` and `test` that are given. Each is its row
            numbers, or the number of its rows, which are then counted over all parts, in the order of the mapping.
        valid: the size of the validation split: a share in (0, 1) of the part that it is taken from, or a number of
            rows. None: the part `valid`.
        test: the size of the test split, likewise. None: the part `test`.
        seed: seed of the shuffling. None: rows aren't shuffled, and the last rows are held out: `test` at the end,
            `valid` before it.
        keys: the keys of all rows. With `strata`, every split has the same shares of classes, rounded by the
            largest-remainder method; with `groups` too, about the same shares.
        valid_from: the part that `valid` is taken from; `train` also stands for `all`. If it is `test`, all rows
            of the part `train` are the training split.

    Raises:
        DataError: a split would be empty, or there are too few rows of a class, groups or times.
    """
    rows_of = _number_rows(parts)
    pool = rows_of.get("all", rows_of.get("train"))
    shares = {name: share for name, share in (("test", test), ("valid", valid)) if share is not None}
    if pool is None:
        raise DataError(f"the data has the parts {', '.join(parts)}; it needs a part `train`, or only `all`")
    for name in ("test", "valid"):
        if name in shares and name in parts:
            raise DataError(f"the data has a part `{name}`, and `{name}` (={shares[name]:g}) is set; leave it out")
        if name not in shares and name not in parts:
            raise DataError(f"the data has no part `{name}`, only {', '.join(parts)}; set `{name}` to a share")
    if empty_parts := [part for part, rows in rows_of.items() if len(rows) == 0]:
        raise DataError(f"the part {empty_parts[0]} of the data has no rows")
    if valid_from == "test":
        if "test" in shares:
            raise DataError("`valid_from` (=test) needs a source with a test set; choose train")
        pool = rows_of["test"]
        if "valid" in parts:
            raise DataError(
                "`valid_from` (=test) takes the validation split from the test set, but the data has a part "
                "`valid`; choose train"
            )
    if not shares:
        return {name: rows_of[name] for name in ("train", "valid", "test")}
    splits = _divide(shares, len(pool), seed, keys.select(pool), valid_from)
    if len(pool) and pool[-1] >= len(pool):  # otherwise the pool is 0, 1, …, and a copy would have the size of a column
        splits = {name: pool[rows] for name, rows in splits.items()}
    if valid_from == "test":
        return {"train": rows_of["train"], "valid": splits["valid"], "test": splits["rest"]}
    return {"train": splits["rest"]} | {
        name: splits[name] if name in splits else rows_of[name] for name in ("valid", "test")
    }


def limit_classes(rows: RowNumbers, classes: np.ndarray, count: int, seed: int | None) -> np.ndarray:
    """At most `count` of the rows of each class, chosen at random. Without a seed, the first ones.

    Args:
        rows: the row numbers.
        classes: the class of each of these rows.
        count: the number of rows to keep.
        seed: seed of the choice.
    """
    order = shuffle(len(rows), seed)
    ids = np.unique(classes, return_inverse=True)[1][order]
    return np.sort(rows[order[_number_in_class(ids, np.bincount(ids)) < count]])


def _number_rows(parts: Mapping[str, int | RowNumbers]) -> dict[str, RowNumbers]:
    """The row numbers of each part."""
    stops = itertools.accumulate(rows if isinstance(rows, int) else len(rows) for rows in parts.values())
    return {
        part: RowRange(range(stop - rows, stop)) if isinstance(rows, int) else rows
        for (part, rows), stop in zip(parts.items(), stops, strict=True)
    }


def _divide(
    shares: Mapping[str, float], rows: int, seed: int | None, keys: RowKeys, source: str
) -> dict[str, RowNumbers]:
    """Divides rows into the splits of `shares` and the `rest`: sorted row numbers."""
    counts = {name: _count_rows(name, share, rows) for name, share in shares.items()}
    if sum(counts.values()) >= rows:
        options = " and ".join(f"`{name}` (={share:g})" for name, share in shares.items())
        verb = "hold" if len(shares) > 1 else "holds"
        raise DataError(
            f"{options} {verb} out {sum(counts.values())} of {rows} rows, "
            f"so no row is left for the {source} split; choose smaller splits"
        )
    if keys.hashes is not None:
        return _divide_by_hash(shares, keys.hashes, source)
    if keys.times is not None:
        return _divide_by_time(counts, keys.times)
    if keys.groups is not None:
        return _divide_groups(counts, seed, keys.groups, keys.strata)
    if keys.strata is None:
        return _take_last(counts, rows) if seed is None else _divide_rows(counts, _rank_rows(rows, seed))
    return _divide_classes(counts, shuffle(rows, seed), keys.strata, keys)


def _count_rows(name: str, share: float, rows: int) -> int:
    if not (0 < share < 1 or (share >= 1 and float(share).is_integer())):
        raise DataError(f"`{name}` (={share:g}) must be a share in (0, 1) or a whole number of rows from 1")
    count = round(share * rows) if share < 1 else int(share)
    if count == 0:
        raise DataError(f"`{name}` (={share:g}) of {rows} rows leaves the {name} split empty; choose a larger share")
    return count


def shuffle(rows: int, seed: int | None) -> np.ndarray:
    """A random permutation of the rows. None: their own order.

    It sorts raw random bits, because these are the only random numbers that NumPy promises never to change.
    """
    return np.argsort(_rank_rows(rows, seed), kind="stable")


def _rank_rows(rows: int, seed: int | None) -> np.ndarray:
    """A number for each row. In the order of these numbers, the rows are shuffled. None: rows keep their order."""
    return np.arange(rows, dtype=np.uint64) if seed is None else np.random.Philox(seed).random_raw(rows)


def _take_last(counts: Mapping[str, int], rows: int) -> dict[str, RowNumbers]:
    """Takes each split from the end of the rows; the others are `rest`."""
    splits = dict[str, RowNumbers]()
    for name, count in counts.items():
        splits[name] = RowRange(range(rows - count, rows))
        rows -= count
    return {**splits, "rest": RowRange(range(rows))}


def _divide_rows(counts: Mapping[str, int], ranks: np.ndarray) -> dict[str, RowNumbers]:
    """Takes each split from the end of the shuffled rows; the others are `rest`. It is the same as with a single class.

    Only the rank where a split starts is found, which takes a tenth of the time of shuffling.
    """
    splits, is_left = dict[str, RowNumbers](), np.ones(len(ranks), bool)
    for name, count in counts.items():
        left = ranks[is_left]
        left.partition(-count)  # in place: a copy has the size of a column
        first = left[-count]
        is_taken = is_left & (ranks > first)
        equal = np.flatnonzero(is_left & (ranks == first))
        is_taken[equal[len(equal) - count + np.count_nonzero(is_taken) :]] = True
        splits[name] = np.flatnonzero(is_taken)
        is_left &= ~is_taken
    splits["rest"] = np.flatnonzero(is_left)
    return splits


def _sort_rows(rows: np.ndarray, total: int) -> np.ndarray:
    """Sorts different row numbers below `total`. It takes a tenth of the time of np.sort."""
    is_in = np.zeros(total, bool)
    is_in[rows] = True
    return np.flatnonzero(is_in)


def _divide_classes(
    counts: Mapping[str, int], order: np.ndarray, strata: np.ndarray, keys: RowKeys
) -> dict[str, RowNumbers]:
    """Takes each split from the end of `order`, the same share of every class; the other rows are `rest`."""
    classes, ids = _number_classes(strata)
    class_sizes = np.bincount(ids)
    splits, total = dict[str, RowNumbers](), len(order)
    for name, count in counts.items():
        order, taken = _take(order, count, ids[order])
        splits[name] = _sort_rows(taken, total)
    splits["rest"] = _sort_rows(order, total)
    # A class has fewer rows than there are splits, or no row is left for `rest`.
    too_small = (class_sizes <= len(counts)) | (np.bincount(ids[order], minlength=len(classes)) == 0)
    if too_small.any():
        name, rows = classes[too_small].tolist()[0], class_sizes[too_small][0]
        raise DataError(keys.describe_small_class(name, rows, f"{len(splits)} splits"))
    return splits


def _number_classes(strata: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes, and the number of each row's class, in the smallest type: sorting it is faster and needs less."""
    classes = np.unique(strata)
    return classes, np.searchsorted(classes, strata).astype(np.min_scalar_type(len(classes)))


def _take(order: np.ndarray, count: int, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divides `order` into remaining rows and `count` taken rows: the last ones, the same share of each class."""
    sizes = np.bincount(ids)
    shares = _apportion(sizes, count)
    # Sorted by class, the taken rows are the last ones of each class: `shares` places before each of `ends`.
    ends, taken_before = np.cumsum(sizes), np.cumsum(shares) - shares
    places = np.repeat(ends - shares - taken_before, shares) + np.arange(count)
    taken = np.zeros(len(order), bool)
    taken[np.argsort(ids, kind="stable")[places]] = True
    return order[~taken], order[taken]


def _number_in_class(ids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The position of each row within its class, from 0."""
    positions = np.empty(len(ids), int)
    starts = np.cumsum(sizes) - sizes
    positions[np.argsort(ids, kind="stable")] = np.arange(len(ids)) - np.repeat(starts, sizes)
    return positions


def _apportion(sizes: np.ndarray, count: int) -> np.ndarray:
    """Divides `count` in proportion to `sizes` by the largest-remainder method. No share exceeds its size."""
    shares, remainders = np.divmod(sizes * count, sizes.sum())
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    return shares


def _divide_by_hash(shares: Mapping[str, float], hashes: np.ndarray, source: str) -> dict[str, RowNumbers]:
    """Divides rows by hashes as positions in [0, 1): `test` is the first share, `valid` the next one."""
    if counted := [name for name, share in shares.items() if share >= 1]:
        raise DataError(
            f"`{counted[0]}` (={shares[counted[0]]:g}) is a number of rows, which would move rows between splits as "
            f"rows are added; with `split_hash`, set `{counted[0]}` to a share in (0, 1)"
        )
    ends = np.cumsum(list(shares.values()))
    split_of = np.searchsorted(ends, to_shares(hashes), side="right")
    splits: dict[str, RowNumbers] = {
        name: np.flatnonzero(split_of == number) for number, name in enumerate([*shares, "rest"])
    }
    if empty := [name for name, rows in splits.items() if not len(rows)]:
        name = source if empty[0] == "rest" else empty[0]
        raise DataError(
            f"`split_hash` leaves the {name} split empty: {describe_keys(len(np.unique(hashes)))} in {len(hashes)} "
            "rows; choose a column with more different values, or another `seed`"
        )
    return splits


def describe_keys(count: int) -> str:
    return "its column has 1 value" if count == 1 else f"its column has {count} different values"


def _divide_by_time(counts: Mapping[str, int], times: np.ndarray) -> dict[str, RowNumbers]:
    """Takes the latest rows for each split in turn, about as many as wanted: equal times aren't divided."""
    ids, sizes = number_times(times, len(counts) + 1, "splits")
    splits, stop = dict[str, RowNumbers](), len(sizes)
    for number, (name, count) in enumerate(counts.items()):
        start = stop - count_latest(sizes[:stop], count, keep=len(counts) - number)
        splits[name] = np.flatnonzero((ids >= start) & (ids < stop))
        stop = start
    splits["rest"] = np.flatnonzero(ids < stop)
    return splits


def number_times(times: np.ndarray, needed: int, parts: str) -> tuple[np.ndarray, np.ndarray]:
    """The rank of each row's time among the different times, and the number of rows of each. DataError: too few."""
    _, ids, sizes = np.unique(times, return_inverse=True, return_counts=True)
    if len(sizes) < needed:
        raise DataError(f"`split_by`: {describe_keys(len(sizes))}, too few for {needed} {parts} that divide none")
    return ids, sizes


def count_latest(sizes: np.ndarray, rows: int, keep: int) -> int:
    """How many of the latest times have about `rows` rows; at least one, and all but `keep` at most."""
    totals = np.cumsum(sizes[::-1])[: len(sizes) - keep]
    return int(np.abs(totals - rows).argmin()) + 1


def _divide_groups(
    counts: Mapping[str, int], seed: int | None, groups: np.ndarray, strata: np.ndarray | None
) -> dict[str, RowNumbers]:
    """Divides groups at random into splits of about the wanted sizes, and shares of classes."""
    ids, sizes = count_groups(groups, strata, len(counts) + 1, "splits")
    wanted = np.array([len(groups) - sum(counts.values()), *counts.values()])
    order = order_groups(sizes, shuffle(len(sizes), seed), wanted.min())
    split_of = assign_groups(sizes, wanted / len(groups), order)
    return {name: np.flatnonzero(split_of[ids] == number) for number, name in enumerate(["rest", *counts])}


def count_groups(
    groups: np.ndarray, strata: np.ndarray | None, needed: int, parts: str
) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's group, and the rows of each group and class. DataError: there are too few groups."""
    names, ids = np.unique(groups, return_inverse=True)
    if len(names) < needed:
        has = "1 value, so all rows are one group" if len(names) == 1 else f"{len(names)} values"
        raise DataError(
            f"`group`: its column has {has}, too few for {needed} {parts}; choose a column with more values, or set "
            "`group` to null"
        )
    class_ids = np.zeros(len(ids), int) if strata is None else np.unique(strata, return_inverse=True)[1]
    classes = class_ids.max() + 1
    return ids, np.bincount(ids * classes + class_ids, minlength=len(names) * classes).reshape(len(names), classes)
