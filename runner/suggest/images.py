"""Makes a suggestion for images: their size, a network, augmentation and the length of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.closest import format_name
from components.types import ImageProfile, TableProfile
from runner.suggest.column_plan import ColumnPlan, make_feature_column

MAX_SIDE = 96  # pixels; on two cores, ResNet-18 learns from some twenty images of 96 x 96 a second
MULTIPLE = 8  # suggested sides are multiples of it
SMALL_SIDE = 48  # up to it, and for few images, ResNet-20 is suggested, which has 0.3 million parameters
EXAMPLES = {"resnet20": 200_000, "resnet18": 60_000}  # the approximate number of training examples of a whole run
FEW_ROWS = 3200  # with fewer training images, a batch has 32 of them, else 128
MAX_EPOCHS, MIN_EPOCHS, PATIENCE = 40, 10, 10
MAX_LISTED = 10  # classes in a note


def plan_image(image: ImageProfile) -> ColumnPlan:
    """Plans the column of images: whether they are resized, and in grey or colors."""
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
    cut = ", the longer side is cut" if "resize" in options else ""
    larger = 2 * side if side == MAX_SIDE else side * 3 // 2
    note = (
        f"has images of {were} pixels{cut}. Larger ones show more and take longer: "
        f"feature.columns.{image.name}.size=[{larger},{larger}]"
    )
    return ColumnPlan(description, (make_feature_column("Image", key=image.name, **options),), notes=(note,))


def suggest_from_images(
    table: TableProfile, target: str, target_plan: ColumnPlan, options: Mapping[str, Any], train_rows: int
) -> dict[str, Any]:
    """The suggestion for a table of images and their target, with the keys of `Suggestion`.

    Args:
        table: the profile.
        target: the name of the target.
        target_plan: its plan.
        options: the choices, values and notes that go with the target.
        train_rows: the number of training images.
    """
    plans = {image.name: plan_image(image) for image in table.images}
    (part,) = (plan.feature_columns[0] for plan in plans.values())
    (image,) = table.images
    side = max(part.get("size") or max(shape[:2] for shape in image.shapes))
    network = "resnet20" if side <= SMALL_SIDE or train_rows < FEW_ROWS else "resnet18"
    is_grey = {shape[2] for shape in image.shapes} == {1}
    augmentations = ["crop"] if is_grey else ["crop", "flip"]
    changes = "moved by a few pixels at random" + ("" if is_grey else ", and half of them flipped left to right")
    (label,) = (column for column in table.columns if column.name == target)
    counts = f"{label.rows:,} images of {label.distinct_count} classes"
    notes = [
        counts,
        *options["notes"],
        *(f"{format_name(name)} {note}" for name, plan in plans.items() for note in plan.notes),
    ]
    return {
        "origin": table.origin,
        "choices": {
            **options["choices"],
            "architecture": network,
            "augmentation": augmentations,
            "optimizer": "adamw",
            "schedule": "cosine",
        },
        "feature": {
            "target": target_plan.feature_columns[0],
            "columns": {name: plan.feature_columns[0] for name, plan in plans.items()},
            "inputs": {"image": [*plans]},
        },
        "values": options["values"] | _suggest_sizes(train_rows, EXAMPLES[network]),
        "summary": "",
        "unusual": [],
        "table": [
            ("column", "type", "missing", "distinct", "becomes"),
            *((format_name(name), "image", "", "", plan.description) for name, plan in plans.items()),
            (format_name(target), "string", "", f"{label.distinct_count:,}", target_plan.description),
        ],
        "notes": [
            *table.notes,
            *notes,
            f"In training, images are {changes}. augmentation=[] leaves this out",
        ],
    }


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
