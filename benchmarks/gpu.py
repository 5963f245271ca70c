"""What a GPU makes of Titrate: the CPU's results, resuming, memory and speed. Call it through benchmarks/gpu.sh.

    benchmarks/gpu.sh [--smallest] [--check equal|kill|memory|speed|resnet] [--check …]      by default all
    smallest, slow: --smallest --check speed

Prints a line per result and then a table of them; the exit code is 1 if a check fails. `--smallest` takes the smallest
sizes and runs on the CPU if there is no GPU. Data comes from scikit-learn or is made up here, in a temporary folder.
Every run is a process of its own, as from the command line; where memory or speed is measured it has the GPU alone.

- equal: the same command trains on GPU and CPU for some 80 steps, products in full float32
  (JAX_DEFAULT_MATMUL_PRECISION=highest). Losses and parameters must agree to TOLERANCE of the largest number of their
  array: sums in another order change the last of float32's seven digits, and an optimizer that divides by small moments
  makes more of it. (On the CPU, one core instead of two, or JAX 0.12 instead of 0.10, changes losses by up to 1e-7 and
  parameters by 1.5e-5; a GPU approximates exp and its kin otherwise, too.) So must those of deterministic operations,
  whose scatter was silently wrong in JAX 0.5.3 (jax-ml/jax#27796). The same is printed, and not judged, for JAX's
  default, which rounds the factors of a product to TF32's three digits on NVIDIA's GPUs since 2020.
- kill: runs are killed at random instants and resumed until they end, with XLA's deterministic operations. Parameters,
  best weights and history must have the bits of a run that nobody killed. (That other runs, with the algorithms that
  are fastest, share the cache of compiled programs is part of it.)
- memory: what a dry run says beside the GPU's own peak; they must be within a factor of 2. The peak is that of a run
  whose programs are compiled already: while XLA compiles, it tries algorithms, in memory that may be several times that
  of the run if there is as much.
- speed: steps per second of fashion_mnist_cnn in float32 (TF32, JAX's default) and bfloat16.
- resnet: images per second of ResNet-50, 224 x 224, 128 a batch, bfloat16, beside PyTorch's in channels_last under
  autocast, eager and compiled. Both train on uint8 images that lie on the device.
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

TOLERANCE = {"losses": 1e-5, "parameters": 1e-3}
COMPILING = 90  # seconds that PyTorch's compiler may take
NEEDED = (
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
DEGRADES = {
    "mlflow": "runs are recorded in their folders only",
    "matplotlib": "runs draw no figures",
    "PIL": "images can't be read from or written to files",
    "safetensors": "weights=safetensors can't be read",
    "torch": "no peer for ResNet-50",
}
DETERMINISTIC = {"XLA_FLAGS": "--xla_gpu_deterministic_ops=true"}
FULL = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
VARIANTS = {"full": FULL, "deterministic": FULL | DETERMINISTIC, "default": {}}
EPOCHS = {"digits_mlp": 2, "digits_cnn": 2, "california_housing_wide_deep": 8}
PLAIN = ("tracking=none", "quiet=true")
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@dataclass(frozen=True)
class Sizes:
    """How much each check does."""

    seconds: float = 470  # for everything
    variants: tuple[str, ...] = ("full", "deterministic", "default")  # of the surroundings
    killed: tuple[str, ...] = ("digits_cnn", "california_housing_wide_deep")
    kills: int = 3  # of each
    kill_epochs: int = 60
    limit_batches: int | None = None  # of Fashion-MNIST
    network: str = "resnet50"
    side: int = 224
    batch: int = 128
    steps: int = 64  # an epoch of the network
    epochs: int = 3


SMALLEST = Sizes(
    3600, ("full",), ("digits_cnn",), 1, 20, limit_batches=2, network="resnet20", side=8, batch=2, steps=2, epochs=1
)


@dataclass
class Bench:
    """The checks, and what came of them."""

    sizes: Sizes
    platform: str  # of JAX: "gpu" or "cpu"
    folder: Path
    results: list[tuple[str, str, str]] = field(default_factory=list)  # check, result, verdict
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def tell(self, check: str, result: str, passed: bool | None = None) -> None:
        """Prints a result and keeps it for the table; `passed` is None where nothing is judged."""
        verdict = "" if passed is None else "ok" if passed else "FAILED"
        self.results.append((check, result, verdict))
        print(f"{time.monotonic() - self.began:4.0f} s  {check}: {result}  {verdict}".rstrip(), flush=True)

    @contextlib.contextmanager
    def attempt(self, check: str) -> Iterator[None]:
        """Tells what breaks as a failed check, so that the next ones have their turn."""
        try:
            yield
        except Exception as error:
            self.tell(check, f"{type(error).__name__}: {error}", False)

    def left(self) -> float:
        """Seconds."""
        return self.sizes.seconds - (time.monotonic() - self.began)

    def start(self, *command: str, name: str, platform: str | None = None, **variables: str) -> subprocess.Popen[str]:
        """A process of Python in the folder `name`, on a platform of JAX's (by default the one that is tried)."""
        (self.folder / name).mkdir(exist_ok=True)
        chosen = {"JAX_PLATFORMS": "cpu"} if (platform or self.platform) == "cpu" else {}
        own = {
            "TITRATE_DATA": str(self.folder / "data"),
            "TITRATE_CACHE": str(self.folder / "cache"),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # the peak is what was used, and PyTorch gets its share
        }
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder / name,
            env=os.environ | own | chosen | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Ends what still runs, after a check that failed."""
        for process in self.processes:
            process.kill()
            process.wait()

    def finish(self, process: subprocess.Popen[str]) -> str:
        """What a process printed; raises Failed where it fails or there is no time left."""
        try:
            printed = process.communicate(timeout=max(1.0, self.left()))[0]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed(f"out of time: {' '.join(process.args[1:])}") from None
        if process.returncode:
            raise Failed(f"{' '.join(process.args[1:])} exited with {process.returncode}:\n{printed[-3000:]}")
        return printed

    def train(self, *words: str, name: str, platform: str | None = None, **variables: str) -> subprocess.Popen[str]:
        """A run of Titrate."""
        return self.start("-m", "runner", *words, *PLAIN, name=name, platform=platform, **variables)

    def run_folder(self, name: str) -> Path:
        """That of the only run of a folder."""
        (found,) = (self.folder / name).glob("outputs/2*")
        return found

    def summary(self, name: str) -> dict[str, Any]:
        """That of the only run of a folder."""
        found: dict[str, Any] = json.loads((self.run_folder(name) / "summary.json").read_text())
        return found

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The last state and the best weights of the only run of a folder."""
        checkpoints = self.run_folder(name) / "checkpoints"
        found = {}
        for path in (max(checkpoints.glob("step_*.npz")), max(checkpoints.glob("best_*.npz"))):
            with np.load(path) as archive:
                found |= {f"{path.name} {key}": archive[key] for key in archive.files if key.startswith("leaf")}
        return found


