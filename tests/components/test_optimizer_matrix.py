"""Every optimizer of `conf/optimizer`: plain, with traced numbers, for eight settings at once, saved and resumed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimizers import list_numbers
from options import built, options
from slow import slow_but

from runner.signature.hint_text import describe_hint
from runner.signature.parameters import read_signature
from runner.signature.type_hints import element_hint

SETTINGS, STEPS = 8, 50
FAST = ("adabound", "muon", "schedule_free_adamw")
DEFAULTS = {"beta3": 0.9, "consistent_rms": 0.2, "momentum": 0.9}  # of numbers whose default is null
RATES = {"prodigy": 1.0}  # others are trained with 0.02
pytestmark = pytest.mark.optax


def read_numbers(option: str) -> dict[str, Any]:
    """The numbers of an option with their defaults; 0.1 if that is null."""
    node = options("optimizer")[option]
    signature = read_signature(node["_target_"]) or {}
    values = {name: node.get(name, signature[name].default) for name in list_numbers(signature)}
    return {"learning_rate": RATES.get(option, 0.02)} | {
        name: DEFAULTS.get(name, 0.1) if value is None else value for name, value in values.items()
    }


def vary(value: float, setting: int) -> float:
    """The value of a number in one of the settings."""
    return value / (1 + 0.01 * setting) if value else 0.01 * setting


class Run(NamedTuple):
    """The parameters and the state of an optimizer."""

    parameters: Any
    state: Any


def objective(tree: Any) -> jax.Array:
    """A bowl with other curvatures for each element, whose center is far: near it, rounding decides about signs."""
    squares = [
        (1 + jnp.arange(leaf.size).reshape(leaf.shape) / 7) * (leaf - 5.0) ** 2 for leaf in jax.tree.leaves(tree)
    ]
    return sum(jnp.sqrt(1 + square).sum() for square in squares)


def start(option: str, numbers: Any) -> Run:
    draw = partial(jax.random.normal, jax.random.key(0))
    tree = {"architecture": {"dense_0": {"kernel": draw((4, 3)), "bias": draw((3,))}, "head": {"kernel": draw((3, 2))}}}
    state = built("optimizer", option, **numbers).init(tree)
    return Run(tree, jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state))


def train(option: str, numbers: Any, run: Run, count: Any) -> Run:
    optimizer = optax.with_extra_args_support(built("optimizer", option, **numbers))

    def step(_: Any, run: Run) -> Run:
        value, gradients = jax.value_and_grad(objective)(run.parameters)
        extra = {"value": value, "grad": gradients, "value_fn": objective}
        updates, state = optimizer.update(gradients, run.state, run.parameters, **extra)
        return Run(optax.apply_updates(run.parameters, updates), state)

    return jax.lax.fori_loop(0, count, step, run)


def save_and_load(run: Run, path: Path) -> Run:
    leaves, structure = jax.tree.flatten(run)
    np.savez(path, *leaves)
    with np.load(path) as archive:
        loaded: Run = jax.tree.unflatten(structure, [jnp.asarray(archive[name]) for name in archive.files])
        return loaded


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    """Compares arrays, relative to the largest element of each."""

    def compare(a: np.ndarray, b: np.ndarray) -> None:
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())

    jax.tree.map(compare, jax.device_get(found), jax.device_get(expected))


@pytest.mark.parametrize("option", slow_but(FAST, options("optimizer")))
def test_an_optimizer_is_the_same_traced_at_once_and_resumed(option: str, tmp_path: Path) -> None:
    plain = read_numbers(option)
    settings = [
        jax.tree.map(lambda value, number=number: jnp.float32(vary(value, number)), plain) for number in range(SETTINGS)
    ]
    begin, go_on = jax.jit(partial(start, option)), jax.jit(partial(train, option))
    alone = [go_on(numbers, begin(numbers), STEPS) for numbers in settings]
    assert go_on._cache_size() == begin._cache_size() == 1

    @jax.jit
    def constant() -> Run:
        return train(option, plain, start(option, plain), STEPS)

    # Python computes 1 - 0.999 in 64 bits. In float32 the difference has four digits, as 0.999 is rounded.
    assert_close(constant().parameters, alone[0].parameters, 3e-4)

    halfway = save_and_load(go_on(settings[0], begin(settings[0]), STEPS // 2), tmp_path / "state.npz")
    jax.tree.map(np.testing.assert_array_equal, go_on(settings[0], halfway, STEPS // 2), alone[0])

    stacked = jax.tree.map(lambda *numbers: jnp.stack(numbers), *settings)
    at_once = jax.jit(jax.vmap(lambda numbers: train(option, numbers, start(option, numbers), STEPS)))(stacked)
    assert_close(
        at_once.parameters, jax.tree.map(lambda *leaves: jnp.stack(leaves), *(run.parameters for run in alone)), 1e-5
    )
    first, *others = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(run.parameters)]) for run in alone)
    assert all((other != first).any() for other in others), "the numbers have no effect"


@pytest.mark.parametrize("option", options("optimizer"))
def test_the_numbers_of_an_option_have_ranges(option: str) -> None:
    signature = read_signature(options("optimizer")[option]["_target_"]) or {}
    for name in list_numbers(signature):
        hint = signature[name].hint
        described = describe_hint(element_hint(hint, 0) if "a list" in describe_hint(hint) else hint)
        assert described.startswith("a number in "), f"{name}: {described}"
