"""Siamese networks, which compare two rows, or two views of one."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import compute_logits
from components.architecture.block.inputs import as_array
from components.architecture.mlp import HiddenLayers
from components.layer import Dense, activate
from components.types import Output, Range, UserError

Architecture: TypeAlias = nn.Module
"""An architecture within another one. It has no head, since its `outputs` are 0."""


class Siamese(HiddenLayers, kw_only=True):
    """Siamese network: pairs of rows (B, 2, ...) -> (B, outputs). `examples=pairs` makes them, or `examples=views`.

    The same tower, with the same parameters, computes a vector of each row: the last of the `features` of an
    architecture. The projection, if there is one, maps each to the vector that is compared. The two vectors are the
    features `first` and `second`. They are combined; hidden layers, if there are any, and a dense layer compute the
    logits. Without outputs, as without a target, there is no combination.

    Attributes are those of `MLP`, for the hidden layers after the combination, and:
        tower: architecture without its head, of one input. Its parameters are those of the architecture alone, below
            `tower`.
        projection: number of units of each dense layer of the projection, as the projection head of SimCLR. All but the
            last one have the activation function.
        combination: `absolute_difference`: of the two vectors, element by element, whatever the order of the rows.
            `concatenate`: one after the other.

    Raises:
        UserError: the inputs are not pairs, or the tower has other inputs or no features.

    References:
        Bromley et al., 1993: Signature verification using a "Siamese" time delay neural network.
        Koch et al., 2015: Siamese neural networks for one-shot image recognition.
        Chen et al., 2020: A simple framework for contrastive learning of visual representations (SimCLR).
    """

    tower: Architecture
    projection: tuple[Annotated[int, Range(1)], ...] = ()
    combination: Literal["absolute_difference", "concatenate"] = "absolute_difference"
    widths: tuple[Annotated[int, Range(1)], ...] = ()

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        pairs = as_array(self, inputs)
        if pairs.ndim < 3 or pairs.shape[1] != 2:
            raise UserError(f"Siamese needs pairs of rows (B, 2, ...), got {pairs.shape}. Set examples=pairs or views.")
        output: Output = self.tower(pairs.reshape(-1, *pairs.shape[2:]), train=train)
        if not output.features:
            raise UserError(f"Siamese needs a tower with `features`, and {type(self.tower).__name__} returns none.")
        x = [*output.features.values()][-1].reshape(2 * len(pairs), -1)
        vectors = self._project(x, train=train).reshape(len(pairs), 2, -1)
        first, second = vectors[:, 0], vectors[:, 1]
        losses = {name: values.reshape(-1, 2).mean(1) for name, values in output.losses.items()}
        if self.outputs == 0:
            return Output(None, losses, features={"first": first, "second": second})
        is_difference = self.combination == "absolute_difference"
        joined = jnp.abs(first - second) if is_difference else jnp.concatenate([first, second], axis=-1)
        x, features = self.apply_hidden(joined, train=train)
        logits = compute_logits(self.outputs, x, train=train)
        return Output(logits, losses, features={"first": first, "second": second} | features)

    def _project(self, x: jax.Array, *, train: bool) -> jax.Array:
        """The vectors that are compared, from those of the tower."""
        for n, units in enumerate(self.projection):
            x = activate(self.activation, x) if n else x
            layer = Dense(units, initializer=self.initializer, name=f"projection_{n}")
            x = layer(x, train=train).astype(self.dtype)
        return x
