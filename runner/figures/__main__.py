"""Draws the figures of the runs whose folder is given, of a sweep those of its runs too: beside a run that is over."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from runner import figures
from runner.run_folder import list_runs


def main(folder: Path) -> None:
    """Draws them one run after the other."""
    os.nice(19)  # runs go first
    for path in (folder, *list_runs(folder)):
        figures.draw(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
