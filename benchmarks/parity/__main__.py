"""Compares our models with those of other libraries, with equal random weights: errors of logits and gradients.

    KERAS_BACKEND=torch uv run --with torch==2.13.0 --with torchvision --with timm --with transformers \\
        --with keras==3.15.1 python -m benchmarks.parity [part of a name ...] [--record]
    smallest: alexnet/torchvision

Prints for each pair the largest differences, relative to the largest number of the logits or of the gradient of each
array. With --record, writes logits and gradients of the thin pairs to `tests/golden/weights`.
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

import benchmarks.parity as here
from benchmarks.parity.case import Case

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/helpers"))

from drawn import drawn, images  # noqa: E402
from networks import variables  # noqa: E402

from components import pretrained  # noqa: E402


def cases() -> dict[str, Case]:
    """Returns the cases of all modules of this package, by `name/library`."""
    found = {}
    for one in pkgutil.iter_modules(here.__path__):
        if one.name not in ("__main__", "case"):
            found |= importlib.import_module(f"benchmarks.parity.{one.name}").CASES
    return found


def compare(case: Case) -> tuple[dict[str, float], dict[str, Any]]:
    """Returns the errors, and the record of the other library's model."""
    theirs, module, x = case.theirs(), case.ours(), images(case.side, case.channels)
    scales = {name: 0.2 if re.fullmatch(case.quiet, name) else 1.0 for name in theirs.shapes}
    tensors = {name: np.float32(scales[name]) * drawn(name, shape) for name, shape in theirs.shapes.items()}
    known = variables(module, *x.shape[1:])
    scheme = pretrained.detect_scheme(module, tensors, known, case.library)
    pretrained.check_fields(scheme, module)
    plan = pretrained.plan_conversion(scheme, known)
    mine = pretrained.convert_weights(plan, tensors)
    outputs = jax.eval_shape(lambda v: module.apply(v, x, train=False).logits, mine).shape[-1]
    slope = drawn("slope", (len(x), outputs)) + 1
    answer, gradients = theirs.run(tensors, x, slope)

    @jax.jit
    def run(parameters: Any, rest: Any) -> Any:
        def value(parameters: Any) -> Any:
            logits = module.apply({"params": parameters, **rest}, x, train=False).logits
            return (logits * slope).sum(), logits

        (_, logits), found = jax.value_and_grad(value, has_aux=True)(parameters)
        return logits, found

    rest = {name: tree for name, tree in mine.items() if name != "params"}
    logits, found = jax.tree.map(np.asarray, run(mine["params"], rest))
    full = {name: gradients.get(name, np.zeros_like(one)) for name, one in tensors.items()}
    right = pretrained.convert_weights(plan, full)["params"]
    ratios = jax.tree.map(lambda a, b: float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)), found, right)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(right), strict=True)
    total = float(np.concatenate([np.ravel(a - b) for a, b in pairs]).std())
    size = float(np.concatenate([np.ravel(b) for b in jax.tree.leaves(right)]).std())
    errors = {
        "logits": float(np.abs(logits - answer).max() / np.abs(answer).max()),
        "gradients, all": total / size,
        "gradients, worst array": max(jax.tree.leaves(ratios)),
    }
    record = {
        "side": case.side,
        "channels": case.channels,
        "shapes": {name: list(shape) for name, shape in theirs.shapes.items()},
        "logits": answer.tolist(),
        "gradients": {n: float((g.astype(np.float64) * drawn(f"{n}!", g.shape)).sum()) for n, g in gradients.items()},
    }
    return errors, record


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--record"]
    for name, case in cases().items():
        if words and not any(word in name for word in words):
            continue
        began = time.perf_counter()
        try:
            errors, record = compare(case)
        except ModuleNotFoundError as error:
            print(f"{name:40} {error.name} is missing: skipped", flush=True)
            continue
        shown = "  ".join(f"{what} {error:.1e}" for what, error in errors.items())
        print(f"{name:40} {case.side:4}  {shown}  {time.perf_counter() - began:.0f} s", flush=True)
        if case.thin and "--record" in sys.argv:
            path = ROOT / "tests/golden/weights" / f"{name.replace('/', '_')}.json"
            path.write_text(json.dumps(record, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
