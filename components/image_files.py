"""Decodes image files with Pillow: JPEG, PNG, BMP, GIF, WebP and TIFF, recognized by their first bytes.

Every file becomes 8-bit grey or RGB, as it is meant to be seen: turned as its EXIF orientation says, its first frame
only, transparent pixels on white, palettes and CMYK as RGB, 16-bit grey scaled. A damaged file is an error. PNG files
have checksums, which Pillow doesn't check for pixels; in the other formats, damage within the pixels may go unnoticed.
"""

from __future__ import annotations

import functools
import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from components.types import Remedy

if TYPE_CHECKING:
    from PIL.Image import Image

Resize: TypeAlias = Literal["stretch", "fit", "crop"]

GREY, RGB = "L", "RGB"
ORIENTATION = 0x0112  # the EXIF tag
TURNED = (5, 6, 7, 8)  # the orientations that exchange height and width
GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
COLOR_MODES = ("P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
MASK_MODES = ("1", "L", "P", "I;16", "I;16L", "I;16B", "I;16N")
PNG_START = b"\x89PNG\r\n\x1a\n"
EXIF_IN_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, SAMPLE_FORMAT = 258, 259, 262, 277, 339  # tags of TIFF
SAMPLE_FORMATS = {1: "unsigned integers", 2: "signed integers", 3: "floats"}
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MIN_IS_WHITE = 0  # the value of PHOTOMETRIC if 0 is white
WHITE, BLACK = 255, 0
REPLACE_FILE = Remedy("replace the file, or remove it", "files")
SKIP_FILES = Remedy("set `on_bad_row=skip` of the data", "skipping", "to skip such rows")
MAX_VERIFIED_PIXELS = 10**8  # of a file that is decoded to verify it; of a larger one, only the header is read
CROP_RATIO = 3 / 4  # the smallest ratio of width to height of a random crop; the largest is its inverse
CROP_TRIES = 10
CROP_DRAWS = 4 * CROP_TRIES  # random numbers that a random crop takes


class ImageError(ValueError):
    """The bytes are no image, or can't be decoded. The message continues the name of a file: `is truncated`."""


class LargeImageError(ImageError):
    """An image has more pixels than are allowed."""


class ImageShape(NamedTuple):
    """The shape of a decoded image.

    Attributes:
        height: in pixels.
        width: in pixels.
        channels: 1 for grey, 3 for RGB.
    """

    height: int
    width: int
    channels: int


class Decoding(NamedTuple):
    """How images are decoded.

    Attributes:
        size: the height and width to resize to; None: images keep their size.
        resize: `stretch` changes the aspect ratio; `fit` adds black borders; `crop` cuts the longer side on both ends.
        channels: 1 for grey, 3 for RGB; None: as the file has it.
        draft: whether JPEG files are decoded at a half, a quarter or an eighth of their size, but not below `size`.
        max_pixels: the maximum number of pixels of an image file.
        crop_area: the smallest and the largest share of the image's area that a random crop has in training. None:
            images are not cropped at random.
    """

    size: tuple[int, int] | None
    resize: Resize
    channels: int | None
    draft: bool
    max_pixels: int
    crop_area: tuple[float, float] | None = None


def list_file_remedies(error: ImageError | None = None, *, offers_skipping: bool) -> tuple[Remedy, ...]:
    """What to do about a file that can't be used.

    Args:
        error: why it is no image. A large image isn't skipped.
        offers_skipping: as in `Block`.
    """
    is_skippable = offers_skipping and not isinstance(error, LargeImageError)
    return (REPLACE_FILE, SKIP_FILES) if is_skippable else (REPLACE_FILE,)


def read_shape(data: bytes, max_pixels: int) -> ImageShape:
    """The shape of an image, from its header. Raises ImageError if it is no image, or has too many pixels."""
    return _read(data, max_pixels, _find_shape)


def verify_image(data: bytes, max_pixels: int = MAX_VERIFIED_PIXELS) -> ImageShape:
    """The shape of an image, all of whose pixels are decoded unless there are more than `max_pixels`.

    Raises:
        ImageError: it is no image, or is damaged.
    """
    shape = read_shape(data, max_pixels=2**62)
    if shape.height * shape.width <= max_pixels:
        decode_image(data, Decoding(None, "stretch", None, draft=False, max_pixels=max_pixels))
    return shape


def verify_mask(data: bytes, max_pixels: int = MAX_VERIFIED_PIXELS) -> ImageShape:
    """As `verify_image`, for a mask."""
    shape = read_shape(data, max_pixels=2**62)
    if shape.height * shape.width <= max_pixels:
        decode_mask(data, Decoding(None, "stretch", None, draft=False, max_pixels=max_pixels), border=0)
    return shape


def is_image_file(data: bytes) -> bool:
    """Whether the first bytes are those of a format that can be read."""
    try:
        _find_reader(data)
    except ImageError:
        return False
    return True


def is_pillow(image: object) -> bool:
    """Whether an object is an image of Pillow, which isn't imported for that."""
    return hasattr(image, "getbands")


def encode_png(image: np.ndarray | Image) -> bytes:
    """A PNG file of an image. Its pixels are those that `decode_image` gives for the image's own file.

    Args:
        image: an image of Pillow, or an array, uint8 (H, W, 1) or (H, W, 3).

    Raises:
        ImageError: the image of Pillow has a mode without a known black and white, or its file is damaged or closed.
    """
    import PIL.Image

    if not isinstance(image, np.ndarray):
        with _image_errors():
            _check_pixels(image)
            _scale_transparency(image)
            image.load()
            # Without its metadata, which would be applied again.
            image = np.atleast_3d(np.asarray(_turn(_as_8_bits(image), _read_orientation(image))))
    file = io.BytesIO()
    PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def encode_mask(mask: np.ndarray) -> bytes:
    """A PNG file of the class of each pixel, uint8 or uint16 (H, W).

    One of 8 bits is indexed, with the palette of the masks of Pascal VOC, so that each class is seen.
    """
    import PIL.Image

    file, image = io.BytesIO(), PIL.Image.fromarray(mask)
    if mask.dtype == np.uint8:
        image.putpalette(_make_mask_palette())
    image.save(file, "PNG")
    return file.getvalue()


@functools.cache
def _make_mask_palette() -> bytes:
    """The red, green and blue of the classes 0 to 255. Class 0 is black, and classes of near numbers differ most."""
    classes = np.arange(256)[:, None]
    colors = np.zeros((256, 3), np.uint8)
    for level in range(8):  # each three bits of a class are a bit of the three colors, the lowest ones the highest bit
        colors |= (((classes >> (3 * level + np.arange(3))) & 1) << (7 - level)).astype(np.uint8)
    return colors.tobytes()


def read_upright(image: Image) -> np.ndarray:
    """The numbers of an image of Pillow in its own mode, such as the classes of a mask, turned as its EXIF says.

    Raises:
        ImageError: its file is damaged or closed.
    """
    with _image_errors():
        image.load()
        return np.asarray(_turn(image, _read_orientation(image)))


def convert_array(image: np.ndarray, decoding: Decoding) -> np.ndarray:
    """Resizes an image in memory, uint8 (H, W, C), and converts it to grey or RGB, as `decode_image` does.

    Raises:
        ImageError: it can't be converted to `channels`.
    """
    from PIL import Image

    channels = image.shape[-1]
    if channels in (1, 3):
        plane = Image.fromarray(image[..., 0] if channels == 1 else image)
        return _finish(plane, decoding)
    if decoding.channels not in (None, channels):
        raise ImageError(f"has {channels} channels; only images with 1 or 3 can be converted to {decoding.channels}")
    # Pillow would treat the last of four channels as opacity.
    planes = [_finish(Image.fromarray(image[..., number]), decoding) for number in range(channels)]
    return np.concatenate(planes, axis=-1)


def decode_image(data: bytes, decoding: Decoding, random: np.ndarray | None = None) -> np.ndarray:
    """Decodes and resizes an image: uint8 (H, W, 1) or (H, W, 3).

    Args:
        data: the bytes of the file.
        decoding: how it is decoded.
        random: the random numbers of a crop, float64 (CROP_DRAWS,), in [0, 1). None: it is not cropped at random.

    Raises:
        ImageError: it is no image, is damaged, or has too many pixels.
    """

    def decode(image: Image, orientation: int) -> np.ndarray:
        shape, crop = _find_shape(image, orientation), None
        if random is not None and decoding.crop_area is not None:
            crop = choose_crop(shape.height, shape.width, decoding.crop_area, random)
        if decoding.draft and decoding.size is not None:
            shares = (1.0, 1.0) if crop is None else (crop.height, crop.width)
            height, width = (math.ceil(side / share) for side, share in zip(decoding.size, shares, strict=True))
            image.draft(None, (height, width) if orientation in TURNED else (width, height))
        elif orientation == 1 and (pixels := _decode_jpeg(data, image)) is not None:
            return _finish(pixels, decoding, crop)
        image.load()
        return _finish(_turn(_as_8_bits(image), orientation), decoding, crop)

    return _read(data, decoding.max_pixels, decode)


def decode_mask(data: bytes, decoding: Decoding, border: int) -> np.ndarray:
    """Decodes and resizes a mask, an image of whole numbers such as classes: uint8 or int32 (H, W).

    It is int32 if it has 16 bits, or `border` doesn't fit into 8 bits.

    A pixel is an index of the palette, a grey value, or 0 or 1. Each pixel of a resized mask is the nearest one.

    Args:
        data: the bytes of the file.
        decoding: `size`, `resize` and `max_pixels` count.
        border: the value of the borders that `fit` adds.

    Raises:
        ImageError: it is no mask, is damaged, or has too many pixels.
    """
    import PIL.Image

    def decode(image: Image, orientation: int) -> np.ndarray:
        if image.format == "JPEG":
            raise ImageError("is a JPEG file, whose pixels are not exact; a mask is a PNG file, for example")
        if image.mode not in MASK_MODES:
            raise ImageError(f"has pixels of mode {image.mode}; a mask has palette indices or grey values")
        image.load()
        pixels = np.asarray(image)
        pixels = pixels.astype(np.int32 if pixels.itemsize > 1 else np.uint8)
        if not 0 <= border <= WHITE:
            pixels = pixels.astype(np.int32)  # Pillow clips a border to the numbers of the pixels' type
        mask = _turn(PIL.Image.fromarray(pixels), orientation)
        if decoding.size is not None:
            mask = _resize(mask, decoding.size, decoding.resize, is_mask=True, border=border)
        return np.asarray(mask)

    result: np.ndarray = _read(data, decoding.max_pixels, decode)
    return result


class Crop(NamedTuple):
    """A rectangle of an image, as shares of its height and width."""

    top: float
    left: float
    height: float
    width: float


def choose_crop(height: int, width: int, area: tuple[float, float], random: np.ndarray) -> Crop:
    """Chooses a random rectangle of whole pixels, by its share of the area and its ratio of width to height.

    The ratio is 3:4 to 4:3 (Szegedy et al., 2015). If none of ten rectangles fits, the largest one in the middle with
    an allowed ratio is taken.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        area: the smallest and the largest share of the area.
        random: uniform random numbers, float64 (CROP_DRAWS,), in [0, 1).
    """
    low, high = math.log(CROP_RATIO), -math.log(CROP_RATIO)
    for share, ratio, top, left in random.reshape(CROP_TRIES, 4).tolist():
        pixels = (area[0] + share * (area[1] - area[0])) * height * width
        aspect = math.exp(low + ratio * (high - low))
        rows, columns = round(math.sqrt(pixels / aspect)), round(math.sqrt(pixels * aspect))
        if 0 < rows <= height and 0 < columns <= width:
            first_row, first_column = int(top * (height - rows + 1)), int(left * (width - columns + 1))
            return Crop(first_row / height, first_column / width, rows / height, columns / width)
    rows = min(height, max(round(width / CROP_RATIO), 1))
    columns = min(width, max(round(height / CROP_RATIO), 1))
    return Crop((height - rows) // 2 / height, (width - columns) // 2 / width, rows / height, columns / width)


def _finish(image: Image | np.ndarray, decoding: Decoding, crop: Crop | None = None) -> np.ndarray:
    """Cuts an upright image, and converts it to the channels and the size: uint8 (H, W, 1) or (H, W, 3)."""
    import PIL.Image

    if crop is not None:
        # `resize(…, box=…)` would mix in pixels outside of the box.
        image = _cut(image, crop)
    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    mode = {1: GREY, 3: RGB, None: image.mode}[decoding.channels]
    image = image if image.mode == mode else image.convert(mode)  # `convert` copies if the mode is the same
    if decoding.size is not None:
        image = _resize(image, decoding.size, decoding.resize if crop is None else "stretch")
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


def _cut(image: Image | np.ndarray, crop: Crop) -> Image | np.ndarray:
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else image.size[::-1]  # smaller for a draft
    left, top = round(crop.left * width), round(crop.top * height)
    right = max(round((crop.left + crop.width) * width), left + 1)
    bottom = max(round((crop.top + crop.height) * height), top + 1)
    return image[top:bottom, left:right] if isinstance(image, np.ndarray) else image.crop((left, top, right, bottom))


def _resize(
    image: Image, size: tuple[int, int], resize: Resize, *, is_mask: bool = False, border: int = BLACK
) -> Image:
    """Resizes an image to a height and width.

    Args:
        image: an image, or a mask.
        size: the height and width.
        resize: as in `Decoding`.
        is_mask: whether each pixel becomes the nearest one. Otherwise Pillow's bilinear filter averages over all
            covered pixels.
        border: the value of the borders of `fit`.
    """
    from PIL import Image, ImageOps

    method, (height, width) = Image.Resampling.NEAREST if is_mask else Image.Resampling.BILINEAR, size
    if image.size == (width, height):
        return image
    if resize == "fit":
        return ImageOps.pad(image, (width, height), method, color=border)
    if resize == "crop":
        return ImageOps.fit(image, (width, height), method)
    return image.resize((width, height), method)


def _read(data: bytes, max_pixels: int, use: Callable[[Image, int], Any]) -> Any:
    """Opens an image, checks it, and calls a function with it and its EXIF orientation (1: upright).

    Raises ImageError for any error in between.
    """
    if not data:
        raise ImageError("is empty")
    with _image_errors(), _open(data) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise LargeImageError(
                f"has {width:,} x {height:,} pixels; at most {max_pixels:,} are allowed by `max_megapixels` "
                f"(={max_pixels / 1e6:g})"
            )
        _check_pixels(image)
        is_turned = image.format != "TIFF"  # Pillow turns TIFF files itself
        if image.format == "PNG":
            _check_png(data)
            _scale_transparency(image)
            is_turned = any(name in data for name in EXIF_IN_PNG)  # Pillow would decode the pixels to look for EXIF
        return use(image, _read_orientation(image) if is_turned else 1)


def _open(data: bytes) -> Image:
    """Opens a file. Raises ImageError for a kind of TIFF that Pillow can't read."""
    try:
        return _find_reader(data)(io.BytesIO(data))
    except SyntaxError as error:
        if not data.startswith(TIFF_STARTS) or not (kind := _describe_unsupported_tiff(data, error)):
            raise
        raise ImageError(f"is a TIFF file that isn't supported: {kind}") from error


def _describe_unsupported_tiff(data: bytes, error: SyntaxError) -> str:
    """The pixels and the compression of a TIFF file, if Pillow has no reader for them; "": it is damaged."""
    from PIL import TiffImagePlugin

    file = io.BytesIO(data)
    tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if data[2:3] == b"+" or data[3:4] == b"+" else 8))
    file.seek(tags.next)
    tags.load(file)
    compression = tags.get(COMPRESSION, 1)
    is_unknown_compression = isinstance(error.args[0], KeyError) and error.args[0].args == (compression,)
    if str(error) != "unknown pixel mode" and not is_unknown_compression:
        return ""
    bits, kind = tags.get(BITS, (1,)), SAMPLE_FORMATS.get(tags.get(SAMPLE_FORMAT, (1,))[0], "numbers")
    return (
        f"{tags.get(SAMPLES, len(bits))} x {bits[0]}-bit {kind} per pixel, photometric interpretation "
        f"{tags.get(PHOTOMETRIC)}, compression {compression}"
    )


