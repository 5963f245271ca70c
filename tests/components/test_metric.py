from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from options import built, options
from sklearn.metrics import r2_score, top_k_accuracy_score

from components.feature import Numeric
from components.feature.normalizer import MinMax
from components.metric import MAE, R2, RMSE, Accuracy, MeanIoU, ReconstructionError, TopK
from components.types import Batch, Block, Metric, Output, TargetSpec, UserError

CLASSES = TargetSpec("classes", (), ("cat", "dog", "cow", "hen"), lambda values: values)
REAL = TargetSpec("real", (2,), None, lambda values: values * 10 + 3)
MULTILABEL = TargetSpec("multilabel", (4,), ("cat", "dog", "cow", "hen"), lambda values: values)
SIZES = (4, 4, 2)  # examples of three batches, each padded to four


def batches(logits: np.ndarray, target: np.ndarray) -> list[tuple[Output, Batch]]:
    """Returns ten examples in three batches, with padding that would change every sum."""
    parts, first = [], 0
    for size in SIZES:
        rows = np.arange(first, first + 4) % len(target)
        mask = jnp.arange(4) < size
        padded_logits = np.where(np.asarray(mask)[:, None], logits[rows], np.nan).astype(np.float32)
        batch = Batch({}, {"target": jnp.array(target[rows])}, {}, weight=None, present=mask)
        parts.append((Output(jnp.array(padded_logits)), batch))
        first += size
    return parts


def measure(metric: Metric, bound: TargetSpec, logits: np.ndarray, target: np.ndarray) -> float:
    """Returns the metric of a split as the runner computes it: from sums in 64 bits."""
    metric = metric.bind(bound)
    measured = [jax.jit(metric.measure)(*part) for part in batches(logits, target)]
    columns = {key: np.array([sums[key] for sums in measured]) for key in measured[0]}
    sum_types = {"int32": np.int64, "float32": np.float64}
    return metric.result({key: column.sum(dtype=sum_types[column.dtype.name]) for key, column in columns.items()})


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


LABELS = np.random.default_rng(1).integers(0, 4, 10).astype(np.int32)


def test_accuracy_counts_the_most_probable_class() -> None:
    logits = draw(10, 4)
    assert measure(Accuracy(), CLASSES, logits, LABELS) == (logits.argmax(1) == LABELS).mean()


def test_accuracy_of_one_logit_counts_its_sign() -> None:
    logits, labels = draw(10, 1), LABELS % 2
    two_classes = replace(CLASSES, classes=("no", "yes"))
    assert measure(Accuracy(), two_classes, logits, labels) == ((logits[:, 0] > 0) == labels).mean()


def test_the_accuracy_of_labels_is_the_share_of_those_predicted_right() -> None:
    logits, labels = draw(10, 4), np.random.default_rng(2).integers(0, 2, (10, 4)).astype(np.int32)
    right = (logits > 0) == (labels == 1)
    assert measure(Accuracy(), MULTILABEL, logits, labels) == right.mean()
    weight = np.arange(10, dtype=np.float32)
    batch = Batch({}, {"target": jnp.array(labels)}, {}, jnp.array(weight), present=jnp.ones(10, bool))
    sums = Accuracy().measure(Output(jnp.array(logits)), batch)
    assert float(sums["hits"] / sums["examples"]) == pytest.approx(np.average(right.mean(1), weights=weight))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_top_k_equals_scikit_learn(k: int) -> None:
    logits = draw(10, 4)
    expected = 1.0 if k == 4 else top_k_accuracy_score(LABELS, logits, k=k, labels=range(4))
    assert measure(TopK(k), CLASSES, logits, LABELS) == pytest.approx(expected)


def test_top_1_of_one_logit_equals_accuracy() -> None:
    two_classes = replace(CLASSES, classes=("no", "yes"))
    arguments = two_classes, draw(10, 1), LABELS % 2
    assert measure(TopK(1), *arguments) == measure(Accuracy(), *arguments)


def test_equal_logits_count_as_the_first_class() -> None:
    for k in range(1, 5):
        assert measure(TopK(k), CLASSES, np.zeros((10, 4), np.float32), LABELS) == (k > LABELS).mean()


