"""What all figures share: panels, names that can't do harm, files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.0, 3.5  # of a panel, in inches
DOTS = 100  # an inch
LONGEST = 24  # characters of a name
SIDE_BY_SIDE = 40  # characters below an axis


def panels(count: int, columns: int = 3, *, width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, row by row."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def short(name: object, longest: int = LONGEST) -> str:
    """A name from the data on one line, cut where it is long, without what can't be printed."""
    text = "".join(letter if letter.isprintable() else " " for letter in " ".join(str(name).split()))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def label(text: str) -> str:
    """A text of a figure that isn't TeX, whatever it holds."""
    return text.replace("$", r"\$")


def name_ticks(axis: Axes, names: Sequence[str], *, vertical: bool = False) -> None:
    """Names the places 0, 1, … of an axis, shortly; the upright one counts from the top."""
    labels = [label(short(name)) for name in names]
    if vertical:
        axis.set_yticks(range(len(names)), labels)
        axis.set_ylim(len(names) - 0.5, -0.5)
    else:
        turned = max(map(len, labels)) * len(labels) > SIDE_BY_SIDE
        axis.set_xticks(range(len(names)), labels, rotation=90 if turned else 0)


def finite(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The places where all arrays (N,) are finite, as float64."""
    kept = np.logical_and.reduce([np.isfinite(array) for array in arrays])
    return tuple(array[kept].astype(np.float64) for array in arrays)


def save(figure: Figure, path: Path) -> Path:
    """Writes a PNG file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")  # another process may draw the same
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in a script that the font lacks
            figure.savefig(temporary, format="png", dpi=DOTS, pil_kwargs={"compress_level": 3})
        return temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def unknown(bad: np.ndarray) -> str:
    """What a title adds where some values aren't finite, and so aren't shown."""
    return f"; {bad.sum():,} not finite" if bad.any() else ""
