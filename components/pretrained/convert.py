"""Conversion of the weights of another library to our parameter trees."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.closest import join_names
from components.paths import leaves_with_paths, matches
from components.pretrained.naming import NamingScheme
from components.types import UserError

HEAD = "head"  # the layer that computes the logits


class ArrayMapping(NamedTuple):
    """One of our arrays and its name in the file.

    Attributes:
        path: names of the collection, the modules and the parameter.
        name: name of the array in the file.
        shape: shape of our array.
        flattened: for the kernel of a dense layer on flattened maps, the number of channels of the maps. None: there is
            no flattening before the layer.
    """

    path: tuple[str, ...]
    name: str
    shape: tuple[int, ...]
    flattened: int | None

    @property
    def our_name(self) -> str:
        """Our path without the collection."""
        return "/".join(self.path[1:])


class ConversionPlan(NamedTuple):
    """Which arrays of a file become which of our arrays.

    Attributes:
        scheme: the naming scheme of the file.
        mappings: one for each of our arrays that a rule of the scheme names.
        unnamed: paths of our other arrays.
    """

    scheme: NamingScheme
    mappings: tuple[ArrayMapping, ...]
    unnamed: tuple[str, ...]


def plan_conversion(scheme: NamingScheme, shapes: Mapping[str, Any]) -> ConversionPlan:
    """Finds the name in the file for each of our arrays.

    Args:
        scheme: the naming scheme of the file.
        shapes: our tree, {"params": …, "batch_stats": …}. Its leaves are arrays or have a shape.
    """
    our_shapes = {tuple(path.split("/")): tuple(leaf.shape) for path, leaf in leaves_with_paths(shapes)}
    mappings, unnamed = [], []
    for path, shape in our_shapes.items():
        _, *modules, parameter = path
        layer = scheme.name_layer("/".join(modules))
        if layer is None:
            unnamed.append("/".join(path[1:]))
            continue
        channels = None
        if layer.flattened_conv:
            flattened_kernel = ("params", *layer.flattened_conv.split("/"), "kernel")
            if flattened_kernel not in our_shapes:
                unnamed.append("/".join(path[1:]))
                continue
            channels = our_shapes[flattened_kernel][-1]
        is_normalization = ("params", *modules, "kernel") not in our_shapes
        name = scheme.name_parameter(layer.rule, parameter, is_normalization=is_normalization)
        mappings.append(ArrayMapping(path, f"{layer.name}{scheme.separator}{name}", shape, channels))
    return ConversionPlan(scheme, tuple(mappings), tuple(unnamed))


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
        UserError: arrays are missing, unexpected or of another shape. The message lists all of them.
    """
    tensors = _renumber(plan.scheme, tensors)
    selected = [mapping for mapping in plan.mappings if not _is_skipped(skip, mapping.our_name, mapping.name)]
    arrays = {}
    for mapping in selected:
        if mapping.name in tensors:
            _check_values(mapping, tensors[mapping.name])
            arrays[mapping] = convert_array(plan.scheme, mapping, tensors[mapping.name])
    missing = [f"{mapping.name} (our {mapping.our_name})" for mapping in selected if mapping.name not in tensors]
    missing += [f"our {path}" for path in plan.unnamed if not _is_skipped(skip, path)]
    unexpected = tensors.keys() - {mapping.name for mapping in plan.mappings}
    misshapen = [mapping for mapping, array in arrays.items() if array.shape != mapping.shape]
    _check_complete(
        missing,
        [name for name in unexpected if not (_is_ignored(plan.scheme, name) or _is_skipped(skip, name))],
        [
            f"{mapping.name} is {tensors[mapping.name].shape}, our {mapping.our_name} {mapping.shape}"
            for mapping in misshapen
        ],
        only_head=all(mapping.path[1] == HEAD for mapping in misshapen),
    )
    tree: dict[str, Any] = {}
    for mapping, array in arrays.items():
        *modules, parameter = mapping.path
        branch = tree
        for name in modules:
            branch = branch.setdefault(name, {})
        branch[parameter] = array
    return tree


