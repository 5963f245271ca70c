"""How the gradients of a training step are computed: sharpness-aware, and in microbatches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from slow import slow_but
from target_session import CONV, INPUT, LOSS, TWO_TARGETS, Session, segmentation, two_targets

from components.feature import ExampleWeight, Label
from components.step import SAM
from components.types import UserError
from runner.data.load import Features
from runner.program.state import RateInputs

PENALTY = {"l2": {"_target_": "components.regularizer.L2", "strength": 0.01}}


@pytest.fixture(autouse=True)
def users_own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "helpers"))
    monkeypatch.setenv("TITRATE_ALLOW", "parts")


def trained(session: Session, rows: np.ndarray, steps: int = 3) -> tuple[Any, Any]:
    """Takes some steps on the same rows. Returns the state, and the metric sums of the last step."""
    chunk = next(iter(session.batches.chunks(rows, len(rows), 1)))
    state, rates = jax.tree.map(jnp.copy, session.state), RateInputs(np.int32(9), np.int32(3), np.float32(1))
    for _ in range(steps):
        state, sums = session.program.train(session.inputs, state, chunk.data, chunk.rows, np.int32(1), rates)
    return jax.device_get(state), jax.device_get(sums)


CASES: dict[str, tuple[Features, dict[str, Any]]] = {
    "targets with gaps, weights and a penalty": (
        Features(two_targets().targets, INPUT, {"x": ("x",)}, ExampleWeight(key="weight")),
        TWO_TARGETS | {"regularizer": PENALTY},
    ),
    "pixels that are ignored, convolutions": (
        segmentation(weight="balanced"),
        {"architecture": CONV, "loss": {"_target_": LOSS + "SoftmaxCrossEntropy"}},
    ),
    "internal and auxiliary losses": (
        Features({"target": Label(key="label")}, INPUT, {"x": ("x",)}),
        {"architecture": {"_target_": "parts.TwoHeads"}, "loss": {"_target_": LOSS + "SoftmaxCrossEntropy"}},
    ),
    "SAM": (
        two_targets(),
        TWO_TARGETS | {"step": {"_target_": "components.step.SAM"}},
    ),
    "L-BFGS": (two_targets(), TWO_TARGETS | {"optimizer": {"_target_": "optax.lbfgs"}}),
}


DIVIDED = [(case, rows, True) for rows in (7, 12) for case in CASES]  # 7 examples: parts of different sizes


@pytest.mark.parametrize(
    ("case", "rows", "compiled"), slow_but(DIVIDED[: len(CASES)], [*DIVIDED, (next(iter(CASES)), 7, False)])
)
def test_microbatches_equal_the_whole_batch(case: str, rows: int, compiled: bool) -> None:
    features, static = CASES[case]
    whole = Session(features, **static)
    chosen = whole.rows[:rows]
    expected_state, expected_sums = trained(whole, chosen)
    divided = Session(features, **static, training={"microbatches": 4}, compiled=compiled)
    state, sums = trained(divided, chosen)
    jax.tree.map(
        lambda found, expected: np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6),
        (state.parameters, sums),
        (expected_state.parameters, expected_sums),
    )


def test_each_microbatch_has_random_numbers_of_its_own() -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)})
    dropout = {"_target_": "components.architecture.MLP", "widths": (64,), "dropout": 0.5}
    loss = {"_target_": LOSS + "SoftmaxCrossEntropy"}
    session = Session(features, architecture=dropout, loss=loss, training={"microbatches": 2})
    row = session.rows[:1]
    _, sums = trained(session, np.repeat(row, 2), steps=1)
    _, single = trained(Session(features, architecture=dropout, loss=loss), row, steps=1)
    assert sums["loss"]["sum"] != pytest.approx(2 * single["loss"]["sum"], rel=1e-3)


def test_sam_follows_the_gradient_at_the_worst_point() -> None:
    def objective(parameters: Any) -> tuple[jax.Array, Any]:
        return (jnp.sin(parameters["a"]) * parameters["b"]).sum(), parameters["b"].sum()

    parameters = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([0.5, -1.0])}
    (value, auxiliary), gradients = SAM(rho=0.3)(objective, parameters)
    first = jax.grad(objective, has_aux=True)(parameters)[0]
    norm = optax.tree.norm(first)
    worst = jax.tree.map(lambda weights, gradient: weights + 0.3 * gradient / norm, parameters, first)
    expected = jax.grad(objective, has_aux=True)(worst)[0]
    assert (value, auxiliary) == objective(parameters)
    jax.tree.map(lambda left, right: np.testing.assert_allclose(left, right, rtol=1e-6), gradients, expected)


def test_sam_at_a_distance_of_0_is_the_usual_step() -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)})
    loss = {"_target_": LOSS + "SoftmaxCrossEntropy"}
    usual = Session(features, loss=loss)
    sam = Session(features, loss=loss, step={"_target_": "components.step.SAM", "rho": 0.0})
    jax.tree.map(np.testing.assert_array_equal, trained(usual, usual.rows), trained(sam, sam.rows))


def test_a_step_that_returns_other_trees_raises() -> None:
    features = Features({"target": Label(key="label")}, INPUT, {"x": ("x",)})
    loss = {"_target_": LOSS + "SoftmaxCrossEntropy"}
    session = Session(features, loss=loss, step={"_target_": "parts.WrongStep"})
    with pytest.raises(UserError, match="step: WrongStep"):
        trained(session, session.rows)
