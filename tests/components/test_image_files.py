"""Image files: each format and mode as it is meant to be seen, and an error for what can't be decoded."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from components import image_files
from components.image_files import (
    CROP_DRAWS,
    Decoding,
    ImageError,
    choose_crop,
    convert_array,
    decode_image,
    read_shape,
)

RANDOM = np.random.default_rng(0)
HEIGHT, WIDTH = 12, 20
COLORS = PIL.Image.fromarray(RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
GREYS = PIL.Image.fromarray(RANDOM.integers(0, 256, (HEIGHT, WIDTH), np.uint8))
PLAIN = Decoding(None, "stretch", None, draft=False, max_pixels=10**6)
LOSSLESS = ("PNG", "BMP", "TIFF")


def encode(image: PIL.Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decode(data: bytes, **options: Any) -> np.ndarray:
    image = decode_image(data, PLAIN._replace(**options))
    assert (image.dtype, image.ndim) == (np.uint8, 3)
    if not options:
        assert read_shape(data, PLAIN.max_pixels) == image.shape, "the header promises the shape"
    return image


def with_pillow(data: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_each_format_has_pillow_s_pixels(format: str) -> None:
    data = encode(COLORS, format)
    np.testing.assert_array_equal(decode(data), with_pillow(data))
    if format in LOSSLESS:
        np.testing.assert_array_equal(decode(data), np.asarray(COLORS))
        np.testing.assert_array_equal(decode(encode(GREYS, format))[..., 0], np.asarray(GREYS))


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:0"}])
def test_each_kind_of_jpeg_has_pillow_s_pixels(options: dict[str, Any]) -> None:
    data = encode(COLORS, "JPEG", **options)
    np.testing.assert_array_equal(decode(data), with_pillow(data))
    assert decode(encode(GREYS, "JPEG")).shape == (HEIGHT, WIDTH, 1)


def test_simplejpeg_gives_the_same_pixels_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    assert image_files._find_jpeg_decoder() is not None
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    options: list[dict[str, Any]] = [{}, {"progressive": True}, {"subsampling": "4:4:4"}, {"exif": exif}]
    files = [encode(image, "JPEG", **each) for each in options for image in (COLORS, GREYS)]
    files += [encode(COLORS.convert("CMYK"), "JPEG"), files[0][:-2], files[0][:-60], files[0][:300]]
    decodings = [PLAIN, PLAIN._replace(size=(5, 5), resize="crop", channels=1)]
    decodings += [PLAIN._replace(size=(5, 5), crop_area=(0.1, 0.5))]
    numbers = np.random.default_rng(0).random(CROP_DRAWS)

    def decode_all() -> list[object]:
        found: list[object] = []
        for data in files:
            for decoding in decodings:
                try:
                    found.append(decode_image(data, decoding, numbers).tolist())
                except ImageError as error:
                    found.append(str(error))
        return found

    with_simplejpeg = decode_all()
    monkeypatch.setattr(image_files, "_find_jpeg_decoder", lambda: None)
    assert decode_all() == with_simplejpeg


def on_white(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.round(colors * (alpha / 255.0) + 255 * (1 - alpha / 255.0))


def test_transparent_pixels_are_seen_on_white() -> None:
    alpha = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 1), np.uint8)
    image = PIL.Image.fromarray(np.concatenate([np.asarray(COLORS), alpha], axis=-1))
    np.testing.assert_allclose(decode(encode(image, "PNG")), on_white(np.asarray(COLORS), alpha), atol=1)
    grey = PIL.Image.fromarray(np.concatenate([np.asarray(GREYS)[..., None], alpha], axis=-1))
    np.testing.assert_allclose(decode(encode(grey, "PNG")), on_white(np.asarray(GREYS)[..., None], alpha), atol=1)


def test_a_palette_becomes_colors_and_its_transparent_color_white() -> None:
    palette = COLORS.quantize(8)
    seen = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(decode(encode(palette, "PNG")), seen)
    numbers = np.asarray(palette)
    expected = np.where((numbers == numbers[0, 0])[..., None], 255, seen)
    for format in ("PNG", "GIF"):
        data = encode(palette, format, transparency=int(numbers[0, 0]))
        np.testing.assert_array_equal(decode(data), expected)
    grey = encode(GREYS, "PNG", transparency=int(np.asarray(GREYS)[0, 0]))
    assert decode(grey)[0, 0] == 255


def test_16_bits_are_divided_by_257() -> None:
    numbers = RANDOM.integers(0, 2**16, (HEIGHT, WIDTH), np.uint16)
    for format in ("PNG", "TIFF"):
        found = decode(encode(PIL.Image.fromarray(numbers), format))
        np.testing.assert_array_equal(found[..., 0], np.floor(numbers / 257 + 0.5))


def tiff(numbers: np.ndarray, bits: int, *, min_is_white: bool) -> bytes:
    """A grey TIFF file of numbers of 12 or 16 bits, (H, W), with an even W."""
    height, width = numbers.shape
    first, second = numbers[:, ::2].astype(int), numbers[:, 1::2].astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8)
    strip = (packed if bits == 12 else numbers.astype("<u2")).tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: int(not min_is_white), 277: 1, 278: height}
    tags |= {273: 8 + 2 + 12 * 9 + 4, 279: len(strip)}
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, tags[tag]) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + strip


def with_tag(tag: int, value: int) -> bytes:
    """A grey TIFF file with another value of a tag."""
    content = tiff(np.zeros((2, 2), int), 16, min_is_white=False)
    start = next(start for start in range(10, 118, 12) if struct.unpack_from("<H", content, start) == (tag,))
    return content[: start + 8] + struct.pack("<I", value) + content[start + 12 :]


@pytest.mark.parametrize(("bits", "min_is_white"), [(12, False), (16, False), (16, True)])
def test_grey_of_a_scientific_camera_is_scaled_from_black_to_white(bits: int, min_is_white: bool) -> None:
    white = 2**bits - 1
    numbers = RANDOM.integers(0, white, (HEIGHT, WIDTH), endpoint=True)
    numbers[0, :2] = 0, white
    found = decode(tiff(numbers, bits, min_is_white=min_is_white))[..., 0]
    shares = numbers / white
    np.testing.assert_array_equal(found, np.floor((1 - shares if min_is_white else shares) * 255 + 0.5))


def png(depth: int, kind: int, rows: np.ndarray, color: bytes) -> bytes:
    """A PNG file of packed rows, (H, bytes), with a transparent color."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    width = rows.shape[1] * 8 // (depth * (3 if kind == 2 else 1))
    header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = (b"IHDR", header), (b"tRNS", color), (b"IDAT", pixels), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_any_depth_is_white(depth: int) -> None:
    levels = np.arange(16) % 2**depth
    bits = levels[:, None] >> np.arange(depth)[::-1] & 1
    rows = np.packbits(bits.astype(np.uint8))[None]
    seen = np.where(levels == 1, 255, np.round(levels / (2**depth - 1) * 255))
    np.testing.assert_array_equal(decode(png(depth, 0, rows, b"\0\1"))[0, :, 0], seen)


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_color_of_any_depth_is_white(depth: int) -> None:
    colors = RANDOM.integers(0, 200, (5, 3)) << depth - 8
    seen = np.where(np.arange(5)[:, None] == 1, 255, colors >> depth - 8)
    found = decode(
        png(depth, 2, colors.astype(f">u{depth // 8}").reshape(1, -1).view(np.uint8), colors[1].astype(">u2").tobytes())
    )
    np.testing.assert_array_equal(found[0], seen)