@contextmanager
def _image_errors() -> Iterator[None]:
    """Raises ImageError for any error within."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("doesn't fit into the free memory") from error
    except Exception as error:  # Pillow's readers raise many kinds for damaged files, also KeyError and struct.error
        raise ImageError(f"is damaged: {error or type(error).__name__}") from error


def _check_pixels(image: Image) -> None:
    """Raises ImageError for an image without pixels, or of a mode that can't be shown in 8 bits."""
    if min(image.size) == 0:
        raise ImageError("has no pixels")
    _read_channels(image)


def _find_reader(data: bytes) -> Callable[[io.BytesIO], Image]:
    """The class of Pillow that reads a format. `Image.open` would try all formats, and warn of large images."""
    readers = _import_readers()
    for start, reader in readers.items():
        if data.startswith(start):
            return reader
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return readers[b"RIFF....WEBP"]
    raise ImageError(f"is no JPEG, PNG, BMP, GIF, WebP or TIFF file; it starts with {data[:8]!r}")


@functools.cache
def _import_readers() -> dict[bytes, Callable[[io.BytesIO], Image]]:
    """The readers by the first bytes of their format. Pillow takes 50 ms, and most runs don't need it."""
    from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    tiff = TiffImagePlugin.TiffImageFile
    return {
        b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
        PNG_START: PngImagePlugin.PngImageFile,
        b"BM": BmpImagePlugin.BmpImageFile,
        b"GIF87a": GifImagePlugin.GifImageFile,
        b"GIF89a": GifImagePlugin.GifImageFile,
        **dict.fromkeys(TIFF_STARTS, tiff),
        b"RIFF....WEBP": WebPImagePlugin.WebPImageFile,
    }


