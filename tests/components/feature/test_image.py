"""Images: kept as bytes on the host, scaled or standardized on the device."""

import tracemalloc
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from components.feature import Image, ImageTarget
from components.image_files import decode_image, encode_png
from components.types import Block, Constants, DataError, Strings, UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 2), np.uint8)


def fit(column: Image, block: Block) -> Constants:
    """The constants of a column, fitted to a block."""
    results = {name: one.result(one.summarize(block)) for name, one in column.statistics().items()}
    return column.fit(results, {})


def device(column: Image, images: np.ndarray) -> np.ndarray:
    """What the model gets, learned from the same images."""
    block = Block({"image": images})
    constants = fit(column, block)
    encoded = column.encode(block, {}, constants)
    assert encoded["values"] is images
    array = jax.jit(column.layer(constants.static))(encoded, constants.device)
    assert (array.dtype, array.shape) == (np.float32, images.shape)
    return np.asarray(array)


def test_unit_divides_by_255() -> None:
    array = device(Image(key="image"), IMAGES)
    np.testing.assert_allclose(array, IMAGES / 255, rtol=1e-6)


def test_nothing_keeps_0_to_255() -> None:
    np.testing.assert_array_equal(device(Image(key="image", normalize=None), IMAGES), IMAGES)


def test_standardize_gives_each_channel_mean_0_and_deviation_1() -> None:
    array = device(Image(key="image", normalize="standardize"), IMAGES)
    np.testing.assert_allclose(array.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(array.std(axis=(0, 1, 2)), 1, rtol=1e-6)


def test_moments_of_blocks_are_exact_and_take_the_memory_of_one_image() -> None:
    column = Image(key="image", normalize="standardize")
    images = np.random.default_rng(0).integers(0, 256, (30, 100, 100, 3), np.uint8)
    files = Strings.from_bytes([encode_png(image) for image in images])
    moments = column.statistics()["channels"]
    moments.summarize(Block({"image": Strings.from_bytes([encode_png(images[0])])}))  # imports modules
    tracemalloc.start()
    whole = moments.summarize(Block({"image": files}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes
    parts = [moments.summarize(Block({"image": part})) for part in (images[:7], images[7:])]
    found = moments.result(whole)
    np.testing.assert_array_equal(found, moments.result(moments.merge(*parts)))
    np.testing.assert_allclose(found, [images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))], rtol=1e-12)
    with pytest.raises(DataError, match="column `image` has grey images and others; set `channels=3` or `channels=1`"):
        moments.summarize(Block({"image": Strings.from_bytes([encode_png(images[0]), encode_png(images[0, ..., :1])])}))


def test_a_constant_channel_becomes_0() -> None:
    images = IMAGES.copy()
    images[..., 1] = 7
    array = device(Image(key="image", normalize="standardize"), images)
    assert (array[..., 1] == 0).all()


COLORS = np.random.default_rng(1).integers(0, 256, (6, 4, 5, 3), np.uint8)
GREY = COLORS[..., :1]
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in parts of 255


def test_fixed_means_and_deviations_are_in_the_unit_of_what_is_normalized() -> None:
    array = device(Image(key="image", mean=MEAN, std=DEVIATION), COLORS)
    np.testing.assert_allclose(array, (COLORS / 255 - MEAN) / DEVIATION, rtol=1e-4, atol=1e-6)
    array = device(Image(key="image", mean=0.5, std=0.5), IMAGES)
    np.testing.assert_allclose(array, IMAGES / 127.5 - 1, rtol=1e-4, atol=1e-6)


def test_bgr_turns_the_channels_round_before_the_mean_is_subtracted() -> None:
    caffe = (103.939, 116.779, 123.68)
    array = device(Image(key="image", normalize=None, mean=caffe, order="bgr"), COLORS)
    np.testing.assert_allclose(array, COLORS[..., ::-1] - np.array(caffe), rtol=1e-5)


def test_numbers_for_rgb_become_their_average_for_grey_images_and_repeat_for_more_channels() -> None:
    column = Image(key="image", mean=MEAN, std=DEVIATION, order="bgr")
    np.testing.assert_allclose(device(column, GREY), (GREY / 255 - 0.449) / 0.226, rtol=1e-4, atol=1e-6)
    five = np.random.default_rng(2).integers(0, 256, (3, 4, 5, 5), np.uint8)
    mean, std = ((*numbers, *numbers[:2]) for numbers in (MEAN, DEVIATION))
    array = device(Image(key="image", mean=MEAN, std=DEVIATION), five)
    np.testing.assert_allclose(array, (five / 255 - mean) / std, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalize": None},
        {"normalize": "standardize"},
        {"normalize": "standardize", "order": "bgr"},
        {"mean": MEAN, "std": DEVIATION, "order": "bgr"},
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_predicted_images_become_files_of_the_pixels_that_they_predict(options: dict[str, Any], channels: int) -> None:
    if channels == 1:
        options = {key: value for key, value in options.items() if key == "normalize"}
    column, images = ImageTarget(key="image", **options), COLORS[..., :channels]
    block = Block({"image": images})
    constants = fit(column, block)
    scaled = np.asarray(column.layer(constants.static)(column.encode(block, {}, constants), constants.device))
    if options.get("normalize") == "standardize":
        np.testing.assert_allclose(scaled.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    read = partial(decode_image, decoding=column.decoding)
    np.testing.assert_array_equal([*map(read, column.image_files(scaled, constants))], images)
    extremes = [*map(read, column.image_files(np.stack([scaled[0] + 1e9, scaled[0] - 1e9]), constants))]
    np.testing.assert_array_equal(extremes, [np.full_like(images[0], 255), np.zeros_like(images[0])])


def test_predicted_images_that_no_file_holds_are_an_error() -> None:
    column = ImageTarget(key="image")
    constants = fit(column, Block({"image": IMAGES}))
    with pytest.raises(UserError, match="has images of 2 channels; a PNG file has 1 or 3"):
        column.image_files(IMAGES / 255, constants)
    with pytest.raises(UserError, match="the network predicts NaN, which is no pixel"):
        column.image_files(np.full((1, 2, 2, 1), np.nan), constants)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": MEAN}, "`mean` has 3 numbers, but the images have 2 channels"),
        ({"std": DEVIATION}, "`std` has 3 numbers, but the images have 2 channels"),
        ({"order": "bgr"}, r"`order` \(=bgr\) needs images with 1 or 3 channels, got 2"),
        ({"normalize": "standardize", "mean": 0.5}, "`mean` and `std` can't be set if `normalize` is standardize"),
    ],
)
def test_fields_for_other_channels_raise_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        device(Image(key="image", **options), IMAGES)


def test_grey_images_need_no_axis_of_channels() -> None:
    column = Image(key="image", size=(3, 9))
    with_axis, without = (Block({"image": images}) for images in (IMAGES[..., :1], IMAGES[..., 0]))
    found = [column.encode(block, {}, fit(column, block))["values"] for block in (with_axis, without)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("images", [IMAGES / 255, IMAGES[:, 0, :, 0], IMAGES.astype(np.int32)])
def test_what_is_no_image_of_bytes_raises_an_error(images: Any) -> None:
    message = r"column `image` of data has .*; images must be arrays of uint8, 0 to 255, of shape \(height"
    column, block = Image(key="image"), Block({"image": images})
    with pytest.raises(DataError, match=message):
        fit(column, block)
    with pytest.raises(DataError, match=message):
        column.encode(block, {}, fit(column, Block({"image": IMAGES})))


def resized(images: np.ndarray, *size: int) -> np.ndarray:
    column, block = Image(key="image", size=size), Block({"image": images})
    return np.asarray(column.encode(block, {}, fit(column, block))["values"])


@pytest.mark.parametrize("size", [(3, 9), (4, 5)])
def test_images_are_resized_by_the_triangle_filter(size: tuple[int, int]) -> None:
    images = np.concatenate([IMAGES, 255 - IMAGES], axis=3)
    found = resized(images, *size)
    expected = jax.image.resize(images.astype(np.float32), (6, *size, 4), "linear", antialias=True)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, expected, atol=1.01)  # each pass is rounded
    np.testing.assert_array_equal(resized(images[:2, ..., :3], *size), found[:2, ..., :3])


def test_resized_images_are_what_is_standardized() -> None:
    column, block = Image(key="image", size=(2, 2), normalize="standardize"), Block({"image": IMAGES})
    assert {*column.statistics().values()} == {*column.statistics().values()}, "equal statistics are computed once"
    constants = fit(column, block)
    array = np.asarray(column.layer({})(column.encode(block, {}, constants), constants.device))
    np.testing.assert_allclose(array.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(array.std(axis=(0, 1, 2)), 1, rtol=1e-6)
