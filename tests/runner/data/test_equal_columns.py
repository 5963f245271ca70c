"""Columns that encode rows equally have one array; others don't."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.data import Arrays
from components.feature import Numeric, Vocabulary
from components.types import Column, RowRange
from runner.data.load import Data, Features, load_encoded

SOURCE = Arrays(
    columns={"x": np.arange(20.0, dtype=np.float32), "c": np.arange(20) % 3, "far": 1.6e9 + 1e3 * np.arange(20) ** 2},
    seed=None,
)
TARGET = Numeric(key="x", normalize="z_score")


def load(column: Numeric, cache: Path | None = None, sample: int | None = None) -> Data:
    target = replace(TARGET, key="far") if column.key == "far" else TARGET
    features = Features({"target": target}, {"x": column}, {"inputs": ("x",)}, sample=sample)
    return load_encoded(SOURCE, features, identity="same", cache=cache)


def is_shared(data: Data) -> bool:
    return data.encoded["x"]["values"] is data.encoded["target"]["values"]


def test_an_input_and_a_target_of_equal_settings_share_an_array(tmp_path: Path) -> None:
    for _ in range(2):  # encoded, and from the cache
        data = load(TARGET, tmp_path)
        assert is_shared(data)
        assert [*data.encoded] == ["x", "target"]
        assert all(isinstance(rows, RowRange) for rows in data.splits.values())
    assert [len(rows) for rows in data.splits.values()] == [14, 3, 3]


@pytest.mark.parametrize(
    "column", [Numeric(key="x"), replace(TARGET, scale=2.0), Numeric(key="c", normalize="z_score")]
)
def test_other_settings_have_their_own_arrays(column: Numeric) -> None:
    data, alone = load(column), load_encoded(SOURCE, Features({"target": column}, {}, {}), identity="", cache=None)
    assert not is_shared(data)
    np.testing.assert_array_equal(data.encoded["x"]["values"], alone.encoded["target"]["values"])


def test_columns_that_are_fitted_to_other_rows_have_their_own_arrays() -> None:
    assert is_shared(load(TARGET, sample=3))  # only the normalization on the device differs
    assert not is_shared(load(replace(TARGET, key="far"), sample=3))  # the host subtracts another mean


def test_texts_and_numbers_that_are_equal_in_python_are_not_shared() -> None:
    columns: dict[str, Column] = {
        "a": Vocabulary(key="c", values=(0, 1)),
        "b": Vocabulary(key="c", values=(False, True)),
    }
    features = Features({"target": TARGET}, columns, {"inputs": ("a", "b")})
    arrays = load_encoded(SOURCE, features, identity="", cache=None).encoded
    assert arrays["a"]["ids"] is not arrays["b"]["ids"]
