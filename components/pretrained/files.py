"""Initial weights of a run: random weights, or weights from a file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from components.input_files import find_path, hash_file
from components.pretrained.convert import convert_weights, find_adapted, plan_conversion
from components.pretrained.detect import (
    check_fields,
    choose_fields,
    detect_scheme,
    detect_scheme_by_names,
    find_prefix,
    find_schemes,
)
from components.pretrained.safetensors_file import read_safetensors, read_shapes
from components.types import FieldError, MissingFileError, UserError, WeightsNeeds
from components.uri_mask import represent_masked

Value = TypeVar("Value")


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

    The file must contain all parameters of the architecture in the right shape, and no other arrays. If all names start
    with `module.`, `_orig_mod.` or `model.`, or several of these, the rest counts. A kernel for color images is summed
    over the colors for grey images; for more than three channels, its channels are repeated and scaled by 3 / channels.

    Attributes:
        path: path of the file, relative to $TITRATE_DATA or the working folder.
        library: library that the file is from. None: the library with the most matching names.
        skip: patterns over our paths and over names in the file, such as `head`, `stage_4*`, `AuxLogits`. A `*` stands
            for any characters. Matching layers keep their random weights, and matching arrays of the file are ignored.
        exact: whether the file sets the parameters of the architecture that the weights need, such as padding and
            epsilon, and those of the only column of images, such as mean and std. A different value in the
            configuration is an error. False: they stay as configured.

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
        tensors = _drop_prefix(read_safetensors(file), architecture)
        with _errors_of_file(file):
            scheme = detect_scheme(architecture, tensors, shapes, self.library)
            tree = convert_weights(plan_conversion(scheme, shapes), tensors, skip=self.skip)
            if self.exact:
                check_fields(scheme, architecture)
            return tree

    def find_needs(self, architecture: Any, chosen: Collection[str]) -> WeightsNeeds:
        file = self._find_file()
        names = _drop_prefix(read_shapes(file), architecture)
        with _errors_of_file(file):
            scheme = detect_scheme_by_names(architecture, names, self.library)
            fields = choose_fields(scheme, architecture, chosen)
        side = scheme.side if isinstance(scheme.side, int) else scheme.side(architecture)
        return WeightsNeeds(f"{self.path} ({scheme.library})", fields, scheme.image, side)

    def describe_changes(self, shapes: Mapping[str, Any], architecture: Any) -> str | None:
        known = _drop_prefix(read_shapes(self._find_file()), architecture)
        plan = plan_conversion(detect_scheme(architecture, known, shapes, self.library), shapes)
        mapping = find_adapted(plan, known, self.skip)
        if mapping is None:
            return None
        channels = mapping.shape[2]
        how = "summed over its 3 channels" if channels == 1 else f"repeated, and scaled by 3/{channels}"
        return f"{mapping} is {how}, because the images have {channels} channel{'s' if channels > 1 else ''}"

    def _find_file(self) -> Path:
        try:
            return find_path(self.path, file=True)
        except MissingFileError as error:
            raise FieldError("path", str(error)) from error


def _drop_prefix(by_name: Mapping[str, Value], architecture: Any) -> dict[str, Value]:
    """The arrays of a file by their names without what wrappers of the network put before them."""
    prefix = find_prefix(by_name, find_schemes(architecture))
    return {name.removeprefix(prefix): value for name, value in by_name.items()}


@contextmanager
def _errors_of_file(file: Path) -> Iterator[None]:
    """Adds the name of the file to errors."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
