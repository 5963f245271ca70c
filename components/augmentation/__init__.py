"""Random changes of the examples of a training batch, on the device. Each example gets its own change at each step."""

from components.augmentation.geometric import Crop, Flip
from components.augmentation.mixing import CutMix, Mixup
from components.augmentation.noise import GaussianNoise

__all__ = ["Crop", "CutMix", "Flip", "GaussianNoise", "Mixup"]
