"""Losses equal those of Keras on the same logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from options import built

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "training.json").read_text())["losses"]
KERAS: dict[str, dict[str, dict[str, float]]] = {  # for each option, the cases of Keras and their parameters
    "mse": {"MeanSquaredError": {}},
    "mae": {"MeanAbsoluteError": {}},
    "huber": {"Huber delta 1": {}, "Huber delta 2": {"delta": 2.0}},
    "log_cosh": {"LogCosh": {}},
    "msle": {"MeanSquaredLogarithmicError": {}},
    "poisson": {"Poisson": {}},
    "cosine_similarity": {"CosineSimilarity": {}},
    "kl_divergence": {"KLDivergence": {"label_smoothing": 0.2}},
    "softmax_cross_entropy": {
        "SparseCategoricalCrossentropy logits": {},
        "CategoricalCrossentropy logits": {},
        "CategoricalCrossentropy logits smoothing 0.1": {"label_smoothing": 0.1},
    },
    "binary_cross_entropy": {
        "BinaryCrossentropy logits": {},
        "BinaryCrossentropy logits smoothing 0.2": {"label_smoothing": 0.2},
    },
    "binary_focal": {"BinaryFocalCrossentropy logits gamma 2": {}},
    "hinge": {"Hinge": {}},
    "squared_hinge": {"SquaredHinge": {}},
}
CASES = {case: built("loss", option, **parameters) for option in KERAS for case, parameters in KERAS[option].items()}


def read_arguments(case: str) -> tuple[np.ndarray, np.ndarray]:
    """The logits and the target of a case, in our dtypes and shapes."""
    target, predictions = (np.array(GOLDEN[case][key]) for key in ("y_true", "y_pred"))
    if case.startswith("KL"):  # Keras compares probabilities: its logits are their logarithms
        return np.log(predictions), target.argmax(1)
    if target.shape[1:] == (1,):  # two classes
        return predictions, target[:, 0].astype(int)
    if case.startswith("Categorical"):
        return predictions, target.argmax(1)
    return predictions, target


def compute(case: str, dtype: Any) -> Any:
    logits, target = read_arguments(case)
    return CASES[case](jnp.array(logits, dtype), jnp.array(target, jnp.int32 if target.dtype == int else jnp.float32))


def test_every_case_of_keras_is_compared() -> None:
    assert CASES.keys() == GOLDEN.keys()


@pytest.mark.parametrize("case", CASES)
def test_the_loss_of_every_example_equals_keras(case: str) -> None:
    np.testing.assert_allclose(compute(case, jnp.float32), GOLDEN[case]["per_example"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_logits_give_float32_losses(case: str) -> None:
    losses = compute(case, jnp.bfloat16)
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, GOLDEN[case]["per_example"], rtol=0.05, atol=0.01)
