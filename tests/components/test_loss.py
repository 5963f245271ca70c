from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from options import built, options

from components.loss import MAE, MSE, BinaryCrossEntropy, Distillation, Huber, LeNet5_1998, SoftmaxCrossEntropy
from components.types import Batch, Loss, Output, Scalar, TargetSpec, UserError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "training.json").read_text())["losses"]
KERAS: dict[str, dict[str, dict[str, float]]] = {  # for each option, the cases of Keras and their parameters
    "mse": {"MeanSquaredError": {}},
    "mae": {"MeanAbsoluteError": {}},
    "huber": {"Huber delta 1": {}, "Huber delta 2": {"delta": 2.0}},
    "softmax_cross_entropy": {
        "SparseCategoricalCrossentropy logits": {},
        "CategoricalCrossentropy logits smoothing 0.1": {"label_smoothing": 0.1},
    },
    "binary_cross_entropy": {"BinaryCrossentropy logits": {}},
}
NOT_IN_KERAS = {"lenet5_1998", "distillation"}  # other tests compare them with the equations of their papers
LOSSES = {case: built("loss", option, **parameters) for option in KERAS for case, parameters in KERAS[option].items()}


def arguments(case: str) -> tuple[jax.Array, jax.Array]:
    """Returns logits and targets of a case of Keras in our dtypes and shapes."""
    target = np.array(GOLDEN[case]["y_true"])
    if case.startswith("Categorical"):
        target = target.argmax(1)
    if case.startswith("Binary"):
        target = target[:, 0]
    classes = "Crossentropy" in case
    return jnp.array(GOLDEN[case]["y_pred"], jnp.float32), jnp.array(target, jnp.int32 if classes else jnp.float32)


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


@pytest.mark.parametrize("option", [option for option in options("loss") if option not in NOT_IN_KERAS])
def test_every_option_has_a_comparison_with_keras(option: str) -> None:
    assert KERAS[option]


@pytest.mark.parametrize("case", LOSSES)
def test_the_loss_of_every_example_equals_keras(case: str) -> None:
    np.testing.assert_allclose(LOSSES[case](*arguments(case)), GOLDEN[case]["per_example"], rtol=1e-5)


@pytest.mark.parametrize("case", LOSSES)
def test_bfloat16_logits_give_float32_losses(case: str) -> None:
    logits, targets = arguments(case)
    losses = LOSSES[case](logits.astype(jnp.bfloat16), targets)
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, GOLDEN[case]["per_example"], rtol=0.05)


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(0.1), LeNet5_1998(0.1, 10.0), BinaryCrossEntropy()])
@pytest.mark.parametrize("logit", [1e4, -1e4])
def test_large_logits_give_finite_losses_and_gradients(loss: Loss, logit: float) -> None:
    logits = jnp.full((1, 1), logit) if isinstance(loss, BinaryCrossEntropy) else jnp.array([[logit, 0.0]])
    value, gradient = jax.value_and_grad(lambda logits: loss(logits, jnp.array([1])).sum())(logits)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


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
        (SoftmaxCrossEntropy(), target(1), "softmax_cross_entropy needs a target with classes, .* Choose mse"),
        (BinaryCrossEntropy(), target(1), "binary_cross_entropy needs a target with classes, .* Choose mse"),
        (
            BinaryCrossEntropy(),
            target(1, 3),
            r"needs a target of two classes, got 3\. Choose softmax_cross_entropy",
        ),
        (
            MSE(),
            target(1, 10),
            r"mse needs a real-valued target, .* 10 classes\. Choose softmax_cross_entropy\.$",
        ),
        (MAE(), target(1, 2), "mae needs .* Choose softmax_cross_entropy or binary_cross_entropy"),
        (Huber(), target(1, 10), "huber needs a real-valued target"),
        (
            SoftmaxCrossEntropy(),
            LABELS,
            "needs a target with one class, got a multilabel .* Choose binary_cross_entropy",
        ),
        (LeNet5_1998(), LABELS, "lenet5_1998 needs a target with one class"),
        (MSE(), LABELS, r"got a multilabel target with 3 classes\. Choose binary_cross_entropy\.$"),
    ],
)
def test_a_wrong_kind_of_target_raises_with_the_right_losses(loss: Loss, bound: TargetSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        loss.outputs(bound)


def test_the_numbers_may_be_traced(check_traced: Callable[..., None]) -> None:
    def smooth(label_smoothing: Scalar) -> jax.Array:
        return SoftmaxCrossEntropy(label_smoothing)(*arguments("SparseCategoricalCrossentropy logits"))

    def huber(delta: Scalar) -> jax.Array:
        return Huber(delta)(*arguments("Huber delta 1"))

    def with_garbage(garbage_penalty: Scalar) -> jax.Array:
        return LeNet5_1998(garbage_penalty=garbage_penalty)(*arguments("SparseCategoricalCrossentropy logits"))

    check_traced(smooth, {"label_smoothing": 0.0}, {"label_smoothing": 0.3})
    check_traced(with_garbage, {"garbage_penalty": 0.0}, {"garbage_penalty": 3.0})
    check_traced(huber, {"delta": 0.5}, {"delta": 3.0})


def test_a_label_smoothing_of_zero_equals_none() -> None:
    case = arguments("SparseCategoricalCrossentropy logits")
    np.testing.assert_allclose(SoftmaxCrossEntropy(0.0)(*case), SoftmaxCrossEntropy()(*case), rtol=1e-6)


def test_a_garbage_class_with_a_huge_penalty_changes_nothing() -> None:
    case = arguments("SparseCategoricalCrossentropy logits")
    np.testing.assert_allclose(LeNet5_1998(garbage_penalty=1e6)(*case), SoftmaxCrossEntropy()(*case), rtol=1e-6)


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
    with pytest.raises(UserError, match=r"^(softmax_cross_entropy|binary_cross_entropy|distillation) needs a class id"):
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