def _decode_jpeg(data: bytes, image: Image) -> np.ndarray | None:
    """The pixels of a JPEG file, uint8 (H, W, C), from simplejpeg, which takes a fifth less time.

    None: it isn't installed, or leaves the file to Pillow.
    """
    decode = _find_jpeg_decoder() if image.format == "JPEG" and image.mode in (GREY, RGB) else None
    return None if decode is None else decode(data, image.mode)


@functools.cache
def _find_jpeg_decoder() -> Callable[[bytes, str], np.ndarray | None] | None:
    """(file, mode) -> pixels; None: simplejpeg isn't installed, or doesn't give the pixels that Pillow gives."""
    try:
        import simplejpeg
    except ImportError:
        return None
    import PIL.Image

    def decode(data: bytes, mode: str) -> np.ndarray | None:
        try:
            pixels: np.ndarray = simplejpeg.decode_jpeg(
                data, "GRAY" if mode == GREY else "RGB", fastdct=False, fastupsample=False, strict=True
            )
        except ValueError:  # Pillow then says what is wrong
            return None
        return pixels

    file = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)).save(file, "JPEG")
    with PIL.Image.open(file) as image:
        expected = np.asarray(image)
    found = decode(file.getvalue(), RGB)
    return decode if found is not None and np.array_equal(found, expected) else None


