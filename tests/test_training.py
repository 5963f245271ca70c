"""The settings of `training`: precision, fewer batches, checkpoints, a profile; and extending a run."""

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slow import slow_but

import runner
from components.data import Arrays
from components.types import UserError
from runner.data.batches import Batches
from runner.execution.execute import Result
from runner.record import outbox
from runner.training.checkpoint_manager import CheckpointManager
from runner.training.trainer import Trainer

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

WORDS = ("architecture.widths=[8]", "training.epochs=2", "training.batch_size=8", "tracking=none", "quiet=true")


def source(rows: int = 60) -> Arrays:
    images = np.random.default_rng(0).integers(0, 256, (rows, 4, 4, 1), np.uint8)
    return Arrays(columns={"image": images, "label": np.arange(rows) % 3}, valid=15, test=15, stratify="label")


def quick(*words: str) -> Result:
    return runner.run(*WORDS, *words, source=source())


def train(monkeypatch: pytest.MonkeyPatch, *words: str) -> Trainer:
    """Executes a run. Returns its trainer."""
    trainers: list[Trainer] = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self, *arguments: (trainers.append(self), fit(self, *arguments))[1])
    quick(*words)
    return trainers[0]


@pytest.mark.parametrize("architecture", slow_but({"mlp"}, ["mlp", "lenet5", "sequential", "fashion_cnn"]))
def test_with_bfloat16_the_checkpoints_are_float32(architecture: str) -> None:
    words = ["quiet=true", "tracking=none", "training.epochs=1", "training.limit_batches=2", "training.batch_size=4"]
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1), np.uint8)
    data = Arrays(columns={"image": images, "label": np.arange(40) % 2}, valid=8, test=8)
    choice = [f"architecture={architecture}", "training.precision=bfloat16"]
    if architecture == "sequential":
        layers = "{_target_: components.layer.Flatten}, {_target_: components.layer.Dense, features: 4}"
        choice.append(f"architecture.layers=[{layers}]")
    result = runner.run(*words, *choice, source=data)
    assert np.isfinite(result.metrics["test/loss"])
    checkpoint = np.load(next((result.folder / "checkpoints").glob("step_*.npz")))
    assert {checkpoint[name].dtype for name in checkpoint.files if "parameters" in name} == {np.dtype(np.float32)}


def test_with_bfloat16_the_matrix_products_are_bfloat16_and_the_losses_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = train(monkeypatch, "training.precision=bfloat16")
    chunk = next(trainer.batches.chunks(trainer.data.splits["valid"], 8, 1))
    weights = trainer.state_shapes.parameters, trainer.state_shapes.model_state
    arguments = trainer.program_inputs, *weights, chunk.data, chunk.rows[0], chunk.mask
    traced = jax.make_jaxpr(trainer.program.evaluate)(*arguments)
    products = [line for line in str(traced).splitlines() if "dot_general" in line]
    assert products
    assert all("bf16" in line for line in products)
    losses = traced.out_avals[-1]
    assert losses.dtype == jnp.float32


def test_an_architecture_without_a_parameter_dtype_supports_float32_only(
    write_module: Callable[[str, str], None],
) -> None:
    write_module(
        "mine_without_dtype",
        "import flax.linen as nn\n"
        "from components.types import Output\n"
        "class Plain(nn.Module):\n"
        "    outputs: int\n"
        "    @nn.compact\n"
        "    def __call__(self, x, *, train):\n"
        "        return Output(nn.Dense(self.outputs)(x.reshape(x.shape[0], -1)))\n",
    )
    Path("conf/architecture").mkdir(parents=True)
    Path("conf/architecture/plain.yaml").write_text("_target_: mine_without_dtype.Plain\n")
    words = ["architecture=plain", "tracking=none", "quiet=true", "training.epochs=1", "training.batch_size=8"]
    assert runner.run(*words, source=source()).status == "finished"
    with pytest.raises(UserError, match=r"training.precision: mine_without_dtype.Plain supports float32 only"):
        runner.run(*words, "training.precision=bfloat16", source=source())


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("Numeric, key: w, normalize: z_score", "feature.weight: Numeric gives the weight -"),
        ("Numeric, expression: 0 * w, normalize: null", "feature.weight: all weights of the training split are 0"),
        ("Label, key: label", "feature.weight: Label gives no single number"),
        ("Numeric, expression: w + 1, normalize: null", None),
    ],
)
def test_a_column_of_weights_gives_numbers_of_0_or_more(column: str, message: str | None) -> None:
    columns = {"image": np.zeros((40, 4, 4, 1), np.uint8), "label": np.arange(40) % 2, "w": np.arange(40.0)}
    words = ("feature=image", f"feature.weight={{_target_: components.feature.{column}}}", "architecture.widths=[4]")
    expected = pytest.raises(UserError, match=message) if message else contextlib.nullcontext()
    with expected:
        quick = ("tracking=none", "quiet=true", "training.epochs=1", "training.batch_size=8")
        runner.run(*words, *quick, source=Arrays(columns=columns, valid=8, test=8, seed=None))


