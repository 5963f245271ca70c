"""Layers that are made of layers."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer.activation import ActivationName, activate
from components.layer.block import ConvNorm
from components.layer.dropout import Rate, StochasticDepth
from components.types import Range, UserError

TRAINING = ("train", "update_stats")  # parameters that are true in training
INFERENCE = ("deterministic", "use_running_average")  # and those that are false then, of Flax's own layers

Layer: TypeAlias = nn.Module
"""What a list of layers holds: from one array to one array, ours or Flax's own."""


class Misfit(UserError):
    """What a layer among others can't take; the message begins with its place."""


def in_turn(layers: Sequence[Layer], x: jax.Array, *, train: bool, of: str = "") -> tuple[jax.Array, ...]:
    """Calls layers, ours or Flax's own, one after another: x, then what each gives.

    Raises UserError with the place and the class of the one that can't take what the one before it gives, through all
    lists that it stands in; `of` says which list this is, where there are several.
    """
    given = [x]
    for n, layer in enumerate(layers):
        given.append(_called(f"layer {n}{of} ({type(layer).__name__})", layer, given[-1], train))
    return tuple(given)


class Residual(nn.Module):
    """Layers one after another, whose sum with their input is activated (He et al., 2016): (B, ...) -> (B, ...).

    Where they change the shape of images, a `shortcut` of None is a convolution by 1 x 1 with batch normalization, of
    the least stride that fits; else it is a list of layers, an empty one the input itself. `stochastic_depth` is the
    rate at which examples lose the layers in training, or None. Raises UserError where the two shapes differ.
    """

    layers: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] | None = None
    activation: ActivationName | None = "relu"
    stochastic_depth: Rate | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = in_turn(self.layers, x, train=train)[-1]
        if self.shortcut is not None:
            around = in_turn(self.shortcut, x, train=train, of=" of the shortcut")[-1]
        else:
            around = x if x.shape == y.shape else _projection(x, y)(x, train=train)
        if around.shape != y.shape:
            raise UserError(f"its layers give {y.shape}, its shortcut {around.shape}, and a sum needs the same")
        return activate(self.activation, StochasticDepth(self.stochastic_depth)(y, train=train) + around)


class Branches(nn.Module):
    """Lists of layers side by side on the same input, their channels joined (Szegedy et al., 2015).

    An empty list gives the input itself: (B, ..., C) -> (B, ..., the sum of all channels). Raises UserError where
    there are no branches, or where they give something else than channels for the same places.
    """

    branches: tuple[tuple[Layer, ...], ...]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        lists = enumerate(self.branches)
        given = [in_turn(layers, x, train=train, of=f" of branch {n}")[-1] for n, layers in lists]
        if not given:
            raise UserError("it has no branches: list at least one")
        for n, y in enumerate(given):
            if y.shape[:-1] != given[0].shape[:-1]:
                raise UserError(
                    f"branch {n} gives {y.shape}, branch 0 {given[0].shape}: all but their channels must be the same"
                )
        return jnp.concatenate(given, axis=-1)


class Repeat(nn.Module):
    """A list of layers so many times, one after another, each time with parameters of its own: (B, ...) -> (B, ...)."""

    layers: tuple[Layer, ...]
    times: Annotated[int, Range(1)]

    def setup(self) -> None:
        self.copies = [[layer.copy(parent=None) for layer in self.layers] for _ in range(self.times)]

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for n, layers in enumerate(self.copies):
            x = in_turn(layers, x, train=train, of=f" of copy {n}")[-1]
        return x


def _called(place: str, layer: Layer, x: jax.Array, train: bool) -> jax.Array:
    try:
        y = layer(x, **_modes(layer, train))
    except Misfit as error:
        raise Misfit(f"{place}: its {error}") from error
    except Exception as error:
        if not isinstance(error, UserError) and not type(layer).__module__.startswith("flax."):
            raise  # an error in a layer of the user's is the layer's own
        raise Misfit(f"{place} can't take an input of shape {x.shape}: {_reason(error)}") from error
    if not isinstance(y, jax.Array):
        raise Misfit(f"{place} gives a {type(y).__name__}, not an array")
    return y


def _reason(error: Exception) -> str:
    text = str(error).partition(" (https")[0]  # Flax ends with a link
    lost = not isinstance(error, UserError) and any(name in text for name in INFERENCE)
    return f"{text} List such a layer itself, or take components.layer.Dropout or BatchNorm." if lost else text


def _modes(layer: Layer, train: bool) -> dict[str, bool]:
    """Whether this is training, as the layer calls it; a field of that name that is set stands."""
    taken = inspect.signature(layer.__call__).parameters
    modes = dict.fromkeys(TRAINING, train) | dict.fromkeys(INFERENCE, not train)
    return {name: mode for name, mode in modes.items() if name in taken and getattr(layer, name, None) is None}


def _projection(x: jax.Array, y: jax.Array) -> ConvNorm:
    """The convolution by 1 x 1 that gives images x the shape of y."""
    if x.ndim == y.ndim == 4:
        height, width = (-(-before // after) for before, after in zip(x.shape[1:3], y.shape[1:3], strict=True))
        if (-(-x.shape[1] // height), -(-x.shape[2] // width)) == y.shape[1:3]:
            return ConvNorm(y.shape[-1], 1, (height, width), activation=None, name="projection")
    raise UserError(
        f"its layers make {y.shape} of it, which no strided convolution by 1 x 1 does: choose other strides and "
        "padding, or list the layers of a `shortcut`"
    )
