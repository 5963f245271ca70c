"""Decides by source alone which targets are parts, and of which kind. Nothing is imported.

A target is a part if the public package of its kind exports it, and if calling it returns an object of that kind's
class or protocol. A helper function in the same module is therefore not a part, and a new part needs no entry here.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import NamedTuple

from components.closest import closest_names, suggest_name
from runner.signature.classes import Class, find_class, is_protocol, is_subclass, member_names
from runner.signature.source import (
    Definition,
    PartNotFoundError,
    find_definition,
    find_module,
    list_public_names,
    public_name,
    resolve_name,
)
from runner.user_code import is_user_code

MOST_LOCATED = 100  # a suggestion among more names, such as Optax's, checks the nearest ones first: checking is slow


class PartKind(NamedTuple):
    """A kind of part.

    Attributes:
        title: its name in messages.
        homes: the packages that export parts of it, ours first.
        form: the class or protocol of what a call of a part returns; None: the part is a function, used as it is.
    """

    title: str
    homes: tuple[str, ...]
    form: str | None


KINDS = {
    "source": PartKind("a data source", ("components.data",), "components.types.Source"),
    "target": PartKind("a target", ("components.feature",), "components.types.Target"),
    "column": PartKind("a feature column", ("components.feature",), "components.types.Column"),
    "architecture": PartKind("an architecture", ("components.architecture",), "flax.linen.Module"),
    "layer": PartKind(
        "a layer", ("components.layer", "flax.linen", "components.architecture.lenet.layers"), "flax.linen.Module"
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
    "function": PartKind("a function of jax.nn", ("jax.nn", "jax.nn.initializers"), None),
}


def is_part_of_kind(target: str, wanted: Sequence[str] = ()) -> bool:
    """Whether a target is a part of one of some kinds.

    Args:
        target: a dotted name. One of a package that the user adds is always accepted: `build` checks what it returns.
        wanted: kinds of part, or classes by their dotted names; empty: any kind.

    Raises:
        PartNotFoundError: there is no such target.
    """
    definition = find_definition(target)
    if is_user_code(target if definition is None else f"{definition.module.name}.{_last_name(target)}"):
        return True
    return any(_is_kind_or_class(one, target, definition) for one in wanted or KINDS)


def find_kind_problem(target: str, wanted: Sequence[str] = ()) -> str | None:
    """What is wrong with a target where some kinds of part are accepted, with a suggestion; None: nothing."""
    if is_part_of_kind(target, wanted):
        return None
    own = " and ".join(kind.title for name, kind in KINDS.items() if is_part_of_kind(target, [name]))
    titles = [KINDS[kind].title if kind in KINDS else "a part that belongs here" for kind in wanted]
    allowed = " or ".join(dict.fromkeys(titles)) or "a part that a configuration may name"
    return f"{target} is {f'{own}, ' if own else ''}not {allowed}. {_suggest_part(target, wanted)}"


def _is_kind_or_class(wanted: str, target: str, definition: Definition | None) -> bool:
    if wanted in KINDS:
        return _is_part(KINDS[wanted], target, definition)
    kinds_of_form = [kind for kind in KINDS.values() if kind.form == wanted]  # a parameter annotated `Loss`
    if kinds_of_form:
        return any(_is_part(kind, target, definition) for kind in kinds_of_form)
    made_class = _find_made_class(definition)
    protocol = find_class(wanted)
    if protocol is not None and is_protocol(protocol):  # one of the user's: build checks it
        return any(_is_part(kind, target, definition) for kind in KINDS.values())
    return made_class is not None and is_subclass(made_class, wanted)


def _is_part(kind: PartKind, target: str, definition: Definition | None) -> bool:
    """Whether a definition is a part of that kind."""
    name = _last_name(target)
    exported = (
        definition is not None and name[0] != "_" and any(_exports(home, name, definition) for home in kind.homes)
    )
    return exported and _has_form(definition, kind.form)


def _exports(home: str, name: str, definition: Definition) -> bool:
    if not public_name(f"{definition.module.name}.").startswith(f"{home}."):
        return False
    try:
        own = find_definition(f"{home}.{name}")
    except PartNotFoundError:
        return False
    return own is not None and own.node is definition.node


def _has_form(definition: Definition | None, form: str | None) -> bool:
    if definition is None or form is None:
        return definition is not None and isinstance(definition.node, ast.FunctionDef)
    made_class = _find_made_class(definition)
    if made_class is None or is_protocol(made_class):
        return False
    if is_subclass(made_class, form):
        return True
    wanted = find_class(form)  # last, because parsing Flax's source is slow
    needed = member_names(wanted) if wanted is not None and is_protocol(wanted) else None
    return needed is not None and needed <= (member_names(made_class) or set())


def _find_made_class(definition: Definition | None) -> Class | None:
    """The class of what a call of a class, a function or a `functools.partial` returns; None: the source is silent."""
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
        return _find_made_class(find_definition(name)) if name else None
    except PartNotFoundError:
        return None


def _suggest_part(target: str, wanted: Sequence[str]) -> str:
    """Suggests the nearest of our parts of the kinds wanted; of any kind, among those of the target's package."""
    target_kinds = [name for name, kind in KINDS.items() if target.startswith(f"{kind.homes[0]}.")]
    kind_of = {
        path: kind
        for kind in wanted or target_kinds
        for path in (_candidate_names(KINDS[kind]) if kind in KINDS else [kind])
    }
    likely = f"{next(iter(kind_of)).rpartition('.')[0]}.{_last_name(target)}" if kind_of else target
    if len(kind_of) > MOST_LOCATED:
        near = closest_names(likely, kind_of, count=len(kind_of))
        if (nearest := next((path for path in near if _is_kind(kind_of[path], path)), None)) is not None:
            return f"Did you mean {nearest}?"
    return suggest_name(likely, [path for path, kind in kind_of.items() if _is_kind(kind, path)])


def _candidate_names(kind: PartKind) -> list[str]:
    """The dotted names of our package of a kind that may be parts, judged by their names alone."""
    module = find_module(kind.homes[0])
    return [f"{kind.homes[0]}.{name}" for name in list_public_names(module)] if module else []


def _is_kind(wanted: str, path: str) -> bool:
    """Whether a candidate is a part of a kind; True for a class that is wanted by its own name."""
    try:
        return wanted not in KINDS or _is_part(KINDS[wanted], path, find_definition(path))
    except PartNotFoundError:
        return False


def _last_name(target: str) -> str:
    return target.rpartition(".")[2]
