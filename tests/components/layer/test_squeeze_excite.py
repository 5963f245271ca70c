from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import SqueezeExcite
from components.types import UserError

X = jax.random.normal(jax.random.key(0), (2, 3, 4, 32))


def test_gates_are_two_dense_layers_of_the_means() -> None:
    layer = SqueezeExcite()
    y, variables = layer.init_with_output(jax.random.key(1), X, train=True)
    squeeze, excite = (jax.tree.map(np.asarray, variables["params"][name]) for name in ("squeeze", "excite"))
    assert squeeze["kernel"].shape == (32, 2)
    hidden = np.maximum(np.asarray(X).mean((1, 2)) @ squeeze["kernel"] + squeeze["bias"], 0)
    gates = 1 / (1 + np.exp(-(hidden @ excite["kernel"] + excite["bias"])))
    np.testing.assert_allclose(y, np.asarray(X) * gates[:, None, None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("features", "channels", "expected"), [(None, 64, 4), (None, 8, 1), (7, 64, 7)])
def test_the_number_of_units(features: int | None, channels: int, expected: int) -> None:
    init = partial(SqueezeExcite(features, "swish", "hard_sigmoid", use_bias=False).init, train=True)
    params = jax.eval_shape(init, jax.random.key(0), jnp.ones((1, 2, 2, channels)))["params"]
    assert jax.tree.map(jnp.shape, params) == {
        "squeeze": {"kernel": (channels, expected)},
        "excite": {"kernel": (expected, channels)},
    }


def test_bfloat16_inputs_give_bfloat16_outputs_and_vectors_raise() -> None:
    init = partial(SqueezeExcite().init_with_output, train=True)
    assert jax.eval_shape(init, jax.random.key(0), X.astype(jnp.bfloat16))[0].dtype == jnp.bfloat16
    with pytest.raises(UserError, match=r"squeeze and excitation needs images"):
        init(jax.random.key(0), X[0, 0])
