"""The target of a semantic segmentation: a file of the class of each pixel."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np

from components.feature.base import raw
from components.feature.image import (
    Shapes,
    as_file,
    check_has_size,
    choose_shape,
    make_shape_error,
    merge_shapes,
)
from components.feature.label import Label
from components.image_files import (
    Decoding,
    ImageError,
    Resize,
    decode_mask,
    encode_png,
    list_file_remedies,
    read_shape,
)
from components.types import (
    Block,
    Constants,
    DataError,
    FieldError,
    Range,
    Remedy,
    Statistic,
    Strings,
    Values,
)

MAX_GREY = 255  # of arrays


@dataclass(frozen=True, kw_only=True)
class Mask(Label):
    """The class of each pixel of an image, from the file of a mask, int32 (H, W).

    The classes are the indices of a palette, grey values, or 0 and 1 of a black and white image. Masks are decoded
    once, before they are cached.

    Attributes are those of `Label`, and:
        key: the raw column of the files of masks: PNG, BMP, GIF or TIFF.
        ignore: a number that counts in no loss or metric, such as 255 for the borders of objects. None: there is none.
        image: the raw column of the images. A mask of another size than its image is an error. None: any size is
            allowed.
        size: the height and width of resized masks, that of `Image`. Each pixel becomes the nearest one. None: masks
            keep their size, which all share.
        resize: as in `Image`. The borders of `fit` are pixels of `ignore`.
        max_megapixels: the maximum number of pixels of a file in millions.
    """

    ignore: int | None = None
    image: str | None = None
    size: tuple[Annotated[int, Range(1)], Annotated[int, Range(1)]] | None = None
    resize: Resize = "stretch"
    max_megapixels: Annotated[float, Range(0, math.inf, "()")] = 100.0
    target_kinds = ("pixels",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resize == "fit" and self.ignore is None:
            raise FieldError("resize", "fit adds borders, which have no class; set `ignore` to their number, as 255")
        check_has_size(self.size, {"resize": self.resize != "stretch"})

    @property
    def class_separators(self) -> Mapping[str, str | None]:
        return {}  # pixels have classes, and no row has one

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,) if self.image is None else (self.key, self.image)

    def statistics(self) -> Mapping[str, Statistic]:
        return {"masks": MaskStatistic(self)}

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        masks = {split: own["masks"] for split, own in results.items()}
        return super().validate_splits(
            {split: {"rows": own.rows, "shape": next(iter(own.shapes), ())} for split, own in masks.items()}
        )

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        height, width, _ = choose_shape(self.key, results["masks"].shapes)
        return super().fit({"rows": results["masks"].rows, "shape": (height, width)}, parents)

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, np.ndarray]:
        """`ids`: (rows, H, W) in the smallest type of integers; -1 if missing or ignored."""
        height, width = constants.static["shape"]
        pixels = np.zeros((len(masks := self.read(block)), height, width), np.int32)
        for row, mask in enumerate(masks):
            if mask is not None and mask.shape != (height, width):
                raise make_shape_error(block, self.key, row, (*mask.shape, 1), (height, width, 1))
            if mask is not None:
                pixels[row] = mask
        return super().encode(replace(block, columns={self.key: pixels}), parents, constants)

    def convert_rows(self, values: np.ndarray | Strings) -> tuple[Values, str]:
        """Converts masks to files. Each is the path or the bytes of a file, or an array (H, W) of 0 to 255."""
        if isinstance(values, np.ndarray) and values.dtype.kind in "biu" and values.ndim == 3:
            if values.size and not 0 <= values.min() <= values.max() <= MAX_GREY:
                raise DataError(
                    f"column `{self.key}` has pixels from {values.min()} to {values.max()}; in an array, they are "
                    f"numbers from 0 to {MAX_GREY}"
                )
            return Strings.from_bytes([encode_png(mask.astype(np.uint8)[..., None]) for mask in values]), ""
        rows = values.iterate_bytes() if isinstance(values, Strings) else iter(values)
        return Strings.from_bytes([as_file(self.key, row, mask) for row, mask in enumerate(rows)]), ""

    def read(self, block: Block) -> list[np.ndarray | None]:
        """The decoded masks of a block. None: it is missing.

        Raises:
            DataError: a file is no mask, or has another size than the image; the message names the row.
        """
        files = block.columns.get(self.key)
        if not isinstance(files, Strings):
            raise DataError(
                f"column `{self.key}` of {block.origin} has no files; for numbers in an array, the target is Label"
            )
        valid = block.valid.get(self.key, np.ones(files.rows, bool))
        masks: list[np.ndarray | None] = []
        for row, data in enumerate(files.iterate_bytes()):
            if not valid[row]:
                if self.missing is None:
                    remedy = Remedy("set `missing=mask`", "gaps")
                    raise raw.make_gap_error(block, self.key, row, remedy, fill="add the mask")
                masks.append(None)
                continue
            try:
                self._check_size(block, row, data)
                masks.append(decode_mask(data, self._decoding, 0 if self.ignore is None else self.ignore))
            except ImageError as error:
                remedies = list_file_remedies(error, offers_skipping=block.offers_skipping)
                raise raw.make_value_error(block, self.key, row, str(error), *remedies) from error
        return masks

    def _check_size(self, block: Block, row: int, mask: bytes) -> None:
        """Raises DataError if the image of a row has another size."""
        images = block.columns.get(self.image) if self.image is not None else None
        if images is None or not block.valid.get(self.image or "", np.ones(row + 1, bool))[row]:
            return
        height, width, _ = read_shape(mask, self._decoding.max_pixels)
        if isinstance(images, Strings):
            position = row if images.indices is None else int(images.indices[row])
            data = images.data[images.offsets[position] : images.offsets[position + 1]].tobytes()
            try:
                size = tuple(read_shape(data, self._decoding.max_pixels)[:2])
            except ImageError:  # is an error of the image
                return
        else:
            size = np.shape(images)[1:3]
        if size != (height, width):
            fault = (
                f"is a mask of {height} x {width} pixels, and its image, in `{self.image}`, has {size[0]} x {size[1]}"
            )
            remedies = list_file_remedies(offers_skipping=block.offers_skipping)
            raise raw.make_value_error(block, self.key, row, fault, *remedies)

    @property
    def _decoding(self) -> Decoding:
        return Decoding(self.size, self.resize, 1, False, int(self.max_megapixels * 1e6))


class MaskSummary(NamedTuple):
    """Facts about masks.

    Attributes:
        rows: the number of pixels of each class, sorted by class.
        shapes: the number of masks of each shape, (H, W, 1), and the location of the first.
    """

    rows: Mapping[int, int]
    shapes: Shapes


@dataclass(frozen=True)
class MaskStatistic:
    """The classes and the shapes of the masks of a column.

    Attributes:
        masks: decodes the masks.
    """

    masks: Mask

    def summarize(self, block: Block) -> MaskSummary:
        rows, shapes = Counter[int](), dict[tuple[int, ...], tuple[int, str]]()
        for row, mask in enumerate(self.masks.read(block)):
            if mask is not None:
                classes, counts = np.unique(mask, return_counts=True)
                rows.update(dict(zip(classes.tolist(), counts.tolist(), strict=True)))
                shapes = merge_shapes(shapes, {(*mask.shape, 1): (1, block.locate(row))})
        return MaskSummary(rows, shapes)

    def merge(self, state: MaskSummary, other: MaskSummary) -> MaskSummary:
        return MaskSummary(Counter(state.rows) + Counter(other.rows), merge_shapes(state.shapes, other.shapes))

    def result(self, state: MaskSummary) -> MaskSummary:
        return state._replace(rows=dict(sorted(state.rows.items())))
