"""Cases of Inception-ResNet-v2: timm and Keras.

Where rounding changes the sign of an input of a ReLU, gradients differ by about 1e-3; PyTorch's own differ as much
between float32 and float64. On images of these sizes no sign changes.
"""

from __future__ import annotations

from functools import partial

from benchmarks.parity.case import Case, Keras, Theirs, Torch, thinner
from components.architecture.inception_resnet import InceptionResNetV2

TIMM, KERAS, THIN = 123, 139, 75  # sides of the images


def timm() -> Theirs:
    import timm

    return Torch(timm.create_model("inception_resnet_v2"))


def keras() -> Theirs:
    import keras

    keras.backend.clear_session()  # names of weights depend on the number of layers in the session
    fields = {"weights": None, "classifier_activation": None}
    return Keras(keras.applications.InceptionResNetV2(input_shape=(KERAS, KERAS, 3), **fields))


def thin() -> Theirs:
    """Builds a model with one block in each of the first two stages."""
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
