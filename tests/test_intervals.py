"""Bootstrapped intervals of the final metrics."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

import runner
from components.data import Arrays
from runner.__main__ import main
from runner.config.compose import configure
from runner.errors import ConfigError
from runner.record.predictions import load_predictions
from runner.training.intervals import find_obstacle

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

WORDS = (
    *("architecture=mlp", "architecture.widths=[4]", "training.epochs=1", "training.batch_size=16"),
    *("optimizer=sgd", "tracking=none"),
)
ROWS = 40  # of the test split
FEATURE = """
columns: {x: {_target_: components.feature.Numeric, key: x}}
inputs: {inputs: [x]}
target: {_target_: components.feature.KIND, key: y}
"""


@pytest.fixture(autouse=True)
def features(in_empty_folder: Path) -> None:
    """Writes the options `feature=classes` and `feature=numbers`."""
    Path("conf/feature").mkdir(parents=True)
    for name, kind in (("classes", "Label"), ("numbers", "Numeric")):
        Path(f"conf/feature/{name}.yaml").write_text(FEATURE.replace("KIND", kind))


def make_source(target: np.ndarray, test: int = ROWS, **columns: np.ndarray) -> Arrays:
    x = np.random.default_rng(0).normal(size=(len(target), 3)).astype(np.float32)
    return Arrays(columns={"x": x, "y": target, **columns}, valid=ROWS, test=test)


class WithoutTest(Arrays):
    """Rows without a test split."""

    def splits(self) -> Mapping[str, np.ndarray]:
        return {name: rows for name, rows in super().splits().items() if name != "test"}


def draw(measure: Callable[[np.ndarray], float], resamples: int = 200) -> tuple[float, float]:
    """The interval of a measure of drawn rows, with the draws of the seed 0."""
    random = np.random.default_rng(0)
    values = [measure(random.integers(0, ROWS, ROWS)) for _ in range(resamples)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


TURNS = """
from dataclasses import replace

import jax
import jax.numpy as jnp

class Turn:
    evaluates = True

    def bind(self, targets):
        return self, {"target": replace(targets["target"], classes=("kept", "turned"), values=None)}

    def __call__(self, key, batch):
        sign = jax.random.bernoulli(key, shape=batch.present.shape)
        inputs = {name: jnp.where(sign[:, None], -x, x) + 3 for name, x in batch.inputs.items()}
        masks = {"target": batch.present & (batch.target < 2)}
        return batch._replace(inputs=inputs, targets={"target": jnp.int32(sign)}, masks=masks)

class Flatten:
    evaluates = True

    def __call__(self, key, batch):
        return batch._replace(targets={"target": 0 * batch.target})
