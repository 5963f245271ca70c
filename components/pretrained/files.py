"""Initial weights of a run: random weights, or weights from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.input_files import find_path, hash_file
from components.pretrained.convert import convert_weights, plan_conversion
from components.pretrained.detect import check_fields, detect_scheme
from components.pretrained.safetensors_file import read_safetensors
from components.types import FieldError, MissingFileError, UserError
from components.uri_mask import represent_masked


@dataclass(frozen=True)
class Random:
    """Random weights, from the initializer of each layer."""

    def fingerprint(self) -> str:
        return ""

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Safetensors:
    """Weights from a safetensors file, with the names and the layout of another library.

    The file must contain all parameters of the architecture in the right shape, and no other arrays.

    Attributes:
        path: path of the file, relative to $TITRATE_DATA or the working folder.
        library: library that the file is from. None: the library with the most matching names.
        skip: patterns over our paths and over names in the file, such as `head`, `stage_4*`, `AuxLogits`. A `*` stands
            for any characters. Matching layers keep their random weights, and matching arrays of the file are ignored.
        exact: whether the parameters of the architecture that shapes don't show, such as padding and epsilon, must have
            the values that the weights were trained with.

    Raises:
        UserError: the weights do not fit the architecture.
        DataError: the file does not exist or is damaged.
    """

    path: str
    library: Literal["torchvision", "timm", "keras", "huggingface"] | None = None
    skip: tuple[str, ...] = ()
    exact: bool = True

    __repr__ = represent_masked

    def fingerprint(self) -> str:
        return hash_file(self._find_file()).hexdigest()[:32]

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        file = self._find_file()
        tensors = read_safetensors(file)
        try:
            scheme = detect_scheme(architecture, tensors, shapes, self.library)
            tree = convert_weights(plan_conversion(scheme, shapes), tensors, skip=self.skip)
            if self.exact:
                check_fields(scheme, architecture)
            return tree
        except UserError as error:
            raise UserError(f"{file}: {error}") from error

    def _find_file(self) -> Path:
        try:
            return find_path(self.path, file=True)
        except MissingFileError as error:
            raise FieldError("path", str(error)) from error
