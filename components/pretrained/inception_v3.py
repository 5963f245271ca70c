"""Naming schemes of Inception-v3. The published weights of all three libraries need pixels between -1 and 1."""

from __future__ import annotations

from collections.abc import Mapping

from components.pretrained.naming import NamingScheme, Rule


def numbered(branch: str, *ends: int | str) -> tuple[str, ...]:
    """Returns torchvision's names of the convolutions of a branch."""
    return tuple(f"{branch}_{end}" for end in ends)


STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
ONE, POOL = ("branch1x1",), ("branch_pool",)
A = (ONE, numbered("branch5x5", 1, 2), numbered("branch3x3dbl", 1, 2, 3), POOL)
B = (ONE, numbered("branch7x7", 1, 2, 3), numbered("branch7x7dbl", 1, 2, 3, 4, 5), POOL)
C = (ONE, numbered("branch3x3", 1, "2a", "2b"), numbered("branch3x3dbl", 1, 2, "3a", "3b"), POOL)
TO_B = (("branch3x3",), numbered("branch3x3dbl", 1, 2, 3))
TO_C = (numbered("branch3x3", 1, 2), numbered("branch7x7x3", 1, 2, 3, 4))
STAGES: tuple[Mapping[str, tuple[tuple[str, ...], ...]], ...] = (
    {"Mixed_5b": A, "Mixed_5c": A, "Mixed_5d": A},
    {"Mixed_6a": TO_B, "Mixed_6b": B, "Mixed_6c": B, "Mixed_6d": B, "Mixed_6e": B},
    {"Mixed_7a": TO_C, "Mixed_7b": C, "Mixed_7c": C},
)
FORK = {
    "a": "fork_0/branch_0/conv_0",
    "b": "fork_0/branch_1/conv_0",
}  # ours by the last letter of convolutions inside a fork

TRUNK = {  # ours to torchvision's, in the order of their numbers in Keras
    **{f"stem/conv_{n}": name for n, name in enumerate(STEM)},
    **{
        f"stage_{stage}_block_{block}/branch_{branch}/{FORK.get(name[-1], f'conv_{n}')}": f"{mixed}.{name}"
        for stage, blocks in enumerate(STAGES, 1)
        for block, (mixed, branches) in enumerate(blocks.items())
        for branch, names in enumerate(branches)
        for n, name in enumerate(names)
    },
}
TORCH = (
    *(Rule(f"{ours}/conv", f"{theirs}.conv") for ours, theirs in TRUNK.items()),
    *(Rule(f"{ours}/norm", f"{theirs}.bn") for ours, theirs in TRUNK.items()),
    Rule(r"auxiliary_0/conv_(\d)/conv", "AuxLogits.conv{0}.conv"),
    Rule(r"auxiliary_0/conv_(\d)/norm", "AuxLogits.conv{0}.bn"),
    Rule("auxiliary_0/head", "AuxLogits.fc"),
    Rule("head", "fc"),
)
KERAS = (
    *(Rule(f"{ours}/conv", f"conv2d_{n}") for n, ours in enumerate(TRUNK)),
    *(Rule(f"{ours}/norm", f"batch_normalization_{n}") for n, ours in enumerate(TRUNK)),
    Rule("head", "predictions"),
)

NAMING_SCHEMES = (
    NamingScheme("torchvision", TORCH, fields=({"count_include_pad": True, "epsilon": 1e-3},)),
    NamingScheme("timm", TORCH, fields=({"count_include_pad": True, "epsilon": 1e-3},)),
    NamingScheme(
        "keras",
        KERAS,
        "keras",
        renumbered=("conv2d", "batch_normalization"),
        fields=({"count_include_pad": False, "epsilon": 1e-3},),
    ),
)
