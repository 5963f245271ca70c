"""Cases of VGG and AlexNet: torchvision, timm and Keras."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.parity.case import Case, KerasModel, TorchModel, reduce_channels, reduce_keras_channels
from components.architecture import alexnet, vgg

THIN_FIELDS = {"outputs": 10, "width": 1 / 16}


def build_torchvision(name: str, is_thin: bool = False) -> TorchModel:
    import torchvision

    model = torchvision.models.get_model(name, weights=None, num_classes=10 if is_thin else 1000)
    return TorchModel(reduce_channels(model, 16) if is_thin else model)


def build_timm(name: str) -> TorchModel:
    import timm

    return TorchModel(timm.create_model(name, pretrained=False))


def build_keras(name: str, **options: Any) -> KerasModel:
    import keras

    build = getattr(keras.applications, name)
    model = build(weights=None, classifier_activation=None, **options)
    return KerasModel(reduce_keras_channels(model, 16) if options else model)


build_thin_vgg16 = partial(build_keras, "VGG16", input_shape=(64, 64, 3), classes=10)

CASES = {
    "vgg16/torchvision": Case("torchvision", lambda: vgg.VGG16(1000), partial(build_torchvision, "vgg16"), 224),
    "vgg16/keras": Case("keras", lambda: vgg.VGG16(1000), partial(build_keras, "VGG16"), 224),
    "vgg19/keras": Case("keras", lambda: vgg.VGG19(1000), partial(build_keras, "VGG19"), 224),
    "vgg13_bn/torchvision": Case(
        "torchvision", lambda: vgg.VGG13(1000, batch_norm=True), partial(build_torchvision, "vgg13_bn"), 224
    ),
    "vgg16_bn/timm": Case("timm", lambda: vgg.VGG16(1000, batch_norm=True), partial(build_timm, "vgg16_bn"), 224),
    "alexnet/torchvision": Case(
        "torchvision", lambda: alexnet.AlexNet2014(1000), partial(build_torchvision, "alexnet"), 224
    ),
    "vgg11_thin/torchvision": Case(
        "torchvision",
        lambda: vgg.VGG11(**THIN_FIELDS),
        partial(build_torchvision, "vgg11", is_thin=True),
        224,
        is_thin=True,
    ),
    "vgg11_bn_thin/torchvision": Case(
        "torchvision",
        lambda: vgg.VGG11(**THIN_FIELDS, batch_norm=True),
        partial(build_torchvision, "vgg11_bn", is_thin=True),
        224,
        is_thin=True,
    ),
    "vgg16_thin/keras": Case("keras", lambda: vgg.VGG16(**THIN_FIELDS), build_thin_vgg16, 64, is_thin=True),
    "alexnet_thin/torchvision": Case(
        "torchvision",
        lambda: alexnet.AlexNet2014(**THIN_FIELDS),
        partial(build_torchvision, "alexnet", is_thin=True),
        224,
        is_thin=True,
    ),
}
