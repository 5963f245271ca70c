"""A dry run counts layers and memory exactly, checks that the run fits, and leaves no file."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from runner import memory
from runner.__main__ import main
from runner.modes.dry_run.layers import LayerCall, trace_layers

LENET5 = ("architecture=lenet5",)
MLP = ("architecture=mlp", "architecture.widths=[64,64]")
CNN = ("experiment=digits_cnn",)
MULTIPLY_ADDS = {
    LENET5: {
        "c1": 28 * 28 * 6 * 5 * 5,
        "c3": 10 * 10 * 16 * 5 * 5 * 6,
        "c5": 400 * 120,
        "f6": 120 * 84,
        "head": 84 * 10,
    },
    MLP: {"dense_0": 64 * 64, "dense_1": 64 * 64, "head": 64 * 10},
    CNN: {
        "layers_0": 8 * 8 * 32 * 3 * 3,
        "layers_1": 8 * 8 * 64 * 3 * 3 * 32,
        "layers_5": 1024 * 128,
        "head": 128 * 10,
    },
}
PARAMETERS = {
    LENET5: 61_706,
    MLP: 65 * 64 + 65 * 64 + 65 * 10,
    CNN: 10 * 32 + (9 * 32 + 1) * 64 + 1025 * 128 + 129 * 10,
}
LAYER_LINE = re.compile(r"  (\S+) +(\S*) .*?([\d,]+)  +([\d,.]+)  +([\d.]+ .?B)")

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]


def read_sections(text: str) -> dict[str, list[str]]:
    """The lines of each section of plain output, by its title up to a colon or comma."""
    blocks = [block.splitlines() for block in text.strip().split("\n\n")]
    return {lines[0].partition(":")[0].partition(",")[0]: lines[1:] for lines in blocks}


def read_layers(lines: list[str]) -> dict[str, tuple[int, int]]:
    """Parameters and multiply-adds by layer, from the lines of the layer table."""
    matches = [match for line in lines if (match := LAYER_LINE.fullmatch(line))]
    return {
        match[1].removeprefix("architecture/"): (int(match[3].replace(",", "")), int(match[4].replace(",", "")))
        for match in matches
    }


@pytest.fixture
def without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device has no memory, so that a dry run ends after the sections from shapes."""
    monkeypatch.setattr(memory, "measure_free_memory", lambda: memory.FreeMemory(-(10**9), "in this test"))


VIEW = """
import flax.linen as nn
from components.types import Output

class View:
    adds_inputs = True

    def __call__(self, key, batch):
        return batch._replace(inputs={**batch.inputs, "view": 2 * batch.inputs["image"]})

class Net(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, image, view=None, *, train):
        return Output(nn.Dense(self.outputs)((image if view is None else view).reshape(len(image), -1)))
"""


