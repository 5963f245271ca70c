"""Makes a suggestion for images: their size, a network, augmentation and the length of the training."""

from __future__ import annotations

from typing import Any

from components.closest import MAX_LISTED
from components.types import VOID, ImageProfile, find_void_class
from runner.suggest.column_plan import ColumnPlan, make_feature_column

MAX_SIDE = 96  # pixels; on two cores, ResNet-18 learns from some twenty images of 96 x 96 a second
MULTIPLE = 8  # suggested sides are multiples of it
SMALL_SIDE = 48  # up to it, and for few images, ResNet-20 is suggested, which has 0.3 million parameters
EXAMPLES = {"resnet20": 200_000, "resnet18": 60_000}  # the approximate number of training examples of a whole run
FEW_ROWS = 3200  # with fewer training images, a batch has 32 of them, else 128
MAX_EPOCHS, MIN_EPOCHS, PATIENCE = 40, 10, 10
DILATIONS = (1, 2, 4, 8, 1)  # of the convolutions that predict masks: each pixel sees 33 x 33


def plan_image(image: ImageProfile, name: str, *, has_masks: bool = False) -> ColumnPlan:
    """Plans a column of images: whether they are resized, and in grey or colors.

    Args:
        image: its profile.
        name: the name of the feature column.
        has_masks: whether masks of the same size are the target.
    """
    sizes = {shape[:2] for shape in image.shapes}
    channels = {shape[2] for shape in image.shapes}
    options: dict[str, Any] = {}
    side = min(_median_side(image) // MULTIPLE * MULTIPLE or _median_side(image), MAX_SIDE)
    (smallest, *_), (*_, largest) = sorted(sizes), sorted(sizes)
    if len(sizes) > 1 or max(largest) > MAX_SIDE:
        ratios = {width / height for height, width in sizes}
        options = {"size": [side, side]} | ({} if ratios == {1.0} else {"resize": "crop"})
    if len(channels) > 1:
        options["channels"] = 3
    color = "grey" if channels == {1} else "colors"
    if not options.get("size"):
        description = f"{smallest[0]} x {smallest[1]} pixels, {color}"
        return ColumnPlan(description, (make_feature_column("Image", key=image.name, **options),))
    description = f"{side} x {side} pixels, {color}"
    were = f"{smallest[0]} x {smallest[1]}" + (f" to {largest[0]} x {largest[1]}" if len(sizes) > 1 else "")
    cut = "; their longer sides are cut, to squares" if "resize" in options else ""
    larger = 2 * side if side == MAX_SIDE else side * 3 // 2
    note = (
        f"has images of {were} pixels{cut}. More pixels show more and take longer: "
        f"feature.columns.{name}.size=[{larger},{larger}]"
        + (f" feature.target.size=[{larger},{larger}]" if has_masks else "")
    )
    return ColumnPlan(description, (make_feature_column("Image", key=image.name, **options),), notes=(note,))


def plan_mask(mask: ImageProfile, image: ImageProfile) -> ColumnPlan:
    """Plans a target of masks, which get the size of their images. A class that seems to be none is ignored."""
    (part,) = plan_image(image, image.name).feature_columns
    options: dict[str, Any] = {key: part[key] for key in ("size", "resize") if key in part}
    notes, void = list[str](), find_void_class(mask.classes)
    if mask.classes:
        listed = ", ".join(map(str, mask.classes[:MAX_LISTED]))
        more = f", … ({len(mask.classes) - MAX_LISTED} more)" if len(mask.classes) > MAX_LISTED else ""
        notes.append(f"has the classes {listed}{more} in {mask.masks:,} masks")
    if void is not None:
        options["ignore"] = void
        notes.append(
            f"has pixels of {void}, which seem to be of no class, and count in no loss or metric. To make them a "
            "class, set feature.target.ignore=null"
        )
    elif VOID in mask.classes and len(mask.classes) > 2:
        notes.append(f"has the class {VOID}. If it marks pixels of no class, set feature.target.ignore={VOID}")
    column = make_feature_column("Mask", key=mask.name, image=image.name, **options)
    return ColumnPlan("target: the class of each pixel", (column,), notes=tuple(notes))


def suggest_network(
    image: ImageProfile, plan: ColumnPlan, train_rows: int, *, has_columns: bool, is_mask: bool
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The choices and values for a network that sees images, and a note about the augmentation.

    Args:
        image: the profile of the images.
        plan: the plan of their column.
        train_rows: the number of training images.
        has_columns: whether the network sees other columns too.
        is_mask: whether the target is the class of each pixel.
    """
    (part,) = plan.feature_columns
    side = max(part.get("size") or max(shape[:2] for shape in image.shapes))
    network = "resnet20" if side <= SMALL_SIDE or train_rows < FEW_ROWS else "resnet18"
    is_grey = {shape[2] for shape in image.shapes} == {1}
    choices: dict[str, Any] = {
        "architecture": network,
        "augmentation": ["crop"] if is_grey else ["crop", "flip"],
        "optimizer": "adamw",
        "schedule": "cosine",
    }
    values = _suggest_sizes(train_rows, EXAMPLES[network])
    if is_mask:
        choices["architecture"] = "sequential"
        values["architecture"] = {"layers": [make_layer(dilation) for dilation in DILATIONS], "head": "conv"}
    elif has_columns:
        choices["architecture"], values["architecture"] = "image_columns", {"network": network}
    changes = "moved by a few pixels at random" + ("" if is_grey else ", and half of them flipped left to right")
    return choices, values, f"In training, images are {changes}. augmentation=[] leaves this out"


def make_layer(dilation: int) -> dict[str, Any]:
    """The configuration of a convolution that keeps the size of images."""
    layer = {"_target_": "components.layer.ConvNorm", "features": 32, "kernel": 3}
    return layer if dilation == 1 else {**layer, "dilation": dilation}


def _median_side(image: ImageProfile) -> int:
    """The median of the shorter sides."""
    sides = sorted((min(shape[:2]), count) for shape, count in image.shapes.items())
    middle, total = sum(count for _, count in sides) / 2, 0
    for side, count in sides:
        total += count
        if total >= middle:
            return side
    return 1


def _suggest_sizes(train_rows: int, examples: int) -> dict[str, Any]:
    """The learning rate, the batch size and the epochs."""
    batch = min(32, max(train_rows, 1)) if train_rows < FEW_ROWS else 128
    epochs = min(MAX_EPOCHS, max(MIN_EPOCHS, round(examples / max(train_rows, 1))))
    return {"learning_rate": 1e-3, "training": {"epochs": epochs, "batch_size": batch, "patience": PATIENCE}}
