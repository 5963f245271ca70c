"""Compares our architectures with those of other libraries, with equal random weights.

    KERAS_BACKEND=torch uv run --with torch==2.13.0 --with torchvision --with timm --with transformers \\
        --with keras==3.15.1 python -m benchmarks.parity [part of a case's name ...] [--record]
    smallest: alexnet/torchvision

Prints a line for each case: the side of the images, and the errors of logits and gradients in float32.

- logits: the largest difference, relative to the largest logit.
- gradients, all: the standard deviation of all differences, relative to the standard deviation of all gradients.
- gradients, worst array: the largest difference in an array, relative to the largest number of the array.

With --record, writes the logits and gradients of the thin models to `tests/golden/weights`, where the tests read them.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import benchmarks.parity
from benchmarks.parity.case import Case

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/helpers"))

from drawn import drawn, images  # noqa: E402
from networks import variables  # noqa: E402

from components import pretrained  # noqa: E402


def find_cases() -> dict[str, Case]:
    """Returns the cases of all modules of this package, by `name/library`."""
    cases = {}
    for module in pkgutil.iter_modules(benchmarks.parity.__path__):
        if module.name not in ("__main__", "case"):
            cases |= importlib.import_module(f"benchmarks.parity.{module.name}").CASES
    return cases


def compare_models(case: Case) -> tuple[dict[str, float], dict[str, Any]]:
    """Returns the errors by name, and what --record writes."""
    other, module, x = case.build_theirs(), case.build_ours(), images(case.side, case.channels)
    tensors = {}
    for name, shape in other.shapes.items():
        scale = 0.2 if re.fullmatch(case.damped, name) else 1.0
        tensors[name] = np.float32(scale) * drawn(name, shape)
    shapes = variables(module, *x.shape[1:])
    scheme = pretrained.detect_scheme(module, tensors, shapes, case.library)
    pretrained.check_fields(scheme, module)
    plan = pretrained.plan_conversion(scheme, shapes)
    parameters = pretrained.convert_weights(plan, tensors)
    outputs = jax.eval_shape(lambda v: module.apply(v, x, train=False).logits, parameters).shape[-1]
    logit_weights = drawn("slope", (len(x), outputs)) + 1
    expected_logits, gradients = other.run(tensors, x, logit_weights)

    @jax.jit
    def run(parameters: Any, constants: Any) -> Any:
        def weighted_sum(parameters: Any) -> Any:
            logits = module.apply({"params": parameters, **constants}, x, train=False).logits
            return (logits * logit_weights).sum(), logits

        (_, logits), gradients = jax.value_and_grad(weighted_sum, has_aux=True)(parameters)
        return logits, gradients

    constants = {name: tree for name, tree in parameters.items() if name != "params"}
    logits, our_gradients = jax.tree.map(np.asarray, run(parameters["params"], constants))
    all_gradients = {name: gradients.get(name, np.zeros_like(tensor)) for name, tensor in tensors.items()}
    expected = pretrained.convert_weights(plan, all_gradients)["params"]
    errors = {"logits": _relative_error(logits, expected_logits), **_gradient_errors(our_gradients, expected)}
    record = {
        "side": case.side,
        "channels": case.channels,
        "shapes": {name: list(shape) for name, shape in other.shapes.items()},
        "logits": expected_logits.tolist(),
        "gradients": {name: _project(name, gradient) for name, gradient in gradients.items()},
    }
    return errors, record


def _gradient_errors(gradients: Any, expected: Any) -> dict[str, float]:
    arrays, expected_arrays = jax.tree.leaves(gradients), jax.tree.leaves(expected)
    pairs = list(zip(arrays, expected_arrays, strict=True))
    differences = np.concatenate([np.ravel(array - expected_array) for array, expected_array in pairs])
    return {
        "gradients, all": float(differences.std()) / float(np.concatenate(list(map(np.ravel, expected_arrays))).std()),
        "gradients, worst array": max(_relative_error(array, expected_array) for array, expected_array in pairs),
    }


def _relative_error(array: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(array - expected).max() / max(np.abs(expected).max(), 1e-12))


def _project(name: str, gradient: np.ndarray) -> float:
    """Returns the sum of a gradient times a random array: one number instead of an array, for small records."""
    return float((gradient.astype(np.float64) * drawn(f"{name}!", gradient.shape)).sum())


def main() -> None:
    names = [argument for argument in sys.argv[1:] if argument != "--record"]
    for name, case in find_cases().items():
        if names and not any(part in name for part in names):
            continue
        start = time.perf_counter()
        try:
            errors, record = compare_models(case)
        except ModuleNotFoundError as error:
            print(f"{name:40} {error.name} is missing: skipped", flush=True)
            continue
        columns = "  ".join(f"{kind} {error:.1e}" for kind, error in errors.items())
        print(f"{name:40} {case.side:4}  {columns}  {time.perf_counter() - start:.0f} s", flush=True)
        if case.is_thin and "--record" in sys.argv:
            path = ROOT / "tests/golden/weights" / f"{name.replace('/', '_')}.json"
            path.write_text(json.dumps(record, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
