from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from components.architecture import Sequential
from components.layer import Activation, BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool
from components.types import Scalar, UserError

X = jax.random.normal(jax.random.key(0), (3, 6, 6, 2))


def logits(*layers: nn.Module, x: jax.Array = X) -> jax.ShapeDtypeStruct:
    """Shape and dtype of the logits; computes nothing."""
    module = Sequential(4, layers)
    return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), x, train=True)[0].logits)


def test_layers_follow_one_another() -> None:
    layers = (Flatten(), Dense(5), Activation("tanh"))
    output, variables = Sequential(4, layers).init_with_output(jax.random.key(0), X, train=True)
    dense, head = (jax.tree.map(np.asarray, variables["params"][name]) for name in ("layers_1", "head"))
    hidden = np.tanh(np.asarray(X).reshape(3, -1) @ dense["kernel"] + dense["bias"])
    np.testing.assert_allclose(output.logits, hidden @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-5)
    assert list(output.features) == ["layers_0", "layers_1", "layers_2"]


def test_layers_of_flax_itself_fit_in() -> None:
    assert logits(nn.LayerNorm(), Flatten(), nn.Dense(5)).shape == (3, 4)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            (Flatten(), Dense(5), Conv(4, 3)),
            r"layer 2 \(Conv\) can't take an input of shape \(3, 5\): a convolution takes images",
        ),
        (
            (MaxPool(4), MaxPool(2)),
            r"layer 1 \(MaxPool\) can't take an input of shape \(3, 1, 1, 2\): .* of 2 x 2 does not fit",
        ),
        ((Conv(4, 3),), r"the last layer gives \(3, 6, 6, 4\), not vectors \(B, D\): end with Flatten"),
    ],
)
def test_layers_that_do_not_fit_are_named(layers: tuple[nn.Module, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        logits(*layers)


def test_the_numbers_of_layers_may_be_traced(check_traced: Callable[..., None]) -> None:
    def trained(rate: Scalar, momentum: Scalar) -> tuple[jax.Array, dict]:
        module = Sequential(4, (Flatten(), BatchNorm(momentum), Dropout(rate)))
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        variables = module.init(keys, X, train=True)
        output, changed = module.apply(variables, X, train=True, rngs=keys, mutable=["batch_stats"])
        return output.logits, changed

    check_traced(trained, {"rate": 0.0, "momentum": 0.5}, {"rate": 0.5, "momentum": 0.9})


def test_no_layer_at_all_is_a_linear_model() -> None:
    assert logits(x=jnp.zeros((3, 7))).shape == (3, 4)
