"""Detection of the library that a file is from."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Mapping
from typing import Any

from components.closest import join_names
from components.pretrained.convert import compute_match_share, plan_conversion
from components.pretrained.naming import NamingScheme
from components.types import UserError

OUR_ARCHITECTURES = "components.architecture."


def detect_scheme(
    architecture: Any, tensors: Mapping[str, Any], shapes: Mapping[str, Any], library: str | None
) -> NamingScheme:
    """Returns the naming scheme of an architecture that has the most names of a file.

    Args:
        architecture: a Flax module. Its schemes are `NAMING_SCHEMES` in its Python module; of our architectures, in the
            module of this package that has the same name. A class without schemes has those of its base class.
        tensors: arrays of the file by name.
        shapes: parameter tree of the architecture, of arrays or shapes.
        library: restricts the schemes to this library. None: all libraries.

    Raises:
        UserError: no scheme is known, or no scheme has a name of the file.
    """
    schemes = find_schemes(architecture)
    name, libraries = type(architecture).__name__, join_names(scheme.library for scheme in schemes)
    candidates = [scheme for scheme in schemes if library in (None, scheme.library)]
    if not schemes:
        raise UserError(f"{name}: no naming scheme is known. Define NAMING_SCHEMES in the module of the architecture.")
    if not candidates:
        raise UserError(f"{name}: no naming scheme is known for the library {library}. Known libraries: {libraries}.")
    shares = [compute_match_share(plan_conversion(scheme, shapes), tensors) for scheme in candidates]
    if not any(shares):
        names = join_names(tensors)
        raise UserError(f"{name}: no name in the file belongs to {library or libraries}, got {names}.")
    return candidates[shares.index(max(shares))]


def check_fields(scheme: NamingScheme, architecture: Any) -> None:
    """Checks that an architecture computes the same function as the network that the weights are from.

    Raises:
        UserError: a field of the architecture has another value than the weights need.
    """
    differences = [
        {field: value for field, value in fields.items() if not _is_equal(getattr(architecture, field), value)}
        for fields in scheme.required_fields
    ]
    if differences and all(differences):
        alternatives = [
            " ".join(f"{field}={_format_value(value)}" for field, value in fields.items()) for fields in differences
        ]
        raise UserError(
            f"the weights of {scheme.library} need {', or '.join(alternatives)}. "
            "Set these parameters of the architecture, or set `exact=false`."
        )


def _is_equal(value: Any, needed: Any) -> bool:
    if isinstance(needed, float):
        return value is not None and math.isclose(float(value), needed, rel_tol=1e-5)
    return type(value) is type(needed) and value == needed


def _format_value(value: Any) -> str:
    """Returns a value in YAML."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def find_schemes(architecture: Any) -> tuple[NamingScheme, ...]:
    """The naming schemes of the class of an architecture, or else of the nearest base class that has some."""
    schemes = (_read_schemes(cls.__module__) for cls in type(architecture).__mro__)
    return next(filter(None, schemes), ())


def _read_schemes(architecture_module: str) -> tuple[NamingScheme, ...]:
    package, _, name = architecture_module.rpartition(".")
    module = sys.modules[architecture_module]
    our_module = f"{__package__}.{name}"
    if f"{package}.".startswith(OUR_ARCHITECTURES) and importlib.util.find_spec(our_module):
        module = importlib.import_module(our_module)
    return tuple(getattr(module, "NAMING_SCHEMES", ()))
