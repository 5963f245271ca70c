"""What the model takes and returns, inside the compiled step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import jax
    import numpy as np


@dataclass(frozen=True)
class MultiHot:
    """Sparse vectors: element j of row i is the sum of the `weights[i, k]` where `ids[i, k]` is j.

    An architecture gets an input as MultiHot where its parameter of that name is annotated with this class, else as an
    array (B, size). For JAX it is a pytree of two arrays.

    Attributes:
        ids: (B, K), int32; an id below 0, or of `size` or more, counts for nothing.
        weights: (B, K), float32.
        size: the length of the vectors.
    """

    ids: jax.Array
    weights: jax.Array
    size: int


@functools.cache
def register() -> None:
    """Registers the classes of this module with JAX as pytrees."""
    import jax

    jax.tree_util.register_dataclass(MultiHot, data_fields=["ids", "weights"], meta_fields=["size"])


class Padded(NamedTuple):
    """Rows of different lengths, padded to a common length T.

    Attributes:
        values: (B, T, …).
        mask: (B, T), bool: False for padding.
    """

    values: jax.Array | np.ndarray
    mask: jax.Array | np.ndarray


class BoundTarget(NamedTuple):
    """A target with its constants, for losses and metrics.

    Attributes:
        outputs: how many numbers an example has.
        classes: the names of the classes. None: the target is real-valued.
        decode: undoes the scaling of predictions. For classes it returns the logits unchanged.
        weight: maps the encoded target (B, …) to a weight for each example (B,). None: all weigh 1.
        values: the classes as predictions show them. None: their names.
    """

    outputs: int
    classes: tuple[str, ...] | None
    decode: Callable[[jax.Array], jax.Array]
    weight: Callable[[jax.Array], jax.Array] | None = None
    values: tuple[str | int | bool, ...] | None = None


class Batch(NamedTuple):
    """A batch of B examples.

    Attributes:
        inputs: arrays (B, …), Padded or MultiHot, by input name.
        target: classes (B,), int32, or numbers (B, outputs), float32.
        mask: (B,), bool: False for the padding of the last batch of an evaluation.
        weight: (B,), float32.
    """

    inputs: Mapping[str, Any]
    target: jax.Array
    mask: jax.Array
    weight: jax.Array


class Output(NamedTuple):
    """What an architecture returns.

    Attributes:
        logits: (B, outputs).
        losses: internal losses by name, one value per example (B,); they are added to the objective.
        auxiliary: (weight, logits) of each auxiliary classifier.
        features: the output of each stage by name, in their order.
    """

    logits: jax.Array | None
    losses: Mapping[str, jax.Array] = {}
    auxiliary: tuple[tuple[float, jax.Array], ...] = ()
    features: Mapping[str, jax.Array] = {}
