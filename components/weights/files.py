"""What training begins with: weights that are drawn, or those of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.place import find, hash_file
from components.types import UserError
from components.weights.carry import carried, plan
from components.weights.choose import check_fields, names
from components.weights.safetensors_file import read_safetensors


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
        return hash_file(self._file()).hexdigest()[:32]

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        file = self._file()
        tensors = read_safetensors(file)
        try:
            theirs = names(architecture, tensors, shapes, self.library)
            found = carried(plan(theirs, shapes), tensors, skip=self.skip)
            if self.exact:
                check_fields(theirs, architecture)
            return found
        except UserError as error:
            raise UserError(f"{file}: {error}") from error

    def _file(self) -> Path:
        return find(self.path, file=True)
