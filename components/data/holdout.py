"""Splits the rows of a data set for training, validation and testing, also for cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from components.types import DataError


def split(
    sizes: Mapping[str, int],
    *,
    valid: float,
    test: float | None = None,
    seed: int | None = None,
    strata: np.ndarray | None = None,
    valid_from: Literal["train", "test"] = "train",
) -> dict[str, np.ndarray]:
    """Splits rows into `train`, `valid` and `test`: sorted row numbers, int64. Each row is in exactly one split.

    Args:
        sizes: the number of rows by part: of `train` and `test`, or of `all`. Rows are numbered over all parts, in the
            order of the mapping.
        valid: the size of the validation split: a share in (0, 1) of the part that it is taken from, or a number of
            rows.
        test: the size of the test split, likewise, if the only part is `all`. None: the part `test` is the test
            split.
        seed: seed of the shuffling. None: rows aren't shuffled, and the last rows are held out: `test` at the end,
            `valid` before it.
        strata: the class of each row of the part that is split. Every split then has the same shares of classes,
            rounded by the largest-remainder method.
        valid_from: the part that `valid` is taken from; `train` also stands for `all`. If it is `test`, all rows
            of the part `train` are the training split.

    Raises:
        DataError: a split would be empty, or a class has too few rows.
    """
    rows = _number_rows(sizes)
    pool = rows.get("all", rows.get("train"))
    needs_test = "test" not in rows
    if pool is None or (test is not None) != needs_test:
        parts = f"the data has the parts {', '.join(sizes)}, and `test` is {test}"
        raise DataError(f"{parts}: set `test` if there is no part `test`, otherwise leave it out")
    if empty_parts := [part for part, size in sizes.items() if size == 0]:
        raise DataError(f"the part {empty_parts[0]} of the data has no rows")
    if valid_from == "test":
        if needs_test:
            raise DataError("`valid_from` (=test) needs a source with a test set; choose train")
        pool = rows["test"]
    shares = ({} if test is None else {"test": test}) | {"valid": valid}
    counts = {name: _count_rows(name, share, len(pool)) for name, share in shares.items()}
    if sum(counts.values()) >= len(pool):
        options = " and ".join(f"`{name}` (={share:g})" for name, share in shares.items())
        raise DataError(
            f"{options} hold out {sum(counts.values())} of {len(pool)} rows, "
            f"so no row is left for the {valid_from} split; choose smaller splits"
        )
    order = _shuffle(len(pool), seed)
    splits = _hold_out(counts, order) if strata is None else _hold_out_strata(counts, order, strata)
    if valid_from == "test":
        return {"train": rows["train"], "valid": pool[splits["valid"]], "test": pool[splits["rest"]]}
    return {
        "train": pool[splits["rest"]],
        "valid": pool[splits["valid"]],
        "test": pool[splits["test"]] if "test" in splits else rows["test"],
    }


def split_for_fold(
    splits: Mapping[str, np.ndarray],
    *,
    folds: int,
    fold: int,
    seed: int | None = None,
    strata: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The splits of one run of a cross-validation: one fold is `valid`, the others are `train`.

    Args:
        splits: row numbers, as `split` returns them. `test` doesn't change.
        folds: the number of folds, at least 2. Their sizes differ by at most one row.
        fold: the fold, from 0, that is `valid`.
        seed: seed of the shuffling. None: rows aren't shuffled; without `strata` each fold is consecutive rows.
        strata: the class of each row of `train` and `valid`, in the order of the row numbers. The folds then differ by
            at most one row in each class.

    Raises:
        DataError: there are more folds than rows, or than rows of a class.
    """
    pool = np.sort(np.concatenate([rows for name, rows in splits.items() if name != "test"]))
    if folds > len(pool):
        raise DataError(f"`folds` (={folds}) must be at most {len(pool)}, the number of rows outside of the test split")
    classes, ids = np.unique(np.zeros(len(pool), int) if strata is None else strata, return_inverse=True)
    class_sizes = np.bincount(ids)
    if strata is not None and class_sizes.min() < folds:
        smallest = classes[class_sizes.argmin()].item()
        raise DataError(_describe_small_class(smallest, class_sizes.min(), f"{folds} folds"))
    order = _shuffle(len(pool), seed)
    by_class = order[np.argsort(ids[order], kind="stable")]
    # Rows are dealt to the folds in turn, class by class, so that each fold gets its share of every class.
    consecutive = seed is None and strata is None
    fold_of_row = np.empty(len(pool), int)
    fold_of_row[by_class] = _number_blocks(len(pool), folds) if consecutive else np.arange(len(pool)) % folds
    result = {"train": pool[fold_of_row != fold], "valid": pool[fold_of_row == fold]}
    if "test" in splits:
        result["test"] = splits["test"]
    return result


