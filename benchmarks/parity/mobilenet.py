"""Cases of MobileNets and EfficientNets: torchvision, timm, Keras and Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.parity.case import Case, KerasModel, OtherModel, TorchModel
from components.architecture.efficientnet import EfficientNetB0, EfficientNetB2
from components.architecture.mobilenet import MobileNetV1, MobileNetV2, MobileNetV3, MobileNetV3Small

SIDE, THIN_SIDE = 64, 32
SMALL_SIDE = 48  # for models where rounding moves an input of ReLU6 across 0 or 6 at SIDE
TORCH = {"padding": "symmetric", "epsilon": 1e-5}  # fields of our architectures, as in torchvision and timm


def build_torchvision(name: str, **fields: Any) -> OtherModel:
    import torchvision

    return TorchModel(getattr(torchvision.models, name)(**fields))


def build_timm(name: str) -> OtherModel:
    import timm

    return TorchModel(timm.create_model(name))


def build_keras(name: str, side: int = SIDE, **fields: Any) -> OtherModel:
    """Builds a model without the preprocessing layers of EfficientNet."""
    import keras

    options = {"weights": None, "input_shape": (side, side, 3), "classifier_activation": None} | fields
    model = getattr(keras.applications, name)(**options)
    if name.startswith("EfficientNet"):
        model = keras.Model(model.get_layer("stem_conv_pad").input, model.output)
    return KerasModel(model)


def build_huggingface(name: str, **fields: Any) -> OtherModel:
    import transformers

    config = getattr(transformers, f"{name}Config")(num_labels=1000, **fields)
    return TorchModel(getattr(transformers, f"{name}ForImageClassification")(config), lambda output: output.logits)


def full_case(
    library: str,
    architecture: Callable[..., Any],
    build_theirs: Callable[[], OtherModel],
    side: int = SIDE,
    **fields: Any,
) -> Case:
    return Case(library, partial(architecture, outputs=1000, **fields), build_theirs, side)


def thin_case(library: str, build_theirs: Callable[[], OtherModel], **fields: Any) -> Case:
    return Case(library, partial(MobileNetV2, outputs=10, width=1 / 4, **fields), build_theirs, THIN_SIDE, is_thin=True)


TORCH_V3 = {"padding": "symmetric"}
HUGGINGFACE_B0 = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280}  # of their configuration
CASES = {
    "mobilenet_v2/torchvision": full_case(
        "torchvision", MobileNetV2, partial(build_torchvision, "mobilenet_v2"), **TORCH
    ),
    "mobilenet_v3/torchvision": full_case(
        "torchvision", MobileNetV3, partial(build_torchvision, "mobilenet_v3_large"), SMALL_SIDE, **TORCH_V3
    ),
    "mobilenet_v3_small/torchvision": full_case(
        "torchvision", MobileNetV3Small, partial(build_torchvision, "mobilenet_v3_small"), **TORCH_V3
    ),
    "efficientnet_b0/torchvision": full_case(
        "torchvision", EfficientNetB0, partial(build_torchvision, "efficientnet_b0"), **TORCH
    ),
    "efficientnet_b2/torchvision": full_case(
        "torchvision", EfficientNetB2, partial(build_torchvision, "efficientnet_b2"), **TORCH
    ),
    "mobilenet_v1/timm": full_case("timm", MobileNetV1, partial(build_timm, "mobilenetv1_100"), **TORCH),
    "mobilenet_v2/timm": full_case("timm", MobileNetV2, partial(build_timm, "mobilenetv2_100"), **TORCH),
    "mobilenet_v3/timm": full_case("timm", MobileNetV3, partial(build_timm, "mobilenetv3_large_100"), **TORCH),
    "mobilenet_v3_small/timm": full_case(
        "timm", MobileNetV3Small, partial(build_timm, "mobilenetv3_small_100"), **TORCH
    ),
    "efficientnet_b0/timm": full_case("timm", EfficientNetB0, partial(build_timm, "efficientnet_b0"), **TORCH),
    "mobilenet_v1/keras": full_case("keras", MobileNetV1, partial(build_keras, "MobileNet")),
    "mobilenet_v2/keras": full_case("keras", MobileNetV2, partial(build_keras, "MobileNetV2")),
    "mobilenet_v3/keras": full_case(
        "keras", MobileNetV3, partial(build_keras, "MobileNetV3Large", include_preprocessing=False)
    ),
    "mobilenet_v3_small/keras": full_case(
        "keras", MobileNetV3Small, partial(build_keras, "MobileNetV3Small", include_preprocessing=False)
    ),
    "efficientnet_b0/keras": full_case("keras", EfficientNetB0, partial(build_keras, "EfficientNetB0")),
    "efficientnet_b2/keras": full_case("keras", EfficientNetB2, partial(build_keras, "EfficientNetB2")),
    "mobilenet_v1/huggingface": full_case("huggingface", MobileNetV1, partial(build_huggingface, "MobileNetV1")),
    "mobilenet_v2/huggingface": full_case(
        "huggingface", MobileNetV2, partial(build_huggingface, "MobileNetV2"), SMALL_SIDE
    ),
    "efficientnet_b0/huggingface": full_case(
        "huggingface", EfficientNetB0, partial(build_huggingface, "EfficientNet", **HUGGINGFACE_B0)
    ),
    "mobilenet_v2_thin/torchvision": thin_case(
        "torchvision", partial(build_torchvision, "mobilenet_v2", width_mult=0.25, num_classes=10), **TORCH
    ),
    "mobilenet_v2_thin/keras": thin_case(
        "keras", partial(build_keras, "MobileNetV2", THIN_SIDE, alpha=0.25, classes=10)
    ),
}
