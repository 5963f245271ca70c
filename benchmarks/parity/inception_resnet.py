"""Inception-ResNet-v2 against timm's and Keras's."""

from __future__ import annotations

from functools import partial

from benchmarks.parity.case import Case, Keras, Theirs, Torch, thinner
from components.architecture.inception_resnet import InceptionResNetV2

TIMM, KERAS, THIN = 123, 139, 75  # the sides of images


def timm() -> Theirs:
    import timm

    return Torch(timm.create_model("inception_resnet_v2"))


def keras() -> Theirs:
    from keras.applications import InceptionResNetV2

    return Keras(InceptionResNetV2(weights=None, input_shape=(KERAS, KERAS, 3), classifier_activation=None))


def thin() -> Theirs:
    """With one block in each of the first two stages."""
    import timm

    model = thinner(timm.create_model("inception_resnet_v2", num_classes=5), 16)
    model.repeat, model.repeat_1 = model.repeat[:1], model.repeat_1[:1]
    return Torch(model)


thinned = partial(InceptionResNetV2, 5, 1 / 16, depths=(1, 1, 10), use_scale=True)
CASES = {
    "inception_resnet_v2/timm": Case("timm", partial(InceptionResNetV2, 1000, use_scale=True), timm, TIMM),
    "inception_resnet_v2/keras": Case("keras", partial(InceptionResNetV2, 1000), keras, KERAS),
    "inception_resnet_v2_thin/timm": Case("timm", thinned, thin, THIN, thin=True),
}
