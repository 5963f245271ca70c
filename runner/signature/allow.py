"""The packages whose parts a configuration may name."""

from __future__ import annotations

from runner.user_code import VARIABLE, added_packages, is_below

PACKAGES = ("components", "optax", "flax.linen", "jax.nn")
OURS = ("runner.tracking", "runner.sweep")  # packages of the runner that export parts


def allowed_packages() -> tuple[str, ...]:
    """The packages that targets may come from."""
    return (*PACKAGES, *added_packages())


def find_refusal(target: str) -> str | None:
    """Why a dotted path may not be followed; None where it is below an allowed package."""
    if is_below(public_name(target), (*allowed_packages(), *OURS)):
        return None
    allowed = ", ".join(allowed_packages())
    return f"{target} is not below an allowed package ({allowed}); --allow NAME or {VARIABLE} adds one"


def public_name(name: str) -> str:
    """The public spelling of a dotted path: JAX defines the functions of `jax.nn` in private modules."""
    return name.replace("jax._src.nn.", "jax.nn.", 1)
