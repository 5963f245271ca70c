"""Runs without training: `training.epochs=0` evaluates and records a network as it was loaded or initialized."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import runner
from runner.__main__ import main
from runner.execution.execute import Result
from runner.run_folder import read_summary

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

SPLITS = ("data.valid=20", "data.test=20")
NETWORK = ("feature=image", "architecture={option: mlp, widths: [4]}", "training.batch_size=16", "tracking=none")


def make_images() -> dict[str, Any]:
    random, label = np.random.default_rng(0), np.arange(90) % 3
    images = random.integers(0, 60, (90, 4, 4, 1)).astype(np.uint8)
    images[np.arange(90), label] += 150  # a bright row for each class
    return {"image": images, "label": label}


DATA = make_images()


def run(*words: str, epochs: int = 0) -> Result:
    return runner.run(*NETWORK, f"training.epochs={epochs}", *words, data=DATA)


def parameters(folder: Path) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(runner.load(folder).weights.parameters)]


def test_no_member_of_the_update_set_is_needed() -> None:
    plain, updated = run("quiet=true"), run("update=[swa,lookahead,freeze,layer_decay]", "quiet=true")
    assert updated.metrics["test/loss"] == plain.metrics["test/loss"]


def test_the_weights_of_a_run_are_evaluated_and_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    trained = run(*SPLITS, "quiet=true", epochs=2)
    update = ("update=[freeze]", "update.freeze.until=1ep", "schedule={option: cosine, warmup: 5ep}")
    weights = ("weights=run", f"weights.run={trained.folder.name}")
    result = run(*SPLITS, *weights, *update, "calibrate=temperature", "metric_slices=[label]")
    printed = capsys.readouterr().out
    assert "epoch 0/0  valid/loss" in printed
    assert "best epoch  0 of 0" in printed
    (record,) = result.records
    reached = {name: pytest.approx(trained.metrics[f"best/{name}"]) for name in ("valid/loss", "valid/accuracy")}
    assert record == {"epoch": 0, "step": 0, **reached}
    assert result.metrics["uncalibrated/test/loss"] == pytest.approx(trained.metrics["test/loss"])
    assert result.metrics["test/accuracy"] == trained.metrics["test/accuracy"]
    assert result.metrics["epochs"] == result.metrics["steps_per_second"] == 0
    summary = read_summary(result.folder)
    assert (result.status, summary["best_epoch"], summary["ended_by"]) == ("finished", 0, "training.epochs")
    for array, expected in zip(parameters(result.folder), parameters(trained.folder), strict=True):
        np.testing.assert_array_equal(array, expected)
    model = runner.load(result.folder, data=DATA)
    assert model.evaluate("test")["test/loss"] == result.metrics["test/loss"]
    assert "best epoch" in model._repr_html_()
    assert {"learning_curves", "slices_valid"} <= result.figures().keys()


def test_it_may_be_trained_later_as_if_it_had_been_from_the_start() -> None:
    first = run(*SPLITS, "quiet=true", "schedule=cosine")
    later = run(*SPLITS, "quiet=true", "schedule=cosine", f"resume={first.folder.name}", epochs=2)
    at_once = run(*SPLITS, "quiet=true", "schedule=cosine", "fresh=true", epochs=2)
    assert [each["epoch"] for each in later.records] == [0, 1, 2]
    assert later.records[1:] == at_once.records
    for array, expected in zip(parameters(later.folder), parameters(at_once.folder), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_a_metric_of_training_may_be_monitored(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("training.monitor=train/loss", "training.evaluate_steps=3", "training.log_steps=2")
    result = run(*SPLITS, *words)
    assert result.records[0].keys() == {"epoch", "step", "valid/loss", "valid/accuracy"}
    assert read_summary(result.folder)["best_epoch"] == 0
    assert "step 0/0" in capsys.readouterr().out


def test_a_head_of_other_classes_gets_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    weights = f"weights={{option: run, run: {run(*SPLITS, 'quiet=true').folder.name}}}"
    others = DATA | {"label": DATA["label"] + 5}
    for words, is_noted in (((), True), (("weights.skip=[head]",), False)):
        runner.run(*NETWORK, *SPLITS, "training.epochs=0", weights, *words, data=others)
        printed = " ".join(capsys.readouterr().out.split())
        assert ("note: the head is of the classes 0, 1, 2 in" in printed) == is_noted


@pytest.mark.parametrize(
    ("words", "text"),
    [(["mode=dry_run"], "0 epochs and"), (["mode=find_lr", "find_lr.steps=20"], "learning rate")],
)
def test_modes_before_a_run_take_it(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    schedule = "schedule={option: cosine, warmup: 5ep}"
    assert main(["data=digits", *NETWORK, "training.epochs=0", schedule, *words]) == 0
    assert text in capsys.readouterr().out
