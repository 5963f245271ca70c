"""Checks that targets, losses, metrics and augmentations fit together, before JAX is imported."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from components.closest import join_names, suggest_name
from components.types import describe_target_kinds
from runner.config.catalog import find_options
from runner.config.option_parts import list_targets
from runner.config.recorded_config import read_yaml
from runner.signature.classes import BASES_WITHOUT_PARAMETERS, Class, base_names, find_class, member_names
from runner.signature.parameters import read_call_signature
from runner.signature.source import PartNotFoundError
from runner.signature.type_hints import Problem

WEIGHTED = "weighted/"  # starts the names of losses and metrics of weighted examples
RESERVED_NAMES = ("loss", "objective", "learning_rate", "epoch", "step", "last")  # of the record


def find_target_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds targets without a loss, losses and metrics without a target, and mixed classes that a loss can't take."""
    feature = values.get("feature")
    if not isinstance(feature, Mapping):
        return
    yield from _check_masks(feature)
    single, several = feature.get("target"), feature.get("targets") or {}
    if single is not None and several:
        yield Problem("feature.targets", "is set beside feature.target. Set one of them to null.")
        return
    if not isinstance(several, Mapping) or not all(key in values for key in ("loss", "metric")):
        return
    if single is not None:
        yield from _check_single(values)
    elif several:
        yield from _check_several(values, several)
    elif "target" in feature or "targets" in feature:  # otherwise a missing key is reported
        yield from _check_none(values)
    yield from _check_calibration(values, [single] if single is not None else [*several.values()])
    yield from _check_mixing(values, {"": single} if single is not None else several)
    yield from _check_metric_targets(values, {"": single} if single is not None else several)


def list_metric_names(values: Mapping[str, Any]) -> tuple[list[str], bool]:
    """The names of losses and metrics in the record, and whether the architecture may add internal losses to them."""
    feature, metrics = values["feature"], values["metric"]
    targets = feature.get("targets") or {}
    names = ["loss", *(name for name, node in metrics.items() if isinstance(node, Mapping) and "_target_" in node)]
    if feature.get("target") is None and isinstance(targets, Mapping):
        for target in targets:
            own = metrics.get(target)
            names += [f"{target}/loss", *(f"{target}/{name}" for name in (own if isinstance(own, Mapping) else ()))]
    if feature.get("weight") is not None:
        names += [f"{WEIGHTED}{name}" for name in names]
    return names, _may_have_internal_losses(values)