class Failed(Exception):
    """A process did not do what it was started for."""


def equal(bench: Bench) -> None:
    """Trains on both platforms and with all variants at once: these networks are small."""
    for experiment, epochs in EPOCHS.items():
        with bench.attempt(f"equal {experiment}"):
            words = (f"experiment={experiment}", f"training.epochs={epochs}")
            name = f"equal_{experiment}"
            on_cpu = bench.train(*words, name=f"{name}_cpu", platform="cpu")
            variants = {one: VARIANTS[one] for one in bench.sizes.variants}
            others = [bench.train(*words, name=f"{name}_{one}", **variables) for one, variables in variants.items()]
            for process in (on_cpu, *others):
                bench.finish(process)
            for variant in bench.sizes.variants:
                apart = compare(bench, f"{name}_cpu", f"{name}_{variant}")
                said = ", ".join(f"{what} {value:.1e}" for what, value in apart.items())
                passed = all(apart[what] <= TOLERANCE[what] for what in apart) if variant != "default" else None
                bench.tell(f"equal {experiment}", f"{variant}: {said} from the CPU's", passed)


def compare(bench: Bench, first: str, second: str) -> dict[str, float]:
    """The largest differences of two runs, relative to the largest number of their array."""
    states = [parameters(bench.arrays(name)) for name in (first, second)]
    if states[0].keys() != states[1].keys():
        raise Failed(f"{first} and {second} have different parameters")
    apart = max(relative(value, states[1][name]) for name, value in states[0].items())
    return {"losses": relative(*(losses(bench, name) for name in (first, second))), "parameters": apart}


