"""Metrics equal those of scikit-learn: with ties, weights, missing targets, and classes that don't occur."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.metric import AUC, F1, R2, AveragePrecision, BalancedAccuracy, LogLoss, Matthews, Precision, Recall
from components.metric.ranking import compute_log_odds
from components.types import Batch, Metric, Output, TargetSpec, UserError

BATCH = 4  # examples, with padding
NAMES = ("no", "yes", "maybe")
AVERAGES = ("macro", "micro", "weighted")
RATIOS = [
    (Precision, sklearn.metrics.precision_score),
    (Recall, sklearn.metrics.recall_score),
    (F1, sklearn.metrics.f1_score),
]


def keep(values: Any) -> Any:
    return values


def classes(count: int) -> TargetSpec:
    return TargetSpec("classes", (), NAMES[:count], keep)


LABELS = TargetSpec("multilabel", (3,), NAMES, keep)
NUMBERS = TargetSpec("real", (2,), None, keep)


@dataclass(frozen=True)
class Split:
    """The rows of a split: logits (N, outputs), the target, weights (N,) or None, and which targets are known (N,)."""

    logits: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    known: np.ndarray

    def batches(self) -> Iterator[tuple[Output, Batch]]:
        """Batches of four rows. The values of padding and of unknown targets would change every metric."""
        for start in range(0, len(self.logits), BATCH):
            rows = np.arange(start, start + BATCH) % len(self.logits)
            present = np.arange(start, start + BATCH) < len(self.logits)
            logits = np.where(present[:, None], self.logits[rows], np.nan).astype(np.float32)
            masks = {"target": present & self.known[rows]}
            weight = None if self.weight is None else self.weight[rows]
            yield Output(logits), Batch({}, {"target": self.target[rows]}, masks, weight, present)

    def counted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The logits, targets and weights of the rows that count."""
        weight = np.ones(len(self.logits)) if self.weight is None else self.weight
        return self.logits[self.known], self.target[self.known], weight[self.known]


@functools.cache
def compiled(metric: Metric, spec: TargetSpec) -> tuple[Metric, Callable[..., Mapping[str, Any]]]:
    bound = metric.bind(spec)
    return bound, jax.jit(bound.measure)


def measure(metric: Metric, spec: TargetSpec, split: Split) -> float:
    """The metric of a split, from sums in 64 bits or from the rows of all batches."""
    bound, measure_batch = compiled(metric, spec)
    measured = [measure_batch(*batch) for batch in split.batches()]
    columns = {name: [np.asarray(each[name]) for each in measured] for name in measured[0]}
    if metric.collects:
        return bound.result({name: np.concatenate(column) for name, column in columns.items()})
    wide = {np.dtype("int32"): np.int64, np.dtype("float32"): np.float64}
    return bound.result({name: np.sum(column, 0, dtype=wide[column[0].dtype]) for name, column in columns.items()})


def draw_split(draw: st.DrawFn, targets: np.ndarray, outputs: int, *, ties: bool) -> Split:
    rows = len(targets)
    numbers = st.integers(-2, 2) if ties else st.floats(-3, 3, width=16)
    logits = np.array(draw(st.lists(numbers, min_size=rows * outputs, max_size=rows * outputs)), np.float32)
    weights = st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=rows, max_size=rows)
    weight = np.array(draw(st.one_of(st.just([1.0] * rows), weights)), np.float32)
    known = np.array(draw(st.one_of(st.just([True] * rows), st.lists(st.booleans(), min_size=rows, max_size=rows))))
    known[0] = True
    return Split(logits.reshape(rows, outputs), targets, weight, known)


@st.composite
def class_splits(draw: st.DrawFn, count: int, outputs: int | None = None) -> Split:
    """Splits in which some of the classes may not occur."""
    ids = st.sampled_from(draw(st.sampled_from([list(range(count)), [0, 1], [1], [0]])))
    targets = np.array(draw(st.lists(ids, min_size=1, max_size=11)), np.int32)
    return draw_split(draw, targets, outputs or count, ties=draw(st.booleans()))


