"""Names of earlier versions: one table, applied to the command line, to YAML files, and to what a run folder keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Rename(NamedTuple):
    """A part that has another name today.

    Attributes:
        target: the part's dotted path today.
        needs: a parameter, by its old name. The part is renamed only if it has a value. None: always.
    """

    target: str
    needs: str | None = None


MODULES = {
    "components.weights": "components.pretrained",
    "components.weights.files": "components.pretrained",
    "components.layer.block": "components.layer",
    "components.layer.excitation": "components.layer",
    "components.layer.connected": "components.layer",
    "components.layer.radial_basis": "components.layer",
    "components.layer.squash": "components.layer",
    "components.layer.subsampling": "components.layer",
    "components.architecture.lenet5": "components.architecture",
    "components.architecture.lenet5_1998": "components.architecture",
    "components.architecture.inverted_residual": "components.architecture",
}
"""Modules that parts stood in, and the packages that export them today. They apply before `TARGETS`."""

TARGETS = {
    "components.layer.ConnectedConv": Rename("components.architecture.lenet.layers.TableConv"),
    "components.layer.RadialBasis": Rename("components.architecture.lenet.layers.RadialBasis"),
    "components.layer.Squash": Rename("components.architecture.lenet.layers.ScaledTanh"),
    "components.layer.SubSampling": Rename("components.architecture.lenet.layers.SubSampling"),
    "components.schedule.performance": Rename("components.schedule.reduce_on_plateau"),
    "components.loss.SoftmaxCrossEntropy": Rename("components.loss.LeNet5_1998", needs="rubbish"),
}
"""Parts by the dotted paths that they had."""

MOBILE = ("MobileNet", "MobileNetV1", "MobileNetV2", "MobileNetV3", "MobileNetV3Small")
EFFICIENT = tuple(f"EfficientNetB{number}" for number in range(5))
PARAMETERS = {
    "components.loss.LeNet5_1998": {"rubbish": "garbage_penalty"},
    "components.feature.Image": {"deviation": "std"},
    "components.schedule.reduce_on_plateau": {"floor": "min_scale"},
    **{f"components.architecture.{name}": {"excitation": "squeeze_excite"} for name in (*MOBILE, *EFFICIENT)},
}
"""Parameters with another name today, by the part's dotted path today: {old: new}."""

VALUES = {"initializer": {"he_normal_out": "he_normal_fan_out"}}
"""Values with another name today, by parameter."""


class Renamed(NamedTuple):
    """A value whose key, or itself, was renamed.

    Attributes:
        old: the key that it had.
        new: its key today.
        note: a sentence for the user.
    """

    old: str
    new: str
    note: str


def rename_targets(tree: Any, key: str = "") -> tuple[Any, tuple[Renamed, ...]]:
    """A tree of plain values with today's names of parts and parameters, and what was renamed.

    Args:
        tree: the values of a configuration or of a feature file.
        key: where the tree stands in a configuration.
    """
    if isinstance(tree, list):
        pairs = [rename_targets(value, _join(key, index)) for index, value in enumerate(tree)]
        return [value for value, _ in pairs], tuple(one for _, renamed in pairs for one in renamed)
    if not isinstance(tree, dict):
        return tree, ()
    node, renamed = _rename_part(tree, key)
    for name, value in node.items():
        node[name], inner = rename_targets(value, _join(key, name))
        renamed += inner
    return node, renamed


def move_keys(origins: Mapping[str, str], renamed: Iterable[Renamed]) -> dict[str, str]:
    """Who set each value, by today's keys."""
    keys = {one.old: one.new for one in renamed if one.old != one.new}
    parents = {key: next((old for old in keys if f"{key}.".startswith(f"{old}.")), None) for key in origins}
    return {keys[old] + key[len(old) :] if (old := parents[key]) else key: who for key, who in origins.items()}


def _rename_part(node: dict[str, Any], key: str) -> tuple[dict[str, Any], tuple[Renamed, ...]]:
    """A mapping with today's names. The values in it are not searched."""
    target = node.get("_target_")
    if not isinstance(target, str):
        return dict(node), ()
    module, _, name = target.rpartition(".")
    today = f"{MODULES.get(module, module)}.{name}"
    if (rename := TARGETS.get(today)) is not None:
        if rename.needs is None or node.get(rename.needs) is not None:
            today = rename.target
        elif rename.needs in node:
            node = {parameter: value for parameter, value in node.items() if parameter != rename.needs}
    made, renamed = {}, []
    if today != target:
        place = _join(key, "_target_")
        renamed.append(Renamed(place, place, f"{place}={target} is {today} now"))
    for name, value in node.items():
        old, new = _join(key, name), _join(key, parameter := PARAMETERS.get(today, {}).get(name, name))
        if new != old:
            renamed.append(Renamed(old, new, f"{old} is {new} now"))
        made[parameter] = VALUES.get(parameter, {}).get(value, value) if isinstance(value, str) else value
        if made[parameter] is not value:
            renamed.append(Renamed(old, new, f"{new}={value} is {made[parameter]} now"))
    return made | {"_target_": today}, tuple(renamed)


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
