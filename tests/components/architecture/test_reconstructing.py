"""The network that reconstructs its inputs."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import runner
from components.architecture import ReconstructingRegressor
from components.metric import ReconstructionError
from components.types import Batch, Output, TargetSpec, UserError


def test_the_reconstruction_error_is_a_loss_and_an_output() -> None:
    model = ReconstructingRegressor(outputs=1, widths=(5,), activation="selu", strength=0.1)
    x = jax.random.normal(jax.random.key(0), (6, 2, 3))
    variables = model.init(jax.random.key(1), x, train=True)
    output: Output = model.apply(variables, x, train=True)  # type: ignore[assignment]
    hidden = output.features["dense_0"]
    layer = variables["params"]["reconstruction"]
    error = np.square(hidden @ layer["kernel"] + layer["bias"][None] - x.reshape(6, 6)).mean(1)
    np.testing.assert_allclose(output.features["reconstruction_error"], error, rtol=1e-5)
    np.testing.assert_allclose(output.losses["reconstruction"], 0.1 * error, rtol=1e-5)
    assert output.logits is not None
    assert output.logits.shape == (6, 1)


@pytest.mark.optax
def test_without_a_target_only_the_reconstruction_is_learned(in_empty_folder: Path) -> None:
    words = ("data=diabetes", "feature=diabetes", "architecture=reconstructing_regressor", "architecture.widths=[4]")
    words = (*words, "feature.target=null", "loss=null", "metric=[]")
    result = runner.run(*words, "training.epochs=2", "tracking=none", "quiet=true")
    assert result.metrics["test/loss"] == result.metrics["test/reconstruction"] > 0
    assert result.records[1]["valid/loss"] < result.records[0]["valid/loss"]
    parameters = runner.load(result.folder).weights.parameters
    assert sorted(parameters["architecture"]) == ["dense_0", "reconstruction"]


def test_the_mean_of_an_output_counts_the_examples_that_are_present() -> None:
    metric = ReconstructionError(name="error").bind(TargetSpec("real", (1,), None, lambda values: values))
    output = Output(None, features={"error": jnp.array([1.0, 2.0, 6.0])})
    batch = Batch({}, {"target": jnp.zeros((3, 1))}, {}, None, jnp.array([True, True, False]))
    sums = {name: np.asarray(value) for name, value in metric.measure(output, batch).items()}
    assert metric.result(sums) == 1.5
    with pytest.raises(UserError, match=r"the architecture has no output eror\. Did you mean error\?"):
        ReconstructionError(name="eror").measure(output, batch)