"""


def test_predictions_and_intervals_have_the_targets_of_augmented_evaluations(
    write_module: Callable[[str, str], None],
) -> None:
    """The augmentation replaces three classes by two, and masks those examples of the third."""
    write_module("turns", TURNS)
    Path("conf/augmentation").mkdir()
    Path("conf/augmentation/turn.yaml").write_text("turn: {_target_: turns.Turn}\n")
    source = make_source(np.repeat([0, 1, 2], ROWS))
    words = ("feature=classes", "metric=[accuracy]", "augmentation=[turn]", "intervals=200")
    result = runner.run(*WORDS, *words, data=source)
    (recorded,) = load_predictions(result.folder)
    assert recorded.classes == ("kept", "turned")
    assert 5 < recorded.target.sum() < len(recorded.target) - 5 < ROWS
    assert (recorded.target == recorded.prediction).mean() == pytest.approx(result.metrics["test/accuracy"], rel=1e-6)
    low, high = result.intervals["test/accuracy"]
    assert low < result.metrics["test/accuracy"] < high
    model = runner.load(result.folder, data=source)
    assert model.classes == ("kept", "turned")
    known = [name for name in model.predict("test").target if name is not None]
    assert known == [recorded.classes[number] for number in recorded.target]


@pytest.mark.slow
def test_a_file_of_predictions_has_the_numbers_of_augmented_evaluations(
    write_module: Callable[[str, str], None],
) -> None:
    """Elsewhere, it copies the numbers of the data, which have more digits."""
    write_module("turns", TURNS)
    Path("conf/augmentation").mkdir()
    Path("conf/augmentation/flatten.yaml").write_text("flatten: {_target_: turns.Flatten}\n")
    Path("table.csv").write_text("x,y\n" + "".join(f"{row % 7},{row / 3}\n" for row in range(120)))
    words = ("data=csv", "data.path=table.csv", "data.target=y", "augmentation=[flatten]", "quiet=true")
    assert main([*words, "training.epochs=1", "tracking=none"]) == 0
    assert main(["mode=predict", "run=last", "data.split=test", "output=found.csv", "quiet=true"]) == 0
    with Path("found.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 5
    assert len({row["target"] for row in rows}) == 1


def test_intervals_of_classes_are_those_of_drawn_rows(capsys: pytest.CaptureFixture[str]) -> None:
    y = np.arange(120) % 2
    result = runner.run(*WORDS, "feature=classes", "metric=[accuracy,f1,auc]", "intervals=200", data=make_source(y))
    (predictions,) = load_predictions(result.folder)
    hits = predictions.target == predictions.prediction
    scores = np.where(predictions.prediction == 1, predictions.probability, 1 - predictions.probability)
    expected = {
        "test/loss": draw(lambda rows: float(predictions.loss[rows].mean())),
        "test/accuracy": draw(lambda rows: float(hits[rows].mean())),
        "test/auc": draw(lambda rows: float(roc_auc_score(predictions.target[rows], scores[rows]))),
    }
    assert set(result.intervals) == {*expected, "test/f1"}
    for name, interval in expected.items():
        assert result.intervals[name] == pytest.approx(interval, rel=1e-4), name
        assert result.intervals[name][0] < result.metrics[name] < result.intervals[name][1]
    assert json.loads((result.folder / "summary.json").read_text())["intervals"].keys() == result.intervals.keys()
    out = capsys.readouterr().out
    low, high = result.intervals["test/accuracy"]
    assert f"{low:.3g} to {high:.3g}" in out
    assert "to" in result._repr_html_()
    model = runner.load(result.folder, data=make_source(y))
    metrics, intervals = model.evaluate_with_intervals("test", 200)
    assert metrics == {name: value for name, value in result.metrics.items() if name.startswith("test/")}
    assert intervals == result.intervals
    assert model.evaluate_with_intervals("valid", None) == (model.evaluate("valid"), {})
    assert model.evaluate_with_intervals("train", 100)[1].keys() == {f"train/{name[5:]}" for name in intervals}


def test_intervals_of_numbers_count_rows_and_weights() -> None:
    random = np.random.default_rng(1)
    y, weights = random.normal(size=120).astype(np.float32), random.integers(1, 4, 120).astype(np.float32)
    words = ("feature=numbers", "feature.weight=w", "loss=mse", "metric=[rmse,r2]", "intervals=200", "quiet=true")
    result = runner.run(*WORDS, *words, data=make_source(y, w=weights))
    (predictions,) = load_predictions(result.folder)
    target, prediction = predictions.target[:, 0], predictions.prediction[:, 0]
    squares, own = (target - prediction) ** 2, weights[predictions.row]
    expected = {
        "test/rmse": draw(lambda rows: float(np.sqrt(squares[rows].mean()))),
        "test/r2": draw(lambda rows: float(r2_score(target[rows], prediction[rows]))),
        "test/weighted/rmse": draw(lambda rows: float(np.sqrt(np.average(squares[rows], weights=own[rows])))),
        "test/weighted/loss": draw(lambda rows: float(np.average(squares[rows], weights=own[rows]))),
    }
    for name, interval in expected.items():
        assert result.intervals[name] == pytest.approx(interval, rel=1e-4), name


def test_a_metric_of_other_outputs_has_no_interval_and_the_valid_split_stands_in_for_a_missing_test_split() -> None:
    y = np.random.default_rng(1).normal(size=120).astype(np.float32)
    words = ("feature=numbers", "loss=mse", "metric=[rmse,reconstruction_error]", "intervals=100", "quiet=true")
    data = WithoutTest(columns=make_source(y).columns, valid=ROWS, test=1)
    result = runner.run(*WORDS, "architecture=reconstructing_regressor", *words, data=data)
    assert set(result.intervals) == {"best/valid/loss", "best/valid/rmse"}


PARTS = """
import jax.numpy as jnp


