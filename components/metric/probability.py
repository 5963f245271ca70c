"""Metrics of predicted probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from components.metric.base import (
    class_scores,
    count_examples,
    has_labels,
    require_categories,
    require_classes,
    require_logits,
    sum_elements,
)
from components.types import Batch, Output, Range, TargetSpec


@dataclass(frozen=True)
class LogLoss:
    """Mean of -log(probability of the true class), where the softmax of the logits gives the probabilities.

    It is computed from the logits, so no probability is clipped. A single logit belongs to the second of two classes.
    Unlike the loss of a run, it has no label smoothing and no weights of classes.
    """

    target_kinds = ("classes", "pixels")
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> LogLoss:
        """Returns itself; raises UserError for a real-valued or multilabel target."""
        require_classes("log_loss", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements in the batch, and the sum of their losses."""
        costs = -jax.nn.log_softmax(class_scores("log_loss", output, batch).astype(jnp.float32))
        true = jnp.take_along_axis(costs, batch.target[..., None], axis=-1)[..., 0]
        return {"log_loss": sum_elements(true, batch), "examples": count_examples(batch)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a loss, 0 or more."""
        return float(sums["log_loss"] / sums["examples"])


@dataclass(frozen=True)
class BrierScore:
    """Brier score, the mean squared error of the predicted probabilities.

    For two classes, (p - y)^2 with the probability p of one of them and y = 1 if it is the true class, else 0; for
    labels its mean over them. For more classes, the sum over the classes, from 0 to 2.

    References:
        Brier, 1950: Verification of forecasts expressed in terms of probability.
    """

    target_kinds = ("classes", "labels", "pixels")
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> BrierScore:
        """Returns itself; raises UserError for a real-valued target."""
        require_categories("brier_score", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements in the batch, and the sum of their scores."""
        if has_labels("brier_score", output, batch):
            probabilities = jax.nn.sigmoid(require_logits("brier_score", output).astype(jnp.float32))
            scores = jnp.square(probabilities - batch.target.astype(jnp.float32)).mean(-1)
        else:
            probabilities = jax.nn.softmax(class_scores("brier_score", output, batch).astype(jnp.float32))
            classes = probabilities.shape[-1]
            scores = jnp.square(probabilities - jax.nn.one_hot(batch.target, classes)).sum(-1) / (1 + (classes == 2))
        return {"score": sum_elements(scores, batch), "examples": count_examples(batch)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns a score, 0 or more."""
        return float(sums["score"] / sums["examples"])


@dataclass(frozen=True, kw_only=True)
class ExpectedCalibrationError:
    """Expected calibration error: how far the probability of the predicted class is from the share of right ones.

    The sum over bins of equal width of their share of the elements times |accuracy - mean probability| in the bin. Bin
    m of M holds the probabilities above (m - 1) / M up to m / M.

    Attributes:
        bins: number of bins, M.

    References:
        Guo et al., 2017: On calibration of modern neural networks.
    """

    bins: Annotated[int, Range(1)] = 15
    target_kinds = ("classes", "pixels")
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> ExpectedCalibrationError:
        """Returns itself; raises UserError for a real-valued or multilabel target."""
        require_classes("expected_calibration_error", target)
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of elements in each bin, of right predictions, and the sum of probabilities, (bins,)."""
        scores = class_scores("expected_calibration_error", output, batch).astype(jnp.float32)
        probability = jax.nn.softmax(scores).max(-1)
        is_right = jnp.argmax(scores, -1) == batch.target
        edges = jnp.arange(1, self.bins, dtype=jnp.float32) / self.bins
        is_in_bin = jax.nn.one_hot(jnp.searchsorted(edges, probability), self.bins, dtype=bool)  # (B, …, bins)
        add = jax.vmap(lambda values: sum_elements(values, batch), in_axes=-1)
        return {
            "count": add(is_in_bin),
            "hits": add(is_in_bin & is_right[..., None]),
            "probability": add(jnp.where(is_in_bin, probability[..., None], 0)),
        }

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns an error between 0 and 1."""
        return float(np.abs(sums["hits"] - sums["probability"]).sum() / sums["count"].sum())
