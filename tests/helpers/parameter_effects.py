"""Whether a parameter of a part has an effect: other values that its type hint allows, and what they change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import jax
import numpy as np

from components.types import UserError
from runner.signature.parameters import Parameter
from runner.signature.type_hints import DurationHint, ScalarHint, alternatives, element_hint, find_problems

TEXTS = ["architecture/dense_0", "bfloat16", "image", "x"]
USER_ERROR = "UserError: "
NUMBERS = [0.3, 0.7, 0.05, 2.0, 3.0, -0.3, 0.0]


def list_values(hint: Any, current: Any, name: str) -> Iterator[Any]:
    """Values that a type hint allows, other than the current one."""
    for value in _list_candidates(hint, current, name):
        if value != current and not find_problems(value, hint, name):
            yield value


def _list_candidates(hint: Any, current: Any, name: str) -> Iterator[Any]:
    for member, _ in alternatives(hint):
        if member is bool:
            yield from (True, False)
        elif member is int:
            yield from (2, 1, 3, *((current + 1, 2 * current) if isinstance(current, int) else ()), 4, 0)
        elif member in (float, ScalarHint):
            yield from NUMBERS
        elif member is DurationHint:
            yield from (0.3, "3st", "2ep")
        elif member is type(None):
            yield None
        elif member is Any:
            yield from (False, "bfloat16")
        elif member is str:
            yield from TEXTS
        elif get_origin(member) is Literal:
            yield from get_args(member)
        elif get_origin(member) is tuple:
            yield from _list_lists(member, current, name)


def _list_lists(member: Any, current: Any, name: str) -> Iterator[list[Any]]:
    """Lists: the current one with another element, a shorter and a longer one; or one or two elements of any value."""
    if isinstance(current, list | tuple) and len(current):
        for index, element in enumerate(current):
            for other in list_values(element_hint(member, index), element, name):
                yield [*current[:index], other, *current[index + 1 :]]
        yield from (list(current[:-1]), [*current, current[-1]])
    for value in list_values(element_hint(member, 0), None, name):
        yield from ([value], [value, value])


def describe(function: Any, *arguments: Any) -> str:
    """The traced program of a function, with the values of its constants; or the error of the user that it raises."""
    try:
        traced, returned = jax.make_jaxpr(function, return_shape=True)(*arguments)
    except UserError as error:
        return f"{USER_ERROR}{error}"
    constants = [np.asarray(constant).tobytes() for constant in traced.consts if hasattr(constant, "shape")]
    return f"{re.sub('0x[0-9a-f]+', '', str(traced))} {constants} {jax.tree.structure(returned)}"


def find_effect(
    observe: Callable[[Mapping[str, Any]], Iterable[str]],
    base: Mapping[str, Any],
    before: list[str],
    key: str,
    parameter: Parameter,
    values: Iterable[Any] | None,
) -> list[str] | None:
    """None if another value of a parameter changes what is observed of a part; else the errors that values raise.

    Args:
        observe: the arguments of the part -> descriptions of what it does, or of errors of the user.
        base: the arguments.
        before: the descriptions for them.
        key: the name of the parameter.
        parameter: its hint and its default.
        values: other values. None: those that the hint allows.
    """
    current = base.get(key, None if parameter.required else parameter.default)
    errors = []
    for value in list_values(parameter.hint, current, key) if values is None else values:
        changes = (new for new, old in zip(observe({**base, key: value}), before, strict=False) if new != old)
        for description in changes:
            if not description.startswith(USER_ERROR):
                return None
            errors.append(f"{value}: {description}"[:300])
    return errors
