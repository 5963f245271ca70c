"""Draws the figures in the folder of a run, or of a sweep and its runs: `python -m runner.figures FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from runner import figures
from runner.garbage import collect_garbage_rarely
from runner.run_folder import list_runs


def main(folder: Path) -> None:
    """Draws the figures of a folder, then those of the runs in it."""
    os.nice(19)  # runs go first
    for path in (folder, *list_runs(folder)):
        figures.draw(path)


if __name__ == "__main__":
    collect_garbage_rarely()
    main(Path(sys.argv[1]))
