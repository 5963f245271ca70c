"""Protocols of the parts that train, evaluate and observe a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from components.types.base import Clock, Duration, Scalar, UserError
from components.types.model import Batch, Output, TargetSpec, Variables

if TYPE_CHECKING:
    from pathlib import Path

    import jax
    import numpy as np


class Loss(Protocol):
    """Compares logits with a target.

    A loss whose third parameter is `soft` also gets the probability of each class, float32 (B, classes), from
    augmentations that mix examples; otherwise None. A loss whose first parameter is `output` gets the whole Output and
    Batch: `(output, batch) -> losses`. It is also called for auxiliary classifiers, which have logits only. If it
    compares examples with each other, it leaves out those whose `batch.mask` is false, such as padding in evaluations.

    An attribute `target_kinds`, a tuple of names as in `TargetSpec.kind_name`, lets the configuration be checked before
    the data is read. With `ignores_logits = True`, metrics are an error, as nothing trains the head. With
    `needs_raw_target = True`, a normalized target is an error. With `shares_target = True`, losses that are parameters
    of the loss are checked like itself. With a method `link(logits) -> predictions`, of the same shape, the loss,
    metrics and predictions get what it returns. A method `head(target)` returns such a function as a Flax module, which
    may have parameters and change the number of logits. A loss of `(output, batch)` with `needs_target = False` also
    computes without a target.
    """

    def outputs(self, target: TargetSpec) -> int:
        """The number of logits of an example, or of a pixel. Raises UserError for a target that it doesn't support."""

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        """The loss of each element: logits (B, …, outputs), target (B, …) -> (B,), or (B, H, W) for classes of pixels.

        For labels, (B, classes), and a real-valued target, which count as one element, it is (B,).
        """


def apply_loss(loss: Any, output: Output, batch: Batch) -> Any:
    """The loss of each element. The loss gets what its parameters name, as `Loss` describes.

    Raises:
        UserError: there are no logits, or an augmentation has mixed classes, and the loss can't do with it.
    """
    names = list(inspect.signature(loss).parameters)
    if names[0] == "output":
        return loss(output, batch)
    name = getattr(loss, "__name__", type(loss).__name__)
    if output.logits is None:
        raise UserError(
            f"{name} needs logits, but the architecture returns none, and no internal losses (Output.losses). "
            "Choose an architecture with a head, or a loss that takes (output, batch)."
        )
    if "soft" in names[2:]:
        return loss(output.logits, batch.target, soft=next(iter(batch.soft.values()), None))
    if batch.soft:
        raise UserError(
            f"{name} doesn't take the probabilities of mixed classes, a parameter `soft`. "
            "Choose softmax_cross_entropy, for labels binary_cross_entropy, or remove the augmentation that mixes "
            "examples."
        )
    return loss(output.logits, batch.target)


class Metric(Protocol):
    """A number that describes a whole split, computed from sums over its batches or from all its examples.

    Attributes:
        higher_is_better: whether a larger number means a better model.
        collects: False: `measure` returns sums. True: `measure` returns rows (B, …), because the metric needs all
            examples of the split at once; it is computed in evaluations only.

    It may have an attribute `target_kinds`, a tuple of names as in `TargetSpec.kind_name`: another target is an error
    before JAX is imported. `bind` raises the error in any case. With `needs_target = False`, it reads no logits and
    also measures without a target; then it is not bound.
    """

    higher_is_better: bool
    collects: bool

    def bind(self, target: TargetSpec) -> Metric:
        """The metric for this target; raises UserError if the metric doesn't support it.

        Logits and targets that are numbers have the scale that the loss sees. `target.decode` converts both to the unit
        of the data, so a metric in this unit keeps it: `bind_fields(self, decode=target.decode)`.
        """

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """The counts and float32 sums over the elements whose mask is true, or rows if `collects` is true.

        With `batch.weight`, each example counts as often as its weight says. A metric that doesn't read it has no
        weighted value.
        """

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """The metric, from the sums of a split in 64 bits, or from all its rows if `collects` is true."""


@runtime_checkable
class ExplainsUndefined(Protocol):
    """A metric that is NaN for some targets, whatever the predictions are."""

    def explain_undefined(self, target: np.ndarray) -> str | None:
        """What such a target has, to follow "the split has", as in "only the class no". None: the metric is a number.

        Args:
            target: the target of each example that has one: class ids (N,), labels (N, classes), or numbers in the unit
                of the data (N, outputs).
        """


class Plateau(NamedTuple):
    """Reduces the learning rate when the monitored metric stops improving.

    Attributes:
        factor: factor of the learning rate at each reduction.
        patience: number of evaluations, or the duration, without improvement before a reduction.
        min_delta: smallest change that counts as an improvement.
        cooldown: number of evaluations, or the duration, from a reduction to the evaluation that counts again.
        min_scale: smallest learning rate, as a share of the schedule's rate.
    """

    factor: Scalar
    patience: int | Duration
    min_delta: Scalar
    cooldown: int | Duration
    min_scale: Scalar


