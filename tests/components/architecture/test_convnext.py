from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from networks import facts, size, variables
from pairs import check_pair

from components.architecture.convnext import ConvNeXt, ConvNeXtBase, ConvNeXtSmall, ConvNeXtTiny
from components.types import UserError

tiny = partial(ConvNeXt, depths=(1, 2), widths=(8, 12))


def test_parameters_multiply_adds_and_stages_equal_the_paper() -> None:
    found = facts(ConvNeXtTiny(1000), 224, 224, 3)
    assert found.parameters == 28_589_128  # torchvision
    assert found.multiply_adds == pytest.approx(4.46e9, rel=0.01)  # torchvision; the paper: 4.5 G
    assert found.stages == {
        "stem": (56, 56, 96),
        "stage_1": (56, 56, 96),
        "stage_2": (28, 28, 192),
        "stage_3": (14, 14, 384),
        "stage_4": (7, 7, 768),
        "pool": (768,),
    }


@pytest.mark.slow
def test_larger_variants_are_deeper_and_wider() -> None:
    larger = {ConvNeXtSmall: 50_223_688, ConvNeXtBase: 88_591_464}  # as torchvision counts them
    assert {variant: size(variables(variant(1000), 32, 32, 3)["params"]) for variant in larger} == larger


def test_width_channels_and_smallest_images() -> None:
    params = variables(tiny(outputs=3, width=0.5), 8, 11, 1)["params"]
    assert params["stem"]["kernel"].shape == (4, 4, 1, 4)
    assert params["head"]["kernel"].shape == (6, 3)
    with pytest.raises(UserError, match="ConvNeXt needs images of at least 8 x 8, got 9 x 7"):
        variables(tiny(outputs=3), 9, 7, 3)
    assert variables(ConvNeXtTiny(3, width=1 / 48), 32, 32, 3)
    with pytest.raises(UserError, match="at least 32 x 32, got 31 x 31"):
        variables(ConvNeXtTiny(3, width=1 / 48), 31, 31, 3)


def test_depths_and_widths_of_different_lengths_raise() -> None:
    with pytest.raises(UserError, match=r"depths and widths of equal length, got \(1, 2\) and \(8,\)"):
        variables(tiny(outputs=3, widths=(8,)), 8, 8, 3)


def test_without_layer_scales_and_without_a_head() -> None:
    params = variables(tiny(outputs=3, layer_scale=None, head=False), 8, 8, 3)["params"]
    assert "layer_scale" not in params["stage_1_block_0"]
    assert "head" not in params
    assert variables(tiny(outputs=3), 8, 8, 3)["params"]["stage_1_block_0"]["layer_scale"].shape == (8,)


def test_bfloat16_features_and_traced_rates() -> None:
    def train(rate: jax.Array, scale: jax.Array) -> tuple[jax.Array | None, dict[str, jax.Array]]:
        module = tiny(outputs=3, stochastic_depth=rate, layer_scale=scale, dtype=jnp.bfloat16)
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        output = module.init_with_output(keys, jnp.zeros((2, 8, 8, 3)), train=True)[0]
        return output.logits, dict(output.features)

    logits, features = jax.eval_shape(train, jnp.float32(0.1), jnp.float32(1e-6))
    assert logits is not None
    assert (logits.shape, logits.dtype) == ((2, 3), jnp.float32)
    assert {feature.dtype for feature in features.values()} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("library", ["torchvision", "huggingface"])
def test_weights_of_other_libraries_give_their_logits(library: str) -> None:
    check_pair(tiny(outputs=10), library, f"convnext_thin_{library}")
