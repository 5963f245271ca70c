"""Which targets are parts, and of which kinds, by their sources: nothing is imported.

A part of ours is what the public package of its kind exports, if calling it makes what that kind is made of. So a
helper beside the parts, or one that a module imports, is none, and a new part joins without a line here.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import NamedTuple

from components.closest import closest_names, suggest_name
from runner.signature.allow import public_name
from runner.signature.classes import Class, derives, find_class, is_protocol, members
from runner.signature.source import Definition, TargetError, find_definition, find_module, full_name, public_names
from runner.user_code import is_user_code

MANY = 100  # names, as Optax has: of more than these only the nearest are located, which takes a while


class PartKind(NamedTuple):
    """A kind of part."""

    title: str  # for messages
    homes: tuple[str, ...]  # the packages that export parts of it, ours first
    form: str | None  # the class that calling a part makes, or the protocol that it conforms to; None: anything


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


def may_stand(target: str, wanted: Sequence[str] = ()) -> bool:
    """Whether a target may stand somewhere.

    Args:
        target: a dotted path; one of a package that the user adds always may: `build` checks what it makes.
        wanted: the kinds of part that may stand there, or classes by their dotted names; empty: any kind.

    Raises TargetError where the path leads nowhere.
    """
    found = find_definition(target)
    if is_user_code(target if found is None else f"{found.module.name}.{_short(target)}"):
        return True
    return any(_may_stand(one, target, found) for one in wanted or KINDS)


def find_misplacement(target: str, wanted: Sequence[str] = ()) -> str | None:
    """Why a target may not stand somewhere, as `belongs` has it, and what may; None where it may."""
    if may_stand(target, wanted):
        return None
    own = " and ".join(kind.title for name, kind in KINDS.items() if may_stand(target, [name]))
    titles = [KINDS[one].title if one in KINDS else "a part that belongs here" for one in wanted]
    place = " or ".join(dict.fromkeys(titles)) or "a part that a configuration may name"
    return f"{target} is {f'{own}, ' if own else ''}not {place}; {_suggestion(target, wanted)}"


def _may_stand(wanted: str, target: str, found: Definition | None) -> bool:
    if wanted in KINDS:
        return _is_part(KINDS[wanted], target, found)
    alike = [kind for kind in KINDS.values() if kind.form == wanted]  # a parameter annotated `Loss`
    if alike:
        return any(_is_part(kind, target, found) for kind in alike)
    made = _made(found)
    protocol = find_class(wanted)
    if protocol is not None and is_protocol(protocol):  # one of the user's: build checks it
        return any(_is_part(kind, target, found) for kind in KINDS.values())
    return made is not None and derives(made, wanted)


def _is_part(kind: PartKind, target: str, found: Definition | None) -> bool:
    """Whether a definition is a part of that kind."""
    short = _short(target)
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
    made = _made(found)
    if made is None or is_protocol(made):
        return False
    if derives(made, form):
        return True
    wanted = find_class(form)  # last: reading the source of Flax's takes a while
    needed = members(wanted) if wanted is not None and is_protocol(wanted) else None
    return needed is not None and needed <= (members(made) or set())


def _made(found: Definition | None) -> Class | None:
    """The class of what a call of a class, a function or a `functools.partial` gives; None where nothing tells."""
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
        return _made(find_definition(name)) if name else None
    except TargetError:
        return None


def _suggestion(target: str, wanted: Sequence[str]) -> str:
    """The nearest of ours that may stand there; anywhere, of those that the package of the target exports."""
    alike = [name for name, kind in KINDS.items() if target.startswith(f"{kind.homes[0]}.")]
    kinds = {path: one for one in wanted or alike for path in (_names(KINDS[one]) if one in KINDS else [one])}
    meant = f"{next(iter(kinds)).rpartition('.')[0]}.{_short(target)}" if kinds else target
    if len(kinds) > MANY:
        near = closest_names(meant, kinds, count=len(kinds))
        if (nearest := next((path for path in near if _is_of(kinds[path], path)), None)) is not None:
            return f"did you mean {nearest}?"
    return suggest_name(meant, [path for path, one in kinds.items() if _is_of(one, path)])


def _names(kind: PartKind) -> list[str]:
    """What may be a part of ours of a kind, by its name alone."""
    module = find_module(kind.homes[0])
    return [f"{kind.homes[0]}.{name}" for name in public_names(module)] if module else []


def _is_of(wanted: str, path: str) -> bool:
    """Whether one of those names is a part of that kind; a class is wanted by its own name."""
    try:
        return wanted not in KINDS or _is_part(KINDS[wanted], path, find_definition(path))
    except TargetError:
        return False


def _short(target: str) -> str:
    return target.rpartition(".")[2]