INKS = COLORS.convert("CMYK")
QUARTER_TURN = PIL.Image.Exif()
QUARTER_TURN[0x0112] = 6
FILES = {
    "bits": encode(GREYS.convert("1"), "PNG"),
    "grey": encode(GREYS, "PNG"),
    "grey with alpha": encode(GREYS.convert("LA"), "PNG"),
    "16 bits": encode(PIL.Image.fromarray(RANDOM.integers(0, 2**16, (HEIGHT, WIDTH), np.uint16)), "PNG"),
    "12 bits": tiff(RANDOM.integers(0, 2**12, (HEIGHT, WIDTH)), 12, min_is_white=False),
    "min is white": tiff(RANDOM.integers(0, 2**16, (HEIGHT, WIDTH)), 16, min_is_white=True),
    "transparent 4 bits": png(4, 0, RANDOM.integers(0, 256, (2, 8), np.uint8), b"\0\1"),
    "transparent 16 bits": png(16, 2, np.zeros((1, 12), np.uint8), b"\0\1" * 3),
    "palette": encode(COLORS.quantize(8), "PNG"),
    "transparent palette": encode(COLORS.quantize(8), "GIF", transparency=2),
    "alpha": encode(COLORS.convert("RGBA").rotate(30), "PNG"),
    "inks": encode(INKS, "TIFF"),
    "JPEG inks": encode(INKS, "JPEG"),
    **{f"turned {format}": encode(COLORS, format, exif=QUARTER_TURN) for format in ("JPEG", "PNG", "WEBP", "TIFF")},
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_an_opened_image_has_the_pixels_of_its_file(data: bytes) -> None:
    image = PIL.Image.open(io.BytesIO(data))
    for _ in range(2):  # the second time, its pixels are loaded
        np.testing.assert_array_equal(decode(image_files.encode_png(image)), decode(data))


def test_an_image_of_pillow_without_known_pixels_is_an_error() -> None:
    with pytest.raises(ImageError, match="has pixels of floats"):
        image_files.encode_png(PIL.Image.new("F", (3, 3)))
    closed = PIL.Image.open(io.BytesIO(encode(COLORS, "PNG")))
    closed.close()
    with pytest.raises(ImageError, match="is damaged"):
        image_files.encode_png(closed)


def test_black_and_white_and_print_colors() -> None:
    bits = GREYS.convert("1")
    np.testing.assert_array_equal(decode(encode(bits, "PNG"))[..., 0], np.asarray(bits) * 255)
    inks = COLORS.convert("CMYK")
    for format in ("JPEG", "TIFF"):
        data = encode(inks, format)
        np.testing.assert_array_equal(decode(data), with_pillow(data))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_is_turned_as_its_camera_was_held(orientation: int, format: str) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encode(COLORS, format, exif=exif)
    upright = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(data), np.asarray(upright.convert("RGB")))
    if format == "PNG":  # the orientation may follow the pixels
        chunks = data[8:]
        start = data.index(b"eXIf") - 4
        length = 12 + struct.unpack_from(">I", data, start)[0]
        moved = data[:start] + data[start + length : -12] + data[start : start + length] + chunks[-12:]
        np.testing.assert_array_equal(decode(moved), decode(data))


