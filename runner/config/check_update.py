"""Checks that members of the update set and parameters of optimizers have the effect that they promise.

It does so before JAX is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from components.closest import join_names
from runner.config.check_schedule import SCHEDULES, sets_momentum
from runner.config.check_targets import has_member, target_of
from runner.signature.parameters import read_parameter_hints, read_signature
from runner.signature.source import PartNotFoundError
from runner.signature.type_hints import Problem, format_value
from runner.tree import iterate_parts, join_path

LOOKAHEAD = "components.update.Lookahead"
MOMENTUM_OPTIONS = (
    "nesterov",
    "accumulator_dtype",
    "dtype_momentum",
)  # of Optax; they only change a momentum
DECAY_MASKS = ("mask", "weight_decay_mask")  # Optax's names for the parameters that `weight_decay` applies to

UNMASKED_DECAYS = {
    "optax.novograd": "weight_decay",
    "optax.contrib.dadapt_adamw": "weight_decay",
    "optax.contrib.madgrad": "weight_decay",
    "optax.contrib.muon": "adam_weight_decay",
    "optax.contrib.prodigy": "weight_decay",
    "optax.contrib.schedule_free_adamw": "weight_decay",
    "optax.contrib.schedule_free_sgd": "weight_decay",
}
"""Weight decays of Optax without a mask that can be limited: what they change depends on no other parameter."""


FORGETTING = ("components.optimizer.ftrl", "optax.contrib.cocob")
"""Optimizers that compute the parameters from sums of gradients, so that a step forgets most other moves."""


def find_update_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds parameters of optimizers and members without effect, and weight decays of all parameters.

    A schedule of the user's may set numbers of an optimizer. If there is one, `OptimizerFactory` checks what depends on
    these numbers.
    """
    schedules = [node for path, node in iterate_parts(values) if path[-1] == "schedule"]
    knows_numbers = all(str(node["_target_"]).startswith(SCHEDULES) for node in schedules)
    knows_momentum = knows_numbers and not any(map(sets_momentum, schedules))
    for path, node in iterate_parts(values):
        if path[-1] == "optimizer":
            yield from _find_wrong_masks(join_path(path), node)
            with suppress(PartNotFoundError):  # it is reported at its key
                yield from _find_unlimited_decays(join_path(path), node)
                if knows_momentum:
                    yield from find_momentum_problems(join_path(path), node)
    update, optimizer = values.get("update"), values.get("optimizer")
    if not isinstance(update, Mapping) or not isinstance(optimizer, Mapping):
        return
    groups = [node for path, node in iterate_parts(update) if path[-1] == "optimizer"]
    optimizers = [node for node in (optimizer, *groups) if target_of(node)]
    for name, node in update.items():
        if has_member(node, "decays") and optimizers and not any(map(has_decay, optimizers)):
            targets = join_names(dict.fromkeys(node["_target_"] for node in optimizers))
            problem = (
                f"{targets} has no weight decay of chosen parameters. Choose optimizer=adamw, or leave {name} out."
            )
            if masks := [mask for mask in DECAY_MASKS if mask in optimizer]:
                problem = f"optimizer.{masks[0]} chooses the parameters that decay. Leave it or {name} out."
            yield Problem(f"update.{name}", problem)
        elif has_member(node, "decays") and knows_numbers:
            yield from find_unset_decays(name, optimizers)


def find_weak_lookahead(values: Mapping[str, Any]) -> Iterator[str]:
    """Finds a `lookahead` that does little, since the next step of each optimizer forgets most of its moves."""
    targets = list(dict.fromkeys(node["_target_"] for path, node in iterate_parts(values) if path[-1] == "optimizer"))
    for name, node in values["update"].items():
        if target_of(node) == LOOKAHEAD and set(targets) <= set(FORGETTING):
            verb = "forgets" if len(targets) == 1 else "forget"
            yield f"update.{name} changes little, because a step of {join_names(targets)} {verb} most of its moves"


