"""Naming schemes of MobileNets and EfficientNets.

Some libraries number the blocks of each stage from 0. Others number all blocks of a network together, so their schemes
depend on the number of blocks of each stage.
"""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from components.pretrained.naming import IMAGENET, PUBLISHED_SIDE, SIGNED, Framework, NamingScheme, Rule

Layers: TypeAlias = Mapping[str, str]
"""{our module: names of its layers in the library}. A `#` stands for their path of the block.

A space separates two names: those of convolution and normalization, or of the two layers of squeeze and excitation.
"""

Blocks: TypeAlias = Sequence[tuple[str, str]]
"""(our path, their path) of the blocks of each stage. Our path is a regular expression."""

V1 = (1, 2, 2, 6, 2)  # number of blocks of each stage; V2 to B0 likewise
V2 = (1, 2, 3, 4, 3, 3, 1)
V3 = (1, 2, 3, 4, 2, 3)
V3_SMALL = (1, 2, 3, 2, 3)
B0 = (1, 2, 2, 3, 3, 4, 1)
EFFICIENTNETS = [[math.ceil(n * depth) for n in B0] for depth in (1.0, 1.1, 1.2, 1.4, 1.8)]  # B0 to B4
STAGE = r"stage_{}_block_(\d+)/"
FIRST_STAGE, ANY_STAGE = STAGE.format(1), STAGE.format(r"(\d+)")

SAME = {"padding": "SAME", "epsilon": 1e-3}  # as in TensorFlow
SYMMETRIC = {"padding": "symmetric", "epsilon": 1e-5}

SIDES = {1.1: 240, 1.2: 260, 1.4: 300, 1.8: 380}  # of the images, by the `depth` of B1 to B4


def choose_side(network: Any) -> int:
    """Returns the side of the images of the published evaluation."""
    return SIDES.get(network.depth, PUBLISHED_SIDE)


def _make_scheme(
    library: str,
    outer: Layers,
    *inner: tuple[Layers, Blocks],
    required_fields: tuple[Mapping[str, Any], ...] = (SAME,),
    ignored: str = r".*\.num_batches_tracked",
    image: Mapping[str, Any] = IMAGENET,
) -> NamingScheme:
    """Returns a scheme from the layers outside of blocks (`outer`) and inside of blocks (`inner`)."""
    rules = [rule for layers, blocks in ((outer, [("", "")]), *inner) for rule in _make_rules(layers, blocks)]
    framework: Framework = "keras" if library == "keras" else "torch"
    return NamingScheme(
        library, tuple(rules), framework, ignored, required_fields=required_fields, image=image, side=choose_side
    )


def _make_rules(layers: Layers, blocks: Blocks) -> Iterable[Rule]:
    """Yields a rule for each layer in each block."""
    for (our_block, their_block), (module, names) in itertools.product(blocks, layers.items()):
        their_layers = names.replace("#", their_block).split()
        our_layers = ["/squeeze", "/excite"] if module == "excitation" else ["/conv", "/norm"]
        if len(their_layers) == 1:
            our_layers = [""]
        for ours, theirs in zip(our_layers, their_layers, strict=True):
            yield Rule(f"{our_block}{module}{ours}", theirs)


def _number_blocks(name: str, depths: Sequence[int], first: int) -> Blocks:
    """Returns the blocks of each stage with numbers through all stages, from `first`. A `#` stands for the number."""
    starts = itertools.accumulate(depths[:-1], initial=first)
    return [(STAGE.format(n), name.replace("#", f"{{0:{start:+d}}}")) for n, start in enumerate(starts, 1)]


def _make_torchvision_scheme(blocks: Blocks, excited: Sequence[int], outer: Layers, epsilon: float) -> NamingScheme:
    """Returns the scheme of MobileNet-v3 or EfficientNet in torchvision, which numbers the modules of a block.

    Args:
        blocks: the blocks of each stage.
        excited: stages with squeeze and excitation, counted from 1.
        outer: layers outside of blocks, except the stem.
        epsilon: of batch normalization.
    """
    inner: list[tuple[Layers, Blocks]] = []
    for n, block in enumerate(blocks, 1):
        present = {"expand": n > 1, "depthwise": True, "excitation": n in excited, "project": True}
        for m, module in enumerate(module for module in present if present[module]):
            names = f"#.{m}.fc1 #.{m}.fc2" if module == "excitation" else f"#.{m}.0 #.{m}.1"
            inner.append(({module: names}, [block]))
    layers = {"stem": "features.0.0 features.0.1", **outer}
    return _make_scheme("torchvision", layers, *inner, required_fields=({**SYMMETRIC, "epsilon": epsilon},))


