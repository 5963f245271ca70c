"""CORAL: its thresholds, its loss by the formula of the paper, and a run that predicts consistent probabilities."""

from __future__ import annotations

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import runner
from components.loss import CORAL, WeightedSum
from components.types import TargetSpec, UserError

pytestmark = pytest.mark.optax

SPEC = TargetSpec("classes", (), ("low", "middle", "high", "top"), lambda logits: logits)
SCORES = np.array([-3.0, -0.5, 0.2, 4.0])


def sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-z)))


def find_thresholds(parameters: dict[str, np.ndarray]) -> np.ndarray:
    """b_k in float64."""
    gaps = np.log1p(np.exp(np.asarray(parameters["gaps"], np.float64)))
    return np.float64(parameters["first"][0]) - np.concatenate([[0], np.cumsum(gaps)])


def coral(score: float, thresholds: np.ndarray, y: int) -> float:
    """Equation 4 of Cao et al., 2020: the binary cross-entropies of whether the class is above k."""
    above = sigmoid(score + thresholds)
    return float(-sum(np.log(share if y > k else 1 - share) for k, share in enumerate(above)))


def make_head() -> nn.Module:
    assert CORAL().outputs(SPEC) == 1
    return CORAL().head(SPEC)


def test_for_the_score_zero_all_classes_are_equally_probable_at_first() -> None:
    head = make_head()
    parameters = head.init(jax.random.key(0), jnp.zeros((1, 1)))
    np.testing.assert_allclose(jnp.exp(head.apply(parameters, jnp.zeros((1, 1)))), np.full((1, 4), 0.25), rtol=1e-6)


@pytest.mark.parametrize("gaps", [[0.3, -2.0], [5.0, -40.0], [-100.0, -100.0]])
def test_the_loss_its_derivative_and_the_probabilities_equal_those_of_the_paper(gaps: list[float]) -> None:
    parameters = {"first": np.array([0.7], np.float32), "gaps": np.array(gaps, np.float32)}
    thresholds, head = find_thresholds(parameters), make_head()
    assert (np.diff(thresholds) <= 0).all()

    def compute(scores: jax.Array, y: jax.Array) -> jax.Array:
        with jax.numpy_rank_promotion("raise"):
            logits = head.apply({"params": parameters}, scores)
            return CORAL()(logits, y)

    scores = jnp.array(SCORES[:, None], jnp.float32)
    probabilities = np.asarray(jax.nn.softmax(head.apply({"params": parameters}, scores)))
    above = np.cumsum(probabilities[:, ::-1], axis=1)[:, ::-1][:, 1:]
    np.testing.assert_allclose(above, sigmoid(SCORES[:, None] + thresholds[None]), rtol=1e-5)
    assert (np.diff(above, axis=1) <= 1e-7).all()
    for y in range(4):
        if not np.isfinite(coral(0.0, thresholds, y)):
            continue
        expected = [coral(score, thresholds, y) for score in SCORES]
        classes = jnp.full(4, y, jnp.int32)
        np.testing.assert_allclose(compute(scores, classes), expected, rtol=1e-4, atol=1e-5)
        slopes = [(coral(s + 1e-5, thresholds, y) - coral(s - 1e-5, thresholds, y)) / 2e-5 for s in SCORES]
        found = jax.grad(lambda scores, classes=classes: compute(scores, classes).sum())(scores)
        np.testing.assert_allclose(found[:, 0], slopes, rtol=1e-3, atol=1e-4)


def test_two_classes_have_one_threshold() -> None:
    spec = TargetSpec("classes", (), ("no", "yes"), lambda logits: logits)
    head = CORAL().head(spec)
    parameters = head.init(jax.random.key(0), jnp.ones((1, 1)))
    assert parameters["params"].keys() == {"first"}
    np.testing.assert_allclose(jnp.exp(head.apply(parameters, jnp.ones((1, 1))))[0, 1], sigmoid(np.ones(())), rtol=1e-6)


def test_a_sum_of_losses_does_not_share_the_thresholds() -> None:
    with pytest.raises(UserError, match=r"terms\.age\.loss: has predictions of its own"):
        WeightedSum(terms={"age": {"loss": CORAL()}}).outputs(SPEC)


def test_a_run_predicts_consistent_probabilities(in_empty_folder: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 3)).astype(np.float32)
    grade = np.digitize(x[:, 0] + 0.1 * random.normal(size=200), [-0.8, 0.0, 0.8])
    words = ("architecture.widths=[]", "loss=coral", "metric=[accuracy]", "learning_rate=0.1", "training.epochs=20")
    quick = ("tracking=none", "quiet=true", "intervals=null", "data.target=grade", "data.types.grade=string")
    result = runner.run(*words, *quick, data={"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "grade": grade})
    assert result.metrics["test/accuracy"] > 0.6
    model = runner.load(result.folder)
    parameters = model.weights.parameters
    assert parameters["architecture"]["head"]["kernel"].shape == (3, 1)
    predicted = model.predict({"a": x[:5, 0], "b": x[:5, 1], "c": x[:5, 2]})
    assert predicted.probabilities.shape == (5, 4)
    np.testing.assert_allclose(predicted.probabilities.sum(1), 1, rtol=1e-5)
    above = np.cumsum(predicted.probabilities[:, ::-1], axis=1)[:, ::-1][:, 1:]
    differences = np.log(above) - np.log1p(-above)  # score + b_k: of two thresholds, they differ alike in all rows
    thresholds = find_thresholds(parameters["links_target"])
    np.testing.assert_allclose(np.diff(differences, axis=1), np.tile(np.diff(thresholds), (5, 1)), rtol=1e-2)
