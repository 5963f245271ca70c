from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from components.architecture import Sequential
from components.layer import (
    BatchNorm,
    Branches,
    Conv,
    Conv1D,
    ConvNorm,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    Repeat,
    Residual,
    WeightNorm,
)
from components.types import Padded, Scalar, UserError

X = np.random.default_rng(0).standard_normal((4, 5, 6, 2)).astype(np.float32)
VECTORS = X.reshape(4, -1)[:, :3]
KEYS = {"params": jax.random.key(1), "dropout": jax.random.key(2)}


def run(layer: nn.Module, x: np.ndarray = X, *, train: bool = False) -> tuple[np.ndarray, Any]:
    """Returns the output with initial parameters, and the parameters."""
    y, variables = jax.jit(partial(layer.init_with_output, train=train))(KEYS, x)
    return np.asarray(y), jax.tree.map(np.asarray, variables.get("params", {}))


def shapes(layer: nn.Module, x: np.ndarray = X) -> tuple[Any, Any]:
    """Returns the shapes of the output and the parameters; computes nothing."""
    y, variables = jax.eval_shape(partial(layer.init_with_output, train=True), KEYS, x)
    return y.shape, jax.tree.map(jnp.shape, variables.get("params", {}))


def test_residual_adds_the_input_before_the_activation() -> None:
    y, params = run(Residual((Dense(3),)), VECTORS)
    inner = VECTORS @ params["layers_0"]["kernel"] + params["layers_0"]["bias"]
    np.testing.assert_allclose(y, np.maximum(inner + VECTORS, 0), rtol=1e-5, atol=1e-6)
    linear, _ = run(Residual((Dense(3),), activation=None), VECTORS)
    np.testing.assert_allclose(linear, inner + VECTORS, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(run(Residual((), activation=None), VECTORS)[0], 2 * VECTORS)


def test_residual_projects_the_input_if_the_shape_changes() -> None:
    """The projection of He et al. (2016), section 3.3: 1 x 1, with the stride of the layers, and normalized."""
    y, params = run(Residual((Conv(4, 1, stride=2, use_bias=False),), activation=None))
    kernel, projection = params["layers_0"]["kernel"], params["projection"]["conv"]["kernel"]
    assert projection.shape == (1, 1, 2, 4)
    sum_of_kernels = kernel[0, 0] + projection[0, 0] / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(y, X[:, ::2, ::2] @ sum_of_kernels, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("stride", "padding"), [(1, "SAME"), (2, "SAME"), ((1, 2), "SAME"), (3, 1), (2, 1)])
def test_a_projection_has_the_stride_that_fits(stride: Any, padding: Any) -> None:
    conv = Conv(4, 3, stride=stride, padding=padding)
    assert shapes(Residual((conv,)))[0] == shapes(conv)[0]


def test_a_shortcut_may_be_a_list_of_layers() -> None:
    y, params = run(Residual((Flatten(), Dense(3)), shortcut=(GlobalAveragePool(), Dense(3, use_bias=False))))
    left = X.reshape(4, -1) @ params["layers_1"]["kernel"]
    right = X.mean((1, 2)) @ params["shortcut_1"]["kernel"]
    np.testing.assert_allclose(y, np.maximum(left + right, 0), rtol=1e-4, atol=1e-5)
    assert "projection" not in shapes(Residual((Conv(2, 3),), shortcut=()))[1]


def test_stochastic_depth_drops_the_layers_of_some_examples() -> None:
    x = np.ones((100, 1), np.float32)
    residual = Residual((Dense(1, initializer="he_normal"),), activation=None, stochastic_depth=0.75)
    inner = float(run(residual, x)[0][0, 0]) - 1
    y = run(residual, x, train=True)[0][:, 0]
    dropped = np.isclose(y, 1)
    np.testing.assert_allclose(y[~dropped], 1 + 4 * inner, rtol=1e-5)
    assert 0.6 < dropped.mean() < 0.9


def test_branches_have_the_same_input_and_concatenated_outputs() -> None:
    y, params = run(Branches(((Dense(4), Dense(2)), (), (Dense(1),))), VECTORS)
    first, second, third = (params[f"branches_{name}"] for name in ("0_0", "0_1", "2_0"))
    two = VECTORS @ first["kernel"] @ second["kernel"]
    np.testing.assert_allclose(y, np.concatenate([two, VECTORS, VECTORS @ third["kernel"]], 1), rtol=1e-5, atol=1e-5)
    assert shapes(Branches(((Conv(3, 1),), (MaxPool(3, 1, "SAME"),))))[0] == (4, 5, 6, 5)


def test_each_copy_of_repeated_layers_has_its_own_parameters() -> None:
    y, params = run(Repeat((Dense(3, use_bias=False),), times=3), VECTORS)
    kernels = [params[f"copies_{n}_0"]["kernel"] for n in range(3)]
    assert all((one != other).any() for one, other in itertools.pairwise(kernels))
    np.testing.assert_allclose(y, VECTORS @ kernels[0] @ kernels[1] @ kernels[2], rtol=1e-4, atol=1e-5)
    assert list(params) == ["copies_0_0", "copies_1_0", "copies_2_0"]


def test_each_copy_of_repeated_composites_has_its_own_parameters() -> None:
    """The copies differ in shape: the first has a projection, the second has no projection."""
    residual = Residual((Repeat((Branches(((Dense(1),), (Dense(2),))),), 2), Conv(3, 1)))
    _, params = shapes(Repeat((residual,), 2))
    copies = params["copies_0_0"], params["copies_1_0"]
    assert [list(copy) for copy in copies] == [["layers_0", "layers_1", "projection"], ["layers_0", "layers_1"]]
    inner = [copy["layers_0"][f"copies_{n}_0"]["branches_1_0"]["kernel"] for copy in copies for n in range(2)]
    assert inner == [(2, 2), (3, 2), (3, 2), (3, 2)]


def test_numbers_of_nested_layers_may_be_traced(check_traced: Callable[..., None]) -> None:
    """Traces numbers of layers in a list in a list, with random keys and running moments."""

    def nested(rate: Scalar, depth: Scalar, momentum: Scalar) -> nn.Module:
        return Repeat((Residual((Branches(((Dropout(rate), BatchNorm(momentum)),)),), stochastic_depth=depth),), 2)

    variables = jax.jit(partial(nested(0.5, 0.5, 0.5).init, train=True))(KEYS, VECTORS)
    assert len(jax.tree.leaves(variables["batch_stats"])) == 4

    def train(**numbers: Scalar) -> tuple[jax.Array, Any]:
        return nested(**numbers).apply(variables, VECTORS, train=True, rngs=KEYS, mutable=["batch_stats"])

    first = {"rate": 0.0, "depth": 0.0, "momentum": 0.5}
    check_traced(train, first, first | {"rate": 0.5}, first | {"depth": 0.5}, first | {"momentum": 0.9})


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            Residual((Conv(3, 3, padding="VALID"),)),
            r"^no strided 1 x 1 convolution projects an input of \(4, 5, 6, 2\) to \(4, 3, 4, 3\), .*`shortcut`",
        ),
        (Residual((Flatten(),)), r"^no strided 1 x 1 convolution projects an input of \(4, 5, 6, 2\) to \(4, 60\)"),
        (
            Residual((Conv(3, 1),), shortcut=()),
            r"^layers and shortcut need outputs of equal shape, got \(4, 5, 6, 3\) and \(4, 5, 6, 2\)",
        ),
        (
            Residual((MaxPool(2), Repeat((MaxPool(2),), 2))),
            r"^layer 1 \(Repeat\): layer 0 of copy 1 \(MaxPool\) can't take an input of .* \(4, 1, 1, 2\): .* not",
        ),
        (
            Residual((), shortcut=(Flatten(), Conv(1, 1))),
            r"^layer 1 of the shortcut \(Conv\) can't take an input of shape \(4, 60\): a convolution needs images",
        ),
        (
            Repeat((Residual((Branches(((), (Flatten(), Conv(1, 1)))),)),), 1),
            r"^layer 0 of copy 0 \(Residual\): layer 0 \(Branches\): layer 1 of branch 1 \(Conv\) can't take",
        ),
        (
            Repeat((Branches(((Dense(1),), (MaxPool(2),))),), 1),
            r"^layer 0 of copy 0 \(Branches\) can't take an input of shape \(4, 5, 6, 2\): "
            r"branches need outputs that differ in their channels only, got .* and \(4, 2, 3, 2\) of branch 1",
        ),
        (Branches(()), "^at least one branch is needed, got none"),
    ],
)
def test_errors_name_the_layer_that_does_not_fit(layer: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        shapes(layer)


def test_layers_take_sequences_if_they_say_so() -> None:
    is_element = np.broadcast_to(np.arange(6) < np.array([0, 1, 6, 3, 2])[:, None], (4, 5, 6))
    inner = Padded(jnp.asarray(X), is_element)
    outer = Padded(inner, np.arange(5) < np.array([3, 0, 5, 1])[:, None])
    steps = np.stack([X[:, t, :n].mean(1) if n else np.zeros((4, 2)) for t, n in enumerate((0, 1, 6, 3, 2))], 1)
    means = np.stack([steps[b, :n].mean(0) if n else np.zeros(2) for b, n in enumerate((3, 0, 5, 1))])
    pool = GlobalAveragePool()
    found, _ = jax.jit(partial(Repeat((pool, pool), 1).init_with_output, train=True))(KEYS, outer)
    np.testing.assert_allclose(found, means, rtol=1e-5, atol=1e-6)
    message = (
        r"^layer 1 of copy 0 \(Dense\) can't take sequences \(4, 5, 2\)\. Put GlobalAveragePool or GlobalMaxPool before"
    )
    with pytest.raises(UserError, match=message):
        jax.eval_shape(partial(Repeat((pool, Dense(3)), 1).init, train=True), KEYS, outer)
    network = partial(Sequential(2, (pool,)).init, train=True)
    assert jax.eval_shape(network, KEYS, Padded(inner.values[:, :, 0], outer.mask)) is not None
    with pytest.raises(
        UserError, match=r"returns vectors \(B, D\), got sequences \(4, 5, 2\)\. Append GlobalAveragePool"
    ):
        jax.eval_shape(network, KEYS, outer)


@pytest.mark.parametrize(
    ("layers", "x"),
    [
        ((nn.BatchNorm(),), VECTORS[:1]),
        ((Dense(1), nn.LayerNorm()), VECTORS),
        ((nn.GroupNorm(num_groups=3),), VECTORS),
        ((nn.GroupNorm(num_groups=None, group_size=1),), VECTORS),
        ((nn.InstanceNorm(),), X[:, :1, :1]),
    ],
)
def test_a_normalization_of_flax_needs_more_than_one_value(layers: tuple[nn.Module, ...], x: np.ndarray) -> None:
    def train(x: jax.Array) -> Any:
        variables = Repeat(layers, 1).init(KEYS, jnp.concatenate([x, x]), train=True)
        return Repeat(layers, 1).apply(variables, x, train=True, mutable=["batch_stats"])

    with pytest.raises(UserError, match=r"Norm\) can't take an input of shape .*: from one value, normalization"):
        jax.eval_shape(train, x)


@pytest.mark.parametrize("norm", [nn.BatchNorm(), nn.LayerNorm(), nn.GroupNorm(num_groups=2), nn.InstanceNorm()])
def test_a_normalization_of_flax_takes_images(norm: nn.Module) -> None:
    assert shapes(Repeat((norm,), 1))[0] == X.shape


def test_composites_may_contain_layers_of_flax() -> None:
    assert shapes(Repeat((Branches(((nn.LayerNorm(), nn.Dense(1)), ())),), 3))[0] == (4, 5, 6, 5)


def test_bfloat16_inputs_give_bfloat16_outputs() -> None:
    layer = Repeat((Residual((ConvNorm(4, 3),)), Branches(((Conv(1, 1),), ()))), 2)
    y, variables = jax.eval_shape(partial(layer.init_with_output, train=True), KEYS, jnp.asarray(X, jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}


class Values(nn.Module):
    """The values of sequences, without their mask."""

    def __call__(self, x: Padded) -> Any:
        return x.values


def test_branches_of_sequences_have_their_channels_side_by_side() -> None:
    x = Padded(jnp.asarray(X[:, :, 0]), np.arange(5) < np.array([3, 0, 5, 1])[:, None])
    branches = ((Conv1D(3, 2),), (), (Dropout(0.5), Conv1D(1, 3, "CAUSAL")))
    y, variables = jax.jit(partial(Branches(branches).init_with_output, train=True))(KEYS, x)
    np.testing.assert_array_equal(y.mask, x.mask)
    np.testing.assert_array_equal(y.values[..., 3:5], np.where(x.mask[..., None], x.values, 0))
    first = Conv1D(3, 2).apply({"params": variables["params"]["branches_0_0"]}, x, train=True)
    np.testing.assert_array_equal(y.values[..., :3], np.where(x.mask[..., None], first.values, 0))
    assert y.values.shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        (
            ((Conv1D(3, 2),), (Conv1D(3, 2, "VALID"),)),
            r"got sequences \(4, 5, 3\) of branch 0 and sequences \(4, 4, 3\)",
        ),
        (((Conv1D(3, 2),), (GlobalMaxPool(),)), r"got sequences \(4, 5, 3\) of branch 0 and \(4, 2\) of branch 1"),
        (((Values(),), ()), r"got \(4, 5, 2\) of branch 0 and sequences \(4, 5, 2\) of branch 1"),
        (((MaxPool(2),),), r"layer 0 of branch 0 \(MaxPool\) can't take sequences \(4, 5, 2\)\. Put"),
        (((GlobalMaxPool(), Conv1D(3, 2)),), r"\(Conv1D\) can't take an input of shape \(4, 2\): a convolution along"),
    ],
)
def test_branches_of_sequences_that_do_not_fit(branches: tuple[tuple[nn.Module, ...], ...], message: str) -> None:
    x = Padded(jnp.asarray(X[:, :, 0]), np.ones((4, 5), bool))
    with pytest.raises(UserError, match=message):
        jax.eval_shape(partial(Branches(branches).init, train=True), KEYS, x)


