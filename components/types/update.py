"""Protocols of the members of the update set, which change how a training step turns gradients into parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Required, TypeAlias, TypedDict, runtime_checkable

from components.types.base import Clock, Duration, Range, Scalar
from components.types.model import Variables
from components.types.training import Schedule

if TYPE_CHECKING:
    import jax
    import optax

Optimizer: TypeAlias = "Callable[..., optax.GradientTransformation]"
"""An optimizer that lacks the numbers of the schedule. It is called with them: `optimizer(learning_rate=…)`."""


class Update(Protocol):
    """A member of the update set. It has exactly one of the methods of the protocols below.

    A training step calls the members in a fixed order, whatever the order of their names in a configuration:

    1. `freezes`: the frozen parameters are left out of the gradients and of all that follows.
    2. `skips`: the step may be skipped as a whole.
    3. `before`: the gradients are changed. Members with an attribute `order` come first, the smallest first, and then
       the others by name. The same holds for `around` and `after`.
    4. The optimizer: `around` wraps it, `assign` divides it into groups, `depths` scales the learning rates of layers,
       and `decays` limits its weight decay.
    5. The constraints.
    6. `after`: the new parameters are changed, or averaged. Changed parameters meet the constraints again.

    `before_evaluation` is no part of a step: it changes the weights where they are evaluated.
    """


@runtime_checkable
class BeforeOptimizer(Protocol):
    """Changes the gradients before the optimizer gets them."""

    def before(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        """The optimizer with the change in front of it: `optax.chain(change, optimizer)`."""


@runtime_checkable
class AroundOptimizer(Protocol):
    """Wraps the optimizer."""

    def around(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        """The wrapped optimizer."""


@runtime_checkable
class AfterUpdate(Protocol):
    """Changes or averages the variables at the end of a step.

    A member with an attribute `evaluates = True` provides the weights: evaluations, the best weights, exports and
    predictions use its average in place of the variables. If `after` has a parameter `clock`, it also gets the
    `Clock` of the step, which counts skipped steps too.
    """

    def after(self, variables: Variables, averaged: Variables, step: jax.Array) -> tuple[Variables, Variables]:
        """The changed variables, and the changed average.

        Args:
            variables: the variables after the step.
            averaged: a tree like `variables`, which the member keeps from step to step. Before the first step, it
                equals the initial variables. Constraints don't change it, but they apply where it is evaluated.
            step: the number of steps before this one, without those that were skipped, int32 ().
        """


@runtime_checkable
class AveragesSets(AfterUpdate, Protocol):
    """A member of `AfterUpdate` whose average is a mean of sets of weights, from some step of the run on.

    The running moments of BatchNorm, of layers with a `momentum` and the collection `batch_stats`, are counted again
    with the mean before it is evaluated. The record has the number of sets as `averaged_weights`.

    Attributes:
        batches: the number of training batches for the moments, at most those of an epoch. None: an epoch.
    """

    batches: int | None

    def init(self, variables: Variables) -> Variables:
        """What `after` gets as `averaged` in the first step: the variables, and other collections, such as a count."""

    def count(self, averaged: Variables) -> jax.Array:
        """The number of sets in the mean, int32 (). 0: none was taken, and `averaged` equals the variables."""

    def due_steps(self, clock: Clock) -> tuple[Scalar, Scalar]:
        """When weights are taken: after steps above the first number that are nearest to a multiple of the second one.

        Args:
            clock: the length of the run. The step doesn't matter.
        """


@runtime_checkable
class BeforeEvaluation(Protocol):
    """Changes the weights, or their average, where they are evaluated, saved as the best, exported or used to predict.

    Training goes on with the weights as they were.
    """

    def before_evaluation(self, variables: Variables) -> Variables:
        """The changed variables, with the same structure."""


@runtime_checkable
class Freezing(Protocol):
    """Freezes parameters: they don't change. Modules whose parameters are all frozen run as in inference.

    Attributes:
        until: how long they are frozen. None: always.
    """

    until: Duration | None

    def freezes(self, paths: Sequence[str]) -> frozenset[str]:
        """Which of the paths of all parameters are frozen. Raises UserError for a pattern without a match."""


class Turn(TypedDict):
    """Parameters that are frozen for a time of their own.

    Attributes:
        paths: patterns of these parameters.
        until: how long they are frozen.
    """

    paths: Required[tuple[str, ...]]
    until: Required[Annotated[Duration, Range(0, math.inf, "()")]]


@runtime_checkable
class FreezesInTurns(Protocol):
    """A member that unfreezes parameters in turns. Those of no turn are frozen until `until`.

    Attributes:
        turns: the turns by name. None: there are none.
    """

    turns: Mapping[str, Turn] | None

    def assign_turns(self, paths: Sequence[str]) -> Mapping[str, str]:
        """The turn of each of the paths of the frozen parameters that have one."""


@runtime_checkable
class Skipping(Protocol):
    """Skips bad steps: the whole state stays as it was."""

    def skips(self, objective: jax.Array, gradients: Any) -> jax.Array:
        """Whether a step is skipped, bool ()."""


@runtime_checkable
class Decaying(Protocol):
    """Chooses the parameters to which the weight decay of an optimizer applies."""

    def decays(self, paths: Sequence[str]) -> frozenset[str]:
        """Which of the paths of all parameters decay. Raises UserError for a pattern without a match."""


class Group(TypedDict, total=False):
    """A group of parameters.

    Attributes:
        paths: patterns of its parameters.
        rate: factor of the learning rate. The default is 1.
        optimizer: its optimizer. The default is the optimizer of the run.
        schedule: the schedule of its optimizer. The default is the schedule of the run.
    """

    paths: Required[tuple[str, ...]]
    rate: Annotated[Scalar, Range(0)]
    optimizer: Optimizer | None
    schedule: Schedule | None


@runtime_checkable
class Grouping(Protocol):
    """Divides the parameters into groups, each with its own learning rate or optimizer.

    Attributes:
        groups: the groups by name.
    """

    groups: Mapping[str, Group]

    def assign(self, paths: Sequence[str]) -> Mapping[str, str]:
        """The group of each of the paths of all parameters; `default` for those of no group.

        Raises:
            UserError: a pattern has no match, or a group has no parameter.
        """


@runtime_checkable
class DecayingRates(Protocol):
    """Scales the learning rates of parameters by the depth of their layers."""

    def depths(self, paths: Sequence[str]) -> Mapping[str, int]:
        """The depth of each of the paths of all parameters, which come in the order in which the network uses them."""

    def factor(self, depth: int) -> Scalar:
        """The factor of the learning rate at a depth."""


UPDATE_PROTOCOLS: Mapping[str, type] = {
    "before": BeforeOptimizer,
    "around": AroundOptimizer,
    "after": AfterUpdate,
    "before_evaluation": BeforeEvaluation,
    "freezes": Freezing,
    "skips": Skipping,
    "decays": Decaying,
    "assign": Grouping,
    "depths": DecayingRates,
}
"""A member of the update set has exactly one of these methods, and all members of its protocol."""
