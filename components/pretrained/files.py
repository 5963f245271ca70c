"""The weights that training starts with: random, or those of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.input_files import find_path, hash_file
from components.pretrained.convert import convert_weights, plan_conversion
from components.pretrained.detect import check_fields, detect_scheme
from components.pretrained.safetensors_file import read_safetensors
from components.types import UserError


@dataclass(frozen=True)
class Random:
    """Random weights, as the initializer of each layer draws them."""

    def fingerprint(self) -> str:
        return ""

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Safetensors:
    """Weights of a safetensors file, with the names and the layout of another library.

    The file must hold all parameters of the architecture in the right shape, and no others.

    Attributes:
        path: path of the file below $TITRATE_DATA or the working folder.
        library: library that names the arrays; None: the one whose names fit best.
        skip: patterns over our paths and over names of the file, such as `head`, `stage_4*`, `AuxLogits`; `*` stands
            for any characters. Layers that match keep their random weights, arrays of the file that match are ignored.
        exact: whether fields of the architecture (padding, epsilon of normalization) must have the values that the
            weights were trained with.

    Raises:
        UserError: the weights do not fit the architecture.
        DataError: there is no such file, or it is damaged.
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
            scheme = detect_scheme(architecture, tensors, shapes, self.library)
            tree = convert_weights(plan_conversion(scheme, shapes), tensors, skip=self.skip)
            if self.exact:
                check_fields(scheme, architecture)
            return tree
        except UserError as error:
            raise UserError(f"{file}: {error}") from error

    def _file(self) -> Path:
        return find_path(self.path, file=True)
