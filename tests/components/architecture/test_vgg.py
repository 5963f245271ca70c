from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from networks import facts, variables
from pairs import check_pair

from components.architecture.vgg import VGG, VGG11, VGG13, VGG16, VGG19
from components.types import Output, Scalar, UserError

SIDES = {"stage_1": (112, 112, 64), "stage_2": (56, 56, 128), "stage_3": (28, 28, 256)}
STAGES = {**SIDES, "stage_4": (14, 14, 512), "stage_5": (7, 7, 512), "dense_0": (4096,), "dense_1": (4096,)}
TINY = partial(VGG, 3, depths=(1, 2), widths=(4, 8), dense=(6,))

PUBLISHED = {  # (parameters, multiply-adds) of torchvision 0.28; for VGG-16 and VGG-19 also of Keras
    "VGG11": (VGG11, 132_863_336, 7.609e9),
    "VGG13": (VGG13, 133_047_848, 11.308e9),
    "VGG16": (VGG16, 138_357_544, 15.47e9),
    "VGG19": (VGG19, 143_667_240, 19.632e9),
    "VGG11 normalized": (partial(VGG11, batch_norm=True), 132_868_840, 7.609e9),
    "VGG13 normalized": (partial(VGG13, batch_norm=True), 133_053_736, 11.308e9),
    "VGG16 normalized": (partial(VGG16, batch_norm=True), 138_365_992, 15.47e9),
    "VGG19 normalized": (partial(VGG19, batch_norm=True), 143_678_248, 19.632e9),
}


def trace_output(module: nn.Module, *image: int, train: bool = False, streams: str = "dropout") -> Output:
    """Returns the output for two images (height, width, channels), as shapes."""
    keys = {stream: jax.random.key(1) for stream in streams.split()}
    apply = partial(module.apply, train=train, rngs=keys, mutable=["batch_stats"])
    return jax.eval_shape(apply, variables(module, *image), jnp.zeros((2, *image)))[0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_multiply_adds_and_stages_equal_the_paper(name: str) -> None:
    build, parameters, multiply_adds = PUBLISHED[name]
    found = facts(build(1000), 224, 224, 3)
    assert found.parameters == parameters
    assert found.multiply_adds == pytest.approx(multiply_adds, rel=0.001)
    assert found.stages == STAGES


def test_width_head_channels_and_classes() -> None:
    output = trace_output(TINY(width=0.5, head=False), 9, 14, 2)
    assert output.logits is None
    assert {name: feature.shape[1:] for name, feature in output.features.items()} == {
        "stage_1": (4, 7, 2),
        "stage_2": (2, 3, 4),
        "dense_0": (3,),
    }
    params = variables(TINY(width=0.5), 9, 14, 2)["params"]
    assert params["stage_1_conv_0"]["kernel"].shape == (3, 3, 2, 2)
    assert params["dense_0"]["kernel"].shape == (24, 3)
    assert params["head"]["kernel"].shape == (3, 3)


def test_images_below_the_smallest_size_raise() -> None:
    tiny = VGG16(3, width=1 / 64)
    assert trace_output(tiny, 32, 32, 3).logits.shape == (2, 3)
    with pytest.raises(UserError, match=r"VGG needs images of at least 32 x 32, got 31 x 40"):
        trace_output(tiny, 31, 40, 3)


def test_depths_and_widths_of_different_lengths_raise() -> None:
    with pytest.raises(UserError, match=r"VGG needs depths and widths of equal length, got \(1, 2\) and \(4,\)"):
        trace_output(TINY(widths=(4,)), 8, 8, 1)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_bfloat16_features_and_float32_logits(batch_norm: bool) -> None:
    tiny = TINY(batch_norm=batch_norm, dtype=jnp.bfloat16)
    output = trace_output(tiny, 8, 8, 1, train=True)
    assert output.logits.dtype == jnp.float32
    assert {feature.dtype for feature in output.features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables(tiny, 8, 8, 1))} == {jnp.dtype(jnp.float32)}


def test_dropout_consumes_keys_in_training_only() -> None:
    with pytest.raises(Exception, match="dropout"):
        trace_output(TINY(), 8, 8, 1, train=True, streams="")
    assert trace_output(TINY(), 8, 8, 1, streams="").logits.shape == (2, 3)
    assert trace_output(TINY(dropout=None), 8, 8, 1, train=True, streams="").logits.shape == (2, 3)


def test_the_numbers_may_be_traced() -> None:
    def logits(dropout: Scalar, momentum: Scalar, epsilon: Scalar) -> Any:
        tiny = TINY(batch_norm=True, dropout=dropout, momentum=momentum, epsilon=epsilon)
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        return tiny.init_with_output(keys, jnp.zeros((2, 8, 8, 1)), train=True)[0].logits

    assert jax.eval_shape(logits, *map(jnp.float32, (0.5, 0.9, 1e-5))).shape == (2, 3)


@pytest.mark.parametrize(
    ("module", "library", "name"),
    [
        (VGG11(10, width=1 / 16), "torchvision", "vgg11_thin_torchvision"),
        (VGG11(10, width=1 / 16), "torchvision", "vgg11_bn_thin_torchvision"),
        (VGG16(10, width=1 / 16), "keras", "vgg16_thin_keras"),
    ],
)
def test_weights_of_other_libraries_give_their_logits(module: nn.Module, library: str, name: str) -> None:
    check_pair(module, library, name)
