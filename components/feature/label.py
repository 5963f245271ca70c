"""The target of a classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base import raw
from components.feature.statistic import Distinct
from components.feature.statistic.classes import group_rows
from components.types import Block, Constants, DataError, Statistic, TargetSpec, UserError, Values


@dataclass(frozen=True, kw_only=True)
class Label:
    """The class of an example, an int32 number from 0.

    Attributes:
        key: the raw column of integers, strings or booleans.
        names: the names of the classes, in order. Integers in the data are positions in this list; strings are names.
            None: the sorted values of the training split.
        weight: the weights of examples. `balanced`: rows / (classes * rows of the class) of the training split, which
            gives each class the same total weight. None: each example has weight 1.

    References:
        King and Zeng, Logistic Regression in Rare Events Data, 2001.
    """

    key: str
    names: tuple[str, ...] | None = None
    weight: Literal["balanced"] | None = None

    def __post_init__(self) -> None:
        if self.names is not None and len(set(self.names)) < len(self.names):
            raise UserError(f"`names` must have each class only once, got {', '.join(self.names)}")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        return {"rows": Distinct(self.key)}

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Checks the classes of each split.

        Returns:
            A warning for each held-out split in which classes are missing.

        Raises:
            DataError: the training split has only one class, or lacks a class of another split or of `names`.
        """
        rows = {split: result["rows"] for split, result in results.items()}
        classes = self._name_classes(rows["train"])
        if self.names is None:
            classes |= {value: str(value) for counts in rows.values() for value in counts}
        for value, name in classes.items():
            if value not in rows["train"]:
                counts = {split: counts.get(value, 0) for split, counts in rows.items()}
                raise DataError(self._describe_absence(name, counts))
        if len(classes) < 2:
            raise DataError(
                f"column `{self.key}` has only one class, {', '.join(classes.values())}; two or more are needed"
            )
        warnings = []
        for split, counts in rows.items():
            missing = [name for value, name in classes.items() if value not in counts]
            if missing:
                warnings.append(
                    f"the {split} split has no example of class {', '.join(missing)} of column `{self.key}`"
                )
        return tuple(warnings)

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        classes = self._name_classes(results["rows"])
        counts = np.array([results["rows"][value] for value in classes])
        return Constants(
            host={"values": np.array(list(classes))},
            device={"weight": (counts.sum() / (len(counts) * counts)).astype(np.float32)},
            static={"classes": tuple(classes.values())},
        )

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`ids`: int32 (rows,)."""
        known_ids = {value: number for number, value in enumerate(constants.host["values"].tolist())}
        values, value_of_row = group_rows(block, self.key)
        ids = np.array([known_ids.get(value, -1) for value in values], np.int32)[value_of_row]
        if (ids < 0).any():
            row = int(np.argmin(ids))
            known = ", ".join(constants.static["classes"])
            value = raw.format_value(values[value_of_row[row]])
            raise DataError(f"{block.locate(row)}: column `{self.key}` is {value}; allowed classes: {known}")
        return {"ids": ids}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns (B,), int32."""
        return _get_ids

    def bind(self, constants: Constants) -> TargetSpec:
        classes = constants.static["classes"]
        class_weights = None if self.weight is None else jnp.asarray(constants.device["weight"])
        values = tuple(constants.host["values"].tolist()) if self.names is None else classes
        return TargetSpec("classes", (), classes, lambda logits: logits, class_weights, values)

    def _name_classes(self, rows: Mapping[Any, int]) -> dict[Any, str]:
        """The name of each class, by its value in the data."""
        if self.names is None:
            return {value: str(value) for value in rows}
        values = self.names if any(isinstance(value, str) for value in rows) else range(len(self.names))
        return dict(zip(values, self.names, strict=True))

    def _describe_absence(self, name: str, rows: Mapping[str, int]) -> str:
        message = f"class {name} of column `{self.key}` is missing in the training split"
        counts = ", ".join(f"{count} in {split}" for split, count in rows.items() if count)
        if not counts:
            return f"{message}, and in all other splits; correct the data or `names`"
        if sum(rows.values()) < len(rows):
            remedy = "add rows of it, or remove the class"
            return f"{message} (rows: {counts}); the class has too few rows for {len(rows)} splits; {remedy}"
        return (
            f"{message} (rows: {counts}); set `stratify` ({self.key}) of the data to divide each class among the "
            "splits, or try another `seed` or a smaller `valid`"
        )


def _get_ids(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["ids"])