def convert_array(scheme: NamingScheme, mapping: ArrayMapping, array: np.ndarray) -> np.ndarray:
    """Returns an array of the file in our layout. If it does not fit, its shape differs from `mapping.shape`."""
    shape = mapping.shape
    if mapping.path[-1] == "kernel" and scheme.framework == "torch":
        array = _transpose(array, mapping)
    if array.shape != shape and _drop_ones(array.shape) == _drop_ones(shape):
        array = array.reshape(shape)  # such as a dense layer stored as a 1 x 1 convolution, or a vector as (1, 1, C)
    if array.ndim == len(shape) == 4 and scheme.framework == "keras" and shape[2] == 1 and array.shape[2] > 1:
        array = array.reshape(*array.shape[:2], 1, -1)  # a depthwise kernel: (height, width, channels, multiplier)
    return np.ascontiguousarray(array)


def compute_match_share(plan: ConversionPlan, tensors: Mapping[str, Any]) -> float:
    """Returns the share of our arrays with a name that is in the file, between 0 and 1."""
    tensors = _renumber(plan.scheme, tensors)
    total = len(plan.mappings) + len(plan.unnamed)
    return sum(mapping.name in tensors for mapping in plan.mappings) / max(1, total)


def _check_values(mapping: ArrayMapping, array: np.ndarray) -> None:
    """Raises UserError unless an array of the file holds finite float32 numbers."""
    if array.dtype != np.float32:
        raise UserError(f"{mapping.name} (our {mapping.our_name}) must be an array of floats, got {array.dtype}.")
    if count := int((~np.isfinite(array)).sum()):
        raise UserError(
            f"{mapping.name} (our {mapping.our_name}) has {count:,} values that are not finite in float32. Fix the "
            "file, or add the layer to `skip`."
        )


def _transpose(array: np.ndarray, mapping: ArrayMapping) -> np.ndarray:
    """Transposes a kernel of PyTorch: (out, in, h, w) -> (h, w, in, out), (out, in) -> (in, out)."""
    if array.ndim == 4:
        kernel = array.transpose(2, 3, 1, 0)
        return kernel.reshape(-1, array.shape[0]) if len(mapping.shape) == 2 else kernel
    if array.ndim == 2 and mapping.flattened is not None and array.shape[1] == mapping.shape[0]:
        return _transpose_flattened(array, mapping.flattened, mapping.name)
    return array.T


def _transpose_flattened(array: np.ndarray, channels: int, name: str) -> np.ndarray:
    """Transposes a dense kernel on flattened square maps: (out, channels * h * w) -> (h * w * channels, out)."""
    side = math.isqrt(array.shape[1] // channels)
    if side * side * channels != array.shape[1]:
        raise UserError(
            f"{name} must belong to square maps of {channels} channels, got {array.shape[1]} inputs per unit."
        )
    maps = array.reshape(-1, channels, side, side).transpose(2, 3, 1, 0)
    return maps.reshape(-1, array.shape[0])


def _renumber(scheme: NamingScheme, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Renumbers layers from 0. Keras numbers the layers of all models of a session together."""
    if not scheme.numbered_per_session:
        return dict(tensors)
    pattern = re.compile(rf"({'|'.join(scheme.numbered_per_session)})(?:_(\d+))?(?=/)")
    layers = {match.groups() for name in tensors if (match := pattern.match(name))}  # (kind, number or None)
    ranks: dict[str, dict[int, int]] = {}
    for kind, _ in layers:
        numbers = sorted(int(number or 0) for other, number in layers if other == kind)
        ranks[kind] = {number: rank for rank, number in enumerate(numbers)}

    def renumber(match: re.Match[str]) -> str:
        return f"{match[1]}_{ranks[match[1]][int(match[2] or 0)]}"

    return {
        pattern.sub(renumber, name, count=1) if pattern.match(name) else name: array for name, array in tensors.items()
    }


def _drop_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _is_skipped(skip: Sequence[str], *names: str) -> bool:
    return any(matches(pattern, name, separators="./", crosses=True) for pattern in skip for name in names)


def _is_ignored(scheme: NamingScheme, name: str) -> bool:
    return re.fullmatch(scheme.ignored, name) is not None


def _check_complete(missing: list[str], unexpected: list[str], misshapen: list[str], *, only_head: bool) -> None:
    """Raises UserError unless all lists are empty. `only_head`: all wrong shapes belong to the head."""
    problems = {"Missing": missing, "Unexpected": unexpected, "Wrong shape": misshapen}
    if not any(problems.values()):
        return
    lists = " ".join(f"{title}: {join_names(names)}." for title, names in problems.items() if names)
    advice = ""
    if only_head and not missing and not unexpected:
        advice = f" To train a new head for other classes, add {HEAD} to `skip`."
    raise UserError(f"the weights don't fit the architecture. {lists}{advice}")
