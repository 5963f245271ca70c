"""Detection of the naming scheme of a file."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Mapping
from typing import Any

from components.closest import join_names
from components.pretrained.convert import match_share, plan_conversion
from components.pretrained.naming import NamingScheme
from components.types import UserError


def detect_scheme(
    architecture: Any, tensors: Mapping[str, Any], shapes: Mapping[str, Any], library: str | None
) -> NamingScheme:
    """Returns the naming scheme of an architecture that fits a file best.

    Args:
        architecture: a module. Its schemes are `NAMING_SCHEMES` of the module of this package that has the name of the
            architecture's module, or of the architecture's module itself.
        tensors: arrays of the file by name.
        shapes: parameter tree of the architecture, of arrays or shapes.
        library: only schemes of this library are tried; None: all.

    Raises:
        UserError: no scheme is known, or none fits any array of the file.
    """
    schemes = _known_schemes(architecture)
    kind, libraries = type(architecture).__name__, join_names(one.library for one in schemes)
    tried = [one for one in schemes if library in (None, one.library)]
    if not schemes:
        raise UserError(f"{kind}: no library names its parameters. Define NAMING_SCHEMES beside the architecture.")
    if not tried:
        raise UserError(f"{kind}: no names of its parameters are known for library {library}. Known: {libraries}.")
    best = max(tried, key=lambda one: match_share(plan_conversion(one, shapes), tensors))
    if not match_share(plan_conversion(best, shapes), tensors):
        names = join_names(tensors)
        raise UserError(f"{kind}: no array of the file has a name of {library or libraries}, got {names}.")
    return best


def check_fields(scheme: NamingScheme, architecture: Any) -> None:
    """Checks that an architecture computes what the weights were trained for.

    Raises:
        UserError: a field of the architecture has another value than the weights need.
    """
    wrong = [{f: v for f, v in one.items() if not _is_equal(getattr(architecture, f), v)} for one in scheme.fields]
    if wrong and all(wrong):
        words = [" ".join(f"architecture.{f}={_format_value(v)}" for f, v in one.items()) for one in wrong]
        raise UserError(
            f"the weights of {scheme.library} need {', or '.join(words)}. Set that, or weights.exact=false."
        )


def _is_equal(value: Any, needed: Any) -> bool:
    if isinstance(needed, float):
        return value is not None and math.isclose(float(value), needed, rel_tol=1e-5)
    return type(value) is type(needed) and value == needed


def _format_value(value: Any) -> str:
    """Returns a value as the command line writes it."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def _known_schemes(architecture: Any) -> tuple[NamingScheme, ...]:
    home = type(architecture).__module__
    ours = f"{__package__}.{home.rpartition('.')[2]}"
    module = importlib.import_module(ours) if importlib.util.find_spec(ours) else sys.modules[home]
    return tuple(getattr(module, "NAMING_SCHEMES", ()))
