"""Naming schemes of Inception-ResNet-v2.

Batch normalization has scales in timm (`use_scale: true`), and no scales in Keras.
"""

from __future__ import annotations

from components.pretrained.naming import SIGNED, NamingScheme, Rule

DEPTHS = (10, 20, 10)  # number of blocks of each stage
LAST = DEPTHS[2] - 1  # number of the last block of stage 3

STEM = ("1a", "2a", "2b", "3b", "4a")
BLOCKS = (
    (r"stage_1_block_(\d+)", "repeat.{0}"),
    (r"stage_2_block_(\d+)", "repeat_1.{0}"),
    (f"stage_3_block_({LAST})", "block8"),
    (r"stage_3_block_(\d+)", "repeat_2.{0}"),
)
# Convolutions with normalization: (ours, theirs).
LAYERS = (
    *((f"stem/conv_{n}", f"conv2d_{name}") for n, name in enumerate(STEM)),
    (r"stage_1_entry/fork_0/branch_0/conv_0", "mixed_5b.branch0"),
    (r"stage_1_entry/fork_0/branch_3/conv_0", "mixed_5b.branch3.1"),
    (r"stage_1_entry/fork_0/branch_(\d+)/conv_(\d+)", "mixed_5b.branch{0}.{1}"),
    (r"stage_2_entry/fork_0/branch_0/conv_0", "mixed_6a.branch0"),
    (r"stage_2_entry/fork_0/branch_(\d+)/conv_(\d+)", "mixed_6a.branch{0}.{1}"),
    (r"stage_3_entry/fork_0/branch_(\d+)/conv_(\d+)", "mixed_7a.branch{0}.{1}"),
    *((f"{ours}/branch_0/conv_0", f"{theirs}.branch0") for ours, theirs in BLOCKS),
    *((rf"{ours}/branch_(\d+)/conv_(\d+)", f"{theirs}.branch{{1}}.{{2}}") for ours, theirs in BLOCKS),
    (r"last", "conv2d_7b"),
)

FIELDS = {"linear_end": True, "epsilon": 1e-3}
SIDE = 299
TIMM = NamingScheme(
    "timm",
    (
        *(Rule(f"{ours}/conv", f"{theirs}.conv") for ours, theirs in LAYERS),
        *(Rule(f"{ours}/norm", f"{theirs}.bn") for ours, theirs in LAYERS),
        *(Rule(f"{ours}/up", f"{theirs}.conv2d") for ours, theirs in BLOCKS),
        Rule("head", "classif"),
    ),
    required_fields=(FIELDS | {"use_scale": True},),
    image=SIGNED,
    side=SIDE,
)


def _list_convolutions(module: str, *lengths: int) -> tuple[str, ...]:
    """Returns the paths of the convolutions of branches with these numbers of convolutions."""
    return tuple(f"{module}/branch_{n}/conv_{m}" for n, length in enumerate(lengths) for m in range(length))


# Paths of all convolutions, in the order of their numbers in Keras.
NUMBERED = (
    *(f"stem/conv_{n}" for n in range(len(STEM))),
    *_list_convolutions("stage_1_entry/fork_0", 1, 2, 3, 1),
    *(conv for n in range(DEPTHS[0]) for conv in _list_convolutions(f"stage_1_block_{n}", 1, 2, 3)),
    *_list_convolutions("stage_2_entry/fork_0", 1, 3),
    *(conv for n in range(DEPTHS[1]) for conv in _list_convolutions(f"stage_2_block_{n}", 1, 3)),
    *_list_convolutions("stage_3_entry/fork_0", 2, 2, 3),
    *(conv for n in range(DEPTHS[2]) for conv in _list_convolutions(f"stage_3_block_{n}", 1, 3)),
)

KERAS = NamingScheme(
    "keras",
    (
        Rule("last/conv", "conv_7b"),
        Rule("last/norm", "conv_7b_bn"),
        Rule("head", "predictions"),
        Rule(r"stage_1_block_(\d+)/up", "block35_{0:+1}_conv"),
        Rule(r"stage_2_block_(\d+)/up", "block17_{0:+1}_conv"),
        Rule(r"stage_3_block_(\d+)/up", "block8_{0:+1}_conv"),
        *(Rule(f"{ours}/conv", f"conv2d_{n}") for n, ours in enumerate(NUMBERED)),
        *(Rule(f"{ours}/norm", f"batch_normalization_{n}") for n, ours in enumerate(NUMBERED)),
    ),
    framework="keras",
    numbered_per_session=("conv2d", "batch_normalization"),
    required_fields=(FIELDS | {"use_scale": False},),
    image=SIGNED,
    side=SIDE,
)

NAMING_SCHEMES = (TIMM, KERAS)