class Schedule(NamedTuple):
    """The learning rate, and other numbers of the optimizer, at each step of a run.

    Attributes:
        values: (clock) -> {"learning_rate": …, …}. A function of (step, total steps) works, too.
        plateau: how a plateau of the monitored metric reduces the learning rate. None: not at all.
        check: (clock) -> None. It raises UserError if the schedule doesn't fit the length of the run, with the clock of
            its first step in Python numbers. None: it fits every run.
    """

    values: Callable[..., Mapping[str, jax.Array]]
    plateau: Plateau | None = None
    check: Callable[[Clock], None] | None = None

    def at(self, clock: Clock) -> Mapping[str, jax.Array]:
        """The numbers at a clock. Raises UserError if `values` takes neither (clock) nor (step, total steps).

        A function whose first parameter is called `step` gets (step, total steps), also if the second has a default.
        """
        if not callable(self.values):
            raise UserError(f"Schedule.values is a {type(self.values).__name__}. It must be a function of (clock).")
        signature = inspect.signature(self.values)
        is_clock_first = next(iter(signature.parameters), None) != "step"
        for arguments in ((clock,) if is_clock_first else (), (clock.step, clock.total_steps)):
            try:
                signature.bind(*arguments)
            except TypeError:
                continue
            return self.values(*arguments)
        raise UserError(f"Schedule.values takes {signature}. It must take (clock) or (step, total_steps).")


class Augmentation(Protocol):
    """Changes the examples of a training batch at random, on the device.

    The batch keeps its inputs, targets, masks and `present`, with their shapes and dtypes. Only targets that `bind`
    changes have other shapes. An augmentation may add masks, weights and probabilities of classes. A weight below 0
    counts as NaN, which ends the run.

    With an attribute `adds_inputs = True`, it may also add inputs, such as a second view of each image. Their names are
    those of parameters of the architecture. With `evaluates = True`, it also changes the batches of evaluations: each
    evaluation makes the same changes, which depend on the seed and on the position in the split. It needs both if the
    architecture can't do without the added inputs. Predictions for new rows are never augmented. With `keeps_targets =
    True`, it changes inputs only, so metrics that are undefined for the targets of a split are found before the run.

    An augmentation may instead have the parameters `(key, inputs, target)`, and return the changed inputs and target.
    If it mixes classes, it has an attribute `mixes_classes = True` and sets `Batch.soft`.
    """

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """The changed batch.

        Args:
            key: the random key of the step, or of the batch in an evaluation.
            batch: the batch, with arrays (B, …).

        Raises:
            UserError: the augmentation doesn't support these inputs.
        """


@runtime_checkable
class BindsTargets(Protocol):
    """An augmentation that needs to know the targets."""

    def bind(self, targets: Mapping[str, TargetSpec]) -> tuple[Augmentation, Mapping[str, TargetSpec]]:
        """The augmentation for these targets by name, and the targets as it changes them.

        If it changes their kind, shape or classes, it needs `evaluates = True`.

        Raises:
            UserError: the augmentation doesn't support a target.
        """


