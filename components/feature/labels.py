"""The target of a multilabel classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.closest import join_names
from components.feature.base import raw
from components.feature.base.classes import check_names, name_classes, validate_classes
from components.feature.statistic.labels import LabelReader, Missing
from components.feature.text.string_ops import is_encodable
from components.types import Block, Constants, DataError, FieldError, Statistic, TargetSpec, Values


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of an example, any number of the classes: 0 or 1 for each class, int32 (B, classes).

    A text or a list without labels is an example without labels.

    Attributes:
        key: the raw column: texts such as `action|drama`, lists of integers or strings (`Ragged`), or vectors of 0 and
            1 with an element for each class.
        names: the names of the classes, in order. Integers in the data, and elements of vectors, are positions in this
            list; strings are names. None: the sorted values of the training split.
        separator: the text between the labels of a text. Spaces around labels are left out.
        missing: `mask`: rows without a value are allowed, and count in no loss or metric. `empty`: they are examples
            without labels, as empty fields of a CSV file may be. None: they are errors.
    """

    key: str
    names: tuple[str, ...] | None = None
    separator: str = "|"
    missing: Missing | None = None
    target_kinds = ("labels",)

    def __post_init__(self) -> None:
        check_names(self.names)
        if not (self.separator and is_encodable(self.separator)):
            raise FieldError("separator", f"must be a valid string that isn't empty, got {self.separator!r}")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def class_separators(self) -> Mapping[str, str | None]:
        return {self.key: self.separator}

    def statistics(self) -> Mapping[str, Statistic]:
        return {"rows": self._reader}

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Checks the labels of each split.

        Returns:
            A warning for each held-out split in which classes are missing.

        Raises:
            DataError: the training split has no labels, or lacks a class of another split or of `names`.
        """
        rows = {split: result["rows"] for split, result in results.items()}
        if not any(rows["train"].values()):
            raise DataError(f"column `{self.key}` has no labels in the training split; correct the data")
        return validate_classes(self.key, self.names, rows, can_stratify=False)

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        classes = name_classes(self.key, self.names, results["rows"])
        return Constants(host={"values": np.array(list(classes))}, static={"classes": tuple(classes.values())})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`labels`: int8 (rows, classes); -1 if missing."""
        known_ids = {value: number for number, value in enumerate(constants.host["values"].tolist())}
        labels = self._reader.read(block)
        if self._reader.find_vectors(block) is not None and len(labels.classes) != len(known_ids):
            fault = f"has vectors of {len(labels.classes)} elements, and there are {len(known_ids)} classes"
            raise DataError(
                f"{block.locate(0)}: column `{self.key}` {fault}: {join_names(constants.static['classes'])}"
            )
        ids = np.array([known_ids.get(value, -1) for value in labels.classes], int)
        if (ids < 0).any():
            position = int(np.argmax(ids < 0))
            row = int(labels.has_label[:, position].argmax())
            value, known = raw.format_value(labels.classes[position]), join_names(constants.static["classes"])
            raise DataError(f"{block.locate(row)}: column `{self.key}` has the class {value}; allowed classes: {known}")
        encoded = np.zeros((len(labels.has_label), len(known_ids)), np.int8)
        encoded[:, ids] = labels.has_label
        encoded[labels.is_missing] = -1
        return {"labels": encoded}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns int32 (B, classes)."""
        return _get_labels

    def bind(self, constants: Constants) -> TargetSpec:
        classes = constants.static["classes"]
        return TargetSpec(
            "multilabel",
            (len(classes),),
            classes,
            lambda logits: logits,
            values=tuple(constants.host["values"].tolist()) if self.names is None else classes,
            can_be_missing=self.missing == "mask",
        )

    @property
    def _reader(self) -> LabelReader:
        return LabelReader(self.key, self.separator, self.missing)


def _get_labels(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["labels"], jnp.int32)
