"""Cases of Inception-v3: torchvision with its auxiliary classifier, timm and Keras."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.parity.case import Case, KerasModel, TorchModel, reduce_channels, reduce_keras_channels
from components.architecture.inception_v3 import MIN_SIDE, InceptionV3

REDUCTION, CLASSES = 8, 8  # of the thin models: their channels are divided by REDUCTION
TorchInceptionV3 = partial(InceptionV3, count_include_pad=True)
KerasInceptionV3 = partial(InceptionV3, auxiliary=None, use_scale=False)


def build_torchvision(auxiliary: bool) -> TorchModel:
    from torchvision.models import inception_v3

    return TorchModel(inception_v3(aux_logits=auxiliary, init_weights=False))


def build_thin_torchvision() -> TorchModel:
    import torch
    from torchvision.models import inception_v3

    model = reduce_channels(inception_v3(num_classes=CLASSES, init_weights=False), REDUCTION)
    model.AuxLogits.fc = torch.nn.Linear(model.AuxLogits.fc.in_features, CLASSES)
    return TorchModel(model)


def build_timm() -> TorchModel:
    from timm import create_model

    return TorchModel(create_model("inception_v3", pretrained=False))


def build_keras(side: int, classes: int = 1000) -> Any:
    """Builds the second model of a session, so that the numbers in the names of its layers do not start at 0."""
    from keras.applications import InceptionV3

    options = {"weights": None, "input_shape": (side, side, 3), "classes": classes, "classifier_activation": None}
    InceptionV3(**options)
    return InceptionV3(**options)


def build_thin_keras() -> KerasModel:
    return KerasModel(reduce_keras_channels(build_keras(MIN_SIDE, CLASSES), REDUCTION))


CASES = {
    "inception_v3/torchvision": Case(
        "torchvision", partial(TorchInceptionV3, 1000, auxiliary=None), partial(build_torchvision, False), 101
    ),
    "inception_v3_299/torchvision": Case(
        "torchvision", partial(TorchInceptionV3, 1000), partial(build_torchvision, True), 299
    ),
    "inception_v3/timm": Case("timm", partial(TorchInceptionV3, 1000, auxiliary=None), build_timm, 101),
    "inception_v3/keras": Case("keras", partial(KerasInceptionV3, 1000), lambda: KerasModel(build_keras(101)), 101),
    "inception_v3_thin/torchvision": Case(
        "torchvision", partial(TorchInceptionV3, CLASSES, 1 / REDUCTION), build_thin_torchvision, 299, is_thin=True
    ),
    "inception_v3_thin/keras": Case(
        "keras", partial(KerasInceptionV3, CLASSES, 1 / REDUCTION), build_thin_keras, MIN_SIDE, is_thin=True
    ),
}
