from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.loss import MAE, MSE, BinaryCrossEntropy, Distillation, Huber, LeNet5_1998, SoftmaxCrossEntropy
from components.types import Batch, Loss, Output, TargetSpec, UserError


def target(outputs: int, classes: int | None = None) -> TargetSpec:
    if classes is None:
        return TargetSpec("real", (outputs,), None, decode=lambda values: values)
    return TargetSpec("classes", (), tuple(f"class {n}" for n in range(classes)), decode=lambda values: values)


def distill(logits: jax.Array, target: jax.Array, teacher: jax.Array | None = None) -> jax.Array:
    """The loss of distillation, with the logits themselves as those of the teacher."""
    batch = Batch({}, {"target": target}, {}, None, jnp.ones(4, bool))
    batch = batch._replace(teacher={"target": logits if teacher is None else teacher})
    return Distillation()(Output(logits), batch)


LABELS = TargetSpec("multilabel", (3,), ("a", "b", "c"), lambda logits: logits)


@pytest.mark.parametrize(
    ("loss", "bound", "outputs"),
    [
        (SoftmaxCrossEntropy(), target(1, 10), 10),
        (SoftmaxCrossEntropy(), target(1, 2), 2),
        (BinaryCrossEntropy(), target(1, 2), 1),
        (BinaryCrossEntropy(), LABELS, 3),
        (MSE(), target(3), 3),
        (MAE(), target(1), 1),
        (Huber(), target(2), 2),
    ],
)
def test_the_target_determines_the_number_of_outputs(loss: Loss, bound: TargetSpec, outputs: int) -> None:
    assert loss.outputs(bound) == outputs


@pytest.mark.parametrize(
    ("loss", "bound", "message"),
    [
        (SoftmaxCrossEntropy(), target(1), r"softmax_cross_entropy needs a target of classes, got a real-valued"),
        (
            BinaryCrossEntropy(),
            target(1),
            r"a target of classes or a multilabel target, got a real-valued",
        ),
        (
            BinaryCrossEntropy(),
            target(1, 3),
            r"needs a target of two classes, got 3\. .* focal, .*softmax_cross",
        ),
        (
            MSE(),
            target(1, 10),
            r"mse needs a real-valued target, got a target of 10 classes\. .*: categorical_hi",
        ),
        (MAE(), target(1, 2), r"mae needs .* Choose a loss for it: binary_cross_entropy, binary_focal, "),
        (Huber(), target(1, 10), "huber needs a real-valued target"),
        (SoftmaxCrossEntropy(), LABELS, "got a multilabel target of 3. .*: binary_cross_entropy, .*, squared_hinge"),
        (LeNet5_1998(), LABELS, "lenet5_1998 needs a target of classes"),
        (
            MSE(),
            LABELS,
            r"multilabel .* of 3\. .*: binary_cross_entropy, binary_focal, hinge, squared_hinge\.$",
        ),
    ],
)
def test_a_wrong_kind_of_target_raises_with_the_right_losses(loss: Loss, bound: TargetSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        loss.outputs(bound)


def test_a_garbage_class_with_a_huge_penalty_changes_nothing() -> None:
    logits, target = jnp.array([[0.5, -3.0, 2.0]]), jnp.array([1])
    found = LeNet5_1998(garbage_penalty=1e6)(logits, target)
    np.testing.assert_allclose(found, SoftmaxCrossEntropy()(logits, target), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [None, 0.3])
def test_the_garbage_class_follows_equation_9_of_the_paper(smoothing: float | None) -> None:
    """LeCun et al., 1998: y_true + log(exp(-j) + sum of exp(-y)), with penalties y; smoothing averages over classes."""
    penalties, target = np.array([[0.5, 3.0, 9.0], [7.0, 8.0, 6.0]]), np.array([1, 2])
    class_losses = penalties + np.log(np.exp(-2.0) + np.exp(-penalties).sum(1))[:, None]
    shares = np.eye(3)[target] * (1 - (smoothing or 0)) + (smoothing or 0) / 3
    loss = LeNet5_1998(smoothing, garbage_penalty=2.0)
    costs = loss(jnp.array(-penalties, jnp.float32), jnp.array(target, jnp.int32))
    np.testing.assert_allclose(costs, (class_losses * shares).sum(1), rtol=1e-5)


@pytest.mark.parametrize("soft", [False, True])
def test_the_binary_cross_entropy_of_labels_is_the_mean_over_the_classes(soft: bool) -> None:
    """As keras.losses.binary_crossentropy: -mean(y log p + (1 - y) log(1 - p)) over the last axis."""
    random = np.random.default_rng(0)
    logits, labels = random.normal(0, 3, (5, 3)), random.integers(0, 2, (5, 3))
    shares = random.random((5, 3)) if soft else labels
    p = 1 / (1 + np.exp(-logits))
    expected = -(shares * np.log(p) + (1 - shares) * np.log(1 - p)).mean(1)
    arguments = (jnp.array(logits, jnp.float32), jnp.array(labels, jnp.int32))
    losses = BinaryCrossEntropy()(*arguments, soft=jnp.array(shares, jnp.float32) if soft else None)
    assert losses.shape == (5,)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_labels_of_one_class_are_not_classes() -> None:
    logits = jnp.array([[2.0], [-1.0]])
    of_labels = BinaryCrossEntropy()(logits, jnp.array([[1], [0]]))
    np.testing.assert_array_equal(of_labels, BinaryCrossEntropy()(logits, jnp.array([1, 0])))
    with pytest.raises(UserError, match=r"needs a class id, int32 \(2,\), for the logits \(2, 1\), got int32 \(2, 3\)"):
        BinaryCrossEntropy()(logits, jnp.zeros((2, 3), int))
    with pytest.raises(UserError, match=r"got float32 \(2, 1\)"):
        BinaryCrossEntropy()(logits, jnp.zeros((2, 1)))


@pytest.mark.parametrize("loss", [MSE(), MAE(), Huber()])
@pytest.mark.parametrize(
    ("logits", "target"), [((4, 1), jnp.zeros(4)), ((4,), jnp.zeros((4, 1))), ((4, 2), jnp.zeros((4, 2), int))]
)
def test_the_errors_of_another_shape_or_type_raise(loss: Loss, logits: tuple[int, ...], target: jax.Array) -> None:
    with pytest.raises(UserError, match=r"^(mse|mae|huber) needs a target of floats"):
        loss(jnp.zeros(logits), target)


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), LeNet5_1998(), BinaryCrossEntropy(), distill])
@pytest.mark.parametrize(
    ("logits", "target"),
    [
        ((4, 1), jnp.full(4, 0.3)),
        ((4, 1), jnp.zeros((4, 2), int)),
        ((4,), jnp.zeros(4, int)),
        ((4, 1), jnp.zeros(4, bool)),
        ((), jnp.zeros((), int)),
    ],
)
def test_ids_of_another_shape_or_type_raise(
    loss: Callable[..., jax.Array], logits: tuple[int, ...], target: jax.Array
) -> None:
    with pytest.raises(UserError, match=r"^[a-z0-9_]+ needs a class id"):
        loss(jnp.zeros(logits), target)


