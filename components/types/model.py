"""Inputs and outputs of the model in the compiled step."""

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

    Attributes:
        values: (B, T, …).
        mask: (B, T), bool: False for padding.
    """

    values: jax.Array | np.ndarray
    mask: jax.Array | np.ndarray


class BoundTarget(NamedTuple):
    """A target after its fit to the training data: what losses and metrics need to know about it.

    Attributes:
        outputs: the size of the logits of an example: the number of classes, or of real values to predict.
        classes: the names of the classes. None: the target is real-valued.
        decode: maps predictions back to the unit of the data. For classes it returns the logits unchanged.
        weight: maps the encoded target (B, …) to the weights of the examples (B,). None: all weights are 1.
        values: the classes in the type of the data (str, int or bool), for predictions. None: the same as `classes`.
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
        target: class ids (B,), int32, or numbers (B, outputs), float32.
        mask: (B,), bool: False for the padding of the last batch in an evaluation.
        weight: the weights of the examples, (B,), float32.
    """

    inputs: Mapping[str, Any]
    target: jax.Array
    mask: jax.Array
    weight: jax.Array


class Output(NamedTuple):
    """The return value of an architecture.

    Attributes:
        logits: (B, outputs). None: the architecture has no head and returns `features` only.
        losses: internal losses by name, (B,) each. They are added to the objective.
        auxiliary: (weight, logits) of each auxiliary classifier.
        features: the outputs of the stages by name, in the order of the stages.
    """

    logits: jax.Array | None
    losses: Mapping[str, jax.Array] = {}
    auxiliary: tuple[tuple[float, jax.Array], ...] = ()
    features: Mapping[str, jax.Array] = {}
