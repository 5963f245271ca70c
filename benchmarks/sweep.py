"""Six settings of digits_cnn in one sweep against one run, whole commands in turns, MLflow and all.

python benchmarks/sweep.py [pairs] [override ...]
smallest, slow: 1 tracking=none training.epochs=1
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

ONE = ["experiment=digits_cnn"]
SIX = ["-m", *ONE, "learning_rate=1e-4,1e-3,1e-2", "seed=1,2"]


def seconds(words: list[str], folder: str) -> float:
    """The wall time of a command, from an empty folder's point of view."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "runner", *words, "quiet=true", "fresh=true"], cwd=folder, check=True)
    return time.monotonic() - began


def main(pairs: int = 3, *overrides: str) -> None:
    """Prints the seconds of both and the ratio of their medians."""
    # Figures may still be drawn in the background as it ends.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        single, six_of_them = [*ONE, *overrides], [*SIX, *overrides]
        seconds(single, folder)  # fills the caches, and makes the store's tables
        rows = [(seconds(single, folder), seconds(six_of_them, folder)) for _ in range(pairs)]
    for one, six in rows:
        print(f"one {one:.1f} s, six {six:.1f} s, ratio {six / one:.2f}")
    one, six = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"medians: one {one:.1f} s, six {six:.1f} s, ratio {six / one:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