def test_of_an_animation_the_first_frame_is_seen() -> None:
    frames = [COLORS.rotate(180), COLORS]
    for format in ("GIF", "WEBP", "TIFF", "PNG"):
        moving = encode(COLORS, format, save_all=True, append_images=frames, duration=10, loop=0)
        first = np.asarray(PIL.Image.open(io.BytesIO(moving)).convert("RGB"))
        np.testing.assert_array_equal(decode(moving), first)


@pytest.mark.parametrize("image", [COLORS, GREYS], ids=["colors", "greys"])
@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("resize", ["stretch", "fit", "crop"])
def test_files_and_arrays_are_resized_and_converted_alike(image: Any, channels: int | None, resize: str) -> None:
    options = {"size": (8, 6), "resize": resize, "channels": channels}
    found = decode(encode(image, "PNG"), **options)
    assert found.shape == (8, 6, channels or len(image.getbands()))
    array = np.asarray(image).reshape(HEIGHT, WIDTH, -1)
    np.testing.assert_array_equal(convert_array(array, PLAIN._replace(**options)), found)


def test_fit_keeps_the_whole_image_and_crop_its_middle() -> None:
    columns = np.repeat(np.arange(WIDTH, dtype=np.uint8)[None] * 10 + 50, HEIGHT, axis=0)
    data = encode(PIL.Image.fromarray(columns), "PNG")
    fitted = decode(data, size=(WIDTH, WIDTH), resize="fit")[..., 0]
    np.testing.assert_array_equal(fitted[4:-4], columns)
    assert not fitted[[0, 3, -4, -1]].any(), "borders are black"
    np.testing.assert_array_equal(decode(data, size=(HEIGHT, HEIGHT), resize="crop")[..., 0], columns[:, 4:-4])


def test_a_draft_is_decoded_smaller_but_not_below_the_size() -> None:
    large = PIL.Image.effect_mandelbrot((400, 640), (-2, -1, 1, 1), 50).convert("RGB")
    for orientation in (1, 6):
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        data = encode(large, "JPEG", exif=exif)
        exact, draft = (decode(data, size=(64, 40), draft=draft).astype(float) for draft in (False, True))
        assert 0 < np.abs(exact - draft).mean() < 8


