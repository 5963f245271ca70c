"""Where the seconds of a short run go, from pressing return: `titrate experiment=digits_cnn`, with warm caches.

    python benchmarks/start.py [rounds] [override ...]
    smallest, slow: 1 tracking=none training.epochs=1

Runs the command once to fill the caches, then `rounds` times, and prints the median seconds at which each line of the
run's log was written (of the epochs, the first and the last), and its end. Also times `--help` and mistakes in the
configuration.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

MISTAKES = (
    ["optimizer=nadm"],
    ["optimizer.b3=1"],
    ["architecture=sequential", "architecture.layers.0.features=0"],
    ["loss._target_=optax.losses.huber_los"],
    ["optimizer.b1=2", "training.epochs=ten", "trainig.patience=3", "loss.label_smothing=0.1", "metric=[acuracy]"],
)
TITRATE = [sys.executable, "-m", "runner"]


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """The seconds that a command took, and when it began."""
    began, clock = time.time(), time.perf_counter()
    subprocess.run(command, cwd=folder, check=False, capture_output=True)
    return time.perf_counter() - clock, began


def moments(folder: Path, began: float) -> dict[str, float]:
    """When each line of the newest run's log was written, in seconds since the command began."""
    log = max(folder.glob("outputs/*/log.txt"), key=lambda path: path.stat().st_mtime)
    found = {}
    for line in log.read_text().splitlines():
        if stamp := re.match(r"(\S+ \S+),(\d+) \w+ (.*)", line):
            at = datetime.strptime(stamp[1], "%Y-%m-%d %H:%M:%S").timestamp() + int(stamp[2]) / 1000
            found.setdefault(stamp[3].partition(": {")[0], at - began)
    epochs = [name for name in found if name.startswith("epoch ")]
    return {name: at for name, at in found.items() if name not in epochs[1:-1]}


def main(rounds: int = 5, *overrides: str) -> None:
    # Figures may still be drawn in the background as it ends.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        command = [*TITRATE, "experiment=digits_cnn", "fresh=true", *overrides]
        timed(command, folder)
        runs = []
        for _ in range(rounds):
            seconds, began = timed(command, folder)
            runs.append(moments(folder, began) | {"ended": seconds})
        known = [key for key in runs[0] if all(key in run for run in runs)]
        median = {key: round(statistics.median(run[key] for run in runs), 2) for key in known}
        helped = statistics.median(timed([*TITRATE, "--help"], folder)[0] for _ in range(rounds))
        failed = {
            " ".join(words): round(statistics.median(timed([*TITRATE, *words], folder)[0] for _ in range(rounds)), 2)
            for words in MISTAKES
        }
    found = {"seconds from return": median, "--help": round(helped, 2), "mistakes": failed}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
