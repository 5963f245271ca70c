"""How long a short run takes from pressing return to each line of its log, with warm caches.

    python benchmarks/start.py [rounds] [override ...]
    smallest: 1 tracking=none training.epochs=1

The run is `titrate experiment=digits_cnn`. Prints the median seconds of N rounds after one warm-up round, which fills
the caches: to each line of the run's log (of the epochs, only the first and the last), and to the end of the command
(`ended`). Also prints the median seconds of `--help` and of commands with mistakes in their overrides.
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

from benchmarks.timing import parse_arguments

MISTAKES = (
    ["optimizer=nadm"],
    ["optimizer.b3=1"],
    ["architecture=sequential", "architecture.layers.0.features=0"],
    ["loss._target_=optax.losses.huber_los"],
    ["epochs=3"],
    ["architecture.depth=3"],
    ["optimizer.b1=2", "training.epochs=ten", "trainig.patience=3", "loss.label_smothing=0.1", "metric=[acuracy]"],
)
HELP = (["--help"], ["--help", "optimizer=adam"], ["--help", "architecture=resnet50"])
TITRATE = [sys.executable, "-m", "runner"]


def run_command(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Runs `titrate` in a folder. Returns the seconds that it took, and the time when it started."""
    start_time, start = time.time(), time.perf_counter()
    subprocess.run([*TITRATE, *arguments], cwd=folder, check=False, capture_output=True)
    return time.perf_counter() - start, start_time


def median_seconds(arguments: list[str], folder: Path, rounds: int) -> float:
    return round(statistics.median(run_command(arguments, folder)[0] for _ in range(rounds)), 2)


def read_log_times(folder: Path, start_time: float) -> dict[str, float]:
    """Returns when each line of the newest run's log was written, in seconds since the command started."""
    log = max(folder.glob("outputs/*/log.txt"), key=lambda path: path.stat().st_mtime)
    times: dict[str, float] = {}
    for line in log.read_text().splitlines():
        if match := re.match(r"(\S+ \S+),(\d+) \w+ (.*)", line):
            date, milliseconds, message = match.groups()
            written = datetime.strptime(date, "%Y-%m-%d %H:%M:%S").timestamp() + int(milliseconds) / 1000
            times.setdefault(message.partition(": {")[0], written - start_time)
    epochs = [message for message in times if message.startswith("epoch ")]
    return {message: seconds for message, seconds in times.items() if message not in epochs[1:-1]}


def main(rounds: int = 5, *overrides: str) -> None:
    # A background process may still write figures into the folder when it is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        arguments = ["experiment=digits_cnn", "fresh=true", *overrides]
        run_command(arguments, folder)  # fills the caches
        runs = []
        for _ in range(rounds):
            seconds, start_time = run_command(arguments, folder)
            runs.append(read_log_times(folder, start_time) | {"ended": seconds})
        messages = [message for message in runs[0] if all(message in run for run in runs)]
        result = {
            "seconds from return": {
                message: round(statistics.median(run[message] for run in runs), 2) for message in messages
            },
            "help": {" ".join(words): median_seconds(words, folder, rounds) for words in HELP},
            "mistakes": {" ".join(mistake): median_seconds(mistake, folder, rounds) for mistake in MISTAKES},
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*parse_arguments(int))