def test_random_crops_are_rectangles_of_the_image_with_the_stated_area_and_ratio() -> None:
    numbers = np.random.default_rng(0).random((500, CROP_DRAWS))
    for height, width in ((100, 100), (60, 200), (300, 50), (1, 1), (3, 2)):
        shares = []
        for random_numbers in numbers:
            crop = choose_crop(height, width, (0.25, 0.5), random_numbers)
            rows, columns = crop.height * height, crop.width * width
            for pixels in (rows, columns, crop.top * height, crop.left * width):
                assert pixels == pytest.approx(round(pixels))
            assert 0 <= crop.top <= 1 - crop.height + 1e-9
            assert 0 <= crop.left <= 1 - crop.width + 1e-9
            shares.append(crop.height * crop.width)
            if min(height, width) >= 50:
                assert 0.7 < columns / rows < 1.4
        if (height, width) == (100, 100):
            assert 0.24 < min(shares) < 0.27 < 0.48 < max(shares) < 0.51
            corners = [choose_crop(100, 100, (0.25, 0.5), one)[:2] for one in numbers]
            assert min(map(min, corners)) == 0.0


def test_a_crop_is_resized_as_a_cropped_image_is() -> None:
    decoding = PLAIN._replace(size=(6, 5), crop_area=(0.3, 0.6))
    random_numbers = np.random.default_rng(1).random(CROP_DRAWS)
    crop = choose_crop(HEIGHT, WIDTH, (0.3, 0.6), random_numbers)
    left, top = round(crop.left * WIDTH), round(crop.top * HEIGHT)
    box = (left, top, left + round(crop.width * WIDTH), top + round(crop.height * HEIGHT))
    expected = COLORS.crop(box).resize((5, 6), PIL.Image.Resampling.BILINEAR)
    found = decode_image(encode(COLORS, "PNG"), decoding, random_numbers)
    np.testing.assert_array_equal(found, np.asarray(expected))
    assert (decode_image(encode(COLORS, "PNG"), decoding) != found).any(), "evaluation sees the whole image"


HUGE = struct.pack(">II", 60_000, 60_000)


def large_png() -> bytes:
    """The header of an image of 3.6 billion pixels."""
    header = b"IHDR" + HUGE + bytes([8, 2, 0, 0, 0])
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return encode(COLORS, "PNG")[:8] + chunk + encode(COLORS, "PNG")[33:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"# not an image", r"is no JPEG, PNG, BMP, GIF, WebP or TIFF file; it starts with b'# not an'"),
        (encode(COLORS, "PNG")[:-30], "is truncated"),
        (encode(COLORS, "PNG")[:20], "is damaged"),
        (encode(COLORS, "JPEG")[:-2], "is damaged"),
        (encode(COLORS, "JPEG")[:-40], "is damaged"),
        (encode(COLORS, "BMP")[:-40], "is damaged"),
        (encode(COLORS, "WEBP")[:-20], "is damaged"),
        (encode(COLORS, "TIFF")[:-60], "is damaged"),
        (large_png(), r"has 60,000 x 60,000 pixels; at most 1,000,000 are allowed by `max_megapixels` \(=1\)"),
        (encode(PIL.Image.new("F", (3, 3)), "TIFF"), "has pixels of floats"),
        (
            with_tag(258, 64),
            r"is a TIFF file that isn't supported: 1 x 64-bit unsigned integers per pixel, .*1$",
        ),
        (with_tag(259, 34712), r"is a TIFF file that isn't supported: 1 x 16-bit .*, compression 34712$"),
        (with_tag(256, 0), "is damaged|has no pixels"),
        (encode(PIL.Image.new("I", (3, 3)), "TIFF"), "has pixels of 32-bit integers"),
    ],
)
def test_what_is_no_sound_image_is_an_error(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode(data, size=(4, 4))


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 2)])
def test_any_sides_are_allowed(size: tuple[int, int]) -> None:
    image = PIL.Image.new("RGB", size, (1, 2, 3))
    assert (decode(encode(image, "PNG"), size=(5, 7)) == [1, 2, 3]).all()
    assert decode(encode(image, "PNG"), size=(5, 7), resize="fit").shape == (5, 7, 3)
    assert (decode(encode(image, "PNG"), size=(5, 7), resize="crop") == [1, 2, 3]).all()
