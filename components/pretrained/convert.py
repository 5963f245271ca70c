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
        flattened: channels of the maps that the dense layer flattens; None: the layer flattens nothing.
    """

    path: tuple[str, ...]
    name: str
    shape: tuple[int, ...]
    flattened: int | None

    @property
    def ours(self) -> str:
        """Our path without the collection."""
        return "/".join(self.path[1:])


class ConversionPlan(NamedTuple):
    """Which arrays of a file become which of our arrays.

    Attributes:
        scheme: the naming scheme of the file.
        mappings: one for each of our arrays that the scheme names.
        unnamed: paths of our arrays that no rule of the scheme names.
    """

    scheme: NamingScheme
    mappings: tuple[ArrayMapping, ...]
    unnamed: tuple[str, ...]


def plan_conversion(scheme: NamingScheme, shapes: Mapping[str, Any]) -> ConversionPlan:
    """Finds the name in the file for each of our arrays.

    Args:
        scheme: the naming scheme of the file.
        shapes: our tree, {"params": …, "batch_stats": …}, of arrays or anything else with a shape.
    """
    ours = {tuple(path.split("/")): tuple(leaf.shape) for path, leaf in leaves_with_paths(shapes)}
    mappings, unnamed = [], []
    for path, shape in ours.items():
        found = scheme.find("/".join(path[1:-1]))
        source = found and found[2] and ("params", *found[2].split("/"), "kernel")
        if found is None or (source and source not in ours):
            unnamed.append("/".join(path[1:]))
            continue
        rule, layer, _ = found
        leaf = scheme.leaf(rule, path[-1], normalization=("params", *path[1:-1], "kernel") not in ours)
        channels = ours[source][-1] if source else None
        mappings.append(ArrayMapping(path, f"{layer}{scheme.separator}{leaf}", shape, channels))
    return ConversionPlan(scheme, tuple(mappings), tuple(unnamed))


def convert_weights(
    plan: ConversionPlan, tensors: Mapping[str, np.ndarray], *, skip: Sequence[str] = ()
) -> dict[str, Any]:
    """Returns our tree, as nested dictionaries, with the weights of a file.

    Args:
        plan: from `plan_conversion`.
        tensors: arrays of the file by name.
        skip: patterns over our paths and over names of the file; the arrays that they match are left out. A `*`
            stands for any characters, across names too.

    Raises:
        UserError: arrays are missing, unexpected or of another shape; the message lists all of them.
    """
    given = _renumber(plan.scheme, tensors)
    kept = [one for one in plan.mappings if not _is_skipped(skip, one.ours, one.name)]
    arrays = {
        one: convert_array(plan.scheme, one, _check_numbers(one, given[one.name])) for one in kept if one.name in given
    }
    wrong = [one for one, array in arrays.items() if array.shape != one.shape]
    unexpected = given.keys() - {one.name for one in plan.mappings}
    _check_complete(
        missing=[f"{one.name} (our {one.ours})" for one in kept if one.name not in given]
        + [f"our {path}" for path in plan.unnamed if not _is_skipped(skip, path)],
        unexpected=[n for n in unexpected if not (_is_ignored(plan.scheme, n) or _is_skipped(skip, n))],
        wrong=[f"{one.name} is {given[one.name].shape}, our {one.ours} {one.shape}" for one in wrong],
        only_head=all(one.path[1] == HEAD for one in wrong),
    )
    tree: dict[str, Any] = {}
    for one, array in arrays.items():
        branch = tree
        for name in one.path[:-1]:
            branch = branch.setdefault(name, {})
        branch[one.path[-1]] = array
    return tree


def convert_array(scheme: NamingScheme, mapping: ArrayMapping, array: np.ndarray) -> np.ndarray:
    """Returns an array of the file in our layout; where it does not fit, its shape differs from ours."""
    shape = mapping.shape
    if mapping.path[-1] == "kernel" and scheme.framework == "torch":
        array = _transpose(array, mapping)
    if array.shape != shape and _squeezed(array.shape) == _squeezed(shape):
        array = array.reshape(shape)  # a dense layer as a convolution by 1 x 1, a vector as (1, 1, C)
    if array.ndim == len(shape) == 4 and scheme.framework == "keras" and shape[2] == 1 and array.shape[2] > 1:
        array = array.reshape(*array.shape[:2], 1, -1)  # depthwise: (height, width, channels, multiplier)
    return np.ascontiguousarray(array)


def match_share(plan: ConversionPlan, tensors: Mapping[str, Any]) -> float:
    """Returns the share of our arrays whose names are in the file, between 0 and 1."""
    given = _renumber(plan.scheme, tensors)
    total = len(plan.mappings) + len(plan.unnamed)
    return sum(one.name in given for one in plan.mappings) / max(1, total)


def _check_numbers(mapping: ArrayMapping, array: np.ndarray) -> np.ndarray:
    """Returns the array; raises UserError unless it holds finite float32 numbers."""
    if array.dtype != np.float32:
        raise UserError(f"{mapping.name} (our {mapping.ours}) must be an array of floats, got {array.dtype}.")
    if wrong := int((~np.isfinite(array)).sum()):
        raise UserError(
            f"{mapping.name} (our {mapping.ours}) has {wrong:,} values that are not finite in float32. Fix the file, "
            "or leave the layer out by weights.skip."
        )
    return array


def _transpose(array: np.ndarray, mapping: ArrayMapping) -> np.ndarray:
    """Transposes a kernel of PyTorch: (out, in, h, w) -> (h, w, in, out), (out, in) -> (in, out)."""
    if array.ndim == 4:
        kernel = array.transpose(2, 3, 1, 0)
        return kernel.reshape(-1, array.shape[0]) if len(mapping.shape) == 2 else kernel
    if array.ndim == 2 and mapping.flattened is not None and array.shape[1] == mapping.shape[0]:
        return _transpose_flattened(array, mapping.flattened, mapping.name)
    return array.T


def _transpose_flattened(array: np.ndarray, channels: int, name: str) -> np.ndarray:
    """Transposes a dense kernel on square maps: (out, channels * h * w) -> (h * w * channels, out)."""
    side = math.isqrt(array.shape[1] // channels)
    if side * side * channels != array.shape[1]:
        raise UserError(f"{name} must be on square maps, got {array.shape[1]} numbers of {channels} channels.")
    maps = array.reshape(-1, channels, side, side).transpose(2, 3, 1, 0)
    return maps.reshape(-1, array.shape[0])


def _renumber(scheme: NamingScheme, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Renumbers layers from 0. Keras continues to count where the model before, of the same session, ended."""
    if not scheme.renumbered:
        return dict(tensors)
    pattern = re.compile(rf"({'|'.join(scheme.renumbered)})(?:_(\d+))?(?=/)")
    found = {match.groups() for name in tensors if (match := pattern.match(name))}
    ranks: dict[str, dict[int, int]] = {}
    for word, _ in found:
        numbers = sorted(int(number or 0) for other, number in found if other == word)
        ranks[word] = {number: rank for rank, number in enumerate(numbers)}

    def renumber(match: re.Match[str]) -> str:
        return f"{match[1]}_{ranks[match[1]][int(match[2] or 0)]}"

    return {pattern.sub(renumber, name, count=1) if pattern.match(name) else name: one for name, one in tensors.items()}


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _is_skipped(skip: Sequence[str], *names: str) -> bool:
    return any(matches(pattern, name, separators="./", crosses=True) for pattern in skip for name in names)


def _is_ignored(scheme: NamingScheme, name: str) -> bool:
    return re.fullmatch(scheme.ignored, name) is not None


def _check_complete(*, missing: list[str], unexpected: list[str], wrong: list[str], only_head: bool) -> None:
    """Raises UserError unless all lists are empty. `only_head`: all wrong shapes are of the head."""
    problems = {"Missing": missing, "Unexpected": unexpected, "Wrong shape": wrong}
    if any(problems.values()):
        lists = " ".join(f"{title}: {join_names(names)}." for title, names in problems.items() if names)
        remedy = f" To train a new head for other classes, set weights.skip=[{HEAD}]."
        raise UserError(
            f"the weights don't fit the architecture. {lists}"
            + ("" if missing or unexpected or not only_head else remedy)
        )
