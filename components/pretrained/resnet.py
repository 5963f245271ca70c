"""Naming schemes of residual networks."""

from __future__ import annotations

from components.pretrained.naming import CAFFE, IMAGENET, SIGNED, NamingScheme, Rule

BLOCK = r"stage_(\d+)_block_(\d+)"  # stages are counted from 1, blocks from 0

# `max_pool` is the kind of padding; in v1, that of Keras has the same result as that of PyTorch. `downsample` is the
# block of a stage that has the stride.
TORCH_FIELDS = {"version": "v1.5", "max_pool": "torch", "downsample": "first", "epsilon": 1e-5}
# Networks for images of 32 x 32 pixels have no max-pooling; their files have torchvision's names.
TORCH_ALTERNATIVES = (TORCH_FIELDS, TORCH_FIELDS | {"max_pool": None})
LEGACY_FIELDS = TORCH_FIELDS | {"max_pool": "caffe"}
KERAS_FIELDS = TORCH_FIELDS | {"version": "v1", "use_bias": True, "epsilon": 1.001e-5}
KERAS_V2_FIELDS = KERAS_FIELDS | {"version": "v2", "max_pool": "keras", "downsample": "last"}

TORCHVISION = (
    Rule(r"stem_0/conv", "conv1"),
    Rule(r"stem_0/norm", "bn1"),
    Rule(rf"{BLOCK}/conv_(\d)/conv", "layer{0}.{1}.conv{2:+1}"),
    Rule(rf"{BLOCK}/conv_(\d)/norm", "layer{0}.{1}.bn{2:+1}"),
    Rule(rf"{BLOCK}/shortcut/conv", "layer{0}.{1}.downsample.0"),
    Rule(rf"{BLOCK}/shortcut/norm", "layer{0}.{1}.downsample.1"),
    Rule(r"head", "fc"),
)
TIMM = (
    *TORCHVISION,
    Rule(rf"{BLOCK}/excitation/squeeze", "layer{0}.{1}.se.fc1"),
    Rule(rf"{BLOCK}/excitation/excite", "layer{0}.{1}.se.fc2"),
)
TIMM_DEEP = (  # with a stem of three convolutions
    Rule(r"stem_0/conv", "conv1.0"),
    Rule(r"stem_0/norm", "conv1.1"),
    Rule(r"stem_1/conv", "conv1.3"),
    Rule(r"stem_1/norm", "conv1.4"),
    Rule(r"stem_2/conv", "conv1.6"),
    Rule(r"stem_2/norm", "bn1"),
    *TIMM,
)
# Only for bottlenecks: in these models, basic blocks have a ReLU before squeeze and excitation, which ours lack.
TIMM_LEGACY = (
    Rule(r"stem_0/conv", "layer0.conv1"),
    Rule(r"stem_0/norm", "layer0.bn1"),
    Rule(rf"{BLOCK}/excitation/squeeze", "layer{0}.{1}.se_module.fc1"),
    Rule(rf"{BLOCK}/excitation/excite", "layer{0}.{1}.se_module.fc2"),
    Rule(r"head", "last_linear"),
    *TORCHVISION,
)
TIMM_LEGACY_DEEP = (
    Rule(r"stem_(\d)/conv", "layer0.conv{0:+1}"),
    Rule(r"stem_(\d)/norm", "layer0.bn{0:+1}"),
    *TIMM_LEGACY,
)
# In v2, a convolution without normalization after it has no `/conv` in its path.
TIMM_V2 = (
    Rule(r"stem_0", "stem.conv"),
    Rule(rf"{BLOCK}/norm", "stages.{0:-1}.blocks.{1}.norm1"),
    Rule(rf"{BLOCK}/conv_(\d)(?:/conv)?", "stages.{0:-1}.blocks.{1}.conv{2:+1}"),
    Rule(rf"{BLOCK}/conv_(\d)/norm", "stages.{0:-1}.blocks.{1}.norm{2:+2}"),
    Rule(rf"{BLOCK}/shortcut", "stages.{0:-1}.blocks.{1}.downsample.conv"),
    Rule(r"norm", "norm"),
    Rule(r"head", "head.fc"),
)
KERAS = (
    Rule(r"stem_0/conv", "conv1_conv"),
    Rule(r"stem_0/norm", "conv1_bn"),
    Rule(rf"{BLOCK}/conv_(\d)/conv", "conv{0:+1}_block{1:+1}_{2:+1}_conv"),
    Rule(rf"{BLOCK}/conv_(\d)/norm", "conv{0:+1}_block{1:+1}_{2:+1}_bn"),
    Rule(rf"{BLOCK}/shortcut/conv", "conv{0:+1}_block{1:+1}_0_conv"),
    Rule(rf"{BLOCK}/shortcut/norm", "conv{0:+1}_block{1:+1}_0_bn"),
    Rule(r"head", "predictions"),
)
KERAS_V2 = (  # for the optional `/conv` see TIMM_V2
    Rule(r"stem_0", "conv1_conv"),
    Rule(rf"{BLOCK}/norm", "conv{0:+1}_block{1:+1}_preact_bn"),
    Rule(rf"{BLOCK}/conv_(\d)(?:/conv)?", "conv{0:+1}_block{1:+1}_{2:+1}_conv"),
    Rule(rf"{BLOCK}/conv_(\d)/norm", "conv{0:+1}_block{1:+1}_{2:+1}_bn"),
    Rule(rf"{BLOCK}/shortcut", "conv{0:+1}_block{1:+1}_0_conv"),
    Rule(r"norm", "post_bn"),
    Rule(r"head", "predictions"),
)
HUGGINGFACE = (
    Rule(r"stem_0/conv", "resnet.embedder.embedder.convolution"),
    Rule(r"stem_0/norm", "resnet.embedder.embedder.normalization"),
    Rule(rf"{BLOCK}/conv_(\d)/conv", "resnet.encoder.stages.{0:-1}.layers.{1}.layer.{2}.convolution"),
    Rule(rf"{BLOCK}/conv_(\d)/norm", "resnet.encoder.stages.{0:-1}.layers.{1}.layer.{2}.normalization"),
    Rule(rf"{BLOCK}/shortcut/conv", "resnet.encoder.stages.{0:-1}.layers.{1}.shortcut.convolution"),
    Rule(rf"{BLOCK}/shortcut/norm", "resnet.encoder.stages.{0:-1}.layers.{1}.shortcut.normalization"),
    Rule(r"head", "classifier.1"),
)

NAMING_SCHEMES = (
    NamingScheme("torchvision", TORCHVISION, required_fields=TORCH_ALTERNATIVES, image=IMAGENET),
    NamingScheme("timm", TIMM, required_fields=TORCH_ALTERNATIVES, image=IMAGENET),
    NamingScheme("timm", TIMM_DEEP, required_fields=(TORCH_FIELDS,), image=IMAGENET),
    NamingScheme(
        "timm",
        TIMM_LEGACY,
        required_fields=(LEGACY_FIELDS | {"version": "v1", "block": "bottleneck"},),
        image=IMAGENET,
    ),
    NamingScheme("timm", TIMM_LEGACY_DEEP, required_fields=(LEGACY_FIELDS,), image=IMAGENET),
    NamingScheme("timm", TIMM_V2, required_fields=(TORCH_FIELDS | {"version": "v2"},), image=SIGNED),
    NamingScheme("keras", KERAS, "keras", required_fields=(KERAS_FIELDS,), image=CAFFE),
    NamingScheme("keras", KERAS_V2, "keras", required_fields=(KERAS_V2_FIELDS,), image=SIGNED),
    NamingScheme("huggingface", HUGGINGFACE, required_fields=(TORCH_FIELDS,), image=IMAGENET),
)
