"""The optimizers of Optax and Titrate that a run accepts."""

from __future__ import annotations

from runner.signature.allowed_parts import is_allowed_part
from runner.signature.parameters import Parameters, read_signature
from runner.signature.source import find_module, list_public_names
from runner.signature.type_hints import element_hint, takes_scalar

NOT_IN_TABLE = (  # they need more than gradients, change another optimizer, or are deprecated
    "optax.dpsgd",
    "optax.noisy_sgd",
    "optax.optimistic_adam",
    "optax.contrib.dpsgd",
    "optax.contrib.schedule_free",
    "optax.contrib.sophia",
)


def list_optimizers() -> dict[str, Parameters]:
    """The signatures of the optimizers that Optax and Titrate have."""
    found = {}
    for package in ("components.optimizer", "optax", "optax.contrib"):
        module = find_module(package)
        assert module is not None
        for name in sorted(list_public_names(module)):
            target = f"{package}.{name}"
            is_in_table = target not in NOT_IN_TABLE and not name.startswith("scale_by_")
            if is_in_table and is_allowed_part(target, ["optimizer"]):
                signature = read_signature(target) or {}
                if "learning_rate" in signature:
                    found[target] = signature
    return found


def list_numbers(signature: Parameters) -> list[str]:
    """The names of the numbers of an optimizer, and of lists of numbers, except its learning rate."""
    hints = {name: (one.hint, element_hint(one.hint, 0)) for name, one in signature.items() if name != "learning_rate"}
    return [name for name, (hint, element) in hints.items() if takes_scalar(hint) or takes_scalar(element)]
