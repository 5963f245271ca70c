"""How long a dry run takes for residual networks of 18 and 50 layers (He et al., 2016), with cold and warm caches.

    python benchmarks/dry_run.py [side] [network ...] [override ...]
    smallest, slow: 32 resnet20 training.batch_size=8

Images are 224 x 224 x 3, or of another side, 32 a batch. Prints, for each network, the seconds from pressing return to
the end of each section of the output: first with an empty cache of compiled programs, then with what that left; and the
seconds of the processor. The figures are those of an empty machine only where the two are close.
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

NETWORKS = ("resnet18", "resnet50")
NOISE = """
import numpy as np

from components.data import Arrays


def images(rows: int, side: int) -> Arrays:
    pixels = np.random.default_rng(0).integers(0, 256, (rows, side, side, 3), np.uint8)
    return Arrays(columns={"image": pixels, "label": (np.arange(rows) % 10).astype(np.int32)}, valid=32, test=32)
"""


def project(folder: Path, side: int) -> None:
    """A user's own folder with images."""
    (folder / "noise.py").write_text(NOISE)
    (folder / "conf" / "data").mkdir(parents=True)
    data = f"# noise\n_target_: noise.images\nrows: 160\nside: {side}\n"
    (folder / "conf" / "data" / "noise.yaml").write_text(data)


def measure(folder: Path, network: str, overrides: tuple[str, ...]) -> dict[str, float]:
    """The seconds at which each section of a dry run was complete."""
    words = ["--allow", "noise", "mode=dry_run", "data=noise", f"architecture={network}", *overrides]
    environment = os.environ | {"TITRATE_CACHE": str(folder / "cache")}
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "runner", *words]
    moments, title = {}, None
    with subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE) as process:
        for line in process.stdout or ():
            title = title or line.strip()
            if not line.strip():
                moments[title.partition(":")[0].partition(",")[0]] = round(time.perf_counter() - began, 2)
                title = None
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    moments["ended"] = round(time.perf_counter() - began, 2)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    moments["processor"] = round(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, 2)
    return moments


def main(side: int = 224, *words: str) -> None:
    found = {}
    overrides = tuple(word for word in words if "=" in word)
    for network in [word for word in words if "=" not in word] or NETWORKS:
        # Figures may still be drawn in the background as it ends.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            project(Path(name), side)
            found[network] = {cache: measure(Path(name), network, overrides) for cache in ("cold", "warm")}
    print(json.dumps({"seconds from return": found}, indent=1))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
