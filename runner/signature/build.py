"""Builds parts from plain values. Only this module turns a dotted name into a Python object and calls it."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from components.closest import suggest_name
from components.types import UserError
from runner.credentials import MASK, reveal
from runner.signature.kinds import KINDS, find_kind_problem
from runner.signature.parameters import read_parameter_hints
from runner.signature.source import allowed_packages, find_target_problem, public_name
from runner.signature.type_hints import element_hint, part_kinds
from runner.user_code import is_user_code


@dataclass(frozen=True)
class ScalarSlot:
    """Stands in the static tree for a number that enters the program as an array.

    Attributes:
        name: its key in the configuration, such as `optimizer.b1`.
    """

    name: str


def import_target(target: str) -> Any:
    """Imports the object of a dotted name. Raises UserError unless an allowed package exports and defines it."""
    if message := find_target_problem(target):
        raise UserError(message)
    module, _, name = target.rpartition(".")
    try:
        target_object = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"`{target}` can't be imported: {error}") from error
    home = _defining_module(target_object)
    if find_target_problem(f"{home}.{name}"):
        raise UserError(
            f"`{target}` is not a part: it is defined in `{home}`, "
            f"outside the allowed packages ({', '.join(allowed_packages())})"
        )
    return target_object


def build(node: Any, numbers: Mapping[str, Any], hint: Any = Any, /, **given: Any) -> Any:
    """Builds the object that a tree of plain values describes.

    A mapping with `_target_` becomes a call of the target with its other keys. Lists become tuples, and a `ScalarSlot`
    becomes its value in `numbers`.

    Args:
        node: the tree.
        numbers: floats, or traced arrays inside the compiled step, by name.
        hint: the type hint of the tree's root (`signature/schema`). Below a part, the annotations of its parameters
            are the hints.
        given: more arguments of the root's target, which override those of the tree.

    Raises:
        UserError: a target is not a part of the kind that its hint accepts. Nothing but parts is ever called.
    """
    if isinstance(node, ScalarSlot):
        return numbers[node.name]
    if isinstance(node, Mapping):
        if "_target_" in node:
            return _build_part(node, numbers, part_kinds(hint), given)
        return {key: build(value, numbers, element_hint(hint, key)) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return tuple(build(value, numbers, element_hint(hint, place)) for place, value in enumerate(node))
    return _reveal_credentials(node) if isinstance(node, str) else node


def _reveal_credentials(text: str) -> str:
    """A text of the configuration with its credentials put back, since the configuration holds masks."""
    if f"://{MASK}" in (whole := reveal(text)) or re.fullmatch(rf"{re.escape(MASK)}\S+", whole):
        kind = "URI" if "@" in text or "://" in text else "secret"
        raise UserError(f"its credentials aren't kept; give the whole {kind} in place of {text}")
    return whole


def _build_part(
    node: Mapping[str, Any], numbers: Mapping[str, Any], wanted: Sequence[str], given: Mapping[str, Any]
) -> Any:
    target = node["_target_"]
    if problem := find_kind_problem(target, wanted):
        raise UserError(problem)
    hints = read_parameter_hints(target)
    if unknown := [name for name in node if hints and name not in hints and name != "_target_"]:
        raise UserError(f"`{target}` has no parameter {unknown[0]}. {suggest_name(unknown[0], hints)}")
    arguments = {
        name: build(value, numbers, hints.get(name, Any)) for name, value in node.items() if name != "_target_"
    }
    made = _call_target(target, {**arguments, **given})
    if is_user_code(target):
        check_kind(made, target, wanted)
    return made


def _call_target(target: str, arguments: dict[str, Any]) -> Any:
    target_object = import_target(target)
    try:
        return target_object(**arguments)
    except UserError as error:
        raise type(error)(f"`{target}`: {error}") from error
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # the call itself, not its body
            raise UserError(f"`{target}` can't be called with {', '.join(arguments) or 'nothing'}: {error}") from error
        raise


def _defining_module(target_object: Any) -> str:
    """The module that defines an object."""
    while isinstance(target_object, functools.partial):
        target_object = target_object.func
    return public_name(getattr(target_object, "__module__", None) or "")


def check_kind(made: Any, target: str, wanted: Sequence[str]) -> None:
    """Raises UserError, with the missing members, unless an object conforms to one of some kinds; empty: any kind."""
    problems = [_find_nonconformity(made, target, kind) for kind in wanted]
    if problems and None not in problems:
        raise UserError(str(problems[0]))


def _find_nonconformity(made: Any, target: str, wanted: str) -> str | None:
    """What an object lacks to be of a kind, or to have the methods of a class."""
    kind = KINDS.get(wanted)
    name = kind.form if kind and kind.form else wanted
    module, _, short = name.rpartition(".")
    form: type = getattr(importlib.import_module(module), short)
    title = kind.title if kind else f"a {form.__name__}"
    if kind and not _is_protocol(form):
        problem = f"`{target}` makes a {type(made).__name__}, not {title} ({kind.form})"
        return None if isinstance(made, form) else problem
    if missing := [f"`{member}`" for member in _required_members(form) if not hasattr(made, member)]:
        returns_none = " returns None, which" if made is None else ""
        return f"`{target}`{returns_none} lacks {', '.join(missing)}, which {title} has; see {name}"
    return None


def _required_members(form: type) -> Iterable[str]:
    """The members that a protocol declares, or the methods of another class."""
    classes = [cls for cls in reversed(form.__mro__) if cls not in (object, Protocol, Generic)]
    fields = [name for cls in classes if _is_protocol(cls) for name in vars(cls).get("__annotations__", {})]
    methods = [
        name
        for cls in classes
        for name, value in vars(cls).items()
        if inspect.isfunction(value) or isinstance(value, property)
    ]
    return dict.fromkeys(name for name in (*fields, *methods) if name[0] != "_" or name == "__call__")


def _is_protocol(form: type) -> bool:
    return bool(vars(form).get("_is_protocol"))
