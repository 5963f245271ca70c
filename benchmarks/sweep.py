"""How long a sweep of six runs takes, compared with one run: whole commands, with tracking in MLflow.

    python benchmarks/sweep.py [rounds] [override ...]
    smallest: 1 tracking=none training.epochs=1

The run is `titrate experiment=digits_cnn`. The sweep trains it with three learning rates and two seeds. Prints the
seconds and their ratio for each of N rounds after one warm-up run, and for the medians. The two commands alternate, so
that a busy machine slows both of them.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.timing import parse_arguments

RUN = ("experiment=digits_cnn",)
SWEEP = ("-m", *RUN, "learning_rate=1e-4,1e-3,1e-2", "seed=1,2")


def measure_command(arguments: tuple[str, ...], folder: str) -> float:
    """Returns the seconds that `titrate` takes."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "runner", *arguments, "quiet=true", "fresh=true"], cwd=folder, check=True)
    return time.monotonic() - start


def main(rounds: int = 3, *overrides: str) -> None:
    # A background process may still write figures into the folder when it is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run, sweep = (*RUN, *overrides), (*SWEEP, *overrides)
        measure_command(run, folder)  # fills the caches, and creates the tables of MLflow's store
        seconds = [(measure_command(run, folder), measure_command(sweep, folder)) for _ in range(rounds)]
    for one, six in seconds:
        print(f"one {one:.1f} s, six {six:.1f} s, ratio {six / one:.2f}")
    one, six = (statistics.median(column) for column in zip(*seconds, strict=True))
    print(f"medians: one {one:.1f} s, six {six:.1f} s, ratio {six / one:.2f}")


if __name__ == "__main__":
    main(*parse_arguments(int))
