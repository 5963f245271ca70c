"""Cases of GoogLeNet: torchvision, with its auxiliary classifiers."""

from __future__ import annotations

from functools import partial

import flax.linen as nn

from benchmarks.parity.case import Case, TorchModel, reduce_channels
from components.architecture.googlenet import GoogLeNet

REDUCTION, CLASSES = 8, 8  # of the thin model: its channels are divided by REDUCTION


def build_ours(outputs: int = 1000, width: float = 1.0) -> nn.Module:
    return GoogLeNet(outputs, width, layout="torchvision", batch_norm=True)


def build_torchvision() -> TorchModel:
    from torchvision.models import googlenet

    return TorchModel(googlenet(aux_logits=True, init_weights=False))


def build_thin() -> TorchModel:
    import torch
    from torchvision.models import googlenet

    model = reduce_channels(googlenet(num_classes=CLASSES, aux_logits=True, init_weights=False), REDUCTION)
    for auxiliary in (model.aux1, model.aux2):
        auxiliary.fc2 = torch.nn.Linear(auxiliary.fc2.in_features, CLASSES)
    return TorchModel(model)


CASES = {
    "googlenet/torchvision": Case("torchvision", build_ours, build_torchvision, 64),
    # At 224 pixels, rounding changes the sign of an input of a ReLU.
    "googlenet_224/torchvision": Case("torchvision", build_ours, build_torchvision, 224),
    "googlenet_thin/torchvision": Case(
        "torchvision", partial(build_ours, CLASSES, 1 / REDUCTION), build_thin, 64, is_thin=True
    ),
}
