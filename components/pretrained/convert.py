"""Carries the weights of another library over into our trees."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.types import UserError
from components.weights.names import Names

HEAD = "head"  # the layer that gives the logits
HEAD_ANEW = f"; weights.skip=[{HEAD}] lets it begin anew, for other classes"
SHOWN = 3  # names of a kind that a message lists


class Wanted(NamedTuple):
    """One of our arrays, and where it stands in their file."""

    path: tuple[str, ...]  # collection, modules, name
    name: str
    shape: tuple[int, ...]
    flattened: int | None  # channels of the maps that a dense layer flattens

    @property
    def ours(self) -> str:
        return "/".join(self.path[1:])


class Plan(NamedTuple):
    """Which of their arrays become which of ours."""

    names: Names
    wanted: tuple[Wanted, ...]
    unnamed: tuple[str, ...]  # paths of ours that the rules don't know


def plan(names: Names, shapes: Mapping[str, Any]) -> Plan:
    """What a tree of ours, {"params": …, "batch_stats": …} of anything with a shape, takes from their file."""
    ours = dict(_leaves(shapes))
    wanted, unnamed = [], []
    for path, shape in ours.items():
        module = "/".join(path[1:-1])
        found = names.find(module)
        source = found and found[2] and ("params", *found[2].split("/"), "kernel")
        if found is None or (source and source not in ours):
            unnamed.append("/".join(path[1:]))
            continue
        rule, theirs, _ = found
        kin = ("params", *path[1:-1])
        leaf = names.leaf(rule, path[-1], normalization=(*kin, "kernel") not in ours)
        wanted.append(Wanted(path, f"{theirs}{names.joint}{leaf}", shape, ours[source][-1] if source else None))
    return Plan(names, tuple(wanted), tuple(unnamed))


def carried(plan: Plan, tensors: Mapping[str, np.ndarray], *, skip: Sequence[str] = ()) -> dict[str, Any]:
    """Our tree with their numbers, as nested dictionaries; what `skip` names is left out of it.

    `skip` are patterns (`head`, `stage_3*`, `AuxLogits.*`) for the beginning of our paths or of their names. Raises
    UserError with all that is missing, superfluous or of another shape.
    """
    given = _ranked(plan.names, tensors)
    wanted = [one for one in plan.wanted if not _skipped(skip, one.ours, one.name)]
    arrays = {one: arranged(plan.names, one, _weights(one, given[one.name])) for one in wanted if one.name in given}
    wrong = [one for one, array in arrays.items() if array.shape != one.shape]
    extra = given.keys() - {one.name for one in plan.wanted}
    _refuse(
        lacks=[f"{one.name} (our {one.ours})" for one in wanted if one.name not in given]
        + [f"our {path}" for path in plan.unnamed if not _skipped(skip, path)],
        extra=[name for name in given if name in extra and not (_ignored(plan.names, name) or _skipped(skip, name))],
        wrong=[f"{one.name} is {given[one.name].shape}, our {one.ours} {one.shape}" for one in wrong],
        remedy=HEAD_ANEW if all(one.path[1] == HEAD for one in wrong) else "",
    )
    tree: dict[str, Any] = {}
    for one, array in arrays.items():
        _put(tree, one.path, array)
    return tree


def arranged(names: Names, one: Wanted, array: np.ndarray) -> np.ndarray:
    """One of their arrays in our layout; of another shape than ours where it doesn't fit."""
    if one.path[-1] == "kernel":
        array = _from_torch(array, one) if names.framework == "torch" else array
    if array.shape != one.shape and _plain(array.shape) == _plain(one.shape):
        array = array.reshape(one.shape)  # a dense layer as a convolution by 1 x 1, a vector as (1, 1, C)
    if array.ndim == len(one.shape) == 4 and names.framework == "keras" and one.shape[2] == 1 and array.shape[2] > 1:
        array = array.reshape(*array.shape[:2], 1, -1)  # depthwise: (h, w, channels, multiplier)
    return np.ascontiguousarray(array)


