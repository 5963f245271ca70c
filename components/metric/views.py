"""Metrics of two views of each example, which read embeddings instead of logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from components.closest import suggest_name
from components.metric.base import count_examples, sum_elements
from components.types import Batch, Output, TargetSpec, UserError


@dataclass(frozen=True)
class ContrastiveAccuracy:
    """Share of views whose most similar other view in the batch is that of the same example, by the cosine.

    It depends on the size of the batches, `training.evaluation_batch_size` in evaluations.

    Attributes:
        stage: the embedding of the first view in `Output.features`.
        partner: the embedding of the second view.

    References:
        Chen et al., 2020: A simple framework for contrastive learning of visual representations (SimCLR).
    """

    stage: str = "first"
    partner: str = "second"
    higher_is_better = True
    collects = False
    needs_target = False

    def bind(self, target: TargetSpec) -> ContrastiveAccuracy:
        """Returns itself: any target will do."""
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch, and the sum of the shares of their views that are right."""
        views = jnp.concatenate([self._embed(output, name) for name in (self.stage, self.partner)])
        views = views / jnp.maximum(jnp.linalg.norm(views, axis=1, keepdims=True), 1e-6)
        count = len(batch.present)
        is_other = jnp.tile(batch.present, 2)[None] & ~jnp.eye(2 * count, dtype=bool)
        nearest = jnp.where(is_other, views @ views.T, -jnp.inf).argmax(1)
        is_right = nearest == jnp.roll(jnp.arange(2 * count), count)
        every = batch._replace(targets={}, masks={})  # the mask is `present`
        hits = sum_elements(is_right.reshape(2, count).astype(jnp.float32).mean(0), every)
        return {"hits": hits, "examples": count_examples(every)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns the share."""
        return float(sums["hits"] / sums["examples"])

    def _embed(self, output: Output, name: str) -> jax.Array:
        """The embedding of one view of each example, float32 (B, D)."""
        if name not in output.features:
            hint = suggest_name(name, output.features, title="Features")
            raise UserError(f"contrastive_accuracy: the architecture doesn't return the features {name}. {hint}")
        vectors = output.features[name]
        return vectors.reshape(len(vectors), -1).astype(jnp.float32)
