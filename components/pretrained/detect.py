"""Which names a file has."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Mapping
from typing import Any

from components.types import UserError
from components.weights.carry import matches, plan
from components.weights.names import Names


def names(architecture: Any, tensors: Mapping[str, Any], shapes: Mapping[str, Any], library: str | None) -> Names:
    """Those that suit a file best, of the ones known for an architecture; `library` leaves only its own.

    They stand in `NAMES` of the module here that is called as the architecture's own, or in that itself. Raises
    UserError where none are known, or none at all suits.
    """
    known = _known(architecture)
    kind, libraries = type(architecture).__name__, sorted({one.library for one in known})
    wanted = [one for one in known if library in (None, one.library)]
    if not wanted:
        there = f"there are {', '.join(libraries)}" if libraries else "none are known at all"
        raise UserError(f"no names of {library or 'another library'} are known for {kind}: {there}")
    best = max(wanted, key=lambda one: matches(plan(one, shapes), tensors))
    if not matches(plan(best, shapes), tensors):
        few = ", ".join(sorted(tensors)[:3])
        raise UserError(f"the file has none of the names that {library or ', '.join(libraries)} gives {kind}: {few}, …")
    return best


def check_fields(names: Names, architecture: Any) -> None:
    """Raises UserError where an architecture computes otherwise than that which its weights were trained for."""
    wrong = [{f: v for f, v in one.items() if not _same(getattr(architecture, f), v)} for one in names.fields]
    if wrong and all(wrong):
        words = [" ".join(f"architecture.{f}={_word(v)}" for f, v in one.items()) for one in wrong]
        raise UserError(
            f"the weights of {names.library} are for {', or for '.join(words)}: set that, or weights.exact=false"
        )


def _same(given: Any, value: Any) -> bool:
    if isinstance(value, float):
        return given is not None and math.isclose(float(given), value, rel_tol=1e-5)
    return type(given) is type(value) and given == value


def _word(value: Any) -> str:
    """As it is written on the command line."""
    plain = {"None": "null", "True": "true", "False": "false"}
    return plain.get(str(value), str(value))


def _known(architecture: Any) -> tuple[Names, ...]:
    home = type(architecture).__module__
    beside = f"{__package__}.{home.rpartition('.')[2]}"
    module = importlib.import_module(beside) if importlib.util.find_spec(beside) else sys.modules[home]
    return tuple(getattr(module, "NAMES", ()))
