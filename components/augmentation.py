"""Random changes of the examples of a training batch, on the device. Each example gets its own change at each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp

from components.types import Augmentation, Batch, Range, Scalar, TargetSpec, UserError, bind_fields

AXES = {"vertical": 1, "horizontal": 2}


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Flips images (B, H, W, C) at random, and targets that are images with them.

    Attributes:
        probability: probability that an image is flipped, in [0, 1].
        axis: `horizontal` exchanges left and right, `vertical` exchanges top and bottom.
    """

    probability: Annotated[Scalar, Range(0, 1)] = 0.5
    axis: Literal["horizontal", "vertical"] = "horizontal"

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        def flip(images: jax.Array, fill: Scalar) -> jax.Array:
            flipped = jax.random.bernoulli(key, self.probability, (len(images), 1, 1, 1))
            return jnp.where(flipped, jnp.flip(images, AXES[self.axis]), images)

        return _change_images("flip", flip, batch)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Pads images (B, H, W, C) and crops them to their original size at random positions (He et al., 2015).

    All images of an example move alike, by the same number of pixels, so they need one size. Targets that are images
    move with them. Classes of pixels in a constant padding don't count: their mask is false.

    Attributes:
        padding: pixels on each side, at least 1 and at most 2^16. An image moves by at most this number of pixels.
        mode: content of the padding. `constant`: the number `fill`; `edge`: the nearest pixel; `reflect`: the mirrored
            image.
        fill: content of a constant padding, in the unit of the input; 0 is black if pixels were divided by 255.
        target_fill: content of a constant padding of real-valued targets, in their unit, such as `fill` for an
            autoencoder whose inputs have the unit of the targets. None: there are no such targets.

    Raises:
        UserError: `mode` is `reflect`, and the images are not larger than the padding; inputs or targets have images of
            several sizes; or a real-valued target has a constant padding without `target_fill`.
    """

    padding: Annotated[int, Range(1, 2**16)] = 4
    mode: Literal["constant", "edge", "reflect"] = "constant"
    fill: Scalar = 0.0
    target_fill: Scalar | None = None

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        def crop(images: jax.Array, fill: Scalar) -> jax.Array:
            corners = jax.random.randint(key, (len(images), 2), 0, 2 * self.padding + 1)
            return jax.vmap(_crop, (0, 0, None))(self._pad(images, fill), corners, images.shape[1:])

        sizes = {name: value.shape[1:3] for name, value in batch.inputs.items() if _is_images(value)}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{name} {height} x {width}" for name, (height, width) in sizes.items())
            raise UserError(
                "crop moves all images of an example by the same number of pixels, so it needs inputs of one size, got "
                f"{found}. Remove the augmentation, or resize the images."
            )
        for name, target in batch.targets.items() if sizes else ():
            if target.ndim > 2:
                _check_size("crop", name, target, next(iter(sizes.values())))
            if target.ndim == 4 and self.mode == "constant" and self.target_fill is None:
                raise UserError(
                    f"crop needs a `target_fill` for the padding of the target `{name}`, in its unit: the number of "
                    "`fill` if the inputs have the same unit. Or set `mode=edge` or `mode=reflect`, which need none."
                )
        if self.mode == "constant":
            batch = _add_masks_of_pixels(batch)
        return _change_images("crop", crop, batch, self.fill, 0.0 if self.target_fill is None else self.target_fill)

    def _pad(self, images: jax.Array, fill: Scalar) -> jax.Array:
        pads = ((0, 0), (self.padding, self.padding), (self.padding, self.padding), (0, 0))
        if self.mode == "constant":
            return jnp.pad(images, pads, constant_values=jnp.asarray(fill, images.dtype))
        if self.mode == "reflect" and self.padding >= min(images.shape[1:3]):
            height, width = images.shape[1:3]
            raise UserError(
                f"crop needs a padding below {min(height, width)} to mirror images of {height} x {width} pixels, "
                f"got {self.padding}. Reduce the padding, or set mode to edge."
            )
        return jnp.pad(images, pads, mode=self.mode)


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Adds normally distributed noise to inputs of floats. The target keeps its values, as denoising needs.

    Attributes:
        std: standard deviation of the noise, in the unit of the input, 0 or more.
        inputs: names of the inputs; None: all inputs of floats.
        evaluates: whether evaluations add noise, too, so that the loss of a held-out split is that of noisy inputs.
    """

    std: Annotated[Scalar, Range(0)] = 0.1
    inputs: tuple[str, ...] | None = None
    evaluates: bool = False
    keeps_targets = True

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        floats = [name for name, value in batch.inputs.items() if _is_float(value)]
        if not floats:
            kinds = ", ".join(f"{name} {_describe(value)}" for name, value in batch.inputs.items())
            raise UserError(f"gaussian_noise needs an input of floats, got {kinds}. Remove the augmentation.")
        if self.inputs == ():
            raise UserError("gaussian_noise: `inputs` is empty, so no input gets noise. Leave it out, or list inputs.")
        for name in self.inputs or ():
            if name not in floats:
                allowed = ", ".join(floats) or "none"
                raise UserError(f"gaussian_noise: no input of floats is called {name}. Inputs of floats: {allowed}.")
        inputs = dict(batch.inputs)
        for number, name in enumerate(floats if self.inputs is None else self.inputs):
            noise = jax.random.normal(jax.random.fold_in(key, number), inputs[name].shape, inputs[name].dtype)
            inputs[name] += jnp.asarray(self.std, inputs[name].dtype) * noise
        return batch._replace(inputs=inputs)


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Replaces each example by a weighted mean of itself and another example of the batch.

    The target of a class becomes the probabilities of two classes, labels become the probabilities of each, and a
    real-valued target the weighted mean. The weights of examples are mixed alike.

    Attributes:
        alpha: parameter of the distribution Beta(alpha, alpha) of the first example's share, above 0. Values near 0
            leave most examples nearly unmixed.

    References:
        Zhang et al., 2018: mixup: beyond empirical risk minimization.
    """

    alpha: Annotated[Scalar, Range(0, math.inf, "()")] = 0.2
    targets: Mapping[str, TargetSpec] = field(default_factory=dict, init=False)  # set by `bind`
    mixes_classes = True

    def bind(self, targets: Mapping[str, TargetSpec]) -> tuple[Augmentation, Mapping[str, TargetSpec]]:
        """Returns a copy for these targets; raises UserError for classes of pixels."""
        return bind_fields(self, targets=_require_mixable("mixup", targets)), targets

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        if wrong := [name for name, value in batch.inputs.items() if not _is_float(value)]:
            described = _describe(batch.inputs[wrong[0]])
            raise UserError(f"mixup needs inputs of floats, got {wrong[0]} {described}. Remove the augmentation.")
        partners, share = _draw_partners(key, self.alpha, batch)
        inputs = {name: _mix(value, value[partners], share) for name, value in batch.inputs.items()}
        return _mix_targets(batch._replace(inputs=inputs), partners, share, self.targets)


@dataclass(frozen=True, kw_only=True)
class CutMix:
    """Replaces a random rectangle of each image (B, H, W, C) by that of another image of the batch.

    A target that is an image of the same height and width gets the rectangle of the other target. All other targets,
    and weights, are mixed as in `Mixup`; the share of the first example is its share of the pixels.

    Attributes:
        alpha: parameter of the distribution Beta(alpha, alpha) of the share that stays outside of the rectangle, above
            0. The rectangle has the image's aspect ratio and is cut at the border.

    References:
        Yun et al., 2019: CutMix: regularization strategy to train strong classifiers with localizable features.
    """

    alpha: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0
    targets: Mapping[str, TargetSpec] = field(default_factory=dict, init=False)  # set by `bind`
    mixes_classes = True

    def bind(self, targets: Mapping[str, TargetSpec]) -> tuple[Augmentation, Mapping[str, TargetSpec]]:
        """Returns a copy for these targets; raises UserError for classes of pixels."""
        return bind_fields(self, targets=_require_mixable("cutmix", targets)), targets

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        sizes = {value.shape[1:3] if _is_images(value) else None for value in batch.inputs.values()}
        if None in sizes or len(sizes) != 1:
            kinds = ", ".join(f"{name} {_describe(value)}" for name, value in batch.inputs.items())
            raise UserError(
                f"cutmix needs inputs of images (B, H, W, C) of one size, got {kinds}. Remove the augmentation."
            )
        key, box_key = jax.random.split(key)
        partners, share = _draw_partners(key, self.alpha, batch)
        height, width = next(iter(batch.inputs.values())).shape[1:3]
        inside = _draw_boxes(box_key, jnp.sqrt(1 - share), height, width)[..., None]  # (B, H, W, 1)
        inputs = {name: jnp.where(inside, value[partners], value) for name, value in batch.inputs.items()}
        own_share = 1 - inside.mean((1, 2, 3), dtype=jnp.float32)
        images = {name: batch.targets[name] for name, spec in self.targets.items() if spec.is_image}
        others = {name: spec for name, spec in self.targets.items() if not spec.is_image}
        mixed = _mix_targets(batch._replace(inputs=inputs), partners, own_share, others)
        cut = {name: _cut(name, target, inside, partners) for name, target in images.items()}
        return mixed._replace(targets={**mixed.targets, **cut})


def _cut(name: str, target: jax.Array, inside: jax.Array, partners: jax.Array) -> jax.Array:
    """Cuts the images of a target; raises UserError unless they have the size of the inputs."""
    _check_size("cutmix", name, target, inside.shape[1:3])
    return jnp.where(inside, target[partners], target)


def _check_size(augmentation: str, name: str, target: jax.Array, input_size: tuple[int, ...]) -> None:
    """Raises UserError unless the images of a target have the height and width of the inputs."""
    if target.shape[1:3] != input_size:
        size, needed = (" x ".join(map(str, shape)) for shape in (target.shape[1:3], input_size))
        raise UserError(
            f"{augmentation} needs a target of images of the size of the inputs, {needed} pixels, got `{name}` of "
            f"{size} pixels. Remove the augmentation, or resize one of them."
        )


def _draw_partners(key: jax.Array, alpha: Scalar, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Draws another example for each example, (B,), and the share of the first in the pair, float32 (B,)."""
    order_key, share_key = jax.random.split(key)
    count = len(batch.present)
    return jax.random.permutation(order_key, count), _draw_shares(share_key, alpha, count)