def test_limit_batches_takes_the_same_rows_for_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    trainers = [train(monkeypatch, "training.limit_batches=2", f"seed={seed}") for seed in (0, 1)]
    for split in ("train", "valid", "test"):
        rows = [trainer.data.splits[split] for trainer in trainers]
        assert rows[0].tolist() == rows[1].tolist()
        assert len(rows[0]) == min(16, 15 if split != "train" else 30)
    assert trainers[0].plan.steps_per_epoch == 2


def test_one_batch_can_be_overfitted() -> None:
    result = quick(
        *("training.limit_batches=1", "training.steps=150", "training.epochs=null", "training.evaluate_steps=30"),
        *("learning_rate=0.05", "training.monitor=train/loss"),
    )
    assert result.records[-1]["step"] == 150
    assert result.records[-1]["train/accuracy"] == 1
    assert result.records[-1]["train/loss"] < 0.05


@pytest.mark.parametrize("keep", [1, 3])
def test_keep_checkpoints_sets_the_number_of_checkpoints(keep: int) -> None:
    result = quick("training.epochs=5", f"training.keep_checkpoints={keep}")
    assert len(list((result.folder / "checkpoints").glob("step_*.npz"))) == keep


def test_keep_checkpoints_does_not_change_the_digest_of_a_run() -> None:
    digests = {quick(*words).folder.name.rpartition("_")[2] for words in ([], ["training.keep_checkpoints=3"])}
    assert len(digests) == 1


def test_a_profile_traces_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder, **options: calls.append(Path(folder).resolve()))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    result = quick("training.profile=true", "training.epochs=6")
    assert calls == [result.folder / "profile", "stop"]
    calls.clear()
    quick("training.profile=true", "training.epochs=2", "fresh=true")  # the run ends before the trace
    assert calls[1:] == ["stop"]
    calls.clear()
    quick("training.epochs=6", "fresh=true")
    assert calls == []


def test_the_summary_has_the_fraction_of_time_spent_waiting_for_batches() -> None:
    metrics = json.loads((quick().folder / "summary.json").read_text())["metrics"]
    assert 0 <= metrics["input_wait_fraction"] < 1


def test_the_schedule_spans_all_steps_of_the_run_counted_from_0() -> None:
    result = quick("schedule=cosine", "schedule.warmup=0", "schedule.final=0", "learning_rate=1", "training.epochs=3")
    steps = np.array([epoch["step"] for epoch in result.records])
    assert steps.tolist() == [4, 8, 12]
    rates = (1 + np.cos(np.pi * (steps - 1) / 12)) / 2  # of the last step of each epoch
    assert [epoch["learning_rate"] for epoch in result.records] == pytest.approx(rates.tolist(), rel=1e-5)
    points = list(outbox.parse_points(outbox.read_checkpointed_points(result.folder).splitlines()))
    assert [point.step for point in points] == [4, 8, 12], "the last checkpoint covers the last point"


