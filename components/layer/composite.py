"""Layers that contain lists of layers: residual sums, parallel branches, and repetition."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.activation import ActivationFunction, activate
from components.layer.convolution import ConvNorm
from components.layer.dropout import Rate, StochasticDepth
from components.layer.shape import broadcast_like
from components.sequences import join_sequences
from components.types import Padded, Range, UserError, padded_shape

# Layers of Flax have different names for the argument that distinguishes training from inference.
TRUE_IN_TRAINING = ("train", "update_stats")
TRUE_IN_INFERENCE = ("deterministic", "use_running_average")

Layer: TypeAlias = nn.Module
"""A module of this package or of Flax that maps one array to one array. It takes sequences if it annotates its input
with `Padded`."""


class LayerError(UserError):
    """A layer in a list can't take its input, or returns no array. The message starts with its position in the list."""


def apply_layers(layers: Sequence[Layer], x: Any, *, train: bool, suffix: str = "") -> tuple[Any, ...]:
    """Applies layers one after another.

    Args:
        layers: the layers, in order.
        x: input of the first layer, an array or Padded.
        train: whether this is a training step.
        suffix: text after the position of a layer in messages, such as ` of branch 1`.

    Returns:
        `x`, then the output of each layer.

    Raises:
        LayerError: a layer can't take the output of the layer before it, or returns no array.
    """
    arrays = [x]
    for n, layer in enumerate(layers):
        arrays.append(_apply_layer(f"layer {n}{suffix} ({type(layer).__name__})", layer, arrays[-1], train))
    return tuple(arrays)


class WeightNorm(nn.Module):
    """A layer whose output units have weights with a trained length and a trained direction: (B, ...) -> (B, ...).

    The weights of a unit are scale * kernel / norm of the kernel, over all axes but the last. Scales are initially 1.

    Attributes:
        layer: a layer with one parameter `kernel`, such as `Dense` or `Conv`. Its other parameters stay as they are.

    Raises:
        UserError: the layer has no kernel.

    References:
        Salimans and Kingma, 2016: Weight normalization.
    """

    layer: Layer

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        def normalize(variables: Any) -> Any:
            kernel = variables.get("params", {}).get("kernel")
            if kernel is None:  # before the layer has initialized it
                return variables
            scale = self.param("scale", nn.initializers.ones, kernel.shape[-1:], jnp.float32)
            squares = jnp.square(kernel).sum(range(kernel.ndim - 1), keepdims=True)
            normalized = kernel * jax.lax.rsqrt(jnp.maximum(squares, 1e-12)) * broadcast_like(scale, kernel)
            return {**variables, "params": {**variables["params"], "kernel": normalized}}

        def apply(layer: Layer) -> jax.Array:
            y: jax.Array = layer(x, **_get_mode_arguments(layer, train))
            return y

        is_first = self.is_initializing()
        y: jax.Array = nn.map_variables(apply, "params", trans_in_fn=normalize, init=is_first, mutable=True)(self.layer)
        if "scale" not in self.variables.get("params", {}):
            raise UserError(f"WeightNorm needs a layer with a kernel, and {type(self.layer).__name__} has none.")
        return y


class Residual(nn.Module):
    """Residual block: adds the output of layers to their input, then applies an activation: (B, ...) -> (B, ...).

    Attributes:
        layers: the layers of the residual branch.
        shortcut: the layers of the shortcut. An empty list: always the identity. None: the identity where the branch
            keeps the shape; where it changes the shape of images, a 1 x 1 convolution with batch normalization and the
            smallest stride that fits.
        activation: activation function after the sum. None: no activation.
        stochastic_depth: share of the examples that skip the branch in training. None: no stochastic depth.

    Raises:
        UserError: the outputs of branch and shortcut have different shapes.

    References:
        He et al., 2016: Deep residual learning for image recognition.
    """

    layers: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] | None = None
    activation: ActivationFunction | None = "relu"
    stochastic_depth: Rate | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = apply_layers(self.layers, x, train=train)[-1]
        if self.shortcut is not None:
            shortcut = apply_layers(self.shortcut, x, train=train, suffix=" of the shortcut")[-1]
        else:
            shortcut = x if x.shape == y.shape else _make_projection(x, y)(x, train=train)
        if shortcut.shape != y.shape:
            raise UserError(f"layers and shortcut need outputs of equal shape, got {y.shape} and {shortcut.shape}")
        return activate(self.activation, StochasticDepth(self.stochastic_depth)(y, train=train) + shortcut)


class Branches(nn.Module):
    """Lists of layers on the same input, with concatenated channels: (B, ..., C) -> (B, ..., channels of all).

    The input and the outputs may be sequences, Padded (B, T, C).

    Attributes:
        branches: the lists of layers. An empty list is the identity.

    Raises:
        UserError: there is no branch, or the outputs have different shapes apart from their channels.

    References:
        Szegedy et al., 2015: Going deeper with convolutions.
    """

    branches: tuple[tuple[Layer, ...], ...]

    @nn.compact
    def __call__(self, x: jax.Array | Padded, *, train: bool) -> Any:
        if not self.branches:
            raise UserError("at least one branch is needed, got none")
        branches = enumerate(self.branches)
        outputs = [apply_layers(layers, x, train=train, suffix=f" of branch {n}")[-1] for n, layers in branches]
        for n, y in enumerate(outputs):
            if _without_channels(y) != _without_channels(outputs[0]):
                raise UserError(
                    "branches need outputs that differ in their channels only, got "
                    f"{_describe(outputs[0])} of branch 0 and {_describe(y)} of branch {n}"
                )
        return join_sequences(outputs) if isinstance(outputs[0], Padded) else jnp.concatenate(outputs, axis=-1)


