from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import facts, variables
from pairs import check_pair

from components import pretrained
from components.architecture.inception_resnet import InceptionResNet, InceptionResNetV1, InceptionResNetV2
from components.pretrained.inception_resnet import KERAS, TIMM
from components.types import Output, UserError


class Published(NamedTuple):
    """Parameters, billions of multiply-adds, and the channels of the stages."""

    build: Callable[..., InceptionResNet]
    parameters: int
    multiply_adds: float
    channels: tuple[int, int, int]


PUBLISHED = {
    # Counted by hand from figures 7 and 10 to 14 of the paper: stem 614,896, stages 5 * 77,248,
    # 1,709,056 + 10 * 689,536 and 3,344,256 + 5 * 1,600,000, head 1,793,000; multiply-adds in the same way.
    "v1": Published(InceptionResNetV1, 22_742_808, 6.206, (256, 896, 1792)),
    # Parameters: Keras; multiply-adds: timm's benchmarks.
    "v2": Published(InceptionResNetV2, 55_813_192, 13.18, (320, 1088, 2080)),
}


def tiny(version: str = "v1", **fields: Any) -> InceptionResNet:
    """One block of each kind."""
    return PUBLISHED[version].build(**({"outputs": 3, "width": 1 / 16, "depths": (1, 1, 1)} | fields))


def train(module: InceptionResNet, *images: int, streams: str = "params dropout") -> tuple[Output, Any]:
    """Returns the output of the first training step, and the variables before it, as shapes."""
    keys = {stream: jax.random.key(0) for stream in streams.split()}
    return jax.eval_shape(lambda x: module.init_with_output(keys, x, train=True), jnp.zeros(images))


@pytest.mark.parametrize("version", PUBLISHED)
def test_the_number_of_parameters_is_the_published_one_and_schemes_name_them_all(version: str) -> None:
    build, parameters, multiply_adds, channels = PUBLISHED[version]
    found = facts(build(1000), 299, 299, 3)
    assert found.parameters == parameters
    assert found.multiply_adds == pytest.approx(multiply_adds * 1e9, rel=0.01)
    sides = (35, 17, 8)  # figure 15 of the paper
    stages = {f"stage_{n}": (sides[n - 1],) * 2 + (channels[n - 1],) for n in (1, 2, 3)}
    end = {"last": (8, 8, 1536), "pool": (1536,)} if version == "v2" else {"pool": (1792,)}
    assert found.stages == {"stem": (71, 71, 192)} | stages | end
    for names in (TIMM, KERAS) if version == "v2" else ():
        plan = pretrained.plan_conversion(names, found.variables)
        assert not plan.unmapped
        assert len({mapping.their_name for mapping in plan.mappings}) == len(plan.mappings)


def test_residual_scales_are_factors_of_the_branches() -> None:
    x, arrays = jax.random.normal(jax.random.key(1), (1, 75, 75, 3)), variables(tiny(), 75, 75, 3)
    drawn = jax.tree.map(lambda one: np.random.default_rng(0).normal(0.1, 0.2, one.shape).astype(np.float32), arrays)

    @jax.jit
    def last(scale: jax.Array) -> jax.Array:
        scaled = tiny(residual_scales=(0.17, 0.1, scale))
        positive = {**drawn, "batch_stats": jax.tree.map(jnp.abs, drawn["batch_stats"])}
        return scaled.apply(positive, x, train=False).features["stage_3"]

    none, once, twice = (np.asarray(last(jnp.float32(scale))) for scale in (0, 0.1, 0.2))
    assert min(maps.min() for maps in (none, once, twice)) == 0  # ReLU
    seen = (once > 0) & (twice > 0)
    np.testing.assert_allclose((twice - none)[seen], 2 * (once - none)[seen], rtol=1e-3, atol=1e-4)
    assert np.abs(once - none).max() > 0.01


def test_any_width_channels_and_dtype_with_scales_or_without() -> None:
    output, arrays = train(tiny("v2", dtype=jnp.bfloat16, use_scale=True), 2, 75, 91, 1)
    assert output.features["last"].shape == (2, 1, 1, 96)
    assert {feature.dtype for feature in output.features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert (output.logits.shape, output.logits.dtype) == ((2, 3), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(arrays)} == {jnp.dtype(jnp.float32)}
    assert set(arrays["params"]["stem"]["conv_0"]["norm"]) == {"bias", "scale"}


def test_without_head_and_dropout_only_features_are_returned_and_no_key_is_consumed() -> None:
    output, _ = train(tiny(head=False, dropout=None), 2, 75, 75, 3, streams="params")
    assert output.logits is None
    assert output.features["pool"].shape == (2, 112)


def test_images_below_the_smallest_size_raise() -> None:
    with pytest.raises(UserError, match="InceptionResNet needs images of at least 75 x 75, got 74 x 80"):
        train(tiny(), 2, 74, 80, 3)


@pytest.mark.slow
def test_weights_of_timm_give_its_logits() -> None:
    module = InceptionResNetV2(5, 1 / 16, depths=(1, 1, 10))
    check_pair(module, "timm", "inception_resnet_v2_thin_timm")