def test_logits_of_two_classes_are_not_the_one_of_binary_cross_entropy() -> None:
    with pytest.raises(
        UserError, match=r"needs one logit for a class id, got the logits \(4, 2\). Choose softmax_cross"
    ):
        BinaryCrossEntropy()(jnp.zeros((4, 2)), jnp.zeros(4, int))


@pytest.mark.parametrize(
    ("loss", "logits", "target", "soft"),
    [
        (SoftmaxCrossEntropy(), (4, 3), (4,), (4, 1)),
        (SoftmaxCrossEntropy(), (4, 3), (4,), (4,)),
        (BinaryCrossEntropy(), (4, 1), (4,), (4, 1)),
        (BinaryCrossEntropy(), (4, 3), (4, 3), (4, 1)),
    ],
)
def test_probabilities_of_another_shape_raise(loss: Loss, logits: Any, target: Any, soft: Any) -> None:
    with pytest.raises(UserError, match="cross_entropy needs the probability of each class, float32"):
        loss(jnp.zeros(logits), jnp.zeros(target, int), jnp.zeros(soft))  # type: ignore[call-arg]


def test_a_teacher_has_the_classes_of_the_student() -> None:
    with pytest.raises(UserError, match=r"distillation needs logits of the teacher \(4, 3\), .* got \(4, 1\)"):
        distill(jnp.zeros((4, 3)), jnp.zeros(4, int), jnp.zeros((4, 1)))


def test_distillation_without_logits_raises() -> None:
    batch = Batch({}, {"target": jnp.zeros(4, int)}, {}, None, jnp.ones(4, bool), teacher={"target": jnp.zeros((4, 3))})
    with pytest.raises(UserError, match="distillation needs logits, but the architecture returns none"):
        Distillation()(Output(None), batch)


def test_labels_have_no_weights_of_classes() -> None:
    with pytest.raises(UserError, match="a multilabel target has no `class_weights`"):
        replace(LABELS, class_weights=jnp.ones(3))
