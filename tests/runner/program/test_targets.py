"""Targets in the compiled program: none, one or several, with gaps, weights, pixels and mixed classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from components.data import Arrays
from components.feature import ExampleWeight, Image, ImageTarget, Label, Numeric
from components.types import DataError, UserError
from runner.data.batches import Batches
from runner.data.load import Features, load_encoded
from runner.program.metric_sums import add_sums, compute_metrics
from runner.program.parts import ProgramInputs
from runner.program.program import Program, RateInputs, numbers_to_arrays

ROWS = 24
LOSS, METRIC, PART = "components.loss.", "components.metric.", "components.feature."
MLP = {"_target_": "components.architecture.MLP", "widths": (4,)}
CONV = {
    "_target_": "components.architecture.Sequential",
    "layers": ({"_target_": "components.layer.Conv", "features": 3, "kernel": 3, "activation": "relu"},),
    "head": "conv",
}
INPUT = {"x": Numeric(key="x")}


@pytest.fixture(autouse=True)
def users_own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "helpers"))
    monkeypatch.setenv("TITRATE_ALLOW", "parts")


def columns() -> dict[str, Any]:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 3, (ROWS, 4, 4))
    return {
        "x": random.normal(size=(ROWS, 3)),
        "kind": np.array([None if row % 5 == 0 else "abc"[row % 3] for row in range(ROWS)], object),
        "size": np.where(np.arange(ROWS) % 4 == 0, np.nan, random.normal(size=ROWS)),
        "label": np.arange(ROWS) % 3,
        "weight": np.arange(ROWS) / 7,
        "image": random.integers(0, 256, (ROWS, 4, 4, 1), np.uint8),
        "pixels": np.where(random.random(pixels.shape) < 0.2, 255, pixels),
    }


class Session:
    """A program with data, and its state before the first step."""

    def __init__(self, features: Features, **static: Any) -> None:
        groups: dict[str, Any] = {key: {} for key in ("metric", "loss_weights", "regularizer", "constraint")}
        groups |= {"augmentation": {}, "update": {}, "loss": None, "architecture": MLP}
        groups |= {
            "optimizer": {"_target_": "optax.sgd"},
            "schedule": {"_target_": "components.schedule.constant", "learning_rate": 0.1},
        }
        self.data = load_encoded(
            Arrays(columns=columns(), valid=6, test=6, seed=None), features, identity="", cache=None
        )
        self.program = Program(groups | static, features, self.data.constants)
        constants = {name: dict(constant.device) for name, constant in self.data.constants.items()}
        self.inputs = ProgramInputs(numbers_to_arrays({}, seed=0), constants)
        self.parts = self.program.build_parts(self.inputs)
        self.batches = Batches(self.data)
        self.rows = self.data.splits["train"]
        chunk = self._chunk(self.rows)
        self.state = self.program.init(self.inputs, chunk.data, chunk.rows[0])

    def _chunk(self, rows: np.ndarray) -> Any:
        return next(iter(self.batches.chunks(rows, len(rows), 1)))

    def outputs(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        """The logits of rows by target, of the initial parameters."""
        chunk = self._chunk(rows)
        encoded = jax.tree.map(lambda leaf: leaf[chunk.rows[0]], chunk.data)
        variables = {"params": self.state.parameters, **self.state.model_state}
        _, output, _ = self.program.forward(self.parts, self.inputs, variables, encoded, step=None)
        return jax.device_get(output.outputs)

    def train(self, rows: np.ndarray) -> tuple[Any, dict[str, float]]:
        """Takes one step. Returns the metric sums and the metrics."""
        chunk, state = self._chunk(rows), jax.tree.map(jnp.copy, self.state)
        rates = RateInputs(np.int32(9), np.int32(3), np.float32(1))
        state, sums = self.program.train(self.inputs, state, chunk.data, chunk.rows, np.int32(1), rates)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.parameters))
        sums = add_sums({}, [sums], self.parts.metrics)
        return sums, self._metrics(sums, "train")

    def evaluate(self, rows: np.ndarray) -> dict[str, float]:
        sums = []
        for chunk in self.batches.chunks(rows, 5, 1, pad=True):
            weights = self.state.parameters, self.state.model_state
            sums.append(self.program.evaluate(self.inputs, *weights, chunk.data, chunk.rows[0], chunk.mask)[0])
        return self._metrics(add_sums({}, sums, self.parts.metrics), "valid")

    def _metrics(self, sums: Any, split: str) -> dict[str, float]:
        weights = {
            name: 1.0 if target.loss_weight is None else float(target.loss_weight)
            for name, target in self.parts.targets.items()
        }
        return compute_metrics(sums, self.parts.metrics, split, weights)


TWO_TARGETS = {
    "loss": {"kind": {"_target_": LOSS + "SoftmaxCrossEntropy"}, "size": {"_target_": LOSS + "MSE"}},
    "metric": {
        "kind": {"accuracy": {"_target_": METRIC + "Accuracy"}},
        "size": {"rmse": {"_target_": METRIC + "RMSE"}},
    },
    "loss_weights": {"size": 0.5},
}


def two_targets(**kind: Any) -> Features:
    targets = {"kind": Label(key="kind", missing="mask", **kind), "size": Numeric(key="size", missing="mask")}
    return Features(targets, INPUT, {"x": ("x",)})


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), jnp.asarray(labels)))


def test_a_gap_in_one_target_masks_its_term_alone() -> None:
    session = Session(two_targets(), **TWO_TARGETS)
    rows, raw = session.rows, columns()
    logits = session.outputs(rows)
    assert {name: values.shape for name, values in logits.items()} == {"kind": (12, 3), "size": (12, 1)}
    has_kind, has_size = raw["kind"][rows] != None, ~np.isnan(raw["size"][rows])  # noqa: E711
    labels = np.array(["abc".index(kind) for kind in raw["kind"][rows][has_kind]])
    kind_losses = cross_entropy(logits["kind"][has_kind], labels)
    errors = logits["size"][has_size, 0] - raw["size"][rows][has_size]
    _, metrics = session.train(rows)
    assert metrics["train/kind/loss"] == pytest.approx(kind_losses.mean(), rel=1e-5)
    assert metrics["train/size/loss"] == pytest.approx(np.square(errors).mean(), rel=1e-5)
    assert metrics["train/loss"] == pytest.approx(kind_losses.mean() + 0.5 * np.square(errors).mean(), rel=1e-5)
    evaluated = session.evaluate(rows)
    assert evaluated["valid/loss"] == pytest.approx(metrics["train/loss"], rel=1e-5)
    assert evaluated["valid/kind/accuracy"] == (logits["kind"][has_kind].argmax(1) == labels).mean()
    assert evaluated["valid/size/rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()), rel=1e-5)


def test_rows_without_any_target_add_nothing_to_the_objective() -> None:
    session = Session(two_targets(), **TWO_TARGETS)
    raw = columns()
    rows = np.flatnonzero([kind is None for kind in raw["kind"]] & np.isnan(raw["size"]))[:1]
    sums, metrics = session.train(rows)
    assert sums["kind/loss"] == {"sum": 0, "count": 0}
    assert np.isnan(metrics["train/loss"])


def test_an_architecture_may_build_a_head_for_each_target() -> None:
    session = Session(two_targets(), architecture={"_target_": "parts.NamedHeads"}, **TWO_TARGETS)
    assert {name: values.shape[1] for name, values in session.outputs(session.rows).items()} == {"kind": 3, "size": 1}
    assert {"head_kind", "head_size"} <= session.state.parameters["architecture"].keys()


@pytest.mark.parametrize("column", [None, "weight"])
def test_weights_count_in_training_and_have_their_own_metrics_in_evaluations(column: str | None) -> None:
    features = Features({"target": Label(key="label", weight="balanced")}, INPUT, {"x": ("x",)})
    if column:
        features = Features(features.targets, INPUT, {"x": ("x",)}, ExampleWeight(key=column))
    metrics = {
        "accuracy": {"_target_": METRIC + "Accuracy"},
        "top": {"_target_": METRIC + "TopK", "k": 2},
        "area": {"_target_": "parts.AreaUnderCurve"},
    }
    session = Session(features, loss={"_target_": LOSS + "SoftmaxCrossEntropy"}, metric=metrics)
    rows, raw = session.rows, columns()
    labels, weights = raw["label"][rows], raw["weight"][rows] if column else np.ones(len(rows))
    logits = session.outputs(rows)["target"]
    losses, hits = cross_entropy(logits, labels), logits.argmax(1) == labels
    class_weights = len(rows) / (3 * np.bincount(labels))
    sums, _ = session.train(rows)
    assert sums["loss"]["sum"] == pytest.approx((losses * weights * class_weights[labels]).sum(), rel=1e-5)
    assert sums["loss"]["count"] == len(rows)
    assert sums["accuracy"]["hits"] == hits.sum()
    found = session.evaluate(rows)
    assert found["valid/loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert found["valid/accuracy"] == pytest.approx(hits.mean())
    weighted = {name: value for name, value in found.items() if "weighted" in name}
    if not column:
        assert weighted == {}
        return
    assert list(weighted) == ["valid/weighted/loss", "valid/weighted/accuracy", "valid/weighted/top"]
    assert weighted["valid/weighted/loss"] == pytest.approx((losses * weights).sum() / weights.sum(), rel=1e-5)
    assert weighted["valid/weighted/accuracy"] == pytest.approx((hits * weights).sum() / weights.sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.where(np.arange(ROWS) == 3, -1, 1.0), r"row 3 of .*: column `weight` is -1\.0; a weight is 0 or more"),
        (np.where(np.arange(ROWS) == 3, np.nan, 1.0), r"row 3 of .*: column `weight` is nan"),
        (np.zeros(ROWS), "column `weight`: all weights of the training split are 0"),
        (np.ones((ROWS, 2)), r"column `weight` of .* has rows of shape \(2,\); one weight is needed"),
    ],
)
def test_wrong_weights_are_errors(weights: np.ndarray, message: str) -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)}, ExampleWeight(key="weight"))
    source = Arrays(columns=columns() | {"weight": weights}, valid=6, test=6, seed=None)
    with pytest.raises(DataError, match=message):
        load_encoded(source, features, identity="", cache=None)


def segmentation(**label: Any) -> Features:
    target = Label(key="pixels", ignore=255, **label)
    return Features({"target": target}, {"image": Image(key="image")}, {"image": ("image",)})


def test_ignored_pixels_count_in_no_loss_and_no_metric() -> None:
    metrics = {"iou": {"_target_": METRIC + "MeanIoU"}, "accuracy": {"_target_": METRIC + "Accuracy"}}
    loss = {"_target_": LOSS + "SoftmaxCrossEntropy"}
    session = Session(segmentation(), architecture=CONV, loss=loss, metric=metrics)
    rows = session.rows
    pixels, logits = columns()["pixels"][rows], session.outputs(rows)["target"]
    assert logits.shape == (12, 4, 4, 3)
    known = pixels != 255
    losses, predicted = cross_entropy(logits[known], pixels[known]), logits[known].argmax(1)
    sums, metrics_found = session.train(rows)
    assert sums["loss"]["count"] == known.sum() < pixels.size
    assert metrics_found["train/loss"] == pytest.approx(losses.mean(), rel=1e-5)
    pairs = [(predicted == name, pixels[known] == name) for name in range(3)]
    ious = [(first & second).sum() / (first | second).sum() for first, second in pairs]
    found = session.evaluate(rows)
    assert found["valid/iou"] == pytest.approx(np.mean(ious))
    assert found["valid/accuracy"] == pytest.approx((predicted == pixels[known]).mean())
    assert session.data.encoded["target"]["ids"].dtype == np.int8


def test_an_image_is_predicted() -> None:
    features = Features({"target": ImageTarget(key="image")}, {"image": Image(key="image")}, {"image": ("image",)})
    metrics = {"rmse": {"_target_": METRIC + "RMSE"}}
    noise = {"noise": {"_target_": "components.augmentation.GaussianNoise", "std": 0.3}}
    loss = {"_target_": LOSS + "MSE"}
    session = Session(features, architecture=CONV, loss=loss, metric=metrics, augmentation=noise)
    rows = session.rows
    images, predicted = columns()["image"][rows] / 255, session.outputs(rows)["target"]
    assert predicted.shape == images.shape
    found = session.evaluate(rows)
    assert found["valid/loss"] == pytest.approx(np.square(predicted - images).mean(), rel=1e-5)
    assert found["valid/rmse"] == pytest.approx(np.sqrt(np.square(predicted - images).mean()), rel=1e-5)
    assert session.train(rows)[1]["train/loss"] != pytest.approx(found["valid/loss"], rel=1e-3), "inputs are noisy"


def test_without_a_target_the_loss_is_the_sum_of_the_internal_losses() -> None:
    features = Features({}, INPUT, {"x": ("x",)}, ExampleWeight(key="weight"))
    session = Session(features, architecture={"_target_": "parts.TwoInternalLosses"})
    rows = session.rows
    x, weights = columns()["x"][rows].astype(np.float32), columns()["weight"][rows]
    squares, sizes = np.square(x).mean(1), np.abs(x).mean(1)
    found = session.evaluate(rows)
    assert list(found)[:3] == ["valid/loss", "valid/size", "valid/square"]
    assert found["valid/loss"] == pytest.approx(squares.mean() + sizes.mean(), rel=1e-5)
    assert found["valid/square"] == pytest.approx(squares.mean(), rel=1e-5)
    assert found["valid/weighted/size"] == pytest.approx((sizes * weights).sum() / weights.sum(), rel=1e-5)
    assert session.train(rows)[1]["train/loss"] == pytest.approx(((squares + sizes) * weights).mean(), rel=1e-5)


@pytest.mark.parametrize("loss", ["SoftLoss", "WholeLoss"])
def test_a_users_loss_gets_the_probabilities_of_mixed_classes(loss: str) -> None:
    features = Features({"target": Label(key="label", weight="balanced")}, INPUT, {"x": ("x",)})
    mixup = {"mixup": {"_target_": "components.augmentation.Mixup", "alpha": 1.0}}
    session = Session(features, loss={"_target_": f"parts.{loss}"}, augmentation=mixup)
    own = Session(features, loss={"_target_": LOSS + "SoftmaxCrossEntropy"}, augmentation=mixup)
    rows = session.rows
    assert session.train(rows)[1] == pytest.approx(own.train(rows)[1], rel=1e-5)


def test_a_loss_that_takes_no_probabilities_raises() -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)})
    mixup = {"mixup": {"_target_": "components.augmentation.Mixup"}}
    session = Session(features, loss={"_target_": "parts.HardLoss"}, augmentation=mixup)
    with pytest.raises(UserError, match=r"loss: HardLoss doesn't take the probabilities of mixed classes"):
        session.train(session.rows)


def test_label_smoothing_mixing_and_class_weights_agree_with_their_formulas() -> None:
    features = Features({"target": Label(key="label", weight="balanced")}, INPUT, {"x": ("x",)})
    mixup = {"mixup": {"_target_": "components.augmentation.Mixup", "alpha": 1.0}}
    loss = {"_target_": LOSS + "SoftmaxCrossEntropy", "label_smoothing": 0.1}
    session = Session(features, loss=loss, augmentation=mixup)
    chunk = next(iter(session.batches.chunks(session.rows, 12, 1)))
    encoded = jax.tree.map(lambda leaf: leaf[chunk.rows[0]], chunk.data)
    variables = {"params": session.state.parameters}
    batch, output, _ = session.program.forward(session.parts, session.inputs, variables, encoded, step=jnp.int32(0))
    soft, class_weights = np.asarray(batch.soft["target"]), session.data.constants["target"].device["weight"]
    log_probabilities = np.asarray(jax.nn.log_softmax(output.logits))
    losses = -((0.9 * soft + 0.1 / 3) * log_probabilities).sum(1)
    _, metrics = session.train(session.rows)
    assert metrics["train/loss"] == pytest.approx((losses * (soft @ class_weights)).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("parts.WideLoss", r"rank"),
        ("parts.ColumnLoss", r"loss: ColumnLoss returns float32 \(12, 1\)\. It must return a number for each example"),
    ],
)
def test_a_loss_of_the_wrong_shape_raises(loss: str, message: str) -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)})
    session = Session(features, loss={"_target_": loss})
    with pytest.raises(Exception, match=message):
        session.train(session.rows)
