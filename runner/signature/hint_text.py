"""Describes type hints in full, for the help: `a list (each a whole number in [1, inf))`."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from components.types import Range
from runner.signature.kinds import KINDS, kinds_of
from runner.signature.type_hints import (
    FUNCTION,
    PartHint,
    RecordHint,
    alternatives,
    describe_member,
    format_value,
    part_kinds,
)


def describe_hint(hint: Any) -> str:
    """The values that a hint allows, in words, such as `a number in [0, 1) or null`."""
    described = dict.fromkeys(_describe(member, range_, part_kinds(hint)) for member, range_ in alternatives(hint))
    return " or ".join(described)


def _describe(member: Any, range_: Range | None, kinds: tuple[str, ...]) -> str:
    arguments = get_args(member)
    if member is Any:
        return "any value"
    if get_origin(member) is Literal:
        names = [value if isinstance(value, str) else format_value(value) for value in arguments]
        return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    if member is PartHint:
        return " or ".join(dict.fromkeys(map(_describe_kind, kinds))) or "a part"
    if get_origin(member) is tuple and arguments[-1] is Ellipsis:
        return _describe_elements("a list", arguments[0])
    if get_origin(member) is tuple:
        return f"a list of {len(arguments)}: {', '.join(map(describe_hint, arguments))}"
    if get_origin(member) is dict:
        return _describe_elements("a mapping", arguments[1])
    if isinstance(member, type) and issubclass(member, RecordHint):
        required = {name: "" if name in member.required else ", not required" for name in member.hints}
        keys = (f"{name} ({describe_hint(hint)}{required[name]})" for name, hint in member.hints.items())
        return f"a mapping with the keys {', '.join(keys)}"
    return describe_member(member, range_)


def _describe_elements(container: str, element: Any) -> str:
    """Describes a list or a mapping with elements of one type."""
    return container if element is Any else f"{container} (each {describe_hint(element)})"


def _describe_kind(kind_or_class: str) -> str:
    """A kind of part in words: `a loss`; for a class that is no kind: `an object of components.layer.Initializer`."""
    if kind_or_class == FUNCTION:
        return "a function (a dotted name)"
    titles = [KINDS[name].title for name in kinds_of(kind_or_class)]
    return " or ".join(titles) or f"an object of {kind_or_class}"
