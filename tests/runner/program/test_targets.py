"""Targets in the compiled program: none, one or several, with gaps, weights, pixels and mixed classes."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from target_session import (
    CONV,
    INPUT,
    LOSS,
    METRIC,
    ROWS,
    TWO_TARGETS,
    Session,
    columns,
    cross_entropy,
    segmentation,
    two_targets,
)

from components.data import Arrays
from components.feature import ExampleWeight, Image, ImageTarget, Label, Labels, Numeric
from components.types import Batch, DataError, Output, UserError
from runner.data.load import Features, load_encoded


@pytest.fixture(autouse=True)
def users_own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "helpers"))
    monkeypatch.setenv("TITRATE_ALLOW", "parts")


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


def test_a_loss_of_the_whole_batch_knows_padding_and_gaps() -> None:
    features = Features({"target": Label(key="kind", missing="mask")}, INPUT, {"x": ("x",)})
    session = Session(features, loss={"_target_": "parts.CountingLoss"})
    rows = session.rows[:7]  # evaluated in batches of 5 rows, the second with 3 rows of padding
    is_known = np.array([kind is not None for kind in columns()["kind"][rows]])
    counts = np.array([is_known[:5].sum(), is_known[5:].sum()])
    assert session.evaluate(rows)["valid/loss"] == pytest.approx((counts**2).sum() / counts.sum())


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


def test_rows_with_unknown_labels_count_in_no_loss_and_no_metric() -> None:
    features = Features(
        {"target": Labels(key="tags", missing="mask")}, INPUT, {"x": ("x",)}, ExampleWeight(key="weight")
    )
    loss, metric = {"_target_": LOSS + "BinaryCrossEntropy"}, {"accuracy": {"_target_": METRIC + "Accuracy"}}
    session = Session(features, loss=loss, metric=metric)
    raw = columns()
    rows = session.rows
    known = np.array([tags is not None for tags in raw["tags"][rows]])
    labels = np.array([[name in (tags or "") for name in "abc"] for tags in raw["tags"][rows]])
    logits, weights = session.outputs(rows)["target"], raw["weight"][rows][known]
    assert logits.shape == (12, 3)
    losses = np.logaddexp(0, np.where(labels, -logits, logits)).mean(1)[known]
    right = ((logits > 0) == labels)[known]
    sums, metrics = session.train(rows)
    assert sums["loss"]["count"] == known.sum() < len(rows)
    assert metrics["train/loss"] == pytest.approx((losses * weights).sum() / known.sum(), rel=1e-5)
    found = session.evaluate(rows)
    assert found["valid/loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert found["valid/accuracy"] == pytest.approx(right.mean())
    assert found["valid/weighted/loss"] == pytest.approx(np.average(losses, weights=weights), rel=1e-5)
    assert found["valid/weighted/accuracy"] == pytest.approx(np.average(right.mean(1), weights=weights), rel=1e-5)


def test_mixed_labels_agree_with_the_formula() -> None:
    features = Features({"target": Labels(key="tags", missing="empty")}, INPUT, {"x": ("x",)})
    mixup = {"mixup": {"_target_": "components.augmentation.Mixup", "alpha": 0.4}}
    session = Session(features, loss={"_target_": LOSS + "BinaryCrossEntropy"}, augmentation=mixup)
    labels = jnp.array([[1, 0, 1], [0, 0, 1]])
    soft = {"target": jnp.array([[0.7, 0.0, 1.0], [0.0, 0.4, 0.2]])}
    logits = jnp.array([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]])
    batch = Batch({}, {"target": labels}, {}, None, jnp.ones(2, bool), soft)
    losses = session.parts.targets["target"].loss(Output({"target": logits}), batch)
    np.testing.assert_allclose(losses, (jax.nn.softplus(logits) - soft["target"] * logits).mean(1), rtol=1e-6)
    _, metrics = session.train(session.rows)
    assert 0.3 < metrics["train/loss"] < 1.5


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


def test_the_predictions_of_a_loss_with_a_link_are_what_the_link_returns() -> None:
    """The rates of Poisson regression, exp of the output of the network, also for metrics and one of two targets."""
    targets = {"kind": Label(key="label"), "count": Numeric(key="label")}
    losses = {"kind": {"_target_": LOSS + "SoftmaxCrossEntropy"}, "count": {"_target_": LOSS + "Poisson"}}
    metrics = {"count": {"rmse": {"_target_": METRIC + "RMSE"}}}
    linked, plain = (
        Session(Features(targets, INPUT, {"x": ("x",)}), loss=losses | changed, metric=metrics)
        for changed in ({}, {"count": {"_target_": LOSS + "MSE"}})
    )
    rows = linked.data.splits["valid"]
    rates, counts = np.asarray(linked.outputs(rows)["count"]), columns()["label"][rows, None]
    np.testing.assert_allclose(rates, np.exp(plain.outputs(rows)["count"]), rtol=1e-5)
    np.testing.assert_array_equal(linked.outputs(rows)["kind"], plain.outputs(rows)["kind"])
    found = linked.evaluate(rows)
    assert found["valid/count/rmse"] == pytest.approx(np.sqrt(np.square(rates - counts).mean()), rel=1e-5)
    assert found["valid/count/loss"] == pytest.approx((rates - counts * np.log(rates)).mean(), rel=1e-5)


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


def test_without_a_target_an_evaluation_without_internal_losses_raises() -> None:
    session = Session(Features({}, INPUT, {"x": ("x",)}), architecture={"_target_": "parts.LossesInTraining"})
    assert session.train(session.rows)[1]["train/loss"] > 0
    with pytest.raises(
        UserError, match=r"LossesInTraining returns no internal losses \(Output.losses\) in evaluations"
    ):
        session.evaluate(session.rows)


def test_a_loss_of_features_trains_a_network_without_a_head() -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)})
    session = Session(
        features, architecture={"_target_": "parts.Embedding"}, loss={"_target_": "parts.FeatureLoss"}, metric={}
    )
    expected = np.square(columns()["x"][session.rows].astype(np.float32)).mean()
    assert session.evaluate(session.rows)["valid/loss"] == pytest.approx(expected, rel=1e-5)
    assert session.train(session.rows)[1]["train/loss"] == pytest.approx(expected, rel=1e-5)


def test_a_loss_of_features_beside_auxiliary_classifiers_raises() -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)})
    session = Session(features, architecture={"_target_": "parts.TwoHeads"}, loss={"_target_": "parts.SumOfFeatures"})
    assert session.evaluate(session.rows)["valid/loss"] == 0  # there, auxiliary classifiers have no loss
    with pytest.raises(UserError, match=r"loss: it reads Output.features, but it is also the loss of auxiliary"):
        session.train(session.rows)


def test_a_loss_of_logits_without_a_head_needs_internal_losses() -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)})
    loss = {"_target_": LOSS + "SoftmaxCrossEntropy"}
    session = Session(features, architecture={"_target_": "parts.LossesInTraining"}, loss=loss, metric={})
    metrics = session.train(session.rows)[1]
    assert metrics["train/loss"] == 0 < metrics["train/objective"]
    with pytest.raises(UserError, match="loss: SoftmaxCrossEntropy needs logits, but the architecture returns none"):
        session.evaluate(session.rows)


def test_the_order_of_the_augmentations_changes_no_result() -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)})
    noise = {"noise": {"_target_": "components.augmentation.GaussianNoise", "std": 0.3}}
    mixup = {"mixup": {"_target_": "components.augmentation.Mixup", "alpha": 0.4}}
    loss = {"_target_": LOSS + "SoftmaxCrossEntropy"}
    orders = (mixup | noise, noise | mixup)
    sums = [Session(features, loss=loss, augmentation=order).train(np.arange(ROWS))[0]["loss"] for order in orders]
    assert sums[0] == sums[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("DropsMasks", r"DropsMasks returns `masks.kind` as None\. It must return bool \(12,\)"),
        (
            "KeepsTargetsInName",
            "KeepsTargetsInName has the attribute `keeps_targets = True`, but returns other arrays for targets",
        ),
        ("SetsSoft", r"SetsSoft sets `soft.size`, but the target size has no classes\. Leave it out"),
        (
            "AddsInput",
            r"AddsInput returns the inputs inputs, view\. .* An augmentation that adds inputs has the attribute",
        ),
        ("AddsShortInput", r"AddsShortInput: the added input `view` is float32 \(11, 3\)\. It must have 12 rows"),
        ("DoublesInTraining", "DoublesInTraining.bind changes `shape` of the target size, but evaluations"),
    ],
)
def test_an_augmentation_with_wrong_fields_raises(name: str, message: str) -> None:
    with pytest.raises(UserError, match=f"augmentation.own: {message}"):
        (session := Session(two_targets(), augmentation=own(name), **TWO_TARGETS)).train(session.rows)


def own(name: str) -> dict[str, dict[str, str]]:
    return {"own": {"_target_": f"parts.{name}"}}


def test_an_added_input_that_the_architecture_does_not_take_raises() -> None:
    with pytest.raises(
        UserError, match=r"architecture: MLP has no input view, which an augmentation adds\. Allowed: inputs"
    ):
        Session(two_targets(), augmentation=own("AddsUnknownInput"), **TWO_TARGETS)


def test_evaluations_are_augmented_in_the_same_way_each_time_where_the_augmentation_says_so() -> None:
    noise = {"_target_": "components.augmentation.GaussianNoise", "std": 0.5}
    noisy, plain = (
        Session(two_targets(), augmentation={"noise": noise | {"evaluates": evaluates}}, **TWO_TARGETS)
        for evaluates in (True, False)
    )
    losses = [session.evaluate(session.rows)["valid/loss"] for session in (noisy, noisy, plain)]
    assert losses[0] == losses[1] != losses[2]
    assert losses[2] == Session(two_targets(), **TWO_TARGETS).evaluate(plain.rows)["valid/loss"]
    chunk = next(iter(noisy.batches.chunks(noisy.rows, 12, 1)))
    encoded = jax.tree.map(lambda leaf: leaf[chunk.rows[0]], chunk.data)
    variables = {"params": noisy.state.parameters}
    inputs = [
        noisy.program.forward(noisy.parts, noisy.inputs, variables, encoded, step=None, part=part)[0].inputs["inputs"]
        for part in (0, 1)
    ]
    assert (np.asarray(inputs[0]) != np.asarray(inputs[1])).all(), "each batch has its own noise"


def test_an_augmentation_may_change_the_shape_of_a_target_that_it_binds() -> None:
    doubled = Session(two_targets(), augmentation=own("Doubles"), **TWO_TARGETS)
    assert doubled.outputs(doubled.rows)["size"].shape == (12, 2)
    losses = doubled.train(doubled.rows)[1]["train/size/loss"], doubled.evaluate(doubled.rows)["valid/size/loss"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_an_augmentation_may_set_weights_and_compile_itself() -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)})
    loss, own = {"_target_": LOSS + "SoftmaxCrossEntropy"}, {"own": {"_target_": "parts.ConstantWeight", "weight": 2.0}}
    plain, weighted = (Session(features, loss=loss, augmentation=augmentation) for augmentation in ({}, own))
    losses = [session.train(session.rows)[1]["train/loss"] for session in (plain, weighted)]
    assert losses[1] == pytest.approx(2 * losses[0], rel=1e-6)


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
