"""Divides groups of rows, such as those of one patient, among splits. A group is never divided itself."""

from __future__ import annotations

import numpy as np


def assign_groups(sizes: np.ndarray, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Assigns each group to a split, so that the splits have about the shares of the rows, and of each class.

    The next group goes to the split that lacks most of what the group has. For groups in the order of their sizes, and
    equal shares, this is the longest-processing-time rule (Graham, 1969); with classes it follows scikit-learn's
    StratifiedGroupKFold. Every split gets a group, so there must be as many groups as splits.

    Args:
        sizes: the rows of each group and class, (groups, classes).
        shares: the share of each split, (splits,); their sum is 1.
        order: the order of the groups, (groups,).

    Returns:
        The split of each group, (groups,).
    """
    totals = np.maximum(sizes.sum(axis=0), 1)
    lacks = np.outer(shares, np.ones(len(totals)))  # the share of each class that each split lacks yet
    parts = sizes / totals
    split_of = np.empty(len(sizes), int)
    if len(totals) == 1:  # plain numbers are ten times faster
        split_of[order] = _fill(parts[order, 0].tolist(), shares.tolist())
    else:
        for group in order.tolist():
            split = int(np.argmax(lacks @ parts[group]))
            split_of[group] = split
            lacks[split] -= parts[group]
    _fill_empty_splits(split_of, sizes.sum(axis=1), len(shares))
    return split_of


def order_groups(sizes: np.ndarray, order: np.ndarray, largest: float) -> np.ndarray:
    """Moves the groups of more than `largest` rows to the front, the largest first, since they fit into few splits."""
    rows = sizes.sum(axis=1)[order]
    return order[np.argsort(np.where(rows > largest, -rows, 0), kind="stable")]


def _fill(parts: list[float], lacks: list[float]) -> list[int]:
    """The split of each group, in the order in which they are assigned."""
    result = []
    for part in parts:
        split = lacks.index(max(lacks))
        lacks[split] -= part
        result.append(split)
    return result


def _fill_empty_splits(split_of: np.ndarray, rows: np.ndarray, splits: int) -> None:
    """Gives each split without a group the smallest group of those splits that have several."""
    for empty in np.flatnonzero(np.bincount(split_of, minlength=splits) == 0).tolist():
        movable = np.flatnonzero(np.bincount(split_of, minlength=splits)[split_of] > 1)
        split_of[movable[rows[movable].argmin()]] = empty
