"""Inception-v4 against timm's.

Where an input of ReLU lies so near zero that rounding changes its sign, gradients differ by some 1e-3, as PyTorch's own
do between float32 and float64. On images of this side none does.
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
    """With one block of each kind."""
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
