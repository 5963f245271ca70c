"""Raw columns of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from components.feature.base.raw import read_labels
from components.feature.statistic.classes import Distinct
from components.feature.text.string_ops import to_strings
from components.types import Block


@pytest.mark.parametrize("values", [np.array([]), np.array([], str), np.array([], object), to_strings([])])
def test_a_column_without_rows_has_no_labels(values: Any) -> None:
    block = Block({"y": values})
    assert read_labels(block, "y").shape == (0,)
    assert Distinct("y").summarize(block) == {}
