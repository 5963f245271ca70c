"""Conversion of the weights of another library to our parameter trees.

1. `plan_conversion` finds, by the rules of a naming scheme, the name in the file for each of our arrays.
2. `convert_weights` brings each array of the file into our layout, and checks that the file and our arrays agree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from components.closest import join_names, suggest_name
from components.paths import leaves_with_paths, matches
from components.pretrained.naming import NamingScheme
from components.types import UserError

HEAD = "head"  # the layer that computes the logits
COLORS = 3  # channels of the images that published weights are for

Path: TypeAlias = tuple[str, ...]
"""Names of the collection, the modules and the parameter: ("params", "stem_0", "conv", "kernel")."""


class ArrayMapping(NamedTuple):
    """One of our arrays and its name in the file.

    Attributes:
        path: path of our array.
        their_name: name of the array in the file, such as `conv1.weight`.
        shape: shape of our array.
        flattened_channels: for a dense layer after a flattened convolution, the channels of that convolution. None: no
            output is flattened before the layer.
    """

    path: Path
    their_name: str
    shape: tuple[int, ...]
    flattened_channels: int | None

    @property
    def our_name(self) -> str:
        """Our path without the collection: `stem_0/conv/kernel`."""
        return "/".join(self.path[1:])

    def __str__(self) -> str:
        """For messages: `conv1.weight (our stem_0/conv/kernel)`."""
        return f"{self.their_name} (our {self.our_name})"


class ConversionPlan(NamedTuple):
    """Which arrays of a file become which of our arrays.

    Attributes:
        scheme: the naming scheme of the file.
        mappings: one for each of our arrays that a rule of the scheme names.
        unmapped: paths of our other arrays, without the collection.
    """

    scheme: NamingScheme
    mappings: tuple[ArrayMapping, ...]
    unmapped: tuple[str, ...]


def plan_conversion(scheme: NamingScheme, shapes: Mapping[str, Any]) -> ConversionPlan:
    """Finds the name in the file for each of our arrays.

    Args:
        scheme: the naming scheme of the file.
        shapes: our tree, {"params": …, "batch_stats": …}. Its leaves are arrays or have a shape.
    """
    our_shapes = {tuple(path.split("/")): tuple(leaf.shape) for path, leaf in leaves_with_paths(shapes)}
    mappings, unmapped = [], []
    for path in our_shapes:
        mapping = _map_array(scheme, path, our_shapes)
        if mapping is None:
            unmapped.append("/".join(path[1:]))
        else:
            mappings.append(mapping)
    return ConversionPlan(scheme, tuple(mappings), tuple(unmapped))


def convert_weights(
    plan: ConversionPlan, tensors: Mapping[str, np.ndarray], *, skip: Sequence[str] = ()
) -> dict[str, Any]:
    """Returns our tree, as nested dictionaries, with the weights of a file.

    Args:
        plan: from `plan_conversion`.
        tensors: arrays of the file by name.
        skip: patterns over our paths and over names in the file. Matching arrays are left out. A `*` stands for any
            characters, across names too.

    Raises:
        UserError: a pattern of `skip` matches no array, or arrays are missing, unexpected or of another shape. The
            message lists all of them.
    """
    names_in_file = list(tensors)
    tensors = _renumber_layers(plan.scheme, tensors)
    _check_skip(skip, plan, [*names_in_file, *tensors])
    adapted = find_adapted(plan, {name: tensor.shape for name, tensor in tensors.items()}, skip)
    arrays: dict[Path, np.ndarray] = {}
    missing: list[str] = []
    misshapen: list[tuple[ArrayMapping, tuple[int, ...]]] = []  # with the shape of the array in our layout
    for mapping in plan.mappings:
        if _is_skipped(skip, mapping.our_name) or _is_skipped(skip, mapping.their_name):
            continue
        if mapping.their_name not in tensors:
            missing.append(str(mapping))
            continue
        tensor = tensors[mapping.their_name]
        _check_values(mapping, tensor)
        array = _convert_array(plan.scheme, mapping, tensor)
        if mapping is adapted:
            array = _adapt_channels(array, mapping.shape[2])
        if array.shape != mapping.shape:
            misshapen.append((mapping, array.shape))
        arrays[mapping.path] = array
    missing += [f"our {name}" for name in plan.unmapped if not _is_skipped(skip, name)]

    unexpected: list[str] = []
    for name in tensors.keys() - {mapping.their_name for mapping in plan.mappings}:
        is_ignored = re.fullmatch(plan.scheme.ignored, name) is not None
        if not is_ignored and not _is_skipped(skip, name):
            unexpected.append(name)

    if missing or unexpected or misshapen:
        raise UserError(_describe_differences(missing, unexpected, misshapen, tensors))
    return _unflatten(arrays)


def compute_match_share(plan: ConversionPlan, tensors: Mapping[str, Any]) -> float:
    """Returns the share of our arrays with a name that is in the file, between 0 and 1."""
    tensors = _renumber_layers(plan.scheme, tensors)
    matching = sum(mapping.their_name in tensors for mapping in plan.mappings)
    total = len(plan.mappings) + len(plan.unmapped)
    return matching / max(1, total)


def find_adapted(
    plan: ConversionPlan, shapes: Mapping[str, Sequence[int]], skip: Sequence[str] = ()
) -> ArrayMapping | None:
    """Returns the kernel of the file that must be changed for images with one channel, or with more than three.

    Only weights of images have one, and it is the only kernel with 3 channels where ours has another number.

    Args:
        plan: from `plan_conversion`.
        shapes: shapes of the arrays of the file by name.
        skip: as for `convert_weights`.
    """
    if plan.scheme.image is None:
        return None
    shapes = _renumber_layers(plan.scheme, shapes)
    inputs, outputs = (1, 0) if plan.scheme.framework == "torch" else (2, 3)  # axes
    found = [
        mapping
        for mapping in plan.mappings
        if mapping.path[-1] == "kernel"
        and len(mapping.shape) == len(shape := shapes.get(mapping.their_name, ())) == 4
        and shape[inputs] == COLORS
        and (mapping.shape[2] == 1 or mapping.shape[2] > COLORS)
        and shape[outputs] == mapping.shape[3]
        and not _is_skipped(skip, mapping.our_name)
        and not _is_skipped(skip, mapping.their_name)
    ]
    return found[0] if len(found) == 1 else None


def _adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Returns a kernel (h, w, 3, out) for images with one channel, or with more than three: (h, w, channels, out).

    Grey images have equal colors, so the outputs are those for color images. Otherwise their size is about the same.
    """
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return np.take(kernel, np.arange(channels) % COLORS, axis=2) * np.float32(COLORS / channels)