@pytest.mark.usefixtures("without_compiling")
def test_an_input_that_an_augmentation_adds_is_listed(
    write_module: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    write_module("own", VIEW)
    for group, text in (("architecture", "_target_: own.Net\n"), ("augmentation", "view: {_target_: own.View}\n")):
        (folder := Path("conf", group)).mkdir(parents=True)
        (folder / "view.yaml").write_text(text)
    assert main(["mode=dry_run", *CNN[:1], "architecture=view", "augmentation=[view]"]) == 1
    lines = read_sections(capsys.readouterr().out)["a batch of 32"]
    rows = [re.split(" {2,}", line.strip()) for line in lines[1:]]
    assert [row[0] for row in rows] == ["image", "view", "target"]
    assert rows[1][1:] == [rows[0][1], "nothing: an augmentation adds it"]


@pytest.mark.usefixtures("without_compiling")
def test_frozen_parameters_have_no_gradients(capsys: pytest.CaptureFixture[str]) -> None:
    kept = []
    for words in ([], ["update=[freeze,layer_decay]", "update.freeze.until=2ep"]):
        assert main(["mode=dry_run", *MLP, *words]) == 1
        out, err = capsys.readouterr()
        sections = read_sections(out)
        lines = [re.split(" {2,}", line.strip()) for line in sections["memory estimated from shapes"]]
        sizes = {name: size for name, size, *_ in lines}
        kept.append(sizes["activations, training"])
    assert sections["layers"][-1].split() == ["trained,", "the", "others", "are", "frozen", "650"]
    assert sizes["parameters"] == "35.9 kB"
    assert sizes["gradients"] == "2.6 kB"
    rates = [re.split(" {2,}", line.strip()) for line in sections["learning rates of the layers"][1:]]
    assert rates[:2] == [["0", "1", "architecture/head"], ["1", "0.8", "architecture/dense_1"]]
    assert kept[0] != kept[1], "the layers below the head keep nothing for the backward pass"
    assert "update.freeze: 650 of 8,970 parameters are trained until 2ep: architecture/head/bias, architecture/h" in err


@pytest.mark.usefixtures("without_compiling")
@pytest.mark.parametrize("overrides", [LENET5, MLP, CNN], ids=["lenet5", "mlp", "cnn"])
def test_parameters_and_multiply_adds_of_layers_are_exact(
    overrides: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mode=dry_run", *overrides]) == 1
    found = read_layers(read_sections(capsys.readouterr().out)["layers"])
    total = found.pop("total")
    assert {name: work for name, (_, work) in found.items() if work} == MULTIPLY_ADDS[overrides]
    assert total == (PARAMETERS[overrides], sum(MULTIPLY_ADDS[overrides].values()))
    assert total[0] == sum(parameters for parameters, _ in found.values())


@pytest.mark.usefixtures("without_compiling")
def test_the_schedule_is_shown_over_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("schedule=one_cycle", "schedule.warmup=0.5", "learning_rate=0.5", "training.epochs=8")
    assert main(["mode=dry_run", *MLP, *words]) == 1
    heading, *rows = [line.split() for line in read_sections(capsys.readouterr().out)["schedule"]]
    assert heading == ["step", "learning_rate", "momentum"]
    assert [row[0] for row in rows[:-1]] == ["1", "75", "149", "222", "296"]  # of 37 steps in an epoch
    assert rows[0][1:] == ["0.02", "0.95"]
    rate, momentum = rows[-1][2:]  # after "the run"
    assert (len(rate), rate[0], rate[20], rate[-1]) == (41, "▁", "█", "▁")
    assert (len(momentum), momentum[0], momentum[20], momentum[-1]) == (41, "█", "▁", "█")


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_dry_run_prints_all_sections_and_leaves_no_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_fast: bool
) -> None:
    monkeypatch.setattr("runner.modes.dry_run.report.MAX_COMPILE_SECONDS", 60.0 if is_fast else 0.0)
    assert main(["mode=dry_run", "seed=3", "architecture.widths=[8]", "optimizer=adam"]) == 0
    found = read_sections(capsys.readouterr().out)
    assert list(found) == [
        "a batch of 32",
        "splits",
        "schedule",
        "layers",
        "memory estimated from shapes",
        "compiling",
        "memory of the compiled programs",
        "time",
        "values",
    ]
    values = [" ".join(line.split()) for line in found["values"]]
    assert "seed=3 the command line (seed=3)" in values
    assert "schedule.learning_rate=0.001 follows learning_rate (conf/schedule/constant.yaml)" in values
    assert 'optimizer._target_="optax.adam" conf/optimizer/adam.yaml, chosen by optimizer=adam' in values
    assert found["a batch of 32"][1:] == [
        "  inputs  float32 (32, 8, 8, 1)  image.values uint8 (32, 8, 8, 1)",
        "  target  int32 (32,)            target.ids int32 (32,)",
    ]
    assert "train 1,168, valid 270, test 359" in found["splits"][0]
    assert found["splits"][1].endswith("37, the last with 16 examples")
    shapes = {line.split()[0]: line.split()[-2:] for line in found["memory estimated from shapes"][:2]}
    assert shapes == {"parameters": ["2.44", "kB"], "gradients": ["2.44", "kB"]}
    (evaluation,) = (line for line in found["memory of the compiled programs"] if line.startswith("  evaluation"))
    assert evaluation.endswith("B  with these and the optimizer state") == is_fast
    assert ("estimated from shapes, because it is not compiled here" in evaluation) != is_fast
    assert {line.split("  ")[1] for line in found["time"]} == {"a step", "an epoch", "the run"}
    assert not list(Path.cwd().iterdir())


@pytest.mark.slow
def test_a_run_takes_the_program_of_its_dry_run_from_the_cache(tmp_path: Path) -> None:
    words = ["training.limit_batches=2", "training.epochs=1", "tracking=none", "quiet=true"]
    environment = os.environ | {"TITRATE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "runner", *words]
    subprocess.run([*command, "mode=dry_run"], check=True, env=environment)
    before = {path.name for path in tmp_path.glob("cache/jax/*-cache")}
    subprocess.run(command, check=True, env=environment)
    added = {path.name for path in tmp_path.glob("cache/jax/*-cache")} - before
    assert any(name.startswith("jit__train") for name in before)
    assert not any(name.startswith("jit__train") for name in added)


def test_a_too_large_model_is_an_error_before_anything_is_allocated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mode=dry_run", "architecture.widths=[200000,200000]"]) == 1
    printed = capsys.readouterr()
    parameters, work = read_layers(read_sections(printed.out)["layers"])["total"]
    assert parameters == 65 * 200_000 + 200_001 * 200_000 + 200_001 * 10
    assert work == 64 * 200_000 + 200_000**2 + 200_000 * 10
    assert printed.err.startswith("too large for the device: a run with training.batch_size=32 needs 1.44 TB, ")
    assert "no batch size would fit" in printed.err
    assert max(array.nbytes for array in jax.live_arrays()) < 2**30


@pytest.mark.slow
def test_the_error_names_a_batch_size_that_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = 1797 * (64 + 4)  # loaded on the device already
    monkeypatch.setattr(memory, "measure_free_memory", lambda: memory.FreeMemory(600_000 - data, "in this test"))
    words = ["mode=dry_run", "architecture.widths=[32]", "training.evaluation_batch_size=32", "quiet=true"]
    assert main([*words, "training.batch_size=1000"]) == 1
    remedy = re.search(r"600 kB are free in this test; (training\.batch_size=(\d+)) would fit", capsys.readouterr().err)
    assert remedy
    assert 32 < int(remedy[2]) < 1000
    assert main([*words, remedy[1]]) == 0
    assert main([*words, f"training.batch_size={int(2.4 * int(remedy[2]))}"]) == 1
    assert main([*words, "training.evaluation_batch_size=1500", "data.valid=1500", "data.test=100"]) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert re.search(r"training\.evaluation_batch_size=\d+ would fit\. If", last)


@pytest.mark.parametrize(
    "words",
    [
        ["loss=hinge"],
        ["architecture=sequential", "architecture.layers.2.window=20"],
        ["training.batch_size=5000"],
        ["feature.columns.image.key=imag"],
    ],
)
def test_a_dry_run_raises_the_errors_of_the_run(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    messages = []
    for mode in ("dry_run", "train"):
        assert main([f"mode={mode}", "tracking=none", "quiet=true", *words]) == 2
        messages.append(capsys.readouterr().err)
    assert messages[0] == messages[1] != ""
    assert not list(Path.cwd().iterdir())


class Scanned(nn.Module):
    """The body of a loop; its dense layer is computed again in the backward pass."""

    @nn.compact
    def __call__(self, x: jax.Array, _: None = None) -> tuple[jax.Array, None]:
        return nn.relu(nn.remat(nn.Dense)(4, name="dense")(x)), None


class Looped(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        several = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "length": 3}
        return nn.scan(Scanned, **several)(name="loop")(x, None)[0]


class Attending(nn.Module):
    """An attention module with multiply-adds of its own, and an embedding table that is used twice."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        table = nn.Embed(5, 4, name="table")
        x = nn.MultiHeadDotProductAttention(2, name="attention")(table(x), table(x))
        return table.attend(x)


class Convolved(nn.Module):
    """Grouped, dilated and transposed convolutions."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(8, (3, 3), feature_group_count=4, padding="VALID", name="grouped")(x)
        x = nn.Conv(6, (3, 3), kernel_dilation=2, padding="VALID", name="dilated")(x)
        return nn.ConvTranspose(2, (2, 2), strides=(2, 2), name="transposed")(x)


class Branched(nn.Module):
    """A condition with a small and a large branch, and a loop of unknown length."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        small, large = jnp.ones((4, 1)), jnp.ones((4, 8))
        y = jax.lax.cond(x.sum() > 0, lambda: (x @ small).sum(), lambda: (x @ large).sum())
        square = nn.Dense(4, name="dense")(jnp.eye(4))
        return jax.lax.while_loop(lambda z: z.sum() < y, lambda z: z @ square, x)


@pytest.mark.parametrize(
    ("module", "x", "parameters", "multiply_adds"),
    [
        (Looped(), jnp.ones((2, 4)), {"loop/dense": 60}, {"loop/dense": 3 * 2 * 4 * 4}),
        (
            Attending(),
            jnp.ones((1, 3), jnp.int32),
            {"table": 20, **{f"attention/{name}": 20 for name in ("query", "key", "value", "out")}},
            {
                "attention": 2 * 3 * 3 * 4,
                "table.attend": 3 * 4 * 5,
                **{f"attention/{name}": 3 * 4 * 4 for name in ("query", "key", "value", "out")},
            },
        ),
        (
            Convolved(),
            jnp.ones((2, 9, 9, 4)),
            {"grouped": 9 * 8 + 8, "dilated": 9 * 8 * 6 + 6, "transposed": 4 * 6 * 2 + 2},
            {
                "grouped": 2 * 7 * 7 * 8 * 9,
                "dilated": 2 * 3 * 3 * 6 * 9 * 8,
                "transposed": 2 * 3 * 3 * 6 * 4 * 2,
            },
        ),
        (
            Branched(),
            jnp.ones((2, 4)),
            {"dense": 20},
            {"(elsewhere)": 2 * 4 * 8 + 2 * 4 * 4, "dense": 4 * 4 * 4},
        ),
    ],
    ids=["loop", "attention", "convolution", "branch"],
)
def test_layers_within_loops_branches_and_transformations_are_counted(
    module: nn.Module, x: jax.Array, parameters: dict[str, int], multiply_adds: dict[str, int]
) -> None:
    layers = list_layers(module, x)
    assert {layer.name: layer.parameters for layer in layers if layer.parameters} == parameters
    assert {layer.name: layer.multiply_adds for layer in layers if layer.multiply_adds} == multiply_adds


def list_layers(module: nn.Module, x: jax.Array) -> list[LayerCall]:
    """The layers of a Flax module."""
    apply: Callable[..., Any] = module.apply
    parameters = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    return trace_layers(lambda values, x: apply({"params": values}, x), parameters, x)[0]
