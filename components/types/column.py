"""Feature columns, targets, and the statistics that they learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from components.types.data import Block, Encoded, Values
from components.types.model import BoundTarget

if TYPE_CHECKING:
    import numpy as np


class Statistic(Protocol):
    """A mergeable summary of rows. It is frozen and hashable, so that columns which need the same one share it."""

    def summarize(self, block: Block) -> Any:
        """The state of a block's rows.

        A block also has each feature column that the statistic reads, under its name, where that column is stateless.
        """

    def merge(self, state: Any, other: Any) -> Any:
        """The state of the rows of both, first those of `state`. It changes neither."""

    def result(self, state: Any) -> Any:
        """The value that columns get from a state."""


class Constants(NamedTuple):
    """Values fitted on the training split, grouped by where they are used.

    Attributes:
        host: arrays for `encode`.
        device: arrays that are arguments of the compiled step, so that another fold compiles nothing again.
        static: hashable values that shapes and names depend on; they are part of the program's identity.
        initial: arrays like `device`, but only for the initialization of the parameters.
    """

    host: Mapping[str, np.ndarray] = {}
    device: Mapping[str, np.ndarray] = {}
    static: Mapping[str, Any] = {}
    initial: Mapping[str, np.ndarray] = {}


class Column(Protocol):
    """A feature column: `encode` turns rows into arrays once on the host, `layer` runs in the compiled step."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that it reads: raw ones, or others of the same mapping, which take precedence."""

    def statistics(self) -> Mapping[str, Statistic]:
        """The statistics of the training split that `fit` needs; an empty mapping for none."""

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Computes its constants.

        Args:
            results: the results of its statistics, by their names.
            parents: the constants of the feature columns that it reads.
        """

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """Encodes rows on the host.

        Args:
            block: the rows.
            parents: the encoded arrays of the feature columns that it reads.
            constants: what `fit` returned.

        Returns:
            Named arrays; other columns read the first one. Only a column that no input lists may return strings.
        """

    def layer(self, static: Mapping[str, Any]) -> Callable[..., Any]:
        """The part that runs in the compiled step, a pure function or a Flax module.

        It maps (encoded arrays, `constants.device`) to an array (B, …), Padded or MultiHot.

        Args:
            static: `constants.static`.
        """


@runtime_checkable
class StatelessEncode(Protocol):
    """A column whose `encode` may need no constants, so that other columns can learn from its encoded values."""

    @property
    def is_encode_stateless(self) -> bool:
        """Whether `encode` ignores its constants."""


@runtime_checkable
class ReadsFiles(Protocol):
    """A column that reads files of its own, in addition to the rows."""

    def fingerprint(self) -> str:
        """A digest that changes when the files change; "" without a file."""


@runtime_checkable
class EncodingWarnings(Protocol):
    """A column that warns of unusual values that it encodes all the same, when new rows are predicted."""

    def warnings(self, encoded: Mapping[str, Encoded], constants: Constants) -> tuple[str, ...]:
        """The warnings about all encoded rows, one sentence each."""


@runtime_checkable
class Target(Column, Protocol):
    """A column to predict."""

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Checks the results of its statistics, by split.

        Returns:
            Warnings.

        Raises:
            DataError: nothing can be learned from the training split.
        """

    def bind(self, constants: Constants) -> BoundTarget:
        """The target for losses and metrics."""