def _make_huggingface_v1_scheme() -> NamingScheme:
    """Returns the scheme of MobileNet-v1 in Hugging Face: even numbers for depthwise, odd for 1 x 1 convolutions."""
    blocks = [f"stage_{n}_block_{m}/" for n, depth in enumerate(V1, 1) for m in range(depth)]
    inner: list[tuple[Layers, Blocks]] = []
    for (n, block), (m, module) in itertools.product(enumerate(blocks), enumerate(("depthwise", "project"))):
        inner.append(({module: "#.convolution #.normalization"}, [(block, f"mobilenet_v1.layer.{2 * n + m}")]))
    stem = "mobilenet_v1.conv_stem.convolution mobilenet_v1.conv_stem.normalization"
    return _make_scheme("huggingface", {"stem": stem, "head": "classifier"}, *inner, image=SIGNED)


TORCHVISION_V2 = _number_blocks("features.#.conv", V2, 1)
TORCHVISION_DENSE = {"dense": "classifier.0", "head": "classifier.3"}
TORCHVISION = (
    _make_scheme(
        "torchvision",
        {"stem": "features.0.0 features.0.1", "top": "features.18.0 features.18.1", "head": "classifier.1"},
        ({"depthwise": "#.0.0 #.0.1", "project": "#.1 #.2"}, TORCHVISION_V2[:1]),
        ({"expand": "#.0.0 #.0.1", "depthwise": "#.1.0 #.1.1", "project": "#.2 #.3"}, TORCHVISION_V2[1:]),
        required_fields=(SYMMETRIC,),
    ),
    _make_torchvision_scheme(
        _number_blocks("features.#.block", V3, 1),
        (3, 5, 6),
        {"top": "features.16.0 features.16.1", **TORCHVISION_DENSE},
        1e-3,
    ),
    _make_torchvision_scheme(
        _number_blocks("features.#.block", V3_SMALL, 1),
        (1, 3, 4, 5),
        {"top": "features.12.0 features.12.1", **TORCHVISION_DENSE},
        1e-3,
    ),
    _make_torchvision_scheme(
        [(STAGE.format(n), f"features.{n}.{{0}}.block") for n in range(1, 8)],
        range(1, 8),
        {"top": "features.8.0 features.8.1", "head": "classifier.1"},
        1e-5,
    ),
)

TIMM_EXCITATION = {"excitation": "#.se.conv_reduce #.se.conv_expand"}
TIMM_SEPARABLE = {"depthwise": "#.conv_dw #.bn1", "project": "#.conv_pw #.bn2", **TIMM_EXCITATION}
TIMM_INVERTED = {"expand": "#.conv_pw #.bn1", "depthwise": "#.conv_dw #.bn2", "project": "#.conv_pwl #.bn3"}
TIMM_INNER = (
    (TIMM_SEPARABLE, [(FIRST_STAGE, "blocks.0.{0}")]),
    (TIMM_INVERTED | TIMM_EXCITATION, [(ANY_STAGE, "blocks.{0:-1}.{1}")]),
)
TIMM_OUTER = {"stem": "conv_stem bn1", "head": "classifier"}
# The top has the number after those of the stages: v3 has six stages, v3 small has five.
TIMM_V3_LAST = tuple({"top": f"blocks.{n}.0.conv blocks.{n}.0.bn1", "dense": "conv_head"} for n in (6, 5))
# Most models have symmetric padding. Models named `tf_…` have the padding of TensorFlow: set `padding=SAME` for them.
TIMM = tuple(
    _make_scheme("timm", TIMM_OUTER | last, *inner, required_fields=(SYMMETRIC, SAME), image=image)
    for last, inner, image in (
        ({}, ((TIMM_SEPARABLE, [(ANY_STAGE, "blocks.{0:-1}.{1}")]),), SIGNED),
        ({"top": "conv_head bn2"}, TIMM_INNER, IMAGENET),
        *((last, TIMM_INNER, IMAGENET) for last in TIMM_V3_LAST),
    )
)

