"""Checks that schedules and optimizers fit together, before JAX is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from runner.config.check_targets import target_of
from runner.signature.parameters import read_signature
from runner.signature.source import PartNotFoundError
from runner.signature.type_hints import Problem
from runner.tree import iterate_parts, join_path

SCHEDULES = "components.schedule."
PIECEWISE = f"{SCHEDULES}piecewise_constant"
ONE_CYCLE = f"{SCHEDULES}one_cycle"
MOMENTUM, LOWEST_MOMENTUM = "momentum", "lowest_momentum"
MOMENTUM_NAMES = (MOMENTUM, "b1")
"""Names of the parameter that is the momentum of an optimizer; of Adam and its relatives, b1."""

MUON = ("components.optimizer.muon", "optax.contrib.muon")
OTHER_MOMENTUMS = dict.fromkeys(("optax.signum", "optax.contrib.momo", *MUON), "beta")
"""Optimizers whose momentum has another name, which means something else in other optimizers."""

PLAIN = {"optax.sgd": ", as in optimizer=sgd"}  # options whose files set no momentum

RATE_FREE = (
    *("optax.contrib.prodigy", "optax.contrib.dadapt_adamw", "optax.contrib.cocob", "optax.contrib.dog"),
    *("optax.contrib.dowg", "optax.lbfgs", "optax.rprop"),
)
"""Optimizers that find the lengths of their steps themselves."""


def find_schedule_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds schedules of the momentum for optimizers that have none or set it, and rates that are given twice."""
    if values.get("mode") == "find_lr":
        yield from _find_ramp_problems(values)
    for path, node in iterate_parts({group: values.get(group) for group in ("schedule", "update")}):
        yield from _find_double_rates(join_path(path), node)
        yield from _find_unused_momentum(join_path(path), node)
    for (key, optimizer), (schedule_key, schedule) in _iterate_pairs(values):
        if not target_of(optimizer) or not sets_momentum(schedule):
            continue
        with suppress(PartNotFoundError):  # it is reported at its key
            parameter = find_momentum(optimizer["_target_"])
            if parameter is None:
                yield Problem(schedule_key, describe_missing_momentum(optimizer["_target_"]))
            elif parameter in optimizer:
                plain = PLAIN.get(optimizer["_target_"], "")
                text = f"is set by {schedule_key}. Leave it out{plain}, or set the momentum of the schedule to null."
                yield Problem(f"{key}.{parameter}", text)


def sets_momentum(schedule: Any) -> bool:
    """Whether a schedule of ours sets the momentum, or one that is within it."""
    for _, node in iterate_parts(schedule):
        with suppress(PartNotFoundError):
            signature = read_signature(node["_target_"]) if str(node["_target_"]).startswith(SCHEDULES) else None
            default = (signature or {}).get(MOMENTUM)
            if default is not None and node.get(MOMENTUM, default.default) is not None:
                return True
    return False


def find_momentum(target: str) -> str | None:
    """The parameter of an optimizer that is its momentum; None: it has none."""
    signature = read_signature(target)
    names = (OTHER_MOMENTUMS.get(target, MOMENTUM), *MOMENTUM_NAMES)
    return next((name for name in names if signature is None or name in signature), None)


def describe_missing_momentum(target: str) -> str:
    """The problem of a schedule of the momentum for an optimizer that has none."""
    return (
        f"sets the momentum, and {target} has none. Choose optimizer=sgd, adam, adamw or nadam, or a schedule that "
        "sets the learning rate alone, as one_cycle does with momentum=null."
    )


def _iterate_pairs(values: Mapping[str, Any]) -> Iterator[tuple[tuple[str, Any], tuple[str, Any]]]:
    """The optimizers of the run and of its groups, each with its schedule. All have their keys."""
    optimizer, schedule = (("optimizer", values.get("optimizer")), ("schedule", values.get("schedule")))
    yield optimizer, schedule
    update = values.get("update")
    for name, member in update.items() if isinstance(update, Mapping) else ():
        for group_name, group in member.items() if isinstance(member, Mapping) else ():
            if isinstance(group, Mapping) and (group.get("optimizer") or group.get("schedule")):
                key = f"update.{name}.{group_name}"
                own = [(f"{key}.{each}", group.get(each)) for each in ("optimizer", "schedule")]
                yield own[0] if own[0][1] else optimizer, own[1] if own[1][1] else schedule


def _find_double_rates(key: str, node: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds the learning rates of `piecewise_constant` that are given twice: as `values`, and as factors of a rate."""
    if node["_target_"] != PIECEWISE or node.get("values") is None:
        return
    for name in ("factors", "learning_rate"):
        if node.get(name) is not None:
            yield Problem(
                f"{key}.{name}",
                f"has no effect, because {key}.values has the learning rates. Set {key}.{name}=null, or leave values "
                "out.",
            )


def _find_unused_momentum(key: str, node: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds a lowest momentum of `one_cycle` that has no effect, because the momentum is null."""
    if node["_target_"] == ONE_CYCLE and LOWEST_MOMENTUM in node and node.get(MOMENTUM, 1) is None:
        text = f"has no effect, because {key}.{MOMENTUM} is null: the optimizer keeps its own. Leave it out."
        yield Problem(f"{key}.{LOWEST_MOMENTUM}", text)


def _find_ramp_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds what makes mode=find_lr impossible."""
    target = target_of(values.get("optimizer"))
    if target in RATE_FREE:
        text = f"{target} finds the lengths of its steps itself, so mode=find_lr has nothing to find."
        yield Problem("optimizer", f"{text} Choose another optimizer, or leave mode=find_lr out.")
    section = values.get("find_lr")
    low, high = (section.get(name) for name in ("min_rate", "max_rate")) if isinstance(section, Mapping) else (0, 1)
    if isinstance(low, int | float) and isinstance(high, int | float) and low >= high:
        yield Problem("find_lr.min_rate", f"{low:g} is not below find_lr.max_rate={high:g}. Choose a smaller one.")