def _check_masks(feature: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds inputs whose missing values would be masked: an architecture would see NaN."""
    columns = feature.get("columns")
    for name, node in columns.items() if isinstance(columns, Mapping) else ():
        if isinstance(node, Mapping) and node.get("missing") == "mask":
            yield Problem(f"feature.columns.{name}.missing", "mask is for targets only. Choose a replacement.")


def _check_single(values: Mapping[str, Any]) -> Iterator[Problem]:
    loss = values["loss"]
    if loss is None:
        yield Problem("loss", "is null, but there is a target. Choose a loss.")
    elif loss == {}:
        yield Problem("loss", "{} is not a part (a mapping with _target_)")
    elif isinstance(loss, Mapping) and "_target_" not in loss:
        names = join_names(loss)
        yield Problem("loss", f"has losses of the targets {names}, but there is one target without a name. Choose one.")
    metrics = values["metric"] if isinstance(values["metric"], Mapping) else {}
    for name, node in metrics.items():
        if isinstance(node, Mapping) and "_target_" not in node:
            text = "has no _target_. Metrics of several targets need feature.targets."
            if name in find_options().files["metric"]:
                text = f"isn't chosen. Write metric=[{','.join(metrics)}], and set its values below metric.{name}."
            yield Problem(f"metric.{name}", text)
    yield from _check_metric_names(metrics, "metric", RESERVED_NAMES)
    yield from _check_loss_weights(values, ["target"])


def _check_several(values: Mapping[str, Any], targets: Mapping[str, Any]) -> Iterator[Problem]:
    loss, metrics = values["loss"], values["metric"]
    yield from _check_target_names(targets)
    example = f"loss: {{{', '.join(f'{name}: …' for name in targets)}}}"
    if not isinstance(loss, Mapping) or "_target_" in loss:
        count = len(targets)
        fault = (
            f"is missing for {count} targets by name" if loss is None else f"is one loss for {count} targets by name"
        )
        yield Problem("loss", f"{fault}. Set a loss for each: {example}.")
    else:
        for name in targets:
            if name not in loss:
                yield Problem(f"loss.{name}", "is missing. Each target needs a loss.")
        for name in loss:
            if name not in targets:
                yield Problem(f"loss.{name}", f"there is no target {name}. {suggest_name(name, targets)}")
    for name, node in metrics.items() if isinstance(metrics, Mapping) else ():
        if isinstance(node, Mapping) and "_target_" in node:
            first = next(iter(targets))
            yield Problem(f"metric.{name}", f"belongs to no target. Write it below its target: metric.{first}.{name}.")
        elif name not in targets:
            yield Problem(f"metric.{name}", f"there is no target {name}. {suggest_name(name, targets)}")
        elif isinstance(node, Mapping):
            yield from _check_metric_names(node, f"metric.{name}", ("loss",))
    yield from _check_loss_weights(values, list(targets))


def _check_calibration(values: Mapping[str, Any], targets: list[Any]) -> Iterator[Problem]:
    kinds = [read_target_kinds(each) for each in targets]
    if values.get("calibrate") is not None and all(each and not {*each} & {"classes", "labels"} for each in kinds):
        what = "the target has pixels or numbers" if targets else "there is no target"
        yield Problem("calibrate", f"a temperature needs a target of classes or labels, and {what}. Set it to null.")


def _check_target_names(targets: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds targets whose losses and metrics would have names that the record has for others."""
    remedy = "Rename it; `key` names its column."
    for name in targets:
        if name == "target":
            yield Problem(f"feature.targets.{name}", f"the name is that of a single target, feature.target. {remedy}")
        elif f"{name}/".startswith(WEIGHTED):
            taken = f"{WEIGHTED}… are the losses and metrics of weighted examples"
            yield Problem(f"feature.targets.{name}", f"the name is taken: {taken}. {remedy}")


def _check_metric_names(metrics: Mapping[str, Any], key: str, reserved: Collection[str]) -> Iterator[Problem]:
    """Finds metrics with names that the record has for other values."""
    for name in metrics:
        if name in reserved:
            yield Problem(f"{key}.{name}", f"the name is taken. Rename the metric. Taken: {join_names(reserved)}.")
        elif "/" in str(name):
            new_name = str(name).replace("/", "_")
            problem = f"a metric's name can't have a /, which follows the name of a target. Write {new_name}."
            yield Problem(f"{key}.{name}", problem)


def _check_none(values: Mapping[str, Any]) -> Iterator[Problem]:
    loss = values["loss"]
    if loss is not None and not needs_no_target(loss):
        yield Problem("loss", "is set without a target. Set feature.target, or set loss to null.")
    metrics = values["metric"] if isinstance(values["metric"], Mapping) else {}
    if others := [name for name, node in metrics.items() if not needs_no_target(node)]:
        yield Problem("metric", f"is set without a target: {join_names(others)}. Set metric to [].")
    yield from _check_metric_names(metrics, "metric", RESERVED_NAMES)
    yield from _check_loss_weights(values, [])
    if loss is None and not _may_have_internal_losses(values):
        target = target_of(values.get("architecture"))
        yield Problem("feature.target", f"is null, and {target} has no internal loss (Output.losses). Choose a target.")


def _check_loss_weights(values: Mapping[str, Any], targets: list[str]) -> Iterator[Problem]:
    weights = values.get("loss_weights")
    for name in weights if isinstance(weights, Mapping) else ():
        if name not in targets:
            yield Problem(f"loss_weights.{name}", f"there is no target {name}. {suggest_name(name, targets)}")
    is_unused = isinstance(weights, Mapping) and targets and all(weights.get(name, 1) == 0 for name in targets)
    if is_unused and not _may_have_internal_losses(values):
        yield Problem("loss_weights", "is 0 for each target, so nothing is learned. Choose a number above 0.")


def _check_mixing(values: Mapping[str, Any], targets: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds augmentations that mix classes, although the loss of a target doesn't take their probabilities."""
    mixing, loss = find_augmentations(values, "mixes_classes"), values["loss"]
    if not isinstance(loss, Mapping):
        return
    for name, target in targets.items() if mixing else ():
        loss_target = target_of(loss.get(name) if name else loss)
        if not has_classes(target) or loss_target is None:
            continue
        if _takes_soft(loss_target) is False:
            kinds = read_target_kinds(target)
            able = join_names(option for option, path in list_targets("loss") if _takes_soft_of(path, kinds))
            yield Problem(
                f"augmentation.{mixing[0]}",
                f"mixes classes, and {loss_target} doesn't take their probabilities (a parameter `soft`). "
                f"Losses that do: {able}.",
            )


def _takes_soft_of(loss: str, kinds: Collection[str]) -> bool:
    """Whether a loss takes the probabilities of classes of some kinds of targets, and needs no teacher."""
    node = {"_target_": loss}
    takes_kind = bool({*kinds} & {*(read_target_kinds(node) or kinds)})
    return takes_kind and not has_member(node, "needs_teacher") and bool(_takes_soft(loss))


def _check_metric_targets(values: Mapping[str, Any], targets: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds metrics that don't suit their target, unless an augmentation may change what the target is."""
    if find_augmentations(values, "bind") or not isinstance(values["metric"], Mapping):
        return
    for target, node in targets.items():
        own_kinds, key = read_target_kinds(node), f"metric.{target}" if target else "metric"
        metrics = values["metric"].get(target) if target else values["metric"]
        for name, metric in metrics.items() if own_kinds and isinstance(metrics, Mapping) else ():
            kinds = read_target_kinds(metric)
            if not kinds or {*own_kinds} & {*kinds}:
                continue
            needed, found = describe_target_kinds(kinds), describe_target_kinds(own_kinds[:1])
            place = describe_target(f"feature.targets.{target}" if target else "feature.target", node)
            suitable = join_names(sorted(_list_suitable_metrics(own_kinds[0])))
            text = f"needs {needed}, and {place} is {found}. Metrics that suit it: {suitable}."
            yield Problem(f"{key}.{name}", text)


def describe_target(key: str, node: Any) -> str:
    """The key of a target, and its column where that has another name: `feature.target (status)`."""
    column = node.get("key") if isinstance(node, Mapping) else None
    return f"{key} ({column})" if isinstance(column, str) and column != key.rpartition(".")[2] else key


def _list_suitable_metrics(kind: str) -> Iterator[str]:
    """The options of `metric` that suit a kind of target."""
    for option, path in find_options().files["metric"].items():
        if kind in read_target_kinds(read_yaml(path, dict).get(option)):
            yield option


def _takes_soft(loss: str) -> bool | None:
    """Whether a loss takes the probabilities of classes; None: unknown. Those that compare examples don't."""
    if is_set({"_target_": loss}, "ignores_logits"):
        return False
    try:
        parameters = read_call_signature(loss)
    except PartNotFoundError:
        return None
    return None if parameters is None else bool({"soft", "output"} & parameters.keys())


def _may_have_internal_losses(values: Mapping[str, Any]) -> bool:
    """Whether the source of the architecture, or of a class that it inherits from, returns losses in its `Output`."""
    target = target_of(values.get("architecture"))
    cls = find_class(target) if target else None
    return cls is None or _returns_losses(cls)


def _returns_losses(cls: Class) -> bool:
    """Whether a class or a base calls `Output(…)` or `_replace(…)` with losses."""
    for node in ast.walk(cls.node):
        if not isinstance(node, ast.Call) or ast.unparse(node.func).rpartition(".")[2] not in ("Output", "_replace"):
            continue
        if len(node.args) > 1 or any(keyword.arg in ("losses", None) for keyword in node.keywords):
            return True
    bases = map(find_class, (name for name in base_names(cls) if name not in BASES_WITHOUT_PARAMETERS))
    return any(base is not None and _returns_losses(base) for base in bases)


def find_augmentations(values: Mapping[str, Any], member: str) -> list[str]:
    """The names of the augmentations whose class has a member of a name."""
    augmentations = values.get("augmentation")
    nodes = augmentations.items() if isinstance(augmentations, Mapping) else ()
    return [name for name, node in nodes if has_member(node, member)]


def has_member(node: Any, name: str) -> bool:
    """Whether the class of a part has a member of a name."""
    target = target_of(node)
    cls = find_class(target) if target else None
    return cls is not None and name in (member_names(cls) or ())


def has_classes(node: Any) -> bool:
    """Whether the kind of a target is known, and it has classes."""
    return bool({*read_target_kinds(node)} & {"classes", "labels", "pixels"})


def read_target_kinds(node: Any) -> tuple[str, ...]:
    """The kinds of targets that the source of the class of a target, a loss or a metric names. (): it names none."""
    kinds = constant_of(node, "target_kinds")
    return kinds if isinstance(kinds, tuple) and all(isinstance(kind, str) for kind in kinds) else ()


def is_set(node: Any, name: str) -> bool:
    """Whether the source of the class of a part, or of its nearest base with the attribute, sets it to True."""
    return constant_of(node, name) is True


def needs_no_target(node: Any) -> bool:
    """Whether a loss or a metric computes without a target."""
    return constant_of(node, "needs_target") is False


def constant_of(node: Any, name: str) -> Any:
    """The value of an attribute in the source of the class of a part, or of a base; None: it is no constant."""
    target = target_of(node)
    cls = find_class(target) if target else None
    return None if cls is None else _find_constant(cls, name)


def _find_constant(cls: Class, name: str) -> Any:
    """The value of an attribute in the source of a class or of its first base that sets it; None: it is no constant."""
    for node in cls.node.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            with suppress(ValueError, TypeError):
                return ast.literal_eval(getattr(node, "value", None) or "None")
            return None
    bases = (find_class(base) for base in reversed(base_names(cls)) if base not in BASES_WITHOUT_PARAMETERS)
    found = (_find_constant(base, name) for base in bases if base is not None)
    return next((value for value in found if value is not None), None)


def target_of(node: Any) -> str | None:
    """The `_target_` of a part; None: the value is no part."""
    target = node.get("_target_") if isinstance(node, Mapping) else None
    return target if isinstance(target, str) else None
