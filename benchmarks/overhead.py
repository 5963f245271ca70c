"""What recording and saving cost: the same run with and without each, in turns.

    python benchmarks/overhead.py tracking|checkpoints [rounds] [override ...]

`tracking` compares tracking=mlflow with tracking=none by whole runs, `checkpoints` saving every epoch with never, by
the seconds of training and evaluation. Prints the seconds of each and the ratio of their medians.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUN = """
import sys
from runner.checkpoint import Checkpoints
if sys.argv[1] == "never":
    Checkpoints.save = lambda self, state, best, meta, then: None
import runner
runner.run(*sys.argv[2:])
"""
CASES = {
    "tracking": {"with": ("always", "tracking=mlflow"), "without": ("always", "tracking=none")},
    "checkpoints": {"with": ("always", "tracking=none"), "without": ("never", "tracking=none")},
}


def seconds(case: str, words: tuple[str, ...], overrides: tuple[str, ...]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        arguments = [words[0], words[1], "quiet=true", "fresh=true", *overrides]
        subprocess.run([sys.executable, "-c", RUN, *arguments], cwd=folder, check=True, capture_output=True)
        (summary,) = Path(folder).glob("outputs/*/summary.json")
        return json.loads(summary.read_text())["seconds"]


def main(case: str, rounds: int = 3, *overrides: str) -> None:
    measured: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(rounds):
        for name, words in CASES[case].items():
            measured[name].append(seconds(case, words, overrides))
    medians = {name: statistics.median(values) for name, values in measured.items()}
    ratio = medians["without"] / medians["with"]
    print(
        json.dumps({"case": case, "overrides": overrides, "seconds": measured, "speed with / without": round(ratio, 4)})
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3, *sys.argv[3:])