def _map_array(scheme: NamingScheme, path: Path, our_shapes: Mapping[Path, tuple[int, ...]]) -> ArrayMapping | None:
    """Returns the mapping of one of our arrays. None: no rule names it, or the convolution before it does not exist."""
    _, *modules, parameter = path
    layer = scheme.name_layer("/".join(modules))
    if layer is None:
        return None
    flattened_channels = None
    if layer.flattened_conv:
        conv_kernel = ("params", *layer.flattened_conv.split("/"), "kernel")
        if conv_kernel not in our_shapes:
            return None
        flattened_channels = our_shapes[conv_kernel][-1]  # (h, w, in, out)
    is_normalization = ("params", *modules, "kernel") not in our_shapes
    their_parameter = scheme.name_parameter(layer.rule, parameter, is_normalization=is_normalization)
    their_name = f"{layer.name}{scheme.separator}{their_parameter}"
    return ArrayMapping(path, their_name, our_shapes[path], flattened_channels)


def _renumber_layers(scheme: NamingScheme, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensors[old] for old, name in scheme.renumber(tensors).items()}


def _convert_array(scheme: NamingScheme, mapping: ArrayMapping, array: np.ndarray) -> np.ndarray:
    """Returns an array of the file in our layout. If it does not fit, its shape differs from `mapping.shape`.

    Layouts of kernels:

        layer        PyTorch          Keras                          ours
        dense        (out, in)        (in, out)                      (in, out)
        convolution  (out, in, h, w)  (h, w, in, out)                (h, w, in, out)
        depthwise    (out, 1, h, w)   (h, w, channels, multiplier)   (h, w, 1, out)
    """
    is_kernel = mapping.path[-1] == "kernel"
    if is_kernel and scheme.framework == "torch":
        array = _transpose_torch_kernel(array, mapping)
    if _drop_ones(array.shape) == _drop_ones(mapping.shape):  # such as a dense layer stored as a 1 x 1 convolution
        array = array.reshape(mapping.shape)
    if scheme.framework == "keras" and array.ndim == len(mapping.shape) == 4:
        is_depthwise = mapping.shape[2] == 1 and array.shape[2] > 1
        if is_depthwise:
            height, width, channels, multiplier = array.shape
            array = array.reshape(height, width, 1, channels * multiplier)
    return np.ascontiguousarray(array)


