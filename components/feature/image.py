"""Images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import jax
import numpy as np

from components.feature.base import raw
from components.feature.number import scaling
from components.feature.pixels.image_rows import OFFERS_SKIPPING, ImageRows, pack_bytes
from components.feature.statistic import OffsetScale
from components.image_files import (
    Decoding,
    ImageError,
    Resize,
    convert_array,
    decode_image,
    encode_png,
    is_image_file,
    is_pillow,
    list_file_remedies,
    read_shape,
)
from components.input_files import open_file
from components.ragged import describe_values
from components.types import (
    TRAINING_ROWS,
    Block,
    Constants,
    DataError,
    DecodedRows,
    Encoded,
    FieldError,
    PixelRange,
    Ragged,
    Range,
    Remedy,
    Statistic,
    Strings,
    TargetSpec,
    UserError,
    Values,
    row_count,
)

WHITE = 255
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
RGB = 3  # channels
COLORS = {1: "grey", RGB: "RGB"}  # by the number of channels
MAX_CACHED_BYTES = 8_000_000_000  # of decoded training images; above it, files are decoded for each step
Share: TypeAlias = Annotated[float, Range(0, 1, "(]")]
Positive: TypeAlias = Annotated[float, Range(0, math.inf, "()")]


Shapes: TypeAlias = "dict[tuple[int, ...], tuple[int, str]]"
"""The number of images of each shape, (H, W, C), and the location of the first."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image, uint8 (H, W, C) from 0, black, to 255, white. The device converts it to float32.

    The raw column has arrays, (H, W, C) or grey (H, W), or the bytes of JPEG, PNG, BMP, GIF, WebP and TIFF files. Files
    are decoded once, before they are cached, to 8-bit grey or RGB: turned as EXIF says, the first frame only,
    transparent pixels on white, palettes and CMYK as RGB, 16-bit grey divided by 257.

    Attributes:
        key: the raw column.
        size: the height and width of resized images. They are resized once, before they are cached, with Pillow's
            bilinear filter, which averages over all covered pixels. None: images keep their size, which all share.
        resize: how images with another aspect ratio are resized: `stretch` changes it, `fit` adds black borders, `crop`
            cuts the longer side on both ends.
        channels: 1 converts all images to grey, 3 to RGB. None: as in the data, and all images have the same.
        draft: whether JPEG files are decoded at a half, a quarter or an eighth of their size where that is at least
            `size`: faster, with slightly other pixels.
        decode: `once`: images are decoded once, and cached. `step`: only the files are cached, and decoded for each
            step, which needs less of the disk and allows random crops. None: once, unless images are cropped at random
            or the decoded training images need more than 8 GB.
        crop_area: the smallest and the largest share of its area, such as [0.08, 1], to which an image is cropped at
            random in training before it is resized. The ratio of width to height is 3:4 to 4:3 (Szegedy et al., 2015).
            None: it is not cropped at random.
        max_megapixels: the maximum number of pixels of a file in millions, because a small file may have billions.
        normalize: `unit` divides by 255. `standardize` gives each channel mean 0 and standard deviation 1 over the
            training split; a constant channel is shifted and divided by 255. None: neither.
        mean: is subtracted after `normalize`: one number, or one for each channel, in the order of `order`. Three
            numbers for RGB also suit other images: grey ones get their average, and those with more channels repeat
            them.
        std: divides the result: one number, or one for each channel, as `mean`.
        order: the order of the channels: `bgr` reverses it, for networks that were trained in Caffe. Grey images have
            none.
    """

    key: str
    size: tuple[Annotated[int, Range(1)], Annotated[int, Range(1)]] | None = None
    normalize: Literal["unit", "standardize"] | None = "unit"
    mean: tuple[float, ...] | float | None = None
    std: tuple[Positive, ...] | Positive | None = None
    order: Literal["rgb", "bgr"] = "rgb"
    resize: Resize = "stretch"
    channels: Literal[1, 3] | None = None
    draft: bool = False
    decode: Literal["once", "step"] | None = None
    crop_area: tuple[Share, Share] | None = None
    max_megapixels: Annotated[float, Range(0, math.inf, "()")] = 100.0

    def __post_init__(self) -> None:
        if self.normalize == "standardize" and (self.mean is not None or self.std is not None):
            raise UserError(
                "`mean` and `std` can't be set if `normalize` is standardize; set `normalize=unit` or `normalize=null`"
            )
        if self.crop_area is not None:
            if self.decode == "once":
                raise FieldError(
                    "crop_area", "needs images that are decoded for each step; set `decode=step` or `decode=null`"
                )
            if self.size is None:
                raise FieldError("crop_area", "needs the size to which crops are resized; set `size`")
            if self.crop_area[0] > self.crop_area[1]:
                raise FieldError("crop_area", f"{list(self.crop_area)} has the smallest share of the area first")
        check_has_size(self.size, {"resize": self.resize != "stretch", "draft": self.draft})

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def is_random(self) -> bool:
        return self.crop_area is not None

    @property
    def decoding(self) -> Decoding:
        """How images are decoded and resized."""
        max_pixels = int(self.max_megapixels * 1e6)
        return Decoding(self.size, self.resize, self.channels, self.draft, max_pixels, self.crop_area)

    def statistics(self) -> Mapping[str, Statistic]:
        shapes: dict[str, Statistic] = {"shapes": ImageShapes(self.key, self.decoding)}
        pixels = {"channels": PixelMoments(self.key, self.decoding)}
        return shapes | (pixels if self.normalize == "standardize" else {})

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        fitted = results.get("channels", OffsetScale(np.zeros(1), np.zeros(1)))
        unit = 1 if self.normalize is None else WHITE
        device = {"offset": fitted.offset, "divisor": scaling.find_divisor(fitted, if_constant=unit)}
        shape = choose_shape(self.key, results["shapes"])
        if self.mean is not None:
            device["offset"] = _scale_to_bytes(self.mean, unit, shape[-1])
        if self.std is not None:
            device["divisor"] = _scale_to_bytes(self.std, unit, shape[-1])
        if self.normalize == "standardize" and self.order == "bgr":  # the channels are in this order when it is used
            device = {name: values[::-1] for name, values in device.items()}
        rows = results.get(TRAINING_ROWS, sum(count for count, _ in results["shapes"].values()))
        decoded_bytes = math.prod(shape) * rows
        is_large = self.decode is None and decoded_bytes > MAX_CACHED_BYTES
        host = {"shape": np.array(shape, np.int32)}
        if self.decode == "step" or self.crop_area is not None or is_large:
            host["decode"] = np.array(True)
        return Constants(host=host, device=device)

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """`values`: uint8 (rows, H, W, C). If files are decoded for each step: `files` and `locations`, their bytes."""
        if "decode" not in constants.host:
            return {"values": self._read(block, constants)}
        for row, shape in enumerate(ImageShapes(self.key, self.decoding).read_shapes(block)):
            self._check_shape(block, row, shape, tuple(constants.host["shape"].tolist()))
        files = [*self._iterate_files(block)]
        mark = OFFERS_SKIPPING if block.offers_skipping else ""
        locations = [f"{block.locate(row)}{mark}".encode() for row in range(len(files))]
        return {"files": pack_bytes(files), "locations": pack_bytes(locations)}

    def decoded(self, encoded: Mapping[str, Encoded], constants: Constants) -> Mapping[str, Encoded | DecodedRows]:
        """The images, which are decoded now if only the files are encoded."""
        files, locations = encoded.get("files"), encoded.get("locations")
        if not isinstance(files, Ragged) or not isinstance(locations, Ragged):
            return encoded
        return {"values": ImageRows(files, locations, self.decoding, tuple(constants.host["shape"].tolist()))}

    def host_output(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> np.ndarray:
        """The scaled image, float64 (rows, H, W, C)."""
        images = _arrange_channels(self._read(block, constants), constants.device, self.order)
        return (images - np.asarray(constants.device["offset"])) / np.asarray(constants.device["divisor"])

    def convert_rows(self, values: np.ndarray | Strings) -> tuple[Values, str]:
        """Converts images to uint8, or to files.

        Floats are from 0 to 1, or from 0 to 255. If rows don't form one array, each is the path or the bytes of a file,
        an image of Pillow, or an array of uint8.
        """
        if isinstance(values, Strings) or values.dtype.kind in "OUST":
            rows = values.iterate_bytes() if isinstance(values, Strings) else iter(values)
            return Strings.from_bytes([as_file(self.key, row, image) for row, image in enumerate(rows)]), ""
        if values.dtype.kind not in "iuf" or values.dtype == np.uint8 or not values.size:
            return values, ""
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= WHITE):  # also if some are NaN
            raise DataError(
                f"column `{self.key}` has pixels from {low:g} to {high:g}; pixels are numbers from 0 to {WHITE}, or "
                "floats from 0 to 1"
            )
        if values.dtype.kind != "f":
            return values.astype(np.uint8), ""
        is_whole = bool((values == np.floor(values)).all())
        if 0 < high < 2 and (is_whole or high > 1):
            raise DataError(
                f"column `{self.key}` has floats up to {high:g}, which may be from 0 to 1 or from 0 to {WHITE}; "
                "convert them to uint8, from 0 to 255"
            )
        if high > 1:
            rounded = "" if is_whole else ", and rounded"
            return np.round(values).astype(np.uint8), f"column `{self.key}`: floats are read as 0 to {WHITE}{rounded}"
        return np.round(values * WHITE).astype(np.uint8), f"column `{self.key}`: floats are read as 0 to 1"

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        """Returns (B, H, W, C), float32. Raises UserError if a parameter doesn't fit the number of channels."""
        return partial(_scale, order=self.order)

    def pixel_range(self, constants: Mapping[str, Any]) -> PixelRange:
        luma = jax.numpy.array(LUMA[::-1] if self.order == "bgr" else LUMA, jax.numpy.float32)
        black, white = ((value - constants["offset"]) / constants["divisor"] for value in (0, WHITE))
        return PixelRange(black, white, luma)

    def _iterate_files(self, block: Block) -> Iterator[bytes]:
        """Yields the bytes of each image file; arrays become PNG files."""
        files = block.columns.get(self.key)
        if isinstance(files, Strings):
            return files.iterate_bytes()
        images = _read_arrays(block, self.key)
        if (channels := images.shape[-1]) not in (1, 3):
            raise DataError(
                f"column `{self.key}` of {block.origin} has arrays with {channels} channels; only images with 1 or 3 "
                "can be decoded for each step",
                Remedy("set `decode=once`, and leave out `crop_area`", "columns"),
            )
        return map(encode_png, images)

    def _read(self, block: Block, constants: Constants) -> np.ndarray:
        """The decoded images, uint8 (rows, H, W, C). Raises DataError if their shape differs from training."""
        images, shape = read_images(block, self.key, self.decoding), constants.host.get("shape")
        if shape is None:  # earlier versions fitted none, and had arrays only
            return images if isinstance(images, np.ndarray) else np.stack([*images])
        needed = tuple(shape.tolist())
        if isinstance(images, np.ndarray):
            if len(images):
                self._check_shape(block, 0, images.shape[1:], needed)
            return images
        result = np.empty((row_count(block.columns[self.key]), *needed), np.uint8)
        for row, image in enumerate(images):
            self._check_shape(block, row, image.shape, needed)
            result[row] = image
        return result

    def _check_shape(self, block: Block, row: int, shape: tuple[int, ...], needed: tuple[int, ...]) -> None:
        if shape != needed:
            raise make_shape_error(block, self.key, row, shape, needed)


