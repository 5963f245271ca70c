"""Naming schemes of VGG."""

from __future__ import annotations

from components.pretrained.naming import CAFFE, IMAGENET, NamingScheme, Rule

DEPTHS = ((1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4))  # convolutions of each stage
DENSE = {  # names of the three dense layers
    "torchvision": ("classifier.0", "classifier.3", "classifier.6"),
    "timm": ("pre_logits.fc1", "pre_logits.fc2", "head.fc"),
}


def _make_torch_scheme(library: str, depths: tuple[int, ...], *, batch_norm: bool) -> NamingScheme:
    """Returns the scheme of a library of PyTorch. Its numbers of layers count ReLU and pooling too."""
    rules, number = [], 0
    for stage, depth in enumerate(depths, start=1):
        for n in range(depth):
            rules.append(Rule(f"stage_{stage}_conv_{n}", f"features.{number}"))
            if batch_norm:
                rules.append(Rule(f"stage_{stage}_norm_{n}", f"features.{number + 1}"))
            number += 3 if batch_norm else 2
        number += 1
    first, second, head = DENSE[library]
    # Any convolution of the last stage has the right number of channels. Every variant has the first one.
    dense = (Rule("dense_0", first, flattened_conv="stage_5_conv_0"), Rule("dense_1", second), Rule("head", head))
    fields = {"batch_norm": batch_norm} | ({"epsilon": 1e-5} if batch_norm else {})
    return NamingScheme(library, (*rules, *dense), required_fields=(fields,), image=IMAGENET)


KERAS = NamingScheme(
    "keras",
    (
        Rule(r"stage_(\d)_conv_(\d)", "block{0}_conv{1:+1}"),
        Rule("dense_0", "fc1"),
        Rule("dense_1", "fc2"),
        Rule("head", "predictions"),
    ),
    framework="keras",
    required_fields=({"batch_norm": False},),
    image=CAFFE,
)

NAMING_SCHEMES = (
    *(
        _make_torch_scheme(library, depths, batch_norm=norm)
        for library in DENSE
        for depths in DEPTHS
        for norm in (False, True)
    ),
    KERAS,
)
