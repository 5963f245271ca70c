"""The optimizers of `conf/optimizer` take the same steps as Keras; Nadam takes the steps of the paper."""

import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from options import built, options

from components.optimizer import ftrl

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "optimizers.json").read_text())
SCALE, TARGET = np.array(GOLDEN["scale"], np.float32), np.array(GOLDEN["target"], np.float32)
KERAS: dict[str, dict[str, dict[str, Any]]] = {  # for each option, the cases of Keras and their parameters
    "sgd": {"SGD": {}, "momentum": {"momentum": 0.9}, "Nesterov": {"momentum": 0.9, "nesterov": True}},
    "rmsprop": {"RMSprop": {"eps": 1e-7}},
    "adam": {"Adam": {"eps": 1e-7}},
    "adamw": {"AdamW": {"eps": 1e-7, "weight_decay": 0.01}},
    "ftrl": {
        "Ftrl": {},
        "Ftrl l1 l2": {"l1": 0.2, "l2": 0.1},
        "Ftrl l2 shrinkage beta": {"l2_shrinkage": 0.05, "beta": 0.3},
    },
}
pytestmark = pytest.mark.optax


def steps(optimizer: Any, count: int = 20) -> np.ndarray:
    """Returns the weights after each step on a quadratic function: (count, 4)."""
    weights = jnp.array(GOLDEN["w0"], jnp.float32)
    state, history = optimizer.init(weights), []
    for _ in range(count):
        updates, state = optimizer.update(SCALE * (weights - TARGET), state, weights)
        weights = optax.apply_updates(weights, updates)
        history.append(weights)
    return np.array(jax.device_get(history))


def traced_steps(optimizer: Any, count: int) -> jax.Array:
    """Returns the weights after some steps, as a traced array."""
    weights = jnp.array(GOLDEN["w0"], jnp.float32)
    state = optimizer.init(weights)
    for _ in range(count):
        updates, state = optimizer.update(SCALE * (weights - TARGET), state, weights)
        weights = optax.apply_updates(weights, updates)
    return weights


def paper_nadam(rate: float) -> np.ndarray:
    """Nadam of the paper (Dozat, 2016), with a constant momentum b1. (In Keras b1 has a schedule.)

    The update is b1 times the bias-corrected next mean, plus 1 - b1 times the bias-corrected gradient.
    """
    b1, b2, eps = 0.9, 0.999, 1e-8
    weights, mean, square = np.array(GOLDEN["w0"]), np.zeros(4), np.zeros(4)
    history = []
    for step in range(1, 21):
        gradient = SCALE * (weights - TARGET)
        mean, square = b1 * mean + (1 - b1) * gradient, b2 * square + (1 - b2) * gradient**2
        update = b1 * mean / (1 - b1 ** (step + 1)) + (1 - b1) * gradient / (1 - b1**step)
        weights = weights - rate * update / (np.sqrt(square / (1 - b2**step)) + eps)
        history.append(weights)
    return np.array(history)


PAPERS = {"nadam": paper_nadam}


@pytest.mark.parametrize("option", options("optimizer"))
def test_the_steps_of_every_option_equal_keras_or_the_paper(option: str) -> None:
    assert (option in KERAS) != (option in PAPERS), f"the steps of {option} are compared with nothing"
    close = partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5)
    if option in PAPERS:
        close(steps(built("optimizer", option, learning_rate=0.1)), PAPERS[option](0.1))
    for case, parameters in KERAS.get(option, {}).items():
        rate = GOLDEN["config"][case]["learning_rate"]
        found = steps(built("optimizer", option, learning_rate=rate, **parameters))
        close(found, GOLDEN["after_steps_1_to_20"][case], err_msg=case)


@pytest.mark.parametrize("case", KERAS["ftrl"])
def test_ftrl_equals_keras_to_1e_6(case: str) -> None:
    rate = GOLDEN["config"][case]["learning_rate"]
    found = steps(ftrl(rate, **KERAS["ftrl"][case]))
    np.testing.assert_allclose(found, GOLDEN["after_steps_1_to_20"][case], rtol=1e-6, atol=1e-6)


def test_the_numbers_of_ftrl_may_be_traced(check_traced: Callable[..., None]) -> None:
    names = [name for name in inspect.signature(ftrl).parameters if name != "learning_rate"]

    def last(**numbers: Any) -> Any:
        return traced_steps(ftrl(**numbers), 5)

    base = dict.fromkeys(names, 0.1) | {"learning_rate": 0.5, "learning_rate_power": -0.5}
    changed = {name: base | {name: base[name] * 2} for name in base}
    check_traced(last, base, *changed.values())


def test_a_step_of_ftrl_with_the_rate_0_changes_nothing() -> None:
    found = steps(ftrl(0.0, l1=0.1), 2)
    np.testing.assert_array_equal(found, [GOLDEN["w0"]] * 2)


def test_l1_of_ftrl_sets_weights_to_exactly_0() -> None:
    weights = np.zeros((2, 4), np.float32)
    updates, _ = ftrl(0.5, l1=3.0).update(SCALE * TARGET, ftrl(0.5).init(weights[0]), weights[0])
    assert (np.asarray(updates) == 0).tolist() == (np.abs(SCALE * TARGET) <= 3).tolist()


def test_nadam_differs_from_keras() -> None:
    found = steps(built("optimizer", "nadam", learning_rate=GOLDEN["config"]["Nadam"]["learning_rate"]))
    assert np.abs(found - GOLDEN["after_steps_1_to_20"]["Nadam"]).max() > 1e-2
