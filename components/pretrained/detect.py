"""Detection of the library that a file is from, and of the fields that its weights need."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from components.closest import join_names
from components.pretrained.convert import compute_match_share, plan_conversion
from components.pretrained.naming import NamingScheme
from components.types import UserError

OUR_ARCHITECTURES = "components.architecture."
PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, of compiled networks, of Lightning


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
    candidates = _list_candidates(architecture, library)
    shares = [compute_match_share(plan_conversion(scheme, shapes), tensors) for scheme in candidates]
    return _choose_best(architecture, candidates, shares, tensors)


def detect_scheme_by_names(architecture: Any, names: Collection[str], library: str | None) -> NamingScheme:
    """Returns the naming scheme of an architecture that knows the most names of a file.

    Unlike `detect_scheme`, it needs no shapes, so the variant of the architecture may still change. The arguments and
    errors are those of `detect_scheme`.
    """
    candidates = _list_candidates(architecture, library)
    known = [sum(map(scheme.knows, scheme.renumber(names).values())) for scheme in candidates]
    return _choose_best(architecture, candidates, known, names)


def _list_candidates(architecture: Any, library: str | None) -> list[NamingScheme]:
    """Lists the naming schemes of an architecture for a library. None: for all libraries."""
    schemes, name = find_schemes(architecture), type(architecture).__name__
    if not schemes:
        raise UserError(f"{name}: no naming scheme is known. Define NAMING_SCHEMES in the module of the architecture.")
    candidates = [scheme for scheme in schemes if library in (None, scheme.library)]
    if not candidates:
        libraries = join_names(scheme.library for scheme in schemes)
        raise UserError(f"{name}: no naming scheme is known for the library {library}. Known libraries: {libraries}.")
    return candidates


def _choose_best(
    architecture: Any, candidates: Sequence[NamingScheme], matches: Sequence[float], names: Collection[str]
) -> NamingScheme:
    if not any(matches):
        libraries = join_names(scheme.library for scheme in candidates)
        problem = f"{type(architecture).__name__}: no name in the file belongs to {libraries}, got {join_names(names)}."
        others = [scheme.library for scheme in find_schemes(architecture) if any(map(scheme.knows, names))]
        raise UserError(f"{problem} They are names of {others[0]}: set `library={others[0]}`." if others else problem)
    return candidates[matches.index(max(matches))]


def find_prefix(names: Collection[str], schemes: Sequence[NamingScheme]) -> str:
    """Returns what wrappers put before all names of a file: `module.` and the like, unless a scheme knows the names."""
    prefix = ""
    while not any(scheme.knows(name.removeprefix(prefix)) for scheme in schemes for name in names):
        added = next((each for each in PREFIXES if all(name.startswith(prefix + each) for name in names)), None)
        if added is None or not names:
            break
        prefix += added
    return prefix


def choose_fields(scheme: NamingScheme, architecture: Any, chosen: Collection[str]) -> Mapping[str, Any]:
    """Returns the fields that an architecture must change for the weights, with their values.

    Of several alternatives, it takes the first one that contradicts the fewest chosen fields, and then the fewest
    fields in which the variant of the architecture differs from its class.

    Raises:
        UserError: a field can't be changed, because it decides which network the architecture is.
    """

    def count_contradictions(differences: Mapping[str, Any]) -> tuple[int, int]:
        of_variant = sum(_get_default(architecture, name) != getattr(architecture, name, None) for name in differences)
        return len(differences.keys() & chosen), of_variant

    alternatives = [_find_differences(fields, architecture) for fields in scheme.required_fields]
    fields = min(alternatives, key=count_contradictions, default={})
    for field, value in fields.items():
        if _get_default(architecture, field) is dataclasses.MISSING:
            own = f"{type(architecture).__name__} has {_format_value(getattr(architecture, field, 'no such field'))}"
            needed = f"the weights of {scheme.library} need {field}={_format_value(value)}"
            raise UserError(f"{needed}, but {own}. Choose another architecture.")
    return fields


def _get_default(architecture: Any, field: str) -> Any:
    """Returns the default of a field. MISSING: it has none, or the architecture has no such field."""
    fields = getattr(architecture, "__dataclass_fields__", {})
    return fields[field].default if field in fields else dataclasses.MISSING


def _find_differences(fields: Mapping[str, Any], architecture: Any) -> dict[str, Any]:
    """Returns the fields of which an architecture has other values."""
    return {
        field: value
        for field, value in fields.items()
        if not hasattr(architecture, field) or not _is_equal(getattr(architecture, field), value)
    }


def check_fields(scheme: NamingScheme, architecture: Any) -> None:
    """Checks that an architecture computes the same function as the network that the weights are from.

    Raises:
        UserError: a field of the architecture has another value than the weights need.
    """
    differences = [_find_differences(fields, architecture) for fields in scheme.required_fields]
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
