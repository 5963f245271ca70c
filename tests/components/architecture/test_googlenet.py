from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import facts, size, variables
from pairs import check_pair

from components import pretrained
from components.architecture.googlenet import Auxiliary, GoogLeNet, SEInception
from components.layer import Conv
from components.pretrained.googlenet import NAMING_SCHEMES
from components.types import Output, UserError

torchvision = partial(GoogLeNet, layout="torchvision", batch_norm=True)


def tiny(**fields: Any) -> GoogLeNet:
    return GoogLeNet(**({"outputs": 3, "width": 1 / 16} | fields))


def train(module: GoogLeNet, *images: int, streams: str = "params dropout") -> tuple[Output, Any]:
    """Returns the output of a training step, and the variables, as shapes."""
    keys = {stream: jax.random.key(0) for stream in streams.split()}
    return jax.eval_shape(lambda x: module.init_with_output(keys, x, train=True), jnp.zeros(images))


@pytest.mark.parametrize(
    ("build", "parameters", "without", "multiply_adds"),
    [
        # Table 1 of the paper adds up to 1,502 M multiply-adds, but counts 34 M for its first row, where 64 x 7 x 7 x 3
        # weights at 112 x 112 positions are 118 M.
        (GoogLeNet, 13_378_280, 6_998_552, 1_502e6 - 34e6 + 118e6),
        (torchvision, 13_004_888, 6_624_904, 1.498e9),  # published by torchvision 0.28 with its weights
    ],
)
def test_parameters_multiply_adds_and_stages_equal_the_paper(
    build: partial[GoogLeNet], parameters: int, without: int, multiply_adds: float
) -> None:
    found = facts(build(1000), 224, 224, 3)
    assert found.parameters == parameters
    assert parameters - sum(size(found.variables["params"][f"auxiliary_{n}"]) for n in (0, 1)) == without
    assert found.multiply_adds == pytest.approx(multiply_adds, rel=0.01)
    assert found.stages == {
        "stem": (28, 28, 192),
        "stage_1": (28, 28, 480),
        "stage_2": (14, 14, 832),
        "stage_3": (7, 7, 1024),
        "pool": (1024,),
    }
    if build is torchvision:
        assert not pretrained.plan_conversion(NAMING_SCHEMES[0], found.variables).unmapped


@pytest.mark.slow
def test_every_module_has_excitation() -> None:
    tree = variables(SEInception(1000, auxiliary=None), 32, 32, 3)
    normalization = size(tree["batch_stats"]) // 2  # for each channel a scale and a bias in place of a bias
    modules = (256, 480, 512, 512, 512, 528, 832, 832, 1024)
    added = sum(2 * c * (c // 16) + c // 16 + c for c in modules)
    assert size(tree["params"]) == 6_998_552 + normalization + added


@pytest.mark.slow
def test_auxiliary_classifiers_exist_in_training_only() -> None:
    output, tree = train(tiny(), 2, 65, 80, 3)
    assert [(logits.shape, logits.dtype) for _, logits in output.auxiliary] == [((2, 3), jnp.float32)] * 2
    infer = partial(tiny().apply, train=False)
    assert jax.eval_shape(infer, tree, jnp.zeros((2, 9, 7, 3))).auxiliary == ()


@pytest.mark.parametrize(
    ("fields", "smallest", "message"),
    [
        ({}, 65, r"auxiliary classifiers .* at least 65 x 65 in training, got 64 x 70\. Set auxiliary to null"),
        ({"layout": "torchvision"}, 31, "GoogLeNet needs images of at least 31 x 31, got 30 x 70"),
        ({"auxiliary": None}, 1, None),
    ],
)
def test_images_below_the_smallest_size_raise(fields: dict[str, Any], smallest: int, message: str | None) -> None:
    assert train(tiny(**fields), 2, smallest, smallest, 3)[0].logits.shape == (2, 3)
    if message:
        with pytest.raises(UserError, match=message):
            train(tiny(**fields), 2, smallest - 1, 70, 3)


def test_any_width_channels_and_dtype() -> None:
    output, arrays = train(tiny(width=0.1, dtype=jnp.bfloat16), 2, 65, 65, 1)
    assert output.features["stage_3"].shape == (2, 3, 3, 38 + 38 + 13 + 13)
    assert {feature.dtype for feature in output.features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert (output.logits.shape, output.logits.dtype) == ((2, 3), jnp.float32)
    assert {logits.dtype for _, logits in output.auxiliary} == {jnp.dtype(jnp.float32)}
    assert {leaf.dtype for leaf in jax.tree.leaves(arrays)} == {jnp.dtype(jnp.float32)}


def test_rates_and_the_weight_may_be_traced() -> None:
    def answer(number: jax.Array) -> Output:
        module = tiny(auxiliary=number, dropout=number, auxiliary_dropout=number)
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        return module.init_with_output(keys, jnp.zeros((2, 65, 65, 3)), train=True)[0]

    assert jax.eval_shape(answer, jnp.float32(0.5)).logits.shape == (2, 3)


def test_without_head_and_dropout_only_features_are_returned_and_no_key_is_consumed() -> None:
    output, _ = train(tiny(head=False, dropout=None), 2, 20, 20, 3, streams="params")
    assert (output.logits, output.auxiliary) == (None, ())
    assert output.features["pool"].shape == (2, 64)


@pytest.mark.parametrize(
    ("layout", "rows"), [("paper", ((0, 5), (3, 8), (6, 11))), ("torchvision", ((0, 3), (2, 6), (5, 9), (8, 11)))]
)
def test_auxiliary_classifiers_start_with_average_pooling(layout: Any, rows: tuple[tuple[int, int], ...]) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 11, 11, 2), np.float32)
    module = Auxiliary(3, partial(Conv, 2, 1, activation="relu"), 4, layout, None, "he_normal")
    arrays = jax.eval_shape(partial(module.init, train=True), jax.random.key(0), x)
    arrays = jax.tree.map(lambda one: random.standard_normal(one.shape, np.float32), arrays)
    conv, dense, head = (arrays["params"][name] for name in ("conv", "dense", "head"))
    means = np.array([[x[:, a:b, c:d].mean((1, 2)) for c, d in rows] for a, b in rows])
    maps = np.maximum(means.transpose(2, 0, 1, 3) @ conv["kernel"][0, 0] + conv["bias"], 0).reshape(2, -1)
    hidden = np.maximum(maps @ dense["kernel"] + dense["bias"], 0)
    y = jax.jit(partial(module.apply, train=True))(arrays, x)
    np.testing.assert_allclose(y, hidden @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-5)


def test_biases_are_initially_a_fifth_except_in_heads() -> None:
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}

    @jax.jit
    def biases() -> dict[str, jax.Array]:
        parameters = tiny().init(keys, jnp.zeros((1, 65, 65, 3)), train=True)["params"]
        auxiliary, block = parameters["auxiliary_1"], parameters["stage_3_block_1"]
        hidden = parameters["stem_conv_0"], block["branch_2_conv_1"], auxiliary["conv"], auxiliary["dense"]
        return {
            "hidden": [one["bias"] for one in hidden],
            "outputs": [parameters["head"]["bias"], auxiliary["head"]["bias"]],
        }

    found = biases()
    assert all((np.asarray(bias) == np.float32(0.2)).all() for bias in found["hidden"])
    assert not any(np.asarray(bias).any() for bias in found["outputs"])


@pytest.mark.slow
def test_weights_of_torchvision_give_its_logits() -> None:
    check_pair(GoogLeNet(8, 1 / 8), "torchvision", "googlenet_thin_torchvision")
