"""Cases of DenseNet: torchvision, timm and Keras."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.parity.case import Case, KerasModel, TorchModel, reduce_keras_channels
from components.architecture.densenet import DenseNet, DenseNet121, DenseNet169, DenseNet201

SIDE, THIN_SIDE = 32, 40
THIN_DEPTHS = (2, 1, 1, 1)  # layers of each stage


def build_torchvision(layers: int) -> TorchModel:
    import torchvision

    return TorchModel(torchvision.models.get_model(f"densenet{layers}", weights=None))


def build_timm(layers: int) -> TorchModel:
    import timm

    return TorchModel(timm.create_model(f"densenet{layers}", pretrained=False))


def build_keras(layers: int) -> KerasModel:
    import keras

    build = getattr(keras.applications, f"DenseNet{layers}")
    return KerasModel(build(weights=None, input_shape=(SIDE, SIDE, 3), classifier_activation=None))


def build_thin_torchvision() -> TorchModel:
    from torchvision.models import DenseNet as TorchDenseNet

    model: Any = TorchDenseNet(growth_rate=4, block_config=THIN_DEPTHS, num_init_features=8, num_classes=10)
    return TorchModel(model)


def build_thin_keras() -> KerasModel:
    from keras.src.applications.densenet import DenseNet as KerasDenseNet

    model = KerasDenseNet(
        list(THIN_DEPTHS), input_shape=(THIN_SIDE, THIN_SIDE, 3), weights=None, classes=10, classifier_activation=None
    )
    return KerasModel(reduce_keras_channels(model, 8))


VARIANTS = {121: DenseNet121, 169: DenseNet169, 201: DenseNet201}
LIBRARIES = {  # builds the library's model, epsilon of its batch normalization
    "torchvision": (build_torchvision, 1e-5),
    "timm": (build_timm, 1e-5),
    "keras": (build_keras, 1.001e-5),
}
ThinDenseNet = partial(DenseNet, 10, depths=THIN_DEPTHS, growth=4)

CASES = {
    **{
        f"densenet{layers}/{library}": Case(
            library, partial(variant, 1000, epsilon=epsilon), partial(build, layers), SIDE
        )
        for layers, variant in VARIANTS.items()
        for library, (build, epsilon) in LIBRARIES.items()
    },
    "densenet_thin/torchvision": Case("torchvision", ThinDenseNet, build_thin_torchvision, THIN_SIDE, is_thin=True),
    "densenet_thin/keras": Case(
        "keras", partial(ThinDenseNet, epsilon=1.001e-5), build_thin_keras, THIN_SIDE, is_thin=True
    ),
}
