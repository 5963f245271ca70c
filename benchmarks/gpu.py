"""Checks Titrate on a GPU: results equal to the CPU's, resuming, memory and speed. Run it with benchmarks/gpu.sh.

    benchmarks/gpu.sh [--smallest] [--check layers|equal|kill|memory|speed|resnet] [--check …]      (default: all)
    smallest: --smallest --check speed

Prints a line per result, and a table of all results at the end. The exit code is 1 if a check fails. `--smallest` uses
the smallest sizes, and the CPU if there is no GPU. The data are scikit-learn's or random, in a temporary folder. Every
run is a separate process, as from the command line. A run whose memory or speed is measured has the GPU to itself.

- layers: outputs and gradients of single layers, with matrix products in full float32, against the CPU's in float64
  (in float32 for layers that compute in float32 anyway). The differences, relative to the largest number of their
  array, must not exceed LAYER_TOLERANCE, also with XLA's deterministic operations. With JAX's default precision they
  are printed but not checked. If `equal` fails, this shows which layer is to blame.
- equal: the same command trains on the GPU and on the CPU for 10 to 80 steps, with matrix products in full float32
  (JAX_DEFAULT_MATMUL_PRECISION=highest). The differences of losses and parameters, relative to the largest number of
  their array, must not exceed tolerances. Small differences are normal: a sum in another order changes the last of
  float32's seven digits, a GPU approximates functions such as exp differently, and an optimizer that divides by small
  moments amplifies both. For comparison: on the CPU, one core instead of two, or JAX 0.12 instead of 0.10, changes
  losses by up to 5e-7 and parameters by up to 1.5e-5, or 1.2e-3 in a residual network. The same tolerances hold with
  XLA's deterministic operations, whose scatter was silently wrong in JAX 0.5.3 (jax-ml/jax#27796). With JAX's default
  precision, the differences are printed but not checked: NVIDIA's GPUs since 2020 round the factors of a product to
  TF32, which has three digits.
- kill: runs are killed at random times and resumed until they finish, with XLA's deterministic operations. Parameters,
  best weights and history must be bit-identical to those of an uninterrupted run. Other runs, which use the fastest
  operations, share the cache of compiled programs; this must not change a bit either.
- memory: the memory that a dry run predicts and the peak on the GPU must agree within a factor of 2. The peak is that
  of a run whose programs are in the cache: while XLA compiles, it tries algorithms that need more memory.
- speed: steps per second of fashion_mnist_cnn in float32 (TF32, JAX's default) and in bfloat16.
- resnet: images per second of ResNet-50 in bfloat16, with 128 images of 224 x 224 pixels per batch, and of PyTorch's
  ResNet-50 in channels_last under autocast, eager and compiled. Both train on uint8 images that are on the device.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

TORCH_COMPILE_SECONDS = 90  # without this time left, the compiled PyTorch model is skipped
REQUIRED = (
    "jax",
    "flax",
    "optax",
    "numpy",
    "hydra",
    "omegaconf",
    "antlr4",
    "packaging",
    "yaml",
    "rich",
    "pyarrow",
    "sklearn",
)
OPTIONAL = {  # what does not work without a module
    "mlflow": "runs are recorded in their folders only",
    "matplotlib": "runs draw no figures",
    "PIL": "images can't be read from or written to files",
    "safetensors": "weights=safetensors can't be read",
    "torch": "ResNet-50 is not compared with PyTorch's",
}
# Environment variables of runs.
DETERMINISTIC = {"XLA_FLAGS": "--xla_gpu_deterministic_ops=true"}
FULL_PRECISION = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
VARIANTS = {"full": FULL_PRECISION, "deterministic": FULL_PRECISION | DETERMINISTIC, "default": {}}
LOSS_TOLERANCE = 1e-5
LAYER_TOLERANCE = 1e-5  # float32 has seven digits; sums over a batch of images lose one or two
EQUAL = {  # experiments of the check `equal`, the tolerance of their parameters, and how they are changed
    "digits_mlp": (1e-3, "training.epochs=2"),
    # Adam turns rounding errors into whole steps where a gradient is 0. cuDNN's deterministic gradient of a kernel, a
    # Winograd algorithm, leaves 7e-6 of the largest element there, and losses would differ by 1.5e-3.
    "digits_cnn": (1e-2, "training.epochs=1", "optimizer.eps=0.001"),
    "california_housing_wide_deep": (1e-3, "training.epochs=8"),
    # The biases of its normalizations start at 0, and their gradients are sums that almost cancel. With its own
    # learning rate of 0.1, one core instead of two changes the losses by 3e-3 after 20 steps.
    "fashion_mnist_resnet": (1e-2, "training.epochs=1", "training.limit_batches=10", "learning_rate=0.001"),
}
RUN_OVERRIDES = ("tracking=none", "quiet=true")
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@dataclass(frozen=True)
class Sizes:
    """How much each check does.

    Attributes:
        seconds: time for all checks.
        variants: names in `VARIANTS` that the check `equal` tries.
        killed: experiments of the check `kill`.
        kills: how many times each experiment is killed.
        kill_epochs: epochs of each experiment.
        limit_batches: `training.limit_batches` of fashion_mnist_cnn.
        network: architecture of the check `resnet`.
        side: side of the images of `resnet` in pixels.
        batch: batch size of `resnet`.
        steps: steps per epoch of `resnet`.
        epochs: timed epochs of `resnet`.
    """

    seconds: float = 470
    variants: tuple[str, ...] = ("full", "deterministic", "default")
    killed: tuple[str, ...] = ("digits_cnn", "california_housing_wide_deep")
    kills: int = 3
    kill_epochs: int = 60
    limit_batches: int | None = None
    network: str = "resnet50"
    side: int = 224
    batch: int = 128
    steps: int = 64
    epochs: int = 3


SMALLEST = Sizes(
    seconds=3600,
    variants=("full",),
    killed=("digits_cnn",),
    kills=1,
    kill_epochs=20,
    limit_batches=2,
    network="resnet20",
    side=8,
    batch=2,
    steps=2,
    epochs=1,
)


class Failed(Exception):
    """A process failed, or its results can't be compared."""


