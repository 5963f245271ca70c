"""The vocabulary of the house: what parts are to each other, as types and protocols.

Importing this module imports neither JAX nor NumPy, so that a configuration can be checked against it in an instant.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import jax
    import numpy as np

Scalar: TypeAlias = "float | jax.Array"
"""A number that may be a traced float32 array: it is computed with, never asked for its truth by Python."""


@dataclass(frozen=True)
class Range:
    """The finite numbers that a parameter may take; its annotation has them: `Annotated[Scalar, Range(0, 1, "[)")]`."""

    low: float = -math.inf
    high: float = math.inf
    bounds: str = "[]"

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.bounds[0] == "[" else value > self.low
        below = value <= self.high if self.bounds[1] == "]" else value < self.high
        return above and below and abs(value) < math.inf

    def __str__(self) -> str:
        opening = "(" if math.isinf(self.low) else self.bounds[0]
        closing = ")" if math.isinf(self.high) else self.bounds[1]
        return f"{opening}{self.low:g}, {self.high:g}{closing}"


class UserError(ValueError):
    """An error that the user can mend: its message says what is wrong, the value, what is allowed and the remedy."""


class DataError(UserError):
    """An error in the data: names the source, the row and the column."""


# ---------------------------------------------------------------------------------------------- data, on the host


class Strings(NamedTuple):
    """Strings as Arrow has them: string i is `data[offsets[i]:offsets[i + 1]]`, in UTF-8.

    With `indices` they are a dictionary, row i is string `indices[i]` of it: what repeats is worked on once.
    """

    data: np.ndarray  # (bytes,), uint8
    offsets: np.ndarray  # (strings + 1,), int64, not decreasing; may begin above 0
    indices: np.ndarray | None = None  # (rows,), integers

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1 if self.indices is None else len(self.indices)

    def tolist(self) -> list[str]:
        """The string of each row."""
        data, bounds = self.data.tobytes(), self.offsets.tolist()
        texts = [data[start:stop].decode() for start, stop in itertools.pairwise(bounds)]
        return texts if self.indices is None else [texts[index] for index in self.indices.tolist()]


class Ragged(NamedTuple):
    """Rows of different lengths: row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: Any  # an array (total, ...); in a block `Strings` too
    offsets: np.ndarray  # (rows + 1,), int64, not decreasing, from 0


Encoded: TypeAlias = "np.ndarray | Ragged"
"""Rows that the program can take: the first axis counts them."""

Values: TypeAlias = "np.ndarray | Strings | Ragged"
"""Rows as sources have them, and columns read each other's: strings too, and numbers of 64 bits."""


def row_count(values: Values) -> int:
    """The number of rows."""
    if isinstance(values, Strings):
        return values.rows
    return len(values.offsets) - 1 if isinstance(values, Ragged) else len(values)


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a data set, column by column; `valid` marks the rows where a column has no gap."""

    columns: Mapping[str, Values]
    valid: Mapping[str, np.ndarray] = field(default_factory=dict)  # (rows,), bool; a column without a mask has no gap
    origin: str = "data"  # what the rows were read from, for messages
    first: int = 0  # the number of the first row there
    ids: frozenset[str] = frozenset()  # ids of categorical columns: the least int32 is no value, -1 is one

    def where(self, row: int) -> str:
        """Names a row of the block for a message."""
        return f"row {self.first + row} of {self.origin}"


class Source(Protocol):
    """Rows from somewhere, in a fixed order, part by part (`train`, `test`; or `all` where nothing is held out yet)."""

    def fingerprint(self) -> str:
        """Changes when the rows do; cheap, and without reading more than it must."""

    def sizes(self) -> Mapping[str, int]:
        """The number of rows of each part, in the order of the parts."""

    def blocks(self, part: str) -> Iterator[Block]:
        """The rows of a part as consecutive blocks."""

    def splits(self) -> Mapping[str, np.ndarray]:
        """The row numbers of `train`, `valid` and `test`, sorted int64, counted over all parts in their order."""


@runtime_checkable
class Foldable(Protocol):
    """A source that can be cross-validated."""

    def folds(self, count: int, fold: int) -> Mapping[str, np.ndarray]:
        """The `splits` of a cross-validation: what isn't for testing in `count` parts, of which `fold` validates."""


# ------------------------------------------------------------------------------------------------ feature columns


class Statistic(Protocol):
    """A mergeable summary of raw rows: frozen and hashable, so that columns that want the same one share it."""

    def summarize(self, block: Block) -> Any:
        """The state of a block's rows; a feature column that it is about stands there under its name, if it learns
        nothing itself."""

    def merge(self, state: Any, other: Any) -> Any:
        """The state of both their rows, those of `state` first; neither is changed."""

    def result(self, state: Any) -> Any:
        """What the columns are told."""


class Constants(NamedTuple):
    """What a column learned from the training split, by whom needs it."""

    host: Mapping[str, np.ndarray] = {}  # for `encode`
    device: Mapping[str, np.ndarray] = {}  # arguments of the compiled step: another fold compiles nothing anew
    static: Mapping[str, Any] = {}  # what shapes and names depend on: hashable values, part of the program's identity
    initial: Mapping[str, np.ndarray] = {}  # for the device as `device` is, but only while parameters begin


@dataclass(frozen=True)
class MultiHot:
    """Vectors that are zero in most places: row i has the sum of the `weights[i, k]` whose `ids[i, k]` is j in place j.

    An input is given so to an architecture whose parameter of that name is annotated with this class, and (B, size)
    to others. JAX knows it as a tree of two arrays.
    """

    ids: jax.Array  # (B, K), int32; one below 0, or from `size` on, stands for nothing
    weights: jax.Array  # (B, K), float32
    size: int


