"""Cases of Xception: Keras and timm.

Where rounding changes the sign of an input of a ReLU, gradients differ by about 1e-3; PyTorch's own differ as much
between float32 and float64. On images of these sizes no sign changes.
"""

from __future__ import annotations

import json
import re
from functools import partial
from types import SimpleNamespace

from benchmarks.parity.case import Case, Keras, Theirs, Torch, thinner_keras
from components.architecture.xception import Xception

KERAS, TIMM, THIN = 91, 75, 75  # sides of the images


def keras() -> Theirs:
    import keras

    keras.backend.clear_session()  # names of weights depend on the number of layers in the session
    fields = {"weights": None, "classifier_activation": None}
    return Keras(keras.applications.Xception(input_shape=(KERAS, KERAS, 3), **fields))


def thin() -> Theirs:
    """Builds a model with one block in the middle flow."""
    import keras

    keras.backend.clear_session()
    fields = {"weights": None, "classes": 5, "classifier_activation": None}
    config = keras.applications.Xception(input_shape=(THIN, THIN, 3), **fields).get_config()
    left_out = re.compile(r"block([6-9]|1[0-2])_|add_([4-9]|10)$")
    layers = [layer for layer in config["layers"] if not left_out.match(layer["name"])]
    config["layers"] = json.loads(json.dumps(layers).replace('"add_10"', '"add_3"'))
    return Keras(thinner_keras(SimpleNamespace(get_config=lambda: config), 8))


def timm() -> Theirs:
    import timm

    return Torch(timm.create_model("legacy_xception"))


CASES = {
    "xception/keras": Case("keras", partial(Xception, 1000), keras, KERAS),
    "xception/timm": Case("timm", partial(Xception, 1000, padding=1, epsilon=1e-5), timm, TIMM),
    "xception_thin/keras": Case("keras", partial(Xception, 5, 1 / 8, depth=1), thin, THIN, thin=True),
}
