"""How fast convolutions are as the layers compute them, compared with XLA's own convolution.

    python benchmarks/layers.py [rounds] [part of a case's name ...]
    smallest: 1 1x1,

Measures the forward pass, the gradient of the image and the gradient of the kernel for each convolution, and then the
gradients of two small networks with and without the lowerings for the CPU. `Conv1D` is compared with products of
shifted sequences, and with one product of all windows.

Prints for each case a line of JSON: the median milliseconds of N rounds after one warm-up round, how many times as fast
ours is, and the seconds of tracing and compiling. Variants alternate, so that a busy machine slows all of them.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.timing import parse_arguments, time_variants
from components.architecture import Sequential
from components.layer import (
    BatchNorm,
    Conv,
    Conv1D,
    DepthwiseConv,
    Flatten,
    GlobalAveragePool,
    LocalResponseNorm,
    MaxPool,
    SqueezeExcite,
)
from components.layer.lowering.convolve import convolve

CONVOLUTIONS = {  # (batch, side of the image, channels, features, side of the kernel, stride, groups)
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
SEQUENCES = {  # (batch, steps, channels, features, kernel)
    "3 of 256 steps, 64 -> 64": (64, 256, 64, 64, 3),
    "5 of 256 steps, 32 -> 64": (128, 256, 32, 64, 5),
    "3 of 256 steps, 128 -> 128": (64, 256, 128, 128, 3),
    "7 of 64 steps, 8 -> 16": (32, 64, 8, 16, 7),
    "3 of 168 steps, 4 -> 32": (32, 168, 4, 32, 3),
    "3 of 256 steps, 16 -> 32": (64, 256, 16, 32, 3),
    "3 of 168 steps, 32 -> 32": (32, 168, 32, 32, 3),
    "2 of 256 steps, 64 -> 64": (64, 256, 64, 64, 2),
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


def compile_function(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[..., Any], float]:
    """Returns the compiled function, and the seconds of tracing and compiling."""
    start = time.perf_counter()
    return jax.jit(function).lower(*arguments).compile(), time.perf_counter() - start


def compare_variants(variants: Mapping[str, Callable[..., Any]], rounds: int, *arguments: Any) -> dict[str, Any]:
    """Returns milliseconds and compile seconds of each variant, and the ratio of the first median to `ours`."""
    calls, compile_seconds = {}, {}
    for name, function in variants.items():
        program, compile_seconds[name] = compile_function(function, *arguments)
        calls[name] = lambda program=program: jax.block_until_ready(program(*arguments))
    medians = {name: statistics.median(seconds) for name, seconds in time_variants(calls, rounds).items()}
    return {
        "ms": {name: round(1000 * median, 2) for name, median in medians.items()},
        "times as fast": round(medians[next(iter(variants))] / medians["ours"], 2),
        "compile s": {name: round(seconds, 2) for name, seconds in compile_seconds.items()},
    }


def measure_convolution(case: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Measures the forward pass, and the gradients of the image and of the kernel."""
    batch, side, channels, features, window, stride, groups = case
    x = jax.random.normal(jax.random.key(0), (batch, side, side, channels))
    kernel = jax.random.normal(jax.random.key(1), (window, window, channels // groups, features))
    options = {"padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": groups}
    forward = {
        "xla": partial(lax.conv_general_dilated, window_strides=(stride, stride), **options),
        "ours": partial(convolve, stride=(stride, stride), padding="SAME", groups=groups),
    }
    upstream = jnp.ones_like(forward["ours"](x, kernel))
    image_gradient = {name: lambda x, k, g, f=f: jax.vjp(lambda x: f(x, k), x)[1](g) for name, f in forward.items()}
    kernel_gradient = {name: lambda x, k, g, f=f: jax.vjp(lambda k: f(x, k), k)[1](g) for name, f in forward.items()}
    return {
        "forward": compare_variants(forward, rounds, x, kernel),
        "image": compare_variants(image_gradient, rounds, x, kernel, upstream),
        "kernel": compare_variants(kernel_gradient, rounds, x, kernel, upstream),
    }


def slide(x: jax.Array, size: int) -> list[jax.Array]:
    """The sequences, shifted by each position of a kernel."""
    padded = jnp.pad(x, ((0, 0), ((size - 1) // 2, size // 2), (0, 0)))
    return [padded[:, start : start + x.shape[1]] for start in range(size)]


def measure_sequence(case: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Measures a convolution along sequences with its maximum and both gradients, as in a training step."""
    batch, steps, channels, features, size = case
    x = jax.random.normal(jax.random.key(0), (batch, steps, channels))
    kernel = jax.random.normal(jax.random.key(1), (size, channels, features))
    layer = Conv1D(features, size, use_bias=False)
    forward: dict[str, Callable[..., jax.Array]] = {
        "shifted": lambda x, k: sum((each @ k[n] for n, each in enumerate(slide(x, size))), jnp.float32(0)),
        "windows": lambda x, k: jnp.concatenate(slide(x, size), -1) @ k.reshape(-1, features),
        "ours": lambda x, k: layer.apply({"params": {"kernel": k}}, x, train=True),
    }
    step = {name: jax.grad(lambda x, k, f=f: nn.relu(f(x, k)).max(1).sum(), (0, 1)) for name, f in forward.items()}
    return {"training": compare_variants(step, rounds, x, kernel)}


def measure_network(layers: tuple[Any, ...], rounds: int) -> dict[str, Any]:
    """Measures the gradients of a training step with 32 images per batch."""
    module, x = Sequential(10, layers), jax.random.normal(jax.random.key(0), (32, 32, 32, 3))
    variables = jax.jit(partial(module.init, train=True))(jax.random.key(1), x)

    def loss(params: Any, x: jax.Array) -> jax.Array:
        output, _ = module.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return jnp.square(output.logits).mean()

    def xla_gradients(params: Any, x: jax.Array) -> Any:
        with mock.patch("jax.default_backend", return_value="unknown"):  # not "cpu": without the lowerings
            return jax.grad(loss)(params, x)

    return compare_variants({"xla": xla_gradients, "ours": jax.grad(loss)}, rounds, variables["params"], x)


def main(rounds: int = 7, *names: str) -> None:
    benchmarks: dict[str, tuple[Mapping[str, Any], Callable[..., Any]]] = {
        "convolution": (CONVOLUTIONS, measure_convolution),
        "sequence": (SEQUENCES, measure_sequence),
        "network": (NETWORKS, measure_network),
    }
    for kind, (cases, measure) in benchmarks.items():
        for name, case in cases.items():
            if not names or any(part in name for part in names):
                print(json.dumps({kind: name, **measure(case, rounds)}), flush=True)


if __name__ == "__main__":
    main(*parse_arguments(int))
