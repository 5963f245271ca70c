"""How long a dry run of ResNet-18 and ResNet-50 (He et al., 2016) takes, with cold and warm caches.

    python benchmarks/dry_run.py [side] [network ...] [override ...]
    smallest: 32 resnet20 training.batch_size=8

The images have side x side x 3 pixels (by default 224 x 224 x 3), 32 per batch. Prints for each network the seconds
from pressing return to the end of each section of the output, and to the end of the command (`ended`): first with an
empty cache of compiled programs, then with the cache that the first command filled. `processor` is the seconds of
processor time. Where it is far from `ended`, other work on the machine slowed the command.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import parse_arguments

NETWORKS = ("resnet18", "resnet50")
NOISE = """
import numpy as np

from components.data import Arrays


def images(rows: int, side: int) -> Arrays:
    pixels = np.random.default_rng(0).integers(0, 256, (rows, side, side, 3), np.uint8)
    return Arrays(columns={"image": pixels, "label": (np.arange(rows) % 10).astype(np.int32)}, valid=32, test=32)
"""


def write_project(folder: Path, side: int) -> None:
    """Writes a user's project whose option `data=noise` is a source of random images."""
    (folder / "noise.py").write_text(NOISE)
    (folder / "conf" / "data").mkdir(parents=True)
    option = f"# noise\n_target_: noise.images\nrows: 160\nside: {side}\n"
    (folder / "conf" / "data" / "noise.yaml").write_text(option)


def measure_dry_run(folder: Path, network: str, overrides: list[str]) -> dict[str, float]:
    """Returns the seconds from the start to the end of each section, by its title."""
    arguments = ["--allow", "noise", "mode=dry_run", "data=noise", f"architecture={network}", *overrides]
    command = [sys.executable, "-m", "runner", *arguments]
    environment = os.environ | {"TITRATE_CACHE": str(folder / "cache")}
    start, usage_before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, title = {}, ""
    with subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE) as process:
        for line in process.stdout or ():
            title = title or line.strip()
            if not line.strip():  # an empty line ends a section
                seconds[title.partition(":")[0].partition(",")[0]] = round(time.perf_counter() - start, 2)
                title = ""
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    seconds["ended"] = round(time.perf_counter() - start, 2)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_before = usage_before.ru_utime + usage_before.ru_stime
    seconds["processor"] = round(usage.ru_utime + usage.ru_stime - used_before, 2)
    return seconds


def main(side: int = 224, *arguments: str) -> None:
    overrides = [argument for argument in arguments if "=" in argument]
    networks = [argument for argument in arguments if "=" not in argument] or NETWORKS
    seconds = {}
    for network in networks:
        # A background process may still write figures into the folder when it is removed.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            write_project(folder, side)
            seconds[network] = {cache: measure_dry_run(folder, network, overrides) for cache in ("cold", "warm")}
    print(json.dumps({"seconds from return": seconds}, indent=1))


if __name__ == "__main__":
    main(*parse_arguments(int))
