"""The moments of BatchNorm of averaged weights equal those of a direct pass, and a run says what was averaged."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from step_session import BATCH, Session, images

from components.layer import BatchNorm
from components.types import Clock, Duration
from components.update import SWA
from runner.program.moments import add_moments, replace_moments
from runner.training.averaging import count_planned, describe_plan, describe_result
from runner.training.step_plan import StepPlan

NETWORK = ("optimizer=sgd", "architecture.widths=[6,5]", "architecture.batch_norm=true", "update=[swa]")


def direct_moments(parameters: Any, batches: list[np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The means over batches of images of the moments before the activation of two hidden layers, in 64 bits."""
    layers = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), parameters["architecture"])
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"batch_norm_0": [], "batch_norm_1": []}
    for batch in batches:
        x = batch.reshape(len(batch), -1) / 255
        for n in range(2):
            x = x @ layers[f"dense_{n}"]["kernel"]
            moments = x.mean(0), x.var(0)
            found[f"batch_norm_{n}"].append(moments)
            norm = layers[f"batch_norm_{n}"]
            x = np.maximum((x - moments[0]) / np.sqrt(moments[1] + 1e-3) * norm["scale"] + norm["bias"], 0)
    return {
        name: {"mean": np.mean([m for m, _ in each], 0), "variance": np.mean([v for _, v in each], 0)}
        for name, each in found.items()
    }


@pytest.mark.parametrize(
    ("words", "batches", "size", "count"),
    [((), None, BATCH, 4), ((), 3, BATCH, 3), (("training.batch_size=6", "training.microbatches=2"), 100, 3, 5)],
)
def test_the_moments_equal_those_of_a_direct_pass(
    words: tuple[str, ...], batches: int | None, size: int, count: int
) -> None:
    """Of an epoch of 16 examples, a last batch that is smaller is left out."""
    session = Session(*NETWORK, *words)
    trainer, state = session.trainer, session.state
    step = 2 * trainer.plan.steps_per_epoch  # the end of the second epoch
    found = trainer.count_moments(state.parameters, state.model_state, step, batches)
    order = np.asarray(trainer.order.epoch(1)[:])
    rows = [order[n * size : (n + 1) * size] for n in range(count)]
    expected = direct_moments(state.parameters, [images().columns["image"][each] for each in rows])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        found["batch_stats"]["architecture"],
        expected,
    )


def test_frozen_moments_stay() -> None:
    session = Session(*NETWORK, "update=[swa,freeze]", "update.freeze.paths=['**/*_0']")
    state = session.step(3)  # of the frozen layer, the moments don't move
    moved = jax.tree.map(lambda leaf: leaf + 0.3, state.model_state)
    found = session.trainer.count_moments(state.parameters, moved, 4, None)["batch_stats"]["architecture"]
    before = moved["batch_stats"]["architecture"]
    jax.tree.map(np.testing.assert_array_equal, found["batch_norm_0"], before["batch_norm_0"])
    assert (np.asarray(found["batch_norm_1"]["mean"]) != before["batch_norm_1"]["mean"]).all()


class Twice(nn.Module):
    """Two normalizations, ours of two inputs and Flax's, and a variable of its own that isn't a moment."""

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array) -> jax.Array:
        self.variable("batch_stats", "steps", lambda: np.float32(0)).value += 1
        norm = BatchNorm(name="norm")
        x = norm(first, train=True) + norm(second, train=True)
        return nn.BatchNorm(name="flax")(x, use_running_average=False)


