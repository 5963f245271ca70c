import jax
import jax.numpy as jnp
import numpy as np

from components.architecture import MLP

X = jax.random.normal(jax.random.key(0), (6, 2, 2))


def test_outputs_are_matrix_products_and_activations() -> None:
    module = MLP(3, (5,), activation="tanh")
    variables = module.init(jax.random.key(0), X, train=True)
    output = module.apply(variables, X, train=False)
    dense, head = (jax.tree.map(np.asarray, variables["params"][name]) for name in ("dense_0", "head"))
    hidden = np.tanh(np.asarray(X).reshape(6, 4) @ dense["kernel"] + dense["bias"])
    np.testing.assert_allclose(output.logits, hidden @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(output.features["dense_0"], hidden, rtol=1e-4, atol=1e-5)


def test_batch_norm_comes_before_the_activation_and_replaces_the_bias() -> None:
    module = MLP(3, (5,), batch_norm=True)
    output, variables = module.init_with_output(jax.random.key(0), X, train=True)
    assert set(variables["params"]["dense_0"]) == {"kernel"}
    hidden = np.asarray(X).reshape(6, 4) @ np.asarray(variables["params"]["dense_0"]["kernel"])
    normal = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-3)
    np.testing.assert_allclose(output.features["dense_0"], np.maximum(normal, 0), rtol=1e-3, atol=1e-4)


def test_the_initializer_applies_to_the_hidden_layers() -> None:
    variables = MLP(300, (300,), initializer="he_uniform").init(jax.random.key(0), jnp.ones((1, 300)), train=True)
    kernels = {name: np.abs(variables["params"][name]["kernel"]).max() for name in ("dense_0", "head")}
    np.testing.assert_allclose([kernels["dense_0"], kernels["head"]], [(6 / 300) ** 0.5, (6 / 600) ** 0.5], rtol=1e-2)


def test_dropout_follows_each_activation_in_training() -> None:
    module = MLP(3, (400,), activation="sigmoid", dropout=0.9)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    logits, moved = (
        module.init_with_output(keys | {"dropout": jax.random.key(n)}, X, train=True)[0].logits for n in (1, 2)
    )
    assert (logits != moved).any()
    assert jax.eval_shape(lambda rate: module.clone(dropout=rate).init(keys, X, train=True), jnp.float32(0.5))
