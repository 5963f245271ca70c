"""Checks that a `_target_` is a part that is allowed at its key, and suggests one if it isn't.

What is allowed at a key is a list of names. Each is a kind of `KINDS`, such as `loss`, or a class by its dotted name,
such as `components.layer.Initializer`. An empty list allows parts of any kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from components.closest import closest_names, suggest_name
from runner.signature.classes import find_class, find_returned_class, is_protocol, is_subclass
from runner.signature.kinds import KINDS, PartKind, is_part_of_kind
from runner.signature.source import (
    Definition,
    NameNotFoundError,
    PartNotFoundError,
    find_definition,
    find_module,
    list_public_names,
)
from runner.user_code import is_user_code

MAX_ALL_CHECKED = 100  # more names, such as Optax's, are checked one by one from the nearest on: checking is slow


def find_kind_problem(target: str, allowed: Sequence[str] = ()) -> str | None:
    """The problem of a `_target_` that is not allowed, with a suggestion; None if it is allowed.

    ("components.metric.MAE", ["loss"]) -> "components.metric.MAE is a metric, not a loss. Did you mean …?"

    The arguments and errors are those of `is_allowed_part`.
    """
    if is_allowed_part(target, allowed):
        return None
    own_titles = [kind.title for name, kind in KINDS.items() if is_allowed_part(target, [name])]
    allowed_titles = [KINDS[name].title if name in KINDS else "a part that is allowed here" for name in allowed]
    expected = " or ".join(dict.fromkeys(allowed_titles)) or "a part"
    problem = f"{' and '.join(own_titles)}, not {expected}" if own_titles else f"not {expected}"
    return f"{target} is {problem}. {_suggest_part(target, allowed)}"


def is_allowed_part(target: str, allowed: Sequence[str] = ()) -> bool:
    """Whether a `_target_` is a part that is allowed.

    Args:
        target: a dotted name. Names in the user's packages are always accepted: `build` checks what they return.
        allowed: kinds of part, or classes by their dotted names; empty: any kind.

    Raises:
        PartNotFoundError: there is no such target.
    """
    definition = find_part_definition(target)
    # A name that a module imports and exports belongs to the module that defines it.
    module_name = target.rpartition(".")[0] if definition is None else definition.module.name
    if is_user_code(f"{module_name}."):
        return True
    if definition is None:
        return False
    return any(_is_allowed_as(name, target, definition) for name in allowed or KINDS)


def find_part_definition(target: str) -> Definition | None:
    """The definition of a `_target_`; None if there is no source, such as for a compiled module.

    Raises:
        PartNotFoundError: there is no such target. In a package of Titrate, the message suggests only parts.
    """
    try:
        return find_definition(target)
    except NameNotFoundError as error:
        package = error.module.name
        names = list_public_names(error.module)
        titrate_packages = {kind.packages[0] for kind in KINDS.values() if kind.packages[0].startswith("components.")}
        if package in titrate_packages:
            names = [name for name in names if any(_is_part(f"{package}.{name}", kind) for kind in KINDS.values())]
        raise error.suggest(names) from None


def _is_allowed_as(kind_or_class: str, target: str, definition: Definition) -> bool:
    kinds = _list_matching_kinds(kind_or_class)
    if kinds:
        return any(is_part_of_kind(definition, _last_name(target), kind) for kind in kinds)
    returned_class = find_returned_class(definition)
    return returned_class is not None and is_subclass(returned_class, kind_or_class)


def _list_matching_kinds(kind_or_class: str) -> list[PartKind]:
    """The kinds of the parts that are allowed as a kind or class.

    "loss" -> the kind `loss`
    "components.types.Loss" -> the kind `loss`, because a call of a loss returns it
    "my_package.MyProtocol" -> all kinds: `build` checks whether the object has the members of the protocol
    "components.layer.Initializer" -> none: a call must return an instance of this class
    """
    if kind_or_class in KINDS:
        return [KINDS[kind_or_class]]
    kinds = [kind for kind in KINDS.values() if kind.returns == kind_or_class]
    if kinds:
        return kinds
    cls = find_class(kind_or_class)
    return list(KINDS.values()) if cls is not None and is_protocol(cls) else []


def _is_part(target: str, kind: PartKind) -> bool:
    """Whether a `_target_` exists and is a part of a kind."""
    try:
        definition = find_definition(target)
    except PartNotFoundError:
        return False
    return definition is not None and is_part_of_kind(definition, _last_name(target), kind)


def _suggest_part(target: str, allowed: Sequence[str]) -> str:
    """Suggests the allowed part with the nearest name.

    If `allowed` is empty, the kinds that the target's package holds are allowed.
    """
    package_kinds = [name for name, kind in KINDS.items() if target.startswith(f"{kind.packages[0]}.")]
    candidates = _list_candidates(allowed or package_kinds)
    # Only the last name is compared: in front of it is the package of the first candidate, as in most candidates.
    package = next(iter(candidates), target).rpartition(".")[0]
    likely = f"{package}.{_last_name(target)}"
    if len(candidates) > MAX_ALL_CHECKED:
        for candidate in closest_names(likely, candidates, count=len(candidates)):
            if _is_valid(candidate, candidates[candidate]):
                return f"Did you mean {candidate}?"
    return suggest_name(likely, [candidate for candidate, name in candidates.items() if _is_valid(candidate, name)])


def _list_candidates(kinds_and_classes: Iterable[str]) -> dict[str, str]:
    """The names that may be parts of some kinds, each with its kind. A class is the only candidate for itself."""
    candidates = {}
    for kind_or_class in kinds_and_classes:
        if kind_or_class not in KINDS:
            candidates[kind_or_class] = kind_or_class
            continue
        package = KINDS[kind_or_class].packages[0]
        module = find_module(package)
        for name in list_public_names(module) if module else ():
            candidates[f"{package}.{name}"] = kind_or_class
    return candidates


def list_parts(kind: str) -> list[str]:
    """The targets in Titrate's own package that are parts of a kind."""
    return [candidate for candidate in _list_candidates([kind]) if _is_valid(candidate, kind)]


def _is_valid(candidate: str, kind_or_class: str) -> bool:
    return kind_or_class not in KINDS or _is_part(candidate, KINDS[kind_or_class])


def _last_name(target: str) -> str:
    return target.rpartition(".")[2]
