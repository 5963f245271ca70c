"""Pairs of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np

from components.hashing import to_shares
from components.types import DataError, FieldError, FoundExamples, Range, RowNumbers, TargetSpec, UserError, as_index

if TYPE_CHECKING:
    import jax

CLASSES = ("different", "same")
STREAM = 0x70616972  # tells the random numbers of pairs from those of the order of examples, whose seed may be the same


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of rows of one split. The target is whether both have the same class, `different` or `same`.

    Each row with a class is the first row of one pair, and its partner is drawn at random: uniformly from the other
    rows of its class, or from the rows of other classes. The pair is known by the first row.

    Attributes:
        same: the share of the pairs of a split whose rows have the same class, rounded, but at least one pair of each
            kind.
        draws: the number of partners that each row gets in training, one in each epoch; then they come again. Held-out
            rows have the first one.
        seed: the seed of the draws.

    References:
        Bromley et al., 1993: Signature verification using a "Siamese" time delay neural network.
    """

    same: Annotated[float, Range(0, 1, "()")] = 0.5
    draws: Annotated[int, Range(1)] = 1
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0

    @property
    def keys(self) -> tuple[str, ...]:
        return ()

    def input_steps(self, column: str) -> range:
        return range(2)

    @property
    def target_steps(self) -> range:
        return range(2)

    def draw(self, classes: np.ndarray, splits: Mapping[str, RowNumbers]) -> FoundExamples:
        """The pairs. In `order`, each row and its partner follow one another: all rows of the first draw come first."""
        if 2 * self.draws * len(classes) > np.iinfo(np.int32).max:
            most = np.iinfo(np.int32).max // (2 * len(classes))
            raise FieldError(
                "draws", f"{self.draws:,} are too many for {len(classes):,} rows. Choose at most {most:,}."
            )
        own = np.arange(len(classes), dtype=np.int32)
        pairs = np.tile(np.stack([own, own], axis=1), (self.draws, 1, 1))
        known = {name: np.asarray(rows)[classes[as_index(rows)] >= 0] for name, rows in splits.items()}
        for number, (name, rows) in enumerate(known.items()):
            for draw in range(self.draws if name == "train" else 1):
                pairs[draw, rows, 1] = rows[self._draw_partners(classes[rows], name, (STREAM, self.seed, number, draw))]
        left_out = [len(rows) - len(known[name]) for name, rows in splits.items()]
        positions = np.arange(0, pairs.size, 2, dtype=np.int32)
        return FoundExamples([*known.values()], left_out, [0] * len(splits), pairs.reshape(-1), positions)

    def _draw_partners(self, classes: np.ndarray, split: str, seed: tuple[int, ...]) -> np.ndarray:
        """The index of each row's partner among the rows of a split, which all have a class."""
        count = len(classes)
        sizes = np.bincount(classes)
        if (sizes > 0).sum() < 2:
            which = "no row with a class" if not count else "rows of one class only"
            raise DataError(f"the {split} split has {which}: pairs of different classes need rows of two classes.")
        random = np.random.Philox(np.random.SeedSequence(seed))
        can_be_same = np.flatnonzero(sizes[classes] > 1)
        wanted = min(max(math.floor(self.same * count + 0.5), 1), count - 1)
        if wanted > len(can_be_same):
            raise FieldError(
                "same",
                f"{self.same} makes {wanted:,} of the {count:,} pairs of the {split} split pairs of one class, and "
                f"only {len(can_be_same):,} of its rows have another row of their class. Choose a smaller share, or "
                "more rows of each class.",
            )
        chosen = can_be_same[np.argsort(random.random_raw(len(can_be_same)), kind="stable")[:wanted]]
        is_same = np.zeros(count, bool)
        is_same[chosen] = True
        # Rows sorted by class: each class is a block, and the partner is some places further, in a circle: around the
        # block but for the row itself, or around all rows but for the block.
        order = np.argsort(classes, kind="stable")
        places = np.empty(count, np.int64)
        places[order] = np.arange(count)
        size, start = sizes[classes], (np.cumsum(sizes) - sizes)[classes]
        choices = np.where(is_same, size - 1, count - size)
        drawn = np.minimum((to_shares(random.random_raw(count)) * choices).astype(np.int64), choices - 1)
        same = start + (places - start + 1 + drawn) % size
        return order[np.where(is_same, same, (start + size + drawn) % count)]

    def describe_left_out(self, count: int, split: str) -> str:
        rows, verbs = ("row", ("has", "is")) if count == 1 else ("rows", ("have", "are"))
        return f"{count:,} {rows} of {split} {verbs[0]} no class and {verbs[1]} in no pair"

    def bind(self, target: TargetSpec) -> TargetSpec:
        """The target of a pair, one of two classes."""
        if target.kind != "classes" or target.shape:
            what = {"real": "numbers", "multilabel": "several classes", "classes": "a class for each pixel"}
            raise UserError(f"pairs need a target with one class for each row, and it has {what[target.kind]}")
        if target.class_weights is not None:
            raise UserError(
                "the target has weights of classes, and pairs have two others, `different` and `same`. Remove them"
            )
        return replace(target, classes=CLASSES, values=CLASSES, can_be_missing=False)

    def join_targets(self, targets: jax.Array) -> jax.Array:
        """Whether both rows have the same class: 0 or 1, int32 (B,)."""
        return (targets[:, 0] == targets[:, 1]).astype("int32")
