"""Type hints that plain values are held against: Python's own typing objects, and two stand-ins."""

from __future__ import annotations

import json
import sys
import types
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from components.closest import suggest_name
from components.types import Range


class Scalar:
    """Stands for `components.types.Scalar`: a number that may be traced."""


class Part:
    """Stands for a class or a protocol: a mapping with `_target_` is wanted, of any kind unless a `Kind` says which."""


class Kind(NamedTuple):
    """Which parts are wanted, `Annotated[Part, Kind("loss")]`: a kind of `signature/kinds`, or a class by name."""

    name: str


class Problem(NamedTuple):
    """A value that doesn't suit its hint."""

    key: str  # dotted
    problem: str


SMALLEST, LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127  # of float32, as it is computed with
LONGEST_NUMBER = 200  # bits
NAMES = {
    int: "a whole number",
    float: "a number",
    Scalar: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    Part: "a part (a mapping with _target_)",
    type(None): "null",
}


def alternatives(hint: Any) -> list[tuple[Any, Range | None]]:
    """The members of a union, each with its range: `Annotated[Scalar, Range(0)] | None` has two."""
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        limit = next((note for note in notes if isinstance(note, Range)), None)
        return [(kind, limit or own) for kind, own in alternatives(inner)]
    if get_origin(hint) in (Union, types.UnionType):
        return [pair for member in get_args(hint) for pair in alternatives(member)]
    return [(hint, None)]


def takes_scalar(hint: Any) -> bool:
    """Whether a number given here may be traced."""
    return any(kind is Scalar for kind, _ in alternatives(hint))


def element_hint(hint: Any, key: int | str) -> Any:
    """The hint of one element of a list (by its place) or of a mapping (by its key)."""
    wanted = tuple if isinstance(key, int) else dict
    for kind, _ in alternatives(hint):
        if get_origin(kind) is wanted:
            return _element(kind, key)
    return Any


def part_kinds(hint: Any) -> tuple[str, ...]:
    """The kinds of part that a hint takes; none: any."""
    if get_origin(hint) is Annotated:
        return tuple(note.name for note in get_args(hint)[1:] if isinstance(note, Kind))
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(name for member in get_args(hint) for name in part_kinds(member))
    return ()


def find_problems(value: Any, hint: Any, key: str) -> list[Problem]:
    """What of a value doesn't suit the hint: of its elements, where a list or mapping as such does."""
    kinds = [kind for kind, limit in alternatives(hint) if _suits(value, kind, limit)]
    if not kinds:
        return [Problem(key, _sentence(value, hint))]
    inside = [_inside(value, kind, key) for kind in kinds]
    return [] if [] in inside else inside[0]


def _suits(value: Any, kind: Any, limit: Range | None) -> bool:
    """Whether a value suits a hint that is no union; the elements of lists and mappings are not looked at."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in arguments)
    if origin is tuple:
        return isinstance(value, list) and (arguments[-1] is Ellipsis or len(value) == len(arguments))
    if origin is dict or kind is Part:
        return isinstance(value, dict) and ("_target_" in value) == (kind is Part)
    if kind in (int, float, Scalar):
        number = isinstance(value, int) or (isinstance(value, float) and kind is not int)
        inside = number and not isinstance(value, bool) and (limit is None or value in limit)
        return inside and (kind is int or _held(value, kind))
    return isinstance(value, kind)


def _held(number: float, kind: Any) -> bool:
    """Whether a number is finite, and one for the program has a float32 that is finite too, and 0 only if it is."""
    if kind is Scalar:
        return number == 0 or SMALLEST <= abs(number) <= LARGEST
    return abs(number) <= sys.float_info.max


def _inside(value: Any, kind: Any, key: str) -> list[Problem]:
    if get_origin(kind) not in (tuple, dict):
        return []
    pairs = enumerate(value) if isinstance(value, list) else value.items()
    return [found for k, v in pairs for found in find_problems(v, _element(kind, k), f"{key}.{k}")]


def _element(kind: Any, key: int | str) -> Any:
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return arguments[1]
    if arguments[-1] is Ellipsis:
        return arguments[0]
    return arguments[int(key)] if int(key) < len(arguments) else Any


def _sentence(value: Any, hint: Any) -> str:
    wanted = " or ".join(_name(kind, limit) for kind, limit in alternatives(hint))
    words = [word for kind, _ in alternatives(hint) if get_origin(kind) is Literal for word in get_args(kind)]
    nearest = f"; {suggest_name(value, map(str, words))}" if words else ""
    if takes_scalar(hint) and isinstance(value, int | float) and not _held(value, Scalar):
        nearest += f"; float32 holds 0 and numbers of size {SMALLEST:g} to {LARGEST:g}"
    return f"{format_value(value)} is not {wanted}{nearest}"


def _name(kind: Any, limit: Range | None) -> str:
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return "one of the words that are allowed"
    if get_origin(kind) is tuple:
        return "a list" if arguments[-1] is Ellipsis else f"a list of {len(arguments)}"
    name = NAMES[get_origin(kind) or kind]
    return f"{name} in {limit}" if limit else name


def format_value(value: Any) -> str:
    """A value as YAML writes it in one line, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > LONGEST_NUMBER:  # more digits than Python writes
        return f"a number of {value.bit_length()} bits"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