def losses(bench: Bench, name: str) -> np.ndarray:
    """Those of every epoch, in training and validation."""
    history = bench.summary(name)["history"]
    return np.array([[epoch["train/loss"], epoch["valid/loss"]] for epoch in history])


def parameters(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the last state, without the optimizer's."""
    return {name: array for name, array in arrays.items() if re.match(r"step_\d+.npz leaf\.(param|model)", name)}


def relative(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference, relative to the largest number; NaN is no match."""
    apart = np.abs(first.astype(np.float64) - second).max(initial=0) / max(np.abs(first).max(initial=0), 1e-30)
    return float(apart) if np.isfinite(apart) else np.inf


def kill(bench: Bench) -> None:
    """Kills runs in the midst of training or as they start, and compares what comes of them to the bit."""
    for experiment in bench.sizes.killed:
        with bench.attempt(f"kill {experiment}"):
            epochs = f"training.epochs={bench.sizes.kill_epochs}"
            words = (f"experiment={experiment}", epochs, "training.checkpoint_minutes=0.002")
            whole, other = f"kill_{experiment}_none", f"kill_{experiment}"
            began = time.monotonic()
            bench.finish(bench.train(*words, name=whole, **DETERMINISTIC))
            killed = kill_often(bench, words, other, 0.5 * (time.monotonic() - began))
            log = (bench.run_folder(other) / "log.txt").read_text()
            resumed = [int(step) for step in re.findall(r"resuming from step (\d+)", log)]
            same = same_bits(bench, whole, other)
            result = f"{killed} kills, went on from steps {resumed}, {'same' if same else 'other'} bits"
            bench.tell(f"kill {experiment}", result, same and any(resumed))


def kill_often(bench: Bench, words: tuple[str, ...], name: str, longest: float) -> int:
    """Starts a run again until it comes to its end, killing it meanwhile; how often."""
    dice, killed, finished = random.Random("titrate"), 0, False
    for starting in itertools.islice(itertools.cycle((False, False, True)), bench.sizes.kills):
        seconds = dice.uniform(0, longest if starting else 0.3)
        process = bench.train(*words, name=name, **DETERMINISTIC)
        killed += kill_one(process, bench.folder / name, seconds, starting=starting)
        if finished := any((bench.folder / name).glob("outputs/2*/summary.json")):
            break
    if not finished:
        bench.finish(bench.train(*words, name=name, **DETERMINISTIC))
    return killed


def same_bits(bench: Bench, first: str, second: str) -> bool:
    """Whether two runs have the same state, best weights and history."""
    states = [{key: array.tobytes() for key, array in bench.arrays(name).items()} for name in (first, second)]
    return states[0] == states[1] and bench.summary(first)["history"] == bench.summary(second)["history"]


def kill_one(process: subprocess.Popen[str], folder: Path, seconds: float, *, starting: bool) -> bool:
    """Kills a run so long after its start, or after it has first saved; False where it ended before."""
    before, deadline = saved(folder), time.monotonic() + 120
    while not starting and saved(folder) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(seconds)
    alive = process.poll() is None
    process.kill()
    process.communicate()
    return alive


def saved(folder: Path) -> set[str]:
    """The checkpoints of the runs of a folder."""
    return {path.name for path in folder.glob("outputs/2*/checkpoints/step_*.npz")}


def memory(bench: Bench) -> None:
    """A dry run of fashion_mnist_cnn beside the peak of its training."""
    words = fashion(bench, "float32")
    printed = bench.finish(bench.start("-m", "runner", *words, "tracking=none", "mode=dry_run", name="dry_run"))
    compiled = printed.partition("memory as compiled")[2]
    sizes = re.findall(r"^  (?:training|evaluation) +([\d.,]+) ?(\w?B)", compiled, re.MULTILINE)
    said = max(float(number.replace(",", "")) * UNITS[unit] for number, unit in sizes)
    peaks = {}
    for name in ("compiling", "speed_float32"):
        bench.finish(bench.train(*words, name=name))
        peaks[name] = bench.summary(name)["metrics"]["peak_memory_bytes"]
    peak = peaks["speed_float32"]
    result = (
        f"fashion_mnist_cnn: dry run {said / 1e6:,.1f} MB, {bench.platform} {peak / 1e6:,.1f} MB at its peak, "
        f"{peaks['compiling'] / 1e6:,.1f} MB where it compiles"
    )
    bench.tell("memory", result, 0.5 <= peak / said <= 2 if bench.platform == "gpu" else None)


def speed(bench: Bench) -> None:
    """Steps per second in both precisions."""
    for precision in ("float32", "bfloat16"):
        with bench.attempt(f"speed {precision}"):
            name = f"speed_{precision}"
            if not (bench.folder / name).exists():  # that of `memory` is of use here too
                bench.finish(bench.train(*fashion(bench, precision), name=name))
            metrics = bench.summary(name)["metrics"]
            waited = f"waited for input {metrics['input_wait_fraction']:.0%} of the time"
            result = f"fashion_mnist_cnn, 32 a batch: {metrics['steps_per_second']:,.1f} steps/s, {waited}"
            bench.tell(f"speed {precision}", result, np.isfinite(bench.summary(name)["history"][-1]["train/loss"]))


def fashion(bench: Bench, precision: str) -> tuple[str, ...]:
    """The words of a run of fashion_mnist_cnn."""
    limit = f"training.limit_batches={json.dumps(bench.sizes.limit_batches)}"
    return "experiment=fashion_mnist_cnn", "training.epochs=2", f"training.precision={precision}", limit


def resnet(bench: Bench) -> None:
    """Images per second, ours and PyTorch's."""
    sizes = bench.sizes
    described = f"{sizes.network}, {sizes.side} x {sizes.side}, {sizes.batch} a batch"
    shape = [str(number) for number in (sizes.side, sizes.batch, sizes.steps, sizes.epochs)]
    peers = {"titrate": ("titrate", sizes.network)} | {
        f"torch {mode}": ("torch", mode) for mode in ("eager", "compiled")
    }
    for name, (who, what) in peers.items():
        if who == "torch" and (reason := no_peer(bench)):
            bench.tell(f"resnet {name}", f"skipped: {reason}")
            continue
        if what == "compiled" and bench.left() < COMPILING:
            bench.tell(f"resnet {name}", "skipped: no time left")
            continue
        with bench.attempt(f"resnet {name}"):
            child = bench.start(__file__, "--child", who, what, *shape, name=f"resnet_{who}_{what}")
            found = json.loads(re.findall(r"^\{.*\}$", bench.finish(child), re.MULTILINE)[-1])
            result = (
                f"{described}: {found['images_per_second']:,.1f} images/s, {found['peak'] / 1e9:.2f} GB at its peak"
            )
            bench.tell(f"resnet {name}", result)


def no_peer(bench: Bench) -> str | None:
    """Why PyTorch can't be measured."""
    if bench.platform == "cpu":
        return "no GPU"
    return None if importlib.util.find_spec("torch") else "no PyTorch"


def titrate_images(network: str, side: int, batch: int, steps: int, epochs: int) -> dict[str, float]:
    """A run of ours on random images; the program of training is that of any run."""
    import runner
    from components.data import Arrays

    pixels, labels = images(side, batch, steps)
    source = Arrays(columns={"image": pixels, "label": labels}, valid=batch, test=batch)
    words = [
        f"architecture={network}",
        "optimizer=sgd",
        "optimizer.momentum=0.9",
        "training.precision=bfloat16",
        f"training.batch_size={batch}",
        f"training.evaluation_batch_size={batch}",
        f"training.epochs={epochs}",
    ]
    metrics = runner.run(*words, *PLAIN, source=source).metrics
    return {"images_per_second": metrics["steps_per_second"] * batch, "peak": metrics["peak_memory_bytes"]}


def images(side: int, batch: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images of up to 1000 classes for so many steps, and two batches to be held out."""
    rows = batch * (steps + 2)
    classes = max(2, min(1000, rows // 8))
    pixels = np.random.default_rng(0).integers(0, 256, (rows, side, side, 3), np.uint8)
    return pixels, (np.arange(rows) % classes).astype(np.int32)


def torch_images(mode: str, side: int, batch: int, steps: int, epochs: int) -> dict[str, float]:
    """PyTorch's training step of ResNet-50, on images that lie on the device."""
    import torch
    from torch import nn

    def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            first, middle = convolution(inputs, width, 1), convolution(width, width, 3, stride)
            self.body = nn.Sequential(*first, nn.ReLU(), *middle, nn.ReLU(), *convolution(width, 4 * width, 1))
            same = stride == 1 and inputs == 4 * width
            self.shortcut = nn.Sequential(*([] if same else convolution(inputs, 4 * width, 1, stride)))

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
    pixels, labels = (torch.from_numpy(array).cuda() for array in images(side, batch, steps))
    labels = labels.long()

    def objective(pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = pixels.permute(0, 3, 1, 2).float().div(255)  # channels last, as they lie
        with torch.autocast("cuda", torch.bfloat16):
            return nn.functional.cross_entropy(model(x), labels)

    if mode == "compiled":
        objective = torch.compile(objective)
    torch.backends.cudnn.benchmark = True
    for epoch in range(epochs + 1):  # the first is not counted: it compiles and chooses algorithms
        if epoch == 1:
            torch.cuda.synchronize()
            began = time.perf_counter()
        for rows in torch.randperm(batch * steps, device="cuda").split(batch):
            optimizer.zero_grad(set_to_none=True)
            objective(pixels[rows], labels[rows]).backward()
            optimizer.step()
    torch.cuda.synchronize()
    pace = epochs * steps * batch / (time.perf_counter() - began)
    return {"images_per_second": pace, "peak": torch.cuda.max_memory_allocated()}


def make_data(folder: Path) -> None:
    """Files in the form of Fashion-MNIST and of the housing data, with random contents."""
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
        place = f"{random.uniform(-124, -114):.2f},{random.uniform(32, 42):.2f}"
        numbers = [f"{number:.1f}" for number in random.uniform(1, 50, 7)]
        numbers[2] = "" if row % 10 == 0 else numbers[2]  # total_bedrooms
        lines.append(f"{place},{','.join(numbers)},{('INLAND', 'ISLAND', 'NEAR BAY')[row % 3]}")
    (folder / "california_housing").mkdir()
    (folder / "california_housing/housing.csv").write_text("\n".join(lines))


def write_idx(path: Path, array: np.ndarray) -> None:
    """An IDX file of bytes."""
    sizes = np.array(array.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


def surroundings() -> Iterator[str]:
    """What this machine has, and what it lacks and why that matters."""
    missing = {name for name in (*NEEDED, *DEGRADES) if importlib.util.find_spec(name) is None}
    for name, so in DEGRADES.items():
        if name in missing:
            yield f"no {name}: {so}"
    if lacking := [name for name in NEEDED if name in missing]:
        sys.exit(f"Python {sys.version.split()[0]} lacks {', '.join(lacking)}: a folder WHEELS may hold their wheels")


DEVICE = "import jax, json; d = jax.devices()[0]; print(json.dumps([d.platform, d.device_kind, jax.__version__]))"
CHECKS = {check.__name__: check for check in (equal, kill, memory, speed, resnet)}


def main(words: Sequence[str]) -> int:
    if words[:1] == ["--child"]:
        measure = {"titrate": titrate_images, "torch": torch_images}[words[1]]
        print(json.dumps(measure(words[2], *map(int, words[3:]))))
        return 0
    parser = argparse.ArgumentParser(description="What a GPU makes of Titrate.")
    parser.add_argument("--smallest", action="store_true")
    parser.add_argument("--check", action="append", choices=CHECKS, dest="checks")
    given = parser.parse_args(words)
    print(*surroundings(), sep="\n")
    found = subprocess.run([sys.executable, "-c", DEVICE], check=True, stdout=subprocess.PIPE, text=True)
    platform, kind, version = json.loads(found.stdout.splitlines()[-1])
    if platform == "cpu" and not given.smallest:
        sys.exit("JAX finds no GPU; --smallest tries this script on the CPU")
    print(f"{kind}, JAX {version}, Python {sys.version.split()[0]}", flush=True)
    # Figures may still be drawn in the background as it ends.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(SMALLEST if given.smallest else Sizes(), platform, Path(folder))
        with contextlib.closing(bench):
            make_data(bench.folder / "data")
            for check in given.checks or CHECKS:
                with bench.attempt(check):
                    CHECKS[check](bench)
    width = max(len(check) for check, _, _ in bench.results)
    print("", *(f"{check:{width}}  {verdict:6}  {result}" for check, result, verdict in bench.results), sep="\n")
    return int(any(verdict == "FAILED" for _, _, verdict in bench.results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