class Weights(Protocol):
    """Initial values of the parameters, such as pretrained weights, in place of random values."""

    def fingerprint(self) -> str:
        """A digest that changes when the weights change; "" if they are from no file."""

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arrays that replace random values: a subtree of the variables {"params": …, "batch_stats": …}.

        Args:
            architecture: the module.
            shapes: the variables of the architecture, as arrays or as their shapes.

        Raises:
            UserError: the weights don't fit.
        """


@runtime_checkable
class FitsBatch(Weights, Protocol):
    """Initial weights that depend on a batch of training examples."""

    def fit(self, forward: Callable[[Any, Any], Any], parameters: Any, inputs: Any) -> Any:
        """The initial parameters of the model. It is called once, before the first step.

        Args:
            forward: (parameters, inputs) -> the parameters after the forward pass of the first step. Modules can change
                their parameters in it.
            parameters: the parameters of the model, those of the network below `architecture`.
            inputs: a tree of arrays for `forward`. A compiled function needs them as an argument, since they are large.

        Raises:
            UserError: there are no such weights.
        """


@runtime_checkable
class ModelWeights(Weights, Protocol):
    """Initial weights of the whole model, also of feature columns. A call gets and returns the variables of the model.

    Those of the architecture are below `architecture`, and those of a column below `columns_NAME`.
    """

    def bind(self, load: Callable[[str], Mapping[str, Any]]) -> Weights:
        """A copy with the weights of finished runs.

        Args:
            load: loads the variables of a run's model by the name of the run. The leaves are arrays, `ParameterRows` or
                `UnusableArray`.

        Raises:
            UserError: there is no such run, or it has no weights.
        """


@dataclass(frozen=True, eq=False)
class ParameterRows:
    """Initial values of some rows of a parameter. The other rows stay random.

    Attributes:
        rows: the numbers of these rows, (N,).
        values: their values, (N, …).
        row_count: the number of rows of the parameter.
    """

    rows: np.ndarray
    values: np.ndarray
    row_count: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.row_count, *self.values.shape[1:])


@dataclass(frozen=True)
class UnusableArray:
    """A parameter of a finished run whose rows mean something else than those of the network.

    Attributes:
        reason: why.
    """

    reason: str


class WeightsNeeds(NamedTuple):
    """What pretrained weights need of a configuration.

    Attributes:
        origin: the file and its library, for messages.
        fields: fields of the architecture with the values that they need, where the architecture has other ones.
        image: parameters of the column of images with the values that prepare images for the weights. None: unknown.
        side: height and width of the images of the published evaluation.
    """

    origin: str
    fields: Mapping[str, Any]
    image: Mapping[str, Any] | None
    side: int


@runtime_checkable
class NeedsFields(Weights, Protocol):
    """Initial weights that need values of the architecture and of the column of images.

    Attributes:
        exact: whether the needed values are set. False: the configuration stays as it is.
    """

    exact: bool

    def find_needs(self, architecture: Any, chosen: Collection[str]) -> WeightsNeeds:
        """The values that the weights need. It reads the names in the file, but no weights.

        Args:
            architecture: the module.
            chosen: the fields of the architecture that the configuration sets. Of several possible values, those are
                needed that agree with it.

        Raises:
            UserError: the file can't be read, or no value of a field suits both the weights and the architecture.
        """

    def describe_changes(self, shapes: Mapping[str, Any], architecture: Any) -> str | None:
        """A sentence about weights that are changed to fit the network; None: there are none.

        Args:
            shapes: the variables of the architecture, as arrays or as their shapes.
            architecture: the module.
        """


class PublishedFile(NamedTuple):
    """A file on the Hugging Face Hub.

    Attributes:
        path: where it is stored, below the folder of the data.
        url: its address.
        license: its licence, as its page states it.
        page: the page that describes it.
    """

    path: str
    url: str
    license: str
    page: str


@runtime_checkable
class JoinsWeights(Weights, Protocol):
    """Initial weights of several sources.

    Attributes:
        sources: the sources by name.
    """

    @property
    def sources(self) -> Mapping[str, Weights]: ...


@runtime_checkable
class IsPublished(Protocol):
    """Initial weights from a published file, which a run doesn't fetch.

    Attributes:
        published: the file. It raises UserError if no such file is known.
    """

    @property
    def published(self) -> PublishedFile: ...


class Regularizer(Protocol):
    """A penalty on the parameters."""

    def __call__(self, parameters: Any) -> jax.Array:
        """The penalty, a scalar that is added to the objective."""


class Step(Protocol):
    """Computes the gradients of a training step. The program updates the parameters with them."""

    def __call__(
        self, objective: Callable[[Any], tuple[jax.Array, Any]], parameters: Any
    ) -> tuple[tuple[jax.Array, Any], Any]:
        """The value of the objective, its auxiliary results, and the gradients: ((value, auxiliary), gradients).

        Args:
            objective: parameters -> (value, auxiliary results). It is closed over the batch, its random keys and the
                model state.
            parameters: the parameters that are trained.
        """


class Constraint(Protocol):
    """A constraint on the parameters."""

    def __call__(self, parameters: Any) -> Any:
        """The parameters that meet the constraint, a tree of the same structure. It is called after each step."""


class Event(NamedTuple):
    """A moment of a run at which its observers are called.

    Attributes:
        name: `evaluation`, or `end` after the final metrics of a finished run are computed.
        step: the number of steps taken.
        epoch: the number of epochs that these steps are.
        folder: the folder for the files of the observer, `observers/NAME` in the run folder, with the observer's name
            in the configuration. MLflow gets its files at the end of the run.
    """

    name: Literal["evaluation", "end"]
    step: int
    epoch: float
    folder: Path


class Observer(Protocol):
    """Observes a run on the host. It can't change the run, but an exception that it raises ends the run.

    An observer is called before the checkpoint of an evaluation is saved. If the process is killed in between, the
    resumed run calls it again for the same event, so it must replace what it wrote for that step or later ones. It is
    built again in each process: what must outlast a kill belongs in a file.
    """

    def __call__(self, event: Event, record: Mapping[str, float], variables: Variables) -> None:
        """Observes an event.

        Args:
            event: the moment.
            record: at an evaluation its metrics by name, with `epoch` and `step`, as in `Result.history`; at the end
                the final metrics, as in `Result.metrics`. It is read-only.
            variables: at an evaluation the evaluated weights, at the end the best weights, as JAX arrays. If a member
                of the update set provides an average to evaluate, they are the average. The arrays can't change and
                may be kept.

        Raises:
            UserError: the user can fix the problem.
        """
