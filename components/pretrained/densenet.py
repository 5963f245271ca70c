"""Naming schemes of DenseNet."""

from components.pretrained.naming import IMAGENET, NamingScheme, Rule

TORCH = (
    Rule("stem/conv", "features.conv0"),
    Rule("stem/norm", "features.norm0"),
    Rule(r"stage_(\d+)_block_(\d+)/conv_(\d)/(conv|norm)", "features.denseblock{0}.denselayer{1:+1}.{3}{2:+1}"),
    Rule(r"transition_(\d+)/(conv|norm)", "features.transition{0}.{1}"),
    Rule("norm", "features.norm5"),
    Rule("head", "classifier"),
)
KERAS = (
    Rule("stem/conv", "conv1_conv"),
    Rule("stem/norm", "conv1_bn"),
    Rule(r"stage_(\d+)_block_(\d+)/conv_(\d)/conv", "conv{0:+1}_block{1:+1}_{2:+1}_conv"),
    Rule(r"stage_(\d+)_block_(\d+)/conv_(\d)/norm", "conv{0:+1}_block{1:+1}_{2}_bn"),
    Rule(r"transition_(\d+)/conv", "pool{0:+1}_conv"),
    Rule(r"transition_(\d+)/norm", "pool{0:+1}_bn"),
    Rule("norm", "bn"),
    Rule("head", "predictions"),
)

NAMING_SCHEMES = (
    NamingScheme("torchvision", TORCH, required_fields=({"epsilon": 1e-5},), image=IMAGENET),
    NamingScheme("timm", TORCH, required_fields=({"epsilon": 1e-5},), image=IMAGENET),
    NamingScheme("keras", KERAS, framework="keras", required_fields=({"epsilon": 1.001e-5},), image=IMAGENET),
)