@dataclass(frozen=True, kw_only=True)
class ImageTarget(Image):
    """An image to predict, as an autoencoder does: float32 (H, W, C), scaled as in `Image`.

    Metrics are in the unit of the scaled image. Attributes are those of `Image`.
    """

    target_kinds = ("images",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_area is not None:
            raise FieldError("crop_area", "would cut another part of the target than of the input; leave it out")

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        fitted = super().fit(results, parents)
        return fitted._replace(static={"shape": tuple(fitted.host["shape"].tolist())})

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Images need no check."""
        return ()

    def bind(self, constants: Constants) -> TargetSpec:
        return TargetSpec(
            "real", tuple(constants.static["shape"]), None, lambda images: images, encode=lambda images: images
        )

    def unscale(self, images: np.ndarray, constants: Constants) -> np.ndarray:
        """The images without their scaling, from 0, black, to 255, white; numbers beyond them become these."""
        pixels = images * np.asarray(constants.device["divisor"]) + np.asarray(constants.device["offset"])
        return (pixels[..., ::-1] if self.order == "bgr" else pixels).clip(0, WHITE)

    def image_files(self, predictions: np.ndarray, constants: Constants) -> Sequence[bytes]:
        """PNG files of the images without their scaling: numbers below black are black, and those above white, white.

        Raises:
            UserError: the images have neither 1 nor 3 channels, or a number is NaN.
        """
        if (channels := predictions.shape[-1]) not in (1, 3):
            raise UserError(
                f"column `{self.key}` has images of {channels} channels; a PNG file has 1 or 3. Predict in Python: "
                "runner.load(run).predict(rows)."
            )
        pixels = self.unscale(predictions, constants)
        if np.isnan(pixels).any():
            raise UserError(f"column `{self.key}`: the network predicts NaN, which is no pixel. Train it again.")
        return [encode_png(image) for image in np.round(pixels).astype(np.uint8)]


def _scale_to_bytes(numbers: tuple[float, ...] | float, unit: float, channels: int) -> np.ndarray:
    """Converts one number per channel, or one for all channels, to the unit of bytes.

    Three numbers are those of RGB: one channel gets their average, more than three channels repeat them.
    """
    scaled = np.atleast_1d(np.asarray(numbers, np.float64) * unit)
    if len(scaled) == RGB and channels == 1:
        scaled = scaled.mean(keepdims=True)
    if len(scaled) == RGB < channels:
        scaled = scaled[np.arange(channels) % RGB]
    return scaled.astype(np.float32)


def _scale(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, order: str) -> jax.Array:
    return scaling.scale({"values": _arrange_channels(encoded["values"], constants, order)}, constants)


def _arrange_channels(images: Any, constants: Mapping[str, Any], order: str) -> Any:
    """The images with their channels in order. Raises UserError if a parameter doesn't fit the number of channels."""
    channels = images.shape[-1]
    if order == "bgr" and channels not in (1, RGB):
        raise UserError(f"`order` (=bgr) needs images with 1 or 3 channels, got {channels}")
    for name, field in (("offset", "mean"), ("divisor", "std")):
        if len(constants[name]) not in (1, channels):
            raise UserError(f"`{field}` has {len(constants[name])} numbers, but the images have {channels} channels")
    return images[..., ::-1] if order == "bgr" else images


@dataclass(frozen=True)
class ImageShapes:
    """The shapes of the decoded images of a column: the number of images of each, and the location of the first.

    Attributes:
        key: the raw column.
        decoding: how images are decoded. Of files, only the header is read.
    """

    key: str
    decoding: Decoding

    def summarize(self, block: Block) -> Shapes:
        rows: dict[tuple[int, ...], list[int]] = {}
        for row, shape in enumerate(self.read_shapes(block)):
            rows.setdefault(shape, []).append(row)
        return {shape: (len(same), block.locate(same[0])) for shape, same in rows.items()}

    def merge(self, state: Shapes, other: Shapes) -> Shapes:
        return merge_shapes(state, other)

    def result(self, state: Shapes) -> Shapes:
        return state

    def read_shapes(self, block: Block) -> Iterator[tuple[int, ...]]:
        """Yields the shape of each decoded image of a block, (H, W, C)."""
        size, channels = self.decoding.size, self.decoding.channels
        if isinstance(block.columns.get(self.key), Strings):
            read = partial(read_shape, max_pixels=self.decoding.max_pixels)
            shapes: Iterable[tuple[int, ...]] = _map_files(block, self.key, read)
        else:
            images = _read_arrays(block, self.key)
            shapes = [images.shape[1:]] * len(images)
        for height, width, natural in shapes:
            yield (*(size or (height, width)), natural if channels is None else channels)


@dataclass(frozen=True)
class PixelMoments:
    """Mean and population standard deviation of each channel of the decoded images of a column.

    The state counts the pixels of each brightness, int64 (256, channels): one image is in memory at a time, and the
    sums are exact.

    Attributes:
        key: the raw column.
        decoding: how images are decoded.
    """

    key: str
    decoding: Decoding

    def summarize(self, block: Block) -> np.ndarray:
        images = read_images(block, self.key, self.decoding)
        return reduce(self.merge, map(self._count, images))

    def merge(self, state: np.ndarray, other: np.ndarray) -> np.ndarray:
        if state.shape != other.shape:
            remedy = Remedy("set `channels=3` or `channels=1`", "columns")
            raise DataError(f"column `{self.key}` has grey images and others", remedy)
        return state + other

    def result(self, state: np.ndarray) -> OffsetScale:
        total, levels = state.sum(axis=0), np.arange(WHITE + 1)
        mean = levels @ state / total
        return OffsetScale(mean, np.sqrt((np.square(levels[:, None] - mean) * state).sum(axis=0) / total))

    @staticmethod
    def _count(image: np.ndarray) -> np.ndarray:
        channels = image.reshape(-1, image.shape[-1]).T
        return np.stack([np.bincount(channel, minlength=WHITE + 1) for channel in channels], axis=-1)


def read_images(block: Block, key: str, decoding: Decoding) -> np.ndarray | Iterator[np.ndarray]:
    """The decoded images of a block, uint8 (H, W, C) each, one after the other. Their shapes may differ.

    They are one array if the column is an array that needs no conversion.

    Raises:
        DataError: an image can't be decoded or converted; the message names its row.
    """
    if isinstance(block.columns.get(key), Strings):
        return _map_files(block, key, partial(decode_image, decoding=decoding))
    images = _read_arrays(block, key)
    if decoding.size in (None, images.shape[1:3]) and decoding.channels in (None, images.shape[-1]):
        return images
    return _convert_arrays(images, f"column `{key}` of {block.origin}", decoding)


def _convert_arrays(images: np.ndarray, name: str, decoding: Decoding) -> Iterator[np.ndarray]:
    for image in images:
        try:
            yield convert_array(image, decoding)
        except ImageError as error:
            raise DataError(f"{name} {error}") from error


def check_has_size(size: tuple[int, int] | None, options: Mapping[str, bool]) -> None:
    """Raises UserError if an option of resizing is set, by its name, and no size is."""
    unused = [name for name, is_set in options.items() if is_set and size is None]
    if unused:
        raise UserError(f"`{unused[0]}` is for images that are resized, and none are; set `size`, or leave it out")


def as_file(key: str, row: int, image: Any) -> bytes:
    """The bytes of an image file. Raises DataError if there is none.

    Args:
        key: the column, for messages.
        row: the row of the image, for messages.
        image: the path or the bytes of a file, an image of Pillow, or an array (H, W, C) of uint8.
    """
    if isinstance(image, bytes) and (is_image_file(image) or b"\0" in image):
        return image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] in (1, 3):
        return encode_png(image)
    if is_pillow(image):
        try:
            return encode_png(image)
        except ImageError as error:
            raise DataError(f"column `{key}`: the image of row {row} {error}") from error
    try:
        path = Path(os.fsdecode(image))
    except (TypeError, ValueError):
        shape = f" {image.dtype} {image.shape}" if isinstance(image, np.ndarray) else ""
        raise DataError(
            f"column `{key}`: row {row} is of the type {type(image).__name__}{shape}; an image is the path or the "
            "bytes of a file, an image of Pillow, or an array of uint8 (height, width, 1 or 3 channels)"
        ) from None
    with open_file(path) as file:
        return file.read()