def find_unset_decays(name: str, optimizers: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    """Finds a member of the update set that limits weight decays of which none is set.

    Args:
        name: the name of the member.
        optimizers: the nodes of all optimizers of the run, with the numbers that schedules set.
    """
    decaying = [node for node in optimizers if has_decay(node)]
    if decaying and all(map(_leaves_decay_out, decaying)):
        targets = join_names(dict.fromkeys(node["_target_"] for node in decaying))
        yield Problem(f"update.{name}", f"the weight decay of {targets} isn't set. Set it, or leave {name} out.")


def _leaves_decay_out(node: Mapping[str, Any]) -> bool:
    """Whether an optimizer sets none of its weight decays, whose defaults are 0 or null, or sets null."""
    try:
        signature = read_signature(node["_target_"]) or {}
    except PartNotFoundError:
        return False
    names = [name for name in signature if "weight_decay" in name and name not in DECAY_MASKS]
    return bool(names) and all(node[name] is None if name in node else not signature[name].default for name in names)


def _find_wrong_masks(key: str, node: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds a mask of a weight decay that is no function."""
    for name in DECAY_MASKS:
        mask = node.get(name)
        is_function = isinstance(mask, Mapping) and "_target_" in mask
        if mask is not None and not is_function and not isinstance(mask, bool):
            yield Problem(
                f"{key}.{name}",
                f"{format_value(mask)} is no function of the parameters. For patterns, choose update=[decay] and set "
                "update.decay.paths.",
            )


def find_momentum_problems(key: str, node: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds options of a momentum that change nothing, since there is no momentum.

    Args:
        key: the key of the optimizer.
        node: the optimizer, with the numbers that its schedule sets.
    """
    momentum = (read_signature(node["_target_"]) or {}).get("momentum")
    if momentum is not None and node.get("momentum", momentum.default) is None:
        for name in MOMENTUM_OPTIONS:
            if node.get(name):
                value = format_value(node[name])
                yield Problem(
                    f"{key}.{name}", f"{value} changes nothing without {key}.momentum. Set it, such as to 0.9."
                )


def _find_unlimited_decays(key: str, node: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds a weight decay of an optimizer of Optax that can't be limited to some parameters."""
    for name, value in node.items():
        if isinstance(value, int | float) and value != 0 and applies_to_all(node["_target_"], name):
            yield Problem(
                f"{key}.{name}",
                f"{format_value(value)} would also apply to biases and the scales of normalizations. Leave it out, and "
                "choose regularizer=[l2].",
            )


def applies_to_all(target: str, name: str) -> bool:
    """Whether a parameter of an optimizer is a weight decay that can't be limited to some parameters of the model."""
    return "weight_decay" in name and name not in DECAY_MASKS and not can_limit_decay(target, name)


def can_limit_decay(target: str, decay: str) -> bool:
    """Whether a weight decay of an optimizer can be limited to some parameters. Optimizers of your own do as they like.

    Args:
        target: the target of the optimizer.
        decay: the name of its parameter.
    """
    if not target.startswith("optax.") or UNMASKED_DECAYS.get(target) == decay:
        return True
    return decay.startswith("weight_decay") and bool(find_decay_masks({"_target_": target}))


def find_decay_masks(node: Mapping[str, Any]) -> list[str]:
    """The parameters of an optimizer that take the mask of its weight decay, except those that are set."""
    hints = read_parameter_hints(node["_target_"])
    decays = any(name.startswith("weight_decay") and name not in DECAY_MASKS for name in hints)
    return [name for name in DECAY_MASKS if decays and name in hints and name not in node]


def has_decay(node: Mapping[str, Any]) -> bool:
    """Whether an optimizer has a weight decay that can be limited, or is unknown."""
    try:
        return node["_target_"] in UNMASKED_DECAYS or bool(find_decay_masks(node))
    except PartNotFoundError:
        return True
