"""Comparison of our models with records of models of other libraries, which `benchmarks/parity` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from drawn import drawn, images
from networks import variables

from components import pretrained

RECORDED = Path(__file__).parents[1] / "golden/weights"


def check_pair(module: nn.Module, library: str, name: str, *, gradients: bool = False) -> None:
    """Asserts that logits, and with `gradients` the gradients, equal `tests/golden/weights/{name}.json` to 1e-4.

    The names of the other library decide which fields the module gets.
    """
    record = json.loads((RECORDED / f"{name}.json").read_text())
    x = images(record["side"], record["channels"])
    shapes = {theirs: tuple(shape) for theirs, shape in record["shapes"].items()}
    tensors = {theirs: drawn(theirs, shape) for theirs, shape in shapes.items()}
    named = pretrained.detect_scheme_by_names(module, shapes, library)
    module = module.clone(**pretrained.choose_fields(named, module, ()))
    known = variables(module, *x.shape[1:])
    scheme = pretrained.detect_scheme(module, tensors, known, library)
    assert scheme is named
    pretrained.check_fields(scheme, module)
    plan = pretrained.plan_conversion(scheme, known)
    ours = pretrained.convert_weights(plan, tensors)
    right = np.array(record["logits"])

    def value(parameters: Any, rest: Any) -> Any:
        logits = module.apply({"params": parameters, **rest}, x, train=False).logits
        return (logits * (drawn("slope", right.shape) + 1)).sum(), logits

    rest = {collection: tree for collection, tree in ours.items() if collection != "params"}
    run = jax.value_and_grad(value, has_aux=True) if gradients else value
    (_, logits), *found = jax.jit(run)(ours["params"], rest) if gradients else (jax.jit(run)(ours["params"], rest),)
    np.testing.assert_allclose(logits, right, rtol=0, atol=1e-4 * np.abs(right).max())
    if gradients:
        probes = pretrained.convert_weights(
            plan, {theirs: drawn(f"{theirs}!", shape) for theirs, shape in shapes.items()}
        )
        _check_gradients(plan, found[0], probes["params"], record["gradients"])


def _check_gradients(plan: pretrained.ConversionPlan, found: Any, probes: Any, right: dict[str, float]) -> None:
    """Compares, for each array, the sum of its gradient times a random array with the record."""
    for one in plan.mappings:
        if one.path[0] == "params":
            gradient, probe = (np.float64(_at(tree, one.path[1:])) for tree in (found, probes))
            scale = np.linalg.norm(gradient) * np.linalg.norm(probe)
            assert abs((gradient * probe).sum() - right[one.their_name]) <= 1e-4 * scale + 1e-6, one.their_name


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree
