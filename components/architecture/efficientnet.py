"""EfficientNet B0 to B4.

References:
    Tan and Le, 2019: EfficientNet: rethinking model scaling for convolutional neural networks.
"""

from __future__ import annotations

from functools import partial

from components.architecture.block.inverted_residual import MobileStage
from components.architecture.mobilenet import MobileNet

# Images of B0 to B4 have sides of 224, 240, 260, 300 and 380 pixels. Convolutions are initialized as in the authors'
# code; only the kernel of the head differs, which is uniform there.
EfficientNetB0 = partial(
    MobileNet,
    stages=(
        MobileStage(16, (1,), excite=True),
        MobileStage(24, (6,) * 2, stride=2, excite=True),
        MobileStage(40, (6,) * 2, 5, 2, excite=True),
        MobileStage(80, (6,) * 3, stride=2, excite=True),
        MobileStage(112, (6,) * 3, 5, excite=True),
        MobileStage(192, (6,) * 4, 5, 2, excite=True),
        MobileStage(320, (6,), excite=True),
    ),
    narrow=True,
    squeeze_excite="efficientnet",
    activation="swish",
    stochastic_depth=0.2,
    initializer="he_normal_fan_out",
)
EfficientNetB1 = partial(EfficientNetB0, depth=1.1)
EfficientNetB2 = partial(EfficientNetB0, width=1.1, depth=1.2, dropout=0.3)
EfficientNetB3 = partial(EfficientNetB0, width=1.2, depth=1.4, dropout=0.3)
EfficientNetB4 = partial(EfficientNetB0, width=1.4, depth=1.8, dropout=0.4)
