"""New rows whose target is known, as data that a run can be evaluated on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from components.types import Constants, Source, UserError
from runner.data.encode import check_keys, encode_source, first_block
from runner.data.load import Data, Features, program_columns, reached_columns

NEW = "new"  # the split that they all make


def encode_labeled(source: Source, features: Features, constants: Mapping[str, Constants]) -> Data:
    """All rows of a source, encoded by what a run has learned, its target too.

    Raises UserError where a column lacks, DataError where a value is wrong or a class unknown.
    """
    columns = reached_columns(features)
    if (first := first_block(source)) is None:
        raise UserError("there are no rows to evaluate on")
    check_keys(columns, first)
    encoded = encode_source(source, columns, constants, program_columns(features))
    rows = np.arange(sum(source.sizes().values()))
    return Data(encoded, {"train": rows, NEW: rows}, constants, fingerprint="", warnings=())
