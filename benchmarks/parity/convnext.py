"""Cases of ConvNeXt: torchvision, timm, Keras and Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.parity.case import Case, Keras, Theirs, Torch
from components.architecture.convnext import ConvNeXt, ConvNeXtTiny

SIDE, THIN = 64, 24


def torchvision() -> Theirs:
    import torchvision

    return Torch(torchvision.models.convnext_tiny())


def timm() -> Theirs:
    import timm

    return Torch(timm.create_model("convnext_tiny"))


def keras() -> Theirs:
    import keras

    options = {"weights": None, "input_shape": (SIDE, SIDE, 3), "classifier_activation": None}
    return Keras(keras.applications.ConvNeXtTiny(include_preprocessing=False, **options))


def huggingface(**fields: Any) -> Theirs:
    import transformers

    model = transformers.ConvNextForImageClassification(transformers.ConvNextConfig(**{"num_labels": 1000} | fields))
    return Torch(model, lambda output: output.logits)


def thin_torchvision() -> Theirs:
    from torchvision.models import convnext

    stages = [convnext.CNBlockConfig(8, 12, 1), convnext.CNBlockConfig(12, None, 2)]
    return Torch(convnext.ConvNeXt(stages, num_classes=10))


def full(library: str, theirs: Callable[[], Theirs]) -> Case:
    return Case(library, partial(ConvNeXtTiny, outputs=1000), theirs, SIDE)


def thin(library: str, theirs: Callable[[], Theirs]) -> Case:
    ours = partial(ConvNeXt, outputs=10, depths=(1, 2), widths=(8, 12))
    return Case(library, ours, theirs, THIN, thin=True)


CASES = {
    "convnext_tiny/torchvision": full("torchvision", torchvision),
    "convnext_tiny/timm": full("timm", timm),
    "convnext_tiny/keras": full("keras", keras),
    "convnext_tiny/huggingface": full("huggingface", huggingface),
    "convnext_thin/torchvision": thin("torchvision", thin_torchvision),
    "convnext_thin/huggingface": thin(
        "huggingface", partial(huggingface, num_labels=10, num_stages=2, depths=[1, 2], hidden_sizes=[8, 12])
    ),
}
