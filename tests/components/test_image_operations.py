"""Operations on images equal those of Pillow, SciPy and the standard library, and are drawn as the parameters say."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from options import built
from PIL import Image, ImageEnhance, ImageOps
from slow import slow_but

from components.augmentation import (
    Affine,
    AugMix,
    Blur,
    ColorJitter,
    Elastic,
    Erase,
    Grayscale,
    Perspective,
    Posterize,
    RandAugment,
    Solarize,
    TrivialAugment,
)
from components.augmentation.geometric import apply_matrix, make_matrix, pixel_places, warp
from components.augmentation.pixels import (
    auto_contrast,
    blend,
    blur,
    change_contrast,
    change_hue,
    change_saturation,
    change_sharpness,
    equalize,
    posterize,
    solarize,
    to_grey,
)
from components.augmentation.policies import OPERATIONS, Draws, change_colors, move_images
from components.types import Augmentation, Batch, PixelRange, UserError

LUMA = jnp.array([0.299, 0.587, 0.114])
BYTES = np.random.default_rng(0).integers(0, 256, (3, 20, 24, 3)).astype(np.uint8)
BYTES[1] //= 3  # dark
BYTES[2] = BYTES[2] // 64 * 64  # few levels
IMAGES = jnp.asarray(BYTES, jnp.float32) / 255
OF_SOME_IMAGES = ("grayscale", "invert", "solarize", "posterize", "auto_contrast", "equalize", "sharpness", "blur")
CHANGING_COLORS = (*OF_SOME_IMAGES, "color_jitter", "rand_augment", "trivial_augment", "aug_mix")
UNIT = PixelRange(jnp.zeros(3), jnp.ones(3), LUMA)


def batch_of(images: jax.Array, pixels: PixelRange = UNIT, **fields: Any) -> Batch:
    targets = {"target": jnp.arange(len(images))}
    batch = Batch({"image": images}, targets, {}, None, jnp.ones(len(images), bool), pixels={"image": pixels})
    return batch._replace(**fields)


@partial(jax.jit, static_argnums=0)
def apply(augmentation: Augmentation, batch: Batch) -> Batch:
    return augmentation(jax.random.key(0), batch)


def augment(augmentation: Augmentation, images: jax.Array, **fields: Any) -> np.ndarray:
    return np.asarray(apply(augmentation, batch_of(images, **fields)).inputs["image"])


def with_pillow(change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(image)).convert("RGB")) for image in BYTES])


@pytest.mark.parametrize(
    ("ours", "pillow"),
    [
        (lambda images: blend(images, 0.0, 0.3), lambda image: ImageEnhance.Brightness(image).enhance(0.3)),
        (lambda images: blend(images, 0.0, 1.8), lambda image: ImageEnhance.Brightness(image).enhance(1.8)),
        (lambda images: change_contrast(images, LUMA, 0.4), lambda image: ImageEnhance.Contrast(image).enhance(0.4)),
        (lambda images: change_contrast(images, LUMA, 1.7), lambda image: ImageEnhance.Contrast(image).enhance(1.7)),
        (lambda images: change_saturation(images, LUMA, 0.2), lambda image: ImageEnhance.Color(image).enhance(0.2)),
        (lambda images: change_saturation(images, LUMA, 1.9), lambda image: ImageEnhance.Color(image).enhance(1.9)),
        (lambda images: change_sharpness(images, 0.1), lambda image: ImageEnhance.Sharpness(image).enhance(0.1)),
        (lambda images: change_sharpness(images, 1.9), lambda image: ImageEnhance.Sharpness(image).enhance(1.9)),
        (lambda images: to_grey(images, LUMA), ImageOps.grayscale),
        (lambda images: solarize(images, 100 / 255), lambda image: ImageOps.solarize(image, 100)),
        (auto_contrast, ImageOps.autocontrast),
    ],
)
def test_operations_are_those_of_pillow(ours: Any, pillow: Any) -> None:
    """Pillow rounds to bytes, the mean and grey values, too."""
    found = np.broadcast_to(255 * np.asarray(ours(IMAGES)), BYTES.shape)
    np.testing.assert_allclose(found, with_pillow(pillow), atol=2.01)


@pytest.mark.parametrize(
    ("ours", "pillow"),
    [
        (equalize, ImageOps.equalize),
        *(
            (lambda images, b=bits: posterize(images, b), lambda image, b=bits: ImageOps.posterize(image, b))
            for bits in range(1, 9)
        ),
    ],
)
def test_operations_on_levels_equal_those_of_pillow(ours: Any, pillow: Any) -> None:
    np.testing.assert_allclose(255 * np.asarray(ours(IMAGES)), with_pillow(pillow), atol=1e-3)


def test_an_image_of_one_color_stays() -> None:
    plain = jnp.full((1, 4, 4, 3), 7 / 255)
    for operation in (equalize, auto_contrast):
        np.testing.assert_allclose(operation(plain), plain, atol=1e-6)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.0, 0.1, 0.45])
def test_the_hue_turns_on_the_circle_of_colors(turn: float, order: int) -> None:
    luma, images = LUMA[::order], IMAGES[..., ::order]
    found = change_hue(images, luma, jnp.full((len(images), 1, 1), turn))[..., ::order]

    def expected(pixel: np.ndarray) -> tuple[float, ...]:
        hue, saturation, value = colorsys.rgb_to_hsv(*map(float, pixel))
        return colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)

    flat = [expected(pixel) for pixel in np.asarray(IMAGES).reshape(-1, 3)]
    np.testing.assert_allclose(found, np.reshape(flat, IMAGES.shape), atol=1e-5)


def test_a_blur_is_that_of_a_gaussian() -> None:
    from scipy.ndimage import gaussian_filter

    sigma = jnp.array([0.5, 1.0, 1.5])
    found = blur(IMAGES, sigma, 3)
    for image, each, original in zip(found, sigma, np.asarray(IMAGES, np.float64), strict=True):
        expected = gaussian_filter(original, (float(each), float(each), 0), mode="nearest", radius=(3, 3, 0))
        np.testing.assert_allclose(image, expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_a_warp_is_an_affine_map(mode: Any) -> None:
    from scipy.ndimage import affine_transform

    names = {"constant": "grid-constant", "edge": "nearest", "reflect": "mirror"}
    matrix = make_matrix(jnp.array([0.3, -1.0, 2.0]), jnp.array([0.2, 0, 0.1]), jnp.array([0, 0.4, -0.1])) / 1.2
    shift = jnp.array([[0.1, 0], [0, -0.2], [0.05, 0.3]])
    found = warp(IMAGES, apply_matrix(matrix, shift, 20, 24), mode, 0.25)
    center = np.array([9.5, 11.5])
    for number, image in enumerate(np.asarray(IMAGES, np.float64)):
        turn = np.asarray(matrix[number], np.float64)
        offset = center - turn @ center + np.asarray(shift[number]) * [20, 24]
        for channel in range(3):
            expected = affine_transform(image[..., channel], turn, offset, order=1, mode=names[mode], cval=0.25)
            np.testing.assert_allclose(found[number, ..., channel], expected, atol=1e-4)


def test_an_image_turns_about_its_center_by_the_angle() -> None:
    square = IMAGES[:1, :9, :9]
    quarter = make_matrix(jnp.array([math.pi / 2]), jnp.zeros(1), jnp.zeros(1))
    turned = warp(square, apply_matrix(quarter, jnp.zeros((1, 2)), 9, 9), "constant", 0)
    assert any(np.allclose(turned[0], np.rot90(square[0], times), atol=1e-5) for times in (1, 3))


def test_the_parameters_of_an_affine_map_are_largest_values() -> None:
    key, none = jax.random.key(0), {"rotation": 0.0, "translation": 0.0, "zoom": 0.0, "shear": 0.0}
    rest = np.asarray(pixel_places(5, 9))

    def sources(**changed: float) -> np.ndarray:
        return np.asarray(Affine(**{**none, **changed}).sources(key, 500, 5, 9))

    np.testing.assert_allclose(sources(), np.broadcast_to(rest, (500, 2, 5, 9)), atol=1e-5)
    moves = (sources(translation=0.2) - rest)[:, :, 0, 0]
    assert np.allclose(np.abs(moves).max(0), [0.2 * 5, 0.2 * 9], rtol=0.02)
    angles = sources(rotation=30.0)[:, :, 2, 8] / 4  # of the pixel to the right of the center
    np.testing.assert_allclose(np.hypot(*angles.T), 1, atol=1e-5)
    assert np.rad2deg(np.abs(np.arcsin(angles[:, 0])).max()) == pytest.approx(30, rel=0.02)
    scales = 4 / sources(zoom=0.5)[:, 1, 2, 8]
    assert (scales.min(), scales.max()) == (pytest.approx(0.5, rel=0.02), pytest.approx(1.5, rel=0.02))
    slants = sources(shear=45.0)[:, :, 2, 8] / 4
    np.testing.assert_allclose(slants[:, 1], 1, atol=1e-5)
    assert np.abs(slants[:, 0]).max() == pytest.approx(1, rel=0.02)


def test_the_corners_of_a_perspective_come_from_inside() -> None:
    sources = np.asarray(Perspective(distortion=0.5).sources(jax.random.key(0), 200, 5, 9))
    corners = np.abs(sources[:, :, [0, 0, -1, -1], [0, -1, 0, -1]])
    assert (corners[:, 0] <= 2 + 1e-4).all()
    assert (corners[:, 1] <= 4 + 1e-4).all()
    assert (corners[:, 0].min(), corners[:, 1].min()) == (pytest.approx(1, abs=0.1), pytest.approx(2, abs=0.2))
    line = sources[:, :, 1]  # straight lines stay straight
    direction, middle = line[:, :, -1] - line[:, :, 0], line[:, :, 3] - line[:, :, 0]
    np.testing.assert_allclose(direction[:, 0] * middle[:, 1] - direction[:, 1] * middle[:, 0], 0, atol=1e-3)
    np.testing.assert_allclose(
        Perspective(distortion=0.0).sources(jax.random.key(0), 1, 5, 9)[0], pixel_places(5, 9), atol=1e-5
    )


def test_an_elastic_distortion_has_the_standard_deviation() -> None:
    def draw(grid: int) -> np.ndarray:
        sources = Elastic(std=0.1, grid=grid).sources(jax.random.key(0), 500, 8, 16)
        return np.asarray(sources) - np.asarray(pixel_places(8, 16))

    assert 0.4 < draw(16)[:, 0].std() < 1 < draw(16)[:, 1].std() < 2
    assert draw(2).mean((0, 2, 3)) == pytest.approx([0, 0], abs=0.1)
    assert np.abs(np.diff(draw(2), axis=-1)).max() < 2 < np.abs(np.diff(draw(16), axis=-1)).max(), "smooth"


@pytest.mark.slow
def test_classes_of_pixels_move_with_the_image_or_do_not_count() -> None:
    classes = jnp.round(IMAGES[..., 0] * 255).astype(jnp.int32)
    batch = batch_of(jnp.ones_like(IMAGES), targets={"mask": classes})
    for augmentation in (Affine(translation=0.3, rotation=90.0), RandAugment(count=3)):
        moved = apply(augmentation, batch)
        assert set(np.unique(moved.targets["mask"])) <= {0, *np.unique(classes)}
        assert (moved.targets["mask"] != classes).any()
    moved = apply(Affine(translation=0.5), batch)
    outside = np.asarray(moved.inputs["image"][..., 0] == 0)
    assert outside.any()
    assert not np.asarray(moved.mask_of("mask"))[outside].any()
    assert np.asarray(moved.mask_of("mask"))[np.asarray(moved.inputs["image"][..., 0] == 1)].all()


def test_a_real_valued_target_moves_with_its_input() -> None:
    batch = batch_of(IMAGES, targets={"clean": 2 * IMAGES})
    with pytest.raises(UserError, match="affine needs a `target_fill` for the padding of the target `clean`"):
        Affine()(jax.random.key(0), batch)
    for augmentation in (
        Affine(mode="edge"),
        Affine(target_fill=0.0),
        Perspective(),
        Elastic(mode="edge"),
    ):
        moved = apply(augmentation, batch)
        np.testing.assert_allclose(moved.targets["clean"], 2 * moved.inputs["image"], atol=1e-5)
        assert (moved.inputs["image"] != IMAGES).any()
    with pytest.raises(UserError, match="aug_mix mixes moved copies of an image, which the target of images `clean`"):
        AugMix()(jax.random.key(0), batch)


@pytest.mark.parametrize("name", slow_but((*OF_SOME_IMAGES, "color_jitter"), CHANGING_COLORS))
def test_colors_change_alike_in_any_unit_of_the_input(name: str) -> None:
    """Standardized images, in RGB and BGR, change as those from 0 to 1 do; pixels that stay, stay as they are."""
    augmentation = built("augmentation", name)
    images = jnp.concatenate([IMAGES] * 8)
    mean, std = np.array([0.4, 0.5, 0.6], np.float32), np.array([0.2, 0.3, 0.25], np.float32)
    expected = augment(augmentation, images)
    scaled, pixels = jnp.asarray((np.asarray(images) - mean) / std), PixelRange(-mean / std, (1 - mean) / std, LUMA)
    standardized = augment(augmentation, scaled, pixels=pixels)
    np.testing.assert_allclose(standardized * std + mean, expected, atol=0.01)  # half a level
    reverse = augment(augmentation, images[..., ::-1], pixels=UNIT._replace(luma=LUMA[::-1]))
    np.testing.assert_allclose(reverse[..., ::-1], expected, atol=1e-4)
    if name in OF_SOME_IMAGES:
        kept = (expected == np.asarray(images)).all((1, 2, 3))
        assert 0 < kept.sum() < len(images)


def test_black_and_white_of_an_input_must_be_known() -> None:
    batch = batch_of(IMAGES)._replace(pixels={})
    with pytest.raises(
        UserError, match="grayscale needs to know the numbers of black and white pixels of the input im"
    ):
        Grayscale()(jax.random.key(0), batch)


def test_each_image_is_changed_with_the_probability() -> None:
    many = jnp.broadcast_to(IMAGES[:1], (2000, *IMAGES.shape[1:]))
    for augmentation in (Grayscale(probability=0.25), Solarize(probability=0.25), Erase(probability=0.25)):
        changed = (augment(augmentation, many) != np.asarray(many)).any((1, 2, 3))
        assert 0.21 < changed.mean() < 0.29


def test_factors_of_colors_are_drawn_from_both_sides() -> None:
    grey = jnp.full((1000, 2, 2, 3), 0.4)
    none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    factors = augment(ColorJitter(**{**none, "brightness": 0.5}), grey)[:, 0, 0, 0] / 0.4
    assert (factors.min(), factors.max()) == (pytest.approx(0.5, abs=0.01), pytest.approx(1.5, abs=0.01))
    np.testing.assert_allclose(augment(ColorJitter(**none), IMAGES), IMAGES, atol=1e-6)


@pytest.mark.slow
def test_an_erased_rectangle_has_the_area_and_the_ratio() -> None:
    images = jnp.ones((500, 40, 30, 3))
    erased = augment(Erase(probability=1.0, area=(0.1, 0.2), ratio=2.0, content="constant", fill=-1.0), images) == -1
    assert (erased.all(-1) == erased.any(-1)).all()
    shares = erased[..., 0].mean((1, 2))
    assert (shares.min(), shares.max()) == (pytest.approx(0.1, abs=0.02), pytest.approx(0.2, abs=0.02))
    heights, widths = erased[..., 0].any(2).sum(1) / 40, erased[..., 0].any(1).sum(1) / 30
    np.testing.assert_allclose(heights * widths, shares, rtol=1e-5)
    ratios = heights / widths
    assert (ratios.min(), ratios.max()) == (pytest.approx(0.5, abs=0.1), pytest.approx(2.0, abs=0.2))
    rows = erased[..., 0].any((0, 2))
    assert rows.all(), "anywhere"
    noise = augment(Erase(probability=1.0, area=(1.0, 1.0), ratio=1.0, fill=3.0, std=0.5), images)
    assert (noise.mean(), noise.std()) == (pytest.approx(3, abs=0.01), pytest.approx(0.5, abs=0.01))
    with pytest.raises(UserError, match=r"area: \[0\.3, 0\.2\] has the smallest share of the area first"):
        Erase(area=(0.3, 0.2))


@pytest.mark.slow
def test_a_policy_applies_each_operation_at_its_magnitude() -> None:
    images = jnp.broadcast_to(IMAGES[:1], (OPERATIONS, *IMAGES.shape[1:]))
    draws = Draws(jnp.arange(OPERATIONS), jnp.full(OPERATIONS, 0.5), jnp.ones(OPERATIONS))
    colors, moved = change_colors(images, LUMA, draws), move_images(images, draws)
    one = IMAGES[:1]
    expected = [
        auto_contrast(one),
        equalize(one),
        solarize(one, 0.5),
        posterize(one, 6),
        blend(one, 0.0, 1.45),
        change_contrast(one, LUMA, 1.45),
        change_saturation(one, LUMA, 1.45),
        change_sharpness(one, 1.45),
    ]
    np.testing.assert_allclose(colors[: len(expected)], jnp.concatenate(expected), atol=1e-5)
    np.testing.assert_array_equal(colors[len(expected) :], images[len(expected) :])
    np.testing.assert_array_equal(moved[: len(expected)], images[: len(expected)])
    np.testing.assert_array_equal(moved[-1], images[-1])
    zero, shifts = jnp.zeros(1), jnp.array([[0.225, 0], [0, 0.225]])
    turns = [(jnp.deg2rad(15.0)[None], zero, zero), (zero, zero + 0.15, zero), (zero, zero, zero + 0.15)]
    places = [apply_matrix(make_matrix(*turn), jnp.zeros((1, 2)), 20, 24) for turn in turns]
    places += [apply_matrix(jnp.eye(2)[None], shift[None], 20, 24) for shift in shifts]
    for number, place in enumerate(places):
        np.testing.assert_allclose(moved[len(expected) + number], warp(one, place, "edge", 0)[0], atol=1e-5)


@pytest.mark.slow
def test_a_policy_draws_all_operations_and_none_with_the_probability() -> None:
    many = jnp.broadcast_to(IMAGES[:1], (600, *IMAGES.shape[1:]))
    changed = augment(RandAugment(count=1, magnitude=5.0, std=0.0), many)
    kinds = {each.tobytes() for each in np.round(changed * 255).astype(np.uint8)}
    without_sign = 4  # auto contrast, equalize, solarize and posterize
    assert len(kinds) == 1 + without_sign + 2 * (OPERATIONS - 1 - without_sign)
    kept = (augment(RandAugment(count=1, probability=0.3), many) == np.asarray(many)).all((1, 2, 3))
    assert kept.mean() == pytest.approx(0.7 + 0.3 / OPERATIONS, abs=0.06)
    assert (augment(RandAugment(count=2, probability=0.0), many) == np.asarray(many)).all()


@pytest.mark.slow
def test_magnitudes_are_drawn_around_or_up_to_the_parameter() -> None:
    """Brightness of a grey image shows the strength; only it, and solarize and posterize, change the image."""
    grey = jnp.full((3000, 3, 3, 3), 0.2)
    for policy, low, high in (
        (RandAugment(count=1, magnitude=5.0, std=0.0), 0.5, 0.5),
        (RandAugment(count=1, magnitude=5.0, std=0.5), 0.3, 0.7),
        (TrivialAugment(magnitude=6.0), 0.0, 0.6),
    ):
        factors = augment(policy, grey)[:, 1, 1, 0] / 0.2
        strengths = np.sort((factors[(factors > 1.001) & (factors < 2)] - 1) / 0.9)
        assert len(strengths) > 50
        assert strengths[0] >= low - 0.01
        assert strengths[-1] <= high + 0.01
        assert strengths.mean() == pytest.approx((low + high) / 2, abs=0.05)


@pytest.mark.slow
def test_mixed_copies_stay_between_black_and_white_and_differ() -> None:
    changed = augment(AugMix(magnitude=10.0), IMAGES)
    assert changed.min() >= -1e-5
    assert changed.max() <= 1 + 1e-5
    assert (np.abs(changed - np.asarray(IMAGES)).mean((1, 2, 3)) > 0.01).all()
    unit = augment(AugMix(magnitude=0.0, depth=1, alpha=1e-3), IMAGES)
    assert np.isfinite(unit).all()


@pytest.mark.slow
def test_numbers_may_be_traced(check_traced: Callable[..., None]) -> None:
    def changed(magnitude: Any, rotation: Any, probability: Any, sigma: Any) -> Any:
        images = IMAGES
        for part in (
            RandAugment(magnitude=magnitude),
            Affine(rotation=rotation, shear=rotation, zoom=probability / 2),
            Posterize(probability=probability),
            Erase(probability=probability, ratio=sigma),
            Blur(sigma=sigma),
        ):
            images = part(jax.random.key(0), batch_of(images)).inputs["image"]
        return images

    numbers = {"magnitude": 5.0, "rotation": 10.0, "probability": 0.5, "sigma": 2.0}
    check_traced(changed, numbers, {"magnitude": 9.0, "rotation": 40.0, "probability": 1.0, "sigma": 3.0})
