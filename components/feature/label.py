"""The target of a classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from components.closest import suggest_name
from components.feature.base import raw
from components.feature.base.classes import check_names, name_classes, validate_classes
from components.feature.statistic import Distinct
from components.feature.statistic.classes import RowShape, group_elements
from components.image_files import encode_mask
from components.types import (
    Block,
    Constants,
    DataError,
    FieldError,
    Range,
    Statistic,
    TargetSpec,
    UserError,
    Values,
    find_void_class,
)

UNKNOWN = -2  # the id of a value that is no class


@dataclass(frozen=True, kw_only=True)
class Label:
    """The class of an example, or of each pixel of an image (H, W): an int32 number from 0.

    Attributes:
        key: the raw column of integers, strings or booleans.
        names: the names of the classes, in order. Integers in the data are positions in this list; strings are names.
            None: the sorted values of the training split.
        weight: the weights of examples in the training objective. `balanced`: rows / (classes * rows of the class) of
            the training split, which gives each class the same total weight. `effective_number`: in proportion to
            (1 - beta) / (1 - beta^rows of the class), with the mean 1 over the classes, which lies between equal and
            balanced weights. A mapping: by the name of the class; 1 for classes that are not listed. None: each example
            has weight 1.
        beta: of `effective_number`, in (0, 1), such as 0.999: more than about 1 / (1 - beta) examples of a class
            count no more. None: there is no `effective_number`.
        missing: `mask`: missing values are allowed, and count in no loss or metric. None: they are errors.
        ignore: a value that counts in no loss or metric, such as 255 for the borders of objects. None: there is none.

    References:
        King and Zeng, Logistic Regression in Rare Events Data, 2001 (`balanced`).
        Cui et al., Class-Balanced Loss Based on Effective Number of Samples, 2019 (`effective_number`).
    """

    key: str
    names: tuple[str, ...] | None = None
    weight: Literal["balanced", "effective_number"] | Mapping[str, Annotated[float, Range(0)]] | None = None
    beta: Annotated[float, Range(0, 1, "()")] | None = None
    missing: Literal["mask"] | None = None
    ignore: int | str | None = None
    target_kinds: ClassVar[tuple[str, ...]] = ("classes", "pixels")  # pixels, if the column has arrays of classes

    def __post_init__(self) -> None:
        check_names(self.names)
        if self.weight == "effective_number" and self.beta is None:
            raise FieldError("beta", "is null; `weight: effective_number` needs it, such as 0.999")
        if self.weight != "effective_number" and self.beta is not None:
            raise FieldError("beta", f"is for `weight: effective_number`, got {self.beta}. Set it to null.")
        if isinstance(self.weight, Mapping) and not self.weight:
            raise FieldError("weight", "is empty. Name a class and its weight, such as {NAME: 2}, or set it to null")
        if self.names is not None:
            self._check_weights(self.names)

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def key_types(self) -> Mapping[str, Literal["int", "float"]]:
        return {self.key: "int"}

    @property
    def class_separators(self) -> Mapping[str, str | None]:
        return {self.key: None}

    def statistics(self) -> Mapping[str, Statistic]:
        return {"rows": Distinct(self.key, allow_missing=self.missing is not None), "shape": RowShape(self.key)}

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Checks the classes of each split.

        Returns:
            A warning for each held-out split in which classes are missing, and for a class of pixels that seems to be
            none.

        Raises:
            DataError: the training split has no class, or only one, or lacks a class of another split or of `names`.
        """
        rows = {split: self._select_counted(result["rows"]) for split, result in results.items()}
        if not rows["train"]:
            counted = "" if self.ignore is None else f" but {self.ignore}, which `ignore` leaves out"
            raise DataError(f"column `{self.key}` has no value in any row of the training split{counted}")
        warnings = validate_classes(self.key, self.names, rows, can_stratify=True)
        classes = name_classes(self.key, self.names, rows["train"]).values()
        if len(classes) < 2:
            raise DataError(f"column `{self.key}` has only one class, {', '.join(classes)}; two or more are needed")
        is_image = len(results["train"].get("shape", ())) >= 2
        if is_image and self.ignore is None and (void := find_void_class(rows["train"])) is not None:
            last = max(value for value in rows["train"] if value != void)
            warnings += (
                f"column `{self.key}` has the class {void} beside {len(classes) - 1} classes up to {last}. It often "
                f"marks pixels of no class; to leave them out of losses and metrics, set `ignore={void}`",
            )
        return warnings

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        rows = self._select_counted(results["rows"])
        classes = name_classes(self.key, self.names, rows)
        counts = np.array([rows[value] for value in classes])
        shape = results.get("shape", ())
        if len(shape) not in (0, 2):
            raise DataError(
                f"column `{self.key}` has rows of shape {shape}; a class, or an image of classes (H, W), is needed"
            )
        return Constants(
            host={"values": np.array(list(classes))},
            device={"weight": self._weigh(counts, tuple(classes.values())).astype(np.float32)},
            static={"classes": tuple(classes.values()), **({"shape": shape} if shape else {})},
        )

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`ids`: int32 (rows,), or (rows, H, W) in the smallest type of integers; -1 if missing or ignored."""
        known_ids = {value: number for number, value in enumerate(constants.host["values"].tolist())}
        values, positions = group_elements(block, self.key, allow_missing=self.missing is not None)
        shape, training_shape = positions.shape[1:], tuple(constants.static.get("shape", ()))
        if shape != training_shape:
            expected = f"in training it was {training_shape}" if training_shape else "a class is a single value"
            raise DataError(f"column `{self.key}` of {block.origin} has rows of shape {shape}; {expected}")
        known_ids |= {} if self.ignore is None else {self.ignore: -1}
        id_of_value = np.array([known_ids.get(value, UNKNOWN) for value in [*values, None]], np.int32)
        id_of_value[-1] = -1  # the position -1 is a missing value
        ids = id_of_value[positions]
        if (ids == UNKNOWN).any():
            place = tuple(np.argwhere(ids == UNKNOWN)[0])
            known = ", ".join(constants.static["classes"])
            value = raw.format_value(values[positions[place]])
            raise DataError(f"{block.locate(int(place[0]))}: column `{self.key}` is {value}; allowed classes: {known}")
        return {"ids": ids if ids.ndim == 1 else ids.astype(np.min_scalar_type(-len(known_ids) - 1))}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns int32 (B,) or (B, H, W)."""
        return _get_ids

    def bind(self, constants: Constants) -> TargetSpec:
        classes = constants.static["classes"]
        class_weights = None if self.weight is None else jnp.asarray(constants.device["weight"])
        values = tuple(constants.host["values"].tolist()) if self.names is None else classes
        can_be_missing = self.missing is not None or self.ignore is not None
        shape = tuple(constants.static.get("shape", ()))
        return TargetSpec("classes", shape, classes, lambda logits: logits, class_weights, values, can_be_missing)

    def image_files(self, predictions: np.ndarray, constants: Constants) -> Sequence[bytes]:
        """PNG files of the classes as the data has them; of texts and booleans, they are positions among the classes.

        Raises:
            UserError: a class is below 0 or above 65535.
        """
        values = constants.host["values"]
        numbers = values if values.dtype.kind in "iu" else np.arange(len(values))
        if not 0 <= numbers.min() <= numbers.max() <= np.iinfo(np.uint16).max:
            raise UserError(
                f"column `{self.key}` has classes from {numbers.min()} to {numbers.max()}; the pixels of a PNG file "
                "are numbers from 0 to 65535. Predict in Python: runner.load(run).predict(rows)."
            )
        dtype = np.uint8 if numbers.max() <= np.iinfo(np.uint8).max else np.uint16
        return [encode_mask(mask) for mask in numbers.astype(dtype)[predictions]]

    def _weigh(self, counts: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
        """The weight of each class, float64; the balanced ones if there is no choice.

        Raises:
            UserError: a class that has a weight doesn't exist.
        """
        if isinstance(self.weight, Mapping):
            self._check_weights(classes)
            weights = {str(name): weight for name, weight in self.weight.items()}
            return np.array([weights.get(name, 1.0) for name in classes])
        if self.beta is None:
            return np.asarray(counts.sum() / (len(counts) * counts))
        weights = 1 / -np.expm1(counts * np.log(self.beta))
        return np.asarray(weights * len(counts) / weights.sum())

    def _check_weights(self, classes: tuple[str, ...]) -> None:
        for name in self.weight if isinstance(self.weight, Mapping) else ():
            if str(name) not in classes:
                raise FieldError("weight", f"{name} is no class of the target. {suggest_name(str(name), classes)}")

    def _select_counted(self, rows: Mapping[Any, int]) -> dict[Any, int]:
        """The numbers of rows by value, without the ignored value."""
        return {value: count for value, count in rows.items() if self.ignore is None or value != self.ignore}


def _get_ids(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["ids"], jnp.int32)