@st.composite
def label_splits(draw: st.DrawFn) -> Split:
    rows = draw(st.integers(1, 11))
    labels = st.sampled_from(draw(st.sampled_from([[0, 1], [0], [1]])))
    flat = draw(st.lists(labels, min_size=3 * rows, max_size=3 * rows))
    return draw_split(draw, np.array(flat, np.int32).reshape(rows, 3), 3, ties=draw(st.booleans()))


def quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> float:
    """Calls scikit-learn without its warnings of classes that don't occur."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(function(*arguments, **options))


def close(value: float, expected: float) -> bool:
    return value == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)


def log_odds(logits: np.ndarray) -> np.ndarray:
    padded = np.resize(logits, (12, logits.shape[1])).astype(np.float32)  # of one shape, to be compiled once
    return np.asarray(jax.jit(compute_log_odds)(padded), np.float64)[: len(logits)]


def with_two_logits(logits: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(logits), logits], axis=1) if logits.shape[1] == 1 else logits


# ------------------------------------------------------------------------------------------------------------ counts


@pytest.mark.parametrize(("metric", "expected"), RATIOS)
@pytest.mark.parametrize("outputs", [1, 2])
@given(data=st.data())
@settings(max_examples=25)
def test_ratios_of_two_classes_equal_scikit_learn(
    metric: Any, expected: Callable[..., Any], outputs: int, data: st.DataObject
) -> None:
    split = data.draw(class_splits(2, outputs))
    logits, target, weight = split.counted()
    predicted = with_two_logits(logits).argmax(1)
    for position, positive in enumerate(NAMES[:2]):
        value = quietly(
            expected, target, predicted, pos_label=position, labels=[0, 1], sample_weight=weight, zero_division=0
        )
        assert close(measure(metric(positive=positive), classes(2), split), value)
    assert measure(metric(), classes(2), split) == measure(metric(positive="yes"), classes(2), split)


@pytest.mark.parametrize(("metric", "expected"), RATIOS)
@pytest.mark.parametrize("average", AVERAGES)
@given(split=class_splits(3), labels=label_splits())
@settings(max_examples=25)
def test_averages_over_classes_and_labels_equal_scikit_learn(
    metric: Any, expected: Callable[..., Any], average: Any, split: Split, labels: Split
) -> None:
    logits, target, weight = split.counted()
    options: dict[str, Any] = {"average": average, "zero_division": 0}
    value = quietly(expected, target, logits.argmax(1), sample_weight=weight, **options)
    assert close(measure(metric(average=average), classes(3), split), value)
    logits, target, weight = labels.counted()
    value = quietly(expected, target, logits > 0, sample_weight=weight, **options)
    assert close(measure(metric(average=average), LABELS, labels), value)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [(BalancedAccuracy(), sklearn.metrics.balanced_accuracy_score), (Matthews(), sklearn.metrics.matthews_corrcoef)],
)
@pytest.mark.parametrize("count", [2, 3])
@given(data=st.data())
@settings(max_examples=25)
def test_metrics_of_all_classes_equal_scikit_learn(
    metric: Metric, expected: Callable[..., Any], count: int, data: st.DataObject
) -> None:
    split = data.draw(class_splits(count))
    logits, target, weight = split.counted()
    value = quietly(expected, target, logits.argmax(1), sample_weight=weight)
    assert close(measure(metric, classes(count), split), value)


@pytest.mark.parametrize("outputs", [1, 2, 3])
@given(data=st.data())
@settings(max_examples=20)
def test_log_loss_equals_scikit_learn(outputs: int, data: st.DataObject) -> None:
    count = max(outputs, 2)
    split = data.draw(class_splits(count, outputs))
    logits, target, weight = split.counted()
    odds = np.exp(with_two_logits(logits).astype(np.float64))
    probabilities = odds / odds.sum(1, keepdims=True)
    value = quietly(sklearn.metrics.log_loss, target, probabilities, labels=range(count), sample_weight=weight)
    assert measure(LogLoss(), classes(count), split) == pytest.approx(value, rel=1e-4, abs=1e-6)


# ------------------------------------------------------------------------------------------------------------ ranking


@pytest.mark.parametrize("outputs", [1, 2])
@given(data=st.data())
@settings(max_examples=40)
def test_the_ranking_of_two_classes_equals_scikit_learn(outputs: int, data: st.DataObject) -> None:
    split = data.draw(class_splits(2, outputs))
    logits, target, weight = split.counted()
    scores = logits[:, -1] - logits[:, 0] if outputs == 2 else logits[:, 0]
    value = quietly(sklearn.metrics.roc_auc_score, target, scores, sample_weight=weight)
    assert close(measure(AUC(), classes(2), split), value)
    for position, positive in enumerate(NAMES[:2]):
        is_positive, signed = target == position, scores if position else -scores
        value = quietly(sklearn.metrics.average_precision_score, is_positive, signed, sample_weight=weight)
        expected = value if is_positive.any() else np.nan
        assert close(measure(AveragePrecision(positive=positive), classes(2), split), expected)


@pytest.mark.parametrize(
    ("metric", "function"),
    [(AUC, sklearn.metrics.roc_auc_score), (AveragePrecision, sklearn.metrics.average_precision_score)],
)
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("kind", ["classes", "labels"])
@given(data=st.data())
@settings(max_examples=25)
def test_the_ranking_of_classes_and_labels_equals_scikit_learn(
    metric: Any, function: Callable[..., Any], average: Any, kind: str, data: st.DataObject
) -> None:
    """Classes without a value are left out of scikit-learn's mean, too."""
    split = data.draw(class_splits(3) if kind == "classes" else label_splits())
    logits, target, weight = split.counted()
    scores, positive = (log_odds(logits), target[:, None] == range(3)) if kind == "classes" else (logits, target)
    defined = positive.any(0) & (~positive.all(0) | (metric is AveragePrecision))
    if average == "micro":
        scores, positive, weight = scores.reshape(-1, 1), positive.reshape(-1, 1), np.repeat(weight, 3)
        defined = np.array([positive.any() and (not positive.all() or metric is AveragePrecision)])
    value = np.nan
    if defined.any():
        columns = [
            quietly(function, positive[:, k], scores[:, k], sample_weight=weight) for k in np.flatnonzero(defined)
        ]
        shares = weight @ positive[:, defined] if average == "weighted" else None
        value = np.average(columns, weights=shares)
    found = measure(metric(average=average), classes(3) if kind == "classes" else LABELS, split)
    assert close(found, value)
    if defined.all() and average != "micro" and len(target) > 1:  # and its own mean is the same
        options: dict[str, Any] = {"average": average, "sample_weight": weight}
        assert close(found, quietly(function, positive, scores, **options))


