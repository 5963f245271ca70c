"""Networks from a list of layers."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import compute_logits, compute_wide_logits
from components.architecture.block.inputs import as_array_or_sequence
from components.layer import Conv
from components.layer.composite import Layer, apply_layers
from components.types import MultiHot, Output, Padded, UserError, padded_shape


class Sequential(nn.Module):
    """Layers one after another, then a layer named `head` that computes the logits: (B, ...) -> (B, ..., outputs).

    Attributes:
        outputs: number of logits.
        layers: layers of `components.layer` or of Flax, each from one array to one array. `Residual`, `Branches` and
            `Repeat` contain lists of layers. Of sequences, such as the words of texts, the first layers are `Conv1D`,
            `Dropout`, `Branches` or layers of one's own that annotate their input with `components.types.Padded`, up to
            `GlobalMaxPool` or `GlobalAveragePool`.
        head: `dense`: the last layer returns vectors (B, D). `conv`: a convolution of one pixel computes the logits of
            each pixel, for a target that is an image; the last layer returns images (B, H, W, C).
        dtype: dtype of the computation.

    Raises:
        UserError: a layer can't take the output of the layer before it; the message has its position and class.
    """

    outputs: int
    layers: tuple[Layer, ...]
    head: Literal["dense", "conv"] = "dense"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array | Padded, *, train: bool) -> Output:
        x, features = _apply_list(self, inputs, train=train)
        if self.head == "conv":
            if x.ndim != 4:
                raise UserError(
                    f"Sequential with head=conv needs a last layer that returns images (B, H, W, C), got {x.shape}. "
                    "Set head to dense, or remove the layers that flatten or pool."
                )
            logits = Conv(self.outputs, kernel=1, name="head")(x, train=train).astype(jnp.float32)
            return Output(logits, features=features)
        if x.ndim != 2:
            raise UserError(
                f"Sequential needs a last layer that returns vectors (B, D), got {x.shape}. "
                "Append Flatten or GlobalAveragePool, or set head to conv if the target is an image."
            )
        return Output(compute_logits(self.outputs, x, train=train), features=features)


class WideSequential(nn.Module):
    """Wide & Deep with a list of layers: inputs `wide` (B, ...), which is flattened, and `deep` -> (B, outputs).

    The logits are the sum of the logits of a linear model on `wide` and of a `Sequential` network on `deep`. List in
    `wide` what a linear model should memorize, such as the n-grams of a text. The linear model has no bias, and its
    kernel is initially zero.

    Attributes:
        outputs: the number of outputs.
        layers: the layers of the deep network, as those of `Sequential`. The last one returns vectors (B, D).
        dtype: the dtype of activations; the logits are float32.

    References:
        Cheng et al., 2016: Wide & deep learning for recommender systems.
    """

    outputs: int
    layers: tuple[Layer, ...]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, wide: jax.Array | MultiHot, deep: jax.Array | Padded, *, train: bool) -> Output:
        x, features = _apply_list(self, deep, train=train)
        if x.ndim != 2:
            raise UserError(
                f"WideSequential needs a last layer that returns vectors (B, D), got {x.shape}. "
                "Append Flatten or GlobalAveragePool."
            )
        logits = compute_logits(self.outputs, x, train=train)
        wide_logits = compute_wide_logits(self, self.outputs, wide, train=train)
        return Output(logits + wide_logits, features=features)


def _apply_list(
    network: Sequential | WideSequential, inputs: jax.Array | Padded, *, train: bool
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the output of the last layer, and the outputs of all layers by name. Call it in a compact method.

    Raises:
        UserError: the last layer returns sequences.
    """
    arrays = apply_layers(network.layers, as_array_or_sequence(network, inputs), train=train)
    outputs = enumerate(arrays[1:])
    features = {f"layers_{n}": output for n, output in outputs if not isinstance(output, Padded)}
    x = arrays[-1]
    if isinstance(x, Padded):
        raise UserError(
            f"{type(network).__name__} needs a last layer that returns vectors (B, D), got sequences "
            f"{padded_shape(x)}. Append GlobalAveragePool or GlobalMaxPool."
        )
    return x, features