def _read_arrays(block: Block, key: str) -> np.ndarray:
    images = raw.read_column(block, key)
    if images.dtype == np.uint8 and images.ndim == 3:
        return images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4:
        raise DataError(
            f"column `{key}` of {block.origin} has {describe_values(images)} ({images.dtype}); images must be arrays "
            f"of uint8, 0 to {WHITE}, of shape (height, width, channels), or (height, width) if they are grey"
        )
    return images


def _map_files(block: Block, key: str, function: Callable[[bytes], Any]) -> Iterator[Any]:
    """Calls a function with the bytes of each file. An ImageError becomes a DataError that names the row."""
    files, valid_mask = block.columns[key], block.valid.get(key)
    assert isinstance(files, Strings)
    for row, data in enumerate(files.iterate_bytes()):
        if valid_mask is not None and not valid_mask[row]:
            raise raw.make_gap_error(block, key, row, *block.missing_file_remedies, fill="add the image")
        try:
            yield function(data)
        except ImageError as error:
            remedies = list_file_remedies(error, offers_skipping=block.offers_skipping)
            raise raw.make_value_error(block, key, row, str(error), *remedies) from error


def merge_shapes(state: Shapes, other: Shapes) -> Shapes:
    """The shapes of two groups of images, those of `state` first."""
    merged = dict(state)
    for shape, (count, location) in other.items():
        before, first_location = merged.get(shape, (0, location))
        merged[shape] = before + count, first_location
    return merged


