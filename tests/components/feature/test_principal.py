"""Principal components: projections that keep the variance, in order."""

from typing import Any

import numpy as np
import pytest

from components.feature.principal import PrincipalComponents
from components.types import Block, Constants, DataError, Ragged, UserError

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


def test_columns_must_be_listed() -> None:
    with pytest.raises(UserError, match="key: is empty"):
        PrincipalComponents(key=(), components=1)


@pytest.mark.parametrize(("offset", "unit"), [(0, 1), (1.6e9, 1), (0, 1e-46), (0, 1e-200), (1e3, 1e200)])
@pytest.mark.parametrize("whiten", [False, True])
def test_numbers_of_any_size_and_offset_have_precise_components(offset: float, unit: float, whiten: bool) -> None:
    numbers = X.copy()
    numbers += offset - numbers.mean(axis=0)
    near = numbers - numbers.mean(axis=0)
    left, sizes, directions = np.linalg.svd(near, full_matrices=False)
    signs = np.sign(directions[np.arange(3), np.abs(directions).argmax(axis=1)])
    expected = left[:, :2] * signs[:2] * (np.sqrt(200) if whiten else sizes[:2])
    column, rows = PrincipalComponents(key="x", components=2, whiten=whiten), Block({"x": numbers * unit})
    if not whiten and unit != 1:
        with pytest.raises(DataError, match=r"of the first component is .* beyond the range"):
            learned(column, rows)
        return
    constants = learned(column, rows)
    np.testing.assert_allclose(projected(column, rows), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(column.host_output(rows, {}, constants), expected, rtol=1e-5, atol=1e-5)


def test_a_number_that_float32_cannot_hold_raises_an_error() -> None:
    column = PrincipalComponents(key="x", components=1)
    constants = learned(column, Block({"x": X}))
    with pytest.raises(DataError, match="row 1 of data: x: a number is so far from those of the training split"):
        column.encode(Block({"x": np.array([[0, 0, 0], [0, 1e99, 0]])}), {}, constants)


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


def test_lists_have_a_remedy_that_exists() -> None:
    (statistic,) = PrincipalComponents(key="x", components=1).statistics().values()
    with pytest.raises(
        DataError, match="first one of 2 values; read them by a feature column Numeric with `size`, and "
    ):
        statistic.summarize(Block({"x": Ragged(np.ones(4), np.array([0, 2, 4]))}))
