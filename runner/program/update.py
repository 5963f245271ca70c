"""The members of the update set, and what they do in a training step apart from the optimizer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from components.types import (
    AfterUpdate,
    AroundOptimizer,
    AveragesSets,
    BeforeEvaluation,
    BeforeOptimizer,
    Clock,
    Decaying,
    DecayingRates,
    Freezing,
    Grouping,
    Skipping,
    UserError,
    Variables,
)
from runner.errors import error_location
from runner.program.returns import check_groups, check_same_shapes, check_truth, check_until
from runner.program.trees import copy_containers, merge
from runner.signature.build import build
from runner.signature.schema import SCHEMA
from runner.signature.type_hints import element_hint

MAX_SKIPPED = 10  # steps in a row that may be skipped
SKIPPED_STEPS = "skipped_steps"  # the metric of how many steps of the run were skipped
AVERAGED_WEIGHTS = "averaged_weights"  # the metric of how many sets of weights are in the mean that is evaluated


class Members(NamedTuple):
    """The members of the update set, in the order in which a step calls them.

    Attributes:
        freeze: the member that freezes parameters.
        skip: the member that skips bad steps.
        groups: the member that divides the parameters into groups.
        layers: the member that scales the learning rates by the depth of layers.
        decay: the member that chooses the parameters with weight decay. None: kernels and embeddings decay.
        before: members that change the gradients, by name.
        around: members that wrap the optimizer, by name.
        after: members that change or average the variables, by name.
        before_evaluation: members that change the evaluated variables, by name.
    """

    freeze: tuple[str, Freezing] | None
    skip: tuple[str, Skipping] | None
    groups: tuple[str, Grouping] | None
    layers: tuple[str, DecayingRates] | None
    decay: tuple[str, Decaying] | None
    before: Mapping[str, BeforeOptimizer]
    around: Mapping[str, AroundOptimizer]
    after: Mapping[str, AfterUpdate]
    before_evaluation: Mapping[str, BeforeEvaluation]

    @property
    def evaluated(self) -> str | None:
        """The name of the member whose average is evaluated. None: the parameters are evaluated."""
        return next((name for name, member in self.after.items() if getattr(member, "evaluates", False)), None)

    @property
    def averaging(self) -> tuple[str, AveragesSets] | None:
        """The member whose average is a mean of sets of weights, and its name."""
        return next(((name, each) for name, each in self.after.items() if isinstance(each, AveragesSets)), None)


def build_members(static: Mapping[str, Any], numbers: Mapping[str, Any]) -> Members:
    """Builds the members of the update set. Raises UserError for members that exclude each other."""
    built: dict[str, Any] = {}
    for name, node in static.items():
        with error_location(f"update.{name}"):
            built[name] = build(node, numbers, element_hint(SCHEMA["update"], name))
    ordered = sorted(built.items(), key=lambda item: (getattr(item[1], "order", math.inf), item[0]))
    members = Members(
        freeze=_find_only(Freezing, ordered),
        skip=_find_only(Skipping, ordered),
        groups=_find_only(Grouping, ordered),
        layers=_find_only(DecayingRates, ordered),
        decay=_find_only(Decaying, ordered),
        before=_find_all(BeforeOptimizer, ordered),
        around=_find_all(AroundOptimizer, ordered),
        after=_find_all(AfterUpdate, ordered),
        before_evaluation=_find_all(BeforeEvaluation, ordered),
    )
    _check_only([name for name, member in members.after.items() if getattr(member, "evaluates", False)])
    if members.groups:
        name, grouping = members.groups
        with error_location(f"update.{name}"):
            check_groups(grouping.groups, type(grouping).__name__)
    if members.freeze:
        name, freezing = members.freeze
        with error_location(f"update.{name}"):
            check_until(freezing.until, type(freezing).__name__)
    return members


def _find_all(protocol: type, ordered: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a protocol by name."""
    return {name: member for name, member in ordered if isinstance(member, protocol)}


def _find_only(protocol: type, ordered: Sequence[tuple[str, Any]]) -> tuple[str, Any] | None:
    """The only member of a protocol, and its name; None if there is none. Raises UserError if there are several."""
    members = _find_all(protocol, ordered)
    _check_only([*members])
    return next(iter(members.items()), None)


def _check_only(names: Sequence[str]) -> None:
    if len(names) > 1:
        raise UserError(f"update: {' and '.join(names)} exclude each other. Choose one of them.")


def init_update_state(members: Members, variables: Variables) -> dict[str, Any]:
    """The state of the members before the first step, by name; empty if no member has one."""
    state: dict[str, Any] = dict.fromkeys(members.after, variables)
    if members.averaging:
        name, member = members.averaging
        state[name] = member.init(variables)
    if members.skip:
        state[members.skip[0]] = {"total": jnp.int32(0), "in_a_row": jnp.int32(0)}
    return state


