"""Metrics of whole runs equal those of scikit-learn on the predictions, also where they collect rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from two_steps import interrupted_once

import runner
from components.data import Arrays
from runner.__main__ import main
from runner.config.compose import compose

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

ROWS = 120
CLASSIFICATION = (
    *("feature=mine", "architecture=mlp", "architecture.widths=[4]", "optimizer=sgd", "seed=1"),
    *("metric=[auc,average_precision,f1,log_loss]", "training.batch_size=16", "training.evaluation_batch_size=7"),
    *("loss=binary_cross_entropy", "tracking=none", "quiet=true", "training.epochs=2"),
)
FEATURE = """
target: {_target_: components.feature.Label, key: kind, missing: mask}
columns:
  x: {_target_: components.feature.Numeric, key: x}
inputs: {x: [x]}
weight: w
"""


@pytest.fixture(autouse=True)
def feature(in_empty_folder: Path) -> None:
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/mine.yaml").write_text(FEATURE)


def source() -> Arrays:
    """Rows with a rare class that is hard to predict, equal numbers, weights, and targets that are missing."""
    random = np.random.default_rng(0)
    x = random.integers(-3, 4, (ROWS, 2)).astype(np.float32)
    kind = np.where(x[:, 0] + random.normal(size=ROWS) > 1.5, "yes", "no").astype(object)
    kind[::9] = None
    columns = {"x": x, "kind": kind, "w": random.integers(0, 4, ROWS).astype(np.float32)}
    return Arrays(columns=columns, valid=40, test=40)


def expect(folder: Path, split: str, *, weighted: bool) -> dict[str, float]:
    """The metrics of the best weights by scikit-learn, from the predictions of the trained model."""
    data, model = source(), runner.load(folder, source=source())
    rows = data.splits()[split]
    kind, weight = data.columns["kind"][rows], np.asarray(data.columns["w"])[rows]
    known = np.array([value is not None for value in kind])
    probability = np.asarray(model.predict(split).probabilities)[known, 1]
    is_yes, weights = kind[known] == "yes", weight[known] if weighted else None
    return {
        "auc": sklearn.metrics.roc_auc_score(is_yes, probability, sample_weight=weights),
        "average_precision": sklearn.metrics.average_precision_score(is_yes, probability, sample_weight=weights),
        "f1": sklearn.metrics.f1_score(is_yes, probability > 0.5, sample_weight=weights),
        "log_loss": sklearn.metrics.log_loss(is_yes, probability.astype(np.float64), sample_weight=weights),
    }


def without_prefix(metrics: Mapping[str, float], prefix: str, names: Any) -> dict[str, float]:
    return {name: metrics[f"{prefix}{name}"] for name in names}


@pytest.mark.slow
def test_a_run_records_the_metrics_of_scikit_learn() -> None:
    result = runner.run(*CLASSIFICATION, "learning_rate=0.3", source=source())
    for split, prefix in (("test", "test/"), ("valid", "best/valid/")):
        for weighted in (False, True):
            expected = expect(result.folder, split, weighted=weighted)
            found = without_prefix(result.metrics, prefix + "weighted/" * weighted, expected)
            assert found == pytest.approx(expected, rel=1e-4)
    assert {"train/f1", "train/log_loss"} < result.records[0].keys(), "sums are there in training, too"
    assert "train/auc" not in result.records[0]
    assert runner.load(result.folder, source=source()).evaluate("train")["train/auc"] > 0.5


def test_an_accuracy_that_is_no_better_than_the_majority_s_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    kind, x = np.where(np.arange(ROWS) % 4 == 0, "yes", "no"), np.zeros((ROWS, 1), np.float32)
    words = [word for word in CLASSIFICATION if not word.startswith(("metric", "quiet", "feature"))]
    Path("conf/feature/plain.yaml").write_text(FEATURE.replace("weight: w", ""))
    words += ["feature=plain", "learning_rate=0.1"]
    splits: dict[str, Any] = {"stratify": "kind", "valid": 40, "test": 40}
    blind = runner.run(*words, source=Arrays(columns={"x": x, "kind": kind}, **splits))
    assert blind.status == "finished"
    line = "note        test/accuracy 0.75 is as good as predicting `no` for every row (0.75)"
    assert line in capsys.readouterr().out.splitlines()
    seeing = Arrays(columns={"x": (kind == "yes").astype(np.float32)[:, None], "kind": kind}, **splits)
    runner.run(*words, "learning_rate=1", "training.epochs=20", source=seeing)
    assert "for every row" not in capsys.readouterr().out


QUALITY = ("best/valid/auc", "test/auc", "test/average_precision", "test/f1", "test/weighted/auc")
MONITORED = (*CLASSIFICATION, "training.monitor=valid/auc", "training.patience=3", "training.evaluate_steps=2")


@pytest.mark.slow
def test_a_metric_of_rows_decides_what_is_best_and_when_to_stop_also_after_a_kill() -> None:
    words = (*MONITORED, "training.epochs=9", "learning_rate=1e-4")
    result = runner.run(*words, source=source())
    values = [record["valid/auc"] for record in result.records]
    assert result.higher_is_better
    assert result.metrics["best/valid/auc"] == max(values)
    assert len(values) - values.index(max(values)) - 1 == 3, "it stopped by patience"
    with interrupted_once():
        runner.run(*words, "fresh=true", source=source())
    resumed = runner.run(*words, source=source())
    assert resumed.folder != result.folder
    assert resumed.records == result.records


@pytest.mark.slow
def test_runs_of_a_sweep_and_of_folds_have_the_metrics_of_single_runs() -> None:
    sweep = runner.multirun(*MONITORED, "learning_rate=0.3,0.1", source=source())
    single = runner.run(*MONITORED, "learning_rate=0.1", source=source())
    assert without_prefix(sweep.runs[1].metrics, "", QUALITY) == without_prefix(single.metrics, "", QUALITY)
    folds = runner.multirun(*MONITORED, "folds=2", source=source())
    assert all(0 < run.metrics["best/valid/auc"] <= 1 for run in folds.runs)


@pytest.mark.parametrize(
    "text",
    [
        "defaults:\n  - override /metric: [auc, f1]\nmetric: {f1: {positive: 1}}\n",
        "metric: [auc, {option: f1, positive: 1}]\n",
    ],
)
def test_an_experiment_chooses_metrics_as_the_command_line_does(text: str) -> None:
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text(f"# Question: which metrics?\n{text}")
    words = compose(["metric=[auc,{option: f1, positive: 1}]"]).values["metric"]
    assert compose(["experiment=mine"]).values["metric"] == words
    assert words == {
        "auc": {"_target_": "components.metric.AUC"},
        "f1": {"_target_": "components.metric.F1", "positive": 1},
    }


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("metric.f1.average=makro", 'metric.f1.average: "makro" is not an allowed value or null. Did you mean macro?'),
        ("metric.f1.threshold=1.5", "metric.f1.threshold: 1.5 is not a number in [0, 1]"),
        ("metric.auc.positive=yes", "metric.auc.positive"),
        ("metric.f1.positive=[yes]", "metric.f1.positive"),
    ],
)
def test_a_value_that_a_metric_cannot_take_is_a_configuration_error(
    word: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["metric=[auc,f1]", word]) == 2
    assert message in capsys.readouterr().err
