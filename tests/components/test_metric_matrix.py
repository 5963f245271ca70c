"""Each metric of `conf/metric`, in each kind of split: equal to another library, and independent of how it is computed.

A new option takes part by existing. Without a comparison in `EXPECTED`, its test fails.
"""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk
from options import built, options

from components.feature import Numeric
from components.metric import F1, MAE, R2, RMSE, Accuracy, Precision, Recall, TopK
from components.types import Batch, Block, ExplainsUndefined, Metric, Output, TargetSpec, UserError

NAMES = ("no", "yes", "maybe")
SPECS = {
    "two classes": TargetSpec("classes", (), NAMES[:2], lambda values: values),
    "three classes": TargetSpec("classes", (), NAMES, lambda values: values),
    "labels": TargetSpec("multilabel", (3,), NAMES, lambda values: values),
    "numbers": TargetSpec("real", (2,), None, lambda values: values),
}
OF_BATCHES = {"contrastive_accuracy"}  # compare the examples of a batch; test_views.py has its definition
ARGUMENTS = {"top_k": {"k": 2}, "top_k_error": {"k": 2}}  # their options are for more classes
ROWS = 14


@dataclass(frozen=True)
class Rows:
    """Logits (N, outputs), targets, weights (N,) and whether the target of a row is known (N,)."""

    logits: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    known: np.ndarray

    def take(self, rows: np.ndarray) -> Rows:
        return Rows(self.logits[rows], self.target[rows], self.weight[rows], self.known[rows])


def draw_rows(kind: str, split: str) -> Rows:
    random = np.random.default_rng(len(split))
    outputs = {"two classes": 1, "numbers": 2}.get(kind, 3)
    logits, target = random.normal(size=(ROWS, outputs)), random.integers(0, 2, (ROWS, 3))
    if kind.endswith("classes"):
        target = random.integers(0, len(SPECS[kind].classes or ()), ROWS)
    rows = Rows(logits.astype(np.float32), target.astype(np.int32), np.ones(ROWS, np.float32), np.ones(ROWS, bool))
    if kind == "numbers":
        numbers = np.exp(random.normal(size=(2, ROWS, 2))).round(1).astype(np.float32) + 0.1
        rows = replace(rows, logits=numbers[0], target=numbers[1])
    if split == "equal scores":
        rows = replace(rows, logits=(rows.logits * 2).round() / 2 + (kind == "numbers"))
    if split == "weights":
        rows = replace(rows, weight=random.integers(0, 4, ROWS).astype(np.float32))
    if split == "missing targets":
        rows = replace(rows, known=random.random(ROWS) < 0.7)
    if split == "one class missing":
        rows = replace(rows, target=np.minimum(rows.target, 1) if kind == "three classes" else rows.target * 0 + 1)
    return rows.take(np.arange(1)) if split == "one example" else rows


SPLITS = ("numbers of any size", "equal scores", "weights", "missing targets", "one class missing", "one example")


@cache
def bound(option: str, kind: str) -> tuple[Metric, Callable[..., Any]] | None:
    """The metric for a kind of target; None: it doesn't support it."""
    try:
        metric = built("metric", option, **ARGUMENTS.get(option, {})).bind(SPECS[kind])
    except UserError:
        return None
    return metric, jax.jit(metric.measure)


def measure(option: str, kind: str, rows: Rows, *, weighted: bool = True) -> float:
    """The metric of rows in batches of four, in 64 bits."""
    metric, measure_batch = bound(option, kind) or (None, None)
    assert metric is not None
    assert measure_batch is not None
    return add_up(metric, measure_batch, rows, 4, weighted=weighted)


def add_up(metric: Metric, measure_batch: Callable[..., Any], rows: Rows, size: int, *, weighted: bool) -> float:
    """The metric from batches of a size. The values of padding and of unknown targets would change every metric."""
    parts = []
    for start in range(0, len(rows.logits), size):
        indices = np.arange(start, start + size) % len(rows.logits)
        present = np.arange(start, start + size) < len(rows.logits)
        part = rows.take(indices)
        logits = np.where(present[:, None], part.logits, np.float32(np.nan))
        output = Output(logits, features={"reconstruction_error": logits[:, 0]})
        masks = {"target": present & part.known}
        parts.append(
            measure_batch(output, Batch({}, {"target": part.target}, masks, part.weight if weighted else None, present))
        )
    columns = {name: [np.asarray(part[name]) for part in parts] for name in parts[0]}
    if metric.collects:
        return metric.result({name: np.concatenate(each) for name, each in columns.items()})
    wide = {"i": np.int64, "f": np.float64}
    return metric.result({name: np.sum(each, 0, dtype=wide[each[0].dtype.kind]) for name, each in columns.items()})


