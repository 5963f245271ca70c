"""Naming schemes of ConvNeXt."""

from components.pretrained.naming import IMAGENET, NamingScheme, Rule

BLOCK = r"stage_(\d+)_block_(\d+)"  # stages are counted from 1, blocks from 0
FIELDS = ({"epsilon": 1e-6},)
DEPTHS = {  # number of blocks of each stage, by the variant's name in Keras
    "tiny": (3, 3, 9, 3),
    "small": (3, 3, 27, 3),
    "base": (3, 3, 27, 3),
}


def _make_torchvision_scheme() -> NamingScheme:
    """Returns the scheme of torchvision, which has common numbers for stages and for the layers between stages."""
    rules = [
        Rule("stem", "features.0.0"),
        Rule("stem_norm", "features.0.1"),
        Rule("norm", "classifier.0"),
        Rule("head", "classifier.2"),
    ]
    for n in range(1, 5):
        block, theirs = rf"stage_{n}_block_(\d+)", f"features.{2 * n - 1}.{{0}}"
        layers = {"/depthwise": ".block.0", "/norm": ".block.2", "/expand": ".block.3", "/project": ".block.5", "": ""}
        rules += [Rule(block + ours, theirs + name) for ours, name in layers.items()]
        rules += [Rule(f"stage_{n}_norm", f"features.{2 * n - 2}.0")]
        rules += [Rule(f"stage_{n}_downsample", f"features.{2 * n - 2}.1")]
    return NamingScheme("torchvision", tuple(rules), required_fields=FIELDS, image=IMAGENET)


def _make_keras_scheme(variant: str) -> NamingScheme:
    """Returns the scheme of Keras for the first model of a session; layer scales are numbered through all blocks."""
    name = f"convnext_{variant}"
    blocks = [(n, m) for n, depth in enumerate(DEPTHS[variant]) for m in range(depth)]
    block = f"{name}_stage_{{0:-1}}_block_{{1}}"
    rules = [
        Rule("stem", f"{name}_stem/{name}_stem_conv"),
        Rule("stem_norm", f"{name}_stem/{name}_stem_layernorm"),
        Rule(r"stage_(\d+)_norm", f"{name}_downsampling_block_{{0:-2}}/{name}_downsampling_layernorm_{{0:-2}}"),
        Rule(r"stage_(\d+)_downsample", f"{name}_downsampling_block_{{0:-2}}/{name}_downsampling_conv_{{0:-2}}"),
        Rule(f"{BLOCK}/depthwise", f"{block}_depthwise_conv"),
        Rule(f"{BLOCK}/norm", f"{block}_layernorm"),
        Rule(f"{BLOCK}/expand", f"{block}_pointwise_conv_1"),
        Rule(f"{BLOCK}/project", f"{block}_pointwise_conv_2"),
        Rule("norm", f"{name}_head_layernorm"),
        Rule("head", f"{name}_head_dense"),
    ]
    for number, (n, m) in enumerate(blocks):
        leaves = (("layer_scale", f"variable_{number}" if number else "variable"),)
        rules.append(Rule(f"stage_{n + 1}_block_{m}", f"{name}_stage_{n}_block_{m}_layer_scale", leaves=leaves))
    return NamingScheme("keras", tuple(rules), "keras", required_fields=FIELDS, image=IMAGENET)


TIMM = (
    Rule("stem", "stem.0"),
    Rule("stem_norm", "stem.1"),
    Rule(r"stage_(\d+)_norm", "stages.{0:-1}.downsample.0"),
    Rule(r"stage_(\d+)_downsample", "stages.{0:-1}.downsample.1"),
    Rule(f"{BLOCK}/depthwise", "stages.{0:-1}.blocks.{1}.conv_dw"),
    Rule(f"{BLOCK}/norm", "stages.{0:-1}.blocks.{1}.norm"),
    Rule(f"{BLOCK}/expand", "stages.{0:-1}.blocks.{1}.mlp.fc1"),
    Rule(f"{BLOCK}/project", "stages.{0:-1}.blocks.{1}.mlp.fc2"),
    Rule(BLOCK, "stages.{0:-1}.blocks.{1}", leaves=(("layer_scale", "gamma"),)),
    Rule("norm", "head.norm"),
    Rule("head", "head.fc"),
)
HUGGINGFACE = (
    Rule("stem", "convnext.embeddings.patch_embeddings"),
    Rule("stem_norm", "convnext.embeddings.layernorm"),
    Rule(r"stage_(\d+)_norm", "convnext.encoder.stages.{0:-1}.downsampling_layer.0"),
    Rule(r"stage_(\d+)_downsample", "convnext.encoder.stages.{0:-1}.downsampling_layer.1"),
    Rule(f"{BLOCK}/depthwise", "convnext.encoder.stages.{0:-1}.layers.{1}.dwconv"),
    Rule(f"{BLOCK}/norm", "convnext.encoder.stages.{0:-1}.layers.{1}.layernorm"),
    Rule(f"{BLOCK}/expand", "convnext.encoder.stages.{0:-1}.layers.{1}.pwconv1"),
    Rule(f"{BLOCK}/project", "convnext.encoder.stages.{0:-1}.layers.{1}.pwconv2"),
    Rule(BLOCK, "convnext.encoder.stages.{0:-1}.layers.{1}", leaves=(("layer_scale", "layer_scale_parameter"),)),
    Rule("norm", "convnext.layernorm"),
    Rule("head", "classifier"),
)

NAMING_SCHEMES = (
    _make_torchvision_scheme(),
    NamingScheme("timm", TIMM, required_fields=FIELDS, image=IMAGENET),
    *(_make_keras_scheme(variant) for variant in DEPTHS),
    NamingScheme("huggingface", HUGGINGFACE, required_fields=FIELDS, image=IMAGENET),
)
