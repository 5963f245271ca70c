from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.architecture import MLP, WideDeep
from components.types import MultiHot, Padded, UserError

KEYS = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
WIDE = MultiHot(jnp.array([[4, 1], [0, -1], [5, 2]]), jnp.array([[1.0, 2.0], [3.0, 9.0], [9.0, 1.0]]), 5)
DENSE = jnp.array([[0.0, 2, 0, 0, 1], [3, 0, 0, 0, 0], [0, 0, 1, 0, 0]])
DEEP = jnp.linspace(-1, 1, 12).reshape(3, 4)


def initialize(module: Any, *inputs: Any) -> tuple[jax.Array, dict[str, jax.Array], Any]:
    """Returns the logits and features of a training step, and the variables."""

    @jax.jit
    def run(*inputs: Any) -> tuple[jax.Array, dict[str, jax.Array], Any]:
        output, variables = module.init_with_output(KEYS, *inputs, train=True)
        return output.logits, output.features, variables

    return run(*inputs)


def logits(module: Any, params: Any, *inputs: Any) -> jax.Array:
    return jax.jit(lambda *inputs: module.apply({"params": params}, *inputs, train=False).logits)(*inputs)


def test_logits_are_the_sum_with_a_linear_model_that_is_initially_zero() -> None:
    """Compares with a dense layer on the concatenation of `wide` and the last hidden layer, for both kinds of input."""
    both, features, variables = initialize(WideDeep(2, (6,)), WIDE, DEEP)
    params = variables["params"]
    assert set(params) == {"wide", "dense_0", "head"}
    assert set(params["wide"]) == {"kernel"}
    np.testing.assert_array_equal(params["wide"]["kernel"], np.zeros((5, 2)))
    np.testing.assert_allclose(both, logits(MLP(2, (6,)), params, DEEP), rtol=1e-5)

    kernel = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    concatenated = np.concatenate([features["dense_0"], DENSE], axis=1)
    expected = concatenated @ np.concatenate([params["head"]["kernel"], kernel]) + np.asarray(params["head"]["bias"])
    for wide in (WIDE, DENSE):
        found = logits(WideDeep(2, (6,)), {**params, "wide": {"kernel": kernel}}, wide, DEEP)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_bfloat16_networks_give_float32_logits() -> None:
    module = WideDeep(2, (6,), dtype=jnp.bfloat16)
    found, features, variables = jax.eval_shape(lambda: initialize(module, WIDE, DEEP))
    assert found.dtype == jnp.float32
    assert features["dense_0"].dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}


def test_counts_are_not_rounded_to_bfloat16() -> None:
    counts = MultiHot(jnp.array([[0, 1], [0, 1]]), jnp.array([[257.0, 256.0], [256.0, 256.0]]), 2)
    params = {
        "dense_0": {"kernel": jnp.array([[1.0], [-1.0]]), "bias": jnp.zeros(1)},
        "head": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)},
        "wide": {"kernel": jnp.array([[10.0], [-10.0]])},
    }
    module = WideDeep(1, (1,), dtype=jnp.bfloat16)
    np.testing.assert_array_equal(logits(module, params, counts, counts), [[11], [0]])


def test_a_column_of_variable_length_raises() -> None:
    with pytest.raises(UserError, match="WideDeep needs examples of equal shape, got a column of variable length"):
        WideDeep(2, (6,)).init(KEYS, WIDE, Padded(jnp.zeros((2, 5, 3)), jnp.ones((2, 5), bool)), train=True)


def test_a_dense_network_takes_sparse_vectors() -> None:
    sparse, _, variables = initialize(MLP(3, (4,)), WIDE)
    np.testing.assert_allclose(logits(MLP(3, (4,)), variables["params"], DENSE), sparse, rtol=1e-5, atol=1e-6)
