"""Figures of data: the distribution of the target in each split, and images in a grid."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.patches import Patch

from runner.figures.canvas import escape_tex, keep_finite, label_ticks, make_panels, save_figure, shorten

MAX_LABELED = 60  # classes with labels
MAX_OUTPUTS = 9  # outputs with a panel
BINS = 40
GRID_COLUMNS = 8
MAX_PANELS = 12  # images and pictures beside them in a row
IMAGE_WIDTH = 1.3  # inches
LEGEND_COLUMNS = 4  # of the classes of masks
GOLDEN_RATIO = 0.618  # spreads colors, so that those of near classes differ
PAINT = 0.6  # the opacity of classes that are painted over an image
WHITE = 255  # of images with values in [0, 255]


def draw_class_balance(
    counts: Mapping[str, np.ndarray], totals: Mapping[str, int], names: Sequence[str], folder: Path, suffix: str = ""
) -> list[Path]:
    """Draws each class's share of each split into `class_balance.png`, and writes the counts to `class_balance.csv`.

    Args:
        counts: the number of rows of each class, (classes,), by split.
        totals: the number of rows with a target, by split.
        names: the names of the classes.
        folder: the folder of the new files.
        suffix: the end of their names, before the extension.

    Returns:
        The new files.
    """
    positions = np.arange(len(names))
    is_labeled = len(names) <= MAX_LABELED
    figure, [axis] = make_panels(1, width=7, height=1.5 + 0.25 * len(names) if is_labeled else 4)
    for index, (split, rows) in enumerate(counts.items()):
        shares = rows / max(totals[split], 1)
        if is_labeled:
            height = 0.8 / len(counts)
            axis.barh(positions + height * (index - (len(counts) - 1) / 2), shares, height, label=split)
        else:
            axis.step(positions, shares, where="mid", label=split)
    axis.set_title("share of each class")
    if is_labeled:
        label_ticks(axis, names, vertical=True)
        axis.set_xlabel("share of the split's rows")
    else:
        axis.set_ylabel("share of the split's rows")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    table = _write_class_counts(counts, names, folder / f"class_balance{suffix}.csv")
    return [table, save_figure(figure, folder / f"class_balance{suffix}.png")]


def draw_target_histograms(targets: Mapping[str, np.ndarray], folder: Path, suffix: str = "") -> list[Path]:
    """Draws histograms of targets (rows, outputs) by split into `target.png`, with a panel for each output."""
    outputs = next(iter(targets.values())).shape[1]
    figure, axes = make_panels(min(outputs, MAX_OUTPUTS))
    for output, axis in enumerate(axes):
        columns = {split: keep_finite(rows[:, output])[0] for split, rows in targets.items()}
        edges = np.histogram_bin_edges(np.concatenate(list(columns.values())), BINS)
        for split, column in columns.items():
            weights = np.full(len(column), 1 / max(len(column), 1))
            axis.hist(column, edges.tolist(), weights=weights, label=split, histtype="step", linewidth=1.5)
        axis.set(xlabel="target" if outputs == 1 else f"target {output}", ylabel="share of the split's rows")
        axis.legend()
    return [save_figure(figure, folder / f"target{suffix}.png")]


def draw_image_grid(
    images: np.ndarray,
    captions: Sequence[str],
    title: str,
    path: Path,
    columns: int = GRID_COLUMNS,
    *,
    beside: Sequence[np.ndarray] = (),
    classes: Sequence[str] = (),
) -> Path:
    """Draws images in a grid, each above its caption.

    Args:
        images: the images (N, H, W, C) of any float values.
        captions: a caption of one or more lines for each image.
        title: the title of the figure.
        path: the new file.
        columns: the number of images in a row, if nothing is beside them.
        beside: pictures that are drawn right of each image, such as its mask: (N, H, W, 3), from 0 to 1.
        classes: the classes whose colors are explained below the images.

    Returns:
        The new file.
    """
    columns = min(max(MAX_PANELS // (1 + len(beside)), 1) if beside else columns, len(images))
    pictures = _join_sides([scale_images(images), *beside])
    width = IMAGE_WIDTH * (1 + len(beside))
    height = pictures.shape[1] / pictures.shape[2]
    rows = -(-len(images) // columns)
    caption_height = 0.12 * (1 + max(caption.count("\n") for caption in captions)) * IMAGE_WIDTH / width
    step = height + caption_height  # from one row of images to the next; the unit is the width of an image
    legend_height = 0.2 * -(-len(classes) // LEGEND_COLUMNS)
    least = 4 if not beside else 7  # inches; the title is longer
    figure, [axis] = make_panels(1, width=max(width * columns, least), height=width * rows * step + 0.5 + legend_height)
    for number, (image, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = number % columns, number // columns * step
        axis.imshow(image, extent=(left, left + 0.95, top + 0.95 * height, top), cmap="gray", vmin=0, vmax=1)
        middle, below = left + 0.475, top + 0.97 * height
        axis.text(middle, below, escape_tex(caption), ha="center", va="top", fontsize=7, in_layout=False)
    axis.set(xlim=(0, columns), ylim=(rows * step, 0), title=escape_tex(title))
    axis.axis("off")
    if classes:
        colors = zip(classes, class_colors(len(classes)), strict=True)
        patches = [Patch(color=color, label=escape_tex(shorten(name, 20))) for name, color in colors]
        figure.legend(handles=patches, loc="outside lower center", ncols=LEGEND_COLUMNS, fontsize=7)
    return save_figure(figure, path)


def class_colors(count: int) -> np.ndarray:
    """The colors of classes of pixels, (count, 3), from 0 to 1."""
    palette = colormaps["tab10" if count <= 10 else "tab20" if count <= 20 else "hsv"]
    positions = np.arange(count) if count <= 20 else np.arange(count) * GOLDEN_RATIO % 1
    return np.asarray(palette(positions))[:, :3]


def paint_classes(ids: np.ndarray, count: int, images: np.ndarray) -> np.ndarray:
    """Paints classes of pixels over images in grey.

    Args:
        ids: the classes, (N, H, W). Pixels with a negative one aren't painted.
        count: the number of classes.
        images: the images (N, H, W, C), which may have another size.

    Returns:
        Pictures (N, H, W, 3), from 0 to 1.
    """
    grey = scale_images(images)
    grey = fit_size(grey if grey.ndim == 3 else grey.mean(-1), ids.shape[1:])[..., None]
    painted = PAINT * class_colors(count)[np.maximum(ids, 0)] + (1 - PAINT) * grey
    return np.where((ids < 0)[..., None], grey, painted)


def fit_size(images: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resizes images (N, H, W, …) to a height and width, by the nearest pixels."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, images.shape[1:3], strict=True))
    return images[:, rows[:, None], columns]


def _join_sides(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Joins pictures (N, H, W) or (N, H, W, 3), in the size of the first, side by side with a white line between."""
    if len(pictures) == 1:
        return pictures[0]
    size = pictures[0].shape[1:3]
    colored = [each if each.ndim == 4 else np.repeat(each[..., None], 3, axis=-1) for each in pictures]
    line = np.ones((len(colored[0]), size[0], max(size[1] // 24, 1), 3))
    joined = [part for each in colored for part in (line, fit_size(each, size))]
    return np.concatenate(joined[1:], axis=2)


def scale_images(images: np.ndarray) -> np.ndarray:
    """Scales images (N, H, W, C) of any float values to [0, 1], all by the same rule.

    Values in [0, 1] stay, and values in [0, 255] are divided by 255. Otherwise the extremes of each channel become
    black and white. Images without 1 or 3 channels become the mean of their channels.

    Returns:
        Images (N, H, W, 3), or gray ones (N, H, W).
    """
    values = np.nan_to_num(images.astype(np.float64), posinf=0, neginf=0)
    if values.shape[-1] not in (1, 3):
        values = values.mean(axis=-1, keepdims=True)
    low, high = values.min(axis=(0, 1, 2)), values.max(axis=(0, 1, 2))
    if low.min() >= 0 and high.max() <= WHITE:
        low, high = np.zeros_like(low), np.full_like(high, 1 if high.max() <= 1 else WHITE)
    scaled = (values - low) / np.where(high > low, high - low, 1)
    return scaled[..., 0] if scaled.shape[-1] == 1 else scaled


def _write_class_counts(counts: Mapping[str, np.ndarray], names: Sequence[str], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["class", *counts])
        table.writerows(zip(names, *(rows.tolist() for rows in counts.values()), strict=True))
    return path
