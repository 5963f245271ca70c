"""The optimizer of a training step, with the members of the update set that change it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from components.types import Grouping, Schedule, UserError
from runner.config.check_update import find_decay_masks
from runner.errors import error_location
from runner.program.returns import check_update
from runner.program.trees import join_keys, list_paths, merge, select
from runner.program.update import Members
from runner.signature.build import UnboundOptimizer

DEFAULT_GROUP = "default"  # the parameters of no other group


class OptimizerFactory:
    """Builds the optimizer of a step.

    Args:
        members: the update set.
        optimizer: the optimizer of the run.
        schedule: the schedule of the run.
        rates: (a schedule) -> the numbers for the optimizer at this step, among them `learning_rate`.
        parameters: all parameters, or their shapes.
    """

    def __init__(
        self,
        members: Members,
        optimizer: UnboundOptimizer,
        schedule: Schedule,
        rates: Callable[[Schedule], Mapping[str, jax.Array]],
        parameters: Any,
    ) -> None:
        self._members, self._optimizer, self._schedule, self._rates = members, optimizer, schedule, rates
        self._paths = list_paths(parameters)
        name, decay = members.decay
        with error_location(f"update.{name}"):
            self._decaying = decay.decays(self._paths)

    def build(self) -> tuple[optax.GradientTransformationExtraArgs, Mapping[str, jax.Array]]:
        """The optimizer with all members around it, and the numbers of the run's schedule."""
        numbers = self._rates(self._schedule)
        with error_location("optimizer"):
            optimizer = locate_errors("optimizer", self._bind(self._optimizer, numbers))
        if self._members.groups:
            optimizer = self._divide(*self._members.groups, optimizer)
        for name, around in self._members.around.items():
            with error_location(f"update.{name}"):
                optimizer = around.around(optimizer)
                check_update(optimizer, around, "around")
        for name, before in reversed([*self._members.before.items()]):
            with error_location(f"update.{name}"):
                optimizer = before.before(optimizer)
                check_update(optimizer, before, "before")
        return optax.with_extra_args_support(optimizer), numbers

    def _bind(self, optimizer: UnboundOptimizer, numbers: Mapping[str, Any]) -> optax.GradientTransformation:
        masks = dict.fromkeys(find_decay_masks(optimizer.node), self._decay_mask)
        built: optax.GradientTransformation = optimizer(**numbers, **masks)
        return built

    def _decay_mask(self, tree: Any) -> Any:
        """Which leaves of a tree of parameters decay."""
        return jax.tree_util.tree_map_with_path(lambda keys, _: join_keys(keys) in self._decaying, tree)

    def _divide(
        self, name: str, grouping: Grouping, default: optax.GradientTransformation
    ) -> optax.GradientTransformationExtraArgs:
        with error_location(f"update.{name}"):
            assigned = grouping.assign(self._paths)
        optimizers = {DEFAULT_GROUP: default}
        for group_name, group in grouping.groups.items():
            with error_location(f"update.{name}.{group_name}"):
                schedule = group.get("schedule") or self._schedule
                if schedule.plateau is not None and schedule is not self._schedule:
                    raise UserError("the schedule reacts to a plateau, which only the schedule of the run can do.")
                numbers = dict(self._rates(schedule))
                numbers["learning_rate"] = numbers["learning_rate"] * jnp.asarray(group.get("rate", 1.0), jnp.float32)
                optimizer = group.get("optimizer") or self._optimizer
                assert isinstance(optimizer, UnboundOptimizer)
                key = f"update.{name}.{group_name}.optimizer" if group.get("optimizer") else "optimizer"
                optimizers[group_name] = locate_errors(key, self._bind(optimizer, numbers))
        return partition(optimizers, assigned)


def locate_errors(key: str, optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The optimizer, with errors that Optax raises in a step as user errors of a key.

    Optax raises one, for example, if an optimizer needs an argument that the program doesn't pass. A schedule-free
    optimizer is an error too.
    """
    supported = optax.with_extra_args_support(optimizer)

    def init(parameters: Any) -> Any:
        state = optimizer.init(parameters)
        if any(map(_is_schedule_free, jax.tree.leaves(state, is_leaf=_is_schedule_free))):
            with error_location(key):
                raise UserError(
                    "a schedule-free optimizer is evaluated at other weights than those that it trains, which isn't "
                    "supported. Choose another optimizer; update=[ema] evaluates an average."
                )
        return state

    def update(*args: Any, **extra: Any) -> tuple[Any, Any]:
        with error_location(key):
            try:
                return supported.update(*args, **extra)
            except (TypeError, ValueError) as error:
                *_, (frame, _) = traceback.walk_tb(error.__traceback__)
                if not str(frame.f_globals.get("__name__")).startswith("optax."):
                    raise
                raise UserError(f"Optax can't take a step: {error} Choose another optimizer.") from error

    return optax.GradientTransformationExtraArgs(init, update)


def _is_schedule_free(node: Any) -> bool:
    return isinstance(node, optax.contrib.ScheduleFreeState)


def partition(
    optimizers: Mapping[str, optax.GradientTransformation], assigned: Mapping[str, str]
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that applies other ones to groups of parameters. Its state is that of each group, by name.

    Unlike `optax.partition`, each optimizer gets a tree of its own parameters alone, so `value_fn` works.

    Args:
        optimizers: the optimizers by group.
        assigned: the group of each parameter, by path.
    """
    supported = {name: optax.with_extra_args_support(optimizer) for name, optimizer in optimizers.items()}

    def of_group(tree: Any, name: str) -> Any:
        return select(tree, lambda path: assigned[path] == name)

    def init(parameters: Any) -> Any:
        groups = {name: (optimizer, of_group(parameters, name)) for name, optimizer in supported.items()}
        return {name: optimizer.init(own) for name, (optimizer, own) in groups.items() if own}

    def update(gradients: Any, state: Any, parameters: Any = None, **extra: Any) -> tuple[Any, Any]:
        updates: Any = {}
        new_state = {}
        for name, own_state in state.items():
            own_extra = dict(extra)
            if "grad" in extra:
                own_extra["grad"] = of_group(extra["grad"], name)
            if "value_fn" in extra:
                own_extra["value_fn"] = lambda own: extra["value_fn"](merge(parameters, own))
            own_gradients, own_parameters = (of_group(tree, name) for tree in (gradients, parameters))
            own_updates, new_state[name] = supported[name].update(own_gradients, own_state, own_parameters, **own_extra)
            updates = merge(updates, own_updates)
        return updates, new_state

    return optax.GradientTransformationExtraArgs(init, update)
