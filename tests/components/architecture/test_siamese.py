from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.architecture import MLP, ReconstructingRegressor, ResNet20, Siamese
from components.types import Output, UserError

X = jax.random.normal(jax.random.key(0), (6, 2, 2, 3))


def compute_towers(tower: nn.Module, variables: Any) -> list[np.ndarray]:
    """The last feature of the tower alone, of both rows of the pairs."""
    own = {"params": variables["params"]["tower"]}
    outputs = [tower.apply(own, X[:, row], train=False) for row in range(2)]
    return [np.asarray([*output.features.values()][-1]) for output in outputs]


@pytest.mark.parametrize("combination", ["absolute_difference", "concatenate"])
def test_both_rows_pass_through_the_tower_alone(combination: Any) -> None:
    tower = MLP(0, (5, 4), activation="tanh")
    module = Siamese(outputs=1, tower=tower, combination=combination)
    variables = module.init(jax.random.key(0), X, train=True)
    output = module.apply(variables, X, train=False)
    first, second = compute_towers(tower, variables)
    head = jax.tree.map(np.asarray, variables["params"]["head"])
    joined = np.abs(first - second) if combination == "absolute_difference" else np.concatenate([first, second], 1)
    np.testing.assert_allclose(output.logits, joined @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-5)
    assert set(variables["params"]) == {"tower", "head"}
    assert set(variables["params"]["tower"]) == {"dense_0", "dense_1"}  # the tower has no head


def test_hidden_layers_follow_the_combination() -> None:
    module = Siamese(outputs=1, tower=MLP(0, (5,)), widths=(7,))
    variables = module.init(jax.random.key(0), X, train=True)
    assert {name: variables["params"][name]["kernel"].shape for name in ("dense_0", "head")} == {
        "dense_0": (5, 7),
        "head": (7, 1),
    }


def test_networks_with_other_heads_are_towers_too() -> None:
    images = jnp.ones((2, 2, 8, 8, 1))
    shapes = jax.eval_shape(
        lambda: Siamese(outputs=1, tower=ResNet20(outputs=0)).init(jax.random.key(0), images, train=True)
    )
    assert "head" not in shapes["params"]["tower"]
    assert "tower" in shapes["batch_stats"]


def test_an_internal_loss_of_the_tower_is_the_mean_of_both_rows() -> None:
    tower = ReconstructingRegressor(0, (4,))
    module = Siamese(outputs=1, tower=tower)
    variables = module.init(jax.random.key(0), X, train=True)
    loss = module.apply(variables, X, train=False).losses["reconstruction"]
    own = {"params": variables["params"]["tower"]}
    parts = [tower.apply(own, X[:, row], train=False).losses["reconstruction"] for row in range(2)]
    np.testing.assert_allclose(loss, sum(parts) / 2, rtol=1e-5)


class NoFeatures(nn.Module):
    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        return Output(None)


def test_a_tower_without_features_and_inputs_that_are_no_pairs_are_errors() -> None:
    with pytest.raises(UserError, match="a tower with `features`, and NoFeatures returns none"):
        Siamese(outputs=1, tower=NoFeatures()).init(jax.random.key(0), X, train=True)
    with pytest.raises(UserError, match=r"pairs of rows \(B, 2, ...\), got \(6, 3, 2\)"):
        Siamese(outputs=1, tower=MLP(0, (5,))).init(jax.random.key(0), jnp.ones((6, 3, 2)), train=True)
