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


def test_the_papers_sizes() -> None:
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


def test_larger_ones_are_deeper_and_wider() -> None:
    larger = {ConvNeXtSmall: 50_223_688, ConvNeXtBase: 88_591_464}  # as torchvision counts them
    assert {one: size(variables(one(1000), 32, 32, 3)["params"]) for one in larger} == larger


def test_width_channels_and_smallest_images() -> None:
    known = variables(tiny(outputs=3, width=0.5), 8, 11, 1)["params"]
    assert known["stem"]["kernel"].shape == (4, 4, 1, 4)
    assert known["head"]["kernel"].shape == (6, 3)
    with pytest.raises(UserError, match="ConvNeXt takes images of at least 8 x 8, these are 9 x 7"):
        variables(tiny(outputs=3), 9, 7, 3)
    assert variables(ConvNeXtTiny(3, width=1 / 96), 32, 32, 3)
    with pytest.raises(UserError, match="at least 32 x 32, these are 31 x 31"):
        variables(ConvNeXtTiny(3, width=1 / 96), 31, 31, 3)


def test_as_many_widths_as_depths() -> None:
    with pytest.raises(UserError, match=r"2 stages in depths=\(1, 2\), but widths=\(8,\)"):
        variables(tiny(outputs=3, widths=(8,)), 8, 8, 3)


def test_without_scales_of_branches_and_without_a_head() -> None:
    known = variables(tiny(outputs=3, layer_scale=None, head=False), 8, 8, 3)["params"]
    assert "layer_scale" not in known["stage_1_block_0"]
    assert "head" not in known
    assert variables(tiny(outputs=3), 8, 8, 3)["params"]["stage_1_block_0"]["layer_scale"].shape == (8,)


def test_half_precision_and_rates_that_are_traced() -> None:
    def train(rate: jax.Array, scale: jax.Array) -> tuple[jax.Array | None, dict[str, jax.Array]]:
        module = tiny(outputs=3, stochastic_depth=rate, layer_scale=scale, dtype=jnp.bfloat16)
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        output = module.init_with_output(keys, jnp.zeros((2, 8, 8, 3)), train=True)[0]
        return output.logits, dict(output.features)

    logits, features = jax.eval_shape(train, jnp.float32(0.1), jnp.float32(1e-6))
    assert logits is not None
    assert (logits.shape, logits.dtype) == ((2, 3), jnp.float32)
    assert {one.dtype for one in features.values()} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("library", ["torchvision", "huggingface"])
def test_the_weights_of_others(library: str) -> None:
    check_pair(tiny(outputs=10), library, f"convnext_thin_{library}")
