"""What recording and saving cost: the same run with and without each, in turns.

    python benchmarks/overhead.py tracking|checkpoints [rounds] [override ...]
    smallest, slow: checkpoints 1 training.epochs=1 training.limit_batches=1

`tracking` compares tracking=mlflow with tracking=none, `checkpoints` saving every epoch with never. Prints the seconds
of training and evaluation, those of the whole command, and the ratios of their medians. A run of three minutes:

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


def measure(words: tuple[str, ...], overrides: tuple[str, ...]) -> dict[str, float]:
    """The seconds of a run: those of training and evaluation, and those of the whole command."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        arguments = [*words, "quiet=true", "fresh=true", *overrides]
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", RUN, *arguments], cwd=folder, check=True, capture_output=True)
        whole = time.perf_counter() - began
        (summary,) = Path(folder).glob("outputs/*/summary.json")
        return {"training": json.loads(summary.read_text())["seconds"], "whole": whole}


def main(case: str, rounds: int = 3, *overrides: str) -> None:
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in CASES[case]}
    for _ in range(rounds):
        for name, words in CASES[case].items():
            measured[name].append(measure(words, overrides))
    medians = {
        part: {name: statistics.median(run[part] for run in runs) for name, runs in measured.items()}
        for part in ("training", "whole")
    }
    ratios = {part: round(seconds["without"] / seconds["with"], 4) for part, seconds in medians.items()}
    print(
        json.dumps(
            {"case": case, "overrides": overrides, "seconds": measured, "speed with / without": ratios}, indent=1
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]), *sys.argv[3:])