def test_errors_are_in_the_unit_of_the_target() -> None:
    logits, target = draw(10, 2), np.ones((10, 2), np.float32)
    error = 10 * (logits.astype(np.float64) - target)
    assert measure(MAE(), REAL, logits, target) == pytest.approx(np.abs(error).mean())
    assert measure(RMSE(), REAL, logits, target) == pytest.approx(np.sqrt(np.square(error).mean()))


@pytest.mark.parametrize(
    ("metric", "bound", "message"),
    [
        (Accuracy(), REAL, "accuracy needs a target with classes, .* Choose rmse or mae"),
        (TopK(2), REAL, "top_k needs a target with classes"),
        (TopK(5), CLASSES, "k: 5 is above the number of classes. Choose one from 1 to 4"),
        (MAE(), CLASSES, r"mae needs a real-valued target, .* 4 classes\. Choose accuracy"),
        (RMSE(), CLASSES, "rmse needs a real-valued target"),
        (TopK(2), MULTILABEL, "top_k needs a target of classes, got a multilabel target. Choose accuracy"),
        (MeanIoU(), MULTILABEL, "mean_iou needs a target of classes"),
        (MAE(), MULTILABEL, r"got a multilabel target with 4 classes\. Choose accuracy"),
    ],
)
def test_a_wrong_kind_of_target_raises_with_the_right_metrics(metric: Metric, bound: TargetSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        metric.bind(bound)


def test_an_architecture_without_logits_raises() -> None:
    with pytest.raises(UserError, match="accuracy needs logits, but the architecture returns none"):
        Accuracy().measure(Output(None), batches(draw(10, 4), LABELS)[0][1])


@pytest.mark.parametrize("outlier", [1e30, 1e38, 1.0, 1e-30])
@pytest.mark.parametrize("scale", [1.0, 1e-25])
def test_an_outlier_neither_overflows_nor_hides_other_errors(outlier: float, scale: float) -> None:
    logits, target = draw(10, 2) * np.float32(scale), np.zeros((10, 2), np.float32)
    target[3, 1] = -outlier
    error = logits.astype(np.float64) - target
    bound = replace(REAL, decode=lambda values: values)
    assert measure(MAE(), bound, logits, target) == pytest.approx(np.abs(error).mean(), rel=1e-5, abs=0)
    assert measure(RMSE(), bound, logits, target) == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-5, abs=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("exponents", "normalize", "scale"),
    [
        *(((exponent, exponent), "z_score", 1.0) for exponent in (-300, -46, 0, 38, 300)),
        ((-46, 3), "robust", 1.0),
        ((-46, -46), MinMax(low=-1, high=2), 1e-4),
    ],
)
def test_errors_of_a_target_of_any_size_are_right(exponents: tuple[int, int], normalize: Any, scale: float) -> None:
    """float32 has numbers from 1e-38 to 1e38, and the target is float64."""
    units = 10.0 ** np.array(exponents)
    numbers = draw(20, 2).astype(np.float64) + np.array([3, 0])
    values, guesses = numbers[:10], numbers[10:]
    column = Numeric(key="y", normalize=normalize, scale=scale)
    bound, encode = bind_numeric(column, values * units)
    target, logits = encode(values * units), encode(guesses * units)
    errors = guesses - values
    mean = units.max() * np.mean(np.abs(errors) * (units / units.max()))
    root = units.max() * np.sqrt(np.mean(np.square(errors * (units / units.max()))))
    assert measure(MAE(), bound, logits, target) == pytest.approx(mean, rel=1e-4, abs=0)
    assert measure(RMSE(), bound, logits, target) == pytest.approx(root, rel=1e-4, abs=0)
    r2 = R2().bind(bound)
    sums = r2.measure(Output(jnp.array(logits)), Batch({}, {"target": jnp.array(target)}, {}, None, jnp.ones(10, bool)))
    expected = r2_score(values, guesses)
    assert r2.result({name: np.asarray(each) for name, each in sums.items()}) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1e46])
