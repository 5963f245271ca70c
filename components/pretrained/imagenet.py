"""Published weights of ImageNet's 1,000 classes, by architecture."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from components.closest import suggest_name
from components.pretrained.files import Safetensors
from components.types import FieldError, PublishedFile, WeightsNeeds

FOLDER = "imagenet"  # of the files, below the folder of the data


class _Model(NamedTuple):
    """A model of timm on the Hugging Face Hub, and the licence that its page states."""

    name: str
    license: str = "Apache-2.0"


OURS = "components.architecture."
MODELS = {  # by architecture
    "ResNet18": _Model("resnet18.a1_in1k"),
    "ResNet34": _Model("resnet34.a1_in1k"),
    "ResNet50": _Model("resnet50.a1_in1k"),
    "ResNet101": _Model("resnet101.a1_in1k"),
    "ResNet152": _Model("resnet152.a1_in1k"),
    "ResNeXt50": _Model("resnext50_32x4d.a1h_in1k"),
    "ResNeXt101": _Model("resnext101_32x8d.tv_in1k", "BSD-3-Clause"),
    "WideResNet50": _Model("wide_resnet50_2.racm_in1k"),
    "SEResNet50": _Model("seresnet50.a1_in1k"),
    "SEResNeXt50": _Model("seresnext50_32x4d.racm_in1k"),
    "DenseNet121": _Model("densenet121.ra_in1k"),
    "ConvNeXtTiny": _Model("convnext_tiny.fb_in1k"),
    "ConvNeXtSmall": _Model("convnext_small.fb_in1k"),
    "ConvNeXtBase": _Model("convnext_base.fb_in1k"),
    "InceptionV4": _Model("inception_v4.tf_in1k"),
    "InceptionResNetV2": _Model("inception_resnet_v2.tf_in1k"),
    "MobileNetV1": _Model("mobilenetv1_100.ra4_e3600_r224_in1k"),
    "MobileNetV2": _Model("mobilenetv2_100.ra_in1k"),
    "MobileNetV3": _Model("mobilenetv3_large_100.ra_in1k"),
    "MobileNetV3Small": _Model("mobilenetv3_small_100.lamb_in1k"),
    "EfficientNetB0": _Model("efficientnet_b0.ra_in1k"),
    "EfficientNetB1": _Model("efficientnet_b1.ft_in1k"),
    "EfficientNetB2": _Model("efficientnet_b2.ra_in1k"),
    "EfficientNetB3": _Model("efficientnet_b3.ra2_in1k"),
    "EfficientNetB4": _Model("efficientnet_b4.ra2_in1k"),
}


@dataclass(frozen=True, kw_only=True)
class ImageNet:
    """Published weights for the 1,000 classes of ImageNet, which timm provides on the Hugging Face Hub.

    The file is looked up below the folder of the data, and is not fetched by a run. To train for other classes, skip
    `head`.

    Attributes:
        architecture: dotted name of the architecture, which decides which weights these are.
        skip: patterns, as in `Safetensors`.
        exact: whether the file sets fields of the architecture and of the column of images, as in `Safetensors`.

    Raises:
        UserError: no weights of the architecture are known, or they don't fit it.
        DataError: the file does not exist or is damaged.
    """

    architecture: str
    skip: tuple[str, ...] = ()
    exact: bool = True

    @property
    def published(self) -> PublishedFile:
        """Where the file is published, and where it is stored. Raises FieldError for an unknown architecture."""
        model = MODELS.get(self.architecture.removeprefix(OURS))
        if model is None:
            known = suggest_name(self.architecture, [f"{OURS}{name}" for name in MODELS])
            raise FieldError(
                "architecture", f"no published weights of {self.architecture} are known. {known} Choose another one."
            )
        page = f"https://huggingface.co/timm/{model.name}"
        url = f"{page}/resolve/main/model.safetensors"
        return PublishedFile(f"{FOLDER}/{model.name}.safetensors", url, model.license, page)

    def fingerprint(self) -> str:
        return self._file.fingerprint()

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._file(architecture, shapes)

    def find_needs(self, architecture: Any, chosen: Collection[str]) -> WeightsNeeds:
        return self._file.find_needs(architecture, chosen)

    def describe_changes(self, shapes: Mapping[str, Any], architecture: Any) -> str | None:
        return self._file.describe_changes(shapes, architecture)

    @property
    def _file(self) -> Safetensors:
        return Safetensors(path=self.published.path, library="timm", skip=self.skip, exact=self.exact)
