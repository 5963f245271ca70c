"""Principal components: projections that keep the variance, in order."""

from typing import Any

import numpy as np
import pytest

from components.feature.principal import PrincipalComponents
from components.types import Block, Constants, DataError, UserError

X = np.random.default_rng(0).normal(size=(200, 3)) * [1, 5, 0.1] + 40


def learned(column: PrincipalComponents, rows: Block) -> Constants:
    return column.fit({name: one.result(one.summarize(rows)) for name, one in column.statistics().items()}, {})


def projected(column: PrincipalComponents, rows: Block) -> np.ndarray:
    constants = learned(column, rows)
    return np.asarray(column.layer(constants.static)(column.encode(rows, {}, constants), constants.device))


def test_it_is_the_projection_by_singular_values() -> None:
    """Of each direction the largest element is positive."""
    rows = Block({"a": X[:, :2], "b": X[:, 2]})
    found = projected(PrincipalComponents(key=("a", "b"), components=2), rows)
    left, sizes, directions = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    signs = np.sign(directions[np.arange(3), np.abs(directions).argmax(axis=1)])
    np.testing.assert_allclose(found, (left * sizes * signs)[:, :2], rtol=1e-3, atol=1e-3)


def test_the_sign_does_not_hang_on_that_of_the_solver() -> None:
    """Numbers that fall together rise together in the first component."""
    x = np.linspace(-1, 1, 20)
    found = projected(PrincipalComponents(key="x", components=1), Block({"x": np.stack([x, 3 * x], 1)}))
    np.testing.assert_allclose(found[:, 0], x * 10**0.5, rtol=1e-5)


def test_columns_must_be_listed_and_not_exceed_float32_precision() -> None:
    with pytest.raises(UserError, match="`key` is empty"):
        PrincipalComponents(key=(), components=1)
    far = Block({"x": X, "t": 1.6e9 + np.arange(200)})
    message = "x, t: numbers with mean 1600000100 and standard deviation 57.7 would lose precision in float32; subtract"
    with pytest.raises(DataError, match=message):
        learned(PrincipalComponents(key=("x", "t"), components=1), far)


def test_whitened_components_are_uncorrelated_and_of_variance_1() -> None:
    found = projected(PrincipalComponents(key="x", components=3, whiten=True), Block({"x": X}))
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(3), atol=1e-3)


@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        (
            PrincipalComponents(key="x", components=4),
            UserError,
            r"`components` \(=4\) must be from 1 to 3, the elements",
        ),
        (
            PrincipalComponents(key=("x", "x"), components=4, whiten=True),
            DataError,
            "numbers vary along only 3 directions",
        ),
        (PrincipalComponents(key="c", components=1, whiten=True), DataError, "numbers vary along only 0 directions"),
        (PrincipalComponents(key="gaps", components=1), DataError, "row 1 of data: column `gaps` is nan"),
    ],
)
def test_too_many_components_raise_an_error(column: Any, kind: type, message: str) -> None:
    gaps = np.where(np.arange(200)[:, None] == 1, np.nan, X)
    with pytest.raises(kind, match=message):
        projected(column, Block({"x": X, "c": np.ones((200, 2)), "gaps": gaps}))
