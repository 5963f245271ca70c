import json
from functools import partial
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import Activation, ActivationName, activate
from components.layer.activation import FUNCTIONS
from components.types import UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "layers.json").read_text())["activations"]
GOLDEN["swish"] = GOLDEN["silu"]
GOLDEN["hard_swish"] = np.multiply(GOLDEN["x"], GOLDEN["hard_sigmoid"])  # Howard et al., 2019
X = jnp.array(GOLDEN["x"], jnp.float32)


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
