"""Cases of VGG and AlexNet: torchvision, timm and Keras."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.parity.case import Case, Keras, Torch, thinner, thinner_keras
from components.architecture import alexnet, vgg

THIN = {"outputs": 10, "width": 1 / 16}


def _torchvision(name: str, thin: bool = False) -> Torch:
    import torchvision

    model = torchvision.models.get_model(name, weights=None, num_classes=10 if thin else 1000)
    return Torch(thinner(model, 16) if thin else model)


def _timm(name: str) -> Torch:
    import timm

    return Torch(timm.create_model(name, pretrained=False))


def _keras(name: str, **options: Any) -> Keras:
    import keras

    build = getattr(keras.applications, name)
    model = build(weights=None, classifier_activation=None, **options)
    return Keras(thinner_keras(model, 16) if options else model)


_vgg16_keras_thin = partial(_keras, "VGG16", input_shape=(64, 64, 3), classes=10)

CASES = {
    "vgg16/torchvision": Case("torchvision", lambda: vgg.VGG16(1000), partial(_torchvision, "vgg16"), 224),
    "vgg16/keras": Case("keras", lambda: vgg.VGG16(1000), partial(_keras, "VGG16"), 224),
    "vgg19/keras": Case("keras", lambda: vgg.VGG19(1000), partial(_keras, "VGG19"), 224),
    "vgg13_bn/torchvision": Case(
        "torchvision", lambda: vgg.VGG13(1000, batch_norm=True), partial(_torchvision, "vgg13_bn"), 224
    ),
    "vgg16_bn/timm": Case("timm", lambda: vgg.VGG16(1000, batch_norm=True), partial(_timm, "vgg16_bn"), 224),
    "alexnet/torchvision": Case(
        "torchvision", lambda: alexnet.AlexNet2014(1000), partial(_torchvision, "alexnet"), 224
    ),
    "vgg11_thin/torchvision": Case(
        "torchvision", lambda: vgg.VGG11(**THIN), partial(_torchvision, "vgg11", thin=True), 224, thin=True
    ),
    "vgg11_bn_thin/torchvision": Case(
        "torchvision",
        lambda: vgg.VGG11(**THIN, batch_norm=True),
        partial(_torchvision, "vgg11_bn", thin=True),
        224,
        thin=True,
    ),
    "vgg16_thin/keras": Case("keras", lambda: vgg.VGG16(**THIN), _vgg16_keras_thin, 64, thin=True),
    "alexnet_thin/torchvision": Case(
        "torchvision",
        lambda: alexnet.AlexNet2014(**THIN),
        partial(_torchvision, "alexnet", thin=True),
        224,
        thin=True,
    ),
}
