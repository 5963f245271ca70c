"""The optimizer of a training step, with the members of the update set that change it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from components.types import Group, Schedule, UserError
from runner.config.check_schedule import MOMENTUM, describe_missing_momentum, find_momentum
from runner.config.check_update import (
    UNMASKED_DECAYS,
    applies_to_all,
    find_decay_masks,
    find_momentum_problems,
    find_unset_decays,
)
from runner.errors import error_location
from runner.program.parts import part_name
from runner.program.returns import check_assigned, check_depths, check_paths, check_step_of_optimizer, check_update
from runner.program.trees import join_keys, list_paths, merge, select
from runner.program.update import Members
from runner.signature.build import UnboundOptimizer, build
from runner.signature.type_hints import Problem

DEFAULT_GROUP = "default"  # the parameters of no other group
DEFAULT_DECAY = {"_target_": "components.update.Decay"}  # applies if no member chooses the parameters that decay


class OptimizerFactory:
    """Builds the optimizer of a step.

    Args:
        members: the update set.
        optimizer: the optimizer of the run.
        schedule: the schedule of the run.
        rates: (a schedule) -> the numbers for the optimizer at this step, among them `learning_rate`.
        paths: the paths of all parameters, in the order in which the network uses them.
    """

    def __init__(
        self,
        members: Members,
        optimizer: UnboundOptimizer,
        schedule: Schedule,
        rates: Callable[[Schedule], Mapping[str, jax.Array]],
        paths: Sequence[str],
    ) -> None:
        self._members, self._optimizer, self._schedule, self._rates = members, optimizer, schedule, rates
        self._paths = paths
        name, decay = members.decay or ("decay", build(DEFAULT_DECAY, {}))
        with error_location(f"update.{name}"):
            self._decaying = check_paths(decay.decays(self._paths), self._paths, f"{type(decay).__name__}.decays")

    def build(self) -> tuple[optax.GradientTransformationExtraArgs, Mapping[str, jax.Array]]:
        """The optimizer with all members around it, and the numbers of the run's schedule."""
        numbers = self._rates(self._schedule)
        with error_location("optimizer"):
            optimizer, node = self._bind("optimizer", self._optimizer, numbers)
        nodes = [node]
        if self._members.groups or self._members.layers:
            optimizer, nodes = self._divide(optimizer, node)
        if self._members.decay and all(nodes):
            _raise_first(find_unset_decays(self._members.decay[0], nodes))
        for name, around in self._members.around.items():
            with error_location(f"update.{name}"):
                optimizer = around.around(optimizer)
                optimizer = self._check_member(name, around, "around", optimizer)
        for name, before in reversed([*self._members.before.items()]):
            with error_location(f"update.{name}"):
                optimizer = before.before(optimizer)
                optimizer = self._check_member(name, before, "before", optimizer)
        return optax.with_extra_args_support(optimizer), numbers

    def _bind(
        self, key: str, optimizer: Callable[..., optax.GradientTransformation], numbers: Mapping[str, Any]
    ) -> tuple[optax.GradientTransformationExtraArgs, Mapping[str, Any]]:
        """Builds an optimizer with the numbers of its schedule.

        Args:
            key: the key of the optimizer in the configuration.
            optimizer: the optimizer of a configuration, or a function of a user's member.
            numbers: the numbers of its schedule.

        Returns:
            The optimizer, and its node in the configuration with the numbers; empty for a function.
        """
        node = optimizer.node if isinstance(optimizer, UnboundOptimizer) else {"_target_": part_name(optimizer)}
        if isinstance(optimizer, UnboundOptimizer):
            numbers = _name_momentum(node["_target_"], numbers)
        if twice := sorted(numbers.keys() & node.keys()):
            with error_location(f"{key}.{twice[0]}"):
                raise UserError("is set by the schedule. Leave it out, or choose a schedule that doesn't set it.")
        bound = {**node, **numbers} if isinstance(optimizer, UnboundOptimizer) else {}
        if isinstance(optimizer, UnboundOptimizer):
            _raise_first(find_momentum_problems(key, bound))
            for name in numbers:
                if applies_to_all(node["_target_"], name):
                    with error_location(f"{key}.{name}"):
                        raise UserError(
                            "is set by the schedule, and would also apply to biases and the scales of normalizations. "
                            "Choose a schedule that doesn't set it, and regularizer=[l2]."
                        )
            numbers = {**numbers, **dict.fromkeys(find_decay_masks(node), self._decay_mask)}
        built = optimizer(**numbers)
        check_update(built, node["_target_"])
        decay = UNMASKED_DECAYS.get(node["_target_"])
        if isinstance(optimizer, UnboundOptimizer) and decay in node.keys() | numbers.keys():
            rest = {name: value for name, value in node.items() if name != decay}
            without_decay = UnboundOptimizer(rest, optimizer.numbers)(**{**numbers, decay: 0.0})
            built = limit_decay(built, without_decay, self._decaying)
        return check_updates(key, node["_target_"], built), bound

    def _check_member(
        self, name: str, member: Any, method: str, optimizer: optax.GradientTransformation
    ) -> optax.GradientTransformationExtraArgs:
        """The optimizer that a method of a member returns. Raises UserError if it is none."""
        part = f"{type(member).__name__}.{method}"
        check_update(optimizer, part)
        return check_updates(f"update.{name}", part, optimizer)

    def _decay_mask(self, tree: Any) -> Any:
        """Which leaves of a tree of parameters decay."""
        return jax.tree_util.tree_map_with_path(lambda keys, _: join_keys(keys) in self._decaying, tree)

    def _divide(
        self, default: optax.GradientTransformation, node: Mapping[str, Any]
    ) -> tuple[optax.GradientTransformationExtraArgs, list[Mapping[str, Any]]]:
        """The optimizer with those of the groups and layers, and their nodes as in `_bind`.

        Args:
            default: the optimizer of the run, and the node of that.
            node: its node.
        """
        assigned, depths = self._assign_groups(), self._find_depths()
        groups = self._members.groups[1].groups if self._members.groups else {}
        keys = {path: (assigned[path], depths[path]) for path in self._paths}
        optimizers, nodes = {DEFAULT_GROUP: default}, [node]
        for group, depth in dict.fromkeys([*((name, 0) for name in groups), *sorted(keys.values())]):
            if (group, depth) != (DEFAULT_GROUP, 0):
                optimizers[_join(group, depth)], own = self._make(group, groups.get(group, {}), depth)
                nodes.append(own)
        return partition(optimizers, {path: _join(*key) for path, key in keys.items()}), nodes

    def _assign_groups(self) -> Mapping[str, str]:
        """The group of each parameter."""
        if self._members.groups is None:
            return dict.fromkeys(self._paths, DEFAULT_GROUP)
        name, grouping = self._members.groups
        with error_location(f"update.{name}"):
            assigned = grouping.assign(self._paths)
            names = {DEFAULT_GROUP, *grouping.groups}
            check_assigned(assigned, self._paths, names, f"{type(grouping).__name__}.assign")
        return assigned

    def _find_depths(self) -> Mapping[str, int]:
        """The depth of the layer of each parameter, if the learning rate depends on it, else 0."""
        if self._members.layers is None:
            return dict.fromkeys(self._paths, 0)
        name, layers = self._members.layers
        with error_location(f"update.{name}"):
            depths = layers.depths(self._paths)
            check_depths(depths, self._paths, f"{type(layers).__name__}.depths")
        return depths

    def _make(
        self, name: str, group: Group | Mapping[str, Any], depth: int
    ) -> tuple[optax.GradientTransformation, Mapping[str, Any]]:
        """The optimizer of the layers of a group at a depth, and its node as in `_bind`."""
        grouping = "" if self._members.groups is None else f"update.{self._members.groups[0]}.{name}"
        with error_location(grouping or "optimizer"):
            schedule = group.get("schedule") or self._schedule
            if schedule.plateau is not None and schedule is not self._schedule:
                raise UserError("the schedule reacts to a plateau, which only the schedule of the run can do.")
            numbers = dict(self._rates(schedule))
            factor = jnp.asarray(group.get("rate", 1.0), jnp.float32)
            if self._members.layers is not None and depth:
                factor *= jnp.asarray(self._members.layers[1].factor(depth), jnp.float32)
            numbers["learning_rate"] = numbers["learning_rate"] * factor
            key = f"{grouping}.optimizer" if group.get("optimizer") else "optimizer"
            return self._bind(key, group.get("optimizer") or self._optimizer, numbers)


