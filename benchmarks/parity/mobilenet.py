"""Cases of MobileNets and EfficientNets: torchvision, timm, Keras and Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.parity.case import Case, Keras, Theirs, Torch
from components.architecture.efficientnet import EfficientNetB0, EfficientNetB2
from components.architecture.mobilenet import MobileNetV1, MobileNetV2, MobileNetV3, MobileNetV3Small

SIDE, THIN = 64, 32
FEW = 48  # pixels, where at 64 rounding moves a number across 0 or 6, which changes a gradient
TORCH = {"padding": "symmetric", "epsilon": 1e-5}


def torchvision(name: str, **fields: Any) -> Theirs:
    import torchvision

    return Torch(getattr(torchvision.models, name)(**fields))


def timm(name: str) -> Theirs:
    import timm

    return Torch(timm.create_model(name))


def keras(name: str, side: int = SIDE, **fields: Any) -> Theirs:
    """Builds a model without the preprocessing layers of EfficientNet."""
    import keras

    options = {"weights": None, "input_shape": (side, side, 3), "classifier_activation": None} | fields
    model = getattr(keras.applications, name)(**options)
    if name.startswith("EfficientNet"):
        model = keras.Model(model.get_layer("stem_conv_pad").input, model.output)
    return Keras(model)


def huggingface(name: str, **fields: Any) -> Theirs:
    import transformers

    config = getattr(transformers, f"{name}Config")(num_labels=1000, **fields)
    return Torch(getattr(transformers, f"{name}ForImageClassification")(config), lambda output: output.logits)


def full(library: str, ours: Callable[..., Any], theirs: Callable[[], Theirs], side: int = SIDE, **fields: Any) -> Case:
    return Case(library, partial(ours, outputs=1000, **fields), theirs, side)


def thin(library: str, theirs: Callable[[], Theirs], **fields: Any) -> Case:
    return Case(library, partial(MobileNetV2, outputs=10, width=1 / 4, **fields), theirs, THIN, thin=True)


V3 = {"padding": "symmetric"}  # fields of their models
B0 = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280}
CASES = {
    "mobilenet_v2/torchvision": full("torchvision", MobileNetV2, partial(torchvision, "mobilenet_v2"), **TORCH),
    "mobilenet_v3/torchvision": full("torchvision", MobileNetV3, partial(torchvision, "mobilenet_v3_large"), FEW, **V3),
    "mobilenet_v3_small/torchvision": full(
        "torchvision", MobileNetV3Small, partial(torchvision, "mobilenet_v3_small"), **V3
    ),
    "efficientnet_b0/torchvision": full(
        "torchvision", EfficientNetB0, partial(torchvision, "efficientnet_b0"), **TORCH
    ),
    "efficientnet_b2/torchvision": full(
        "torchvision", EfficientNetB2, partial(torchvision, "efficientnet_b2"), **TORCH
    ),
    "mobilenet_v1/timm": full("timm", MobileNetV1, partial(timm, "mobilenetv1_100"), **TORCH),
    "mobilenet_v2/timm": full("timm", MobileNetV2, partial(timm, "mobilenetv2_100"), **TORCH),
    "mobilenet_v3/timm": full("timm", MobileNetV3, partial(timm, "mobilenetv3_large_100"), **TORCH),
    "mobilenet_v3_small/timm": full("timm", MobileNetV3Small, partial(timm, "mobilenetv3_small_100"), **TORCH),
    "efficientnet_b0/timm": full("timm", EfficientNetB0, partial(timm, "efficientnet_b0"), **TORCH),
    "mobilenet_v1/keras": full("keras", MobileNetV1, partial(keras, "MobileNet")),
    "mobilenet_v2/keras": full("keras", MobileNetV2, partial(keras, "MobileNetV2")),
    "mobilenet_v3/keras": full("keras", MobileNetV3, partial(keras, "MobileNetV3Large", include_preprocessing=False)),
    "mobilenet_v3_small/keras": full(
        "keras", MobileNetV3Small, partial(keras, "MobileNetV3Small", include_preprocessing=False)
    ),
    "efficientnet_b0/keras": full("keras", EfficientNetB0, partial(keras, "EfficientNetB0")),
    "efficientnet_b2/keras": full("keras", EfficientNetB2, partial(keras, "EfficientNetB2")),
    "mobilenet_v1/huggingface": full("huggingface", MobileNetV1, partial(huggingface, "MobileNetV1")),
    "mobilenet_v2/huggingface": full("huggingface", MobileNetV2, partial(huggingface, "MobileNetV2"), FEW),
    "efficientnet_b0/huggingface": full("huggingface", EfficientNetB0, partial(huggingface, "EfficientNet", **B0)),
    "mobilenet_v2_thin/torchvision": thin(
        "torchvision", partial(torchvision, "mobilenet_v2", width_mult=0.25, num_classes=10), **TORCH
    ),
    "mobilenet_v2_thin/keras": thin("keras", partial(keras, "MobileNetV2", THIN, alpha=0.25, classes=10)),
}
