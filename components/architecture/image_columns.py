"""A network for an image and the other columns of a table."""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.architecture.block.head import compute_logits
from components.architecture.mlp import HiddenLayers
from components.architecture.resnet import ResNet18, ResNet20, ResNet34, ResNet50
from components.types import Output

NETWORKS = {"resnet20": ResNet20, "resnet18": ResNet18, "resnet34": ResNet34, "resnet50": ResNet50}


class ImageColumns(HiddenLayers, kw_only=True):
    """Residual network and dense network: inputs `image` (B, H, W, C) and `columns` (B, ...) -> (B, outputs).

    The pooled maps of a residual network, which sees the image, and the last hidden layer of a dense network, which
    sees the columns, are joined, and a dense layer computes the logits (late fusion).

    Attributes are those of `MLP`, for the columns, and:
        network: the residual network for the image, as in the options of the same names.
    """

    network: Literal["resnet20", "resnet18", "resnet34", "resnet50"] = "resnet20"

    @nn.compact
    def __call__(self, image: jax.Array, columns: jax.Array, *, train: bool) -> Output:
        network = NETWORKS[self.network](outputs=0, head=False, dtype=self.dtype, name="image")
        maps = dict(network(image, train=train).features)
        hidden, features = self.apply_hidden(columns, train=train)
        joined = jnp.concatenate([maps["pool"], jnp.asarray(hidden, maps["pool"].dtype)], axis=-1)
        logits = compute_logits(self.outputs, joined, train=train)
        return Output(logits, features={f"image_{name}": values for name, values in maps.items()} | features)
