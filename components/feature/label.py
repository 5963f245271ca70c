"""Classes as a target."""

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
from components.types import Block, BoundTarget, Constants, DataError, Statistic, UserError, Values


@dataclass(frozen=True, kw_only=True)
class Label:
    """The class of an example, an int32 number from 0.

    Attributes:
        key: the raw column of integers, strings or booleans.
        names: the classes in order. Integers in the data are indices of them; strings are the names. None: the values
            of the training split, sorted.
        weight: `balanced` weighs an example by rows / (classes * rows of its class) of the training split, so that all
            classes weigh the same (King and Zeng, 2001). None: each example weighs 1.
    """

    key: str
    names: tuple[str, ...] | None = None
    weight: Literal["balanced"] | None = None

    def __post_init__(self) -> None:
        if self.names is not None and len(set(self.names)) < len(self.names):
            raise UserError(f"`names` has a class twice: {', '.join(self.names)}")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        return {"rows": Distinct(self.key)}

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Compares the classes of the splits.

        Returns:
            A warning for each held-out split that lacks classes.

        Raises:
            DataError: the training split lacks a class that another split or `names` has, or has only one.
        """
        rows = {split: result["rows"] for split, result in results.items()}
        classes = self._classes(rows["train"])
        if self.names is None:
            classes |= {value: str(value) for counts in rows.values() for value in counts}
        for value, name in classes.items():
            if value not in rows["train"]:
                counts = {split: counts.get(value, 0) for split, counts in rows.items()}
                raise DataError(self._describe_absence(name, counts))
        if len(classes) < 2:
            raise DataError(f"column `{self.key}` has one class only, {', '.join(classes.values())}")
        absent = {split: [classes[value] for value in classes if value not in counts] for split, counts in rows.items()}
        return tuple(
            f"the {split} split has no example of class {', '.join(names)} of column `{self.key}`"
            for split, names in absent.items()
            if names
        )

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        classes = self._classes(results["rows"])
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
        numbers = {value: number for number, value in enumerate(constants.host["values"].tolist())}
        values, rows = group_rows(block, self.key)
        ids = np.array([numbers.get(value, -1) for value in values], np.int32)[rows]
        if (ids < 0).any():
            row = int(np.argmin(ids))
            known = ", ".join(constants.static["classes"])
            value = raw.format_value(values[rows[row]])
            raise DataError(
                f"{block.locate(row)}: column `{self.key}` is {value}, which is none of the classes {known}"
            )
        return {"ids": ids}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """(B,), int32."""
        return _get_ids

    def bind(self, constants: Constants) -> BoundTarget:
        classes = constants.static["classes"]
        weights = constants.device["weight"]
        weight = None if self.weight is None else lambda target: jnp.asarray(weights)[target]
        values = tuple(constants.host["values"].tolist()) if self.names is None else classes
        return BoundTarget(len(classes), classes, lambda logits: logits, weight, values)

    def _classes(self, rows: Mapping[Any, int]) -> dict[Any, str]:
        """The name of each class by its value in the data."""
        if self.names is None:
            return {value: str(value) for value in rows}
        values = self.names if any(isinstance(value, str) for value in rows) else range(len(self.names))
        return dict(zip(values, self.names, strict=True))

    def _describe_absence(self, name: str, rows: Mapping[str, int]) -> str:
        message = f"class {name} of column `{self.key}` never occurs in the training split"
        places = ", ".join(f"{count} in {split}" for split, count in rows.items() if count)
        if not places:
            return f"{message}, nor in another split; correct the data or `names`"
        if sum(rows.values()) < len(rows):
            return f"{message} (rows of it: {places}), too few for {len(rows)} splits; get more of it, or leave it out"
        return (
            f"{message} (rows: {places}); `stratify` ({self.key}) of the data spreads each class over the splits; "
            "another `seed` or a smaller `valid` may help too"
        )


def _get_ids(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["ids"])
