"""Builds parts from plain values. No other module imports and calls the object of a dotted name."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol

from components.closest import suggest_name
from components.types import AfterUpdate, Augmentation, Duration, FieldError, Loss, OpensSource, UserError, error_field
from components.uri_mask import MASK
from runner.credentials import DATA_URI_VARIABLE, reveal
from runner.signature.allowed_parts import find_kind_problem
from runner.signature.kinds import KINDS, PartKind
from runner.signature.parameters import REST, hint_of_argument, needs_more_arguments, read_parameter_hints
from runner.signature.schema import SCHEMA
from runner.signature.source import allowed_packages, find_target_problem, public_name
from runner.signature.type_hints import FUNCTION, element_hint, part_kinds, read_duration
from runner.user_code import is_user_code

SEVERAL_FORMS = {(Loss, "__call__"), (Augmentation, "__call__")}
"""Methods of protocols that may have other parameters too. The program checks their calls."""
OPTIONAL_PARAMETERS: Mapping[tuple[type, str], tuple[str, ...]] = {(AfterUpdate, "after"): ("clock",)}
"""Parameters of methods of protocols that are passed by name to the parts that have them."""


@dataclass(frozen=True)
class ScalarSlot:
    """A placeholder in the static tree for a number that is an array in the program.

    Attributes:
        name: its key in the configuration, such as `optimizer.b1`.
        unit: the unit of the `Duration` whose number this is. None: the number is no duration.
    """

    name: str
    unit: Literal["run", "epoch", "step"] | None = None


@dataclass(frozen=True)
class UnboundOptimizer:
    """An optimizer that lacks the numbers of the schedule. A call with these builds it.

    Attributes:
        node: the tree of the optimizer.
        numbers: the values of its slots by name.
    """

    node: Mapping[str, Any]
    numbers: Mapping[str, Any]

    def __call__(self, **extra_arguments: Any) -> Any:
        return _build_part(self.node, self.numbers, ("optimizer",), extra_arguments)


def import_target(target: str) -> Any:
    """Imports the object of a dotted name. Raises UserError unless an allowed package exports and defines it."""
    if problem := find_target_problem(target):
        raise UserError(problem)
    module, _, name = target.rpartition(".")
    try:
        target_object = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"`{target}` can't be imported: {error}") from error
    home = _find_defining_module(target_object)
    if find_target_problem(f"{home}.{name}"):
        raise UserError(
            f"`{target}` is not a part: it is defined in `{home}`, which is not an allowed package. "
            f"Allowed: {', '.join(allowed_packages())}."
        )
    return target_object


MASKED = re.compile(rf"://{re.escape(MASK)}|[?&][^=&]+={re.escape(MASK)}(&|#|$)")  # a URI without its credentials


def build(node: Any, numbers: Mapping[str, Any], hint: Any = Any, /, **extra_arguments: Any) -> Any:
    """Builds the object that a tree of plain values describes. Only parts are called.

    A mapping with `_target_` becomes a call of that target with its other keys. Where a function may stand, a function
    that needs more arguments is not called: it is the value, with the other keys as arguments. An optimizer without
    extra arguments becomes an `UnboundOptimizer`. An architecture without extra arguments is
    a part of another one, and has no head. Lists become tuples, a `ScalarSlot` becomes its value in `numbers`,
    and a value such as `5ep` becomes a `Duration` where its hint is one.

    Args:
        node: the tree.
        numbers: the values of the slots by name: floats, or traced arrays inside the compiled step.
        hint: the type hint of the tree's root, as in `SCHEMA`. Below a part, its annotations are the hints.
        extra_arguments: arguments of the root's target, which override those of the tree.

    Raises:
        UserError: a `_target_` is not a part of the kind that its hint allows. Of an inner part, it is a FieldError.
    """
    if isinstance(node, ScalarSlot):
        number = numbers[node.name]
        return number if node.unit is None else Duration(number, node.unit)
    if isinstance(node, Mapping):
        if "_target_" in node:
            kinds = part_kinds(hint)
            if kinds == ("optimizer",) and not extra_arguments:
                return UnboundOptimizer(node, numbers)
            if kinds == ("architecture",) and not extra_arguments:
                extra_arguments = {"outputs": 0}
            return _build_part(node, numbers, kinds, extra_arguments)
        return {key: _build_inner(str(key), value, numbers, element_hint(hint, key)) for key, value in node.items()}
    if isinstance(node, list | tuple):
        elements = enumerate(node)
        return tuple(_build_inner(str(index), value, numbers, element_hint(hint, index)) for index, value in elements)
    if (duration := read_duration(node, hint)) is not None:
        return duration
    return _reveal_credentials(node) if isinstance(node, str) else node


def _build_inner(name: str, node: Any, numbers: Mapping[str, Any], hint: Any) -> Any:
    """Builds a value of a parameter, a mapping or a list. Its name there is added to the errors of parts in it."""
    if not isinstance(node, Mapping | list | tuple):
        return build(node, numbers, hint)
    with error_field(name):
        return build(node, numbers, hint)


def build_source(node: Mapping[str, Any], /, **extra_arguments: Any) -> Any:
    """Builds the source of a configuration of `data`, and opens it if its file decides which source it is.

    Raises:
        UserError: as `build`.
        DataError: the file can't be read.
    """
    source = build(node, {}, SCHEMA["data"], **extra_arguments)
    return source.open() if isinstance(source, OpensSource) else source


def _reveal_credentials(text: str) -> str:
    """Replaces a mask of the configuration by the credentials. Raises UserError if this process doesn't have them."""
    revealed = reveal(text)
    if MASKED.search(revealed) or re.fullmatch(rf"{re.escape(MASK)}\S+", revealed):
        is_uri = "@" in text or "://" in text
        remedy = f"URI instead, or set {DATA_URI_VARIABLE} to it" if is_uri else "secret instead"
        raise UserError(f"the credentials in {text} are not saved. Give the whole {remedy}.")
    return revealed


