"""The kinds of parts, such as losses and layers, and which definitions are parts of a kind.

A definition is a part of a kind if

1. a package of the kind exports it: `components.loss` exports `MSE`;
2. a call of it returns an object of the kind's class or protocol: `MSE()` has the members of `components.types.Loss`.

So a helper function in `components.loss` is not a part, and a new loss needs no entry here. Both are read from the
source code. Nothing is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from typing import NamedTuple

from components.types import EXAMPLES_PROTOCOLS, UPDATE_PROTOCOLS
from runner.signature.classes import find_class, find_returned_class, is_protocol, is_subclass, member_names
from runner.signature.source import Definition, PartNotFoundError, find_definition, public_name
from runner.signature.type_hints import FUNCTION
from runner.user_code import is_in_packages


class PartKind(NamedTuple):
    """A kind of part.

    Attributes:
        title: its name in messages.
        packages: the packages that export parts of this kind, Titrate's first.
        returns: the class or protocol that a call of a part returns; None: the part is a function, used as it is.
        protocols: protocols by the name of a method. The object that a call returns has exactly one of these methods,
            and all members of its protocol. Empty: any methods.
    """

    title: str
    packages: tuple[str, ...]
    returns: str | None
    protocols: Mapping[str, type] = {}


KINDS = {
    "source": PartKind("a data source", ("components.data",), "components.types.Source"),
    "operation": PartKind("a row operation", ("components.operation",), "components.types.RowOperation"),
    "examples": PartKind(
        "a choice of examples", ("components.examples",), "components.types.Examples", EXAMPLES_PROTOCOLS
    ),
    "target": PartKind("a prediction target", ("components.feature",), "components.types.Target"),
    "column": PartKind("a feature column", ("components.feature",), "components.types.Column"),
    "architecture": PartKind("an architecture", ("components.architecture",), "flax.linen.Module"),
    "layer": PartKind(
        "a layer",
        ("components.layer", "flax.linen", "components.architecture.lenet.layers"),  # the last: LeNet-5's of 1998
        "flax.linen.Module",
    ),
    "loss": PartKind("a loss", ("components.loss",), "components.types.Loss"),
    "metric": PartKind("a metric", ("components.metric",), "components.types.Metric"),
    "optimizer": PartKind(
        "an optimizer", ("optax", "optax.contrib", "components.optimizer"), "optax.GradientTransformation"
    ),
    "schedule": PartKind("a schedule", ("components.schedule",), "components.types.Schedule"),
    "regularizer": PartKind("a regularizer", ("components.regularizer",), "components.types.Regularizer"),
    "update": PartKind("an update", ("components.update",), "components.types.Update", UPDATE_PROTOCOLS),
    "constraint": PartKind("a constraint", ("components.constraint",), "components.types.Constraint"),
    "step": PartKind("a step", ("components.step",), "components.types.Step"),
    "augmentation": PartKind("an augmentation", ("components.augmentation",), "components.types.Augmentation"),
    "observer": PartKind("an observer", ("components.observer",), "components.types.Observer"),
    "weights": PartKind("a source of weights", ("components.pretrained",), "components.types.Weights"),
    "tracking": PartKind("a tracker", ("runner.tracking",), "runner.tracking.Tracking"),
    "teacher": PartKind("a teacher", ("runner.execution.teacher",), "runner.execution.teacher.Teacher"),
    "sweep": PartKind("a sweep", ("runner.sweep",), "runner.sweep.Grid"),
    FUNCTION: PartKind("a function of jax.nn", ("jax.nn", "jax.nn.initializers"), None),
}


def kinds_of(kind_or_class: str) -> tuple[str, ...]:
    """The names of the kinds whose parts a kind or class in an annotation takes.

    "loss" -> "loss"
    "components.types.training.Loss" -> "loss", because a call of a loss returns it
    """
    if kind_or_class in KINDS:
        return (kind_or_class,)
    if kinds := tuple(name for name, kind in KINDS.items() if kind.returns == kind_or_class):
        return kinds
    package = kind_or_class.partition(".")[0]
    classes = {
        name: find_class(kind.returns)
        for name, kind in KINDS.items()
        if kind.returns is not None and kind.returns.startswith(f"{package}.")
    }
    return tuple(name for name, cls in classes.items() if cls is not None and cls.name == kind_or_class)


def is_part_of_kind(definition: Definition, name: str, kind: PartKind) -> bool:
    """Whether a definition is a part of a kind, exported under a name."""
    packages = sorted(kind.packages, key=len, reverse=True)  # an outer package such as `optax` may have other names
    if name.startswith("_") or not any(_exports(package, name, definition) for package in packages):
        return False
    if kind.returns is None:
        return isinstance(definition.node, ast.FunctionDef)
    return _returns_instance(definition, kind.returns, kind.protocols)


def _exports(package: str, name: str, definition: Definition) -> bool:
    """Whether a package contains a definition and exports it under a name."""
    defining_module = public_name(f"{definition.module.name}.")
    if not is_in_packages(defining_module, (package,)):
        return False
    try:
        exported = find_definition(f"{package}.{name}")
    except PartNotFoundError:
        return False
    return exported is not None and exported.node is definition.node


def _returns_instance(definition: Definition, class_name: str, methods: Collection[str]) -> bool:
    """Whether a call of a definition returns an instance of a class, or an object with the members of a protocol.

    With `methods`, the object must also have exactly one of them.
    """
    returned_class = find_returned_class(definition)
    if returned_class is None or is_protocol(returned_class):  # the protocol itself, or a helper function
        return False
    if is_subclass(returned_class, class_name):
        return True
    protocol = find_class(class_name)  # last, because parsing Flax's source is slow
    if protocol is None or not is_protocol(protocol):
        return False
    required = member_names(protocol)
    members = member_names(returned_class) or set()
    return required is not None and required <= members and (not methods or len(members & set(methods)) == 1)
