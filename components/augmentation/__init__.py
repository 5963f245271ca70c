"""Random changes of the examples of a training batch, on the device. Each example gets its own change at each step."""

from components.augmentation.geometric import Affine, Crop, Elastic, Flip, Perspective
from components.augmentation.mixing import CutMix, Mixup
from components.augmentation.noise import Erase, GaussianNoise
from components.augmentation.pixels import (
    AutoContrast,
    Blur,
    ColorJitter,
    Equalize,
    Grayscale,
    Invert,
    Posterize,
    Sharpness,
    Solarize,
)
from components.augmentation.policies import AugMix, RandAugment, TrivialAugment

__all__ = [
    "Affine",
    "AugMix",
    "AutoContrast",
    "Blur",
    "ColorJitter",
    "Crop",
    "CutMix",
    "Elastic",
    "Equalize",
    "Erase",
    "Flip",
    "GaussianNoise",
    "Grayscale",
    "Invert",
    "Mixup",
    "Perspective",
    "Posterize",
    "RandAugment",
    "Sharpness",
    "Solarize",
    "TrivialAugment",
]
