"""Cases of DenseNet: torchvision, timm and Keras."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.parity.case import Case, Keras, Torch, thinner_keras
from components.architecture.densenet import DenseNet, DenseNet121, DenseNet169, DenseNet201

SIDE = 32  # pixels: on larger images it is likelier that rounding changes the sign of an input of a ReLU
THIN = (2, 1, 1, 1)  # layers of each stage


def torchvision(layers: int) -> Torch:
    import torchvision

    return Torch(torchvision.models.get_model(f"densenet{layers}", weights=None))


def timm(layers: int) -> Torch:
    import timm

    return Torch(timm.create_model(f"densenet{layers}", pretrained=False))


def keras(layers: int) -> Keras:
    import keras

    build = getattr(keras.applications, f"DenseNet{layers}")
    return Keras(build(weights=None, input_shape=(SIDE, SIDE, 3), classifier_activation=None))


def thin_torchvision() -> Torch:
    from torchvision.models import DenseNet as Theirs

    model: Any = Theirs(growth_rate=4, block_config=THIN, num_init_features=8, num_classes=10)
    return Torch(model)


def thin_keras() -> Keras:
    from keras.src.applications.densenet import DenseNet as Theirs

    model = Theirs(list(THIN), input_shape=(40, 40, 3), weights=None, classes=10, classifier_activation=None)
    return Keras(thinner_keras(model, 8))


VARIANTS = {121: DenseNet121, 169: DenseNet169, 201: DenseNet201}
LIBRARIES = {"torchvision": (torchvision, 1e-5), "timm": (timm, 1e-5), "keras": (keras, 1.001e-5)}
THIN_OURS = partial(DenseNet, 10, depths=THIN, growth=4)

CASES = {
    **{
        f"densenet{layers}/{library}": Case(
            library, partial(ours, 1000, epsilon=epsilon), partial(theirs, layers), SIDE
        )
        for layers, ours in VARIANTS.items()
        for library, (theirs, epsilon) in LIBRARIES.items()
    },
    "densenet_thin/torchvision": Case("torchvision", THIN_OURS, thin_torchvision, 40, thin=True),
    "densenet_thin/keras": Case("keras", partial(THIN_OURS, epsilon=1.001e-5), thin_keras, 40, thin=True),
}
