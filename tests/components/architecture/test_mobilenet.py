from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import images
from networks import facts, size, variables
from pairs import check_pair

from components.architecture.block.inverted_residual import InvertedResidual, MobileStage
from components.architecture.efficientnet import (
    EfficientNetB0,
    EfficientNetB1,
    EfficientNetB2,
    EfficientNetB3,
    EfficientNetB4,
)
from components.architecture.mobilenet import MobileNet, MobileNetV1, MobileNetV2, MobileNetV3, MobileNetV3Small
from components.layer import ConvNorm
from components.types import Output, Scalar, UserError

# Parameters are from Keras for v1, and from torchvision for the others. Multiply-adds are from the papers for v1, v2
# and v3 small, and from torchvision for v3 and b0: their papers (219 M, 0.39 G) are 1.1 % above the sum of the tables.
# Stages are channels@side, from the papers' tables; the convolutions before and after the stages are last.
PUBLISHED = {
    "v1": (MobileNetV1, 4_231_976, 569e6, "64@112 128@56 256@28 512@14 1024@7 32@112"),
    "v2": (MobileNetV2, 3_504_872, 300e6, "16@112 24@56 32@28 64@14 96@14 160@7 320@7 32@112 1280@7"),
    "v3": (MobileNetV3, 5_483_032, 217e6, "16@112 24@56 40@28 80@14 112@14 160@7 16@112 960@7"),
    "v3 small": (MobileNetV3Small, 2_542_856, 56e6, "16@56 24@28 40@14 48@14 96@7 16@112 576@7"),
    "b0": (EfficientNetB0, 5_288_548, 386e6, "16@112 24@56 40@28 80@14 112@14 192@7 320@7 32@112 1280@7"),
}
STAGES = (MobileStage(8, (1, 1)), MobileStage(16, (6, 2.5), 5, 2, excite=True, activation="relu"))
tiny = partial(MobileNet, stages=STAGES, stem=8, top=24, dense=40)


def trace_output(module: nn.Module, *shape: int, train: bool = False) -> Output:
    """Returns the output as shapes and dtypes; with `train`, dropout has a key."""
    rngs = {"dropout": jax.random.key(1)} if train else {}
    apply = partial(module.apply, train=train, rngs=rngs, mutable=["batch_stats"])
    return jax.eval_shape(apply, variables(module, *shape[1:]), jnp.zeros(shape))[0]


def draw_variables(module: nn.Module, *image: int) -> Any:
    """Returns positive random numbers for all variables, without compiling `init`."""
    random = np.random.RandomState(0)
    return jax.tree.map(lambda leaf: random.uniform(0.5, 1, leaf.shape).astype(np.float32), variables(module, *image))


def format_stages(features: Mapping[str, tuple[int, ...]]) -> str:
    return " ".join(
        f"{features[name][-1]}@{features[name][-2]}" for name in sorted(features) if len(features[name]) > 1
    )


@pytest.mark.parametrize("variant", PUBLISHED)
def test_parameters_multiply_adds_and_stages_equal_the_paper(variant: str) -> None:
    architecture, parameters, multiply_adds, stages = PUBLISHED[variant]
    found = facts(architecture(1000), 224, 224, 3)
    assert (found.parameters, format_stages(found.stages)) == (parameters, stages)
    assert found.multiply_adds == pytest.approx(multiply_adds, rel=0.01)


LARGER = {  # as torchvision counts them
    EfficientNetB1: 7_794_184,
    EfficientNetB2: 9_109_994,
    EfficientNetB3: 12_233_232,
    EfficientNetB4: 19_341_616,
}


@pytest.mark.slow
def test_larger_efficientnets_are_wider_and_deeper() -> None:
    assert {variant: size(variables(variant(1000), 32, 32, 3)["params"]) for variant in LARGER} == LARGER