def _check_png(data: bytes) -> None:
    """Raises ImageError if a checksum of a PNG file is wrong."""
    position, kind = len(PNG_START), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise ImageError("is truncated")
        (length,), kind = struct.unpack_from(">I", data, position), data[position + 4 : position + 8]
        stop = position + 8 + length
        if stop + 4 > len(data):
            raise ImageError("is truncated")
        if zlib.crc32(data[position + 4 : stop]) != struct.unpack_from(">I", data, stop)[0]:
            raise ImageError(f"is damaged: the checksum at byte {stop:,} is wrong")
        position = stop + 4


def _find_shape(image: Image, orientation: int) -> ImageShape:
    width, height = image.size
    if orientation in TURNED:
        width, height = height, width
    return ImageShape(height, width, _read_channels(image))


def _read_channels(image: Image) -> int:
    if image.mode in GREY_MODES:
        return 1
    if image.mode in (*ALPHA_MODES, *COLOR_MODES):
        return 3
    depth = {"I": "32-bit integers", "F": "floats"}.get(image.mode, f"the mode {image.mode}")
    raise ImageError(f"has pixels of {depth}, whose black and white aren't known; convert it to 8 or 16 bits")


def _read_orientation(image: Image) -> int:
    return int(image.getexif().get(ORIENTATION, 1))


