"""The features of new rows, for a run on the features of another run (`data=features`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, cast

import numpy as np

from components.types import FEATURES, Column, ComputedFeatures, FieldError, NeedsFeatures
from runner.config.recorded_config import read_config
from runner.data.encode import parent_keys
from runner.data.python_rows import NewRows
from runner.data.transform import OnMissing, Rows, Transform
from runner.errors import error_location
from runner.execution.finished_run import FinishedRun
from runner.execution.run_features import StageOutputs, load_run
from runner.signature.build import build_source


class FeaturesOfRows:
    """Computes the features of new rows with the network of the run that a run on features names.

    Args:
        run: the run on features.
        on_warning: called with each warning about the run that computes them.

    Raises:
        UserError: the run that computes them is gone, or can't be read.
    """

    def __init__(self, run: FinishedRun, on_warning: Callable[[str], None]) -> None:
        self._run = run
        with error_location("data"):
            self._part = cast(NeedsFeatures, build_source(read_config(run.folder)["data"]))
        with error_location("data.run"):
            self._body = load_run(run.config, self._part.run, on_warning)

    def open(
        self, rows: Any, columns: Mapping[str, Column], on_missing: OnMissing, on_warning: Callable[[str], None]
    ) -> NewRows:
        """Opens new rows with their features.

        Args:
            rows: the rows, as for `TrainedModel.predict`.
            columns: the columns of the run on features.
            on_missing: as for `TrainedModel.predict`.
            on_warning: called with each sentence about how the rows were read.

        Raises:
            UserError: a column is missing, or the weights of the other run have changed.
            DataError: a value is wrong.
        """
        transform = self._join_operations()
        opened = transform.open(rows, _without_features(columns) | transform.columns)
        pieces = transform.pieces(
            opened, self._body.training.evaluation_batch_size, on_missing=on_missing, on_warning=on_warning
        )
        values = self._compute(pieces)
        features = ComputedFeatures(opened.source, values, {}, "", (), opened.find_numbers(), None, (), "")
        return NewRows(self._part.bind(features))

    def _join_operations(self) -> Transform:
        """The transform of the other run, with the operations of both runs."""
        of_body, own = self._body.transform, self._run.transform
        first = len(of_body.operations)
        others = {str(first + int(number)): digest for number, digest in own.other_sources.items()}
        operations = (*of_body.operations, *own.operations)
        return replace(of_body, operations=operations, other_sources={**of_body.other_sources, **others})

    def _compute(self, pieces: Iterator[Rows]) -> np.ndarray:
        first = next(pieces)
        with error_location("data"):
            outputs = StageOutputs(self._body, first, self._part.stage)
            if outputs.network != self._run.transform.network:
                name = self._body.folder.name
                raise FieldError(
                    "run",
                    f"the weights of {name} have changed since {self._run.folder.name} was trained on its features. "
                    "Train the latter again.",
                )
            return np.concatenate([*outputs.batches(chain([first], pieces))])


def _without_features(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The columns, parents first, that read no features, neither themselves nor by another column."""
    kept: dict[str, Column] = {}
    for name, column in columns.items():
        parents = parent_keys(columns, name)
        if FEATURES not in set(column.keys) - set(parents) and kept.keys() >= set(parents):
            kept[name] = column
    return kept
