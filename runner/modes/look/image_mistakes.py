"""The worst predictions of images, such as masks, for a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from components.types import TargetSpec
from runner.display.numbers import format_number
from runner.display.tables import Section
from runner.figures.canvas import target_suffix
from runner.figures.data import draw_image_grid
from runner.inference.trained_model import TrainedModel
from runner.modes.look.data import MAX_IMAGES
from runner.modes.look.tables import DIGITS, MAX_CONFUSIONS, MAX_ROWS, confusion_table
from runner.modes.look.view import View, image_inputs
from runner.program.objective import ExampleOutputs, decode_logits
from runner.record.predictions import compute_probabilities
from runner.training.evaluator import mark_missing


class WorstImages(NamedTuple):
    """Examples of a target that is an image, the worst first.

    Attributes:
        row: their numbers, int64 (N,).
        loss: their losses, float32 (N,).
        wrong: the share of wrong pixels among those that count, (N,); NaN for numbers.
        inputs: the inputs that are images, (N, H, W, C) by name.
        target: the classes of pixels, int32 (N, H, W), -1 where they don't count, or numbers (N, H, W, C).
        prediction: the same for the predictions.
    """

    row: np.ndarray
    loss: np.ndarray
    wrong: np.ndarray
    inputs: Mapping[str, np.ndarray]
    target: np.ndarray
    prediction: np.ndarray


class ImageMistakes(NamedTuple):
    """The mistakes of a target that is an image.

    Attributes:
        worst: the worst examples of the split.
        pixels: the number of pixels in the split of each pair of (class, predicted class), int64 (classes, classes).
    """

    worst: WorstImages
    pixels: np.ndarray


def find_image_mistakes(model: TrainedModel, split: str) -> dict[str, ImageMistakes]:
    """The mistakes of each target that is an image, by its name. One batch is in memory at a time."""
    found: dict[str, ImageMistakes] = {}
    for numbers, outputs in model.outputs_in_batches(split) if model.image_targets else ():
        for name in model.image_targets:
            worst, pixels = _judge(model.targets[name], numbers, outputs, name)
            if name in found:
                worst = jax.tree.map(lambda *arrays: np.concatenate(arrays), found[name].worst, worst)
                pixels += found[name].pixels
            order = np.argsort(-np.where(np.isnan(worst.loss), np.inf, worst.loss), kind="stable")
            found[name] = ImageMistakes(_select(worst, order[:MAX_IMAGES]), pixels)
    return found


def make_sections(
    mistakes: ImageMistakes, spec: TargetSpec, title: str, paths: Mapping[str, Sequence[str]]
) -> Iterator[Section]:
    """The tables of a target's mistakes.

    Args:
        mistakes: the mistakes.
        spec: the target.
        title: the title of the worst examples.
        paths: the columns with the paths of their files, by name.
    """
    worst, pixels = mistakes
    columns = {"row": [f"{row:,}" for row in worst.row], **paths}
    if spec.classes is not None:
        columns["wrong pixels"] = [f"{share:.1%}" for share in worst.wrong]
    columns["loss"] = [format_number(value, DIGITS) for value in worst.loss]
    rows = zip(*(column[:MAX_ROWS] for column in columns.values()), strict=True)
    title = title if len(worst.row) else f"{title}: no pixel counts, so there are none"
    yield Section(title, [list(columns), *map(list, rows)])
    wrong = pixels - np.diag(np.diag(pixels))
    pairs = [(int(target), int(predicted), int(wrong[target, predicted])) for target, predicted in np.argwhere(wrong)]
    if spec.classes is not None and pairs:
        pairs.sort(key=lambda pair: -pair[2])
        yield confusion_table(spec.classes, pairs[:MAX_CONFUSIONS], pixels.sum(1), "pixels")


def draw(worst: WorstImages, name: str, view: View, title: str, figures: Path, suffix: str) -> None:
    """Draws the worst examples of a target: each input that is an image, the target and the prediction.

    Draws nothing if there is no example in which a pixel counts.
    """
    if not len(worst.row):
        return
    captions = [
        f"row {row:,}" + ("" if np.isnan(wrong) else f", {wrong:.1%} wrong")
        for row, wrong in zip(worst.row, worst.wrong, strict=True)
    ]
    both = {name: np.concatenate([worst.target, worst.prediction])}  # drawn alike
    names = [*view.features.inputs]
    for key, images in worst.inputs.items():
        part = f"_{key}" if len(worst.inputs) > 1 else ""
        shown = names[0] if len(names) == 1 else key  # the program has another name for the only input
        draw_image_grid(
            images,
            captions,
            f"{shown} | {name} | prediction: {title}",
            figures / f"worst_mistakes{part}{target_suffix(name)}{suffix}.png",
            beside=np.split(view.pictures(np.concatenate([images, images]), both)[name], 2),
            classes=view.painted_classes if view.targets[name].classes is not None else (),
        )


def _judge(spec: TargetSpec, numbers: np.ndarray, outputs: ExampleOutputs, name: str) -> ImageMistakes:
    """The examples of a batch that have a pixel that counts, in any order."""
    assert outputs.batch is not None
    mask = np.asarray(outputs.batch.mask_of(name))
    target, logits = mark_missing(outputs.batch.targets[name], mask), outputs.logits[name]
    wrong, pixels = np.full(len(numbers), np.nan), np.zeros((0, 0), np.int64)
    if spec.classes is None:
        prediction = decode_logits(spec, logits)
    else:
        prediction = compute_probabilities(logits).argmax(-1).astype(np.int32)
        count, axes = len(spec.classes), tuple(range(1, mask.ndim))
        pairs = count * target[mask].astype(np.int64) + prediction[mask]
        pixels = np.bincount(pairs, minlength=count**2).reshape(count, count)
        wrong = ((prediction != target) & mask).sum(axes) / np.maximum(mask.sum(axes), 1)
    losses, inputs = np.asarray(outputs.losses[name]), image_inputs(outputs.batch.inputs)
    judged = WorstImages(numbers, losses, wrong, inputs, target, prediction)
    return ImageMistakes(_select(judged, mask.reshape(len(mask), -1).any(1)), pixels)


def _select(worst: WorstImages, rows: Any) -> WorstImages:
    selected: WorstImages = jax.tree.map(lambda array: array[rows], worst)
    return selected
