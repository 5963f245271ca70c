"""Naming scheme of GoogLeNet: torchvision, for `layout: torchvision, batch_norm: true`.

The published weights need pixels between -1 and 1, as torchvision converts images in its network (`transform_input`).
Their auxiliary classifiers are not trained.
"""

from __future__ import annotations

from components.pretrained.naming import SIGNED, NamingScheme, Rule

LETTERS = ("ab", "abcde", "ab")  # last letters of the names of the modules of each stage
BRANCHES = {  # our branch and convolution: their branch and convolution
    "0_conv_0": "1",
    "1_conv_0": "2.0",
    "1_conv_1": "2.1",
    "2_conv_0": "3.0",
    "2_conv_1": "3.1",
    "3_conv_0": "4.1",
}
LAYERS = {"conv": "conv", "norm": "bn"}

CONVOLUTIONS = {
    **{f"stem_conv_{n}": f"conv{n + 1}" for n in range(3)},
    **{f"auxiliary_{n}/conv": f"aux{n + 1}.conv" for n in range(2)},
    **{
        f"stage_{stage}_block_{block}/branch_{ours}": f"inception{stage + 2}{letter}.branch{theirs}"
        for stage, letters in enumerate(LETTERS, 1)
        for block, letter in enumerate(letters)
        for ours, theirs in BRANCHES.items()
    },
}

NAMING_SCHEMES = (
    NamingScheme(
        "torchvision",
        (
            *(
                Rule(f"{ours}/{our_layer}", f"{theirs}.{their_layer}")
                for ours, theirs in CONVOLUTIONS.items()
                for our_layer, their_layer in LAYERS.items()
            ),
            Rule(r"auxiliary_(\d)/dense", "aux{0:+1}.fc1", flattened_conv="auxiliary_{0}/conv/conv"),
            Rule(r"auxiliary_(\d)/head", "aux{0:+1}.fc2"),
            Rule("head", "fc"),
        ),
        required_fields=({"layout": "torchvision", "batch_norm": True, "epsilon": 1e-3},),
        image=SIGNED,
    ),
)
