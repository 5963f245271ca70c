"""Cases of Xception: Keras and timm."""

from __future__ import annotations

import json
import re
from functools import partial
from types import SimpleNamespace

from benchmarks.parity.case import Case, KerasModel, OtherModel, TorchModel, reduce_keras_channels
from components.architecture.xception import Xception

KERAS_SIDE, TIMM_SIDE, THIN_SIDE = 91, 75, 75


def build_keras() -> OtherModel:
    import keras

    keras.backend.clear_session()  # names of weights depend on the number of layers in the session
    fields = {"weights": None, "classifier_activation": None}
    return KerasModel(keras.applications.Xception(input_shape=(KERAS_SIDE, KERAS_SIDE, 3), **fields))


def build_thin() -> OtherModel:
    """Builds a model with one block in the middle flow."""
    import keras

    keras.backend.clear_session()
    fields = {"weights": None, "classes": 5, "classifier_activation": None}
    config = keras.applications.Xception(input_shape=(THIN_SIDE, THIN_SIDE, 3), **fields).get_config()
    omitted = re.compile(r"block([6-9]|1[0-2])_|add_([4-9]|10)$")
    layers = [layer for layer in config["layers"] if not omitted.match(layer["name"])]
    config["layers"] = json.loads(json.dumps(layers).replace('"add_10"', '"add_3"'))
    return KerasModel(reduce_keras_channels(SimpleNamespace(get_config=lambda: config), 8))


def build_timm() -> OtherModel:
    import timm

    return TorchModel(timm.create_model("legacy_xception"))


CASES = {
    "xception/keras": Case("keras", partial(Xception, 1000), build_keras, KERAS_SIDE),
    "xception/timm": Case("timm", partial(Xception, 1000, padding=1, epsilon=1e-5), build_timm, TIMM_SIDE),
    "xception_thin/keras": Case("keras", partial(Xception, 5, 1 / 8, depth=1), build_thin, THIN_SIDE, is_thin=True),
}
