"""Today's names of renamed parts and parameters, for old command lines, YAML files and run folders."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from components.types import Duration, UserError
from runner.tree import iterate_parts


class Rename(NamedTuple):
    """The new name of a part.

    Attributes:
        target: the part's dotted path today.
        condition: a parameter, by its old name. The part is renamed only if it has a value. None: always.
    """

    target: str
    condition: str | None = None


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
"""Old modules of parts, and the packages that export the parts today. They apply before `TARGETS`."""

TARGETS = {
    "components.layer.ConnectedConv": Rename("components.architecture.lenet.layers.TableConv"),
    "components.layer.RadialBasis": Rename("components.architecture.lenet.layers.RadialBasis"),
    "components.layer.Squash": Rename("components.architecture.lenet.layers.ScaledTanh"),
    "components.layer.SubSampling": Rename("components.architecture.lenet.layers.SubSampling"),
    "components.schedule.performance": Rename("components.schedule.reduce_on_plateau"),
    "components.loss.SoftmaxCrossEntropy": Rename("components.loss.LeNet5_1998", condition="rubbish"),
}
"""New names of parts, by their old dotted paths."""

MOBILE_NETS = ("MobileNet", "MobileNetV1", "MobileNetV2", "MobileNetV3", "MobileNetV3Small")
EFFICIENT_NETS = tuple(f"EfficientNetB{number}" for number in range(5))
PARAMETERS = {
    "components.loss.LeNet5_1998": {"rubbish": "garbage_penalty"},
    "components.feature.Image": {"deviation": "std"},
    "components.schedule.reduce_on_plateau": {"floor": "min_scale"},
    **{f"components.architecture.{name}": {"excitation": "squeeze_excite"} for name in (*MOBILE_NETS, *EFFICIENT_NETS)},
}
"""Renamed parameters, by the part's dotted path today: {old: new}."""

VALUES = {"initializer": {"he_normal_out": "he_normal_fan_out"}}
"""Renamed values, by parameter: {old: new}."""


STEPS = {"components.schedule.exponential": ("decay_steps",)}
"""Parameters that are durations today, by the part's dotted path. In earlier versions they were numbers of steps."""


TABLES, TABLE_SHARE = ("components.data.Csv", "components.data.Frame"), 0.15
"""Sources whose `valid` and `test` were a share by default, and that share."""

NUMERIC = "components.feature.Numeric"
NOW_READ_OTHERWISE = tuple(
    f"components.feature.{name}" for name in ("PrincipalComponents", "Image", "Embedding", "Indicator")
)
"""Columns of which other columns read the encoded arrays with version 2 of the transform, and the output today."""


class Renamed(NamedTuple):
    """A value that was renamed, or that has a renamed key.

    Attributes:
        old: the old key.
        new: the key today.
        note: a sentence for the user.
    """

    old: str
    new: str
    note: str


def rename_targets(tree: Any, key: str = "") -> tuple[Any, tuple[Renamed, ...]]:
    """Replaces old names of parts, parameters and values in a tree.

    Args:
        tree: the plain values of a configuration or of a feature file.
        key: the dotted key of the tree in a configuration.

    Returns:
        The tree with today's names, and the renamed values.
    """
    if isinstance(tree, list):
        pairs = [rename_targets(value, _join(key, index)) for index, value in enumerate(tree)]
        return [value for value, _ in pairs], tuple(rename for _, renamed in pairs for rename in renamed)
    if not isinstance(tree, dict):
        return tree, ()
    node, renamed = _rename_part(tree, key)
    for name, value in node.items():
        node[name], renamed_below = rename_targets(value, _join(key, name))
        renamed += renamed_below
    return node, renamed


def steps_to_durations(tree: Any) -> Any:
    """The tree of an earlier version with the durations of `STEPS` in today's spelling: 1000 becomes 1000st."""
    tree = copy.deepcopy(tree)
    for _, node in iterate_parts(tree):
        for name in STEPS.get(node["_target_"], ()):
            if isinstance(node.get(name), int | float):
                node[name] = Duration(node[name], "step").written()
    return tree


