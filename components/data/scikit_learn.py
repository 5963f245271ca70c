"""The source for the small data sets of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, Literal

import numpy as np

from components.closest import suggest_name
from components.data.table import Table
from components.types import DataError, FieldError, Range

_ROW_COUNTS = {"digits": 1797, "diabetes": 442, "breast_cancer": 569, "iris": 150, "wine": 178}


@dataclass(frozen=True, kw_only=True)
class ScikitLearn(Table):
    """A data set that comes with scikit-learn.

    - `digits` has the columns `image`, uint8 (8, 8, 1), and `label`, 0 to 9. The 17 levels of gray are scaled to
      0 to 255, the usual range of images.
    - `diabetes` has the columns `age`, `sex`, `bmi`, `bp`, `s1` to `s6`, not scaled, and `progression`.
    - `breast_cancer`, `iris` and `wine` have the columns `measurements`, vectors of 30, 4 or 13 numbers, and `label`,
      the name of the class.

    Attributes:
        name: the data set.
    """

    name: Literal["digits", "diabetes", "breast_cancer", "iris", "wine"]
    valid: Annotated[float, Range(0, bounds="()")] | None = None
    test: Annotated[float, Range(0, bounds="()")] | None = None

    def __post_init__(self) -> None:
        if self.name not in _ROW_COUNTS:
            hint = suggest_name(self.name, _ROW_COUNTS)
            raise FieldError("name", f"{self.name!r} is no data set of scikit-learn. {hint}")

    def content_digest(self) -> str:
        """The name of the data set and the version of scikit-learn, which determine the rows. No hash is needed."""
        return f"{self.name} of scikit-learn {version('scikit-learn')}"

    def sizes(self) -> Mapping[str, int]:
        return {"all": _ROW_COUNTS[self.name]}

    def origin(self, part: str) -> str:
        """The name of the data set, for messages. The only part is `all`."""
        return self.name

    def read(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        from sklearn import datasets  # takes seconds

        options = {"scaled": False} if self.name == "diabetes" else {}
        bunch = getattr(datasets, f"load_{self.name}")(**options)
        if len(bunch.target) != _ROW_COUNTS[self.name]:
            raise DataError(
                f"scikit-learn's {self.name} has {len(bunch.target)} rows instead of {_ROW_COUNTS[self.name]}"
            )
        return {"all": self._columns(bunch)}

    def _columns(self, bunch: Any) -> Mapping[str, np.ndarray]:
        if self.name == "digits":
            gray = np.round(np.linspace(0, 255, 17)).astype(np.uint8)
            return {"image": gray[bunch.images.astype(np.intp)][..., None], "label": bunch.target}
        if self.name == "diabetes":
            return dict(zip(bunch.feature_names, bunch.data.T, strict=True)) | {"progression": bunch.target}
        return {"measurements": bunch.data, "label": bunch.target_names[bunch.target]}