class Table:
    higher_is_better, collects = True, False

    def bind(self, target):
        return self

    def measure(self, output, batch):
        true = jnp.eye(2, dtype=jnp.int32)[batch.target]
        predicted = jnp.eye(2, dtype=jnp.int32)[output.logits.argmax(-1)]
        return {"table": (true * batch.mask[:, None].astype(jnp.int32)).T @ predicted}

    def result(self, sums):
        return float(sums["table"].trace() / sums["table"].sum())


class Fragile(Table):
    def result(self, sums):
        if sums["table"][1].sum() < 2:
            raise ZeroDivisionError("too few of the second class")
        return super().result(sums)
"""


def test_sums_of_any_shape_are_added_and_a_resample_may_be_undefined(
    write_module: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module("parts_of_intervals", PARTS)
    monkeypatch.setenv("TITRATE_ALLOW", "parts_of_intervals")
    y = np.zeros(120, int)
    y[::15] = 1
    metrics = "metric={accuracy: {_target_: components.metric.Accuracy}"
    metrics += "".join(f", {name}: {{_target_: parts_of_intervals.{name.title()}}}" for name in ("table", "fragile"))
    words = ("feature=classes", metrics + "}", "intervals=200", "quiet=true", "training.batch_size=16", "seed=3")
    result = runner.run(*WORDS, *words, data=make_source(y))
    assert result.intervals["test/table"] == pytest.approx(result.intervals["test/accuracy"])
    assert result.status == "finished"


def test_metrics_that_would_take_minutes_have_no_interval(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("runner.training.intervals.MAX_COST", 200 * ROWS * 3)
    result = runner.run(
        *WORDS, "feature=classes", "metric=[accuracy,auc]", "intervals=200", data=make_source(np.arange(120) % 2)
    )
    assert set(result.intervals) == {"test/loss", "test/accuracy"}
    assert "auc has no interval: 200 resamples would take minutes." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ((), "no intervals for the test split: it has 3 rows, and intervals need at least 30"),
        (("intervals=100",), "no intervals for the test split: it has 3 rows, and intervals need at least 30"),
        (("intervals=null",), None),
    ],
)
def test_a_small_split_has_no_intervals(
    words: tuple[str, ...], note: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    result = runner.run(*WORDS, "feature=classes", *words, data=make_source(np.arange(60) % 2, test=3))
    assert result.intervals == {}
    assert ("no intervals" in capsys.readouterr().out) == (note is not None)
    assert (note or "the folder is") in (result.folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("rows", "resamples", "problem"),
    [
        (30, 1000, None),
        (29, 1000, "it has 29 rows, and intervals need at least 30"),
        (1, 1000, "it has 1 row, and intervals need at least 30"),
        (200_000, 1000, None),
        (200_001, 1000, "200,001 rows times 1,000 resamples exceed 200,000,000; set intervals=999 or less"),
        (3_000_000, 1000, "3,000,000 rows times 1,000 resamples exceed 200,000,000; set intervals=null"),
    ],
)
def test_too_few_or_too_many_rows_are_an_obstacle(rows: int, resamples: int, problem: str | None) -> None:
    assert find_obstacle(rows, resamples) == problem


@pytest.mark.parametrize("value", ["5", "many", "0.5", "true", "[100]"])
def test_a_wrong_number_of_resamples_is_an_error(value: str) -> None:
    with pytest.raises(ConfigError, match=r"intervals: .* is not a whole number in"):
        configure([f"intervals={value}"])


@pytest.mark.slow
def test_intervals_reach_mlflow(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.execution.execute.DELIVERY_SECONDS", 60)
    uri = f"sqlite:///{database}"
    words = ("feature=classes", "metric=[accuracy]", "intervals=100", "tracking=mlflow", f"tracking.uri={uri}")
    result = runner.run(*WORDS, *words, "quiet=true", data=make_source(np.arange(120) % 2))
    assert result.run_id is not None
    with closing(sqlite3.connect(database)) as connection:
        metrics = dict(connection.execute("SELECT key, value FROM latest_metrics"))
    assert (metrics["test_accuracy_low"], metrics["test_accuracy_high"]) == tuple(result.intervals["test/accuracy"])
