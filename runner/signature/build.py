"""Builds parts from plain values: the only place that turns a dotted name into a Python object and calls it."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.closest import suggest_name
from components.types import UserError
from runner.credentials import MASK, reveal
from runner.signature.allow import allowed_packages, find_refusal, public_name
from runner.signature.conformance import check_conformance
from runner.signature.kinds import find_misplacement
from runner.signature.places import parameter_hints
from runner.signature.type_hints import element_hint, part_kinds
from runner.user_code import is_user_code


@dataclass(frozen=True)
class ScalarSlot:
    """Stands in the static tree for a number that enters the program as an array."""

    name: str  # its key in the configuration: "optimizer.b1"


def import_target(target: str) -> Any:
    """The object of a dotted name, imported from a package that is allowed, and defined in one."""
    if message := find_refusal(target):
        raise UserError(message)
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"`{target}` can't be imported: {error}") from error
    home = _home(found)
    if find_refusal(f"{home}.{name}"):
        raise UserError(
            f"`{target}` is no part: it is defined in `{home}`, "
            f"outside the allowed packages ({', '.join(allowed_packages())})"
        )
    return found


def build(node: Any, numbers: Mapping[str, Any], hint: Any = Any, /, **given: Any) -> Any:
    """The object that a tree of plain values describes.

    A mapping with `_target_` is called with its other keys and with `given` (which win); lists become tuples, and a
    `Number` becomes its value in `numbers`: a float, or a traced array inside the compiled step.

    Args:
        hint: that of the place where the tree stands (`signature/places`); further in, the annotations of parameters
            count. Raises UserError for a part of another kind: nothing but parts is ever called.
    """
    if isinstance(node, ScalarSlot):
        return numbers[node.name]
    if isinstance(node, Mapping):
        if "_target_" in node:
            return _part(node, numbers, part_kinds(hint), given)
        return {key: build(value, numbers, element_hint(hint, key)) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return tuple(build(value, numbers, element_hint(hint, place)) for place, value in enumerate(node))
    return _revealed(node) if isinstance(node, str) else node


def _revealed(text: str) -> str:
    """A text of the configuration with its credentials, which no file keeps."""
    if f"://{MASK}" in (whole := reveal(text)) or re.fullmatch(rf"{re.escape(MASK)}\S+", whole):
        kind = "URI" if "@" in text or "://" in text else "secret"
        raise UserError(f"its credentials aren't kept; give the whole {kind} in place of {text}")
    return whole


def _part(node: Mapping[str, Any], numbers: Mapping[str, Any], wanted: Sequence[str], given: Mapping[str, Any]) -> Any:
    target = node["_target_"]
    if problem := find_misplacement(target, wanted):
        raise UserError(problem)
    hints = parameter_hints(target)
    if unknown := [name for name in node if hints and name not in hints and name != "_target_"]:
        raise UserError(f"`{target}` has no parameter {unknown[0]}; {suggest_name(unknown[0], hints)}")
    arguments = {
        name: build(value, numbers, hints.get(name, Any)) for name, value in node.items() if name != "_target_"
    }
    made = _call(target, {**arguments, **given})
    if is_user_code(target):
        check_conformance(made, target, wanted)
    return made


def _call(target: str, arguments: dict[str, Any]) -> Any:
    found = import_target(target)
    try:
        return found(**arguments)
    except UserError as error:
        raise type(error)(f"`{target}`: {error}") from error
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # the call itself, not its body
            raise UserError(f"`{target}` can't be called with {', '.join(arguments) or 'nothing'}: {error}") from error
        raise


def _home(found: Any) -> str:
    """The package that an object was defined in."""
    while isinstance(found, functools.partial):
        found = found.func
    return public_name(getattr(found, "__module__", None) or "")
