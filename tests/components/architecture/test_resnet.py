from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import facts, size, variables
from pairs import check_pair
from slow import slow_but

from components.architecture import resnet
from components.architecture.resnet import ResNet
from components.layer import StochasticDepth
from components.types import Output, UserError

KERAS = {"version": "v1", "use_bias": True}
KERAS_V2 = {"version": "v2", "use_bias": True, "downsample": "last", "max_pool": "keras"}


class Published(NamedTuple):
    """Parameters, billions of multiply-adds, and the shapes of the first and the last stage."""

    build: Callable[..., ResNet]
    parameters: int
    multiply_adds: float
    first: tuple[int, ...] = (56, 56, 256)
    last: tuple[int, ...] = (7, 7, 2048)
    side: int = 224


BASIC = ((56, 56, 64), (7, 7, 512))
SMALL = ((32, 32, 16), (8, 8, 64), 32)
PUBLISHED = {
    # Multiply-adds: those that torchvision gives; of v1 and of squeeze and excitation table 2 of Hu et al., 2018.
    "resnet18": Published(resnet.ResNet18, 11_689_512, 1.814, *BASIC),
    "resnet34": Published(resnet.ResNet34, 21_797_672, 3.664, *BASIC),
    "resnet50": Published(resnet.ResNet50, 25_557_032, 4.089),
    "resnet50, v1": Published(partial(resnet.ResNet50, version="v1"), 25_557_032, 3.86),
    "resnet101": Published(resnet.ResNet101, 44_549_160, 7.801),
    "resnet152": Published(resnet.ResNet152, 60_192_808, 11.514),
    "resnext50": Published(resnet.ResNeXt50, 25_028_904, 4.230),
    "resnext101": Published(resnet.ResNeXt101, 88_791_336, 16.414),
    "wide_resnet50": Published(resnet.WideResNet50, 68_883_240, 11.398),
    "se_resnet18": Published(resnet.SEResNet18, 11_778_592, 1.814, *BASIC),
    "se_resnet34": Published(resnet.SEResNet34, 21_958_868, 3.664, *BASIC),
    "se_resnet50": Published(partial(resnet.SEResNet50, version="v1"), 28_088_024, 3.87),
    "se_resnet101": Published(partial(resnet.SEResNet101, version="v1"), 49_326_872, 7.60),
    "se_resnet152": Published(partial(resnet.SEResNet152, version="v1"), 66_821_848, 11.32),
    "se_resnext50": Published(resnet.SEResNeXt50, 27_559_896, 4.25),
    "se_resnext101": Published(resnet.SEResNeXt101, 48_955_416, 8.00),
    "senet154": Published(resnet.SENet154, 115_088_984, 20.77),  # timm
    # He et al., 2015 name 0.27, 0.46 and 0.85 million parameters; multiply-adds: He et al., 2018 (soft pruning).
    "resnet20": Published(resnet.ResNet20, 269_722, 0.0406, *SMALL),
    "resnet32": Published(resnet.ResNet32, 464_154, 0.0689, *SMALL),
    "resnet56": Published(resnet.ResNet56, 853_018, 0.1255, *SMALL),
    "wrn_28_10": Published(resnet.WRN_28_10, 36_479_194, 5.247, (32, 32, 160), (8, 8, 640), 32),  # pytorchcv
}


def tiny(**fields: Any) -> ResNet:
    """Two stages of a basic block each."""
    given = {"outputs": 3, "block": "basic", "depths": (1, 1), "widths": (4, 8), "stem": (4,), "stem_stride": 1}
    return ResNet(**(given | {"max_pool": None} | fields))


def train(module: ResNet, x: jax.Array) -> Output:
    """Returns the output of the first training step."""
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return module.init_with_output(keys, x, train=True)[0]


def shapes(module: ResNet, *images: int) -> Any:
    return jax.eval_shape(lambda x: train(module, x), jnp.zeros(images))


