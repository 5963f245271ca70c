from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from networks import facts
from pairs import check_pair

from components import pretrained
from components.architecture.xception import Xception
from components.pretrained.xception import NAMING_SCHEMES
from components.types import Output, UserError


def tiny(**fields: Any) -> Xception:
    """One block in the middle flow."""
    return Xception(**({"outputs": 3, "width": 1 / 32, "depth": 1} | fields))


def train(module: Xception, *images: int, streams: str = "params dropout") -> tuple[Output, Any]:
    """Returns the output of the first training step, and the variables before it, as shapes."""
    keys = {stream: jax.random.key(0) for stream in streams.split()}
    return jax.eval_shape(lambda x: module.init_with_output(keys, x, train=True), jnp.zeros(images))


def test_the_number_of_parameters_is_the_published_one_and_schemes_name_them_all() -> None:
    found = facts(Xception(1000), 299, 299, 3)
    assert found.parameters == 22_855_952  # Keras
    assert found.multiply_adds == pytest.approx(8.40e9, rel=0.01)  # timm's benchmarks
    assert found.stages == {
        "stem": (147, 147, 64),
        "stage_1": (74, 74, 128),
        "stage_2": (37, 37, 256),
        "stage_3": (19, 19, 728),
        "stage_4": (10, 10, 1024),
        "exit": (10, 10, 2048),
        "pool": (2048,),
    }  # figure 5 of the paper
    for names in NAMING_SCHEMES:
        plan = pretrained.plan_conversion(names, found.variables)
        assert not plan.unmapped
        assert len({mapping.their_name for mapping in plan.mappings}) == len(plan.mappings)


def test_any_width_channels_and_dtype() -> None:
    output, arrays = train(tiny(dtype=jnp.bfloat16, padding=1), 2, 7, 40, 1)
    assert output.features["exit"].shape == (2, 1, 2, 64)
    assert {feature.dtype for feature in output.features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert (output.logits.shape, output.logits.dtype) == ((2, 3), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(arrays)} == {jnp.dtype(jnp.float32)}


def test_without_head_and_dropout_only_features_are_returned_and_no_key_is_consumed() -> None:
    output, _ = train(tiny(head=False, dropout=None), 2, 7, 7, 3, streams="params")
    assert output.logits is None
    assert output.features["pool"].shape == (2, 64)


def test_the_middle_flow_may_be_empty() -> None:
    assert train(tiny(depth=0), 2, 32, 32, 3)[0].features["stage_3"].shape == (2, 2, 2, 23)


def test_images_below_the_smallest_size_raise() -> None:
    with pytest.raises(UserError, match="Xception needs images of at least 7 x 7, got 6 x 9"):
        train(tiny(), 2, 6, 9, 3)


@pytest.mark.slow
def test_weights_of_keras_give_its_logits() -> None:
    check_pair(Xception(5, 1 / 8, depth=1), "keras", "xception_thin_keras")