KERAS_V2 = {part: f"#_{part} #_{part}_BN" for part in ("expand", "depthwise", "project")}
KERAS_V3 = {part: f"#_{part} #_{part}_bn" for part in ("expand", "depthwise", "project")} | {
    "excitation": "#_squeeze_excite_conv #_squeeze_excite_conv_1"
}
KERAS_V3_OUTER = {"stem": "conv conv_bn", "top": "conv_1 conv_1_bn", "dense": "conv_2", "head": "logits"}
KERAS_EFFICIENTNET = {
    "expand": "#_expand_conv #_expand_bn",
    "depthwise": "#_dwconv #_bn",
    "excitation": "#_se_reduce #_se_expand",
    "project": "#_project_conv #_project_bn",
}
LETTERS = enumerate(string.ascii_lowercase[: max(map(max, EFFICIENTNETS))])
KERAS_FIRST = [(FIRST_STAGE, "expanded_conv")]
KERAS = (
    _make_scheme(
        "keras",
        {"stem": "conv1 conv1_bn", "head": "conv_preds"},
        ({"depthwise": "conv_dw_# conv_dw_#_bn", "project": "conv_pw_# conv_pw_#_bn"}, _number_blocks("#", V1, 1)),
        image=SIGNED,
    ),
    _make_scheme(
        "keras",
        {"stem": "Conv1 bn_Conv1", "top": "Conv_1 Conv_1_bn", "head": "predictions"},
        (KERAS_V2, [*KERAS_FIRST, *_number_blocks("block_#", V2, 0)[1:]]),
        image=SIGNED,
    ),
    *(
        _make_scheme(
            "keras",
            KERAS_V3_OUTER,
            (KERAS_V3, [*KERAS_FIRST, *_number_blocks("expanded_conv_#", depths, 0)[1:]]),
            image=SIGNED,
        )
        for depths in (V3, V3_SMALL)
    ),
    _make_scheme(
        "keras",
        {"stem": "stem_conv stem_bn", "top": "top_conv top_bn", "head": "predictions"},
        (KERAS_EFFICIENTNET, [(rf"stage_(\d+)_block_{n}/", f"block{{0}}{letter}") for n, letter in LETTERS]),
        ignored=r"normalization(_\d+)?/.*",
    ),
)

HUGGINGFACE_V2 = {
    "expand": "#.expand_1x1.convolution #.expand_1x1.normalization",
    "depthwise": "#.conv_3x3.convolution #.conv_3x3.normalization",
    "project": "#.reduce_1x1.convolution #.reduce_1x1.normalization",
}
HUGGINGFACE_EFFICIENTNET = {
    "expand": "#.expansion.expand_conv #.expansion.expand_bn",
    "depthwise": "#.depthwise_conv.depthwise_conv #.depthwise_conv.depthwise_norm",
    "excitation": "#.squeeze_excite.reduce #.squeeze_excite.expand",
    "project": "#.projection.project_conv #.projection.project_bn",
}
HUGGINGFACE = (
    _make_huggingface_v1_scheme(),
    _make_scheme(
        "huggingface",
        {
            "stem": "mobilenet_v2.conv_stem.first_conv.convolution mobilenet_v2.conv_stem.first_conv.normalization",
            "top": "mobilenet_v2.conv_1x1.convolution mobilenet_v2.conv_1x1.normalization",
            "head": "classifier",
        },
        (
            HUGGINGFACE_V2,
            [(FIRST_STAGE, "mobilenet_v2.conv_stem"), *_number_blocks("mobilenet_v2.layer.#", V2, -1)[1:]],
        ),
        image=SIGNED,
    ),
    *(
        _make_scheme(
            "huggingface",
            {
                "stem": "efficientnet.embeddings.convolution efficientnet.embeddings.batchnorm",
                "top": "efficientnet.encoder.top_conv efficientnet.encoder.top_bn",
                "head": "classifier",
            },
            (HUGGINGFACE_EFFICIENTNET, _number_blocks("efficientnet.encoder.blocks.#", depths, 0)),
        )
        for depths in EFFICIENTNETS
    ),
)

NAMING_SCHEMES = (*TORCHVISION, *TIMM, *KERAS, *HUGGINGFACE)
