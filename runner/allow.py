"""What a configuration may name: the packages of its targets, and the numbers of Optax that may be traced."""

from __future__ import annotations

import os
from typing import Annotated, Any

from components.types import Range
from runner.hints import Scalar

PACKAGES = ("components", "optax", "flax.linen", "jax.nn")
OURS = ("runner.tracking.MLflow", "runner.tracking.Nothing", "runner.sweep.Grid")  # parts of the runner itself
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


def packages() -> tuple[str, ...]:
    """The packages that targets may come from; the user adds some by TITRATE_ALLOW=name,name or --allow."""
    added = os.environ.get(VARIABLE, "").split(",")
    return (*PACKAGES, *filter(None, map(str.strip, added)))


ALLOWED: list[str] = []  # by the command line


def allow(name: str) -> None:
    """Adds a package, in this process and those that it starts."""
    ALLOWED.append(name)
    os.environ[VARIABLE] = ",".join(filter(None, [os.environ.get(VARIABLE, ""), name]))


def refuse(target: str) -> str | None:
    """Why a dotted path may not be a target; None where it is below an allowed package."""
    home = target.replace("jax._src.nn.", "jax.nn.", 1)  # where the functions of jax.nn are defined
    if target in OURS or any(home.startswith(f"{package}.") for package in packages()):
        return None
    allowed = ", ".join(packages())
    return f"{target} is not below an allowed package ({allowed}); --allow NAME or {VARIABLE} adds one"
