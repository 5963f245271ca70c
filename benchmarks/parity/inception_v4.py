"""Cases of Inception-v4: timm."""

from __future__ import annotations

from functools import partial

from benchmarks.parity.case import Case, OtherModel, TorchModel, reduce_channels
from components.architecture.inception_v4 import InceptionV4

THIN_SIDE = 75


def build_timm() -> OtherModel:
    import timm

    return TorchModel(timm.create_model("inception_v4"))


def build_thin() -> OtherModel:
    """Builds a model with one block of each kind."""
    import timm
    import torch

    model = reduce_channels(timm.create_model("inception_v4", num_classes=5), 32)
    for position in range(len(model.features)):
        if position not in (*range(7), 10, 11, 18, 19):
            model.features[position] = torch.nn.Identity()
    return TorchModel(model)


CASES = {
    "inception_v4/timm": Case("timm", partial(InceptionV4, 1000), build_timm, 107),
    "inception_v4_thin/timm": Case(
        "timm", partial(InceptionV4, 5, 1 / 32, depths=(1, 1, 1)), build_thin, THIN_SIDE, is_thin=True
    ),
}
