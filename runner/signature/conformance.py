"""Whether what a part of the user's makes is what its place takes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Generic, Protocol

from components.types import UserError
from runner.signature.kinds import KINDS


def check_conformance(made: Any, target: str, wanted: Sequence[str]) -> None:
    """Raises UserError, with what it lacks, unless an object conforms to one of some kinds or classes; none: any."""
    faults = [_fault(made, target, one) for one in wanted]
    if faults and None not in faults:
        raise UserError(str(faults[0]))


def _fault(made: Any, target: str, wanted: str) -> str | None:
    """A kind is a class to inherit from or a protocol; of another class the methods are needed."""
    kind = KINDS.get(wanted)
    name = kind.form if kind and kind.form else wanted
    form = _class(name)
    what = kind.title if kind else f"a {form.__name__}"
    if kind and not _is_protocol(form):
        fault = f"`{target}` makes a {type(made).__name__}, not {what} ({kind.form})"
        return None if isinstance(made, form) else fault
    if missing := [f"`{one}`" for one in _members(form) if not hasattr(made, one)]:
        gives = " returns None, which" if made is None else ""
        return f"`{target}`{gives} lacks {', '.join(missing)}, which {what} has; see {name}"
    return None


def _members(form: type) -> Iterable[str]:
    """What a protocol declares, or the methods of another class."""
    classes = [one for one in reversed(form.__mro__) if one not in (object, Protocol, Generic)]
    fields = [name for one in classes if _is_protocol(one) for name in vars(one).get("__annotations__", {})]
    methods = [name for one in classes for name, value in vars(one).items() if _is_method(value)]
    return dict.fromkeys(name for name in (*fields, *methods) if name[0] != "_" or name == "__call__")


def _is_method(value: Any) -> bool:
    return inspect.isfunction(value) or isinstance(value, property)


def _is_protocol(form: type) -> bool:
    return bool(vars(form).get("_is_protocol"))


def _class(name: str) -> type:
    module, _, short = name.rpartition(".")
    found: type = getattr(importlib.import_module(module), short)
    return found
