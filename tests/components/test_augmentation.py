"""Augmentations: the images that they compute, and the keys that their random numbers depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from options import built, options

from components.augmentation import Crop, Flip, GaussianNoise, Mixup
from components.types import Augmentation, Batch, MultiHot, PixelRange, Scalar, TargetSpec, UserError

IMAGES = jax.random.uniform(jax.random.key(0), (64, 5, 7, 2), minval=0.5)
AUGMENTATIONS = {option: built("augmentation", option) for option in options("augmentation")} | {
    "flip, vertical": Flip(axis="vertical"),
    "crop, edge": Crop(padding=3, mode="edge"),
    "crop, reflect": Crop(padding=4, mode="reflect"),
}

MOVING = [name for name, augmentation in AUGMENTATIONS.items() if isinstance(augmentation, Flip | Crop)]


def augment(augmentation: Augmentation, key: int = 0, **inputs: Any) -> dict[str, Any]:
    """Returns the inputs after the augmentation; checks that the target is unchanged."""
    inputs = inputs or {"image": IMAGES}
    examples = len(next(iter(inputs.values())))
    target = np.arange(examples)
    batch = Batch(inputs, {"target": target}, {}, None, jnp.ones(examples, bool))
    changed = augmentation(jax.random.key(key), batch)
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
    pixels = {"image": PixelRange(jnp.zeros(1), jnp.ones(1), jnp.ones(3) / 3)}

    @jax.jit
    def change(key: jax.Array, images: jax.Array) -> Any:
        batch = Batch({"image": images}, {"target": jnp.arange(64)}, {}, None, jnp.ones(64, bool), pixels=pixels)
        return AUGMENTATIONS[name](key, batch).inputs["image"]

    first, same, other = (change(jax.random.key(key), IMAGES) for key in (0, 0, 1))
    assert (first.shape, first.dtype) == (IMAGES.shape, IMAGES.dtype)
    np.testing.assert_array_equal(first, same)
    changed = (np.asarray(first) != np.asarray(IMAGES)).any((1, 2, 3))
    assert 0.05 < changed.mean() <= 1
    assert (np.asarray(first) != np.asarray(other)).any((1, 2, 3)).any()
    halves = jax.eval_shape(change, jax.random.key(0), IMAGES.astype(jnp.bfloat16))
    assert halves.dtype == jnp.bfloat16


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


@pytest.mark.parametrize("name", MOVING)
def test_all_image_inputs_change_equally_and_other_inputs_do_not_change(name: str) -> None:
    hot = MultiHot(jnp.zeros((64, 1), jnp.int32), jnp.ones((64, 1)), 3)
    changed = augment(AUGMENTATIONS[name], left=IMAGES, right=-IMAGES, deep=IMAGES[:, 0, 0], wide=hot)
    assert list(changed) == ["left", "right", "deep", "wide"]
    np.testing.assert_array_equal(changed["left"], -changed["right"])
    assert changed["wide"] is hot
    np.testing.assert_array_equal(changed["deep"], IMAGES[:, 0, 0])


@pytest.mark.parametrize("name", [*MOVING, "cutmix"])
def test_inputs_without_images_raise(name: str) -> None:
    with pytest.raises(UserError, match=r"needs .* of images \(B, H, W, C\).*, got deep float32 \(64, 2\)"):
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


def batch_of(images: jax.Array, **fields: Any) -> Batch:
    """Returns a batch of images with a class, a number, labels and a weight for each example."""
    count = len(images)
    targets = {"kind": jnp.arange(count) % 3, "size": jnp.arange(count, dtype=jnp.float32)[:, None]}
    targets["tags"] = jnp.array(TAGS[:count])
    weight = jnp.arange(count, dtype=jnp.float32)
    batch = Batch({"image": images}, targets, {}, weight, jnp.ones(count, bool))
    return batch._replace(**fields)


SPECS = {
    "kind": TargetSpec("classes", (), ("a", "b", "c"), lambda logits: logits),
    "size": TargetSpec("real", (1,), None, lambda logits: logits),
    "tags": TargetSpec("multilabel", (4,), ("a", "b", "c", "d"), lambda logits: logits),
}
TAGS = np.random.default_rng(5).integers(0, 2, (64, 4)).astype(np.int32)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_targets_and_weights_are_mixed_by_the_share_of_the_pixels(name: str) -> None:
    """The images hold their own number, so a mixed image shows which two it is made of, and in which shares."""
    count = 64
    images = jnp.zeros((count, 8, 8, count)).at[jnp.arange(count), :, :, jnp.arange(count)].set(1.0)
    augmentation, specs = built("augmentation", name).bind(SPECS)
    mixed = augmentation(jax.random.key(1), batch_of(images))
    assert specs == SPECS
    shares = np.asarray(mixed.inputs["image"].mean((1, 2)))  # (B, B): the share of each original in each mixed image
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    assert ((shares > 0).sum(1) <= 2).all()
    assert ((shares > 0.01) & (shares < 0.99)).any(1).sum() > count / 5
    one_hot = np.eye(3)[np.arange(count) % 3]
    np.testing.assert_allclose(mixed.soft["kind"], shares @ one_hot, atol=1e-5)
    np.testing.assert_allclose(mixed.targets["size"][:, 0], shares @ np.arange(count), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mixed.weight, shares @ np.arange(count), rtol=1e-4, atol=1e-4)
    largest = shares.max(1) > 0.5 + 1e-4
    np.testing.assert_array_equal(mixed.targets["kind"][largest], (shares.argmax(1) % 3)[largest])
    np.testing.assert_allclose(mixed.soft["tags"], shares @ TAGS, atol=1e-5)
    np.testing.assert_array_equal(mixed.targets["tags"][largest], TAGS[shares.argmax(1)][largest])
    assert "size" not in mixed.soft


def test_mixing_twice_mixes_the_probabilities() -> None:
    augmentation, _ = Mixup(alpha=1.0).bind({"kind": SPECS["kind"]})
    batch = batch_of(IMAGES)
    batch = batch._replace(targets={"kind": batch.targets["kind"]})
    twice = augmentation(jax.random.key(1), augmentation(jax.random.key(0), batch))
    np.testing.assert_allclose(twice.soft["kind"].sum(1), 1, rtol=1e-5)
    assert (np.asarray(twice.soft["kind"]) > 1e-3).all(1).any(), "some examples have all three classes"
    np.testing.assert_array_equal(twice.targets["kind"], twice.soft["kind"].argmax(1))


def test_a_mixed_example_counts_only_if_both_examples_have_a_target() -> None:
    augmentation, _ = Mixup(alpha=1.0).bind({"kind": SPECS["kind"]})
    mask = jnp.arange(64) < 32
    batch = batch_of(IMAGES, targets={"kind": jnp.zeros(64, int)}, masks={"kind": mask})
    mixed = augmentation(jax.random.key(0), batch)
    assert 8 < int(mixed.masks["kind"].sum()) < 24
    assert not (mixed.masks["kind"] & ~mask).any()


def test_the_shares_have_a_symmetric_beta_distribution() -> None:
    """The largest distance of the distributions (Kolmogorov and Smirnov), for shares near 0 and 1, and near 1/2."""
    count = 2000
    one_hot = Batch({"x": jnp.eye(count)}, {}, {}, None, jnp.ones(count, bool))

    @jax.jit
    def draw(alpha: Scalar) -> jax.Array:
        return jnp.diagonal(Mixup(alpha=alpha)(jax.random.key(0), one_hot).inputs["x"])

    for alpha in (1e-3, 0.05, 0.2, 0.5, 1.0, 5.0, 1e4):
        shares = np.sort(draw(jnp.float32(alpha)))
        assert 0 <= shares[0] <= shares[-1] <= 1
        inner = shares[(shares > 1e-4) & (shares < 1 - 1e-4)]  # float32 has few numbers that close to 1
        expected = jax.scipy.stats.beta.cdf(inner, jnp.float32(alpha), jnp.float32(alpha))
        found = np.searchsorted(shares, inner) / np.float32(count)
        assert np.abs(found - np.asarray(expected)).max() < 0.03, alpha
        assert len(inner) == pytest.approx(count * inner_probability(alpha), abs=100)


def inner_probability(alpha: float) -> float:
    low, high = jax.scipy.stats.beta.cdf(jnp.array([1e-4, 1 - 1e-4]), jnp.float32(alpha), jnp.float32(alpha))
    return float(high - low)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_classes_of_pixels_are_not_mixed(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} can't mix the classes of pixels of `mask`"):
        built("augmentation", name).bind({"mask": TargetSpec("classes", (5, 7), ("a", "b"), lambda logits: logits)})


def test_mixup_needs_inputs_of_floats() -> None:
    hot = MultiHot(jnp.zeros((64, 1), jnp.int32), jnp.ones((64, 1)), 3)
    with pytest.raises(UserError, match="mixup needs inputs of floats, got wide MultiHot"):
        Mixup()(jax.random.key(0), batch_of(IMAGES, inputs={"image": IMAGES, "wide": hot}))


def test_classes_of_pixels_move_with_the_image() -> None:
    images = jax.random.uniform(jax.random.key(0), (32, 6, 6, 1), minval=0.5)
    classes = jnp.round(images[..., 0] * 1000).astype(jnp.int32)
    batch = batch_of(images, targets={"mask": classes, "clean": images}, masks={"mask": classes > 600})
    for augmentation in (Flip(), Crop(padding=2, target_fill=0.0), Crop(padding=2, mode="edge")):
        moved = augmentation(jax.random.key(3), batch)
        np.testing.assert_array_equal(moved.targets["clean"], moved.inputs["image"])
        expected = jnp.round(moved.inputs["image"][..., 0] * 1000).astype(jnp.int32)
        np.testing.assert_array_equal(moved.targets["mask"], expected)
        np.testing.assert_array_equal(moved.masks["mask"], expected > 600)
        assert (np.asarray(moved.targets["mask"]) != np.asarray(classes)).any()


def test_classes_of_pixels_in_a_constant_padding_do_not_count() -> None:
    images = jax.random.uniform(jax.random.key(0), (8, 6, 6, 1), minval=0.5)
    batch = batch_of(images, targets={"mask": jnp.ones((8, 6, 6), jnp.int32), "kind": jnp.arange(8)})
    moved = Crop(padding=2)(jax.random.key(3), batch)
    np.testing.assert_array_equal(moved.mask_of("mask"), moved.inputs["image"][..., 0] > 0)
    assert not moved.mask_of("mask").all()
    assert moved.masks.keys() == {"mask"}
    for other in (Flip(), Crop(padding=2, mode="edge")):
        assert other(jax.random.key(3), batch).masks == {}


def test_noise_without_an_input_raises() -> None:
    with pytest.raises(UserError, match=r"gaussian_noise needs an input of floats, got ids int32 \(64, 5\)\. Remove"):
        augment(GaussianNoise(), ids=jnp.zeros((64, 5), jnp.int32))
    with pytest.raises(UserError, match="gaussian_noise: `inputs` is empty, so no input gets noise"):
        augment(GaussianNoise(inputs=()))


def test_noise_has_the_standard_deviation_and_changes_no_target() -> None:
    batch = batch_of(jnp.zeros((64, 8, 8, 1)), targets={"clean": jnp.zeros((64, 8, 8, 1))})
    noisy = GaussianNoise(std=0.5)(jax.random.key(0), batch)
    assert 0.48 < float(noisy.inputs["image"].std()) < 0.52
    assert not noisy.targets["clean"].any()
    with pytest.raises(UserError, match="gaussian_noise: no input of floats is called picture"):
        GaussianNoise(inputs=("picture",))(jax.random.key(0), batch)


def cutmix_of(target_images: jax.Array) -> Batch:
    """A batch with a target of images beside a class, after cutmix."""
    specs = {
        "picture": TargetSpec("real", target_images.shape[1:], None, lambda logits: logits),
        "kind": TargetSpec("classes", (), ("a", "b", "c"), lambda logits: logits),
    }
    augmentation, _ = built("augmentation", "cutmix").bind(specs)
    batch = batch_of(IMAGES, targets={"picture": target_images, "kind": jnp.arange(len(IMAGES)) % 3})
    return augmentation(jax.random.key(1), batch)


def test_cutmix_cuts_a_target_of_images_with_the_input() -> None:
    mixed = cutmix_of(10 * IMAGES[..., :1])
    np.testing.assert_array_equal(mixed.targets["picture"], 10 * mixed.inputs["image"][..., :1])
    changed = np.asarray(mixed.inputs["image"] != IMAGES).any(-1)
    assert ((changed.mean((1, 2)) > 0.1) & (changed.mean((1, 2)) < 0.9)).any()
    own_share = 1 - changed.mean((1, 2))  # of the pixels
    own = np.take_along_axis(np.asarray(mixed.soft["kind"]), np.arange(len(IMAGES))[:, None] % 3, 1)[:, 0]
    others = ~np.isclose(own, 1)  # a partner of the same class has no share of its own
    np.testing.assert_allclose(own[others], own_share[others], rtol=1e-5)
    assert others.any()
    assert "picture" not in mixed.soft


def test_cutmix_and_crop_need_a_target_of_images_of_the_size_of_the_inputs() -> None:
    message = r"of the size of the inputs, 5 x 7 pixels, got `picture` of 5 x 6 pixels\. Remove the augmentation"
    with pytest.raises(UserError, match=f"cutmix needs a target of images {message}"):
        cutmix_of(IMAGES[:, :, 1:])
    for target in (IMAGES[:, :, 1:], jnp.zeros((len(IMAGES), 5, 6), jnp.int32)):
        with pytest.raises(UserError, match=f"crop needs a target of images {message}"):
            Crop(padding=1)(jax.random.key(0), batch_of(IMAGES, targets={"picture": target}))


def test_the_padding_of_a_real_valued_target_has_its_own_content() -> None:
    """As for the depth of each pixel, where the inputs are standardized."""
    ones, key = jnp.ones((16, 4, 4, 1)), jax.random.key(0)
    batch = batch_of(ones, targets={"depth": 3 * ones, "kind": jnp.zeros(16, jnp.int32)})
    moved = Crop(padding=2, fill=-2.0, target_fill=7.0)(key, batch)
    is_new = np.asarray(moved.inputs["image"] == -2)
    assert 0.1 < is_new.mean() < 0.9
    np.testing.assert_array_equal(moved.targets["depth"], np.where(is_new, 7, 3))
    with pytest.raises(
        UserError, match="crop needs a `target_fill` for the padding of the target `depth`, in its unit"
    ):
        Crop(padding=2)(key, batch)
    assert (Crop(padding=2, mode="edge")(key, batch).targets["depth"] == 3).all()


def test_images_of_several_sizes_are_mirrored_but_not_moved() -> None:
    left, right = IMAGES, IMAGES[:, :3, :3]
    with pytest.raises(UserError, match=r"inputs of one size, got left 5 x 7, right 3 x 3\. Remove the augmentation"):
        augment(Crop(padding=1), left=left, right=right)
    flipped = augment(Flip(), left=left, right=right)
    is_flipped = [
        (np.asarray(flipped[name]) != each).any((1, 2, 3)) for name, each in (("left", left), ("right", right))
    ]
    np.testing.assert_array_equal(*is_flipped)


@pytest.mark.parametrize("augmentation", [Flip(probability=1.0), Crop(padding=1, mode="constant")])
def test_probabilities_of_pixels_move_with_their_classes(augmentation: Augmentation) -> None:
    classes = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 4, 4)), jnp.int32)
    soft = jax.nn.one_hot(classes, 3)
    images = jnp.zeros((2, 4, 4, 1))
    batch = Batch({"image": images}, {"kind": classes}, {}, None, jnp.ones(2, bool), {"kind": soft})
    changed = augmentation(jax.random.key(1), batch)
    counts = np.asarray(changed.mask_of("kind"))
    assert not np.array_equal(changed.targets["kind"], classes)
    np.testing.assert_array_equal(changed.soft["kind"].argmax(-1)[counts], changed.targets["kind"][counts])