def test_the_scores_of_classes_have_the_order_of_their_probabilities_also_where_these_are_1() -> None:
    logits = np.array([[0, 30, 1], [0, 40, 2], [5, 4, 3], [2, 2, 2], [200, 0, -200]], np.float32)
    exact = logits.astype(np.float64)
    others = np.array([[np.logaddexp.reduce(np.delete(row, k)) for k in range(3)] for row in exact])
    np.testing.assert_allclose(log_odds(logits), exact - others, rtol=1e-6)
    separated = Split(logits[:2, :2], np.array([0, 1], np.int32), None, np.ones(2, bool))
    assert measure(AUC(), classes(2), separated) == 1.0


def test_a_weight_of_0_leaves_an_example_out() -> None:
    split = Split(np.array([[1.0], [2.0], [3.0]], np.float32), np.array([0, 1, 0], np.int32), None, np.ones(3, bool))
    weighted = replace(split, weight=np.array([1, 1, 0], np.float32))
    assert (measure(AUC(), classes(2), split), measure(AUC(), classes(2), weighted)) == (0.5, 1.0)


@pytest.mark.parametrize("metric", [AUC(), AveragePrecision(), AUC(average="macro")])
def test_a_score_that_is_not_a_number_has_no_rank(metric: Metric) -> None:
    split = Split(np.array([[1.0], [np.nan]], np.float32), np.array([0, 1], np.int32), None, np.ones(2, bool))
    assert np.isnan(measure(metric, classes(2), split))


