"""Convolutions as the layers compute them against XLA's own: each forward and both gradients, in turns.

    python benchmarks/layers.py [rounds] [part of a name ...]
    smallest: 1 1x1,

Prints the median milliseconds of both, how many times as fast ours is, and the seconds that each took to compile;
then the same of training steps of two small networks, compiled with and without our rules.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from jax import lax

from components.architecture import Sequential
from components.layer import (
    BatchNorm,
    Conv,
    DepthwiseConv,
    Flatten,
    GlobalAveragePool,
    LocalResponseNorm,
    MaxPool,
    SqueezeExcite,
)
from components.layer.lowering.convolve import convolve

CASES = {  # name: (batch, side, channels, features, kernel, stride, groups)
    "depthwise 3x3, 28x28x256": (16, 28, 256, 256, 3, 1, 256),
    "depthwise 3x3 stride 2, 56x56x144": (16, 56, 144, 144, 3, 2, 144),
    "depthwise 3x3, 112x112x32": (16, 112, 32, 32, 3, 1, 32),
    "depthwise 3x3, 7x7x960": (16, 7, 960, 960, 3, 1, 960),
    "depthwise 5x5, 14x14x480": (16, 14, 480, 480, 5, 1, 480),
    "depthwise 5x5 stride 2, 28x28x240": (16, 28, 240, 240, 5, 2, 240),
    "depthwise 7x7, 14x14x384": (16, 14, 384, 384, 7, 1, 384),
    "grouped 3x3, 32 groups, 28x28x256": (16, 28, 256, 256, 3, 1, 32),
    "grouped 3x3, 32 groups, 7x7x1024": (16, 7, 1024, 1024, 3, 1, 32),
    "grouped 5x5, 2 groups, 27x27x96": (16, 27, 96, 256, 5, 1, 2),
    "grouped 3x3 stride 2, 32 groups, 56x56x256": (16, 56, 256, 256, 3, 2, 32),
    "grouped 1x1, 3 groups, 28x28x240": (16, 28, 240, 240, 1, 1, 3),
    "1x1, 28x28x256": (16, 28, 256, 128, 1, 1, 1),
    "1x1 stride 2, 56x56x256": (16, 56, 256, 512, 1, 2, 1),
}
SEPARABLE = (
    Conv(16, 3, 2, activation="relu"),
    *(
        layer
        for features, stride in ((32, 1), (64, 2), (64, 1), (128, 2))
        for layer in (DepthwiseConv(3, stride, use_bias=False), BatchNorm(), Conv(features, 1, activation="swish"))
    ),
    SqueezeExcite(),
    GlobalAveragePool(),
)
GROUPED = (
    Conv(64, 5, activation="relu"),
    LocalResponseNorm(),
    MaxPool(3, 2),
    Conv(128, 5, activation="relu", groups=2),
    MaxPool(3, 2),
    Conv(128, 3, activation="relu", groups=2),
    Flatten(),
)
NETWORKS = {"separable, 32 x 32": SEPARABLE, "grouped, 32 x 32": GROUPED}


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[..., Any], float]:
    """The compiled function, and the seconds of tracing and compiling."""
    began = time.perf_counter()
    return jax.jit(function).lower(*arguments).compile(), time.perf_counter() - began


def compare(ways: Mapping[str, Callable[..., Any]], rounds: int, *arguments: Any) -> dict[str, Any]:
    """Milliseconds and compile seconds of each way, and the ratio of the medians."""
    programs = {name: compiled(function, *arguments) for name, function in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for n in range(rounds + 1):
        for name, (program, _) in programs.items():
            began = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            if n > 0:  # the first call warms the caches
                taken[name].append(1000 * (time.perf_counter() - began))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "ms": {name: round(median, 2) for name, median in medians.items()},
        "times as fast": round(medians["xla"] / medians["ours"], 2),
        "compile s": {name: round(seconds, 2) for name, (_, seconds) in programs.items()},
    }


def convolution(case: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Forward, and the gradients of the image and of the kernel."""
    batch, side, channels, features, window, stride, groups = case
    x = jax.random.normal(jax.random.key(0), (batch, side, side, channels))
    kernel = jax.random.normal(jax.random.key(1), (window, window, channels // groups, features))
    options = {"padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": groups}
    ways = {
        "xla": partial(lax.conv_general_dilated, window_strides=(stride, stride), **options),
        "ours": partial(convolve, stride=(stride, stride), padding="SAME", groups=groups),
    }
    upstream = jnp.ones_like(ways["ours"](x, kernel))
    to_image = {name: lambda x, k, g, f=f: jax.vjp(lambda x: f(x, k), x)[1](g) for name, f in ways.items()}
    to_kernel = {name: lambda x, k, g, f=f: jax.vjp(lambda k: f(x, k), k)[1](g) for name, f in ways.items()}
    return {
        "forward": compare(ways, rounds, x, kernel),
        "image": compare(to_image, rounds, x, kernel, upstream),
        "kernel": compare(to_kernel, rounds, x, kernel, upstream),
    }


def network(layers: tuple[Any, ...], rounds: int) -> dict[str, Any]:
    """A training step's gradients, 32 images a batch."""
    module, x = Sequential(10, layers), jax.random.normal(jax.random.key(0), (32, 32, 32, 3))
    variables = jax.jit(partial(module.init, train=True))(jax.random.key(1), x)

    def loss(params: Any, x: jax.Array) -> jax.Array:
        output, _ = module.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return jnp.square(output.logits).mean()

    def xla(params: Any, x: jax.Array) -> Any:
        with mock.patch("jax.default_backend", return_value="none of ours"):
            return jax.grad(lambda params: loss(params, x))(params)

    ways = {"xla": xla, "ours": lambda params, x: jax.grad(lambda params: loss(params, x))(params)}
    return compare(ways, rounds, variables["params"], x)


def main(rounds: int = 7, *names: str) -> None:
    for title, cases, measure in (("convolution", CASES, convolution), ("network", NETWORKS, network)):
        for name, case in cases.items():
            if not names or any(part in name for part in names):
                print(json.dumps({title: name, **measure(case, rounds)}), flush=True)


if __name__ == "__main__":
    main(*(int(word) if n == 0 else word for n, word in enumerate(sys.argv[1:])))
