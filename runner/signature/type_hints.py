"""Checks plain values against type hints: those of `typing`, and the classes `ScalarHint` and `PartHint`.

The hint of a list in YAML is a `tuple`, that of a mapping a `dict`.
"""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Union, get_args, get_origin

from components.closest import suggest_name
from components.types import Duration, Range, UserError

NO_DEFAULT = "is missing, and has no default"
SWEEP_ADVICE = ". To run each of them, write "  # starts the end of a problem, which `runner.config` may leave out


class ScalarHint:
    """Stands in a hint for `components.types.Scalar`: a number that may be traced."""


class DurationHint:
    """Stands in a hint for `components.types.Duration`: 0.3 (a share of the run), 5ep or 2000st. It may be traced."""


class PartHint:
    """Stands in a hint for a part: the value is a mapping with `_target_`. A `Kind` restricts the part."""


class RecordHint:
    """Stands in a hint for a mapping with fixed keys, such as a TypedDict. Each one is a subclass.

    Attributes:
        hints: the type hint of each key.
        required: the keys that must be present.
    """

    hints: ClassVar[Mapping[str, Any]] = {}
    required: ClassVar[frozenset[str]] = frozenset()


class Kind(NamedTuple):
    """The kind of part that a hint accepts, as in `Annotated[PartHint, Kind("loss")]`.

    Attributes:
        name: a kind such as `loss` (`runner/signature/kinds.py` has the list), or the dotted name of a class.
    """

    name: str


FUNCTION = "function"
"""The kind of part that a parameter annotated `Callable` takes."""


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
NUMBER_AT_START = re.compile(r"[\d.]+(?=\s*[a-zA-Z]*$)")  # of a text such as "5 epochs"
TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    ScalarHint: "a number",
    DurationHint: "a duration (0.3 of the run, 5ep, 2000st)",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    PartHint: "a part (a mapping with _target_)",
    type(None): "null",
}


def alternatives(hint: Any) -> list[tuple[Any, Range | None]]:
    """The members of a union, each with its range: `Annotated[ScalarHint, Range(0)] | None` has two.

    Of nested ranges, the outermost counts.
    """
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        outer_range = next((note for note in notes if isinstance(note, Range)), None)
        return [(member, outer_range or range_) for member, range_ in alternatives(inner)]
    if get_origin(hint) in (Union, types.UnionType):
        return [pair for member in get_args(hint) for pair in alternatives(member)]
    return [(hint, None)]


def takes_scalar(hint: Any) -> bool:
    """Whether a number with this hint may be traced."""
    return any(member is ScalarHint for member, _ in alternatives(hint))


def read_duration(value: Any, hint: Any) -> Duration | None:
    """The duration that a value with this hint is; None: it is another member of the hint, such as a number."""
    matching = [member for member, range_ in alternatives(hint) if _matches(value, member, range_)]
    return Duration.parse(value) if matching == [DurationHint] else None


def element_hint(hint: Any, key: int | str) -> Any:
    """The hint of an element of a list, by index, or of a mapping, by key."""
    container = tuple if isinstance(key, int) else dict
    for member, _ in alternatives(hint):
        if get_origin(member) is container or (_is_record(member) and key in member.hints):
            return _element_of(member, key)
    return Any


def part_kinds(hint: Any) -> tuple[str, ...]:
    """The kinds of part that a hint accepts; empty: any kind."""
    if get_origin(hint) is Annotated:
        return tuple(note.name for note in get_args(hint)[1:] if isinstance(note, Kind))
    if get_origin(hint) in (Union, types.UnionType) and Any not in get_args(hint):
        return tuple(name for member in get_args(hint) for name in part_kinds(member))
    return ()


def find_problems(value: Any, hint: Any, key: str) -> list[Problem]:
    """The problem of a value that doesn't match a hint. If the value matches, the problems of its elements."""
    matching = [member for member, range_ in alternatives(hint) if _matches(value, member, range_)]
    if not matching:
        return [Problem(key, _describe_problem(value, hint))]
    problems_by_member = [_find_element_problems(value, member, key) for member in matching]
    # One matching member without problems is enough.
    return [] if [] in problems_by_member else problems_by_member[0]


def _matches(value: Any, member: Any, range_: Range | None) -> bool:
    """Whether a value matches a hint that is not a union. The elements of lists and mappings are not checked."""
    origin, arguments = get_origin(member), get_args(member)
    if member is Any:
        return True
    if origin is Literal:
        return any(value == allowed and type(value) is type(allowed) for allowed in arguments)
    if origin is tuple:
        return isinstance(value, list) and (arguments[-1] is Ellipsis or len(value) == len(arguments))
    if origin is dict or member is PartHint or _is_record(member):
        return isinstance(value, dict) and ("_target_" in value) == (member is PartHint)
    if member is DurationHint:
        return _is_duration(value, range_)
    if member in (int, float, ScalarHint):
        number_types = int if member is int else (int, float)
        is_number = isinstance(value, number_types) and not isinstance(value, bool)
        in_range = is_number and (range_ is None or value in range_)
        return in_range and (member is int or _is_representable(value, member))
    return isinstance(value, member)