def test_moments_of_a_module_that_is_called_twice_are_the_mean_of_both_calls() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 8, 3)).astype(np.float32)
    module = Twice()
    variables = module.init(jax.random.key(0), first, second)
    moments = jax.tree.map(lambda leaf: leaf + 5, variables["batch_stats"])
    with replace_moments() as modules:
        _, new = module.apply({**variables, "batch_stats": moments}, first, second, mutable=["batch_stats"])
    assert modules == {"norm", "flax"}
    found = add_moments(moments, new["batch_stats"], modules, jax.numpy.int32(0))
    np.testing.assert_allclose(found["norm"]["mean"], (first.mean(0) + second.mean(0)) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["norm"]["variance"], (first.var(0) + second.var(0)) / 2, rtol=1e-5)
    np.testing.assert_allclose(found["flax"]["mean"], np.zeros(3), atol=1e-6)
    assert found["steps"] == moments["steps"]  # it has no `momentum`


PLAN = StepPlan(steps_per_epoch=10, total_steps=100, evaluation_interval=10, turns={})


def history(*counts: int) -> list[dict[str, float]]:
    return [{"step": 10.0 * number, "averaged_weights": count} for number, count in enumerate(counts, 1)]


@pytest.mark.parametrize(
    ("member", "counts", "best_step", "expected"),
    [
        (SWA(), (0,) * 7 + (1, 2, 3), 100, "of step 100, are the mean of 3 sets of weights"),
        (SWA(), (0,) * 7 + (1, 2, 3), 90, "of step 90, are the mean of 2 of 3 sets of weights"),
        (SWA(), (0,) * 7 + (1, 2, 3), None, "of step 100, are the mean of 3 sets of weights"),
        (SWA(), (0,) * 7 + (1, 2, 3), 40, "of step 40, are not averaged: no evaluation of the mean was better"),
        (
            SWA(last=Duration(5, "epoch")),
            (0,) * 5 + (1, 2),
            70,
            "of step 70, are the mean of 2 of 5 sets of weights; the run ended at step 70 of 100",
        ),
        (
            SWA(last=Duration(5, "epoch")),
            (0, 0, 0),
            20,
            "of step 20, are not averaged: no weights were taken; the run ended at step 30 of 100",
        ),
    ],
)
def test_the_end_of_a_run_says_what_its_weights_are(
    member: SWA, counts: tuple[int, ...], best_step: int | None, expected: str
) -> None:
    found = describe_result("update.swa", member, PLAN, history(*counts), best_step)
    assert found == f"update.swa: the best weights, {expected}"


def test_a_mean_of_less_than_two_sets_of_weights_is_shown_before_the_run() -> None:
    assert describe_plan("update.swa", SWA(), PLAN) is None
    one = describe_plan("update.swa", SWA(start=Duration(0.95)), PLAN)
    assert one == (
        "note: update.swa takes weights every 10 steps after step 95 of 100, so the mean has a single set of weights. "
        "Let it start earlier or take weights more often, or train longer"
    )
    none = describe_plan("update.swa", SWA(start=Duration(20, "epoch")), PLAN)
    assert none is not None
    assert "after step 200 of 100, so the weights are not averaged" in none


@pytest.mark.parametrize(
    ("member", "planned"),
    [
        (SWA(), 3),  # after steps 80, 90 and 100 of 100
        (SWA(start=Duration(0.0), every=Duration(1.45, "epoch")), 6),  # 14.5, …, 87
        (SWA(start=Duration(12.0, "step"), every=Duration(1.25, "epoch")), 7),  # the first comes after step 12
        (SWA(last=Duration(5.0, "epoch"), every=Duration(0.07)), 7),  # 56, …, 98
    ],
)
def test_the_planned_sets_are_those_that_are_taken(member: SWA, planned: int) -> None:
    assert count_planned(member, PLAN) == planned
    variables: Any = {"params": {"w": jax.numpy.zeros(1)}}
    averaged, after = member.init(variables), jax.jit(member.after)
    for step in range(PLAN.total_steps):
        clock = jax.tree.map(jax.numpy.int32, Clock(step, PLAN.total_steps, PLAN.steps_per_epoch))
        averaged = after(variables, averaged, clock.step, clock)[1]
    assert member.count(averaged) == planned