def _build_part(
    node: Mapping[str, Any], numbers: Mapping[str, Any], kinds: Sequence[str], extra_arguments: Mapping[str, Any]
) -> Any:
    target = node["_target_"]
    if problem := find_kind_problem(target, kinds):
        raise UserError(problem)
    hints = read_parameter_hints(target)
    arguments = {}
    for name, value in node.items():
        if name == "_target_":
            continue
        if hints and name not in hints and REST not in hints:
            raise UserError(f"`{target}` has no parameter {name}. {suggest_name(name, hints)}")
        arguments[name] = _build_inner(name, value, numbers, hint_of_argument(hints, name))
    if FUNCTION in kinds and needs_more_arguments(target, arguments):
        function = import_target(target)
        part = functools.partial(function, **arguments) if arguments else function
    else:
        part = _call_target(target, {**arguments, **extra_arguments})
    if is_user_code(target):
        check_kind(part, target, kinds)
    return part


def _call_target(target: str, arguments: dict[str, Any]) -> Any:
    target_object = import_target(target)
    try:
        return target_object(**arguments)
    except FieldError:
        raise  # it names a parameter
    except UserError as error:
        raise type(error)(f"`{target}`: {error}") from error
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # not raised inside the target
            names = ", ".join(arguments) or "no arguments"
            raise UserError(f"`{target}` can't be called with {names}: {error}") from error
        raise


def _find_defining_module(target_object: Any) -> str:
    """The module that defines an object."""
    while isinstance(target_object, functools.partial):
        target_object = target_object.func
    return public_name(getattr(target_object, "__module__", None) or "")


def check_kind(part: Any, target: str, kinds: Sequence[str]) -> None:
    """Raises UserError unless an object is of one of some kinds.

    Args:
        part: the object.
        target: the target that returned it, for the message.
        kinds: kinds of part, or classes by their dotted names; empty: any kind.
    """
    problems = [_find_object_problem(part, target, kind) for kind in kinds]
    if problems and None not in problems:
        raise UserError(str(problems[0]))