def _number_blocks(rows: int, count: int) -> np.ndarray:
    """The block of each row, where rows are divided into `count` consecutive blocks as equal as possible."""
    return np.repeat(np.arange(count), np.diff(np.arange(count + 1) * rows // count))


def _number_rows(sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    stops = np.cumsum(list(sizes.values()))
    return {part: np.arange(stop - sizes[part], stop) for part, stop in zip(sizes, stops, strict=True)}


def _count_rows(name: str, share: float, rows: int) -> int:
    if not (0 < share < 1 or (share >= 1 and float(share).is_integer())):
        raise DataError(f"`{name}` (={share:g}) must be a share in (0, 1) or a whole number of rows from 1")
    count = round(share * rows) if share < 1 else int(share)
    if count == 0:
        raise DataError(f"`{name}` (={share:g}) of {rows} rows leaves the {name} split empty; choose a larger share")
    return count


def _shuffle(rows: int, seed: int | None) -> np.ndarray:
    """A random permutation of the rows. None: their own order.

    It sorts raw random bits, because these are the only random numbers that NumPy promises never to change.
    """
    if seed is None:
        return np.arange(rows)
    return np.argsort(np.random.Philox(seed).random_raw(rows), kind="stable")


def _hold_out(counts: Mapping[str, int], order: np.ndarray) -> dict[str, np.ndarray]:
    """Takes each split from the end of `order`; the other rows are `rest`. It is the same as with a single class."""
    splits = {}
    for name, count in counts.items():
        order, taken = order[:-count], order[-count:]
        splits[name] = np.sort(taken)
    splits["rest"] = np.sort(order)
    return splits


def _hold_out_strata(counts: Mapping[str, int], order: np.ndarray, strata: np.ndarray) -> dict[str, np.ndarray]:
    """Takes each split from the end of `order`, the same share of every class; the other rows are `rest`."""
    classes, ids = np.unique(strata, return_inverse=True)
    class_sizes = np.bincount(ids)
    splits = {}
    for name, count in counts.items():
        order, taken = _take(order, count, ids[order])
        splits[name] = np.sort(taken)
    splits["rest"] = np.sort(order)
    # A class has fewer rows than there are splits, or no row is left for `rest`.
    too_small = (class_sizes <= len(counts)) | (np.bincount(ids[order], minlength=len(classes)) == 0)
    if too_small.any():
        name, rows = classes[too_small].tolist()[0], class_sizes[too_small][0]
        raise DataError(_describe_small_class(name, rows, f"{len(splits)} splits"))
    return splits


def _take(order: np.ndarray, count: int, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divides `order` into remaining rows and `count` taken rows: the last ones, the same share of each class."""
    sizes = np.bincount(ids)
    positions = np.empty(len(order), int)  # of each row within its class
    starts = np.cumsum(sizes) - sizes
    positions[np.argsort(ids, kind="stable")] = np.arange(len(order)) - np.repeat(starts, sizes)
    taken = positions >= (sizes - _apportion(sizes, count))[ids]
    return order[~taken], order[taken]


def _apportion(sizes: np.ndarray, count: int) -> np.ndarray:
    """Divides `count` in proportion to `sizes` by the largest-remainder method. No share exceeds its size."""
    shares, remainders = np.divmod(sizes * count, sizes.sum())
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    return shares


def _describe_small_class(name: object, rows: int, parts: str) -> str:
    number = "1 row" if rows == 1 else f"{rows} rows"
    return (
        f"class {name!r} has {number}, too few to stratify {parts}; "
        "remove the class, add more rows of it, or set `stratify` to null"
    )
