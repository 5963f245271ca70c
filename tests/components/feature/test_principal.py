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
    rows = Block({"a": X[:, :2], "b": X[:, 2]})
    found = projected(PrincipalComponents(key=("a", "b"), components=2), rows)
    left, sizes, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(left * sizes)[:, :2], rtol=1e-3, atol=1e-3)


def test_whitened_components_are_uncorrelated_and_of_variance_1() -> None:
    found = projected(PrincipalComponents(key="x", components=3, whiten=True), Block({"x": X}))
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(3), atol=1e-3)


@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        (
            PrincipalComponents(key="x", components=4),
            UserError,
            r"`components` \(=4\) must be from 1 to the 3 elements",
        ),
        (PrincipalComponents(key=("x", "x"), components=4, whiten=True), DataError, "x, x vary along 3 directions"),
        (PrincipalComponents(key="c", components=1, whiten=True), DataError, "c vary along 0 directions"),
        (PrincipalComponents(key="gaps", components=1), DataError, "row 1 of data: column `gaps` is nan"),
    ],
)
def test_what_has_no_such_components_is_refused(column: Any, kind: type, message: str) -> None:
    gaps = np.where(np.arange(200)[:, None] == 1, np.nan, X)
    with pytest.raises(kind, match=message):
        projected(column, Block({"x": X, "c": np.ones((200, 2)), "gaps": gaps}))
