from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from options import built, options

from components.regularizer import L1, L2
from components.types import Scalar, UserError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "training.json").read_text())["regularizers"]
DENSE = jnp.array(GOLDEN["dense"], jnp.float32)
PARAMETERS = {
    "dense_0": {"kernel": DENSE, "bias": DENSE[0]},
    "batch_norm_0": {"scale": DENSE[0], "bias": DENSE[0]},
    "words": {"embedding": DENSE},
}


@pytest.mark.parametrize("name", ["kernel", "embedding"])
@pytest.mark.parametrize("option", options("regularizer"))
def test_the_penalty_of_a_matrix_equals_keras(option: str, name: str) -> None:
    regularizer = built("regularizer", option, strength=0.01)
    expected = GOLDEN[f"{option.upper()}(0.01) dense"]
    assert float(regularizer({"layer": {name: DENSE}})) == pytest.approx(expected, rel=1e-6)


def test_both_penalties_together_are_those_of_l1_l2_of_keras() -> None:
    parameters = {"layer": {"kernel": DENSE}}
    found = L1(0.01)(parameters) + L2(0.02)(parameters)
    assert float(found) == pytest.approx(GOLDEN["L1L2(0.01,0.02) dense"], rel=1e-6)


@pytest.mark.parametrize("regularizer", [L1, L2])
def test_only_kernels_and_embeddings_are_penalized(regularizer: type[L1]) -> None:
    gradient = jax.grad(regularizer(1.0))(PARAMETERS)
    paying = {f"{layer}/{name}" for layer, leaves in gradient.items() for name, leaf in leaves.items() if leaf.any()}
    assert paying == {"dense_0/kernel", "words/embedding"}


@pytest.mark.parametrize("regularizer", [L1, L2])
def test_the_strength_may_be_traced(regularizer: type[L1], check_traced: Callable[..., None]) -> None:
    def penalty(strength: Scalar) -> jax.Array:
        return regularizer(strength)(PARAMETERS)

    check_traced(penalty, {"strength": 0.0}, {"strength": 1e-4}, {"strength": 1.0})


def test_a_penalty_on_no_parameter_is_an_error() -> None:
    with pytest.raises(UserError, match=r"no parameter is a kernel or embedding, .* Parameters: layer/bias, layer/w\."):
        L2(1.0)({"layer": {"bias": DENSE[0], "w": DENSE}})
