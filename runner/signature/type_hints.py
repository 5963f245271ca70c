"""Checks plain values against type hints: those of `typing`, and the markers `Scalar` and `Part`."""

from __future__ import annotations

import json
import sys
import types
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from components.closest import suggest_name
from components.types import Range


class Scalar:
    """Marks the annotation `components.types.Scalar`: a number that may be traced."""


class Part:
    """Marks the annotation of a part: the value is a mapping with `_target_`. A `Kind` narrows it."""


class Kind(NamedTuple):
    """The kind of part that a hint accepts, as in `Annotated[Part, Kind("loss")]`.

    Attributes:
        name: a kind of `signature/kinds`, or the dotted name of a class.
    """

    name: str


class Problem(NamedTuple):
    """A problem with the value of a key.

    Attributes:
        key: the dotted key.
        problem: the message for the user, without the key.
    """

    key: str
    problem: str


SMALLEST_FLOAT32, LARGEST_FLOAT32 = 2.0**-126, (2 - 2.0**-23) * 2.0**127  # positive normal numbers
MAX_NUMBER_BITS = 200  # of a number in a message
TYPE_NAMES = {
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
        outer = next((note for note in notes if isinstance(note, Range)), None)
        return [(kind, outer or limit) for kind, limit in alternatives(inner)]
    if get_origin(hint) in (Union, types.UnionType):
        return [pair for member in get_args(hint) for pair in alternatives(member)]
    return [(hint, None)]


def takes_scalar(hint: Any) -> bool:
    """Whether a number with this hint may be traced."""
    return any(kind is Scalar for kind, _ in alternatives(hint))


def element_hint(hint: Any, key: int | str) -> Any:
    """The hint of an element of a list, by index, or of a mapping, by key."""
    container = tuple if isinstance(key, int) else dict
    for kind, _ in alternatives(hint):
        if get_origin(kind) is container:
            return _element_of(kind, key)
    return Any


def part_kinds(hint: Any) -> tuple[str, ...]:
    """The kinds of part that a hint accepts; empty: any kind."""
    if get_origin(hint) is Annotated:
        return tuple(note.name for note in get_args(hint)[1:] if isinstance(note, Kind))
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(name for member in get_args(hint) for name in part_kinds(member))
    return ()


def find_problems(value: Any, hint: Any, key: str) -> list[Problem]:
    """The problems of a value that does not match a hint, or of its elements if only they don't match."""
    kinds = [kind for kind, limit in alternatives(hint) if _matches(value, kind, limit)]
    if not kinds:
        return [Problem(key, _describe_problem(value, hint))]
    problems = [_find_element_problems(value, kind, key) for kind in kinds]
    return [] if [] in problems else problems[0]


def _matches(value: Any, kind: Any, limit: Range | None) -> bool:
    """Whether a value matches a hint that is not a union. The elements of lists and mappings are not checked."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is Literal:
        return any(value == allowed and type(value) is type(allowed) for allowed in arguments)
    if origin is tuple:
        return isinstance(value, list) and (arguments[-1] is Ellipsis or len(value) == len(arguments))
    if origin is dict or kind is Part:
        return isinstance(value, dict) and ("_target_" in value) == (kind is Part)
    if kind in (int, float, Scalar):
        is_number = isinstance(value, int) or (isinstance(value, float) and kind is not int)
        in_range = is_number and not isinstance(value, bool) and (limit is None or value in limit)
        return in_range and (kind is int or _is_representable(value, kind))
    return isinstance(value, kind)


def _is_representable(number: float, kind: Any) -> bool:
    """Whether a number is finite. A `Scalar` must be a normal number of float32, or 0."""
    if kind is Scalar:
        return number == 0 or SMALLEST_FLOAT32 <= abs(number) <= LARGEST_FLOAT32
    return abs(number) <= sys.float_info.max


def _find_element_problems(value: Any, kind: Any, key: str) -> list[Problem]:
    if get_origin(kind) not in (tuple, dict):
        return []
    pairs = enumerate(value) if isinstance(value, list) else value.items()
    return [problem for k, v in pairs for problem in find_problems(v, _element_of(kind, k), f"{key}.{k}")]


def _element_of(kind: Any, key: int | str) -> Any:
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return arguments[1]
    if arguments[-1] is Ellipsis:
        return arguments[0]
    return arguments[int(key)] if int(key) < len(arguments) else Any


def _describe_problem(value: Any, hint: Any) -> str:
    expected = " or ".join(_describe_hint(kind, limit) for kind, limit in alternatives(hint))
    literals = [kind for kind, _ in alternatives(hint) if get_origin(kind) is Literal]
    allowed = [str(literal) for kind in literals for literal in get_args(kind)]
    advice = f". {suggest_name(value, allowed)}" if allowed else ""
    if takes_scalar(hint) and isinstance(value, int | float) and not _is_representable(value, Scalar):
        advice += f". In float32, its size must be 0, or from {SMALLEST_FLOAT32:g} to {LARGEST_FLOAT32:g}."
    return f"{format_value(value)} is not {expected}{advice}"


def _describe_hint(kind: Any, limit: Range | None) -> str:
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return "an allowed value"
    if get_origin(kind) is tuple:
        return "a list" if arguments[-1] is Ellipsis else f"a list of {len(arguments)}"
    name = TYPE_NAMES[get_origin(kind) or kind]
    return f"{name} in {limit}" if limit else name


def format_value(value: Any) -> str:
    """A value as YAML writes it in one line, cut after 60 characters."""
    if isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:  # Python refuses to print very long ones
        return f"a number of {value.bit_length()} bits"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
