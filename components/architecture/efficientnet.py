"""EfficientNet: the stages of its search, and how the larger ones grow in width, depth and resolution together."""

from __future__ import annotations

from functools import partial

from components.architecture.block.inverted_residual import MobileStage
from components.architecture.mobilenet import MobileNet

# Tan and Le, 2019. The images that each is for: 224, 240, 260, 300 and 380 pixels a side. Convolutions begin as in the
# authors' code; they draw the head from a uniform distribution.
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
    excitation="efficientnet",
    activation="swish",
    stochastic_depth=0.2,
    initializer="he_normal_fan_out",
)
EfficientNetB1 = partial(EfficientNetB0, depth=1.1)
EfficientNetB2 = partial(EfficientNetB0, width=1.1, depth=1.2, dropout=0.3)
EfficientNetB3 = partial(EfficientNetB0, width=1.2, depth=1.4, dropout=0.3)
EfficientNetB4 = partial(EfficientNetB0, width=1.4, depth=1.8, dropout=0.4)
