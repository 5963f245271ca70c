"""Cases of the comparison: one of our architectures, and the same architecture in another library.

A *thin* model has few channels. Its logits and gradients are recorded in small files for the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import flax.linen as nn
import numpy as np

Tensors = Mapping[str, np.ndarray]


class OtherModel(Protocol):
    """A model of another library, in inference mode.

    Attributes:
        shapes: shapes of its arrays by name, as in a safetensors file.
    """

    shapes: Mapping[str, tuple[int, ...]]

    def run(self, tensors: Tensors, images: np.ndarray, logit_weights: np.ndarray) -> tuple[np.ndarray, Tensors]:
        """Runs the model forward and backward.

        Args:
            tensors: the weights.
            images: (B, H, W, C), float32.
            logit_weights: (B, classes), float32.

        Returns:
            The logits, and the gradients of sum(logit_weights * logits).
        """


@dataclass(frozen=True)
class Case:
    """A pair of models.

    Attributes:
        library: name of the library.
        build_ours: builds our model.
        build_theirs: builds the library's model.
        side: side of the images in pixels. Where rounding changes the sign of an input of a ReLU, gradients differ by
            about 1e-3, as much as PyTorch's own gradients differ between float32 and float64. Large images make this
            likelier. With these sides no sign changes on the machine that they were chosen on.
        is_thin: whether the models are thin.
        channels: channels of the images.
        damped: regular expression for names of arrays whose random weights are divided by five, so that activations do
            not grow from block to block.
    """

    library: str
    build_ours: Callable[[], nn.Module]
    build_theirs: Callable[[], OtherModel]
    side: int
    is_thin: bool = False
    channels: int = 3
    damped: str = ""


class TorchModel:
    """A model of PyTorch.

    Args:
        model: the module.
        get_logits: returns the logits from the output of the module.
    """

    def __init__(self, model: Any, get_logits: Callable[[Any], Any] = lambda output: output) -> None:
        self.model, self.get_logits = model.eval(), get_logits
        self.shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if tensor.ndim}

    def run(self, tensors: Tensors, images: np.ndarray, logit_weights: np.ndarray) -> tuple[np.ndarray, Tensors]:
        import torch

        state = {name: torch.from_numpy(array) for name, array in tensors.items()}
        missing = self.model.load_state_dict(state, strict=False).missing_keys
        assert all(name.endswith("num_batches_tracked") for name in missing), missing
        logits = self.get_logits(self.model(torch.from_numpy(images).permute(0, 3, 1, 2)))
        (logits * torch.from_numpy(logit_weights)).sum().backward()
        gradients = {name: tensor.grad for name, tensor in self.model.named_parameters()}
        return logits.detach().numpy(), _to_numpy(gradients)


class KerasModel:
    """A model of Keras with PyTorch as its backend (KERAS_BACKEND=torch), without the final softmax."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.shapes = {weight.path: tuple(weight.shape) for weight in model.weights if "seed" not in weight.path}

    def run(self, tensors: Tensors, images: np.ndarray, logit_weights: np.ndarray) -> tuple[np.ndarray, Tensors]:
        import torch

        for weight in self.model.weights:
            if weight.path in tensors:
                weight.assign(tensors[weight.path])
        logits = self.model(torch.from_numpy(images), training=False)
        (logits * torch.from_numpy(logit_weights)).sum().backward()
        gradients = {weight.path: weight.value.grad for weight in self.model.trainable_weights}
        return logits.detach().numpy(), _to_numpy(gradients)


def _to_numpy(gradients: Mapping[str, Any]) -> Tensors:
    """Converts gradients of PyTorch. A parameter that the logits do not depend on has none."""
    return {name: gradient.numpy() for name, gradient in gradients.items() if gradient is not None}


def reduce_channels(model: Any, factor: int) -> Any:
    """Divides the channels of all layers of a PyTorch model by a factor, except the input and the output."""
    import torch
    from torch import nn as tnn

    def divide(count: int) -> int:
        assert count % factor == 0, count
        return count // factor

    last_linear = [module for module in model.modules() if isinstance(module, tnn.Linear)][-1:]
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, tnn.Conv2d):
                inputs = layer.in_channels if layer.in_channels <= 4 else divide(layer.in_channels)
                outputs = divide(layer.out_channels)
                is_depthwise = layer.groups == layer.in_channels and layer.groups > 1
                groups = inputs if is_depthwise else layer.groups
                shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
                reduced: Any = type(layer)(inputs, outputs, *shape, groups, layer.bias is not None)
            elif isinstance(layer, tnn.BatchNorm2d):
                reduced = type(layer)(divide(layer.num_features), layer.eps, layer.momentum)
            elif isinstance(layer, tnn.Linear):
                is_last = any(layer is linear for linear in last_linear)
                outputs = layer.out_features if is_last else divide(layer.out_features)
                reduced = tnn.Linear(divide(layer.in_features), outputs, layer.bias is not None)
            elif isinstance(layer, tnn.LayerNorm):
                reduced = type(layer)([divide(size) for size in layer.normalized_shape], eps=layer.eps)
            else:
                continue
            setattr(parent, name, reduced)
        for name, parameter in list(parent.named_parameters(recurse=False)):
            if not isinstance(parent, tnn.Conv2d | tnn.Linear | tnn.BatchNorm2d | tnn.LayerNorm):
                size = (divide(parameter.shape[0]), *parameter.shape[1:])
                setattr(parent, name, tnn.Parameter(torch.empty(size)))
    return model


def reduce_keras_channels(model: Any, factor: int) -> Any:
    """Divides the channels of all layers of a Keras model by a factor, except the input and the output."""
    import keras

    config = model.get_config()
    for layer in config["layers"]:
        layer.pop("build_config", None)  # shapes of the model before the reduction
    layers = [layer for layer in config["layers"] if "filters" in layer["config"] or "units" in layer["config"]]
    for layer in layers[:-1]:
        options = layer["config"]
        for key in ("filters", "units"):
            if key in options:
                assert options[key] % factor == 0, options[key]
                options[key] //= factor
    return keras.Model.from_config(config)
