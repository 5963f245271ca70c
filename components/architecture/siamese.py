"""Siamese networks, which compare two rows."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import compute_logits
from components.architecture.block.inputs import as_array
from components.architecture.mlp import HiddenLayers
from components.types import Output, Range, UserError

Architecture: TypeAlias = nn.Module
"""An architecture within another one. It has no head, since its `outputs` are 0."""


class Siamese(HiddenLayers, kw_only=True):
    """Siamese network: pairs of rows (B, 2, ...) -> (B, outputs). `examples=pairs` makes them.

    The same tower, with the same parameters, computes a vector of each row: the last of the `features` of an
    architecture. The two vectors are combined; hidden layers, if there are any, and a dense layer compute the logits.

    Attributes are those of `MLP`, for the hidden layers after the combination, and:
        tower: architecture without its head, of one input. Its parameters are those of the architecture alone, below
            `tower`.
        combination: `absolute_difference`: of the two vectors, element by element, whatever the order of the rows.
            `concatenate`: one after the other.

    Raises:
        UserError: the inputs are not pairs, or the tower has other inputs or no features.

    References:
        Bromley et al., 1993: Signature verification using a "Siamese" time delay neural network.
        Koch et al., 2015: Siamese neural networks for one-shot image recognition.
    """

    tower: Architecture
    combination: Literal["absolute_difference", "concatenate"] = "absolute_difference"
    widths: tuple[Annotated[int, Range(1)], ...] = ()

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        pairs = as_array(self, inputs)
        if pairs.ndim < 3 or pairs.shape[1] != 2:
            raise UserError(f"Siamese needs pairs of rows (B, 2, ...), got {pairs.shape}. Set examples=pairs.")
        output: Output = self.tower(pairs.reshape(-1, *pairs.shape[2:]), train=train)
        if not output.features:
            raise UserError(f"Siamese needs a tower with `features`, and {type(self.tower).__name__} returns none.")
        vectors = [*output.features.values()][-1].reshape(len(pairs), 2, -1)
        first, second = vectors[:, 0], vectors[:, 1]
        is_difference = self.combination == "absolute_difference"
        joined = jnp.abs(first - second) if is_difference else jnp.concatenate([first, second], axis=-1)
        losses = {name: values.reshape(-1, 2).mean(1) for name, values in output.losses.items()}
        x, features = self.apply_hidden(joined, train=train)
        logits = compute_logits(self.outputs, x, train=train)
        return Output(logits, losses, features={"first": first, "second": second} | features)