def _draw_shares(key: jax.Array, alpha: Scalar, count: int) -> jax.Array:
    """Draws from Beta(alpha, alpha), float32 (count,), in [0, 1].

    If T has Student's t-distribution with 2 alpha degrees of freedom, (1 + T / sqrt(2 alpha + T^2)) / 2 has this
    distribution. T = sqrt(2 alpha (1 / r - 1)) cos(2 pi v) with r = u^(1 / alpha), for uniform u and v. Unlike
    `jax.random.beta`, this is no loop, and compiles in a fifth of the time.

    References:
        Bailey, 1994: Polar generation of random variates with the t-distribution.
    """
    u, v = jax.random.uniform(key, (2, count))
    exponent, cosine = jnp.log(u) / alpha, jnp.cos(2 * jnp.pi * v)
    rest = -jnp.expm1(exponent)  # 1 - r
    share = (1 + cosine * jnp.sqrt(rest / (jnp.exp(exponent) + rest * jnp.square(cosine)))) / 2
    return jnp.clip(share, 0, 1)


def _draw_boxes(key: jax.Array, side: jax.Array, height: int, width: int) -> jax.Array:
    """Draws a rectangle in each image, with the sides (B,) as shares of the image's. Returns True inside, (B, H, W)."""
    centers = jax.random.uniform(key, (2, len(side)))

    def is_inside(center: jax.Array, size: int) -> jax.Array:
        low, high = jnp.round((center - side / 2) * size), jnp.round((center + side / 2) * size)
        positions = jnp.arange(size, dtype=jnp.float32)[None]
        return (positions >= low[:, None]) & (positions < high[:, None])

    return is_inside(centers[0], height)[:, :, None] & is_inside(centers[1], width)[:, None, :]


