from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import networks
import pairs
import pytest
from slow import slow_but

from components.architecture.densenet import DenseNet, DenseNet121, DenseNet169, DenseNet201
from components.types import Scalar, UserError
from runner.modes.dry_run.multiply_adds import walk_equations

# parameters and multiply-adds of torchvision 0.28; channels after each stage from the paper's table 1 and section 4.1
VARIANTS: dict[str, tuple[Callable[..., DenseNet], int, float, tuple[int, ...]]] = {
    "densenet121": (DenseNet121, 7_978_856, 2.834e9, (256, 512, 1024, 1024)),
    "densenet169": (DenseNet169, 14_149_480, 3.36e9, (256, 512, 1280, 1664)),
    "densenet201": (DenseNet201, 20_013_928, 4.291e9, (256, 512, 1792, 1920)),
}
Tiny = partial(DenseNet, 5, depths=(2, 1), growth=4)


def shapes(module: DenseNet, *image: int) -> Any:
    return jax.tree.map(jnp.shape, networks.variables(module, *image)["params"])


@pytest.mark.parametrize("name", slow_but([*VARIANTS][:1], VARIANTS))
def test_parameters_multiply_adds_and_stages_equal_the_paper(name: str) -> None:
    variant, parameters, multiply_adds, channels = VARIANTS[name]
    found = networks.facts(variant(1000), 224, 224, 3)
    stages = {f"stage_{n}": (56 // 2 ** (n - 1),) * 2 + (count,) for n, count in enumerate(channels, 1)}
    assert found.parameters == parameters
    assert found.multiply_adds == pytest.approx(multiply_adds, rel=0.01)
    assert found.stages == {"stem": (112, 112, 64), **stages, "pool": (channels[-1],)}


@pytest.mark.parametrize("library", ["torchvision", "keras"])
def test_weights_of_other_libraries_give_their_logits(library: str) -> None:
    module = DenseNet(10, depths=(2, 1, 1, 1), growth=4, epsilon=1e-3)
    pairs.check_pair(module, library, f"densenet_thin_{library}")


def test_each_layer_takes_all_earlier_maps_of_its_stage() -> None:
    tree = shapes(Tiny(), 16, 16, 3)
    assert tree["stage_1_block_0"]["conv_0"]["conv"]["kernel"] == (1, 1, 8, 16)
    assert tree["stage_1_block_1"]["conv_0"]["conv"]["kernel"] == (1, 1, 12, 16)
    assert tree["stage_1_block_1"]["conv_1"]["conv"]["kernel"] == (3, 3, 16, 4)
    assert tree["transition_1"]["conv"]["kernel"] == (1, 1, 16, 8)
    assert tree["stage_2_block_0"]["conv_0"]["norm"]["scale"] == (8,)
    assert tree["head"]["kernel"] == (12, 5)


def test_fields_of_other_variants_of_the_paper() -> None:
    plain = shapes(Tiny(bottleneck=None, compression=1.0), 16, 16, 3)
    assert plain["stage_1_block_0"]["conv_0"]["conv"]["kernel"] == (3, 3, 8, 4)
    assert list(plain["stage_1_block_0"]) == ["conv_0"]
    assert plain["transition_1"]["conv"]["kernel"] == (1, 1, 16, 16)
    third = shapes(Tiny(compression=0.3), 16, 16, 3)
    assert third["transition_1"]["conv"]["kernel"] == (1, 1, 16, 4)  # rounded down


def test_width_channels_and_classes() -> None:
    tree = shapes(Tiny(width=0.5), 16, 16, 1)
    assert tree["stem"]["conv"]["kernel"] == (7, 7, 1, 4)
    assert tree["stage_1_block_0"]["conv_1"]["conv"]["kernel"] == (3, 3, 8, 2)
    assert tree["head"]["kernel"] == (6, 5)


def test_without_a_head_only_features_are_returned() -> None:
    variables = networks.variables(Tiny(head=False), 16, 16, 3)
    assert "head" not in variables["params"]
    output = jax.eval_shape(partial(Tiny(head=False).apply, train=False), variables, jnp.zeros((2, 16, 16, 3)))
    assert output.logits is None
    assert jax.tree.map(jnp.shape, output.features)["pool"] == (2, 12)


@pytest.mark.parametrize(("depths", "side"), [((1, 1, 1, 1), 29), ((1, 1), 5), ((1,), 1)])
def test_images_below_the_smallest_size_raise(depths: tuple[int, ...], side: int) -> None:
    module = DenseNet(2, depths=depths, growth=1)
    networks.variables(module, side, side + 1, 3)
    message = f"DenseNet needs images of at least {side} x {side}, got {side - 1} x {side}"
    with pytest.raises(UserError, match=message):
        networks.variables(module, side - 1, side, 3)


def test_bfloat16_features_and_float32_logits() -> None:
    module = Tiny(dtype=jnp.bfloat16)
    variables = networks.variables(module, 16, 16, 3)
    output = jax.eval_shape(partial(module.apply, train=False), variables, jnp.zeros((2, 16, 16, 3)))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
    assert {feature.dtype.name for feature in output.features.values()} == {"bfloat16"}
    assert output.logits.dtype == jnp.float32


def count_draws(module: DenseNet, dropout: Scalar | None, *, train: bool) -> int:
    """Returns the number of random tensors for dropout in a step, or in inference."""
    variables, keys = networks.variables(module, 16, 16, 1), {"dropout": jax.random.key(0)}

    def run(variables: Any, dropout: Scalar | None, momentum: Scalar) -> Any:
        clone = module.clone(dropout=dropout, momentum=momentum)
        return clone.apply(variables, jnp.zeros((2, 16, 16, 1)), train=train, rngs=keys, mutable=train)

    traced = jax.make_jaxpr(run)(variables, dropout, 0.9).jaxpr
    return sum(call.times for call in walk_equations(traced) if call.equation.primitive.name == "random_bits")


def test_dropout_follows_every_convolution_except_the_first() -> None:
    assert count_draws(Tiny(), 0.2, train=True) == 2 * 3 + 1  # two in each of three layers, one between the stages
    assert count_draws(Tiny(), None, train=True) == count_draws(Tiny(), 0.2, train=False) == 0