@dataclass
class Bench:
    """Runs processes in folders and collects the results of checks.

    Attributes:
        sizes: how much each check does.
        platform: JAX's platform that is checked, "gpu" or "cpu".
        folder: holds a folder per process, the data and the caches.
        results: names of checks, results as text, and "ok", "FAILED" or "" (not checked).
        processes: all processes that were started.
        start_time: in seconds of `time.monotonic`.
    """

    sizes: Sizes
    platform: str
    folder: Path
    results: list[tuple[str, str, str]] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    start_time: float = field(default_factory=time.monotonic)

    def report(self, check: str, result: str, passed: bool | None = None) -> None:
        """Prints a result and keeps it for the table. `passed` is None for a result that is not checked."""
        verdict = {None: "", True: "ok", False: "FAILED"}[passed]
        self.results.append((check, result, verdict))
        print(f"{time.monotonic() - self.start_time:4.0f} s  {check}: {result}  {verdict}".rstrip(), flush=True)

    @contextlib.contextmanager
    def reporting_errors(self, check: str) -> Iterator[None]:
        """Reports an exception as a failed check, so that the other checks still run."""
        try:
            yield
        except Exception as error:
            self.report(check, f"{type(error).__name__}: {error}", False)

    def seconds_left(self) -> float:
        return self.sizes.seconds - (time.monotonic() - self.start_time)

    def start(self, *arguments: str, name: str, platform: str | None = None, **variables: str) -> subprocess.Popen[str]:
        """Starts a process of Python.

        Args:
            arguments: the arguments of Python.
            name: the name of its folder.
            platform: of JAX; by default the one that is checked.
            variables: environment variables.
        """
        (self.folder / name).mkdir(exist_ok=True)
        environment = os.environ | {
            "TITRATE_DATA": str(self.folder / "data"),
            "TITRATE_CACHE": str(self.folder / "cache"),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # otherwise the peak would be what JAX reserves
        }
        if (platform or self.platform) == "cpu":
            environment["JAX_PLATFORMS"] = "cpu"
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder / name,
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Kills the processes that a failed check has left running."""
        for process in self.processes:
            process.kill()
            process.wait()

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Waits for a process and returns its output.

        Raises:
            Failed: the process fails, or no time is left.
        """
        try:
            output, _ = process.communicate(timeout=max(1.0, self.seconds_left()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed(f"out of time: {' '.join(process.args[1:])}") from None
        if process.returncode:
            raise Failed(f"{' '.join(process.args[1:])} exited with {process.returncode}:\n{output[-3000:]}")
        return output

    def train(self, *overrides: str, name: str, platform: str | None = None, **variables: str) -> subprocess.Popen[str]:
        """Starts a run of Titrate."""
        return self.start("-m", "runner", *overrides, *RUN_OVERRIDES, name=name, platform=platform, **variables)

    def run_folder(self, name: str) -> Path:
        """Returns the folder of the only run of a process."""
        (folder,) = (self.folder / name).glob("outputs/2*")
        return folder

    def load_summary(self, name: str) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.run_folder(name) / "summary.json").read_text())
        return summary

    def load_checkpoints(self, name: str) -> dict[str, np.ndarray]:
        """Loads the last training state and the best weights of the only run of a process."""
        checkpoints = self.run_folder(name) / "checkpoints"
        arrays = {}
        for path in (max(checkpoints.glob("step_*.npz")), max(checkpoints.glob("best_*.npz"))):
            with np.load(path) as file:
                arrays |= {f"{path.name} {key}": file[key] for key in file.files if key.startswith("leaf")}
        return arrays


