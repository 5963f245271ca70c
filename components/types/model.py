"""Inputs and outputs of the model in the compiled step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from components.types.base import UserError

if TYPE_CHECKING:
    import jax
    import numpy as np

Variables: TypeAlias = "Mapping[str, Any]"
"""The variables of a Flax model: its parameters as `params`, and other collections such as `batch_stats`."""


@dataclass(frozen=True)
class MultiHot:
    """Sparse vectors: element j of row i is the sum of all `weights[i, k]` with `ids[i, k] == j`.

    An architecture gets an input as MultiHot if it annotates the parameter of that name with this class, otherwise as
    a dense array (B, size). For JAX, MultiHot is a pytree of two arrays.

    Attributes:
        ids: (B, K), int32. Ids outside of [0, size) are ignored.
        weights: (B, K), float32.
        size: the length of the vectors.
    """

    ids: jax.Array
    weights: jax.Array
    size: int


@functools.cache
def register_pytrees() -> None:
    """Registers MultiHot as a pytree with JAX, which this module must not import at its top."""
    import jax

    jax.tree_util.register_dataclass(MultiHot, data_fields=["ids", "weights"], meta_fields=["size"])


class Padded(NamedTuple):
    """Sequences of different lengths, padded to a common length T.

    Sequences of sequences are nested, as lists are in `Ragged`: `values` is Padded with values (B, T, S, …) and the
    mask (B, T, S). So each level has its own mask, which tells an empty step from padding, and a layer that reduces the
    innermost sequences returns what sequences without a level more are.

    Attributes:
        values: (B, T, …), or Padded.
        mask: (B, T), bool: False for padding.
    """

    values: Any  # jax.Array | np.ndarray | Padded
    mask: jax.Array | np.ndarray


def padded_shape(array: Padded) -> tuple[int, ...]:
    """The shape of the values of sequences, (B, T, …)."""
    while isinstance(array.values, Padded):
        array = array.values
    return tuple(array.values.shape)


class ScaledErrors(NamedTuple):
    """Differences of predictions and targets, in a unit in which float32 can hold those of numbers near 1e-40 or 1e40.

    The unit of output i is 2^exponent[i] * factor, in the unit of the data.

    Attributes:
        difference: (predictions, targets) -> their difference (B, …, outputs).
        exponent: int32 (outputs,). None: all are 0.
        factor: the factor.
    """

    difference: Callable[[jax.Array, jax.Array], jax.Array]
    exponent: Any = None
    factor: float = 1.0


TARGET_KINDS = {
    "classes": "a target of classes",
    "pixels": "a target with a class for each pixel",
    "labels": "a multilabel target",
    "numbers": "a real-valued target",
    "images": "a real-valued target",
}
"""The kinds of targets in messages, by `TargetSpec.kind_name`."""


def describe_target_kinds(kinds: Sequence[str]) -> str:
    """Some kinds of targets in words. Parts that take a class for each pixel take one class, too, so both are one."""
    named = [kind for kind in kinds if kind != "pixels"] or kinds
    return " or ".join(dict.fromkeys(TARGET_KINDS.get(kind, kind) for kind in named))


@dataclass(frozen=True)
class TargetSpec:
    """A target after its fit to the training data: what losses, metrics and augmentations need to know about it.

    Attributes:
        kind: `classes`: each element of the target is the id of a class. `multilabel`: 0 or 1 for each class, any
            number of which an example may have. `real`: numbers.
        shape: the shape of the target of one example: () for a class, (classes,) for labels, (outputs,) for numbers,
            (H, W) for the class of each pixel, (H, W, C) for an image.
        classes: the names of the classes; None for numbers.
        decode: maps predictions back to the unit of the data. For classes it returns the logits unchanged. On the
            device it computes in float32, and for NumPy arrays on the host in float64 where that is more precise.
        class_weights: the weight of the examples of each class in the training objective, float32 (classes,). None:
            all are 1, as always for labels.
        values: the classes in the type of the data (str, int or bool), for predictions. None: the same as `classes`.
        can_be_missing: whether elements of the target may be missing. The layer marks them by a negative class id or
            label, or by NaN. They count in no loss or metric.
        difference: (predictions, targets) -> their difference in the unit of the data, where the difference of two
            results of `decode` would be less precise. None: it isn't. Use `errors`.
        scaled_difference: the same in another unit, where the numbers may be beyond the range of float32. None: they
            aren't. Use `scaled_errors`.
        positions: the number of positions of a dense target of numbers, such as the steps of a forecast. Each may be
            missing by itself. None: the numbers of an example are missing together.
        encode: the inverse of `decode` for NumPy arrays, in float64: an ensemble averages runs that normalize the
            target in different ways. None: it isn't known.
    """

    kind: Literal["classes", "multilabel", "real"]
    shape: tuple[int, ...]
    classes: tuple[str, ...] | None
    decode: Callable[[Any], Any]
    class_weights: jax.Array | None = None
    values: tuple[str | int | bool, ...] | None = None
    can_be_missing: bool = False
    difference: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    scaled_difference: ScaledErrors | None = None
    positions: int | None = None
    encode: Callable[[np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        if self.kind == "multilabel" and self.class_weights is not None:
            raise UserError(
                "TargetSpec: a multilabel target has no `class_weights`. Set the weights of examples instead."
            )

    @property
    def outputs(self) -> int:
        """The number of classes, or of real values to predict: of one pixel if the target is an image."""
        return self.shape[-1] if self.classes is None else len(self.classes)

    def errors(self, predictions: jax.Array, targets: jax.Array) -> jax.Array:
        """Predictions minus targets, in the unit of the data."""
        if self.difference is not None:
            return self.difference(predictions, targets)
        return self.decode(predictions) - self.decode(targets)

    @property
    def scaled_errors(self) -> ScaledErrors:
        """Predictions minus targets, in a unit near their size."""
        return ScaledErrors(self.errors) if self.scaled_difference is None else self.scaled_difference

    @property
    def kind_name(self) -> Literal["classes", "labels", "pixels", "numbers", "images"]:
        """The kind in words of the user: `pixels` have a class each, and `images` are of numbers."""
        if self.kind == "multilabel":
            return "labels"
        if self.kind == "classes":
            return "pixels" if self.is_image else "classes"
        return "images" if self.is_image else "numbers"

    @property
    def is_image(self) -> bool:
        """Whether the target of an example is an image: of classes, (H, W), or of numbers, (H, W, C)."""
        return len(self.shape) > 1

    @property
    def logits_shape(self) -> tuple[int, ...]:
        """The axes of the logits between the examples and the outputs: (H, W) for images, else ()."""
        return self.shape if self.kind == "classes" else self.shape[:-1]


class PixelRange(NamedTuple):
    """What the numbers of an input of images mean.

    Attributes:
        black: the number of a black pixel, float32 (1,), or (C,) where the channels differ.
        white: likewise, that of a white pixel.
        luma: the share of each channel, in their order, in the grey value (ITU-R BT.601), float32 (3,).
    """

    black: jax.Array
    white: jax.Array
    luma: jax.Array


class Batch(NamedTuple):
    """A batch of B examples.

    A loss, a metric or an augmentation that knows one target only uses `target` and `mask`. With several targets, the
    program hands each of their losses and metrics a batch of its own target.

    Attributes:
        inputs: arrays (B, …), Padded or MultiHot, by input name.
        targets: class ids, int32 (B, …), labels of 0 and 1, int32 (B, classes), or numbers, float32 (B, …), by target
            name.
        masks: bool, by target name, for targets whose elements may be missing: False where an element is missing,
            ignored or padding. (B,) for a class, labels or numbers, (B, H, W) for images of classes, (B, positions) for
            a dense target of numbers. `mask_of` has the mask of any target.
        weight: the weights of the examples, float32 (B,). None: all count equally.
        present: bool (B,): False for the padding of the last batch in an evaluation.
        soft: the probability of each class, float32 (B, classes), by target name, where an augmentation has set it.
            The probabilities of labels don't add up to 1.
        teacher: the logits of the teacher for the same inputs, (B, …, outputs), by target name. Empty: there is none.
        pixels: for augmentations, by input name, what the numbers of an input mean that is one column of images.
    """

    inputs: Mapping[str, Any]
    targets: Mapping[str, jax.Array]
    masks: Mapping[str, jax.Array]
    weight: jax.Array | None
    present: jax.Array
    soft: Mapping[str, jax.Array] = {}
    teacher: Mapping[str, jax.Array] = {}
    pixels: Mapping[str, PixelRange] = {}

    @property
    def target(self) -> jax.Array:
        """The only target. Raises UserError if there are none or several."""
        return get_only(self.targets, "target", "Batch.targets")

    @property
    def mask(self) -> jax.Array:
        """The mask of the only target; without a target, `present`. Raises UserError if there are several."""
        return (
            self.mask_of(get_only({name: name for name in self.targets}, "target", "Batch.mask_of"))
            if self.targets
            else self.present
        )

    def mask_of(self, name: str) -> jax.Array:
        """The mask of a target: (B,) for a class, labels or numbers, (B, H, W) for images of classes."""
        if name in self.masks:
            return self.masks[name]
        import jax.numpy as jnp

        target = self.targets[name]
        if target.ndim <= 2 or jnp.issubdtype(target.dtype, jnp.floating):
            return self.present
        return jnp.broadcast_to(self.present.reshape(-1, *(1,) * (target.ndim - 1)), target.shape)

    def narrow(self, name: str) -> Batch:
        """The batch with one of its targets only."""
        targets, masks, soft, teacher = (
            {name: values[name]} if name in values else {}
            for values in (self.targets, self.masks, self.soft, self.teacher)
        )
        return self._replace(targets=targets, masks=masks, soft=soft, teacher=teacher)


class Output(NamedTuple):
    """The return value of an architecture.

    Attributes:
        outputs: the logits (B, …, outputs); or, of an architecture with several heads, the logits by target name. None:
            the architecture has no head and returns `features` or `losses` only.
        losses: internal losses by name, (B,) each. They are added to the objective.
        auxiliary: (weight, logits) of each auxiliary classifier.
        features: the outputs of the stages by name, in the order of the stages.
    """

    outputs: jax.Array | Mapping[str, jax.Array] | None
    losses: Mapping[str, jax.Array] = {}
    auxiliary: tuple[tuple[float, Any], ...] = ()
    features: Mapping[str, jax.Array] = {}

    @property
    def logits(self) -> jax.Array | None:
        """The logits of the only head; None: there is no head. Raises UserError if there are several."""
        return get_only(self.outputs, "head", "Output.outputs") if isinstance(self.outputs, Mapping) else self.outputs


def get_only(values: Mapping[str, Any], noun: str, attribute: str) -> Any:
    """The only value of a mapping. Raises UserError if there are none or several."""
    if len(values) != 1:
        names = ", ".join(values) or "none"
        raise UserError(f"a part needs one {noun}, got {names}. Use {attribute}, which holds each by its name.")
    return next(iter(values.values()))


def BoundTarget(  # noqa: N802
    outputs: int,
    classes: tuple[str, ...] | None,
    decode: Callable[[jax.Array], jax.Array],
    weight: None = None,
    values: tuple[str | int | bool, ...] | None = None,
) -> TargetSpec:
    """A `TargetSpec` by the arguments of its earlier name. Use `TargetSpec` in new code."""
    if weight is not None:
        raise UserError("BoundTarget: `weight` is replaced by `class_weights` of TargetSpec, an array (classes,).")
    if classes is None:
        return TargetSpec("real", (outputs,), None, decode)
    return TargetSpec("classes", (), classes, decode, values=values)