def test_a_logarithmic_target_of_a_size_that_float32_cannot_hold_needs_a_scale(scale: float) -> None:
    column = Numeric(key="y", normalize=("log", "z_score"), scale=scale)
    values = np.exp(draw(10, 2).astype(np.float64)) * 1e-46
    if scale == 1:
        with pytest.raises(UserError, match=r"about .*e-4\d, and float32 can't hold .* Set `scale` to about .*e\+4\d"):
            bind_numeric(column, values)
        return
    bound, encode = bind_numeric(column, values)
    guesses = np.exp(draw(20, 2)[10:].astype(np.float64)) * 1e-46
    found = measure(MAE(), bound, encode(guesses), encode(values))
    assert found == pytest.approx(np.abs(guesses - values).mean(), rel=1e-4, abs=0)


def bind_numeric(column: Numeric, values: np.ndarray) -> tuple[TargetSpec, Callable[[np.ndarray], np.ndarray]]:
    """The target of numbers (rows, 2), and the function that normalizes numbers."""
    statistics, rows = column.statistics(), Block({"y": values})
    constants = column.fit({name: each.result(each.summarize(rows)) for name, each in statistics.items()}, {})
    layer = column.layer(constants.static)
    return column.bind(constants), lambda numbers: np.asarray(
        layer(column.encode(Block({"y": numbers}), {}, constants), constants.device)
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_gives_no_finite_error(value: float) -> None:
    logits = draw(10, 2)
    logits[3, 1] = value
    assert not np.isfinite(measure(MAE(), REAL, logits, np.ones((10, 2), np.float32)))
    assert not np.isfinite(measure(RMSE(), REAL, logits, np.ones((10, 2), np.float32)))


@pytest.mark.parametrize(
    ("metric", "logits", "target", "message"),
    [
        (Accuracy(), (4, 3), np.zeros(4), r"accuracy needs a target of classes, int32, got float32 \(4,\)"),
        (Accuracy(), (4, 3), np.zeros((4, 3)), r"accuracy needs a target of classes, int32, got float32 \(4, 3\)"),
        (Accuracy(), (4, 3), np.zeros((4, 1), int), r"accuracy needs a class id, int32 \(4,\), .*, got int32 \(4, 1\)"),
        (Accuracy(), (4,), np.zeros(4, int), r"accuracy needs a class id, int32 \(\), .* got int32 \(4,\)"),
        (TopK(1), (4, 3), np.full(4, 0.3), "top_k needs a target of classes"),
        (TopK(1), (4, 3), np.zeros((4, 1), int), "top_k needs a class id"),
        (MeanIoU(), (4, 2, 2, 3), np.zeros((4, 2), int), "mean_iou needs a class id"),
        (MAE(), (4, 1), np.zeros(4), r"mae needs a target of floats \(4, 1\), .*, got float32 \(4,\)"),
        (RMSE(), (4, 1), np.zeros((4, 1), int), r"rmse needs a target of floats \(4, 1\), .*, got int32 \(4, 1\)"),
        (ReconstructionError(), (), np.zeros(4), r"reconstruction_error needs a value for each example, \(4, …\)"),
    ],
)
def test_a_target_of_another_shape_or_type_raises(
    metric: Metric, logits: tuple[int, ...], target: np.ndarray, message: str
) -> None:
    batch = Batch({}, {"target": jnp.array(target)}, {}, weight=None, present=jnp.ones(4, bool))
    values = jnp.zeros(logits)
    with pytest.raises(UserError, match=message):
        metric.measure(Output(values, features={"reconstruction_error": values}), batch)


ERRORS = {
    *("brier_score", "expected_calibration_error", "log_cosh", "log_loss", "mae", "mape", "poisson_deviance"),
    *("quantile_loss", "reconstruction_error", "rmse", "top_k_error"),
}


@pytest.mark.parametrize("option", options("metric"))
def test_every_option_has_a_direction(option: str) -> None:
    is_error = option in ERRORS
    assert built("metric", option).higher_is_better == (not is_error)


def test_the_reconstruction_error_counts_examples_beside_a_target_of_pixels() -> None:
    features = {"reconstruction_error": jnp.asarray([1.0, 3.0, 8.0])}
    batch = Batch({}, {"kind": jnp.zeros((3, 2, 2), jnp.int32)}, {}, None, jnp.asarray([True, True, False]))
    sums = ReconstructionError().measure(Output(jnp.zeros((3, 2, 2, 4)), features=features), batch)
    assert ReconstructionError().result(jax.tree.map(np.asarray, sums)) == 2.0