@pytest.mark.parametrize(
    ("metric", "spec", "target", "reason"),
    [
        (AUC(), classes(2), [0, 0], "only the class no"),
        (AUC(), classes(2), [0, 1], None),
        (AUC(), classes(3), [2, 2], "only the class maybe"),
        (AUC(average="micro"), classes(3), [2, 2], None),
        (AveragePrecision(), classes(2), [0, 0], "only the class no"),
        (AveragePrecision(), classes(2), [1, 1], None),
        (AveragePrecision(positive="no"), classes(2), [1, 1], "only the class yes"),
        (AveragePrecision(), classes(3), [2, 2], None),
        (AUC(), LABELS, [[0, 1, 1], [0, 1, 1]], "the same labels in every row"),
        (AUC(), LABELS, [[0, 1, 1], [0, 0, 1]], None),
        (AveragePrecision(), LABELS, [[0, 0, 0], [0, 0, 0]], "the same labels in every row"),
        (R2(), NUMBERS, [[1.0, 2.0]], "fewer than two numbers"),
        (R2(), NUMBERS, [[1.0, 2.0]] * 2, None),
    ],
)
def test_an_undefined_metric_explains_why(metric: Any, spec: TargetSpec, target: Any, reason: str | None) -> None:
    bound = metric.bind(spec)
    assert bound.explain_undefined(np.array(target)) == reason
    outputs = spec.outputs
    values = np.array(target, np.float32 if spec.kind == "real" else np.int32)
    split = Split(np.zeros((len(target), outputs), np.float32), values, None, np.ones(len(target), bool))
    assert np.isnan(measure(metric, spec, split)) == (reason is not None)


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("metric", [AUC, AveragePrecision, F1])
@pytest.mark.parametrize(
    ("fields", "spec", "message"),
    [
        ({"average": "binary"}, classes(3), "average: binary needs two classes, got 3 classes. Choose macro, micro or"),
        ({"average": "binary"}, LABELS, "average: binary needs two classes, got a multilabel target of 3 labels"),
        ({}, NUMBERS, "needs a target with classes, got a real-valued target. Choose rmse or mae"),
        (
            {"positive": "yess"},
            classes(2),
            "positive: yess is not a class of the target. Did you mean yes. Allowed: no",
        ),
        ({"positive": "yes"}, classes(3), "positive: yes is for average=binary, got 3 classes. Leave positive out"),
        ({"positive": "yes", "average": "macro"}, classes(2), "positive: yes is for average=binary, got average=macro"),
    ],
)
def test_averages_and_classes_that_a_target_does_not_have_raise(
    metric: Any, fields: dict[str, Any], spec: TargetSpec, message: str
) -> None:
    if metric is not AUC or "positive" not in fields:
        with pytest.raises(UserError, match=message):
            metric(**fields).bind(spec)


@pytest.mark.parametrize("metric", [BalancedAccuracy(), Matthews(), LogLoss()])
def test_metrics_of_one_class_raise_for_labels(metric: Metric) -> None:
    with pytest.raises(UserError, match="needs a target of classes, got a multilabel target"):
        metric.bind(LABELS)


@pytest.mark.parametrize(
    ("metric", "spec"),
    [
        (AUC(), replace(classes(2), shape=(4, 4))),
        (AveragePrecision(), replace(classes(2), shape=(4, 4))),
        (R2(), replace(NUMBERS, shape=(4, 4, 1))),
    ],
)
def test_metrics_that_keep_all_rows_raise_for_images(metric: Metric, spec: TargetSpec) -> None:
    with pytest.raises(UserError, match=r"keeps .*, too many for images \(4, 4"):
        metric.bind(spec)


