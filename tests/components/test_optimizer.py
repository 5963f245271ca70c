"""The optimizers of `conf/optimizer` take the steps of their papers, in float64, and those of Keras."""

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimizer_formulas import FORMULAS, JOINT, State
from options import built, options
from slow import slow_but

from components.optimizer import ftrl
from runner.program.optimizer import average_schedule_free
from runner.signature.parameters import read_signature

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "optimizers.json").read_text())
SCALE, TARGET = np.array(GOLDEN["scale"], np.float32), np.array(GOLDEN["target"], np.float32)
KERAS: dict[str, dict[str, dict[str, Any]]] = {  # for each option, the cases of Keras and their parameters
    "sgd": {"SGD": {}},
    "momentum": {"momentum": {}},
    "nesterov": {"Nesterov": {}},
    "adagrad": {"Adagrad": {}},
    "rmsprop": {
        "RMSprop": {"eps": 1e-7},
        "RMSprop centered momentum": {"eps": 1e-7, "centered": True, "momentum": 0.5},
    },
    "adadelta": {"Adadelta": {"rho": 0.95, "eps": 1e-7}},
    "adam": {"Adam": {"eps": 1e-7}},
    "adamax": {"Adamax": {"eps": 1e-7}},
    "adamw": {"AdamW": {"eps": 1e-7, "weight_decay": 0.01}},
    "lion": {"Lion": {"weight_decay": 0.0}},
    "ftrl": {
        "Ftrl": {},
        "Ftrl l1 l2": {"l1": 0.2, "l2": 0.1},
        "Ftrl l2 shrinkage beta": {"l2_shrinkage": 0.05, "beta": 0.3},
    },
}
NOT_AS_IN_KERAS = {  # by option, the case of Keras and why it differs
    "nadam": ("Nadam", "Keras changes b1 from step to step; Optax follows the paper with a constant b1"),
    "amsgrad": ("AMSGrad", "Keras corrects the bias of the second moment after taking the maximum; Optax before"),
}
VARIANTS: dict[str, list[dict[str, Any]]] = {  # parameters of an option that are compared beside its defaults
    "adabound": [{"amsbound": True, "gamma": 0.5, "final_factor": 0.25}],
    "adadelta": [{"weight_decay": 0.1}],
    "adafactor": [
        {"min_dim_size_to_factor": 2, "clipping_threshold": 0.5},
        {"min_dim_size_to_factor": 2, "momentum": 0.5, "weight_decay_rate": 0.01, "multiply_by_parameter_scale": False},
    ],
    "amsgrad": [{"bias_correction_mu": False, "bias_correction_nu": False}],
    "ftrl": [{"l1": 0.3, "l2": 0.1, "l2_shrinkage": 0.05, "beta": 0.25}],
    "lamb": [{"weight_decay": 0.1}],
    "lars": [{"weight_decay": 0.1, "trust_coefficient": 0.5, "nesterov": True}],
    "lbfgs": [{"memory_size": 2}],
    "muon": [{"weight_decay": 0.1, "consistent_rms": 0.2, "adam_factor": 0.5, "nesterov": False}],
    "prodigy": [{"estim_lr0": 0.01, "estim_lr_coef": 50.0, "weight_decay": 0.1, "safeguard_warmup": True}],
    "rmsprop": [{"centered": True, "momentum": 0.5}],
    "schedule_free_adamw": [{"weight_decay": 0.1, "b1": 0.5}],
    "sophia": [{"update_interval": 3, "gamma": 0.5, "weight_decay": 0.1}],
}
CASES = [(option, 0) for option in options("optimizer")]
CASES += [(option, number + 1) for option, variants in VARIANTS.items() for number in range(len(variants))]
FAST = [(option, len(VARIANTS.get(option, ()))) for option in ("adabound", "adagrad", "muon", "nadam")]
TOLERANCE = {"adafactor": 1e-5, "adabound": 1e-6}  # they count steps in float32
RATE = 0.0625  # is exact in float32, in which `ftrl` and `muon` compute with it
PATHS = ("architecture/dense_0/bias", "architecture/dense_0/kernel", "architecture/head/kernel")  # in JAX's order
SHAPES = ((4,), (5, 4), (4, 3))
STEPS = 12
pytestmark = pytest.mark.optax


def draw(low: float, high: float, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.uniform(low, high, shape) for shape in SHAPES]


START, CENTER, CURVATURE = draw(-1, 1, 0), draw(-1, 1, 1), draw(0.1, 3, 2)


