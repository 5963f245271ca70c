"""Layers that hold layers: residual sums, parallel branches, repetition."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.activation import ActivationName, activate
from components.layer.convolution import ConvNorm
from components.layer.dropout import Rate, StochasticDepth
from components.types import Range, UserError

TRAINING = ("train", "update_stats")  # parameters of Flax's own layers that are true in training
INFERENCE = ("deterministic", "use_running_average")  # and those that are false in training

Layer: TypeAlias = nn.Module
"""An element of a list of layers: ours or Flax's own, from one array to one array."""


class LayerShapeError(UserError):
    """A layer of a list can't take its input; the message starts with the place of the layer."""


def apply_layers(layers: Sequence[Layer], x: jax.Array, *, train: bool, of: str = "") -> tuple[jax.Array, ...]:
    """Applies layers, ours or Flax's own, one after another.

    Args:
        layers: the layers, in order.
        x: input of the first layer.
        train: whether this is a training step.
        of: which list of several this is, for messages, such as ` of branch 1`.

    Returns:
        The input, then the output of each layer.

    Raises:
        LayerShapeError: a layer can't take the output of the layer before it.
    """
    arrays = [x]
    for n, layer in enumerate(layers):
        arrays.append(_apply(f"layer {n}{of} ({type(layer).__name__})", layer, arrays[-1], train))
    return tuple(arrays)


class Residual(nn.Module):
    """Layers one after another, added to their input, then an activation: (B, ...) -> (B, ...).

    Attributes:
        layers: the layers of the residual branch.
        shortcut: layers of the shortcut; an empty list: the input itself; None: the input, or where the layers change
            the shape of images, a convolution by 1 x 1 with batch normalization and the smallest stride that fits.
        activation: name of the activation function after the sum; None: no activation.
        stochastic_depth: rate of examples that skip the layers in training; None: no example does.

    Raises:
        UserError: the outputs of layers and shortcut have different shapes.

    References:
        He et al., 2016: Deep residual learning for image recognition.
    """

    layers: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] | None = None
    activation: ActivationName | None = "relu"
    stochastic_depth: Rate | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = apply_layers(self.layers, x, train=train)[-1]
        if self.shortcut is not None:
            around = apply_layers(self.shortcut, x, train=train, of=" of the shortcut")[-1]
        else:
            around = x if x.shape == y.shape else _projection(x, y)(x, train=train)
        if around.shape != y.shape:
            raise UserError(f"its layers give {y.shape}, its shortcut {around.shape}, and a sum needs the same")
        return activate(self.activation, StochasticDepth(self.stochastic_depth)(y, train=train) + around)


class Branches(nn.Module):
    """Lists of layers on the same input, with their channels concatenated: (B, ..., C) -> (B, ..., all channels).

    Attributes:
        branches: lists of layers; an empty list is the identity.

    Raises:
        UserError: there is no branch, or the outputs differ in more than their channels.

    References:
        Szegedy et al., 2015: Going deeper with convolutions.
    """

    branches: tuple[tuple[Layer, ...], ...]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        lists = enumerate(self.branches)
        outputs = [apply_layers(layers, x, train=train, of=f" of branch {n}")[-1] for n, layers in lists]
        if not outputs:
            raise UserError("it has no branches: list at least one")
        for n, y in enumerate(outputs):
            if y.shape[:-1] != outputs[0].shape[:-1]:
                raise UserError(
                    f"branch {n} gives {y.shape}, branch 0 {outputs[0].shape}: all but their channels must be the same"
                )
        return jnp.concatenate(outputs, axis=-1)


class Repeat(nn.Module):
    """A list of layers several times, one after another, each copy with its own parameters: (B, ...) -> (B, ...).

    Attributes:
        layers: the layers of a copy.
        times: number of copies.
    """

    layers: tuple[Layer, ...]
    times: Annotated[int, Range(1)]

    def setup(self) -> None:
        self.copies = [[layer.copy(parent=None) for layer in self.layers] for _ in range(self.times)]

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for n, layers in enumerate(self.copies):
            x = apply_layers(layers, x, train=train, of=f" of copy {n}")[-1]
        return x


def _apply(place: str, layer: Layer, x: jax.Array, train: bool) -> jax.Array:
    try:
        y = layer(x, **_modes(layer, train))
    except LayerShapeError as error:
        raise LayerShapeError(f"{place}: its {error}") from error
    except Exception as error:
        if not isinstance(error, UserError) and not type(layer).__module__.startswith("flax."):
            raise  # an exception in the code of a user's layer keeps its traceback
        raise LayerShapeError(f"{place} can't take an input of shape {x.shape}: {_reason(error)}") from error
    if not isinstance(y, jax.Array):
        raise LayerShapeError(f"{place} gives a {type(y).__name__}, not an array")
    return y


def _reason(error: Exception) -> str:
    text = str(error).partition(" (https")[0]  # messages of Flax end with a link
    without_mode = not isinstance(error, UserError) and any(name in text for name in INFERENCE)
    return f"{text} List such a layer itself, or take components.layer.Dropout or BatchNorm." if without_mode else text


def _modes(layer: Layer, train: bool) -> dict[str, bool]:
    """Returns the arguments of a layer that say whether this is training; a field of that name that is set wins."""
    parameters = inspect.signature(layer.__call__).parameters
    modes = dict.fromkeys(TRAINING, train) | dict.fromkeys(INFERENCE, not train)
    return {name: mode for name, mode in modes.items() if name in parameters and getattr(layer, name, None) is None}


def _projection(x: jax.Array, y: jax.Array) -> ConvNorm:
    """Returns a convolution by 1 x 1 from images of the shape of x to the shape of y."""
    if x.ndim == y.ndim == 4:
        height, width = (-(-before // after) for before, after in zip(x.shape[1:3], y.shape[1:3], strict=True))
        if (-(-x.shape[1] // height), -(-x.shape[2] // width)) == y.shape[1:3]:
            return ConvNorm(y.shape[-1], 1, (height, width), activation=None, name="projection")
    raise UserError(
        f"its layers make {y.shape} of it, which no strided convolution by 1 x 1 does: choose other strides and "
        "padding, or list the layers of a `shortcut`"
    )
