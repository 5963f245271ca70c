"""The features of a finished run, as a column beside those of its data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from components.types import (
    FEATURES,
    Block,
    ComputedFeatures,
    DataError,
    LazyColumns,
    RowNumbers,
    Source,
    UserError,
    row_count,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class RunFeatures:
    """What a stage of the network of a finished run computes for each row: the column `features`, float32 (…).

    It is computed once, with the best weights, without dropout and augmentation, and cached. The other columns of the
    rows stay. A network that is trained on the features, such as a new head, takes steps as if all below them was
    frozen, but much faster.

    Attributes:
        run: a run folder, its name below `folder`, or an MLflow run id.
        stage: the stage, such as `stage_3`, `pool` or `dense_1`. None: the last one, which the head reads.
        rows: other rows than those of the run: an option of `data` with its fields. They need the columns that the
            inputs of the run read. None: the rows of the run's data, with its splits.
    """

    run: str
    stage: str | None = None
    rows: Source | None = None

    def bind(self, features: ComputedFeatures) -> Source:
        """The source with the features."""
        return FeatureRows(features)

    def fingerprint(self) -> str:
        self._raise_unbound()

    def sizes(self) -> Mapping[str, int]:
        self._raise_unbound()

    def blocks(self, part: str) -> Iterator[Block]:
        self._raise_unbound()

    def splits(self) -> Mapping[str, RowNumbers]:
        self._raise_unbound()

    def _raise_unbound(self) -> NoReturn:
        raise UserError(
            f"the features of the run {self.run} are computed when a run starts, so nothing else can read them. "
            "Choose the data of that run."
        )


class FeatureRows:
    """Rows with the features of a finished run.

    Args:
        features: the rows and their features.
    """

    def __init__(self, features: ComputedFeatures) -> None:
        self._features = features
        self.network = features.network

    def fingerprint(self) -> str:
        return hashlib.blake2b(self._features.fingerprint.encode(), digest_size=16).hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return self._features.rows.sizes()

    def splits(self) -> Mapping[str, RowNumbers]:
        return self._features.splits

    def skipped_rows(self) -> int | None:
        """The number of rows that are left out because they can't be read. None: such a row is an error."""
        return self._features.skipped_rows

    def left_out(self) -> tuple[str, ...]:
        """Sentences about the rows that are left out."""
        return self._features.left_out

    def notes(self) -> tuple[str, ...]:
        """Sentences about the rows that operations leave out."""
        return self._features.notes

    def row_numbers(self) -> np.ndarray | None:
        """The number in the data of each row. None: no row is left out."""
        return self._features.row_numbers

    def source_rows(self) -> np.ndarray:
        """The number in the data of each row."""
        numbers = self._features.row_numbers
        return np.arange(sum(self.sizes().values())) if numbers is None else numbers

    def blocks(self, part: str) -> Iterator[Block]:
        """Yields the rows of a part. Raises DataError if they have a column `features` already."""
        sizes = self.sizes()
        start = sum(sizes[name] for name in [*sizes][: [*sizes].index(part)])
        for block in self._features.rows.blocks(part):
            if FEATURES in block.columns:
                raise DataError(
                    f"{block.origin} has a column `{FEATURES}`, which is the name of the features of the run. Rename "
                    "the column, or leave it out"
                )
            stop = start + row_count(next(iter(block.columns.values())))
            columns, added = block.columns, {FEATURES: np.asarray(self._features.values[start:stop])}
            joined = columns.with_columns(added) if isinstance(columns, LazyColumns) else {**columns, **added}
            yield replace(block, columns=joined)
            start = stop
