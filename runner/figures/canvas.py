"""Shared by all figures: panels, safe labels from the user's data, and PNG files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from runner.data.encode import TARGET

PANEL_WIDTH, PANEL_HEIGHT = 5.0, 3.5  # inches
DOTS_PER_INCH = 100
LONGEST_NAME = 24  # characters
LARGE_NUMBER = 10_000  # zeros of larger numbers are hard to count
HORIZONTAL_ROOM = 40  # characters that fit below an axis side by side


def make_panels(
    count: int, columns: int = 3, *, width: float = PANEL_WIDTH, height: float = PANEL_HEIGHT
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, row by row; `width` and `height` of a panel are in inches."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def shorten(name: object, longest: int = LONGEST_NAME) -> str:
    """A name on one line, cut to `longest` characters. Characters that can't be printed become spaces."""
    one_line = " ".join(str(name).split())
    text = "".join(character if character.isprintable() else " " for character in one_line)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def escape_tex(text: str) -> str:
    """Escapes dollar signs, between which Matplotlib would read TeX."""
    return text.replace("$", r"\$")


def label_ticks(axes: Axes, names: Sequence[str], *, vertical: bool = False) -> None:
    """Labels the positions 0, 1, … of the x axis, or with `vertical` those of the y axis, from top to bottom."""
    labels = [escape_tex(shorten(name)) for name in names]
    if vertical:
        axes.set_yticks(range(len(names)), labels)
        axes.set_ylim(len(names) - 0.5, -0.5)
    else:
        is_crowded = max(map(len, labels)) * len(labels) > HORIZONTAL_ROOM
        axes.set_xticks(range(len(names)), labels, rotation=90 if is_crowded else 0)


def set_readable_ticks(axes: Axes, *, epochs: bool = False) -> None:
    """Writes large numbers at the ticks as `200k`, and with `epochs` has ticks of the x axis at whole numbers only."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        if axis.get_scale() == "linear" and max(abs(low), abs(high)) >= LARGE_NUMBER:
            axis.set_major_formatter(EngFormatter(sep=""))
    if epochs:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def keep_finite(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The rows in which all arrays (N,) are finite, as float64."""
    finite = np.logical_and.reduce([np.isfinite(array) for array in arrays])
    return tuple(array[finite].astype(np.float64) for array in arrays)


def describe_not_finite(not_finite: np.ndarray) -> str:
    """The end of a title, with the number of values that are not finite and not drawn; "" if there are none."""
    return f"; {not_finite.sum():,} not finite" if not_finite.any() else ""


def save_figure(figure: Figure, path: Path) -> Path:
    """Writes a PNG file atomically. Returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")  # another process may draw the same figure
    try:
        with warnings.catch_warnings():
            # The font may lack characters of a name, such as Chinese ones.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH, pil_kwargs={"compress_level": 3})
        return temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def target_suffix(target: str) -> str:
    """The part of the names of figures that tells several targets apart; "" for the only target."""
    return "" if target == TARGET else f"_{target}"


def title_subject(split: str, target: str) -> str:
    """The start of a title: the split, and which of several targets."""
    return split if target == TARGET else f"{split}, {escape_tex(shorten(target))}"