class Repeat(nn.Module):
    """A list of layers, applied several times with different parameters: (B, ...) -> (B, ...).

    Attributes:
        layers: the layers.
        times: number of copies of the list, which are applied one after another.
    """

    layers: tuple[Layer, ...]
    times: Annotated[int, Range(1)]

    def setup(self) -> None:
        self.copies = [[layer.copy(parent=None) for layer in self.layers] for _ in range(self.times)]

    def __call__(self, x: jax.Array | Padded, *, train: bool) -> Any:
        for n, layers in enumerate(self.copies):
            x = apply_layers(layers, x, train=train, suffix=f" of copy {n}")[-1]
        return x


def _apply_layer(position: str, layer: Layer, x: Any, train: bool) -> Any:
    if isinstance(x, Padded) and not _takes_sequences(layer):
        raise LayerError(
            f"{position} can't take sequences {padded_shape(x)}. Put GlobalAveragePool or GlobalMaxPool before it, "
            "which reduces the innermost sequences to vectors."
        )
    try:
        if _count_normalized(layer, x, train=train and not layer.is_initializing()) == 1:
            raise UserError("from one value, normalization learns nothing. Use larger batches or more channels.")
        y = layer(x, **_get_mode_arguments(layer, train))
    except LayerError as error:
        raise LayerError(f"{position}: {error}") from error
    except Exception as error:
        is_flax_layer = type(layer).__module__.startswith("flax.")
        if not (is_flax_layer or isinstance(error, UserError)):
            raise  # a bug in the layer's own code, which needs the traceback
        given = _describe(x) if isinstance(x, Padded) else f"an input of shape {x.shape}"
        raise LayerError(f"{position} can't take {given}: {_explain(error)}") from error
    if not isinstance(y, jax.Array | Padded):
        raise LayerError(f"{position} must return an array, got {type(y).__name__}")
    return y


def _without_channels(x: jax.Array | Padded) -> tuple[Any, ...]:
    """Whether an array is a sequence, and its shape without the channels."""
    return (True, *padded_shape(x)[:-1]) if isinstance(x, Padded) else (False, *x.shape[:-1])


def _describe(x: jax.Array | Padded) -> str:
    """The shape of an array or of sequences, for messages."""
    return f"sequences {padded_shape(x)}" if isinstance(x, Padded) else str(x.shape)


def _takes_sequences(layer: Layer) -> bool:
    """Whether a layer annotates its first parameter with `Padded`."""
    parameter = next(iter(inspect.signature(layer.__call__).parameters.values()), None)
    return parameter is not None and Padded.__name__ in str(parameter.annotation)


def _count_normalized(layer: Layer, x: jax.Array, *, train: bool) -> int | None:
    """From how many values a normalization of Flax computes a mean and a variance. None: the layer is another one.

    Our own normalizations check this themselves.
    """
    if isinstance(layer, nn.BatchNorm):
        return x.size // x.shape[-1] if train and layer.use_running_average is None else None
    if isinstance(layer, nn.LayerNorm):
        return x.shape[-1] if layer.reduction_axes == -1 else None
    if isinstance(layer, nn.InstanceNorm):
        return math.prod(x.shape[1:-1])
    if isinstance(layer, nn.GroupNorm):
        return math.prod(x.shape[1:-1]) * (layer.group_size or x.shape[-1] // (layer.num_groups or 1))
    return None


def _explain(error: Exception) -> str:
    message = str(error).partition(" (https")[0]  # messages of Flax end with a link
    if isinstance(error, UserError) or not any(name in message for name in TRUE_IN_INFERENCE):
        return message
    # The message names the missing argument. Probably a Dropout or BatchNorm of Flax is inside a layer such as
    # `nn.Sequential`, which doesn't pass the argument on.
    return (
        f"{message} Use components.layer.Dropout or components.layer.BatchNorm, or put the layer of Flax directly into "
        "the list of layers, not into another layer."
    )


def _get_mode_arguments(layer: Layer, train: bool) -> dict[str, bool]:
    """Returns the arguments by which a layer distinguishes training from inference.

    If the layer sets a field of the same name, as `nn.Dropout(deterministic=True)` does, the argument is left out. With
    the stream `mc`, of Monte Carlo dropout, no layer is deterministic.
    """
    parameters = inspect.signature(layer.__call__).parameters
    modes = dict.fromkeys(TRUE_IN_TRAINING, train) | dict.fromkeys(TRUE_IN_INFERENCE, not train)
    modes["deterministic"] = not train and not layer.has_rng("mc")
    return {name: mode for name, mode in modes.items() if name in parameters and getattr(layer, name, None) is None}


def _make_projection(x: jax.Array, y: jax.Array) -> ConvNorm:
    """Returns a 1 x 1 convolution that maps images of the shape of x to the shape of y."""
    if x.ndim == y.ndim == 4:
        size, target_size = x.shape[1:3], y.shape[1:3]
        stride = _divide_up(size[0], target_size[0]), _divide_up(size[1], target_size[1])
        # With the padding SAME, a convolution divides the size by the stride and rounds up.
        if (_divide_up(size[0], stride[0]), _divide_up(size[1], stride[1])) == target_size:
            return ConvNorm(y.shape[-1], 1, stride, activation=None, name="projection")
    raise UserError(
        f"no strided 1 x 1 convolution projects an input of {x.shape} to {y.shape}, the output of the layers. "
        "Choose other strides and padding, or list the layers of `shortcut`."
    )


def _divide_up(number: int, divisor: int) -> int:
    """The quotient, rounded up."""
    return -(-number // divisor)
