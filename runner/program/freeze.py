"""Frozen parameters: a training step neither differentiates nor changes them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from components.types import Duration, FreezesInTurns, Freezing, UserError
from runner.errors import error_location
from runner.program.returns import check_paths
from runner.program.trees import list_paths, select

REST = ""  # the turn of the frozen parameters that no other turn has

INFERENCE = {"train": False, "use_running_average": True, "deterministic": True}
"""Keywords of modules, with their values in inference: ours, and those of Flax's BatchNorm and Dropout."""


class Frozen(NamedTuple):
    """What is frozen.

    Attributes:
        parameters: the paths of the frozen parameters.
        modules: the paths of the modules whose parameters are all frozen.
    """

    parameters: frozenset[str] = frozenset()
    modules: frozenset[tuple[str, ...]] = frozenset()


def list_turns(freezing: tuple[str, Freezing] | None) -> dict[str, Duration]:
    """How long parameters are frozen, by the name of their turn, or REST. Those that stay frozen have no turn.

    Args:
        freezing: the member of the update set that freezes parameters, and its name.
    """
    if freezing is None:
        return {}
    _, member = freezing
    turns = member.turns if isinstance(member, FreezesInTurns) else None
    rest = {} if member.until is None else {REST: member.until}
    return {name: turn["until"] for name, turn in (turns or {}).items()} | rest


def find_frozen(freezing: tuple[str, Freezing] | None, parameters: Any, *, ended: Collection[str] = ()) -> Frozen:
    """Finds what is frozen.

    Args:
        freezing: the member of the update set that freezes parameters, and its name.
        parameters: all parameters.
        ended: the turns that have ended.
    """
    if freezing is None:
        return Frozen()
    name, member = freezing
    paths = list_paths(parameters)
    with error_location(f"update.{name}"):
        part = f"{type(member).__name__}.freezes"
        frozen = check_paths(member.freezes(paths), paths, part)
        if len(frozen) in (0, len(paths)):
            which = "all parameters" if frozen else "no parameter"
            raise UserError(f"{part} chooses {which}. Choose others, or leave {name} out.")
        turns: Mapping[str, str] = {}
        if isinstance(member, FreezesInTurns):
            turns = member.assign_turns(sorted(frozen))
            check_paths(turns, sorted(frozen), f"{type(member).__name__}.assign_turns")
    frozen = frozenset(path for path in frozen if turns.get(path, REST) not in ended)
    is_frozen: dict[tuple[str, ...], bool] = {}
    for path in paths:
        names = tuple(path.split("/"))
        for module in (names[:depth] for depth in range(len(names))):
            is_frozen[module] = is_frozen.get(module, True) and path in frozen
    return Frozen(frozen, frozenset(module for module, frozen in is_frozen.items() if frozen))


def freeze_modules(frozen: Frozen) -> contextlib.AbstractContextManager[None]:
    """A context in which frozen modules run as in inference, if they are called with a keyword for it."""
    if not frozen.modules:
        return contextlib.nullcontext()

    def call(function: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        path = context.module.path
        if any(path[:depth] in frozen.modules for depth in range(len(path) + 1)):
            kwargs = {**kwargs, **{name: INFERENCE[name] for name in kwargs.keys() & INFERENCE}}
        return function(*args, **kwargs)

    return nn.intercept_methods(call)


def split(parameters: Any, frozen: Frozen) -> tuple[Any, Any]:
    """The parameters that are trained, and those that are frozen."""
    if not frozen.parameters:
        return parameters, {}
    free = select(parameters, lambda path: path not in frozen.parameters)
    return free, select(parameters, lambda path: path in frozen.parameters)
