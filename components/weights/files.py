"""What training begins with: weights that are drawn, or those of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.place import find
from components.types import DataError, UserError
from components.weights.carry import carried, plan
from components.weights.choose import check_fields, names


@dataclass(frozen=True)
class Random:
    """Every parameter as it was drawn."""

    def fingerprint(self) -> str:
        return ""

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Safetensors:
    """The weights of a safetensors file, carried over by the names that a library gives them.

    Attributes:
        path: of the file; looked up below $TITRATE_DATA, then in the working folder.
        library: whose names they are; None: those that fit best.
        skip: layers that stay as they were drawn, and arrays of the file that are left out: beginnings of our paths
            or of their names, `*` for anything (`head`, `stage_4*`, `AuxLogits`).

        exact: whether fields of the architecture must be what the weights were trained with, as far as libraries differ
            in them: how images are padded, the epsilon of normalization.

    Everything else must be there, in the right shape, and nothing besides: raises UserError with what differs, and
    DataError where there is no such file, or it is damaged.
    """

    path: str
    library: Literal["torchvision", "timm", "keras", "huggingface"] | None = None
    skip: tuple[str, ...] = ()
    exact: bool = True

    def fingerprint(self) -> str:
        with self._file().open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        file = self._file()
        tensors = _read(file)
        try:
            theirs = names(architecture, tensors, shapes, self.library)
            found = carried(plan(theirs, shapes), tensors, skip=self.skip)
            if self.exact:
                check_fields(theirs, architecture)
            return found
        except UserError as error:
            raise UserError(f"{file}: {error}") from error

    def _file(self) -> Path:
        return find(self.path, file=True, key="weights.path")


def _read(file: Path) -> dict[str, np.ndarray]:
    """Its arrays, as float32; raises DataError for a file that isn't whole."""
    import ml_dtypes  # noqa: F401  tells NumPy of bfloat16
    import safetensors

    try:
        with safetensors.safe_open(file, "np") as opened:
            return {name: opened.get_tensor(name).astype(np.float32) for name in opened.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, TypeError) as error:
        raise DataError(f"{file} can't be read as safetensors: {error}") from error
