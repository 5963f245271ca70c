"""Case of GoogLeNet: torchvision, whose auxiliary classifiers are converted too.

At 224 pixels, rounding changes the sign of an input of a ReLU: gradients before it differ by about 1e-3.
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn

from benchmarks.parity.case import Case, Torch, thinner
from components.architecture.googlenet import GoogLeNet

THIN = 8  # factor of the reduction of channels


def ours(outputs: int = 1000, width: float = 1.0) -> nn.Module:
    return GoogLeNet(outputs, width, layout="torchvision", batch_norm=True)


def theirs() -> Torch:
    from torchvision.models import googlenet

    return Torch(googlenet(aux_logits=True, init_weights=False))


def thin() -> Torch:
    import torch
    from torchvision.models import googlenet

    model = thinner(googlenet(num_classes=THIN, aux_logits=True, init_weights=False), THIN)
    for one in (model.aux1, model.aux2):
        one.fc2 = torch.nn.Linear(one.fc2.in_features, THIN)
    return Torch(model)


CASES = {
    "googlenet/torchvision": Case("torchvision", ours, theirs, 64),
    "googlenet_224/torchvision": Case("torchvision", ours, theirs, 224),
    "googlenet_thin/torchvision": Case("torchvision", partial(ours, THIN, 1 / THIN), thin, 64, thin=True),
}
