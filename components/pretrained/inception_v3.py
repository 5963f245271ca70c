"""Naming schemes of Inception-v3. The published weights of all libraries need pixels between -1 and 1."""

from __future__ import annotations

from collections.abc import Mapping

from components.pretrained.naming import SIGNED, NamingScheme, Rule


def _add_suffixes(branch: str, *suffixes: int | str) -> tuple[str, ...]:
    """Returns torchvision's names of the convolutions of a branch."""
    return tuple(f"{branch}_{suffix}" for suffix in suffixes)


STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
ONE, POOL = ("branch1x1",), ("branch_pool",)
BLOCK_1 = (ONE, _add_suffixes("branch5x5", 1, 2), _add_suffixes("branch3x3dbl", 1, 2, 3), POOL)
BLOCK_2 = (ONE, _add_suffixes("branch7x7", 1, 2, 3), _add_suffixes("branch7x7dbl", 1, 2, 3, 4, 5), POOL)
BLOCK_3 = (ONE, _add_suffixes("branch3x3", 1, "2a", "2b"), _add_suffixes("branch3x3dbl", 1, 2, "3a", "3b"), POOL)
REDUCTION_2 = (("branch3x3",), _add_suffixes("branch3x3dbl", 1, 2, 3))
REDUCTION_3 = (_add_suffixes("branch3x3", 1, 2), _add_suffixes("branch7x7x3", 1, 2, 3, 4))
STAGES: tuple[Mapping[str, tuple[tuple[str, ...], ...]], ...] = (
    {"Mixed_5b": BLOCK_1, "Mixed_5c": BLOCK_1, "Mixed_5d": BLOCK_1},
    {"Mixed_6a": REDUCTION_2, "Mixed_6b": BLOCK_2, "Mixed_6c": BLOCK_2, "Mixed_6d": BLOCK_2, "Mixed_6e": BLOCK_2},
    {"Mixed_7a": REDUCTION_3, "Mixed_7b": BLOCK_3, "Mixed_7c": BLOCK_3},
)
FORK = {"a": "fork_0/branch_0/conv_0", "b": "fork_0/branch_1/conv_0"}  # ours, by the last letter of theirs

CONVOLUTIONS = {  # {ours: torchvision's}, in the order of the numbers in Keras
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
    *(Rule(f"{ours}/conv", f"{theirs}.conv") for ours, theirs in CONVOLUTIONS.items()),
    *(Rule(f"{ours}/norm", f"{theirs}.bn") for ours, theirs in CONVOLUTIONS.items()),
    Rule(r"auxiliary_0/conv_(\d)/conv", "AuxLogits.conv{0}.conv"),
    Rule(r"auxiliary_0/conv_(\d)/norm", "AuxLogits.conv{0}.bn"),
    Rule("auxiliary_0/head", "AuxLogits.fc"),
    Rule("head", "fc"),
)
KERAS = (
    *(Rule(f"{ours}/conv", f"conv2d_{n}") for n, ours in enumerate(CONVOLUTIONS)),
    *(Rule(f"{ours}/norm", f"batch_normalization_{n}") for n, ours in enumerate(CONVOLUTIONS)),
    Rule("head", "predictions"),
)

SIDE = 299
TORCH_FIELDS = {"count_include_pad": True, "use_scale": True, "epsilon": 1e-3}

NAMING_SCHEMES = (
    *(
        NamingScheme(library, TORCH, required_fields=(TORCH_FIELDS,), image=SIGNED, side=SIDE)
        for library in ("torchvision", "timm")
    ),
    NamingScheme(
        "keras",
        KERAS,
        "keras",
        numbered_per_session=("conv2d", "batch_normalization"),
        required_fields=({"count_include_pad": False, "use_scale": False, "epsilon": 1e-3},),
        image=SIGNED,
        side=SIDE,
    ),
)
