"""Cases of Inception-ResNet-v2: timm and Keras."""

from __future__ import annotations

from functools import partial

from benchmarks.parity.case import Case, KerasModel, OtherModel, TorchModel, reduce_channels
from components.architecture.inception_resnet import InceptionResNetV2

TIMM_SIDE, KERAS_SIDE, THIN_SIDE = 123, 139, 75


def build_timm() -> OtherModel:
    import timm

    return TorchModel(timm.create_model("inception_resnet_v2"))


def build_keras() -> OtherModel:
    import keras

    keras.backend.clear_session()  # names of weights depend on the number of layers in the session
    fields = {"weights": None, "classifier_activation": None}
    return KerasModel(keras.applications.InceptionResNetV2(input_shape=(KERAS_SIDE, KERAS_SIDE, 3), **fields))


def build_thin() -> OtherModel:
    """Builds a model with one block in each of the first two stages."""
    import timm

    model = reduce_channels(timm.create_model("inception_resnet_v2", num_classes=5), 16)
    model.repeat, model.repeat_1 = model.repeat[:1], model.repeat_1[:1]
    return TorchModel(model)


ThinInceptionResNet = partial(InceptionResNetV2, 5, 1 / 16, depths=(1, 1, 10), use_scale=True)
CASES = {
    "inception_resnet_v2/timm": Case("timm", partial(InceptionResNetV2, 1000, use_scale=True), build_timm, TIMM_SIDE),
    "inception_resnet_v2/keras": Case("keras", partial(InceptionResNetV2, 1000), build_keras, KERAS_SIDE),
    "inception_resnet_v2_thin/timm": Case("timm", ThinInceptionResNet, build_thin, THIN_SIDE, is_thin=True),
}
