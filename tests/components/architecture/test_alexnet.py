from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import facts, variables
from pairs import check_pair

from components.architecture.alexnet import AlexNet, AlexNet2014, ZFNet
from components.types import Output, UserError

TINY = partial(AlexNet, 3, convolutions=(4, 8, 12, 12, 8), dense=(6, 5))

STAGES = {  # AlexNet: section 3.5; ZF Net: figure 3 of its paper
    "AlexNet": ((55, 55, 96), (27, 27, 96), (27, 27, 256), (13, 13, 256)),
    "ZFNet": ((110, 110, 96), (55, 55, 96), (26, 26, 256), (13, 13, 256)),
    "AlexNet2014": ((55, 55, 64), (27, 27, 64), (27, 27, 192), (13, 13, 192)),
}
LAST = {"AlexNet": 384, "ZFNet": 384, "AlexNet2014": 256}  # maps of the fourth convolution

PUBLISHED = {
    # Multiply-adds, computed by hand from the papers: positions x maps x kernel of each convolution, and 58,621,952 for
    # the dense layers. AlexNet: 105,415,200 + 447,897,600 + 149,520,384 + 224,280,576 + 149,520,384; two groups halve
    # the second and the last two.
    "AlexNet": (AlexNet, 227, 62_378_344, 1_135_256_096),
    "AlexNet in groups": (partial(AlexNet, groups=2), 227, 60_965_224, 724_406_816),
    # 170,755,200 + 415,334,400 + 149,520,384 + 224,280,576 + 149,520,384
    "ZFNet": (ZFNet, 224, 62_357_608, 1_168_032_896),
    "AlexNet2014": (AlexNet2014, 224, 61_100_840, 0.714e9),  # published by torchvision 0.28 with its weights
}


def trace_output(module: AlexNet, *image: int, train: bool = False, streams: str = "dropout") -> Output:
    """Returns the output for two images (height, width, channels), as shapes."""
    keys = {stream: jax.random.key(1) for stream in streams.split()}
    apply = partial(module.apply, train=train, rngs=keys)
    return jax.eval_shape(apply, variables(module, *image), jnp.zeros((2, *image)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_multiply_adds_and_stages_equal_the_paper(name: str) -> None:
    build, side, parameters, multiply_adds = PUBLISHED[name]
    found, paper = facts(build(1000), side, side, 3), name.split()[0]
    assert found.parameters == parameters
    assert found.multiply_adds == pytest.approx(multiply_adds, rel=0.001)
    conv_0, pool_0, conv_1, pool_1 = STAGES[paper]
    assert found.stages == {
        "conv_0": conv_0,
        "pool_0": pool_0,
        "conv_1": conv_1,
        "pool_1": pool_1,
        "conv_2": (13, 13, 384),
        "conv_3": (13, 13, LAST[paper]),
        "conv_4": (13, 13, 256),
        "pool_2": (6, 6, 256),
        "dense_0": (4096,),
        "dense_1": (4096,),
    }


@pytest.mark.parametrize(("build", "smallest"), [(AlexNet, 67), (ZFNet, 63), (AlexNet2014, 63)])
def test_images_below_the_smallest_size_raise(build: partial[AlexNet], smallest: int) -> None:
    tiny = build(3, convolutions=(4, 8, 4, 4, 4), dense=(6,))
    features = trace_output(tiny, smallest, smallest, 3).features
    assert features["pool_2"].shape == (2, 1, 1, 4)
    with pytest.raises(UserError, match=f"AlexNet needs images of at least {smallest} x {smallest}, got"):
        trace_output(tiny, smallest - 1, 80, 3)


def test_width_head_channels_and_classes() -> None:
    output = trace_output(TINY(width=2, head=False), 67, 99, 1)
    assert output.logits is None
    assert output.features["pool_2"].shape == (2, 1, 2, 16)
    assert output.features["dense_1"].shape == (2, 10)
    assert trace_output(TINY(), 67, 67, 5).logits.shape == (2, 3)


def test_wrong_groups_raise() -> None:
    with pytest.raises(UserError, match="got 3 groups for 4 channels and 8 features"):
        trace_output(TINY(groups=3), 67, 67, 3)


def test_bfloat16_features_and_float32_logits() -> None:
    tiny = TINY(dtype=jnp.bfloat16)
    output = trace_output(tiny, 67, 67, 3, train=True)
    assert output.logits.dtype == jnp.float32
    assert {feature.dtype for feature in output.features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables(tiny, 67, 67, 3))} == {jnp.dtype(jnp.float32)}


def test_dropout_consumes_keys_in_training_only() -> None:
    with pytest.raises(Exception, match="dropout"):
        trace_output(TINY(), 67, 67, 3, train=True, streams="")
    assert trace_output(TINY(dropout=None), 67, 67, 3, train=True, streams="").logits.shape == (2, 3)


def test_parameters_are_initialized_as_in_the_paper() -> None:
    key = jax.random.key(0, impl="rbg")  # compiles in a tenth of the time
    params = jax.jit(partial(TINY().init, train=False))(key, jnp.zeros((1, 67, 67, 3)))["params"]
    biases = {name: set(np.unique(layer["bias"])) for name, layer in params.items()}
    ones = ("conv_1", "conv_3", "conv_4", "dense_0", "dense_1")
    assert biases == {name: {1.0 if name in ones else 0.0} for name in params}
    kernels = np.concatenate([np.ravel(layer["kernel"]) for layer in params.values()])
    assert kernels.std() == pytest.approx(0.01, rel=0.05)


def test_weights_of_other_libraries_give_their_logits() -> None:
    check_pair(AlexNet2014(10, width=1 / 16), "torchvision", "alexnet_thin_torchvision")