def test_class_weights_weigh_no_held_out_loss() -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), np.uint8)
    columns = {"image": images, "label": np.minimum(np.arange(60) % 7, 2)}
    data = Arrays(columns=columns, valid=15, test=15, stratify="label")
    words = (*WORDS, "learning_rate=0")
    result, plain = (
        runner.run(*words, f"feature.target.weight={weight}", source=data) for weight in ("balanced", "null")
    )
    assert result.records[0]["train/loss"] != pytest.approx(plain.records[0]["train/loss"], rel=1e-3)
    assert [epoch["valid/loss"] for epoch in result.records] == [epoch["valid/loss"] for epoch in plain.records]
    loss = plain.metrics["test/loss"]
    assert result.metrics["test/loss"] == loss
    model = runner.load(result.folder, source=data)
    assert model.evaluate("test")["test/loss"] == pytest.approx(loss, rel=1e-6)
    test = model.data.splits["test"]
    rows = {name: values[test] for name, values in columns.items()}
    assert model.evaluate(rows)["new/loss"] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["training.batch_size=1"], "BatchNorm needs two or more values of each channel in a training batch, got"),
        (["training.batch_size=29"], "training.batch_size: the last batch of an epoch has 1 of the 30 examples. arch"),
        (
            ["training.batch_size=9", "training.microbatches=3"],
            "training.batch_size: the last batch of an epoch has 3 of the 30 examples in 3 microbatches. architect",
        ),
        (["training.batch_size=29", "training.drop_remainder=true"], None),
        (["training.batch_size=29", "training.steps=1"], None),
        (["training.batch_size=29", "architecture.batch_norm=false"], None),
    ],
)
def test_a_batch_of_one_example_has_nothing_to_normalize(words: list[str], message: str | None) -> None:
    arguments = ("architecture.batch_norm=true", "training.epochs=1", *words)
    if message is None:
        quick(*arguments)
        return
    with pytest.raises(UserError, match=f"{re.escape(message)}.*From one value it learns nothing"):
        quick(*arguments)
    assert not Path("outputs").exists()


def test_an_embedding_starts_from_the_vectors_of_a_file() -> None:
    Path("conf/feature").mkdir(parents=True)
    Path("vectors.txt").write_text("a 1 2\nb 3 4\n")
    Path("conf/feature/words.yaml").write_text(
        "target: {_target_: components.feature.Label, key: label}\n"
        "columns:\n"
        "  word: {_target_: components.feature.Vocabulary, key: text, values: [b, a]}\n"
        "  vector: {_target_: components.feature.Embedding, key: word, dimension: 2, vectors: vectors.txt}\n"
        "inputs: {x: [vector]}\n"
    )
    rows = Arrays(columns={"text": np.array(["a", "b"] * 20), "label": np.arange(40) % 2}, valid=8, test=8)
    result = runner.run(*WORDS, "feature=words", "learning_rate=0", "training.epochs=1", source=rows)
    checkpoint = np.load(next((result.folder / "checkpoints").glob("step_*.npz")))
    (table,) = [checkpoint[name] for name in checkpoint.files if "parameters" in name and "embedding" in name]
    assert table.tolist() == [[3, 4], [1, 2]]


def test_every_epoch_and_seed_has_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[list[int]] = []
    chunks = Batches.chunks

    def record_order(self: Batches, rows: np.ndarray, *arguments: Any, **options: Any) -> Any:
        if "start" in options:
            orders.append(rows[:].tolist())
        return chunks(self, rows, *arguments, **options)

    monkeypatch.setattr(Batches, "chunks", record_order)
    for seed in (0, 1):
        quick(f"seed={seed}")
    assert len(orders) == 4
    assert {tuple(sorted(rows)) for rows in orders} == {tuple(sorted(orders[0]))}
    assert len({tuple(rows) for rows in orders}) == 4


def test_checkpoint_minutes_sets_how_often_a_run_saves_within_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = CheckpointManager.save
    monkeypatch.setattr(CheckpointManager, "save", lambda self, state: (saved.append(state.step), save(self, state))[1])
    quick("training.checkpoint_minutes=0")
    assert saved == [4, 8]  # the end of an epoch always saves
    saved.clear()
    quick("training.checkpoint_minutes=1e-9", "fresh=true")
    assert saved == [3, 4, 7, 8]  # between two dispatches


def test_a_finished_run_can_be_extended(capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in WORDS if not word.startswith("training.epochs")]
    first = runner.run(*words, "training.epochs=2", source=source())
    longer = runner.run(f"resume={first.folder}", "training.epochs=4", source=source())
    printed = capsys.readouterr().err
    assert "more than once" not in printed  # training.epochs was given before, not twice
    assert "the schedule now spans" not in printed  # it is constant
    assert longer.folder == first.folder
    assert [epoch["epoch"] for epoch in longer.records] == [1, 2, 3, 4]
    assert longer.records[:2] == first.records
    assert json.loads((first.folder / "summary.json").read_text())["epochs"] == 4