def _is_duration(value: Any, range_: Range | None) -> bool:
    """Whether a value is a duration, whose number is in a range."""
    try:
        number = float(Duration.parse(value).value)
    except UserError:
        return False
    return (range_ is None or number in range_) and _is_representable(number, ScalarHint)


def _is_representable(number: float, member: Any) -> bool:
    """Whether a number is finite. For `ScalarHint`, it must be 0 or a normal number of float32."""
    if member is ScalarHint:
        return number == 0 or SMALLEST_FLOAT32 <= abs(number) <= LARGEST_FLOAT32
    return abs(number) <= sys.float_info.max


def _is_record(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, RecordHint)


def _find_record_problems(value: Mapping[str, Any], record: type[RecordHint], key: str) -> list[Problem]:
    missing = sorted(record.required - value.keys())
    problems = [Problem(f"{key}.{name}", NO_DEFAULT) for name in missing]
    for name, element in value.items():
        if name in record.hints:
            problems += find_problems(element, record.hints[name], f"{key}.{name}")
        else:
            problems.append(Problem(f"{key}.{name}", f"unknown key. {suggest_name(name, record.hints)}"))
    return problems


def _find_element_problems(value: Any, member: Any, key: str) -> list[Problem]:
    if _is_record(member):
        return _find_record_problems(value, member, key)
    if get_origin(member) not in (tuple, dict):
        return []
    pairs = enumerate(value) if isinstance(value, list) else value.items()
    return [problem for k, v in pairs for problem in find_problems(v, _element_of(member, k), f"{key}.{k}")]


def _element_of(member: Any, key: int | str) -> Any:
    arguments = get_args(member)
    if _is_record(member):
        return member.hints[key]
    if get_origin(member) is dict:
        return arguments[1]
    if arguments[-1] is Ellipsis:
        return arguments[0]
    return arguments[int(key)] if int(key) < len(arguments) else Any


def _describe_problem(value: Any, hint: Any) -> str:
    descriptions = [describe_member(member, range_) for member, range_ in alternatives(hint)]
    if FUNCTION in part_kinds(hint):
        descriptions = ["a function (a dotted name)" if text == TYPE_NAMES[PartHint] else text for text in descriptions]
    expected = " or ".join(dict.fromkeys(descriptions))
    literals = [member for member, _ in alternatives(hint) if get_origin(member) is Literal]
    allowed = [str(literal) for member in literals for literal in get_args(member)]
    advice = f". {suggest_name(value, allowed)}" if allowed else ""
    if any(member is DurationHint for member, _ in alternatives(hint)):
        advice += _suggest_durations(value)
    if takes_scalar(hint) and isinstance(value, int | float) and not _is_representable(value, ScalarHint):
        advice += f". In float32, its absolute value must be 0, or from {SMALLEST_FLOAT32:g} to {LARGEST_FLOAT32:g}."
    if not isinstance(value, list | dict) and value is not None and not find_problems([value], hint, ""):
        advice += f". Write [{value}], in quotes on the command line"
    if isinstance(value, list) and value and all(_accepts(hint, element) for element in value):
        each = ",".join(map(format_value, value))
        argument = repr(f"…={each}") if '"' in each else f'"…={each}"'
        sweep = f"a sweep (titrate -m, or in Python runner.multirun({argument}))"
        advice += f"{SWEEP_ADVICE}{each} without brackets in {sweep}"
    return f"{format_value(value)} is not {expected}{advice}"


def _accepts(hint: Any, value: Any) -> bool:
    """Whether a value matches a hint. No problem is described, since a description tries other spellings."""
    members = [member for member, range_ in alternatives(hint) if _matches(value, member, range_)]
    return any(not _find_element_problems(value, member, "") for member in members)


def _suggest_durations(value: Any) -> str:
    """Suggests how a number is written as a duration: a number above 1, or a number at the start of a text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 1 < value < sys.float_info.max
    number = format_value(value) if is_number else ""
    if isinstance(value, str) and (match := NUMBER_AT_START.match(value)):
        number = match[0]
    if not number or value in (f"{number}ep", f"{number}st"):  # it is written as a duration, but out of range
        return ""
    return f". Write {number}ep for epochs, or {number}st for steps."


def describe_member(member: Any, range_: Range | None) -> str:
    """Describes a hint that is not a union, in a few words."""
    arguments = get_args(member)
    if get_origin(member) is Literal:
        return "an allowed value"
    if get_origin(member) is tuple:
        return "a list" if arguments[-1] is Ellipsis else f"a list of {len(arguments)}"
    name = TYPE_NAMES[dict if _is_record(member) else get_origin(member) or member]
    return f"{name} in {range_}" if range_ else name


def format_value(value: Any) -> str:
    """A value as YAML writes it in one line, cut after 60 characters."""
    if isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:  # Python refuses to print very long ones
        return f"a number of {value.bit_length()} bits"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
