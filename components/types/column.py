"""Protocols of feature columns and targets, and of the statistics that they are fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from components.types.data import Block, Encoded, Strings, Values
from components.types.model import PixelRange, TargetSpec, Variables

if TYPE_CHECKING:
    import jax
    import numpy as np


TRAINING_ROWS = "training_rows"
"""The name among the results that `Column.fit` gets of the number of rows of the training split."""


class Statistic(Protocol):
    """A mergeable summary of rows. It is frozen and hashable: equal statistics are computed only once."""

    def summarize(self, block: Block) -> Any:
        """Computes the state of the rows of a block.

        If the statistic reads a feature column, the block contains what other columns read of it under its name.
        """

    def merge(self, state: Any, other: Any) -> Any:
        """Combines two states; the rows of `state` come first. Neither argument is modified."""

    def result(self, state: Any) -> Any:
        """Converts the final state to the value that `Column.fit` gets."""


class Constants(NamedTuple):
    """Values fitted on the training split, grouped by where they are used.

    Attributes:
        host: arrays for `encode`.
        device: arrays that are arguments of the compiled step, which gets float64 as float32. Other values, as in
            another fold, need no compilation.
        static: hashable values that shapes and names depend on. Other values need another compiled program.
        init_only: arrays that the layer gets in addition to `device` when its parameters are initialized.
        new_rows: arrays for `encode` that only new rows need, so that folds with others share the encoded rows.
    """

    host: Mapping[str, np.ndarray] = {}
    device: Mapping[str, np.ndarray] = {}
    static: Mapping[str, Any] = {}
    init_only: Mapping[str, np.ndarray] = {}
    new_rows: Mapping[str, np.ndarray] = {}


class Column(Protocol):
    """A feature column: `encode` converts rows to arrays once on the host; `layer` runs in the compiled step."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the columns that it reads. Where a feature column and a raw column share a name, the feature
        column is read."""

    def statistics(self) -> Mapping[str, Statistic]:
        """The statistics of the training split that `fit` needs, by name."""

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Computes the constants of the column.

        Args:
            results: the results of its statistics by name. They may be those of a sample of the training split, whose
                number of rows is there as TRAINING_ROWS.
            parents: the constants of the feature columns that it reads, by name.
        """

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """Encodes rows on the host.

        Args:
            block: the rows.
            parents: the arrays of the feature columns that it reads, by column and array name: the result of
                `encode`, or only `values`, the result of `HostOutput.host_output`.
            constants: the constants that `fit` returned.

        Returns:
            Arrays by name. Unless the column has a `host_output`, other columns read the first array. If an input lists
            the column, no array may be strings.
        """

    def layer(self, static: Mapping[str, Any]) -> Callable[..., Any]:
        """The part that runs in the compiled step: a pure function or a Flax module.

        Functions that are equal, as `functools.partial` of the same function and arguments, are applied to all their
        columns at once by `jax.vmap`, where the arrays of the columns have equal shapes. For modules see
        `StackableLayer`.

        Its arguments are the encoded arrays and `constants.device`. It returns an array (B, …), Padded or MultiHot.

        Args:
            static: `constants.static`.
        """


@runtime_checkable
class StackableLayer(Protocol):
    """A Flax module as the layer of a column, which is computed together with equal ones: their variables as one array.

    It draws random numbers only for its initial variables, and doesn't change them.
    """

    @property
    def is_stackable(self) -> bool:
        """Whether its variables are so small that they may be copied in each step."""

    def draw_variables(self, key: jax.Array, constants: Mapping[str, Any]) -> Variables:
        """The initial variables, by collection and name.

        Args:
            key: the random key that `self.param` hands to the initializer of the first parameter.
            constants: as the layer gets them.
        """


@runtime_checkable
class HostOutput(Protocol):
    """A column whose output the host can compute. Other columns read its output, and not what `encode` returns."""

    def host_output(self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants) -> Values:
        """The output of `layer` for each row, in float64. The arguments are those of `encode`.

        Raises:
            UserError: no column can read this one, such as an embedding, whose vectors exist only in the model.
        """


@runtime_checkable
class KeyTypes(Protocol):
    """A column that reads raw columns as numbers or as categories.

    Whole numbers may be either. So a column of whole numbers in other rows is read as it was meant: codes may then be
    written as `10001.0`, and amounts may have decimals.
    """

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        """For keys among `keys`: `int` for categories, `float` for numbers."""


@runtime_checkable
class HasClasses(Protocol):
    """A target whose raw values are classes."""

    @property
    def class_separators(self) -> Mapping[str, str | None]:
        """The raw columns of classes, each with the text between several classes of a row. None: a row has one."""


@runtime_checkable
class UpgradesConstants(Protocol):
    """A column that can use the constants which an earlier version of Titrate has fitted."""

    def upgrade(self, constants: Constants) -> Constants:
        """Converts constants of an earlier version to those of today. Constants of today are returned unchanged."""


@runtime_checkable
class ReadsFiles(Protocol):
    """A column that reads files of its own, in addition to the rows."""

    def fingerprint(self) -> str:
        """A digest that changes when the files change; "" if it reads no file."""


