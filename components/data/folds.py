"""Splits the rows of a data set for cross-validation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from components.data.groups import assign_groups, order_groups
from components.data.holdout import (
    NO_KEYS,
    RowKeys,
    count_groups,
    count_latest,
    describe_keys,
    number_times,
    shuffle,
)
from components.hashing import mix, to_shares
from components.types import DataError, RowNumbers

FOLD_KEY = np.uint64(0xD6E8FEB86659FD93)  # mixed into the hash of a key, so that folds don't depend on the splits


def split_for_fold(
    splits: Mapping[str, RowNumbers], *, folds: int, fold: int, seed: int | None = None, keys: RowKeys = NO_KEYS
) -> dict[str, RowNumbers]:
    """The splits of one run of a cross-validation: one fold is `valid`, the others are `train`.

    With `times`, the folds are consecutive blocks of time, and the rows before the first fold are in none. `train` is
    the rows before the fold, and the rows after it are in no split.

    Args:
        splits: row numbers, as `split` returns them. `test` doesn't change.
        folds: the number of folds, at least 2. Without keys, their sizes differ by at most one row.
        fold: the fold, from 0, that is `valid`.
        seed: seed of the shuffling. None: rows aren't shuffled; without keys each fold is consecutive rows.
        keys: the keys of all rows. With `strata`, the folds differ by at most one row in each class. With `groups`,
            they are as equal as a greedy rule makes them.

    Raises:
        DataError: there are more folds than rows, or than rows of a class, groups or times.
    """
    pool = np.sort(np.concatenate([rows for name, rows in splits.items() if name != "test"]))
    if folds > len(pool):
        raise DataError(f"`folds` (={folds}) must be at most {len(pool)}, the number of rows outside of the test split")
    fold_of_row = _number_folds(len(pool), folds, seed, keys.select(pool))
    is_train = fold_of_row < fold if keys.times is not None else fold_of_row != fold
    result: dict[str, RowNumbers] = {"train": pool[is_train], "valid": pool[fold_of_row == fold]}
    if "test" in splits:
        result["test"] = splits["test"]
    return result


def _number_folds(rows: int, folds: int, seed: int | None, keys: RowKeys) -> np.ndarray:
    """The fold of each row. With times, the rows before the first fold have -1."""
    if keys.hashes is not None:
        numbers = (to_shares(mix(keys.hashes ^ FOLD_KEY)) * folds).astype(int)
        if not np.bincount(numbers, minlength=folds).all():
            raise DataError(
                f"`split_hash`: {describe_keys(len(np.unique(keys.hashes)))} outside of the test split, too few for "
                f"{folds} folds; choose a column with more different values"
            )
        return numbers
    if keys.times is not None:
        return _number_folds_by_time(folds, keys.times)
    if keys.groups is not None:
        ids, sizes = count_groups(keys.groups, keys.strata, folds, "folds")
        order = order_groups(sizes, shuffle(len(sizes), seed), 0)
        return assign_groups(sizes, np.full(folds, 1 / folds), order)[ids]
    classes, ids = np.unique(np.zeros(rows, int) if keys.strata is None else keys.strata, return_inverse=True)
    class_sizes = np.bincount(ids)
    if keys.strata is not None and class_sizes.min() < folds:
        smallest = classes[class_sizes.argmin()].item()
        raise DataError(keys.describe_small_class(smallest, class_sizes.min(), f"{folds} folds"))
    order = shuffle(rows, seed)
    by_class = order[np.argsort(ids[order], kind="stable")]
    # Rows are dealt to the folds in turn, class by class, so that each fold gets its share of every class.
    consecutive = seed is None and keys.strata is None
    fold_of_row = np.empty(rows, int)
    fold_of_row[by_class] = _number_blocks(rows, folds) if consecutive else np.arange(rows) % folds
    return fold_of_row


def _number_folds_by_time(folds: int, times: np.ndarray) -> np.ndarray:
    """Folds of consecutive times, about as many rows in each as before the first one."""
    ids, sizes = number_times(times, folds + 1, "blocks of time")
    fold_of_time = np.full(len(sizes), -1)
    stop = len(sizes)
    for fold in reversed(range(folds)):
        start = stop - count_latest(sizes[:stop], round(len(times) / (folds + 1)), keep=fold + 1)
        fold_of_time[start:stop] = fold
        stop = start
    return fold_of_time[ids]


def _number_blocks(rows: int, count: int) -> np.ndarray:
    """The block of each row, where rows are divided into `count` consecutive blocks as equal as possible."""
    return np.repeat(np.arange(count), np.diff(np.arange(count + 1) * rows // count))
