"""Images in a grid, each with a line or two about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runner.figures import canvas

COLUMNS = 8
SIDE = 1.3  # of an image, in inches
WHITE = 255


def draw(images: np.ndarray, texts: Sequence[str], title: str, path: Path) -> Path:
    """Draws images (N, H, W, C) of any float values with a text below each; the mean of channels, unless 1 or 3."""
    shown = visible(images)
    height = images.shape[1] / images.shape[2]
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    gap = 0.12 * (1 + max(text.count("\n") for text in texts))  # below an image, for its text
    step = height + gap
    figure, [axis] = canvas.panels(1, width=max(SIDE * columns, 4), height=SIDE * rows * step + 0.5)
    for number, (image, text) in enumerate(zip(shown, texts, strict=True)):
        left, top = number % columns, number // columns * step
        axis.imshow(image, extent=(left, left + 0.95, top + 0.95 * height, top), cmap="gray", vmin=0, vmax=1)
        middle, below = left + 0.475, top + 0.97 * height
        axis.text(middle, below, canvas.label(text), ha="center", va="top", fontsize=7, in_layout=False)
    axis.set(xlim=(0, columns), ylim=(rows * step, 0), title=canvas.label(title))
    axis.axis("off")
    return canvas.save(figure, path)


def visible(images: np.ndarray) -> np.ndarray:
    """Images of any float values as (N, H, W, 3) or grey (N, H, W) ones, all by the same rule, in [0, 1].

    What lies in [0, 1] or [0, 255] is taken for that; else each channel's extremes become black and white.
    """
    values = np.nan_to_num(images.astype(np.float64), posinf=0, neginf=0)
    if values.shape[-1] not in (1, 3):
        values = values.mean(axis=-1, keepdims=True)
    low, high = values.min(axis=(0, 1, 2)), values.max(axis=(0, 1, 2))
    if low.min() >= 0 and high.max() <= WHITE:
        low, high = np.zeros_like(low), np.full_like(high, 1 if high.max() <= 1 else WHITE)
    scaled = (values - low) / np.where(high > low, high - low, 1)
    return scaled[..., 0] if scaled.shape[-1] == 1 else scaled