def close(value: float) -> Any:
    return pytest.approx(value, rel=2e-5, abs=2e-6, nan_ok=True)


# --------------------------------------------------------------------------------------------------------- comparisons


def scores(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The scores of the classes, (N, classes)."""
    return np.concatenate([np.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits


def predict(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    return (logits > 0).astype(int) if target.ndim == 2 else scores(logits, target).argmax(1)


def softmax(logits: np.ndarray) -> np.ndarray:
    exact = np.exp(logits.astype(np.float64))
    return exact / exact.sum(1, keepdims=True)


def default_average(logits: np.ndarray) -> str:
    return "binary" if logits.shape[1] == 1 else "macro"


def of_predictions(function: Callable[..., Any], *, averaged: bool = False, **fields: Any) -> Callable[..., float]:
    def compute(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        average = {"average": default_average(logits), "zero_division": 0} if averaged else {}
        return float(function(target, predict(logits, target), sample_weight=weight, **average, **fields))

    return compute


def of_accuracy(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    is_right = predict(logits, target) == target
    return float(np.average(is_right.reshape(len(target), -1).mean(1), weights=weight))


def of_specificity(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    predicted = predict(logits, target)
    if target.ndim == 1:
        ids = [1] if logits.shape[1] == 1 else np.unique(np.append(target, predicted))
        target, predicted = (np.stack([each == k for k in ids], 1) for each in (target, predicted))
    columns = zip(target.T, predicted.T, strict=True)
    recalls = [sk.recall_score(1 - a, 1 - b, sample_weight=weight, zero_division=0) for a, b in columns]
    return float(np.mean(recalls))


def of_kappa(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    value = float(sk.cohen_kappa_score(target, predict(logits, target), sample_weight=weight))
    return 0.0 if math.isnan(value) else value  # all are of one class


def of_mean_iou(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    return float(sk.jaccard_score(target, predict(logits, target), sample_weight=weight, average="macro"))


def of_top_2(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    best = np.argsort(-scores(logits, target), axis=1, kind="stable")[:, :2]
    return float(np.average((best == target[:, None]).any(1), weights=weight))


def of_ranking(
    function: Callable[..., Any], *, needs_negative: bool = True
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    """The mean over the classes, each of which is ranked against all others, without those that are undefined."""

    def compute(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        if logits.shape[1] == 1:
            columns, positive = logits, target[:, None] == 1
        elif target.ndim == 2:
            columns, positive = logits, target == 1
        else:
            probability = softmax(logits)
            columns, positive = np.log(probability / (1 - probability)), target[:, None] == range(logits.shape[1])
        counts = weight > 0
        columns, positive, weight = columns[counts].round(9), positive[counts], weight[counts]
        defined = positive.any(0) & ~(positive.all(0) & needs_negative)
        ranked = [function(positive[:, k], columns[:, k], sample_weight=weight) for k in np.flatnonzero(defined)]
        return float(np.mean(ranked)) if ranked else math.nan

    return compute


def at_recall(positive: np.ndarray, score: np.ndarray, sample_weight: np.ndarray) -> float:
    precision, recall, _ = sk.precision_recall_curve(positive, score, sample_weight=sample_weight)
    return float(precision[:-1][recall[:-1] >= 0.9].max())


def at_precision(positive: np.ndarray, score: np.ndarray, sample_weight: np.ndarray) -> float:
    precision, recall, _ = sk.precision_recall_curve(positive, score, sample_weight=sample_weight)
    return float(recall[:-1][precision[:-1] >= 0.9].max(initial=0))


def at_specificity(positive: np.ndarray, score: np.ndarray, sample_weight: np.ndarray) -> float:
    false, true, _ = sk.roc_curve(positive, score, sample_weight=sample_weight, drop_intermediate=False)
    return float(true[1 - false >= 0.9].max())


def at_sensitivity(positive: np.ndarray, score: np.ndarray, sample_weight: np.ndarray) -> float:
    false, true, _ = sk.roc_curve(positive, score, sample_weight=sample_weight, drop_intermediate=False)
    return float((1 - false)[true >= 0.9].max())


def of_log_loss(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    probability = softmax(scores(logits, target))
    return float(sk.log_loss(target, probability, sample_weight=weight, labels=range(probability.shape[1])))


def of_brier(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    if target.ndim == 2:
        probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
        columns = zip(target.T, probability.T, strict=True)
        return float(np.mean([sk.brier_score_loss(*each, sample_weight=weight) for each in columns]))
    probability = softmax(scores(logits, target))
    return float(sk.brier_score_loss(target, probability, sample_weight=weight, labels=range(probability.shape[1])))


def of_calibration(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    probability, right = softmax(scores(logits, target)).max(1), predict(logits, target) == target
    own = [np.ceil(probability * 15) == number for number in range(1, 16)]
    return float(sum(abs(weight[each] @ (right[each] - probability[each])) for each in own) / weight.sum())


def of_numbers(function: Callable[..., Any], **fields: Any) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    def compute(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        own = zip(target.T.astype(np.float64), logits.T.astype(np.float64), strict=True)
        return float(np.mean([function(*each, sample_weight=weight, **fields) for each in own]))

    return compute


def root_mean(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    return math.sqrt(of_numbers(sk.mean_squared_error)(logits, target, weight))


def log_cosh(target: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray) -> float:
    return float(np.average(np.log(np.cosh(prediction - target)), weights=sample_weight))


def r2(target: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray) -> float:
    return math.nan if len(target) < 2 else float(sk.r2_score(target, prediction, sample_weight=sample_weight))


def spearman(target: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray) -> float:
    times = sample_weight.astype(int)
    if len(np.unique(target[times > 0])) < 2:
        return math.nan
    return float(scipy.stats.spearmanr(np.repeat(target, times), np.repeat(prediction, times)).statistic)


def first_logit(logits: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    return float(np.average(logits[:, 0], weights=weight))


EXPECTED: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "accuracy": of_accuracy,
    "auc": of_ranking(sk.roc_auc_score),
    "average_precision": of_ranking(sk.average_precision_score, needs_negative=False),
    "balanced_accuracy": of_predictions(sk.balanced_accuracy_score),
    "brier_score": of_brier,
    "cohen_kappa": of_kappa,
    "expected_calibration_error": of_calibration,
    "f1": of_predictions(sk.f1_score, averaged=True),
    "f_beta": of_predictions(sk.fbeta_score, averaged=True, beta=2),
    "iou": of_predictions(sk.jaccard_score, averaged=True),
    "log_cosh": of_numbers(log_cosh),
    "log_loss": of_log_loss,
    "mae": of_numbers(sk.mean_absolute_error),
    "mape": of_numbers(sk.mean_absolute_percentage_error),
    "matthews": of_predictions(sk.matthews_corrcoef),
    "mean_iou": of_mean_iou,
    "poisson_deviance": of_numbers(sk.mean_poisson_deviance),
    "precision": of_predictions(sk.precision_score, averaged=True),
    "precision_at_recall": of_ranking(at_recall, needs_negative=False),
    "quantile_loss": of_numbers(sk.mean_pinball_loss, alpha=0.5),
    "r2": of_numbers(r2),
    "recall": of_predictions(sk.recall_score, averaged=True),
    "recall_at_precision": of_ranking(at_precision, needs_negative=False),
    "reconstruction_error": first_logit,
    "rmse": root_mean,
    "sensitivity_at_specificity": of_ranking(at_specificity),
    "spearman": of_numbers(spearman),
    "specificity": of_specificity,
    "specificity_at_sensitivity": of_ranking(at_sensitivity),
    "top_k": of_top_2,
    "top_k_error": lambda *rows: 1 - of_top_2(*rows),
}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("option", sorted({*options("metric")} - OF_BATCHES))
def test_a_metric_equals_another_library_s_and_does_not_depend_on_how_it_is_computed(option: str, split: str) -> None:
    kinds = [kind for kind in SPECS if bound(option, kind) is not None]
    assert kinds
    for kind in kinds:
        rows = draw_rows(kind, split)
        if option == "reconstruction_error":  # it needs no target
            rows = replace(rows, known=np.ones_like(rows.known))
        value = measure(option, kind, rows)
        known = rows.take(np.flatnonzero(rows.known))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, of classes that don't occur
            assert value == close(EXPECTED[option](known.logits, known.target, known.weight)), kind
        order = np.random.default_rng(0).permutation(len(rows.weight))
        assert measure(option, kind, rows.take(order)) == close(value), "in other batches"
        assert measure(option, kind, known) == close(value), "without the rows that are masked"
        if split == "weights":
            repeated = rows.take(np.repeat(np.arange(ROWS), rows.weight.astype(int)))
            assert measure(option, kind, repeated, weighted=False) == close(value), (
                "a weight is a number of repetitions"
            )
        else:
            assert measure(option, kind, rows, weighted=False) == close(value), "without weights"
        check_explanation(option, kind, known, value)


def check_explanation(option: str, kind: str, rows: Rows, value: float) -> None:
    """A metric that is NaN says why before the run."""
    metric, _ = bound(option, kind) or (None, None)
    reason = metric.explain_undefined(rows.target) if isinstance(metric, ExplainsUndefined) else None
    assert math.isnan(value) == (reason is not None), (kind, reason)


# ---------------------------------------------------------------------------------------------------------- parameters

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "training.json").read_text())["metrics"]
KERAS: dict[str, tuple[Metric, str]] = {
    "Precision": (Precision(), "two classes"),
    "Recall": (Recall(), "two classes"),
    "Precision thresholds .3": (Precision(threshold=0.3), "two classes"),
    "BinaryAccuracy": (Accuracy(threshold=0.5), "two classes"),
    "SparseCategoricalAccuracy": (Accuracy(), "classes"),
    "SparseTopKCategoricalAccuracy k=2": (TopK(2), "classes"),
    "F1Score macro": (F1(average="macro"), "classes"),
    "R2Score": (R2(), "numbers"),
    "RootMeanSquaredError": (RMSE(), "numbers"),
    "MeanAbsoluteError": (MAE(), "numbers"),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_metrics_equal_those_of_keras_after_each_batch(case: str) -> None:
    metric, kind = KERAS[case]
    target, values = (np.array(GOLDEN[case][name]) for name in ("y_true", "y_pred"))
    if kind == "two classes":
        logits, target = np.log(values / (1 - values))[:, None], target.astype(np.int32)
    elif kind == "classes":
        logits = values
        target = (target.argmax(1) if target.ndim == 2 else target).astype(np.int32)
    else:
        logits, target = (each.reshape(len(each), -1).astype(np.float32) for each in (values, target))
    names = tuple("abcdefghij"[: max(2, logits.shape[1])])
    spec = SPECS["numbers"] if kind == "numbers" else replace(SPECS["two classes"], classes=names)
    own = metric.bind(replace(spec, shape=(logits.shape[1],) if kind == "numbers" else ()))
    ones = np.ones(len(target), bool)
    rows = Rows(logits.astype(np.float32), target, ones.astype(np.float32), ones)
    # Of one number per example, Keras averages the absolute errors of each batch, and then the batches, whatever their
    # sizes are. Ours is the mean over the examples, which is the same for batches of one size.
    batches = 2 if case == "MeanAbsoluteError" else 3
    for stop, expected in list(zip((10, 20, 23), GOLDEN[case]["running"], strict=True))[:batches]:
        assert add_up(own, own.measure, rows.take(np.arange(stop)), 8, weighted=False) == pytest.approx(
            expected, abs=1e-6
        )


KINDS = {
    "classes": SPECS["three classes"],
    "labels": SPECS["labels"],
    "pixels": replace(SPECS["three classes"], shape=(4, 4)),
    "numbers": SPECS["numbers"],
    "images": replace(SPECS["numbers"], shape=(4, 4, 3)),
}


@pytest.mark.parametrize("option", options("metric"))
def test_a_metric_names_the_kinds_of_targets_that_it_supports(option: str) -> None:
    """The check of a configuration reads them from the source, before JAX is imported."""
    metric, supported = built("metric", option, **ARGUMENTS.get(option, {})), []
    for kind, spec in KINDS.items():
        with contextlib.suppress(UserError):
            metric.bind(spec)
            supported.append(kind)
    assert list(getattr(metric, "target_kinds", KINDS)) == supported


def value_of(option: str, kind: str, rows: Rows, **arguments: Any) -> float:
    metric = built("metric", option, **arguments).bind(SPECS[kind])
    return add_up(metric, metric.measure, rows, ROWS, weighted=True)


THRESHOLDED = [option for option in options("metric") if "threshold" in vars(built("metric", option))]


@pytest.mark.parametrize("option", THRESHOLDED)
def test_a_threshold_is_a_shift_of_the_logits(option: str) -> None:
    """So p > 0.8 is the prediction where log(p / (1 - p)) > log 4."""
    kind = "two classes"
    rows = draw_rows(kind, "weights")
    shifted = replace(rows, logits=rows.logits - np.float32(math.log(4)))
    assert value_of(option, kind, rows, threshold=0.8) == close(measure(option, kind, shifted))
    if "positive" in vars(built("metric", option)):
        mirrored = replace(rows, logits=-rows.logits, target=1 - rows.target)
        value = value_of(option, kind, mirrored, threshold=0.8, positive="no")
        assert value == close(measure(option, kind, shifted))
    with pytest.raises(
        UserError, match=r"threshold: 0\.3 is for two classes or labels, got 3 classes\. Leave threshold"
    ):
        built("metric", option, threshold=0.3).bind(SPECS["three classes"])


@pytest.mark.parametrize("option", ["accuracy", "recall"])
@pytest.mark.parametrize("kind", ["two classes", "labels"])
def test_a_threshold_of_labels_shifts_their_logits_and_0_and_1_predict_all_and_none(option: str, kind: str) -> None:
    rows = draw_rows(kind, "weights")
    moved = [rows.logits - np.float32(math.log(4)), np.full_like(rows.logits, 100), np.full_like(rows.logits, -100)]
    for threshold, logits in zip((0.8, 0.0, 1.0), moved, strict=True):
        expected = close(measure(option, kind, replace(rows, logits=logits)))
        assert value_of(option, kind, rows, threshold=threshold) == expected


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_a_weighted_kappa_equals_scikit_learn_s(weights: str) -> None:
    for kind in ("two classes", "three classes"):
        rows = draw_rows(kind, "weights")
        predicted = predict(rows.logits, rows.target)
        expected = sk.cohen_kappa_score(rows.target, predicted, weights=weights, sample_weight=rows.weight)
        assert value_of("cohen_kappa", kind, rows, weights=weights) == close(float(expected))


@pytest.mark.parametrize("beta", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_f_beta_equals_scikit_learn_s(beta: float, average: str) -> None:
    rows = draw_rows("three classes", "weights")
    predicted = predict(rows.logits, rows.target)
    expected = sk.fbeta_score(rows.target, predicted, beta=beta, average=average, sample_weight=rows.weight)
    assert value_of("f_beta", "three classes", rows, beta=beta, average=average) == close(float(expected))


@pytest.mark.parametrize("quantile", [0.1, 0.9])
def test_the_loss_of_a_quantile_equals_scikit_learn_s(quantile: float) -> None:
    rows = draw_rows("numbers", "weights")
    expected = of_numbers(sk.mean_pinball_loss, alpha=quantile)(rows.logits, rows.target, rows.weight)
    assert value_of("quantile_loss", "numbers", rows, quantile=quantile) == close(expected)


def test_bins_hold_their_upper_edges() -> None:
    """Guo et al., 2017: bin m of M holds ((m - 1) / M, m / M]. Probabilities of 0.5 are in the first of two bins."""
    rows = few_rows([0.0, 0.0, 3.0], [0, 0, 0])
    wrong = 1 / (1 + math.exp(-3))
    assert value_of("expected_calibration_error", "two classes", rows, bins=2) == close((2 * 0.5 + wrong) / 3)


def few_rows(logits: list[float], target: list[int]) -> Rows:
    ones = np.ones(len(target), bool)
    return Rows(np.array(logits, np.float32)[:, None], np.array(target, np.int32), ones.astype(np.float32), ones)


def test_a_probability_must_be_above_the_threshold() -> None:
    rows = few_rows([0.0, 1.0], [1, 1])
    assert value_of("recall", "two classes", rows, threshold=0.5) == 0.5


def test_an_operating_point_may_be_exactly_at_its_limit() -> None:
    rows = few_rows([4.0, 3.0, 2.0, 1.0], [1, 0, 1, 0])
    assert value_of("precision_at_recall", "two classes", rows, recall=0.5) == 1
    assert value_of("precision_at_recall", "two classes", rows, recall=0.51) == close(2 / 3)
    assert value_of("recall_at_precision", "two classes", rows, precision=2 / 3) == 1
    assert value_of("sensitivity_at_specificity", "two classes", rows, specificity=0.5) == 1
    assert value_of("specificity_at_sensitivity", "two classes", rows, sensitivity=0.5) == 1


@pytest.mark.parametrize("scale", [1e-4, 1.0, 50.0, 1e20])
def test_log_cosh_is_precise_for_small_and_large_errors(scale: float) -> None:
    rows = draw_rows("numbers", "weights")
    rows = replace(rows, logits=rows.logits * np.float32(scale), target=rows.target * np.float32(scale))
    errors = np.abs(rows.logits.astype(np.float64) - rows.target)
    exact = errors + np.log1p(np.exp(-2 * errors)) - np.log(2) if scale > 1 else np.log1p(2 * np.sinh(errors / 2) ** 2)
    assert value_of("log_cosh", "numbers", rows) == pytest.approx(
        np.average(exact.mean(1), weights=rows.weight), rel=1e-5
    )


def bind_numeric(option: str, normalize: Any, numbers: np.ndarray) -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
    """The metric of a numeric target (N, 1) that is fitted to numbers, and the function that encodes numbers."""
    column = Numeric(key="y", normalize=normalize)
    statistics = column.statistics()
    constants = column.fit(
        {name: each.result(each.summarize(Block({"y": numbers}))) for name, each in statistics.items()}, {}
    )
    layer = column.layer(constants.static)
    return built("metric", option).bind(column.bind(constants)), lambda values: np.asarray(
        layer(column.encode(Block({"y": values}), {}, constants), constants.device)
    )


@pytest.mark.parametrize("normalize", [None, "z_score", ("log1p", "z_score")])
@pytest.mark.parametrize("lowest", [0.0, 0.5, -1.0])
@pytest.mark.parametrize("option", ["mape", "poisson_deviance"])
def test_targets_for_which_a_metric_is_undefined_are_found_behind_any_normalizer(
    option: str, lowest: float, normalize: Any
) -> None:
    if isinstance(normalize, tuple) and lowest < 0:
        return  # it has no logarithm
    random = np.random.default_rng(0)
    numbers, guesses = (np.append(lowest, random.uniform(200, 400, 9))[:, None] for _ in range(2))
    guesses[0] = 3
    metric, encode = bind_numeric(option, normalize, numbers)
    ones = np.ones(10, bool)
    rows = Rows(encode(guesses), encode(numbers), ones.astype(np.float32), ones)
    value = add_up(metric, metric.measure, rows, 10, weighted=False)
    is_undefined = lowest == 0 if option == "mape" else lowest < 0
    assert (metric.explain_undefined(numbers) is not None) == is_undefined
    expected = sk.mean_absolute_percentage_error if option == "mape" else sk.mean_poisson_deviance
    assert value == (
        pytest.approx(math.nan, nan_ok=True) if is_undefined else pytest.approx(expected(numbers, guesses), rel=1e-3)
    )


def test_a_prediction_that_no_poisson_distribution_has_makes_the_deviance_infinite() -> None:
    rows = draw_rows("numbers", "")
    assert value_of("poisson_deviance", "numbers", replace(rows, logits=-rows.logits)) == math.inf
    assert math.isnan(value_of("poisson_deviance", "numbers", replace(rows, logits=rows.logits * np.float32(np.nan))))


def test_a_percentage_of_numbers_beyond_float32_needs_a_scale() -> None:
    numbers = np.random.default_rng(0).uniform(1e-50, 2e-50, (10, 1))
    with pytest.raises(UserError, match=r"mape needs numbers that float32 can hold.* Set `scale` of the target"):
        bind_numeric("mape", "z_score", numbers)


def test_equal_predictions_have_no_rank_correlation_and_nan_stays_nan() -> None:
    rows = draw_rows("numbers", "")
    assert value_of("spearman", "numbers", replace(rows, logits=np.ones_like(rows.logits))) == 0
    assert math.isnan(value_of("spearman", "numbers", replace(rows, logits=rows.logits * np.float32(np.nan))))
