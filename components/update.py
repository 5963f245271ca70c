"""The members of the update set, which change how a training step turns gradients into parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from components.paths import WEIGHTS, check_patterns, map_matching, matches_any
from components.types import Clock, Duration, FieldError, Group, Range, Scalar, Turn, UserError, Variables

__all__ = [
    "EMA",
    "SWA",
    "ClipNorm",
    "ClipValue",
    "Decay",
    "Freeze",
    "Groups",
    "LayerDecay",
    "Lookahead",
    "Prune",
    "SkipNonfinite",
]

DEFAULT_GROUP = "default"
NETWORK, HEAD = "architecture", "head"  # modules


@dataclass(frozen=True)
class ClipValue:
    """Clips each element of the gradients to [-limit, limit].

    Attributes:
        limit: the largest absolute value, above 0.
    """

    limit: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0

    order: ClassVar[int] = 0

    def before(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        return optax.chain(optax.clip(self.limit), optimizer)


@dataclass(frozen=True)
class ClipNorm:
    """Scales the gradients down if their global norm, over all parameters together, is above a limit.

    Attributes:
        limit: the largest norm, above 0.

    References:
        Pascanu et al., 2013: On the difficulty of training recurrent neural networks.
    """

    limit: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0

    order: ClassVar[int] = 1

    def before(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(self.limit), optimizer)


@dataclass(frozen=True)
class SkipNonfinite:
    """Skips steps whose objective or gradients are not finite: NaN or infinite."""

    def skips(self, objective: jax.Array, gradients: Any) -> jax.Array:
        leaves = [objective, *jax.tree.leaves(gradients)]
        return ~jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


@dataclass(frozen=True)
class Decay:
    """Chooses the parameters to which the weight decay of an optimizer applies.

    Attributes:
        paths: patterns of these parameters. None: all kernels and embeddings.
    """

    paths: tuple[str, ...] | None = None

    def decays(self, paths: Sequence[str]) -> frozenset[str]:
        if self.paths is None:
            return _select(paths, WEIGHTS)
        check_patterns(self.paths, paths)
        return _select(paths, self.paths)


@dataclass(frozen=True)
class Freeze:
    """Freezes parameters, by default all but those of the head.

    A module runs as in inference, without dropout and with the running moments of BatchNorm, if all its parameters are
    frozen. A module without parameters, such as dropout, does so if the module around it does.

    Attributes:
        paths: patterns of the frozen parameters.
        trainable: patterns of parameters that are trained although `paths` matches them.
        until: how long they are frozen, such as 2ep, 500st or 0.1 of the run. Then all parameters are trained. An
            optimizer that counts its steps, such as Adam, or whose memory joins all parameters, such as L-BFGS, starts
            again. Other ones keep the state of the parameters that were trained before, such as their momentum. None:
            they stay frozen.
        turns: frozen parameters with times of their own, by a name of the turn: {top: {paths: [...], until: 1ep}}. A
            parameter that several turns match is in the first one.
    """

    paths: tuple[str, ...] = ("**",)
    trainable: tuple[str, ...] = ("architecture/head",)
    until: Annotated[Duration, Range(0, math.inf, "()")] | None = None
    turns: dict[str, Turn] | None = None

    def freezes(self, paths: Sequence[str]) -> frozenset[str]:
        if self.paths or not self.trainable:
            check_patterns(self.paths, paths)
        if self.trainable:
            check_patterns(self.trainable, paths, "trainable")
        frozen = _select(paths, self.paths) - _select(paths, self.trainable)
        if len(frozen) == len(paths):
            patterns = ", ".join(self.paths)
            raise UserError(f"the patterns {patterns} freeze all parameters. Add those to train to `trainable`.")
        return frozen

    def assign_turns(self, paths: Sequence[str]) -> dict[str, str]:
        assigned: dict[str, str] = {}
        for name, turn in (self.turns or {}).items():
            check_patterns(turn["paths"], paths, f"turns.{name}.paths", "frozen parameter")
            own = _select((path for path in paths if path not in assigned), turn["paths"])
            if not own:
                raise FieldError(f"turns.{name}", "the turn has no parameter, because those before it have them all.")
            assigned |= dict.fromkeys(own, name)
        return assigned


class Groups:
    """Divides the parameters into groups, each with its own learning rate or optimizer.

    The groups are tried in their order, and the first match counts. All other parameters are in the group `default`,
    which has the learning rate and the optimizer of the run. A group with neither a rate nor an optimizer of its own
    only has an optimizer state of its own.

    Args:
        groups: the groups by name. The name `default` is taken.
    """

    def __init__(self, **groups: Group) -> None:
        if DEFAULT_GROUP in groups:
            raise FieldError(DEFAULT_GROUP, "this group holds the parameters of no other one. Choose another name.")
        self.groups: Mapping[str, Group] = groups

    def assign(self, paths: Sequence[str]) -> dict[str, str]:
        assigned = dict.fromkeys(paths, DEFAULT_GROUP)
        for name, group in self.groups.items():
            if not group["paths"]:
                raise FieldError(f"{name}.paths", "the group has no patterns. List some, or leave the group out.")
            check_patterns(group["paths"], paths, f"{name}.paths")
            rest = [path for path, owner in assigned.items() if owner == DEFAULT_GROUP]
            own = _select(rest, group["paths"])
            if not own:
                raise FieldError(name, "the group has no parameter, because the groups before it have them all.")
            assigned |= dict.fromkeys(own, name)
        return assigned


@dataclass(frozen=True)
class LayerDecay:
    """Learning rates that fall from layer to layer, away from the head: the rate of the run or group * rate^depth.

    The head has the depth 0, the layer that it reads 1, and so on. A layer is a module of the network, in the order in
    which the network applies them, such as a dense layer or a residual block; a normalization belongs to the layer
    before it. If there is a single module beside the head, such as the tower of a siamese network, its modules are the
    layers. The parameters of feature columns are below all layers.

    Attributes:
        rate: the factor from a layer to the one below, above 0. 1: all layers have the same rate.

    References:
        Howard and Ruder, 2018: Universal language model fine-tuning for text classification (discriminative
        fine-tuning, with a factor of 1 / 2.6).
    """

    rate: Annotated[Scalar, Range(0, 1, "(]")] = 0.8

    def depths(self, paths: Sequence[str]) -> dict[str, int]:
        layers = _divide_layers([path for path in paths if path.startswith(f"{NETWORK}/")])
        depths = {path: depth for depth, layer in enumerate(reversed(layers)) for path in layer}
        return {path: depths.get(path, len(layers)) for path in paths}

    def factor(self, depth: int) -> jax.Array:
        return jnp.asarray(self.rate, jnp.float32) ** depth


@dataclass(frozen=True)
class Lookahead:
    """Moves slow parameters towards the fast ones every few steps, and restarts the fast ones there.

    Every `steps` steps: slow = slow + step_size * (fast - slow); fast = slow.

    Attributes:
        steps: the number of steps of the optimizer between two steps of the slow parameters.
        step_size: the step size of the slow parameters.

    References:
        Zhang et al., 2019: Lookahead optimizer: k steps forward, 1 step back.
    """

    steps: Annotated[int, Range(1, 2**31 - 1)] = 6
    step_size: Annotated[Scalar, Range(0, 1)] = 0.5

    order: ClassVar[int] = 0

    def after(self, variables: Variables, averaged: Variables, step: jax.Array) -> tuple[Variables, Variables]:
        fast, slow = variables["params"], averaged["params"]
        is_due = (step + 1) % self.steps == 0
        moved = jax.tree.map(lambda s, f: s + jnp.asarray(self.step_size, s.dtype) * (f - s), slow, fast)
        slow, fast = (jax.tree.map(lambda new, old: jnp.where(is_due, new, old), moved, old) for old in (slow, fast))
        return {**variables, "params": fast}, {**averaged, "params": slow}


@dataclass(frozen=True)
class EMA:
    """An exponential moving average of the parameters and of the moments of BatchNorm.

    average = average + (1 - d) * (value - average). Evaluations, the best weights and predictions use the average.

    Attributes:
        decay: the decay d, at least 0 and below 1.
        warm_up: whether d is min(decay, (1 + t) / (10 + t)) after t steps, so that the average soon forgets the initial
            parameters. If not, d is 0 in the first step, and `decay` afterwards, as in Keras.

    References:
        Polyak and Juditsky, 1992: Acceleration of stochastic approximation by averaging.
    """

    decay: Annotated[Scalar, Range(0, 1, "[)")] = 0.999
    warm_up: bool = True

    order: ClassVar[int] = 1
    evaluates: ClassVar[bool] = True

    def after(self, variables: Variables, averaged: Variables, step: jax.Array) -> tuple[Variables, Variables]:
        decay, t = jnp.asarray(self.decay, jnp.float32), step.astype(jnp.float32)
        decay = jnp.minimum(decay, (1 + t) / (10 + t)) if self.warm_up else jnp.where(step == 0, jnp.float32(0), decay)

        def average(old: jax.Array, new: jax.Array) -> jax.Array:
            is_float = jnp.issubdtype(new.dtype, jnp.floating)
            return old + (1 - decay).astype(new.dtype) * (new - old) if is_float else new

        return variables, jax.tree.map(average, averaged, variables)


@dataclass(frozen=True)
class SWA:
    """Stochastic weight averaging: a mean of the parameters at several steps late in the run, each with equal weight.

    mean = mean + (value - mean) / n for the n-th set of parameters. They are taken after the steps nearest to the
    multiples of `every` that come after the start; a skipped step adds none. Evaluations, the best weights and
    predictions use the mean as soon as it has one set, and the plain weights before. The moments of BatchNorm are
    counted again with the mean before each evaluation: they are the mean of the moments of `batches` training batches.

    The best evaluation decides which weights the run keeps: those of the mean, or plain ones from before. The report
    says which. `last` counts from the planned end of the run. A run that stops early has a mean of fewer sets, or none.
    If a run is extended and its start changes, as a share of it does, the mean begins again.

    Attributes:
        start: when the averaging starts, such as 15ep, 2000st or 0.75 of the run. None: 0.75, unless `last` is given.
        last: the time before the end of the run from which parameters are taken, such as 5ep, in place of `start`.
            With `every: 1ep`, it is a mean of the last five epochs.
        every: the time from one set of parameters to the next.
        batches: the number of training batches for the moments of BatchNorm, at most those of an epoch. None: an epoch.

    References:
        Izmailov et al., 2018: Averaging weights leads to wider optima and better generalization.
    """

    start: Annotated[Duration, Range(0, math.inf, "[)")] | None = None
    last: Annotated[Duration, Range(0, math.inf, "()")] | None = None
    every: Annotated[Duration, Range(0, math.inf, "()")] = Duration(1, "epoch")
    batches: Annotated[int, Range(1)] | None = 100

    order: ClassVar[int] = 2
    evaluates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.start is not None and self.last is not None:
            raise FieldError("last", "`start` is set too, and both say when the averaging starts. Leave one out.")

    def due_steps(self, clock: Clock) -> tuple[jax.Array, jax.Array]:
        def count(duration: Duration) -> jax.Array:
            return _nearest(duration.steps(clock))

        if self.last is None:
            start = count(Duration(0.75) if self.start is None else self.start)
        else:
            start = jnp.maximum(clock.total_steps - count(self.last), 0)
        return start, jnp.maximum(self.every.steps(clock), 1)

    def init(self, variables: Variables) -> Variables:
        return {**variables, "average": {"count": jnp.int32(0), "start": jnp.int32(0)}}

    def count(self, averaged: Variables) -> jax.Array:
        count: jax.Array = averaged["average"]["count"]
        return count

    def after(
        self, variables: Variables, averaged: Variables, step: jax.Array, clock: Clock
    ) -> tuple[Variables, Variables]:
        start, every = self.due_steps(clock)
        done = jnp.asarray(clock.step) + 1
        whole = _nearest(every)  # of whole numbers, the remainder is also exact above 2^24
        nearest = _nearest(jnp.round(done.astype(jnp.float32) / every) * every)
        is_due = (done > start) & jnp.where(every == whole.astype(jnp.float32), done % whole == 0, nearest == done)
        # In a run that was extended, the start may be another one. Then the mean begins again.
        is_same = (start == averaged["average"]["start"]) & (done > start)
        count = jnp.where(is_same, self.count(averaged), 0) + is_due.astype(jnp.int32)

        def follow(old: jax.Array, new: jax.Array) -> jax.Array:
            return jnp.where(is_due | (count == 0), new, old)

        def average(old: jax.Array, new: jax.Array) -> jax.Array:
            mean = old + (new - old) / jnp.maximum(count, 1).astype(new.dtype)
            return jnp.where(count <= 1, follow(old, new), jnp.where(is_due, mean, old))

        changed = {name: jax.tree.map(follow, averaged[name], tree) for name, tree in variables.items()}
        changed["params"] = jax.tree.map(average, averaged["params"], variables["params"])
        return variables, {**changed, "average": {"count": count, "start": start}}


@dataclass(frozen=True)
class Prune:
    """Sets small weights to 0 where they are evaluated, saved as the best, exported or used to predict.

    Training goes on with all weights.

    Attributes:
        threshold: weights with a smaller absolute value are 0.
        paths: patterns of the parameters that are pruned. None: all kernels and embeddings.
    """

    threshold: Annotated[Scalar, Range(0)] = 1e-3
    paths: tuple[str, ...] | None = None

    def before_evaluation(self, variables: Variables) -> Variables:
        def prune(_: str, leaf: jax.Array) -> jax.Array:
            is_small = jnp.abs(leaf) < jnp.asarray(self.threshold, leaf.dtype)
            return jnp.where(is_small, jnp.zeros_like(leaf), leaf)

        return {**variables, "params": map_matching(prune, variables["params"], self.paths, default=WEIGHTS)}


def _divide_layers(paths: Sequence[str], level: int = 1) -> list[list[str]]:
    """Divides the paths of a network, in the order of its modules, into its layers. The last one is the head.

    Args:
        paths: the paths of its parameters.
        level: the number of names before those of the modules.
    """
    modules: dict[str, list[str]] = {}
    for path in paths:
        modules.setdefault(path.split("/")[level], []).append(path)
    head = modules.pop(HEAD, None)
    if len(modules) == 1 and all(path.count("/") > level + 1 for path in paths if path not in (head or ())):
        body = _divide_layers(next(iter(modules.values())), level + 1)
    else:
        body = []
        for own in modules.values():
            if body and not any(matches_any(WEIGHTS, path) for path in own):
                body[-1] += own  # a normalization
            else:
                body.append(own)
    return body if head is None else [*body, head]


def _nearest(steps: jax.Array) -> jax.Array:
    """The whole number of steps nearest to a number, int32."""
    return jnp.round(steps).astype(jnp.int32)


def _select(paths: Iterable[str], patterns: Iterable[str]) -> frozenset[str]:
    """The paths that match a pattern."""
    return frozenset(path for path in paths if matches_any(patterns, path))
