from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import RadialBasis, Squash
from components.types import UserError

CODES = ((1.0, -1.0, 1.0), (-1.0, -1.0, 0.5))
X = np.random.RandomState(0).standard_normal((4, 3)).astype(np.float32)


def test_an_answer_is_the_negative_squared_distance_and_nothing_is_learned() -> None:
    y, variables = RadialBasis(CODES).init_with_output(jax.random.key(0), X, train=True)
    assert variables == {}
    np.testing.assert_allclose(y, -np.square(X[:, None] - np.array(CODES)).sum(2), rtol=1e-5)


def test_half_precision_answers_in_float32() -> None:
    assert RadialBasis(CODES).apply({}, jnp.asarray(X, jnp.bfloat16), train=False).dtype == jnp.float32


def test_vectors_of_another_size_are_refused() -> None:
    with pytest.raises(UserError, match=r"codes of 3 numbers suit vectors \(B, 3\), got \(4, 2\)"):
        RadialBasis(CODES).apply({}, X[:, :2], train=False)


def test_squashing_leaves_one_and_minus_one_where_they_are() -> None:
    y = Squash().apply({}, jnp.array([1.0, -1.0, 0.0, 100.0]), train=True)
    np.testing.assert_allclose(y, [1, -1, 0, 1.7159], atol=1e-4)