def fill_shares(tree: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the shares of a table's splits that stand for null. Earlier versions recorded them."""
    data = tree.get("data")
    if not isinstance(data, dict) or data.get("_target_") not in TABLES or data.get("split_by") is not None:
        return tree
    shares = {name: TABLE_SHARE for name in ("valid", "test") if data.get(name) is None}
    return {**tree, "data": {**data, **shares}}


def read_numbers_as_data(feature: dict[str, Any]) -> dict[str, Any]:
    """The feature configuration of a run with version 2 of the transform, with which other columns read of a `Numeric`
    the numbers in the data."""
    return _set_read_as(feature, _find_read_columns(feature, (NUMERIC,)))


def keep_read_as(feature: dict[str, Any], recorded: dict[str, Any]) -> dict[str, Any]:
    """The feature configuration of a resumed run, which reads each `Numeric` as in the recorded configuration."""
    columns = _list_columns(recorded)
    return _set_read_as(feature, [name for name, node in columns.items() if node.get("read_as") == "data"])


def check_read_columns(feature: dict[str, Any]) -> None:
    """Raises UserError if a column of a run with version 2 of the transform reads a column in a way that has ended."""
    for name in _find_read_columns(feature, NOW_READ_OTHERWISE):
        raise UserError(
            f"feature.columns: other columns read `{name}`, and got other values of it in the version of Titrate that "
            "trained the run. Train the run again."
        )


def _find_read_columns(feature: dict[str, Any], targets: Collection[str]) -> list[str]:
    """The columns with one of some `_target_`s whose name is a parameter of another column, or in its expression."""
    columns = _list_columns(feature)
    read = {other: set(_list_names(node)) for other, node in columns.items()}
    return [
        name
        for name, node in columns.items()
        if node.get("_target_") in targets and any(name in names for other, names in read.items() if other != name)
    ]


def _list_columns(feature: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The feature columns that are mappings. In a damaged file, others may not be."""
    columns = feature.get("columns")
    return (
        {} if not isinstance(columns, dict) else {key: node for key, node in columns.items() if isinstance(node, dict)}
    )


def _list_names(node: Any, key: str = "") -> Iterator[str]:
    """The texts among the parameters of a part, and the words of an expression."""
    if isinstance(node, str) and key != "_target_":
        yield node
        if key == "expression":
            yield from re.findall(r"\w+|(?<=`)[^`]+(?=`)", node)
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from _list_names(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _list_names(value)


def _set_read_as(feature: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    columns = _list_columns(feature)
    changed = {name: {**columns[name], "read_as": "data"} for name in names if name in columns}
    numeric = {name: node for name, node in changed.items() if node.get("_target_") == NUMERIC}
    return {**feature, "columns": {**feature["columns"], **numeric}} if numeric else feature


def move_keys(origins: Mapping[str, str], renamed: Iterable[Renamed]) -> dict[str, str]:
    """The origins of values by today's keys."""
    new_keys = {rename.old: rename.new for rename in renamed if rename.old != rename.new}
    moved = {}
    for key, origin in origins.items():
        for old, new in new_keys.items():
            if f"{key}.".startswith(f"{old}."):  # the renamed key, or a key below it
                key = new + key.removeprefix(old)
                break
        moved[key] = origin
    return moved


def _rename_part(node: dict[str, Any], key: str) -> tuple[dict[str, Any], tuple[Renamed, ...]]:
    """Replaces the old names of a part, its parameters and their values. Parts below it are unchanged."""
    target = node.get("_target_")
    if not isinstance(target, str):
        return dict(node), ()
    module, _, name = target.rpartition(".")
    today = f"{MODULES[module]}.{name}" if module in MODULES else target
    if (rename := TARGETS.get(today)) is not None:
        if rename.condition is None or node.get(rename.condition) is not None:
            today = rename.target
        elif rename.condition in node:
            node = {parameter: value for parameter, value in node.items() if parameter != rename.condition}
    new_node, renamed = {}, []
    if today != target:
        target_key = _join(key, "_target_")
        renamed.append(Renamed(target_key, target_key, f"{target_key}={target} was renamed to {today}"))
    for name, value in node.items():
        parameter = PARAMETERS.get(today, {}).get(name, name)
        old, new = _join(key, name), _join(key, parameter)
        if new != old:
            renamed.append(Renamed(old, new, f"{old} was renamed to {new}"))
        new_value = VALUES.get(parameter, {}).get(value, value) if isinstance(value, str) else value
        if new_value is not value:
            renamed.append(Renamed(old, new, f"{new}={value} was renamed to {new_value}"))
        new_node[parameter] = new_value
    return new_node | {"_target_": today}, tuple(renamed)


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
