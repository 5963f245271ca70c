"""How long a dry run takes for residual networks of 18 and 50 layers (He et al., 2016), with cold and warm caches.

    python benchmarks/dry_run.py [side] [network or override ...]
    smallest, slow: 32 resnet18 architecture.depths=[1] training.batch_size=8

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

NETWORKS = {
    "resnet18": "_target_: residual.ResNet\ndepths: [2, 2, 2, 2]\nbottleneck: false\n",
    "resnet50": "_target_: residual.ResNet\ndepths: [3, 4, 6, 3]\nbottleneck: true\n",
}
DATA = "_target_: residual.images\nrows: 160\nside: {side}\n"
RESIDUAL = """
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.data import Arrays
from components.layer import BatchNorm, Conv, Dense, GlobalAveragePool, MaxPool
from components.types import Output


class Normed(nn.Module):
    features: int
    kernel: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = Conv(self.features, self.kernel, self.stride, use_bias=False, name="conv")(x, train=train)
        return BatchNorm(name="norm")(x, train=train)


class Block(nn.Module):
    features: int
    stride: int
    bottleneck: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        layers = [(self.features, 3, self.stride), (self.features, 3, 1)]
        if self.bottleneck:
            layers = [(self.features, 1, 1), (self.features, 3, self.stride), (4 * self.features, 1, 1)]
        y = x
        for n, layer in enumerate(layers):
            y = Normed(*layer, name=f"part_{n}")(y, train=train)
            y = nn.relu(y) if n + 1 < len(layers) else y
        if x.shape != y.shape:
            x = Normed(layers[-1][0], 1, self.stride, name="shortcut")(x, train=train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    outputs: int
    depths: tuple[int, ...]
    bottleneck: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = nn.relu(Normed(64, 7, 2, name="stem")(image.astype(self.dtype), train=train))
        x = MaxPool(3, 2, "SAME")(x, train=train)
        for n, depth in enumerate(self.depths):
            for m in range(depth):
                stride = 2 if n > 0 and m == 0 else 1
                x = Block(64 * 2**n, stride, self.bottleneck, name=f"block_{n}_{m}")(x, train=train)
        x = GlobalAveragePool()(x, train=train)
        return Output(Dense(self.outputs, name="head")(x, train=train).astype(jnp.float32))


def images(rows: int, side: int) -> Arrays:
    pixels = np.random.default_rng(0).integers(0, 256, (rows, side, side, 3), np.uint8)
    return Arrays(columns={"image": pixels, "label": (np.arange(rows) % 10).astype(np.int32)}, valid=32, test=32)
"""


def project(folder: Path, side: int) -> None:
    """A user's own folder with the networks and the images."""
    (folder / "residual.py").write_text(RESIDUAL)
    files = {f"architecture/{name}": text for name, text in NETWORKS.items()} | {"data/noise": DATA.format(side=side)}
    for name, text in files.items():
        path = folder / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n{text}")


def measure(folder: Path, network: str, overrides: tuple[str, ...]) -> dict[str, float]:
    """The seconds at which each section of a dry run was complete."""
    words = ["--allow", "residual", "mode=dry_run", "data=noise", f"architecture={network}", *overrides]
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
    overrides = tuple(word for word in words if word not in NETWORKS)
    for network in [word for word in words if word in NETWORKS] or NETWORKS:
        with tempfile.TemporaryDirectory() as name:
            project(Path(name), side)
            found[network] = {cache: measure(Path(name), network, overrides) for cache in ("cold", "warm")}
    print(json.dumps({"seconds from return": found}, indent=1))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
