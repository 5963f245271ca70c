"""Splits: which rows train, which validate and which test."""

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
    """The row numbers of the splits `train`, `valid` and `test`: sorted int64, disjoint, together all rows.

    Args:
        sizes: the number of rows of each part, `train` and `test`, or `all`; rows are numbered over all parts in order.
        valid: the rows to hold out of `train` or `all`: a share in (0, 1), rounded, or a count from 1.
        test: the same for the part `all`; None where there is a part `test`, which is the test split.
        seed: of the shuffling before rows are held out. None: the last rows are held out, `test` behind `valid`.
        strata: a class for each row of `train` or `all`. Held-out rows have the exact share of each class, rounded up
            or down by largest remainder; `test` of all rows, `valid` of those that `test` leaves.
        valid_from: `test` holds `valid` out of the part `test`, so that the part `train` is the training split;
            `strata` are then the classes of the part `test`.

    Raises:
        DataError: a split would be empty, more rows are held out than exist, or a class is too small.
    """
    rows = _number_rows(sizes)
    pool = rows.get("all", rows.get("train"))
    if pool is None or (test is None) == ("test" not in rows):
        given = f"the parts {', '.join(sizes)} with `test` (={test})"
        raise DataError(f"{given}: it must be set where there is no part `test`, and only there")
    if empty := [part for part, size in sizes.items() if size == 0]:
        raise DataError(f"the part {empty[0]} of the data has no rows")
    if valid_from == "test":
        if "test" not in rows:
            raise DataError("`valid_from` (=test) needs a source with a test set; choose train")
        pool = rows["test"]
    shares = ({} if test is None else {"test": test}) | {"valid": valid}
    counts = {name: _count_rows(name, share, len(pool)) for name, share in shares.items()}
    if sum(counts.values()) >= len(pool):
        given = " and ".join(f"`{name}` (={share:g})" for name, share in shares.items())
        held_out = f"{given} hold out {sum(counts.values())} of {len(pool)} rows"
        raise DataError(f"{held_out}, which leaves none to {valid_from} on")
    held = _hold_out(counts, _order(len(pool), seed), np.zeros(len(pool), int) if strata is None else strata)
    if valid_from == "test":
        return {"train": rows["train"], "valid": pool[held["valid"]], "test": pool[held["train"]]}
    return {
        "train": pool[held["train"]],
        "valid": pool[held["valid"]],
        "test": pool[held["test"]] if "test" in held else rows["test"],
    }


def fold(
    splits: Mapping[str, np.ndarray],
    *,
    folds: int,
    fold: int,
    seed: int | None = None,
    strata: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The splits of a cross-validation: one fold is `valid`, the others are `train`.

    Args:
        splits: row numbers as `split` returns them; `test` doesn't change.
        folds: the number of folds, at least 2; they are as equal as possible, and each row is in exactly one.
        fold: the number, from 0, of the fold that validates.
        seed: of the shuffling before rows are dealt out. None: consecutive rows are a fold.
        strata: a class for each row of `train` and `valid`, in the order of their sorted numbers. Folds differ by at
            most 1 in their number of rows of a class.

    Raises:
        DataError: there are fewer rows, or fewer rows of a class, than folds.
    """
    pool = np.sort(np.concatenate([rows for name, rows in splits.items() if name != "test"]))
    if folds > len(pool):
        raise DataError(f"`folds` (={folds}) are more than the {len(pool)} rows that aren't for testing")
    ids = np.zeros(len(pool), int) if strata is None else np.unique(strata, return_inverse=True)[1]
    if strata is not None and (few := np.bincount(ids).min()) < folds:
        name = np.unique(strata)[np.bincount(ids).argmin()].item()
        raise DataError(_describe_small(name, few, f"{folds} folds"))
    order = _order(len(pool), seed)
    dealt = order[np.argsort(ids[order], kind="stable")]  # class by class, so that dealing them in turn is fair
    number = np.empty(len(pool), int)
    consecutive = seed is None and strata is None
    number[dealt] = _blocks(len(pool), folds) if consecutive else np.arange(len(pool)) % folds
    held = {"train": pool[number != fold], "valid": pool[number == fold]}
    return held | {name: rows for name, rows in splits.items() if name == "test"}


def _blocks(rows: int, count: int) -> np.ndarray:
    """The number of each row's block, of `count` consecutive blocks as equal as possible."""
    return np.repeat(np.arange(count), np.diff(np.arange(count + 1) * rows // count))


def _number_rows(sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    stops = np.cumsum(list(sizes.values()))
    return {part: np.arange(stop - sizes[part], stop) for part, stop in zip(sizes, stops, strict=True)}


def _count_rows(name: str, share: float, rows: int) -> int:
    if not (0 < share < 1 or (share >= 1 and float(share).is_integer())):
        raise DataError(f"`{name}` (={share:g}) is neither a share in (0, 1) nor a number of rows from 1")
    count = round(share * rows) if share < 1 else int(share)
    if count == 0:
        raise DataError(f"`{name}` (={share:g}) of {rows} rows leaves the {name} split empty")
    return count


def _order(rows: int, seed: int | None) -> np.ndarray:
    """A permutation. It is made from raw bits, the only random numbers that NumPy promises not to change."""
    if seed is None:
        return np.arange(rows)
    return np.argsort(np.random.Philox(seed).random_raw(rows), kind="stable")


def _hold_out(counts: Mapping[str, int], order: np.ndarray, strata: np.ndarray) -> dict[str, np.ndarray]:
    """Holds out the last rows of each class, one split after the other; the rest is `train`."""
    classes, ids = np.unique(strata, return_inverse=True)
    before = np.bincount(ids)
    held = {}
    for name, count in counts.items():
        order, taken = _take(order, count, ids[order])
        held[name] = np.sort(taken)
    held["train"] = np.sort(order)
    small = (before <= len(counts)) | (np.bincount(ids[order], minlength=len(classes)) == 0)
    if small.any():
        name, rows = classes[small].tolist()[0], before[small][0]
        raise DataError(_describe_small(name, rows, f"{len(held)} splits"))
    return held


def _take(order: np.ndarray, count: int, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divides `order` into the rows that stay, and `count` rows from the end: of each class its share."""
    sizes = np.bincount(ids)
    places = np.empty(len(order), int)  # of each row within its class
    starts = np.cumsum(sizes) - sizes
    places[np.argsort(ids, kind="stable")] = np.arange(len(order)) - np.repeat(starts, sizes)
    taken = places >= (sizes - _apportion(sizes, count))[ids]
    return order[~taken], order[taken]


def _apportion(sizes: np.ndarray, count: int) -> np.ndarray:
    """Divides `count` in proportion to `sizes` by largest remainder. No share is above its size."""
    shares, remainders = np.divmod(sizes * count, sizes.sum())
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    return shares


def _describe_small(name: object, rows: int, parts: str) -> str:
    number = "1 row" if rows == 1 else f"{rows} rows"
    return (
        f"class {name!r} is too small to stratify: it has {number} for {parts}; "
        "leave the class out, get more of it, or set `stratify` to null"
    )
