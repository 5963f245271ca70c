"""Naming schemes of Xception: Keras, and `legacy_xception` of timm. `{0:+1}` is group 0 of the expression, plus 1."""

from __future__ import annotations

from components.pretrained.naming import SIGNED, NamingScheme, Rule

SIDE = 299  # of the images of the published evaluations

# (ours, theirs). In Keras, one layer has both kernels of a separable convolution.
SEPARABLE_IN_KERAS = (
    (r"stage_([12])_block_0/conv_(\d+)", "block{0:+1}_sepconv{1:+1}"),
    (r"stage_3_block_(\d+)/conv_(\d+)", "block{0:+4}_sepconv{1:+1}"),
    (r"stage_4_block_0/conv_(\d+)", "block13_sepconv{0:+1}"),
    (r"exit_(\d+)", "block14_sepconv{0:+1}"),
)

KERAS = NamingScheme(
    "keras",
    (
        Rule(r"stem_(\d+)/conv", "block1_conv{0:+1}"),
        Rule(r"stem_(\d+)/norm", "block1_conv{0:+1}_bn"),
        *(
            Rule(f"{ours}/conv/{half}", theirs, leaves=(("kernel", f"{half}_kernel"),))
            for ours, theirs in SEPARABLE_IN_KERAS
            for half in ("depthwise", "pointwise")
        ),
        *(Rule(f"{ours}/norm", f"{theirs}_bn") for ours, theirs in SEPARABLE_IN_KERAS),
        Rule(r"stage_(\d)_block_0/shortcut/conv", "conv2d_{0:-1}"),
        Rule(r"stage_(\d)_block_0/shortcut/norm", "batch_normalization_{0:-1}"),
        Rule("head", "predictions"),
    ),
    framework="keras",
    numbered_per_session=("conv2d", "batch_normalization"),
    required_fields=({"padding": "SAME", "epsilon": 1e-3},),
    image=SIGNED,
    side=SIDE,
)

# (ours, theirs, index of the first convolution in timm's sequence `rep`): 1 after a ReLU, 0 in the first block, which
# starts without ReLU.
BLOCKS = (
    (r"stage_1_block_0", "block1", 0),
    (r"stage_2_block_0", "block2", 1),
    (r"stage_3_block_(\d+)", "block{0:+3}", 1),
    (r"stage_4_block_0", "block12", 1),
)

# (ours, their convolution, their normalization). ReLU, convolution and normalization take three places in `rep`.
SEPARABLE_IN_TIMM = (
    *(
        (f"{ours}/conv_{n}", f"{theirs}.rep.{first + 3 * n}", f"{theirs}.rep.{first + 3 * n + 1}")
        for ours, theirs, first in BLOCKS
        for n in range(3)
    ),
    (r"exit_(\d+)", "conv{0:+3}", "bn{0:+3}"),
)

TIMM = NamingScheme(
    "timm",
    (
        Rule(r"stem_(\d+)/conv", "conv{0:+1}"),
        Rule(r"stem_(\d+)/norm", "bn{0:+1}"),
        *(Rule(f"{ours}/conv/depthwise", f"{conv}.conv1") for ours, conv, _ in SEPARABLE_IN_TIMM),
        *(Rule(f"{ours}/conv/pointwise", f"{conv}.pointwise") for ours, conv, _ in SEPARABLE_IN_TIMM),
        *(Rule(f"{ours}/norm", norm) for ours, _, norm in SEPARABLE_IN_TIMM),
        *(Rule(f"{ours}/shortcut/conv", f"{theirs}.skip") for ours, theirs, _ in BLOCKS),
        *(Rule(f"{ours}/shortcut/norm", f"{theirs}.skipbn") for ours, theirs, _ in BLOCKS),
        Rule("head", "fc"),
    ),
    required_fields=({"padding": 1, "epsilon": 1e-5},),
    image=SIGNED,
    side=SIDE,
)

NAMING_SCHEMES = (KERAS, TIMM)
