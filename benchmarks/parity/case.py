"""Cases of the comparison: one of our architectures, and the same model of another library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import flax.linen as nn
import numpy as np

Tensors = Mapping[str, np.ndarray]


class Theirs(Protocol):
    """A model of another library, in inference.

    Attributes:
        shapes: shapes of its arrays by name, as in a safetensors file.
    """

    shapes: Mapping[str, tuple[int, ...]]

    def run(self, tensors: Tensors, images: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, Tensors]:
        """Returns the logits of images (B, H, W, C) with these weights, and the gradients of sum(slope * logits)."""


@dataclass(frozen=True)
class Case:
    """A pair of models.

    Attributes:
        library: name of the library.
        ours, theirs: functions that build the models.
        side: side of the images in pixels.
        thin: whether the models are small enough to be recorded for the tests.
        channels: channels of the images.
        quiet: regular expression for names of arrays that get a fifth of the random weights, where activations would
            grow from block to block.
    """

    library: str
    ours: Callable[[], nn.Module]
    theirs: Callable[[], Theirs]
    side: int
    thin: bool = False
    channels: int = 3
    quiet: str = ""


class Torch:
    """A model of PyTorch."""

    def __init__(self, model: Any, logits: Callable[[Any], Any] = lambda output: output) -> None:
        self.model, self.logits = model.eval(), logits
        self.shapes = {name: tuple(one.shape) for name, one in model.state_dict().items() if one.ndim}

    def run(self, tensors: Tensors, images: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, Tensors]:
        import torch

        state = {name: torch.from_numpy(array) for name, array in tensors.items()}
        missing = self.model.load_state_dict(state, strict=False).missing_keys
        assert all(name.endswith("num_batches_tracked") for name in missing), missing
        answer = self.logits(self.model(torch.from_numpy(images).permute(0, 3, 1, 2)))
        (answer * torch.from_numpy(slope)).sum().backward()
        gradients = {n: one.grad.numpy() for n, one in self.model.named_parameters() if one.grad is not None}
        return answer.detach().numpy(), gradients


class Keras:
    """A model of Keras on PyTorch (KERAS_BACKEND=torch) without softmax."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.shapes = {one.path: tuple(one.shape) for one in model.weights if "seed" not in one.path}

    def run(self, tensors: Tensors, images: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, Tensors]:
        import torch

        for one in self.model.weights:
            if one.path in tensors:
                one.assign(tensors[one.path])
        answer = self.model(torch.from_numpy(images), training=False)
        (answer * torch.from_numpy(slope)).sum().backward()
        gradients = {one.path: one.value.grad for one in self.model.trainable_weights}
        return answer.detach().numpy(), {n: g.numpy() for n, g in gradients.items() if g is not None}


def thinner(model: Any, by: int) -> Any:
    """Reduces the channels of all layers of a PyTorch model, except the input and the output, by a factor."""
    import torch
    from torch import nn as tnn

    def fewer(count: int) -> int:
        assert count % by == 0, count
        return count // by

    last = [one for one in model.modules() if isinstance(one, tnn.Linear)][-1:]
    for parent in list(model.modules()):
        for name, one in list(parent.named_children()):
            if isinstance(one, tnn.Conv2d):
                ins = one.in_channels if one.in_channels <= 4 else fewer(one.in_channels)
                outs = fewer(one.out_channels)
                groups = ins if one.groups == one.in_channels and one.groups > 1 else one.groups
                new: Any = type(one)(
                    ins, outs, one.kernel_size, one.stride, one.padding, one.dilation, groups, one.bias is not None
                )
            elif isinstance(one, tnn.BatchNorm2d):
                new = type(one)(fewer(one.num_features), one.eps, one.momentum)
            elif isinstance(one, tnn.Linear):
                outs = one.out_features if any(one is other for other in last) else fewer(one.out_features)
                new = tnn.Linear(fewer(one.in_features), outs, one.bias is not None)
            elif isinstance(one, tnn.LayerNorm):
                new = type(one)([fewer(size) for size in one.normalized_shape], eps=one.eps)
            else:
                continue
            setattr(parent, name, new)
        for name, parameter in list(parent.named_parameters(recurse=False)):
            if not isinstance(parent, tnn.Conv2d | tnn.Linear | tnn.BatchNorm2d | tnn.LayerNorm):
                size = (fewer(parameter.shape[0]), *parameter.shape[1:])
                setattr(parent, name, tnn.Parameter(torch.empty(size)))
    return model


def thinner_keras(model: Any, by: int) -> Any:
    """Reduces the channels of all layers of a Keras model, except the input and the output, by a factor."""
    import keras

    config = model.get_config()
    for one in config["layers"]:
        one.pop("build_config", None)  # shapes of the model before the reduction
    layers = [one for one in config["layers"] if "filters" in one["config"] or "units" in one["config"]]
    for one in layers:
        for word in ("filters", "units"):
            if word in one["config"] and one is not layers[-1]:
                assert one["config"][word] % by == 0, one["config"][word]
                one["config"][word] //= by
    return keras.Model.from_config(config)
