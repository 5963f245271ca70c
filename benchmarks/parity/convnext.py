"""Cases of ConvNeXt: torchvision, timm, Keras and Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.parity.case import Case, KerasModel, OtherModel, TorchModel
from components.architecture.convnext import ConvNeXt, ConvNeXtTiny

SIDE, THIN_SIDE = 64, 24


def build_torchvision() -> OtherModel:
    import torchvision

    return TorchModel(torchvision.models.convnext_tiny())


def build_timm() -> OtherModel:
    import timm

    return TorchModel(timm.create_model("convnext_tiny"))


def build_keras() -> OtherModel:
    import keras

    options = {"weights": None, "input_shape": (SIDE, SIDE, 3), "classifier_activation": None}
    return KerasModel(keras.applications.ConvNeXtTiny(include_preprocessing=False, **options))


def build_huggingface(**fields: Any) -> OtherModel:
    import transformers

    model = transformers.ConvNextForImageClassification(transformers.ConvNextConfig(**{"num_labels": 1000} | fields))
    return TorchModel(model, lambda output: output.logits)


def build_thin_torchvision() -> OtherModel:
    from torchvision.models import convnext

    stages = [convnext.CNBlockConfig(8, 12, 1), convnext.CNBlockConfig(12, None, 2)]
    return TorchModel(convnext.ConvNeXt(stages, num_classes=10))


def full_case(library: str, build_theirs: Callable[[], OtherModel]) -> Case:
    return Case(library, partial(ConvNeXtTiny, outputs=1000), build_theirs, SIDE)


def thin_case(library: str, build_theirs: Callable[[], OtherModel]) -> Case:
    ours = partial(ConvNeXt, outputs=10, depths=(1, 2), widths=(8, 12))
    return Case(library, ours, build_theirs, THIN_SIDE, is_thin=True)


CASES = {
    "convnext_tiny/torchvision": full_case("torchvision", build_torchvision),
    "convnext_tiny/timm": full_case("timm", build_timm),
    "convnext_tiny/keras": full_case("keras", build_keras),
    "convnext_tiny/huggingface": full_case("huggingface", build_huggingface),
    "convnext_thin/torchvision": thin_case("torchvision", build_thin_torchvision),
    "convnext_thin/huggingface": thin_case(
        "huggingface", partial(build_huggingface, num_labels=10, num_stages=2, depths=[1, 2], hidden_sizes=[8, 12])
    ),
}