def _find_object_problem(part: Any, target: str, kind_or_class: str) -> str | None:
    """Why an object is not of a kind, or which members of a class it lacks; None: there is no problem."""
    kind = KINDS.get(kind_or_class)
    if kind_or_class == FUNCTION:
        returned = f"returns a {type(part).__name__}, which can't be called"
        return None if callable(part) else f"`{target}` {returned}. A function is needed here."
    class_name = kind.returns if kind and kind.returns else kind_or_class
    module, _, name = class_name.rpartition(".")
    cls: type = getattr(importlib.import_module(module), name)
    title = kind.title if kind else f"a {cls.__name__}"
    if kind and not _is_protocol(cls):
        problem = f"`{target}` returns a {type(part).__name__}, not {title} ({class_name})"
        return None if isinstance(part, cls) else problem
    if problem_of_members := _find_member_problem(part, target, title, cls, class_name):
        return problem_of_members
    return _find_method_problem(part, target, kind) if kind and kind.protocols else None


def _find_member_problem(part: Any, target: str, title: str, cls: type, class_name: str) -> str | None:
    """The problem of an object that lacks members of a class, or whose methods take other parameters; None: there is
    none."""
    missing = [f"`{member}`" for member in _list_required_members(cls) if not hasattr(part, member)]
    if not missing:
        return _find_parameter_problem(part, target, title, cls)
    returned = " returns None, which" if part is None else ""
    allowed = f"To be {title}, it needs all members of {class_name}.{_name_help(class_name)}"
    return f"`{target}`{returned} has no {', '.join(missing)}. {allowed}"


def _name_help(class_name: str) -> str:
    """What to run to see the members of a protocol; "": it is the user's."""
    return f" Run: titrate --help {class_name}" if class_name.startswith("components.types.") else ""


def _find_method_problem(part: Any, target: str, kind: PartKind) -> str | None:
    """The problem of an object without exactly one of the methods of its kind, or without another member of the
    method's protocol; None: there is none."""
    found = [name for name in kind.protocols if callable(getattr(part, name, None))]
    if len(found) == 1:
        protocol = kind.protocols[found[0]]
        title = f"{kind.title} with `{found[0]}`"
        return _find_member_problem(part, target, title, protocol, f"components.types.{protocol.__name__}")
    has = " and ".join(f"`{name}`" for name in found) or "none of these methods"
    return f"`{target}` has {has}. To be {kind.title}, it needs exactly one of {', '.join(kind.protocols)}."


def _find_parameter_problem(part: Any, target: str, title: str, cls: type) -> str | None:
    """The problem of an object with a method that can't be called with the parameters of a protocol; None: there is
    none."""
    for name, method in vars(cls).items() if _is_protocol(cls) else ():
        if not inspect.isfunction(method) or name not in _list_required_members(cls) or (cls, name) in SEVERAL_FORMS:
            continue
        _, *parameters = inspect.signature(method).parameters.values()
        names = [parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty]
        try:
            signature = inspect.signature(getattr(part, name))
        except ValueError:  # a function that is not written in Python
            continue
        optional = OPTIONAL_PARAMETERS.get((cls, name), ())
        try:
            signature.bind(*names, **{each: each for each in optional if each in signature.parameters})
        except TypeError:
            called = target if name == "__call__" else f"{target}.{name}"
            return f"`{called}` takes {signature}. To be {title}, it must take ({', '.join(names)})."
    return None


def _list_required_members(protocol: type) -> Iterable[str]:
    """The members that a protocol declares, or the methods of another class."""
    classes = [cls for cls in reversed(protocol.__mro__) if cls not in (object, Protocol, Generic)]
    fields = [name for cls in classes if _is_protocol(cls) for name in vars(cls).get("__annotations__", {})]
    methods = [
        name
        for cls in classes
        for name, value in vars(cls).items()
        if inspect.isfunction(value) or isinstance(value, property)
    ]
    return dict.fromkeys(name for name in (*fields, *methods) if name[0] != "_" or name == "__call__")


def _is_protocol(cls: type) -> bool:
    return bool(vars(cls).get("_is_protocol"))
