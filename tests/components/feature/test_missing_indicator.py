"""Whether a value is missing, whatever the type of the column."""

from typing import Any

import numpy as np
import pytest

from components.feature import MissingIndicator
from components.feature.text.string_ops import to_strings
from components.types import Block, Constants, DataError, Ragged, Strings

EMPTY_DICTIONARY = Strings(np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros(3, np.int32))


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        (np.array([0.0, np.nan, 1.0]), [0, 1, 0]),
        (np.array([0, -1, 1]), [0, 0, 0]),
        (np.array([True, False]), [0, 0]),
        (np.array(["2024-01-01", "NaT"], "datetime64[D]"), [0, 1]),
        (to_strings(["", "missing", "a"]), [1, 0, 0]),
        (Strings(*to_strings(["a", ""])[:2], np.array([1, 0, 0])), [1, 0, 0]),
        (EMPTY_DICTIONARY, [1, 1, 1]),
        (np.array(["", "a"]), [1, 0]),
        (np.array([None, "a", "", float("nan"), 0], object), [1, 0, 1, 1, 0]),
        (Ragged(np.zeros(3), np.array([0, 1, 1, 3])), [0, 0, 0]),
    ],
)
def test_gaps_of_each_type_are_found(values: Any, missing: list[int]) -> None:
    column = MissingIndicator(key="x")
    encoded = column.encode(Block({"x": values}), {}, column.fit({}, {}))["values"]
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [[value] for value in missing]
    assert column.layer({})({"values": encoded}, {}).shape == (len(missing), 1)
    mask = np.arange(len(missing)) > 0
    masked = column.encode(Block({"x": values}, {"x": mask}), {"x": {"values": encoded}}, Constants())["values"]
    assert masked.tolist() == [[1], *([value] for value in missing[1:])], "the raw column is read, not its parent"


def test_other_columns_raise_an_error() -> None:
    column = MissingIndicator(key="x")
    with pytest.raises(DataError, match="`x` is no raw column of data, as a MissingIndicator needs"):
        column.encode(Block({"y": np.zeros(1)}), {}, Constants())
    with pytest.raises(DataError, match="column `x` of data must have one value in each row"):
        column.encode(Block({"x": np.zeros((2, 2))}), {}, Constants())
