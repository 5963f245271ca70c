"""A convolutional network for Fashion-MNIST."""

from __future__ import annotations

import flax.linen as nn
import jax

from components.architecture.block.head import ConvNet
from components.architecture.block.inputs import as_images
from components.layer import Conv, Dense, Dropout, Flatten, Initializer, MaxPool, Rate
from components.types import Output

STAGES = (
    ((64, 7),),
    ((128, 3), (128, 3)),
    ((256, 3), (256, 3)),
)  # (channels, kernel) of the convolutions of each stage
UNITS = (128, 64)  # units of the dense layers


class FashionCNN(ConvNet):
    """CNN of Hands-On Machine Learning, chapter 14: images (B, H, W, C) -> (B, outputs).

    Three stages of SAME convolutions with ReLU, each followed by 2 x 2 max-pooling, then two dense layers with ReLU and
    dropout: 1,413,834 parameters for ten classes and images of 28 x 28 x 1.

    Attributes:
        dropout: rate after each dense layer. None: no dropout.
        initializer: distribution of all kernels except that of the head.

    Raises:
        UserError: a side of the images is below 8 pixels.

    References:
        Géron, 2022: Hands-On Machine Learning with Scikit-Learn, Keras, and TensorFlow, third edition.
    """

    dropout: Rate | None = 0.5
    initializer: Initializer = "he_normal"

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = as_images(self, image, min_side=2 ** len(STAGES))
        features = {}
        for n, convolutions in enumerate(STAGES):
            for m, (channels, kernel) in enumerate(convolutions):
                name = f"stage_{n}_conv_{m}"
                conv = Conv(
                    self.scale_width(channels), kernel, activation="relu", initializer=self.initializer, name=name
                )
                x = conv(x, train=train)
            x = MaxPool(2)(x, train=train)
            features[f"stage_{n}"] = x
        x = Flatten()(x, train=train)
        for n, units in enumerate(UNITS):
            dense = Dense(self.scale_width(units), activation="relu", initializer=self.initializer, name=f"dense_{n}")
            x = dense(x, train=train)
            features[f"dense_{n}"] = x
            x = Dropout(self.dropout)(x, train=train)
        return self.make_output(x, features, train=train)
