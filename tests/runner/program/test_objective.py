"""The mean loss of the objective equals Keras's, with and without weights of examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components import loss as losses
from components.types import Batch, Output, TargetSpec
from runner.program.objective import compute_losses, compute_sums, count_batch, objective_terms, sum_metrics
from runner.program.parts import BuiltParts, TargetParts, as_loss_function

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "training.json").read_text())
CASES: dict[str, Any] = {
    "MeanSquaredError": losses.MSE(),
    "MeanAbsoluteError": losses.MAE(),
    "Huber delta 1": losses.Huber(),
    "SparseCategoricalCrossentropy logits": losses.SoftmaxCrossEntropy(),
    "CategoricalCrossentropy logits smoothing 0.1": losses.SoftmaxCrossEntropy(0.1),
    "BinaryCrossentropy logits": losses.BinaryCrossEntropy(),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_loss_equals_keras(case: str, weighted: bool) -> None:
    golden = GOLDEN["losses"][case]
    target, logits = np.array(golden["y_true"]), jnp.array(golden["y_pred"], jnp.float32)
    is_class = "Crossentropy" in case
    if case.startswith("Categorical"):
        target = target.argmax(1)
    if case.startswith("Binary"):
        target = target[:, 0]
    values = jnp.array(target, jnp.int32 if is_class else jnp.float32)
    names = tuple(map(str, range(max(logits.shape[1], 2))))
    spec = TargetSpec("classes", (), names, lambda x: x) if is_class else TargetSpec("real", (1,), None, lambda x: x)
    own = TargetParts(spec, (logits.shape[1],), as_loss_function(CASES[case]), None, {})
    parts = BuiltParts(None, {"target": spec}, {"target": own}, {}, {}, None, None, {})  # type: ignore[arg-type]
    weight = jnp.array(GOLDEN["sample_weight"], jnp.float32) if weighted else None
    batch = Batch({}, {"target": values}, {}, weight, jnp.ones(len(values), bool))
    output = Output({"target": logits})
    sums = compute_sums(parts, output, batch, compute_losses(parts, output, batch), training=True)
    (mean,), _ = objective_terms(parts, output, batch, sums, count_batch([batch]))
    expected = golden["sum_over_batch_size, weighted" if weighted else "sum_over_batch_size"]
    assert float(mean) == pytest.approx(expected, rel=1e-5)


class Hits:
    """The share of right classes. It looks at values: of the hits, and of the weights if it reads them."""

    higher_is_better, collects = True, False

    def __init__(self, *, weighted: bool, looks_at: str = "hits") -> None:
        self.weighted, self.looks_at = weighted, looks_at

    def measure(self, output: Output, batch: Batch) -> dict[str, jax.Array]:
        weight = batch.weight if self.weighted and batch.weight is not None else jnp.ones(4)
        values = {"hits": jnp.float32(output.logits.argmax(-1) == batch.target), "weight": weight}
        if self.looks_at == "positive weight":
            weight = weight[weight > 0]
        elif values[self.looks_at].sum() > 100:
            raise AssertionError
        return {"hits": (values["hits"] * weight).sum(), "examples": weight.sum()}


def test_uncompiled_metrics_see_values_beside_weights_and_those_that_read_them_have_a_weighted_value() -> None:
    spec = TargetSpec("classes", (), ("a", "b"), lambda x: x)
    metrics: Any = {
        "plain": Hits(weighted=False),
        "weighted": Hits(weighted=True),
        "looking": Hits(weighted=True, looks_at="weight"),
        "indexing": Hits(weighted=True, looks_at="positive weight"),
    }
    own = TargetParts(spec, (2,), as_loss_function(losses.SoftmaxCrossEntropy()), None, metrics)
    parts = BuiltParts(None, {"target": spec}, {"target": own}, {}, {}, None, None, {})  # type: ignore[arg-type]
    batch = Batch({}, {"target": jnp.array([0, 1, 1, 0])}, {}, jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.ones(4, bool))
    sums = sum_metrics(parts, Output({"target": jnp.eye(2)[jnp.array([0, 0, 1, 1])]}), batch, training=False)
    names = {"weighted", "looking", "indexing"}
    assert sums.keys() == {"plain", *names, *(f"weighted/{name}" for name in names)}
    assert sums["weighted/looking"] == sums["weighted/indexing"] == {"hits": 4, "examples": 10}
