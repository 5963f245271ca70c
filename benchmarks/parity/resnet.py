"""Cases of residual networks: torchvision, timm, Keras and Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.parity.case import Case, Keras, Theirs, Torch, thinner
from components.architecture import resnet

SIDE, THIN = 96, 32  # sides of the images

KERAS = {"version": "v1", "use_bias": True, "momentum": 0.99, "epsilon": 1.001e-5}
KERAS_V2 = KERAS | {"version": "v2", "max_pool": "keras", "downsample": "last"}
LEGACY = {"version": "v1", "max_pool": "caffe"}


def torchvision(name: str) -> Theirs:
    import torchvision

    return Torch(getattr(torchvision.models, name)())


def timm(name: str) -> Theirs:
    import timm

    return Torch(timm.create_model(name))


def keras(name: str) -> Theirs:
    import keras

    model = getattr(keras.applications, name)
    return Keras(model(weights=None, input_shape=(SIDE, SIDE, 3), classifier_activation=None))


def huggingface(**fields: Any) -> Theirs:
    import transformers

    model = transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000, **fields))
    return Torch(model, lambda output: output.logits)


def thin_torchvision() -> Theirs:
    from torchvision.models.resnet import Bottleneck, ResNet

    return Torch(thinner(ResNet(Bottleneck, [1, 1, 1, 1], num_classes=10, groups=2, width_per_group=32), 8))


def thin_senet() -> Theirs:
    from timm.models.senet import SEBottleneck, SENet

    fields = {"downsample_kernel_size": 3, "downsample_padding": 1, "inplanes": 128, "input_3x3": True}
    return Torch(thinner(SENet(SEBottleneck, (1, 1, 1, 1), 8, 16, num_classes=10, **fields), 8))


def thin_keras() -> Theirs:
    from keras.src.applications import resnet as theirs

    def stages(x: Any) -> Any:
        x = theirs.stack_residual_blocks_v2(x, 8, 2, name="conv2")
        return theirs.stack_residual_blocks_v2(x, 16, 2, stride1=1, name="conv3")

    fields = {"weights": None, "classes": 10, "classifier_activation": None}
    return Keras(theirs.ResNet(stages, True, True, input_shape=(THIN, THIN, 3), **fields))


def full(library: str, ours: partial[Any], theirs: Callable[[], Theirs], side: int = SIDE, **fields: Any) -> Case:
    """Returns a case with a side of images at which rounding changes the sign of no input of a ReLU.

    Such a change makes gradients differ by 1e-3, as PyTorch's own do between float32 and float64.
    """
    quiet = r".*bn3\.weight" if ours.keywords.get("reduction") else ""
    return Case(library, partial(ours, outputs=1000, **fields), theirs, side, quiet=quiet)


def thin(library: str, theirs: Callable[[], Theirs], **fields: Any) -> Case:
    ours = partial(resnet.ResNet, block="bottleneck", width=1 / 8, outputs=10, **fields)
    return Case(library, ours, theirs, THIN, thin=True)


CASES = {
    "resnet18/torchvision": full("torchvision", resnet.ResNet18, partial(torchvision, "resnet18"), 128),
    "resnet34/torchvision": full("torchvision", resnet.ResNet34, partial(torchvision, "resnet34")),
    "resnet50/torchvision": full("torchvision", resnet.ResNet50, partial(torchvision, "resnet50")),
    "resnet101/torchvision": full("torchvision", resnet.ResNet101, partial(torchvision, "resnet101"), 64),
    "resnet152/torchvision": full("torchvision", resnet.ResNet152, partial(torchvision, "resnet152"), 80),
    "resnext50/torchvision": full("torchvision", resnet.ResNeXt50, partial(torchvision, "resnext50_32x4d")),
    "resnext101/torchvision": full("torchvision", resnet.ResNeXt101, partial(torchvision, "resnext101_32x8d"), 80),
    "wide_resnet50/torchvision": full("torchvision", resnet.WideResNet50, partial(torchvision, "wide_resnet50_2"), 128),
    "seresnet50/timm": full("timm", resnet.SEResNet50, partial(timm, "seresnet50")),
    "seresnext50/timm": full("timm", resnet.SEResNeXt50, partial(timm, "seresnext50_32x4d")),
    "seresnet50/timm_legacy": full("timm", resnet.SEResNet50, partial(timm, "legacy_seresnet50"), **LEGACY),
    "senet154/timm_legacy": full("timm", resnet.SENet154, partial(timm, "legacy_senet154")),
    "senet154/timm": full("timm", resnet.SENet154, partial(timm, "senet154"), max_pool="torch"),
    "resnet50v2/timm": full("timm", resnet.ResNet50, partial(timm, "resnetv2_50"), 64, version="v2"),
    "resnet50/keras": full("keras", resnet.ResNet50, partial(keras, "ResNet50"), **KERAS),
    "resnet50v2/keras": full("keras", resnet.ResNet50, partial(keras, "ResNet50V2"), **KERAS_V2),
    "resnet50/huggingface": full("huggingface", resnet.ResNet50, huggingface, 64),
    "resnet18/huggingface": full(
        "huggingface",
        resnet.ResNet18,
        partial(huggingface, layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2]),
        64,
    ),
    "resnet_thin/torchvision": thin("torchvision", thin_torchvision, depths=(1, 1, 1, 1), groups=2, group_width=32),
    "resnet_thin/keras": thin("keras", thin_keras, depths=(2, 2), widths=(64, 128), stem=(512,), **KERAS_V2),
    "resnet_thin/timm": thin(
        "timm",
        thin_senet,
        depths=(1, 1, 1, 1),
        stem=(64, 64, 128),
        stem_kernel=3,
        max_pool="caffe",
        projection_kernel=3,
        groups=8,
        group_width=32,
        squeeze_first=True,
        reduction=16,
    ),
}
