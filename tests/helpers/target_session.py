"""A program with data of many kinds of targets, and its state before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from components.data import Arrays
from components.feature import Image, Label, Numeric
from runner.data.batches import Batches
from runner.data.load import Features, load_encoded
from runner.program.metric_sums import add_sums, compute_metrics
from runner.program.parts import ProgramInputs, numbers_to_arrays
from runner.program.program import Program
from runner.program.state import RateInputs

ROWS = 24
LOSS, METRIC, PART = "components.loss.", "components.metric.", "components.feature."
MLP = {"_target_": "components.architecture.MLP", "widths": (4,)}
CONV = {
    "_target_": "components.architecture.Sequential",
    "layers": ({"_target_": "components.layer.Conv", "features": 3, "kernel": 3, "activation": "relu"},),
    "head": "conv",
}
INPUT = {"x": Numeric(key="x")}


def columns() -> dict[str, Any]:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 3, (ROWS, 4, 4))
    return {
        "x": random.normal(size=(ROWS, 3)),
        "kind": np.array([None if row % 5 == 0 else "abc"[row % 3] for row in range(ROWS)], object),
        "size": np.where(np.arange(ROWS) % 4 == 0, np.nan, random.normal(size=ROWS)),
        "label": np.arange(ROWS) % 3,
        "tags": np.array([None if row % 6 == 1 else "|".join("abc"[: row % 4]) for row in range(ROWS)], object),
        "weight": np.arange(ROWS) / 7,
        "image": random.integers(0, 256, (ROWS, 4, 4, 1), np.uint8),
        "pixels": np.where(random.random(pixels.shape) < 0.2, 255, pixels),
    }


class Session:
    """A program with data, and its state before the first step."""

    def __init__(self, features: Features, *, compiled: bool = True, **static: Any) -> None:
        groups: dict[str, Any] = {key: {} for key in ("metric", "loss_weights", "regularizer", "constraint")}
        groups |= {"augmentation": {}, "update": {}, "loss": None, "architecture": MLP}
        groups |= {
            "step": {"_target_": "components.step.Supervised"},
            "optimizer": {"_target_": "optax.sgd"},
            "schedule": {"_target_": "components.schedule.constant", "learning_rate": 0.1},
        }
        self.data = load_encoded(
            Arrays(columns=columns(), valid=6, test=6, seed=None), features, identity="", cache=None
        )
        self.program = Program(groups | static, features, self.data.constants, compiled=compiled)
        constants = {name: dict(constant.device) for name, constant in self.data.constants.items()}
        self.inputs = ProgramInputs(numbers_to_arrays({}, seed=0), constants)
        self.parts = self.program.build_parts(self.inputs)
        self.batches = Batches(self.data)
        self.rows = self.data.splits["train"]
        chunk = self._chunk(self.rows)
        self.state = self.program.init(self.inputs, chunk.data, chunk.rows[0])

    def _chunk(self, rows: np.ndarray) -> Any:
        return next(iter(self.batches.chunks(rows, len(rows), 1)))

    def outputs(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        """The logits of rows by target, of the initial parameters."""
        chunk = self._chunk(rows)
        encoded = jax.tree.map(lambda leaf: leaf[chunk.rows[0]], chunk.data)
        variables = {"params": self.state.parameters, **self.state.model_state}
        _, output, _ = self.program.forward(self.parts, self.inputs, variables, encoded, step=None)
        return jax.device_get(output.outputs)

    def train(self, rows: np.ndarray) -> tuple[Any, dict[str, float]]:
        """Takes one step. Returns the metric sums and the metrics."""
        chunk, state = self._chunk(rows), jax.tree.map(jnp.copy, self.state)
        rates = RateInputs(np.int32(9), np.int32(3), np.float32(1))
        state, sums = self.program.train(self.inputs, state, chunk.data, chunk.rows, np.int32(1), rates)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.parameters))
        sums = add_sums({}, [sums], self.parts.metrics)
        return sums, self._metrics(sums, "train")

    def evaluate(self, rows: np.ndarray) -> dict[str, float]:
        sums = []
        for chunk in self.batches.chunks(rows, 5, 1, pad=True):
            weights = self.state.parameters, self.state.model_state
            sums.append(self.program.evaluate(self.inputs, *weights, chunk.data, chunk.rows[0], chunk.mask)[0])
        return self._metrics(add_sums({}, sums, self.parts.metrics), "valid")

    def _metrics(self, sums: Any, split: str) -> dict[str, float]:
        weights = {
            name: 1.0 if target.loss_weight is None else float(target.loss_weight)
            for name, target in self.parts.targets.items()
        }
        return compute_metrics(sums, self.parts.metrics, split, weights)


TWO_TARGETS = {
    "loss": {"kind": {"_target_": LOSS + "SoftmaxCrossEntropy"}, "size": {"_target_": LOSS + "MSE"}},
    "metric": {
        "kind": {"accuracy": {"_target_": METRIC + "Accuracy"}},
        "size": {"rmse": {"_target_": METRIC + "RMSE"}},
    },
    "loss_weights": {"size": 0.5},
}


def two_targets(**kind: Any) -> Features:
    targets = {"kind": Label(key="kind", missing="mask", **kind), "size": Numeric(key="size", missing="mask")}
    return Features(targets, INPUT, {"x": ("x",)})


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), jnp.asarray(labels)))


def segmentation(**label: Any) -> Features:
    target = Label(key="pixels", ignore=255, **label)
    return Features({"target": target}, {"image": Image(key="image")}, {"image": ("image",)})