def apply_after(
    members: Members,
    variables: Variables,
    update_state: Mapping[str, Any],
    clock: Clock,
    constrain: Callable[[Any], Any],
    frozen_parameters: Any,
) -> tuple[Variables, dict[str, Any]]:
    """Applies the members that follow the optimizer.

    Args:
        members: the update set.
        variables: the variables after the optimizer and the constraints.
        update_state: the state of the members before the step.
        clock: where the run is. Its step is the number of steps before this one.
        constrain: applies the constraints to parameters. Those that a member changes may violate them, and so may its
            average, which is kept as it is: `Program.evaluated_weights` applies them where it is evaluated.
        frozen_parameters: the parameters that don't change.

    Returns:
        The new variables, and the new state of all members.
    """
    new_state, taken = dict(update_state), jnp.asarray(clock.step)
    if members.skip:  # a skipped step is none for the members
        taken = taken - update_state[members.skip[0]]["total"]
    for name, member in members.after.items():
        part = type(member).__name__
        with error_location(f"update.{name}"):
            own_variables, averaged = copy_containers((variables, new_state[name]))  # it may change them in place
            takes_clock = "clock" in inspect.signature(member.after).parameters
            returned = member.after(own_variables, averaged, taken, **({"clock": clock} if takes_clock else {}))
            if not isinstance(returned, tuple) or len(returned) != 2:
                raise UserError(f"{part}.after must return a pair: the variables and their average.")
            for tree, old in zip(returned, (variables, new_state[name]), strict=True):
                check_same_shapes(tree, old, f"{part}.after")
            changed, average = returned
            parameters = constrain_changes(constrain, variables["params"], changed["params"])
            variables = {**changed, "params": parameters}
            new_state[name] = {**average, "params": merge(average["params"], frozen_parameters)}
    return variables, new_state


def apply_before_evaluation(members: Members, variables: Variables) -> Variables:
    """The variables, changed by all members that do so where they are evaluated."""
    for name, member in members.before_evaluation.items():
        with error_location(f"update.{name}"):
            changed = member.before_evaluation(copy_containers(variables))  # it may change them in place
            check_same_shapes(changed, variables, f"{type(member).__name__}.before_evaluation")
            variables = changed
    return variables


def constrain_changes(constrain: Callable[[Any], Any], old: Any, new: Any) -> Any:
    """The new parameters, with the constraints applied to each array that differs from the old one.

    The old parameters meet the constraints, or are frozen. If they were constrained again at each step, they could
    shrink: `max_norm` divides by norm + 1e-7.
    """

    def choose(before: jax.Array, after: jax.Array, constrained: jax.Array) -> jax.Array:
        return after if after is constrained else jnp.where(jnp.array_equal(after, before), before, constrained)

    if all(after is before for before, after in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)):
        return new
    return jax.tree.map(choose, old, new, constrain(new))


def skip_step(
    skipping: tuple[str, Skipping], old: Any, new: Any, sums: Any, objective: jax.Array, gradients: Any
) -> tuple[Any, Any, jax.Array]:
    """Keeps the old state if a step is skipped. The examples of a skipped step count in no metric.

    Args:
        skipping: the member that skips steps, and its name.
        old: the train state before the step.
        new: the train state after the step.
        sums: the metric sums of the step.
        objective: the value of the objective.
        gradients: the gradients of the free parameters.

    Returns:
        The state, the metric sums, and whether too many steps in a row were skipped.
    """
    name, member = skipping
    with error_location(f"update.{name}"):
        is_skipped = member.skips(objective, gradients)
        check_truth(is_skipped, f"{type(member).__name__}.skips")
    kept = jax.tree.map(lambda before, after: jnp.where(is_skipped, before, after), old, new)
    sums = jax.tree.map(lambda leaf: jnp.where(is_skipped, jnp.zeros_like(leaf), leaf), sums)
    counts = old.update_state[name]
    in_a_row = jnp.where(is_skipped, counts["in_a_row"] + 1, jnp.int32(0))
    counts = {"total": counts["total"] + jnp.int32(is_skipped), "in_a_row": in_a_row}
    kept = kept._replace(step=new.step, update_state={**kept.update_state, name: counts})
    return kept, sums, in_a_row >= MAX_SKIPPED


def describe_members(members: Members, update_state: Mapping[str, Any]) -> dict[str, jax.Array]:
    """What the members record as metrics: the number of skipped steps, and that of averaged sets of weights."""
    described = {}
    if members.skip:
        described[SKIPPED_STEPS] = update_state[members.skip[0]]["total"]
    if members.averaging:
        name, member = members.averaging
        described[AVERAGED_WEIGHTS] = member.count(update_state[name])
    return described
