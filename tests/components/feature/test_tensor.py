"""`Tensor`: arrays of numbers as they are."""

import numpy as np
import pytest

from components.feature import Tensor
from components.types import Block, Constants, DataError


def encode(values: np.ndarray) -> np.ndarray:
    return Tensor(key="x").encode(Block({"x": values}), {}, Constants())["values"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_numbers_keep_their_shape(dtype: type) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    encoded = encode(values)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, values)
    assert encode(values[:, 0, 0]).shape == (2, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_number_that_float32_lacks_is_an_error_with_its_row(value: float) -> None:
    values = np.zeros((3, 2))
    values[1, 1] = value
    with pytest.raises(DataError, match=r"row 1 of data: column `x`"):
        encode(values)