@pytest.mark.parametrize(("positive", "values"), [(1, (0, 1)), ("1", (0, 1)), (True, (False, True)), ("b", ("a", "b"))])
def test_the_positive_class_is_a_name_or_a_value_of_the_data(positive: Any, values: tuple[Any, ...]) -> None:
    spec = TargetSpec("classes", (), tuple(map(str, values)), lambda logits: logits, values=values)
    split = Split(np.array([[1.0], [1.0]], np.float32), np.array([0, 1], np.int32), None, np.ones(2, bool))
    assert measure(Precision(positive=positive), spec, split) == measure(Precision(), spec, split) == 0.5


# ------------------------------------------------------------------------------------------------------------ pixels


@pytest.mark.parametrize("metric", [Precision(), Recall(), F1(), BalancedAccuracy(), Matthews(), LogLoss()])
def test_the_classes_of_pixels_are_elements(metric: Metric) -> None:
    random = np.random.default_rng(0)
    logits, ids = random.normal(size=(4, 2, 3, 3)).astype(np.float32), random.integers(0, 3, (4, 2, 3), np.int32)
    mask = random.random((4, 2, 3)) < 0.7
    batch = Batch({}, {"target": jnp.array(ids)}, {"target": jnp.array(mask)}, None, jnp.ones(4, bool))
    pixels = metric.bind(replace(classes(3), shape=(2, 3)))
    sums = {name: np.asarray(value) for name, value in pixels.measure(Output(jnp.array(logits)), batch).items()}
    flat = Split(logits[mask], ids[mask], None, np.ones(int(mask.sum()), bool))
    assert pixels.result(sums) == pytest.approx(measure(metric, classes(3), flat), rel=1e-6)


# ------------------------------------------------------------------------------------------------------------ numbers


@st.composite
def number_splits(draw: st.DrawFn) -> Split:
    rows = draw(st.integers(2, 11))
    numbers = st.lists(st.sampled_from([-1.5, 0.0, 0.25, 3.0]), min_size=2 * rows, max_size=2 * rows)
    split = draw_split(draw, np.array(draw(numbers), np.float32).reshape(rows, 2), 2, ties=draw(st.booleans()))
    known = split.known.copy()
    known[:2] = True
    return replace(split, known=known)


@given(split=number_splits())
@example(split=Split(np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32), None, np.ones(3, bool)))
def test_r2_equals_scikit_learn(split: Split) -> None:
    logits, target, weight = split.counted()
    expected = sklearn.metrics.r2_score(target, logits, sample_weight=weight)
    assert measure(R2(), NUMBERS, split) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e9])
def test_r2_is_precise_for_scaled_numbers_far_from_0(offset: float) -> None:
    random = np.random.default_rng(0)
    scaled = random.normal(size=(30, 2)).astype(np.float32)
    logits = (scaled + 0.3 * random.normal(size=(30, 2))).astype(np.float32)
    spec = replace(NUMBERS, decode=lambda values: values + offset, difference=lambda a, b: a - b)
    expected = sklearn.metrics.r2_score(scaled.astype(np.float64) + offset, logits.astype(np.float64) + offset)
    split = Split(logits, scaled, None, np.ones(30, bool))
    assert measure(R2(), spec, split) == pytest.approx(expected, abs=1e-4)


def test_r2_is_precise_for_numbers_that_are_not_scaled() -> None:
    random = np.random.default_rng(0)
    target = (1000 + random.normal(size=(40, 2))).astype(np.float32)
    logits = (target + 0.3 * random.normal(size=(40, 2))).astype(np.float32)
    expected = sklearn.metrics.r2_score(target.astype(np.float64), logits.astype(np.float64))
    assert measure(R2(), NUMBERS, Split(logits, target, None, np.ones(40, bool))) == pytest.approx(expected, abs=1e-6)