def _mix(first: jax.Array, second: jax.Array, share: jax.Array) -> jax.Array:
    share = share.reshape(-1, *(1,) * (first.ndim - 1)).astype(first.dtype)
    return share * first + (1 - share) * second


def _mix_targets(batch: Batch, partners: jax.Array, share: jax.Array, specs: Mapping[str, TargetSpec]) -> Batch:
    """Mixes targets, masks and weights.

    `targets` then holds the class of the largest share, or the labels of more than half of it, which metrics read.
    """
    targets, soft = dict(batch.targets), dict(batch.soft)
    for name, spec in specs.items():
        target = targets[name]
        if spec.classes is None:
            targets[name] = _mix(target, target[partners], share)
            continue
        probabilities = soft.get(name, _as_probabilities(target, spec))
        soft[name] = _mix(probabilities, probabilities[partners], share)
        largest = soft[name] > 0.5 if spec.kind == "multilabel" else soft[name].argmax(-1)
        targets[name] = largest.astype(target.dtype)
    masks = {name: mask & mask[partners] for name, mask in batch.masks.items()}
    weight = None if batch.weight is None else _mix(batch.weight, batch.weight[partners], share)
    return batch._replace(targets=targets, soft=soft, masks=masks, weight=weight)


def _as_probabilities(target: jax.Array, spec: TargetSpec) -> jax.Array:
    """The probability of each class, float32 (B, classes): 1 for the class or the labels of an example, else 0."""
    is_hot = spec.kind == "multilabel"
    return target.astype(jnp.float32) if is_hot else jax.nn.one_hot(target, spec.outputs, dtype=jnp.float32)