def check_layers(bench: Bench) -> None:
    """Compares single layers with float64, with all variants."""
    processes = {
        variant: bench.start(__file__, "--measure-layers", name=f"layers_{variant}", **VARIANTS[variant])
        for variant in bench.sizes.variants
    }
    for variant, process in processes.items():
        with bench.reporting_errors(f"layers {variant}"):
            differences = json.loads(re.findall(r"^\{.*\}$", bench.finish(process), re.MULTILINE)[-1])
            for layer, numbers in differences.items():
                text = ", ".join(f"{name} {number:.1e}" for name, number in numbers.items())
                passed = max(numbers.values()) <= LAYER_TOLERANCE if variant != "default" else None
                bench.report(f"layers {layer}", f"{variant}: {text} from float64", passed)


def measure_layers() -> dict[str, dict[str, float]]:
    """Returns the differences of output, gradient of the input and gradients of the parameters, for each layer."""
    import flax.linen as nn
    import jax.numpy as jnp

    from components import layer

    class Lookup(nn.Module):
        """The rows of a table. Its gradient is a scatter, which adds up the gradients of rows that occur often."""

        @nn.compact
        def __call__(self, x: Any, *, train: bool) -> Any:
            table = self.param("table", nn.initializers.normal(), (50, 16))
            return table[jnp.abs(x * 16).astype(jnp.int32) % 50]

    layers = {
        "conv 3 x 3, 1 to 32": (layer.Conv(32, 3), (32, 8, 8, 1)),
        "conv 3 x 3, 32 to 64": (layer.Conv(64, 3), (32, 8, 8, 32)),
        "conv 3 x 3, stride 2": (layer.Conv(32, 3, stride=2), (32, 16, 16, 16)),
        "conv 5 x 5, 6 to 16": (layer.Conv(16, 5, padding="VALID"), (32, 14, 14, 6)),
        "conv 1 x 1": (layer.Conv(64, 1), (32, 14, 14, 32)),
        "depthwise conv": (layer.DepthwiseConv(3), (32, 14, 14, 32)),
        "max-pool 2 x 2": (layer.MaxPool(2), (32, 8, 8, 64)),
        "max-pool 5 x 5": (layer.MaxPool(5), (32, 15, 15, 16)),
        "average pool 2 x 2": (layer.AveragePool(2), (32, 8, 8, 64)),
        "batch norm": (layer.BatchNorm(), (32, 8, 8, 64)),
        "dense": (layer.Dense(128), (32, 1024)),
        "lookup": (Lookup(), (2048,)),
    }
    return {name: measure_layer(module, shape) for name, (module, shape) in layers.items()}


