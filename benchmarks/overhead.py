"""How much time tracking and checkpoints take: the same run with and without them.

    python benchmarks/overhead.py tracking|checkpoints [rounds] [override ...]
    smallest: checkpoints 1 training.epochs=1 training.limit_batches=1

`tracking` compares tracking=mlflow with tracking=none. `checkpoints` compares a run that saves checkpoints with a run
that never saves any. Prints the seconds of training and evaluation (`training`), the seconds of the whole command
(`whole`), and the ratios of their medians. Variants alternate, so that a busy machine slows all of them. There is no
warm-up round. A run of three minutes:

    python benchmarks/overhead.py tracking 2 experiment=digits_cnn training.epochs=900
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import parse_arguments

# Its first argument says when checkpoints are saved: always or never. The others are overrides.
RUN = """
import sys
from runner.training.checkpoint import CheckpointFiles
if sys.argv[1] == "never":
    CheckpointFiles.save = lambda self, state, new_best, metadata, on_saved: None
import runner
runner.run(*sys.argv[2:])
"""
CASES = {
    "tracking": {"with": ("always", "tracking=mlflow"), "without": ("always", "tracking=none")},
    "checkpoints": {"with": ("always", "tracking=none"), "without": ("never", "tracking=none")},
}


def measure_run(arguments: tuple[str, ...]) -> dict[str, float]:
    """Returns the seconds of a run: of training and evaluation, and of the whole command."""
    # A background process may still write figures into the folder when it is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-c", RUN, *arguments]
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        whole = time.perf_counter() - start
        (summary,) = Path(folder).glob("outputs/*/summary.json")
        return {"training": json.loads(summary.read_text())["seconds"], "whole": whole}


def main(case: str, rounds: int = 3, *overrides: str) -> None:
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in CASES[case]}
    for _ in range(rounds):
        for name, arguments in CASES[case].items():
            seconds[name].append(measure_run((*arguments, "quiet=true", "fresh=true", *overrides)))
    ratios = {}
    for span in ("training", "whole"):
        medians = {name: statistics.median(run[span] for run in runs) for name, runs in seconds.items()}
        ratios[span] = round(medians["without"] / medians["with"], 4)
    result = {"case": case, "overrides": overrides, "seconds": seconds, "speed with / without": ratios}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*parse_arguments(str, int))