def _require_mixable(name: str, targets: Mapping[str, TargetSpec]) -> Mapping[str, TargetSpec]:
    """Returns the targets; raises UserError for classes of pixels."""
    for target, spec in targets.items():
        if spec.is_image and spec.kind == "classes":
            raise UserError(f"{name} can't mix the classes of pixels of `{target}`. Remove the augmentation.")
    return targets


def _crop(image: jax.Array, corner: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], jnp.zeros_like(corner[0])), shape)


def _change_images(
    name: str,
    change: Callable[[jax.Array, Scalar], jax.Array],
    batch: Batch,
    fill: Scalar = 0.0,
    target_fill: Scalar = 0.0,
) -> Batch:
    """Changes all inputs that are images, and targets that are images with their masks and probabilities.

    Args:
        name: the augmentation, for the message.
        change: (images (B, H, W, C), content of new pixels) -> the changed images.
        batch: the batch.
        fill: the content of new pixels of inputs.
        target_fill: the content of new pixels of real-valued targets. That of classes, masks and probabilities is 0.

    Raises:
        UserError: no input has images.
    """
    if not any(map(_is_images, batch.inputs.values())):
        kinds = ", ".join(f"{key} {_describe(value)}" for key, value in batch.inputs.items())
        raise UserError(f"{name} needs an input of images (B, H, W, C), got {kinds}. Remove the augmentation.")

    def change_target(target: jax.Array) -> jax.Array:
        if target.ndim == 3:  # classes or masks of pixels (B, H, W)
            return change(target[..., None], 0)[..., 0]
        return change(target, target_fill) if target.ndim == 4 else target

    inputs = {key: change(value, fill) if _is_images(value) else value for key, value in batch.inputs.items()}
    targets, masks = (
        {key: change_target(value) for key, value in each.items()} for each in (batch.targets, batch.masks)
    )
    soft = {key: change(value, 0) if value.ndim == 4 else value for key, value in batch.soft.items()}
    return batch._replace(inputs=inputs, targets=targets, masks=masks, soft=soft)


def _add_masks_of_pixels(batch: Batch) -> Batch:
    """The batch with a mask for each target of classes of pixels, also where no element can be missing."""
    masks = {name: batch.mask_of(name) for name, target in batch.targets.items() if target.ndim == 3}
    return batch._replace(masks={**batch.masks, **masks})


def _is_images(value: Any) -> bool:
    return isinstance(value, jax.Array) and value.ndim == 4


def _is_float(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating)


def _describe(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, jax.Array) else type(value).__name__