@pytest.mark.parametrize("layer", [Dense(3), Conv(3, 2), nn.Dense(3)])
def test_the_weights_of_a_unit_have_a_length_and_a_direction(layer: nn.Module) -> None:
    """Salimans and Kingma, 2016, equation 2: the gradient of the kernel is orthogonal to the kernel."""
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 5))
    normalized = WeightNorm(layer)
    variables = normalized.init(jax.random.key(1), x, train=True)
    plain = variables["params"]["layer"]
    axes = tuple(range(plain["kernel"].ndim - 1))
    norms = np.sqrt(np.square(plain["kernel"]).sum(axes))
    assert variables["params"].keys() == {"layer", "scale"}
    np.testing.assert_array_equal(variables["params"]["scale"], np.ones(3))
    y = normalized.apply({"params": variables["params"] | {"scale": jnp.full(3, 2.0)}}, x, train=True)
    kwargs: Any = {} if isinstance(layer, nn.Dense) else {"train": True}
    expected = layer.apply({"params": plain | {"kernel": 2 * np.asarray(plain["kernel"]) / norms}}, x, **kwargs)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    gradient = jax.grad(lambda params: jnp.square(normalized.apply({"params": params}, x, train=True)).sum())(
        variables["params"]
    )
    products = (gradient["layer"]["kernel"] * plain["kernel"]).sum(axes)
    np.testing.assert_allclose(products / norms, 0, atol=1e-3)


def test_weights_of_a_layer_without_a_kernel_are_not_normalized() -> None:
    with pytest.raises(UserError, match="WeightNorm needs a layer with a kernel, and Flatten has none"):
        WeightNorm(Flatten()).init(jax.random.key(0), jnp.ones((2, 3)), train=True)
