from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from networks import facts, size, variables
from pairs import check_pair

from components import pretrained
from components.architecture.inception_v3 import InceptionV3, SEInceptionV3
from components.pretrained.inception_v3 import NAMING_SCHEMES
from components.types import Output, UserError

KERAS = {"auxiliary": None, "use_scale": False}


def tiny(**fields: Any) -> InceptionV3:
    return InceptionV3(**({"outputs": 3, "width": 1 / 32} | fields))


def train(module: InceptionV3, *images: int, streams: str = "params dropout") -> tuple[Output, Any]:
    """Returns the output of a training step, and the variables, as shapes."""
    keys = {stream: jax.random.key(0) for stream in streams.split()}
    return jax.eval_shape(lambda x: module.init_with_output(keys, x, train=True), jnp.zeros(images))


def unnamed(library: str, shapes: Any) -> tuple[str, ...]:
    """Returns the parameters that a library does not name."""
    return pretrained.plan_conversion(
        next(scheme for scheme in NAMING_SCHEMES if scheme.library == library), shapes
    ).unmapped


def test_parameters_multiply_adds_and_stages_equal_the_paper() -> None:
    found = facts(InceptionV3(1000), 299, 299, 3)
    assert found.parameters == 27_161_264  # torchvision
    assert found.parameters - size(found.variables["params"]["auxiliary_0"]) == 23_834_568  # timm
    assert found.multiply_adds == pytest.approx(5.713e9, rel=0.001)  # published by torchvision 0.28 with its weights
    assert found.stages == {
        "stem": (35, 35, 192),
        "stage_1": (35, 35, 288),
        "stage_2": (17, 17, 768),
        "stage_3": (8, 8, 2048),
        "pool": (2048,),
    }
    assert unnamed("torchvision", found.variables) == unnamed("timm", found.variables) == ()


def test_without_scales_the_parameters_equal_keras() -> None:
    tree = variables(InceptionV3(1000, **KERAS), 75, 75, 3)
    assert size(tree["params"]) == 23_817_352  # Keras 3.15
    assert unnamed("keras", tree) == ()


def test_every_module_has_excitation() -> None:
    params = variables(SEInceptionV3(1000, auxiliary=None), 75, 75, 3)["params"]
    modules = {256: 1, 288: 2, 768: 5, 1280: 1, 2048: 2}  # number of modules by their output channels
    added = sum(count * (2 * c * (c // 16) + c // 16 + c) for c, count in modules.items())
    assert size(params) == 23_834_568 + added


@pytest.mark.slow
def test_the_auxiliary_classifier_exists_in_training_only() -> None:
    module = tiny()
    output, tree = train(module, 2, 299, 310, 3)
    assert [(logits.shape, logits.dtype) for _, logits in output.auxiliary] == [((2, 3), jnp.float32)]
    infer = partial(module.apply, train=False)
    assert jax.eval_shape(infer, tree, jnp.zeros((2, 75, 80, 3))).auxiliary == ()


def test_any_width_channels_and_dtype() -> None:
    output, arrays = train(tiny(width=1 / 16, dtype=jnp.bfloat16, auxiliary=None), 2, 75, 107, 1)
    assert output.features["stage_3"].shape == (2, 1, 2, 128)
    assert {feature.dtype for feature in output.features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert (output.logits.shape, output.logits.dtype) == ((2, 3), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(arrays)} == {jnp.dtype(jnp.float32)}


def test_without_head_and_dropout_only_features_are_returned_and_no_key_is_consumed() -> None:
    output, _ = train(tiny(head=False, dropout=None), 2, 75, 75, 3, streams="params")
    assert (output.logits, output.auxiliary) == (None, ())
    assert output.features["pool"].shape == (2, 64)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"auxiliary": None}, "InceptionV3 needs images of at least 75 x 75, got 74 x 300"),
        ({}, "InceptionV3 needs images of at least 75 x 75, got 74 x 300"),
        ({}, r"auxiliary classifiers .* at least 299 x 299 in training, got 298 x 300\. Set auxiliary to null"),
    ],
)
def test_images_below_the_smallest_size_raise(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(tiny(**fields), 2, 298 if "298" in message else 74, 300, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("library", "auxiliary"), [("torchvision", 0.4), ("keras", None)])
def test_weights_of_other_libraries_give_their_logits(library: str, auxiliary: float | None) -> None:
    check_pair(InceptionV3(8, 1 / 8, auxiliary=auxiliary), library, f"inception_v3_thin_{library}")
