"""Cases of residual networks: torchvision, timm, Keras and Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.parity.case import Case, KerasModel, OtherModel, TorchModel, reduce_channels
from components.architecture import resnet

SIDE, THIN_SIDE = 96, 32

# Fields of our architecture, as in the other libraries.
KERAS = {"version": "v1", "use_bias": True, "momentum": 0.99, "epsilon": 1.001e-5}
KERAS_V2 = KERAS | {"version": "v2", "max_pool": "keras", "downsample": "last"}
LEGACY = {"version": "v1", "max_pool": "caffe"}


def build_torchvision(name: str) -> OtherModel:
    import torchvision

    return TorchModel(getattr(torchvision.models, name)())


def build_timm(name: str) -> OtherModel:
    import timm

    return TorchModel(timm.create_model(name))


def build_keras(name: str) -> OtherModel:
    import keras

    build = getattr(keras.applications, name)
    return KerasModel(build(weights=None, input_shape=(SIDE, SIDE, 3), classifier_activation=None))


def build_huggingface(**fields: Any) -> OtherModel:
    import transformers

    model = transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000, **fields))
    return TorchModel(model, lambda output: output.logits)


def build_thin_torchvision() -> OtherModel:
    from torchvision.models.resnet import Bottleneck, ResNet

    return TorchModel(
        reduce_channels(ResNet(Bottleneck, [1, 1, 1, 1], num_classes=10, groups=2, width_per_group=32), 8)
    )


def build_thin_senet() -> OtherModel:
    from timm.models.senet import SEBottleneck, SENet

    fields = {"downsample_kernel_size": 3, "downsample_padding": 1, "inplanes": 128, "input_3x3": True}
    return TorchModel(reduce_channels(SENet(SEBottleneck, (1, 1, 1, 1), 8, 16, num_classes=10, **fields), 8))


def build_thin_keras() -> OtherModel:
    from keras.src.applications import resnet as keras_resnet

    def stages(x: Any) -> Any:
        x = keras_resnet.stack_residual_blocks_v2(x, 8, 2, name="conv2")
        return keras_resnet.stack_residual_blocks_v2(x, 16, 2, stride1=1, name="conv3")

    fields = {"weights": None, "classes": 10, "classifier_activation": None}
    return KerasModel(keras_resnet.ResNet(stages, True, True, input_shape=(THIN_SIDE, THIN_SIDE, 3), **fields))


def full_case(
    library: str, architecture: partial[Any], build_theirs: Callable[[], OtherModel], side: int = SIDE, **fields: Any
) -> Case:
    has_squeeze_excite = architecture.keywords.get("reduction")
    damped = r".*bn3\.weight" if has_squeeze_excite else ""
    return Case(library, partial(architecture, outputs=1000, **fields), build_theirs, side, damped=damped)


def thin_case(library: str, build_theirs: Callable[[], OtherModel], **fields: Any) -> Case:
    ours = partial(resnet.ResNet, block="bottleneck", width=1 / 8, outputs=10, **fields)
    return Case(library, ours, build_theirs, THIN_SIDE, is_thin=True)


CASES = {
    "resnet18/torchvision": full_case("torchvision", resnet.ResNet18, partial(build_torchvision, "resnet18"), 128),
    "resnet34/torchvision": full_case("torchvision", resnet.ResNet34, partial(build_torchvision, "resnet34")),
    "resnet50/torchvision": full_case("torchvision", resnet.ResNet50, partial(build_torchvision, "resnet50")),
    "resnet101/torchvision": full_case("torchvision", resnet.ResNet101, partial(build_torchvision, "resnet101"), 64),
    "resnet152/torchvision": full_case("torchvision", resnet.ResNet152, partial(build_torchvision, "resnet152"), 80),
    "resnext50/torchvision": full_case("torchvision", resnet.ResNeXt50, partial(build_torchvision, "resnext50_32x4d")),
    "resnext101/torchvision": full_case(
        "torchvision", resnet.ResNeXt101, partial(build_torchvision, "resnext101_32x8d"), 80
    ),
    "wide_resnet50/torchvision": full_case(
        "torchvision", resnet.WideResNet50, partial(build_torchvision, "wide_resnet50_2"), 128
    ),
    "seresnet50/timm": full_case("timm", resnet.SEResNet50, partial(build_timm, "seresnet50")),
    "seresnext50/timm": full_case("timm", resnet.SEResNeXt50, partial(build_timm, "seresnext50_32x4d")),
    "seresnet50/timm_legacy": full_case("timm", resnet.SEResNet50, partial(build_timm, "legacy_seresnet50"), **LEGACY),
    "senet154/timm_legacy": full_case("timm", resnet.SENet154, partial(build_timm, "legacy_senet154")),
    "senet154/timm": full_case("timm", resnet.SENet154, partial(build_timm, "senet154"), max_pool="torch"),
    "resnet50v2/timm": full_case("timm", resnet.ResNet50, partial(build_timm, "resnetv2_50"), 64, version="v2"),
    "resnet50/keras": full_case("keras", resnet.ResNet50, partial(build_keras, "ResNet50"), **KERAS),
    "resnet50v2/keras": full_case("keras", resnet.ResNet50, partial(build_keras, "ResNet50V2"), **KERAS_V2),
    "resnet50/huggingface": full_case("huggingface", resnet.ResNet50, build_huggingface, 64),
    "resnet18/huggingface": full_case(
        "huggingface",
        resnet.ResNet18,
        partial(build_huggingface, layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2]),
        64,
    ),
    "resnet_thin/torchvision": thin_case(
        "torchvision", build_thin_torchvision, depths=(1, 1, 1, 1), groups=2, group_width=32
    ),
    "resnet_thin/keras": thin_case("keras", build_thin_keras, depths=(2, 2), widths=(64, 128), stem=(512,), **KERAS_V2),
    "resnet_thin/timm": thin_case(
        "timm",
        build_thin_senet,
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
