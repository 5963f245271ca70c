"""Augmentations: the images that they compute, and the keys that their random numbers depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from options import built, options

from components.augmentation import Crop, Flip
from components.types import Augmentation, Batch, MultiHot, Scalar, UserError

IMAGES = jax.random.uniform(jax.random.key(0), (64, 5, 7, 2), minval=0.5)
AUGMENTATIONS = {option: built("augmentation", option) for option in options("augmentation")} | {
    "flip, vertical": Flip(axis="vertical"),
    "crop, edge": Crop(padding=3, mode="edge"),
    "crop, reflect": Crop(padding=4, mode="reflect"),
}


def augment(augmentation: Augmentation, key: int = 0, **inputs: Any) -> dict[str, Any]:
    """Returns the inputs after the augmentation; checks that the target is unchanged."""
    inputs = inputs or {"image": IMAGES}
    examples = len(next(iter(inputs.values())))
    target = np.arange(examples)
    changed = augmentation(jax.random.key(key), Batch(inputs, {"target": target}, {}, None, jnp.ones(examples, bool)))
    np.testing.assert_array_equal(changed.target, target)
    return dict(changed.inputs)


def shift(image: np.ndarray, down: int, right: int, **mode: Any) -> np.ndarray:
    """Returns an image moved by some pixels, with the padding of NumPy."""
    height, width, _ = image.shape
    margin = max(abs(down), abs(right))
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), **mode)
    return padded[margin - down : margin - down + height, margin - right : margin - right + width]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_example_and_each_key_has_its_own_change(name: str) -> None:
    first, same, other = (augment(AUGMENTATIONS[name], key)["image"] for key in (0, 0, 1))
    assert (first.shape, first.dtype) == (IMAGES.shape, IMAGES.dtype)
    np.testing.assert_array_equal(first, same)
    changed = (np.asarray(first) != np.asarray(IMAGES)).any((1, 2, 3))
    assert 0.2 < changed.mean() <= 1
    assert ((np.asarray(first) != np.asarray(other)).any((1, 2, 3)) != changed).any()
    assert augment(AUGMENTATIONS[name], image=IMAGES.astype(jnp.bfloat16))["image"].dtype == jnp.bfloat16


@pytest.mark.parametrize(("axis", "mirror"), [("horizontal", 1), ("vertical", 0)])
def test_a_flip_mirrors_some_images(axis: Any, mirror: int) -> None:
    for image, original in zip(augment(Flip(axis=axis))["image"], IMAGES, strict=True):
        assert any((image == candidate).all() for candidate in (original, np.flip(original, mirror)))


def test_each_image_is_flipped_with_the_probability() -> None:
    assert (augment(Flip(probability=0.0))["image"] == IMAGES).all()
    assert (augment(Flip(probability=1.0))["image"] == IMAGES[:, :, ::-1]).all()
    many = jnp.broadcast_to(IMAGES[:1], (4000, 5, 7, 2))
    changed = (augment(Flip(probability=0.25), image=many)["image"] != many).any((1, 2, 3))
    assert 0.22 < float(changed.mean()) < 0.28


@pytest.mark.parametrize(
    ("crop", "mode"),
    [
        (Crop(padding=2), {"mode": "constant"}),
        (Crop(padding=2, fill=3.0), {"mode": "constant", "constant_values": 3.0}),
        (Crop(padding=2, mode="edge"), {"mode": "edge"}),
        (Crop(padding=2, mode="reflect"), {"mode": "reflect"}),
    ],
)
def test_a_crop_moves_each_image_by_up_to_the_padding(crop: Crop, mode: dict[str, Any]) -> None:
    found_moves = set()
    for image, original in zip(augment(crop)["image"], np.asarray(IMAGES), strict=True):
        moves = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
        (found_move,) = [move for move in moves if np.array_equal(image, shift(original, *move, **mode))]
        found_moves.add(found_move)
    assert {down for down, _ in found_moves} == {right for _, right in found_moves} == set(range(-2, 3))
    assert len(found_moves) > 15, "down and right are independent"


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_all_image_inputs_change_equally_and_other_inputs_do_not_change(name: str) -> None:
    hot = MultiHot(jnp.zeros((64, 1), jnp.int32), jnp.ones((64, 1)), 3)
    changed = augment(AUGMENTATIONS[name], left=IMAGES, right=-IMAGES, deep=IMAGES[:, 0, 0], wide=hot)
    assert list(changed) == ["left", "right", "deep", "wide"]
    np.testing.assert_array_equal(changed["left"], -changed["right"])
    assert changed["wide"] is hot
    np.testing.assert_array_equal(changed["deep"], IMAGES[:, 0, 0])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_inputs_without_images_raise(name: str) -> None:
    with pytest.raises(UserError, match=r"needs an input of images \(B, H, W, C\), got deep float32 \(64, 2\)"):
        augment(AUGMENTATIONS[name], deep=IMAGES[:, 0, 0])


def test_a_mirrored_padding_as_wide_as_the_image_raises() -> None:
    with pytest.raises(
        UserError, match=r"needs a padding below 5 to mirror images of 5 x 7 pixels, got 5\. Reduce the padding"
    ):
        augment(Crop(padding=5, mode="reflect"))


def test_numbers_may_be_traced(check_traced: Callable[..., None]) -> None:
    def changed(probability: Scalar, fill: Scalar) -> Any:
        images = augment(Flip(probability=probability))["image"]
        return augment(Crop(padding=1, fill=fill), image=images)["image"]

    check_traced(changed, {"probability": 0.5, "fill": 0.0}, {"probability": 1.0, "fill": 0.5})