@pytest.mark.parametrize("name", slow_but({"resnet18", "resnet50", "resnext50", "se_resnet18", "resnet20"}, PUBLISHED))
def test_parameters_multiply_adds_and_stages_are_as_published(name: str) -> None:
    published = PUBLISHED[name]
    module = published.build(outputs=1000 if published.side == 224 else 10)
    found = facts(module, published.side, published.side, 3)
    assert found.parameters == published.parameters
    assert found.multiply_adds == pytest.approx(published.multiply_adds * 1e9, rel=0.01)
    sides = [shape[0] for stage, shape in found.stages.items() if stage.startswith("stage")]
    assert sides == [published.first[0] // 2**n for n in range(len(module.depths))]
    assert (found.stages["stage_1"], found.stages[f"stage_{len(module.depths)}"]) == (published.first, published.last)
    assert found.stages["pool"] == published.last[2:]


@pytest.mark.parametrize(
    ("build", "fields", "parameters"),
    [
        (resnet.ResNet50, KERAS, 25_583_592),
        pytest.param(resnet.ResNet101, KERAS, 44_601_832, marks=pytest.mark.slow),
        (resnet.ResNet50, KERAS_V2, 25_568_360),
        pytest.param(resnet.ResNet101, KERAS_V2, 44_577_896, marks=pytest.mark.slow),
    ],
)
def test_with_biases_the_number_of_parameters_equals_keras(
    build: Callable[..., ResNet], fields: dict[str, Any], parameters: int
) -> None:
    assert size(variables(build(outputs=1000, **fields), 32, 32, 3)["params"]) == parameters


def test_weights_of_torchvision_give_its_logits() -> None:
    module = resnet.ResNeXt50(outputs=10, width=1 / 8, depths=(1, 1, 1, 1), groups=2, group_width=32)
    check_pair(module, "torchvision", "resnet_thin_torchvision")


def test_weights_of_keras_give_its_logits_with_preactivation() -> None:
    module = resnet.ResNet50(outputs=10, width=1 / 8, depths=(2, 2), widths=(64, 128), stem=(512,))
    check_pair(module, "keras", "resnet_thin_keras")


def test_weights_of_timm_give_its_logits_with_squeeze_and_excitation() -> None:
    module = resnet.SENet154(outputs=10, width=1 / 8, depths=(1, 1, 1, 1), groups=8, group_width=32)
    check_pair(module, "timm", "resnet_thin_timm")


def test_width_does_not_change_the_number_of_groups() -> None:
    params = variables(resnet.ResNeXt50(outputs=7, width=1 / 8), 32, 32, 1)["params"]
    assert params["stem_0"]["conv"]["kernel"].shape == (7, 7, 1, 8)
    assert params["stage_1_block_0"]["conv_1"]["conv"]["kernel"].shape == (3, 3, 1, 32)
    assert params["head"]["kernel"].shape == (2048 // 8, 7)


def test_without_a_head_only_features_are_returned() -> None:
    output = shapes(tiny(head=False), 2, 5, 7, 2)
    assert output.logits is None
    assert {name: feature.shape[1:] for name, feature in output.features.items()} == {
        "stem": (5, 7, 4),
        "stage_1": (5, 7, 4),
        "stage_2": (3, 4, 8),
        "pool": (8,),
    }


def test_bfloat16_features_and_float32_logits() -> None:
    module = tiny(version="v2", reduction=2, dtype=jnp.bfloat16)
    output = shapes(module, 2, 4, 4, 3)
    assert {feature.dtype.name for feature in output.features.values()} == {"bfloat16"}
    assert output.logits.dtype == jnp.float32
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables(module, 4, 4, 3))} == {"float32"}


@pytest.mark.parametrize(
    "fields", [{}, {"stem_stride": 2, "max_pool": "torch"}, {"stem_stride": 2, "max_pool": "keras"}]
)
def test_images_of_one_pixel_work(fields: dict[str, Any]) -> None:
    assert shapes(tiny(**fields), 2, 1, 1, 3).logits.shape == (2, 3)


