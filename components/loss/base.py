"""What losses share: which targets they take, and checks of logits and targets."""

from __future__ import annotations

from abc import abstractmethod

import jax
import jax.numpy as jnp

from components.closest import join_names
from components.types import Scalar, TargetSpec, UserError, describe_target_kinds


class TargetedLoss:
    """Base class of losses for some kinds of targets.

    Attributes:
        option: the name of the option, for messages.
        target_kinds: the kinds of targets that the loss takes, as `TargetSpec.kind_name` names them. The configuration
            is checked against them.
        is_binary: whether a target with classes must have two.
    """

    option = ""
    target_kinds: tuple[str, ...] = ()
    is_binary = False

    def outputs(self, target: TargetSpec) -> int:
        """The number of logits: one for each class, or each number to predict; one for two classes if it is binary.

        Raises:
            UserError: the loss doesn't take this target. The message lists those that do.
        """
        self.check_target(target)
        return 1 if self.is_binary and target.kind == "classes" else target.outputs

    def check_target(self, target: TargetSpec) -> None:
        """Raises UserError if the loss doesn't take this target. The message lists those that do."""
        has_two = target.classes is not None and len(target.classes) == 2
        if target.kind_name not in self.target_kinds:
            expected, what = describe_target_kinds(self.target_kinds), describe_target_kinds([target.kind_name])
            count = "" if target.classes is None or target.is_image else str(len(target.classes))
            found = (
                f"a target of {count} classes"
                if target.kind_name == "classes"
                else f"{what} of {count}".removesuffix(" of ")
            )
        elif target.kind == "classes" and self.is_binary and not has_two:
            expected, found = "a target of two classes", str(target.outputs)
        else:
            return
        able = join_names(list_losses(target.kind_name, has_two=has_two))
        raise UserError(f"{self.option} needs {expected}, got {found}. Choose a loss for it: {able}.")


def list_losses(kind: str, *, has_two: bool) -> list[str]:
    """The options of the losses for a kind of targets. `has_two`: it has two classes."""
    found, bases = list[str](), [TargetedLoss]
    while bases:
        bases += (base := bases.pop()).__subclasses__()
        if (
            base.option
            and kind in base.target_kinds
            and (kind not in ("classes", "pixels") or has_two or not base.is_binary)
        ):
            found.append(base.option)
    return found


class ClassLoss(TargetedLoss):
    """Base class of losses of logits of classes: (B, …, classes), (B, …) int32 -> (B, …).

    Where an augmentation has mixed examples, the loss is the mean over the classes by their probabilities.
    """

    target_kinds = ("classes", "pixels")

    def __call__(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None = None) -> jax.Array:
        require_ids(self.option, logits, target)
        require_probabilities(self.option, soft, logits.shape)
        return self.average(logits.astype(jnp.float32), target, soft)

    def average(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None) -> jax.Array:
        """The cost of the class of each element, or the mean by the probabilities of the classes."""
        costs = self.costs(logits)
        return take_class(costs, target) if soft is None else (soft * costs).sum(-1)

    @abstractmethod
    def costs(self, logits: jax.Array) -> jax.Array:
        """The loss if the target is each of the classes: float32 (B, …, classes) -> the same shape."""


class BinaryLoss(TargetedLoss):
    """Base class of losses of one logit for two classes: (B, …, 1), (B, …) int32 -> (B, …).

    Of labels: (B, classes), (B, classes) int32 -> (B,), the mean over the classes; the second class is to have the
    label. Where an augmentation has mixed examples, the loss is the mean over the two classes by their probabilities.
    """

    target_kinds = ("classes", "pixels", "labels")
    is_binary = True

    def __call__(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None = None) -> jax.Array:
        has_labels = logits.ndim > 1 and target.shape == logits.shape and jnp.issubdtype(target.dtype, jnp.integer)
        if not has_labels:
            require_ids(self.option, logits, target)
            if logits.shape[-1] != 1:
                raise UserError(
                    f"{self.option} needs one logit for a class id, got the logits {logits.shape}. "
                    "Choose softmax_cross_entropy, or an architecture with one output."
                )
        require_probabilities(self.option, soft, target.shape if has_labels else (*target.shape, 2))
        if not has_labels:
            logits, soft = logits[..., 0], None if soft is None else soft[..., 1]
        losses = self.average(logits.astype(jnp.float32), target, soft)
        return losses.mean(-1) if has_labels else losses

    def average(self, logits: jax.Array, target: jax.Array, soft: jax.Array | None) -> jax.Array:
        """The loss of each logit: with its class, or with the probability of the second class."""
        first, second = self.costs(logits)
        return jnp.where(target == 1, second, first) if soft is None else (1 - soft) * first + soft * second

    @abstractmethod
    def costs(self, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The loss if the target is the first class, and if it is the second: float32 of the shape of the logits."""


class NumberLoss(TargetedLoss):
    """Base class of losses of numbers, averaged over those of an example: (B, …, outputs), (B, …, outputs) -> (B,).

    The predictions and the target have the scale that the target's column gives them (`normalize`, `scale`).
    """

    target_kinds = ("numbers", "images")

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        if not jnp.issubdtype(target.dtype, jnp.floating) or target.shape != logits.shape:
            raise UserError(
                f"{self.option} needs a target of floats {logits.shape}, the shape of the predictions, got "
                f"{target.dtype} {target.shape}. Choose a real-valued target, or an architecture with predictions of "
                "the right shape."
            )
        return mean_of_example(self.costs(logits.astype(jnp.float32), target.astype(jnp.float32)))

    @abstractmethod
    def costs(self, predictions: jax.Array, target: jax.Array) -> jax.Array:
        """The loss of each number: float32 (B, …, outputs), (B, …, outputs) -> the same shape."""


def smooth(losses: jax.Array, uniform: jax.Array, label_smoothing: Scalar | None) -> jax.Array:
    """The losses after label smoothing: (1 - label_smoothing) * losses + label_smoothing * uniform.

    Args:
        losses: the losses of the targets.
        uniform: the losses if all classes are equally probable.
        label_smoothing: the share of the latter. None: no smoothing.
    """
    if label_smoothing is None:
        return losses
    share = jnp.asarray(label_smoothing, jnp.float32)
    return (1 - share) * losses + share * uniform


def take_class(values: jax.Array, target: jax.Array) -> jax.Array:
    """The value of the class of each element: (B, …, classes), (B, …) int32 -> (B, …)."""
    return jnp.take_along_axis(values, target[..., None], axis=-1)[..., 0]


def mean_of_example(values: jax.Array) -> jax.Array:
    """The mean over all axes but the first."""
    return values.mean(tuple(range(1, values.ndim)))


def require_ids(loss: str, logits: jax.Array, target: jax.Array) -> None:
    """Raises UserError unless the target holds a class id for each vector of logits."""
    if not logits.ndim or not jnp.issubdtype(target.dtype, jnp.integer) or target.shape != logits.shape[:-1]:
        raise UserError(
            f"{loss} needs a class id, int32 {logits.shape[:-1]}, for the logits {logits.shape}, got {target.dtype} "
            f"{target.shape}. Choose a target with classes, or an architecture with logits of the right shape."
        )


def require_probabilities(loss: str, soft: jax.Array | None, shape: tuple[int, ...]) -> None:
    """Raises UserError for probabilities of mixed classes of another shape; None: there are none."""
    if soft is not None and soft.shape != shape:
        raise UserError(f"{loss} needs the probability of each class, float32 {shape}, got {soft.dtype} {soft.shape}.")
