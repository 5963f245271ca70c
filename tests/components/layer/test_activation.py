import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import Activation, ActivationName, PReLU, activate
from components.layer.activation import FUNCTIONS
from components.types import Scalar, UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "layers.json").read_text())["activations"]
GOLDEN["swish"] = GOLDEN["silu"]
GOLDEN["hard_swish"] = GOLDEN["hard_silu"] = np.multiply(GOLDEN["x"], GOLDEN["hard_sigmoid"])  # Howard et al., 2019
X = jnp.array(GOLDEN["x"], jnp.float32)
x = np.array(GOLDEN["x"])
GOLDEN["celu"] = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))  # Barron, 2017, with alpha 1
GOLDEN["gelu_tanh"] = x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))  # Hendrycks and Gimpel, 2016
GOLDEN["hard_tanh"] = x.clip(-1, 1)
GOLDEN["log_sigmoid"] = -np.logaddexp(0, -x)
GOLDEN["exponential"] = [value if value < 1e38 else np.inf for value in GOLDEN["exponential"]]


@pytest.mark.parametrize("name", get_args(ActivationName))
def test_every_activation_equals_keras(name: ActivationName) -> None:
    y = jax.jit(partial(Activation(name).apply, {}, train=True))(X)
    np.testing.assert_allclose(y, GOLDEN[name], rtol=2e-6, atol=1e-6)


def test_the_type_of_names_lists_the_table() -> None:
    assert get_args(ActivationName) == tuple(FUNCTIONS)


def test_none_is_the_identity() -> None:
    assert activate(None, X) is X


def test_an_unknown_name_raises_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"unknown activation 'rellu'. Did you mean relu\?"):
        activate("rellu", X)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", get_args(ActivationName))
def test_bfloat16_inputs_give_bfloat16_outputs(name: ActivationName) -> None:
    assert jax.eval_shape(partial(activate, name), jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16


def test_the_slopes_of_prelu_are_trained(check_traced: Callable[..., None]) -> None:
    """PyTorch's `PReLU(num_parameters=channels)`."""
    layer, inputs = PReLU(), jnp.array([[-2.0, 3.0], [-1.0, -4.0]])
    variables = layer.init(jax.random.key(0), inputs, train=True)
    np.testing.assert_array_equal(variables["params"]["slope"], [0.25, 0.25])
    slopes = {"params": {"slope": jnp.array([0.5, 0.1])}}
    np.testing.assert_allclose(layer.apply(slopes, inputs, train=True), [[-1, 3], [-0.5, -0.4]], rtol=1e-6)
    gradient = jax.grad(lambda params: layer.apply(params, inputs, train=True).sum())(slopes)
    np.testing.assert_allclose(gradient["params"]["slope"], [-3, -4])
    assert layer.apply(slopes, inputs.astype(jnp.bfloat16), train=True).dtype == jnp.bfloat16

    def start(initial_slope: Scalar) -> jax.Array:
        return PReLU(initial_slope).init_with_output(jax.random.key(0), inputs, train=True)[0]

    check_traced(start, {"initial_slope": 0.0}, {"initial_slope": 0.5})
