"""Naming scheme of Inception-v4: timm."""

from __future__ import annotations

from components.pretrained.naming import SIGNED, NamingScheme, Rule

# Convolutions with normalization: (ours, theirs).
LAYERS = (
    (r"stem/conv_(\d+)", "features.{0}"),
    (r"stem/fork_0/branch_1/conv_0", "features.3.conv"),
    (r"stem/fork_1/branch_(\d+)/conv_(\d+)", "features.4.branch{0}.{1}"),
    (r"stem/fork_2/branch_0/conv_0", "features.5.conv"),
    (r"stage_2_entry/fork_0/branch_0/conv_0", "features.10.branch0"),
    (r"stage_2_entry/fork_0/branch_1/conv_(\d+)", "features.10.branch1.{0}"),
    (r"stage_3_entry/fork_0/branch_(\d+)/conv_(\d+)", "features.18.branch{0}.{1}"),
    (r"stage_1_block_(\d+)/branch_0/conv_0", "features.{0:+6}.branch0"),
    (r"stage_1_block_(\d+)/branch_3/conv_0", "features.{0:+6}.branch3.1"),
    (r"stage_1_block_(\d+)/branch_(\d+)/conv_(\d+)", "features.{0:+6}.branch{1}.{2}"),
    (r"stage_2_block_(\d+)/branch_0/conv_0", "features.{0:+11}.branch0"),
    (r"stage_2_block_(\d+)/branch_3/conv_0", "features.{0:+11}.branch3.1"),
    (r"stage_2_block_(\d+)/branch_(\d+)/conv_(\d+)", "features.{0:+11}.branch{1}.{2}"),
    (r"stage_3_block_(\d+)/branch_0/conv_0", "features.{0:+19}.branch0"),
    (r"stage_3_block_(\d+)/branch_3/conv_0", "features.{0:+19}.branch3.1"),
    (r"stage_3_block_(\d+)/branch_(\d+)/conv_(\d+)", "features.{0:+19}.branch{1}_{2}"),
    (r"stage_3_block_(\d+)/branch_1/fork_0/branch_0/conv_0", "features.{0:+19}.branch1_1a"),
    (r"stage_3_block_(\d+)/branch_1/fork_0/branch_1/conv_0", "features.{0:+19}.branch1_1b"),
    (r"stage_3_block_(\d+)/branch_2/fork_0/branch_0/conv_0", "features.{0:+19}.branch2_3a"),
    (r"stage_3_block_(\d+)/branch_2/fork_0/branch_1/conv_0", "features.{0:+19}.branch2_3b"),
)

TIMM = NamingScheme(
    "timm",
    (
        *(Rule(f"{ours}/conv", f"{theirs}.conv") for ours, theirs in LAYERS),
        *(Rule(f"{ours}/norm", f"{theirs}.bn") for ours, theirs in LAYERS),
        Rule("head", "last_linear"),
    ),
    required_fields=({"use_scale": True, "epsilon": 1e-3},),
    image=SIGNED,
    side=299,
)

NAMING_SCHEMES = (TIMM,)