@runtime_checkable
class MatchesRows(Protocol):
    """A column whose parameters have a row for each id of another column."""

    def match_rows(self, parents: Sequence[Constants], others: Sequence[Constants]) -> np.ndarray | None:
        """The rows of the same values in the parameters of a column that was fitted to other rows.

        Args:
            parents: the constants of the columns that it reads, in the order of `keys`.
            others: those of the other column.

        Returns:
            For each row, the row of the same value in the other column, int64; -1: the value has none there. None: the
            ids stand for no values of a list.
        """


@runtime_checkable
class EncodingWarnings(Protocol):
    """A column that warns about unusual values in rows to predict. It encodes the values nevertheless."""

    def warnings(
        self,
        encoded: Mapping[str, Encoded],
        constants: Constants,
        read_value: Callable[[str, int], Any] | None = None,
        locate: Callable[[int], str] | None = None,
        filled: np.ndarray | None = None,
    ) -> tuple[str, ...]:
        """The warnings about the encoded rows, one sentence each.

        Args:
            encoded: the encoded rows.
            constants: the constants of the column.
            read_value: (name of a raw column, row) -> the value there, or None. None: the values are not available.
            locate: row -> its location, such as the line of a file. None: it is not known.
            filled: the rows whose missing values are filled, which another warning counts, sorted. None: no row.
        """


@runtime_checkable
class NamesIds(Protocol):
    """A column whose ids stand for the values of a list."""

    def id_name(self, number: int, constants: Constants) -> str | None:
        """The value that an id stands for; None: the id is one of unknown values."""


@runtime_checkable
class FillsGaps(Protocol):
    """A column that can fill gaps in new rows, although the training split had none and a gap is an error."""

    @property
    def gap_value(self) -> str:
        """What stands for a missing value, such as `the mean of the training split`, for messages."""

    def filling_gaps(self, constants: Constants) -> Column | None:
        """The column that fills gaps; None: the column needs no other, or its constants have no value for gaps."""


@runtime_checkable
class ConvertsRows(Protocol):
    """A column that accepts other types of values in new rows from Python than sources have, such as floats."""

    key: str

    def convert_rows(self, values: np.ndarray | Strings) -> tuple[Values, str]:
        """Converts the values of all new rows to those of a source.

        Returns:
            The values, and a sentence about the conversion; "": the values are unchanged.

        Raises:
            DataError: the values can't be converted, or it isn't clear how.
        """


class DecodedRows(Protocol):
    """An encoded column whose rows are decoded on the host each time they are read, (rows, …).

    Attributes:
        shape: the shape of the decoded array.
        dtype: its type.
        nbytes: the bytes that are kept.
        draws: how many random numbers each row takes in training; 0: decoding is not random.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    draws: int

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The decoded rows, as in evaluation."""

    def decode(self, rows: np.ndarray, random: np.ndarray | None = None) -> np.ndarray:
        """Decodes rows.

        Args:
            rows: the rows.
            random: uniform random numbers in [0, 1), float64 (rows, draws). None: as in evaluation.
        """


@runtime_checkable
class DecodesRows(Protocol):
    """A column that may encode rows to a form, such as files, which is decoded for each batch."""

    @property
    def is_random(self) -> bool:
        """Whether rows are decoded at random in training, such as a random part of an image."""

    def decoded(self, encoded: Mapping[str, Encoded], constants: Constants) -> Mapping[str, Encoded | DecodedRows]:
        """The arrays for the program, as `layer` gets them. Unchanged: `encode` has returned them already."""


@runtime_checkable
class Target(Column, Protocol):
    """A column to predict.

    An attribute `target_kinds`, a tuple of what `TargetSpec.kind_name` may be, lets losses and metrics be checked
    before the data is read.
    """

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Checks the target in each split.

        Args:
            results: the results of its statistics by split and name.

        Returns:
            Warnings.

        Raises:
            DataError: no model can be trained on the training split.
        """

    def bind(self, constants: Constants) -> TargetSpec:
        """The target as losses and metrics see it."""


@runtime_checkable
class HasPixelRange(Protocol):
    """A column of images, whose numbers augmentations of colors need to know."""

    def pixel_range(self, constants: Mapping[str, Any]) -> PixelRange:
        """What the numbers mean that the column's layer returns.

        Args:
            constants: `Constants.device` of the column, in the program.
        """


@runtime_checkable
class UnscalesImages(Protocol):
    """A target of images of numbers, which are scaled for the network."""

    def unscale(self, images: np.ndarray, constants: Constants) -> np.ndarray:
        """The images without their scaling, for figures.

        Args:
            images: targets or predictions, (rows, H, W, C).
            constants: the fitted values of the column.

        Returns:
            Images (rows, H, W, C), where 0 is black and 255 is white; C is 1 for grey, or 3 for RGB.
        """


@runtime_checkable
class WritesImages(Protocol):
    """A target whose predictions are images that files can hold."""

    def image_files(self, predictions: np.ndarray, constants: Constants) -> Sequence[bytes]:
        """The predictions as PNG files, one for each row.

        Args:
            predictions: the ids of the classes of pixels, (rows, H, W), or the numbers that the network returns,
                (rows, H, W, C).
            constants: the fitted values of the column.

        Raises:
            UserError: no PNG file can hold such images.
        """
