from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.architecture import Sequential, WideSequential
from components.layer import Conv1D, Dropout, GlobalMaxPool
from components.types import MultiHot, Padded, UserError

LAYERS = (Conv1D(5, 3), GlobalMaxPool(), Dropout(0.5))
KEYS = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
WIDE = MultiHot(jnp.array([[4, 1], [0, -1], [-1, -1]]), jnp.ones((3, 2)), 5)
DENSE = jnp.array([[0.0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
WORDS = np.random.default_rng(0).standard_normal((3, 6, 4)).astype(np.float32)


def texts(steps: int = 6) -> Padded:
    """A text, one that is shorter than the kernel, and an empty one, padded to a number of words."""
    values = np.full((3, steps, 4), 9, np.float32)
    values[:, :6] = WORDS
    return Padded(values, np.arange(steps) < np.array([[6], [2], [0]]))


def logits(network: Any, params: Any, *inputs: Any, train: bool = False) -> jax.Array:
    return jax.jit(lambda: network.apply({"params": params}, *inputs, train=train, rngs=KEYS).logits)()


@pytest.fixture(scope="module")
def params() -> Any:
    return jax.jit(partial(WideSequential(2, LAYERS).init, train=True))(KEYS, WIDE, texts())["params"]


def test_logits_are_the_sum_with_a_linear_model_that_is_initially_zero(params: Any) -> None:
    assert set(params) == {"wide", "layers_0", "head"}
    assert {name: array.shape for name, array in params["wide"].items()} == {"kernel": (5, 2)}
    deep = {name: leaves for name, leaves in params.items() if name != "wide"}
    expected = logits(Sequential(2, LAYERS), deep, texts())
    np.testing.assert_array_equal(logits(WideSequential(2, LAYERS), params, WIDE, texts()), expected)
    kernel = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    for wide in (WIDE, DENSE):
        found = logits(WideSequential(2, LAYERS), {**params, "wide": {"kernel": kernel}}, wide, texts())
        np.testing.assert_allclose(found, expected + DENSE @ kernel, rtol=1e-5)


def test_logits_do_not_depend_on_the_padding_of_the_batch(params: Any) -> None:
    params = {**params, "wide": {"kernel": jnp.ones((5, 2))}}
    padding = ((0, 0), (0, 7))
    wider = MultiHot(jnp.pad(WIDE.ids, padding, constant_values=-1), jnp.pad(WIDE.weights, padding), 5)
    network = WideSequential(2, LAYERS)
    expected = logits(network, params, WIDE, texts(), train=True)
    np.testing.assert_allclose(logits(network, params, wider, texts(32), train=True), expected, rtol=1e-6)


def test_an_empty_text_has_the_biases_of_the_head_as_logits(params: Any) -> None:
    params = {**params, "wide": {"kernel": jnp.ones((5, 2))}, "head": {**params["head"], "bias": jnp.array([0.5, 2])}}
    np.testing.assert_array_equal(logits(WideSequential(2, LAYERS), params, WIDE, texts())[2], [0.5, 2])


def test_bfloat16_networks_give_float32_logits() -> None:
    network = WideSequential(2, LAYERS, dtype=jnp.bfloat16)
    output, variables = jax.eval_shape(partial(network.init_with_output, train=True), KEYS, WIDE, texts())
    assert output.logits.dtype == jnp.float32
    assert output.features["layers_1"].dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}


def test_the_last_layer_must_return_vectors() -> None:
    def trace(deep: Any, *layers: Any) -> None:
        jax.eval_shape(partial(WideSequential(2, layers).init, train=True), KEYS, WIDE, deep)

    with pytest.raises(UserError, match=r"WideSequential needs a last layer .*, got sequences .*\. Append Global"):
        trace(texts(), *LAYERS[:1])
    with pytest.raises(UserError, match=r"WideSequential needs a last layer .*, got \(3, 2, 2\)\. Append Flatten"):
        trace(jnp.ones((3, 2, 2)))