def _weights(one: Wanted, array: np.ndarray) -> np.ndarray:
    """One of their arrays; raises UserError where it holds other than finite float32."""
    if array.dtype != np.float32:
        raise UserError(f"{one.name} (our {one.ours}) is {array.dtype}; weights are floats")
    if wrong := int((~np.isfinite(array)).sum()):
        raise UserError(
            f"{one.name} (our {one.ours}) has {wrong:,} values that aren't finite in float32; mend the file"
        )
    return array


def matches(plan: Plan, tensors: Mapping[str, Any]) -> float:
    """The share of our arrays that their file has by name."""
    given = _ranked(plan.names, tensors)
    total = len(plan.wanted) + len(plan.unnamed)
    return sum(one.name in given for one in plan.wanted) / max(1, total)


def _from_torch(array: np.ndarray, one: Wanted) -> np.ndarray:
    """(out, in, h, w) -> (h, w, in, out); (out, in) -> (in, out), places before channels."""
    if array.ndim == 4:
        turned = array.transpose(2, 3, 1, 0)
        return turned.reshape(-1, array.shape[0]) if len(one.shape) == 2 else turned
    if array.ndim == 2 and one.flattened is not None and array.shape[1] == one.shape[0]:
        return _in_our_order(array, one.flattened, one.name)
    return array.T


def _in_our_order(array: np.ndarray, channels: int, name: str) -> np.ndarray:
    """(out, channels * height * width) -> (height * width * channels, out), of square maps."""
    side = math.isqrt(array.shape[1] // channels)
    if side * side * channels != array.shape[1]:
        raise UserError(f"{name} is on maps that aren't square: {array.shape[1]} numbers of {channels} channels")
    maps = array.reshape(-1, channels, side, side).transpose(2, 3, 1, 0)
    return maps.reshape(-1, array.shape[0])


def _ranked(names: Names, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Their arrays, with numbered words counted from 0: the second model of a session begins anywhere."""
    numbers: dict[str, dict[int, int]] = {}
    pattern = re.compile(rf"({'|'.join(names.ranked)})(?:_(\d+))?(?=/)") if names.ranked else None
    if pattern is None:
        return dict(tensors)
    found = {match.groups() for name in tensors if (match := pattern.match(name))}
    for word, _ in found:
        all_of_it = sorted(int(number or 0) for other, number in found if other == word)
        numbers[word] = {number: rank for rank, number in enumerate(all_of_it)}

    def ranked(match: re.Match[str]) -> str:
        return f"{match[1]}_{numbers[match[1]][int(match[2] or 0)]}"

    return {pattern.sub(ranked, name, count=1) if pattern.match(name) else name: one for name, one in tensors.items()}


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    if not isinstance(tree, Mapping):
        yield path, tuple(tree.shape)
        return
    for name, branch in tree.items():
        yield from _leaves(branch, (*path, name))


def _put(tree: dict[str, Any], path: tuple[str, ...], array: np.ndarray) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = array


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _skipped(skip: Sequence[str], *names: str) -> bool:
    patterns = [re.escape(one).replace(r"\*", ".*") + r"(?:[./].*)?" for one in skip]
    return any(re.fullmatch(pattern, name) for pattern in patterns for name in names)


def _ignored(names: Names, name: str) -> bool:
    return re.fullmatch(names.ignored, name) is not None


def _refuse(*, lacks: list[str], extra: list[str], wrong: list[str], remedy: str) -> None:
    """Raises UserError unless every list is empty; the remedy is for a file in which some shapes alone are wrong."""
    problems = {"lacks": lacks, "has besides": extra, "has otherwise": wrong}
    if told := [f"{what} {_some(names)}" for what, names in problems.items() if names]:
        raise UserError("the file " + "; ".join(told) + ("" if lacks or extra else remedy))


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest
