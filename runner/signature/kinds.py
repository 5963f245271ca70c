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
    TargetError,
    find_definition,
    find_module,
    full_name,
    public_name,
    public_names,
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


def is_part_of(target: str, wanted: Sequence[str] = ()) -> bool:
    """Whether a target is a part of one of some kinds.

    Args:
        target: a dotted name. One of a package that the user adds is always accepted: `build` checks what it returns.
        wanted: kinds of part, or classes by their dotted names; empty: any kind.

    Raises:
        TargetError: there is no such target.
    """
    found = find_definition(target)
    if is_user_code(target if found is None else f"{found.module.name}.{_last_name(target)}"):
        return True
    return any(_is_kind_or_class(one, target, found) for one in wanted or KINDS)


def find_misplacement(target: str, wanted: Sequence[str] = ()) -> str | None:
    """What is wrong with a target where some kinds of part are accepted, with a suggestion; None: nothing."""
    if is_part_of(target, wanted):
        return None
    own = " and ".join(kind.title for name, kind in KINDS.items() if is_part_of(target, [name]))
    titles = [KINDS[one].title if one in KINDS else "a part that belongs here" for one in wanted]
    place = " or ".join(dict.fromkeys(titles)) or "a part that a configuration may name"
    return f"{target} is {f'{own}, ' if own else ''}not {place}; {_suggest_part(target, wanted)}"


def _is_kind_or_class(wanted: str, target: str, found: Definition | None) -> bool:
    if wanted in KINDS:
        return _is_part(KINDS[wanted], target, found)
    alike = [kind for kind in KINDS.values() if kind.form == wanted]  # a parameter annotated `Loss`
    if alike:
        return any(_is_part(kind, target, found) for kind in alike)
    made = _find_made_class(found)
    protocol = find_class(wanted)
    if protocol is not None and is_protocol(protocol):  # one of the user's: build checks it
        return any(_is_part(kind, target, found) for kind in KINDS.values())
    return made is not None and is_subclass(made, wanted)


def _is_part(kind: PartKind, target: str, found: Definition | None) -> bool:
    """Whether a definition is a part of that kind."""
    short = _last_name(target)
    exported = found is not None and short[0] != "_" and any(_exports(home, short, found) for home in kind.homes)
    return exported and _has_form(found, kind.form)


def _exports(home: str, name: str, found: Definition) -> bool:
    if not public_name(f"{found.module.name}.").startswith(f"{home}."):
        return False
    try:
        own = find_definition(f"{home}.{name}")
    except TargetError:
        return False
    return own is not None and own.node is found.node


def _has_form(found: Definition | None, form: str | None) -> bool:
    if found is None or form is None:
        return found is not None and isinstance(found.node, ast.FunctionDef)
    made = _find_made_class(found)
    if made is None or is_protocol(made):
        return False
    if is_subclass(made, form):
        return True
    wanted = find_class(form)  # last: reading the source of Flax's takes a while
    needed = member_names(wanted) if wanted is not None and is_protocol(wanted) else None
    return needed is not None and needed <= (member_names(made) or set())


def _find_made_class(found: Definition | None) -> Class | None:
    """The class of what a call of a class, a function or a `functools.partial` returns; None: the source is silent."""
    if found is None:
        return None
    module, node = found
    if isinstance(node, ast.ClassDef):
        return Class(module, node)
    if isinstance(node, ast.FunctionDef):
        return find_class(full_name(module, node.returns) or "") if node.returns else None
    if isinstance(node, ast.Call):
        if full_name(module, node.func) != "functools.partial":
            return None
        node = node.args[0]
    name = full_name(module, node)
    try:
        return _find_made_class(find_definition(name)) if name else None
    except TargetError:
        return None


def _suggest_part(target: str, wanted: Sequence[str]) -> str:
    """Suggests the nearest of our parts of the kinds wanted; of any kind, among those of the target's package."""
    alike = [name for name, kind in KINDS.items() if target.startswith(f"{kind.homes[0]}.")]
    kinds = {path: one for one in wanted or alike for path in (_candidate_names(KINDS[one]) if one in KINDS else [one])}
    meant = f"{next(iter(kinds)).rpartition('.')[0]}.{_last_name(target)}" if kinds else target
    if len(kinds) > MOST_LOCATED:
        near = closest_names(meant, kinds, count=len(kinds))
        if (nearest := next((path for path in near if _is_kind(kinds[path], path)), None)) is not None:
            return f"did you mean {nearest}?"
    return suggest_name(meant, [path for path, one in kinds.items() if _is_kind(one, path)])


def _candidate_names(kind: PartKind) -> list[str]:
    """The dotted names of our package of a kind that may be parts, judged by their names alone."""
    module = find_module(kind.homes[0])
    return [f"{kind.homes[0]}.{name}" for name in public_names(module)] if module else []


def _is_kind(wanted: str, path: str) -> bool:
    """Whether a candidate is a part of a kind; True for a class that is wanted by its own name."""
    try:
        return wanted not in KINDS or _is_part(KINDS[wanted], path, find_definition(path))
    except TargetError:
        return False


def _last_name(target: str) -> str:
    return target.rpartition(".")[2]
