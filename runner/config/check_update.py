"""Checks that a member of the update set has an effect, before JAX is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from components.closest import join_names
from runner.config.check_targets import has_member, target_of
from runner.signature.parameters import read_parameter_hints
from runner.signature.source import PartNotFoundError
from runner.signature.type_hints import Problem
from runner.tree import iterate_parts

DECAY_MASKS = ("mask", "weight_decay_mask")  # Optax's names for the parameters that `weight_decay` applies to


def find_update_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds a member that limits a weight decay, although no optimizer has one."""
    update, optimizer = values.get("update"), values.get("optimizer")
    if not isinstance(update, Mapping) or not isinstance(optimizer, Mapping):
        return
    groups = [node for path, node in iterate_parts(update) if path[-1] == "optimizer"]
    optimizers = [node for node in (optimizer, *groups) if target_of(node)]
    for name, node in update.items():
        if has_member(node, "decays") and optimizers and not any(map(_has_decay, optimizers)):
            targets = join_names(dict.fromkeys(node["_target_"] for node in optimizers))
            yield Problem(
                f"update.{name}",
                f"{targets} has no weight decay of chosen parameters. Choose optimizer=adamw, or leave {name} out.",
            )


def find_decay_masks(node: Mapping[str, Any]) -> list[str]:
    """The parameters of an optimizer that take the mask of its weight decay, except those that are set."""
    hints = read_parameter_hints(node["_target_"])
    decays = any(name.startswith("weight_decay") and name not in DECAY_MASKS for name in hints)
    return [name for name in DECAY_MASKS if decays and name in hints and name not in node]


def _has_decay(node: Mapping[str, Any]) -> bool:
    """Whether an optimizer has a mask of its weight decay, or is unknown."""
    try:
        return bool(find_decay_masks(node))
    except PartNotFoundError:
        return True