@pytest.mark.parametrize(
    ("fields", "channels"),
    [
        ({"width": 0.7, "narrow": True}, {"stem": 8, "stage_1": 8, "stage_2": 16, "top": 16, "pool": 16, "dense": 32}),
        ({"width": 0.7, "dense": None}, {"stem": 8, "stage_1": 8, "stage_2": 16, "top": 24, "pool": 24}),
        ({"width": 2.0, "top": None}, {"stem": 16, "stage_1": 16, "stage_2": 32, "pool": 32, "dense": 80}),
    ],
)
def test_channels_are_multiples_of_8_and_only_narrow_reduces_the_last_layer(
    fields: dict[str, Any], channels: dict[str, int]
) -> None:
    output = trace_output(tiny(outputs=3, **fields), 2, 9, 7, 1)
    assert {name: feature.shape[-1] for name, feature in output.features.items()} == channels
    assert output.logits is not None
    assert output.logits.shape == (2, 3)


def test_depth_repeats_the_last_expansion() -> None:
    params = variables(tiny(outputs=3, depth=1.2), 8, 8, 3)["params"]
    expanded = [params[f"stage_2_block_{n}"]["expand"]["conv"]["kernel"].shape[-1] for n in range(3)]
    assert expanded == [48, 40, 40]
    assert "expand" not in params["stage_1_block_2"]


def test_projections_are_linear_except_in_separable_blocks() -> None:
    def min_output(*, linear: bool) -> float:
        block = InvertedResidual(4, 1, ConvNorm, linear=linear)
        tree = draw_variables(block, 4, 4, 8)
        project = tree["params"]["project"]["conv"]
        project["kernel"] = -project["kernel"]
        return float(block.apply(tree, jnp.ones((1, 4, 4, 8)), train=False).min())

    assert min_output(linear=True) < 0 == min_output(linear=False)


def test_images_of_one_pixel_work_and_images_without_pixels_raise() -> None:
    assert trace_output(tiny(outputs=3), 2, 1, 1, 4).logits is not None
    with pytest.raises(UserError, match="MobileNet needs images of at least 1 x 1, got 0 x 5"):
        variables(tiny(outputs=3), 0, 5, 3)


@pytest.mark.slow
def test_bfloat16_features_without_a_head() -> None:
    module = tiny(outputs=3, dtype=jnp.bfloat16)
    logits, _, _, features = trace_output(module, 2, 8, 8, 3)
    assert logits is not None
    assert logits.dtype == jnp.float32
    assert {feature.dtype for feature in features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables(module, 8, 8, 3))} == {jnp.dtype(jnp.float32)}
    headless = module.clone(head=False)
    assert trace_output(headless, 2, 8, 8, 3).logits is None
    assert "head" not in variables(headless, 8, 8, 3)["params"]


def test_block_i_of_n_has_i_over_n_of_the_rate_of_stochastic_depth() -> None:
    def module(rate: Scalar) -> MobileNet:
        stages = (MobileStage(8, (1, 1)), MobileStage(16, (1,)))
        return MobileNet(outputs=3, stages=stages, stem=8, top=None, dropout=None, stochastic_depth=rate)

    @jax.jit
    def train(tree: Any, copies: jax.Array, rate: jax.Array) -> jax.Array:
        rngs = {"dropout": jax.random.key(0)}
        output, _ = module(rate).apply(tree, copies, train=True, rngs=rngs, mutable=["batch_stats"])
        return output.features["stage_1"]

    copies = np.broadcast_to(images(4)[:1], (64, 4, 4, 3))
    stage = np.asarray(train(draw_variables(module(0.9), 4, 4, 3), copies, jnp.float32(0.9))).reshape(64, -1)
    found, counts = np.unique(stage.round(3), axis=0, return_counts=True)
    assert len(found) == 2
    assert 0.1 < counts.min() / 64 < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("library", ["torchvision", "keras"])
def test_weights_of_other_libraries_give_their_logits(library: str) -> None:
    check_pair(MobileNetV2(10, width=0.25), library, f"mobilenet_v2_thin_{library}")