def _transpose_torch_kernel(array: np.ndarray, mapping: ArrayMapping) -> np.ndarray:
    """Transposes a kernel of PyTorch to our layout."""
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)
        is_dense = len(mapping.shape) == 2
        return array.reshape(-1, array.shape[-1]) if is_dense else array
    channels = mapping.flattened_channels
    if array.ndim == 2 and channels is not None and array.shape[1] == mapping.shape[0]:
        return _transpose_flattened(array, channels, mapping.their_name)
    return array.T  # (out, in) -> (in, out)


def _transpose_flattened(array: np.ndarray, channels: int, name: str) -> np.ndarray:
    """Transposes a dense kernel after flattened square maps: (out, channels * h * w) -> (h * w * channels, out)."""
    out, inputs = array.shape
    side = math.isqrt(inputs // channels)
    if side * side * channels != inputs:
        raise UserError(f"{name} must belong to square maps of {channels} channels, got {inputs} inputs per unit.")
    maps = array.reshape(out, channels, side, side)
    return maps.transpose(2, 3, 1, 0).reshape(-1, out)


def _drop_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(1, 1, 64) -> (64,)."""
    return tuple(size for size in shape if size != 1)


def _check_skip(skip: Sequence[str], plan: ConversionPlan, names_in_file: Sequence[str]) -> None:
    """Raises UserError for a pattern that matches none of our paths and no name in the file."""
    our_names = [*(mapping.our_name for mapping in plan.mappings), *plan.unmapped]
    known = [*our_names, *(mapping.their_name for mapping in plan.mappings), *names_in_file]
    for pattern in skip:
        if not any(_is_skipped([pattern], name) for name in known):
            layers = dict.fromkeys(re.split("[./]", name)[0] for name in [*our_names, *names_in_file])
            hint = suggest_name(pattern, [*layers, *known] if re.search("[./]", pattern) else layers)
            raise UserError(f"`skip`: no layer and no array of the file matches the pattern {pattern}. {hint}")


def _is_skipped(skip: Sequence[str], name: str) -> bool:
    return any(matches(pattern, name, separators="./", crosses=True) for pattern in skip)


def _check_values(mapping: ArrayMapping, array: np.ndarray) -> None:
    """Raises UserError unless an array of the file holds finite float32 numbers."""
    if array.dtype != np.float32:
        raise UserError(f"{mapping} must be an array of floats, got {array.dtype}.")
    if count := int((~np.isfinite(array)).sum()):
        raise UserError(
            f"{mapping} has {count:,} values that are not finite in float32. Fix the file, or add the layer to `skip`."
        )


def _unflatten(arrays: Mapping[Path, np.ndarray]) -> dict[str, Any]:
    """{("params", "head", "bias"): b} -> {"params": {"head": {"bias": b}}}."""
    tree: dict[str, Any] = {}
    for (*modules, parameter), array in arrays.items():
        branch = tree
        for module in modules:
            branch = branch.setdefault(module, {})
        branch[parameter] = array
    return tree


def _describe_differences(
    missing: list[str],
    unexpected: list[str],
    misshapen: list[tuple[ArrayMapping, tuple[int, ...]]],
    tensors: Mapping[str, np.ndarray],
) -> str:
    """Returns the error message for a file that doesn't fit the architecture."""
    wrong_shapes = []
    for mapping, found in misshapen:
        their_shape = tensors[mapping.their_name].shape
        here = f" ({found} in our layout)" if found != their_shape else ""
        wrong_shapes.append(f"{mapping.their_name} is {their_shape}{here}, our {mapping.our_name} {mapping.shape}")
    message = "the weights don't fit the architecture."
    for title, names in {"Missing": missing, "Unexpected": unexpected, "Wrong shape": wrong_shapes}.items():
        if names:
            message += f" {title}: {join_names(names)}."
    is_head_only = all(mapping.path[1] == HEAD for mapping, _ in misshapen) and not missing and not unexpected
    if is_head_only:
        message += f" To train a new head for other classes, add {HEAD} to `skip`."
    return message
