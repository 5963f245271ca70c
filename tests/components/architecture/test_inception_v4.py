from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from networks import facts
from pairs import check_pair

from components import pretrained
from components.architecture.inception_v4 import InceptionV4
from components.pretrained.inception_v4 import NAMING_SCHEMES
from components.types import Output, UserError


def tiny(**fields: Any) -> InceptionV4:
    """One block of each kind."""
    return InceptionV4(**({"outputs": 3, "width": 1 / 32, "depths": (1, 1, 1)} | fields))


def train(module: InceptionV4, *images: int, streams: str = "params dropout") -> tuple[Output, Any]:
    """Returns the output of the first training step, and the variables before it, as shapes."""
    keys = {stream: jax.random.key(0) for stream in streams.split()}
    return jax.eval_shape(lambda x: module.init_with_output(keys, x, train=True), jnp.zeros(images))


def test_the_number_of_parameters_is_the_published_one_and_schemes_name_them_all() -> None:
    found = facts(InceptionV4(1000), 299, 299, 3)
    assert found.parameters == 42_679_816  # timm
    assert found.multiply_adds == pytest.approx(12.28e9, rel=0.01)  # timm's benchmarks
    assert found.stages == {
        "stem": (35, 35, 384),
        "stage_1": (35, 35, 384),
        "stage_2": (17, 17, 1024),
        "stage_3": (8, 8, 1536),
        "pool": (1536,),
    }  # figure 9 of the paper
    assert not pretrained.plan_conversion(NAMING_SCHEMES[0], found.variables).unmapped


def test_any_width_channels_and_dtype_with_scales_or_without() -> None:
    output, arrays = train(tiny(dtype=jnp.bfloat16, use_scale=False), 2, 75, 91, 1)
    assert output.features["stage_3"].shape == (2, 1, 1, 48)
    assert {feature.dtype for feature in output.features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert (output.logits.shape, output.logits.dtype) == ((2, 3), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(arrays)} == {jnp.dtype(jnp.float32)}
    assert set(arrays["params"]["stem"]["conv_0"]["norm"]) == {"bias"}


def test_without_head_and_dropout_only_features_are_returned_and_no_key_is_consumed() -> None:
    output, _ = train(tiny(head=False, dropout=None), 2, 75, 75, 3, streams="params")
    assert output.logits is None
    assert output.features["pool"].shape == (2, 48)


def test_images_below_the_smallest_size_raise() -> None:
    with pytest.raises(UserError, match="InceptionV4 needs images of at least 75 x 75, got 80 x 74"):
        train(tiny(), 2, 80, 74, 3)


def test_weights_of_timm_give_its_logits() -> None:
    check_pair(InceptionV4(5, 1 / 32, depths=(1, 1, 1)), "timm", "inception_v4_thin_timm")
