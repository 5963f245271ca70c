"""The losses of a configuration: how each is called, which targets it takes, and whether it reads a teacher.

All of this is read from their source.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from components.closest import join_names
from components.types import describe_target_kinds
from runner.config.check_targets import (
    describe_target,
    find_augmentations,
    is_set,
    needs_no_target,
    read_target_kinds,
    target_of,
)
from runner.config.option_parts import list_targets
from runner.signature.classes import find_class, find_method
from runner.signature.kinds import kinds_of
from runner.signature.parameters import hint_of_argument, read_call_signature, read_parameter_hints
from runner.signature.source import PartNotFoundError
from runner.signature.type_hints import Problem, element_hint, part_kinds


def losses_by_key(node: Any) -> dict[str, Mapping[str, Any]]:
    """The losses by their keys in the configuration: of the only target, or of each target."""
    if target_of(node):
        return {"loss": node}
    by_target = node if isinstance(node, Mapping) else {}
    return {f"loss.{name}": loss for name, loss in by_target.items() if target_of(loss)}


def inner_losses(loss: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """The losses that are parameters of a loss, such as `inner: Loss`, by their keys in the configuration."""
    try:
        hints = read_parameter_hints(loss["_target_"])
    except PartNotFoundError:
        return {}
    found = [each for name, value in loss.items() for each in _find(value, hint_of_argument(hints, name), name)]
    return {f"{key}.{path}": node for path, node in found}


def _find(value: Any, hint: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The losses in the value of a parameter, which may be a list or a mapping of losses, by their paths."""
    if target_of(value):
        if any("loss" in kinds_of(kind) for kind in part_kinds(hint)):
            yield path, value
    elif isinstance(value, Mapping | list):
        for key, element in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _find(element, element_hint(hint, key), f"{path}.{key}")


def may_read_teacher(loss: Mapping[str, Any]) -> bool:
    """Whether a loss gets the whole batch, or may get it."""
    return gets_batch(loss) is not False


def gets_batch(loss: Mapping[str, Any]) -> bool | None:
    """Whether a loss takes `(output, batch)`: its first parameter is `output`. None: unknown."""
    try:
        parameters = read_call_signature(loss["_target_"])
    except PartNotFoundError:
        return None
    return next(iter(parameters)) == "output" if parameters else None


def find_loss_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds losses that don't suit their target, that call others wrongly, or whose metrics mean nothing."""
    yield from _find_call_problems(values)
    feature = values.get("feature")
    if not isinstance(feature, Mapping):
        return
    binding = find_augmentations(values, "bind")
    changes_targets = any(is_set(values["augmentation"][name], "evaluates") for name in binding)
    for key, loss in losses_by_key(values.get("loss")).items():
        name = key.partition(".")[2]
        targets = feature.get("targets") if name else feature
        place = f"feature.targets.{name}" if name else "feature.target"
        target = targets.get(name or "target") if isinstance(targets, Mapping) else None
        if not changes_targets:
            yield from _check_kind(key, loss, place, target)
        yield from _check_ignored_logits(key, loss, values.get("metric"), name)


def _check_kind(key: str, loss: Mapping[str, Any], place: str, target: Any) -> Iterator[Problem]:
    """Finds a loss, or one within it, that can't take the kind of a target."""
    own, kinds = read_target_kinds(target), read_target_kinds(loss)
    if own and kinds and not {*own} & {*kinds}:
        able = {
            name: node for name, each in list_targets("loss") if own[0] in read_target_kinds(node := {"_target_": each})
        }
        binary = [name for name, node in able.items() if own[0] in ("classes", "pixels") and is_set(node, "is_binary")]
        names = join_names(able.keys() - {*binary}) + (f"; for two classes also {join_names(binary)}" if binary else "")
        needed = f"{loss['_target_']} needs {describe_target_kinds(kinds)}"
        found = f"{describe_target(place, target)} is {describe_target_kinds(own[:1])}"
        yield Problem(key, f"{needed}, and {found}. Losses for it: {names}.")
    elif is_set(loss, "needs_raw_target") and target and target.get("normalize"):
        yield Problem(
            f"{place}.normalize",
            f"{loss['_target_']} needs numbers as they are in the data, and normalized ones differ. Set it to null.",
        )
    for inner_key, inner in inner_losses(loss, key).items() if is_set(loss, "shares_target") else ():
        yield from _check_kind(inner_key, inner, place, target)


def _check_ignored_logits(key: str, loss: Mapping[str, Any], metrics: Any, name: str) -> Iterator[Problem]:
    """Finds metrics of logits that no loss trains."""
    listed = metrics.get(name) if name and isinstance(metrics, Mapping) else metrics
    nodes = listed.items() if isinstance(listed, Mapping) else ()
    own = [each for each, node in nodes if not needs_no_target(node)]
    if own and _ignores_logits(key, loss):
        place = f"metric.{name}" if name else "metric"
        yield Problem(
            place,
            f"{join_names(own)} would be of logits that {loss['_target_']} doesn't train. Set {place}=[], or add a "
            "loss of the logits with loss=weighted_sum.",
        )


def _ignores_logits(key: str, loss: Mapping[str, Any]) -> bool:
    inner = inner_losses(loss, key) if is_set(loss, "shares_target") else {}
    return all(_ignores_logits(*each) for each in inner.items()) if inner else is_set(loss, "ignores_logits")


def _find_call_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds losses that another loss can't call: it has other arguments than they take."""
    for key, loss in losses_by_key(values.get("loss")).items():
        yield from _check_inner(key, loss)


def _check_inner(key: str, loss: Mapping[str, Any]) -> Iterator[Problem]:
    outer = loss["_target_"]
    for inner_key, inner in inner_losses(loss, key).items():
        takes = f"{inner['_target_']} takes"
        outer_gets, inner_gets = gets_batch(loss), gets_batch(inner)
        if outer_gets is False and inner_gets is True:
            yield Problem(
                inner_key,
                f"{takes} (output, batch), and {outer} gets only (logits, target). Give `__call__` of {outer} the "
                "parameters (output, batch).",
            )
        elif outer_gets is True and inner_gets is False and _passes_on(outer, inner_key.removeprefix(f"{key}.")):
            yield Problem(
                inner_key,
                f"{takes} (logits, target), and {outer} calls it with (output, batch). Call it with "
                "(output.logits, batch.target).",
            )
        yield from _check_inner(inner_key, inner)


def _passes_on(outer: str, field: str) -> bool:
    """Whether each call of `self.field` in `__call__` of a loss gets its own first two parameters unchanged."""
    cls = find_class(outer)
    method = find_method(cls, "__call__") if cls else None
    if method is None:
        return False
    own = [argument.arg for argument in method.args.args]  # self, output, batch
    functions = [node for node in ast.walk(method) if isinstance(node, ast.Call)]
    calls = [node for node in functions if ast.unparse(node.func) == f"{own[0]}.{field}"]
    return bool(calls) and all([ast.unparse(each) for each in call.args] == own[1:3] for call in calls)