def choose_shape(key: str, shapes: Shapes) -> tuple[int, ...]:
    """The shape that all images share. Raises DataError if there are several."""
    first, *others = shapes
    for other in others:
        (_, one), (_, another) = shapes[first], shapes[other]
        fault = f"{one} has {describe_shape(first)}, {another} has {describe_shape(other)}"
        raise DataError(f"the images of column `{key}` have different shapes: {fault}", _resize_remedy(other, first))
    return first


def describe_shape(shape: Sequence[int]) -> str:
    height, width, channels = shape
    return f"{height} x {width} pixels and {channels} channel{'' if channels == 1 else 's'}"


def make_shape_error(block: Block, key: str, row: int, shape: Sequence[int], needed: Sequence[int]) -> DataError:
    """Makes the error for an image of another shape than `needed`, that of the training split."""
    fault = f"has {describe_shape(shape)}, where the training split has {describe_shape(needed)}"
    if not isinstance(block.columns[key], Strings):
        fault += "; arrays are (rows, height, width, channels)"
    words = [f"resize it to {needed[0]} x {needed[1]} pixels"] if shape[:2] != needed[:2] else []
    words += [f"convert it to {COLORS.get(needed[2], f'{needed[2]} channels')}"] if shape[2] != needed[2] else []
    convert = Remedy(", and ".join(words), "files")
    return raw.make_value_error(block, key, row, fault, convert, _resize_remedy(shape, needed))


def _resize_remedy(shape: Sequence[int], needed: Sequence[int]) -> Remedy:
    """The parameters that make images of two shapes equal."""
    words = [f"`size=[{needed[0]},{needed[1]}]`"] if shape[:2] != needed[:2] else []
    words += [f"`channels={max(shape[2], needed[2])}`"] if shape[2] != needed[2] else []
    return Remedy(f"set {' and '.join(words)}", "columns")