def _turn(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _scale_transparency(image: Image) -> None:
    """Converts the transparent color of a PNG file to 8 bits, in place, as Pillow converts the pixels when it loads it.

    Of 16 bits per color, Pillow reads the upper 8 only.
    """
    color, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    if color is None or image.format != "PNG" or not tiles:  # a loaded image has no tiles
        return
    stored = tiles[0].args  # how the file stores pixels
    if stored in ("L;2", "L;4"):
        image.info["transparency"] = color * WHITE // (2 ** int(stored[-1]) - 1)
    elif stored == "RGB;16B":
        image.info["transparency"] = tuple(each >> 8 for each in color)


def _as_8_bits(image: Image) -> Image:
    """Converts a loaded image to grey or RGB, 8 bits per channel."""
    import PIL.Image

    is_grey = _read_channels(image) == 1
    if image.mode.startswith("I;16"):  # Pillow's own conversion would make most pixels white
        numbers, tags = np.asarray(image).astype(np.uint32), getattr(image, "tag_v2", {})
        white = 2 ** tags.get(BITS, (16,))[0] - 1  # Pillow leaves numbers of 12 bits as they are
        if tags.get(PHOTOMETRIC) == MIN_IS_WHITE:
            numbers = white - numbers
        if "transparency" in image.info:
            numbers[numbers == image.info["transparency"]] = white
        image = PIL.Image.fromarray(((numbers * WHITE + white // 2) // white).astype(np.uint8))
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        opaque = PIL.Image.new("RGBA", image.size, (WHITE, WHITE, WHITE, WHITE))
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.getchannel("R") if is_grey else opaque.convert(RGB)
    return image if image.mode == (GREY if is_grey else RGB) else image.convert(GREY if is_grey else RGB)
