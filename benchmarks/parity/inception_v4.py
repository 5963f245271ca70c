"""Case of Inception-v4: timm.

Where rounding changes the sign of an input of a ReLU, gradients differ by about 1e-3; PyTorch's own differ as much
between float32 and float64. On images of these sizes no sign changes.
"""

from __future__ import annotations

from functools import partial

from benchmarks.parity.case import Case, Theirs, Torch, thinner
from components.architecture.inception_v4 import InceptionV4

THIN = 75


def full() -> Theirs:
    import timm

    return Torch(timm.create_model("inception_v4"))


def thin() -> Theirs:
    """Builds a model with one block of each kind."""
    import timm
    import torch

    model = thinner(timm.create_model("inception_v4", num_classes=5), 32)
    for n, _ in enumerate(model.features):
        if n not in (*range(7), 10, 11, 18, 19):
            model.features[n] = torch.nn.Identity()
    return Torch(model)


CASES = {
    "inception_v4/timm": Case("timm", partial(InceptionV4, 1000), full, 107),
    "inception_v4_thin/timm": Case("timm", partial(InceptionV4, 5, 1 / 32, depths=(1, 1, 1)), thin, THIN, thin=True),
}
