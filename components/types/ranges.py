"""Checks the numbers of a part that is built in Python. Those of a configuration are checked before it is built."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from components.types.base import FieldError, Range


def check_ranges(part: Any) -> None:
    """Raises FieldError for a field of a part that is beyond the range in its annotation."""
    for name, hint in _find_ranged(part.__class__).items():
        value = getattr(part, name)
        if not _is_allowed(value, hint):
            ranges = " or ".join(dict.fromkeys(map(str, _list_ranges(hint))))
            raise FieldError(name, f"{value} is not in {ranges}. Choose a number in it.")


@functools.cache
def _find_ranged(cls: Any) -> Mapping[str, Any]:
    """The annotations with a range, by field."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: hint for name, hint in hints.items() if _list_ranges(hint)}


def _list_ranges(hint: Any) -> list[Range]:
    """All ranges in an annotation."""
    own = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Range)]
    return own + [found for each in get_args(hint) if each not in own for found in _list_ranges(each)]


def _is_allowed(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ranges = [each for each in hint.__metadata__ if isinstance(each, Range)]
        return _is_allowed(value, arguments[0]) and all(value in each for each in ranges)
    if origin in (Union, types.UnionType):
        return any(_is_allowed(value, each) for each in arguments)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False
        elements = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        return len(value) == len(elements) and all(map(_is_allowed, value, elements))
    if origin is Literal:
        return value in arguments
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) and origin is None else True
