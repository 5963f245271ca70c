"""The packages whose parts a configuration may name, and the numbers of Optax that may be traced."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Annotated, Any

from components.types import Range
from runner.hints import Scalar

PACKAGES = ("components", "optax", "flax.linen", "jax.nn")
OURS = ("runner.tracking", "runner.sweep")  # packages of the runner that export parts
VARIABLE = "TITRATE_ALLOW"

_SHARE = Annotated[Scalar, Range(0, 1, "[)")]
_POSITIVE = Annotated[Scalar, Range(0)]
OPTAX: dict[str, Any] = {
    "b1": _SHARE,
    "b2": _SHARE,
    "decay": _SHARE,
    "momentum": _SHARE | None,
    "eps": _POSITIVE,
    "eps_root": _POSITIVE,
    "initial_scale": _POSITIVE,
    "weight_decay": _POSITIVE,
}
"""Hints by parameter, for Optax has no ranges in its own: each gives the same updates as a traced array."""


def added() -> tuple[str, ...]:
    """The packages that the user adds by TITRATE_ALLOW=name,name or --allow: all that they define may be named."""
    return tuple(filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))))


def packages() -> tuple[str, ...]:
    """The packages that targets may come from."""
    return (*PACKAGES, *added())


ALLOWED: list[str] = []  # by the command line


def allow(name: str) -> None:
    """Adds a package, in this process and those that it starts."""
    ALLOWED.append(name)
    os.environ[VARIABLE] = ",".join(filter(None, [os.environ.get(VARIABLE, ""), name]))


@contextlib.contextmanager
def one_command() -> Iterator[None]:
    """What a command allows ends with it: a later call in the same process allows no more than its own user does."""
    before = os.environ.get(VARIABLE)
    try:
        yield
    finally:
        ALLOWED.clear()
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def is_added(name: str) -> bool:
    """Whether a dotted path is below a package that the user adds."""
    return _is_below(name, added())


def refuse(target: str) -> str | None:
    """Why a dotted path may not be followed; None where it is below an allowed package."""
    if _is_below(public(target), (*packages(), *OURS)):
        return None
    allowed = ", ".join(packages())
    return f"{target} is not below an allowed package ({allowed}); --allow NAME or {VARIABLE} adds one"


def public(name: str) -> str:
    """The public spelling of a dotted path: JAX defines the functions of `jax.nn` in private modules."""
    return name.replace("jax._src.nn.", "jax.nn.", 1)


def _is_below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{package}.") for package in packages)