def test_pooling_without_padding_needs_five_pixels() -> None:
    module = tiny(stem_stride=2, max_pool="caffe")
    assert shapes(module, 2, 5, 5, 3).logits.shape == (2, 3)
    with pytest.raises(UserError, match="ResNet needs images of at least 5 x 5, got 4 x 6"):
        shapes(module, 2, 4, 6, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": (1, 1, 1)}, r"depths and widths of equal length, got \(1, 1, 1\) and \(4, 8\)"),
        ({"groups": 2}, "need bottlenecks, got block=basic"),
        ({"squeeze_first": True}, "need bottlenecks, got block=basic"),
        (
            {"version": "v2", "residual_scale": 0.0},
            "residual_scale needs batch normalization at the end .* got version=v2",
        ),
        ({"projection_kernel": 2}, "projection_kernel needs an odd number, got 2"),
        (
            {"projection_kernel": 3, "shortcut": "identity"},
            "projection_kernel=3 needs shortcut=projection, got identity",
        ),
        ({"shortcut": "identity", "widths": (4, 2)}, r"4 channels before .* 2 after it\. Set shortcut to projection"),
    ],
)
def test_contradictory_fields_raise(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        shapes(tiny(**fields), 2, 4, 4, 3)


def test_an_identity_shortcut_takes_every_second_pixel_and_adds_zero_channels() -> None:
    module, x = tiny(shortcut="identity"), np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype(np.float32)
    parts = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), variables(module, 5, 5, 3))
    for block in ("stage_1_block_0", "stage_2_block_0"):
        norm = parts["params"][block]["conv_1"]["norm"]
        parts["params"][block]["conv_1"]["norm"] = jax.tree.map(np.zeros_like, norm)
    features = jax.jit(lambda x: module.apply(parts, x, train=False).features)(x)
    np.testing.assert_array_equal(features["stage_1"], features["stem"])
    sampled = features["stem"][:, ::2, ::2]
    np.testing.assert_array_equal(features["stage_2"], np.pad(sampled, ((0, 0), (0, 0), (0, 0), (0, 4))))


def test_the_last_scale_of_a_block_may_be_initially_zero() -> None:
    @jax.jit
    def scales() -> list[jax.Array]:
        block = tiny(residual_scale=0.0).init(jax.random.key(0), jnp.zeros((1, 2, 2, 1)), train=False)["params"]
        return [block["stage_1_block_0"][conv]["norm"]["scale"] for conv in ("conv_0", "conv_1")]

    np.testing.assert_array_equal(scales(), [np.ones(4), np.zeros(4)])


def test_stochastic_depth_grows_to_its_rate() -> None:
    rates = []

    def watch(call: Callable[..., Any], arguments: Any, keywords: Any, context: Any) -> Any:
        if isinstance(context.module, StochasticDepth):
            rates.append(context.module.rate)
        return call(*arguments, **keywords)

    with nn.intercept_methods(watch):
        shapes(tiny(depths=(3, 1), stochastic_depth=0.4), 2, 4, 4, 3)
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("field", ["dropout", "block_dropout", "stochastic_depth"])
def test_rates_may_be_traced_and_consume_keys_in_training_only(field: str) -> None:
    def output(rate: jax.Array, keys: Any, train: bool) -> jax.Array:
        return tiny(**{field: rate}).init_with_output(keys, jnp.zeros((2, 4, 4, 3)), train=train)[0].logits

    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    alone = {"params": keys["params"]}
    assert jax.eval_shape(lambda rate: output(rate, keys, True), jnp.float32(0.5)).shape == (2, 3)
    assert jax.eval_shape(lambda rate: output(rate, alone, False), jnp.float32(0.5)).shape == (2, 3)