@functools.cache
def register() -> None:
    """Tells JAX of the tree of arrays among these classes."""
    import jax

    jax.tree_util.register_dataclass(MultiHot, data_fields=["ids", "weights"], meta_fields=["size"])


class Padded(NamedTuple):
    """A ragged column as the program sees it: padded to a common length T."""

    values: jax.Array | np.ndarray  # (B, T, ...)
    mask: jax.Array | np.ndarray  # (B, T), bool


class Column(Protocol):
    """A feature column: a host half that encodes rows once, and a device half inside the compiled step."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The raw columns, or other columns of the same mapping (those win), that it reads."""

    def statistics(self) -> Mapping[str, Statistic]:
        """What it wants to know of the training split; none: an empty mapping."""

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Its constants, from the results of its statistics and the constants of the columns that it reads."""

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """The host half: rows to arrays, each under a name of the column's own, the one that matters to others first.

        `parents` are those of the columns that it reads. Only a column that no input lists may give strings.
        """

    def layer(self, static: Mapping[str, Any]) -> Callable[..., Any]:
        """The device half, of what it knows as `constants.static`: a pure function or a Flax module.

        (encoded, constants.device) -> an array (B, …), Padded or MultiHot.
        """


@runtime_checkable
class EncodesAsRead(Protocol):
    """A column that learns for its device half alone: other columns may learn from what it encodes."""

    @property
    def encodes_as_read(self) -> bool:
        """Whether `encode` asks nothing of its constants."""


@runtime_checkable
class ReadsFiles(Protocol):
    """A column that reads files of its own, beside the rows."""

    def fingerprint(self) -> str:
        """Changes when they do; "" where it was given none."""


@runtime_checkable
class Remarks(Protocol):
    """A column that finds values odd which it encodes all the same: whoever predicts new rows is told."""

    def remarks(self, encoded: Mapping[str, Encoded], constants: Constants) -> tuple[str, ...]:
        """What is to be said of all the rows that were encoded, a sentence each."""


class BoundTarget(NamedTuple):
    """A target together with its constants, as losses and metrics meet it."""

    outputs: int  # numbers of an example
    classes: tuple[str, ...] | None  # names of the classes; None: real-valued
    decode: Callable[[jax.Array], jax.Array]  # undoes the scaling; leaves the logits of classes alone
    weight: Callable[[jax.Array], jax.Array] | None = None  # encoded target (B, ...) -> weight of each example (B,)
    values: tuple[str | int | bool, ...] | None = None  # the classes as predictions give them; None: by their names


@runtime_checkable
class Target(Column, Protocol):
    """A column that is to be predicted."""

    def review(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Looks at its statistics split by split: returns warnings, raises DataError where it can't be learned."""

    def bind(self, constants: Constants) -> BoundTarget: ...


# ------------------------------------------------------------------------------------------------------ the model


class Batch(NamedTuple):
    """Examples as the model gets them."""

    inputs: Mapping[str, Any]  # arrays (B, ...), Padded or MultiHot, by input name
    target: jax.Array  # (B,) int32 classes, or (B, outputs) float32
    mask: jax.Array  # (B,) bool: False for the padding of the last batch of an evaluation
    weight: jax.Array  # (B,) float32


class Output(NamedTuple):
    """What an architecture answers."""

    logits: jax.Array | None  # (B, outputs)
    losses: Mapping[str, jax.Array] = {}  # internal losses, one value an example (B,), added to the objective
    auxiliary: tuple[tuple[float, jax.Array], ...] = ()  # (weight, logits) of auxiliary classifiers
    features: Mapping[str, jax.Array] = {}  # what its stages give, by name, in their order


class Loss(Protocol):
    """Compares logits with targets."""

    def outputs(self, target: BoundTarget) -> int:
        """How many logits an example needs; raises UserError where the target doesn't suit."""

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        """One value an example: (B, outputs), (B, ...) -> (B,)."""


class Metric(Protocol):
    """A figure of a whole split, from sums that any batches add up to."""

    higher_is_better: bool
    collects: bool  # True: `measure` gives rows (B, ...) that the host gathers, and only evaluations report it

    def bind(self, target: BoundTarget) -> Metric: ...

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """What a batch adds: int32 counts and float32 sums over its unmasked examples; rows where it collects."""

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """The figure, from the 64-bit sums (or gathered rows) of a split."""


class Plateau(NamedTuple):
    """Lowers the rate when the monitored metric stops improving."""

    factor: Scalar
    patience: int  # evaluations without improvement that are borne
    min_delta: float
    cooldown: int  # evaluations after a cut that don't count
    floor: float  # the lowest scale


class Schedule(NamedTuple):
    """The optimizer's numbers over a run."""

    values: Callable[[jax.Array, jax.Array], Mapping[str, jax.Array]]  # (step, total steps) -> {"learning_rate": …}
    plateau: Plateau | None = None


class Augmentation(Protocol):
    """Changes the examples of a training batch at random, on the device."""

    def __call__(
        self, key: jax.Array, inputs: Mapping[str, Any], target: jax.Array
    ) -> tuple[Mapping[str, Any], jax.Array]:
        """Inputs by name and the encoded target of B examples, before and after; raises UserError for other inputs."""


class Weights(Protocol):
    """What training begins with."""

    def fingerprint(self) -> str:
        """Changes when the weights do that are read; "" where none are."""

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arrays that take the place of drawn ones, a part of the tree {"params": …, "batch_stats": …}.

        `shapes` is that tree of the architecture, of arrays or their shapes. Raises UserError where they don't fit.
        """


class Regularizer(Protocol):
    """A penalty on the parameters."""

    def __call__(self, parameters: Any) -> jax.Array: ...