def measure_layer(module: Any, shape: tuple[int, ...]) -> dict[str, float]:
    """Returns the differences between one layer on JAX's default device and the same layer on the CPU in float64."""
    import jax

    random = np.random.default_rng(0)
    x = random.normal(size=shape).astype(np.float32)
    variables = dict(jax.device_get(module.init(jax.random.key(0), x, train=False)))
    parameters = variables.pop("params", {})

    def apply(parameters: Any, x: Any) -> Any:
        return module.apply({"params": parameters, **variables}, x, train=True, mutable=True)[0]

    weights = random.normal(size=jax.eval_shape(apply, parameters, x).shape).astype(np.float32)

    @jax.jit
    def differentiate(parameters: Any, x: Any) -> Any:
        output, backward = jax.vjp(apply, parameters, x)
        of_parameters, of_input = backward(weights.astype(output.dtype))
        return {"output": output, "gradient of the input": of_input, "of the parameters": of_parameters}

    measured = jax.device_get(differentiate(parameters, x))
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        doubled = jax.tree.map(lambda array: array.astype(np.float64), (parameters, x))
        expected = jax.device_get(differentiate(*doubled))
    return {
        name: max(map(relative_difference, jax.tree.leaves(expected[name]), jax.tree.leaves(measured[name])))
        for name in ("output", "gradient of the input", "of the parameters")
        if jax.tree.leaves(measured[name])
    }


def check_equal(bench: Bench) -> None:
    """Trains on both platforms and with all variants at the same time, as these networks are small."""
    for experiment, (parameter_tolerance, *changes) in EQUAL.items():
        with bench.reporting_errors(f"equal {experiment}"):
            overrides = (f"experiment={experiment}", *changes)
            name = f"equal_{experiment}"
            variants = bench.sizes.variants
            processes = [bench.train(*overrides, name=f"{name}_cpu", platform="cpu")]
            for variant in variants:
                process = bench.train(*overrides, name=f"{name}_{variant}", **VARIANTS[variant])
                processes.append(process)
            for process in processes:
                bench.finish(process)
            for variant in variants:
                differences = compare_runs(bench, f"{name}_cpu", f"{name}_{variant}")
                passed = None
                if variant != "default":
                    tolerances = {"losses": LOSS_TOLERANCE, "parameters": parameter_tolerance}
                    passed = all(difference <= tolerances[kind] for kind, difference in differences.items())
                text = ", ".join(f"{kind} {difference:.1e}" for kind, difference in differences.items())
                bench.report(f"equal {experiment}", f"{variant}: {text} from the CPU's", passed)


def compare_runs(bench: Bench, first: str, second: str) -> dict[str, float]:
    """Returns the largest relative differences of the losses and of the parameters of two runs."""
    first_parameters, second_parameters = (load_parameters(bench, name) for name in (first, second))
    if first_parameters.keys() != second_parameters.keys():
        raise Failed(f"{first} and {second} have different parameters")
    return {
        "losses": relative_difference(load_losses(bench, first), load_losses(bench, second)),
        "parameters": max(
            relative_difference(array, second_parameters[name]) for name, array in first_parameters.items()
        ),
    }