def _join(group: str, depth: int) -> str:
    """The name of the part of the optimizer for the layers of a group at a depth."""
    return f"{group}:{depth}" if depth else group


def _name_momentum(target: str, numbers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The numbers of a schedule, with its `momentum` under the name that this has in the optimizer, such as `b1`."""
    if MOMENTUM not in numbers:
        return numbers
    name = find_momentum(target)
    if name is None:
        with error_location("schedule"):
            raise UserError(describe_missing_momentum(target))
    return {name if each == MOMENTUM else each: number for each, number in numbers.items()}


def _raise_first(problems: Iterator[Problem]) -> None:
    """Raises a LocatedError for the first of some problems with the configuration."""
    for key, problem in problems:
        with error_location(key):
            raise UserError(problem)


def limit_decay(
    decaying: optax.GradientTransformation, other: optax.GradientTransformation, paths: frozenset[str]
) -> optax.GradientTransformationExtraArgs:
    """An optimizer whose weight decay applies to some parameters only, for those of Optax that lack a mask of it.

    Both take each step, of which XLA computes once what they share. The decay must change the updates and the state of
    each parameter by itself.

    Args:
        decaying: the optimizer with weight decay of all parameters.
        other: the same without.
        paths: the paths of the parameters that decay.
    """
    optimizers = [optax.with_extra_args_support(optimizer) for optimizer in (decaying, other)]

    def choose(keys: Any, decayed: Any, leaf: Any) -> Any:
        path = "/".join(str(key.key) for key in keys if isinstance(key, jax.tree_util.DictKey))
        return decayed if path in paths else leaf

    def update(gradients: Any, state: Any, parameters: Any = None, **extra: Any) -> tuple[Any, Any]:
        steps = [optimizer.update(gradients, state, parameters, **extra) for optimizer in optimizers]
        updated: tuple[Any, Any] = jax.tree_util.tree_map_with_path(choose, *steps)
        return updated

    return optax.GradientTransformationExtraArgs(decaying.init, update)


def check_updates(
    key: str, part: str, optimizer: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """The optimizer, with wrong results of its steps as user errors of a key, and errors that Optax raises in them.

    Optax raises one, for example, if an optimizer needs an argument that the program doesn't pass.

    Args:
        key: the key in the configuration of the part that returned the optimizer.
        part: the name of that part.
        optimizer: the optimizer.
    """
    supported = optax.with_extra_args_support(optimizer)

    def init(parameters: Any) -> Any:
        with error_location(key):
            return optimizer.init(parameters)

    def update(gradients: Any, state: Any, parameters: Any = None, **extra: Any) -> tuple[Any, Any]:
        with error_location(key):
            try:
                updated = supported.update(gradients, state, parameters, **extra)
                check_step_of_optimizer(updated, gradients, state, part)
                return updated
            except UserError:
                raise
            except (TypeError, ValueError) as error:
                *_, (frame, _) = traceback.walk_tb(error.__traceback__)
                if not str(frame.f_globals.get("__name__")).startswith("optax."):
                    raise
                raise UserError(f"Optax can't take a step: {error} Choose another optimizer.") from error

    return optax.GradientTransformationExtraArgs(init, update)


def find_schedule_free(optimizer_state: Any) -> list[optax.contrib.ScheduleFreeState]:
    """The nodes of an optimizer state that belong to schedule-free optimizers."""

    def is_schedule_free(node: Any) -> bool:
        return isinstance(node, optax.contrib.ScheduleFreeState)

    return [*filter(is_schedule_free, jax.tree.leaves(optimizer_state, is_leaf=is_schedule_free))]


def average_schedule_free(optimizer_state: Any, parameters: Any) -> Any:
    """The parameters, with the averages that schedule-free optimizers mean to be evaluated in place of their own."""
    for node in find_schedule_free(optimizer_state):
        paths = {*list_paths(node.z)}
        own = select(parameters, lambda path, paths=paths: path in paths)  # type: ignore[misc]
        parameters = merge(parameters, optax.contrib.schedule_free_eval_params(node, own))
    return parameters


def is_joint(node: Any) -> bool:
    """Whether a node of an optimizer state starts again for all parameters if one joins them.

    It does if it holds an array for all parameters beside those of each, such as a counter of steps or the memory of
    L-BFGS. A counter says how far the moments have come, and those of parameters that join start at 0. With the old
    counter, Adam would lack its correction for that, and the first steps of these parameters would be several times too
    long. Optax's wrappers name the state of their optimizer `inner_…`: its nodes are looked at one by one.
    """
    fields = getattr(node, "_fields", ())
    is_wrapper = any(name.startswith("inner_") for name in fields)
    return not is_wrapper and any(hasattr(getattr(node, name), "shape") for name in fields)


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
