"""Naming schemes of Xception: Keras, and `legacy_xception` of timm (for `padding: 1` and `epsilon: 1e-5`)."""

from __future__ import annotations

from components.pretrained.naming import NamingScheme, Rule

IN_KERAS = (
    (r"stage_([12])_block_0/conv_(\d+)", "block{0:+1}_sepconv{1:+1}"),
    (r"stage_3_block_(\d+)/conv_(\d+)", "block{0:+4}_sepconv{1:+1}"),
    (r"stage_4_block_0/conv_(\d+)", "block13_sepconv{0:+1}"),
    (r"exit_(\d+)", "block14_sepconv{0:+1}"),
)
"""Separable convolutions: (ours, theirs). In Keras, one layer has both kernels."""

KERAS = NamingScheme(
    "keras",
    (
        Rule(r"stem_(\d+)/conv", "block1_conv{0:+1}"),
        Rule(r"stem_(\d+)/norm", "block1_conv{0:+1}_bn"),
        *(
            Rule(f"{ours}/conv/{half}", theirs, leaves=(("kernel", f"{half}_kernel"),))
            for ours, theirs in IN_KERAS
            for half in ("depthwise", "pointwise")
        ),
        *(Rule(f"{ours}/norm", f"{theirs}_bn") for ours, theirs in IN_KERAS),
        Rule(r"stage_(\d)_block_0/shortcut/conv", "conv2d_{0:-1}"),
        Rule(r"stage_(\d)_block_0/shortcut/norm", "batch_normalization_{0:-1}"),
        Rule("head", "predictions"),
    ),
    framework="keras",
    renumbered=("conv2d", "batch_normalization"),
    fields=({"padding": "SAME", "epsilon": 1e-3},),
)

BLOCKS = (
    (r"stage_(1)_block_0", "block{0}", 0),
    (r"stage_(2)_block_0", "block{0}", 1),
    (r"stage_3_block_(\d+)", "block{0:+3}", 1),
    (r"stage_4_block_(0)", "block12", 1),
)
"""(ours, theirs, their number of the first convolution). ReLU has a number too; the first block starts without it."""

IN_TIMM = (
    *(
        (f"{ours}/conv_{n}", f"{theirs}.rep.{3 * n + first}", f"{theirs}.rep.{3 * n + first + 1}")
        for ours, theirs, first in BLOCKS
        for n in range(3)
    ),
    (r"exit_(\d+)", "conv{0:+3}", "bn{0:+3}"),
)
"""Separable convolutions: (ours, their convolution, their normalization)."""

TIMM = NamingScheme(
    "timm",
    (
        Rule(r"stem_(\d+)/conv", "conv{0:+1}"),
        Rule(r"stem_(\d+)/norm", "bn{0:+1}"),
        *(Rule(f"{ours}/conv/depthwise", f"{conv}.conv1") for ours, conv, _ in IN_TIMM),
        *(Rule(f"{ours}/conv/pointwise", f"{conv}.pointwise") for ours, conv, _ in IN_TIMM),
        *(Rule(f"{ours}/norm", norm) for ours, _, norm in IN_TIMM),
        *(Rule(f"{ours}/shortcut/conv", f"{theirs}.skip") for ours, theirs, _ in BLOCKS),
        *(Rule(f"{ours}/shortcut/norm", f"{theirs}.skipbn") for ours, theirs, _ in BLOCKS),
        Rule("head", "fc"),
    ),
    fields=({"padding": 1, "epsilon": 1e-5},),
)

NAMING_SCHEMES = (KERAS, TIMM)