def load_losses(bench: Bench, name: str) -> np.ndarray:
    """Returns the losses of every epoch in training and validation, (epochs, 2)."""
    history = bench.load_summary(name)["history"]
    return np.array([[epoch["train/loss"], epoch["valid/loss"]] for epoch in history])


def load_parameters(bench: Bench, name: str) -> dict[str, np.ndarray]:
    """Returns the arrays of the model in the last training state, without the optimizer's."""
    arrays = bench.load_checkpoints(name)
    return {key: array for key, array in arrays.items() if re.match(r"step_\d+.npz leaf\.(param|model)", key)}


def relative_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the largest difference, relative to the largest number of the first array. NaN counts as infinite."""
    largest = max(np.abs(first).max(initial=0), 1e-30)
    difference = np.abs(first.astype(np.float64) - second).max(initial=0) / largest
    return float(difference) if np.isfinite(difference) else np.inf


def check_kill(bench: Bench) -> None:
    """Kills runs during the start or during training, resumes them, and compares them with an uninterrupted run."""
    for experiment in bench.sizes.killed:
        with bench.reporting_errors(f"kill {experiment}"):
            epochs = f"training.epochs={bench.sizes.kill_epochs}"
            overrides = (f"experiment={experiment}", epochs, "training.checkpoint_minutes=0.002")
            uninterrupted, killed = f"kill_{experiment}_none", f"kill_{experiment}"
            start = time.monotonic()
            bench.finish(bench.train(*overrides, name=uninterrupted, **DETERMINISTIC))
            kills = kill_and_resume(bench, overrides, killed, 0.5 * (time.monotonic() - start))
            log = (bench.run_folder(killed) / "log.txt").read_text()
            resumed_steps = [int(step) for step in re.findall(r"resuming from step (\d+)", log)]
            identical = are_identical(bench, uninterrupted, killed)
            bits = "same" if identical else "other"
            result = f"{kills} kills, resumed from steps {resumed_steps}, {bits} bits"
            bench.report(f"kill {experiment}", result, identical and any(resumed_steps))


def kill_and_resume(bench: Bench, overrides: tuple[str, ...], name: str, max_seconds: float) -> int:
    """Starts a run and kills it, several times, and lets it finish at last.

    Args:
        overrides: of the run.
        name: the folder of the process.
        max_seconds: the longest time from the start of a process to its kill.

    Returns:
        How many processes were killed before they finished.
    """
    generator, kills, finished = random.Random("titrate"), 0, False
    for during_start in itertools.islice(itertools.cycle((False, False, True)), bench.sizes.kills):
        seconds = generator.uniform(0, max_seconds if during_start else 0.3)
        process = bench.train(*overrides, name=name, **DETERMINISTIC)
        kills += kill_process(process, bench.folder / name, seconds, during_start=during_start)
        finished = any((bench.folder / name).glob("outputs/2*/summary.json"))
        if finished:
            break
    if not finished:
        bench.finish(bench.train(*overrides, name=name, **DETERMINISTIC))
    return kills


def kill_process(process: subprocess.Popen[str], folder: Path, seconds: float, *, during_start: bool) -> bool:
    """Waits and kills a process. Returns whether it was still running.

    Args:
        process: of a run.
        folder: the folder of the process.
        seconds: how long to wait, from now or from the next checkpoint of the run.
        during_start: whether to wait from now.
    """
    checkpoints, deadline = find_checkpoints(folder), time.monotonic() + 120
    while not during_start and process.poll() is None and time.monotonic() < deadline:
        if find_checkpoints(folder) != checkpoints:
            break
        time.sleep(0.005)
    time.sleep(seconds)
    is_running = process.poll() is None
    process.kill()
    process.communicate()
    return is_running


def find_checkpoints(folder: Path) -> set[str]:
    """Returns the names of the checkpoints of all runs in a folder."""
    return {path.name for path in folder.glob("outputs/2*/checkpoints/step_*.npz")}


def are_identical(bench: Bench, first: str, second: str) -> bool:
    """Whether two runs have bit-identical training states, best weights and histories."""
    states = [{key: array.tobytes() for key, array in bench.load_checkpoints(name).items()} for name in (first, second)]
    histories = [bench.load_summary(name)["history"] for name in (first, second)]
    return states[0] == states[1] and histories[0] == histories[1]


def check_memory(bench: Bench) -> None:
    """Compares the memory that a dry run of fashion_mnist_cnn predicts with the peak of its training."""
    overrides = fashion_overrides(bench, "float32")
    output = bench.finish(bench.start("-m", "runner", *overrides, "tracking=none", "mode=dry_run", name="dry_run"))
    section = output.partition("memory of the compiled programs")[2]
    sizes = re.findall(r"^  (?:training|evaluation) +([\d.,]+) ?(\w?B)", section, re.MULTILINE)
    predicted = max(float(number.replace(",", "")) * UNITS[unit] for number, unit in sizes)
    peaks = []
    for name in ("compiling", "speed_float32"):  # the second run takes the programs from the cache
        bench.finish(bench.train(*overrides, name=name))
        peaks.append(bench.load_summary(name)["metrics"]["peak_memory_bytes"])
    compiling_peak, peak = peaks
    result = (
        f"fashion_mnist_cnn: dry run {predicted / 1e6:,.1f} MB, {bench.platform} peak {peak / 1e6:,.1f} MB, "
        f"{compiling_peak / 1e6:,.1f} MB while compiling"
    )
    bench.report("memory", result, 0.5 <= peak / predicted <= 2 if bench.platform == "gpu" else None)


def check_speed(bench: Bench) -> None:
    """Measures steps per second in float32 and in bfloat16."""
    for precision in ("float32", "bfloat16"):
        with bench.reporting_errors(f"speed {precision}"):
            name = f"speed_{precision}"
            if not (bench.folder / name).exists():  # `check_memory` has already run it in float32
                bench.finish(bench.train(*fashion_overrides(bench, precision), name=name))
            summary = bench.load_summary(name)
            metrics = summary["metrics"]
            waited = f"waited for input {metrics['input_wait_fraction']:.0%} of the time"
            result = f"fashion_mnist_cnn, batch size 32: {metrics['steps_per_second']:,.1f} steps/s, {waited}"
            bench.report(f"speed {precision}", result, np.isfinite(summary["history"][-1]["train/loss"]))


def fashion_overrides(bench: Bench, precision: str) -> tuple[str, ...]:
    """Returns the overrides of a run of fashion_mnist_cnn."""
    limit = f"training.limit_batches={json.dumps(bench.sizes.limit_batches)}"
    return "experiment=fashion_mnist_cnn", "training.epochs=2", f"training.precision={precision}", limit


def check_resnet(bench: Bench) -> None:
    """Measures images per second of Titrate and of PyTorch, each in a process of its own."""
    sizes = bench.sizes
    measure_resnet(bench, "resnet titrate", "titrate", sizes.network)
    for mode in ("eager", "compiled"):
        check = f"resnet torch {mode}"
        if bench.platform == "cpu":
            bench.report(check, "skipped: no GPU")
        elif not importlib.util.find_spec("torch"):
            bench.report(check, "skipped: no PyTorch")
        elif mode == "compiled" and bench.seconds_left() < TORCH_COMPILE_SECONDS:
            bench.report(check, "skipped: no time left")
        else:
            measure_resnet(bench, check, "torch", mode)


def measure_resnet(bench: Bench, check: str, library: str, variant: str) -> None:
    """Runs `measure_titrate` or `measure_torch` in a process and reports its result."""
    sizes = bench.sizes
    numbers = [str(number) for number in (sizes.side, sizes.batch, sizes.steps, sizes.epochs)]
    with bench.reporting_errors(check):
        process = bench.start(__file__, "--measure", library, variant, *numbers, name=f"resnet_{library}_{variant}")
        measured = json.loads(re.findall(r"^\{.*\}$", bench.finish(process), re.MULTILINE)[-1])
        rate, peak = measured["images_per_second"], measured["peak"]
        network = f"{sizes.network}, {sizes.side} x {sizes.side}, batch size {sizes.batch}"
        bench.report(check, f"{network}: {rate:,.1f} images/s, peak {peak / 1e9:.2f} GB")


def measure_titrate(network: str, side: int, batch: int, steps: int, epochs: int) -> dict[str, float]:
    """Trains one of our architectures on random images."""
    import runner
    from components.data import Arrays

    pixels, labels = make_images(side, batch, steps)
    source = Arrays(columns={"image": pixels, "label": labels}, valid=batch, test=batch)
    overrides = [
        f"architecture={network}",
        "optimizer=sgd",
        "optimizer.momentum=0.9",
        "training.precision=bfloat16",
        f"training.batch_size={batch}",
        f"training.evaluation_batch_size={batch}",
        f"training.epochs={epochs}",
    ]
    metrics = runner.run(*overrides, *RUN_OVERRIDES, source=source).metrics
    return {"images_per_second": metrics["steps_per_second"] * batch, "peak": metrics["peak_memory_bytes"]}


def make_images(side: int, batch: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Makes random images of up to 1000 classes: `steps` training batches, a validation batch and a test batch."""
    rows = batch * (steps + 2)
    classes = max(2, min(1000, rows // 8))
    pixels = np.random.default_rng(0).integers(0, 256, (rows, side, side, 3), np.uint8)
    return pixels, (np.arange(rows) % classes).astype(np.int32)


def measure_torch(mode: str, side: int, batch: int, steps: int, epochs: int) -> dict[str, float]:
    """Trains ResNet-50 in PyTorch on random images that are on the device."""
    import torch
    from torch import nn

    def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            first, middle = convolution(inputs, width, 1), convolution(width, width, 3, stride)
            self.body = nn.Sequential(*first, nn.ReLU(), *middle, nn.ReLU(), *convolution(width, 4 * width, 1))
            is_identity = stride == 1 and inputs == 4 * width
            self.shortcut = nn.Sequential(*([] if is_identity else convolution(inputs, 4 * width, 1, stride)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.body(x) + self.shortcut(x))

    layers, channels = [*convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        for block in range(depth):
            layers.append(Bottleneck(channels, 64 << stage, 2 if stage and not block else 1))
            channels = 256 << stage
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))
    model = model.cuda().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    pixels, labels = (torch.from_numpy(array).cuda() for array in make_images(side, batch, steps))
    labels = labels.long()

    def objective(pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = pixels.permute(0, 3, 1, 2).float().div(255)  # a view in channels_last
        with torch.autocast("cuda", torch.bfloat16):
            return nn.functional.cross_entropy(model(x), labels)

    if mode == "compiled":
        objective = torch.compile(objective)
    torch.backends.cudnn.benchmark = True
    for epoch in range(epochs + 1):  # the first epoch is not timed: it compiles and chooses algorithms
        if epoch == 1:
            torch.cuda.synchronize()
            start = time.perf_counter()
        for rows in torch.randperm(batch * steps, device="cuda").split(batch):
            optimizer.zero_grad(set_to_none=True)
            objective(pixels[rows], labels[rows]).backward()
            optimizer.step()
    torch.cuda.synchronize()
    rate = epochs * steps * batch / (time.perf_counter() - start)
    return {"images_per_second": rate, "peak": torch.cuda.max_memory_allocated()}


def write_data(folder: Path) -> None:
    """Writes files in the formats of Fashion-MNIST and California housing, with random contents."""
    random = np.random.default_rng(0)
    (folder / "fashion_mnist").mkdir(parents=True)
    for name, rows in (("train", 60_000), ("t10k", 10_000)):
        labels = (np.arange(rows) % 10).astype(np.uint8)
        pixels = random.integers(0, 128, (rows, 28, 28), np.uint8) + 12 * labels[:, None, None]
        write_idx(folder / f"fashion_mnist/{name}-images-idx3-ubyte", pixels)
        write_idx(folder / f"fashion_mnist/{name}-labels-idx1-ubyte", labels)
    columns = "longitude latitude housing_median_age total_rooms total_bedrooms population households median_income"
    lines = [",".join([*columns.split(), "median_house_value", "ocean_proximity"])]
    for row in range(2000):
        location = f"{random.uniform(-124, -114):.2f},{random.uniform(32, 42):.2f}"
        numbers = [f"{number:.1f}" for number in random.uniform(1, 50, 7)]
        numbers[2] = "" if row % 10 == 0 else numbers[2]  # total_bedrooms
        lines.append(f"{location},{','.join(numbers)},{('INLAND', 'ISLAND', 'NEAR BAY')[row % 3]}")
    (folder / "california_housing").mkdir()
    (folder / "california_housing/housing.csv").write_text("\n".join(lines))


def write_idx(path: Path, array: np.ndarray) -> None:
    """Writes an array of bytes as an IDX file."""
    sizes = np.array(array.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


def check_modules() -> None:
    """Prints which optional modules are missing, and exits if a required one is missing."""
    for name, consequence in OPTIONAL.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name} is missing: {consequence}")
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(
            f"Python {sys.version.split()[0]} has no {', '.join(missing)}. "
            "Install them, or set WHEELS to a folder with their wheels."
        )


# Runs in a process of its own, as JAX would reserve the GPU for this one.
PRINT_DEVICE = """
import jax, json
device = jax.devices()[0]
print(json.dumps([device.platform, device.device_kind, jax.__version__]))
"""
CHECKS = {
    "layers": check_layers,
    "equal": check_equal,
    "kill": check_kill,
    "memory": check_memory,
    "speed": check_speed,
    "resnet": check_resnet,
}


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["--measure"]:  # the process that `measure_resnet` starts
        library, variant, *numbers = arguments[1:]
        measure = {"titrate": measure_titrate, "torch": measure_torch}[library]
        print(json.dumps(measure(variant, *map(int, numbers))))
        return 0
    if arguments[:1] == ["--measure-layers"]:  # the process that `check_layers` starts
        print(json.dumps(measure_layers()))
        return 0
    parser = argparse.ArgumentParser(description="Checks Titrate on a GPU.")
    parser.add_argument("--smallest", action="store_true", help="use the smallest sizes, and the CPU without a GPU")
    parser.add_argument("--check", action="append", choices=CHECKS, dest="checks", help="run only this check")
    options = parser.parse_args(arguments)
    check_modules()
    device = subprocess.run([sys.executable, "-c", PRINT_DEVICE], check=True, stdout=subprocess.PIPE, text=True)
    platform, kind, version = json.loads(device.stdout.splitlines()[-1])
    if platform == "cpu" and not options.smallest:
        sys.exit("JAX finds no GPU. Use --smallest to run the checks on the CPU.")
    print(f"{kind}, JAX {version}, Python {sys.version.split()[0]}", flush=True)
    # A background process may still write figures into the folder when it is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(SMALLEST if options.smallest else Sizes(), platform, Path(folder))
        with contextlib.closing(bench):
            write_data(bench.folder / "data")
            for check in options.checks or CHECKS:
                with bench.reporting_errors(check):
                    CHECKS[check](bench)
    width = max(len(check) for check, _, _ in bench.results)
    print("", *(f"{check:{width}}  {verdict:6}  {result}" for check, result, verdict in bench.results), sep="\n")
    return int(any(verdict == "FAILED" for _, _, verdict in bench.results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
