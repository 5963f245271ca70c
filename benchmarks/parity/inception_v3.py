"""Cases of Inception-v3: torchvision, whose auxiliary classifier is converted too, timm and Keras.

On larger images it is likelier that rounding changes the sign of one of the millions of inputs of ReLUs. Then the
gradients of all layers before it differ by about 1e-3, and those of the layers after it do not.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.parity.case import Case, Keras, Torch, thinner, thinner_keras
from components.architecture.inception_v3 import MIN_SIDE, InceptionV3

THIN = 8  # factor of the reduction of channels
Torchs = partial(InceptionV3, count_include_pad=True)
Kerass = partial(InceptionV3, auxiliary=None, use_scale=False)


def torchvision(auxiliary: bool) -> Torch:
    from torchvision.models import inception_v3

    return Torch(inception_v3(aux_logits=auxiliary, init_weights=False))


def torchvision_thin() -> Torch:
    import torch
    from torchvision.models import inception_v3

    model = thinner(inception_v3(num_classes=THIN, init_weights=False), THIN)
    model.AuxLogits.fc = torch.nn.Linear(model.AuxLogits.fc.in_features, THIN)
    return Torch(model)


def timm() -> Torch:
    from timm import create_model

    return Torch(create_model("inception_v3", pretrained=False))


def keras(side: int, classes: int = 1000) -> Any:
    """Builds the second model of a session: its layers have higher numbers than those of the first."""
    from keras.applications import InceptionV3

    shape = (side, side, 3)
    make = partial(InceptionV3, weights=None, input_shape=shape, classes=classes, classifier_activation=None)
    make()
    return make()


def keras_thin() -> Keras:
    return Keras(thinner_keras(keras(MIN_SIDE, THIN), THIN))


CASES = {
    "inception_v3/torchvision": Case(
        "torchvision", partial(Torchs, 1000, auxiliary=None), partial(torchvision, False), 101
    ),
    "inception_v3_299/torchvision": Case("torchvision", partial(Torchs, 1000), partial(torchvision, True), 299),
    "inception_v3/timm": Case("timm", partial(Torchs, 1000, auxiliary=None), timm, 101),
    "inception_v3/keras": Case("keras", partial(Kerass, 1000), lambda: Keras(keras(101)), 101),
    "inception_v3_thin/torchvision": Case(
        "torchvision", partial(Torchs, THIN, 1 / THIN), torchvision_thin, 299, thin=True
    ),
    "inception_v3_thin/keras": Case("keras", partial(Kerass, THIN, 1 / THIN), keras_thin, MIN_SIDE, thin=True),
}