def to_tree(arrays: Any) -> Any:
    bias, kernel, head = map(jnp.asarray, arrays)
    return {"architecture": {"dense_0": {"bias": bias, "kernel": kernel}, "head": {"kernel": head}}}


def objective(tree: Any) -> jax.Array:
    leaves = zip(jax.tree.leaves(tree), CENTER, CURVATURE, strict=True)
    return sum(0.5 * (scale * (w - center) ** 2).sum() for w, center, scale in leaves)


def take_steps(option: str, parameters: Mapping[str, Any], *, averaged: bool) -> list[np.ndarray]:
    """The parameters after some steps on a quadratic function, in float64."""
    with jax.enable_x64(True):
        optimizer = optax.with_extra_args_support(built("optimizer", option, learning_rate=RATE, **parameters))

        @jax.jit
        def step(tree: Any, state: Any) -> Any:
            value, gradients = jax.value_and_grad(objective)(tree)
            extra = {"value": value, "grad": gradients, "value_fn": objective}
            updates, state = optimizer.update(gradients, state, tree, **extra)
            return optax.apply_updates(tree, updates), state

        tree = to_tree(START)
        state = optimizer.init(tree)
        for _ in range(STEPS):
            tree, state = step(tree, state)
        tree = average_schedule_free(state, tree) if averaged else tree
        return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def expect_steps(option: str, parameters: Mapping[str, Any], *, averaged: bool) -> list[np.ndarray]:
    """The same, by the formula."""
    node = options("optimizer")[option]
    defaults = {name: one.default for name, one in (read_signature(node["_target_"]) or {}).items()}
    numbers = {**defaults, **node, **parameters, "rate": RATE}
    arrays, joins = (START, CENTER, CURVATURE), option in JOINT
    if joins:
        arrays = tuple([np.concatenate([each.ravel() for each in some])] for some in arrays)  # type: ignore[assignment]
    ends = []
    for path, w, center, scale in zip(PATHS[: len(arrays[0])], *arrays, strict=True):
        state = State(path, scale)
        for t in range(1, STEPS + 1):
            w = FORMULAS[option](t, w, scale * (w - center), state, **numbers)
        ends.append(state["x"] if averaged else w)
    if not joins:
        return ends
    limits = np.cumsum([np.prod(shape) for shape in SHAPES])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(ends[0], limits), SHAPES, strict=True)]


@pytest.mark.parametrize(("option", "variant"), slow_but(FAST, CASES))
def test_the_steps_of_an_option_are_those_of_its_paper(option: str, variant: int) -> None:
    parameters = VARIANTS[option][variant - 1] if variant else {}
    whole = parameters | ({"linesearch": None} if option == "lbfgs" else {})
    for averaged in (False, True) if option.startswith("schedule_free") else (False,):
        found = take_steps(option, whole, averaged=averaged)
        expected = expect_steps(option, parameters, averaged=averaged)
        tolerance = TOLERANCE.get(option, 1e-9)
        jax.tree.map(lambda a, b, r=tolerance: np.testing.assert_allclose(a, b, rtol=r, atol=r), found, expected)
        assert any((end != start).any() for end, start in zip(found, START, strict=True))


def test_every_option_has_a_formula() -> None:
    assert {*FORMULAS} == {*options("optimizer")}


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


@pytest.mark.parametrize("option", KERAS)
def test_the_steps_of_an_option_equal_those_of_keras(option: str) -> None:
    for case, parameters in KERAS[option].items():
        rate = GOLDEN["config"][case]["learning_rate"]
        found = steps(built("optimizer", option, learning_rate=rate, **parameters))
        np.testing.assert_allclose(found, GOLDEN["after_steps_1_to_20"][case], rtol=2e-4, atol=2e-5, err_msg=case)


@pytest.mark.parametrize("option", NOT_AS_IN_KERAS)
def test_an_option_that_follows_another_equation_than_keras_differs(option: str) -> None:
    case, _ = NOT_AS_IN_KERAS[option]
    found = steps(built("optimizer", option, learning_rate=GOLDEN["config"][case]["learning_rate"]))
    assert np.abs(found - GOLDEN["after_steps_1_to_20"][case]).max() > 1e-2


def test_every_case_of_keras_is_compared() -> None:
    compared = {case for cases in KERAS.values() for case in cases} | {case for case, _ in NOT_AS_IN_KERAS.values()}
    assert compared == {*GOLDEN["config"]}


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
