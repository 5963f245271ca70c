"""A weighted sum adds losses of logits, of mixed classes and of whole batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.loss import MAE, MSE, BinaryCrossEntropy, Pinball, Poisson, SoftmaxCrossEntropy, Triplet, WeightedSum
from components.types import Batch, Output, TargetSpec, UserError

CLASSES = TargetSpec("classes", (), ("a", "b"), lambda logits: logits)
NUMBERS = TargetSpec("real", (3,), None, lambda numbers: numbers)
LOGITS = jnp.array([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]])
OUTPUT = Output(LOGITS, features={"dense": LOGITS})
BATCH = Batch({}, {"target": jnp.array([0, 1, 0])}, {}, None, jnp.ones(3, bool))


def test_terms_are_added_by_their_weights() -> None:
    triplet, cross_entropy = Triplet(margin=5.0), SoftmaxCrossEntropy()
    found = WeightedSum(terms={"far": {"loss": triplet, "weight": 0.1}, "kind": {"loss": cross_entropy}})
    assert found.outputs(CLASSES) == 2
    expected = 0.1 * np.asarray(triplet(OUTPUT, BATCH)) + np.asarray(cross_entropy(LOGITS, BATCH.target))
    np.testing.assert_allclose(found(OUTPUT, BATCH), expected, rtol=1e-6)


def test_each_term_gets_the_probabilities_of_mixed_classes() -> None:
    soft = jnp.array([[0.3, 0.7]] * 3)
    part, mixed = SoftmaxCrossEntropy(), BATCH._replace(soft={"target": soft})
    terms: Any = {"one": {"loss": part}, "two": {"loss": part, "weight": 2.0}}
    expected = 3 * np.asarray(part(LOGITS, BATCH.target, soft=soft))
    np.testing.assert_allclose(WeightedSum(terms=terms)(OUTPUT, mixed), expected, rtol=1e-6)
    numbers = Batch({}, {"target": LOGITS}, {}, None, jnp.ones(3, bool), soft={"target": soft})
    with pytest.raises(UserError, match="MSE doesn't take the probabilities of mixed classes"):
        WeightedSum(terms={"one": {"loss": MSE()}})(OUTPUT, numbers)
    with pytest.raises(UserError, match="SoftmaxCrossEntropy needs logits, but the architecture returns none"):
        WeightedSum(terms=terms)(OUTPUT._replace(outputs=None), BATCH)


def test_weights_may_be_traced(check_traced: Callable[..., None]) -> None:
    batch = BATCH._replace(targets={"target": LOGITS + 1})

    def compute(weight: Any) -> jax.Array:
        terms: Any = {"mse": {"loss": MSE(), "weight": weight}, "low": {"loss": Pinball(0.1)}}
        return WeightedSum(terms=terms)(OUTPUT, batch)

    check_traced(compute, {"weight": 0.0}, {"weight": 0.5})


@pytest.mark.parametrize(
    ("terms", "target", "message"),
    [
        ({}, NUMBERS, r"terms: is empty\. Name a term and its loss"),
        (
            {"a": BinaryCrossEntropy(), "b": SoftmaxCrossEntropy()},
            CLASSES,
            r"terms: need different numbers of logits: a 1, b 2\. Choose",
        ),
        ({"a": MAE(), "b": Poisson()}, NUMBERS, "terms.b.loss: has predictions of its own"),
        (
            {"a": MAE(), "b": SoftmaxCrossEntropy()},
            NUMBERS,
            "terms.b.loss: softmax_cross_entropy needs a target of classes",
        ),
    ],
)
def test_terms_that_do_not_fit_together_raise(terms: dict[str, Any], target: TargetSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        WeightedSum(terms={name: {"loss": loss} for name, loss in terms.items()}).outputs(target)
