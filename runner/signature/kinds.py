"""Decides from the source code, without importing it, which `_target_`s are parts, and of which kind.

A target is a part of a kind if a public package of the kind exports it, and if a call of it returns an object of the
kind's class or protocol. So a helper function in the same module is not a part, and a new part needs no entry here.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import NamedTuple

from components.closest import closest_names, suggest_name
from runner.signature.classes import Class, find_class, is_protocol, is_subclass, member_names
from runner.signature.source import (
    Definition,
    NameNotFoundError,
    PartNotFoundError,
    find_definition,
    find_module,
    list_public_names,
    public_name,
    resolve_name,
)
from runner.user_code import is_in_packages, is_user_code

MAX_ALL_CHECKED = 100  # more names, such as Optax's, are checked one by one from the nearest on: checking is slow


class PartKind(NamedTuple):
    """A kind of part.

    Attributes:
        title: its name in messages.
        packages: the packages that export parts of this kind, Titrate's first.
        returns: the class or protocol that a call of a part returns; None: the part is a function, used as it is.
    """

    title: str
    packages: tuple[str, ...]
    returns: str | None


FUNCTION = "function"
"""The kind of a parameter annotated `Callable`."""
KINDS = {
    "source": PartKind("a data source", ("components.data",), "components.types.Source"),
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
    "optimizer": PartKind("an optimizer", ("optax", "optax.contrib"), "optax.GradientTransformation"),
    "schedule": PartKind("a schedule", ("components.schedule",), "components.types.Schedule"),
    "regularizer": PartKind("a regularizer", ("components.regularizer",), "components.types.Regularizer"),
    "augmentation": PartKind("an augmentation", ("components.augmentation",), "components.types.Augmentation"),
    "weights": PartKind("a source of weights", ("components.pretrained",), "components.types.Weights"),
    "tracking": PartKind("a tracker", ("runner.tracking",), "runner.tracking.Tracking"),
    "sweep": PartKind("a sweep", ("runner.sweep",), "runner.sweep.Grid"),
    FUNCTION: PartKind("a function of jax.nn", ("jax.nn", "jax.nn.initializers"), None),
}


def kinds_of(kind_or_class: str) -> tuple[str, ...]:
    """The kinds of part that a kind, or the dotted name of a class or protocol in an annotation, stands for."""
    if kind_or_class in KINDS:
        return (kind_or_class,)
    if kinds := tuple(name for name, kind in KINDS.items() if kind.returns == kind_or_class):
        return kinds
    package = kind_or_class.partition(".")[0]
    return tuple(
        name
        for name, kind in KINDS.items()
        if kind.returns is not None
        and kind.returns.startswith(f"{package}.")
        and (cls := find_class(kind.returns)) is not None
        and cls.name == kind_or_class
    )


def is_allowed_part(target: str, allowed: Sequence[str] = ()) -> bool:
    """Whether a target is a part of one of the allowed kinds.

    Args:
        target: a dotted name. Targets in the user's packages are always accepted: `build` checks what they return.
        allowed: kinds of part, or classes by their dotted names; empty: any kind.

    Raises:
        PartNotFoundError: there is no such target.
    """
    definition = find_part_definition(target)
    # A name that a module imports and exports belongs to the module that defines it.
    module_name = target.rpartition(".")[0] if definition is None else definition.module.name
    if is_user_code(f"{module_name}."):
        return True
    return any(_is_part_or_instance(kind, target, definition) for kind in allowed or KINDS)


def find_part_definition(target: str) -> Definition | None:
    """The definition of a target; None if there is no source, such as for a compiled module.

    An error for a wrong name suggests only parts.
    """
    try:
        return find_definition(target)
    except NameNotFoundError as error:
        names = list_public_names(error.module)
        if error.module.name in _titrate_packages():
            names = [name for name in names if _is_part_of_any_kind(f"{error.module.name}.{name}")]
        raise error.suggest(names) from None


def _titrate_packages() -> set[str]:
    return {kind.packages[0] for kind in KINDS.values() if kind.packages[0].startswith("components.")}


def _is_part_of_any_kind(target: str) -> bool:
    return any(_is_valid_candidate(kind, target) for kind in KINDS)


def find_kind_problem(target: str, allowed: Sequence[str] = ()) -> str | None:
    """The problem of a target that is not of an allowed kind, with a suggestion; None if it is.

    The arguments and errors are those of `is_allowed_part`.
    """
    if is_allowed_part(target, allowed):
        return None
    own_titles = " and ".join(kind.title for name, kind in KINDS.items() if is_allowed_part(target, [name]))
    titles = [KINDS[kind].title if kind in KINDS else "a part that is allowed here" for kind in allowed]
    allowed_titles = " or ".join(dict.fromkeys(titles)) or "a part"
    verdict = f"{own_titles}, not {allowed_titles}" if own_titles else f"not {allowed_titles}"
    return f"{target} is {verdict}. {_suggest_part(target, allowed)}"


def _is_part_or_instance(kind_or_class: str, target: str, definition: Definition | None) -> bool:
    """Whether a definition is a part of a kind, or a call of it returns an instance of a class."""
    if kinds := kinds_of(kind_or_class):  # of a parameter annotated `Loss`, too
        return any(_is_part_of_kind(KINDS[kind], target, definition) for kind in kinds)
    cls = find_class(kind_or_class)
    if cls is not None and is_protocol(cls):  # the user's own protocol: `build` checks it
        return any(_is_part_of_kind(kind, target, definition) for kind in KINDS.values())
    returned_class = _find_returned_class(definition)
    return returned_class is not None and is_subclass(returned_class, kind_or_class)


def _is_part_of_kind(kind: PartKind, target: str, definition: Definition | None) -> bool:
    """Whether a definition is a part of a kind."""
    name = _last_name(target)
    if definition is None or name[0] == "_":
        return False
    is_exported = any(_exports(package, name, definition) for package in kind.packages)
    return is_exported and _returns(definition, kind.returns)


def _exports(package: str, name: str, definition: Definition) -> bool:
    """Whether a package contains a definition and exports it under a name."""
    if not is_in_packages(public_name(f"{definition.module.name}."), (package,)):
        return False
    try:
        exported = find_definition(f"{package}.{name}")
    except PartNotFoundError:
        return False
    return exported is not None and exported.node is definition.node


def _returns(definition: Definition, class_name: str | None) -> bool:
    """Whether a call returns an object of a class or protocol; with None, whether the definition is a function."""
    if class_name is None:
        return isinstance(definition.node, ast.FunctionDef)
    returned_class = _find_returned_class(definition)
    if returned_class is None or is_protocol(returned_class):  # the protocol itself, or a helper function
        return False
    if is_subclass(returned_class, class_name):
        return True
    cls = find_class(class_name)  # last, because parsing Flax's source is slow
    required = member_names(cls) if cls is not None and is_protocol(cls) else None
    return required is not None and required <= (member_names(returned_class) or set())


def _find_returned_class(definition: Definition | None) -> Class | None:
    """The class that a call of a class, a function or a `functools.partial` returns.

    None: the source does not name the class, such as a function without a return annotation.
    """
    if definition is None:
        return None
    module, node = definition
    if isinstance(node, ast.ClassDef):
        return Class(module, node)
    if isinstance(node, ast.FunctionDef):
        return find_class(resolve_name(module, node.returns) or "") if node.returns else None
    if isinstance(node, ast.Call):
        if resolve_name(module, node.func) != "functools.partial":
            return None
        node = node.args[0]
    name = resolve_name(module, node)
    try:
        return _find_returned_class(find_definition(name)) if name else None
    except PartNotFoundError:
        return None


def _suggest_part(target: str, allowed: Sequence[str]) -> str:
    """Suggests the part of an allowed kind with the nearest name.

    If `allowed` is empty, the kinds that the target's package holds are allowed.
    """
    package_kinds = [name for name, kind in KINDS.items() if target.startswith(f"{kind.packages[0]}.")]
    kind_by_candidate = {
        path: kind
        for kind in allowed or package_kinds
        for path in (_list_candidates(KINDS[kind]) if kind in KINDS else [kind])
    }
    # Only the last name is compared: in front of it is the package of the first candidate, as in most candidates.
    package = next(iter(kind_by_candidate), target).rpartition(".")[0]
    likely = f"{package}.{_last_name(target)}"
    if len(kind_by_candidate) > MAX_ALL_CHECKED:
        for path in closest_names(likely, kind_by_candidate, count=len(kind_by_candidate)):
            if _is_valid_candidate(kind_by_candidate[path], path):
                return f"Did you mean {path}?"
    return suggest_name(likely, [path for path, kind in kind_by_candidate.items() if _is_valid_candidate(kind, path)])


def _list_candidates(kind: PartKind) -> list[str]:
    """The dotted names in the first package of a kind that may be parts of it."""
    module = find_module(kind.packages[0])
    return [f"{kind.packages[0]}.{name}" for name in list_public_names(module)] if module else []


def _is_valid_candidate(kind_or_class: str, path: str) -> bool:
    """Whether a candidate is a part of a kind. A class is the only candidate for itself."""
    try:
        return kind_or_class not in KINDS or _is_part_of_kind(KINDS[kind_or_class], path, find_definition(path))
    except PartNotFoundError:
        return False


def _last_name(target: str) -> str:
    return target.rpartition(".")[2]
